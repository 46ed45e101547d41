//! Frames: a batch as it lies on disk. The layout is in the crate's documentation.

use crate::batch::Batch;
use crate::error::Flaw;
use crate::le::{put, u32_at, u64_at};

/// Bytes before a frame's payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 64;
/// Every frame begins on a multiple of this.
pub(crate) const ALIGNMENT: usize = 8;
/// The largest payload, so that a reader may trust a length.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1024 * 1024 * 1024;

const MAGIC: [u8; 4] = *b"TFRM";
const BYTES_PER_END: usize = 4;

/// Where a log stands: what the next frame has to say of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    /// Sequence number of the next frame.
    pub(crate) sequence: u64,
    /// Index of the next record.
    pub(crate) index: u64,
    /// Tag of the frame before.
    pub(crate) tag: u64,
}

impl Link {
    /// Before the first frame of a store.
    pub(crate) const START: Self = Self {
        sequence: 1,
        index: 1,
        tag: 0,
    };

    pub(crate) fn leads_to(&self, frame: &FrameHeader) -> bool {
        *self
            == Self {
                sequence: frame.sequence,
                index: frame.first_index,
                tag: frame.tag_before,
            }
    }
}

impl Link {
    /// The same for cold segments, which have gaps.
    pub(crate) fn jumps_to(&self, frame: &FrameHeader) -> bool {
        let index = frame.first_index;
        self.index <= index && Self { index, ..*self }.leads_to(frame)
    }
}

/// A frame's header, read back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameHeader {
    pub(crate) payload_bytes: usize,
    pub(crate) payload_crc: u32,
    pub(crate) first_index: u64,
    pub(crate) records: u32,
    pub(crate) sequence: u64,
    pub(crate) tag_before: u64,
    pub(crate) synced: u64,
    header_crc: u32,
}

impl FrameHeader {
    /// Reads a header and believes nothing that its checksum does not cover.
    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER_BYTES], signature: u32) -> Result<Self, Flaw> {
        if bytes[..4] != MAGIC {
            return Err(Flaw::Magic);
        }
        let header_crc = u32_at(bytes, 4);
        if header_crc != crc32c::crc32c_append(signature, &bytes[8..]) {
            return Err(Flaw::HeaderChecksum);
        }
        let [shard, flags, reserved] = [28, 56, 60].map(|at| u32_at(bytes, at));
        if (shard, flags, reserved) != (0, 0, 0) {
            return Err(Flaw::Unknown);
        }
        let records = u32_at(bytes, 24);
        let payload_bytes = usize::try_from(u32_at(bytes, 8)).map_err(|_| Flaw::Length)?;
        let first_index = u64_at(bytes, 16);
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(Flaw::Length);
        }
        if records == 0 || first_index.checked_add(u64::from(records)).is_none() {
            return Err(Flaw::Records);
        }
        Ok(Self {
            payload_bytes,
            payload_crc: u32_at(bytes, 12),
            first_index,
            records,
            sequence: u64_at(bytes, 32),
            tag_before: u64_at(bytes, 40),
            synced: u64_at(bytes, 48),
            header_crc,
        })
    }

    /// Header, payload and padding.
    pub(crate) fn bytes(&self) -> usize {
        padded(FRAME_HEADER_BYTES + self.payload_bytes)
    }

    /// Index behind the last record.
    pub(crate) fn index_behind(&self) -> u64 {
        self.first_index + u64::from(self.records)
    }

    /// Where the log stands behind this frame.
    pub(crate) fn link_behind(&self) -> Link {
        Link {
            sequence: self.sequence.saturating_add(1),
            index: self.index_behind(),
            tag: tag(self.header_crc, self.payload_crc),
        }
    }

    /// Whether the payload is what was written, and its table of ends makes sense.
    pub(crate) fn check_payload(&self, payload: &[u8], signature: u32) -> Result<(), Flaw> {
        if crc32c::crc32c_append(signature, payload) != self.payload_crc {
            return Err(Flaw::PayloadChecksum);
        }
        let records = usize::try_from(self.records).map_err(|_| Flaw::Records)?;
        let table = records
            .checked_mul(BYTES_PER_END)
            .filter(|&table| table <= payload.len())
            .ok_or(Flaw::Records)?;
        let mut before = 0;
        for end in payload[..table].chunks_exact(BYTES_PER_END) {
            let end = u32_at(end, 0);
            if end < before {
                return Err(Flaw::Records);
            }
            before = end;
        }
        if usize::try_from(before) == Ok(payload.len() - table) {
            Ok(())
        } else {
            Err(Flaw::Records)
        }
    }
}

