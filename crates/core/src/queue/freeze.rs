//! Ready messages leave memory, and where they are on disk.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::cold::{ChunkKey, PART_BYTES, PagePlace, Part, PartKey, Writing};
use super::frozen::{FreezeRule, Frozen};
use super::lane::CHUNK_SLOTS;
use super::{Queue, cold};
use crate::id::Lsn;

impl Queue {
    /// Packs ready messages, in each lane those behind the first `keep_ready` ones, oldest first, up to the first
    /// whose record lies above `committed`. Returns how many were packed. At-most-once messages are never packed.
    ///
    /// Messages without a record are packed whole. To leave memory altogether, parts have to be written: see
    /// [`Self::take_parts`].
    pub fn freeze(&mut self, keep_ready: u64, committed: Lsn) -> u64 {
        let mut frozen = Frozen {
            lsns: self.replay.is_some().then(Vec::new),
            ..Frozen::default()
        };
        for priority in 0..=self.lanes.kept_max() {
            let Some((lane, index)) = self.lanes.kept_lane_mut(priority) else {
                continue;
            };
            let rule = FreezeRule {
                lane: priority,
                keep_ready,
                committed,
                queue_ttl_ms: self.settings.message_ttl_ms,
            };
            lane.freeze(rule, index, &mut frozen);
        }
        self.lanes.sub_held(frozen.held_bytes, frozen.journalled);
        if frozen.indexed > 0 {
            self.expiry.forget(frozen.indexed, &self.lanes);
        }
        if let (Some(replay), Some(lsns)) = (&mut self.replay, frozen.lsns) {
            replay.freeze(&lsns);
        }
        frozen.entries
    }

    /// The parts that are to be written: those of full chunks, and those of [`PART_BYTES`] or more. Each is given
    /// out until [`Self::part_written`] or [`Self::part_failed`] ends that.
    pub fn take_parts(&mut self, out: &mut Vec<(PartKey, Bytes)>) {
        while let Some(at) = self.lanes.cold.writable.pop_first() {
            let Some((lane, index)) = self.lanes.kept_lane_mut(at.0) else {
                continue;
            };
            let Some(cold) = lane
                .chunk_at_mut(at.1)
                .and_then(|chunk| chunk.cold.as_mut())
            else {
                continue;
            };
            let is_full = cold.end() == CHUNK_SLOTS;
            for part in cold.parts_mut() {
                let Part::Memory(packed) = part else { continue };
                if !is_full && packed.len() < PART_BYTES {
                    continue;
                }
                let bytes = Bytes::from(core::mem::take(packed));
                let stamp = index.stamp();
                let key = PartKey {
                    lane: at.0,
                    sequence: at.1,
                    stamp,
                };
                out.push((key, bytes.clone()));
                *part = Part::Writing(Box::new(Writing { stamp, bytes }));
            }
        }
    }

    fn writing_part(&mut self, key: PartKey) -> Option<(&mut Part, Bytes)> {
        let (lane, _) = self.lanes.kept_lane_mut(key.lane)?;
        let cold = lane.chunk_at_mut(key.sequence)?.cold.as_mut()?;
        cold.parts_mut().find_map(|part| match part {
            Part::Writing(writing) if writing.stamp == key.stamp => {
                let bytes = writing.bytes.clone();
                Some((part, bytes))
            }
            _ => None,
        })
    }

    /// A part was written and is no longer needed in memory. False if it is gone: then nothing refers to the page.
    pub fn part_written(&mut self, key: PartKey, place: PagePlace) -> bool {
        let Some((part, bytes)) = self.writing_part(key) else {
            return false;
        };
        *part = Part::Disk(place);
        self.lanes.cold.held_bytes -= bytes.len();
        true
    }

    /// A part could not be written. It is given out again by [`Self::take_parts`].
    pub fn part_failed(&mut self, key: PartKey) {
        if let Some((part, bytes)) = self.writing_part(key) {
            *part = Part::Memory(bytes.to_vec().into_boxed_slice());
            self.lanes.cold.writable.insert((key.lane, key.sequence));
        }
    }

    /// A page was copied to another place. False if nothing refers to it there, or to the chunk.
    pub fn part_moved(&mut self, key: ChunkKey, from: PagePlace, to: PagePlace) -> bool {
        let Some((lane, _)) = self.lanes.kept_lane_mut(key.lane) else {
            return false;
        };
        let chunk = lane.chunk_at_mut(key.sequence);
        let parts = chunk.and_then(|chunk| chunk.cold.as_mut());
        for part in parts.into_iter().flat_map(|cold| cold.parts_mut()) {
            if matches!(part, Part::Disk(place) if *place == from) {
                *part = Part::Disk(to);
                return true;
            }
        }
        false
    }

    /// Every page, with its chunk and the chunk's lowest and highest record.
    pub fn cold_parts(&self, mut visit: impl FnMut(ChunkKey, PagePlace, Lsn, Lsn)) {
        for (lane, chunks) in self.lanes.kept() {
            for (sequence, _, cold) in chunks.cold_chunks(0) {
                let key = key_of((lane, sequence), cold);
                for place in cold.pages() {
                    visit(key, place, cold.lsn_min.min(cold.lsn_max), cold.lsn_max);
                }
            }
        }
    }

    /// Every record that the queue needs: one by one, and of each cold chunk the lowest, the highest and how many.
    pub fn each_lsn(&self, mut one: impl FnMut(Lsn), mut range: impl FnMut(Lsn, Lsn, u64)) {
        let resident = self.lanes.resident().map(|entry| entry.lsn);
        resident.filter(|lsn| lsn.is_some()).for_each(&mut one);
        for (_, lane) in self.lanes.kept() {
            for (min, max, count) in lane.cold_chunks(0).filter_map(|(_, _, c)| c.journalled()) {
                range(min, max, count);
            }
        }
    }
}

pub(super) fn key_of((lane, sequence): cold::ChunkAt, cold: &cold::Cold) -> ChunkKey {
    ChunkKey {
        lane,
        sequence,
        stamp: cold.stamp,
    }
}
