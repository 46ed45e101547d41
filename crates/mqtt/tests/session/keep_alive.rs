//! Keep alive and PINGREQ (§3.1.2.10, §3.12), and reading under memory pressure.

use ternmq_broker::BrokerConfig;
use ternmq_mqtt::MqttConfig;

use crate::harness::{Hello, Post, V311, World};
use crate::log::TestLog;

#[test]
fn silence_of_one_and_a_half_keep_alives_ends_the_connection() {
    let world = World::new();
    let mut device = world.connect(&Hello::new("a").keep_alive(10));
    let mut old = world.connect(&Hello::new("b").version(V311).keep_alive(10));
    world.pass(14_999);
    device.tick();
    assert!(!device.is_closed());
    world.pass(1);
    device.tick();
    old.tick();
    assert_eq!(device.recv(), ["DISCONNECT 8D"]);
    assert!(device.is_closed());
    assert!(old.recv_bytes().is_empty() && old.is_closed());
}

#[test]
fn any_packet_begins_the_time_anew() {
    let world = World::new();
    let mut device = world.connect(&Hello::new("a").keep_alive(10));
    for n in 1..10 {
        world.pass(10_000);
        device.tick();
        device.publish(&Post::new("t", "x").qos1(n));
    }
    assert!(!device.is_closed());
}

#[test]
fn bytes_of_an_unfinished_packet_do_not() {
    let world = World::new();
    let mut device = world.connect(&Hello::new("a").keep_alive(10));
    let bytes = Post::new("topic", "payload").encode(device.version);
    for byte in &bytes[..bytes.len() - 1] {
        world.pass(1_000);
        device.send(&[*byte]);
        device.tick();
    }
    assert_eq!(device.recv(), ["DISCONNECT 8D"]);
}

#[test]
fn keep_alive_0_never_ends() {
    let world = World::new();
    let mut device = world.connect(&Hello::new("a"));
    assert_eq!(device.deadline(), None);
    world.pass(1_000_000_000);
    device.tick();
    assert!(!device.is_closed());
}

#[test]
fn servers_keep_alive_is_enforced() {
    let world = World::with(MqttConfig {
        keep_alive_s_max: 4,
        ..MqttConfig::default()
    });
    for hello in [
        Hello::new("a"),
        Hello::new("a").keep_alive(100).version(V311),
    ] {
        let mut device = world.connect(&hello);
        world.pass(6_000);
        device.tick();
        assert!(device.is_closed());
    }
}

#[test]
fn pingreq_is_answered() {
    let world = World::new();
    let mut device = world.v3("a");
    device.send(&[0xC0, 0, 0xC0, 0]);
    assert_eq!(device.recv(), ["PINGRESP", "PINGRESP"]);
}

#[test]
fn memory_pressure_stops_reading_from_publishers_only_and_their_silence_is_forgiven() {
    let broker = BrokerConfig {
        memory_high_bytes: Some(10_000),
        ..BrokerConfig::default()
    };
    let world = World::on(
        MqttConfig {
            anonymous: true,
            ..MqttConfig::default()
        },
        &broker,
        TestLog::new(),
    );
    let mut subscriber = world.connect(&Hello::new("s").expiry(60));
    subscriber.subscribe("t", 1);
    subscriber.drop_line();
    let mut publisher = world.connect(&Hello::new("p").keep_alive(10));
    let mut watcher = world.v5("w");
    assert!(publisher.reads());
    for n in 1..30 {
        publisher.publish(&Post::new("t", &"x".repeat(1000)).qos1(n));
    }
    assert!(world.broker.is_blocked());
    assert!(!publisher.reads() && watcher.reads());
    world.pass(60_000);
    publisher.tick();
    assert!(!publisher.is_closed());
    world.connect(&Hello::new("s")).disconnect();
    assert!(publisher.reads());
    world.pass(14_000);
    publisher.tick();
    assert!(!publisher.is_closed());
}
