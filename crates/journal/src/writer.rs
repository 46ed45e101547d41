//! The files of an open log. Used by one thread, which is the only one that writes.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Action, At as _, Failure};
use crate::frame::{self, Link};
use crate::manifest::{Copies, ManifestFiles};
use crate::options::Durability;
use crate::recovery::Recovery;
use crate::segment::{HEADER_BYTES, SegmentHeader, segment_name, spare_name, spare_number};
use crate::storage::{Storage, StorageFile, is_out_of_room, write_all_at};

/// What of the options concerns files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) segment_bytes: u64,
    pub(crate) spares_max: usize,
    pub(crate) durability: Durability,
}

pub(crate) struct Writer {
    storage: Arc<dyn Storage>,
    layout: Layout,
    manifest: ManifestFiles,
    /// Segments before the current one, oldest first.
    sealed: VecDeque<Sealed>,
    current: Option<Current>,
    /// The file that the next segment will be, with room for a segment.
    ready: Option<Spare>,
    /// Files of a segment's length that hold nothing.
    spares: Vec<String>,
    next_spare: u64,
    link: Link,
    /// Every frame up to this sequence number is on disk.
    synced: u64,
}

struct Sealed {
    id: u64,
    first_index: u64,
    bytes: u64,
}

struct Current {
    segment: Sealed,
    name: String,
    file: Box<dyn StorageFile>,
    signature: u32,
    /// Where the next frame goes.
    end: u64,
}

impl Current {
    fn left(&self) -> u64 {
        self.segment.bytes.saturating_sub(self.end)
    }
}

struct Spare {
    name: String,
    file: Box<dyn StorageFile>,
}

