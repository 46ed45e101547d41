//! What is said only once it is safe: nothing is on the wire before the journal's watermark has passed.

use ternmq_broker::BrokerConfig;
use ternmq_mqtt::MqttConfig;
use ternmq_mqtt::frame::PacketType::{PubComp, PubRec, PubRel};
use ternmq_mqtt::properties::Property;
use ternmq_mqtt::reason_code::ReasonCode;

use crate::harness::{Device, Hello, Post, V5, V311, World};
use crate::log::TestLog;

fn held_back() -> World {
    let config = MqttConfig {
        anonymous: true,
        ..MqttConfig::default()
    };
    World::on(config, &BrokerConfig::default(), TestLog::held_back())
}

/// Nothing comes before the commit, and then this.
fn only_after_commit(world: &World, device: &mut Device, expected: &[&str]) {
    assert!(device.recv().is_empty(), "before the commit");
    world.log.commit();
    assert_eq!(device.recv(), expected);
}

/// A session with a subscription, both safe.
fn subscribed(world: &World, hello: &Hello<'_>, qos: u8) -> Device {
    let mut device = world.connect(hello);
    device.subscribe("t", qos);
    world.log.commit();
    device.recv();
    device
}

#[test]
fn connack_of_a_session_that_is_kept_waits() {
    for hello in [
        Hello::new("s").expiry(60),
        Hello::new("s").version(V311).resume(),
    ] {
        let world = held_back();
        let mut device = world.dial();
        assert!(device.greet(&hello).is_empty());
        // What it sends meanwhile stays unread, and is handled behind the CONNACK.
        device.arrive(&[0xC0, 0]);
        assert!(!device.reads());
        only_after_commit(&world, &mut device, &["CONNACK 00", "PINGRESP"]);
        assert!(device.reads());
    }
}

#[test]
fn connack_of_a_session_that_is_not_kept_does_not_wait() {
    let world = held_back();
    for hello in [Hello::new("s"), Hello::new("t").version(V311)] {
        assert_eq!(world.dial().greet(&hello), ["CONNACK 00"]);
    }
    assert_eq!(world.log.len(), 0);
}

#[test]
fn connack_of_a_clean_start_waits_for_the_end_of_the_former_session() {
    let world = held_back();
    subscribed(&world, &Hello::new("s").expiry(60), 1).disconnect();
    world.log.commit();
    let mut device = world.dial();
    assert!(device.greet(&Hello::new("s")).is_empty());
    only_after_commit(&world, &mut device, &["CONNACK 00"]);
    let world = world.crash();
    let resumed = world.dial().greet(&Hello::new("s").expiry(60).resume());
    assert_eq!(resumed, ["CONNACK 00"]);
}

#[test]
fn connection_that_ends_before_its_connack_is_sent_nothing() {
    let world = held_back();
    let mut device = world.dial();
    device.greet(&Hello::new("s").expiry(60));
    device.shut_down();
    assert!(device.is_closed() && device.recv_bytes().is_empty());
}

#[test]
fn suback_and_unsuback_of_a_session_that_is_kept_wait() {
    for filter in ["t", "$share/g/t"] {
        let world = held_back();
        let mut device = world.connect(&Hello::new("s").expiry(60));
        assert!(device.subscribe(filter, 1).is_empty());
        only_after_commit(&world, &mut device, &["SUBACK 1 [01]"]);
        assert!(device.unsubscribe(filter).is_empty());
        only_after_commit(&world, &mut device, &["UNSUBACK 2 [00]"]);
        let mut transient = world.v5("t");
        assert_eq!(transient.subscribe(filter, 1), ["SUBACK 1 [01]"]);
        assert_eq!(transient.unsubscribe(filter), ["UNSUBACK 2 [00]"]);
    }
}

#[test]
fn puback_waits_for_the_retained_message() {
    let world = held_back();
    let mut device = world.v5("p");
    device.publish(&Post::new("nobody", "x").qos1(1).retain());
    only_after_commit(&world, &mut device, &["PUBACK 1 10"]);
    device.publish(&Post::new("nobody", "").qos1(2).retain());
    only_after_commit(&world, &mut device, &["PUBACK 2 10"]);
}

