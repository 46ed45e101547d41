//! Sessions, their expiry, and take-over (§3.1.2.11.2, §3.1.4, §4.1).

use ternmq_broker::BrokerConfig;
use ternmq_mqtt::MqttConfig;
use ternmq_mqtt::properties::Property;
use ternmq_mqtt::reason_code::ReasonCode;

use crate::harness::{Device, Hello, LEAVE_MS, Post, V5, V311, World, options};
use crate::log::TestLog;

fn greet(world: &World, hello: &Hello<'_>) -> (Device, String) {
    let mut device = world.dial();
    let mut received = device.greet(hello);
    let connack = received.remove(0);
    device.put_back(received);
    (device, connack)
}

#[test]
fn kept_session_is_resumed_with_subscriptions_and_messages_in_order() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe_with(&[("t/#", options(1))], Some(9));
    device.disconnect();
    let mut publisher = world.v5("p");
    for n in 1..=3_u16 {
        publisher.publish(&Post::new("t/a", &n.to_string()).qos1(n));
    }
    publisher.publish(&Post::new("t/a", "offline qos 0"));
    let mut device = world.connect(&hello.resume());
    let expected = [
        "PUBLISH t/a=1 q1 id1 sub9",
        "PUBLISH t/a=2 q1 id2 sub9",
        "PUBLISH t/a=3 q1 id3 sub9",
    ];
    assert_eq!(device.recv(), expected);
    publisher.publish(&Post::new("t/a", "live"));
    assert_eq!(device.recv(), ["PUBLISH t/a=live q0 sub9"]);
}

#[test]
fn session_present_is_told_only_where_there_was_one_and_no_clean_start() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    assert_eq!(greet(&world, &hello.clone().resume()).1, "CONNACK 00");
    assert_eq!(
        greet(&world, &hello.clone().resume()).1,
        "CONNACK 00 present"
    );
    assert_eq!(greet(&world, &hello).1, "CONNACK 00");
    assert_eq!(
        greet(&world, &hello.resume()).1,
        "CONNACK 00 present",
        "clean start, kept later"
    );
    let old = Hello::new("old").version(V311).resume();
    assert_eq!(greet(&world, &old).1, "CONNACK 00");
    assert_eq!(greet(&world, &old).1, "CONNACK 00 present");
}

#[test]
fn clean_start_drops_subscriptions_and_messages() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe("t", 1);
    device.drop_line();
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", "x").qos1(1));
    assert_eq!(publisher.recv(), ["PUBACK 1"]);
    let mut device = world.connect(&hello);
    publisher.publish(&Post::new("t", "x").qos1(1));
    assert_eq!(publisher.recv(), ["PUBACK 1 10"]);
    assert!(device.recv().is_empty());
    assert!(
        world
            .native()
            .check_queue("mqtt-subscription-sqos1")
            .is_err()
    );
}

#[test]
fn session_without_expiry_ends_with_its_connection() {
    let world = World::new();
    for hello in [Hello::new("s"), Hello::new("s").version(V311)] {
        let mut device = world.connect(&hello);
        device.subscribe("t", 1);
        assert!(
            world
                .native()
                .check_queue("mqtt-subscription-sqos1")
                .is_err(),
            "exclusive to its connection"
        );
        device.drop_line();
        let mut publisher = world.v5("p");
        publisher.publish(&Post::new("t", "x").qos1(1));
        assert_eq!(publisher.recv(), ["PUBACK 1 10"]);
        assert_eq!(greet(&world, &hello.resume()).1, "CONNACK 00");
    }
}

#[test]
fn session_is_over_when_its_time_is() {
    let world = World::new();
    let hello = Hello::new("s").expiry(10);
    let mut device = world.connect(&hello);
    device.subscribe("t", 1);
    device.drop_line();
    world.pass(9_999);
    let (device, connack) = greet(&world, &hello.clone().resume());
    assert_eq!(connack, "CONNACK 00 present");
    device.drop_line();
    world.pass(10_000);
    assert_eq!(greet(&world, &hello.resume()).1, "CONNACK 00");
}

