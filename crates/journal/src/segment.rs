//! Segment files: their names and headers. The layout is in the crate's documentation.

use crate::error::Flaw;
use crate::frame::Link;
use crate::le::{array_at, put, u16_at, u32_at, u64_at};
use crate::options::StoreId;

/// Bytes before the first frame.
pub(crate) const HEADER_BYTES: usize = 4096;

const MAGIC: [u8; 8] = *b"TERNSEGM";
/// Version of every format of this crate.
pub(crate) const FORMAT_VERSION: u16 = 1;
/// No number of anything gets this far by counting, so counting on never overflows.
pub(crate) const COUNT_MAX: u64 = 1 << 62;
const KIND_JOURNAL: u8 = 1;
const CRC_AT: usize = HEADER_BYTES - 4;

const SEGMENT_PREFIX: &str = "seg-";
const SEGMENT_DIGITS: usize = 20;
const SPARE_PREFIX: &str = "spare-";
const SPARE_DIGITS: usize = 10;

pub(crate) fn segment_name(id: u64) -> String {
    format!("{SEGMENT_PREFIX}{id:0SEGMENT_DIGITS$}")
}

pub(crate) fn spare_name(number: u64) -> String {
    format!("{SPARE_PREFIX}{number:0SPARE_DIGITS$}")
}

/// The id in a segment's name, written exactly as [`segment_name`] does.
pub(crate) fn segment_id(name: &str) -> Option<u64> {
    let id = name.strip_prefix(SEGMENT_PREFIX)?.parse().ok()?;
    (segment_name(id) == name).then_some(id)
}

/// The number in a spare's name.
pub(crate) fn spare_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix(SPARE_PREFIX)?.parse().ok()?;
    (spare_name(number) == name).then_some(number)
}

/// What a segment says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) store: StoreId,
    pub(crate) id: u64,
    pub(crate) signature: u32,
    /// Where the log stood when the segment began.
    pub(crate) link: Link,
}

/// Why a header cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BadHeader {
    Flawed(Flaw),
    NeedsReader(u16),
}

impl SegmentHeader {
    /// A new segment's header. The signature is different for every segment of every store.
    pub(crate) fn new(store: StoreId, id: u64, link: Link) -> Self {
        let signature = crc32c::crc32c_append(crc32c::crc32c(&store.0), &id.to_le_bytes());
        Self {
            store,
            id,
            signature,
            link,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 10, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 12, &[KIND_JOURNAL]);
        put(&mut bytes, 16, &self.store.0);
        put(&mut bytes, 32, &self.id.to_le_bytes());
        put(&mut bytes, 40, &self.signature.to_le_bytes());
        put(&mut bytes, 48, &self.link.sequence.to_le_bytes());
        put(&mut bytes, 56, &self.link.index.to_le_bytes());
        put(&mut bytes, 64, &self.link.tag.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        if bytes.len() < HEADER_BYTES {
            return Err(BadHeader::Flawed(Flaw::EndOfFile));
        }
        if bytes[..8] != MAGIC {
            return Err(BadHeader::Flawed(Flaw::Magic));
        }
        if u32_at(bytes, CRC_AT) != crc32c::crc32c(&bytes[..CRC_AT]) {
            return Err(BadHeader::Flawed(Flaw::HeaderChecksum));
        }
        let needs = u16_at(bytes, 10);
        if needs > FORMAT_VERSION {
            return Err(BadHeader::NeedsReader(needs));
        }
        let link = Link {
            sequence: u64_at(bytes, 48),
            index: u64_at(bytes, 56),
            tag: u64_at(bytes, 64),
        };
        let counted = |number: u64| (1..COUNT_MAX).contains(&number);
        if bytes[12] != KIND_JOURNAL || !counted(link.sequence) || !counted(link.index) {
            return Err(BadHeader::Flawed(Flaw::Unknown));
        }
        Ok(Self {
            store: StoreId(array_at(bytes, 16)),
            id: u64_at(bytes, 32),
            signature: u32_at(bytes, 40),
            link,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        store: StoreId([7; 16]),
        id: 42,
        signature: 0xDEAD_BEEF,
        link: Link {
            sequence: 5,
            index: 9,
            tag: 11,
        },
    };

    #[test]
    fn a_header_comes_back_and_damage_is_noticed() {
        let bytes = HEADER.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(HEADER));
        for at in (0..80).chain([2000, CRC_AT, HEADER_BYTES - 1]) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(SegmentHeader::decode(&damaged).is_err(), "byte {at}");
        }
        assert_eq!(
            SegmentHeader::decode(&bytes[..HEADER_BYTES - 1]),
            Err(BadHeader::Flawed(Flaw::EndOfFile))
        );
    }

    #[test]
    fn a_header_for_later_readers_is_refused_as_such() {
        let mut bytes = HEADER.encode();
        put(&mut bytes, 10, &2_u16.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        assert_eq!(
            SegmentHeader::decode(&bytes),
            Err(BadHeader::NeedsReader(2))
        );
    }

    #[test]
    fn numbers_that_counting_never_reaches_are_refused() {
        let at = |sequence, index| {
            let link = Link {
                sequence,
                index,
                tag: 0,
            };
            SegmentHeader::decode(&SegmentHeader { link, ..HEADER }.encode()).is_ok()
        };
        assert!(at(1, 1) && at(COUNT_MAX - 1, COUNT_MAX - 1));
        assert!(!at(0, 1) && !at(1, 0) && !at(COUNT_MAX, 1) && !at(1, COUNT_MAX));
    }

    #[test]
    fn only_names_as_we_write_them_are_ours() {
        assert_eq!(segment_id(&segment_name(42)), Some(42));
        assert_eq!(segment_id(&segment_name(u64::MAX)), Some(u64::MAX));
        assert_eq!(spare_number(&spare_name(3)), Some(3));
        for name in [
            "seg-42",
            "seg-000000000000000000+1",
            "seg-",
            "segment",
            "LOCK",
        ] {
            assert_eq!(segment_id(name), None, "{name}");
            assert_eq!(spare_number(name), None, "{name}");
        }
    }

    #[test]
    fn signatures_differ_between_segments_and_stores() {
        let signature =
            |store, id| SegmentHeader::new(StoreId([store; 16]), id, Link::START).signature;
        let mut seen: Vec<u32> = (0..4)
            .flat_map(|store| (0..1000).map(move |id| signature(store, id)))
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 4000);
    }
}
