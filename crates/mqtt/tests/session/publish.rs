//! PUBLISH from the client: QoS flows, answers, properties (§3.3, §4.3).

use ternmq_broker::{BrokerConfig, Client, DeleteIf};
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::{BindingDecl, BindingOptions, Destination, QueueDecl};
use ternmq_core::value::{Headers, Value};
use ternmq_mqtt::MqttConfig;
use ternmq_mqtt::frame::PacketType::{PubRec, PubRel};
use ternmq_mqtt::properties::Property;

use crate::harness::{Hello, Post, V311, World};
use crate::log::TestLog;

#[test]
fn qos_0_has_no_answer() {
    let world = World::new();
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "x"));
    assert!(device.recv().is_empty());
}

#[test]
fn qos_1_is_answered_with_puback_and_qos_2_with_pubrec_then_pubcomp() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 2);
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "x").qos1(7));
    assert_eq!(device.recv(), ["PUBACK 7"]);
    device.publish(&Post::new("t", "y").qos2(8));
    assert_eq!(device.recv(), ["PUBREC 8"]);
    device.ack(PubRel, 8);
    assert_eq!(device.recv(), ["PUBCOMP 8"]);
}

#[test]
fn nobody_to_get_it_is_told_to_mqtt_5_only() {
    let world = World::new();
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "x").qos1(1));
    device.publish(&Post::new("t", "x").qos2(2));
    assert_eq!(device.recv(), ["PUBACK 1 10", "PUBREC 2 10"]);
    let mut device = world.v3("b");
    device.publish(&Post::new("t", "x").qos1(1));
    assert_eq!(device.recv(), ["PUBACK 1"]);
}

#[test]
fn qos_2_identifier_known_and_not_released_is_answered_again_and_routed_once() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 0);
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "x").qos2(5));
    device.publish(&Post::new("t", "x").qos2(5).dup());
    device.publish(&Post::new("t", "x").qos2(5));
    assert_eq!(device.recv(), ["PUBREC 5", "PUBREC 5", "PUBREC 5"]);
    assert_eq!(subscriber.recv(), ["PUBLISH t=x q0"]);
    device.ack(PubRel, 5);
    device.publish(&Post::new("t", "new").qos2(5));
    assert_eq!(device.recv(), ["PUBCOMP 5", "PUBREC 5"]);
    assert_eq!(subscriber.recv(), ["PUBLISH t=new q0"]);
}

#[test]
fn qos_2_identifier_is_known_after_a_reconnect() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 0);
    let hello = Hello::new("a").expiry(60);
    let mut device = world.connect(&hello);
    device.publish(&Post::new("t", "x").qos2(5));
    device.drop_line();
    let mut device = world.connect(&hello.resume());
    device.publish(&Post::new("t", "x").qos2(5).dup());
    device.ack(PubRel, 5);
    assert_eq!(device.recv(), ["PUBREC 5", "PUBCOMP 5"]);
    assert_eq!(subscriber.recv(), ["PUBLISH t=x q0"]);
}

#[test]
fn pubrel_of_an_unknown_identifier_is_told_to_mqtt_5_only() {
    let world = World::new();
    let mut device = world.v5("a");
    device.ack(PubRel, 9);
    assert_eq!(device.recv(), ["PUBCOMP 9 92"]);
    let mut device = world.v3("b");
    device.ack(PubRel, 9);
    assert_eq!(device.recv(), ["PUBCOMP 9"]);
}

#[test]
fn publish_and_its_pubrel_in_one_read_are_answered_in_order() {
    let world = World::new();
    let mut device = world.v5("a");
    let mut bytes = Post::new("t", "x").qos2(5).encode(device.version);
    bytes.extend_from_slice(&[0x62, 2, 0, 5]);
    device.send(&bytes);
    assert_eq!(device.recv(), ["PUBREC 5 10", "PUBCOMP 5"]);
}

#[test]
fn answers_wait_for_the_journal_and_come_in_order() {
    let config = MqttConfig {
        anonymous: true,
        ..MqttConfig::default()
    };
    let world = World::on(config, &BrokerConfig::default(), TestLog::held_back());
    let mut subscriber = world.connect(&Hello::new("s").expiry(60));
    subscriber.subscribe("t", 1);
    world.log.commit();
    assert_eq!(subscriber.recv(), ["SUBACK 1 [01]"]);
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "x").qos1(1));
    device.publish(&Post::new("t", "x").qos2(2));
    device.publish(&Post::new("nobody", "x").qos1(3));
    assert!(
        device.recv().is_empty(),
        "no answer before the commit, nor out of order"
    );
    // Repeated while the answer is on its way.
    device.publish(&Post::new("t", "x").qos1(1).dup());
    device.publish(&Post::new("t", "x").qos2(2).dup());
    assert!(device.recv().is_empty());
    world.log.commit();
    assert_eq!(device.recv(), ["PUBACK 1", "PUBREC 2", "PUBACK 3 10"]);
    assert_eq!(
        subscriber.recv(),
        ["PUBLISH t=x q1 id1", "PUBLISH t=x q1 id2"]
    );
}