#[test]
fn queue_of_an_expired_session_goes_by_itself() {
    let world = World::new();
    let mut device = world.connect(&Hello::new("s").expiry(10));
    device.subscribe("t", 1);
    device.drop_line();
    world.pass(10_000);
    assert!(
        world
            .native()
            .check_queue("mqtt-subscription-sqos1")
            .is_ok(),
        "not before the session"
    );
    // Looking at a queue counts as use of it.
    world.pass(20_000);
    assert!(
        world
            .native()
            .check_queue("mqtt-subscription-sqos1")
            .is_err()
    );
}

#[test]
fn another_connect_sweeps_expired_sessions() {
    let world = World::new();
    let mut device = world.connect(&Hello::new("s").expiry(10));
    device.subscribe("t", 1);
    device.drop_line();
    world.clock.advance_ms(10_000);
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", "x").qos1(1));
    assert_eq!(publisher.recv(), ["PUBACK 1 10"]);
}

#[test]
fn reconnect_sets_a_new_expiry_for_session_and_queue() {
    let world = World::new();
    let mut device = world.connect(&Hello::new("s").expiry(10));
    device.subscribe("t", 1);
    device.drop_line();
    world
        .connect(&Hello::new("s").expiry(1000).resume())
        .drop_line();
    world.pass(900_000);
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", "x").qos1(1));
    let mut device = world.connect(&Hello::new("s").expiry(0).resume());
    assert_eq!(device.recv(), ["PUBLISH t=x q1 id1"]);
    device.drop_line();
    assert_eq!(
        greet(&world, &Hello::new("s").resume()).1,
        "CONNACK 00",
        "non-zero to zero"
    );
}

#[test]
fn disconnect_may_change_the_expiry() {
    let world = World::new();
    let hello = Hello::new("s").expiry(100);
    let mut device = world.connect(&hello);
    device.disconnect_with(
        ReasonCode::NORMAL_DISCONNECTION,
        &[Property::SessionExpiryInterval(5)],
    );
    assert!(device.is_closed());
    world.pass(5_000);
    assert_eq!(greet(&world, &hello.clone().resume()).1, "CONNACK 00");
    let mut device = world.connect(&hello.clone().resume());
    device.disconnect_with(
        ReasonCode::NORMAL_DISCONNECTION,
        &[Property::SessionExpiryInterval(0)],
    );
    assert_eq!(
        greet(&world, &hello.clone().resume()).1,
        "CONNACK 00",
        "zero is now"
    );
    let mut device = world.connect(&hello.clone().resume());
    device.disconnect_with(
        ReasonCode::NORMAL_DISCONNECTION,
        &[Property::SessionExpiryInterval(u32::MAX)],
    );
    world.pass(86_399_000);
    assert_eq!(
        greet(&world, &hello.resume()).1,
        "CONNACK 00 present",
        "for ever is cut to the limit"
    );
}

#[test]
fn disconnect_must_not_give_an_expiry_to_a_session_without_one() {
    let world = World::new();
    let mut device = world.v5("s");
    device.disconnect_with(
        ReasonCode::NORMAL_DISCONNECTION,
        &[Property::SessionExpiryInterval(5)],
    );
    assert_eq!(device.recv(), ["DISCONNECT 82"]);
    assert_eq!(greet(&world, &Hello::new("s").resume()).1, "CONNACK 00");
}

#[test]
fn same_client_id_takes_over_and_the_older_connection_is_told() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut older = world.connect(&hello);
    older.subscribe("t", 1);
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", "x").qos1(1));
    assert_eq!(older.recv(), ["PUBLISH t=x q1 id1"]);
    let (mut newer, connack) = greet(&world, &hello.clone().resume());
    assert_eq!(connack, "CONNACK 00 present");
    assert_eq!(older.recv(), ["DISCONNECT 8E"]);
    assert!(older.is_closed());
    publisher.publish(&Post::new("t", "y").qos1(2));
    let expected = ["PUBLISH t=x q1 id1 dup", "PUBLISH t=y q1 id2"];
    assert_eq!(
        newer.recv(),
        expected,
        "the older one's end changes nothing"
    );
    let (mut newest, connack) = greet(&world, &hello);
    assert_eq!(connack, "CONNACK 00");
    assert_eq!(newer.recv(), ["DISCONNECT 8E"]);
    publisher.publish(&Post::new("t", "z").qos1(3));
    assert!(newest.recv().is_empty());
}

