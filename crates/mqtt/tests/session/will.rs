//! The will (§3.1.2.5, §3.1.3.2).

use ternmq_mqtt::frame::QoS;
use ternmq_mqtt::properties::Property;
use ternmq_mqtt::reason_code::ReasonCode;

use crate::harness::{Device, Hello, Post, V311, World};

fn watcher(world: &World) -> Device {
    let mut device = world.v5("watcher");
    device.subscribe("w", 2);
    device
}

#[test]
fn will_is_published_when_the_line_breaks_and_dropped_at_a_graceful_disconnect() {
    let world = World::new();
    let mut watcher = watcher(&world);
    for hello in [
        Hello::new("a").will("w", "gone"),
        Hello::new("a").version(V311).will("w", "gone"),
    ] {
        world.connect(&hello).disconnect();
        assert!(watcher.recv().is_empty());
        world.connect(&hello).drop_line();
        assert_eq!(watcher.recv().len(), 1);
    }
}

#[test]
fn every_other_reason_of_a_disconnect_publishes_it() {
    let world = World::new();
    let mut watcher = watcher(&world);
    for reason in [
        ReasonCode::DisconnectWithWillMessage,
        ReasonCode::UnspecifiedError,
    ] {
        let mut device = world.connect(&Hello::new("a").will("w", "gone"));
        device.disconnect_with(reason, &[]);
        assert!(device.is_closed());
        assert_eq!(watcher.recv().len(), 1, "{reason:?}");
    }
}

#[test]
fn protocol_error_keep_alive_and_shutdown_publish_it() {
    let world = World::new();
    let mut watcher = watcher(&world);
    let hello = Hello::new("a").keep_alive(10).will("w", "gone");
    let mut device = world.connect(&hello);
    device.send(&[0x00, 0]);
    assert_eq!(watcher.recv().len(), 1);
    let mut device = world.connect(&hello);
    world.pass(15_000);
    device.tick();
    assert_eq!(watcher.recv().len(), 1);
    let mut device = world.connect(&hello);
    device.shut_down();
    assert_eq!(watcher.recv().len(), 1);
}

#[test]
fn qos_retain_and_properties_of_the_will_are_honoured() {
    let world = World::new();
    let mut watcher = watcher(&world);
    let hello = Hello::new("a")
        .will_of("w", "gone", QoS::ExactlyOnce, true)
        .will_with(Property::UserProperty("b", "2"))
        .will_with(Property::MessageExpiryInterval(10))
        .will_with(Property::UserProperty("a", "1"))
        .will_with(Property::ContentType("text"));
    world.connect(&hello).drop_line();
    let properties = "b:2 a:1 ContentType(\"text\")";
    assert_eq!(
        watcher.recv(),
        [format!("PUBLISH w=gone q2 id1 expiry10 {properties}")]
    );
    world.pass(4_000);
    let mut late = world.v5("late");
    let retained = format!("PUBLISH w=gone q1 id1 retain expiry6 {properties}");
    assert_eq!(
        late.subscribe("w", 1),
        ["SUBACK 1 [01]".to_owned(), retained]
    );
}

#[test]
fn empty_will_payload_is_an_empty_message() {
    let world = World::new();
    let mut watcher = watcher(&world);
    world
        .connect(&Hello::new("a").will_of("w", "", QoS::AtMostOnce, true))
        .drop_line();
    assert_eq!(watcher.recv(), ["PUBLISH w= q0"]);
}

#[test]
fn delayed_will_comes_after_its_delay_or_with_the_end_of_the_session() {
    let world = World::new();
    let mut watcher = watcher(&world);
    for (expiry_s, delay_s, after_s) in [(60, 5, 5), (5, 60, 5), (7, 7, 7)] {
        let hello = Hello::new("a")
            .expiry(expiry_s)
            .will("w", "gone")
            .will_with(Property::WillDelayInterval(delay_s));
        world.connect(&hello).drop_line();
        world.pass(after_s * 1000 - 1);
        assert!(watcher.recv().is_empty(), "{expiry_s} {delay_s}");
        world.pass(1);
        assert_eq!(watcher.recv().len(), 1, "{expiry_s} {delay_s}");
        world.pass(100_000);
        assert!(watcher.recv().is_empty());
    }
}

#[test]
fn delay_without_session_expiry_is_none() {
    let world = World::new();
    let mut watcher = watcher(&world);
    world
        .connect(
            &Hello::new("a")
                .will("w", "gone")
                .will_with(Property::WillDelayInterval(60)),
        )
        .drop_line();
    assert_eq!(watcher.recv().len(), 1);
}

#[test]
fn expiry_of_a_delayed_will_counts_from_its_publication() {
    let world = World::new();
    let mut watcher = watcher(&world);
    let hello = Hello::new("a")
        .expiry(60)
        .will("w", "gone")
        .will_with(Property::WillDelayInterval(20))
        .will_with(Property::MessageExpiryInterval(10));
    world.connect(&hello).drop_line();
    world.pass(20_000);
    assert_eq!(watcher.recv(), ["PUBLISH w=gone q1 id1 expiry10"]);
}

