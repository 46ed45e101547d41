//! Copying the few records that are still needed out of segments, into a segment of their own.

use std::sync::Arc;

use crate::batch::Batch;
use crate::error::{Action, At as _, Failure, ReadFlaw};
use crate::frame::{self, Link};
use crate::log::Index;
use crate::lookup::LogReader;
use crate::options::StoreId;
use crate::segment::{Extent, HEADER_BYTES, SegmentHeader, SegmentRef, cold_name, copy_name};
use crate::storage::{Storage, StorageFile, write_all_at};
use crate::survey::Segment;
use crate::table::{Entry, SegmentInfo, Table};

/// A frame takes records up to this, so that reading one reads little.
const FRAME_BYTES: usize = 64 * 1024;
/// Frames are written when there are so many bytes of them.
const WRITE_BYTES: usize = 1024 * 1024;
/// Records are read so many at a time.
const READ_RECORDS: usize = 1024;

/// What [`crate::SegmentedLog::copy_live`] did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Copied {
    /// The new segment; none if there was nothing to copy.
    pub segment: Option<SegmentInfo>,
    /// Records that were copied.
    pub records: u64,
    /// Records of the victims that could not be read and were not copied.
    pub damaged: u64,
    /// The victims that may hold those. They must not be dropped while the records are wanted.
    pub keep: Vec<SegmentRef>,
}

pub(crate) fn copy(
    table: &Arc<Table>,
    store: StoreId,
    victims: &[SegmentRef],
    live: &mut dyn Iterator<Item = Index>,
) -> Result<Copied, Failure> {
    let mut copy = Copy {
        reader: LogReader::new(table.clone()),
        victims,
        copied: Copied::default(),
        file: None,
        failure: None,
    };
    let result = copy.run(table, store, live);
    if result.is_err()
        && let Some(file) = &copy.file
    {
        // If that fails too, the next start does it.
        let _ = table.storage.delete(&copy_name(file.header.id));
    }
    result.map(|()| copy.copied)
}

struct Copy<'a> {
    reader: LogReader,
    victims: &'a [SegmentRef],
    copied: Copied,
    file: Option<ColdFile>,
    /// Why the copy cannot be written.
    failure: Option<Failure>,
}

impl Copy<'_> {
    fn run(
        &mut self,
        table: &Arc<Table>,
        store: StoreId,
        live: &mut dyn Iterator<Item = Index>,
    ) -> Result<(), Failure> {
        let mut wanted = Vec::with_capacity(READ_RECORDS);
        loop {
            wanted.clear();
            wanted.extend(live.take(READ_RECORDS));
            if wanted.is_empty() {
                break;
            }
            self.copy_some(table, store, &wanted)?;
        }
        if let Some(file) = &mut self.file {
            let segment = file.finish(table.storage.as_ref())?;
            let end = file.link.index;
            let entry = Arc::new(Entry::new(&segment, end, None));
            self.copied.segment = Some(entry.info());
            table.add(entry);
        }
        Ok(())
    }

    fn copy_some(
        &mut self,
        table: &Arc<Table>,
        store: StoreId,
        wanted: &[Index],
    ) -> Result<(), Failure> {
        let reader = self.reader.clone();
        let victims = self.victims;
        let among = |entry: &Entry| victims.contains(&entry.reference);
        reader.read_among(wanted, &among, &mut |index, record| match record {
            _ if self.failure.is_some() => {}
            Ok(record) => match self.take(table.as_ref(), store, index, record) {
                Ok(()) => self.copied.records += 1,
                Err(failure) => self.failure = Some(failure),
            },
            Err(ReadFlaw::Missing { .. }) => {}
            Err(_) => self.note_damage(table, index),
        })?;
        self.failure.take().map_or(Ok(()), Err)
    }

    fn take(
        &mut self,
        table: &Table,
        store: StoreId,
        index: Index,
        record: &[u8],
    ) -> Result<(), Failure> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(ColdFile::create(table, store)?),
        };
        file.push(index, record)
    }

    fn note_damage(&mut self, table: &Table, index: Index) {
        self.copied.damaged += 1;
        for entry in table.candidates(index.0) {
            let reference = entry.reference;
            if self.victims.contains(&reference) && !self.copied.keep.contains(&reference) {
                self.copied.keep.push(reference);
            }
        }
    }
}

/// A cold segment that is being written.
struct ColdFile {
    header: SegmentHeader,
    name: String,
    file: Box<dyn StorageFile>,
    first: u64,
    /// What the next frame has to say of itself, but for its index.
    link: Link,
    records: u64,
    /// The frame that is being filled, and its first index.
    batch: Batch,
    batch_first: u64,
    /// Frames that are not written yet, and where they go.
    frames: Vec<u8>,
    end: u64,
}

impl ColdFile {
    fn create(table: &Table, store: StoreId) -> Result<Self, Failure> {
        let header = SegmentHeader::new_cold(store, table.next_cold_id());
        let name = copy_name(header.id);
        let file = table.storage.create(&name).at(Action::Create, &name)?;
        Ok(Self {
            header,
            name,
            file,
            first: 0,
            link: Link::START,
            records: 0,
            batch: Batch::new(),
            batch_first: 0,
            frames: Vec::new(),
            end: HEADER_BYTES as u64,
        })
    }

    fn push(&mut self, index: Index, record: &[u8]) -> Result<(), Failure> {
        let follows = index.0 == self.batch_first + self.batch.len() as u64;
        let is_full = self.batch.byte_len() + record.len() > FRAME_BYTES;
        if !self.batch.is_empty() && (!follows || is_full) {
            self.seal();
        }
        if self.batch.is_empty() {
            self.batch_first = index.0;
        }
        if self.records == 0 {
            self.first = index.0;
        }
        self.batch.record(|out| out.extend_from_slice(record));
        self.records += 1;
        if self.frames.len() >= WRITE_BYTES {
            self.write()?;
        }
        Ok(())
    }

    fn seal(&mut self) {
        let start = self.frames.len();
        frame::push(&self.batch, self.batch_first, &mut self.frames);
        let link = Link {
            index: self.batch_first,
            ..self.link
        };
        self.link = frame::seal(&mut self.frames[start..], link, 0, self.header.signature);
        self.batch.clear();
    }

    fn write(&mut self) -> Result<(), Failure> {
        write_all_at(self.file.as_ref(), self.end, &self.frames).at(Action::Write, &self.name)?;
        self.end += self.frames.len() as u64;
        self.frames.clear();
        Ok(())
    }

    /// Makes it durable, and then gives it its name.
    fn finish(&mut self, storage: &dyn Storage) -> Result<Segment, Failure> {
        self.seal();
        self.write()?;
        self.header.link = Link {
            index: self.first,
            ..Link::START
        };
        self.header.cold = Some(Extent {
            index_behind: self.link.index,
            frames: self.link.sequence - 1,
            records: self.records,
            end: self.end,
        });
        write_all_at(self.file.as_ref(), 0, &self.header.encode()).at(Action::Write, &self.name)?;
        self.file.sync_data().at(Action::Sync, &self.name)?;
        let name = cold_name(self.header.id);
        storage
            .rename(&self.name, &name)
            .at(Action::Rename, &name)?;
        storage.sync_dir().at(Action::Sync, &name)?;
        Ok(Segment {
            name,
            header: self.header,
            bytes: self.end,
        })
    }
}
