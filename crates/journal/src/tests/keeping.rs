//! Segments that are kept, copied and dropped.

use super::{Stepped, batch, options, read, read_all};
use crate::check::check;
use crate::committer::Next;
use crate::error::{Flaw, OpenError};
use crate::log::{Index, Log as _};
use crate::options::Options;
use crate::segment::{HEADER_BYTES, KeptSegment, SegmentKind, SegmentRef, cold_name, segment_name};
use crate::simulated::{Fault, Operation, SimulatedStorage};
use crate::storage::Storage as _;
use crate::table::SegmentInfo;

/// A disk with segments of three records each, up to the given one; its record is the last.
fn written(segments: u64) -> (SimulatedStorage, Stepped) {
    let disk = SimulatedStorage::new(1);
    let mut log = Stepped::open(&disk, options()).unwrap();
    for index in 1..=(segments - 1) * 3 + 1 {
        log.log.append(&batch(&[record_of(index)])).unwrap();
        assert_eq!(log.step(), Next::Again);
    }
    (disk, log)
}

fn record_of(index: u64) -> Vec<u8> {
    vec![u8::try_from(index).unwrap(); 1000]
}

fn journal(id: u64) -> SegmentRef {
    let kind = SegmentKind::Journal;
    SegmentRef { kind, id }
}

fn cold(id: u64) -> SegmentRef {
    let kind = SegmentKind::Cold;
    SegmentRef { kind, id }
}

fn keeping(kept: &[SegmentRef], from: u64) -> Options {
    let kept = kept.iter().map(|&segment| KeptSegment {
        segment,
        end: Index(segment.id * 3 + 1),
    });
    Options {
        kept: kept.collect(),
        replay_from: Some(Index(from)),
        ..options()
    }
}

/// Which of the records up to `last` can be read.
fn readable(log: &Stepped, last: u64) -> Vec<u64> {
    let all: Vec<u64> = (1..=last).collect();
    let records = read(&log.log.reader(), &all).into_iter();
    let readable = records.filter_map(|(index, record)| {
        let record = record.ok()?;
        assert_eq!(record, record_of(index));
        Some(index)
    });
    readable.collect()
}

fn copy(log: &Stepped, victims: &[SegmentRef], live: &[u64]) -> crate::cold::Copied {
    let live = &mut live.iter().map(|&index| Index(index));
    log.log.copy_live(victims, live).unwrap()
}

#[test]
fn released_segments_stay_readable_until_they_are_dropped() {
    let (disk, mut log) = written(5);
    log.log.release(Index(10));
    log.step();
    let kept: Vec<(u64, bool)> = log.log.segments().iter().map(|s| (s.id, s.kept)).collect();
    assert_eq!(
        kept,
        [(1, true), (2, true), (3, true), (4, false), (5, false)]
    );
    assert_eq!(readable(&log, 13), (1..=13).collect::<Vec<_>>());
    log.log
        .drop_segments(&[journal(2), journal(4), journal(77), cold(1)]);
    log.step();
    assert_eq!(readable(&log, 13), [1, 2, 3, 7, 8, 9, 10, 11, 12, 13]);
    let report = check(&disk).unwrap();
    assert!(report.is_sound() && report.kept_problems.is_empty());
    assert_eq!((report.kept.len(), report.segments.len()), (2, 2));

    // The owner's list decides what is still there after a restart.
    drop(log);
    let mut log = Stepped::open(&disk, keeping(&[journal(1), journal(4)], 10)).unwrap();
    assert_eq!(read_all(&mut log.recovered).unwrap().len(), 4);
    assert_eq!(readable(&log, 13), [1, 2, 3, 10, 11, 12, 13]);
    let infos = log.log.segments();
    let of = |s: &SegmentInfo| (s.id, s.first.0, s.end.0, s.kept);
    assert_eq!(
        infos.iter().map(of).collect::<Vec<_>>(),
        [(1, 1, 4, true), (4, 10, 13, false), (5, 13, 14, false)]
    );
    assert!(disk.contents(&segment_name(3)).is_none());
}

#[test]
fn a_kept_segment_that_is_not_there_or_damaged_is_refused() {
    let (disk, mut log) = written(4);
    log.log.release(Index(10));
    log.step();
    drop(log);
    let open = |kept: &[SegmentRef]| Stepped::open(&disk, keeping(kept, 10)).map(drop);
    for missing in [journal(5), cold(1)] {
        let before = disk.list().unwrap();
        assert!(matches!(
            open(&[journal(1), missing]),
            Err(OpenError::SegmentMissing { file }) if file == missing.file()
        ));
        assert_eq!(disk.list().unwrap(), before, "nothing was changed");
    }
    disk.flip(&segment_name(2), 60, 1);
    assert!(matches!(
        open(&[journal(1), journal(2)]),
        Err(OpenError::Damaged {
            offset: 0,
            flaw: Flaw::HeaderChecksum,
            ..
        })
    ));
    let report = check(&disk).unwrap();
    assert!(report.is_sound() && report.kept_problems.len() == 1);
    disk.remove(&segment_name(1));
    assert!(matches!(
        open(&[journal(1)]),
        Err(OpenError::SegmentMissing { .. })
    ));
    open(&[]).unwrap();
}

