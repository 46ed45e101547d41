//! Families of queues.

use ternmq_broker::inspect::QueueSnapshot;
use ternmq_core::id::Timestamp;
use ternmq_core::message::DeathReason;
use ternmq_core::policy::QueueKind;
use ternmq_core::queue::{Holdings, QueueCounters};

use crate::Source;
use crate::family::{Family, counter, gauge, optional};
use crate::selection::Selection;
use crate::text::{Labels, Number};

/// What the numbers of a queue are made of, or those of all queues.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    holdings: Holdings,
    counters: QueueCounters,
    /// Share of the time in which consumers can take a message at once. Not of all queues.
    capacity: Option<f64>,
    /// What the publisher of the next message said, in seconds since 1970. Not of all queues.
    head_timestamp: Option<u64>,
    /// How long the next message has been here, in milliseconds. Not of all queues.
    head_age_ms: Option<u64>,
}

pub(crate) const COARSE: &[Family<Queue>] = &[
    gauge!(
        "queue_messages_ready",
        "Messages that wait for a consumer",
        |queue| queue.holdings.ready
    ),
    gauge!(
        "queue_messages_unacked",
        "Messages that consumers have and did not settle",
        |queue| queue.holdings.in_flight()
    ),
    gauge!(
        "queue_messages",
        "Messages that wait and messages not settled",
        |queue| queue.holdings.messages()
    ),
];

pub(crate) const CONSUMERS: &[Family<Queue>] = &[gauge!(
    "queue_consumers",
    "Consumers of the queue",
    |queue| queue.holdings.consumers
)];

pub(crate) const METRICS: &[Family<Queue>] = &[
    optional!(
        "queue_consumer_capacity",
        "Share of the time in which consumers could take a message at once",
        |queue| queue.capacity
    ),
    optional!(
        "queue_consumer_utilisation",
        "The same as the consumer capacity",
        |queue| queue.capacity
    ),
    gauge!(
        "queue_process_memory_bytes",
        "Memory that the queue takes, about",
        |queue| queue.holdings.memory_bytes
    ),
    gauge!(
        "queue_messages_ram",
        "Messages that are in memory",
        |queue| queue.holdings.resident
    ),
    gauge!(
        "queue_messages_ready_ram",
        "Messages that wait and are in memory",
        |queue| queue
            .holdings
            .resident
            .saturating_sub(queue.holdings.in_flight())
    ),
    gauge!(
        "queue_messages_unacked_ram",
        "Messages not settled, which are in memory",
        |queue| queue.holdings.in_flight()
    ),
    gauge!(
        "queue_messages_ram_bytes",
        "Bodies of messages that are in memory",
        |queue| queue.holdings.resident_bytes
    ),
    gauge!(
        "queue_messages_persistent",
        "Messages that survive a restart",
        |queue| queue.holdings.durable
    ),
    gauge!(
        "queue_messages_persistent_bytes",
        "Bodies of those that survive a restart",
        |queue| queue.holdings.durable_bytes
    ),
    gauge!("queue_messages_bytes", "Bodies of all messages", |queue| {
        queue.holdings.bytes()
    }),
    gauge!(
        "queue_messages_ready_bytes",
        "Bodies of messages that wait",
        |queue| queue.holdings.ready_bytes
    ),
    gauge!(
        "queue_messages_unacked_bytes",
        "Bodies of messages not settled",
        |queue| queue.holdings.in_flight_bytes
    ),
    gauge!(
        "queue_messages_paged_out",
        "Messages that are on the disk only",
        |queue| queue
            .holdings
            .messages()
            .saturating_sub(queue.holdings.resident)
    ),
    gauge!(
        "queue_messages_paged_out_bytes",
        "Bodies that are on the disk only",
        |queue| queue
            .holdings
            .bytes()
            .saturating_sub(queue.holdings.resident_bytes)
    ),
    optional!(
        "queue_head_message_timestamp",
        "The time that the publisher of the next message gave",
        |queue| queue.head_timestamp
    ),
    counter!(
        "queue_messages_published_total",
        "Messages that came into the queue",
        |queue| queue.counters.published
    ),
];