#[test]
fn take_over_hands_what_was_unanswered_to_the_newer_connection() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut older = world.connect(&hello);
    older.subscribe("t", 2);
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", "x").qos1(1));
    publisher.publish(&Post::new("t", "y").qos2(2));
    assert_eq!(older.recv().len(), 2);
    let mut newer = world.connect(&hello.resume());
    assert_eq!(
        newer.recv(),
        ["PUBLISH t=x q1 id1 dup", "PUBLISH t=y q2 id2 dup"]
    );
    // The older one's acknowledgement comes too late to count.
    older.puback(1);
    assert_eq!(older.recv(), ["DISCONNECT 8E"]);
    newer.puback(1);
    assert!(!newer.is_closed());
}

#[test]
fn what_the_former_connection_was_sent_before_is_read_before_it_is_taken_over() {
    for version in [V311, V5] {
        let world = World::new();
        let mut watcher = world.v5("w");
        watcher.subscribe("#", 1);
        let hello = Hello::new("s").version(version).will("will", "gone");
        let mut former = world.connect(&hello);
        former.arrive(&Post::new("t", "last").encode(version));
        // DISCONNECT, graceful.
        former.arrive(&[0xE0, 0]);
        let mut device = world.connect(&hello);
        assert!(former.recv().is_empty() && former.is_closed());
        assert_eq!(watcher.recv(), ["PUBLISH t=last q0"]);
        device.publish(&Post::new("t", "first"));
        assert_eq!(watcher.recv(), ["PUBLISH t=first q0"]);
    }
}

#[test]
fn session_expiry_of_a_disconnect_counts_before_the_session_is_taken_over() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60).resume();
    let mut former = world.connect(&hello);
    // DISCONNECT with a session expiry interval of 0.
    former.arrive(b"\xE0\x07\x00\x05\x11\x00\x00\x00\x00");
    let (_, connack) = greet(&world, &hello);
    assert_eq!(connack, "CONNACK 00");
}

#[test]
fn former_connection_that_does_not_move_is_waited_for_no_longer_than_a_second() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60).resume();
    let mut former = world.connect(&hello);
    former.subscribe("t", 1);
    let mut device = world.dial();
    let subscribe = b"\x82\x0A\x00\x01\x00\x00\x04more\x00";
    device.send(&[&hello.encode()[..], &subscribe[..]].concat());
    assert!(device.recv().is_empty() && !device.reads());
    world.pass(999);
    device.tick();
    assert!(device.recv().is_empty());
    world.pass(1);
    device.tick();
    assert_eq!(device.recv(), ["CONNACK 00 present", "SUBACK 1 [00]"]);
    assert!(former.is_closed());
    assert_eq!(former.recv(), ["DISCONNECT 8E"]);
    world.v5("p").publish(&Post::new("t", "x").qos1(1));
    assert_eq!(device.recv(), ["PUBLISH t=x q1 id1"]);
}

#[test]
fn connection_whose_session_is_wanted_reads_on_for_a_moment() {
    let world = World::new();
    let mut watcher = world.v5("w");
    watcher.subscribe("#", 1);
    let hello = Hello::new("s").will("will", "gone");
    let mut former = world.connect(&hello);
    let mut device = world.dial();
    device.send(&hello.encode());
    assert!(former.recv().is_empty() && !former.is_closed());
    former.publish(&Post::new("t", "last"));
    former.send(&[0xE0, 0]);
    assert!(former.is_closed());
    assert_eq!(device.recv(), ["CONNACK 00"]);
    assert_eq!(watcher.recv(), ["PUBLISH t=last q0"]);
}

#[test]
fn of_several_that_wait_for_a_session_the_last_to_look_keeps_it() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60).resume();
    let mut former = world.connect(&hello);
    let (mut first, mut second) = (world.dial(), world.dial());
    first.send(&hello.encode());
    second.send(&hello.encode());
    assert!(former.recv().is_empty());
    world.pass(LEAVE_MS);
    former.tick();
    assert_eq!(former.recv(), ["DISCONNECT 8E"]);
    assert_eq!(first.recv(), ["CONNACK 00 present"]);
    assert!(second.recv().is_empty() && first.recv().is_empty());
    world.pass(LEAVE_MS);
    first.tick();
    assert_eq!(first.recv(), ["DISCONNECT 8E"]);
    assert_eq!(second.recv(), ["CONNACK 00 present"]);
    assert!(!second.is_closed());
}

