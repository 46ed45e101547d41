//! MQTT devices and RabbitMQ clients on the same messages: rumqttc and lapin against the real binary.
//! The rules are those of `docs/bridging.md`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use lapin::options::{BasicNackOptions, BasicRejectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Consumer};
use support::amqp::{
    Death, bind, consume, counts, deaths, declare, drain, get, header, next, next_acked, number,
    open, persistent, publish, table, text,
};
use support::mqtt::{BOTH, Device, Message, Options, PublishProperties, Version};
use support::raw::{Raw, mqtt_subscribe, packet};
use support::{Ternmq, soon};

/// More than one frame in AMQP.
const LARGE_BYTES: usize = 1024 * 1024;

/// Publishes to the exchange of all MQTT traffic; it must be taken.
async fn emit(channel: &Channel, key: &str, body: &[u8], properties: BasicProperties) {
    let confirmation = publish(channel, "amq.topic", key, body, properties).await;
    assert!(confirmation.is_ack(), "{confirmation:?}");
}

/// Declares the queue all dead letters go to, and consumes it.
async fn open_graveyard(channel: &Channel) -> Consumer {
    declare(channel, "graveyard", FieldTable::default()).await;
    consume(channel, "graveyard").await
}

/// Arguments of a queue whose dead letters go to the graveyard, and these.
fn mortal<const N: usize>(more: [(&str, AMQPValue); N]) -> FieldTable {
    let mut arguments = table(more);
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text("graveyard"));
    arguments
}

fn user_property<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let all = &message.properties.user_properties;
    all.iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn device_publishes_and_worker_consumes() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "readings", FieldTable::default()).await;
    bind(&channel, "readings", "amq.topic", "sensors.*.temperature").await;
    let mut worker = consume(&channel, "readings").await;
    for version in BOTH {
        let mut device = Device::connect(&broker, version, "device").await;
        for qos in 0..=2 {
            device
                .publish("sensors/kitchen/temperature", qos, b"21.5")
                .await;
            let delivery = next_acked(&mut worker).await;
            assert_eq!(delivery.exchange.as_str(), "amq.topic");
            assert_eq!(delivery.routing_key.as_str(), "sensors.kitchen.temperature");
            assert_eq!(delivery.data, b"21.5");
            let delivery_mode = if qos == 0 { 1 } else { 2 };
            assert_eq!(delivery.properties.delivery_mode(), &Some(delivery_mode));
            assert_eq!(delivery.properties.reply_to(), &None);
        }
    }
}

#[tokio::test]
async fn application_publishes_and_device_hears() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    for version in BOTH {
        let mut device = Device::connect(&broker, version, "device").await;
        device.subscribe("commands/+/fan", 1).await;
        emit(&channel, "commands.attic.fan", b"on", persistent()).await;
        emit(
            &channel,
            "commands.attic.fan",
            b"off",
            BasicProperties::default(),
        )
        .await;
        for (payload, qos) in [(&b"on"[..], 1), (b"off", 0)] {
            let message = device.next().await;
            assert_eq!(message.topic, "commands/attic/fan");
            assert_eq!(
                (message.payload.as_slice(), message.qos),
                (payload, qos),
                "{version:?}"
            );
            assert!(!message.retain && !message.dup);
        }
    }
}

#[tokio::test]
async fn both_kinds_of_consumers_get_the_same_message_from_both_kinds_of_publishers() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "q", FieldTable::default()).await;
    bind(&channel, "q", "amq.topic", "a.#").await;
    let mut worker = consume(&channel, "q").await;
    for version in BOTH {
        let mut device = Device::connect(&broker, version, "device").await;
        device.subscribe("a/#", 1).await;
        device.publish("a/b", 1, b"from MQTT").await;
        emit(&channel, "a.b", b"from AMQP", persistent()).await;
        for body in [&b"from MQTT"[..], b"from AMQP"] {
            assert_eq!(next_acked(&mut worker).await.data, body);
            let message = device.next().await;
            assert_eq!((message.payload.as_slice(), message.qos), (body, 1));
        }
    }
}

