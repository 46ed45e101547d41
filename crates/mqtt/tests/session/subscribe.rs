//! SUBSCRIBE and UNSUBSCRIBE (§3.8 to §3.11, §4.7).

use ternmq_mqtt::MqttConfig;
use ternmq_mqtt::frame::SubscribeOptions;

use crate::harness::{Device, Hello, Post, World, options};

fn no_local() -> SubscribeOptions {
    SubscribeOptions {
        no_local: true,
        ..options(1)
    }
}

#[test]
fn suback_has_one_code_per_filter_in_order() {
    let world = World::new();
    let mut device = world.v5("s");
    let filters = [
        ("a", options(2)),
        ("b/#/c", options(1)),
        ("c", options(0)),
        ("$share//x", options(0)),
        ("d+", options(0)),
    ];
    assert_eq!(
        device.subscribe_with(&filters, None),
        ["SUBACK 1 [02, 8F, 00, 8F, 8F]"]
    );
}

#[test]
fn malformed_filter_to_unsubscribe_is_told_as_one_to_subscribe() {
    let world = World::new();
    let mut device = world.v5("a");
    assert_eq!(device.unsubscribe("a/+b"), ["UNSUBACK 2 [8F]"]);
    let mut device = world.v3("b");
    assert!(device.unsubscribe("a/+b").is_empty());
    assert!(device.is_closed());
}

#[test]
fn malformed_filter_closes_mqtt_3() {
    let world = World::new();
    let mut device = world.v3("s");
    assert!(device.subscribe("a/#/b", 0).is_empty() && device.is_closed());
}

#[test]
fn wildcards_match_as_the_standard_says() {
    let world = World::new();
    let mut publisher = world.v5("p");
    for (filter, topic, expected) in [
        ("a/#", "a", true),
        ("a/#", "a/b/c", true),
        ("a/+", "a/", true),
        ("a/+", "a", false),
        ("+", "a", true),
        ("+", "/a", false),
        ("/+", "/a", true),
        ("+/+", "/a", true),
        ("#", "a/b", true),
        ("#", "$x/b", false),
        ("+/b", "$x/b", false),
        ("$x/#", "$x/b", true),
        ("a//b", "a//b", true),
        ("a/+/b", "a//b", true),
        ("A", "a", false),
        ("a.b/+", "a.b/c", true),
        ("a/+", "a.b", false),
    ] {
        let mut device = world.v5("s");
        device.subscribe(filter, 0);
        publisher.publish(&Post::new(topic, "x"));
        assert_eq!(
            device.recv().len(),
            usize::from(expected),
            "{filter} {topic}"
        );
    }
}

#[test]
fn topic_of_a_delivery_is_the_publishers_to_the_letter() {
    let world = World::new();
    let mut device = world.v5("s");
    device.subscribe("#", 0);
    for topic in ["a.b/c", "/", "//", "a*b", "ä/\u{feff}", "a b"] {
        world.v5("p").publish(&Post::new(topic, "x"));
        assert_eq!(device.recv(), [format!("PUBLISH {topic}=x q0")]);
    }
}

#[test]
fn same_filter_again_replaces_options_and_identifier() {
    let world = World::new();
    let mut device = world.v5("s");
    let mut publisher = world.v5("p");
    let mut deliver = |device: &mut Device| {
        publisher.publish(&Post::new("t", "x").qos1(1));
        device.recv()
    };
    device.subscribe_with(&[("t", options(0))], Some(1));
    assert_eq!(deliver(&mut device), ["PUBLISH t=x q0 sub1"]);
    device.subscribe_with(&[("t", options(1))], Some(2));
    assert_eq!(deliver(&mut device), ["PUBLISH t=x q1 id1 sub2"]);
    device.subscribe("t", 0);
    assert_eq!(deliver(&mut device), ["PUBLISH t=x q0"]);
}

#[test]
fn overlapping_filters_give_one_copy_with_the_highest_qos_and_all_identifiers() {
    let world = World::new();
    let mut device = world.v5("s");
    device.subscribe_with(&[("a/#", options(0))], Some(1));
    device.subscribe_with(&[("a/+", options(2))], Some(2));
    device.subscribe_with(&[("a/b", options(1))], None);
    world.v5("p").publish(&Post::new("a/b", "x").qos2(1));
    assert_eq!(device.recv(), ["PUBLISH a/b=x q2 id1 sub1 sub2"]);
}

