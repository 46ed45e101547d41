//! Messages to the client: windows, acknowledgements, redelivery (§4.3, §4.4, §4.9).

use ternmq_broker::DeleteIf;
use ternmq_core::topology::QueueDecl;
use ternmq_core::value::{Headers, Value};
use ternmq_mqtt::MqttConfig;
use ternmq_mqtt::frame::PacketType::{PubAck, PubComp, PubRec};
use ternmq_mqtt::properties::Property;
use ternmq_mqtt::reason_code::ReasonCode;

use crate::harness::V5;
use crate::harness::{Device, Hello, Post, V311, World};
use crate::log::TestLog;

fn receive_max(id: &str, max: u16) -> Hello<'_> {
    Hello::new(id).with(Property::ReceiveMaximum(max.try_into().unwrap()))
}

fn post_many(device: &mut Device, count: u16) {
    for n in 1..=count {
        device.publish(&Post::new("t", &n.to_string()).qos1(n));
    }
}

#[test]
fn qos_of_a_delivery_is_the_lower_of_publish_and_subscription() {
    let world = World::new();
    let mut device = world.v5("a");
    for granted in 0..=2_u8 {
        let mut subscriber = world.v5("s");
        subscriber.subscribe("t", granted);
        device.publish(&Post::new("t", "2").qos2(1));
        device.ack(ternmq_mqtt::frame::PacketType::PubRel, 1);
        device.publish(&Post::new("t", "1").qos1(2));
        device.publish(&Post::new("t", "0"));
        let mut got: Vec<char> = Vec::new();
        for packet in subscriber.recv() {
            let (payload, qos) = (packet.as_bytes()[10], packet.as_bytes()[13]);
            assert_eq!(
                char::from(qos),
                char::from(payload.min(b'0' + granted)),
                "{packet}"
            );
            got.push(payload.into());
        }
        assert_eq!(got.len(), 3);
    }
}

#[test]
fn no_more_than_the_receive_maximum_is_unacknowledged() {
    let world = World::new();
    let mut subscriber = world.connect(&receive_max("s", 2));
    subscriber.subscribe("t", 1);
    let mut device = world.v5("a");
    post_many(&mut device, 5);
    assert_eq!(
        subscriber.recv(),
        ["PUBLISH t=1 q1 id1", "PUBLISH t=2 q1 id2"]
    );
    device.publish(&Post::new("t", "zero"));
    assert_eq!(subscriber.recv(), ["PUBLISH t=zero q0"], "QoS 0 goes on");
    subscriber.puback(2);
    assert_eq!(subscriber.recv(), ["PUBLISH t=3 q1 id3"]);
    subscriber.puback(1);
    assert_eq!(subscriber.recv(), ["PUBLISH t=4 q1 id4"]);
}

#[test]
fn mqtt_3_has_the_configured_window() {
    let world = World::with(MqttConfig {
        in_flight_max: 3,
        ..MqttConfig::default()
    });
    let mut subscriber = world.v3("s");
    subscriber.subscribe("t", 1);
    post_many(&mut world.v5("a"), 5);
    assert_eq!(subscriber.recv().len(), 3);
}

#[test]
fn quota_of_qos_2_returns_at_pubcomp() {
    let world = World::new();
    let mut subscriber = world.connect(&receive_max("s", 1));
    subscriber.subscribe("t", 2);
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "1").qos2(1));
    device.publish(&Post::new("t", "2").qos2(2));
    assert_eq!(subscriber.recv(), ["PUBLISH t=1 q2 id1"]);
    subscriber.ack(PubRec, 1);
    assert_eq!(subscriber.recv(), ["PUBREL 1"]);
    subscriber.ack(PubComp, 1);
    assert_eq!(subscriber.recv(), ["PUBLISH t=2 q2 id2"]);
    subscriber.ack_with(PubRec, 2, ReasonCode::UnspecifiedError);
    device.publish(&Post::new("t", "3").qos1(3));
    assert_eq!(
        subscriber.recv(),
        ["PUBLISH t=3 q1 id3"],
        "and at a PUBREC that refuses"
    );
}

