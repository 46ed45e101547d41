//! Retained messages (§3.3.1.3, §3.8.3.1).

use ternmq_broker::BrokerConfig;
use ternmq_mqtt::MqttConfig;
use ternmq_mqtt::frame::{RetainHandling, SubscribeOptions};
use ternmq_mqtt::properties::Property;

use crate::harness::{Hello, Post, World, options};
use crate::log::TestLog;

fn handling(retain_handling: RetainHandling) -> SubscribeOptions {
    SubscribeOptions {
        retain_handling,
        ..options(1)
    }
}

#[test]
fn last_retained_message_of_a_topic_comes_after_the_suback() {
    let world = World::new();
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "old").retain());
    device.publish(
        &Post::new("t", "new")
            .retain()
            .qos1(1)
            .with(Property::UserProperty("k", "v")),
    );
    device.publish(&Post::new("t", "plain"));
    let expected = ["SUBACK 1 [01]", "PUBLISH t=new q1 id1 retain k:v"];
    assert_eq!(
        world.v5("s").subscribe("t", 1),
        expected,
        "with its QoS and properties"
    );
    let expected = ["SUBACK 1 [00]", "PUBLISH t=new q0 retain k:v"];
    assert_eq!(world.v5("s2").subscribe("t", 0), expected);
}

#[test]
fn empty_payload_deletes_and_is_still_delivered() {
    let world = World::new();
    let mut standing = world.v5("s");
    standing.subscribe("t", 0);
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "x").retain());
    device.publish(&Post::new("t", "").retain());
    assert_eq!(standing.recv(), ["PUBLISH t=x q0", "PUBLISH t= q0"]);
    assert_eq!(world.v5("late").subscribe("t", 0), ["SUBACK 1 [00]"]);
}

#[test]
fn standing_subscriptions_see_the_flag_only_with_retain_as_published() {
    let world = World::new();
    let mut plain = world.v5("plain");
    plain.subscribe("t", 0);
    let mut published = world.v5("rap");
    let rap = SubscribeOptions {
        retain_as_published: true,
        ..options(0)
    };
    published.subscribe_with(&[("t", rap)], None);
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "1").retain());
    device.publish(&Post::new("t", "2"));
    assert_eq!(plain.recv(), ["PUBLISH t=1 q0", "PUBLISH t=2 q0"]);
    assert_eq!(
        published.recv(),
        ["PUBLISH t=1 q0 retain", "PUBLISH t=2 q0"]
    );
}

#[test]
fn retain_handling_says_when_they_are_sent() {
    let world = World::new();
    world.v5("a").publish(&Post::new("t", "x").retain());
    for (retain_handling, first, second) in [
        (RetainHandling::SendAtSubscribe, 2, 2),
        (RetainHandling::SendIfNew, 2, 1),
        (RetainHandling::DoNotSend, 1, 1),
    ] {
        let mut device = world.v5("s");
        let filters = [("t", handling(retain_handling))];
        assert_eq!(
            device.subscribe_with(&filters, None).len(),
            first,
            "{retain_handling:?}"
        );
        assert_eq!(
            device.subscribe_with(&filters, None).len(),
            second,
            "{retain_handling:?}"
        );
    }
}

#[test]
fn mqtt_3_gets_them_at_every_subscribe() {
    let world = World::new();
    world.v5("a").publish(&Post::new("t", "x").retain());
    let mut device = world.v3("s");
    for _ in 0..2 {
        assert_eq!(
            device.subscribe("t", 0),
            ["SUBACK 1 [00]", "PUBLISH t=x q0 retain"]
        );
    }
}

#[test]
fn wildcards_match_retained_topics_and_spare_dollar_topics() {
    let world = World::new();
    let mut device = world.v5("a");
    for topic in ["a/b", "a/b/c", "b", "$x/y", "/a"] {
        device.publish(&Post::new(topic, "x").retain());
    }
    let matched = |filter: &str| {
        let mut topics: Vec<String> = world.v5("s").subscribe(filter, 0)[1..]
            .iter()
            .map(|p| p["PUBLISH ".len()..p.find('=').unwrap()].to_owned())
            .collect();
        topics.sort();
        topics
    };
    assert_eq!(matched("#"), ["/a", "a/b", "a/b/c", "b"]);
    assert_eq!(matched("a/#"), ["a/b", "a/b/c"]);
    assert_eq!(matched("+/b"), ["a/b"]);
    assert_eq!(matched("/+"), ["/a"]);
    assert_eq!(matched("$x/#"), ["$x/y"]);
    assert_eq!(matched("a/b/#"), ["a/b", "a/b/c"]);
}

#[test]
fn retained_messages_age_and_expire() {
    let world = World::new();
    let mut device = world.v5("a");
    device.publish(
        &Post::new("t", "x")
            .retain()
            .with(Property::MessageExpiryInterval(10)),
    );
    world.pass(3_500);
    assert_eq!(
        world.v5("s").subscribe("t", 0),
        ["SUBACK 1 [00]", "PUBLISH t=x q0 retain expiry7"]
    );
    world.pass(6_500);
    assert_eq!(world.v5("s").subscribe("t", 0), ["SUBACK 1 [00]"]);
}

