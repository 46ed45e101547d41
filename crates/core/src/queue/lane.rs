//! One lane: slots in chunks, addressed by sequence number.
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
//! settles does not hold the memory of all that came after it. What is left of freed chunks is little, but not nothing:
//! where there is much of it, the entries before it leave their chunk and become strays in a map.
//!
//! A chunk may begin late: slots before its `first` one have no memory. Ready entries may be *cold*, that is packed and
//! without a slot (see `cold`); they lie in one range of a chunk's slots, at or behind the cursor, which stops there
//! until they are back. What changes cold entries is in `frozen`.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::cold::Cold;
use super::ready::{Entry, State};

/// Slots in a full chunk. Few in tests, so that short tests cross chunks.
pub(super) const CHUNK_SLOTS: usize = if cfg!(test) { 32 } else { 256 };
const _: () = assert!(CHUNK_SLOTS <= 256, "a slot's number fits a byte");
/// The same, where a chunk counts in few bits.
const SLOTS_END: u16 = if cfg!(test) { 32 } else { 256 };
/// Capacities through which a lane's first chunk grows, so that an idle queue is small. What is larger than the
/// second is given back when the lane runs empty.
const CHUNK_GROWTH: [usize; 3] = [4, CHUNK_SLOTS / 8, CHUNK_SLOTS];

/// Freed chunks that may lie between others, and how many more for each of those.
const FREED_CHUNKS_MAX: usize = if cfg!(test) { 2 } else { 64 };
const FREED_PER_CHUNK_MAX: usize = 4;

#[derive(Default)]
pub(super) struct Chunk {
    /// From the slot `first` on.
    pub(super) slots: Vec<Option<Entry>>,
    pub(super) cold: Option<Box<Cold>>,
    /// Behind the last slot when freed, or when all is cold.
    pub(super) first: u16,
    /// Entries in `slots`.
    pub(super) live: u32,
    /// Its cold entries are being read.
    pub(super) loading: bool,
}

const _: () = assert!(size_of::<Chunk>() <= 40);

impl Chunk {
    /// How many slots there are or were.
    #[inline]
    pub(super) fn filled(&self) -> usize {
        usize::from(self.first) + self.slots.len()
    }

    #[inline]
    pub(super) fn slot(&self, slot: usize) -> Option<&Option<Entry>> {
        // Before the first slot: far behind the last.
        self.slots.get(slot.wrapping_sub(self.first.into()))
    }

    #[inline]
    pub(super) fn slot_mut(&mut self, slot: usize) -> Option<&mut Option<Entry>> {
        self.slots.get_mut(slot.wrapping_sub(self.first.into()))
    }

    fn is_freed(&self) -> bool {
        self.first == SLOTS_END && self.cold.is_none()
    }
}

#[derive(Default)]
pub(super) struct Lane {
    pub(super) chunks: VecDeque<Chunk>,
    /// How many of the chunks are freed.
    freed: usize,
    /// Entries before the first chunk.
    pub(super) strays: BTreeMap<u64, Entry>,
    /// Storage of the last freed chunk.
    spare: Vec<Option<Entry>>,
    /// Sequence number of the first chunk's first slot.
    pub(super) base: u64,
    /// Sequence number of the next entry.
    pub(super) next: u64,
    /// All entries from here on are ready.
    pub(super) cursor: u64,
    /// Ready entries below the cursor.
    pub(super) returned: BTreeSet<u64>,
    /// With the cold ones.
    pub(super) ready: u64,
    /// Their bodies.
    pub(super) ready_bytes: u64,
    pub(super) live: u64,
    /// Cold entries.
    pub(super) cold: u64,
    /// From the first of these to before the second, all ready entries are cold.
    pub(super) cold_run: (u64, u64),
    /// Entries below were there when the queue was recovered.
    pub(super) recovered: u64,
}

impl Lane {
    #[inline]
    pub(super) fn locate(&self, sequence: u64) -> Option<(usize, usize)> {
        let offset = usize::try_from(sequence.checked_sub(self.base)?).ok()?;
        Some((offset / CHUNK_SLOTS, offset % CHUNK_SLOTS))
    }

    #[inline]
    pub(super) fn entry(&self, sequence: u64) -> Option<&Entry> {
        let Some((chunk, slot)) = self.locate(sequence) else {
            return self.strays.get(&sequence);
        };
        self.chunks.get(chunk)?.slot(slot)?.as_ref()
    }

