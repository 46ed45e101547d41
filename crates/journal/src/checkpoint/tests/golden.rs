//! The format, byte by byte, as a file that later versions have to read.
//!
//! `golden/v1` holds a checkpoint in format version 1, of three blocks. `TERNMQ_JOURNAL_GOLDEN=write` writes it anew,
//! which only a new version of the format may need.

use std::path::PathBuf;

use super::{BLOCK_BYTES, SimulatedStorage, newest, write};

const NAME: &str = "checkpoint-00000000000000000042";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/checkpoint/tests/golden/v1")
        .join(NAME)
}

/// With the last record one byte too long for the first block.
fn records() -> Vec<Vec<u8>> {
    let rest = BLOCK_BYTES - 40 - 3 * 4 - 5 - 4;
    vec![b"first".to_vec(), Vec::new(), vec![0; rest], b"x".to_vec()]
}

#[test]
fn a_file_is_written_as_version_1_says() {
    let disk = SimulatedStorage::new(1);
    write(&disk, 42, &records()).unwrap();
    let bytes = disk.contents(NAME).unwrap();
    if std::env::var("TERNMQ_JOURNAL_GOLDEN").is_ok_and(|v| v == "write") {
        std::fs::create_dir_all(path().parent().unwrap()).unwrap();
        std::fs::write(path(), squeezed(&bytes)).unwrap();
    }
    let golden = std::fs::read(path()).unwrap();
    assert!(golden == squeezed(&bytes), "{NAME} differs");
}

#[test]
fn a_file_of_version_1_is_read() {
    let golden = std::fs::read(path()).unwrap();
    let disk = SimulatedStorage::new(1);
    disk.put(NAME, &stretched(&golden));
    assert!(newest(&disk).unwrap() == Some((42, records())));
}

/// Where the long record lies, which nobody wants to have in a repository.
const ZEROS_FROM: usize = 64 + 40 + 3 * 4 + 5;

fn zeros() -> usize {
    records()[2].len()
}

fn squeezed(bytes: &[u8]) -> Vec<u8> {
    let (before, rest) = bytes.split_at(ZEROS_FROM);
    let (zeros, behind) = rest.split_at(zeros());
    assert!(zeros.iter().all(|&byte| byte == 0));
    [before, behind].concat()
}

fn stretched(golden: &[u8]) -> Vec<u8> {
    let (before, behind) = golden.split_at(ZEROS_FROM);
    [before, &vec![0; zeros()], behind].concat()
}
