//! Chunks whose ready entries left memory: what is kept of them, and how the shell names and reads them.
//!
//! ```text
//!            freeze                 take_parts              part_written
//! resident ─────────► part: Memory ───────────► Writing ─────────────────► Disk
//!     ▲                   │            ◄───────────                          │
//!     │ thaw              ▼            part_failed                           ▼
//!     └──────────── read by the shell: the parts, then the messages of their entries
//! ```
//!
//! A chunk's cold entries lie in one range of its slots, which grows at its end while the chunk fills. Their bytes are
//! in parts, see `part`: one mostly, more where the chunk went in pieces or is large. Whatever changes the set of a
//! chunk's cold entries changes its stamp, so what the shell read before is refused afterwards.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use super::part::{Item, Scan, Writer, deadline};
use super::ready::NEVER;
use crate::id::{Lsn, Timestamp};

/// A part of so many bytes is full.
pub const PART_BYTES: usize = 32 * 1024;
/// What a chunk with cold entries is counted with, beside the parts in memory.
pub const COLD_CHUNK_BYTES: usize = 128;

/// Where a part was written to. The numbers are the shell's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PagePlace {
    /// Which file.
    pub file: u32,
    /// Where in it.
    pub offset: u64,
    /// How long.
    pub bytes: u32,
}

/// A chunk's cold entries, as they were when it was named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChunkKey {
    pub(super) lane: u8,
    /// Of its first slot.
    pub(super) sequence: u64,
    pub(super) stamp: u32,
}

/// A part that is being written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartKey {
    pub(super) lane: u8,
    pub(super) sequence: u64,
    pub(super) stamp: u32,
}

/// Where the bytes of a part are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartSource {
    /// Here.
    Memory(Bytes),
    /// To be read.
    Disk(PagePlace),
}

/// What a chunk is read for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// For [`super::Queue::thaw`]: all messages are needed.
    Thaw,
    /// For [`super::Queue::expire_cold`]: messages of entries that are due are needed if the queue dead-letters.
    Expire,
    /// For [`super::Queue::purge_cold`].
    Purge,
    /// To be looked at, see [`super::Queue::browse_ready`]: all messages are needed, and nothing changes.
    Browse,
    /// For [`super::Queue::amend_cold`].
    Amend,
    /// To learn its records, for [`super::Queue::note_cold`].
    Note,
}

/// A chunk to read.
#[derive(Clone, Debug)]
pub struct ColdChunk {
    /// Which.
    pub key: ChunkKey,
    /// What for.
    pub purpose: Purpose,
    /// Its parts, in order. All are needed.
    pub parts: Vec<PartSource>,
    /// Entries in it.
    pub entries: u32,
    /// Their bodies.
    pub body_bytes: u64,
    /// The lowest and the highest record of its entries, if it has any.
    pub lsns: Option<(Lsn, Lsn)>,
    pub(super) queue_ttl_ms: Option<u64>,
    pub(super) dead_letters: bool,
}

impl ColdChunk {
    /// Whether this entry's message has to be read from its record.
    pub fn needs_message(&self, entry: &super::ColdEntry, now: Timestamp) -> bool {
        let due = || {
            entry
                .deadline(self.queue_ttl_ms)
                .is_some_and(|at| at <= now)
        };
        entry.message.is_none()
            && match self.purpose {
                Purpose::Thaw | Purpose::Browse => true,
                Purpose::Expire | Purpose::Purge => self.dead_letters && due(),
                Purpose::Amend | Purpose::Note => false,
            }
    }
}

pub(super) struct Writing {
    pub(super) stamp: u32,
    pub(super) bytes: Bytes,
}

pub(super) enum Part {
    Memory(Box<[u8]>),
    Writing(Box<Writing>),
    Disk(PagePlace),
}

impl Part {
    /// Bytes of memory, beside the descriptor.
    fn held_bytes(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Writing(writing) => writing.bytes.len(),
            Self::Disk(_) => 0,
        }
    }

    fn source(&self) -> PartSource {
        match self {
            Self::Memory(bytes) => PartSource::Memory(Bytes::copy_from_slice(bytes)),
            Self::Writing(writing) => PartSource::Memory(writing.bytes.clone()),
            Self::Disk(place) => PartSource::Disk(*place),
        }
    }
}

/// What few chunks have.
#[derive(Default)]
pub(super) struct Rare {
    /// Parts after the first.
    more: Vec<Part>,
    pub(super) transient: u16,
    pub(super) transient_bytes: u64,
    /// Its parts on disk hold transient entries of an earlier life, which are not counted and must be passed over.
    pub(super) skips_transient: bool,
}

/// The cold entries of a chunk, at least one.
pub(super) struct Cold {
    first: Option<Part>,
    pub(super) rare: Option<Box<Rare>>,
    /// Highest of all if no entry is journalled.
    pub(super) lsn_min: Lsn,
    pub(super) lsn_max: Lsn,
    /// The earliest deadline by messages' own times to live.
    pub(super) own_deadline: Timestamp,
    pub(super) enqueued_min: Timestamp,
    pub(super) body_bytes: u64,
    pub(super) stamp: u32,
    pub(super) live: u16,
    /// Their range of slots, the last one included.
    pub(super) from: u8,
    pub(super) last: u8,
}

