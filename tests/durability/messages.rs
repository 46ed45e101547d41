//! Messages of AMQP clients.

use std::time::{Duration, Instant};

use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicAckOptions, BasicNackOptions, BasicPublishOptions, BasicRejectOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};

use crate::support::amqp::{
    consume, counts, deaths, declare, drain, get, next, number, open, persistent, publish, send,
    table, text,
};
use crate::support::node::{ENDS, End, Node};
use crate::support::soon;

/// Every property, and a header of every type.
fn everything() -> BasicProperties {
    let inner = table([(
        "deep",
        AMQPValue::FieldArray(vec![number(1), text("x")].into()),
    )]);
    let headers = table([
        ("bool", AMQPValue::Boolean(true)),
        ("i8", AMQPValue::ShortShortInt(-8)),
        ("u8", AMQPValue::ShortShortUInt(8)),
        ("i16", AMQPValue::ShortInt(-16)),
        ("i32", AMQPValue::LongInt(-32)),
        ("u32", AMQPValue::LongUInt(u32::MAX)),
        ("i64", AMQPValue::LongLongInt(i64::MIN)),
        ("f32", AMQPValue::Float(1.5)),
        ("f64", AMQPValue::Double(-2.25)),
        ("text", text("äöü")),
        ("bytes", AMQPValue::ByteArray(vec![0, 255, 0].into())),
        ("time", AMQPValue::Timestamp(1_700_000_000)),
        ("table", AMQPValue::FieldTable(inner)),
        ("void", AMQPValue::Void),
    ]);
    let short = |text: &str| ShortString::from(text);
    persistent()
        .with_content_type(short("application/json"))
        .with_content_encoding(short("gzip"))
        .with_headers(headers)
        .with_priority(3)
        .with_correlation_id(short("correlation"))
        .with_reply_to(short("reply"))
        .with_expiration(short("3600000"))
        .with_message_id(short("id"))
        .with_timestamp(1_700_000_001)
        .with_type(short("type"))
        .with_user_id(short("guest"))
        .with_app_id(short("app"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn properties_and_bodies_are_the_same_bit_for_bit() {
    let bodies: [Vec<u8>; 4] = [
        Vec::new(),
        vec![0],
        (0..=255).collect(),
        (0_u32..300_000).flat_map(u32::to_le_bytes).collect(),
    ];
    for end in ENDS {
        let mut node = Node::start("");
        let (_connection, channel) = open(node.broker()).await;
        declare(&channel, "q", FieldTable::default()).await;
        for body in &bodies {
            let confirm = publish(&channel, "", "q", body, everything()).await;
            assert_eq!(confirm, Confirmation::Ack(None));
        }
        node.restart(end);
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        for body in &bodies {
            let message = get(&channel, "q").await.unwrap();
            assert_eq!(&message.data, body);
            assert_eq!(message.properties, everything());
            assert_eq!(message.routing_key.as_str(), "q");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_and_priorities_are_kept_and_transient_messages_are_not() {
    for end in ENDS {
        let mut node = Node::start("");
        let (_connection, channel) = open(node.broker()).await;
        declare(&channel, "plain", FieldTable::default()).await;
        declare(
            &channel,
            "priorities",
            table([("x-max-priority", number(9))]),
        )
        .await;
        let (mut plain, mut by_priority) = (Vec::new(), Vec::new());
        for number in 0..500_u32 {
            let body = number.to_string();
            send(&channel, "plain", body.as_bytes()).await;
            let transient = BasicProperties::default();
            publish(&channel, "", "plain", b"transient", transient).await;
            let priority = u8::try_from(number * 7 % 10).unwrap();
            let properties = persistent().with_priority(priority);
            publish(&channel, "", "priorities", body.as_bytes(), properties).await;
            plain.push(body.clone().into_bytes());
            by_priority.push((9 - priority, number, body.into_bytes()));
        }
        by_priority.sort();
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        assert_eq!(drain(&channel, "plain").await, plain, "{end:?}");
        let expected: Vec<_> = by_priority.into_iter().map(|(.., body)| body).collect();
        assert_eq!(drain(&channel, "priorities").await, expected, "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_of_deaths_is_kept() {
    for end in ENDS {
        let mut node = Node::start("");
        let (_connection, channel) = open(node.broker()).await;
        let to = |queue| {
            table([
                ("x-dead-letter-exchange", text("")),
                ("x-dead-letter-routing-key", text(queue)),
            ])
        };
        declare(&channel, "first", to("second")).await;
        declare(&channel, "second", to("third")).await;
        declare(&channel, "third", to("first")).await;
        send(&channel, "first", b"message").await;
        for queue in ["first", "second"] {
            reject(&next_in(&channel, queue).await).await;
        }
        // The deaths are in the journal before this is confirmed.
        declare(&channel, "barriers", FieldTable::default()).await;
        send(&channel, "barriers", b"barrier").await;
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        let message = next_in(&channel, "third").await;
        let before = deaths(&message.properties);
        let queues: Vec<_> = before.iter().map(|death| &*death.queue).collect();
        assert_eq!(queues, ["second", "first"]);
        reject(&message).await;
        reject(&next_in(&channel, "first").await).await;
        let message = next_in(&channel, "second").await;
        let after = deaths(&message.properties);
        assert_eq!(
            (&*after[0].queue, after[0].count),
            ("first", 2),
            "counted on"
        );
    }
}

/// The message that is about to come.
async fn next_in(channel: &Channel, queue: &str) -> BasicGetMessage {
    soon(async {
        loop {
            if let Some(message) = get(channel, queue).await {
                return message;
            }
        }
    })
    .await
}

async fn reject(message: &BasicGetMessage) {
    let options = BasicNackOptions {
        requeue: false,
        ..Default::default()
    };
    soon(message.nack(options)).await.unwrap();
}

async fn requeue(message: &BasicGetMessage) {
    let options = BasicRejectOptions { requeue: true };
    soon(message.reject(options)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_are_counted_on() {
    for end in ENDS {
        let mut node = Node::start("");
        let (_connection, channel) = open(node.broker()).await;
        let limited = table([
            ("x-queue-type", text("quorum")),
            ("x-delivery-limit", number(5)),
        ]);
        declare(&channel, "q", limited).await;
        send(&channel, "q", b"message").await;
        for _ in 0..3 {
            requeue(&get(&channel, "q").await.unwrap()).await;
        }
        // The returns are in the journal before this is confirmed.
        send(&channel, "q", b"barrier").await;
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        let message = get(&channel, "q").await.unwrap();
        assert_eq!(message.data, b"message");
        assert!(message.redelivered);
        let headers = message.properties.headers().as_ref().unwrap();
        let count = headers.inner()["x-delivery-count"].as_long_long_int();
        assert_eq!(count, Some(3), "{end:?}");
        requeue(&message).await;
        for _ in 0..2 {
            requeue(&get(&channel, "q").await.unwrap()).await;
        }
        assert_eq!(
            drain(&channel, "q").await,
            [b"barrier"],
            "{end:?}: five were the limit"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redelivered_says_what_may_have_been_delivered() {
    for end in ENDS {
        let mut node = Node::start("");
        let (_connection, channel) = open(node.broker()).await;
        declare(&channel, "q", FieldTable::default()).await;
        for body in [b"delivered", b"untouched"] {
            send(&channel, "q", body).await;
        }
        let delivered = get(&channel, "q").await.unwrap();
        assert!(!delivered.redelivered);
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        let delivered = get(&channel, "q").await.unwrap();
        assert_eq!(
            (delivered.redelivered, &delivered.data[..]),
            (true, &b"delivered"[..])
        );
        let untouched = get(&channel, "q").await.unwrap();
        let unknown = end == End::Killed;
        assert_eq!(untouched.redelivered, unknown, "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_to_live_counts_from_publishing() {
    const TTL_MS: i32 = 3_000;
    for end in ENDS {
        let mut node = Node::start("");
        let (_connection, channel) = open(node.broker()).await;
        let arguments = table([
            ("x-message-ttl", number(TTL_MS)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("dead")),
        ]);
        declare(&channel, "q", arguments).await;
        declare(&channel, "dead", FieldTable::default()).await;
        let published = Instant::now();
        send(&channel, "q", b"message").await;
        node.end(end);
        // Not a wait for something, but time that passes while nobody is there.
        tokio::time::sleep(Duration::from_secs(2)).await;
        node.start_again();
        let (_connection, channel) = open(node.broker()).await;
        let mut consumer = consume(&channel, "dead").await;
        let dead = next(&mut consumer).await;
        let lived = published.elapsed();
        assert_eq!(dead.data, b"message");
        assert!(lived >= Duration::from_millis(2_990), "{lived:?}");
        assert!(
            lived < Duration::from_millis(4_900),
            "{lived:?}, {end:?}: it began anew"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_to_live_passes_while_nobody_is_there() {
    for end in ENDS {
        let mut node = Node::start("");
        let (_connection, channel) = open(node.broker()).await;
        declare(&channel, "q", FieldTable::default()).await;
        let soon_over = persistent().with_expiration("500".into());
        publish(&channel, "", "q", b"over", soon_over).await;
        send(&channel, "q", b"kept").await;
        node.end(end);
        tokio::time::sleep(Duration::from_millis(600)).await;
        node.start_again();
        let (_connection, channel) = open(node.broker()).await;
        assert_eq!(drain(&channel, "q").await, [b"kept"], "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_stays_away_and_unacknowledged_comes_back() {
    for end in ENDS {
        let mut node = Node::start("");
        let (_connection, channel) = open(node.broker()).await;
        declare(&channel, "q", FieldTable::default()).await;
        for body in [b"0", b"1", b"2", b"3"] {
            send(&channel, "q", body).await;
        }
        let mut consumer = consume(&channel, "q").await;
        for number in 0..4 {
            let delivery = next(&mut consumer).await;
            if number % 2 == 0 {
                soon(delivery.ack(BasicAckOptions::default()))
                    .await
                    .unwrap();
            }
        }
        // Confirmed behind the acknowledgements.
        send(&channel, "q", b"barrier").await;
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        let left: [&[u8]; 3] = [b"1", b"3", b"barrier"];
        assert_eq!(drain(&channel, "q").await, left, "{end:?}");
    }
}

/// A transaction of publishes to two queues and an acknowledgement, up to its commit.
async fn begin_transaction(channel: &Channel) {
    soon(channel.tx_select()).await.unwrap();
    let taken = get(channel, "from").await.unwrap();
    for queue in ["to-1", "to-2"] {
        let options = BasicPublishOptions::default();
        soon(channel.basic_publish("".into(), queue.into(), options, &taken.data, persistent()))
            .await
            .unwrap();
    }
    soon(taken.ack(BasicAckOptions::default())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_happen_as_a_whole_or_not_at_all() {
    for end in ENDS {
        let mut node = Node::start("");
        let (connection, channel) = open(node.broker()).await;
        for queue in ["from", "to-1", "to-2"] {
            declare(&channel, queue, FieldTable::default()).await;
        }
        for body in [b"committed", b"abandoned"] {
            send(&channel, "from", body).await;
        }
        let transacted = soon(connection.create_channel()).await.unwrap();
        begin_transaction(&transacted).await;
        soon(transacted.tx_commit()).await.unwrap();
        let abandoned = soon(connection.create_channel()).await.unwrap();
        begin_transaction(&abandoned).await;
        // What was said before has been heard.
        assert_eq!(counts(&abandoned, "from").await.0, 0);
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        assert_eq!(drain(&channel, "from").await, [b"abandoned"], "{end:?}");
        for queue in ["to-1", "to-2"] {
            assert_eq!(drain(&channel, queue).await, [b"committed"], "{end:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purged_stays_empty() {
    for end in ENDS {
        let mut node = Node::start("");
        let (_connection, channel) = open(node.broker()).await;
        declare(&channel, "q", FieldTable::default()).await;
        for _ in 0..10 {
            send(&channel, "q", b"gone").await;
        }
        let purged = soon(channel.queue_purge("q".into(), QueuePurgeOptions::default())).await;
        assert_eq!(purged.unwrap(), 10);
        send(&channel, "q", b"kept").await;
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        assert_eq!(drain(&channel, "q").await, [b"kept"], "{end:?}");
    }
}
