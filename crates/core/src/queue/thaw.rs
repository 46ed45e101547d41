//! Cold messages come back, or end where they are.
//!
//! The queue says that it wants something cold ([`Effects::wants_cold`]) when it cannot go on without: a consumer has
//! room or somebody gets, and the next message is cold; messages must be dropped, and the first of them is cold; cold
//! ones are due. It also does when consumers come near cold messages. Order never changes: until the cold ones are
//! back, nothing passes them, and what would have been done to them by then is done when they are, first things first.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::cold::{ChunkAt, ChunkKey, Cold, ColdChunk, Packer, Purpose};
use super::freeze::key_of;
use super::lane::{CHUNK_SLOTS, Chunk, Lane};
use super::part::deadline;
use super::ready::{Class, Entry, LaneId, State};
use super::{ColdEntry, Dead, Effects, Queue};
use crate::id::{Lsn, Timestamp};
use crate::message::{DeathReason, Message};

/// Cold messages that are nearer to the next one than this are read before they are needed.
pub const READ_AHEAD_ENTRIES: u64 = if cfg!(test) { 64 } else { 512 };

/// What waits for cold entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stalled {
    No,
    /// Consumers with room; overflow waits for them.
    Assigning,
    /// Overflow.
    Dropping,
    /// Overflow, and consumers with room wait for it.
    DroppingFirst,
}

impl Stalled {
    pub(super) fn is_dropping(self) -> bool {
        matches!(self, Self::Dropping | Self::DroppingFirst)
    }
}

/// How much may still be read.
struct Room {
    entries: usize,
    body_bytes: u64,
}

impl Room {
    /// Counts a chunk, if there is room for it or it is the first.
    fn take(&mut self, cold: &Cold, out: &[ColdChunk]) -> bool {
        let live = usize::from(cold.live);
        let fits = live <= self.entries && cold.body_bytes <= self.body_bytes;
        self.entries = self.entries.saturating_sub(live);
        self.body_bytes = self.body_bytes.saturating_sub(cold.body_bytes);
        fits || out.is_empty()
    }
}

impl Lane {
    /// Chunks with cold entries that nobody reads yet, if the first of them is near.
    fn cold_ahead(&self) -> impl Iterator<Item = (u64, &Cold)> {
        let near = self
            .cursor
            .max(self.base)
            .saturating_add(READ_AHEAD_ENTRIES);
        let idle =
            |(first, chunk, cold): (u64, &Chunk, _)| (!chunk.loading).then_some((first, cold));
        let mut ahead = self
            .cold_chunks(self.cursor.max(self.base))
            .take_while(move |(first, chunk, _)| *first < near || !chunk.loading)
            .filter_map(idle)
            .peekable();
        let is_near = ahead.peek().is_some_and(|(first, _)| *first < near);
        ahead.take_while(move |_| is_near)
    }
}

impl Queue {
    /// Whether the next message for a consumer or for [`Self::get`] is cold.
    pub fn is_head_cold(&mut self) -> bool {
        self.lanes.cold.chunks > 0
            && self.ready > self.lanes.at_most_once_ready()
            && self.lanes.first_ready(Class::Kept).is_none()
    }

    pub(super) fn want_head(&mut self, fx: &mut Effects) {
        self.wants_head = true;
        fx.wants_cold = true;
    }

    fn is_cold_ahead(&self) -> bool {
        let lane = self.lanes.kept_lane(self.lanes.highest_ready());
        lane.is_some_and(|lane| lane.cold > 0 && lane.cold_ahead().next().is_some())
    }

    fn is_head_due(&self, now: Timestamp) -> bool {
        let queue_ttl_ms = self.settings.message_ttl_ms;
        let lane = self.lanes.kept_lane(self.lanes.highest_ready());
        let first = lane.and_then(|lane| lane.cold_chunks(lane.cursor).next());
        first.is_some_and(|(_, _, cold)| cold.deadline(queue_ttl_ms) <= now)
    }

    /// Whether consumers of that class have to wait for what is cold, which is wanted then.
    #[cold]
    pub(super) fn stalls(&mut self, now: Timestamp, class: Class, fx: &mut Effects) -> bool {
        if class == Class::AtMostOnce || !self.is_head_cold() {
            return false;
        }
        // What is next dies if it is due, even where nobody can take what comes after it.
        if !self.consumers.could_pick(class) && !self.is_head_due(now) {
            return false;
        }
        self.stalled = Stalled::Assigning;
        if self.is_cold_ahead() {
            self.want_head(fx);
        }
        true
    }

    /// Wants what is cold soon enough.
    #[cold]
    pub(super) fn read_ahead(&mut self, fx: &mut Effects) {
        if !self.wants_head && !self.consumers.is_empty() && self.is_cold_ahead() {
            self.want_head(fx);
        }
    }

