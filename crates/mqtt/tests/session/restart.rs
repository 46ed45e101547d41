//! What is left of sessions when the node dies and another one starts from its journal (§4.1, §4.4).

use ternmq_mqtt::MqttConfig;
use ternmq_mqtt::frame::PacketType::{PubComp, PubRec, PubRel};
use ternmq_mqtt::frame::{QoS, RetainHandling, SubscribeOptions};
use ternmq_mqtt::properties::Property;
use ternmq_mqtt::reason_code::ReasonCode;

use crate::harness::{Hello, Post, V311, World, options};

fn resumed(world: &World, hello: &Hello<'_>) -> (crate::harness::Device, String) {
    let mut device = world.dial();
    let mut received = device.greet(&hello.clone().resume());
    let connack = received.remove(0);
    device.put_back(received);
    (device, connack)
}

#[test]
fn session_comes_back_with_its_subscriptions_and_their_options() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    let all = SubscribeOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    device.subscribe_with(&[("a/#", all)], Some(7));
    device.subscribe_with(&[("a/+", options(1)), ("b", options(0))], Some(8));
    device.subscribe("gone", 1);
    device.unsubscribe("gone");
    let world = world.crash();
    let (mut device, connack) = resumed(&world, &hello);
    assert_eq!(connack, "CONNACK 00 present");
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("a/x", "1").qos2(1).retain());
    assert_eq!(device.recv(), ["PUBLISH a/x=1 q2 id1 retain sub7 sub8"]);
    publisher.publish(&Post::new("b", "2").qos1(2));
    assert_eq!(device.recv(), ["PUBLISH b=2 q0 sub8"]);
    publisher.publish(&Post::new("gone", "3").qos1(3));
    device.publish(&Post::new("a/x", "own"));
    assert_eq!(
        device.recv(),
        ["PUBLISH a/x=own q0 sub8"],
        "of the one that is local"
    );
    assert_eq!(device.unsubscribe("a/#"), ["UNSUBACK 2 [00]"]);
    publisher.publish(&Post::new("a/x", "4"));
    assert_eq!(device.recv(), ["PUBLISH a/x=4 q0 sub8"]);
}

#[test]
fn tag_of_a_subscription_that_is_gone_is_not_given_again() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe_with(&[("old", options(1))], Some(1));
    device.drop_line();
    world.v5("p").publish(&Post::new("old", "x").qos1(1));
    let mut device = world.connect(
        &hello
            .clone()
            .resume()
            .with(Property::ReceiveMaximum(1.try_into().unwrap())),
    );
    assert_eq!(device.recv(), ["PUBLISH old=x q1 id1 sub1"]);
    device.unsubscribe("old");
    let world = world.crash();
    let (mut device, _) = resumed(&world, &hello);
    assert_eq!(device.recv(), ["PUBLISH old=x q1 id1"]);
    device.subscribe_with(&[("new", options(1))], Some(2));
    device.drop_line();
    let (mut device, _) = resumed(&world, &hello);
    assert_eq!(device.recv(), ["PUBLISH old=x q1 id1 dup"], "not sub2");
}

#[test]
fn messages_for_a_session_that_was_away_come_in_order_and_those_of_qos_0_do_not() {
    let world = World::new();
    let hello = Hello::new("s").version(V311).resume();
    let mut device = world.connect(&hello);
    device.subscribe("t/#", 2);
    device.drop_line();
    let mut publisher = world.v5("p");
    for n in 1..=3_u16 {
        publisher.publish(&Post::new("t/a", &n.to_string()).qos1(n));
    }
    publisher.publish(&Post::new("t/a", "qos 0"));
    let world = world.crash();
    let (mut device, connack) = resumed(&world, &hello);
    assert_eq!(connack, "CONNACK 00 present");
    let expected = [
        "PUBLISH t/a=1 q1 id1",
        "PUBLISH t/a=2 q1 id2",
        "PUBLISH t/a=3 q1 id3",
    ];
    assert_eq!(device.recv(), expected);
}

#[test]
fn session_without_expiry_does_not_come_back() {
    let world = World::new();
    for hello in [Hello::new("s"), Hello::new("t").version(V311)] {
        let mut device = world.connect(&hello);
        device.subscribe("t", 2);
    }
    let was_kept = Hello::new("u").expiry(60);
    let mut device = world.connect(&was_kept);
    device.subscribe("t", 2);
    device.drop_line();
    let _device = world.connect(&Hello::new("u").expiry(0).resume());
    let world = world.crash();
    assert!(world.broker.documents("/", b"mqtt").is_empty());
    for id in ["s", "t", "u"] {
        assert_eq!(resumed(&world, &Hello::new(id)).1, "CONNACK 00");
    }
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", "x").qos1(1));
    assert_eq!(publisher.recv(), ["PUBACK 1 10"]);
}

