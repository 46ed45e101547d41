//! Pages as they lie in a file, and the files' names. The layout is in the crate's documentation.

use super::Place;
use super::header::FileHeader;
use crate::error::Flaw;
use crate::le::{put, u32_at, u64_at};
use crate::options::StoreId;

/// Bytes before a page's payload.
pub(super) const PAGE_HEADER_BYTES: usize = 32;
/// The largest page, so that a reader may trust a length.
pub(super) const PAGE_BYTES_MAX: u32 = 1024 * 1024 * 1024;

/// Every page begins on a multiple of this.
const ALIGNMENT: u64 = 8;
const FILE_MAGIC: [u8; 8] = *b"TERNPAGE";
const PAGE_MAGIC: [u8; 4] = *b"TPAG";
const PREFIX: &str = "pages-";
const DIGITS: usize = 10;

pub(super) fn name_of(number: u32) -> String {
    format!("{PREFIX}{number:0DIGITS$}")
}

/// The number in a name, written exactly as [`name_of`] does.
pub(super) fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_prefix(PREFIX)?.parse().ok()?;
    (name_of(number) == name).then_some(number)
}

pub(super) fn file_header(store: StoreId, number: u32) -> FileHeader {
    FileHeader {
        magic: FILE_MAGIC,
        store,
        number: number.into(),
    }
}

/// Where the page behind one that ends here begins.
pub(super) fn aligned(offset: u64) -> u64 {
    offset.next_multiple_of(ALIGNMENT)
}

/// Bytes of the file that a page with that payload takes.
pub(super) fn room_of(bytes: u32) -> u64 {
    aligned(PAGE_HEADER_BYTES as u64 + u64::from(bytes))
}

/// The header of a page. `place` is where it will lie.
pub(super) fn page_header(place: Place, payload: &[u8], signature: u32) -> [u8; PAGE_HEADER_BYTES] {
    let mut bytes = [0; PAGE_HEADER_BYTES];
    put(&mut bytes, 0, &PAGE_MAGIC);
    put(&mut bytes, 8, &place.bytes.to_le_bytes());
    let payload_crc = crc32c::crc32c_append(signature, payload);
    put(&mut bytes, 12, &payload_crc.to_le_bytes());
    put(&mut bytes, 16, &place.offset.to_le_bytes());
    put(&mut bytes, 24, &place.file.to_le_bytes());
    let crc = crc32c::crc32c_append(signature, &bytes[8..]);
    put(&mut bytes, 4, &crc.to_le_bytes());
    bytes
}

/// Whether `header` is that of the page at `place`. Returns the payload's checksum.
pub(super) fn check_header(header: &[u8], place: Place, signature: u32) -> Result<u32, Flaw> {
    if header.len() < PAGE_HEADER_BYTES {
        return Err(Flaw::EndOfFile);
    }
    if header[..4] != PAGE_MAGIC {
        return Err(Flaw::Magic);
    }
    if u32_at(header, 4) != crc32c::crc32c_append(signature, &header[8..PAGE_HEADER_BYTES]) {
        return Err(Flaw::HeaderChecksum);
    }
    if u32_at(header, 28) != 0 {
        return Err(Flaw::Unknown);
    }
    let found = Place {
        file: u32_at(header, 24),
        offset: u64_at(header, 16),
        bytes: u32_at(header, 8),
    };
    if found != place {
        return Err(Flaw::Foreign);
    }
    if place.bytes > PAGE_BYTES_MAX {
        return Err(Flaw::Length);
    }
    Ok(u32_at(header, 12))
}

/// Whether a payload is what was written.
pub(super) fn check_payload(
    payload: &[u8],
    place: Place,
    crc: u32,
    signature: u32,
) -> Result<(), Flaw> {
    if payload.len() as u64 != u64::from(place.bytes) {
        return Err(Flaw::EndOfFile);
    }
    if crc32c::crc32c_append(signature, payload) == crc {
        Ok(())
    } else {
        Err(Flaw::PayloadChecksum)
    }
}
