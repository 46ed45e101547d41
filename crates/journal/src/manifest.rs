//! The manifest: which segments have to be there. The layout is in the crate's documentation.

use crate::error::{Action, At as _, Failure, Flaw, OpenError};
use crate::le::{array_at, put, u16_at, u32_at, u64_at};
use crate::options::StoreId;
use crate::segment::{COUNT_MAX, FORMAT_VERSION};
use crate::storage::{Storage, StorageFile, read_full_at, write_all_at};

pub(crate) const NAMES: [&str; 2] = ["manifest.a", "manifest.b"];
pub(crate) const TEMPORARY: &str = "manifest.tmp";

const BYTES: usize = 512;
const CRC_AT: usize = BYTES - 4;
const MAGIC: [u8; 8] = *b"TERNMANI";
const FLAG_CLEAN: u32 = 1;

/// The contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Manifest {
    pub(crate) store: StoreId,
    pub(crate) number: u64,
    pub(crate) first_segment: u64,
    /// One below the first if there is none.
    pub(crate) last_segment: u64,
    /// Every frame up to this sequence number is on disk.
    pub(crate) durable: u64,
    /// The journal was closed in order: nothing lies behind the last durable frame.
    pub(crate) clean: bool,
}

/// One of the two files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Slot {
    Missing,
    Flawed(Flaw),
    Readable(Manifest),
}

impl Manifest {
    pub(crate) const fn new(store: StoreId) -> Self {
        Self {
            store,
            number: 1,
            first_segment: 1,
            last_segment: 0,
            durable: 0,
            clean: true,
        }
    }

    fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 10, &FORMAT_VERSION.to_le_bytes());
        put(
            &mut bytes,
            12,
            &if self.clean { FLAG_CLEAN } else { 0 }.to_le_bytes(),
        );
        put(&mut bytes, 16, &self.store.0);
        put(&mut bytes, 32, &self.number.to_le_bytes());
        put(&mut bytes, 40, &self.first_segment.to_le_bytes());
        put(&mut bytes, 48, &self.last_segment.to_le_bytes());
        put(&mut bytes, 56, &self.durable.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], file: &str) -> Result<Slot, OpenError> {
        if bytes.len() < BYTES {
            return Ok(Slot::Flawed(Flaw::EndOfFile));
        }
        if bytes[..8] != MAGIC {
            return Ok(Slot::Flawed(Flaw::Magic));
        }
        if u32_at(bytes, CRC_AT) != crc32c::crc32c(&bytes[..CRC_AT]) {
            return Ok(Slot::Flawed(Flaw::HeaderChecksum));
        }
        let needs = u16_at(bytes, 10);
        if needs > FORMAT_VERSION {
            return Err(OpenError::NewerFormat {
                file: file.to_owned(),
                needs,
            });
        }
        let flags = u32_at(bytes, 12);
        let manifest = Self {
            store: StoreId(array_at(bytes, 16)),
            number: u64_at(bytes, 32),
            first_segment: u64_at(bytes, 40),
            last_segment: u64_at(bytes, 48),
            durable: u64_at(bytes, 56),
            clean: flags & FLAG_CLEAN != 0,
        };
        let sound = flags & !FLAG_CLEAN == 0
            && manifest.first_segment >= 1
            && manifest.last_segment >= manifest.first_segment - 1
            && manifest
                .number
                .max(manifest.last_segment)
                .max(manifest.durable)
                < COUNT_MAX;
        Ok(if sound {
            Slot::Readable(manifest)
        } else {
            Slot::Flawed(Flaw::Unknown)
        })
    }
}

/// Reads both files. `names` are those of the directory.
pub(crate) fn read_slots(storage: &dyn Storage, names: &[String]) -> Result<[Slot; 2], OpenError> {
    let mut slots = [Slot::Missing; 2];
    for (slot, file) in slots.iter_mut().zip(NAMES) {
        if names.iter().any(|name| name == file) {
            let open = storage.open(file).at(Action::Open, file)?;
            let mut bytes = [0; BYTES];
            let read = read_full_at(open.as_ref(), 0, &mut bytes).at(Action::Read, file)?;
            *slot = Manifest::decode(&bytes[..read], file)?;
        }
    }
    Ok(slots)
}

/// The one that counts. None if there is no file at all.
pub(crate) fn newest(slots: &[Slot; 2]) -> Result<Option<Manifest>, OpenError> {
    let damaged = |file: usize, flaw| OpenError::ManifestDamaged {
        file: NAMES[file].to_owned(),
        flaw,
    };
    match *slots {
        [Slot::Readable(a), Slot::Readable(b)] if a.store != b.store => {
            Err(OpenError::ManifestsDiffer)
        }
        [Slot::Readable(a), Slot::Readable(b)] => Ok(Some(if a.number > b.number { a } else { b })),
        [Slot::Readable(one), _] | [_, Slot::Readable(one)] => Ok(Some(one)),
        [Slot::Missing, Slot::Missing] => Ok(None),
        [Slot::Flawed(flaw), _] => Err(damaged(0, flaw)),
        [_, Slot::Flawed(flaw)] => Err(damaged(1, flaw)),
    }
}