#[test]
fn pubrec_waits_for_message_and_identifier_and_pubcomp_for_the_identifier_to_go() {
    for (hello, nobody) in [
        (Hello::new("p").expiry(60), "PUBREC 7 10"),
        (Hello::new("p").version(V311).resume(), "PUBREC 7"),
    ] {
        let world = held_back();
        let mut device = world.connect(&hello);
        device.publish(&Post::new("nobody", "x").qos2(7));
        only_after_commit(&world, &mut device, &[nobody]);
        device.ack(PubRel, 7);
        only_after_commit(&world, &mut device, &["PUBCOMP 7"]);
    }
}

#[test]
fn message_and_identifier_of_qos_2_are_one_batch() {
    let world = held_back();
    let _subscriber = subscribed(&world, &Hello::new("s").expiry(60), 2);
    let mut device = world.connect(&Hello::new("p").expiry(60));
    let before = world.log.len();
    let bytes: Vec<u8> = (1..=3)
        .flat_map(|n| Post::new("t", "x").qos2(n).encode(V5))
        .collect();
    device.send(&bytes);
    assert_eq!(world.log.appends(before), [6]);
    only_after_commit(&world, &mut device, &["PUBREC 1", "PUBREC 2", "PUBREC 3"]);
}

#[test]
fn pubrec_of_a_repetition_waits_for_what_was_lost_with_the_connection() {
    let world = held_back();
    let hello = Hello::new("p").expiry(60);
    let mut device = world.connect(&hello);
    device.publish(&Post::new("nobody", "x").qos2(7));
    let safe = world.log.safe();
    device.drop_line();
    let mut device = world.dial();
    device.greet(&hello.resume());
    device.arrive(&Post::new("nobody", "x").qos2(7).dup().encode(V5));
    world.log.commit_up_to(safe + 1);
    assert!(device.recv().is_empty());
    only_after_commit(&world, &mut device, &["CONNACK 00 present", "PUBREC 7"]);
}

#[test]
fn publish_of_qos_2_waits_for_its_identifier_and_pubrel_for_the_release() {
    for hello in [
        Hello::new("s").expiry(60),
        Hello::new("s").version(V311).resume(),
    ] {
        let world = held_back();
        let mut device = subscribed(&world, &hello, 2);
        let mut publisher = world.v5("p");
        for n in 1..=3 {
            publisher.publish(&Post::new("t", "x").qos2(n));
        }
        world.log.commit();
        let published = world.log.len();
        let all = [
            "PUBLISH t=x q2 id1",
            "PUBLISH t=x q2 id2",
            "PUBLISH t=x q2 id3",
        ];
        only_after_commit(&world, &mut device, &all);
        assert_eq!(world.log.appends(published), [3], "one drain, one batch");
        device.ack(PubRec, 2);
        only_after_commit(&world, &mut device, &["PUBREL 2"]);
        let released = world.log.len();
        device.ack(PubComp, 2);
        assert_eq!(world.log.len(), released + 1, "nothing waits for that");
        device.ack(PubRec, 2);
        let late = device.recv();
        assert_eq!(late.len(), 1, "of an exchange that is over: {late:?}");
    }
}

#[test]
fn release_and_settlement_are_one_batch() {
    let world = held_back();
    let mut device = subscribed(&world, &Hello::new("s").expiry(60), 2);
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", "x").qos2(1));
    publisher.publish(&Post::new("t", "y").qos2(2));
    device.recv();
    only_after_commit(
        &world,
        &mut device,
        &["PUBLISH t=x q2 id1", "PUBLISH t=y q2 id2"],
    );
    let before = world.log.len();
    device.send(b"\x50\x02\x00\x01\x50\x02\x00\x02");
    assert_eq!(world.log.appends(before), [3], "one settles both");
    only_after_commit(&world, &mut device, &["PUBREL 1", "PUBREL 2"]);
}

#[test]
fn messages_of_other_qos_are_not_recorded_and_keep_their_order_behind_qos_2() {
    let world = held_back();
    let mut device = subscribed(&world, &Hello::new("s").expiry(60), 2);
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", "1").qos1(1));
    assert_eq!(device.recv(), ["PUBLISH t=1 q1 id1"]);
    publisher.publish(&Post::new("t", "2").qos2(2));
    publisher.publish(&Post::new("t", "3").qos1(3));
    publisher.publish(&Post::new("t", "4").qos2(4));
    publisher.publish(&Post::new("t", "0"));
    assert_eq!(device.recv(), ["PUBLISH t=0 q0"]);
    let in_order = [
        "PUBLISH t=2 q2 id2",
        "PUBLISH t=3 q1 id3",
        "PUBLISH t=4 q2 id4",
    ];
    only_after_commit(&world, &mut device, &in_order);
}

