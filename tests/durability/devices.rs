//! MQTT: sessions, their messages, and what is retained.

use lapin::types::FieldTable;

use crate::support::amqp::{bind, declare, drain, open};
use crate::support::mqtt::{BOTH, Device, Options, PublishProperties, Version};
use crate::support::node::{ENDS, Node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_with_subscriptions_and_waiting_messages_are_kept() {
    for version in BOTH {
        for end in ENDS {
            let mut node = Node::start("");
            let options = |node: &mut Node| Options::new(node.broker(), version, "s").persistent();
            let mut session = options(&mut node).connect().await;
            for (filter, qos) in [("one/#", 1), ("two/+", 2), ("gone/#", 1)] {
                assert_eq!(session.subscribe(filter, qos).await, qos);
            }
            session.unsubscribe("gone/#").await;
            session.disconnect().await;
            let mut publisher = Device::connect(node.broker(), version, "p").await;
            for number in 0..50_u8 {
                publisher.publish("one/topic", 1, &[1, number]).await;
                publisher.publish("two/topic", 2, &[2, number]).await;
            }
            node.restart(end);
            node.restart(end);
            let mut session = options(&mut node).connect().await;
            assert!(session.session_present);
            for number in 0..50_u8 {
                for (qos, topic) in [(1, "one/topic"), (2, "two/topic")] {
                    let message = session.next().await;
                    assert_eq!(message.payload, [qos, number], "{version:?} {end:?}");
                    assert_eq!((message.qos, &*message.topic), (qos, topic));
                }
            }
            // Only what it is subscribed to still comes.
            let mut publisher = Device::connect(node.broker(), version, "p").await;
            publisher.publish("gone/x", 1, b"gone").await;
            publisher.publish("two/x", 1, b"last").await;
            assert_eq!(session.next().await.payload, b"last");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn properties_of_mqtt_5_are_the_same() {
    let properties = PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(3_600),
        topic_alias: None,
        response_topic: Some("answers/here".into()),
        correlation_data: Some(vec![0, 1, 255].into()),
        user_properties: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
        subscription_identifiers: Vec::new(),
        content_type: Some("text/plain".into()),
    };
    for end in ENDS {
        let mut node = Node::start("");
        let options = |node: &mut Node| Options::new(node.broker(), Version::V5, "s").persistent();
        let mut session = options(&mut node).connect().await;
        session.subscribe("a/#", 1).await;
        session.disconnect().await;
        let mut publisher = Device::connect(node.broker(), Version::V5, "p").await;
        let code = publisher
            .publish_with("a/b", 1, b"text", properties.clone())
            .await;
        assert_eq!(code, 0);
        node.restart(end);
        let mut session = options(&mut node).connect().await;
        let mut message = session.next().await;
        let left = message.properties.message_expiry_interval.take().unwrap();
        assert!((3_500..=3_600).contains(&left), "{left} seconds are left");
        message.properties.message_expiry_interval = properties.message_expiry_interval;
        assert_eq!(message.properties, properties, "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_messages_are_kept_and_deleted_ones_are_not() {
    for version in BOTH {
        for end in ENDS {
            let mut node = Node::start("");
            let mut device = Device::connect(node.broker(), version, "d").await;
            for topic in ["r/kept", "r/changed", "r/deleted", "r/last"] {
                device.retain(topic, 1, b"first").await;
            }
            device.retain("r/changed", 2, b"second").await;
            device.retain("r/deleted", 1, b"").await;
            node.restart(end);
            node.restart(end);
            let mut reader = Device::connect(node.broker(), version, "r").await;
            reader.subscribe("r/#", 2).await;
            let mut found = Vec::new();
            for _ in 0..3 {
                let message = reader.next().await;
                assert!(message.retain);
                found.push((message.topic, message.payload, message.qos));
            }
            found.sort();
            let expected = [
                ("r/changed", "second", 2),
                ("r/kept", "first", 1),
                ("r/last", "first", 1),
            ];
            let expected = expected
                .map(|(topic, text, qos)| (topic.to_owned(), text.as_bytes().to_vec(), qos));
            assert_eq!(found, expected, "{version:?} {end:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_groups_keep_members_and_messages() {
    for end in ENDS {
        let mut node = Node::start("");
        let member = |node: &mut Node, id: &str| {
            Options::new(node.broker(), Version::V5, id)
                .persistent()
                .connect()
        };
        for id in ["m1", "m2"] {
            let mut member = member(&mut node, id).await;
            assert_eq!(member.subscribe("$share/group/jobs/#", 1).await, 1);
            member.disconnect().await;
        }
        let mut publisher = Device::connect(node.broker(), Version::V5, "p").await;
        for number in 0..20_u8 {
            assert_eq!(publisher.publish("jobs/x", 1, &[number]).await, 0);
        }
        node.restart(end);
        let mut first = member(&mut node, "m1").await;
        assert!(first.session_present);
        let mut second = member(&mut node, "m2").await;
        let mut publisher = Device::connect(node.broker(), Version::V5, "p").await;
        assert_eq!(publisher.publish("jobs/x", 1, &[20]).await, 0);
        let mut seen = vec![0; 21];
        let mut count = 0;
        while count < 21 {
            let message = crate::support::soon(async {
                tokio::select! {
                    message = first.next() => message,
                    message = second.next() => message,
                }
            })
            .await;
            seen[usize::from(message.payload[0])] += 1;
            count += 1;
        }
        assert_eq!(seen, [1; 21], "{end:?}: each came to one of them");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_between_the_protocols_are_kept() {
    for end in ENDS {
        let mut node = Node::start("");
        let (_connection, channel) = open(node.broker()).await;
        declare(&channel, "readings", FieldTable::default()).await;
        bind(&channel, "readings", "amq.topic", "sensors.#").await;
        let mut device = Device::connect(node.broker(), Version::V311, "d").await;
        device.publish("sensors/kitchen", 1, b"kept").await;
        device.publish("sensors/kitchen", 2, b"kept too").await;
        device.publish("sensors/kitchen", 0, b"transient").await;
        device.publish("sensors/kitchen", 1, b"last").await;
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        let expected: [&[u8]; 3] = [b"kept", b"kept too", b"last"];
        assert_eq!(drain(&channel, "readings").await, expected, "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_of_qos_2_goes_on_where_it_was() {
    for end in ENDS {
        let mut node = Node::start("");
        let options = |node: &mut Node| {
            Options::new(node.broker(), Version::V311, "s")
                .persistent()
                .manual_acks()
        };
        let mut session = options(&mut node).connect().await;
        session.subscribe("a", 2).await;
        let mut publisher = Device::connect(node.broker(), Version::V311, "p").await;
        publisher.publish("a", 2, b"unanswered").await;
        let before = session.next().await;
        assert!(!before.dup);
        // Says so again after the restart, with the same identifier.
        node.restart(end);
        let mut session = options(&mut node).connect().await;
        let after = session.next().await;
        assert_eq!(after.payload, before.payload);
        assert!(after.dup, "{end:?}");
        assert_eq!(after.packet_id, before.packet_id, "{end:?}");
    }
}
