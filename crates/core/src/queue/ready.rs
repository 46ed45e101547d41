//! Where entries wait: lanes, one per priority and one for at-most-once entries, addressed by position.
//!
//! How a lane keeps its entries is in `lane`; what concerns cold ones is in `freeze` and `thaw`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::ConsumerKey;
use super::cold::ColdIndex;
use super::lane::Lane;
use crate::id::{Lsn, Position, Timestamp};
use crate::message::Message;
use crate::tags::Tags;

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
    /// How long it had been here when it was drained or got last, in milliseconds; at most `u32::MAX`.
    pub(super) waited_ms: u32,
    /// Of its holder's epochs the one in which it was leased last.
    pub(super) epoch: u16,
    pub(super) state: State,
    /// The expiry index holds exactly one record of this entry.
    pub(super) indexed: bool,
}

const _: () = assert!(size_of::<Option<Entry>>() <= 80);

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
    pub(super) fn position(self, sequence: u64) -> Position {
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
    /// Memory of resident entries, see [`Lanes::held_bytes`].
    held_bytes: usize,
    /// Resident entries with a record.
    journalled: Journalled,
    pub(super) cold: ColdIndex,
    /// There are entries that were there when the queue was recovered.
    recovered: bool,
}

/// Entries with a record.
#[derive(Clone, Copy, Default)]
pub(super) struct Journalled {
    pub(super) entries: u64,
    /// Their bodies.
    pub(super) bytes: u64,
}

impl Journalled {
    #[inline]
    pub(super) fn add(&mut self, entry: &Entry) {
        if entry.lsn.is_some() {
            self.entries += 1;
            self.bytes += u64::from(entry.body_bytes);
        }
    }

    #[inline]
    fn sub(&mut self, entry: &Entry) {
        if entry.lsn.is_some() {
            self.entries -= 1;
            self.bytes -= u64::from(entry.body_bytes);
        }
    }
}

/// What an entry is counted with beside its body: the slot, and the message's envelope and names.
pub(super) const ENTRY_BYTES: usize = 256;

pub(super) fn held_bytes(entry: &Entry) -> usize {
    ENTRY_BYTES + entry.body_bytes as usize
}

