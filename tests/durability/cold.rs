//! Backlogs that are much larger than the memory messages may take.

use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicPublishOptions, BasicQosOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind, PublisherConfirm};

use crate::support::amqp::{
    bind, consume, counts, declare, get, next, number, open, persistent, publish, table, text,
};
use crate::support::node::{ENDS, End, Node};
use crate::support::soon;

const CONFIG: &str = "
[memory]
resident_bodies = 1048576
[storage]
segment_bytes = 8388608
checkpoint_bytes = 16777216
";

/// Bodies of the backlog altogether, about.
const BACKLOG_BYTES: usize = 256 << 20;
/// Publishes that wait for their confirms.
const WINDOW: usize = 64;
/// Memory of the process above what it takes when it is idle. Of bodies of a mebibyte the allocator keeps some dozens that
/// are free; it is the same for a backlog of any length.
const RESIDENT_BYTES_MAX: u64 = 128 << 20;

/// A body that says its number and is checked as a whole: mostly small, some of a mebibyte.
fn body(number: usize) -> Vec<u8> {
    let length = match number % 64 {
        0 => 1 << 20,
        n if n % 8 == 0 => 50_000,
        n => 100 * n,
    };
    let mut body = number.to_be_bytes().to_vec();
    body.resize(length.max(8), u8::try_from(number % 251).unwrap());
    body
}

/// How many messages the backlog has.
fn backlog() -> usize {
    let mut bytes = 0;
    let mut count = 0;
    while bytes < BACKLOG_BYTES {
        bytes += body(count).len();
        count += 1;
    }
    count
}

/// Publishes these numbers as fast as they are confirmed.
async fn fill(channel: &Channel, exchange: &str, key: &str, numbers: std::ops::Range<usize>) {
    let mut waiting = std::collections::VecDeque::new();
    for number in numbers {
        let confirm: PublisherConfirm = soon(channel.basic_publish(
            exchange.into(),
            key.into(),
            BasicPublishOptions::default(),
            &body(number),
            persistent(),
        ))
        .await
        .unwrap();
        waiting.push_back(confirm);
        if waiting.len() >= WINDOW {
            let confirm = soon(waiting.pop_front().unwrap()).await.unwrap();
            assert!(confirm.is_ack());
        }
    }
    for confirm in waiting {
        assert!(soon(confirm).await.unwrap().is_ack());
    }
}