const _: () = assert!(size_of::<Cold>() <= 80);

impl Cold {
    pub(super) fn new(from: u8) -> Self {
        Self {
            first: None,
            rare: None,
            lsn_min: Lsn(u64::MAX),
            lsn_max: Lsn::NONE,
            own_deadline: NEVER,
            enqueued_min: NEVER,
            body_bytes: 0,
            stamp: 0,
            live: 0,
            from,
            last: from,
        }
    }

    /// The slot behind the range.
    pub(super) fn end(&self) -> usize {
        usize::from(self.last) + 1
    }

    pub(super) fn covers(&self, slot: usize) -> bool {
        (usize::from(self.from)..self.end()).contains(&slot)
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        let more = self.rare.iter().flat_map(|rare| &rare.more);
        self.first.iter().chain(more)
    }

    pub(super) fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        let more = self.rare.iter_mut().flat_map(|rare| &mut rare.more);
        self.first.iter_mut().chain(more)
    }

    pub(super) fn push_part(&mut self, part: Part) {
        if self.first.is_none() {
            self.first = Some(part);
        } else {
            let more = &mut self.rare.get_or_insert_default().more;
            more.reserve_exact(1);
            more.push(part);
        }
    }

    fn pop_part(&mut self) -> Option<Part> {
        let more = self.rare.as_mut().and_then(|rare| rare.more.pop());
        more.or_else(|| self.first.take())
    }

    pub(super) fn sources(&self) -> Vec<PartSource> {
        self.parts().map(Part::source).collect()
    }

    pub(super) fn pages(&self) -> impl Iterator<Item = PagePlace> {
        self.parts().filter_map(|part| match part {
            Part::Disk(place) => Some(*place),
            _ => None,
        })
    }

    /// Bytes of memory, with the descriptor.
    pub(super) fn held_bytes(&self) -> usize {
        COLD_CHUNK_BYTES + self.parts().map(Part::held_bytes).sum::<usize>()
    }

    /// Transient entries and their bodies.
    pub(super) fn transient(&self) -> (u16, u64) {
        let rare = self.rare.as_ref();
        rare.map_or((0, 0), |rare| (rare.transient, rare.transient_bytes))
    }

    pub(super) fn skips_transient(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.skips_transient)
    }

    /// The range of its records, and how many there are.
    pub(super) fn journalled(&self) -> Option<(Lsn, Lsn, u64)> {
        let count = u64::from(self.live.saturating_sub(self.transient().0));
        (self.lsn_max.is_some()).then_some((self.lsn_min, self.lsn_max, count))
    }

    /// The earliest deadline in a queue with that time to live, or [`NEVER`].
    pub(super) fn deadline(&self, queue_ttl_ms: Option<u64>) -> Timestamp {
        self.own_deadline
            .min(deadline(self.enqueued_min, None, queue_ttl_ms))
    }

    /// Whether a part of it may be written.
    pub(super) fn is_writable(&self, part: &Part, chunk_slots: usize) -> bool {
        match part {
            Part::Memory(bytes) => self.end() == chunk_slots || bytes.len() >= PART_BYTES,
            _ => false,
        }
    }

    /// Counts an entry.
    pub(super) fn count(&mut self, item: &Item<'_>) {
        self.live += 1;
        self.body_bytes += u64::from(item.body_bytes);
        self.own_deadline = self
            .own_deadline
            .min(deadline(item.enqueued_at, item.ttl_ms, None));
        self.enqueued_min = self.enqueued_min.min(item.enqueued_at);
        if item.lsn.is_some() {
            self.lsn_min = self.lsn_min.min(item.lsn);
            self.lsn_max = self.lsn_max.max(item.lsn);
        } else {
            let rare = self.rare.get_or_insert_default();
            rare.transient += 1;
            rare.transient_bytes += u64::from(item.body_bytes);
        }
    }
}

/// Packs entries behind those that a chunk has already.
pub(super) struct Packer {
    pub(super) cold: Cold,
    writer: Writer,
}

impl Packer {
    pub(super) fn new(mut cold: Cold) -> Self {
        let writer = match cold.pop_part() {
            Some(Part::Memory(bytes)) if bytes.len() < PART_BYTES => {
                Writer::resume(bytes.into_vec()).unwrap_or_else(|bytes| {
                    cold.push_part(Part::Memory(bytes.into()));
                    Writer::new()
                })
            }
            part => {
                if let Some(part) = part {
                    cold.push_part(part);
                }
                Writer::new()
            }
        };
        Self { cold, writer }
    }

