//! What is in a queue, written down, and a queue made of it.
//!
//! # Layout, version 1
//! ```text
//! snapshot = version (1 byte, 1)  lanes, by priority  0 (1 byte)
//! lane     = 1 (1 byte)  priority (1 byte)  chunks, in order  0 (number)
//! chunk    = entries, at least one
//!            body_bytes  lowest lsn  highest lsn minus the lowest
//!            option(earliest deadline by own time to live)  earliest enqueued_at
//!            skips transient (flag)  list of parts
//! part     = 0 (1 byte)  file  offset  bytes          on disk
//!          | 1 (1 byte)  number of bytes, bytes       as in `part`
//! ```
//! Numbers, flags, options and lists are those of records. A lane has a chunk at least. The parts of a chunk are in
//! order of their slots. Entries without a record are not counted; parts here hold none, parts on disk may, if the
//! chunk skips them. At-most-once messages are left out. The same queue gives the same bytes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::cold::{Cold, Packer, PagePlace, Part};
use super::lane::{CHUNK_SLOTS, Chunk, Lane};
use super::part::{Item, Scan};
use super::ready::{Entry, NEVER};
use super::replay::Replay;
use super::{Queue, QueueSettings};
use crate::id::{Lsn, Timestamp};
use crate::record::{Reader, RecordError, bytes, number};

/// Version of the layout above.
pub const SNAPSHOT_VERSION: u8 = 1;

const DISK: u8 = 0;
const MEMORY: u8 = 1;

impl Queue {
    /// Appends what is in the queue and has a record, in whatever state it is.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        out.push(SNAPSHOT_VERSION);
        for (priority, lane) in self.lanes.kept() {
            let begin = out.len();
            out.extend_from_slice(&[1, priority]);
            let empty = out.len();
            lane.snapshot(out);
            if out.len() == empty {
                out.truncate(begin);
            } else {
                out.push(0);
            }
        }
        out.push(0);
    }

    /// The queue of a snapshot, all of it cold, in replay. Positions are new, and those of before mean nothing.
    ///
    /// # Errors
    /// Damaged bytes give an error, never a panic, and take no more memory than they have bytes, times a constant.
    pub fn restore_snapshot(
        settings: QueueSettings,
        snapshot: &[u8],
        now: Timestamp,
    ) -> Result<Self, RecordError> {
        let mut queue = Self::new(settings, now);
        let mut replay = Box::new(Replay::default());
        let mut r = Reader(snapshot);
        let version = r.byte()?;
        if version != SNAPSHOT_VERSION {
            return Err(RecordError::UnknownVersion(version));
        }
        let mut next_priority = 0;
        while r.flag()? {
            let priority = r.byte()?;
            if u16::from(priority) < next_priority {
                return Err(RecordError::Malformed);
            }
            next_priority = u16::from(priority) + 1;
            let mut chunks = 0;
            while let Some(cold) = read_chunk(&mut r)? {
                replay.restore(&cold);
                queue.add_chunk(priority, cold)?;
                chunks += 1;
            }
            if chunks == 0 {
                return Err(RecordError::Malformed);
            }
        }
        if !r.0.is_empty() {
            return Err(RecordError::Malformed);
        }
        queue.replay = Some(replay);
        Ok(queue)
    }

    fn add_chunk(&mut self, priority: u8, cold: Cold) -> Result<(), RecordError> {
        let mut cold = Box::new(cold);
        let total = self.ready_bytes.checked_add(cold.body_bytes);
        self.ready_bytes = total.ok_or(RecordError::Malformed)?;
        self.ready += u64::from(cold.live);
        let (lane, index) = self.lanes.kept_lane_or_new(priority);
        index.put(
            (priority, lane.next),
            &mut cold,
            self.settings.message_ttl_ms,
        );
        lane.add_chunk(cold);
        self.lanes.mark_lane(priority);
        Ok(())
    }
}

impl Lane {
    /// Adds a full chunk that is cold.
    fn add_chunk(&mut self, cold: Box<Cold>) {
        let sequence = self.next;
        self.chunks.push_back(Chunk {
            first: u16::try_from(CHUNK_SLOTS).unwrap_or(u16::MAX),
            ..Chunk::default()
        });
        self.next += CHUNK_SLOTS as u64;
        self.cold_run = (0, self.next);
        self.put_back_cold(sequence, cold);
    }

    fn snapshot(&self, out: &mut Vec<u8>) {
        // Strays lie before the first chunk, where chunks once were.
        let behind = |sequence: u64| (self.base - 1 - sequence) / CHUNK_SLOTS as u64;
        let mut strays = self.strays.iter().peekable();
        while let Some((sequence, _)) = strays.peek() {
            let chunk = behind(**sequence);
            let first = self.base - (chunk + 1) * CHUNK_SLOTS as u64;
            let mut packer = Packer::new(Cold::new(0));
            while let Some((&sequence, entry)) = strays.next_if(|(s, _)| behind(**s) == chunk) {
                pack(
                    &mut packer,
                    usize::try_from(sequence - first).unwrap_or(0),
                    entry,
                );
            }
            write_chunk(&packer.finish(), out);
        }
        for chunk in &self.chunks {
            write_chunk(&chunk.packed(), out);
        }
    }
}

/// Adds an entry if it has a record.
fn pack(packer: &mut Packer, slot: usize, entry: &Entry) {
    if entry.lsn.is_some()
        && let Ok(slot) = u8::try_from(slot)
    {
        packer.push(&Item::of(slot, entry));
    }
}

