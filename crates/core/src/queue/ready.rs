//! Where entries wait: lanes of slots in chunks, addressed by position.
//!
//! ```text
//! lane   base                    cursor            next
//!         │ gone, taken, returned  │ never taken     │
//!         ▼                        ▼                 ▼
//! chunk  [ 256 slots ][ freed ][ 256 slots ][ up to 256 ]
//! ```
//!
//! A slot's sequence number never changes and is never used again, so a returned entry is where it always was, and a
//! position kept by somebody outside finds its entry or nothing. Entries below the cursor that came back are in an
//! ordered set and go first. A chunk without entries is freed wherever it lies, so that one entry that nobody
//! settles does not hold the memory of all that came after it.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::ConsumerKey;
use crate::id::{Lsn, Position, Timestamp};
use crate::message::Message;
use crate::tags::Tags;

/// Slots in a full chunk. Few in tests, so that short tests cross chunks.
pub(super) const CHUNK_SLOTS: usize = if cfg!(test) { 32 } else { 256 };
/// Capacities through which a lane's first chunk grows, so that an idle queue is small. What is larger than the
/// second is given back when the lane runs empty.
const CHUNK_GROWTH: [usize; 3] = [4, CHUNK_SLOTS / 8, CHUNK_SLOTS];

/// Bits of a position that hold the sequence number; the lane is above.
const SEQUENCE_BITS: u32 = 55;
/// Lane of at-most-once entries, above the 256 priorities.
const AT_MOST_ONCE_LANE: u64 = 256;

/// No deadline.
pub(super) const NEVER: Timestamp = Timestamp(u64::MAX);

/// Who has an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Nobody.
    Ready,
    /// In a consumer's list, not drained.
    Assigned(ConsumerKey),
    /// Drained or got, not settled.
    Leased(ConsumerKey),
}

/// One message in the queue.
pub(super) struct Entry {
    pub(super) message: Message,
    pub(super) lsn: Lsn,
    pub(super) tags: Tags,
    pub(super) enqueued_at: Timestamp,
    /// When it expires, or [`NEVER`].
    pub(super) expire_at: Timestamp,
    pub(super) attempts: u32,
    pub(super) failures: u32,
    /// Length of the body, at most `u32::MAX`.
    pub(super) body_bytes: u32,
    pub(super) state: State,
    /// The expiry index holds exactly one record of this entry.
    pub(super) indexed: bool,
}

const _: () = assert!(size_of::<Option<Entry>>() <= 88);

impl Entry {
    /// Counts a completed taking.
    pub(super) fn count_taking(&mut self, failed: bool) {
        self.attempts = self.attempts.saturating_add(1);
        self.failures = self.failures.saturating_add(failed.into());
    }
}

/// What decides about an entry's way to a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// Kept until it is settled; uses credit.
    Kept,
    /// Gone when drained by consumers that settle by message.
    AtMostOnce,
}

/// Which lane of the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LaneId {
    Priority(u8),
    AtMostOnce,
}

impl LaneId {
    fn position(self, sequence: u64) -> Position {
        debug_assert!(
            sequence < 1 << SEQUENCE_BITS,
            "a queue sees fewer than 2^55 messages"
        );
        let lane = match self {
            Self::Priority(priority) => u64::from(priority),
            Self::AtMostOnce => AT_MOST_ONCE_LANE,
        };
        Position(lane << SEQUENCE_BITS | sequence)
    }

    /// Lane and sequence number, if the position can be one of a queue's.
    fn split(position: Position) -> Option<(Self, u64)> {
        let lane = position.0 >> SEQUENCE_BITS;
        let sequence = position.0 & ((1 << SEQUENCE_BITS) - 1);
        if lane == AT_MOST_ONCE_LANE {
            return Some((Self::AtMostOnce, sequence));
        }
        Some((Self::Priority(u8::try_from(lane).ok()?), sequence))
    }
}

