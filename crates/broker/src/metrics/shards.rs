//! Counters of the node, by protocol: each thread counts for itself, and whoever looks adds up.
//!
//! A turn of a connection counts a handful of times, whatever the number of its messages. The thread's part lies in
//! memory of its own, so that counting waits for nobody else's cache line.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ternmq_core::policy::QueueKind;

use super::histogram::{Latency, LatencyHistogram, SIZES, SizeHistogram};
use super::tally::TurnTally;
use crate::gate::{SLOTS, slot};
use crate::inspect::Protocol;

/// What happens to a client's messages on their way in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Incoming {
    Received,
    ReceivedConfirm,
    Routed,
    Confirmed,
    Dropped,
    Returned,
}

const INCOMING: usize = Incoming::Returned as usize + 1;

/// What happens to messages on their way out of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outgoing {
    ConsumedAuto,
    ConsumedManual,
    GotAuto,
    GotManual,
    GotEmpty,
    Redelivered,
    Acknowledged,
}

const OUTGOING: usize = Outgoing::Acknowledged as usize + 1;

/// How long what takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Span {
    /// From a publish to its being safe.
    Stored,
    /// From being in a queue to the way to a consumer.
    Delivered,
    /// From there to being settled.
    Settled,
}

const SPANS: usize = Span::Settled as usize + 1;

#[derive(Default)]
struct Numbers<const N: usize>(Inner<N>);

struct Inner<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Inner<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Numbers<N> {
    #[inline]
    fn add(&self, at: usize, n: u64) {
        if n > 0
            && let Some(number) = self.0.0.get(at)
        {
            number.fetch_add(n, Ordering::Relaxed);
        }
    }

    fn add_to(&self, sum: &mut [u64; N]) {
        for (sum, number) in sum.iter_mut().zip(&self.0.0) {
            *sum += number.load(Ordering::Relaxed);
        }
    }
}

/// One protocol's part of a thread's counters.
#[derive(Default)]
struct Shard {
    incoming: Numbers<INCOMING>,
    outgoing: [Numbers<OUTGOING>; QueueKind::COUNT],
    sizes: Numbers<SIZES>,
    size_bytes: AtomicU64,
    latencies: [LatencyHistogram; SPANS],
}

/// See the module's documentation.
pub(crate) struct Shards([OnceLock<Box<[Shard; Protocol::COUNT]>>; SLOTS]);

impl Default for Shards {
    fn default() -> Self {
        Self(std::array::from_fn(|_| OnceLock::new()))
    }
}

impl Shards {
    #[inline]
    fn of(&self, protocol: Protocol) -> &Shard {
        let shards = self.0[slot()].get_or_init(Box::default);
        &shards[protocol.index()]
    }

    #[inline]
    pub(crate) fn incoming(&self, protocol: Protocol, what: Incoming, n: u64) {
        self.of(protocol).incoming.add(what as usize, n);
    }

    #[inline]
    pub(crate) fn outgoing(
        &self,
        (protocol, kind): (Protocol, QueueKind),
        counts: impl IntoIterator<Item = (Outgoing, u64)>,
    ) {
        let numbers = &self.of(protocol).outgoing[kind.index()];
        for (what, n) in counts {
            numbers.add(what as usize, n);
        }
    }

    /// Something took so many milliseconds.
    #[inline]
    pub(crate) fn took(&self, protocol: Protocol, span: Span, ms: u64) {
        self.of(protocol).latencies[span as usize].record(ms);
    }

    /// A turn is published. `copies` of its messages go into queues.
    pub(crate) fn turn(&self, protocol: Protocol, tally: &TurnTally, copies: u64) {
        let shard = self.of(protocol);
        let counts = [
            (Incoming::Received, tally.messages()),
            (Incoming::ReceivedConfirm, tally.to_confirm()),
            (Incoming::Routed, copies),
            (Incoming::Dropped, tally.dropped()),
            (Incoming::Returned, tally.returned()),
        ];
        for (what, n) in counts {
            shard.incoming.add(what as usize, n);
        }
        for (bucket, n) in tally.sizes().iter().enumerate() {
            shard.sizes.add(bucket, u64::from(*n));
        }
        shard.size_bytes.fetch_add(tally.bytes(), Ordering::Relaxed);
    }

