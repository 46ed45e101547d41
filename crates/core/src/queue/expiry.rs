//! Time: messages that expire wherever they wait, and queues that nobody uses.
//!
//! The index holds one record for every entry that was ready with a deadline, until the entry leaves or the deadline
//! passes. Deadlines mostly come in rising order (one TTL for the whole queue): those are in a plain queue, the
//! others in a heap. Records of entries that left are dropped when they come to the front, or all together when they
//! outnumber the rest. A record that comes due while its entry is leased is dropped; the entry expires when it
//! returns.

use alloc::collections::{BinaryHeap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::part::deadline;
use super::ready::{Entry, Lanes, NEVER, State};
use super::{DeleteReason, Effects, Queue};
use crate::id::{Position, Timestamp};
use crate::message::{DeathReason, Message};

/// Messages expired by one call of [`Queue::expire`], at most; what is left is due at once.
pub const EXPIRE_BATCH_MAX: usize = 1024;
/// Records of entries that left are tolerated up to this number, and up to the number of the others.
const STALE_RECORDS_MAX: usize = 64;

/// A deadline and whose it is; ordered by deadline, then sequence.
type Record = (Timestamp, Position);

#[derive(Default)]
pub(super) struct Expiry {
    rising: VecDeque<Record>,
    others: BinaryHeap<Reverse<Record>>,
    /// Records whose entries are in the queue.
    live: usize,
}

impl Expiry {
    fn insert(&mut self, record: Record) {
        self.live += 1;
        if self.rising.back().is_none_or(|last| *last <= record) {
            self.rising.push_back(record);
        } else {
            self.others.push(Reverse(record));
        }
    }

    fn first(&self) -> Option<Record> {
        match (self.rising.front(), self.others.peek()) {
            (Some(a), Some(Reverse(b))) => Some(*a.min(b)),
            (Some(a), None) => Some(*a),
            (None, b) => b.map(|Reverse(record)| *record),
        }
    }

    fn pop_first(&mut self) {
        self.take_first();
        if self.len() == 0 && self.rising.capacity() + self.others.capacity() > STALE_RECORDS_MAX {
            (self.rising, self.others) = Default::default();
        }
    }

    fn take_first(&mut self) {
        match (self.rising.front(), self.others.peek()) {
            (Some(a), Some(Reverse(b))) if b < a => self.others.pop().map(|Reverse(record)| record),
            (Some(_), _) => self.rising.pop_front(),
            (None, _) => self.others.pop().map(|Reverse(record)| record),
        };
    }

    pub(super) fn len(&self) -> usize {
        self.rising.len() + self.others.len()
    }

    /// Records there is memory for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.rising.capacity() + self.others.capacity()
    }

    /// To be called when an entry with a record has left.
    pub(super) fn forget_one(&mut self, lanes: &Lanes) {
        self.forget(1, lanes);
    }

    /// To be called when entries with records have left.
    pub(super) fn forget(&mut self, entries: usize, lanes: &Lanes) {
        self.live -= entries;
        while self
            .first()
            .is_some_and(|(_, position)| !is_live(lanes, position))
        {
            self.pop_first();
        }
        if self.len() > 2 * self.live + STALE_RECORDS_MAX {
            self.compact(lanes);
        }
        debug_assert!(self.len() <= 2 * self.live + STALE_RECORDS_MAX);
    }

    /// Drops the records of entries that left. An entry that went cold and came back may have found its old record
    /// here and made another: one of them goes as well.
    fn compact(&mut self, lanes: &Lanes) {
        let others = core::mem::take(&mut self.others);
        let mut records = Vec::from(core::mem::take(&mut self.rising));
        records.extend(others.into_iter().map(|Reverse(record)| record));
        records.retain(|&(_, position)| is_live(lanes, position));
        records.sort_unstable();
        records.dedup();
        records.shrink_to(2 * records.len());
        self.rising = records.into();
    }
}

