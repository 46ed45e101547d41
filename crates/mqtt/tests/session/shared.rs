//! Shared subscriptions (§4.8.2).

use ternmq_broker::mailbox::Token;
use ternmq_core::queue::{AckMode, Budget, ConsumerSpec, Credit, LeaseTimeout};
use ternmq_mqtt::frame::PacketType::{PubAck, PubRec};
use ternmq_mqtt::properties::Property;
use ternmq_mqtt::reason_code::ReasonCode;

use crate::harness::{Device, Hello, Post, World, options};

const FILTER: &str = "$share/g/t/#";

fn member(world: &World, id: &str, qos: u8) -> Device {
    let mut device = world.v5(id);
    assert_eq!(device.subscribe(FILTER, qos).len(), 1);
    device
}

#[test]
fn each_message_reaches_one_member() {
    let world = World::new();
    for qos in 0..=2 {
        let (mut a, mut b) = (member(&world, "a", qos), member(&world, "b", qos));
        let mut publisher = world.v5("p");
        for n in 1..=10_u16 {
            publisher.publish(&Post::new("t/x", "m").qos1(n));
        }
        let (a, b) = (a.recv().len(), b.recv().len());
        assert_eq!(a + b, 10, "QoS {qos}");
        assert!(a > 0 && b > 0, "QoS {qos}: {a} {b}");
    }
}

#[test]
fn groups_and_plain_subscriptions_get_a_copy_each() {
    let world = World::new();
    let mut device = world.v5("s");
    let filters = [
        ("$share/g/t", options(1)),
        ("$share/h/t", options(0)),
        ("t", options(1)),
    ];
    assert_eq!(
        device.subscribe_with(&filters, Some(3)),
        ["SUBACK 1 [01, 00, 01]"]
    );
    world.v5("p").publish(&Post::new("t", "x").qos1(1));
    let mut received = device.recv();
    received.sort();
    assert_eq!(
        received,
        [
            "PUBLISH t=x q0 sub3",
            "PUBLISH t=x q1 id1 sub3",
            "PUBLISH t=x q1 id2 sub3"
        ]
    );
}

#[test]
fn mqtt_3_may_share_too() {
    let world = World::new();
    let mut device = world.v3("s");
    assert_eq!(device.subscribe("$share/g/t", 1), ["SUBACK 1 [01]"]);
    world.v5("p").publish(&Post::new("t", "x").qos1(1));
    assert_eq!(device.recv(), ["PUBLISH t=x q1 id1"]);
}

#[test]
fn no_retained_messages_for_a_shared_subscription() {
    let world = World::new();
    world.v5("p").publish(&Post::new("t/x", "m").retain());
    member(&world, "a", 1);
}

#[test]
fn unacknowledged_qos_1_goes_to_another_member_when_the_connection_is_lost() {
    let world = World::new();
    for hello in [Hello::new("a"), Hello::new("a").expiry(60)] {
        let mut a = world.connect(&hello);
        a.subscribe(FILTER, 1);
        world.v5("p").publish(&Post::new("t/x", "m").qos1(1));
        assert_eq!(a.recv(), ["PUBLISH t/x=m q1 id1"]);
        let mut b = member(&world, "b", 1);
        assert!(b.recv().is_empty());
        a.drop_line();
        assert_eq!(b.recv(), ["PUBLISH t/x=m q1 id1 dup"]);
        b.puback(1);
        assert!(world.connect(&hello.resume()).recv().is_empty());
        b.drop_line();
        world.v5("a").disconnect();
    }
}

#[test]
fn qos_2_in_flight_waits_for_its_member_and_reaches_nobody_else() {
    let world = World::new();
    let hello = Hello::new("a").expiry(60);
    let mut a = world.connect(&hello);
    a.subscribe(FILTER, 2);
    world.v5("p").publish(&Post::new("t/x", "m").qos2(1));
    assert_eq!(a.recv(), ["PUBLISH t/x=m q2 id1"]);
    a.drop_line();
    let mut b = member(&world, "b", 2);
    assert!(b.recv().is_empty());
    let mut a = world.connect(&hello.resume());
    assert_eq!(a.recv(), ["PUBLISH t/x=m q2 id1 dup"]);
    a.disconnect_with(
        ReasonCode::NORMAL_DISCONNECTION,
        &[Property::SessionExpiryInterval(0)],
    );
    assert!(b.recv().is_empty(), "nor when its session ends");
}