    pub(super) fn chunk_to_read(&self, at: ChunkAt, cold: &Cold, purpose: Purpose) -> ColdChunk {
        ColdChunk {
            key: key_of(at, cold),
            purpose,
            parts: cold.sources(),
            entries: cold.live.into(),
            body_bytes: cold.body_bytes,
            lsns: cold.journalled().map(|(min, max, _)| (min, max)),
            queue_ttl_ms: self.settings.message_ttl_ms,
            dead_letters: self.settings.dead_letter.is_some(),
        }
    }

    /// The cold chunks that are wanted now, in the order in which they are needed: one at least if any is, and more
    /// while they fit into the limits. Each is being read from now on, and not wanted again, until it is given to
    /// [`Self::thaw`] or [`Self::expire_cold`], as its purpose says, or to [`Self::thaw_failed`].
    pub fn wanted_cold(
        &mut self,
        now: Timestamp,
        entries_max: usize,
        body_bytes_max: u64,
        out: &mut Vec<ColdChunk>,
    ) {
        let mut room = Room {
            entries: entries_max,
            body_bytes: body_bytes_max,
        };
        let mut wanted = Vec::new();
        if self.stalled.is_dropping()
            && let Some(LaneId::Priority(priority)) = self.lanes.least_lane()
        {
            self.read_lane(priority, &mut room, &mut wanted);
        }
        if core::mem::take(&mut self.wants_head) || self.stalled == Stalled::Assigning {
            // Moves the cursor to what is really next.
            self.lanes.first_ready(Class::Kept);
            self.read_lane(self.lanes.highest_ready(), &mut room, &mut wanted);
        }
        if self.expires_cold {
            self.read_due(now, &mut room, &mut wanted);
        }
        out.append(&mut wanted);
    }

    fn read_lane(&mut self, priority: u8, room: &mut Room, out: &mut Vec<ColdChunk>) {
        let Some(lane) = self.lanes.kept_lane(priority) else {
            return;
        };
        for (sequence, cold) in lane.cold_ahead() {
            if !room.take(cold, out) {
                break;
            }
            out.push(self.chunk_to_read((priority, sequence), cold, Purpose::Thaw));
        }
        for chunk in &*out {
            self.set_loading(chunk.key);
        }
    }

    fn read_due(&mut self, now: Timestamp, room: &mut Room, out: &mut Vec<ColdChunk>) {
        while let Some((_, at)) = self.first_due(now) {
            let Some(lane) = self.lanes.kept_lane(at.0) else {
                return;
            };
            let Some(cold) = lane
                .chunk_at(at.1)
                .and_then(|(_, chunk)| chunk.cold.as_deref())
            else {
                return;
            };
            if !room.take(cold, out) {
                return;
            }
            // What is needed soon, and due one after the other, comes back at once.
            let is_near = at.1 < lane.cursor.saturating_add(READ_AHEAD_ENTRIES);
            let purpose = if is_near {
                Purpose::Thaw
            } else {
                Purpose::Expire
            };
            let chunk = self.chunk_to_read(at, cold, purpose);
            self.set_loading(chunk.key);
            out.push(chunk);
        }
        self.expires_cold = false;
    }

    fn first_due(&self, now: Timestamp) -> Option<(Timestamp, ChunkAt)> {
        let first = self.lanes.cold.first_deadline();
        first.filter(|(deadline, _)| *deadline <= now)
    }

    fn set_loading(&mut self, key: ChunkKey) {
        let queue_ttl_ms = self.settings.message_ttl_ms;
        if let Some((lane, index)) = self.lanes.kept_lane_mut(key.lane)
            && let Some(chunk) = lane.chunk_at_mut(key.sequence)
            && let Some(cold) = &chunk.cold
        {
            index.forget_deadline((key.lane, key.sequence), cold, queue_ttl_ms);
            chunk.loading = true;
        }
    }

    /// Lets a chunk be wanted again. Returns whether somebody was reading it.
    fn clear_loading(&mut self, key: ChunkKey) -> bool {
        let queue_ttl_ms = self.settings.message_ttl_ms;
        if let Some((lane, index)) = self.lanes.kept_lane_mut(key.lane)
            && let Some(chunk) = lane.chunk_at_mut(key.sequence)
            && let Some(cold) = &chunk.cold
            && chunk.loading
        {
            chunk.loading = false;
            index.await_deadline((key.lane, key.sequence), cold, queue_ttl_ms);
            return true;
        }
        false
    }

    /// A chunk could not be read: it is wanted again by the next [`Self::wanted_cold`]. To give it up instead, thaw it
    /// without entries.
    pub fn thaw_failed(&mut self, key: ChunkKey) {
        if self.clear_loading(key) {
            self.wants_head = true;
        }
    }

