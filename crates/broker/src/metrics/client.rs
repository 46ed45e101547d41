//! What one connection counts, and when it looks at the clock for that.

use std::sync::Arc;

use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::policy::QueueKind;
use ternmq_core::queue::{Effects, Outcome, QueueCounters};

use super::{Incoming, Metrics, Outgoing, Span};
use crate::client::Client;
use crate::inspect::{ConnectionStats, Protocol};
use crate::publish::Turn;

/// What a connection has for that.
#[derive(Default)]
pub(crate) struct Counting {
    pub(crate) protocol: Protocol,
    /// What others see of it, once it was introduced.
    pub(crate) stats: Option<Arc<ConnectionStats>>,
    storing: Option<StoringProbe>,
}

/// A turn whose way to the disk is timed.
#[derive(Clone, Copy, Debug)]
struct StoringProbe {
    lsn: Lsn,
    since: Timestamp,
}

impl Client {
    /// What the client speaks, for those who count. A connection that is introduced says so with that.
    pub fn speak(&mut self, protocol: Protocol) {
        self.counting.protocol = protocol;
    }

    /// Publishes were confirmed, or what stands for that in the protocol.
    pub fn count_confirmed(&mut self, publishes: u64) {
        let shards = &self.broker.metrics.shards;
        shards.incoming(self.counting.protocol, Incoming::Confirmed, publishes);
        if let Some(probe) = self.counting.storing
            && probe.lsn <= self.broker.committed()
        {
            self.counting.storing = None;
            let took = self.broker.clock.now().since(probe.since);
            shards.took(self.counting.protocol, Span::Stored, took);
        }
    }

    pub(crate) fn count_turn(&mut self, turn: &Turn) {
        let tally = turn.tally();
        if tally.is_empty() {
            return;
        }
        if let Some(stats) = &self.counting.stats {
            stats.published.add(tally.messages());
        }
        let shards = &self.broker.metrics.shards;
        shards.turn(self.counting.protocol, tally, turn.copies());
    }

    /// A turn is stored with that record, or needs none. One that needs a record is timed if none is at the moment.
    pub(crate) fn watch_storing(&mut self, lsn: Lsn, since: Timestamp) {
        if lsn.is_some() {
            let is_old = |probe: StoringProbe| probe.lsn <= self.broker.committed();
            // One that was committed and never asked about was not confirmed, so nobody knows when it was.
            if self.counting.storing.is_none_or(is_old) {
                self.counting.storing = Some(StoringProbe { lsn, since });
            }
        }
    }

    /// Messages were drained from a queue. `before` is what had happened in the queue before.
    pub(crate) fn count_drained(&mut self, kind: QueueKind, [manual, auto, redelivered]: [u64; 3]) {
        if manual + auto == 0 {
            return;
        }
        let shards = &self.broker.metrics.shards;
        let counts = [
            (Outgoing::ConsumedManual, manual),
            (Outgoing::ConsumedAuto, auto),
            (Outgoing::Redelivered, redelivered),
        ];
        shards.outgoing((self.counting.protocol, kind), counts);
        if let Some(ms) = self.work.get().effects.waited_ms.take() {
            shards.took(self.counting.protocol, Span::Delivered, ms);
        }
        if let Some(stats) = &self.counting.stats {
            stats.delivered.add(manual + auto);
        }
    }

    /// Deliveries were settled.
    pub(crate) fn count_settled(&mut self, kind: QueueKind, outcome: Outcome, settled: usize) {
        let of = (self.counting.protocol, kind, outcome);
        let metrics = &self.broker.metrics;
        metrics.settled(of, settled, &mut self.work.get().effects);
    }

    /// Somebody tried to get one message.
    pub(crate) fn count_got(&mut self, kind: QueueKind, what: Outgoing, redelivered: bool) {
        let counts = [(what, 1), (Outgoing::Redelivered, u64::from(redelivered))];
        let shards = &self.broker.metrics.shards;
        shards.outgoing((self.counting.protocol, kind), counts);
    }
}

impl Metrics {
    /// Deliveries were settled.
    pub(crate) fn settled(
        &self,
        (protocol, kind, outcome): (Protocol, QueueKind, Outcome),
        settled: usize,
        effects: &mut Effects,
    ) {
        if outcome == Outcome::Ack {
            let counts = [(Outgoing::Acknowledged, settled as u64)];
            self.shards.outgoing((protocol, kind), counts);
        }
        if let Some(ms) = effects.held_ms.take() {
            self.shards.took(protocol, Span::Settled, ms);
        }
    }
}

/// What a drain adds to: what is to be settled, what is not, what comes again.
pub(crate) fn drained(counters: &QueueCounters) -> [u64; 3] {
    [
        counters.delivered,
        counters.delivered_auto,
        counters.redelivered,
    ]
}

/// By how much numbers grew.
pub(crate) fn growth(before: [u64; 3], after: [u64; 3]) -> [u64; 3] {
    std::array::from_fn(|at| after[at].saturating_sub(before[at]))
}
