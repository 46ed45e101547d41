//! One fault at a time: damage, tears, full disks, failed syncs, files that are missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{STORE, Stepped, batch, options, read_all, reopen};
use crate::check::{check, dump};
use crate::committer::Next;
use crate::error::{Action, Flaw, OpenError};
use crate::frame::FRAME_HEADER_BYTES;
use crate::log::{Index, Log as _, LogError, Pressure, Watcher};
use crate::options::{Durability, Options, StoreId};
use crate::segment::{HEADER_BYTES, segment_name};
use crate::simulated::{Fault, Operation, SimulatedStorage};

const FIRST: &str = "seg-00000000000000000001";

fn open(disk: &SimulatedStorage) -> Stepped {
    Stepped::open(disk, options()).unwrap()
}

fn refusal(disk: &SimulatedStorage) -> OpenError {
    let error = Stepped::open(disk, options()).map(drop).unwrap_err();
    let report = check(disk).unwrap();
    assert!(!report.is_sound(), "check finds what open refuses");
    error
}

/// A disk on which three groups of one record each were written before the process was killed.
fn three_groups() -> SimulatedStorage {
    let disk = SimulatedStorage::new(1);
    let mut log = open(&disk);
    for record in ["first", "second", "third"] {
        log.append(&[record]).unwrap();
        assert_eq!(log.step(), Next::Again);
    }
    disk
}

fn texts(records: Vec<(u64, Vec<u8>)>) -> Vec<String> {
    let text = |(_, record)| String::from_utf8(record).unwrap();
    records.into_iter().map(text).collect()
}

/// Where the frame with this place begins; frames of one short record have 80 bytes.
const fn frame(place: usize) -> usize {
    HEADER_BYTES + place * 80
}

#[test]
fn records_come_back_after_a_kill_and_after_a_clean_end() {
    let disk = three_groups();
    let (records, log) = reopen(&disk);
    assert_eq!(texts(records), ["first", "second", "third"]);
    assert_eq!(log.append(&["fourth"]), Ok(Index(4)));
    log.close();
    let (records, log) = reopen(&disk);
    assert_eq!(texts(records), ["first", "second", "third", "fourth"]);
    assert!(!log.cut);
}

#[test]
fn an_empty_batch_takes_no_index_and_writes_nothing() {
    let disk = three_groups();
    let (_, mut log) = reopen(&disk);
    let before = disk.contents(FIRST);
    assert_eq!(log.append(&[]), Ok(Index(4)));
    log.step();
    assert_eq!(disk.contents(FIRST), before);
}

#[test]
fn a_torn_last_group_is_cut() {
    for torn in [0, 8, 20, FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + 4] {
        let disk = three_groups();
        disk.flip(FIRST, frame(2) + torn, 0xFF);
        let report = check(&disk).unwrap();
        assert!(report.is_sound());
        let (records, log) = reopen(&disk);
        assert_eq!(texts(records), ["first", "second"]);
        assert_eq!(log.append(&["other"]), Ok(Index(3)));
        log.close();
        assert_eq!(texts(reopen(&disk).0), ["first", "second", "other"]);
    }
}

#[test]
fn damage_before_the_last_group_is_refused_with_file_and_offset() {
    for (place, at, flaw) in [
        (0, 0, Flaw::Magic),
        (1, 0, Flaw::Magic),
        (1, 40, Flaw::HeaderChecksum),
        (0, FRAME_HEADER_BYTES + 4, Flaw::PayloadChecksum),
        (1, FRAME_HEADER_BYTES + 9, Flaw::PayloadChecksum),
    ] {
        let disk = three_groups();
        let before = disk.contents("manifest.a");
        disk.flip(FIRST, frame(place) + at, 1);
        match refusal(&disk) {
            OpenError::Damaged {
                file,
                offset,
                flaw: found,
            } => {
                assert_eq!((file.as_str(), found), (FIRST, flaw));
                assert_eq!(offset, frame(place) as u64);
            }
            error => panic!("{error}"),
        }
        assert_eq!(disk.contents("manifest.a"), before, "nothing was changed");
    }
}

#[test]
fn damage_to_the_last_group_is_refused_after_a_clean_end() {
    let disk = three_groups();
    reopen(&disk).1.close();
    disk.flip(FIRST, frame(2) + FRAME_HEADER_BYTES + 4, 1);
    assert!(matches!(
        refusal(&disk),
        OpenError::Damaged { offset, flaw: Flaw::PayloadChecksum, .. } if offset == frame(2) as u64
    ));
}