    /// Takes out a chunk's cold entries, if they are those that were named.
    pub(super) fn take_cold(&mut self, key: ChunkKey, fx: &mut Effects) -> Option<Box<Cold>> {
        let (lane, index) = self.lanes.kept_lane_mut(key.lane)?;
        let Some(cold) = lane.take_cold(key) else {
            if self.clear_loading(key) {
                self.want_head(fx);
            }
            return None;
        };
        let at = (key.lane, key.sequence);
        index.take(at, &cold, self.settings.message_ttl_ms);
        fx.freed.extend(cold.pages());
        self.ready -= u64::from(cold.live);
        self.ready_bytes -= cold.body_bytes;
        Some(cold)
    }

    /// Puts a chunk's entries back that are resident from now on, or none.
    fn put_back(&mut self, key: ChunkKey, cold: &Cold, entries: Vec<(u8, Entry)>) {
        let mut slots = Vec::new();
        for (slot, entry) in &entries {
            self.lanes.add_held(entry);
            self.ready += 1;
            self.ready_bytes += u64::from(entry.body_bytes);
            slots.push(*slot);
        }
        if let Some((lane, _)) = self.lanes.kept_lane_mut(key.lane) {
            lane.put_back((key.lane, key.sequence), cold, entries);
        }
        self.lanes.mark_lane(key.lane);
        for slot in slots {
            let sequence = key.sequence + u64::from(slot);
            self.index_deadline(LaneId::Priority(key.lane).position(sequence));
        }
    }

    /// Puts entries back that stay cold. There may be none.
    pub(super) fn pack_again(&mut self, key: ChunkKey, old: &Cold, entries: &[ColdEntry]) {
        let Some(first) = entries.first() else {
            return self.put_back(key, old, Vec::new());
        };
        let mut packer = Packer::new(Cold::new(first.slot));
        for entry in entries {
            packer.push(&entry.item());
        }
        let mut cold = Box::new(packer.finish());
        cold.last = cold.last.max(old.last);
        if cold.live == 0 {
            return self.put_back(key, old, Vec::new());
        }
        self.ready += u64::from(cold.live);
        self.ready_bytes += cold.body_bytes;
        if let Some((lane, index)) = self.lanes.kept_lane_mut(key.lane) {
            let at = (key.lane, key.sequence);
            index.put(at, &mut cold, self.settings.message_ttl_ms);
            lane.put_back_cold(key.sequence, cold);
        }
        self.lanes.mark_lane(key.lane);
    }

    /// Does what waited for a chunk.
    fn go_on(&mut self, now: Timestamp, fx: &mut Effects) {
        match self.stalled {
            Stalled::No => {}
            Stalled::Dropping => self.drop_overflow(fx),
            Stalled::DroppingFirst => {
                self.drop_overflow(fx);
                self.assign(now, fx);
            }
            Stalled::Assigning => {
                self.assign(now, fx);
                self.drop_overflow(fx);
            }
        }
        if self.expires_cold || self.stalled.is_dropping() {
            fx.wants_cold = true;
        }
    }

    /// Takes a chunk's entries back into memory, all that its parts held, in order, with their messages. An entry
    /// without message could not be read, and is lost ([`Effects::unreadable`]), and so is one that is missing.
    ///
    /// Returns false, and wants the chunk again if it is still cold, when its cold entries changed in the meantime.
    /// Some may be due: ask [`Self::next_deadline`] afterwards.
    pub fn thaw(
        &mut self,
        now: Timestamp,
        key: ChunkKey,
        entries: Vec<ColdEntry>,
        fx: &mut Effects,
    ) -> bool {
        let Some(cold) = self.take_cold(key, fx) else {
            return false;
        };
        let mut resident = Vec::new();
        for entry in sound(&cold, entries, fx) {
            let slot = entry.slot;
            match self.thawed(entry) {
                Some(entry) => resident.push((slot, entry)),
                None => fx.unreadable += 1,
            }
        }
        self.put_back(key, &cold, resident);
        self.go_on(now, fx);
        true
    }

    fn thawed(&self, entry: ColdEntry) -> Option<Entry> {
        let message = entry.message?;
        let queue_ttl_ms = self.settings.message_ttl_ms;
        Some(Entry {
            body_bytes: u32::try_from(message.body().len()).unwrap_or(u32::MAX),
            expire_at: deadline(entry.enqueued_at, message.ttl_ms(), queue_ttl_ms),
            enqueued_at: entry.enqueued_at,
            message,
            lsn: entry.lsn,
            tags: entry.tags,
            attempts: entry.attempts,
            failures: entry.failures,
            waited_ms: 0,
            epoch: 0,
            state: State::Ready,
            indexed: false,
        })
    }

