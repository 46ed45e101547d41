//! Page stores, one behaviour at a time.

mod golden;
mod model;
mod threads;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use super::format::{PAGE_BYTES_MAX, PAGE_HEADER_BYTES, check_header, name_of, number_of};
use super::header::HEADER_BYTES;
use super::{PageOptions, PageStore, Place, UNSYNCED_FILES_MAX};
use crate::error::{Action, Flaw, OpenError, ReadFlaw};
use crate::options::StoreId;
use crate::simulated::{Fault, Operation, SimulatedStorage};
use crate::storage::{Storage as _, is_out_of_room};

const STORE: StoreId = StoreId(*b"a store of tests");
const OPTIONS: PageOptions = PageOptions {
    file_bytes: 1024,
    open_files_max: 3,
};

fn open(disk: &SimulatedStorage, in_use: &[u32]) -> Result<PageStore, OpenError> {
    let in_use = files(in_use);
    PageStore::open(Arc::new(disk.clone()), STORE, OPTIONS, Some(&in_use))
}

fn new(disk: &SimulatedStorage) -> PageStore {
    open(disk, &[]).unwrap()
}

fn files(numbers: &[u32]) -> BTreeSet<u32> {
    numbers.iter().copied().collect()
}

fn read(pages: &PageStore, place: Place) -> Result<Vec<u8>, ReadFlaw> {
    let mut out = b"something else".to_vec();
    let result = pages.read(place, &mut out).unwrap();
    assert!(result.is_ok() || out.is_empty());
    result.map(|()| out)
}

fn flaw(pages: &PageStore, place: Place) -> (String, u64, Flaw) {
    match read(pages, place).unwrap_err() {
        ReadFlaw::Damaged { file, offset, flaw } => (file, offset, flaw),
        flaw => panic!("{flaw}"),
    }
}

fn is_gone(pages: &PageStore, place: Place) -> bool {
    match read(pages, place) {
        Err(ReadFlaw::Unreadable { failure, .. }) => {
            failure.error.kind() == io::ErrorKind::NotFound
        }
        _ => false,
    }
}

fn names(disk: &SimulatedStorage) -> Vec<u32> {
    let names = disk.list().unwrap();
    names.iter().filter_map(|name| number_of(name)).collect()
}

/// Fills a file and a bit of the next: places in files 1, 1 and 2.
fn three_pages(pages: &PageStore) -> [Place; 3] {
    let places = [1, 2, 3].map(|byte| pages.write(&[byte; 400]).unwrap());
    assert_eq!(places.map(|place| place.file), [1, 1, 2]);
    places
}

#[test]
fn pages_come_back_at_once_and_after_a_restart() {
    let disk = SimulatedStorage::new(1);
    let pages = new(&disk);
    let places = three_pages(&pages);
    let empty = pages.write(b"").unwrap();
    let check = |pages: &PageStore| {
        for (place, byte) in places.iter().zip(1..) {
            assert_eq!(read(pages, *place).unwrap(), [byte; 400]);
        }
        assert_eq!(read(pages, empty).unwrap(), b"");
    };
    check(&pages);
    pages.sync().unwrap();
    disk.crash(1);
    check(&open(&disk, &[1, 2]).unwrap());
    let all = PageStore::open_all(Arc::new(disk.clone()), STORE, OPTIONS).unwrap();
    check(&all);
}

#[test]
fn a_page_larger_than_a_file_gets_one_of_its_own() {
    let disk = SimulatedStorage::new(1);
    let pages = new(&disk);
    let fits = 1024 - HEADER_BYTES - PAGE_HEADER_BYTES;
    let written: Vec<Place> = [fits, 0, fits + 1, 5000, 8, 8]
        .map(|bytes| pages.write(&vec![7; bytes]).unwrap())
        .to_vec();
    let in_files: Vec<u32> = written.iter().map(|place| place.file).collect();
    assert_eq!(in_files, [1, 2, 3, 4, 5, 5]);
    for place in written {
        assert_eq!(read(&pages, place).unwrap().len(), place.bytes as usize);
        assert_eq!(place.offset % 8, 0);
    }
}

#[test]
fn a_page_above_the_largest_size_is_refused() {
    let disk = SimulatedStorage::new(1);
    let pages = new(&disk);
    // Zeros that nobody touches take no memory.
    let failure = pages
        .write(&vec![0; PAGE_BYTES_MAX as usize + 1])
        .unwrap_err();
    assert_eq!(failure.error.kind(), io::ErrorKind::InvalidInput);
    assert!(names(&disk).is_empty());
    let largest = Place {
        file: 1,
        offset: 64,
        bytes: PAGE_BYTES_MAX,
    };
    for (bytes, result) in [
        (PAGE_BYTES_MAX, None),
        (PAGE_BYTES_MAX + 1, Some(Flaw::Length)),
    ] {
        let place = Place { bytes, ..largest };
        let header = super::page_header(place, b"", 9);
        assert_eq!(check_header(&header, place, 9).err(), result);
    }
}

