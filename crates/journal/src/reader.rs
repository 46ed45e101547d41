//! Reading segments: one frame after the other, with bounded memory.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Action, At as _, Failure, Flaw, OpenError};
use crate::frame::{self, ALIGNMENT, FRAME_HEADER_BYTES, FrameHeader, Link};
use crate::le::array_at;
use crate::log::Index;
use crate::segment::HEADER_BYTES;
use crate::storage::{Storage, StorageFile, read_full_at};
use crate::survey::Segment;

const READ_AHEAD_BYTES: usize = 256 * 1024;
/// A buffer that one giant frame made larger than this is given back after it.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads frames of one segment. Holds as much as one frame needs, and a little more.
pub(crate) struct FrameReader {
    file: Arc<dyn StorageFile>,
    name: String,
    len: u64,
    signature: u32,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    start: u64,
    /// Where in the buffer the payload of the last frame lies.
    payload: std::ops::Range<usize>,
    ahead: Ahead,
}

/// How much is read at once, beyond what is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    pub(crate) bytes: usize,
    /// Nothing behind this place is read in advance.
    pub(crate) limit: u64,
}

/// The file of a segment, and what makes its frames valid.
pub(crate) struct FrameFile {
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) name: String,
    pub(crate) len: u64,
    pub(crate) signature: u32,
}

impl FrameReader {
    pub(crate) fn open(storage: &dyn Storage, segment: &Segment) -> Result<Self, Failure> {
        let file = storage
            .open(&segment.name)
            .at(Action::Open, &segment.name)?;
        let file = FrameFile {
            file: Arc::from(file),
            name: segment.name.clone(),
            len: segment.bytes,
            signature: segment.header.signature,
        };
        Ok(Self::over(file, Vec::new()))
    }

    /// Reads a file that is open, with a buffer that was used before or was not.
    pub(crate) fn over(file: FrameFile, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self {
            file: file.file,
            name: file.name,
            len: file.len,
            signature: file.signature,
            buffer,
            start: 0,
            payload: 0..0,
            ahead: Ahead {
                bytes: READ_AHEAD_BYTES,
                limit: u64::MAX,
            },
        }
    }

    pub(crate) fn read_ahead(&mut self, ahead: Ahead) {
        self.ahead = ahead;
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The frame at an offset, if there is a valid one.
    pub(crate) fn frame_at(&mut self, offset: u64) -> Result<Result<FrameHeader, Flaw>, Failure> {
        self.payload = 0..0;
        let header = match self.header_at(offset)? {
            Ok(header) => header,
            Err(flaw) => return Ok(Err(flaw)),
        };
        let bytes = FRAME_HEADER_BYTES + header.payload_bytes;
        if self.len - offset < bytes as u64 {
            return Ok(Err(Flaw::Length));
        }
        let Some(at) = self.fill(offset, bytes)? else {
            return Ok(Err(Flaw::EndOfFile));
        };
        let payload = at + FRAME_HEADER_BYTES..at + bytes;
        if let Err(flaw) = header.check_payload(&self.buffer[payload.clone()], self.signature) {
            return Ok(Err(flaw));
        }
        self.payload = payload;
        Ok(Ok(header))
    }

    /// The payload of the frame that was read last, if it was valid.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.buffer[self.payload.clone()]
    }

    /// Looks at every place from `offset` on for a header of this segment's present life, whatever follows it. Returns
    /// the highest sequence number that one of them knows to be on disk, and where the last of them ends.
    pub(crate) fn search(&mut self, mut offset: u64) -> Result<Traces, Failure> {
        let mut traces = Traces::default();
        while offset < self.len {
            if let Ok(header) = self.header_at(offset)? {
                traces.synced = traces.synced.max(header.synced);
                traces.end = offset + FRAME_HEADER_BYTES as u64;
            }
            offset += ALIGNMENT as u64;
        }
        Ok(traces)
    }

    /// The next place behind `offset` with a header of a later frame: of a higher sequence number, whose first index
    /// is not below `index`.
    pub(crate) fn next_header(
        &mut self,
        mut offset: u64,
        sequence: u64,
        index: u64,
    ) -> Result<Option<(u64, FrameHeader)>, Failure> {
        loop {
            offset = offset.saturating_add(ALIGNMENT as u64);
            if offset >= self.len {
                return Ok(None);
            }
            if let Ok(header) = self.header_at(offset)?
                && header.sequence > sequence
                && header.first_index >= index
            {
                return Ok(Some((offset, header)));
            }
        }
    }

    /// The header at an offset, if there is a valid one. What was read before is gone.
    pub(crate) fn header_at(&mut self, offset: u64) -> Result<Result<FrameHeader, Flaw>, Failure> {
        let Some(at) = self.fill(offset, FRAME_HEADER_BYTES)? else {
            return Ok(Err(Flaw::EndOfFile));
        };
        Ok(FrameHeader::decode(
            &array_at(&self.buffer, at),
            self.signature,
        ))
    }

