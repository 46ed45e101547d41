//! Where in a segment its frames lie, to within about 64 KiB.

use crate::error::Failure;
use crate::frame::FrameHeader;
use crate::reader::FrameReader;
use crate::segment::HEADER_BYTES;

/// A place is remembered once in so many bytes.
const BLOCK_BYTES: u64 = 64 * 1024;

/// Places of frames, ascending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sparse {
    places: Vec<Place>,
    /// Where the last frame ends.
    end: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// Index of the frame's first record.
    pub(crate) first: u64,
    /// Where the frame begins in the file.
    pub(crate) offset: u64,
}

/// Frames from one place to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Block {
    pub(crate) number: usize,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Sparse {
    /// A frame that lies behind all others.
    pub(crate) fn note(&mut self, first: u64, offset: u64, bytes: u64) {
        let last = self.places.last();
        if last.is_none_or(|last| offset - last.offset >= BLOCK_BYTES) {
            self.places.push(Place { first, offset });
        }
        self.end = offset + bytes;
    }

    /// Remembers a frame's place in any case.
    fn note_exactly(&mut self, frame: &FrameHeader, offset: u64) {
        self.places.push(Place {
            first: frame.first_index,
            offset,
        });
        self.end = offset + frame.bytes() as u64;
    }

    /// The block in which a record lies, if it lies in this segment.
    pub(crate) fn block(&self, index: u64) -> Option<Block> {
        let behind = self.places.partition_point(|place| place.first <= index);
        let number = behind.checked_sub(1)?;
        Some(Block {
            number,
            start: self.places[number].offset,
            end: self.places.get(behind).map_or(self.end, |next| next.offset),
        })
    }

    /// Reads the headers of all frames up to the one that ends before `index_behind`.
    ///
    /// A header that is damaged hides its frame, and those behind it up to the next valid header of this segment: that one
    /// is looked for in every place, and remembered, so that only records between are lost.
    pub(crate) fn read(reader: &mut FrameReader, index_behind: u64) -> Result<Self, Failure> {
        let mut found = Self {
            places: Vec::new(),
            end: HEADER_BYTES as u64,
        };
        let mut sequence = 0;
        let mut index = 0;
        while index < index_behind {
            let offset = found.end;
            match reader.header_at(offset)? {
                Ok(frame) if frame.sequence > sequence && frame.first_index >= index => {
                    found.note(frame.first_index, offset, frame.bytes() as u64);
                    (sequence, index) = (frame.sequence, frame.index_behind());
                }
                _ => {
                    if found.places.is_empty() {
                        // So that who looks for the records that should be here finds the damage.
                        found.note(0, offset, 0);
                    }
                    match reader.next_header(offset, sequence, index)? {
                        None => break,
                        Some((at, frame)) => {
                            found.note_exactly(&frame, at);
                            (sequence, index) = (frame.sequence, frame.index_behind());
                        }
                    }
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_remembered_once_in_64_kib() {
        let mut sparse = Sparse::default();
        for frame in 0..100 {
            sparse.note(1 + frame * 10, 4096 + frame * 10_000, 10_000);
        }
        assert_eq!(sparse.places.len(), 15);
        assert_eq!(sparse.block(0), None);
        let first = Block {
            number: 0,
            start: 4096,
            end: 4096 + 70_000,
        };
        assert_eq!(sparse.block(1), Some(first));
        assert_eq!(sparse.block(70), Some(first));
        let last = sparse.block(u64::MAX).unwrap();
        assert_eq!((last.number, last.end), (14, 4096 + 1_000_000));
    }
}