#[test]
fn every_flipped_bit_of_a_page_is_noticed() {
    let disk = SimulatedStorage::new(1);
    let pages = new(&disk);
    let before = pages.write(b"before").unwrap();
    let place = pages.write(b"some page").unwrap();
    let behind = pages.write(b"behind").unwrap();
    let name = name_of(1);
    let begin = usize::try_from(place.offset).unwrap();
    for bit in 0..(PAGE_HEADER_BYTES + 9) * 8 {
        disk.flip(&name, begin + bit / 8, 1 << (bit % 8));
        let (file, offset, _) = flaw(&pages, place);
        assert_eq!((file.as_str(), offset), (name.as_str(), place.offset));
        assert_eq!(read(&pages, before).unwrap(), b"before");
        assert_eq!(read(&pages, behind).unwrap(), b"behind");
        disk.flip(&name, begin + bit / 8, 1 << (bit % 8));
    }
    assert_eq!(read(&pages, place).unwrap(), b"some page");
}

#[test]
fn places_that_were_never_handed_out_are_flaws() {
    let disk = SimulatedStorage::new(1);
    let pages = new(&disk);
    let place = pages.write(&[1; 64]).unwrap();
    let at = |offset, bytes| Place {
        offset,
        bytes,
        ..place
    };
    assert_eq!(flaw(&pages, at(64, 63)).2, Flaw::Foreign);
    assert_eq!(flaw(&pages, at(72, 56)).2, Flaw::Magic);
    for (offset, bytes) in [(64, 65), (64, u32::MAX), (5000, 0), (u64::MAX, 64)] {
        assert_eq!(flaw(&pages, at(offset, bytes)).2, Flaw::Length);
    }
    assert!(is_gone(&pages, Place { file: 9, ..place }));
}

#[test]
fn a_page_of_another_file_or_store_never_fits() {
    let disk = SimulatedStorage::new(1);
    let places = three_pages(&new(&disk));
    // File 2 begins like file 1, with a page of the same length.
    disk.put(&name_of(2), &disk.contents(&name_of(1)).unwrap());
    assert!(matches!(
        open(&disk, &[1, 2]).map(drop),
        Err(OpenError::Damaged { flaw: Flaw::Foreign, file, .. }) if file == name_of(2)
    ));
    let other = StoreId([9; 16]);
    for (store, place) in [(STORE, places[2]), (other, places[0])] {
        let pages = PageStore::open_all(Arc::new(disk.clone()), store, OPTIONS).unwrap();
        assert_eq!(
            flaw(&pages, place),
            (name_of(place.file), 0, Flaw::Foreign),
            "the file's header says so"
        );
    }
}

#[test]
fn opening_deletes_what_no_checkpoint_refers_to() {
    let disk = SimulatedStorage::new(1);
    let pages = new(&disk);
    let places: Vec<Place> = (0..5)
        .map(|byte| pages.write(&[byte; 900]).unwrap())
        .collect();
    disk.put("seg-00000000000000000001", b"of somebody else");
    disk.put("pages-1", b"not a name of ours");
    let pages = open(&disk, &[2, 4]).unwrap();
    // The last one stays, so that its number is not given to another.
    assert_eq!(names(&disk), [2, 4, 5]);
    assert_eq!(read(&pages, places[1]).unwrap(), [1; 900]);
    assert!(is_gone(&pages, places[0]));
    assert_eq!(pages.write(b"next").unwrap().file, 6);
    pages.retire(&files(&[2, 4])).unwrap();
    assert_eq!(names(&disk), [2, 4, 6]);
    assert_eq!(disk.list().unwrap().len(), 5);
}

#[test]
fn a_store_for_the_process_begins_empty_and_syncs_nothing() {
    let disk = SimulatedStorage::new(1);
    three_pages(&new(&disk));
    let spill = |disk: &SimulatedStorage| {
        PageStore::open(Arc::new(disk.clone()), STORE, OPTIONS, None).unwrap()
    };
    let pages = spill(&disk);
    assert!(names(&disk).is_empty());
    let place = pages.write(b"spilled").unwrap();
    assert_eq!(place.file, 3);
    let before = disk.operations();
    pages.sync().unwrap();
    assert_eq!(disk.operations(), before);
    assert_eq!(read(&pages, place).unwrap(), b"spilled");
    spill(&disk);
    assert!(names(&disk).is_empty());
}

