//! Repairs that accept a loss.

use super::{Stepped, batch, options, read_all};
use crate::check::check;
use crate::committer::Next;
use crate::error::OpenError;
use crate::log::Log as _;
use crate::repair::{AcceptLoss, Repair, repair};
use crate::segment::{HEADER_BYTES, segment_name};
use crate::simulated::{Fault, Random, SimulatedStorage};
use crate::storage::Storage as _;

/// Segments with three records of a KiB each; the last has one.
fn written(records: u64) -> SimulatedStorage {
    let disk = SimulatedStorage::new(1);
    let mut log = Stepped::open(&disk, options()).unwrap();
    for index in 1..=records {
        log.log.append(&batch(&[record_of(index)])).unwrap();
        assert_eq!(log.step(), Next::Again);
    }
    disk
}

fn record_of(index: u64) -> Vec<u8> {
    vec![u8::try_from(index).unwrap(); 1024]
}

const FRAME: usize = 1024 + 72;

/// Repairs, and reads what is left. Its records are those of the range.
fn repaired(disk: &SimulatedStorage, first: u64, last: u64) -> Repair {
    assert!(Stepped::open(disk, options()).is_err() || !check(disk).unwrap().is_sound());
    let before: Vec<_> = disk.list().unwrap();
    let foreseen = repair(disk, AcceptLoss::No).unwrap();
    assert_eq!(disk.list().unwrap(), before, "nothing was changed");
    let done = repair(disk, AcceptLoss::Yes).unwrap();
    assert_eq!(
        (&done.lost, &done.rewritten, done.next),
        (&foreseen.lost, &foreseen.rewritten, foreseen.next)
    );
    assert!(
        check(disk).unwrap().is_sound(),
        "{:?}",
        check(disk).unwrap().problems
    );
    let mut log = Stepped::open(disk, options()).unwrap();
    assert!(!log.cut);
    let records = read_all(&mut log.recovered).unwrap();
    let expected: Vec<_> = (first..=last)
        .map(|index| (index, record_of(index)))
        .collect();
    assert!(records == expected, "{} records", records.len());
    assert_eq!(log.log.next_index(), done.next);
    assert_eq!(done.next.0, last + 1);
    // It goes on from there, over the end of the segment.
    for index in last + 1..=last + 5 {
        log.log.append(&batch(&[record_of(index)])).unwrap();
        assert_eq!(log.step(), Next::Again);
    }
    drop(log);
    let mut log = Stepped::open(disk, options()).unwrap();
    assert_eq!(
        read_all(&mut log.recovered).unwrap().len() as u64,
        last + 6 - first
    );
    done
}

#[test]
fn a_sound_log_is_not_touched() {
    let disk = written(7);
    let before: Vec<_> = disk
        .list()
        .unwrap()
        .iter()
        .map(|n| disk.contents(n))
        .collect();
    let done = repair(&disk, AcceptLoss::Yes).unwrap();
    assert!(done.problems.is_empty() && done.lost.is_empty());
    assert_eq!(done.next.0, 8);
    let after: Vec<_> = disk
        .list()
        .unwrap()
        .iter()
        .map(|n| disk.contents(n))
        .collect();
    assert!(before == after);
    assert_eq!(
        repair(&SimulatedStorage::new(1), AcceptLoss::Yes)
            .unwrap()
            .next
            .0,
        1
    );
}

#[test]
fn the_log_is_cut_at_the_damage_and_what_lay_behind_it_is_told() {
    let disk = written(10);
    disk.flip(&segment_name(2), HEADER_BYTES + FRAME + 200, 1);
    let done = repaired(&disk, 1, 4);
    let lost: Vec<_> = done
        .lost
        .iter()
        .map(|l| (l.file.clone(), l.offset, l.frames, l.records))
        .collect();
    assert_eq!(
        lost,
        [
            (segment_name(2), (HEADER_BYTES + FRAME) as u64, 2, 2),
            (segment_name(3), 0, 3, 3),
            (segment_name(4), 0, 1, 1),
        ]
    );
    assert!(
        disk.contents(&format!("lost-{}", segment_name(3)))
            .is_some()
    );
}

