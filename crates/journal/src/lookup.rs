//! Reading records by their index, on any thread, while the log is written.

use std::io;
use std::sync::Arc;

use crate::error::{Action, Failure, Flaw, ReadFlaw};
use crate::frame::{self, FrameHeader};
use crate::log::Index;
use crate::reader::{Ahead, FrameFile, FrameReader};
use crate::segment::SegmentKind;
use crate::sparse::{Block, Sparse};
use crate::table::{Entry, Table};

/// Bytes read at once for a record that stands alone.
const SINGLE_BYTES: usize = 64 * 1024;
/// Bytes read at once for records that lie close together.
const RUN_BYTES: usize = 1024 * 1024;
/// A segment that goes while it is read sends the reader to look again; so often at most for one record.
const LOOKS_MAX: usize = 16;

/// Told of each record that was asked for.
pub type ReadVisit<'a> = dyn FnMut(Index, Result<&[u8], ReadFlaw>) + 'a;

/// Reads records of a [`crate::SegmentedLog`] by their index. Clones share what they know of the files.
///
/// It goes on reading when the log is closed or has failed, and holds the storage as long as it lives.
#[derive(Clone)]
pub struct LogReader {
    table: Arc<Table>,
}

impl LogReader {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self { table }
    }

    /// Calls `visit` for each of `indexes`, which ascend and are committed, in their order. What lies close together is
    /// read together, so many at once are much cheaper than one at a time.
    ///
    /// A record that cannot be read is a [`ReadFlaw`] of its own. The call as a whole fails only if the system has no
    /// file handle or memory to give; the records up to there were visited.
    pub fn read(&self, indexes: &[Index], visit: &mut ReadVisit<'_>) -> Result<(), Failure> {
        self.read_among(indexes, &|_| true, visit)
    }

    /// The same, but only from segments that `among` accepts.
    pub(crate) fn read_among(
        &self,
        indexes: &[Index],
        among: &dyn Fn(&Entry) -> bool,
        visit: &mut ReadVisit<'_>,
    ) -> Result<(), Failure> {
        debug_assert!(indexes.is_sorted(), "indexes ascend");
        let mut cursor = None;
        for at in 0..indexes.len() {
            self.read_first(&indexes[at..], among, &mut cursor, visit)?;
        }
        if let Some(cursor) = cursor {
            self.table.give_buffer(cursor.reader.into_buffer());
        }
        Ok(())
    }

    /// Reads the first of `indexes`; the others say what is worth reading with it.
    fn read_first(
        &self,
        indexes: &[Index],
        among: &dyn Fn(&Entry) -> bool,
        cursor: &mut Option<Cursor>,
        visit: &mut ReadVisit<'_>,
    ) -> Result<(), Failure> {
        let Some(&wanted) = indexes.first() else {
            return Ok(());
        };
        if let Some(cursor) = cursor.as_mut()
            && cursor.entry.covers(wanted.0)
            && let Ok(record) = cursor.record(indexes)
        {
            visit(wanted, Ok(record));
            return Ok(());
        }
        let mut flaw = ReadFlaw::Missing { index: wanted };
        for _ in 0..LOOKS_MAX {
            let mut went = false;
            for entry in self.table.candidates(wanted.0) {
                if !among(&entry) {
                    continue;
                }
                let result = match self.at_segment(cursor, &entry) {
                    Ok(cursor) => cursor.record(indexes),
                    Err(failure) if is_of_the_file(&failure) => {
                        Err(ReadFlaw::Unreadable { offset: 0, failure })
                    }
                    Err(_) if entry.is_gone() => Err(ReadFlaw::Missing { index: wanted }),
                    Err(failure) => return Err(failure),
                };
                match result {
                    Ok(record) => {
                        visit(wanted, Ok(record));
                        return Ok(());
                    }
                    // A file that was given to something else looks damaged.
                    Err(_) if entry.is_gone() => went = true,
                    Err(ReadFlaw::Missing { .. }) => {}
                    Err(damage) => flaw = damage,
                }
            }
            if !went {
                break;
            }
            flaw = ReadFlaw::Missing { index: wanted };
        }
        visit(wanted, Err(flaw));
        Ok(())
    }

    /// Has the cursor in a segment.
    fn at_segment<'a>(
        &self,
        cursor: &'a mut Option<Cursor>,
        entry: &Arc<Entry>,
    ) -> Result<&'a mut Cursor, Failure> {
        let here = |cursor: &Cursor| Arc::ptr_eq(&cursor.entry, entry);
        let cursor = match cursor.take() {
            Some(found) if here(&found) => cursor.insert(found),
            other => {
                let buffer = other.map(|other| other.reader.into_buffer());
                let buffer = buffer.unwrap_or_else(|| self.table.take_buffer());
                cursor.insert(self.open(entry, buffer)?)
            }
        };
        Ok(cursor)
    }

    fn open(&self, entry: &Arc<Entry>, buffer: Vec<u8>) -> Result<Cursor, Failure> {
        let file = FrameFile {
            file: self.table.file(entry)?,
            name: entry.name.clone(),
            len: entry.bytes,
            signature: entry.signature,
        };
        let mut reader = FrameReader::over(file, buffer);
        Ok(Cursor {
            entry: entry.clone(),
            places: self.places(entry, &mut reader)?,
            reader,
            frame: None,
            at: 0,
            at_index: 0,
            run_end: 0,
        })
    }

    /// Where the segment's frames lie; looks if nobody has.
    fn places(&self, entry: &Arc<Entry>, reader: &mut FrameReader) -> Result<Arc<Sparse>, Failure> {
        if let Some(places) = entry.places.lock().clone() {
            return Ok(places);
        }
        let places = Arc::new(Sparse::read(reader, entry.end())?);
        self.table.place(entry, places.clone());
        Ok(places)
    }
}