#[test]
fn wrong_acknowledgement_for_the_qos_is_a_protocol_error() {
    let world = World::new();
    for (qos, packet) in [(1, PubRec), (1, PubComp), (2, PubAck), (2, PubComp)] {
        let mut subscriber = world.v5("s");
        subscriber.subscribe("t", qos);
        world.v5("a").publish(&Post::new("t", "x").qos2(1));
        assert_eq!(subscriber.recv(), [format!("PUBLISH t=x q{qos} id1")]);
        subscriber.ack(packet, 1);
        assert_eq!(
            subscriber.recv(),
            ["DISCONNECT 82"],
            "{packet:?} for QoS {qos}"
        );
    }
}

#[test]
fn acknowledgements_of_unknown_identifiers_are_ignored() {
    let world = World::new();
    let mut device = world.v5("a");
    device.puback(77);
    device.ack(PubComp, 77);
    assert!(device.recv().is_empty());
    device.ack(PubRec, 77);
    assert_eq!(device.recv(), ["PUBREL 77 92"]);
    let mut old = world.v3("b");
    old.ack(PubRec, 77);
    assert_eq!(old.recv(), ["PUBREL 77"]);
}

#[test]
fn repeated_pubrec_is_answered_with_pubrel_again() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 2);
    world.v5("a").publish(&Post::new("t", "x").qos2(1));
    subscriber.recv();
    subscriber.ack(PubRec, 1);
    subscriber.ack(PubRec, 1);
    assert_eq!(subscriber.recv(), ["PUBREL 1", "PUBREL 1"]);
}

#[test]
fn unacknowledged_messages_are_sent_again_with_the_same_identifiers_in_order_before_new_ones() {
    let world = World::new();
    for version in [V5, V311] {
        let hello = if version == V5 {
            Hello::new("s").expiry(60)
        } else {
            Hello::new("s").version(V311)
        };
        world.connect(&Hello::new("s")).disconnect();
        let mut subscriber = world.connect(&hello.clone().resume());
        subscriber.subscribe("t", 2);
        let mut device = world.v5("a");
        device.publish(&Post::new("t", "1").qos1(1));
        device.publish(&Post::new("t", "2").qos2(2));
        device.publish(&Post::new("t", "3").qos2(3));
        device.publish(&Post::new("t", "4").qos1(4));
        assert_eq!(subscriber.recv().len(), 4);
        subscriber.puback(1);
        subscriber.ack(PubRec, 2);
        assert_eq!(
            subscriber.recv(),
            ["PUBREL 2"],
            "nothing is sent again while the connection stands"
        );
        subscriber.drop_line();
        device.publish(&Post::new("t", "5").qos1(5));
        let mut subscriber = world.connect(&hello.resume());
        let expected = [
            "PUBREL 2",
            "PUBLISH t=3 q2 id3 dup",
            "PUBLISH t=4 q1 id4 dup",
            "PUBLISH t=5 q1 id5",
        ];
        assert_eq!(subscriber.recv(), expected);
        subscriber.ack(PubComp, 2);
        subscriber.ack(PubRec, 3);
        subscriber.puback(4);
        subscriber.puback(5);
        assert_eq!(subscriber.recv(), ["PUBREL 3"]);
        subscriber.disconnect();
    }
}

#[test]
fn sending_again_obeys_a_lower_receive_maximum() {
    let world = World::new();
    let mut subscriber = world.connect(&Hello::new("s").expiry(60));
    subscriber.subscribe("t", 1);
    post_many(&mut world.v5("a"), 4);
    assert_eq!(subscriber.recv().len(), 4);
    subscriber.drop_line();
    let mut subscriber = world.connect(&receive_max("s", 2).expiry(60).resume());
    assert_eq!(
        subscriber.recv(),
        ["PUBLISH t=1 q1 id1 dup", "PUBLISH t=2 q1 id2 dup"]
    );
    subscriber.puback(1);
    assert_eq!(subscriber.recv(), ["PUBLISH t=3 q1 id3 dup"]);
    subscriber.puback(2);
    subscriber.puback(3);
    assert_eq!(subscriber.recv(), ["PUBLISH t=4 q1 id4 dup"]);
}

