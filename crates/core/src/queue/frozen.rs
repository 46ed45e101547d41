//! A lane's cold entries: packing, counting out and putting back.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::cold::{ChunkAt, ChunkKey, Cold, ColdIndex, Packer};
use super::lane::{CHUNK_SLOTS, Chunk, Lane};
use super::part::Item;
use super::ready::{Entry, Journalled, held_bytes};
use crate::id::Lsn;

/// What may be packed, of one lane.
#[derive(Clone, Copy)]
pub(super) struct FreezeRule {
    pub(super) lane: u8,
    /// So many ready entries stay as they are.
    pub(super) keep_ready: u64,
    /// Records above may not be on disk yet.
    pub(super) committed: Lsn,
    pub(super) queue_ttl_ms: Option<u64>,
}

/// What became of the entries that were packed.
#[derive(Default)]
pub(super) struct Frozen {
    pub(super) entries: u64,
    /// Those that were in the expiry index.
    pub(super) indexed: usize,
    /// Memory they had.
    pub(super) held_bytes: usize,
    /// Those of them with a record.
    pub(super) journalled: Journalled,
    /// Their records, if somebody wants to know.
    pub(super) lsns: Option<Vec<Lsn>>,
}

/// How far packing came in a chunk.
enum Reached {
    /// To its last slot.
    End,
    /// To this slot, and no further in this lane.
    Slot(usize),
}

/// A slot or count of a chunk in a byte; all are below [`CHUNK_SLOTS`].
fn byte(slot: usize) -> u8 {
    u8::try_from(slot).unwrap_or(u8::MAX)
}

impl Lane {
    /// Packs ready entries behind those that stay, oldest first, until one must not.
    pub(super) fn freeze(&mut self, rule: FreezeRule, index: &mut ColdIndex, frozen: &mut Frozen) {
        let resident = self.ready - self.cold;
        if resident <= self.returned.len() as u64 || self.ready <= rule.keep_ready {
            return;
        }
        let Some(start) = self.behind_kept(rule.keep_ready) else {
            return;
        };
        let mut at = start;
        loop {
            let (from, to) = self.cold_run;
            if from <= at && at < to {
                at = to;
            }
            let Some((chunk, slot)) = self.locate(at) else {
                break;
            };
            if chunk >= self.chunks.len() {
                break;
            }
            let first = at - slot as u64;
            match self.freeze_chunk(chunk, slot, (rule, first), index, frozen) {
                Reached::End => at = first + CHUNK_SLOTS as u64,
                Reached::Slot(slot) => {
                    at = at.max(first + slot as u64);
                    break;
                }
            }
        }
        self.cold_run = (start, at);
    }

    /// The first sequence number behind that many ready entries.
    fn behind_kept(&self, keep_ready: u64) -> Option<u64> {
        let mut left = keep_ready.saturating_sub(self.returned.len() as u64);
        let mut at = self.cursor.max(self.base);
        loop {
            let (index, slot) = self.locate(at)?;
            let chunk = self.chunks.get(index)?;
            let first = at - slot as u64;
            let cold = chunk.cold.as_ref();
            let all = u64::from(chunk.live) + cold.map_or(0, |cold| u64::from(cold.live));
            if left == 0 {
                return Some(at);
            }
            if slot == 0 && all <= left {
                left -= all;
                at = first + CHUNK_SLOTS as u64;
                continue;
            }
            let mut cold = cold.filter(|cold| slot < cold.end());
            for slot in slot..chunk.filled() {
                if left == 0 {
                    return Some(first + slot as u64);
                }
                if let Some(cold) = cold.take_if(|cold| slot >= cold.from.into()) {
                    left = left.saturating_sub(cold.live.into());
                    if left == 0 {
                        return Some(first + cold.end() as u64);
                    }
                }
                left -= u64::from(matches!(chunk.slot(slot), Some(Some(_))));
            }
            at = first + CHUNK_SLOTS as u64;
        }
    }

    /// Packs entries of a chunk from a slot on.
    fn freeze_chunk(
        &mut self,
        chunk_index: usize,
        slot: usize,
        (rule, first): (FreezeRule, u64),
        index: &mut ColdIndex,
        frozen: &mut Frozen,
    ) -> Reached {
        let chunk = &mut self.chunks[chunk_index];
        if chunk.loading {
            return Reached::Slot(slot);
        }
        // A chunk's cold entries are in one range.
        let start = chunk.cold.as_ref().map_or(slot, |cold| cold.end());
        let filled = chunk.filled();
        let may_stay = |slot: &usize| match chunk.slot(*slot) {
            Some(Some(entry)) => entry.lsn > rule.committed,
            _ => false,
        };
        let end = (start..filled).find(may_stay).unwrap_or(filled);
        let is_present = |slot: &usize| matches!(chunk.slot(*slot), Some(Some(_)));
        let begin = (start..end).find(is_present);
        let reached = if end == CHUNK_SLOTS {
            Reached::End
        } else {
            Reached::Slot(end.max(slot))
        };
        let from = match (&chunk.cold, begin) {
            (Some(cold), _) if cold.end() < end => cold.from,
            (None, Some(begin)) => byte(begin),
            _ => return reached,
        };
        let at = (rule.lane, first);
        let cold = match chunk.cold.take() {
            Some(cold) => {
                index.take(at, &cold, rule.queue_ttl_ms);
                *cold
            }
            None => Cold::new(from),
        };
        let mut packer = Packer::new(cold);
        for slot in begin.unwrap_or(end)..end {
            let Some(entry) = chunk.slot_mut(slot).and_then(Option::take) else {
                continue;
            };
            packer.push(&Item::of(byte(slot), &entry));
            chunk.live -= 1;
            self.cold += 1;
            frozen.entries += 1;
            frozen.indexed += usize::from(entry.indexed);
            frozen.held_bytes += held_bytes(&entry);
            frozen.journalled.add(&entry);
            if let Some(lsns) = frozen.lsns.as_mut().filter(|_| entry.lsn.is_some()) {
                lsns.push(entry.lsn);
            }
        }
        let mut cold = Box::new(packer.finish());
        cold.last = byte(end - 1);
        index.put(at, &mut cold, rule.queue_ttl_ms);
        chunk.cold = Some(cold);
        chunk.drop_empty_slots(end);
        reached
    }

