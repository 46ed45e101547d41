//! The files of an open log. Used by one thread, which is the only one that writes.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Action, At as _, Failure};
use crate::frame::{self, Link};
use crate::log::Index;
use crate::manifest::{Copies, ManifestFiles};
use crate::options::{Durability, StoreId};
use crate::pool::{Look, Pool, PoolLimits, Room};
use crate::recovery::Recovery;
use crate::segment::{HEADER_BYTES, SegmentHeader, SegmentRef, segment_name};
use crate::storage::{Storage, StorageFile, write_all_at};
use crate::survey::Segment;
use crate::syncs::Stopwatch;
use crate::table::{Entry, Table, Written};

/// What of the options concerns files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) durability: Durability,
    pub(crate) pool: PoolLimits,
}

pub(crate) struct Writer {
    storage: Arc<dyn Storage>,
    layout: Layout,
    manifest: ManifestFiles,
    table: Arc<Table>,
    /// Segments of the chain before the current one, oldest first.
    sealed: VecDeque<Arc<Entry>>,
    current: Option<Current>,
    pool: Pool,
    link: Link,
    /// Every frame up to this sequence number is on disk, and every record below this index.
    synced: u64,
    synced_index: u64,
    /// The frames of one write.
    written: Vec<Written>,
}

struct Current {
    entry: Arc<Entry>,
    file: Box<dyn StorageFile>,
    /// Where the next frame goes.
    end: u64,
}

impl Current {
    fn left(&self) -> u64 {
        self.entry.bytes.saturating_sub(self.end)
    }
}