    #[inline]
    pub(super) fn entry_mut(&mut self, sequence: u64) -> Option<&mut Entry> {
        let Some((chunk, slot)) = self.locate(sequence) else {
            return self.strays.get_mut(&sequence);
        };
        self.chunks.get_mut(chunk)?.slot_mut(slot)?.as_mut()
    }

    #[allow(clippy::inline_always, reason = "measured: saves copies of the entry")]
    #[inline(always)]
    pub(super) fn append(&mut self, entry: Entry) -> u64 {
        let sequence = self.next;
        self.next += 1;
        self.live += 1;
        if entry.state == State::Ready {
            self.ready += 1;
            self.ready_bytes += u64::from(entry.body_bytes);
        } else {
            debug_assert_eq!(
                self.ready, 0,
                "an entry is taken on arrival only when none waits before it"
            );
            self.cursor = sequence + 1;
        }
        match self.chunks.back_mut() {
            // A freed chunk has no capacity.
            Some(chunk)
                if chunk.slots.len()
                    < chunk
                        .slots
                        .capacity()
                        .min(CHUNK_SLOTS - usize::from(chunk.first)) =>
            {
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
            self.chunks.push_back(Chunk {
                slots,
                ..Chunk::default()
            });
        }
        if let Some(chunk) = self.chunks.back_mut() {
            let len = chunk.slots.len();
            if len == chunk.slots.capacity() {
                let wanted = CHUNK_GROWTH
                    .into_iter()
                    .find(|&size| size > len)
                    .unwrap_or(CHUNK_SLOTS)
                    .min(CHUNK_SLOTS - usize::from(chunk.first));
                chunk.slots.reserve_exact(wanted.saturating_sub(len));
            }
            chunk.live += 1;
            chunk.slots.push(Some(entry));
        }
    }

    /// The ready entry that goes next; none as well if it is cold.
    pub(super) fn first_ready(&mut self) -> Option<u64> {
        if self.ready == 0 {
            return None;
        }
        if let Some(&sequence) = self.returned.first() {
            return Some(sequence);
        }
        self.cursor = self.cursor.max(self.base);
        loop {
            let (chunk, slot) = self.locate(self.cursor)?;
            let chunk = self.chunks.get(chunk)?;
            self.cursor += match chunk.slot(slot) {
                Some(Some(_)) => return Some(self.cursor),
                _ if chunk.cold.as_ref().is_some_and(|cold| cold.covers(slot)) => return None,
                Some(None) => 1,
                // Freed, or nothing but cold before the first slot.
                None if slot < chunk.first.into() => match &chunk.cold {
                    Some(cold) if slot < cold.from.into() => 1,
                    _ => (usize::from(chunk.first) - slot) as u64,
                },
                None => (CHUNK_SLOTS - slot) as u64,
            };
        }
    }

    /// Takes the entry that [`Self::first_ready`] named.
    pub(super) fn take_first(&mut self, sequence: u64, state: State) {
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
            let body_bytes = u64::from(entry.body_bytes);
            self.ready_bytes -= body_bytes;
        }
    }

