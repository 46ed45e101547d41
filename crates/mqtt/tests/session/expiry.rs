//! Message expiry (§3.3.2.3.3).

use ternmq_mqtt::properties::Property;

use crate::harness::{Hello, Post, V311, World};

fn expiring(payload: &str, seconds: u32) -> Post<'_> {
    Post::new("t", payload)
        .qos1(1)
        .with(Property::MessageExpiryInterval(seconds))
}

#[test]
fn waited_time_is_taken_off_and_what_expired_is_dropped() {
    let world = World::new();
    let hello = Hello::new("s").expiry(1000);
    let mut device = world.connect(&hello);
    device.subscribe("t", 1);
    device.drop_line();
    let mut publisher = world.v5("p");
    publisher.publish(&expiring("short", 5));
    publisher.publish(&expiring("long", 100));
    world.pass(10_000);
    let mut device = world.connect(&hello.resume());
    assert_eq!(device.recv(), ["PUBLISH t=long q1 id1 expiry90"]);
}

#[test]
fn mqtt_3_subscribers_are_spared_expired_messages_too() {
    let world = World::new();
    let hello = Hello::new("s").version(V311).resume();
    let mut device = world.connect(&hello);
    device.subscribe("t", 1);
    device.drop_line();
    let mut publisher = world.v5("p");
    publisher.publish(&expiring("short", 5));
    publisher.publish(&expiring("long", 100));
    world.pass(10_000);
    assert_eq!(world.connect(&hello).recv(), ["PUBLISH t=long q1 id1"]);
}

#[test]
fn expiry_0_reaches_only_those_who_are_there() {
    let world = World::new();
    let offline = Hello::new("s").expiry(1000);
    let mut device = world.connect(&offline);
    device.subscribe("t", 1);
    device.drop_line();
    let mut online = world.v5("o");
    online.subscribe("t", 1);
    let mut publisher = world.v5("p");
    publisher.publish(&expiring("now", 0));
    assert_eq!(online.recv(), ["PUBLISH t=now q1 id1 expiry0"]);
    assert!(world.connect(&offline.resume()).recv().is_empty());
}

#[test]
fn delivery_that_began_goes_on_beyond_the_expiry() {
    let world = World::new();
    let hello = Hello::new("s").expiry(1000);
    let mut device = world.connect(&hello);
    device.subscribe("t", 1);
    world.v5("p").publish(&expiring("x", 5));
    assert_eq!(device.recv(), ["PUBLISH t=x q1 id1 expiry5"]);
    device.drop_line();
    world.pass(10_000);
    assert_eq!(
        world.connect(&hello.resume()).recv(),
        ["PUBLISH t=x q1 id1 dup expiry0"]
    );
}
