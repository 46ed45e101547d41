//! For how long consumers hold what they took.
//!
//! ```text
//! consumer's leases, oldest epoch first:   [ 3 leases, last at t1 ][ 5, last at t2 ][ 1, last at t3 ]
//! ```
//! Each lease belongs to the epoch in which it was taken, of which there are few; so the oldest lease of a consumer is
//! known at any time, to one part in [`EPOCHS_PER_TIMEOUT`] of its timeout, for a number per epoch and a small one per
//! lease. The queue keeps a time before which no consumer's timeout can be over, and looks at its consumers when that
//! comes.

use alloc::collections::VecDeque;

use super::ready::NEVER;
use super::{AckMode, Effects, Queue};
use crate::id::Timestamp;

/// How finely a timeout is measured: one is noticed late by this part of it at most.
const EPOCHS_PER_TIMEOUT: u64 = 64;
/// Epochs of a consumer, at most. Beyond it the last one goes on.
const EPOCHS_MAX: usize = 128;
/// Who holds nothing keeps memory for so many.
const EPOCHS_KEPT: usize = 4;

/// For how long a consumer may hold a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseTimeout {
    /// For ever, whatever the queue says: nothing is measured.
    Never,
    /// As long as the queue says; if it says nothing, for so many milliseconds. 0 stands for ever.
    OfQueue(u64),
    /// For so many milliseconds, whatever the queue says. 0 stands for ever.
    Own(u64),
}

impl LeaseTimeout {
    /// The timeout in milliseconds at a queue that says this.
    pub(super) fn ms(self, of_queue: Option<u64>) -> Option<u64> {
        let ms = match self {
            Self::Never => 0,
            Self::OfQueue(otherwise) => of_queue.unwrap_or(otherwise),
            Self::Own(ms) => ms,
        };
        Some(ms).filter(|ms| *ms > 0)
    }
}

#[derive(Clone, Copy)]
struct Epoch {
    began: Timestamp,
    /// When its last lease was taken.
    last: Timestamp,
    leases: u32,
}

/// What one consumer holds, by epochs.
#[derive(Default)]
pub(super) struct Held {
    epochs: VecDeque<Epoch>,
    /// Number of the first epoch.
    first: u16,
    /// The timeout was noticed.
    pub(super) is_over: bool,
}

impl Held {
    /// Begins to take leases now. Returns the number of their epoch; [`Self::took`] must follow.
    fn begin(&mut self, now: Timestamp, timeout_ms: Option<u64>) -> u16 {
        let span_ms = timeout_ms.unwrap_or(0) / EPOCHS_PER_TIMEOUT;
        let is_full = self.epochs.len() >= EPOCHS_MAX;
        match self.epochs.back_mut() {
            Some(last) if is_full || timeout_ms.is_none() || now.since(last.began) <= span_ms => {
                last.last = last.last.max(now);
            }
            _ => self.epochs.push_back(Epoch {
                began: now,
                last: now,
                leases: 0,
            }),
        }
        // Few, and numbers wrap.
        let behind = u16::try_from(self.epochs.len() - 1).unwrap_or(u16::MAX);
        self.first.wrapping_add(behind)
    }

    /// So many leases were taken in the epoch that began last.
    fn took(&mut self, leases: u32) {
        if let Some(last) = self.epochs.back_mut() {
            last.leases += leases;
        }
        self.trim();
    }

    /// Leases of an epoch ended.
    fn ended(&mut self, epoch: u16, leases: u32) {
        let at = usize::from(epoch.wrapping_sub(self.first));
        if let Some(epoch) = self.epochs.get_mut(at) {
            debug_assert!(leases <= epoch.leases, "what ends was taken");
            epoch.leases = epoch.leases.saturating_sub(leases);
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.epochs.front().is_some_and(|epoch| epoch.leases == 0) {
            self.epochs.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        if self.epochs.is_empty() {
            self.is_over = false;
            if self.epochs.capacity() > EPOCHS_KEPT {
                self.epochs = VecDeque::new();
            }
        }
    }

    /// When the oldest lease was taken, or a little later.
    fn oldest(&self) -> Option<Timestamp> {
        self.epochs.front().map(|epoch| epoch.last)
    }

    fn is_empty(&self) -> bool {
        self.epochs.is_empty()
    }
}

impl Queue {
    /// For how long a consumer may hold a message, in milliseconds; none for ever.
    pub fn lease_timeout_ms(&self, key: super::ConsumerKey) -> Option<u64> {
        let consumer = self.consumers.get(key)?;
        self.timeout_ms(consumer.spec.lease_timeout)
    }

    /// What such a timeout is at this queue, in milliseconds; none for ever.
    pub fn timeout_ms(&self, timeout: LeaseTimeout) -> Option<u64> {
        timeout.ms(self.settings.consumer_timeout_ms)
    }

    /// A consumer is about to take leases. Returns their epoch.
    pub(super) fn begin_leases(&mut self, now: Timestamp, key: super::ConsumerKey) -> u16 {
        let of_queue = self.settings.consumer_timeout_ms;
        let Some(consumer) = self.consumers.get_mut(key) else {
            return 0;
        };
        let timeout = consumer.spec.lease_timeout;
        if timeout == LeaseTimeout::Never || consumer.mode() == AckMode::Auto {
            return 0;
        }
        let ms = timeout.ms(of_queue);
        if consumer.held.is_empty()
            && let Some(ms) = ms
        {
            self.leases_due = self.leases_due.min(now.plus_ms(ms));
        }
        consumer.held.begin(now, ms)
    }

    /// It took so many.
    pub(super) fn took_leases(&mut self, key: super::ConsumerKey, leases: u32) {
        self.leased += u64::from(leases);
        if let Some(consumer) = self.consumers.get_mut(key) {
            consumer.held.took(leases);
        }
    }

    /// Leases of an epoch ended.
    pub(super) fn leases_ended(&mut self, (key, epoch): (super::ConsumerKey, u16), leases: u32) {
        if let Some(consumer) = self.consumers.get_mut(key) {
            consumer.held.ended(epoch, leases);
        }
    }

    /// Looks for consumers that hold messages for too long, if there may be such.
    pub(super) fn expire_leases(&mut self, now: Timestamp, fx: &mut Effects) {
        if now < self.leases_due {
            return;
        }
        let of_queue = self.settings.consumer_timeout_ms;
        let (mut next, mut shortest) = (NEVER, u64::MAX);
        for (key, consumer) in self.consumers.holders_mut() {
            let Some(ms) = consumer.spec.lease_timeout.ms(of_queue) else {
                continue;
            };
            let Some(oldest) = consumer.held.oldest().filter(|_| !consumer.held.is_over) else {
                continue;
            };
            let due = oldest.plus_ms(ms);
            if due <= now {
                consumer.held.is_over = true;
                fx.timed_out.push(key);
            } else {
                next = next.min(due);
                shortest = shortest.min(ms);
            }
        }
        // So that many consumers whose times differ a little are not looked at for each of them.
        self.leases_due = next.max(now.plus_ms(shortest / EPOCHS_PER_TIMEOUT));
    }
}

#[cfg(test)]
mod tests;
