//! Exchanges that choose one destination by hash or by chance: lapin and rumqttc against the real binary.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, ExchangeKind};
use support::amqp::{
    bind, channel, consume, declare, drain, next_acked, open, persistent, publish, refusal, table,
    text,
};
use support::mqtt::{Device, PublishProperties, Version};
use support::{Ternmq, soon};

/// The properties of the message of that number.
type Properties<'a> = &'a dyn Fn(usize) -> BasicProperties;

const QUEUES: [&str; 4] = ["q0", "q1", "q2", "q3"];
const MESSAGES: usize = 200;

/// Declares a durable exchange and binds durable queues to it.
async fn exchange(channel: &Channel, kind: &str, key: &str, arguments: FieldTable) {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let kind = ExchangeKind::Custom(kind.into());
    soon(channel.exchange_declare("x".into(), kind, options, arguments))
        .await
        .unwrap();
    for queue in QUEUES {
        declare(channel, queue, FieldTable::default()).await;
        bind(channel, queue, "x", key).await;
    }
}

/// Publishes numbered messages, each of which must reach a queue.
async fn emit(channel: &Channel, with: impl Fn(usize) -> (String, BasicProperties)) {
    for n in 0..MESSAGES {
        let (key, properties) = with(n);
        let confirmation = publish(channel, "x", &key, n.to_string().as_bytes(), properties).await;
        assert!(confirmation.take_message().is_none(), "{n} came back");
    }
}

/// Where each message is; every one must be in one queue.
async fn places(channel: &Channel) -> BTreeMap<usize, &'static str> {
    let mut places = BTreeMap::new();
    for queue in QUEUES {
        for body in drain(channel, queue).await {
            let n = String::from_utf8(body).unwrap().parse().unwrap();
            assert_eq!(places.insert(n, queue), None, "{n} is there twice");
        }
    }
    assert_eq!(places.len(), MESSAGES);
    places
}

fn share(places: &BTreeMap<usize, &str>, queue: &str) -> usize {
    places.values().filter(|place| **place == queue).count()
}

fn by_key(n: usize) -> (String, BasicProperties) {
    (format!("order.{n}"), persistent())
}

#[tokio::test]
async fn routing_key_decides_and_still_does_after_a_restart() {
    for kind in ["x-consistent-hash", "x-modulus-hash"] {
        let directory = tempfile::tempdir().unwrap();
        let data = ["--data-dir", directory.path().to_str().unwrap()];
        let broker = Ternmq::start(&data);
        let (_connection, channel) = open(&broker).await;
        exchange(&channel, kind, "1", FieldTable::default()).await;
        emit(&channel, by_key).await;
        let before = places(&channel).await;
        for queue in QUEUES {
            assert!((20..90).contains(&share(&before, queue)), "{before:?}");
        }
        assert!(broker.terminate().success());
        let broker = Ternmq::start(&data);
        let (_connection, channel) = open(&broker).await;
        emit(&channel, by_key).await;
        assert_eq!(places(&channel).await, before, "{kind}");
    }
}

#[tokio::test]
async fn weights_are_shares_and_few_keys_move_when_a_queue_goes() {
    let broker = Ternmq::start(&[]);
    let (connection, channel_of_test) = open(&broker).await;
    exchange(
        &channel_of_test,
        "x-consistent-hash",
        "1",
        FieldTable::default(),
    )
    .await;
    declare(&channel_of_test, "heavy", FieldTable::default()).await;
    bind(&channel_of_test, "heavy", "x", "12").await;
    emit(&channel_of_test, by_key).await;
    let heavy = drain(&channel_of_test, "heavy").await.len();
    assert!((120..180).contains(&heavy), "{heavy} of {MESSAGES}");
    for queue in QUEUES {
        drain(&channel_of_test, queue).await;
    }
    soon(channel_of_test.queue_delete("heavy".into(), QueueDeleteOptions::default()))
        .await
        .unwrap();
    emit(&channel_of_test, by_key).await;
    let four = places(&channel_of_test).await;
    let options = FieldTable::default();
    soon(channel_of_test.queue_unbind("q3".into(), "x".into(), "1".into(), options))
        .await
        .unwrap();
    emit(&channel_of_test, by_key).await;
    let three = places(&channel_of_test).await;
    let moved = four
        .iter()
        .filter(|(n, queue)| three[*n] != **queue)
        .count();
    assert_eq!(share(&three, "q3"), 0);
    assert!(moved < share(&four, "q3") + MESSAGES / 5, "{moved} moved");

    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    let bound =
        channel_of_test.queue_bind("q3".into(), "x".into(), "heavy".into(), options, arguments);
    let (code, words) = refusal(soon(bound).await);
    assert_eq!(code, 406);
    let expected = "The binding key must be an integer: <<\"heavy\">>";
    assert!(words.ends_with(expected), "{words}");
    drop(channel(&connection).await);
}

