//! MQTT 3.1.1 and 5 as a device sees them: rumqttc against the real binary.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use support::Ternmq;
use support::mqtt::{BOTH, Device, Options, PublishProperties, Version};

/// Larger than any buffer on the way.
const LARGE_PAYLOAD_BYTES: usize = 4 * 1024 * 1024;

#[tokio::test]
async fn every_quality_of_service_arrives_both_ways_between_both_versions() {
    let broker = Ternmq::start(&[]);
    for (from, to) in [
        (Version::V311, Version::V5),
        (Version::V5, Version::V311),
        (Version::V5, Version::V5),
    ] {
        let mut publisher = Device::connect(&broker, from, "publisher").await;
        let mut subscriber = Device::connect(&broker, to, "subscriber").await;
        for granted in 0..=2 {
            assert_eq!(subscriber.subscribe("a/b", granted).await, granted);
            for sent in 0..=2 {
                assert_eq!(publisher.publish("a/b", sent, &[sent]).await, 0);
                let message = subscriber.next().await;
                assert_eq!(
                    (message.topic.as_str(), message.payload.as_slice()),
                    ("a/b", &[sent][..])
                );
                assert_eq!(message.qos, sent.min(granted), "{from:?} to {to:?}");
                assert!(!message.retain && !message.dup);
            }
        }
        publisher.disconnect().await;
        subscriber.disconnect().await;
    }
}

#[tokio::test]
async fn many_messages_arrive_once_and_in_order() {
    let broker = Ternmq::start(&[]);
    for version in BOTH {
        for qos in [1, 2] {
            let mut publisher = Device::connect(&broker, version, "publisher").await;
            let mut subscriber = Device::connect(&broker, version, "subscriber").await;
            subscriber.subscribe("stream", qos).await;
            for number in 0..200_u32 {
                publisher
                    .publish("stream", qos, &number.to_be_bytes())
                    .await;
            }
            for number in 0..200_u32 {
                assert_eq!(subscriber.next().await.payload, number.to_be_bytes());
            }
            publisher.publish("stream", qos, b"end").await;
            assert!(subscriber.until(b"end").await.is_empty());
        }
    }
}

#[tokio::test]
async fn publish_nobody_subscribed_to_says_so_in_mqtt_5() {
    let broker = Ternmq::start(&[]);
    for (version, code) in [(Version::V311, 0), (Version::V5, 0x10)] {
        let mut device = Device::connect(&broker, version, "lonely").await;
        assert_eq!(device.publish("nobody/listens", 1, b"m").await, code);
        assert_eq!(device.publish("nobody/listens", 2, b"m").await, 0);
    }
}

#[tokio::test]
async fn wildcards_match_levels() {
    let broker = Ternmq::start(&[]);
    for version in BOTH {
        let mut publisher = Device::connect(&broker, version, "publisher").await;
        for (filter, matching) in [
            ("#", vec!["a", "a/b", "a/b/c", "/a", "a//c", "A"]),
            ("a/#", vec!["a", "a/b", "a/b/c", "a//c"]),
            ("a/+", vec!["a/b"]),
            ("+/+", vec!["a/b", "/a"]),
            ("a/+/c", vec!["a/b/c", "a//c"]),
            ("/+", vec!["/a"]),
            ("+", vec!["a", "A"]),
            ("a", vec!["a"]),
        ] {
            let mut subscriber = Device::connect(&broker, version, "subscriber").await;
            subscriber.subscribe(filter, 1).await;
            for topic in ["a", "a/b", "a/b/c", "/a", "a//c", "A", "$private/a"] {
                publisher.publish(topic, 1, topic.as_bytes()).await;
            }
            subscriber.subscribe("the/end", 1).await;
            publisher.publish("the/end", 1, b"end").await;
            let mut expected: Vec<_> = matching.iter().map(|topic| topic.as_bytes()).collect();
            if filter == "#" {
                expected.push(b"end");
            }
            let mut found = subscriber.until(b"end").await;
            if filter == "#" {
                found.push(b"end".to_vec());
            }
            assert_eq!(found, expected, "{filter} in {version:?}");
        }
    }
}