/// The class of the entry at a position.
pub(super) fn class_of(position: Position) -> Class {
    if position.0 >> SEQUENCE_BITS == AT_MOST_ONCE_LANE {
        Class::AtMostOnce
    } else {
        Class::Kept
    }
}

#[derive(Default)]
struct Chunk {
    /// Empty when freed.
    slots: Vec<Option<Entry>>,
    live: usize,
}

#[derive(Default)]
struct Lane {
    chunks: VecDeque<Chunk>,
    /// Storage of the last freed chunk.
    spare: Vec<Option<Entry>>,
    /// Sequence number of the first chunk's first slot.
    base: u64,
    /// Sequence number of the next entry.
    next: u64,
    /// All entries from here on are ready.
    cursor: u64,
    /// Ready entries below the cursor.
    returned: BTreeSet<u64>,
    ready: u64,
    live: u64,
}

impl Lane {
    #[inline]
    fn locate(&self, sequence: u64) -> Option<(usize, usize)> {
        let offset = usize::try_from(sequence.checked_sub(self.base)?).ok()?;
        Some((offset / CHUNK_SLOTS, offset % CHUNK_SLOTS))
    }

    #[inline]
    fn entry(&self, sequence: u64) -> Option<&Entry> {
        let (chunk, slot) = self.locate(sequence)?;
        self.chunks.get(chunk)?.slots.get(slot)?.as_ref()
    }

    #[inline]
    fn entry_mut(&mut self, sequence: u64) -> Option<&mut Entry> {
        let (chunk, slot) = self.locate(sequence)?;
        self.chunks.get_mut(chunk)?.slots.get_mut(slot)?.as_mut()
    }

    #[allow(clippy::inline_always, reason = "measured: saves copies of the entry")]
    #[inline(always)]
    fn append(&mut self, entry: Entry) -> u64 {
        let sequence = self.next;
        self.next += 1;
        self.live += 1;
        if entry.state == State::Ready {
            self.ready += 1;
        } else {
            debug_assert_eq!(
                self.ready, 0,
                "an entry is taken on arrival only when none waits before it"
            );
            self.cursor = sequence + 1;
        }
        match self.chunks.back_mut() {
            // A freed chunk has no capacity.
            Some(chunk) if chunk.slots.len() < chunk.slots.capacity().min(CHUNK_SLOTS) => {
                chunk.live += 1;
                chunk.slots.push(Some(entry));
            }
            _ => self.append_growing(sequence, entry),
        }
        sequence
    }

    /// Appends with a larger or another chunk.
    fn append_growing(&mut self, sequence: u64, entry: Entry) {
        if sequence - self.base == (self.chunks.len() * CHUNK_SLOTS) as u64 {
            let slots = core::mem::take(&mut self.spare);
            self.chunks.push_back(Chunk { slots, live: 0 });
        }
        if let Some(chunk) = self.chunks.back_mut() {
            let len = chunk.slots.len();
            if len == chunk.slots.capacity() {
                let wanted = CHUNK_GROWTH
                    .into_iter()
                    .find(|&size| size > len)
                    .unwrap_or(CHUNK_SLOTS);
                chunk.slots.reserve_exact(wanted - len);
            }
            chunk.live += 1;
            chunk.slots.push(Some(entry));
        }
    }

    /// The ready entry that goes next.
    fn first_ready(&mut self) -> Option<u64> {
        if self.ready == 0 {
            return None;
        }
        if let Some(&sequence) = self.returned.first() {
            return Some(sequence);
        }
        self.cursor = self.cursor.max(self.base);
        loop {
            let (chunk, slot) = self.locate(self.cursor)?;
            match self.chunks.get(chunk)?.slots.get(slot) {
                Some(Some(_)) => return Some(self.cursor),
                Some(None) => self.cursor += 1,
                None => self.cursor += (CHUNK_SLOTS - slot) as u64,
            }
        }
    }

