//! What happened to messages, by protocol and kind of queue.

use ternmq_broker::inspect::Protocol;
use ternmq_broker::{KindTotals, Latency, LetterFate, ProtocolTotals, SIZE_BOUNDS};
use ternmq_core::message::DeathReason;
use ternmq_core::policy::QueueKind;

use crate::Source;
use crate::queues::kind_label;
use crate::text::{Kind, Labels, Number, Page};

const P: &str = "rabbitmq_global_";

type OfProtocol = fn(&ProtocolTotals) -> u64;
type OfKind = fn(&KindTotals) -> u64;

/// By protocol.
const PROTOCOL_COUNTERS: [(&str, &str, OfProtocol); 6] = [
    ("received", "Messages from publishers", |t| t.received),
    (
        "received_confirm",
        "Messages from publishers that wait for confirms",
        |t| t.received_confirm,
    ),
    ("routed", "Copies of messages that went into queues", |t| {
        t.routed
    }),
    ("confirmed", "Publishes confirmed", |t| t.confirmed),
    (
        "unroutable_dropped",
        "Messages that reached no queue and were dropped",
        |t| t.unroutable_dropped,
    ),
    (
        "unroutable_returned",
        "Mandatory messages that reached no queue and went back",
        |t| t.unroutable_returned,
    ),
];

/// By protocol and kind of queue.
const KIND_COUNTERS: [(&str, &str, OfKind); 8] = [
    (
        "delivered",
        "Messages sent to consumers and to those who got one",
        KindTotals::delivered,
    ),
    (
        "delivered_consume_auto_ack",
        "Messages sent to consumers, not to be acknowledged",
        |t| t.consumed_auto,
    ),
    (
        "delivered_consume_manual_ack",
        "Messages sent to consumers, to be acknowledged",
        |t| t.consumed_manual,
    ),
    (
        "delivered_get_auto_ack",
        "Messages got one by one, not to be acknowledged",
        |t| t.got_auto,
    ),
    (
        "delivered_get_manual_ack",
        "Messages got one by one, to be acknowledged",
        |t| t.got_manual,
    ),
    (
        "get_empty",
        "Attempts to get a message of an empty queue",
        |t| t.got_empty,
    ),
    ("redelivered", "Messages sent again", |t| t.redelivered),
    ("acknowledged", "Deliveries acknowledged", |t| {
        t.acknowledged
    }),
];

/// All of it.
pub(crate) fn counters(source: &Source, page: &mut Page) {
    let inspect = source.broker.inspect();
    let totals = Protocol::ALL.map(|protocol| (protocol, inspect.protocol_totals(protocol)));
    let mut labels = Labels::default();
    for (name, help, value) in PROTOCOL_COUNTERS {
        let name = format!("messages_{name}_total");
        page.family(P, &name, Kind::Counter, help);
        for (protocol, totals) in &totals {
            labels.clear().add("protocol", protocol.label());
            page.sample(&labels, value(totals));
        }
    }
    for (name, help, value) in KIND_COUNTERS {
        let name = format!("messages_{name}_total");
        page.family(P, &name, Kind::Counter, help);
        for (protocol, totals) in &totals {
            for kind in QueueKind::ALL {
                labels.clear().add("protocol", protocol.label());
                labels.add("queue_type", kind_label(kind));
                page.sample(&labels, value(&totals.kinds[kind.index()]));
            }
        }
    }
    sizes(&totals, page);
    latencies(&totals, page);
}

/// Publishers and consumers by protocol. A publisher is a channel, or an MQTT connection, that published.
pub(crate) fn clients(source: &Source, page: &mut Page) {
    let mut publishers = [0; Protocol::COUNT];
    let mut consumers = [0; Protocol::COUNT];
    source.broker.inspect().each_connection(|connection| {
        let protocol = connection.info().protocol.index();
        consumers[protocol] += connection.subscriptions.get();
        connection.each_channel(|channel| {
            publishers[protocol] += u64::from(channel.published.get() > 0);
            consumers[protocol] += channel.consumers.get();
        });
    });
    let mut labels = Labels::default();
    let families = [
        (
            "publishers",
            "Channels and connections that published",
            publishers,
        ),
        ("consumers", "Consumers and subscriptions", consumers),
    ];
    for (name, help, numbers) in families {
        page.family(P, name, Kind::Gauge, help);
        for protocol in Protocol::ALL {
            labels.clear().add("protocol", protocol.label());
            page.sample(&labels, numbers[protocol.index()]);
        }
    }
}