#[test]
fn files_in_use_have_to_be_there_with_sound_headers() {
    let disk = SimulatedStorage::new(1);
    three_pages(&new(&disk));
    assert!(matches!(
        open(&disk, &[1, 7]).map(drop),
        Err(OpenError::SegmentMissing { file }) if file == name_of(7)
    ));
    disk.flip(&name_of(1), 20, 1);
    match open(&disk, &[1, 2]).map(drop).unwrap_err() {
        OpenError::Damaged {
            file,
            offset: 0,
            flaw: Flaw::HeaderChecksum,
        } => assert_eq!(file, name_of(1)),
        error => panic!("{error}"),
    }
    assert_eq!(names(&disk), [1, 2], "nothing was deleted");
    open(&disk, &[2]).unwrap();
}

#[test]
fn a_file_goes_when_nothing_in_it_is_alive_and_the_checkpoint_does_not_want_it() {
    let disk = SimulatedStorage::new(1);
    let pages = new(&disk);
    let places = three_pages(&pages);
    pages.free(places[0]);
    pages.retire(&files(&[])).unwrap();
    assert_eq!(names(&disk), [1, 2], "one page is alive");
    pages.free(places[1]);
    pages.retire(&files(&[1])).unwrap();
    assert_eq!(names(&disk), [1, 2], "the checkpoint wants it");
    pages.retire(&files(&[])).unwrap();
    assert_eq!(names(&disk), [2]);
    assert!(is_gone(&pages, places[0]));
    pages.free(places[2]);
    pages.retire(&files(&[])).unwrap();
    assert_eq!(names(&disk), [2], "pages are still added to it");
    let next = pages.write(&[4; 400]).unwrap();
    assert_eq!(next.file, 2);
    assert_eq!(read(&pages, next).unwrap(), [4; 400]);
}

#[test]
fn what_a_checkpoint_refers_to_is_counted_again() {
    let disk = SimulatedStorage::new(1);
    let places = three_pages(&new(&disk));
    let pages = PageStore::open_all(Arc::new(disk.clone()), STORE, OPTIONS).unwrap();
    assert_eq!(pages.live_bytes(), 0);
    pages.restore(places[0]);
    pages.restore(places[2]);
    assert_eq!(pages.live_bytes(), 2 * 432);
    pages.retire(&files(&[])).unwrap();
    assert_eq!(names(&disk), [1, 2]);
    pages.free(places[0]);
    pages.retire(&files(&[])).unwrap();
    assert_eq!(names(&disk), [2]);
    pages.restore(places[1]);
    assert!(is_gone(&pages, places[1]), "its file is not there");
}

#[test]
fn sparse_files_are_those_with_little_alive() {
    let disk = SimulatedStorage::new(1);
    let pages = new(&disk);
    let places = three_pages(&pages);
    let file_bytes = 64 + 2 * 432;
    assert_eq!(pages.bytes_on_disk(), file_bytes + 64 + 432);
    assert_eq!(pages.live_bytes(), 3 * 432);
    assert!(pages.sparse(90).is_empty());
    assert_eq!(pages.sparse(94), [1], "864 of 928 bytes are 93 in 100");
    pages.free(places[0]);
    assert_eq!(pages.sparse(50), [1]);
    assert!(pages.sparse(46).is_empty());
    pages.free(places[2]);
    assert_eq!(pages.sparse(50), [1], "not the one that still grows");
    pages.free(places[1]);
    assert!(pages.sparse(100).is_empty(), "there is nothing to move");
}

#[test]
fn a_full_disk_is_told_from_a_broken_one_and_ends_by_itself() {
    for operation in [Operation::Allocate, Operation::Write] {
        let disk = SimulatedStorage::new(1);
        let pages = new(&disk);
        disk.fail(Some(operation), 0, Fault::Full);
        for _ in 0..3 {
            let failure = pages.write(&[1; 400]).unwrap_err();
            assert!(is_out_of_room(&failure.error), "{failure}");
            pages.sync().unwrap();
        }
        disk.heal();
        let places = three_pages(&pages);
        assert_eq!(read(&pages, places[2]).unwrap(), [3; 400]);
        assert_eq!(pages.live_bytes(), 3 * 432);
        disk.fail(Some(operation), 0, Fault::Error);
        let failure = pages.write(&[1; 700]).unwrap_err();
        assert!(!is_out_of_room(&failure.error), "{failure}");
    }
}

