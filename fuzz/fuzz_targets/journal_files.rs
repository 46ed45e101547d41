//! Page files and a checkpoint, some of their bytes changed, with or without checksums that fit: opening and reading them
//! neither panic nor grow out of proportion; what is returned has the length that was asked for, and unchanged files
//! return what was written.
//!
//! Input: a byte of switches, a place to be read (file 1 byte, offset 2, length 2), then changes: file (1 byte),
//! offset (2), number of bytes (1), the bytes.
#![no_main]

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use ternmq_journal::simulated::SimulatedStorage;
use ternmq_journal::{
    CheckpointWriter, Checkpoints, OpenError, PageOptions, PageStore, Place, ReadFlaw, StoreId,
};

const CHECKPOINT: &str = "checkpoint-00000000000000000001";
const FILES: [&str; 3] = ["pages-0000000001", "pages-0000000002", CHECKPOINT];
const STORE: StoreId = StoreId([1; 16]);
const OPTIONS: PageOptions = PageOptions {
    file_bytes: 1024,
    open_files_max: 1,
};
const FILE_HEADER_BYTES: usize = 64;
const PAGE_HEADER_BYTES: usize = 32;
const BLOCK_HEADER_BYTES: usize = 40;

/// Switches in the first byte of the input.
const SEAL_HEADERS: u8 = 1;
const SEAL_CONTENTS: u8 = 2;

fuzz_target!(|data: &[u8]| {
    let [switches, file, a, b, c, d, changes @ ..] = data else {
        return;
    };
    let asked = Place {
        file: (*file).into(),
        offset: u16::from_le_bytes([*a, *b]).into(),
        bytes: u16::from_le_bytes([*c, *d]).into(),
    };
    let sound = sound();
    let mut files = sound.files.clone();
    change(&mut files, changes);
    for (contents, name) in files.iter_mut().zip(FILES) {
        seal(contents, name, *switches);
    }
    let disk = SimulatedStorage::new(1);
    for (name, contents) in FILES.into_iter().zip(&files) {
        disk.put(name, contents);
    }
    let is_unchanged = |range: std::ops::Range<usize>| files[range.clone()] == sound.files[range];
    judge_pages(&disk, asked, is_unchanged(0..2));
    judge_checkpoint(&disk, is_unchanged(2..3));
});

/// What was written, and the files that hold it.
struct Sound {
    pages: Vec<(Place, Vec<u8>)>,
    records: Vec<Vec<u8>>,
    files: Vec<Vec<u8>>,
}

fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        let disk = SimulatedStorage::new(1);
        let storage = Arc::new(disk.clone());
        let store = PageStore::open(storage.clone(), STORE, OPTIONS, Some(&BTreeSet::new()));
        let store = store.unwrap();
        let pages = [5, 0, 300, 300, 300, 301, 7].map(|bytes| {
            let page = vec![7; bytes];
            (store.write(&page).unwrap(), page)
        });
        let records = [3, 0, 20, 100, 262_144, 1].map(|bytes| vec![9; bytes]);
        let mut writer = CheckpointWriter::create(storage, STORE, 1).unwrap();
        for record in &records {
            writer.push(record).unwrap();
        }
        writer.finish().unwrap();
        Sound {
            pages: pages.to_vec(),
            records: records.to_vec(),
            files: FILES.map(|name| disk.contents(name).unwrap()).to_vec(),
        }
    })
}