#[tokio::test]
async fn poisoned_message_of_a_device_ends_in_the_graveyard_with_its_history() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    let mut graveyard = open_graveyard(&channel).await;
    declare(&channel, "readings", mortal([])).await;
    bind(&channel, "readings", "amq.topic", "sensors.#").await;
    let mut worker = consume(&channel, "readings").await;
    let mut device = Device::connect(&broker, Version::V5, "device").await;
    device
        .publish("sensors/attic/temperature", 1, b"poison")
        .await;
    let poison = next(&mut worker).await;
    soon(poison.reject(BasicRejectOptions { requeue: false }))
        .await
        .unwrap();
    let dead = next_acked(&mut graveyard).await;
    assert_eq!(dead.data, b"poison");
    let death = Death::once(
        "rejected",
        "readings",
        "amq.topic",
        "sensors.attic.temperature",
    );
    assert_eq!(deaths(&dead.properties), [death]);
    assert_eq!(
        header(&dead.properties, "x-first-death-queue").as_deref(),
        Some("readings")
    );
}

/// Rejected by an AMQP consumer, refused by an MQTT 5 client, expired in a session's queue, over the delivery limit:
/// one dead-letter queue, one kind of history.
#[tokio::test]
async fn every_death_leads_to_one_graveyard() {
    let config = "[mqtt]\ndead_letter_exchange = \"dead\"\n";
    let broker = Ternmq::start_with_config(config, &[]);
    let (_connection, channel) = open(&broker).await;
    let options = lapin::options::ExchangeDeclareOptions::default();
    let fanout = lapin::ExchangeKind::Fanout;
    soon(channel.exchange_declare("dead".into(), fanout, options, FieldTable::default()))
        .await
        .unwrap();
    let mut graveyard = open_graveyard(&channel).await;
    bind(&channel, "graveyard", "dead", "").await;
    let limited = [
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", number(0)),
        ("x-dead-letter-exchange", text("dead")),
    ];
    declare(&channel, "limited", table(limited)).await;
    bind(&channel, "limited", "amq.topic", "limited").await;
    let mut device = Device::connect(&broker, Version::V5, "device").await;

    device.publish("limited", 1, b"over its limit").await;
    let taken = get(&channel, "limited").await.unwrap();
    soon(taken.reject(BasicRejectOptions { requeue: true }))
        .await
        .unwrap();
    let dead = next_acked(&mut graveyard).await;
    assert_eq!(dead.data, b"over its limit");
    let death = Death::once("delivery_limit", "limited", "amq.topic", "limited");
    assert_eq!(deaths(&dead.properties), [death]);

    let sleeper = || Options::new(&broker, Version::V5, "sleeper").persistent();
    let mut awake = sleeper().connect().await;
    awake.subscribe("letters/sleeper", 1).await;
    awake.disconnect().await;
    let expiring = PublishProperties {
        message_expiry_interval: Some(1),
        ..PublishProperties::default()
    };
    device
        .publish_with("letters/sleeper", 1, b"too late", expiring)
        .await;
    let dead = next_acked(&mut graveyard).await;
    assert_eq!(dead.data, b"too late");
    let queue = "mqtt-subscription-sleeperqos1";
    let death = Death::once("expired", queue, "amq.topic", "letters.sleeper");
    assert_eq!(deaths(&dead.properties), [death]);

    let mut fussy = Raw::mqtt(broker.mqtt, 5, "fussy");
    fussy.send(&mqtt_subscribe(5, "letters/fussy", 1));
    assert_eq!(fussy.packet().0, 0x90);
    emit(&channel, "letters.fussy", b"refused", persistent()).await;
    let (kind, publish) = fussy.packet();
    assert_eq!(kind, 0x32);
    let at = 2 + "letters/fussy".len();
    fussy.send(&packet(0x40, &[publish[at], publish[at + 1], 0x80]));
    let dead = next_acked(&mut graveyard).await;
    assert_eq!(dead.data, b"refused");
    let queue = "mqtt-subscription-fussyqos1";
    let death = Death::once("rejected", queue, "amq.topic", "letters.fussy");
    assert_eq!(deaths(&dead.properties), [death]);
}

