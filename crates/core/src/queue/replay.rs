//! Building a queue from its journal: facts in, no decisions.
//!
//! Entries come in the order they had; what the journal says about them later is said by record. When all is
//! replayed, [`Queue::finish_replay`] forgets the way from records to entries, and time and limits apply again.
//!
//! Entries may be cold: packed while replaying ([`Queue::freeze`]), or restored from a snapshot. What the journal says
//! about those is kept until the shell has read their chunks ([`Queue::pending_cold`], [`Queue::amend_cold`]). A
//! snapshot that was taken while records were written holds some of those that are replayed: the shell reads which
//! ([`Queue::chunks_reaching`], [`Queue::note_cold`]) before it restores any. Nothing is thawed before the end.

use alloc::vec::Vec;
use core::ops::Bound;

use hashbrown::{HashMap, HashSet};

use super::cold::{ChunkKey, Cold, ColdChunk, Purpose};
use super::freeze::key_of;
use super::ready::{Class, State};
use super::thaw::sound;
use super::{ColdEntry, Effects, Incoming, Queue};
use crate::id::{Lsn, Position, Timestamp};

/// What the journal says about a cold entry.
#[derive(Clone, Copy)]
enum Change {
    Removed,
    Counters { attempts: u32, failures: u32 },
}

#[derive(Default)]
pub(super) struct Replay {
    positions: HashMap<Lsn, Position, foldhash::fast::FixedState>,
    /// Records known to be in cold chunks.
    cold: HashSet<Lsn, foldhash::fast::FixedState>,
    /// The records that a snapshot's chunks may hold: from the lowest to the highest.
    restored: Option<(Lsn, Lsn)>,
    /// What will be done to cold entries, by record.
    pending: alloc::collections::BTreeMap<Lsn, Change>,
}

impl Replay {
    /// To be called with the records of entries that were packed.
    pub(super) fn freeze(&mut self, lsns: &[Lsn]) {
        for lsn in lsns {
            self.positions.remove(lsn);
            self.cold.insert(*lsn);
        }
    }

    /// To be called with every chunk of a snapshot.
    pub(super) fn restore(&mut self, cold: &Cold) {
        let (min, max) = self.restored.unwrap_or((cold.lsn_min, cold.lsn_max));
        self.restored = Some((min.min(cold.lsn_min), max.max(cold.lsn_max)));
    }

    fn may_be_cold(&self, lsn: Lsn) -> bool {
        let in_range = |(min, max)| min <= lsn && lsn <= max;
        self.cold.contains(&lsn) || self.restored.is_some_and(in_range)
    }

    /// Keeps a change if it can be to a cold entry.
    fn keep(&mut self, lsn: Lsn, change: Change) -> bool {
        let may_be = self.may_be_cold(lsn);
        // What is removed stays so.
        if may_be && !matches!(self.pending.get(&lsn), Some(Change::Removed)) {
            self.pending.insert(lsn, change);
        }
        may_be
    }

    fn touches(&self, cold: &Cold) -> bool {
        let range = (Bound::Included(cold.lsn_min), Bound::Included(cold.lsn_max));
        cold.journalled().is_some() && self.pending.range(range).next().is_some()
    }
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
        let known = |replay: &Replay| {
            replay.positions.contains_key(&incoming.lsn) || replay.cold.contains(&incoming.lsn)
        };
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

    /// Removes a restored entry. Returns whether it was there; of one that may be cold, whether it may have been.
    pub fn remove_by_lsn(&mut self, lsn: Lsn) -> bool {
        let Some(replay) = &mut self.replay else {
            return false;
        };
        let Some(position) = replay.positions.remove(&lsn) else {
            return replay.keep(lsn, Change::Removed);
        };
        let Some(entry) = self.lanes.remove(position) else {
            return false;
        };
        self.ready -= 1;
        self.ready_bytes -= u64::from(entry.body_bytes);
        self.unindex(&entry);
        true
    }

