//! Room on the disk: files for segments to come, and how much is free besides.

use std::sync::Arc;

use crate::error::{Action, At as _, Failure};
use crate::log::Pressure;
use crate::segment::{HEADER_BYTES, segment_id, spare_name, spare_number};
use crate::storage::{Storage, StorageFile, is_out_of_room};

/// The free bytes are asked for again after so many were written.
const CHECK_BYTES: u64 = 8 * 1024 * 1024;

/// What of the options concerns room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLimits {
    pub(crate) segment_bytes: u64,
    pub(crate) spares_max: usize,
    pub(crate) reserve: usize,
    pub(crate) free_low_bytes: u64,
    pub(crate) free_min_bytes: u64,
}

/// Files of a segment's length that hold nothing.
pub(crate) struct Pool {
    storage: Arc<dyn Storage>,
    limits: PoolLimits,
    /// The file that the next segment will be.
    ready: Option<Spare>,
    spares: Vec<String>,
    next_spare: u64,
    /// What the free bytes of the file system mean.
    free: Pressure,
    written: u64,
}

/// A file with room for a segment.
pub(crate) struct Spare {
    pub(crate) name: String,
    pub(crate) file: Box<dyn StorageFile>,
}

/// Whether the file system is asked even if little was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    WhenDue,
    Now,
}

/// How much room there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Room {
    /// Bytes of frames, none above half a segment, that surely find room, in whatever way they fill the segments.
    pub(crate) bytes: u64,
    /// A file that should be there is not: the disk is full.
    pub(crate) short: bool,
    /// None, low, or no room.
    pub(crate) pressure: Pressure,
}

impl Pool {
    /// Takes over files that hold nothing. Keeps as many as it should.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        limits: PoolLimits,
        leftovers: Vec<String>,
    ) -> Result<Self, Failure> {
        let numbers = leftovers.iter().filter_map(|name| spare_number(name));
        let mut pool = Self {
            next_spare: numbers.max().unwrap_or(0) + 1,
            ready: None,
            spares: Vec::new(),
            free: Pressure::None,
            written: 0,
            limits,
            storage,
        };
        for name in leftovers {
            pool.reuse(name)?;
        }
        Ok(pool)
    }

    /// Bytes of frames that a segment has room for.
    fn capacity(&self) -> u64 {
        self.limits.segment_bytes - HEADER_BYTES as u64
    }

    /// How much room there is if the current segment has `left` bytes.
    pub(crate) fn room(&self, left: u64) -> Room {
        let files = self.spares.len() as u64 + u64::from(self.ready.is_some());
        // A segment is left more than half full if frames of up to half a segment follow; the last can be filled.
        let in_files = if files == 0 {
            0
        } else {
            self.capacity() / 2 * (files + 1)
        };
        let short = self.ready.is_none() || self.spares.len() < self.limits.reserve;
        Room {
            bytes: left.max(in_files),
            short,
            pressure: if short { Pressure::NoRoom } else { self.free },
        }
    }

    /// Has the next segment's file ready, and the reserve behind it, as far as there is room.
    pub(crate) fn prepare(&mut self, look: Look) -> Result<(), Failure> {
        let mut made = false;
        if self.ready.is_none() {
            match self.take_spare() {
                Ok(spare) => self.ready = Some(spare),
                Err(failure) if is_out_of_room(&failure.error) => {}
                Err(failure) => return Err(failure),
            }
            made = true;
        }
        while self.ready.is_some() && self.spares.len() < self.limits.reserve {
            made = true;
            match self.create(self.limits.segment_bytes) {
                Ok(spare) => self.spares.push(spare.name),
                Err(failure) if is_out_of_room(&failure.error) => break,
                Err(failure) => return Err(failure),
            }
        }
        if made || look == Look::Now || self.written >= CHECK_BYTES {
            self.look();
        }
        Ok(())
    }

    /// So many bytes were written.
    pub(crate) fn note_written(&mut self, bytes: u64) {
        self.written = self.written.saturating_add(bytes);
    }

    fn look(&mut self) {
        self.written = 0;
        // A file system that cannot say is no reason to stop: what has to be written has its room.
        if let Ok(free) = self.storage.free_bytes() {
            self.free = if free < self.limits.free_min_bytes {
                Pressure::NoRoom
            } else if free < self.limits.free_low_bytes {
                Pressure::Low
            } else {
                Pressure::None
            };
        }
    }

    /// A file with room for a segment of this length.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<Spare, Failure> {
        if bytes > self.limits.segment_bytes {
            return self.create(bytes);
        }
        match self.ready.take() {
            Some(ready) => Ok(ready),
            None => self.take_spare(),
        }
    }

    fn take_spare(&mut self) -> Result<Spare, Failure> {
        match self.spares.pop() {
            None => self.create(self.limits.segment_bytes),
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

    /// Keeps a file that holds nothing as a spare, if there are not enough yet, and it was a segment or a spare and has
    /// the right length.
    pub(crate) fn reuse(&mut self, name: String) -> Result<(), Failure> {
        let wanted = self.limits.spares_max.max(self.limits.reserve);
        let is_spare = spare_number(&name).is_some();
        let may_be = is_spare || segment_id(&name).is_some();
        if !may_be || self.spares.len() >= wanted || !self.has_right_length(&name)? {
            return self.storage.delete(&name).at(Action::Delete, &name);
        }
        if is_spare {
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

    fn has_right_length(&self, name: &str) -> Result<bool, Failure> {
        let file = self.storage.open(name).at(Action::Open, name)?;
        let bytes = file.byte_len().at(Action::Read, name)?;
        Ok(bytes == self.limits.segment_bytes)
    }
}