#[test]
fn a_frame_that_survived_the_loss_of_one_before_it_never_comes_back() {
    let disk = SimulatedStorage::new(1);
    let mut log = open(&disk);
    log.append(&["a"]).unwrap();
    log.append(&["b"]).unwrap();
    log.step();
    drop(log);
    let b = disk.contents(FIRST).unwrap()[HEADER_BYTES + 72..][..72].to_vec();
    disk.flip(FIRST, HEADER_BYTES, 1);

    let (records, mut log) = reopen(&disk);
    assert!(records.is_empty() && log.cut);
    // The same bytes in the same place: what was behind them would follow them.
    log.append(&["a"]).unwrap();
    log.step();
    drop(log);
    assert_eq!(texts(reopen(&disk).0), ["a"]);

    // Even if it had not been wiped, it would not follow other bytes.
    let disk = SimulatedStorage::new(1);
    let mut log = open(&disk);
    log.append(&["x"]).unwrap();
    log.step();
    drop(log);
    let mut contents = disk.contents(FIRST).unwrap();
    contents[HEADER_BYTES + 72..][..72].copy_from_slice(&b);
    disk.put(FIRST, &contents);
    let (records, log) = reopen(&disk);
    assert_eq!(texts(records), ["x"]);
    assert!(log.cut);
}

/// Fills segments with records of a KiB until there are `segments` of them. Each holds three.
fn fill(log: &mut Stepped, segments: u64) {
    let record = "r".repeat(1024);
    for _ in 0..segments * 3 {
        log.append(&[&record]).unwrap();
        assert_eq!(log.step(), Next::Again);
    }
}

#[test]
fn damage_in_an_earlier_segment_is_refused_when_it_is_read() {
    let disk = SimulatedStorage::new(1);
    let mut log = open(&disk);
    fill(&mut log, 3);
    drop(log);
    // The last frame of the first segment: only the second segment's header knows that it has to be there.
    let last = HEADER_BYTES + 2 * (1024 + 72);
    disk.flip(FIRST, last + 100, 1);
    let mut log = open(&disk);
    assert!(matches!(
        read_all(&mut log.recovered),
        Err(OpenError::Damaged { file, offset, flaw: Flaw::PayloadChecksum })
            if file == FIRST && offset == last as u64
    ));
    // What lies behind it can be read.
    let from = Options {
        replay_from: Some(Index(4)),
        ..options()
    };
    let mut log = Stepped::open(&disk, from).unwrap();
    assert_eq!(read_all(&mut log.recovered).unwrap().len(), 6);
    let report = check(&disk).unwrap();
    assert_eq!((report.problems.len(), report.records()), (1, 8));
}

#[test]
fn a_missing_segment_is_refused_wherever_it_was() {
    for missing in 1..=4 {
        let disk = SimulatedStorage::new(1);
        let mut log = open(&disk);
        fill(&mut log, 4);
        drop(log);
        disk.remove(&segment_name(missing));
        assert!(matches!(
            refusal(&disk),
            OpenError::SegmentMissing { file } if file == segment_name(missing)
        ));
    }
}

#[test]
fn segments_without_a_manifest_are_refused_and_not_read_as_empty() {
    let disk = three_groups();
    for name in ["manifest.a", "manifest.b"] {
        disk.remove(name);
    }
    assert!(matches!(
        refusal(&disk),
        OpenError::ManifestMissing { files } if files >= 1
    ));
}

#[test]
fn one_damaged_manifest_is_made_new_and_two_are_refused() {
    let disk = three_groups();
    disk.flip("manifest.a", 20, 1);
    assert_eq!(check(&disk).unwrap().unreadable_manifests, 1);
    assert_eq!(reopen(&disk).0.len(), 3);
    disk.flip("manifest.b", 20, 1);
    assert_eq!(reopen(&disk).0.len(), 3);
    disk.flip("manifest.a", 30, 1);
    disk.flip("manifest.b", 30, 1);
    assert!(matches!(refusal(&disk), OpenError::ManifestDamaged { .. }));
}

#[test]
fn either_manifest_alone_is_enough_after_a_release() {
    for damaged in ["manifest.a", "manifest.b"] {
        let disk = SimulatedStorage::new(1);
        let mut log = open(&disk);
        fill(&mut log, 3);
        log.give_up(4);
        drop(log);
        disk.flip(damaged, 50, 1);
        assert_eq!(reopen(&disk).0.len(), 6);
    }
}

