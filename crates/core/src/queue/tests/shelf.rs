//! Pages and a journal as simple as can be, for queues with cold messages.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::*;
use crate::id::Lsn;
use crate::message::{FormatId, Message, NoProperties, PropertyFormat};
use crate::record::Formats;

pub(super) struct OnlyNone;

impl Formats for OnlyNone {
    fn format(&self, id: FormatId) -> Option<&'static dyn PropertyFormat> {
        (id == FormatId(0)).then_some(&NoProperties)
    }
}

#[derive(Default)]
pub(super) struct Shelf {
    pub(super) pages: BTreeMap<PagePlace, Bytes>,
    pub(super) journal: BTreeMap<Lsn, Message>,
    /// Parts given out and not written.
    pub(super) writing: Vec<(PartKey, Bytes)>,
    offset: u64,
    /// Give chunks back in reverse order.
    pub(super) backwards: bool,
    /// Chunks given back.
    pub(super) loads: u64,
}

impl Shelf {
    pub(super) fn place(&mut self, bytes: Bytes) -> PagePlace {
        let place = PagePlace {
            file: 7,
            offset: self.offset,
            bytes: u32::try_from(bytes.len()).unwrap(),
        };
        self.offset += u64::from(place.bytes);
        self.pages.insert(place, bytes);
        place
    }

    pub(super) fn write(&mut self, queue: &mut Queue, key: PartKey, bytes: Bytes) {
        let place = self.place(bytes);
        if !queue.part_written(key, place) {
            self.pages.remove(&place);
        }
    }

    /// Writes all that may be written.
    pub(super) fn write_all(&mut self, queue: &mut Queue) {
        queue.take_parts(&mut self.writing);
        for (key, bytes) in core::mem::take(&mut self.writing) {
            self.write(queue, key, bytes);
        }
    }

    pub(super) fn read(&self, chunk: &ColdChunk, now: Timestamp) -> Vec<ColdEntry> {
        let mut entries = Vec::new();
        for part in &chunk.parts {
            let bytes = match part {
                PartSource::Memory(bytes) => bytes,
                PartSource::Disk(place) => &self.pages[place],
            };
            entries.extend(decode_part(bytes, &OnlyNone).unwrap());
        }
        for entry in &mut entries {
            if chunk.needs_message(entry, now) {
                entry.message = Some(self.journal[&entry.lsn].clone());
            }
        }
        entries
    }

    /// Gives the queue all it wants. Returns whether that was anything.
    pub(super) fn load(&mut self, queue: &mut Queue, now: Timestamp, fx: &mut Effects) -> bool {
        let before = self.loads;
        let mut chunks = Vec::new();
        for turn in 0.. {
            if !core::mem::take(&mut fx.wants_cold) {
                break;
            }
            assert!(turn < 10_000, "a queue that wants and wants");
            queue.wanted_cold(now, 40, 500, &mut chunks);
            if self.backwards {
                chunks.reverse();
            }
            for chunk in chunks.drain(..) {
                let entries = self.read(&chunk, now);
                self.loads += 1;
                assert!(match chunk.purpose {
                    Purpose::Expire => queue.expire_cold(now, chunk.key, entries, fx),
                    _ => queue.thaw(now, chunk.key, entries, fx),
                });
            }
        }
        self.forget_freed(fx);
        self.loads > before
    }

    pub(super) fn forget_freed(&mut self, fx: &mut Effects) {
        for place in fx.freed.drain(..) {
            assert!(self.pages.remove(&place).is_some(), "freed once");
        }
    }

    /// Purges a queue with all that is cold.
    pub(super) fn purge(&mut self, queue: &mut Queue, now: Timestamp, fx: &mut Effects) -> u64 {
        let (mut purged, mut chunks) = (0, Vec::new());
        loop {
            purged += queue.purge(now, u64::MAX, fx);
            queue.wanted_for_purge(2, &mut chunks);
            if chunks.is_empty() {
                break;
            }
            for chunk in chunks.drain(..) {
                self.loads += 1;
                let entries = self.read(&chunk, now);
                purged += queue.purge_cold(now, chunk.key, entries, fx);
            }
        }
        self.forget_freed(fx);
        purged
    }

    /// Every page is one of the queue's, and every page of the queue's is there.
    pub(super) fn check(&self, queue: &Queue) {
        let mut pages = Vec::new();
        queue.cold_parts(|_, place, _, _| pages.push(place));
        pages.sort_unstable();
        assert_eq!(pages, self.pages.keys().copied().collect::<Vec<_>>());
    }
}