    /// Makes a taken entry ready again, in its place.
    pub(super) fn give_back(&mut self, sequence: u64) {
        self.ready += 1;
        self.ready_bytes += self
            .entry(sequence)
            .map_or(0, |entry| u64::from(entry.body_bytes));
        if sequence + 1 == self.cursor && sequence >= self.base {
            self.cursor = sequence;
            while self.cursor > self.base && self.returned.last() == Some(&(self.cursor - 1)) {
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
    pub(super) fn remove(&mut self, sequence: u64) -> Option<Entry> {
        let Some((chunk_index, slot)) = self.locate(sequence) else {
            return self.remove_stray(sequence);
        };
        let chunk = self.chunks.get_mut(chunk_index)?;
        let entry = chunk.slot_mut(slot)?.take()?;
        chunk.live -= 1;
        self.live -= 1;
        let emptied = chunk.live == 0;
        if entry.state == State::Ready {
            self.ready -= 1;
            self.ready_bytes -= u64::from(entry.body_bytes);
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
    pub(super) fn free(&mut self, chunk_index: usize) {
        if self.live == 0 {
            return self.reset();
        }
        let Some(chunk) = self.chunks.get_mut(chunk_index) else {
            return;
        };
        debug_assert_eq!(chunk.live, 0);
        let is_full = chunk.filled() == CHUNK_SLOTS;
        if chunk.cold.is_some() || is_full {
            chunk.first += u16::try_from(chunk.slots.len()).unwrap_or(0);
            let mut slots = core::mem::take(&mut chunk.slots);
            slots.clear();
            self.spare = slots;
        }
        if chunk.cold.is_some() || !is_full {
            return;
        }
        self.freed += 1;
        self.drop_freed_front();
        while self.freed > FREED_CHUNKS_MAX
            && self
                .chunks
                .front()
                .is_some_and(|front| front.cold.is_none())
            && self.freed > FREED_PER_CHUNK_MAX * (self.chunks.len() - self.freed)
        {
            self.scatter_front();
            self.drop_freed_front();
        }
    }

    fn drop_freed_front(&mut self) {
        while self.chunks.front().is_some_and(Chunk::is_freed) {
            self.chunks.pop_front();
            self.base += CHUNK_SLOTS as u64;
            self.freed -= 1;
        }
    }

    /// Makes strays of the first chunk's entries. Never of the last chunk's: there are freed ones in between.
    fn scatter_front(&mut self) {
        let Some(chunk) = self.chunks.pop_front() else {
            return;
        };
        debug_assert!(!self.chunks.is_empty(), "the last chunk is never freed");
        for (sequence, entry) in (self.base + u64::from(chunk.first)..).zip(chunk.slots) {
            let Some(entry) = entry else { continue };
            if entry.state == State::Ready && sequence >= self.cursor {
                self.returned.insert(sequence);
            }
            self.strays.insert(sequence, entry);
        }
        self.base += CHUNK_SLOTS as u64;
        self.cursor = self.cursor.max(self.base);
    }

    #[cold]
    fn remove_stray(&mut self, sequence: u64) -> Option<Entry> {
        let entry = self.strays.remove(&sequence)?;
        self.live -= 1;
        if entry.state == State::Ready {
            self.ready -= 1;
            self.ready_bytes -= u64::from(entry.body_bytes);
            self.returned.remove(&sequence);
        }
        if self.live == 0 {
            self.reset();
        }
        Some(entry)
    }

    /// Starts anew at the first slot, which is warm, with little memory.
    fn reset(&mut self) {
        debug_assert!(self.returned.is_empty() && self.ready == 0 && self.strays.is_empty());
        self.freed = 0;
        self.base = self.next;
        self.cursor = self.next;
        if self.chunks.len() == 1 && self.chunks[0].slots.capacity() <= CHUNK_GROWTH[1] {
            self.chunks[0].slots.clear();
            self.chunks[0].first = 0;
            debug_assert!(self.chunks[0].cold.is_none());
        } else {
            self.chunks = VecDeque::new();
        }
        if self.spare.capacity() > 0 {
            self.spare = Vec::new();
        }
        self.cold_run = (0, 0);
    }

    pub(super) fn for_each(&mut self, mut f: impl FnMut(u64, &mut Entry)) {
        for (&sequence, entry) in &mut self.strays {
            f(sequence, entry);
        }
        let mut first = self.base;
        for chunk in &mut self.chunks {
            for (sequence, slot) in (first + u64::from(chunk.first)..).zip(&mut chunk.slots) {
                if let Some(entry) = slot {
                    f(sequence, entry);
                }
            }
            first += CHUNK_SLOTS as u64;
        }
    }

    /// The entries that are not cold.
    pub(super) fn resident(&self) -> impl Iterator<Item = &Entry> {
        let chunks = self
            .chunks
            .iter()
            .flat_map(|chunk| chunk.slots.iter().flatten());
        self.strays.values().chain(chunks)
    }

    /// Slots in memory, with or without entry.
    #[cfg(test)]
    pub(super) fn resident_slots(&self) -> usize {
        let chunks = self.chunks.iter();
        self.spare.capacity() + chunks.map(|c| c.slots.capacity()).sum::<usize>()
    }

    /// Chunks there is memory for, freed ones included.
    #[cfg(test)]
    pub(super) fn resident_chunks(&self) -> usize {
        self.chunks.capacity()
    }

    /// Entries that left their chunk.
    #[cfg(test)]
    pub(super) fn strays(&self) -> usize {
        self.strays.len()
    }
}
