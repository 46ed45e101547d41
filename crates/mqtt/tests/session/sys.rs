//! `$SYS` topics.

use ternmq_mqtt::MqttConfig;
use ternmq_mqtt::frame::{RetainHandling, SubscribeOptions};

use crate::harness::{Device, Hello, Post, V311, World, options};

/// The value that a new subscriber finds retained.
fn value(device: &mut Device, topic: &str) -> String {
    let received = device.subscribe(&format!("$SYS/broker/{topic}"), 0);
    let [_, publish] = &received[..] else {
        panic!("{received:?}");
    };
    let publish = publish.strip_suffix(" q0 retain").unwrap();
    let publish = publish.strip_prefix(&format!("PUBLISH $SYS/broker/{topic}="));
    publish.unwrap().to_owned()
}

#[test]
fn new_subscriber_finds_values_retained() {
    let world = World::new();
    world.pass(90_000);
    let kept = world.connect(&Hello::new("kept").expiry(60));
    kept.drop_line();
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "12345").retain());
    assert_eq!(value(&mut device, "uptime"), "90 seconds");
    assert!(value(&mut device, "version").starts_with("ternmq version "));
    assert_eq!(value(&mut device, "clients/connected"), "1");
    assert_eq!(value(&mut device, "clients/disconnected"), "1");
    assert_eq!(value(&mut device, "clients/total"), "2");
    assert_eq!(value(&mut device, "clients/maximum"), "1");
    assert_eq!(value(&mut device, "retained messages/count"), "1");
    assert_eq!(value(&mut device, "publish/messages/received"), "1");
    assert_eq!(value(&mut device, "publish/bytes/received"), "5");
    world.pass(1_000);
    assert_eq!(value(&mut device, "subscriptions/count"), "10");
}

#[test]
fn packets_and_bytes_are_counted_as_they_come_and_go() {
    let world = World::new();
    let mut device = world.v3("a");
    let connect = Hello::new("a").version(V311).encode().len();
    device.send(&[0xC0, 0]);
    device.recv();
    world.pass(10_000);
    let mut reader = world.v3("r");
    let reader_connect = Hello::new("r").version(V311).encode().len();
    assert_eq!(value(&mut reader, "messages/received"), "3");
    assert_eq!(value(&mut reader, "messages/sent"), "3");
    assert_eq!(
        value(&mut reader, "bytes/received"),
        (connect + 2 + reader_connect).to_string()
    );
    assert_eq!(value(&mut reader, "bytes/sent"), (4 + 2 + 4).to_string());
}

#[test]
fn values_come_at_the_interval_to_subscribers_only_and_only_if_they_changed() {
    let world = World::new();
    let mut device = world.v5("a");
    let mut other = world.v5("b");
    other.subscribe("#", 0);
    other.subscribe("+/broker/uptime", 0);
    device.subscribe("$SYS/broker/uptime", 0);
    device.subscribe("$SYS/broker/version", 0);
    world.pass(9_999);
    assert!(device.recv().is_empty());
    world.pass(1);
    assert_eq!(device.recv(), ["PUBLISH $SYS/broker/uptime=10 seconds q0"]);
    world.pass(10_000);
    assert_eq!(device.recv(), ["PUBLISH $SYS/broker/uptime=20 seconds q0"]);
    device.unsubscribe("$SYS/broker/uptime");
    world.pass(10_000);
    assert!(device.recv().is_empty());
    assert!(other.recv().is_empty());
}

#[test]
fn subscription_options_hold_for_them_too() {
    let world = World::new();
    let mut device = world.v5("a");
    let silent = SubscribeOptions {
        retain_handling: RetainHandling::DoNotSend,
        retain_as_published: true,
        ..options(2)
    };
    let received = device.subscribe_with(&[("$SYS/broker/uptime", silent)], Some(9));
    assert_eq!(received, ["SUBACK 1 [02]"]);
    world.pass(10_000);
    assert_eq!(
        device.recv(),
        ["PUBLISH $SYS/broker/uptime=10 seconds q0 retain sub9"]
    );
}

#[test]
fn every_topic_is_found_by_a_wildcard_and_loads_are_among_them() {
    let world = World::new();
    let mut device = world.v5("a");
    let received = device.subscribe("$SYS/#", 0);
    let has = |topic: &str| {
        let start = format!("PUBLISH $SYS/broker/{topic}=");
        received
            .iter()
            .filter(|packet| packet.starts_with(&start))
            .count()
            == 1
    };
    for topic in [
        "bytes/received",
        "bytes/sent",
        "clients/active",
        "clients/connected",
        "clients/disconnected",
        "clients/expired",
        "clients/inactive",
        "clients/maximum",
        "clients/total",
        "load/bytes/received/1min",
        "load/bytes/sent/5min",
        "load/connections/15min",
        "load/messages/received/1min",
        "load/messages/sent/1min",
        "load/publish/dropped/1min",
        "load/publish/received/1min",
        "load/publish/sent/1min",
        "load/sockets/1min",
        "messages/received",
        "messages/sent",
        "messages/stored",
        "publish/bytes/received",
        "publish/bytes/sent",
        "publish/messages/dropped",
        "publish/messages/received",
        "publish/messages/sent",
        "retained messages/count",
        "store/messages/bytes",
        "store/messages/count",
        "subscriptions/count",
        "uptime",
        "version",
    ] {
        assert!(has(topic), "{topic}");
    }
    assert_eq!(received.len(), 1 + 23 + 27);
}

#[test]
fn nobody_else_publishes_there() {
    let world = World::new();
    let mut device = world.v5("a");
    device.subscribe("$SYS/broker/uptime", 0);
    device.recv();
    let mut forger = world.v5("f");
    forger.publish(&Post::new("$SYS/broker/uptime", "forged").qos1(1).retain());
    assert_eq!(forger.recv(), ["PUBACK 1 87"]);
    world.publish_dotted("$SYS.broker.uptime", b"forged", |_| {});
    assert!(device.recv().is_empty());
    assert_eq!(value(&mut forger, "uptime"), "0 seconds");
}

#[test]
fn interval_of_0_is_never() {
    let world = World::with(MqttConfig {
        sys_interval_s: 0,
        ..MqttConfig::default()
    });
    let mut device = world.v5("a");
    assert_eq!(device.subscribe("$SYS/#", 0), ["SUBACK 1 [00]"]);
    world.pass(60_000);
    assert!(device.recv().is_empty());
}

#[test]
fn session_gets_them_again_after_a_restart_and_none_from_while_it_was_away() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe("$SYS/broker/uptime", 1);
    device.drop_line();
    world.pass(10_000);
    let world = world.crash();
    let mut device = world.connect(&hello.resume());
    assert!(device.recv().is_empty());
    world.pass(10_000);
    assert_eq!(device.recv(), ["PUBLISH $SYS/broker/uptime=10 seconds q0"]);
}
