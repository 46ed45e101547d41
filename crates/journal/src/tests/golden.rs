//! The formats, byte by byte, as files that later versions have to read.
//!
//! `golden/v1` holds a journal in format version 1: two segments, of which the second ends with a torn frame.
//! `TERNMQ_JOURNAL_GOLDEN=write` writes it anew, which only a new version of the format may need.

use std::path::PathBuf;

use super::{Stepped, options, read_all};
use crate::check::check;
use crate::committer::Next;
use crate::options::Options;
use crate::segment::{HEADER_BYTES, segment_name};
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

#[test]
fn files_are_written_as_version_1_says() {
    let disk = written();
    let writes = std::env::var("TERNMQ_JOURNAL_GOLDEN").is_ok_and(|v| v == "write");
    for name in files() {
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
