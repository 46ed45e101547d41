//! Readers, a writer and a syncing thread at once, on a real disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::{PageOptions, PageStore, STORE, files};
use crate::pages::Place;
use crate::simulated::Random;
use crate::storage::FileStorage;

const PAGES: usize = 2000;

fn contents(number: usize) -> Vec<u8> {
    let bytes = number.to_le_bytes();
    bytes.iter().copied().cycle().take(number % 700).collect()
}

#[test]
fn pages_are_read_while_others_are_written_synced_and_freed() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(FileStorage::open(directory.path()).unwrap());
    let options = PageOptions {
        file_bytes: 16 * 1024,
        open_files_max: 4,
    };
    let pages = PageStore::open(storage, STORE, options, Some(&files(&[]))).unwrap();
    // Pages that are alive; each is freed by the thread that takes it out.
    let written: Mutex<Vec<(usize, Place)>> = Mutex::default();
    let left = AtomicUsize::new(PAGES);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..PAGES {
                let place = pages.write(&contents(number)).unwrap();
                written.lock().push((number, place));
            }
        });
        scope.spawn(|| {
            while left.load(Ordering::Acquire) > 0 {
                pages.sync().unwrap();
                pages.retire(&files(&[])).unwrap();
            }
        });
        for seed in 0..2 {
            let (pages, written, left) = (&pages, &written, &left);
            scope.spawn(move || {
                let mut random = Random(seed);
                let mut out = Vec::new();
                while left.load(Ordering::Acquire) > 0 {
                    let taken = {
                        let mut written = written.lock();
                        let at = random.below(written.len());
                        (!written.is_empty()).then(|| written.swap_remove(at))
                    };
                    let Some((number, place)) = taken else {
                        std::thread::yield_now();
                        continue;
                    };
                    pages.read(place, &mut out).unwrap().unwrap();
                    assert_eq!(out, contents(number));
                    pages.free(place);
                    left.fetch_sub(1, Ordering::AcqRel);
                }
            });
        }
    });
    pages.retire(&files(&[])).unwrap();
    assert_eq!(pages.live_bytes(), 0);
    assert!(pages.bytes_on_disk() <= 2 * 16 * 1024);
}