#[tokio::test]
async fn dollar_topics_are_reached_by_name_only() {
    let broker = Ternmq::start(&[]);
    let mut device = Device::connect(&broker, Version::V5, "device").await;
    device.subscribe("+/a", 1).await;
    device.subscribe("$private/#", 1).await;
    device.publish("$private/a", 1, b"by name").await;
    device.publish("public/a", 1, b"by wildcard").await;
    let message = device.next().await;
    assert_eq!(
        (message.topic.as_str(), message.payload.as_slice()),
        ("$private/a", &b"by name"[..])
    );
    assert!(device.until(b"by wildcard").await.is_empty());
}

#[tokio::test]
async fn overlapping_subscriptions_bring_one_copy_with_the_highest_quality() {
    let broker = Ternmq::start(&[]);
    for version in BOTH {
        let mut device = Device::connect(&broker, version, "device").await;
        for (filter, qos) in [("a/#", 0), ("a/b", 2), ("+/b", 1)] {
            device.subscribe(filter, qos).await;
        }
        device.publish("a/b", 2, b"m").await;
        device.publish("a/end", 1, b"end").await;
        let message = device.next().await;
        assert_eq!((message.payload.as_slice(), message.qos), (&b"m"[..], 2));
        assert!(device.until(b"end").await.is_empty(), "one copy only");
    }
}

#[tokio::test]
async fn unsubscribed_topics_are_silent() {
    let broker = Ternmq::start(&[]);
    for version in BOTH {
        let mut device = Device::connect(&broker, version, "device").await;
        device.subscribe("a/+", 1).await;
        device.subscribe("b", 1).await;
        device.unsubscribe("a/+").await;
        device.publish("a/b", 1, b"not heard").await;
        device.publish("b", 1, b"heard").await;
        assert!(device.until(b"heard").await.is_empty());
    }
}

#[tokio::test]
async fn retained_messages_greet_new_subscribers_until_they_are_deleted() {
    let broker = Ternmq::start(&[]);
    for version in BOTH {
        let mut publisher = Device::connect(&broker, version, "publisher").await;
        for (topic, payload) in [
            ("state/one", &b"old"[..]),
            ("state/one", b"new"),
            ("state/two", b"2"),
        ] {
            publisher.retain(topic, 1, payload).await;
        }
        publisher.publish("state/one", 1, b"live").await;
        let mut subscriber = Device::connect(&broker, version, "subscriber").await;
        subscriber.subscribe("state/+", 1).await;
        let mut greeted = Vec::new();
        for _ in 0..2 {
            let message = subscriber.next().await;
            assert!(message.retain, "{message:?}");
            greeted.push((message.topic, message.payload));
        }
        greeted.sort();
        let expected = [
            ("state/one".to_owned(), b"new".to_vec()),
            ("state/two".to_owned(), b"2".to_vec()),
        ];
        assert_eq!(greeted, expected);
        publisher.retain("state/one", 1, b"newer").await;
        let live = subscriber.next().await;
        assert!(
            live.payload == b"newer" && !live.retain,
            "live copies are not retained: {live:?}"
        );
        for topic in ["state/one", "state/two"] {
            publisher.retain(topic, 1, b"").await;
        }
        let mut late = Device::connect(&broker, version, "late").await;
        late.subscribe("state/+", 1).await;
        publisher.publish("state/one", 1, b"end").await;
        assert!(
            late.until(b"end").await.is_empty(),
            "nothing is retained any more"
        );
    }
}

#[tokio::test]
async fn will_is_published_when_the_connection_breaks_and_not_after_goodbye() {
    let broker = Ternmq::start(&[]);
    for version in BOTH {
        let mut watcher = Device::connect(&broker, version, "watcher").await;
        watcher.subscribe("status/#", 1).await;
        let doomed = |id: &str| {
            Options::new(&broker, version, id).will(&format!("status/{id}"), b"gone", 1, true)
        };
        doomed("polite").connect().await.disconnect().await;
        doomed("broken").connect().await.cut();
        let message = watcher.next().await;
        assert_eq!(
            (message.topic.as_str(), message.payload.as_slice()),
            ("status/broken", &b"gone"[..])
        );
        let mut late = Device::connect(&broker, version, "late").await;
        late.subscribe("status/#", 1).await;
        let retained = late.next().await;
        assert!(retained.topic == "status/broken" && retained.retain);
        late.retain("status/broken", 1, b"").await;
    }
}