#[test]
fn no_local_keeps_own_messages_away_and_lets_others_through() {
    let world = World::new();
    let mut device = world.v5("s");
    device.subscribe_with(&[("t/#", no_local())], None);
    device.publish(&Post::new("t/a", "own"));
    world.v5("p").publish(&Post::new("t/a", "other"));
    world.publish_dotted("t.a", b"native", |_| {});
    assert_eq!(
        device.recv(),
        ["PUBLISH t/a=other q0", "PUBLISH t/a=native q0"]
    );
    // Another filter that matches lets it through.
    device.subscribe("t/a", 0);
    device.publish(&Post::new("t/a", "own"));
    assert_eq!(device.recv(), ["PUBLISH t/a=own q0"]);
}

#[test]
fn no_local_goes_with_the_session_and_not_with_the_connection() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe_with(&[("t", no_local())], None);
    device.drop_line();
    let mut device = world.connect(&hello.resume());
    device.publish(&Post::new("t", "own").qos1(1));
    assert_eq!(device.recv(), ["PUBACK 1 10"]);
}

#[test]
fn own_messages_come_back_without_no_local() {
    let world = World::new();
    let mut device = world.v5("s");
    device.subscribe("t", 1);
    device.publish(&Post::new("t", "own").qos1(3));
    let mut received = device.recv();
    received.sort();
    assert_eq!(received, ["PUBACK 3", "PUBLISH t=own q1 id1"]);
}

#[test]
fn unsubscribe_tells_whether_there_was_such_a_subscription() {
    let world = World::new();
    let mut device = world.v5("s");
    device.subscribe("t", 1);
    assert_eq!(device.unsubscribe("t/"), ["UNSUBACK 2 [11]"]);
    assert_eq!(device.unsubscribe("t"), ["UNSUBACK 2 [00]"]);
    assert_eq!(device.unsubscribe("t"), ["UNSUBACK 2 [11]"]);
    world.v5("p").publish(&Post::new("t", "x"));
    assert!(device.recv().is_empty());
    let mut old = world.v3("old");
    assert_eq!(old.unsubscribe("t"), ["UNSUBACK 2 []"]);
}

#[test]
fn what_was_in_flight_when_unsubscribed_completes() {
    let world = World::new();
    let mut device = world.v5("s");
    device.subscribe("t", 2);
    world.v5("p").publish(&Post::new("t", "x").qos2(1));
    assert_eq!(device.recv(), ["PUBLISH t=x q2 id1"]);
    device.unsubscribe("t");
    device.ack(ternmq_mqtt::frame::PacketType::PubRec, 1);
    assert_eq!(device.recv(), ["PUBREL 1"]);
}

#[test]
fn thousands_of_filters_in_one_packet_work() {
    let world = World::new();
    let mut device = world.v5("s");
    let names: Vec<String> = (0..3000).map(|n| format!("f/{n}")).collect();
    let filters: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), options(0)))
        .collect();
    let suback = device.subscribe_with(&filters, None);
    assert_eq!(suback[0].matches("00").count(), 3000);
    world.v5("p").publish(&Post::new("f/2999", "x"));
    assert_eq!(device.recv(), ["PUBLISH f/2999=x q0"]);
}

#[test]
fn subscriptions_above_the_limit_are_told_as_quota() {
    let world = World::with(MqttConfig {
        subscriptions_max: 2,
        ..MqttConfig::default()
    });
    let filters = [
        ("a", options(0)),
        ("b", options(0)),
        ("c", options(0)),
        ("a", options(1)),
    ];
    assert_eq!(
        world.v5("s").subscribe_with(&filters, None),
        ["SUBACK 1 [00, 00, 97, 01]"]
    );
    assert_eq!(
        world.v3("t").subscribe_with(&filters, None),
        ["SUBACK 1 [00, 00, 80, 01]"]
    );
}

#[test]
fn persistent_subscription_keeps_all_its_options() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    let all = SubscribeOptions {
        no_local: true,
        retain_as_published: true,
        ..options(1)
    };
    device.subscribe_with(&[("t", all)], Some(5));
    device.disconnect();
    let mut device = world.connect(&hello.resume());
    device.publish(&Post::new("t", "own"));
    world.v5("p").publish(&Post::new("t", "x").retain().qos2(1));
    assert_eq!(device.recv(), ["PUBLISH t=x q1 id1 retain sub5"]);
}
