//! What the broker counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ternmq_core::message::DeathReason;
use ternmq_core::policy::{DeadLetterStrategy, QueueKind};

use crate::broker::Broker;
use crate::inspect::{Inspect, LoginCounters, Protocol};

mod client;
mod histogram;
mod shards;
mod tally;

pub(crate) use client::{Counting, drained, growth};
pub use histogram::{LATENCY_BUCKETS, Latency, SIZE_BOUNDS, SizeHistogram};
pub(crate) use shards::{Incoming, Outgoing, Shards, Span};
pub use shards::{KindTotals, ProtocolTotals};
pub(crate) use tally::TurnTally;
pub use tally::Unroutable;

/// Counters since start.
#[derive(Default)]
pub(crate) struct Metrics {
    dropped: AtomicU64,
    dead_lettered: [[[AtomicU64; DeathReason::COUNT]; LETTER_FATES]; QueueKind::COUNT],
    /// At-least-once dead letters that a queue took.
    dead_confirmed: [AtomicU64; QueueKind::COUNT],
    dead_dropped: AtomicU64,
    unreadable: AtomicU64,
    pub(crate) churn: Arc<ChurnCounters>,
    pub(crate) logins: LoginCounters,
    pub(crate) shards: Shards,
}

/// How dead letters of a queue travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LetterFate {
    /// Not at all: the queue has no dead-letter exchange.
    Disabled,
    /// They are dropped where they are refused.
    AtMostOnce,
    /// They wait where they are refused.
    AtLeastOnce,
}

const LETTER_FATES: usize = LetterFate::ALL.len();

impl LetterFate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Disabled, Self::AtMostOnce, Self::AtLeastOnce];

    /// The name that tools know.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::AtMostOnce => "at_most_once",
            Self::AtLeastOnce => "at_least_once",
        }
    }
}

impl From<DeadLetterStrategy> for LetterFate {
    fn from(strategy: DeadLetterStrategy) -> Self {
        match strategy {
            DeadLetterStrategy::AtLeastOnce => Self::AtLeastOnce,
            DeadLetterStrategy::AtMostOnce => Self::AtMostOnce,
        }
    }
}

/// What comes and goes.
#[derive(Default)]
pub(crate) struct ChurnCounters {
    pub(crate) connections_opened: AtomicU64,
    pub(crate) connections_closed: AtomicU64,
    pub(crate) channels_opened: AtomicU64,
    pub(crate) channels_closed: AtomicU64,
    pub(crate) queues_declared: AtomicU64,
    pub(crate) queues_created: AtomicU64,
    pub(crate) queues_deleted: AtomicU64,
}

impl ChurnCounters {
    /// A queue was declared, and perhaps made by that.
    pub(crate) fn declared(&self, created: bool) {
        count(&self.queues_declared);
        if created {
            count(&self.queues_created);
        }
    }
}

/// Counts one more of what is rare.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Metrics {
    pub(crate) fn dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Deaths in a queue without a dead-letter exchange, by reason.
    pub(crate) fn died(&self, kind: QueueKind, deaths: &[u64; DeathReason::COUNT]) {
        let counters = &self.dead_lettered[kind.index()][LetterFate::Disabled as usize];
        for (counter, count) in counters.iter().zip(deaths) {
            if *count > 0 {
                counter.fetch_add(*count, Ordering::Relaxed);
            }
        }
    }

    /// A death; `arrived` tells whether a dead-letter target took the message, or it waits for one.
    pub(crate) fn dead_lettered(
        &self,
        (kind, fate): (QueueKind, LetterFate),
        reason: DeathReason,
        arrived: bool,
    ) {
        count(&self.dead_lettered[kind.index()][fate as usize][reason.index()]);
        if !arrived {
            self.dead_dropped();
        } else if fate == LetterFate::AtLeastOnce {
            count(&self.dead_confirmed[kind.index()]);
        }
    }

    /// Messages could not be read from the disk.
    pub(crate) fn unreadable(&self, count: u64) {
        self.unreadable.fetch_add(count, Ordering::Relaxed);
    }

    /// A dead message was given up that no queue took.
    pub(crate) fn dead_dropped(&self) {
        count(&self.dead_dropped);
    }

    fn dead_letters(&self, kind: QueueKind, fate: LetterFate) -> [u64; DeathReason::COUNT] {
        let counters = &self.dead_lettered[kind.index()][fate as usize];
        std::array::from_fn(|at| counters[at].load(Ordering::Relaxed))
    }
}

/// Counters since start, as one look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Messages that queues dropped: over a limit, expired, refused, without a dead-letter exchange.
    pub dropped: u64,
    /// Messages that died in queues with a dead-letter exchange.
    pub dead_lettered: u64,
    /// Those of them that no queue took.
    pub dead_dropped: u64,
    /// Messages that could not be read from the disk and left their queues for that.
    pub unreadable: u64,
    /// Dead messages that wait now until a full queue has room for them.
    pub dead_held: u64,
    /// Messages that wait now for the time at which they are to be published.
    pub delayed: u64,
}

impl Broker {
    /// The counters.
    pub fn totals(&self) -> Totals {
        let metrics = &self.0.metrics;
        let lettered = [LetterFate::AtMostOnce, LetterFate::AtLeastOnce];
        let kinds = QueueKind::ALL.into_iter();
        let lettered = kinds.flat_map(|kind| lettered.map(|fate| metrics.dead_letters(kind, fate)));
        Totals {
            dropped: metrics.dropped.load(Ordering::Relaxed),
            dead_lettered: lettered.flatten().sum(),
            dead_dropped: metrics.dead_dropped.load(Ordering::Relaxed),
            unreadable: metrics.unreadable.load(Ordering::Relaxed),
            dead_held: self.0.hold.len() as u64,
            delayed: self.0.schedule.len() as u64,
        }
    }
}

/// What came and went since the node started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Churn {
    /// Connections let in.
    pub connections_opened: u64,
    /// Those of them that are gone.
    pub connections_closed: u64,
    /// Channels opened.
    pub channels_opened: u64,
    /// Those of them that are gone.
    pub channels_closed: u64,
    /// Declarations of queues.
    pub queues_declared: u64,
    /// Those that made one.
    pub queues_created: u64,
    /// Queues deleted, for whatever reason.
    pub queues_deleted: u64,
}

impl Inspect<'_> {
    /// What came and went.
    pub fn churn(self) -> Churn {
        let ChurnCounters {
            connections_opened,
            connections_closed,
            channels_opened,
            channels_closed,
            queues_declared,
            queues_created,
            queues_deleted,
        } = &*self.0.metrics.churn;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Churn {
            connections_opened: read(connections_opened),
            connections_closed: read(connections_closed),
            channels_opened: read(channels_opened),
            channels_closed: read(channels_closed),
            queues_declared: read(queues_declared),
            queues_created: read(queues_created),
            queues_deleted: read(queues_deleted),
        }
    }

    /// What happened to messages of clients that speak one protocol.
    pub fn protocol_totals(self, protocol: Protocol) -> ProtocolTotals {
        self.0.metrics.shards.totals(protocol)
    }

    /// Messages that died in queues of one kind whose dead letters travel in one way, by [`DeathReason::index`].
    pub fn dead_letters(self, kind: QueueKind, fate: LetterFate) -> [u64; DeathReason::COUNT] {
        self.0.metrics.dead_letters(kind, fate)
    }

    /// At-least-once dead letters of queues of one kind that arrived, or wait until they can.
    pub fn dead_letters_confirmed(self, kind: QueueKind) -> u64 {
        self.0.metrics.dead_confirmed[kind.index()].load(Ordering::Relaxed)
    }
}