#[tokio::test]
async fn message_of_a_device_expires_in_a_queue_of_workers() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    let mut graveyard = open_graveyard(&channel).await;
    declare(&channel, "slow", mortal([])).await;
    bind(&channel, "slow", "amq.topic", "jobs").await;
    let mut device = Device::connect(&broker, Version::V5, "device").await;
    let expiring = PublishProperties {
        message_expiry_interval: Some(1),
        ..PublishProperties::default()
    };
    device.publish_with("jobs", 1, b"m", expiring).await;
    let dead = next_acked(&mut graveyard).await;
    assert_eq!(
        deaths(&dead.properties),
        [Death::once("expired", "slow", "amq.topic", "jobs")]
    );
    assert_eq!(dead.properties.expiration(), &None);
}

#[tokio::test]
async fn device_reads_the_history_of_a_dead_message() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    let arguments = [
        ("x-dead-letter-exchange", text("amq.topic")),
        ("x-dead-letter-routing-key", text("dead.jobs")),
    ];
    declare(&channel, "jobs", table(arguments)).await;
    let mut watcher = Device::connect(&broker, Version::V5, "watcher").await;
    watcher.subscribe("dead/#", 1).await;
    let headers = table([("unit", text("celsius"))]);
    let properties = persistent().with_headers(headers);
    publish(&channel, "", "jobs", b"poison", properties).await;
    let poison = get(&channel, "jobs").await.unwrap();
    soon(poison.nack(BasicNackOptions::default()))
        .await
        .unwrap();
    let dead = watcher.next().await;
    assert_eq!(
        (dead.topic.as_str(), dead.payload.as_slice()),
        ("dead/jobs", &b"poison"[..])
    );
    for (name, expected) in [
        ("unit", "celsius"),
        ("x-first-death-reason", "rejected"),
        ("x-first-death-queue", "jobs"),
        ("x-last-death-reason", "rejected"),
        ("x-last-death-queue", "jobs"),
        ("x-death-count", "1"),
    ] {
        assert_eq!(
            user_property(&dead, name),
            Some(expected),
            "{name} in {dead:?}"
        );
    }
}

#[tokio::test]
async fn dots_in_topics_are_exact_among_devices_and_join_words_for_workers() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "words", FieldTable::default()).await;
    bind(&channel, "words", "amq.topic", "a.b.c").await;
    let mut publisher = Device::connect(&broker, Version::V5, "publisher").await;
    let mut exact = Device::connect(&broker, Version::V5, "exact").await;
    let mut levels = Device::connect(&broker, Version::V5, "levels").await;
    exact.subscribe("a/+", 1).await;
    exact.subscribe("end", 1).await;
    levels.subscribe("a/+/c", 1).await;
    levels.subscribe("end", 1).await;
    publisher.publish("a/b.c", 1, b"two levels").await;
    publisher.publish("a/b/c", 1, b"three levels").await;
    emit(&channel, "a.b.c", b"a key", persistent()).await;
    publisher.publish("end", 1, b"end").await;
    let dotted = exact.next().await;
    assert_eq!(
        (dotted.topic.as_str(), dotted.payload.as_slice()),
        ("a/b.c", &b"two levels"[..])
    );
    assert!(exact.until(b"end").await.is_empty());
    let split = levels.next().await;
    assert_eq!(
        (split.topic.as_str(), split.payload.as_slice()),
        ("a/b/c", &b"three levels"[..])
    );
    let key = levels.next().await;
    assert_eq!(
        (key.topic.as_str(), key.payload.as_slice()),
        ("a/b/c", &b"a key"[..])
    );
    assert!(levels.until(b"end").await.is_empty());
    let expected = [&b"two levels"[..], b"three levels", b"a key"];
    assert_eq!(drain(&channel, "words").await, expected);
}