#[test]
fn session_that_ended_does_not_come_back() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe_with(&[("t", options(2)), ("$share/g/t", options(2))], None);
    device.publish(&Post::new("t", "x").qos2(1));
    assert_eq!(device.recv().len(), 3);
    device.disconnect_with(
        ReasonCode::NORMAL_DISCONNECTION,
        &[Property::SessionExpiryInterval(0)],
    );
    assert!(world.broker.documents("/", b"mqtt").is_empty());
    let world = world.crash();
    assert_eq!(resumed(&world, &hello).1, "CONNACK 00");
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", "x").qos1(1));
    assert_eq!(publisher.recv(), ["PUBACK 1 10"]);
}

#[test]
fn time_counts_over_a_restart_for_a_session_that_was_away() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe("t", 1);
    device.drop_line();
    world.pass(59_000);
    let again = world.crash();
    assert_eq!(resumed(&again, &hello).1, "CONNACK 00 present");
    world.clock.advance_ms(1_000);
    let world = world.crash();
    let queue = "mqtt-subscription-sqos1";
    assert!(
        world.native().check_queue(queue).is_err(),
        "it ended at once"
    );
    assert!(world.broker.documents("/", b"mqtt").is_empty());
    assert_eq!(resumed(&world, &hello).1, "CONNACK 00");
}

#[test]
fn session_that_was_connected_is_kept_from_the_restart_on() {
    let world = World::new();
    let hello = Hello::new("s").expiry(10);
    let mut device = world.connect(&hello);
    device.subscribe("t", 1);
    world.pass(50_000);
    let world = world.crash();
    world.pass(9_999);
    let world = world.crash();
    world.pass(9_999);
    let (device, connack) = resumed(&world, &hello);
    assert_eq!(connack, "CONNACK 00 present");
    device.drop_line();
    world.pass(10_000);
    assert_eq!(resumed(&world, &hello).1, "CONNACK 00");
}

#[test]
fn queue_of_a_session_lives_as_long_as_its_last_expiry_says() {
    let world = World::new();
    world.connect(&Hello::new("s").expiry(10)).subscribe("t", 1);
    let hello = Hello::new("s").expiry(1000);
    resumed(&world, &hello).0.drop_line();
    let world = world.crash();
    world.pass(900_000);
    world.v5("p").publish(&Post::new("t", "x").qos1(1));
    let (mut device, connack) = resumed(&world, &hello);
    assert_eq!(connack, "CONNACK 00 present");
    assert_eq!(device.recv(), ["PUBLISH t=x q1 id1"]);
}

#[test]
fn session_whose_queue_is_gone_is_a_new_one() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe("t", 1);
    device.drop_line();
    let mut native = world.native();
    let queue = "mqtt-subscription-sqos1";
    native
        .delete_queue(queue, ternmq_broker::DeleteIf::default())
        .unwrap();
    let world = world.crash();
    let (mut device, connack) = resumed(&world, &hello);
    assert_eq!(connack, "CONNACK 00");
    assert_eq!(device.subscribe("t", 1), ["SUBACK 1 [01]"]);
}

#[test]
fn documents_that_make_no_sense_are_dropped_and_harm_no_session() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    world.connect(&hello).subscribe("t", 1);
    let mut native = world.native();
    let change = |key: &[u8], value: &[u8]| ternmq_broker::DocumentChange {
        key: key.into(),
        value: Some(value.into()),
    };
    let changes = vec![
        change(b"mqtt\0", b"\x01"),
        change(b"mqtt\0\0\x01s\x02x", b"\x09"),
        change(b"mqtt\0\0\x01s\x02#bad#", b"\x01\0\0\0\x05\0\0\0\0\0\0"),
        change(b"mqtt\0\0\x01s\x03\0\x05", b"\x02"),
        change(
            b"mqtt\0\0\x01s\x04\0\x05",
            b"\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ),
        change(b"mqtt\0\0\x01z\x03\0\x05", b"\x01"),
        change(b"amqp\0", b"another's"),
    ];
    native.put_documents(changes).unwrap();
    let before = world.broker.documents("/", b"").len();
    let world = world.crash();
    assert_eq!(world.broker.documents("/", b"").len(), before - 6);
    let (mut device, connack) = resumed(&world, &hello);
    assert_eq!(connack, "CONNACK 00 present");
    world.v5("p").publish(&Post::new("t", "x").qos1(1));
    assert_eq!(device.recv(), ["PUBLISH t=x q1 id1"]);
}