    /// Takes the entry that [`Self::first_ready`] named.
    fn take_first(&mut self, sequence: u64, state: State) {
        if self.cursor == sequence {
            self.cursor += 1;
        } else {
            let first = self.returned.pop_first();
            debug_assert_eq!(first, Some(sequence));
        }
        self.ready -= 1;
        if let Some(entry) = self.entry_mut(sequence) {
            debug_assert_eq!(entry.state, State::Ready);
            entry.state = state;
        }
    }

    /// Makes a taken entry ready again, in its place.
    fn give_back(&mut self, sequence: u64) {
        self.ready += 1;
        if sequence + 1 == self.cursor {
            self.cursor = sequence;
            while self.cursor > 0 && self.returned.last() == Some(&(self.cursor - 1)) {
                self.returned.pop_last();
                self.cursor -= 1;
            }
        } else {
            debug_assert!(sequence < self.cursor);
            self.returned.insert(sequence);
        }
    }

    #[allow(clippy::inline_always, reason = "measured: saves copies of the entry")]
    #[inline(always)]
    fn remove(&mut self, sequence: u64) -> Option<Entry> {
        let (chunk_index, slot) = self.locate(sequence)?;
        let chunk = self.chunks.get_mut(chunk_index)?;
        let entry = chunk.slots.get_mut(slot)?.take()?;
        chunk.live -= 1;
        self.live -= 1;
        let emptied = chunk.live == 0;
        if entry.state == State::Ready {
            self.ready -= 1;
            if sequence < self.cursor {
                self.returned.remove(&sequence);
            }
        }
        if emptied {
            self.free(chunk_index);
        }
        Some(entry)
    }

    /// Gives back the memory of a chunk without entries, unless it still fills.
    fn free(&mut self, chunk_index: usize) {
        if self.live == 0 {
            return self.reset();
        }
        let Some(chunk) = self.chunks.get_mut(chunk_index) else {
            return;
        };
        if chunk.slots.len() < CHUNK_SLOTS {
            return;
        }
        let mut slots = core::mem::take(&mut chunk.slots);
        slots.clear();
        self.spare = slots;
        while self
            .chunks
            .front()
            .is_some_and(|front| front.slots.is_empty())
        {
            self.chunks.pop_front();
            self.base += CHUNK_SLOTS as u64;
        }
    }

    /// Starts anew at the first slot, which is warm, with little memory.
    fn reset(&mut self) {
        debug_assert!(self.returned.is_empty() && self.ready == 0);
        self.base = self.next;
        self.cursor = self.next;
        if self.chunks.len() == 1 && self.chunks[0].slots.capacity() <= CHUNK_GROWTH[1] {
            self.chunks[0].slots.clear();
        } else {
            self.chunks = VecDeque::new();
        }
        if self.spare.capacity() > 0 {
            self.spare = Vec::new();
        }
    }

    fn for_each(&mut self, mut f: impl FnMut(u64, &mut Entry)) {
        let mut first = self.base;
        for chunk in &mut self.chunks {
            for (sequence, slot) in (first..).zip(&mut chunk.slots) {
                if let Some(entry) = slot {
                    f(sequence, entry);
                }
            }
            first += CHUNK_SLOTS as u64;
        }
    }
}

/// All lanes of a queue.
#[derive(Default)]
pub(super) struct Lanes {
    /// Priority 0.
    plain: Lane,
    /// Priority 1 and above, each when first used.
    higher: Vec<Option<Box<Lane>>>,
    /// Which of the lanes in `higher` have ready entries; bit 0 is priority 1.
    higher_ready: [u64; 4],
    at_most_once: Option<Box<Lane>>,
    /// See [`Lanes::held_bytes`].
    held_bytes: usize,
}

/// What an entry is counted with beside its body: the slot, and the message's envelope and names.
const ENTRY_BYTES: usize = 256;

fn held_bytes(entry: &Entry) -> usize {
    ENTRY_BYTES + entry.body_bytes as usize
}

