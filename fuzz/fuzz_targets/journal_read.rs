//! A sound journal, some of its bytes changed, with or without checksums that fit: opening and checking it neither panic
//! nor grow out of proportion, they agree on whether it is sound, and what was opened once opens again with the same
//! records.
//!
//! Input: a byte of switches, then changes: file (1 byte), offset (2), number of bytes (1), the bytes.
#![no_main]

use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use ternmq_journal::simulated::SimulatedStorage;
use ternmq_journal::{Batch, Index, Log, OpenError, Options, SegmentedLog, StoreId, check};

const FILES: [&str; 4] = [
    "seg-00000000000000000001",
    "seg-00000000000000000002",
    "manifest.a",
    "manifest.b",
];
const HEADER_BYTES: usize = 4096;
const FRAME_HEADER_BYTES: usize = 64;

/// Switches in the first byte of the input.
const SEAL_HEADERS: u8 = 1;
const SEAL_FRAMES: u8 = 2;
const CLOSED: u8 = 4;

fuzz_target!(|data: &[u8]| {
    let Some((&switches, mut changes)) = data.split_first() else {
        return;
    };
    let mut files = sound(switches & CLOSED != 0).clone();
    while let [file, a, b, count, rest @ ..] = changes {
        let (bytes, rest) = rest.split_at(rest.len().min((*count).into()));
        let contents = &mut files[usize::from(*file) % FILES.len()];
        let offset = usize::from(u16::from_le_bytes([*a, *b])) % contents.len();
        let end = contents.len().min(offset + bytes.len());
        contents[offset..end].copy_from_slice(&bytes[..end - offset]);
        changes = rest;
    }
    for contents in &mut files {
        seal(contents, switches);
    }
    let disk = SimulatedStorage::new(1);
    for (name, contents) in FILES.into_iter().zip(&files) {
        disk.put(name, contents);
    }
    judge(&disk);
});

/// A journal of two segments.
fn sound(closed: bool) -> &'static Vec<Vec<u8>> {
    static KILLED: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    static CLOSED: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    if closed { &CLOSED } else { &KILLED }.get_or_init(|| {
        let disk = SimulatedStorage::new(1);
        let opened = SegmentedLog::open(Arc::new(disk.clone()), options()).unwrap();
        for size in [3, 0, 1500, 1500, 1500, 20, 30] {
            let mut batch = Batch::new();
            for _ in 0..2 {
                batch.record(|out| out.resize(out.len() + size / 2, 7));
            }
            let last = Index(opened.log.append(&batch).unwrap().0 + 1);
            // One group each, so that later ones vouch for earlier ones.
            while opened.log.committed() < last {
                std::thread::yield_now();
            }
        }
        let copy = || FILES.map(|name| disk.contents(name).unwrap()).to_vec();
        let killed = copy();
        opened.log.close().unwrap();
        if closed { copy() } else { killed }
    })
}

fn options() -> Options {
    Options {
        segment_bytes: 8192,
        ..Options::new(StoreId([1; 16]))
    }
}

/// Makes checksums fit again, so that what lies behind them is reached.
fn seal(contents: &mut [u8], switches: u8) {
    let header_bytes = contents.len().min(HEADER_BYTES);
    if switches & SEAL_HEADERS != 0 {
        let crc = crc32c::crc32c(&contents[..header_bytes - 4]);
        contents[header_bytes - 4..header_bytes].copy_from_slice(&crc.to_le_bytes());
    }
    if switches & SEAL_FRAMES == 0 || contents.len() <= HEADER_BYTES {
        return;
    }
    let number = |bytes: &[u8], at: usize| {
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    let signature = number(contents, 40);
    let mut at = HEADER_BYTES;
    while at + FRAME_HEADER_BYTES <= contents.len() {
        let payload_bytes = number(contents, at + 8) as usize;
        let (header, payload) = contents[at..].split_at_mut(FRAME_HEADER_BYTES);
        let payload = &payload[..payload_bytes.min(payload.len())];
        let payload_crc = crc32c::crc32c_append(signature, payload);
        header[12..16].copy_from_slice(&payload_crc.to_le_bytes());
        let header_crc = crc32c::crc32c_append(signature, &header[8..]);
        header[4..8].copy_from_slice(&header_crc.to_le_bytes());
        at += (FRAME_HEADER_BYTES + payload.len()).next_multiple_of(8);
    }
}

fn judge(disk: &SimulatedStorage) {
    let report = check(disk).unwrap();
    match records(disk) {
        Ok(found) => {
            assert!(report.is_sound(), "opened, but {:?}", report.problems);
            assert_eq!(report.records(), found.len() as u64);
            assert_eq!(records(disk).unwrap(), found);
        }
        Err(error) => assert!(!report.is_sound(), "not opened: {error}"),
    }
}

fn records(disk: &SimulatedStorage) -> Result<Vec<(Index, usize)>, OpenError> {
    let mut opened = SegmentedLog::open(Arc::new(disk.clone()), options())?;
    let mut records = Vec::new();
    while let Some((index, record)) = opened.recovered.next_record()? {
        records.push((index, record.len()));
    }
    Ok(records)
}
