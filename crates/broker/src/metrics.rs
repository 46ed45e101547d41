//! What the broker counts.

use std::sync::atomic::{AtomicU64, Ordering};

use ternmq_core::message::DeathReason;

use crate::broker::Broker;

/// Counters since start.
#[derive(Default)]
pub(crate) struct Metrics {
    dropped: AtomicU64,
    dead_lettered: [AtomicU64; 4],
    dead_dropped: AtomicU64,
    unreadable: AtomicU64,
}

impl Metrics {
    pub(crate) fn dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// A death; `arrived` tells whether a dead-letter target took the message, or it waits for one.
    pub(crate) fn dead_lettered(&self, reason: DeathReason, arrived: bool) {
        let index = match reason {
            DeathReason::Rejected => 0,
            DeathReason::Expired => 1,
            DeathReason::MaxLength => 2,
            DeathReason::DeliveryLimit => 3,
        };
        self.dead_lettered[index].fetch_add(1, Ordering::Relaxed);
        if !arrived {
            self.dead_dropped();
        }
    }

    /// Messages could not be read from the disk.
    pub(crate) fn unreadable(&self, count: u64) {
        self.unreadable.fetch_add(count, Ordering::Relaxed);
    }

    /// A dead message was given up that no queue took.
    pub(crate) fn dead_dropped(&self) {
        self.dead_dropped.fetch_add(1, Ordering::Relaxed);
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
        Totals {
            dropped: metrics.dropped.load(Ordering::Relaxed),
            dead_lettered: metrics
                .dead_lettered
                .iter()
                .map(|c| c.load(Ordering::Relaxed))
                .sum(),
            dead_dropped: metrics.dead_dropped.load(Ordering::Relaxed),
            unreadable: metrics.unreadable.load(Ordering::Relaxed),
            dead_held: self.0.hold.len() as u64,
            delayed: self.0.schedule.len() as u64,
        }
    }
}