#[test]
fn files_of_another_store_are_refused() {
    let disk = three_groups();
    let other = SimulatedStorage::new(2);
    let store = Options {
        new_store_id: StoreId([9; 16]),
        ..options()
    };
    let mut log = Stepped::open(&other, store).unwrap();
    log.append(&["foreign"]).unwrap();
    log.step();
    drop(log);
    disk.put(FIRST, &other.contents(FIRST).unwrap());
    assert!(matches!(
        refusal(&disk),
        OpenError::Damaged {
            offset: 0,
            flaw: Flaw::Foreign,
            ..
        }
    ));
    disk.put("manifest.b", &other.contents("manifest.b").unwrap());
    assert!(matches!(refusal(&disk), OpenError::ManifestsDiffer));
}

#[test]
fn frames_of_a_recycled_segment_are_never_read() {
    let disk = SimulatedStorage::new(1);
    let mut log = open(&disk);
    fill(&mut log, 2);
    log.give_up(4);
    let spares = check(&disk).unwrap().spares;
    assert_eq!(spares, 2, "the one that is ready, and the first segment");
    fill(&mut log, 1);
    let new = "n".repeat(1024);
    log.append(&[&new]).unwrap();
    log.step();
    drop(log);
    let (records, log) = reopen(&disk);
    assert_eq!(
        records.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
        (4..=10).collect::<Vec<_>>()
    );
    // The file is the first segment's, and an old frame of it begins exactly where the new one ends.
    let recycled = disk.contents(&segment_name(4)).unwrap();
    assert_eq!(recycled[HEADER_BYTES + 1096..][..4], *b"TFRM");
    assert!(!log.cut);
}

#[test]
fn replay_begins_where_it_is_asked_to_or_not_at_all() {
    let disk = SimulatedStorage::new(1);
    let mut log = open(&disk);
    fill(&mut log, 4);
    log.give_up(6);
    drop(log);
    let from = |index| {
        let options = Options {
            replay_from: Some(Index(index)),
            ..options()
        };
        let mut log = Stepped::open(&disk, options)?;
        Ok(read_all(&mut log.recovered)?
            .first()
            .map(|(index, _)| *index))
    };
    assert!(matches!(
        from(3),
        Err(OpenError::Released {
            wanted: Index(3),
            first: Index(4)
        })
    ));
    for index in 4..=12 {
        assert_eq!(from(index).unwrap(), Some(index));
    }
    assert_eq!(from(13).unwrap(), None);
    assert!(matches!(
        from(14),
        Err(OpenError::TooShort {
            wanted: Index(14),
            last: Index(12)
        })
    ));
}

#[test]
fn released_segments_are_recycled_and_what_is_too_much_deleted() {
    let disk = SimulatedStorage::new(1);
    let mut log = open(&disk);
    fill(&mut log, 10);
    // One below the first record of the last segment: it stays with the one before.
    log.give_up(27);
    let report = check(&disk).unwrap();
    assert_eq!(report.segments.len(), 2);
    assert_eq!(report.first(), Some(Index(25)));
    assert_eq!(report.spares, 3, "one ready and two in reserve");
    assert!(report.is_sound());
    log.give_up(u64::MAX);
    assert_eq!(check(&disk).unwrap().segments.len(), 1);
    log.close();
}

/// Remembers where the watermark was.
#[derive(Default)]
struct Seen(AtomicU64);

impl Watcher for Seen {
    fn on_commit(&self, committed: Index) {
        self.0.store(committed.0, Ordering::Release);
    }
}