#[test]
fn retained_messages_that_were_acknowledged_are_there() {
    let world = World::new();
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("a", "1").qos1(1).retain());
    publisher.publish(&Post::new("b", "2").qos2(2).retain());
    publisher.publish(&Post::new("c", "3").retain());
    publisher.publish(&Post::new("c", "").qos1(3).retain());
    let world = world.crash();
    let mut device = world.v5("s");
    let mut received = device.subscribe("#", 2);
    received.sort();
    let expected = [
        "PUBLISH a=1 q1 id1 retain",
        "PUBLISH b=2 q2 id2 retain",
        "SUBACK 1 [02]",
    ];
    assert_eq!(received, expected);
}

#[test]
fn packet_identifiers_received_and_not_released_are_known() {
    for hello in [
        Hello::new("a").expiry(60),
        Hello::new("a").version(V311).resume(),
    ] {
        let world = World::new();
        let mut subscriber = world.connect(&Hello::new("s").expiry(60));
        subscriber.subscribe("t", 1);
        subscriber.disconnect();
        let mut device = world.connect(&hello);
        device.publish(&Post::new("t", "x").qos2(5));
        device.publish(&Post::new("t", "y").qos2(6));
        assert_eq!(device.recv(), ["PUBREC 5", "PUBREC 6"]);
        device.ack(PubRel, 6);
        assert_eq!(device.recv(), ["PUBCOMP 6"]);
        let world = world.crash();
        let (mut device, connack) = resumed(&world, &hello);
        assert_eq!(connack, "CONNACK 00 present");
        device.publish(&Post::new("t", "x").qos2(5).dup());
        device.ack(PubRel, 5);
        device.publish(&Post::new("t", "z").qos2(6));
        assert_eq!(device.recv(), ["PUBREC 5", "PUBCOMP 5", "PUBREC 6"]);
        let (mut subscriber, _) = resumed(&world, &Hello::new("s").expiry(60));
        let expected = [
            "PUBLISH t=x q1 id1",
            "PUBLISH t=y q1 id2",
            "PUBLISH t=z q1 id3",
        ];
        assert_eq!(subscriber.recv(), expected);
    }
}

#[test]
fn unacknowledged_publish_and_pubrel_are_sent_again_with_their_original_identifiers() {
    // MQTT-4.4.0-1, MQTT-4.6.0-1.
    for hello in [
        Hello::new("s").expiry(60),
        Hello::new("s").version(V311).resume(),
    ] {
        let world = World::new();
        let mut device = world.connect(&hello);
        device.subscribe("t", 2);
        let mut publisher = world.v5("p");
        for n in 1..=5_u16 {
            publisher.publish(&Post::new("t", &n.to_string()).qos2(n));
        }
        assert_eq!(device.recv().len(), 5);
        device.ack(PubRec, 2);
        device.ack(PubRec, 3);
        device.ack(PubComp, 3);
        let world = world.crash();
        world.v5("p").publish(&Post::new("t", "6").qos2(6));
        let (mut device, _) = resumed(&world, &hello);
        let expected = [
            "PUBREL 2",
            "PUBLISH t=1 q2 id1 dup",
            "PUBLISH t=4 q2 id4 dup",
            "PUBLISH t=5 q2 id5 dup",
            "PUBLISH t=6 q2 id6",
        ];
        assert_eq!(device.recv(), expected);
        for id in [1, 4, 5, 6] {
            device.ack(PubRec, id);
            device.ack(PubComp, id);
        }
        device.ack(PubComp, 2);
        device.recv();
        device.drop_line();
        let (mut device, _) = resumed(&world, &hello);
        assert!(device.recv().is_empty());
        let world = world.crash();
        let (mut device, _) = resumed(&world, &hello);
        assert!(device.recv().is_empty());
    }
}

#[test]
fn messages_beyond_a_smaller_receive_maximum_keep_their_identifiers_too() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe("t", 2);
    let mut publisher = world.v5("p");
    for n in 1..=3_u16 {
        publisher.publish(&Post::new("t", &n.to_string()).qos2(n));
    }
    assert_eq!(device.recv().len(), 3);
    let world = world.crash();
    let one = Property::ReceiveMaximum(1.try_into().unwrap());
    let (mut device, _) = resumed(&world, &hello.with(one));
    for n in 1..=3 {
        assert_eq!(device.recv(), [format!("PUBLISH t={n} q2 id{n} dup")]);
        device.ack(PubRec, n);
        assert_eq!(device.recv(), [format!("PUBREL {n}")]);
        device.ack(PubComp, n);
    }
    assert!(device.recv().is_empty());
}