/// Whether it is this file that cannot be read, and not the system that has nothing to give.
fn is_of_the_file(failure: &Failure) -> bool {
    failure.action == Action::Read || failure.error.kind() == io::ErrorKind::NotFound
}

/// Where in a segment a reader is.
struct Cursor {
    entry: Arc<Entry>,
    /// As it was known when the reader came to this segment; all that was committed then is in it.
    places: Arc<Sparse>,
    reader: FrameReader,
    /// The frame whose payload was checked and is in the reader's buffer.
    frame: Option<FrameHeader>,
    /// Where the frame behind it begins, and no record of that one is below this index.
    at: u64,
    at_index: u64,
    /// Records are wanted from every block up to here.
    run_end: u64,
}

impl Cursor {
    /// The first of `indexes`.
    fn record(&mut self, indexes: &[Index]) -> Result<&[u8], ReadFlaw> {
        let index = indexes.first().map_or(0, |index| index.0);
        let missing = ReadFlaw::Missing {
            index: Index(index),
        };
        let holds =
            |frame: &FrameHeader| (frame.first_index..frame.index_behind()).contains(&index);
        let frame = match self.frame {
            Some(frame) if holds(&frame) => frame,
            _ => self.walk(index, indexes)?,
        };
        let place = u32::try_from(index - frame.first_index).unwrap_or(u32::MAX);
        frame::record(self.reader.payload(), frame.records, place).ok_or(missing)
    }

    /// Goes from header to header to the frame that holds a record, and reads it.
    fn walk(&mut self, index: u64, indexes: &[Index]) -> Result<FrameHeader, ReadFlaw> {
        self.frame = None;
        let missing = || ReadFlaw::Missing {
            index: Index(index),
        };
        let block = self.block(index, indexes).ok_or_else(missing)?;
        if self.at < block.start || index < self.at_index {
            (self.at, self.at_index) = (block.start, 0);
        }
        let header = loop {
            let header = self.header(self.at)?;
            if index < header.first_index {
                return Err(self.without(index));
            }
            if index < header.index_behind() {
                break header;
            }
            (self.at, self.at_index) = (self.at + header.bytes() as u64, header.index_behind());
        };
        let offset = self.at;
        let read = self.reader.frame_at(offset);
        self.judge(offset, read)?;
        self.frame = Some(header);
        (self.at, self.at_index) = (offset + header.bytes() as u64, header.index_behind());
        Ok(header)
    }

    /// What it means that a frame begins above the record that should come before it.
    fn without(&self, index: u64) -> ReadFlaw {
        match self.entry.reference.kind {
            SegmentKind::Cold => ReadFlaw::Missing {
                index: Index(index),
            },
            SegmentKind::Journal => ReadFlaw::Damaged {
                file: self.entry.name.clone(),
                offset: self.at,
                flaw: Flaw::OutOfOrder,
            },
        }
    }

    fn header(&mut self, offset: u64) -> Result<FrameHeader, ReadFlaw> {
        let read = self.reader.header_at(offset);
        self.judge(offset, read)
    }

    fn judge(
        &self,
        offset: u64,
        read: Result<Result<FrameHeader, Flaw>, Failure>,
    ) -> Result<FrameHeader, ReadFlaw> {
        match read {
            Ok(Ok(header)) => Ok(header),
            Ok(Err(flaw)) => Err(ReadFlaw::Damaged {
                file: self.entry.name.clone(),
                offset,
                flaw,
            }),
            Err(failure) => Err(ReadFlaw::Unreadable { offset, failure }),
        }
    }

    /// The block that holds a record. Sets how far it is worth to read ahead: over the blocks that follow without a gap
    /// and hold wanted records too.
    fn block(&mut self, index: u64, indexes: &[Index]) -> Option<Block> {
        let block = self.places.block(index)?;
        if block.end <= self.run_end {
            return Some(block);
        }
        let run_end = self.run(block, indexes);
        self.run_end = run_end;
        let bytes = if run_end > block.end {
            RUN_BYTES
        } else {
            SINGLE_BYTES
        };
        self.reader.read_ahead(Ahead {
            bytes,
            limit: run_end,
        });
        Some(block)
    }

    fn run(&self, first: Block, indexes: &[Index]) -> u64 {
        let mut last = first;
        for index in indexes
            .iter()
            .take_while(|index| self.entry.covers(index.0))
        {
            match self.places.block(index.0) {
                Some(block) if block.number <= last.number + 1 => last = block,
                _ => break,
            }
            if last.end - first.start >= RUN_BYTES as u64 {
                break;
            }
        }
        last.end
    }
}
