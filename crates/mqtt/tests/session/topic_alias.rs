//! Topic aliases (§3.3.2.3.4).

use std::num::NonZeroU16;

use ternmq_mqtt::MqttConfig;
use ternmq_mqtt::properties::Property;

use crate::harness::{Device, Hello, Post, World};

fn alias(number: u16) -> Property<'static> {
    Property::TopicAlias(NonZeroU16::new(number).unwrap())
}

fn subscriber(world: &World) -> Device {
    let mut device = world.v5("s");
    device.subscribe("#", 2);
    device
}

#[test]
fn alias_is_set_with_a_topic_used_without_and_set_anew() {
    let world = World::new();
    let mut subscriber = subscriber(&world);
    let mut device = world.v5("a");
    device.publish(&Post::new("one", "1").with(alias(16)));
    device.publish(&Post::new("", "2").with(alias(16)));
    device.publish(&Post::new("", "3").with(alias(16)).qos1(1));
    device.publish(&Post::new("two", "4").with(alias(16)));
    device.publish(&Post::new("", "5").with(alias(16)).retain());
    let mut received = subscriber.recv();
    received.sort();
    let expected = [
        "PUBLISH one=1 q0",
        "PUBLISH one=2 q0",
        "PUBLISH one=3 q1 id1",
        "PUBLISH two=4 q0",
        "PUBLISH two=5 q0",
    ];
    assert_eq!(received, expected);
    assert_eq!(
        world.v5("late").subscribe("two", 0),
        ["SUBACK 1 [00]", "PUBLISH two=5 q0 retain"]
    );
}

#[test]
fn alias_above_the_maximum_is_invalid() {
    let world = World::new();
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "x").with(alias(17)));
    assert_eq!(device.recv(), ["DISCONNECT 94"]);
    let world = World::with(MqttConfig {
        topic_alias_max: 0,
        ..MqttConfig::default()
    });
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "x").with(alias(1)));
    assert_eq!(device.recv(), ["DISCONNECT 94"]);
}

#[test]
fn alias_that_was_not_set_is_a_protocol_error() {
    let world = World::new();
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "x").with(alias(2)));
    device.publish(&Post::new("", "x").with(alias(1)));
    assert_eq!(device.recv(), ["DISCONNECT 82"]);
}

#[test]
fn aliases_last_as_long_as_the_connection() {
    let world = World::new();
    let hello = Hello::new("a").expiry(60);
    let mut device = world.connect(&hello);
    device.publish(&Post::new("t", "x").with(alias(1)));
    device.drop_line();
    let mut device = world.connect(&hello.resume());
    device.publish(&Post::new("", "x").with(alias(1)));
    assert_eq!(device.recv(), ["DISCONNECT 82"]);
}

#[test]
fn server_uses_aliases_up_to_the_clients_maximum_in_order_of_first_use() {
    let world = World::new();
    let mut device = world.connect(&Hello::new("s").with(Property::TopicAliasMaximum(2)));
    device.subscribe("#", 0);
    let mut publisher = world.v5("p");
    for topic in ["a", "b", "c", "a", "b", "c"] {
        publisher.publish(&Post::new(topic, "x"));
    }
    let expected = [
        "PUBLISH a=x q0 alias1",
        "PUBLISH b=x q0 alias2",
        "PUBLISH c=x q0",
        "PUBLISH =x q0 alias1",
        "PUBLISH =x q0 alias2",
        "PUBLISH c=x q0",
    ];
    assert_eq!(device.recv(), expected);
}

#[test]
fn message_sent_again_carries_its_topic_again() {
    let world = World::new();
    let hello = Hello::new("s")
        .expiry(60)
        .with(Property::TopicAliasMaximum(5));
    let mut device = world.connect(&hello);
    device.subscribe("t", 1);
    world.v5("p").publish(&Post::new("t", "x").qos1(1));
    assert_eq!(device.recv(), ["PUBLISH t=x q1 id1 alias1"]);
    device.drop_line();
    let mut device = world.connect(&hello.resume());
    assert_eq!(device.recv(), ["PUBLISH t=x q1 id1 dup alias1"]);
}

#[test]
fn alias_of_a_message_that_is_too_large_is_not_taken_for_known() {
    let world = World::new();
    let hello = Hello::new("s")
        .with(Property::TopicAliasMaximum(5))
        .with(Property::MaximumPacketSize(50));
    let mut device = world.connect(&hello);
    device.subscribe("t", 0);
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", &"x".repeat(50)));
    publisher.publish(&Post::new("t", "y"));
    assert_eq!(device.recv(), ["PUBLISH t=y q0 alias1"]);
}

#[test]
fn both_directions_have_aliases_of_their_own() {
    let world = World::new();
    let mut device = world.connect(&Hello::new("s").with(Property::TopicAliasMaximum(5)));
    device.subscribe("#", 0);
    device.publish(&Post::new("in", "1").with(alias(2)));
    device.publish(&Post::new("", "2").with(alias(2)));
    assert_eq!(
        device.recv(),
        ["PUBLISH in=1 q0 alias1", "PUBLISH =2 q0 alias1"]
    );
}