#[test]
fn damage_in_the_last_segment_is_cut() {
    let disk = written(9);
    disk.flip(&segment_name(3), HEADER_BYTES + 200, 1);
    let done = repaired(&disk, 1, 6);
    assert_eq!((done.lost.len(), done.lost[0].records), (1, 3));
}

#[test]
fn a_missing_segment_cuts_the_log_and_a_missing_first_one_makes_it_begin_later() {
    let disk = written(10);
    disk.remove(&segment_name(3));
    assert_eq!(repaired(&disk, 1, 6).lost.len(), 2);
    let disk = written(10);
    disk.remove(&segment_name(4));
    assert_eq!(repaired(&disk, 1, 9).lost.len(), 1);
    let disk = written(10);
    disk.remove(&segment_name(1));
    assert_eq!(repaired(&disk, 4, 10).lost.len(), 1);
}

#[test]
fn headers_and_manifests_are_found_out_without_a_loss() {
    for damaged in 1..=4 {
        let disk = written(10);
        disk.flip(&segment_name(damaged), 60, 1);
        let done = repaired(&disk, 1, 10);
        assert!(done.lost.is_empty());
        assert_eq!(done.rewritten, [segment_name(damaged)]);
    }
    let disk = written(10);
    disk.flip("manifest.a", 60, 1);
    disk.flip("manifest.b", 60, 1);
    assert!(repaired(&disk, 1, 10).lost.is_empty());
    let disk = written(10);
    disk.remove("manifest.a");
    disk.remove("manifest.b");
    assert!(repaired(&disk, 1, 10).lost.is_empty());
}

#[test]
fn what_nothing_is_known_of_is_refused() {
    let disk = written(1);
    disk.flip(&segment_name(1), 60, 1);
    disk.flip(&segment_name(1), HEADER_BYTES + 100, 1);
    assert!(matches!(
        repair(&disk, AcceptLoss::Yes),
        Err(OpenError::Damaged { .. })
    ));
}

#[test]
fn a_repair_that_is_cut_off_is_done_by_the_next() {
    for countdown in 0.. {
        let disk = written(10);
        disk.flip(&segment_name(2), HEADER_BYTES + FRAME + 200, 1);
        disk.fail(None, countdown, Fault::PowerCut);
        let done = repair(&disk, AcceptLoss::Yes).is_ok();
        disk.crash(countdown);
        repair(&disk, AcceptLoss::Yes).unwrap();
        let mut log = Stepped::open(&disk, options()).unwrap();
        assert_eq!(
            read_all(&mut log.recovered).unwrap().len(),
            4,
            "{countdown}"
        );
        if done {
            assert!(countdown > 20);
            break;
        }
    }
}

#[test]
fn after_any_damage_a_repair_leaves_a_log_that_opens_or_says_that_it_cannot() {
    let mut refused = 0;
    for seed in 0..400 {
        let mut random = Random(seed);
        let disk = written(10);
        let names = disk.list().unwrap();
        for _ in 0..=random.below(5) {
            let name = &names[random.below(names.len())];
            if random.one_in(10) {
                disk.remove(name);
            } else if let Some(contents) = disk.contents(name) {
                disk.flip(name, random.below(contents.len()), 1 << random.below(8));
            }
        }
        match repair(&disk, AcceptLoss::Yes) {
            Ok(done) => {
                let report = check(&disk).unwrap();
                assert!(report.problems.is_empty(), "{seed}: {:?}", report.problems);
                let mut log = Stepped::open(&disk, options()).unwrap();
                let records = read_all(&mut log.recovered).unwrap();
                assert!(
                    records
                        .iter()
                        .all(|(index, record)| *record == record_of(*index))
                );
                assert_eq!(log.log.next_index(), done.next);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused < 40, "{refused}");
}