impl Lanes {
    /// About how much memory the entries hold, shared bodies counted in full.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes + self.cold.held_bytes
    }

    /// As [`Self::held_bytes`], of resident entries.
    pub(super) fn entry_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Resident entries with a record.
    pub(super) fn journalled(&self) -> Journalled {
        self.journalled
    }

    /// The lanes whose entries may be cold, by priority.
    pub(super) fn kept(&self) -> impl DoubleEndedIterator<Item = (u8, &Lane)> {
        let higher = (1..=u8::MAX).zip(&self.higher);
        let higher = higher.filter_map(|(priority, lane)| Some((priority, &**lane.as_ref()?)));
        core::iter::once((0, &self.plain)).chain(higher)
    }

    /// The lane of at-most-once entries, if there is one.
    pub(super) fn at_most_once(&self) -> Option<&Lane> {
        self.at_most_once.as_deref()
    }

    /// The highest priority that may have a lane.
    pub(super) fn kept_max(&self) -> u8 {
        u8::try_from(self.higher.len()).unwrap_or(u8::MAX)
    }

    pub(super) fn kept_lane(&self, priority: u8) -> Option<&Lane> {
        self.lane(LaneId::Priority(priority))
    }

    /// The lane and what is known of all cold chunks. After a change to the lane, [`Self::mark_lane`] must follow.
    pub(super) fn kept_lane_mut(&mut self, priority: u8) -> Option<(&mut Lane, &mut ColdIndex)> {
        let lane = match priority {
            0 => &mut self.plain,
            _ => self
                .higher
                .get_mut(usize::from(priority) - 1)?
                .as_deref_mut()?,
        };
        Some((lane, &mut self.cold))
    }

    /// As [`Self::kept_lane_mut`], and makes the lane if there is none.
    pub(super) fn kept_lane_or_new(&mut self, priority: u8) -> (&mut Lane, &mut ColdIndex) {
        self.lane_or_new(LaneId::Priority(priority));
        self.kept_lane_mut(priority)
            .expect("the lane was made just now")
    }

    /// To be called after a change to the number of ready entries of a lane.
    pub(super) fn mark_lane(&mut self, priority: u8) {
        self.mark(LaneId::Priority(priority).position(0));
    }

    /// Counts memory of resident entries in or out.
    pub(super) fn add_held(&mut self, entry: &Entry) {
        self.held_bytes += held_bytes(entry);
        self.journalled.add(entry);
    }

    /// As [`Self::add_held`].
    pub(super) fn sub_held(&mut self, bytes: usize, journalled: Journalled) {
        self.held_bytes -= bytes;
        self.journalled.entries -= journalled.entries;
        self.journalled.bytes -= journalled.bytes;
    }

    /// Everything that is here now counts as delivered before.
    pub(super) fn mark_recovered(&mut self) {
        self.recovered = true;
        let higher = self.higher.iter_mut().flatten().map(|lane| &mut **lane);
        let at_most_once = self.at_most_once.as_deref_mut();
        for lane in core::iter::once(&mut self.plain)
            .chain(higher)
            .chain(at_most_once)
        {
            lane.recovered = lane.next;
        }
    }

    /// Whether the entry was there when the queue was recovered.
    #[inline]
    pub(super) fn is_recovered(&self, position: Position) -> bool {
        self.recovered
            && self
                .at(position)
                .is_some_and(|(lane, sequence)| sequence < lane.recovered)
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
        self.journalled.add(&entry);
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

    /// The ready entry of that class that goes next: highest priority, then oldest. None as well if it is cold.
    pub(super) fn first_ready(&mut self, class: Class) -> Option<Position> {
        let id = match class {
            Class::AtMostOnce => LaneId::AtMostOnce,
            Class::Kept => LaneId::Priority(self.highest_ready()),
        };
        self.lane_mut(id)?
            .first_ready()
            .map(|sequence| id.position(sequence))
    }

    /// The lane of the ready entry that matters least: at-most-once, then lowest priority.
    pub(super) fn least_lane(&self) -> Option<LaneId> {
        Some(if self.at_most_once_ready() > 0 {
            LaneId::AtMostOnce
        } else if self.plain.ready > 0 {
            LaneId::Priority(0)
        } else {
            LaneId::Priority(self.lowest_higher_ready()?)
        })
    }

    /// The oldest of [`Self::least_lane`]. None as well if it is cold.
    pub(super) fn least_ready(&mut self) -> Option<Position> {
        let id = self.least_lane()?;
        self.lane_mut(id)?
            .first_ready()
            .map(|sequence| id.position(sequence))
    }

    pub(super) fn highest_ready(&self) -> u8 {
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

    pub(super) fn at_most_once_bytes(&self) -> u64 {
        self.at_most_once
            .as_ref()
            .map_or(0, |lane| lane.ready_bytes)
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
        self.journalled.sub(&entry);
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
        self.journalled.sub(&entry);
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

    /// The entries that are not cold.
    pub(super) fn resident(&self) -> impl Iterator<Item = &Entry> {
        let kept = self.kept().map(|(_, lane)| lane);
        let lanes = kept.chain(self.at_most_once.as_deref());
        lanes.flat_map(Lane::resident)
    }

    /// Slots in memory, with or without entry.
    #[cfg(test)]
    pub(super) fn resident_slots(&self) -> usize {
        let lanes = core::iter::once(&self.plain)
            .chain(self.higher.iter().flatten().map(|lane| &**lane))
            .chain(self.at_most_once.as_deref());
        lanes.map(Lane::resident_slots).sum()
    }

    /// The lane of priority 0.
    #[cfg(test)]
    pub(super) fn plain(&self) -> &Lane {
        &self.plain
    }
}

fn priority_of(word: u8, bit: u32) -> u8 {
    // Both within 256 priorities.
    word * 64 + u8::try_from(bit).unwrap_or(0) + 1
}