    /// Sets a restored entry's counters. Returns as [`Self::remove_by_lsn`] does.
    pub fn set_counters(&mut self, lsn: Lsn, attempts: u32, failures: u32) -> bool {
        let Some(replay) = &mut self.replay else {
            return false;
        };
        let Some(position) = replay.positions.get(&lsn).copied() else {
            return replay.keep(lsn, Change::Counters { attempts, failures });
        };
        let Some(entry) = self.lanes.entry_mut(position) else {
            return false;
        };
        entry.attempts = attempts;
        entry.failures = failures;
        true
    }

    /// Says which records cold chunks hold, so that they are not restored once more.
    pub fn note_cold(&mut self, lsns: impl IntoIterator<Item = Lsn>) {
        let replay = self.replay.get_or_insert_default();
        replay.cold.extend(lsns);
    }

    /// The cold chunks that hold this record or a later one: those to read for [`Self::note_cold`].
    pub fn chunks_reaching(&self, lsn: Lsn, out: &mut Vec<ColdChunk>) {
        self.list_cold(None, usize::MAX, Purpose::Note, out, |cold| {
            cold.journalled().is_some_and(|(_, max, _)| max >= lsn)
        });
    }

    /// The cold chunks that the journal said something about, up to a number, behind the one that was named last. To
    /// be read, and given to [`Self::amend_cold`], before the end of replay.
    pub fn pending_cold(
        &self,
        after: Option<ChunkKey>,
        chunks_max: usize,
        out: &mut Vec<ColdChunk>,
    ) {
        if let Some(replay) = &self.replay {
            self.list_cold(after, chunks_max, Purpose::Amend, out, |cold| {
                replay.touches(cold)
            });
        }
    }

    fn list_cold(
        &self,
        after: Option<ChunkKey>,
        chunks_max: usize,
        purpose: Purpose,
        out: &mut Vec<ColdChunk>,
        wanted: impl Fn(&Cold) -> bool,
    ) {
        let start = after.map_or((0, 0), |key| (key.lane, key.sequence.saturating_add(1)));
        let chunks = self.lanes.kept().filter(|(lane, _)| *lane >= start.0);
        let chunks = chunks.flat_map(|(priority, lane)| {
            let from = if priority == start.0 { start.1 } else { 0 };
            let chunks = lane.cold_chunks(from);
            chunks.map(move |(sequence, _, cold)| ((priority, sequence), cold))
        });
        let chunks = chunks.filter(|(at, cold)| *at >= start && wanted(cold));
        out.extend(
            chunks
                .take(chunks_max)
                .map(|(at, cold)| self.chunk_to_read(at, cold, purpose)),
        );
    }

    /// Does to a chunk's entries what the journal said, given all that its parts held, in order. They stay cold, and
    /// those that changed are in memory again. Returns whether the chunk was there.
    pub fn amend_cold(
        &mut self,
        key: ChunkKey,
        mut entries: Vec<ColdEntry>,
        fx: &mut Effects,
    ) -> bool {
        let Some(mut replay) = self.replay.take() else {
            return false;
        };
        let mut changed = false;
        let mut change = |entry: &mut ColdEntry| match replay.pending.remove(&entry.lsn) {
            Some(Change::Removed) => {
                changed = true;
                false
            }
            Some(Change::Counters { attempts, failures }) => {
                changed = true;
                (entry.attempts, entry.failures) = (attempts, failures);
                true
            }
            None => true,
        };
        let is_there = match self.cold_at(key) {
            Some(cold) => {
                entries = sound(cold, entries, fx);
                entries.retain_mut(&mut change);
                true
            }
            None => false,
        };
        self.replay = Some(replay);
        if changed && let Some(cold) = self.take_cold(key, fx) {
            self.pack_again(key, &cold, &entries);
        }
        is_there
    }

    fn cold_at(&self, key: ChunkKey) -> Option<&Cold> {
        let lane = self.lanes.kept_lane(key.lane)?;
        let cold = lane.chunk_at(key.sequence)?.1.cold.as_deref()?;
        (key_of((key.lane, key.sequence), cold) == key).then_some(cold)
    }

    /// Ends replay: the queue counts as used now, and length limits apply again.
    pub fn finish_replay(&mut self, now: Timestamp, fx: &mut Effects) {
        self.replay = None;
        self.last_used = now;
        self.drop_overflow(fx);
    }
}