#[test]
fn refused_message_is_never_sent_again_and_dead_letters() {
    let world = World::new();
    let mut native = world.native();
    let queue = |name: &str, arguments| QueueDecl {
        name: name.into(),
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments,
    };
    native.declare_queue(queue("dead", Headers::new())).unwrap();
    let mut arguments = Headers::new();
    arguments.push("x-dead-letter-exchange", Value::text(""));
    arguments.push("x-dead-letter-routing-key", Value::text("dead"));
    // A session uses the queue of its name that is there already.
    native
        .declare_queue(queue("mqtt-subscription-sqos1", arguments))
        .unwrap();
    let mut subscriber = world.connect(&Hello::new("s").expiry(60));
    assert_eq!(subscriber.subscribe("t", 1), ["SUBACK 1 [01]"]);
    world.v5("a").publish(&Post::new("t", "x").qos1(1));
    assert_eq!(subscriber.recv(), ["PUBLISH t=x q1 id1"]);
    subscriber.ack_with(PubAck, 1, ReasonCode::ImplementationSpecificError);
    subscriber.drop_line();
    let mut subscriber = world.connect(&Hello::new("s").expiry(60).resume());
    assert!(subscriber.recv().is_empty());
    let dead = native.get("dead", true).unwrap().unwrap();
    assert_eq!(dead.delivery.message.body(), b"x");
    let history = dead.delivery.message.history().unwrap();
    assert_eq!(history.deaths[0].reason.name(), "rejected");
    assert_eq!(&*history.deaths[0].queue, "mqtt-subscription-sqos1");
    // A session that ends leaves a queue that was not its own.
    subscriber.disconnect_with(
        ReasonCode::NORMAL_DISCONNECTION,
        &[Property::SessionExpiryInterval(0)],
    );
    world.v5("a").publish(&Post::new("t", "x").qos1(1));
    assert_eq!(
        native
            .check_queue("mqtt-subscription-sqos1")
            .unwrap()
            .messages,
        0
    );
}

#[test]
fn message_larger_than_the_client_takes_counts_as_delivered() {
    let world = World::new();
    let mut subscriber = world.connect(&Hello::new("s").with(Property::MaximumPacketSize(60)));
    subscriber.subscribe("t", 1);
    let mut device = world.v5("a");
    let large = "x".repeat(60);
    device.publish(&Post::new("t", &large).qos1(1));
    device.publish(&Post::new("t", &large));
    device.publish(&Post::new("t", "small").qos1(2));
    assert_eq!(device.recv(), ["PUBACK 1", "PUBACK 2"]);
    assert_eq!(subscriber.recv(), ["PUBLISH t=small q1 id1"]);
}

#[test]
fn deletion_of_the_sessions_queue_ends_the_connection() {
    let world = World::new();
    let mut subscriber = world.connect(&Hello::new("s").expiry(60));
    subscriber.subscribe("t", 1);
    world
        .native()
        .delete_queue("mqtt-subscription-sqos1", DeleteIf::default())
        .unwrap();
    assert_eq!(subscriber.recv(), ["DISCONNECT 98"]);
    let mut subscriber = world.dial();
    let connack = subscriber.greet(&Hello::new("s").expiry(60).resume());
    assert_eq!(connack, ["CONNACK 00"], "and the session with it");
    assert_eq!(subscriber.subscribe("t", 1), ["SUBACK 1 [01]"]);
    world.v5("a").publish(&Post::new("t", "x").qos1(1));
    assert_eq!(subscriber.recv(), ["PUBLISH t=x q1 id1"]);
}

#[test]
fn slow_reader_is_held_back_and_gets_everything_in_the_end() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 0);
    let mut device = world.v5("a");
    let body = "x".repeat(1000);
    for _ in 0..500 {
        device.publish(&Post::new("t", &body));
    }
    assert_eq!(subscriber.recv().len(), 500);
}

#[test]
fn pure_publisher_has_no_queue() {
    let world = World::on(
        MqttConfig {
            anonymous: true,
            ..MqttConfig::default()
        },
        &ternmq_broker::BrokerConfig::default(),
        TestLog::new(),
    );
    let mut device = world.connect(&Hello::new("p").expiry(60));
    device.publish(&Post::new("t", "x").qos1(1));
    assert!(
        world
            .native()
            .check_queue("mqtt-subscription-pqos1")
            .is_err()
    );
}