/// A queue `q` with room for one message, which gets what is published to `t`.
fn full_queue(native: &mut Client) {
    let mut arguments = Headers::new();
    arguments.push("x-max-length", Value::I64(1));
    arguments.push("x-overflow", Value::text("reject-publish"));
    let decl = QueueDecl {
        name: "q".into(),
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments,
    };
    native.declare_queue(decl).unwrap();
    let no_arguments = Headers::new();
    native
        .bind(&BindingDecl {
            source: "amq.topic",
            destination: Destination::Queue("q"),
            key: b"t",
            syntax: KeySyntax::Dotted,
            arguments: &no_arguments,
            options: BindingOptions::default(),
        })
        .unwrap();
}

#[test]
fn full_queue_that_rejects_is_told_to_mqtt_5_and_kept_silent_to_mqtt_3() {
    let world = World::new();
    let mut native = world.native();
    full_queue(&mut native);
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "1").qos1(1));
    device.publish(&Post::new("t", "2").qos1(2));
    device.publish(&Post::new("t", "3").qos2(3));
    assert_eq!(device.recv(), ["PUBACK 1", "PUBACK 2 97", "PUBREC 3 97"]);
    device.ack(PubRel, 3);
    assert_eq!(
        device.recv(),
        ["PUBCOMP 3 92"],
        "a refused exchange is over"
    );
    let mut device = world.v3("b");
    device.publish(&Post::new("t", "4").qos1(4));
    device.publish(&Post::new("t", "5").qos2(5));
    assert!(device.recv().is_empty());
    native.delete_queue("q", DeleteIf::default()).unwrap();
    device.publish(&Post::new("t", "5").qos2(5).dup());
    assert_eq!(device.recv(), ["PUBREC 5"], "it was not taken for received");
}

#[test]
fn qos_2_identifier_of_a_publish_that_a_queue_rejected_is_not_known_after_a_restart() {
    for hello in [
        Hello::new("a").expiry(60),
        Hello::new("a").version(V311).resume(),
    ] {
        let world = World::new();
        let mut native = world.native();
        full_queue(&mut native);
        let mut device = world.connect(&hello);
        device.publish(&Post::new("t", "1").qos1(1));
        device.publish(&Post::new("t", "2").qos2(2));
        let refused = device.recv();
        assert!(refused == ["PUBACK 1", "PUBREC 2 97"] || refused == ["PUBACK 1"]);
        let world = world.crash();
        let mut native = world.native();
        native.delete_queue("q", DeleteIf::default()).unwrap();
        let mut watcher = world.v5("w");
        watcher.subscribe("t", 0);
        let mut device = world.connect(&hello.resume());
        device.publish(&Post::new("t", "2").qos2(2).dup());
        assert_eq!(device.recv(), ["PUBREC 2"]);
        assert_eq!(watcher.recv(), ["PUBLISH t=2 q0"]);
    }
}

#[test]
fn own_receive_maximum_is_enforced() {
    let world = World::with(MqttConfig {
        receive_max: 2,
        ..MqttConfig::default()
    });
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 2);
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "1").qos2(1));
    device.publish(&Post::new("t", "2").qos2(2));
    device.publish(&Post::new("t", "2").qos2(2).dup());
    device.recv();
    device.publish(&Post::new("t", "3").qos2(3));
    assert_eq!(device.recv(), ["DISCONNECT 93"]);
    assert!(device.is_closed());
}

#[test]
fn mqtt_3_knows_no_receive_maximum() {
    let world = World::with(MqttConfig {
        receive_max: 2,
        ..MqttConfig::default()
    });
    let mut device = world.v3("a");
    for n in 1..=10 {
        device.publish(&Post::new("t", "x").qos2(n));
    }
    assert_eq!(device.recv().len(), 10);
}

#[test]
fn quota_comes_back_with_pubcomp() {
    let world = World::with(MqttConfig {
        receive_max: 1,
        ..MqttConfig::default()
    });
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 0);
    let mut device = world.v5("a");
    for n in 1..4 {
        device.publish(&Post::new("t", "x").qos2(n));
        device.ack(PubRel, n);
        device.publish(&Post::new("t", "x").qos1(n));
    }
    assert!(!device.is_closed());
    assert_eq!(subscriber.recv().len(), 6);
}