#[tokio::test]
async fn key_that_is_no_topic_name_reaches_workers_only() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "q", FieldTable::default()).await;
    bind(&channel, "q", "amq.topic", "#").await;
    let mut device = Device::connect(&broker, Version::V311, "device").await;
    device.subscribe("#", 1).await;
    for key in ["a.+", "a.#", ""] {
        emit(&channel, key, b"no topic", persistent()).await;
    }
    emit(&channel, "a.b", b"topic", persistent()).await;
    assert!(device.until(b"topic").await.is_empty());
    assert_eq!(drain(&channel, "q").await.len(), 4);
}

#[tokio::test]
async fn properties_of_mqtt_5_become_properties_of_amqp() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "q", FieldTable::default()).await;
    bind(&channel, "q", "amq.topic", "a").await;
    let mut device = Device::connect(&broker, Version::V5, "device").await;
    let properties = PublishProperties {
        message_expiry_interval: Some(60),
        response_topic: Some("answers/7".into()),
        correlation_data: Some(b"request-7".to_vec().into()),
        user_properties: vec![
            ("unit".into(), "celsius".into()),
            ("room".into(), "küche".into()),
        ],
        content_type: Some("text/plain".into()),
        ..Default::default()
    };
    device.publish_with("a", 1, b"m", properties).await;
    let received = get(&channel, "q").await.unwrap().delivery.properties;
    assert_eq!(
        received.content_type().as_ref().unwrap().as_str(),
        "text/plain"
    );
    assert_eq!(
        received.correlation_id().as_ref().unwrap().as_str(),
        "request-7"
    );
    assert_eq!(received.expiration().as_ref().unwrap().as_str(), "60000");
    assert!(received.timestamp().is_some());
    for (name, expected) in [
        ("unit", "celsius"),
        ("room", "küche"),
        ("x-reply-to-topic", "answers.7"),
    ] {
        assert_eq!(header(&received, name).as_deref(), Some(expected), "{name}");
    }
    let binary = PublishProperties {
        correlation_data: Some(vec![0xff, 0].into()),
        ..Default::default()
    };
    device.publish_with("a", 1, b"m", binary).await;
    let received = get(&channel, "q").await.unwrap().delivery.properties;
    assert_eq!(received.correlation_id(), &None);
    let headers = received.headers().clone().unwrap();
    assert_eq!(
        headers.inner()["x-correlation-id"]
            .as_long_string()
            .unwrap()
            .as_bytes(),
        [0xff, 0]
    );
}

#[tokio::test]
async fn properties_of_amqp_become_properties_of_mqtt_5() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    let mut device = Device::connect(&broker, Version::V5, "device").await;
    device.subscribe("a", 1).await;
    let headers = table([
        ("array", AMQPValue::FieldArray(vec![number(1)].into())),
        ("bytes", AMQPValue::LongString(vec![0xff].into())),
        ("flag", AMQPValue::Boolean(true)),
        ("number", number(-3)),
        ("table", AMQPValue::FieldTable(FieldTable::default())),
        ("text", text("value")),
        ("x-reply-to-topic", text("answers.7")),
    ]);
    let properties = persistent()
        .with_content_type("text/plain".into())
        .with_correlation_id("request-7".into())
        .with_expiration("59001".into())
        .with_message_id("dropped".into())
        .with_headers(headers);
    emit(&channel, "a", b"m", properties).await;
    let received = device.next().await.properties;
    assert_eq!(received.content_type.as_deref(), Some("text/plain"));
    assert_eq!(
        received.correlation_data.as_deref(),
        Some(&b"request-7"[..])
    );
    assert_eq!(received.response_topic.as_deref(), Some("answers/7"));
    let expiry = received.message_expiry_interval.unwrap();
    assert!((50..=60).contains(&expiry), "{expiry}");
    let expected = [("flag", "true"), ("number", "-3"), ("text", "value")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(received.user_properties, expected);
}