/// Consumes these numbers, which must come in order.
async fn take(channel: &Channel, queue: &str, numbers: std::ops::Range<usize>) {
    soon(channel.basic_qos(100, BasicQosOptions::default()))
        .await
        .unwrap();
    let mut consumer = consume(channel, queue).await;
    for number in numbers {
        let delivery = next(&mut consumer).await;
        assert!(delivery.data == body(number), "{number} is expected");
        soon(delivery.ack(BasicAckOptions::default()))
            .await
            .unwrap();
    }
    soon(channel.basic_cancel(queue.into(), BasicCancelOptions::default()))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backlog_comes_in_order_before_and_after_a_restart() {
    let count = backlog();
    for end in ENDS {
        let mut node = Node::start(CONFIG);
        let idle = node.resident_bytes();
        let (connection, channel) = open(node.broker()).await;
        declare(&channel, "q", FieldTable::default()).await;
        fill(&channel, "", "q", 0..count).await;
        let filled = node.resident_bytes();
        assert!(
            filled - idle < RESIDENT_BYTES_MAX,
            "{idle} idle, {filled} filled"
        );
        take(&channel, "q", 0..count / 3).await;
        soon(connection.close(200, "done".into())).await.unwrap();
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        let from = count - usize::try_from(counts(&channel, "q").await.0).unwrap();
        // Acknowledgements that were on their way may be lost with a crash.
        assert!(from <= count / 3 && from + 200 > count / 3, "from {from}");
        assert!(end == End::Killed || from == count / 3, "from {from}");
        take(&channel, "q", from..count).await;
        assert_eq!(counts(&channel, "q").await.0, 0);
        let emptied = node.resident_bytes();
        assert!(
            emptied - idle < RESIDENT_BYTES_MAX,
            "{idle} idle, {emptied} emptied"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cold_queues_are_read_one_by_one_and_purged_and_deleted() {
    for end in ENDS {
        let mut node = Node::start(CONFIG);
        let (_connection, channel) = open(node.broker()).await;
        for queue in ["get", "purge", "delete"] {
            declare(&channel, queue, FieldTable::default()).await;
            bind(&channel, queue, "amq.fanout", "").await;
        }
        fill(&channel, "amq.fanout", "", 0..1_000).await;
        for number in 0..100 {
            let message = get(&channel, "get").await.unwrap();
            assert_eq!(message.message_count, u32::try_from(999 - number).unwrap());
            assert!(message.data == body(number), "{number}");
            soon(message.ack(BasicAckOptions::default())).await.unwrap();
        }
        let purge = channel.queue_purge("purge".into(), QueuePurgeOptions::default());
        assert_eq!(soon(purge).await.unwrap(), 1_000);
        assert!(get(&channel, "purge").await.is_none());
        let delete = channel.queue_delete("delete".into(), QueueDeleteOptions::default());
        assert_eq!(soon(delete).await.unwrap(), 1_000);
        fill(&channel, "", "purge", 7..8).await;
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        assert_eq!(counts(&channel, "purge").await.0, 1);
        take(&channel, "purge", 7..8).await;
        take(&channel, "get", 100..1_000).await;
        declare(&channel, "delete", FieldTable::default()).await;
        assert_eq!(counts(&channel, "delete").await.0, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transient_backlogs_leave_memory_too() {
    let mut node = Node::start(CONFIG);
    let idle = node.resident_bytes();
    let (_connection, channel) = open(node.broker()).await;
    let options = QueueDeclareOptions::default();
    soon(channel.queue_declare("q".into(), options, FieldTable::default()))
        .await
        .unwrap();
    let count = backlog();
    fill(&channel, "", "q", 0..count).await;
    let filled = node.resident_bytes();
    assert!(
        filled - idle < RESIDENT_BYTES_MAX,
        "{idle} idle, {filled} filled"
    );
    take(&channel, "q", 0..count).await;
}

fn dead_letters(key: &str, value: i32) -> FieldTable {
    table([
        (key, number(value)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ])
}

/// Takes what comes, which must be these numbers in any order.
async fn take_any(channel: &Channel, queue: &str, numbers: std::ops::Range<usize>) -> Vec<usize> {
    let mut consumer = consume(channel, queue).await;
    let mut came = Vec::new();
    for _ in numbers.clone() {
        let delivery = next(&mut consumer).await;
        let number = usize::from_be_bytes(delivery.data[..8].try_into().unwrap());
        assert!(delivery.data == body(number), "{number}");
        came.push(number);
        soon(delivery.ack(BasicAckOptions::default()))
            .await
            .unwrap();
    }
    let mut sorted = came.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, numbers.collect::<Vec<_>>());
    came
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_while_cold_becomes_a_dead_letter() {
    for restarts in [None, Some(End::Killed), Some(End::Stopped)] {
        let mut node = Node::start(CONFIG);
        let (_connection, channel) = open(node.broker()).await;
        declare(&channel, "q", dead_letters("x-message-ttl", 5_000)).await;
        declare(&channel, "dead", FieldTable::default()).await;
        fill(&channel, "", "q", 0..1_000).await;
        if let Some(end) = restarts {
            node.restart(end);
        }
        let (_connection, channel) = open(node.broker()).await;
        take_any(&channel, "dead", 0..1_000).await;
        assert_eq!(counts(&channel, "q").await.0, 0, "{restarts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_length_limit_drops_while_cold_becomes_a_dead_letter() {
    for end in ENDS {
        let mut node = Node::start(CONFIG);
        let (_connection, channel) = open(node.broker()).await;
        declare(&channel, "q", dead_letters("x-max-length", 1_000)).await;
        declare(&channel, "dead", FieldTable::default()).await;
        fill(&channel, "", "q", 0..1_500).await;
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        fill(&channel, "", "q", 1_500..1_600).await;
        take_any(&channel, "dead", 0..600).await;
        take(&channel, "q", 600..1_600).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_to_many_queues_is_stored_once() {
    const QUEUES: usize = 10_000;
    const BYTES: usize = 100_000;
    let mut node = Node::start(CONFIG);
    let (_connection, channel) = open(node.broker()).await;
    let names: Vec<String> = (0..QUEUES).map(|number| format!("q{number}")).collect();
    soon(channel.exchange_declare(
        "all".into(),
        ExchangeKind::Fanout,
        lapin::options::ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        },
        FieldTable::default(),
    ))
    .await
    .unwrap();
    for name in &names {
        let options = QueueDeclareOptions {
            durable: true,
            nowait: true,
            ..Default::default()
        };
        soon(channel.queue_declare(name.as_str().into(), options, FieldTable::default()))
            .await
            .unwrap();
        let options = lapin::options::QueueBindOptions { nowait: true };
        let (queue, table) = (name.as_str().into(), FieldTable::default());
        soon(channel.queue_bind(queue, "all".into(), "".into(), options, table))
            .await
            .unwrap();
    }
    assert_eq!(counts(&channel, &names[QUEUES - 1]).await.0, 0);
    node.restart(End::Stopped);
    let before = node.data_bytes();
    let (_connection, channel) = open(node.broker()).await;
    let body = vec![7; BYTES];
    assert!(
        publish(&channel, "all", "", &body, persistent())
            .await
            .is_ack()
    );
    for end in ENDS {
        node.restart(end);
        let grown = node.data_bytes().saturating_sub(before);
        // The record of the message, its targets, a checkpoint of ten thousand queues; files grow in segments.
        assert!(grown < 32 << 20, "{grown} bytes for one body of {BYTES}");
        let (_connection, channel) = open(node.broker()).await;
        for name in names.iter().step_by(97) {
            let message = get(&channel, name).await.unwrap();
            assert!(message.data == body, "{name}");
        }
    }
}