#[test]
fn a_failed_write_or_sync_ends_the_log_and_leaves_the_watermark() {
    for (operation, action) in [
        (Operation::Write, Action::Write),
        (Operation::Sync, Action::Sync),
    ] {
        let disk = SimulatedStorage::new(1);
        let failures = Arc::new(AtomicU64::new(0));
        let counter = failures.clone();
        let options = Options {
            on_failure: Some(Box::new(move |_| {
                counter.fetch_add(1, Ordering::Relaxed);
            })),
            ..options()
        };
        let mut log = Stepped::open(&disk, options).unwrap();
        let seen = Arc::new(Seen::default());
        log.log.watch(seen.clone());
        log.append(&["safe"]).unwrap();
        log.step();
        disk.fail(Some(operation), 0, Fault::Error);
        log.append(&["lost"]).unwrap();
        assert_eq!(log.step(), Next::End);
        assert_eq!(log.log.committed(), Index(1));
        assert_eq!(seen.0.load(Ordering::Acquire), 1);
        assert_eq!(log.append(&["late"]), Err(LogError::Closed));
        assert_eq!(log.log.failure().unwrap().action, action);
        assert_eq!(failures.load(Ordering::Relaxed), 1);
        assert!(log.log.close().is_err(), "closing tells of the failure");
        assert_eq!(failures.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn what_a_failed_sync_left_in_the_cache_is_on_disk_before_it_counts() {
    for seed in 0..50 {
        let disk = SimulatedStorage::new(seed);
        let mut log = open(&disk);
        log.append(&["safe"]).unwrap();
        log.step();
        disk.fail(Some(Operation::Sync), 0, Fault::Error);
        log.append(&["in the cache"]).unwrap();
        assert_eq!(log.step(), Next::End);
        drop(log);
        // The process starts again and sees it, so it must stay.
        let (records, log) = reopen(&disk);
        assert_eq!(texts(records), ["safe", "in the cache"]);
        drop(log);
        disk.crash(seed);
        assert_eq!(texts(reopen(&disk).0), ["safe", "in the cache"]);
    }
}

#[test]
fn short_writes_and_reads_are_continued() {
    let disk = SimulatedStorage::new(1);
    let mut log = open(&disk);
    for _ in 0..20 {
        disk.fail(Some(Operation::Write), 0, Fault::Short);
        log.append(&["record", "another"]).unwrap();
        assert_eq!(log.step(), Next::Again);
    }
    drop(log);
    for countdown in 0..8 {
        disk.fail(Some(Operation::Read), countdown, Fault::Short);
    }
    assert_eq!(reopen(&disk).0.len(), 40);
}

#[test]
fn a_read_error_is_reported_with_its_file_and_changes_nothing() {
    let disk = three_groups();
    for countdown in 0.. {
        disk.fail(Some(Operation::Read), countdown, Fault::Error);
        match Stepped::open(&disk, options()) {
            Err(OpenError::Io(failure)) => assert!(!failure.file.is_empty()),
            Err(error) => panic!("{error}"),
            Ok(_) => break,
        }
        disk.heal();
    }
    disk.heal();
    assert_eq!(reopen(&disk).0.len(), 3);
}

#[test]
fn a_full_disk_refuses_appends_before_anything_can_be_lost() {
    let disk = SimulatedStorage::new(1);
    let mut log = open(&disk);
    let record = "r".repeat(1024);
    disk.fail(Some(Operation::Allocate), 0, Fault::Full);
    let mut accepted = 0;
    while log.append(&[&record]).is_ok() {
        accepted += 1;
        if accepted % 2 == 0 {
            assert_eq!(log.step(), Next::Again, "a full disk is no failure");
        }
    }
    assert_eq!(log.append(&[&record]), Err(LogError::Full));
    assert_eq!(log.log.pressure(), Pressure::NoRoom);
    assert_eq!(log.append(&["small"]), Err(LogError::Full));
    assert_eq!(
        log.log.append_essential(&batch(&["small ones still fit"])),
        Ok(Index(accepted + 1))
    );
    assert_eq!(log.step(), Next::Again);
    assert_eq!(log.log.committed(), Index(accepted + 1));
    // Room is found without anything being appended: the refusal has made the committer look.
    disk.heal();
    assert_eq!(log.append(&[&record]), Err(LogError::Full));
    log.step();
    assert_eq!(log.log.pressure(), Pressure::None);
    assert_eq!(log.append(&[&record]), Ok(Index(accepted + 2)));
    log.close();
    assert_eq!(reopen(&disk).0.len() as u64, accepted + 2);
}

#[test]
fn releasing_makes_room_on_a_full_disk() {
    let disk = SimulatedStorage::new(1);
    let mut log = open(&disk);
    fill(&mut log, 2);
    disk.fail(Some(Operation::Allocate), 0, Fault::Full);
    log.append(&["r".repeat(1024).as_str()]).unwrap();
    log.step();
    assert_eq!(log.log.pressure(), Pressure::NoRoom);
    log.give_up(4);
    assert_eq!(log.log.pressure(), Pressure::None);
}

#[test]
fn what_waits_for_the_disk_is_bounded() {
    let disk = SimulatedStorage::new(1);
    let options = Options {
        unsynced_high_bytes: 1000,
        unsynced_bytes_max: 2000,
        ..options()
    };
    let mut log = Stepped::open(&disk, options).unwrap();
    let record = "r".repeat(928);
    assert_eq!(log.append(&[&record]), Ok(Index(1)));
    assert_eq!(log.log.pressure(), Pressure::Behind);
    assert_eq!(log.append(&[&record]), Ok(Index(2)));
    assert_eq!(
        log.append(&[&record]),
        Ok(Index(3)),
        "2000 bytes exactly wait"
    );
    assert_eq!(log.append(&[&record]), Err(LogError::Full));
    log.step();
    assert_eq!(log.log.pressure(), Pressure::None);
    assert_eq!(log.append(&[&record]), Ok(Index(4)));
}

#[test]
fn a_batch_larger_than_a_segment_gets_a_segment_of_its_own() {
    let disk = SimulatedStorage::new(1);
    let mut log = open(&disk);
    let large = "l".repeat(100_000);
    log.append(&["before"]).unwrap();
    log.append(&[&large]).unwrap();
    assert_eq!(log.step(), Next::Again);
    log.append(&["behind"]).unwrap();
    assert_eq!(log.step(), Next::Again);
    drop(log);
    let (records, mut log) = reopen(&disk);
    assert_eq!(texts(records), ["before", &large, "behind"]);
    let bytes: Vec<u64> = check(&disk)
        .unwrap()
        .segments
        .iter()
        .map(|s| s.bytes)
        .collect();
    assert_eq!(bytes[0], 8192);
    assert!(bytes[1] > 100_000 && bytes[2] == 8192);
    // It is too large to be a spare.
    log.give_up(3);
    let report = check(&disk).unwrap();
    assert_eq!((report.segments.len(), report.spares), (1, 2));
}

#[test]
fn os_durability_commits_without_a_sync_and_a_power_cut_leaves_whole_batches() {
    let disk = SimulatedStorage::new(1);
    let os = || Options {
        durability: Durability::Os,
        ..options()
    };
    let mut log = Stepped::open(&disk, os()).unwrap();
    log.append(&["warm-up"]).unwrap();
    log.step();
    disk.fail(Some(Operation::Sync), 0, Fault::Error);
    log.append(&["a", "b"]).unwrap();
    assert_eq!(log.step(), Next::Again);
    assert_eq!(log.log.committed(), Index(3));
    drop(log);
    disk.heal();
    let mut log = Stepped::open(&disk, os()).unwrap();
    assert_eq!(
        read_all(&mut log.recovered).unwrap().len(),
        3,
        "a kill loses nothing"
    );
    log.close();
    disk.crash(1);
    assert_eq!(reopen(&disk).0.len(), 3, "a clean end has synced it");
}

#[test]
fn the_log_can_be_listed_and_says_where_each_batch_lies() {
    let disk = SimulatedStorage::new(1);
    let mut log = open(&disk);
    log.log.append(&batch(&["a", "bc"])).unwrap();
    log.log.append(&batch(&["def"])).unwrap();
    log.step();
    let mut lines = Vec::new();
    let report = dump(&disk, &mut |entry| lines.push(format!("{entry:?}"))).unwrap();
    assert_eq!(
        lines,
        [
            "Frame { file: \"seg-00000000000000000001\", offset: 4096, sequence: 1, first: Index(1), records: 2, bytes: 80 }",
            "Record { index: Index(1), record: [97] }",
            "Record { index: Index(2), record: [98, 99] }",
            "Frame { file: \"seg-00000000000000000001\", offset: 4176, sequence: 2, first: Index(3), records: 1, bytes: 72 }",
            "Record { index: Index(3), record: [100, 101, 102] }",
        ]
    );
    assert_eq!((report.store, report.records()), (Some(STORE), 3));
    assert_eq!(report.segments[0].end, 4248);
}

#[test]
fn an_empty_directory_is_sound_and_empty() {
    let report = check(&SimulatedStorage::new(1)).unwrap();
    assert!(report.is_sound() && report.store.is_none() && report.segments.is_empty());
}

#[test]
fn impossible_segment_sizes_are_refused() {
    for (bytes, possible) in [
        (8191, false),
        (8192, true),
        (1 << 30, true),
        ((1 << 30) + 1, false),
    ] {
        let sized = Options {
            segment_bytes: bytes,
            ..options()
        };
        assert_eq!(sized.checked_segment_bytes().is_ok(), possible);
    }
}