#[test]
fn properties_are_passed_on_unaltered_and_in_order() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 0);
    let mut old = world.v3("old");
    old.subscribe("t", 0);
    let mut device = world.v5("a");
    let post = Post::new("t", "x")
        .with(Property::UserProperty("b", "2"))
        .with(Property::PayloadFormatIndicator(true))
        .with(Property::ContentType("text"))
        .with(Property::UserProperty("a", "1"))
        .with(Property::ResponseTopic("re/ply"))
        .with(Property::CorrelationData(&[0, 255]))
        .with(Property::UserProperty("b", ""));
    device.publish(&post);
    let expected = "PUBLISH t=x q0 b:2 PayloadFormatIndicator(true) ContentType(\"text\") a:1 \
        ResponseTopic(\"re/ply\") CorrelationData([0, 255]) b:";
    assert_eq!(subscriber.recv(), [expected]);
    assert_eq!(
        old.recv(),
        ["PUBLISH t=x q0"],
        "MQTT 3 gets the payload alone"
    );
}

#[test]
fn own_dup_flag_is_not_copied_from_the_publisher() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 1);
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "x").qos1(1).dup());
    assert_eq!(subscriber.recv(), ["PUBLISH t=x q1 id1"]);
}

#[test]
fn order_is_kept_from_one_publisher_to_one_subscriber() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 2);
    let mut device = world.v5("a");
    for n in 1..=50_u16 {
        device.publish(&Post::new("t", &n.to_string()).qos1(n));
    }
    let expected: Vec<String> = (1..=50)
        .map(|n| format!("PUBLISH t={n} q1 id{n}"))
        .collect();
    assert_eq!(subscriber.recv(), expected);
}

#[test]
fn empty_payload_is_valid_for_every_qos() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 2);
    let mut device = world.v5("a");
    device.publish(&Post::new("t", ""));
    device.publish(&Post::new("t", "").qos1(1));
    device.publish(&Post::new("t", "").qos2(2));
    let expected = ["PUBLISH t= q1 id1", "PUBLISH t= q2 id2", "PUBLISH t= q0"];
    let mut received = subscriber.recv();
    received.sort();
    let mut expected = expected.map(str::to_owned);
    expected.sort();
    assert_eq!(received, expected);
}

#[test]
fn large_payload_arrives_whole_however_it_is_cut() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("big", 1);
    let payload: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let mut device = world.v5("a");
    let bytes = Post::new("big", "")
        .bytes(&payload)
        .qos1(1)
        .encode(device.version);
    for piece in bytes.chunks(9_999) {
        device.send(piece);
    }
    assert_eq!(device.recv(), ["PUBACK 1"]);
    let received = subscriber.recv_bytes();
    assert!(received.ends_with(&payload) && received.len() < payload.len() + 20);
    // And one that is there at once.
    device.send(
        &Post::new("big", "")
            .bytes(&payload)
            .qos1(2)
            .encode(device.version),
    );
    assert_eq!(device.recv(), ["PUBACK 2"]);
    assert!(subscriber.recv_bytes().ends_with(&payload));
}

#[test]
fn publish_to_sys_goes_nowhere() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("$SYS/x/#", 0);
    let mut device = world.v5("a");
    device.publish(&Post::new("$SYS/x/y", "fake").retain());
    device.publish(&Post::new("$SYS/x/y", "fake").qos1(1));
    assert_eq!(device.recv(), ["PUBACK 1 87"]);
    let mut old = world.connect(&Hello::new("b").version(V311));
    old.publish(&Post::new("$SYS/x", "fake").qos1(1));
    assert_eq!(old.recv(), ["PUBACK 1"]);
    assert!(subscriber.recv().is_empty());
    assert!(
        subscriber.subscribe("$SYS/x/y", 0).len() == 1,
        "nothing retained"
    );
}

#[test]
fn other_dollar_topics_are_like_any() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("$x/+", 0);
    world.v5("a").publish(&Post::new("$x/y", "1"));
    assert_eq!(subscriber.recv(), ["PUBLISH $x/y=1 q0"]);
}

#[test]
fn qos_2_towards_a_subscriber_takes_its_four_packets() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 2);
    world.v5("a").publish(&Post::new("t", "x").qos2(1));
    assert_eq!(subscriber.recv(), ["PUBLISH t=x q2 id1"]);
    subscriber.ack(PubRec, 1);
    assert_eq!(subscriber.recv(), ["PUBREL 1"]);
    subscriber.ack(ternmq_mqtt::frame::PacketType::PubComp, 1);
    assert!(subscriber.recv().is_empty());
    assert!(!subscriber.is_closed());
}