/// The record at `place` (from 0) of a payload that was checked. None behind the last.
pub(crate) fn record(payload: &[u8], records: u32, place: u32) -> Option<&[u8]> {
    if place >= records {
        return None;
    }
    let end_of = |place: u32| -> Option<usize> {
        let at = usize::try_from(place).ok()? * BYTES_PER_END;
        usize::try_from(u32_at(payload, at)).ok()
    };
    let start = match place.checked_sub(1) {
        None => 0,
        Some(before) => end_of(before)?,
    };
    payload
        .get(usize::try_from(records).ok()? * BYTES_PER_END..)?
        .get(start..end_of(place)?)
}

const fn tag(header_crc: u32, payload_crc: u32) -> u64 {
    (header_crc as u64) << 32 | payload_crc as u64
}

const fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

/// Bytes of the frame that a batch becomes. None if it is too large for one.
pub(crate) fn bytes_of(batch: &Batch) -> Option<usize> {
    frame_bytes(batch.len(), batch.byte_len())
}

fn frame_bytes(records: usize, bytes: usize) -> Option<usize> {
    u32::try_from(records).ok()?;
    let payload = records
        .checked_mul(BYTES_PER_END)?
        .checked_add(bytes)
        .filter(|&payload| payload <= PAYLOAD_BYTES_MAX)?;
    Some(padded(FRAME_HEADER_BYTES + payload))
}

/// Appends a batch as a frame whose checksums and links are still missing; [`seal`] puts them in. The batch has a
/// frame's size, see [`bytes_of`].
pub(crate) fn push(batch: &Batch, first_index: u64, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + FRAME_HEADER_BYTES, 0);
    for &end in batch.ends() {
        out.extend_from_slice(&le32(end));
    }
    out.extend_from_slice(batch.bytes());
    let payload = out.len() - start - FRAME_HEADER_BYTES;
    out.resize(start + padded(FRAME_HEADER_BYTES + payload), 0);
    let header = &mut out[start..start + FRAME_HEADER_BYTES];
    put(header, 0, &MAGIC);
    put(header, 8, &le32(payload));
    put(header, 16, &first_index.to_le_bytes());
    put(header, 24, &le32(batch.len()));
}