#[tokio::test]
async fn header_or_property_decides_where_the_exchange_says_so() {
    let header = |n: usize| {
        let mut headers = FieldTable::default();
        headers.insert(
            "device".into(),
            AMQPValue::LongInt(i32::try_from(n).unwrap()),
        );
        persistent().with_headers(headers)
    };
    let message_id = |n: usize| persistent().with_message_id(format!("m{n}").into());
    let properties: [(&str, &str, Properties<'_>); 2] = [
        ("hash-header", "device", &header),
        ("hash-property", "message_id", &message_id),
    ];
    for (argument, name, properties) in properties {
        let broker = Ternmq::start(&[]);
        let (_connection, channel) = open(&broker).await;
        let arguments = table([(argument, text(name))]);
        exchange(&channel, "x-consistent-hash", "1", arguments).await;
        emit(&channel, |n| ("one key".to_owned(), properties(n))).await;
        let first = places(&channel).await;
        for queue in QUEUES {
            assert!((20..90).contains(&share(&first, queue)), "{first:?}");
        }
        emit(&channel, |n| (format!("another key {n}"), properties(n))).await;
        assert_eq!(places(&channel).await, first, "{argument}");
        emit(&channel, by_key).await;
        let without = places(&channel).await;
        assert!(without.values().all(|queue| *queue == without[&0]));
    }
}

#[tokio::test]
async fn chance_reaches_every_queue_from_one_key() {
    for (kind, key) in [("x-random", "any"), ("x-local-random", "")] {
        let broker = Ternmq::start(&[]);
        let (_connection, channel) = open(&broker).await;
        exchange(&channel, kind, key, FieldTable::default()).await;
        emit(&channel, |_| ("one key".to_owned(), persistent())).await;
        let places = places(&channel).await;
        for queue in QUEUES {
            assert!((20..90).contains(&share(&places, queue)), "{kind}");
        }
    }
}

#[tokio::test]
async fn unbound_exchange_leaves_it_to_its_alternate() {
    for kind in [
        "x-consistent-hash",
        "x-modulus-hash",
        "x-random",
        "x-local-random",
    ] {
        let broker = Ternmq::start(&[]);
        let (_connection, channel) = open(&broker).await;
        declare(&channel, "rest", FieldTable::default()).await;
        bind(&channel, "rest", "amq.fanout", "").await;
        let arguments = table([("alternate-exchange", text("amq.fanout"))]);
        let key = if kind == "x-local-random" { "" } else { "1" };
        exchange(&channel, kind, key, arguments).await;
        for queue in QUEUES {
            soon(channel.queue_delete(queue.into(), QueueDeleteOptions::default()))
                .await
                .unwrap();
        }
        publish(&channel, "x", "k", b"m", persistent()).await;
        assert_eq!(drain(&channel, "rest").await, [b"m"], "{kind}");
    }
}

#[tokio::test]
async fn mqtt_messages_are_spread_by_topic_and_by_correlation() {
    for argument in [None, Some(("hash-property", text("correlation_id")))] {
        let is_by_topic = argument.is_none();
        let broker = Ternmq::start(&[]);
        let (_connection, channel) = open(&broker).await;
        let arguments = argument.map_or_else(FieldTable::default, |argument| table([argument]));
        exchange(&channel, "x-consistent-hash", "1", arguments).await;
        let (options, arguments) = (ExchangeBindOptions::default(), FieldTable::default());
        soon(channel.exchange_bind(
            "x".into(),
            "amq.topic".into(),
            "#".into(),
            options,
            arguments,
        ))
        .await
        .unwrap();
        let mut device = Device::connect(&broker, Version::V5, "device").await;
        let mut rounds = Vec::new();
        for round in 0..2 {
            for n in 0..MESSAGES {
                let what = format!("order/{n}");
                let (topic, correlation) = if is_by_topic {
                    (what, None)
                } else {
                    (format!("{round}/{n}"), Some(what.into_bytes().into()))
                };
                let properties = PublishProperties {
                    correlation_data: correlation,
                    ..PublishProperties::default()
                };
                let body = n.to_string();
                device
                    .publish_with(&topic, 1, body.as_bytes(), properties)
                    .await;
            }
            rounds.push(places(&channel).await);
        }
        assert_eq!(rounds[0], rounds[1]);
        for queue in QUEUES {
            assert!((20..90).contains(&share(&rounds[0], queue)));
        }
        if is_by_topic {
            emit(&channel, by_key).await;
            assert_eq!(places(&channel).await, rounds[0], "the same keys by AMQP");
        }
    }
}

#[tokio::test]
async fn new_queue_gets_the_recent_history_of_its_exchange() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    let kind = ExchangeKind::Custom("x-recent-history".into());
    let arguments = table([("x-recent-history-length", AMQPValue::LongInt(2))]);
    let options = ExchangeDeclareOptions::default();
    soon(channel.exchange_declare("chat".into(), kind, options, arguments))
        .await
        .unwrap();
    let no_store = table([("x-recent-history-no-store", AMQPValue::Boolean(true))]);
    for (body, properties) in [
        ("1", persistent()),
        ("2", persistent()),
        ("3", BasicProperties::default()),
        ("secret", persistent().with_headers(no_store)),
    ] {
        let confirmation = publish(&channel, "chat", "k", body.as_bytes(), properties).await;
        assert!(
            confirmation.take_message().is_some(),
            "nothing is bound, and the message comes back"
        );
    }
    declare(&channel, "q", FieldTable::default()).await;
    bind(&channel, "q", "chat", "").await;
    publish(&channel, "chat", "", b"4", persistent()).await;
    assert_eq!(drain(&channel, "q").await, [b"2", b"3", b"4"]);
}

