//! The header of page files and checkpoints: whose file it is. The layout is in the crate's documentation.

use crate::error::{Flaw, OpenError};
use crate::le::{array_at, put, u16_at, u32_at, u64_at};
use crate::options::StoreId;

/// Bytes before the first page, or block.
pub(crate) const HEADER_BYTES: usize = 64;
/// Version of the formats of pages and checkpoints.
const FORMAT_VERSION: u16 = 1;
const CRC_AT: usize = HEADER_BYTES - 4;

/// All that a file says of itself. Whoever opens one knows what has to be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileHeader {
    pub(crate) magic: [u8; 8],
    pub(crate) store: StoreId,
    /// The number in the file's name.
    pub(crate) number: u64,
}

impl FileHeader {
    /// Where every checksum of the file begins, so that bytes of another file never fit.
    pub(crate) fn signature(&self) -> u32 {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&self.store.0), &self.magic);
        crc32c::crc32c_append(crc, &self.number.to_le_bytes())
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        put(&mut bytes, 0, &self.magic);
        put(&mut bytes, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 10, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 16, &self.store.0);
        put(&mut bytes, 32, &self.number.to_le_bytes());
        put(&mut bytes, 40, &self.signature().to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes
    }

    /// The header in `bytes`, the beginning of a file with that name; it has this magic.
    pub(crate) fn decode(bytes: &[u8], magic: [u8; 8], file: &str) -> Result<Self, OpenError> {
        let damaged = |flaw| OpenError::Damaged {
            file: file.to_owned(),
            offset: 0,
            flaw,
        };
        if bytes.len() < HEADER_BYTES {
            return Err(damaged(Flaw::EndOfFile));
        }
        if bytes[..8] != magic {
            return Err(damaged(Flaw::Magic));
        }
        if u32_at(bytes, CRC_AT) != crc32c::crc32c(&bytes[..CRC_AT]) {
            return Err(damaged(Flaw::HeaderChecksum));
        }
        let needs = u16_at(bytes, 10);
        if needs > FORMAT_VERSION {
            return Err(OpenError::NewerFormat {
                file: file.to_owned(),
                needs,
            });
        }
        let header = Self {
            magic,
            store: StoreId(array_at(bytes, 16)),
            number: u64_at(bytes, 32),
        };
        if u32_at(bytes, 12) != 0 || u32_at(bytes, 40) != header.signature() {
            return Err(damaged(Flaw::Unknown));
        }
        Ok(header)
    }

    /// Whether `bytes` are this header.
    pub(crate) fn check(&self, bytes: &[u8], file: &str) -> Result<(), OpenError> {
        if Self::decode(bytes, self.magic, file)? == *self {
            return Ok(());
        }
        Err(OpenError::Damaged {
            file: file.to_owned(),
            offset: 0,
            flaw: Flaw::Foreign,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: FileHeader = FileHeader {
        magic: *b"TERNTEST",
        store: StoreId([7; 16]),
        number: 42,
    };

    fn resealed(at: usize, value: u8) -> [u8; HEADER_BYTES] {
        let mut bytes = HEADER.encode();
        bytes[at] = value;
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes
    }

    fn flaw(bytes: &[u8]) -> Flaw {
        match HEADER.check(bytes, "f").unwrap_err() {
            OpenError::Damaged {
                file,
                offset: 0,
                flaw,
            } if file == "f" => flaw,
            error => panic!("{error}"),
        }
    }

    #[test]
    fn a_header_comes_back_and_damage_is_noticed() {
        let bytes = HEADER.encode();
        let decoded = FileHeader::decode(&bytes, HEADER.magic, "f").unwrap();
        assert_eq!(decoded, HEADER);
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(HEADER.check(&damaged, "f").is_err(), "bit {bit}");
        }
        assert_eq!(flaw(&bytes[..HEADER_BYTES - 1]), Flaw::EndOfFile);
    }

    #[test]
    fn later_versions_other_stores_and_other_numbers_are_refused_as_such() {
        assert!(matches!(
            HEADER.check(&resealed(10, 2), "f"),
            Err(OpenError::NewerFormat { needs: 2, .. })
        ));
        assert!(
            HEADER.check(&resealed(8, 2), "f").is_ok(),
            "written by a later version, for readers of this one too"
        );
        assert_eq!(flaw(&resealed(12, 1)), Flaw::Unknown);
        assert_eq!(flaw(&resealed(40, 1)), Flaw::Unknown);
        for other in [
            FileHeader {
                store: StoreId([8; 16]),
                ..HEADER
            },
            FileHeader {
                number: 43,
                ..HEADER
            },
        ] {
            assert_eq!(flaw(&other.encode()), Flaw::Foreign);
        }
    }

    #[test]
    fn signatures_differ_between_files_kinds_and_stores() {
        let mut seen: Vec<u32> = (0..4000_u64)
            .map(|n| {
                FileHeader {
                    magic: [u8::from(n % 2 == 0); 8],
                    store: StoreId([u8::from(n % 4 < 2); 16]),
                    number: n / 4,
                }
                .signature()
            })
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 4000);
    }
}