/// A number that [`bytes_of`] has found to be at most 1 GiB.
fn le32(number: usize) -> [u8; 4] {
    debug_assert!(u32::try_from(number).is_ok(), "checked by bytes_of");
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

/// Bytes of the frame that [`push`] put at the beginning of `frames`, and the index behind its last record.
pub(crate) fn pushed(frames: &[u8]) -> (usize, u64) {
    let payload = usize::try_from(u32_at(frames, 8)).unwrap_or(PAYLOAD_BYTES_MAX);
    let index_behind = u64_at(frames, 16) + u64::from(u32_at(frames, 24));
    (padded(FRAME_HEADER_BYTES + payload), index_behind)
}

/// Gives a frame, padding included, its place in the log. Returns where the log stands behind it.
pub(crate) fn seal(frame: &mut [u8], link: Link, synced: u64, signature: u32) -> Link {
    let (_, index_behind) = pushed(frame);
    let payload_bytes = usize::try_from(u32_at(frame, 8)).unwrap_or(PAYLOAD_BYTES_MAX);
    debug_assert_eq!(
        u64_at(frame, 16),
        link.index,
        "frames are sealed in the order of their records"
    );
    let (header, payload) = frame.split_at_mut(FRAME_HEADER_BYTES);
    let payload_crc = crc32c::crc32c_append(signature, &payload[..payload_bytes]);
    put(header, 12, &payload_crc.to_le_bytes());
    put(header, 32, &link.sequence.to_le_bytes());
    put(header, 40, &link.tag.to_le_bytes());
    put(header, 48, &synced.to_le_bytes());
    let header_crc = crc32c::crc32c_append(signature, &header[8..]);
    put(header, 4, &header_crc.to_le_bytes());
    Link {
        sequence: link.sequence + 1,
        index: index_behind,
        tag: tag(header_crc, payload_crc),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(records: &[&[u8]]) -> (Vec<u8>, Link) {
        let mut batch = Batch::new();
        for record in records {
            batch.record(|out| out.extend_from_slice(record));
        }
        let mut frame = Vec::new();
        push(&batch, 7, &mut frame);
        assert_eq!(bytes_of(&batch), Some(frame.len()));
        let link = Link {
            sequence: 3,
            index: 7,
            tag: 99,
        };
        let behind = seal(&mut frame, link, 2, 0xABCD);
        (frame, behind)
    }

    fn decode(frame: &[u8], signature: u32) -> Result<FrameHeader, Flaw> {
        let header = FrameHeader::decode(&crate::le::array_at(frame, 0), signature)?;
        let payload = &frame[FRAME_HEADER_BYTES..][..header.payload_bytes];
        header.check_payload(payload, signature)?;
        Ok(header)
    }

    #[test]
    fn a_frame_comes_back_as_it_was_sealed() {
        let (frame, behind) = sealed(&[b"one", b"", b"three"]);
        assert_eq!(frame.len() % ALIGNMENT, 0);
        let header = decode(&frame, 0xABCD).unwrap();
        assert_eq!(
            (header.sequence, header.synced, header.tag_before),
            (3, 2, 99)
        );
        assert_eq!(header.link_behind(), behind);
        assert_eq!(behind.index, 10);
        let payload = &frame[FRAME_HEADER_BYTES..][..header.payload_bytes];
        let records: Vec<_> = (0..4).map(|i| record(payload, header.records, i)).collect();
        assert_eq!(
            records,
            [Some(&b"one"[..]), Some(b""), Some(b"three"), None]
        );
    }

    #[test]
    fn a_batch_of_the_largest_size_fits_and_one_byte_more_does_not() {
        let most = PAYLOAD_BYTES_MAX - BYTES_PER_END;
        assert_eq!(
            frame_bytes(1, most),
            Some(FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX)
        );
        assert_eq!(frame_bytes(1, most + 1), None);
        assert_eq!(frame_bytes(PAYLOAD_BYTES_MAX / BYTES_PER_END + 1, 0), None);
        assert_eq!(frame_bytes(usize::MAX, 0), None);
    }

    #[test]
    fn every_flipped_bit_of_header_and_payload_is_noticed() {
        let (frame, _) = sealed(&[b"one", b"two"]);
        let covered = FRAME_HEADER_BYTES + 2 * BYTES_PER_END + 6;
        for bit in 0..covered * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, 0xABCD).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_segment_is_never_valid() {
        let (frame, _) = sealed(&[b"one"]);
        for bit in 0..32 {
            assert_eq!(
                decode(&frame, 0xABCD ^ (1 << bit)),
                Err(Flaw::HeaderChecksum)
            );
        }
    }

    #[test]
    fn ends_that_do_not_add_up_are_refused_under_valid_checksums() {
        for (at, value) in [(0, 9_u32), (4, 2), (4, 7), (0, u32::MAX)] {
            let (mut frame, _) = sealed(&[b"one", b"two"]);
            put(&mut frame, FRAME_HEADER_BYTES + at, &value.to_le_bytes());
            seal(
                &mut frame,
                Link {
                    sequence: 3,
                    index: 7,
                    tag: 99,
                },
                2,
                0xABCD,
            );
            assert_eq!(decode(&frame, 0xABCD), Err(Flaw::Records), "{at} {value}");
        }
    }

    #[test]
    fn more_records_than_the_payload_has_room_for_are_refused() {
        let (mut frame, _) = sealed(&[b"one"]);
        for records in [0, 2, u32::MAX] {
            put(&mut frame, 24, &records.to_le_bytes());
            let crc = crc32c::crc32c_append(0xABCD, &frame[8..FRAME_HEADER_BYTES]);
            put(&mut frame, 4, &crc.to_le_bytes());
            assert_eq!(decode(&frame, 0xABCD), Err(Flaw::Records), "{records}");
        }
    }

    #[test]
    fn shards_and_flags_of_later_versions_are_refused() {
        for at in [28, 56, 60] {
            let (mut frame, _) = sealed(&[b"one"]);
            frame[at] = 1;
            let crc = crc32c::crc32c_append(0xABCD, &frame[8..FRAME_HEADER_BYTES]);
            put(&mut frame, 4, &crc.to_le_bytes());
            assert_eq!(decode(&frame, 0xABCD), Err(Flaw::Unknown));
        }
    }
}