    /// Has `bytes` bytes from an offset in the buffer and returns where in it. None if the file is shorter.
    fn fill(&mut self, offset: u64, bytes: usize) -> Result<Option<usize>, Failure> {
        if offset > self.len || self.len - offset < bytes as u64 {
            return Ok(None);
        }
        if let Some(at) = offset
            .checked_sub(self.start)
            .and_then(|at| usize::try_from(at).ok())
            && at
                .checked_add(bytes)
                .is_some_and(|end| end <= self.buffer.len())
        {
            return Ok(Some(at));
        }
        let left = usize::try_from(self.len - offset).unwrap_or(usize::MAX);
        let before_limit = self.ahead.limit.saturating_sub(offset);
        let ahead = usize::try_from(before_limit).unwrap_or(usize::MAX);
        let wanted = bytes.max(self.ahead.bytes.min(ahead)).min(left);
        if self.buffer.capacity() > KEPT_BYTES_MAX && wanted <= READ_AHEAD_BYTES {
            self.buffer = Vec::new();
        }
        let read = match self.read(offset, wanted) {
            // What was only read in advance may be what cannot be read.
            Err(_) if wanted > bytes => self.read(offset, bytes)?,
            read => read?,
        };
        Ok((read >= bytes).then_some(0))
    }

    fn read(&mut self, offset: u64, bytes: usize) -> Result<usize, Failure> {
        self.buffer.resize(bytes, 0);
        let read = read_full_at(self.file.as_ref(), offset, &mut self.buffer);
        self.buffer.truncate(*read.as_ref().unwrap_or(&0));
        self.start = offset;
        read.at(Action::Read, &self.name)
    }
}

/// What lies behind the end of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Traces {
    /// The highest sequence number that is said to be on disk.
    pub(crate) synced: u64,
    /// Where the last header ends; 0 if there is none.
    pub(crate) end: u64,
}

/// The records that a log held when it was opened, in order.
///
/// Each call reads at most one frame from the disk. Damage in earlier segments is found here, when they are read; the
/// last segment was checked when the log was opened. Read what you need before you drop it
/// ([`crate::SegmentedLog::drop_segments`]).
pub struct Recovered {
    storage: Arc<dyn Storage>,
    /// Segments still to be read, the present one first.
    segments: VecDeque<Segment>,
    reader: Option<FrameReader>,
    offset: u64,
    link: Link,
    /// Where the log stood when it was opened.
    end: Link,
    from: u64,
    frame: Option<FrameHeader>,
    place: u32,
}

impl Recovered {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        segments: &[Segment],
        end: Link,
        from: Option<Index>,
    ) -> Result<Self, OpenError> {
        let first = segments.first().map_or(end.index, |s| s.header.link.index);
        let from = from.map_or(first, |from| from.0);
        if from < first {
            return Err(OpenError::Released {
                wanted: Index(from),
                first: Index(first),
            });
        }
        if from > end.index {
            return Err(OpenError::TooShort {
                wanted: Index(from),
                last: Index(end.index - 1),
            });
        }
        // The last segment that begins at or before the first record that is wanted.
        let skipped = segments
            .partition_point(|s| s.header.link.index <= from)
            .saturating_sub(1);
        let segments: VecDeque<_> = segments[skipped.min(segments.len())..]
            .iter()
            .cloned()
            .collect();
        Ok(Self {
            storage,
            offset: HEADER_BYTES as u64,
            link: segments.front().map_or(end, |s| s.header.link),
            segments,
            reader: None,
            end,
            from,
            frame: None,
            place: 0,
        })
    }

    /// The last record there is; 0 if there is none.
    pub fn last(&self) -> Index {
        Index(self.end.index - 1)
    }

    /// The next record and its index. None after the last.
    pub fn next_record(&mut self) -> Result<Option<(Index, &[u8])>, OpenError> {
        let (index, records) = loop {
            if let Some(frame) = self.frame
                && self.place < frame.records
            {
                let index = frame.first_index + u64::from(self.place);
                self.place += 1;
                if index >= self.from {
                    break (index, frame.records);
                }
            } else if !self.next_frame()? {
                return Ok(None);
            }
        };
        let payload = self.reader.as_ref().map_or(&[][..], FrameReader::payload);
        let record = frame::record(payload, records, self.place - 1).unwrap_or_default();
        Ok(Some((Index(index), record)))
    }

    /// Reads the next frame. False at the end.
    fn next_frame(&mut self) -> Result<bool, OpenError> {
        self.frame = None;
        while self.link != self.end {
            let Some(segment) = self.segments.front() else {
                return Ok(false);
            };
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => none.insert(FrameReader::open(self.storage.as_ref(), segment)?),
            };
            let flaw = match reader.frame_at(self.offset)? {
                Ok(frame) if self.link.leads_to(&frame) => {
                    self.link = frame.link_behind();
                    self.offset += frame.bytes() as u64;
                    self.frame = Some(frame);
                    self.place = 0;
                    return Ok(true);
                }
                Ok(_) => Flaw::OutOfOrder,
                Err(flaw) => flaw,
            };
            // The end of a segment is where the next one says that it begins.
            if self.segments.get(1).map(|next| next.header.link) != Some(self.link) {
                return Err(OpenError::Damaged {
                    file: segment.name.clone(),
                    offset: self.offset,
                    flaw,
                });
            }
            self.segments.pop_front();
            self.reader = None;
            self.offset = HEADER_BYTES as u64;
        }
        Ok(false)
    }
}