impl Chunk {
    /// All that has a record, in parts.
    fn packed(&self) -> Cold {
        let mut packer = Packer::new(Cold::new(0));
        let begin = usize::from(self.first);
        let cold_begin = self.cold.as_ref().map_or(0, |cold| usize::from(cold.from));
        for slot in begin..cold_begin {
            if let Some(Some(entry)) = self.slot(slot) {
                pack(&mut packer, slot, entry);
            }
        }
        if let Some(cold) = &self.cold {
            cold.snapshot(&mut packer);
        }
        for slot in begin.max(cold_begin)..self.filled() {
            if let Some(Some(entry)) = self.slot(slot) {
                pack(&mut packer, slot, entry);
            }
        }
        packer.finish()
    }
}

impl Cold {
    fn snapshot(&self, packer: &mut Packer) {
        let (transient, transient_bytes) = self.transient();
        if self.live == transient {
            return;
        }
        for part in self.parts() {
            let packed = match part {
                Part::Disk(place) => {
                    packer.push_part(Part::Disk(*place));
                    continue;
                }
                Part::Memory(packed) => &packed[..],
                Part::Writing(writing) => &writing.bytes[..],
            };
            if transient == 0 {
                packer.push_part(Part::Memory(packed.into()));
                continue;
            }
            packer.flush();
            packer.copy_journalled(packed);
            packer.flush();
        }
        let total = &mut packer.cold;
        total.live += self.live - transient;
        total.body_bytes += self.body_bytes - transient_bytes;
        total.lsn_min = total.lsn_min.min(self.lsn_min);
        total.lsn_max = total.lsn_max.max(self.lsn_max);
        total.own_deadline = total.own_deadline.min(self.own_deadline);
        total.enqueued_min = total.enqueued_min.min(self.enqueued_min);
        let on_disk = transient > 0 && self.pages().next().is_some();
        if on_disk || self.skips_transient() {
            total.rare.get_or_insert_default().skips_transient = true;
        }
    }
}

fn write_chunk(cold: &Cold, out: &mut Vec<u8>) {
    if cold.live == 0 {
        return;
    }
    number(cold.live.into(), out);
    number(cold.body_bytes, out);
    number(cold.lsn_min.0, out);
    number(cold.lsn_max.0 - cold.lsn_min.0, out);
    out.push((cold.own_deadline != NEVER).into());
    if cold.own_deadline != NEVER {
        number(cold.own_deadline.0, out);
    }
    number(cold.enqueued_min.0, out);
    out.push(cold.skips_transient().into());
    number(cold.parts().count() as u64, out);
    for part in cold.parts() {
        match part {
            Part::Disk(place) => {
                out.push(DISK);
                number(place.file.into(), out);
                number(place.offset, out);
                number(place.bytes.into(), out);
            }
            Part::Memory(packed) => {
                out.push(MEMORY);
                bytes(packed, out);
            }
            Part::Writing(writing) => {
                out.push(MEMORY);
                bytes(&writing.bytes, out);
            }
        }
    }
}

/// A chunk; none at the end of a lane.
fn read_chunk(r: &mut Reader<'_>) -> Result<Option<Cold>, RecordError> {
    let live = r.number()?;
    if live == 0 {
        return Ok(None);
    }
    if live > CHUNK_SLOTS as u64 {
        return Err(RecordError::Malformed);
    }
    let mut cold = Cold::new(0);
    cold.live = u16::try_from(live).map_err(|_| RecordError::Malformed)?;
    cold.body_bytes = r.number()?;
    cold.lsn_min = Lsn(r.number()?);
    let span = r.number()?;
    let lsn_max = cold.lsn_min.0.checked_add(span);
    cold.lsn_max = Lsn(lsn_max.ok_or(RecordError::Malformed)?);
    cold.own_deadline = Timestamp(r.option(Reader::number)?.unwrap_or(NEVER.0));
    cold.enqueued_min = Timestamp(r.number()?);
    if r.flag()? {
        cold.rare.get_or_insert_default().skips_transient = true;
    }
    cold.last = u8::try_from(CHUNK_SLOTS - 1).unwrap_or(u8::MAX);
    let mut found = Found::default();
    for part in r.list(|r| read_part(r, &mut found))? {
        cold.push_part(part);
    }
    let fits = if found.pages {
        found.live <= live && found.body_bytes <= cold.body_bytes
    } else {
        found.live == live && found.body_bytes == cold.body_bytes
    };
    let bodies_fit = cold.body_bytes <= live * u64::from(u32::MAX);
    if fits && bodies_fit && cold.lsn_min.is_some() {
        Ok(Some(cold))
    } else {
        Err(RecordError::Malformed)
    }
}

/// What the parts in a snapshot's chunk hold.
#[derive(Default)]
struct Found {
    live: u64,
    body_bytes: u64,
    next_slot: u16,
    pages: bool,
}

fn read_part(r: &mut Reader<'_>, found: &mut Found) -> Result<Part, RecordError> {
    match r.byte()? {
        DISK => {
            found.pages = true;
            Ok(Part::Disk(PagePlace {
                file: r.number_u32()?,
                offset: r.number()?,
                bytes: r.number_u32()?,
            }))
        }
        MEMORY => {
            let packed = r.bytes()?;
            for raw in Scan::new(packed)? {
                let raw = raw?;
                if !raw.lsn.is_some() || u16::from(raw.slot) < found.next_slot {
                    return Err(RecordError::Malformed);
                }
                found.next_slot = u16::from(raw.slot) + 1;
                found.live += 1;
                found.body_bytes += u64::from(raw.body_bytes);
            }
            Ok(Part::Memory(packed.into()))
        }
        _ => Err(RecordError::Malformed),
    }
}
