//! Building a queue from its journal: facts in, no decisions.
//!
//! Entries come in the order they had; what the journal says about them later is said by record. When all is
//! replayed, [`Queue::finish_replay`] forgets the way from records to entries, and time and limits apply again.

use hashbrown::HashMap;

use super::ready::{Class, State};
use super::{Effects, Incoming, Queue};
use crate::id::{Lsn, Position, Timestamp};

#[derive(Default)]
pub(super) struct Replay {
    positions: HashMap<Lsn, Position, foldhash::fast::FixedState>,
}

impl Queue {
    /// Adds an entry that was in the queue, with the time it had entered. One that is there already stays as it is.
    pub fn restore(
        &mut self,
        enqueued_at: Timestamp,
        incoming: Incoming,
        attempts: u32,
        failures: u32,
    ) {
        debug_assert!(
            self.consumers.is_empty(),
            "replay ends before anybody consumes"
        );
        let known = |replay: &Replay| replay.positions.contains_key(&incoming.lsn);
        if incoming.lsn.is_some() && self.replay.as_deref().is_some_and(known) {
            return;
        }
        let class = if incoming.at_most_once {
            Class::AtMostOnce
        } else {
            Class::Kept
        };
        let mut entry = self.entry(enqueued_at, incoming, State::Ready);
        entry.attempts = attempts;
        entry.failures = failures;
        let (lsn, body_bytes) = (entry.lsn, entry.body_bytes);
        let position = self.lanes.append(self.lane_for(class, &entry), entry);
        self.ready += 1;
        self.ready_bytes += u64::from(body_bytes);
        self.index_deadline(position);
        if lsn.is_some() {
            self.replay
                .get_or_insert_default()
                .positions
                .insert(lsn, position);
        }
    }

    /// Removes a restored entry. Returns whether it was there.
    pub fn remove_by_lsn(&mut self, lsn: Lsn) -> bool {
        let Some(position) = self
            .replay
            .as_mut()
            .and_then(|replay| replay.positions.remove(&lsn))
        else {
            return false;
        };
        let Some(entry) = self.lanes.remove(position) else {
            return false;
        };
        self.ready -= 1;
        self.ready_bytes -= u64::from(entry.body_bytes);
        self.unindex(&entry);
        true
    }

    /// Sets a restored entry's counters. Returns whether it was there.
    pub fn set_counters(&mut self, lsn: Lsn, attempts: u32, failures: u32) -> bool {
        let position = self
            .replay
            .as_ref()
            .and_then(|replay| replay.positions.get(&lsn).copied());
        let Some(entry) = position.and_then(|position| self.lanes.entry_mut(position)) else {
            return false;
        };
        entry.attempts = attempts;
        entry.failures = failures;
        true
    }

    /// Ends replay: the queue counts as used now, and length limits apply again.
    pub fn finish_replay(&mut self, now: Timestamp, fx: &mut Effects) {
        self.replay = None;
        self.last_used = now;
        self.drop_overflow(fx);
    }
}