fn change(files: &mut [Vec<u8>], mut changes: &[u8]) {
    while let [file, a, b, count, rest @ ..] = changes {
        let (bytes, rest) = rest.split_at(rest.len().min((*count).into()));
        let contents = &mut files[usize::from(*file) % FILES.len()];
        // The last bytes of a long file are as near as its first ones.
        let offset = usize::from(u16::from_le_bytes([*a, *b]));
        let offset = match offset.checked_sub(usize::from(u16::MAX / 2)) {
            Some(from_end) => contents.len() - 1 - from_end % contents.len(),
            None => offset % contents.len(),
        };
        let end = contents.len().min(offset + bytes.len());
        contents[offset..end].copy_from_slice(&bytes[..end - offset]);
        changes = rest;
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Makes checksums fit again, so that what lies behind them is reached.
fn seal(contents: &mut [u8], name: &str, switches: u8) {
    let (file_header, _) = contents.split_at_mut(FILE_HEADER_BYTES);
    let signature = crc32c::crc32c_append(crc32c::crc32c(&file_header[16..32]), &file_header[..8]);
    let signature = crc32c::crc32c_append(signature, &file_header[32..40]);
    if switches & SEAL_HEADERS != 0 {
        file_header[40..44].copy_from_slice(&signature.to_le_bytes());
        let crc = crc32c::crc32c(&file_header[..60]);
        file_header[60..].copy_from_slice(&crc.to_le_bytes());
    }
    if switches & SEAL_CONTENTS == 0 {
        return;
    }
    let header_bytes = if name == CHECKPOINT {
        BLOCK_HEADER_BYTES
    } else {
        PAGE_HEADER_BYTES
    };
    let (mut at, mut tag) = (FILE_HEADER_BYTES, 0);
    while at + header_bytes <= contents.len() {
        let payload_bytes = number(contents, at + 8) as usize;
        let (header, payload) = contents[at..].split_at_mut(header_bytes);
        let payload = &payload[..payload_bytes.min(payload.len())];
        let payload_crc = crc32c::crc32c_append(signature, payload);
        header[12..16].copy_from_slice(&payload_crc.to_le_bytes());
        if name == CHECKPOINT {
            header[24..32].copy_from_slice(&u64::to_le_bytes(tag));
        }
        let header_crc = crc32c::crc32c_append(signature, &header[8..]);
        header[4..8].copy_from_slice(&header_crc.to_le_bytes());
        tag = u64::from(header_crc) << 32 | u64::from(payload_crc);
        at += (header_bytes + payload.len()).next_multiple_of(8);
    }
}

fn judge_pages(disk: &SimulatedStorage, asked: Place, unchanged: bool) {
    let storage = Arc::new(disk.clone());
    let store = PageStore::open_all(storage.clone(), STORE, OPTIONS).unwrap();
    let mut out = Vec::new();
    let mut read = |place: Place| -> Result<Vec<u8>, ReadFlaw> {
        let result = store.read(place, &mut out).unwrap();
        assert_eq!(
            out.len(),
            result.as_ref().map_or(0, |()| place.bytes as usize)
        );
        result.map(|()| out.clone())
    };
    let _ = read(asked);
    for (place, page) in &sound().pages {
        let found = read(*place);
        assert!(!unchanged || found.unwrap() == *page);
    }
    let opened = PageStore::open(storage, STORE, OPTIONS, Some(&BTreeSet::from([1, 2])));
    assert!(!unchanged || opened.is_ok());
}

fn judge_checkpoint(disk: &SimulatedStorage, unchanged: bool) {
    let found = records(disk);
    assert!(!unchanged || *found.as_ref().unwrap() == sound().records);
    if let Ok(found) = found {
        let bytes: usize = found.iter().map(Vec::len).sum();
        assert!(bytes < sound().files[2].len());
        assert!(records(disk).unwrap() == found);
    }
}

fn records(disk: &SimulatedStorage) -> Result<Vec<Vec<u8>>, OpenError> {
    let mut reader = Checkpoints::newest(disk, Some(STORE))?.unwrap();
    let mut records = Vec::new();
    loop {
        match reader.next_record() {
            Ok(Some(record)) => records.push(record.to_vec()),
            Ok(None) => return Ok(records),
            Err(error) => {
                // It does not come to another opinion.
                assert!(reader.next_record().is_err());
                return Err(error);
            }
        }
    }
}