#[test]
fn live_records_are_copied_and_read_from_where_they_were_copied_to() {
    let (disk, mut log) = written(6);
    log.log.release(Index(13));
    log.step();
    let victims = [journal(1), journal(2), journal(4)];
    // 7 lies in a segment that is no victim.
    let copied = copy(&log, &victims, &[2, 3, 4, 7, 11]);
    let segment = copied.segment.unwrap();
    assert_eq!(
        (copied.records, copied.damaged, copied.keep.len()),
        (4, 0, 0)
    );
    assert_eq!(
        (
            segment.reference(),
            segment.first,
            segment.end,
            segment.kept
        ),
        (cold(1), Index(2), Index(12), true)
    );
    log.log.drop_segments(&victims);
    log.step();
    let left = [2, 3, 4, 7, 8, 9, 11, 13, 14, 15, 16];
    assert_eq!(readable(&log, 16), left);
    let report = check(&disk).unwrap();
    assert!(report.is_sound() && report.kept_problems.is_empty());
    assert_eq!((report.cold[0].frames, report.cold[0].records), (2, 4));

    drop(log);
    disk.crash(5);
    let kept = [journal(3), cold(1)];
    let mut log = Stepped::open(&disk, keeping(&kept, 13)).unwrap();
    assert_eq!(readable(&log, 16), left);
    // What was copied once can be copied again, with others.
    let victims = [journal(3), cold(1)];
    assert_eq!(copy(&log, &victims, &[3, 9, 11]).segment.unwrap().id, 2);
    log.log.drop_segments(&victims);
    log.step();
    assert_eq!(readable(&log, 16), [3, 9, 11, 13, 14, 15, 16]);
    drop(log);
    // A copy that no checkpoint lists is deleted.
    let log = Stepped::open(&disk, keeping(&[], 13)).unwrap();
    assert_eq!(readable(&log, 16), [13, 14, 15, 16]);
    assert!(disk.contents(&cold_name(2)).is_none());
}

#[test]
fn nothing_to_copy_makes_no_file() {
    let (disk, log) = written(3);
    let before = disk.list().unwrap();
    assert_eq!(copy(&log, &[journal(1)], &[]).segment, None);
    assert_eq!(copy(&log, &[journal(1)], &[5]).segment, None);
    assert_eq!(disk.list().unwrap(), before);
}

#[test]
fn a_damaged_record_is_not_copied_and_its_victim_is_named() {
    let (disk, log) = written(4);
    disk.flip(&segment_name(2), HEADER_BYTES + 100, 1);
    let copied = copy(&log, &[journal(1), journal(2), journal(3)], &[1, 4, 5, 9]);
    assert_eq!((copied.records, copied.damaged), (3, 1));
    assert_eq!(copied.keep, [journal(2)]);
    // Whatever becomes of the victim, what was copied is read.
    disk.flip(&segment_name(1), HEADER_BYTES + 100, 1);
    assert!(readable(&log, 9).contains(&1));
}

#[test]
fn a_copy_that_fails_leaves_nothing_behind_and_the_log_goes_on() {
    for (operation, fault) in [
        (Operation::Write, Fault::Error),
        (Operation::Sync, Fault::Error),
        (Operation::Allocate, Fault::Full),
    ] {
        let (disk, mut log) = written(4);
        let before = disk.list().unwrap();
        disk.fail(Some(operation), 0, fault);
        let live = &mut [1, 5].map(Index).into_iter();
        assert!(log.log.copy_live(&[journal(1), journal(2)], live).is_err());
        assert_eq!(disk.list().unwrap(), before);
        disk.heal();
        log.log.append(&batch(&[record_of(11)])).unwrap();
        assert_eq!(log.step(), Next::Again);
        assert_eq!(readable(&log, 11), (1..=11).collect::<Vec<_>>());
    }
}

#[test]
fn a_power_cut_at_any_moment_leaves_everything_or_what_may_be_dropped() {
    for countdown in 0.. {
        let (disk, mut log) = written(5);
        disk.fail(None, countdown, Fault::PowerCut);
        // The owner's steps; the checkpoint is durable when it is assigned.
        let mut checkpoint: (u64, Vec<SegmentRef>) = (1, Vec::new());
        let live = [2, 5, 8, 10, 11, 12, 13];
        let victims = [journal(1), journal(2)];
        let copied = log
            .log
            .copy_live(&victims, &mut [2, 5].map(Index).into_iter());
        if let Ok(copied) = &copied {
            checkpoint = (10, vec![journal(3), copied.segment.unwrap().reference()]);
            log.log.release(Index(10));
            log.log.drop_segments(&victims);
            log.step();
        }
        let finished = !disk.has_stopped();
        drop(log);
        disk.crash(countdown);
        let (from, kept) = checkpoint;
        let mut log = Stepped::open(&disk, keeping(&kept, from)).unwrap();
        assert_eq!(
            read_all(&mut log.recovered).unwrap().len() as u64,
            14 - from
        );
        let readable = readable(&log, 13);
        assert!(
            live.iter().all(|index| readable.contains(index)),
            "{countdown}"
        );
        if finished {
            assert!(countdown > 15);
            break;
        }
    }
}
