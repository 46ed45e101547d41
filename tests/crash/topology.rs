//! Who publishes what to where.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};

use crate::ledger::Id;
use crate::support::amqp::{bind, declare, number, table, text};
use crate::support::soon;

/// Every queue that a consumer reads, in the order in which they can be emptied.
pub const CONSUMED: [&str; 10] = [
    "plain-1", "plain-2", "fan-1", "fan-2", "fan-3", "tx-1", "tx-2", "reject", "rejected", "dead",
];

/// Queues that messages only pass through.
pub const HOPS: [&str; 2] = ["hop-1", "hop-2"];

/// Where the consumers' barriers go.
pub const BARRIERS: &str = "barriers";
/// The place of that queue's own consumer, behind those of [`CONSUMED`].
pub const BARRIERS_INDEX: u16 = 10;
const _: () = assert!(BARRIERS_INDEX as usize == CONSUMED.len());

/// What the devices' subscriber gets.
pub const DEVICE: &str = "(device)";

pub const FANOUT: &str = "fan";
/// Where the queues that are declared under load are bound.
pub const DECLARED: &str = "declared";

/// Messages of one transaction.
pub const TRANSACTION: u64 = 3;

/// Publishers, by what their messages meet. Consumers' barriers have numbers from [`BARRIER_FROM`] on.
pub const PLAIN_1: u16 = 1;
pub const PLAIN_2: u16 = 2;
pub const FAN: u16 = 3;
pub const EXPIRING: u16 = 4;
pub const REJECTED: u16 = 5;
pub const TRANSACTED: u16 = 6;
pub const PUBLISHERS: std::ops::RangeInclusive<u16> = PLAIN_1..=TRANSACTED;
pub const DEVICES_QOS_1: [u16; 2] = [11, 12];
pub const DEVICES_QOS_2: [u16; 3] = [21, 22, 23];
pub const BARRIER_FROM: u16 = 100;

/// Exchange and routing key for a message of an AMQP publisher.
pub fn address(id: Id) -> (&'static str, &'static str) {
    match id.publisher {
        PLAIN_1 => ("", "plain-1"),
        PLAIN_2 => ("", "plain-2"),
        FAN => (FANOUT, ""),
        EXPIRING => ("", HOPS[0]),
        REJECTED => ("", "reject"),
        TRANSACTED => (
            "",
            ["tx-1", "tx-2"][usize::from(id.number % TRANSACTION == 1)],
        ),
        _ => ("", BARRIERS),
    }
}

/// The queues that a message has to arrive in.
pub fn queues(id: Id) -> Vec<&'static str> {
    match id.publisher {
        FAN => vec!["fan-1", "fan-2", "fan-3"],
        EXPIRING => vec!["dead"],
        REJECTED if is_to_reject(id) => vec!["reject", "rejected"],
        publisher if (DEVICES_QOS_1[0]..BARRIER_FROM).contains(&publisher) => vec![DEVICE],
        _ => vec![address(id).1],
    }
}

/// Whether messages come into the queue from publishers who send each of them once. A dead letter whose record was lost
/// in a crash dies again, and a device sends again what was not acknowledged: those come as new messages.
pub fn is_published_to(queue: &str) -> bool {
    !["rejected", "dead", DEVICE].contains(&queue)
}

/// Whether messages of one publisher come in order. Those that expire pass by others whose turn to be read from disk has
/// not come.
pub fn is_ordered(queue: &str) -> bool {
    queue != "dead"
}

/// The messages that arrive with this one or not at all.
pub fn unit(id: Id) -> Vec<Id> {
    if id.publisher != TRANSACTED {
        return vec![id];
    }
    let first = id.number - id.number % TRANSACTION;
    let part = |number| Id { number, ..id };
    (first..first + TRANSACTION).map(part).collect()
}

/// Whether the consumer of `reject` rejects it.
pub fn is_to_reject(id: Id) -> bool {
    id.publisher == REJECTED && id.number % 2 == 1
}

/// Declares all of it.
pub async fn set_up(channel: &Channel) {
    let to = |queue| {
        [
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(queue)),
        ]
    };
    for (queue, next) in [(HOPS[0], HOPS[1]), (HOPS[1], "dead")] {
        let [exchange, key] = to(next);
        let arguments = table([exchange, key, ("x-message-ttl", number(1))]);
        declare(channel, queue, arguments).await;
    }
    for queue in CONSUMED.into_iter().chain([BARRIERS]) {
        let arguments = match queue {
            "reject" => table(to("rejected")),
            _ => FieldTable::default(),
        };
        declare(channel, queue, arguments).await;
    }
    declare_exchange(channel, FANOUT, ExchangeKind::Fanout)
        .await
        .unwrap();
    declare_exchange(channel, DECLARED, ExchangeKind::Direct)
        .await
        .unwrap();
    for queue in ["fan-1", "fan-2", "fan-3"] {
        bind(channel, queue, FANOUT, "").await;
    }
}

/// Declares a durable exchange.
pub async fn declare_exchange(
    channel: &Channel,
    exchange: &str,
    kind: ExchangeKind,
) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let declare = channel.exchange_declare(exchange.into(), kind, options, FieldTable::default());
    soon(declare).await
}

/// Binds a queue under its own name.
pub async fn bind_by_name(channel: &Channel, queue: &str, exchange: &str) -> lapin::Result<()> {
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    let bind = channel.queue_bind(
        queue.into(),
        exchange.into(),
        queue.into(),
        options,
        arguments,
    );
    soon(bind).await
}