#[tokio::test]
async fn delayed_message_comes_later_with_its_delay_negated() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    let kind = ExchangeKind::Custom("x-delayed-message".into());
    let arguments = table([("x-delayed-type", text("topic"))]);
    let options = ExchangeDeclareOptions::default();
    soon(channel.exchange_declare("later".into(), kind, options, arguments))
        .await
        .unwrap();
    let delayed = |ms| {
        let headers = table([("z", text("kept")), ("x-delay", AMQPValue::LongInt(ms))]);
        persistent().with_headers(headers)
    };
    for (body, ms) in [("second", 500), ("first", 250), ("at once", -1)] {
        let confirmation = publish(&channel, "later", "a.b", body.as_bytes(), delayed(ms)).await;
        let returned = confirmation.take_message().is_some();
        assert_eq!(returned, ms < 0, "only what is not delayed is mandatory");
    }
    declare(&channel, "q", FieldTable::default()).await;
    bind(&channel, "q", "later", "a.*").await;
    let mut consumer = consume(&channel, "q").await;
    for (body, ms) in [("first", -250), ("second", -500)] {
        let delivery = next_acked(&mut consumer).await;
        assert_eq!(delivery.data, body.as_bytes());
        assert_eq!(delivery.exchange.as_str(), "later");
        let headers = delivery.properties.headers().clone().unwrap();
        let expected = table([("x-delay", AMQPValue::LongInt(ms)), ("z", text("kept"))]);
        assert_eq!(headers, expected);
    }
}