    /// Adds an entry; false if it has neither record nor message.
    pub(super) fn push(&mut self, item: &Item<'_>) -> bool {
        if !self.writer.push(item) {
            return false;
        }
        self.cold.count(item);
        self.cold.last = self.cold.last.max(item.slot);
        if self.writer.len() >= PART_BYTES {
            self.flush();
        }
        true
    }

    /// Puts a part behind what was added. Its entries are not counted.
    pub(super) fn push_part(&mut self, part: Part) {
        self.flush();
        self.cold.push_part(part);
    }

    /// Adds the entries of a part that have a record.
    pub(super) fn copy_journalled(&mut self, packed: &[u8]) {
        let entries = Scan::new(packed).into_iter().flatten();
        // Written here, so it can be read.
        for raw in entries.filter_map(Result::ok) {
            if raw.lsn.is_some() && self.writer.push(&raw.item()) && self.writer.len() >= PART_BYTES
            {
                self.flush();
            }
        }
    }

    /// Ends a part.
    pub(super) fn flush(&mut self) {
        let bytes = self.writer.finish();
        if !bytes.is_empty() {
            self.cold.push_part(Part::Memory(bytes.into()));
        }
    }

    pub(super) fn finish(mut self) -> Cold {
        self.flush();
        self.cold
    }
}

/// What a queue knows about all its cold chunks.
#[derive(Default)]
pub(super) struct ColdIndex {
    /// Chunks with cold entries.
    pub(super) chunks: usize,
    /// Their earliest deadlines, of those that have one and are not being loaded.
    deadlines: BTreeSet<(Timestamp, u8, u64)>,
    /// Chunks that may have parts to write.
    pub(super) writable: BTreeSet<(u8, u64)>,
    stamp: u32,
    /// Memory of descriptors and parts.
    pub(super) held_bytes: usize,
    pub(super) totals: ColdTotals,
}

/// All cold entries of a queue.
#[derive(Clone, Copy, Default)]
pub(super) struct ColdTotals {
    pub(super) entries: u64,
    /// Their bodies.
    pub(super) bytes: u64,
    /// Those with a record.
    pub(super) journalled: u64,
    /// Their bodies.
    pub(super) journalled_bytes: u64,
}

/// A chunk's place in the queue: its lane and the sequence number of its first slot.
pub(super) type ChunkAt = (u8, u64);

impl ColdIndex {
    /// A stamp that no chunk and no part has.
    pub(super) fn stamp(&mut self) -> u32 {
        self.stamp = self.stamp.wrapping_add(1);
        self.stamp
    }

    /// Counts a chunk in, with a stamp of its own.
    pub(super) fn put(&mut self, at: ChunkAt, cold: &mut Cold, queue_ttl_ms: Option<u64>) {
        cold.stamp = self.stamp();
        self.chunks += 1;
        self.held_bytes += cold.held_bytes();
        let (transient, transient_bytes) = cold.transient();
        self.totals.entries += u64::from(cold.live);
        self.totals.bytes += cold.body_bytes;
        self.totals.journalled += u64::from(cold.live - transient);
        self.totals.journalled_bytes += cold.body_bytes - transient_bytes;
        let slots = super::lane::CHUNK_SLOTS;
        if cold.parts().any(|part| cold.is_writable(part, slots)) {
            self.writable.insert(at);
        }
        self.await_deadline(at, cold, queue_ttl_ms);
    }

    /// Counts a chunk out.
    pub(super) fn take(&mut self, at: ChunkAt, cold: &Cold, queue_ttl_ms: Option<u64>) {
        self.chunks -= 1;
        self.held_bytes -= cold.held_bytes();
        let (transient, transient_bytes) = cold.transient();
        self.totals.entries -= u64::from(cold.live);
        self.totals.bytes -= cold.body_bytes;
        self.totals.journalled -= u64::from(cold.live - transient);
        self.totals.journalled_bytes -= cold.body_bytes - transient_bytes;
        self.writable.remove(&at);
        self.forget_deadline(at, cold, queue_ttl_ms);
    }

    /// Lets a chunk's deadline count.
    pub(super) fn await_deadline(&mut self, at: ChunkAt, cold: &Cold, queue_ttl_ms: Option<u64>) {
        let deadline = cold.deadline(queue_ttl_ms);
        if deadline != NEVER {
            self.deadlines.insert((deadline, at.0, at.1));
        }
    }

    /// Lets it count no more.
    pub(super) fn forget_deadline(&mut self, at: ChunkAt, cold: &Cold, queue_ttl_ms: Option<u64>) {
        let deadline = cold.deadline(queue_ttl_ms);
        if deadline != NEVER {
            self.deadlines.remove(&(deadline, at.0, at.1));
        }
    }

    pub(super) fn clear_deadlines(&mut self) {
        self.deadlines.clear();
    }

    /// The chunk whose entries are due first.
    pub(super) fn first_deadline(&self) -> Option<(Timestamp, ChunkAt)> {
        let &(deadline, lane, sequence) = self.deadlines.first()?;
        Some((deadline, (lane, sequence)))
    }
}
