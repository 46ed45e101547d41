//! Blocks of a checkpoint, and the files' names. The layout is in the crate's documentation.

use crate::error::Flaw;
use crate::le::{put, u32_at, u64_at};
use crate::options::StoreId;
use crate::pages::header::FileHeader;

/// The name of a checkpoint that is being written.
pub(super) const TEMPORARY: &str = "checkpoint.tmp";
/// Bytes before a block's payload.
pub(super) const BLOCK_HEADER_BYTES: usize = 40;
/// Bytes before each record in a block.
pub(super) const LENGTH_BYTES: usize = 4;
/// The largest payload of a block, so that a reader may trust a length.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Every block begins on a multiple of this.
const ALIGNMENT: usize = 8;
const FILE_MAGIC: [u8; 8] = *b"TERNCKPT";
const BLOCK_MAGIC: [u8; 4] = *b"TCKB";
const PREFIX: &str = "checkpoint-";
const DIGITS: usize = 20;
const KIND_RECORDS: u32 = 1;
const KIND_END: u32 = 2;
const END_PAYLOAD_BYTES: usize = 16;

pub(super) fn name_of(number: u64) -> String {
    format!("{PREFIX}{number:0DIGITS$}")
}

/// The number in a name, written exactly as [`name_of`] does.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix(PREFIX)?.parse().ok()?;
    (name_of(number) == name).then_some(number)
}

pub(super) const fn file_header(store: StoreId, number: u64) -> FileHeader {
    FileHeader {
        magic: FILE_MAGIC,
        store,
        number,
    }
}

/// Reads the header of the file with that name.
pub(super) fn decode_file_header(
    bytes: &[u8],
    file: &str,
) -> Result<FileHeader, crate::error::OpenError> {
    FileHeader::decode(bytes, FILE_MAGIC, file)
}

/// What a block says of where it belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link {
    /// Number of the block.
    pub(super) number: u64,
    /// Checksums of the block before.
    pub(super) tag: u64,
}

impl Link {
    pub(super) const START: Self = Self { number: 1, tag: 0 };
}

/// What was counted up to somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Totals {
    pub(super) records: u64,
    /// Without their lengths.
    pub(super) bytes: u64,
}

impl Totals {
    pub(super) fn add(&mut self, record: &[u8]) {
        self.records += 1;
        self.bytes += record.len() as u64;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Records(u32),
    End,
}

/// A block's header, read back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Block {
    pub(super) payload_bytes: usize,
    pub(super) kind: Kind,
    payload_crc: u32,
    header_crc: u32,
    link: Link,
}

impl Block {
    /// Reads a header and believes nothing that its checksum does not cover. `link` is where it has to belong.
    pub(super) fn decode(bytes: &[u8], link: Link, signature: u32) -> Result<Self, Flaw> {
        if bytes.len() < BLOCK_HEADER_BYTES {
            return Err(Flaw::EndOfFile);
        }
        if bytes[..4] != BLOCK_MAGIC {
            return Err(Flaw::Magic);
        }
        let header_crc = u32_at(bytes, 4);
        if header_crc != crc32c::crc32c_append(signature, &bytes[8..BLOCK_HEADER_BYTES]) {
            return Err(Flaw::HeaderChecksum);
        }
        let kind = match (u32_at(bytes, 36), u32_at(bytes, 32)) {
            (KIND_RECORDS, 0) => return Err(Flaw::Records),
            (KIND_RECORDS, records) => Kind::Records(records),
            (KIND_END, 0) => Kind::End,
            _ => return Err(Flaw::Unknown),
        };
        let block = Self {
            payload_bytes: usize::try_from(u32_at(bytes, 8)).map_err(|_| Flaw::Length)?,
            kind,
            payload_crc: u32_at(bytes, 12),
            header_crc,
            link: Link {
                number: u64_at(bytes, 16),
                tag: u64_at(bytes, 24),
            },
        };
        if block.payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(Flaw::Length);
        }
        if block.link != link {
            return Err(Flaw::OutOfOrder);
        }
        Ok(block)
    }

    /// Header, payload and padding.
    pub(super) fn bytes(&self) -> u64 {
        padded(BLOCK_HEADER_BYTES + self.payload_bytes) as u64
    }

    /// Where the next block has to belong.
    pub(super) fn link_behind(&self) -> Link {
        Link {
            number: self.link.number.saturating_add(1),
            tag: tag(self.header_crc, self.payload_crc),
        }
    }

    /// Whether the payload is what was written, and its records fill it.
    pub(super) fn check_payload(&self, payload: &[u8], signature: u32) -> Result<(), Flaw> {
        if payload.len() != self.payload_bytes {
            return Err(Flaw::EndOfFile);
        }
        if crc32c::crc32c_append(signature, payload) != self.payload_crc {
            return Err(Flaw::PayloadChecksum);
        }
        let Kind::Records(records) = self.kind else {
            return Ok(());
        };
        let mut rest = payload;
        for _ in 0..records {
            (_, rest) = split_record(rest).ok_or(Flaw::Records)?;
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(Flaw::Records)
        }
    }
}

/// The first record of a payload, and what follows it.
pub(super) fn split_record(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = payload.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// What the last block says was written.
pub(super) fn decode_end(payload: &[u8]) -> Option<Totals> {
    (payload.len() == END_PAYLOAD_BYTES).then(|| Totals {
        records: u64_at(payload, 0),
        bytes: u64_at(payload, 8),
    })
}

/// The payload of the last block.
pub(super) fn encode_end(totals: Totals) -> [u8; END_PAYLOAD_BYTES] {
    let mut bytes = [0; END_PAYLOAD_BYTES];
    put(&mut bytes, 0, &totals.records.to_le_bytes());
    put(&mut bytes, 8, &totals.bytes.to_le_bytes());
    bytes
}

/// Fills in the header of a block, for which there is room before the payload, and pads it. The payload has at most
/// [`PAYLOAD_BYTES_MAX`] bytes. Returns where the next one has to belong.
pub(super) fn seal(block: &mut Vec<u8>, kind: Kind, link: Link, signature: u32) -> Link {
    let (header, payload) = block.split_at_mut(BLOCK_HEADER_BYTES);
    let payload_crc = crc32c::crc32c_append(signature, payload);
    let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let (kind, records) = match kind {
        Kind::Records(records) => (KIND_RECORDS, records),
        Kind::End => (KIND_END, 0),
    };
    put(header, 0, &BLOCK_MAGIC);
    put(header, 8, &bytes.to_le_bytes());
    put(header, 12, &payload_crc.to_le_bytes());
    put(header, 16, &link.number.to_le_bytes());
    put(header, 24, &link.tag.to_le_bytes());
    put(header, 32, &records.to_le_bytes());
    put(header, 36, &kind.to_le_bytes());
    let header_crc = crc32c::crc32c_append(signature, &header[8..]);
    put(header, 4, &header_crc.to_le_bytes());
    block.resize(padded(block.len()), 0);
    Link {
        number: link.number + 1,
        tag: tag(header_crc, payload_crc),
    }
}

const fn tag(header_crc: u32, payload_crc: u32) -> u64 {
    (header_crc as u64) << 32 | payload_crc as u64
}

const fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}