pub(crate) const DELIVERY: &[Family<Queue>] = &[
    counter!(
        "queue_get_ack_total",
        "Messages got one by one, to be acknowledged",
        |queue| queue.counters.got
    ),
    counter!(
        "queue_get_total",
        "Messages got one by one, without acknowledgement",
        |queue| queue.counters.got_auto
    ),
    counter!(
        "queue_messages_delivered_ack_total",
        "Messages sent to consumers, to be acknowledged",
        |queue| queue.counters.delivered
    ),
    counter!(
        "queue_messages_delivered_total",
        "Messages sent to consumers, without acknowledgement",
        |queue| queue.counters.delivered_auto
    ),
    counter!(
        "queue_messages_redelivered_total",
        "Messages sent again",
        |queue| queue.counters.redelivered
    ),
    counter!(
        "queue_messages_acked_total",
        "Messages acknowledged",
        |queue| queue.counters.acked
    ),
    counter!(
        "queue_get_empty_total",
        "Attempts to get a message of an empty queue",
        |queue| queue.counters.got_empty
    ),
];

/// What RabbitMQ has no name for.
pub(crate) const OWN: &[Family<Queue>] = &[
    optional!(
        "queue_head_age_seconds",
        "How long the next message has been here",
        |queue| queue.head_age_ms.map(Number::seconds)
    ),
    counter!(
        "queue_messages_expired_total",
        "Messages that lived too long",
        |queue| queue.counters.died[DeathReason::Expired.index()]
    ),
    counter!(
        "queue_messages_refused_total",
        "Messages for which the queue had no room",
        |queue| queue.counters.refused
    ),
    counter!("queue_messages_purged_total", "Messages purged", |queue| {
        queue.counters.purged
    }),
];

/// All queues together.
pub(crate) fn all(source: &Source) -> Vec<(Labels, Queue)> {
    let totals = source.broker.inspect().totals();
    let all = Queue {
        holdings: totals.holdings,
        counters: totals.counters,
        ..Queue::default()
    };
    vec![(Labels::default(), all)]
}

/// Each queue.
pub(crate) fn each(source: &Source, selection: &Selection) -> Vec<(Labels, Queue)> {
    let now = source.broker.now();
    let queues = selected(source, selection).into_iter();
    queues
        .map(|queue| (labels(&queue), of(&queue, now)))
        .collect()
}

fn selected(source: &Source, selection: &Selection) -> Vec<QueueSnapshot> {
    let mut queues = source.broker.inspect().queues(None);
    queues.retain(|queue| selection.has_queue(queue.vhost(), queue.name()));
    queues
}

fn labels(queue: &QueueSnapshot) -> Labels {
    let mut labels = Labels::default();
    labels
        .add("vhost", queue.vhost())
        .add("queue", queue.name());
    labels
}

fn of(queue: &QueueSnapshot, now: Timestamp) -> Queue {
    let holdings = queue.holdings;
    let is_ready = holdings.consumers > 0 && holdings.ready == 0;
    Queue {
        holdings,
        counters: queue.counters,
        capacity: Some(if is_ready { 1.0 } else { 0.0 }),
        head_timestamp: queue.head_timestamp,
        head_age_ms: queue.head_received_at.map(|at| now.since(at)),
    }
}

/// What queues are, as labels.
pub(crate) const INFO: &[Family<()>] = &[gauge!("queue_info", "What the queue is", |_nothing| 1)];

/// The labels of that.
pub(crate) fn infos(source: &Source, selection: &Selection) -> Vec<(Labels, ())> {
    let queues = selected(source, selection);
    let queues = queues.iter().map(|queue| {
        let mut labels = labels(queue);
        labels
            .add("queue_type", kind_label(queue.settings.kind))
            .add("membership", "leader");
        (labels, ())
    });
    queues.collect()
}

/// A kind of queues as labels have it.
pub(crate) const fn kind_label(kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::Classic => "rabbit_classic_queue",
        QueueKind::Quorum => "rabbit_quorum_queue",
    }
}