#[test]
fn member_that_refuses_ends_the_message() {
    let world = World::new();
    let mut a = member(&world, "a", 1);
    world.v5("p").publish(&Post::new("t/x", "m").qos1(1));
    a.recv();
    let mut b = member(&world, "b", 1);
    a.ack_with(PubAck, 1, ReasonCode::UnspecifiedError);
    a.drop_line();
    assert!(b.recv().is_empty());
}

#[test]
fn member_with_a_full_window_is_passed_over() {
    let world = World::new();
    let mut a =
        world.connect(&Hello::new("a").with(Property::ReceiveMaximum(1.try_into().unwrap())));
    a.subscribe(FILTER, 1);
    let mut b = member(&world, "b", 1);
    let mut publisher = world.v5("p");
    for n in 1..=10_u16 {
        publisher.publish(&Post::new("t/x", "m").qos1(n));
    }
    assert_eq!((a.recv().len(), b.recv().len()), (1, 9));
}

#[test]
fn messages_wait_for_an_offline_group() {
    let world = World::new();
    let hello = Hello::new("a").expiry(60);
    let mut a = world.connect(&hello);
    a.subscribe(FILTER, 1);
    a.drop_line();
    world.v5("p").publish(&Post::new("t/x", "m").qos1(1));
    assert_eq!(
        world.connect(&hello.resume()).recv(),
        ["PUBLISH t/x=m q1 id1"]
    );
}

#[test]
fn group_is_gone_with_its_last_member() {
    let world = World::new();
    let mut publisher = world.v5("p");
    let mut nobody = || {
        publisher.publish(&Post::new("t/x", "m").qos1(1));
        let answer = publisher.recv();
        answer == ["PUBACK 1 10"]
    };
    let mut a = member(&world, "a", 1);
    let b = member(&world, "b", 1);
    b.drop_line();
    assert!(!nobody());
    assert_eq!(a.unsubscribe(FILTER), ["UNSUBACK 2 [00]"]);
    assert!(nobody());
    assert_eq!(a.unsubscribe(FILTER), ["UNSUBACK 2 [11]"]);
    assert_eq!(a.subscribe(FILTER, 1), ["SUBACK 1 [01]"]);
    assert!(!nobody());
    a.disconnect();
    assert!(nobody());
}

#[test]
fn what_a_member_has_when_it_leaves_completes() {
    let world = World::new();
    let mut a = member(&world, "a", 2);
    world.v5("p").publish(&Post::new("t/x", "m").qos2(1));
    assert_eq!(a.recv(), ["PUBLISH t/x=m q2 id1"]);
    a.unsubscribe(FILTER);
    a.subscribe("$share/other/t/#", 1);
    world.v5("p").publish(&Post::new("t/x", "n").qos1(1));
    assert_eq!(a.recv(), ["PUBLISH t/x=n q1 id2"]);
    a.ack(PubRec, 1);
    assert_eq!(a.recv(), ["PUBREL 1"]);
    a.puback(2);
    assert!(a.recv().is_empty() && !a.is_closed());
}

#[test]
fn subscribing_again_changes_options_and_joins_once() {
    let world = World::new();
    let mut a = member(&world, "a", 0);
    assert_eq!(
        a.subscribe_with(&[(FILTER, options(1))], Some(4)),
        ["SUBACK 1 [01]"]
    );
    world.v5("p").publish(&Post::new("t/x", "m").qos1(1));
    assert_eq!(a.recv(), ["PUBLISH t/x=m q1 id1 sub4"]);
    assert_eq!(a.unsubscribe(FILTER), ["UNSUBACK 2 [00]"]);
    world.v5("p").publish(&Post::new("t/x", "m").qos1(1));
    assert!(a.recv().is_empty());
}

#[test]
fn any_consumer_may_join_the_group() {
    let world = World::new();
    let _member = member(&world, "a", 1);
    let mut native = world.native();
    // FNV-1a of "t/#".
    let queue = "mqtt-share-g-561fef1943ac5b25";
    world.v5("p").publish(&Post::new("t/x", "1").qos1(1));
    let now = world.broker.now();
    let spec = ConsumerSpec {
        mode: AckMode::Auto,
        credit: Credit::Unlimited,
        priority: 9,
        exclusive: false,
        lease_timeout: LeaseTimeout::Never,
    };
    let consumer = native.consume(queue, spec, Token(0)).unwrap();
    world.v5("p").publish(&Post::new("t/x", "2").qos1(1));
    let mut deliveries = Vec::new();
    native.drain(
        &consumer,
        Budget {
            messages: 10,
            bytes: 1000,
        },
        &mut deliveries,
        now,
    );
    assert_eq!(deliveries[0].message.body(), b"2");
}
