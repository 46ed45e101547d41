//! What RabbitMQ has no name for.

use ternmq_broker::inspect::ObjectTotals;

use crate::Source;
use crate::text::{Kind, Labels, Page};

const P: &str = "ternmq_";

/// What became of messages that no queue has any more, and of those that wait elsewhere.
pub(crate) fn messages(source: &Source, page: &mut Page) {
    let totals = source.broker.totals();
    let counters = [
        (
            "messages_dropped_total",
            "Messages dropped without a dead-letter exchange",
            totals.dropped,
        ),
        (
            "dead_letters_total",
            "Messages that died where there is one",
            totals.dead_lettered,
        ),
        (
            "dead_letters_lost_total",
            "Dead letters that no queue took",
            totals.dead_dropped,
        ),
        (
            "messages_unreadable_total",
            "Messages that the disk did not give back",
            totals.unreadable,
        ),
    ];
    for (name, help, value) in counters {
        page.single((P, name), Kind::Counter, help, value);
    }
    let gauges = [
        (
            "dead_letters_held",
            "Dead letters that wait until a queue has room",
            totals.dead_held,
        ),
        (
            "messages_delayed",
            "Messages that wait for the time to be published",
            totals.delayed,
        ),
    ];
    for (name, help, value) in gauges {
        page.single((P, name), Kind::Gauge, help, value);
    }
}

type Of = fn(&ObjectTotals) -> u64;

const VHOST_FAMILIES: [(&str, Kind, &str, Of); 11] = [
    ("vhost_connections", Kind::Gauge, "Connections", |t| {
        t.connections
    }),
    ("vhost_channels", Kind::Gauge, "Channels", |t| t.channels),
    ("vhost_queues", Kind::Gauge, "Queues", |t| t.queues),
    ("vhost_consumers", Kind::Gauge, "Consumers", |t| {
        t.holdings.consumers
    }),
    (
        "vhost_messages_ready",
        Kind::Gauge,
        "Messages that wait",
        |t| t.holdings.ready,
    ),
    (
        "vhost_messages_unacked",
        Kind::Gauge,
        "Messages not settled",
        |t| t.holdings.in_flight(),
    ),
    (
        "vhost_message_bytes",
        Kind::Gauge,
        "Bodies of messages",
        |t| t.holdings.bytes(),
    ),
    (
        "vhost_memory_bytes",
        Kind::Gauge,
        "Memory of queues, about",
        |t| t.holdings.memory_bytes,
    ),
    (
        "vhost_retained_messages",
        Kind::Gauge,
        "Retained messages",
        |t| t.retained,
    ),
    (
        "vhost_retained_bytes",
        Kind::Gauge,
        "Their memory, about",
        |t| t.retained_bytes,
    ),
    ("vhost_exchanges", Kind::Gauge, "Exchanges", |t| t.exchanges),
];

/// The journal's files, and how much of them is needed.
pub(crate) fn journal(source: &Source, page: &mut Page) {
    let Some(journal) = source.broker.inspect().journal() else {
        return;
    };
    let gauges = [
        (
            "journal_bytes",
            "Bytes of all segments",
            journal.segment_bytes,
        ),
        ("journal_segments", "Segments", journal.segments),
        (
            "journal_kept_segments",
            "Segments kept for messages only",
            journal.kept_segments,
        ),
        (
            "journal_kept_records",
            "Records in those, as of the last checkpoint",
            journal.kept.all,
        ),
        (
            "journal_kept_records_needed",
            "Those of them that are needed",
            journal.kept.alive,
        ),
        (
            "journal_appended_record",
            "The last record that was appended",
            journal.appended,
        ),
        (
            "journal_committed_record",
            "The last record that is safe",
            journal.committed,
        ),
    ];
    for (name, help, value) in gauges {
        page.single((P, name), Kind::Gauge, help, value);
    }
}

/// What each virtual host holds.
pub(crate) fn vhosts(source: &Source, page: &mut Page) {
    let inspect = source.broker.inspect();
    let totals: Vec<_> = source
        .vhosts()
        .into_iter()
        .filter_map(|name| Some((inspect.vhost_totals(&name)?, name)))
        .collect();
    let mut labels = Labels::default();
    for (name, kind, help, value) in VHOST_FAMILIES {
        page.family(P, name, kind, help);
        for (totals, vhost) in &totals {
            labels.clear().add("vhost", vhost);
            page.sample(&labels, value(totals));
        }
    }
}