impl Writer {
    /// Takes over what recovery found. Keeps at most as many spares as it should, and has one ready if there is room.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        layout: Layout,
        recovery: Recovery,
    ) -> Result<Self, Failure> {
        let numbers = recovery.leftovers.iter().filter_map(|n| spare_number(n));
        let mut writer = Self {
            next_spare: numbers.max().unwrap_or(0) + 1,
            sealed: VecDeque::new(),
            current: None,
            ready: None,
            spares: Vec::new(),
            link: recovery.link,
            synced: recovery.link.sequence - 1,
            manifest: recovery.manifest,
            layout,
            storage,
        };
        for name in recovery.leftovers {
            writer.reuse(name)?;
        }
        for segment in recovery.segments {
            writer.sealed.push_back(Sealed {
                id: segment.header.id,
                first_index: segment.header.link.index,
                bytes: segment.bytes,
            });
            if segment.header.id == writer.manifest.current().last_segment {
                let file = writer.storage.open(&segment.name);
                writer.current = writer.sealed.pop_back().map_or(Ok(None), |sealed| {
                    Ok(Some(Current {
                        file: file.at(Action::Open, &segment.name)?,
                        segment: sealed,
                        signature: segment.header.signature,
                        end: recovery.end,
                        name: segment.name,
                    }))
                })?;
            }
        }
        writer.prepare()?;
        Ok(writer)
    }

    /// Where the log stands.
    pub(crate) fn link(&self) -> Link {
        self.link
    }

    /// Whether the next segment's file is there.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// Bytes of frames, none above half a segment, that surely find room, in whatever way they fill the segments.
    pub(crate) fn room(&self) -> u64 {
        let left = self.current.as_ref().map_or(0, Current::left);
        let spare = self.ready.as_ref().map_or(0, |_| self.capacity());
        left.max(spare)
    }

    /// Bytes of frames that a segment has room for.
    fn capacity(&self) -> u64 {
        self.layout.segment_bytes - HEADER_BYTES as u64
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
        while taken < frames.len() {
            let (bytes, _) = frame::pushed(&frames[taken..]);
            if (taken + bytes) as u64 > current.left() {
                break;
            }
            let frame = &mut frames[taken..taken + bytes];
            link = frame::seal(frame, link, self.synced, current.signature);
            taken += bytes;
        }
        write_all_at(current.file.as_ref(), current.end, &frames[..taken])
            .at(Action::Write, &current.name)?;
        current.end += taken as u64;
        self.link = link;
        if self.layout.durability == Durability::Fsync {
            self.sync()?;
        }
        Ok(taken)
    }

    /// Waits until everything that was written is on disk.
    fn sync(&mut self) -> Result<(), Failure> {
        let written = self.link.sequence - 1;
        if self.synced < written
            && let Some(current) = &self.current
        {
            current.file.sync_data().at(Action::Sync, &current.name)?;
            self.synced = written;
        }
        Ok(())
    }

    /// Leaves the current segment, which is synced before the next one says where it ended.
    fn step(&mut self, frame_bytes: u64) -> Result<(), Failure> {
        self.sync()?;
        let bytes = self
            .layout
            .segment_bytes
            .max(frame_bytes + HEADER_BYTES as u64);
        let spare = if bytes > self.layout.segment_bytes {
            self.create(bytes)?
        } else {
            match self.ready.take() {
                Some(ready) => ready,
                None => self.take_spare()?,
            }
        };
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
        let next = Current {
            segment: Sealed {
                id,
                first_index: self.link.index,
                bytes,
            },
            name,
            file: spare.file,
            signature: header.signature,
            end: HEADER_BYTES as u64,
        };
        if let Some(left) = self.current.replace(next) {
            self.sealed.push_back(left.segment);
        }
        Ok(())
    }

    /// Has the next segment's file ready. False if the disk is full.
    pub(crate) fn prepare(&mut self) -> Result<bool, Failure> {
        if self.ready.is_none() {
            match self.take_spare() {
                Ok(spare) => self.ready = Some(spare),
                Err(failure) if is_out_of_room(&failure.error) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(self.ready.is_some())
    }

    fn take_spare(&mut self) -> Result<Spare, Failure> {
        match self.spares.pop() {
            None => self.create(self.layout.segment_bytes),
            Some(name) => {
                let file = self.storage.open(&name).at(Action::Open, &name)?;
                Ok(Spare { name, file })
            }
        }
    }

    fn create(&mut self, bytes: u64) -> Result<Spare, Failure> {
        let name = spare_name(self.next_spare);
        self.next_spare += 1;
        let file = self.storage.create(&name).at(Action::Create, &name)?;
        if let Err(error) = file.preallocate(bytes) {
            // What it got of a full disk is given back; if that fails too, the next start does it.
            drop(file);
            let _ = self.storage.delete(&name);
            return Err(error).at(Action::Create, &name);
        }
        Ok(Spare { name, file })
    }

    /// Gives up segments all of whose records are below `index`.
    pub(crate) fn release(&mut self, index: u64) -> Result<(), Failure> {
        let behind = |at: usize| match self.sealed.get(at + 1) {
            Some(next) => next.first_index,
            None => self.current.as_ref().map_or(0, |c| c.segment.first_index),
        };
        let count = (0..self.sealed.len())
            .take_while(|&at| behind(at) <= index)
            .count();
        if count == 0 {
            return Ok(());
        }
        let released: Vec<u64> = self.sealed.drain(..count).map(|s| s.id).collect();
        let last = released.last().copied().unwrap_or_default();
        let durable = self.synced;
        self.manifest.update(Copies::Both, |manifest| {
            manifest.first_segment = last + 1;
            manifest.durable = durable;
        })?;
        for id in released {
            self.reuse(segment_name(id))?;
        }
        Ok(())
    }

    /// Keeps a file that holds nothing as a spare, if there are not enough yet and it has the right length.
    fn reuse(&mut self, name: String) -> Result<(), Failure> {
        let len = {
            let file = self.storage.open(&name).at(Action::Open, &name)?;
            file.byte_len().at(Action::Read, &name)?
        };
        if len != self.layout.segment_bytes || self.spares.len() >= self.layout.spares_max {
            return self.storage.delete(&name).at(Action::Delete, &name);
        }
        if spare_number(&name).is_some() {
            self.spares.push(name);
            return Ok(());
        }
        let spare = spare_name(self.next_spare);
        self.next_spare += 1;
        self.storage
            .rename(&name, &spare)
            .at(Action::Rename, &name)?;
        self.spares.push(spare);
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