#[tokio::test]
async fn session_keeps_subscriptions_and_messages_while_the_device_sleeps() {
    let broker = Ternmq::start(&[]);
    for version in BOTH {
        let mut publisher = Device::connect(&broker, version, "publisher").await;
        let sleeper = || Options::new(&broker, version, &format!("sleeper-{version:?}"));
        let mut awake = sleeper().persistent().connect().await;
        assert!(!awake.session_present);
        awake.subscribe("work", 2).await;
        awake.disconnect().await;
        for number in 0..10_u8 {
            publisher.publish("work", 1 + number % 2, &[number]).await;
        }
        let mut awake = sleeper().persistent().connect().await;
        assert!(awake.session_present);
        publisher.publish("work", 1, b"after").await;
        let expected: Vec<_> = (0..10_u8).map(|number| vec![number]).collect();
        assert_eq!(awake.until(b"after").await, expected);
        awake.disconnect().await;
        let clean = sleeper().connect().await;
        assert!(!clean.session_present);
        clean.disconnect().await;
        let mut fresh = sleeper().persistent().connect().await;
        assert!(
            !fresh.session_present,
            "a clean start ended the old session"
        );
        fresh.subscribe("end", 1).await;
        publisher.publish("work", 1, b"not subscribed").await;
        publisher.publish("end", 1, b"end").await;
        assert!(fresh.until(b"end").await.is_empty());
    }
}

#[tokio::test]
async fn unacknowledged_messages_come_again_after_a_broken_connection() {
    let broker = Ternmq::start(&[]);
    for version in BOTH {
        let mut publisher = Device::connect(&broker, version, "publisher").await;
        let flaky = || {
            Options::new(&broker, version, "flaky")
                .persistent()
                .manual_acks()
        };
        let mut before = flaky().connect().await;
        before.subscribe("work", 1).await;
        for body in [b"a", b"b", b"c"] {
            publisher.publish("work", 1, body).await;
        }
        let first = before.next().await;
        let second = before.next().await;
        assert!(!first.dup && !second.dup);
        before.ack(&first).await;
        // The answer to a later packet comes after the acknowledgement was taken.
        before.subscribe("other", 1).await;
        before.cut();
        let mut after = flaky().connect().await;
        assert!(after.session_present);
        let again = after.next().await;
        assert_eq!(again.payload, b"b", "{version:?}");
        assert!(
            again.dup && again.packet_id == second.packet_id,
            "{again:?}"
        );
        assert_eq!(after.next().await.payload, b"c");
        Options::new(&broker, version, "flaky")
            .connect()
            .await
            .disconnect()
            .await;
    }
}

#[tokio::test]
async fn second_client_of_an_identifier_takes_over_the_session() {
    let broker = Ternmq::start(&[]);
    for (first, second) in [
        (Version::V311, Version::V311),
        (Version::V5, Version::V5),
        (Version::V311, Version::V5),
        (Version::V5, Version::V311),
    ] {
        let id = format!("{first:?}-{second:?}");
        let mut old = Options::new(&broker, first, &id)
            .persistent()
            .connect()
            .await;
        old.subscribe("a", 1).await;
        let mut new = Options::new(&broker, second, &id)
            .persistent()
            .connect()
            .await;
        old.lost().await;
        assert!(new.session_present, "{id}");
        new.publish("a", 1, b"m").await;
        assert_eq!(new.next().await.payload, b"m");
    }
}

#[tokio::test]
async fn shared_subscription_gives_each_message_to_one_member() {
    let broker = Ternmq::start(&[]);
    for version in BOTH {
        let mut publisher = Device::connect(&broker, version, "publisher").await;
        let mut one = Device::connect(&broker, version, "one").await;
        let mut two = Device::connect(&broker, version, "two").await;
        for member in [&mut one, &mut two] {
            member.subscribe("$share/group/jobs/#", 1).await;
        }
        for number in 0..20_u8 {
            publisher.publish("jobs/new", 1, &[number]).await;
        }
        let (mut all, mut of_one) = (Vec::new(), 0);
        while all.len() < 20 {
            let message = tokio::select! {
                message = one.next() => {
                    of_one += 1;
                    message
                }
                message = two.next() => message,
            };
            all.push(message.payload);
        }
        assert!((1..20).contains(&of_one), "both have their share");
        all.sort();
        let expected: Vec<_> = (0..20_u8).map(|number| vec![number]).collect();
        assert_eq!(all, expected, "{version:?}");
    }
}