#[test]
fn qos_2_of_a_session_that_is_not_kept_does_not_wait() {
    let world = held_back();
    let mut device = world.v5("s");
    device.subscribe("t", 2);
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", "x").qos2(1));
    assert_eq!(publisher.recv(), ["PUBREC 1"]);
    publisher.ack(PubRel, 1);
    assert_eq!(publisher.recv(), ["PUBCOMP 1"]);
    assert_eq!(device.recv(), ["PUBLISH t=x q2 id1"]);
    device.ack(PubRec, 1);
    assert_eq!(device.recv(), ["PUBREL 1"]);
    assert_eq!(world.log.len(), 0, "nothing of it is recorded");
}

#[test]
fn what_waits_for_its_identifier_when_the_connection_is_lost_was_never_sent() {
    let world = held_back();
    let hello = Hello::new("s").expiry(60);
    let mut device = subscribed(&world, &hello, 2);
    world.v5("p").publish(&Post::new("t", "x").qos2(1));
    assert!(device.recv().is_empty());
    device.drop_line();
    let mut device = world.connect(&hello.resume());
    let again = ["PUBLISH t=x q2 id2"];
    only_after_commit(&world, &mut device, &again);
}

#[test]
fn session_that_cannot_be_recorded_is_refused_with_quota_exceeded_or_server_unavailable() {
    let world = World::new();
    world.log.set_full(true);
    for (hello, refused) in [
        (Hello::new("s").expiry(60), "CONNACK 97"),
        (Hello::new("s").version(V311).resume(), "CONNACK 03"),
    ] {
        let mut device = world.dial();
        assert_eq!(device.greet(&hello), [refused]);
        assert!(device.is_closed());
        assert_eq!(world.dial().greet(&Hello::new("t")), ["CONNACK 00"]);
    }
    world.log.set_full(false);
    let resumed = world.dial().greet(&Hello::new("s").expiry(60).resume());
    assert_eq!(resumed, ["CONNACK 00"], "nothing of it is left");
}

#[test]
fn session_that_cannot_be_resumed_for_lack_of_room_is_there_later() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe("t", 1);
    device.drop_line();
    world.v5("p").publish(&Post::new("t", "x").qos1(1));
    world.log.set_full(true);
    assert_eq!(world.dial().greet(&hello.clone().resume()), ["CONNACK 97"]);
    world.log.set_full(false);
    let mut device = world.dial();
    let received = device.greet(&hello.clone().resume());
    assert_eq!(received, ["CONNACK 00 present", "PUBLISH t=x q1 id1"]);
    device.drop_line();
    world.log.set_full(true);
    world.dial().greet(&hello.clone().resume());
    world.log.set_full(false);
    world.pass(60_000);
    let received = world.dial().greet(&hello.resume());
    assert_eq!(received, ["CONNACK 00"], "its time went on");
}

#[test]
fn connection_that_is_refused_cancels_no_delayed_will() {
    let world = World::new();
    let mut watcher = world.v5("w");
    watcher.subscribe("will", 0);
    let hello = Hello::new("s").expiry(60);
    let delay = Property::WillDelayInterval(10);
    let dying = hello.clone().will("will", "gone").will_with(delay);
    world.connect(&dying).drop_line();
    world.log.set_full(true);
    assert_eq!(world.dial().greet(&hello.resume()), ["CONNACK 97"]);
    world.log.set_full(false);
    world.pass(10_000);
    assert_eq!(watcher.recv(), ["PUBLISH will=gone q0"]);
}