#[test]
fn reconnect_before_the_delay_is_over_cancels_it_unless_the_start_is_clean() {
    let world = World::new();
    let mut watcher = watcher(&world);
    let delayed = Hello::new("a")
        .expiry(60)
        .will("w", "gone")
        .will_with(Property::WillDelayInterval(5));
    world.connect(&delayed).drop_line();
    let device = world.connect(&Hello::new("a").expiry(60).resume());
    world.pass(60_000);
    assert!(watcher.recv().is_empty());
    device.disconnect();
    world.connect(&delayed).drop_line();
    let device = world.connect(&Hello::new("a").expiry(60));
    assert_eq!(
        watcher.recv().len(),
        1,
        "the session it belonged to is over"
    );
    device.disconnect();
    world.pass(60_000);
    assert!(watcher.recv().is_empty());
}

#[test]
fn take_over_sends_a_will_without_delay_and_keeps_a_delayed_one_of_a_resumed_session() {
    let world = World::new();
    let mut watcher = watcher(&world);
    let plain = Hello::new("a").expiry(60).will("w", "gone");
    let _older = world.connect(&plain);
    let _newer = world.connect(&plain.clone().resume());
    assert_eq!(watcher.recv().len(), 1);
    let delayed = plain.will_with(Property::WillDelayInterval(5)).resume();
    let _newest = world.connect(&delayed);
    assert_eq!(
        watcher.recv().len(),
        1,
        "of the connection with the plain will"
    );
    let _last = world.connect(&delayed);
    world.pass(60_000);
    assert!(watcher.recv().is_empty());
}

#[test]
fn later_connect_replaces_or_clears_the_will() {
    let world = World::new();
    let mut watcher = watcher(&world);
    world
        .connect(&Hello::new("a").expiry(60).will("w", "one"))
        .disconnect();
    world
        .connect(&Hello::new("a").expiry(60).resume())
        .drop_line();
    assert!(watcher.recv().is_empty());
    world
        .connect(&Hello::new("a").expiry(60).will("w", "two").resume())
        .drop_line();
    assert_eq!(watcher.recv(), ["PUBLISH w=two q1 id1"]);
}

#[test]
fn own_will_reaches_the_own_resumed_session() {
    let world = World::new();
    let hello = Hello::new("a").expiry(60).will("w", "gone");
    let mut device = world.connect(&hello);
    device.subscribe("w", 1);
    device.drop_line();
    let mut device = world.connect(&hello.resume());
    assert_eq!(device.recv(), ["PUBLISH w=gone q1 id1"]);
}

#[test]
fn retained_delayed_will_is_retained() {
    let world = World::new();
    let hello = Hello::new("a")
        .expiry(60)
        .will_of("w", "gone", QoS::AtLeastOnce, true)
        .will_with(Property::WillDelayInterval(5));
    world.connect(&hello).drop_line();
    world.pass(5_000);
    let mut late = world.v5("late");
    assert_eq!(
        late.subscribe("w", 0),
        ["SUBACK 1 [00]", "PUBLISH w=gone q0 retain"]
    );
    late.publish(&Post::new("w", "").retain());
}

#[test]
fn retained_delayed_will_without_payload_forgets_the_topics_message() {
    let world = World::new();
    world.v5("p").publish(&Post::new("w", "kept").retain());
    let hello = Hello::new("a")
        .expiry(60)
        .will_of("w", "", QoS::AtLeastOnce, true)
        .will_with(Property::WillDelayInterval(5));
    world.connect(&hello).drop_line();
    assert_eq!(world.v5("s").subscribe("w", 0).len(), 2);
    world.pass(5_000);
    assert_eq!(world.v5("s").subscribe("w", 0).len(), 1);
}

#[test]
fn delayed_will_waits_over_a_restart_and_is_cancelled_by_the_client_that_comes_back() {
    let delayed = Hello::new("a")
        .expiry(60)
        .will("w", "gone")
        .will_with(Property::WillDelayInterval(30));
    let kept = Hello::new("watcher").expiry(3600);
    for comes_back in [false, true] {
        let world = World::new();
        world.connect(&kept).subscribe("w", 1);
        world.connect(&delayed).drop_line();
        world.pass(10_000);
        let world = world.crash();
        let mut watcher = world.connect(&kept.clone().resume());
        if comes_back {
            world.connect(&Hello::new("a").expiry(60).resume());
            // Nor does it come back with the next restart.
            let world = world.crash();
            let mut watcher = world.connect(&kept.clone().resume());
            world.pass(40_000);
            assert!(watcher.recv().is_empty());
            continue;
        }
        world.pass(19_999);
        assert!(watcher.recv().is_empty());
        world.pass(1);
        assert_eq!(watcher.recv().len(), 1);
    }
}

#[test]
fn session_that_ends_after_a_restart_sends_its_delayed_will() {
    let world = World::new();
    let kept = Hello::new("watcher").expiry(3600);
    world.connect(&kept).subscribe("w", 1);
    let delayed = Hello::new("a")
        .expiry(60)
        .will("w", "gone")
        .will_with(Property::WillDelayInterval(30));
    world.connect(&delayed).drop_line();
    let world = world.crash();
    let mut watcher = world.connect(&kept.resume());
    world.connect(&Hello::new("a"));
    assert_eq!(watcher.recv().len(), 1, "a clean start ends the session");
    world.pass(40_000);
    assert!(watcher.recv().is_empty());
}