#[test]
fn pubrec_that_comes_before_its_publish_is_sent_again_ends_nothing() {
    let world = World::new();
    let (a, b) = (Hello::new("a").expiry(60), Hello::new("b").expiry(60));
    let mut member = world.connect(&a);
    member.subscribe(FILTER, 2);
    world.v5("p").publish(&Post::new("t/x", "m").qos2(1));
    assert_eq!(member.recv(), ["PUBLISH t/x=m q2 id1"]);
    let world = world.crash();
    let mut member = world.dial();
    member.hand_in(&a.clone().resume().encode());
    member.hand_in(b"\x50\x02\x00\x01");
    let received = member.recv();
    assert_eq!(received, ["CONNACK 00 present", "PUBLISH t/x=m q2 id1 dup"]);
    member.ack(PubRec, 1);
    member.ack(PubComp, 1);
    assert_eq!(member.recv(), ["PUBREL 1"]);
    let mut other = world.connect(&b);
    other.subscribe(FILTER, 2);
    member.disconnect();
    assert!(other.recv().is_empty());
}

#[test]
fn messages_of_qos_1_have_a_new_identifier_and_keep_their_place() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe("t", 2);
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", "1").qos1(1));
    publisher.publish(&Post::new("t", "2").qos2(2));
    publisher.publish(&Post::new("t", "3").qos1(3));
    publisher.publish(&Post::new("t", "4").qos2(4));
    assert_eq!(device.recv().len(), 4);
    let world = world.crash();
    let (mut device, _) = resumed(&world, &hello);
    let mut received = device.recv();
    received.sort_by_key(|packet| packet.contains("q2"));
    let expected = [
        "PUBLISH t=1 q1 id5",
        "PUBLISH t=3 q1 id6",
        "PUBLISH t=2 q2 id2 dup",
        "PUBLISH t=4 q2 id4 dup",
    ];
    assert_eq!(received, expected);
    device.drop_line();
    let (mut device, _) = resumed(&world, &hello);
    assert_eq!(device.recv().len(), 4);
}

#[test]
fn exchange_whose_message_is_gone_is_ended_by_pubrel() {
    let world = World::new();
    let hello = Hello::new("s").expiry(600);
    let mut device = world.connect(&hello);
    device.subscribe("t", 2);
    let expiring = Property::MessageExpiryInterval(5);
    world
        .v5("p")
        .publish(&Post::new("t", "x").qos2(1).with(expiring));
    assert_eq!(device.recv(), ["PUBLISH t=x q2 id1 expiry5"]);
    world.pass(10_000);
    let world = world.crash();
    let (mut device, _) = resumed(&world, &hello);
    assert!(device.recv().is_empty());
    // What comes in now came in behind it.
    world.v5("p").publish(&Post::new("t", "y").qos1(1));
    let received = device.recv();
    assert_eq!(received, ["PUBREL 1", "PUBLISH t=y q1 id2"]);
    device.ack(PubComp, 1);
    device.puback(2);
    let world = world.crash();
    assert!(resumed(&world, &hello).0.recv().is_empty());
}

#[test]
fn retained_message_that_was_sent_with_qos_2_is_ended_by_pubrel() {
    let world = World::new();
    world.v5("p").publish(&Post::new("t", "x").qos2(1).retain());
    let hello = Hello::new("s").expiry(600);
    let mut device = world.connect(&hello);
    let received = device.subscribe("t", 2);
    assert_eq!(received, ["SUBACK 1 [02]", "PUBLISH t=x q2 id1 retain"]);
    let world = world.crash();
    let (mut device, _) = resumed(&world, &hello);
    assert_eq!(device.recv(), ["PUBREL 1"]);
    device.ack(PubComp, 1);
    let world = world.crash();
    assert!(resumed(&world, &hello).0.recv().is_empty());
}

const FILTER: &str = "$share/g/t/#";