#[test]
fn mere_resume_of_a_session_does_not_repeat_them() {
    let world = World::new();
    world.v5("a").publish(&Post::new("t", "x").retain().qos1(1));
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    assert_eq!(device.subscribe("t", 1).len(), 2);
    device.puback(1);
    device.drop_line();
    assert!(world.connect(&hello.resume()).recv().is_empty());
}

#[test]
fn they_carry_the_subscription_identifier() {
    let world = World::new();
    world.v5("a").publish(&Post::new("t", "x").retain());
    let mut device = world.v5("s");
    let received = device.subscribe_with(&[("t", options(0)), ("#", options(0))], Some(7));
    let copy = "PUBLISH t=x q0 retain sub7";
    assert_eq!(received, ["SUBACK 1 [00, 00]", copy, copy]);
}

#[test]
fn many_retained_messages_obey_the_window() {
    let world = World::new();
    let mut device = world.v5("a");
    for n in 1..=10_u16 {
        device.publish(&Post::new(&format!("t/{n}"), "x").retain().qos1(n));
    }
    let mut subscriber =
        world.connect(&Hello::new("s").with(Property::ReceiveMaximum(3.try_into().unwrap())));
    assert_eq!(subscriber.subscribe("t/+", 1).len(), 1 + 3);
    for n in 1..=10 {
        subscriber.puback(n);
    }
    assert_eq!(subscriber.recv().len(), 7);
}

#[test]
fn too_many_topics_are_told_as_quota_and_present_ones_may_change() {
    let broker = BrokerConfig {
        retained_messages_max: 1,
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
    let mut device = world.v5("a");
    device.publish(&Post::new("t", "1").retain().qos1(1));
    device.publish(&Post::new("u", "1").retain().qos1(2));
    device.publish(&Post::new("t", "2").retain().qos1(3));
    assert_eq!(device.recv(), ["PUBACK 1 10", "PUBACK 2 97", "PUBACK 3 10"]);
    assert_eq!(
        world.v5("s").subscribe("#", 0),
        ["SUBACK 1 [00]", "PUBLISH t=2 q0 retain"]
    );
}

#[test]
fn asking_again_replaces_what_still_waits_and_unsubscribing_drops_it() {
    let world = World::new();
    let mut device = world.v5("a");
    for n in 1..=5 {
        device.publish(&Post::new(&format!("t/{n}"), "x").retain());
        device.publish(&Post::new(&format!("u/{n}"), "x").retain().qos1(n));
    }
    let hello = Hello::new("s").with(Property::ReceiveMaximum(1.try_into().unwrap()));
    let mut subscriber = world.connect(&hello);
    // One of them is on its way, four wait for its acknowledgement.
    assert_eq!(subscriber.subscribe("u/#", 1).len(), 2);
    for _ in 0..3 {
        assert_eq!(subscriber.subscribe("u/#", 1), ["SUBACK 1 [01]"]);
    }
    let mut received = 0;
    for id in 1..10 {
        subscriber.puback(id);
        received += subscriber.recv().len();
    }
    assert_eq!(received, 5, "those of the last SUBSCRIBE alone");
    assert_eq!(subscriber.subscribe("u/#", 1).len(), 2);
    assert_eq!(subscriber.unsubscribe("u/#"), ["UNSUBACK 2 [00]"]);
    subscriber.puback(7);
    assert!(subscriber.recv().is_empty());
}

#[test]
fn those_that_wait_for_a_client_are_bounded() {
    let world = World::with(MqttConfig {
        retained_per_subscribe_max: 10,
        ..MqttConfig::default()
    });
    let mut device = world.v5("a");
    for n in 1..=8 {
        device.publish(&Post::new(&format!("t/{n}"), "x").retain().qos1(n));
    }
    let hello = Hello::new("s").with(Property::ReceiveMaximum(1.try_into().unwrap()));
    let mut subscriber = world.connect(&hello);
    let filters = ["t/#", "+/+", "#"].map(|filter| (filter, options(1)));
    assert_eq!(subscriber.subscribe_with(&filters, None).len(), 2);
    let mut received = 1;
    for id in 1..30 {
        subscriber.puback(id);
        received += subscriber.recv().len();
    }
    assert_eq!(received, 10);
}

#[test]
fn subscribes_that_find_many_are_handled_in_several_turns_and_in_order() {
    let world = World::new();
    let mut device = world.v5("a");
    for n in 0..2000 {
        device.publish(&Post::new(&format!("t/{n}"), "x").retain());
    }
    let mut subscriber = world.v5("s");
    let subscribe = b"\x82\x09\x00\x01\x00\x00\x03t/#\x00";
    let turn = subscribe.repeat(10);
    subscriber.hand_in(&turn);
    assert!(subscriber.unconsumed() > 0, "others have a turn");
    let received = subscriber.recv();
    let subacks = received
        .iter()
        .filter(|packet| packet.starts_with("SUBACK"));
    assert_eq!(subacks.count(), 10);
    assert!(received.len() >= 2010, "{}", received.len());
    assert_eq!(subscriber.unconsumed(), 0);
}