#[test]
fn client_that_goes_while_it_waits_leaves_the_session_free() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60).resume();
    let former = world.connect(&hello);
    let mut device = world.dial();
    device.send(&hello.encode());
    device.drop_line();
    former.drop_line();
    let (_, connack) = greet(&world, &hello);
    assert_eq!(connack, "CONNACK 00 present");
}

#[test]
fn mqtt_3_is_taken_over_by_a_close_and_sessions_pass_between_versions() {
    let world = World::new();
    let old_hello = Hello::new("s").version(V311).resume();
    let mut old = world.connect(&old_hello);
    old.subscribe("t", 1);
    let (mut new, connack) = greet(&world, &Hello::new("s").expiry(60).resume());
    assert_eq!(connack, "CONNACK 00 present");
    assert!(old.recv_bytes().is_empty() && old.is_closed());
    world.v5("p").publish(&Post::new("t", "x").qos1(1));
    assert_eq!(new.recv(), ["PUBLISH t=x q1 id1"]);
    let (mut old, connack) = greet(&world, &old_hello);
    assert_eq!(connack, "CONNACK 00 present");
    assert_eq!(new.recv(), ["DISCONNECT 8E"]);
    assert_eq!(old.recv(), ["PUBLISH t=x q1 id1 dup"]);
}

#[test]
fn failed_login_takes_nothing_over() {
    let world = World::on(
        MqttConfig::default(),
        &BrokerConfig::default(),
        TestLog::new(),
    );
    let mut device = world.connect(&Hello::new("s").login("guest", b"guest"));
    let (_, connack) = greet(&world, &Hello::new("s").login("guest", b"wrong"));
    assert_eq!(connack, "CONNACK 86");
    assert!(device.recv().is_empty() && !device.is_closed());
}

#[test]
fn session_without_expiry_ends_when_it_is_taken_over() {
    let world = World::new();
    let mut older = world.v5("s");
    older.subscribe("t", 1);
    let (mut newer, connack) = greet(&world, &Hello::new("s").resume());
    assert_eq!(connack, "CONNACK 00");
    assert_eq!(
        newer.subscribe("t", 1),
        ["SUBACK 1 [01]"],
        "its queue is free for the newer one"
    );
    world.v5("p").publish(&Post::new("t", "x").qos1(1));
    assert_eq!(newer.recv(), ["PUBLISH t=x q1 id1"]);
    assert_eq!(older.recv(), ["DISCONNECT 8E"]);
    world.v5("p").publish(&Post::new("t", "y").qos1(1));
    assert_eq!(newer.recv(), ["PUBLISH t=y q1 id2"]);
}

#[test]
fn connection_that_vanishes_without_a_word_leaves_nothing_behind() {
    let world = World::new();
    let mut device = world.connect(&Hello::new("s").will("w", "gone"));
    device.subscribe("t", 1);
    let mut watcher = world.v5("w");
    watcher.subscribe("w", 1);
    device.vanish();
    assert_eq!(watcher.recv(), ["PUBLISH w=gone q1 id1"]);
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", "x").qos1(1));
    assert_eq!(publisher.recv(), ["PUBACK 1 10"]);
}

#[test]
fn lower_qos_in_a_later_connect_changes_no_subscription() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe("t", 2);
    device.drop_line();
    let mut device = world.connect(&hello.resume());
    device.subscribe("other", 0);
    world.v5("p").publish(&Post::new("t", "x").qos2(1));
    assert_eq!(device.recv(), ["PUBLISH t=x q2 id1"]);
}

#[test]
fn session_that_is_taken_while_its_end_is_due_is_one_and_ends_once() {
    let world = World::new();
    let hello = Hello::new("a").expiry(10);
    world.connect(&hello).drop_line();
    world.pass(9_000);
    let mut device = world.connect(&hello.clone().resume());
    device.subscribe("t", 1);
    let mut newer = world.dial();
    assert_eq!(newer.greet(&hello.resume()), ["CONNACK 00 present"]);
    assert!(device.is_closed());
    world.pass(60_000);
    world.v5("sweeps");
    world.v5("p").publish(&Post::new("t", "x"));
    assert_eq!(newer.recv(), ["PUBLISH t=x q0"]);
    newer.drop_line();
    world.pass(10_000);
    assert_eq!(world.dial().greet(&hello_again()), ["CONNACK 00"]);
}

fn hello_again() -> Hello<'static> {
    Hello::new("a").expiry(10).resume()
}