#[test]
fn groups_come_back_with_their_members_and_go_with_the_last() {
    let world = World::new();
    let (a, b) = (Hello::new("a").expiry(60), Hello::new("b").expiry(60));
    for hello in [&a, &b] {
        world.connect(hello).subscribe(FILTER, 1);
    }
    let _transient = world.v5("c").subscribe(FILTER, 1);
    let world = world.crash();
    let (mut a, _) = resumed(&world, &a);
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t/x", "1").qos1(1));
    assert_eq!(publisher.recv(), ["PUBACK 1"]);
    assert_eq!(a.recv(), ["PUBLISH t/x=1 q1 id1"]);
    assert_eq!(a.unsubscribe(FILTER), ["UNSUBACK 2 [00]"]);
    publisher.publish(&Post::new("t/x", "2").qos1(2));
    assert_eq!(publisher.recv(), ["PUBACK 2"]);
    let (mut b, _) = resumed(&world, &b);
    assert!(b.recv().contains(&"PUBLISH t/x=2 q1 id1".to_owned()));
    assert_eq!(b.unsubscribe(FILTER), ["UNSUBACK 2 [00]"]);
    publisher.publish(&Post::new("t/x", "3").qos1(3));
    assert_eq!(publisher.recv(), ["PUBACK 3 10"]);
}

#[test]
fn group_of_members_that_did_not_come_back_goes_by_itself() {
    let world = World::with(MqttConfig {
        session_expiry_s_max: 100,
        ..MqttConfig::default()
    });
    let _device = world.v5("s").subscribe(FILTER, 1);
    let world = world.crash();
    world.pass(105_000);
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t/x", "x").qos1(1));
    assert_eq!(publisher.recv(), ["PUBACK 1 10"]);
}

#[test]
fn qos_2_in_flight_of_a_group_waits_for_its_member() {
    // MQTT-4.8.2-4.
    let world = World::new();
    let (a, b) = (Hello::new("a").expiry(60), Hello::new("b").expiry(60));
    let mut member = world.connect(&a);
    member.subscribe(FILTER, 2);
    world.v5("p").publish(&Post::new("t/x", "m").qos2(1));
    assert_eq!(member.recv(), ["PUBLISH t/x=m q2 id1"]);
    for a_first in [true, false] {
        let world = world.crash();
        let connected_a = a_first.then(|| resumed(&world, &a).0);
        let one = Property::ReceiveMaximum(1.try_into().unwrap());
        let mut b = world.connect(&b.clone().with(one));
        b.subscribe(FILTER, 2);
        assert!(b.recv().is_empty());
        world.v5("p").publish(&Post::new("t/x", "n").qos2(1));
        if !a_first {
            let of_b = b.recv();
            assert_eq!(
                of_b,
                ["PUBLISH t/x=n q2 id1"],
                "what it keeps takes no room"
            );
            b.put_back(of_b);
        }
        let mut a = connected_a.unwrap_or_else(|| resumed(&world, &a).0);
        let (mut of_a, of_b) = (a.recv(), b.recv());
        assert_eq!(of_a.remove(0), "PUBLISH t/x=m q2 id1 dup");
        let others = [of_a, of_b].concat();
        assert_eq!(others.len(), 1, "{others:?}");
        a.ack(PubRec, 1);
        a.ack(PubComp, 1);
        assert_eq!(a.recv(), ["PUBREL 1"]);
        let world = world.crash();
        let all = format!(
            "{:?}",
            [resumed(&world, &Hello::new("a").expiry(60)).0.recv()]
        );
        assert!(!all.contains("=m"), "{all}");
    }
}

#[test]
fn qos_2_in_flight_of_a_group_reaches_nobody_when_its_member_ends() {
    // MQTT-4.8.2-5.
    let world = World::new();
    let (a, b) = (Hello::new("a").expiry(60), Hello::new("b").expiry(60));
    world.connect(&b).subscribe(FILTER, 2);
    let mut member = world.connect(&a);
    member.subscribe(FILTER, 2);
    let mut publisher = world.v5("p");
    for n in 1..=2_u16 {
        publisher.publish(&Post::new("t/x", "m").qos2(n));
    }
    // The other one went to the member that is away.
    assert_eq!(member.recv().len(), 2);
    for ends_first in [true, false] {
        let world = world.crash();
        if ends_first {
            world.connect(&a.clone()).drop_line();
        }
        let (mut other, _) = resumed(&world, &b);
        assert!(other.recv().is_empty());
        if !ends_first {
            world.connect(&a.clone()).drop_line();
        }
        assert!(other.recv().is_empty());
        world.v5("p").publish(&Post::new("t/x", "n").qos2(3));
        assert_eq!(other.recv(), ["PUBLISH t/x=n q2 id1"]);
    }
}