#[test]
fn full_disk_is_told_to_mqtt_5_and_kept_silent_to_mqtt_3() {
    let world = World::new();
    let mut subscriber = world.connect(&Hello::new("s").expiry(60));
    subscriber.subscribe("t", 2);
    let mut new = world.connect(&Hello::new("a").expiry(60));
    let mut old = world.connect(&Hello::new("b").version(V311).resume());
    world.log.set_full(true);
    for device in [&mut new, &mut old] {
        device.publish(&Post::new("t", "1").qos1(1));
        device.publish(&Post::new("t", "2").qos2(2));
        device.publish(&Post::new("t", "3").qos1(3).retain());
        device.publish(&Post::new("nobody", "4").qos1(4).retain());
        device.publish(&Post::new("nobody", "5").qos2(5));
    }
    let told = [
        "PUBACK 1 97",
        "PUBREC 2 97",
        "PUBACK 3 97",
        "PUBACK 4 97",
        "PUBREC 5 97",
    ];
    assert_eq!(new.recv(), told);
    assert!(old.recv().is_empty() && !old.is_closed());
    assert!(subscriber.recv().is_empty());
    world.log.set_full(false);
    for device in [&mut new, &mut old] {
        device.publish(&Post::new("t", "2").qos2(2).dup());
        assert_eq!(device.recv(), ["PUBREC 2"], "it was not taken for received");
    }
    assert_eq!(subscriber.recv().len(), 2);
}

#[test]
fn release_that_the_journal_refuses_is_withheld_and_asked_for_again() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe("t", 2);
    world.v5("p").publish(&Post::new("t", "x").qos2(1));
    assert_eq!(device.recv(), ["PUBLISH t=x q2 id1"]);
    device.publish(&Post::new("nobody", "y").qos2(9));
    assert_eq!(device.recv(), ["PUBREC 9 10"]);
    world.log.set_full(true);
    device.ack(PubRec, 1);
    device.ack(PubRel, 9);
    assert!(device.recv().is_empty());
    world.log.set_full(false);
    device.ack(PubRec, 1);
    device.ack(PubRel, 9);
    assert_eq!(device.recv(), ["PUBREL 1", "PUBCOMP 9"]);
}

#[test]
fn message_whose_identifier_cannot_be_recorded_is_not_sent_and_comes_later() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe("t", 2);
    world.v5("p").publish(&Post::new("t", "x").qos2(1));
    world.log.set_full(true);
    assert_eq!(device.recv(), ["DISCONNECT 97"]);
    assert!(device.is_closed());
    world.log.set_full(false);
    let received = world.dial().greet(&hello.resume());
    assert_eq!(received, ["CONNACK 00 present", "PUBLISH t=x q2 id2"]);
}

#[test]
fn subscription_that_cannot_be_recorded_is_refused() {
    let world = World::new();
    let mut device = world.connect(&Hello::new("s").expiry(60));
    device.subscribe("u", 1);
    world.log.set_full(true);
    assert_eq!(device.subscribe("t", 1), ["SUBACK 1 [97]"]);
    assert_eq!(device.unsubscribe("u"), ["UNSUBACK 2 [80]"]);
    world.log.set_full(false);
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", "x").qos1(1));
    assert_eq!(publisher.recv(), ["PUBACK 1 10"]);
    assert_eq!(device.subscribe("t", 1), ["SUBACK 1 [01]"]);
}

#[test]
fn qos_2_message_that_the_client_refused_is_not_sent_again_after_a_restart() {
    let world = held_back();
    let mut device = subscribed(&world, &Hello::new("s").expiry(60), 2);
    world.v5("p").publish(&Post::new("t", "x").qos2(1));
    device.recv();
    only_after_commit(&world, &mut device, &["PUBLISH t=x q2 id1"]);
    device.ack_with(PubRec, 1, ReasonCode::UnspecifiedError);
    assert!(device.recv().is_empty());
    world.log.commit();
    let world = world.crash();
    let mut device = world.connect(&Hello::new("s").expiry(60).resume());
    assert!(device.recv().is_empty(), "MQTT-4.4.0-2: never sent again");
}

#[test]
fn publisher_is_not_read_from_while_the_disk_lags_behind_what_it_sent() {
    let world = World::new();
    let mut kept = world.connect(&Hello::new("kept").expiry(60));
    kept.subscribe("t", 1);
    let (mut publisher, mut other) = (world.v5("p"), world.v5("o"));
    world.log.hold_back();
    world.log.set_behind(true);
    publisher.publish(&Post::new("t", "1").qos1(1));
    assert!(!publisher.reads());
    publisher.arrive(&Post::new("t", "2").qos1(2).encode(V5));
    assert!(!publisher.reads(), "nor when more has come");
    other.publish(&Post::new("t", "3"));
    assert!(other.reads(), "what needs no disk goes on");
    world.log.set_behind(false);
    world.log.commit();
    assert_eq!(publisher.recv(), ["PUBACK 1"]);
    assert!(publisher.reads());
    world.log.commit();
    assert_eq!(publisher.recv(), ["PUBACK 2"]);
}