impl Lanes {
    /// About how much memory the entries hold, shared bodies counted in full.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn lane(&self, id: LaneId) -> Option<&Lane> {
        match id {
            LaneId::Priority(0) => Some(&self.plain),
            LaneId::Priority(priority) => self.higher.get(usize::from(priority) - 1)?.as_deref(),
            LaneId::AtMostOnce => self.at_most_once.as_deref(),
        }
    }

    fn lane_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        match id {
            LaneId::Priority(0) => Some(&mut self.plain),
            LaneId::Priority(priority) => self
                .higher
                .get_mut(usize::from(priority) - 1)?
                .as_deref_mut(),
            LaneId::AtMostOnce => self.at_most_once.as_deref_mut(),
        }
    }

    /// The lane and sequence number of a position; the plain lane, which most queues have alone, at once.
    #[inline]
    fn at(&self, position: Position) -> Option<(&Lane, u64)> {
        if position.0 >> SEQUENCE_BITS == 0 {
            return Some((&self.plain, position.0));
        }
        let (id, sequence) = LaneId::split(position)?;
        Some((self.lane(id)?, sequence))
    }

    /// As [`Self::at`].
    #[inline]
    fn at_mut(&mut self, position: Position) -> Option<(&mut Lane, u64)> {
        if position.0 >> SEQUENCE_BITS == 0 {
            return Some((&mut self.plain, position.0));
        }
        let (id, sequence) = LaneId::split(position)?;
        Some((self.lane_mut(id)?, sequence))
    }

    fn lane_or_new(&mut self, id: LaneId) -> &mut Lane {
        match id {
            LaneId::Priority(0) => &mut self.plain,
            LaneId::Priority(priority) => {
                let index = usize::from(priority) - 1;
                if self.higher.len() <= index {
                    self.higher.resize_with(index + 1, || None);
                }
                self.higher[index].get_or_insert_default()
            }
            LaneId::AtMostOnce => self.at_most_once.get_or_insert_default(),
        }
    }

    /// Keeps `higher_ready` in step after a change to a lane.
    #[inline]
    fn mark(&mut self, position: Position) {
        if position.0 >> SEQUENCE_BITS != 0 {
            self.mark_higher(position);
        }
    }

    fn mark_higher(&mut self, position: Position) {
        let Some((LaneId::Priority(priority @ 1..), _)) = LaneId::split(position) else {
            return;
        };
        let (word, bit) = (usize::from(priority - 1) / 64, 1 << ((priority - 1) % 64));
        if self
            .lane(LaneId::Priority(priority))
            .is_some_and(|lane| lane.ready > 0)
        {
            self.higher_ready[word] |= bit;
        } else {
            self.higher_ready[word] &= !bit;
        }
    }

    /// Appends; an entry that is not ready must find no ready entry in its lane.
    #[allow(clippy::inline_always, reason = "measured: saves copies of the entry")]
    #[inline(always)]
    pub(super) fn append(&mut self, id: LaneId, entry: Entry) -> Position {
        self.held_bytes += held_bytes(&entry);
        let sequence = self.lane_or_new(id).append(entry);
        let position = id.position(sequence);
        self.mark(position);
        position
    }

    #[inline]
    pub(super) fn entry(&self, position: Position) -> Option<&Entry> {
        let (lane, sequence) = self.at(position)?;
        lane.entry(sequence)
    }

    #[inline]
    pub(super) fn entry_mut(&mut self, position: Position) -> Option<&mut Entry> {
        let (lane, sequence) = self.at_mut(position)?;
        lane.entry_mut(sequence)
    }

    /// The ready entry of that class that goes next: highest priority, then oldest.
    pub(super) fn first_ready(&mut self, class: Class) -> Option<Position> {
        let id = match class {
            Class::AtMostOnce => LaneId::AtMostOnce,
            Class::Kept => LaneId::Priority(self.highest_ready()),
        };
        self.lane_mut(id)?
            .first_ready()
            .map(|sequence| id.position(sequence))
    }

    /// The ready entry that matters least: at-most-once, then lowest priority, then oldest.
    pub(super) fn least_ready(&mut self) -> Option<Position> {
        let id = if self.at_most_once_ready() > 0 {
            LaneId::AtMostOnce
        } else if self.plain.ready > 0 {
            LaneId::Priority(0)
        } else {
            LaneId::Priority(self.lowest_higher_ready()?)
        };
        self.lane_mut(id)?
            .first_ready()
            .map(|sequence| id.position(sequence))
    }

    fn highest_ready(&self) -> u8 {
        for (word, bits) in (0..4).zip(self.higher_ready).rev() {
            if bits != 0 {
                return priority_of(word, bits.ilog2());
            }
        }
        0
    }

    fn lowest_higher_ready(&self) -> Option<u8> {
        let (word, bits) = (0..4).zip(self.higher_ready).find(|&(_, bits)| bits != 0)?;
        Some(priority_of(word, bits.trailing_zeros()))
    }

    pub(super) fn at_most_once_ready(&self) -> u64 {
        self.at_most_once.as_ref().map_or(0, |lane| lane.ready)
    }

    /// Takes the entry that [`Self::first_ready`] named.
    pub(super) fn take_first(&mut self, position: Position, state: State) {
        if let Some((lane, sequence)) = self.at_mut(position) {
            lane.take_first(sequence, state);
        }
        self.mark(position);
    }

    /// Makes a taken entry ready again, in its place.
    pub(super) fn give_back(&mut self, position: Position) {
        let Some((lane, sequence)) = self.at_mut(position) else {
            return;
        };
        let Some(entry) = lane.entry_mut(sequence) else {
            return;
        };
        debug_assert_ne!(entry.state, State::Ready);
        entry.state = State::Ready;
        lane.give_back(sequence);
        self.mark(position);
    }

    #[allow(clippy::inline_always, reason = "measured: saves copies of the entry")]
    #[inline(always)]
    pub(super) fn remove(&mut self, position: Position) -> Option<Entry> {
        let (lane, sequence) = self.at_mut(position)?;
        let entry = lane.remove(sequence)?;
        self.mark(position);
        self.held_bytes -= held_bytes(&entry);
        Some(entry)
    }

    /// Removes an entry if it is leased. Returns it, with who had it.
    #[allow(clippy::inline_always, reason = "measured: saves copies of the entry")]
    #[inline(always)]
    pub(super) fn remove_leased(&mut self, position: Position) -> Option<(Entry, ConsumerKey)> {
        let (lane, sequence) = self.at_mut(position)?;
        let State::Leased(holder) = lane.entry(sequence)?.state else {
            return None;
        };
        let entry = lane.remove(sequence)?;
        // What was leased was not ready: the marks hold.
        self.held_bytes -= held_bytes(&entry);
        Some((entry, holder))
    }

    /// Every entry, in no promised order across lanes, in sequence within one.
    pub(super) fn for_each(&mut self, mut f: impl FnMut(Position, &mut Entry)) {
        self.plain
            .for_each(|sequence, entry| f(LaneId::Priority(0).position(sequence), entry));
        for (priority, lane) in (1..=u8::MAX).zip(&mut self.higher) {
            if let Some(lane) = lane {
                lane.for_each(|sequence, entry| {
                    f(LaneId::Priority(priority).position(sequence), entry);
                });
            }
        }
        if let Some(lane) = &mut self.at_most_once {
            lane.for_each(|sequence, entry| f(LaneId::AtMostOnce.position(sequence), entry));
        }
    }

    /// Slots in memory, with or without entry.
    #[cfg(test)]
    pub(super) fn resident_slots(&self) -> usize {
        let lanes = core::iter::once(&self.plain)
            .chain(self.higher.iter().flatten().map(|lane| &**lane))
            .chain(self.at_most_once.as_deref());
        lanes
            .map(|lane| {
                lane.spare.capacity()
                    + lane
                        .chunks
                        .iter()
                        .map(|c| c.slots.capacity())
                        .sum::<usize>()
            })
            .sum()
    }
}

fn priority_of(word: u8, bit: u32) -> u8 {
    // Both within 256 priorities.
    word * 64 + u8::try_from(bit).unwrap_or(0) + 1
}