fn is_live(lanes: &Lanes, position: Position) -> bool {
    lanes.entry(position).is_some_and(|entry| entry.indexed)
}

impl Queue {
    /// When a message that enters now expires.
    pub(super) fn deadline(&self, enqueued_at: Timestamp, message: &Message) -> Timestamp {
        deadline(enqueued_at, message.ttl_ms(), self.settings.message_ttl_ms)
    }

    /// Makes sure that a ready entry with a deadline is in the index.
    pub(super) fn index_deadline(&mut self, position: Position) {
        if let Some(entry) = self.lanes.entry_mut(position)
            && entry.expire_at != NEVER
            && !entry.indexed
        {
            entry.indexed = true;
            self.expiry.insert((entry.expire_at, position));
        }
    }

    /// To be called with every entry that has left.
    pub(super) fn unindex(&mut self, entry: &Entry) {
        if entry.indexed {
            self.expiry.forget_one(&self.lanes);
        }
    }

    /// Computes all deadlines anew, from the time of entering.
    pub(super) fn recompute_deadlines(&mut self) {
        let queue_ttl = self.settings.message_ttl_ms;
        let mut records = Vec::new();
        self.lanes.for_each(|position, entry| {
            entry.expire_at = deadline(entry.enqueued_at, entry.message.ttl_ms(), queue_ttl);
            entry.indexed = entry.state == State::Ready && entry.expire_at != NEVER;
            if entry.indexed {
                records.push((entry.expire_at, position));
            }
        });
        self.recompute_cold_deadlines();
        records.sort_unstable();
        self.expiry = Expiry {
            live: records.len(),
            rising: records.into(),
            others: BinaryHeap::new(),
        };
    }

    /// When the queue itself expires, if it is unused now.
    fn unused_deadline(&self) -> Option<Timestamp> {
        let expires_ms = self.settings.expires_ms?;
        self.consumers
            .is_empty()
            .then(|| self.last_used.plus_ms(expires_ms))
    }

    /// When [`Self::expire`] has something to do; it may turn out to be nothing. Cold messages count until they are
    /// being read.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if self.closed {
            return None;
        }
        let message = self.expiry.first().map(|(deadline, _)| deadline);
        let cold = self
            .lanes
            .cold
            .first_deadline()
            .map(|(deadline, _)| deadline);
        let leases = Some(self.leases_due).filter(|due| *due != NEVER);
        let message = message.into_iter().chain(cold).chain(leases);
        message.chain(self.unused_deadline()).min()
    }

    /// Expires the messages whose time has come, up to [`EXPIRE_BATCH_MAX`], wants cold ones read, names
    /// consumers that hold messages for too long, and asks for deletion of a queue that
    /// nobody used for its time. Ask [`Self::next_deadline`] again afterwards.
    pub fn expire(&mut self, now: Timestamp, fx: &mut Effects) {
        if self.closed {
            return;
        }
        for _ in 0..EXPIRE_BATCH_MAX {
            let Some((deadline, position)) = self.expiry.first() else {
                break;
            };
            if deadline > now {
                break;
            }
            match self.lanes.entry_mut(position) {
                Some(entry) if entry.indexed && entry.state == State::Ready => {
                    // Its record goes with it.
                    self.die(position, DeathReason::Expired, fx);
                }
                Some(entry) if entry.indexed => {
                    entry.indexed = false;
                    self.expiry.pop_first();
                    self.expiry.forget_one(&self.lanes);
                }
                _ => self.expiry.pop_first(),
            }
        }
        let is_due = |(deadline, _)| deadline <= now;
        if self.lanes.cold.first_deadline().is_some_and(is_due) {
            self.expires_cold = true;
            fx.wants_cold = true;
        }
        self.expire_leases(now, fx);
        if self
            .unused_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            fx.delete = Some(DeleteReason::Expired);
        }
    }
}
