//! Named limits, at the limit and one above (§3.2.2.3.6).

use ternmq_mqtt::MqttConfig;

use crate::harness::{Hello, Post, World, options};

#[test]
fn packet_above_the_maximum_is_refused_before_its_body_arrives() {
    let world = World::with(MqttConfig {
        packet_bytes_max: 2000,
        ..MqttConfig::default()
    });
    let mut device = world.v5("a");
    let head = Post::new("t", "").encode(device.version).len();
    let fits = "x".repeat(2000 - head - 1);
    let bytes = Post::new("t", &fits).encode(device.version);
    assert_eq!(bytes.len(), 2000);
    device.send(&bytes);
    assert!(device.recv().is_empty() && !device.is_closed());
    let above = format!("{fits}x");
    device.send(&Post::new("t", &above).encode(device.version)[..3]);
    assert_eq!(device.recv(), ["DISCONNECT 95"]);
    let mut old = world.v3("b");
    old.send(&Post::new("t", &"x".repeat(2000)).encode(old.version)[..3]);
    assert!(old.recv_bytes().is_empty() && old.is_closed());
}

#[test]
fn topic_with_more_levels_than_allowed_is_refused() {
    let world = World::with(MqttConfig {
        topic_levels_max: 3,
        ..MqttConfig::default()
    });
    let mut device = world.v5("a");
    let filters = [
        ("a/b/c", options(0)),
        ("a/b/c/d", options(0)),
        ("$share/g/a/b/c", options(0)),
    ];
    assert_eq!(
        device.subscribe_with(&filters, None),
        ["SUBACK 1 [00, 8F, 00]"]
    );
    device.publish(&Post::new("a/b/c", "x"));
    assert_eq!(device.recv().len(), 2);
    device.publish(&Post::new("a/b/c/d", "x"));
    assert_eq!(device.recv(), ["DISCONNECT 90"]);
}

#[test]
fn qos_0_backlog_of_a_session_is_bounded() {
    let world = World::with(MqttConfig {
        qos0_backlog_max: 100,
        ..MqttConfig::default()
    });
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 1);
    let mut device = world.v5("a");
    // What a connected client was assigned does not count; what waits behind that does.
    for _ in 0..5000 {
        device.publish(&Post::new("t", "x"));
    }
    let delivered = subscriber.recv().len();
    assert!((100..2000).contains(&delivered), "{delivered}");
}

#[test]
fn qos_0_backlog_of_a_session_is_bounded_in_bytes() {
    let world = World::with(MqttConfig {
        qos0_backlog_bytes_max: 1_000_000,
        ..MqttConfig::default()
    });
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 1);
    let mut device = world.v5("a");
    let payload = "x".repeat(50_000);
    for _ in 0..1000 {
        device.publish(&Post::new("t", &payload));
    }
    let delivered = subscriber.recv().len();
    assert!((20..100).contains(&delivered), "{delivered}");
}

#[test]
fn backlog_of_a_session_loses_its_oldest_messages_beyond_the_configured_number_and_bytes() {
    for (messages_max, bytes_max) in [(Some(3), None), (None, Some(15)), (Some(100), Some(15))] {
        let world = World::with(MqttConfig {
            session_backlog_max: messages_max.unwrap_or(0),
            session_backlog_bytes_max: bytes_max,
            ..MqttConfig::default()
        });
        let hello = Hello::new("s").expiry(60).resume();
        let mut subscriber = world.connect(&hello);
        subscriber.subscribe("t", 1);
        subscriber.drop_line();
        let mut device = world.v5("a");
        for n in 1..=9 {
            device.publish(&Post::new("t", &format!("{n:05}")).qos1(n));
        }
        let expected = [
            "PUBLISH t=00007 q1 id1",
            "PUBLISH t=00008 q1 id2",
            "PUBLISH t=00009 q1 id3",
        ];
        assert_eq!(world.connect(&hello).recv(), expected);
    }
}