impl Writer {
    /// Takes over what recovery found. Keeps at most as many spares as it should, and has one ready if there is room.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        layout: Layout,
        recovery: Recovery,
    ) -> Result<Self, Failure> {
        let table = Table::new(storage.clone(), recovery.next_cold);
        let mut writer = Self {
            pool: Pool::new(storage.clone(), layout.pool, recovery.leftovers)?,
            table: Arc::new(table),
            sealed: VecDeque::new(),
            current: None,
            link: recovery.link,
            synced: recovery.link.sequence - 1,
            synced_index: recovery.link.index,
            manifest: recovery.manifest,
            layout,
            storage,
            written: Vec::new(),
        };
        let chain = recovery.segments.into_iter().map(|segment| (segment, None));
        let kept = recovery.kept.into_iter();
        let kept = kept.map(|(segment, end)| (segment, Some(end)));
        let segments: Vec<(Segment, Option<Index>)> = kept.chain(chain).collect();
        let mut places = Some(Arc::new(recovery.places));
        for (at, (segment, kept)) in segments.iter().enumerate() {
            let is_last = kept.is_none() && at + 1 == segments.len();
            let end = end_of(segment, *kept, &segments[at + 1..]);
            let end = end.unwrap_or(writer.link.index);
            let places = if is_last { places.take() } else { None };
            let entry = Arc::new(Entry::new(segment, end, places));
            writer.table.add(entry.clone());
            if kept.is_some() {
                entry.keep();
            } else if is_last {
                let file = writer.storage.open(&segment.name);
                writer.current = Some(Current {
                    file: file.at(Action::Open, &segment.name)?,
                    entry,
                    end: recovery.end,
                });
            } else {
                writer.sealed.push_back(entry);
            }
        }
        writer.pool.prepare(Look::Now)?;
        Ok(writer)
    }

    /// The segments, for those who read.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.clone()
    }

    pub(crate) fn store(&self) -> StoreId {
        self.manifest.current().store
    }

    /// Where the log stands.
    pub(crate) fn link(&self) -> Link {
        self.link
    }

    /// How much room there is.
    pub(crate) fn room(&self) -> Room {
        self.pool
            .room(self.current.as_ref().map_or(0, Current::left))
    }

    /// Has files ready for the next segments, as far as there is room.
    pub(crate) fn prepare(&mut self, look: Look) -> Result<(), Failure> {
        self.pool.prepare(look)
    }

    /// Writes frames from the beginning of `frames`, as many as the current segment has room for, after a step to the
    /// next segment if it has room for none. Waits until they are on disk, if that is asked of this log. Returns how many
    /// bytes of `frames` it took.
    pub(crate) fn write(&mut self, frames: &mut [u8]) -> Result<usize, Failure> {
        let (first, _) = frame::pushed(frames);
        let fits = |current: &Current| first as u64 <= current.left();
        if !self.current.as_ref().is_some_and(fits) {
            self.step(first as u64)?;
        }
        let Some(current) = &mut self.current else {
            return Ok(0);
        };
        let mut taken = 0;
        let mut link = self.link;
        self.written.clear();
        while taken < frames.len() {
            let (bytes, _) = frame::pushed(&frames[taken..]);
            if (taken + bytes) as u64 > current.left() {
                break;
            }
            let frame = &mut frames[taken..taken + bytes];
            let first = link.index;
            link = frame::seal(frame, link, self.synced, current.entry.signature);
            self.written.push(Written {
                first,
                index_behind: link.index,
                offset: current.end + taken as u64,
                bytes: bytes as u64,
            });
            taken += bytes;
        }
        write_all_at(current.file.as_ref(), current.end, &frames[..taken])
            .at(Action::Write, &current.entry.name)?;
        current.end += taken as u64;
        self.link = link;
        self.pool.note_written(taken as u64);
        if self.layout.durability == Durability::Fsync {
            self.sync()?;
        }
        if let Some(current) = &self.current {
            current.entry.grow(&self.written);
        }
        Ok(taken)
    }

    /// The last record that is on disk with all before it.
    pub(crate) fn durable(&self) -> u64 {
        self.synced_index - 1
    }

    /// Waits until everything that was written is on disk.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        let written = self.link.sequence - 1;
        if self.synced < written
            && let Some(current) = &self.current
        {
            let name = &current.entry.name;
            let watch = Stopwatch::start();
            current.file.sync_data().at(Action::Sync, name)?;
            self.table.syncs.count(&watch);
            self.synced = written;
            self.synced_index = self.link.index;
        }
        Ok(())
    }

    /// Leaves the current segment, which is synced before the next one says where it ended.
    fn step(&mut self, frame_bytes: u64) -> Result<(), Failure> {
        self.sync()?;
        let segment_bytes = self.layout.pool.segment_bytes;
        let bytes = segment_bytes.max(frame_bytes + HEADER_BYTES as u64);
        let spare = self.pool.take(bytes)?;
        let manifest = self.manifest.current();
        let id = manifest.last_segment + 1;
        let header = SegmentHeader::new(manifest.store, id, self.link);
        write_all_at(spare.file.as_ref(), 0, &header.encode()).at(Action::Write, &spare.name)?;
        spare.file.sync_data().at(Action::Sync, &spare.name)?;
        let name = segment_name(id);
        self.storage
            .rename(&spare.name, &name)
            .at(Action::Rename, &name)?;
        self.storage.sync_dir().at(Action::Sync, &name)?;
        let durable = self.synced;
        self.manifest.update(Copies::One, |manifest| {
            manifest.last_segment = id;
            manifest.durable = durable;
        })?;
        let segment = Segment {
            name,
            header,
            bytes,
        };
        let places = Some(Arc::default());
        let entry = Arc::new(Entry::new(&segment, self.link.index, places));
        self.table.add(entry.clone());
        let next = Current {
            entry,
            file: spare.file,
            end: HEADER_BYTES as u64,
        };
        if let Some(left) = self.current.replace(next) {
            self.table.may_forget(&left.entry);
            self.sealed.push_back(left.entry);
        }
        Ok(())
    }

    /// Takes segments out of the chain all of whose records are below `index`. They are kept.
    pub(crate) fn release(&mut self, index: u64) -> Result<(), Failure> {
        let behind = |at: usize| match self.sealed.get(at + 1) {
            Some(next) => next.first,
            None => self.current.as_ref().map_or(0, |c| c.entry.first),
        };
        let count = (0..self.sealed.len())
            .take_while(|&at| behind(at) <= index)
            .count();
        let Some(last) = count.checked_sub(1).and_then(|at| self.sealed.get(at)) else {
            return Ok(());
        };
        let last = last.reference.id;
        let durable = self.synced;
        self.manifest.update(Copies::Both, |manifest| {
            manifest.first_segment = last + 1;
            manifest.durable = durable;
        })?;
        for entry in self.sealed.drain(..count) {
            entry.keep();
        }
        Ok(())
    }

    /// Recycles or deletes segments that are not part of the chain.
    pub(crate) fn drop_segments(&mut self, dropped: &[SegmentRef]) -> Result<(), Failure> {
        for &reference in dropped {
            if let Some(entry) = self.table.take(reference) {
                self.pool.reuse(entry.name.clone())?;
            }
        }
        Ok(())
    }

    /// Syncs everything and vouches for it, so that the next start has nothing to repair.
    pub(crate) fn close(&mut self) -> Result<(), Failure> {
        self.sync()?;
        let durable = self.synced;
        self.manifest.update(Copies::Both, |manifest| {
            manifest.durable = durable;
            manifest.clean = true;
        })
    }
}

/// Where the records of a segment end; none for the last of the chain. A checkpoint may have been written while the segment
/// still grew, but then it was part of the chain, and so is or was its successor.
fn end_of(
    segment: &Segment,
    kept: Option<Index>,
    behind: &[(Segment, Option<Index>)],
) -> Option<u64> {
    if let Some(extent) = segment.header.cold {
        return Some(extent.index_behind);
    }
    let next = behind.iter().find(|(next, _)| next.header.cold.is_none());
    let next = next.map(|(next, _)| next.header.link.index);
    match kept {
        None => next,
        Some(kept) => Some(next.map_or(kept.0, |next| next.min(kept.0))),
    }
}
