//! The format, byte by byte, as a file that later versions have to read.
//!
//! `golden/v1` holds a page file in format version 1. `TERNMQ_JOURNAL_GOLDEN=write` writes it anew, which only a new
//! version of the format may need.

use std::path::PathBuf;

use super::{SimulatedStorage, new, open, read};
use crate::pages::Place;

const NAME: &str = "pages-0000000001";
const PAGES: [(u64, &[u8]); 3] = [(64, b"first"), (104, b""), (136, &[b'x'; 200])];

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/pages/tests/golden/v1")
        .join(NAME)
}

fn place((offset, page): (u64, &[u8])) -> Place {
    Place {
        file: 1,
        offset,
        bytes: u32::try_from(page.len()).unwrap(),
    }
}

#[test]
fn a_file_is_written_as_version_1_says() {
    let disk = SimulatedStorage::new(1);
    let pages = new(&disk);
    for (offset, page) in PAGES {
        assert_eq!(pages.write(page).unwrap(), place((offset, page)));
    }
    let bytes = disk.contents(NAME).unwrap();
    if std::env::var("TERNMQ_JOURNAL_GOLDEN").is_ok_and(|v| v == "write") {
        std::fs::create_dir_all(path().parent().unwrap()).unwrap();
        std::fs::write(path(), &bytes).unwrap();
    }
    assert!(std::fs::read(path()).unwrap() == bytes, "{NAME} differs");
}

#[test]
fn a_file_of_version_1_is_read() {
    let disk = SimulatedStorage::new(1);
    disk.put(NAME, &std::fs::read(path()).unwrap());
    let pages = open(&disk, &[1]).unwrap();
    for page in PAGES {
        assert_eq!(read(&pages, place(page)).unwrap(), page.1);
    }
}