#[tokio::test]
async fn large_payloads_arrive_whole() {
    let broker = Ternmq::start(&[]);
    let large: Vec<u8> = (0..=255).cycle().take(LARGE_PAYLOAD_BYTES).collect();
    for version in BOTH {
        let mut device = Device::connect(&broker, version, "device").await;
        device.subscribe("large", 2).await;
        for qos in 0..=2 {
            device.publish("large", qos, &large).await;
            assert!(
                device.next().await.payload == large,
                "QoS {qos} in {version:?}"
            );
        }
    }
}

#[tokio::test]
async fn properties_of_mqtt_5_arrive_unaltered_and_in_order() {
    let broker = Ternmq::start(&[]);
    let mut device = Device::connect(&broker, Version::V5, "device").await;
    device.subscribe("a", 1).await;
    let pairs = [("b", "1"), ("a", "2"), ("b", "3"), ("", "")];
    let properties = PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(600),
        response_topic: Some("answers/here.and.there".into()),
        correlation_data: Some(vec![0, 255].into()),
        user_properties: pairs
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        content_type: Some("text/plain".into()),
        ..Default::default()
    };
    device.publish_with("a", 1, b"m", properties.clone()).await;
    let mut received = device.next().await.properties;
    let expiry = received.message_expiry_interval.take().unwrap();
    assert!((590..=600).contains(&expiry), "{expiry}");
    let sent = PublishProperties {
        message_expiry_interval: None,
        ..properties
    };
    assert_eq!(received, sent);
}

#[tokio::test]
async fn expired_messages_are_not_delivered_to_a_device_that_wakes_up() {
    let broker = Ternmq::start(&[]);
    let sleeper = || Options::new(&broker, Version::V5, "sleeper").persistent();
    let mut awake = sleeper().connect().await;
    awake.subscribe("work", 1).await;
    awake.disconnect().await;
    let mut publisher = Device::connect(&broker, Version::V5, "publisher").await;
    let expiring = PublishProperties {
        message_expiry_interval: Some(1),
        ..PublishProperties::default()
    };
    publisher
        .publish_with("work", 1, b"short", expiring.clone())
        .await;
    publisher.publish("work", 1, b"long").await;
    // A second message of the same lifetime, sent later to a queue that tells of its death.
    wait_until_expired(&broker, &mut publisher, expiring).await;
    let mut awake = sleeper().connect().await;
    assert!(awake.session_present);
    assert!(awake.until(b"long").await.is_empty());
}

/// Returns when a message published now with these properties has expired.
async fn wait_until_expired(
    broker: &Ternmq,
    publisher: &mut Device,
    properties: PublishProperties,
) {
    use support::amqp::{bind, consume, declare, next_acked, open, table, text};
    let (_connection, channel) = open(broker).await;
    declare(&channel, "graveyard", table([])).await;
    let to_graveyard = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("graveyard")),
    ];
    declare(&channel, "hourglass", table(to_graveyard)).await;
    bind(&channel, "hourglass", "amq.topic", "hourglass").await;
    let mut graveyard = consume(&channel, "graveyard").await;
    publisher
        .publish_with("hourglass", 1, b"sand", properties)
        .await;
    assert_eq!(next_acked(&mut graveyard).await.data, b"sand");
}

#[tokio::test]
async fn many_subscriptions_of_one_session_are_told_apart() {
    let broker = Ternmq::start(&[]);
    for version in BOTH {
        let mut device = Device::connect(&broker, version, "device").await;
        for number in 0..500 {
            device.subscribe(&format!("room/{number}/+"), 1).await;
        }
        device.publish("room/500/lamp", 1, b"not subscribed").await;
        device.publish("room/499/lamp", 1, b"m").await;
        let message = device.next().await;
        assert_eq!(message.topic, "room/499/lamp");
    }
}

#[tokio::test]
async fn devices_without_credentials_are_let_in_when_told_so() {
    for (arguments, let_in) in [(&["--mqtt-anonymous"][..], true), (&[], false)] {
        let broker = Ternmq::start(arguments);
        let options = rumqttc::MqttOptions::new("anonymous", "127.0.0.1", broker.mqtt.port());
        let (_client, mut event_loop) = rumqttc::AsyncClient::new(options, 10);
        let connected = support::soon(event_loop.poll()).await;
        assert_eq!(connected.is_ok(), let_in, "{connected:?}");
    }
}