/// How many of the two files have to know of a change before it is relied on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    One,
    Both,
}

/// The open files.
pub(crate) struct ManifestFiles {
    files: [Box<dyn StorageFile>; 2],
    current: Manifest,
}

impl ManifestFiles {
    /// Opens the files, and makes those that are not there with `manifest` as their contents. A file gets its name when
    /// its contents are durable, so one that cannot be read was damaged.
    pub(crate) fn open(
        storage: &dyn Storage,
        slots: &[Slot; 2],
        manifest: Manifest,
    ) -> Result<Self, Failure> {
        let open = |at: usize| -> Result<Box<dyn StorageFile>, Failure> {
            let name = NAMES[at];
            if slots[at] == Slot::Missing {
                let file = storage.create(TEMPORARY).at(Action::Create, TEMPORARY)?;
                write_all_at(file.as_ref(), 0, &manifest.encode()).at(Action::Write, TEMPORARY)?;
                file.sync_data().at(Action::Sync, TEMPORARY)?;
                storage.rename(TEMPORARY, name).at(Action::Rename, name)?;
                storage.sync_dir().at(Action::Sync, name)?;
            }
            storage.open(name).at(Action::Open, name)
        };
        let files = [open(0)?, open(1)?];
        let mut current = manifest;
        if slots[Self::place_of(current.number + 1)] == Slot::Readable(manifest) {
            // The only readable one may lie where the next would be written: keep it until the other is written.
            current.number += 1;
        }
        Ok(Self { files, current })
    }

    fn place_of(number: u64) -> usize {
        usize::from(number.is_multiple_of(2))
    }

    pub(crate) fn current(&self) -> Manifest {
        self.current
    }

    /// Changes the contents and waits until they are durable.
    pub(crate) fn update(
        &mut self,
        copies: Copies,
        change: impl FnOnce(&mut Manifest),
    ) -> Result<(), Failure> {
        change(&mut self.current);
        for _ in 0..if copies == Copies::Both { 2 } else { 1 } {
            self.current.number += 1;
            let at = Self::place_of(self.current.number);
            write_all_at(self.files[at].as_ref(), 0, &self.current.encode())
                .at(Action::Write, NAMES[at])?;
            self.files[at].sync_data().at(Action::Sync, NAMES[at])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: Manifest = Manifest {
        store: StoreId([7; 16]),
        number: 12,
        first_segment: 3,
        last_segment: 5,
        durable: 100,
        clean: true,
    };

    #[test]
    fn contents_come_back_and_damage_is_noticed() {
        let bytes = MANIFEST.encode();
        assert_eq!(
            Manifest::decode(&bytes, "m").unwrap(),
            Slot::Readable(MANIFEST)
        );
        for at in 0..BYTES {
            let mut damaged = bytes;
            damaged[at] ^= 1;
            assert!(matches!(
                Manifest::decode(&damaged, "m").unwrap(),
                Slot::Flawed(_)
            ));
            assert!(matches!(
                Manifest::decode(&bytes[..at], "m").unwrap(),
                Slot::Flawed(_)
            ));
        }
    }

    #[test]
    fn contents_for_later_readers_are_refused_as_such() {
        let mut bytes = MANIFEST.encode();
        bytes[10] = 2;
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        assert!(matches!(
            Manifest::decode(&bytes, "m"),
            Err(OpenError::NewerFormat { needs: 2, .. })
        ));
    }

    #[test]
    fn the_newest_readable_one_counts() {
        let older = Slot::Readable(Manifest {
            number: 11,
            ..MANIFEST
        });
        let newer = Slot::Readable(MANIFEST);
        let bad = Slot::Flawed(Flaw::Magic);
        for slots in [
            [older, newer],
            [newer, older],
            [newer, bad],
            [bad, newer],
            [Slot::Missing, newer],
        ] {
            assert_eq!(newest(&slots).unwrap(), Some(MANIFEST));
        }
        assert_eq!(newest(&[Slot::Missing; 2]).unwrap(), None);
        assert!(matches!(
            newest(&[bad, Slot::Missing]),
            Err(OpenError::ManifestDamaged { .. })
        ));
        assert!(matches!(
            newest(&[Slot::Missing, bad]),
            Err(OpenError::ManifestDamaged { .. })
        ));
        let foreign = Slot::Readable(Manifest {
            store: StoreId([8; 16]),
            ..MANIFEST
        });
        assert!(matches!(
            newest(&[newer, foreign]),
            Err(OpenError::ManifestsDiffer)
        ));
    }
}
