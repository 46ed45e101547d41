//! Segment files: their names and headers. The layout is in the crate's documentation.

use crate::error::Flaw;
use crate::frame::Link;
use crate::le::{array_at, put, u16_at, u32_at, u64_at};
use crate::log::Index;
use crate::options::StoreId;

/// Bytes before the first frame.
pub(crate) const HEADER_BYTES: usize = 4096;

const MAGIC: [u8; 8] = *b"TERNSEGM";
/// Version of every format of this crate.
pub(crate) const FORMAT_VERSION: u16 = 1;
/// No number of anything gets this far by counting, so counting on never overflows.
pub(crate) const COUNT_MAX: u64 = 1 << 62;
const KIND_JOURNAL: u8 = 1;
const KIND_COLD: u8 = 2;
const CRC_AT: usize = HEADER_BYTES - 4;

const SEGMENT_PREFIX: &str = "seg-";
const SEGMENT_DIGITS: usize = 20;
const COLD_PREFIX: &str = "cold-";
const COPY_PREFIX: &str = "copy-";
const SPARE_PREFIX: &str = "spare-";
const SPARE_DIGITS: usize = 10;

pub(crate) fn segment_name(id: u64) -> String {
    format!("{SEGMENT_PREFIX}{id:0SEGMENT_DIGITS$}")
}

pub(crate) fn spare_name(number: u64) -> String {
    format!("{SPARE_PREFIX}{number:0SPARE_DIGITS$}")
}

pub(crate) fn cold_name(id: u64) -> String {
    format!("{COLD_PREFIX}{id:0SEGMENT_DIGITS$}")
}

/// The name of a cold segment that is being made.
pub(crate) fn copy_name(id: u64) -> String {
    format!("{COPY_PREFIX}{id:0SEGMENT_DIGITS$}")
}

/// What a segment is. The two kinds count their ids for themselves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SegmentKind {
    /// Records in the order they were appended in, without gaps.
    Journal,
    /// Records that were copied out of other segments, with gaps.
    Cold,
}

/// Which segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentRef {
    /// Its kind.
    pub kind: SegmentKind,
    /// Its number among those of its kind.
    pub id: u64,
}

impl SegmentKind {
    /// Its number in segments' headers and in the owner's records.
    pub const fn number(self) -> u8 {
        match self {
            Self::Journal => 1,
            Self::Cold => 2,
        }
    }
}

/// What the owner of a log keeps in its checkpoint of each segment outside the chain that it needs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct KeptSegment {
    /// Which one.
    pub segment: SegmentRef,
    /// Where its records end, from [`crate::SegmentInfo::end`]. Of a segment whose successor is gone nothing else says
    /// so.
    pub end: Index,
}

impl SegmentRef {
    /// The reference of that id and number of a kind.
    pub const fn from_numbers(id: u64, kind: u8) -> Option<Self> {
        let kind = match kind {
            1 => SegmentKind::Journal,
            2 => SegmentKind::Cold,
            _ => return None,
        };
        Some(Self { kind, id })
    }

    /// The file's name.
    pub fn file(&self) -> String {
        match self.kind {
            SegmentKind::Journal => segment_name(self.id),
            SegmentKind::Cold => cold_name(self.id),
        }
    }
}

/// The id in a segment's name, written exactly as [`segment_name`] does.
pub(crate) fn segment_id(name: &str) -> Option<u64> {
    let id = name.strip_prefix(SEGMENT_PREFIX)?.parse().ok()?;
    (segment_name(id) == name).then_some(id)
}

/// The id in a cold segment's name.
pub(crate) fn cold_id(name: &str) -> Option<u64> {
    let id = name.strip_prefix(COLD_PREFIX)?.parse().ok()?;
    (cold_name(id) == name).then_some(id)
}

/// The id in the name of a cold segment that is being made.
pub(crate) fn copy_id(name: &str) -> Option<u64> {
    let id = name.strip_prefix(COPY_PREFIX)?.parse().ok()?;
    (copy_name(id) == name).then_some(id)
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
    /// What a cold segment holds.
    pub(crate) cold: Option<Extent>,
}

/// What a cold segment holds, known when it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    /// Index behind the last record.
    pub(crate) index_behind: u64,
    pub(crate) frames: u64,
    pub(crate) records: u64,
    /// Where the frames end in the file.
    pub(crate) end: u64,
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
            cold: None,
        }
    }

    /// A new cold segment's header; its extent is yet to be known.
    pub(crate) fn new_cold(store: StoreId, id: u64) -> Self {
        let header = Self::new(store, id, Link::START);
        let signature = crc32c::crc32c_append(header.signature, COLD_PREFIX.as_bytes());
        Self {
            signature,
            ..header
        }
    }

    pub(crate) fn kind(&self) -> SegmentKind {
        match self.cold {
            None => SegmentKind::Journal,
            Some(_) => SegmentKind::Cold,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 10, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 12, &[KIND_JOURNAL]);
        if let Some(extent) = self.cold {
            put(&mut bytes, 12, &[KIND_COLD]);
            put(&mut bytes, 72, &extent.index_behind.to_le_bytes());
            put(&mut bytes, 80, &extent.frames.to_le_bytes());
            put(&mut bytes, 88, &extent.records.to_le_bytes());
            put(&mut bytes, 96, &extent.end.to_le_bytes());
        }
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
        let cold = match bytes[12] {
            KIND_JOURNAL => Some(None),
            KIND_COLD => Extent::decode(bytes, link.index).map(Some),
            _ => None,
        };
        let Some(cold) = cold.filter(|_| counted(link.sequence) && counted(link.index)) else {
            return Err(BadHeader::Flawed(Flaw::Unknown));
        };
        Ok(Self {
            cold,
            store: StoreId(array_at(bytes, 16)),
            id: u64_at(bytes, 32),
            signature: u32_at(bytes, 40),
            link,
        })
    }
}

impl Extent {
    fn decode(bytes: &[u8], first: u64) -> Option<Self> {
        let extent = Self {
            index_behind: u64_at(bytes, 72),
            frames: u64_at(bytes, 80),
            records: u64_at(bytes, 88),
            end: u64_at(bytes, 96),
        };
        let sound = (first.saturating_add(1)..COUNT_MAX).contains(&extent.index_behind)
            && (1..=extent.index_behind - first).contains(&extent.records)
            && (1..=extent.records).contains(&extent.frames)
            && (HEADER_BYTES as u64..COUNT_MAX).contains(&extent.end);
        sound.then_some(extent)
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
        cold: None,
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
    fn a_cold_header_comes_back_and_contradictions_are_refused() {
        let extent = Extent {
            index_behind: 30,
            frames: 2,
            records: 5,
            end: 9000,
        };
        let cold = |extent| {
            let header = SegmentHeader {
                cold: Some(extent),
                ..HEADER
            };
            (header, SegmentHeader::decode(&header.encode()))
        };
        let (header, decoded) = cold(extent);
        assert_eq!(decoded, Ok(header));
        for bad in [
            Extent {
                index_behind: 9,
                ..extent
            },
            Extent {
                records: 22,
                ..extent
            },
            Extent {
                records: 1,
                ..extent
            },
            Extent {
                frames: 0,
                ..extent
            },
            Extent { end: 12, ..extent },
        ] {
            assert!(cold(bad).1.is_err(), "{bad:?}");
        }
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
        assert_eq!(cold_id(&cold_name(3)), Some(3));
        assert_eq!(copy_id(&copy_name(3)), Some(3));
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