#[tokio::test]
async fn large_bodies_cross_both_ways() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "q", FieldTable::default()).await;
    bind(&channel, "q", "amq.topic", "large").await;
    let large: Vec<u8> = (0..=255).cycle().take(LARGE_BYTES).collect();
    let mut device = Device::connect(&broker, Version::V311, "device").await;
    device.publish("large", 1, &large).await;
    assert!(drain(&channel, "q").await == [large.clone()]);
    device.subscribe("large", 1).await;
    emit(&channel, "large", &large, persistent()).await;
    assert!(device.next().await.payload == large);
}

#[tokio::test]
async fn messages_wait_for_a_sleeping_device_in_a_queue_that_workers_see() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    for version in BOTH {
        let sleeper = || Options::new(&broker, version, &format!("{version:?}")).persistent();
        let mut awake = sleeper().connect().await;
        awake.subscribe("letters/#", 1).await;
        awake.disconnect().await;
        for number in 0..3_u8 {
            emit(&channel, "letters.new", &[number], persistent()).await;
        }
        let queue = format!("mqtt-subscription-{version:?}qos1");
        assert_eq!(counts(&channel, &queue).await, (3, 0));
        let mut awake = sleeper().connect().await;
        assert_eq!(awake.take(3).await, [[0], [1], [2]]);
        awake.disconnect().await;
        sleeper_ends(&broker, version).await;
    }
}

/// A clean start ends the session of that name.
async fn sleeper_ends(broker: &Ternmq, version: Version) {
    Device::connect(broker, version, &format!("{version:?}"))
        .await
        .disconnect()
        .await;
}

#[tokio::test]
async fn full_queue_of_workers_refuses_a_device() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    let arguments = [
        ("x-max-length", number(1)),
        ("x-overflow", text("reject-publish")),
    ];
    declare(&channel, "q", table(arguments)).await;
    bind(&channel, "q", "amq.topic", "jobs").await;
    let mut device = Device::connect(&broker, Version::V5, "device").await;
    assert_eq!(device.publish("jobs", 1, b"kept").await, 0);
    assert_eq!(device.publish("jobs", 1, b"refused").await, 0x97);
    assert_eq!(drain(&channel, "q").await, [b"kept"]);
}

#[tokio::test]
async fn will_of_a_device_reaches_workers() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "q", FieldTable::default()).await;
    bind(&channel, "q", "amq.topic", "status.*").await;
    let mut worker = consume(&channel, "q").await;
    for version in BOTH {
        let doomed = Options::new(&broker, version, "doomed").will("status/doomed", b"x", 1, false);
        doomed.connect().await.cut();
        let delivery = next_acked(&mut worker).await;
        assert_eq!(
            (delivery.routing_key.as_str(), delivery.data.as_slice()),
            ("status.doomed", &b"x"[..])
        );
    }
}

#[tokio::test]
async fn retained_messages_are_between_devices() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "q", FieldTable::default()).await;
    bind(&channel, "q", "amq.topic", "state").await;
    let mut device = Device::connect(&broker, Version::V311, "device").await;
    device.retain("state", 1, b"retained").await;
    assert_eq!(
        drain(&channel, "q").await,
        [b"retained"],
        "to workers it is a message as any"
    );
    emit(&channel, "state", b"not retained", persistent()).await;
    device.subscribe("state", 1).await;
    let greeted = device.next().await;
    assert!(greeted.payload == b"retained" && greeted.retain);
}

#[tokio::test]
async fn worker_publishes_without_a_listener_and_is_told() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    let returned = publish(&channel, "amq.topic", "nobody", b"m", persistent()).await;
    assert!(
        matches!(returned, Confirmation::Ack(Some(_))),
        "{returned:?}"
    );
    let mut device = Device::connect(&broker, Version::V5, "device").await;
    device.subscribe("nobody", 0).await;
    let taken = publish(&channel, "amq.topic", "nobody", b"m", persistent()).await;
    assert_eq!(taken, Confirmation::Ack(None));
}