    /// Lets a chunk's entries die whose time has come, given all that its parts held, in order, and packs the others
    /// again. Those that are due need their message if the queue dead-letters; without it they are lost
    /// ([`Effects::unreadable`]). Returns false as [`Self::thaw`] does.
    pub fn expire_cold(
        &mut self,
        now: Timestamp,
        key: ChunkKey,
        entries: Vec<ColdEntry>,
        fx: &mut Effects,
    ) -> bool {
        let Some(cold) = self.take_cold(key, fx) else {
            return false;
        };
        let (due, rest) = self.split_due(now, sound(&cold, entries, fx));
        for entry in due {
            self.die_cold(entry, fx);
        }
        self.pack_again(key, &cold, &rest);
        self.go_on(now, fx);
        true
    }

    fn split_due(
        &self,
        now: Timestamp,
        entries: Vec<ColdEntry>,
    ) -> (Vec<ColdEntry>, Vec<ColdEntry>) {
        let queue_ttl_ms = self.settings.message_ttl_ms;
        let is_due = |entry: &ColdEntry| entry.deadline(queue_ttl_ms).is_some_and(|at| at <= now);
        entries.into_iter().partition(is_due)
    }

    fn die_cold(&mut self, entry: ColdEntry, fx: &mut Effects) {
        let ColdEntry { lsn, attempts, .. } = entry;
        match entry.message {
            Some(message) => self.bury(message, lsn, (DeathReason::Expired, attempts), fx),
            None if self.settings.dead_letter.is_some() => fx.unreadable += 1,
            None => {
                self.counters.died(DeathReason::Expired, 1);
                fx.died[DeathReason::Expired.index()] += 1;
                fx.dropped += 1;
                fx.settle(lsn);
            }
        }
    }

    /// Lets a message that has left die: to the dead-letter target, or into nothing.
    pub(super) fn bury(
        &mut self,
        message: Message,
        lsn: Lsn,
        (reason, attempts): (DeathReason, u32),
        fx: &mut Effects,
    ) {
        self.counters.died(reason, 1);
        if self.settings.dead_letter.is_some() {
            fx.dead.push(Dead {
                message,
                lsn,
                reason,
                attempts,
            });
        } else {
            fx.died[reason.index()] += 1;
            fx.dropped += 1;
            fx.settle(lsn);
        }
    }

    /// The cold chunks to purge next, up to a number, those that matter least first. None if nothing is cold.
    pub fn wanted_for_purge(&self, chunks_max: usize, out: &mut Vec<ColdChunk>) {
        let chunks = self.lanes.kept().flat_map(|(priority, lane)| {
            let chunks = lane.cold_chunks(0);
            chunks.map(move |(sequence, _, cold)| ((priority, sequence), cold))
        });
        for (at, cold) in chunks.take(chunks_max) {
            out.push(self.chunk_to_read(at, cold, Purpose::Purge));
        }
    }

    /// Removes a chunk's cold entries, given all that its parts held, and returns how many. Those whose time is over
    /// die of that and do not count; they need their message for the dead-letter target. Those missing are lost.
    pub fn purge_cold(
        &mut self,
        now: Timestamp,
        key: ChunkKey,
        entries: Vec<ColdEntry>,
        fx: &mut Effects,
    ) -> u64 {
        let Some(cold) = self.take_cold(key, fx) else {
            return 0;
        };
        let (due, rest) = self.split_due(now, sound(&cold, entries, fx));
        for entry in due {
            self.die_cold(entry, fx);
        }
        for entry in &rest {
            fx.settle(entry.lsn);
        }
        self.put_back(key, &cold, Vec::new());
        self.go_on(now, fx);
        self.counters.purged += rest.len() as u64;
        rest.len() as u64
    }

    pub(super) fn recompute_cold_deadlines(&mut self) {
        let mut index = core::mem::take(&mut self.lanes.cold);
        index.clear_deadlines();
        for (priority, lane) in self.lanes.kept() {
            for (sequence, chunk, cold) in lane.cold_chunks(0) {
                if !chunk.loading {
                    let at = (priority, sequence);
                    index.await_deadline(at, cold, self.settings.message_ttl_ms);
                }
            }
        }
        self.lanes.cold = index;
    }
}

/// The entries that can be a chunk's; those that are missing are lost.
pub(super) fn sound(cold: &Cold, mut entries: Vec<ColdEntry>, fx: &mut Effects) -> Vec<ColdEntry> {
    let mut next = 0;
    entries.retain(|entry| {
        let slot = usize::from(entry.slot);
        let is_sound = cold.covers(slot) && slot >= next && slot < CHUNK_SLOTS;
        if is_sound {
            next = slot + 1;
        }
        is_sound && (entry.lsn.is_some() || !cold.skips_transient())
    });
    fx.unreadable += u64::from(cold.live).saturating_sub(entries.len() as u64);
    entries
}