/// Dead letters by kind of queue and by how they travel.
pub(crate) fn dead_letters(source: &Source, page: &mut Page) {
    const REASONS: [(&str, DeathReason, &str); 4] = [
        (
            "delivery_limit",
            DeathReason::DeliveryLimit,
            "Messages delivered too often",
        ),
        (
            "expired",
            DeathReason::Expired,
            "Messages that lived too long",
        ),
        (
            "maxlen",
            DeathReason::MaxLength,
            "Messages for which a queue had no room",
        ),
        (
            "rejected",
            DeathReason::Rejected,
            "Messages that consumers refused",
        ),
    ];
    let inspect = source.broker.inspect();
    let mut labels = Labels::default();
    for (name, reason, help) in REASONS {
        let name = format!("messages_dead_lettered_{name}_total");
        page.family(P, &name, Kind::Counter, help);
        for kind in QueueKind::ALL {
            for fate in LetterFate::ALL {
                labels.clear().add("queue_type", kind_label(kind));
                labels.add("dead_letter_strategy", fate.name());
                page.sample(&labels, inspect.dead_letters(kind, fate)[reason.index()]);
            }
        }
    }
    let name = "messages_dead_lettered_confirmed_total";
    page.family(
        P,
        name,
        Kind::Counter,
        "Dead letters that arrived and were confirmed",
    );
    for kind in QueueKind::ALL {
        labels.clear().add("queue_type", kind_label(kind));
        labels.add("dead_letter_strategy", LetterFate::AtLeastOnce.name());
        page.sample(&labels, inspect.dead_letters_confirmed(kind));
    }
}

/// Bounds as dashboards write them.
const SIZE_LABELS: [&str; SIZE_BOUNDS.len()] = [
    "100.0", "1000.0", "10000.0", "100000.0", "1e+06", "1e+07", "5e+07", "1e+08",
];

fn sizes(totals: &[(Protocol, ProtocolTotals)], page: &mut Page) {
    let help = "Bodies of messages from publishers";
    page.family("rabbitmq_", "message_size_bytes", Kind::Histogram, help);
    for (protocol, totals) in totals {
        let sum = totals.sizes.sum.into();
        let buckets = SIZE_LABELS.into_iter().map(str::to_owned);
        histogram(page, *protocol, &totals.sizes.counts, buckets, sum);
    }
}

/// Our own: how long messages take.
fn latencies(totals: &[(Protocol, ProtocolTotals)], page: &mut Page) {
    type Of = fn(&ProtocolTotals) -> &Latency;
    const FAMILIES: [(&str, &str, Of); 3] = [
        (
            "stored_latency_seconds",
            "From a publish until it was safe",
            |t| &t.stored,
        ),
        (
            "delivered_latency_seconds",
            "From there until it was on its way",
            |t| &t.delivered,
        ),
        (
            "settled_latency_seconds",
            "From there until it was settled",
            |t| &t.settled,
        ),
    ];
    for (name, help, latency) in FAMILIES {
        page.family("ternmq_", name, Kind::Histogram, help);
        for (protocol, totals) in totals {
            let latency = latency(totals);
            let bounds = (0..latency.counts.len()).filter_map(Latency::bound_ms);
            let bounds = bounds.map(|bound| Number::seconds(bound).to_string());
            let sum = Number::seconds(latency.sum_ms);
            histogram(page, *protocol, &latency.counts, bounds, sum);
        }
    }
}

/// `counts` has one more than there are bounds, and is not cumulative.
fn histogram(
    page: &mut Page,
    protocol: Protocol,
    counts: &[u64],
    bounds: impl Iterator<Item = String>,
    sum: Number,
) {
    let mut labels = Labels::default();
    let mut below = 0;
    for (count, bound) in counts.iter().zip(bounds.chain(["+Inf".to_owned()])) {
        below += count;
        labels
            .clear()
            .add("protocol", protocol.label())
            .add("le", &bound);
        page.suffixed("_bucket", &labels, below);
    }
    labels.clear().add("protocol", protocol.label());
    page.suffixed("_count", &labels, below);
    page.suffixed("_sum", &labels, sum);
}
