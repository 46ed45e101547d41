//! The formats, byte by byte, as files that later versions have to read.
//!
//! `golden/v1` holds a journal in format version 1: two segments, of which the second ends with a torn frame, and a cold
//! segment with records of both.
//! `TERNMQ_JOURNAL_GOLDEN=write` writes it anew, which only a new version of the format may need.

use std::path::PathBuf;

use super::{Stepped, options, read_all};
use crate::check::check;
use crate::committer::Next;
use crate::log::Index;
use crate::options::Options;
use crate::segment::{HEADER_BYTES, KeptSegment, SegmentKind, SegmentRef, cold_name, segment_name};
use crate::simulated::SimulatedStorage;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden/v1")
}

fn files() -> Vec<String> {
    let mut names = vec!["manifest.a".to_owned(), "manifest.b".to_owned()];
    names.extend([1, 2].map(segment_name));
    names
}

/// What the golden journal is made of.
fn written() -> SimulatedStorage {
    let disk = SimulatedStorage::new(1);
    let sized = Options {
        segment_bytes: 8192,
        ..options()
    };
    let mut log = Stepped::open(&disk, sized).unwrap();
    let long: String = ('a'..='z').cycle().take(2000).collect();
    for records in [
        &["first", "", "third"][..],
        &[&long],
        &[&long, "fifth's neighbour"],
        &["last"],
    ] {
        log.append(records).unwrap();
        assert_eq!(log.step(), Next::Again);
    }
    drop(log);
    // The beginning of a frame that the disk did not finish.
    let second = segment_name(2);
    let mut bytes = disk.contents(&second).unwrap();
    let end = usize::try_from(check(&disk).unwrap().segments[1].end).unwrap();
    bytes.copy_within(HEADER_BYTES..HEADER_BYTES + 32, end);
    disk.put(&second, &bytes);
    disk
}

/// The cold segment that is made of it.
fn copied() -> SimulatedStorage {
    let disk = written();
    let log = Stepped::open(&disk, options()).unwrap();
    let live = &mut [1, 3, 4, 6].map(Index).into_iter();
    let both = log.released(u64::MAX);
    assert_eq!(log.log.copy_live(&both, live).unwrap().records, 4);
    disk
}

#[test]
fn files_are_written_as_version_1_says() {
    files_are_as_they_were(&written(), files());
    files_are_as_they_were(&copied(), vec![cold_name(1)]);
}

fn files_are_as_they_were(disk: &SimulatedStorage, names: Vec<String>) {
    let writes = std::env::var("TERNMQ_JOURNAL_GOLDEN").is_ok_and(|v| v == "write");
    for name in names {
        let path = directory().join(&name);
        let bytes = disk.contents(&name).unwrap();
        if writes {
            std::fs::create_dir_all(directory()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == bytes, "{name} differs");
    }
}

#[test]
fn files_of_version_1_are_read() {
    let disk = SimulatedStorage::new(1);
    for name in files() {
        disk.put(&name, &std::fs::read(directory().join(&name)).unwrap());
    }
    let mut log = Stepped::open(&disk, options()).unwrap();
    let records = read_all(&mut log.recovered).unwrap();
    let lengths: Vec<(u64, usize)> = records.iter().map(|(i, r)| (*i, r.len())).collect();
    assert_eq!(
        lengths,
        [
            (1, 5),
            (2, 0),
            (3, 5),
            (4, 2000),
            (5, 2000),
            (6, 17),
            (7, 4)
        ]
    );
    assert_eq!(records[0].1, b"first");
    assert_eq!(records[5].1, b"fifth's neighbour");
}

#[test]
fn a_cold_segment_of_version_1_is_read() {
    let disk = SimulatedStorage::new(1);
    for name in files().into_iter().chain([cold_name(1)]) {
        disk.put(&name, &std::fs::read(directory().join(&name)).unwrap());
    }
    let segment = SegmentRef {
        kind: SegmentKind::Cold,
        id: 1,
    };
    let kept = KeptSegment {
        segment,
        end: Index(7),
    };
    let keeping = Options {
        kept: vec![kept],
        ..options()
    };
    let log = Stepped::open(&disk, keeping).unwrap();
    let infos = log.log.segments();
    let cold = infos.last().unwrap();
    assert_eq!((cold.first, cold.end), (Index(1), Index(7)));
    let reader = log.log.reader();
    let cold_only = &|entry: &crate::table::Entry| entry.reference == segment;
    let mut read = Vec::new();
    let all: Vec<Index> = (1..=7).map(Index).collect();
    reader
        .read_among(&all, cold_only, &mut |index, record| {
            if let Ok(record) = record {
                read.push((index.0, record.len()));
            }
        })
        .unwrap();
    assert_eq!(read, [(1, 5), (3, 5), (4, 2000), (6, 17)]);
    assert!(check(&disk).unwrap().is_sound());
}