    pub(super) fn totals(&self, protocol: Protocol) -> ProtocolTotals {
        let (mut incoming, mut outgoing) = ([0; INCOMING], [[0; OUTGOING]; QueueKind::COUNT]);
        let mut sizes = SizeHistogram::default();
        let mut latencies = [Latency::default(); SPANS];
        for shards in self.0.iter().filter_map(OnceLock::get) {
            let shard = &shards[protocol.index()];
            shard.incoming.add_to(&mut incoming);
            for (sum, numbers) in outgoing.iter_mut().zip(&shard.outgoing) {
                numbers.add_to(sum);
            }
            shard.sizes.add_to(&mut sizes.counts);
            sizes.sum += shard.size_bytes.load(Ordering::Relaxed);
            for (sum, histogram) in latencies.iter_mut().zip(&shard.latencies) {
                histogram.add_to(sum);
            }
        }
        let incoming = |what: Incoming| incoming[what as usize];
        ProtocolTotals {
            received: incoming(Incoming::Received),
            received_confirm: incoming(Incoming::ReceivedConfirm),
            routed: incoming(Incoming::Routed),
            confirmed: incoming(Incoming::Confirmed),
            unroutable_dropped: incoming(Incoming::Dropped),
            unroutable_returned: incoming(Incoming::Returned),
            kinds: outgoing.map(KindTotals::of),
            sizes,
            stored: latencies[Span::Stored as usize],
            delivered: latencies[Span::Delivered as usize],
            settled: latencies[Span::Settled as usize],
        }
    }
}

/// What clients of one protocol took from queues of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KindTotals {
    /// Messages consumed, and gone with that.
    pub consumed_auto: u64,
    /// Messages consumed, to be settled.
    pub consumed_manual: u64,
    /// Messages got one by one, and gone with that.
    pub got_auto: u64,
    /// Messages got one by one, to be settled.
    pub got_manual: u64,
    /// Attempts to get one that found nothing.
    pub got_empty: u64,
    /// Those of the deliveries that may have been delivered before.
    pub redelivered: u64,
    /// Deliveries acknowledged.
    pub acknowledged: u64,
}

impl KindTotals {
    fn of(sums: [u64; OUTGOING]) -> Self {
        let sum = |what: Outgoing| sums[what as usize];
        Self {
            consumed_auto: sum(Outgoing::ConsumedAuto),
            consumed_manual: sum(Outgoing::ConsumedManual),
            got_auto: sum(Outgoing::GotAuto),
            got_manual: sum(Outgoing::GotManual),
            got_empty: sum(Outgoing::GotEmpty),
            redelivered: sum(Outgoing::Redelivered),
            acknowledged: sum(Outgoing::Acknowledged),
        }
    }

    /// All deliveries.
    pub const fn delivered(&self) -> u64 {
        self.consumed_auto + self.consumed_manual + self.got_auto + self.got_manual
    }
}

/// What happened to messages of clients of one protocol since the node started. Numbers only grow.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct ProtocolTotals {
    /// Messages received from publishers.
    pub received: u64,
    /// Those of them that were to be confirmed.
    pub received_confirm: u64,
    /// Copies of them that went into queues.
    pub routed: u64,
    /// Publishes confirmed.
    pub confirmed: u64,
    /// Messages dropped, as they reached no queue.
    pub unroutable_dropped: u64,
    /// Messages sent back, as they reached no queue.
    pub unroutable_returned: u64,
    /// What they took from queues; by [`QueueKind::index`].
    pub kinds: [KindTotals; QueueKind::COUNT],
    /// How large the bodies of received messages were.
    pub sizes: SizeHistogram,
    /// How long it took until publishes were safe; one of each turn is looked at.
    pub stored: Latency,
    /// How long messages were in their queues until they were on their way; one of each drain is looked at.
    pub delivered: Latency,
    /// How long it took then until they were settled; one of each settlement is looked at.
    pub settled: Latency,
}