#[test]
fn a_place_is_handed_out_once_even_if_writes_fail_half_way() {
    // The header is written, then a part of the payload, and then no more.
    for (fault, same_file) in [(Fault::Full, true), (Fault::Error, false)] {
        let disk = SimulatedStorage::new(3);
        let pages = new(&disk);
        let first = pages.write(&[1; 40]).unwrap();
        disk.fail(Some(Operation::Write), 1, Fault::Short);
        disk.fail(Some(Operation::Write), 1, fault);
        pages.write(&[2; 400]).unwrap_err();
        disk.heal();
        let next = pages.write(&[3; 400]).unwrap();
        assert_eq!(next.file == first.file, same_file);
        let bytes = disk.contents(&name_of(1)).unwrap();
        let begin = usize::try_from(first.offset).unwrap() + PAGE_HEADER_BYTES + 40;
        assert_eq!(&bytes[begin..begin + 4], b"TPAG", "what was cut off");
        assert_eq!(&bytes[begin + 32..begin + 33], [2]);
        assert!(!same_file || next.offset > begin as u64 + 32);
        assert_eq!(read(&pages, first).unwrap(), [1; 40]);
        assert_eq!(read(&pages, next).unwrap(), [3; 400]);
    }
}

#[test]
fn short_writes_and_reads_are_gone_on_with() {
    let disk = SimulatedStorage::new(1);
    let pages = new(&disk);
    for countdown in 0..3 {
        disk.fail(Some(Operation::Write), countdown, Fault::Short);
    }
    let places = three_pages(&pages);
    for countdown in 0..4 {
        disk.fail(Some(Operation::Read), countdown, Fault::Short);
    }
    assert_eq!(read(&pages, places[0]).unwrap(), [1; 400]);
}

#[test]
fn a_failed_sync_is_never_forgotten() {
    for operation in [Operation::Sync, Operation::Directory] {
        let disk = SimulatedStorage::new(1);
        let pages = new(&disk);
        let places = three_pages(&pages);
        disk.fail(Some(operation), 0, Fault::Error);
        assert_eq!(pages.sync().unwrap_err().action, Action::Sync);
        disk.heal();
        assert_eq!(pages.sync().unwrap_err().action, Action::Sync);
        assert_eq!(pages.write(b"more").unwrap_err().action, Action::Sync);
        assert_eq!(read(&pages, places[0]).unwrap(), [1; 400], "still seen");
    }
}

#[test]
fn an_unreadable_page_is_a_flaw_of_that_page() {
    let disk = SimulatedStorage::new(1);
    let pages = new(&disk);
    let places = three_pages(&pages);
    for countdown in 0..2 {
        disk.fail(Some(Operation::Read), countdown, Fault::Error);
        let result = read(&pages, places[1]);
        assert!(
            matches!(result, Err(ReadFlaw::Unreadable { offset, .. }) if offset == places[1].offset)
        );
        disk.heal();
    }
    assert_eq!(read(&pages, places[1]).unwrap(), [2; 400]);
}

#[test]
fn no_more_files_are_open_for_reading_than_allowed() {
    let disk = SimulatedStorage::new(1);
    let pages = new(&disk);
    let places: Vec<Place> = (0..6)
        .map(|byte| pages.write(&[byte; 900]).unwrap())
        .collect();
    let reads = |place: &Place| {
        let before = disk.operations();
        read(&pages, *place).unwrap();
        disk.operations() - before
    };
    // Opening and looking at the header are two more.
    let counts: Vec<u64> = [5, 4, 3, 3, 0, 4, 3, 5]
        .map(|at: usize| reads(&places[at]))
        .to_vec();
    assert_eq!(counts, [2, 2, 2, 2, 4, 2, 2, 4]);
}

#[test]
fn files_that_wait_for_a_sync_are_not_held_open_without_end() {
    let disk = SimulatedStorage::new(1);
    let pages = new(&disk);
    disk.fail(Some(Operation::Sync), 0, Fault::Error);
    for _ in 0..UNSYNCED_FILES_MAX {
        pages.write(&[1; 900]).unwrap();
    }
    let failure = pages.write(&[1; 900]).unwrap_err();
    assert_eq!(failure.action, Action::Sync, "one more has the rest synced");
}

#[test]
fn only_names_as_we_write_them_are_ours() {
    assert_eq!(number_of(&name_of(u32::MAX)), Some(u32::MAX));
    for name in ["pages-1", "pages-00000000001", "pages-+000000001", "LOCK"] {
        assert_eq!(number_of(name), None, "{name}");
    }
}

#[test]
fn when_all_numbers_are_used_up_nothing_is_overwritten() {
    let disk = SimulatedStorage::new(1);
    disk.put(&name_of(u32::MAX - 1), b"");
    let pages = new(&disk);
    let last = pages.write(&[1; 900]).unwrap();
    assert_eq!(last.file, u32::MAX);
    assert_eq!(pages.write(&[2; 900]).unwrap_err().action, Action::Create);
    assert_eq!(read(&pages, last).unwrap(), [1; 900]);
}