    /// The chunk with that first sequence number.
    pub(super) fn chunk_at(&self, sequence: u64) -> Option<(usize, &Chunk)> {
        let (index, _) = self.locate(sequence).filter(|(_, slot)| *slot == 0)?;
        Some((index, self.chunks.get(index)?))
    }

    /// As [`Self::chunk_at`].
    pub(super) fn chunk_at_mut(&mut self, sequence: u64) -> Option<&mut Chunk> {
        let (index, _) = self.locate(sequence).filter(|(_, slot)| *slot == 0)?;
        self.chunks.get_mut(index)
    }

    /// Counts out the cold entries of a chunk, if they are those that were named. [`Self::put_back`] must follow.
    pub(super) fn take_cold(&mut self, key: ChunkKey) -> Option<Box<Cold>> {
        let chunk = self.chunk_at_mut(key.sequence)?;
        let cold = chunk.cold.take_if(|cold| cold.stamp == key.stamp)?;
        chunk.loading = false;
        let live = u64::from(cold.live);
        self.cold -= live;
        self.live -= live;
        self.ready -= live;
        self.ready_bytes -= cold.body_bytes;
        Some(cold)
    }

    /// Puts cold entries back as what they are now: resident, in ascending slots of the range they had.
    pub(super) fn put_back(&mut self, at: ChunkAt, cold: &Cold, entries: Vec<(u8, Entry)>) {
        let Some((index, _)) = self.chunk_at(at.1) else {
            return;
        };
        let end = at.1 + CHUNK_SLOTS as u64;
        if self.cold_run.0 < end && at.1 < self.cold_run.1 {
            let (_, to) = self.cold_run;
            self.cold_run = if end < to { (end, to) } else { (0, 0) };
        }
        let chunk = &mut self.chunks[index];
        if let Some((slot, _)) = entries.first() {
            chunk.open_slots(usize::from(*slot));
        }
        let (mut live, mut body_bytes) = (0, 0);
        for (slot, entry) in entries {
            let Some(place) = chunk
                .slot_mut(slot.into())
                .filter(|place| place.is_none() && cold.covers(slot.into()))
            else {
                continue;
            };
            live += 1;
            body_bytes += u64::from(entry.body_bytes);
            *place = Some(entry);
        }
        chunk.live += live;
        let empty = chunk.live == 0;
        self.live += u64::from(live);
        self.ready += u64::from(live);
        self.ready_bytes += body_bytes;
        if empty {
            self.free(index);
        }
    }

    /// Puts entries back that stay cold, packed anew.
    pub(super) fn put_back_cold(&mut self, sequence: u64, cold: Box<Cold>) {
        self.cold += u64::from(cold.live);
        self.live += u64::from(cold.live);
        self.ready += u64::from(cold.live);
        self.ready_bytes += cold.body_bytes;
        if let Some(chunk) = self.chunk_at_mut(sequence) {
            chunk.cold = Some(cold);
        }
    }

    /// Chunks with cold entries, with the sequence numbers of their first slots, from that number on.
    pub(super) fn cold_chunks(&self, from: u64) -> impl Iterator<Item = (u64, &Chunk, &Cold)> {
        let skip = self.locate(from).map_or(0, |(index, _)| index);
        let firsts = (self.base + (skip * CHUNK_SLOTS) as u64..).step_by(CHUNK_SLOTS);
        let chunks = firsts.zip(self.chunks.range(skip.min(self.chunks.len())..));
        chunks.filter_map(|(first, chunk)| Some((first, chunk, &**chunk.cold.as_ref()?)))
    }
}

impl Chunk {
    /// Gives back the memory of slots up to one that are all empty.
    fn drop_empty_slots(&mut self, end: usize) {
        if self.live == 0 {
            self.first = u16::try_from(self.filled()).unwrap_or(u16::MAX);
            self.slots = Vec::new();
            return;
        }
        let count = end.saturating_sub(self.first.into());
        let empty = self.slots.iter().take(count).all(Option::is_none);
        if count > 0 && empty {
            self.slots = self.slots.split_off(count);
            self.first = u16::try_from(end).unwrap_or(u16::MAX);
        }
    }

    /// Makes room for entries from a slot on.
    fn open_slots(&mut self, from: usize) {
        let missing = usize::from(self.first).saturating_sub(from);
        if missing == 0 {
            return;
        }
        let len = missing + self.slots.len();
        let mut slots = Vec::with_capacity(len);
        slots.resize_with(missing, || None);
        slots.append(&mut self.slots);
        self.slots = slots;
        self.first = u16::try_from(from).unwrap_or(0);
    }
}
