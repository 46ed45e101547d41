//! Reading records by their index.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::{Stepped, batch, options, read};
use crate::committer::Next;
use crate::error::{Flaw, ReadFlaw};
use crate::frame::FRAME_HEADER_BYTES;
use crate::log::{Index, Log as _, LogError};
use crate::options::Options;
use crate::segment::{HEADER_BYTES, segment_name};
use crate::segmented::SegmentedLog;
use crate::simulated::{Fault, Operation, Random, SimulatedStorage};
use crate::storage::FileStorage;
use crate::table::SegmentInfo;

/// The record with an index: its contents and its length follow from it.
fn record_of(index: u64) -> Vec<u8> {
    let mut random = Random(index);
    let bytes = match random.below(50) {
        0 => random.below(9000),
        1..=9 => random.below(1500),
        _ => random.below(100),
    };
    let mut record = index.to_le_bytes().to_vec();
    record.resize(8 + bytes, u8::try_from(index % 251).unwrap());
    record
}

/// Appends records in batches of any size up to an index.
fn append_up_to(log: &mut Stepped, last: u64, random: &mut Random) {
    while log.log.next_index().0 <= last {
        let first = log.log.next_index().0;
        let count = (1 + random.below(8) as u64).min(last + 1 - first);
        let records: Vec<Vec<u8>> = (first..first + count).map(record_of).collect();
        match log.log.append(&batch(&records)) {
            Ok(index) => assert_eq!(index.0, first),
            Err(LogError::Full) => assert_eq!(log.step(), Next::Again),
            Err(error) => panic!("{error}"),
        }
        if random.one_in(3) {
            assert_eq!(log.step(), Next::Again);
        }
    }
    assert_eq!(log.step(), Next::Again);
}

fn assert_read(log: &Stepped, indexes: &[u64]) {
    for (index, record) in read(&log.log.reader(), indexes) {
        assert_eq!(record.unwrap(), record_of(index), "{index}");
    }
}

fn some(up_to: u64, random: &mut Random) -> Vec<u64> {
    let one_in = 1 + random.below(40);
    (1..=up_to).filter(|_| random.one_in(one_in)).collect()
}

#[test]
fn any_records_are_read_as_they_were_appended_before_and_after_a_restart() {
    for seed in 0..30 {
        let mut random = Random(seed);
        let disk = SimulatedStorage::new(seed);
        let sized = || Options {
            segment_bytes: [8192, 40_960, 409_600][usize::try_from(seed % 3).unwrap()],
            ..options()
        };
        let mut log = Stepped::open(&disk, sized()).unwrap();
        for last in [1, 150, 600] {
            append_up_to(&mut log, last, &mut random);
            assert_read(&log, &some(last, &mut random));
        }
        log.close();
        let mut log = Stepped::open(&disk, sized()).unwrap();
        assert_read(&log, &some(600, &mut random));
        append_up_to(&mut log, 800, &mut random);
        assert_read(&log, &(1..=800).collect::<Vec<_>>());
        for _ in 0..20 {
            assert_read(&log, &[1 + random.below(800) as u64]);
        }
    }
}

#[test]
fn records_that_are_not_there_are_missing() {
    let disk = SimulatedStorage::new(1);
    let mut log = Stepped::open(&disk, options()).unwrap();
    assert!(matches!(
        read(&log.log.reader(), &[1])[0].1,
        Err(ReadFlaw::Missing { index: Index(1) })
    ));
    append_up_to(&mut log, 300, &mut Random(1));
    log.give_up(200);
    let first = log.log.segments()[0].first.0;
    assert!(first > 1 && first <= 200);
    for (index, record) in read(&log.log.reader(), &[0, 1, first - 1, first, 300, 301]) {
        let there = (first..=300).contains(&index);
        assert_eq!(record.is_ok(), there, "{index}");
        assert!(there || matches!(record, Err(ReadFlaw::Missing { .. })));
    }
}

/// Two segments of frames of two records each; frames have 152 bytes.
fn pairs() -> (SimulatedStorage, u64) {
    let disk = SimulatedStorage::new(1);
    let mut log = Stepped::open(&disk, options()).unwrap();
    let mut index = 1;
    while log.log.segments().len() < 3 {
        let pair = [index, index + 1].map(|index| vec![u8::try_from(index).unwrap(); 40]);
        log.log.append(&batch(&pair)).unwrap();
        log.step();
        index += 2;
    }
    (disk, index - 1)
}

const PAIR: usize = FRAME_HEADER_BYTES + 8 + 80;

#[test]
fn damage_costs_the_records_of_its_frame_and_no_others() {
    let (disk, last) = pairs();
    let name = segment_name(1);
    for (at, flaw) in [
        (0, Flaw::Magic),
        (20, Flaw::HeaderChecksum),
        (FRAME_HEADER_BYTES + 30, Flaw::PayloadChecksum),
    ] {
        for place in [0, 7] {
            let offset = HEADER_BYTES + place * PAIR;
            disk.flip(&name, offset + at, 4);
            let log = Stepped::open(&disk, options()).unwrap();
            let damaged = [2 * place as u64 + 1, 2 * place as u64 + 2];
            for (index, record) in read(&log.log.reader(), &(1..=last).collect::<Vec<_>>()) {
                match record {
                    Ok(record) => assert!(
                        !damaged.contains(&index)
                            && record == vec![u8::try_from(index).unwrap(); 40],
                        "{index}"
                    ),
                    Err(ReadFlaw::Damaged {
                        file,
                        offset: found,
                        flaw: what,
                    }) => {
                        assert!(damaged.contains(&index), "{index}");
                        assert_eq!((file, found, what), (name.clone(), offset as u64, flaw));
                    }
                    Err(flaw) => panic!("{index}: {flaw}"),
                }
            }
            drop(log);
            disk.flip(&name, offset + at, 4);
        }
    }
}

#[test]
fn no_change_to_a_file_makes_a_reader_return_other_bytes() {
    let (disk, last) = pairs();
    let mut random = Random(3);
    let names = [1, 2].map(segment_name);
    let sound: Vec<Vec<u8>> = names.iter().map(|n| disk.contents(n).unwrap()).collect();
    let mut flaws = 0;
    for _ in 0..300 {
        let log = Stepped::open(&disk, options()).unwrap();
        if random.one_in(2) {
            // The places are known before the damage.
            read(&log.log.reader(), &(1..=last).collect::<Vec<_>>());
        }
        for _ in 0..=random.below(4) {
            let name = &names[random.below(2)];
            let offset = HEADER_BYTES + random.below(8192 - HEADER_BYTES);
            disk.flip(name, offset, 1 << random.below(8));
        }
        let all: Vec<u64> = (1..=last).filter(|_| !random.one_in(3)).collect();
        for (index, record) in read(&log.log.reader(), &all) {
            match record {
                Ok(record) => assert_eq!(record, vec![u8::try_from(index).unwrap(); 40]),
                Err(_) => flaws += 1,
            }
        }
        drop(log);
        for (name, contents) in names.iter().zip(&sound) {
            disk.put(name, contents);
        }
    }
    assert!(flaws > 300);
}

#[test]
fn what_the_system_cannot_read_is_a_flaw_of_that_record() {
    let (disk, _) = pairs();
    let log = Stepped::open(&disk, options()).unwrap();
    let reader = log.log.reader();
    assert!(read(&reader, &[1])[0].1.is_ok());
    // Once in advance and once for itself.
    disk.fail(Some(Operation::Read), 0, Fault::Error);
    disk.fail(Some(Operation::Read), 0, Fault::Error);
    let records = read(&reader, &[1, 2]);
    assert!(matches!(records[0].1, Err(ReadFlaw::Unreadable { .. })));
    assert!(records[1].1.is_ok());
    // What was only read in advance costs nothing.
    disk.heal();
    disk.fail(Some(Operation::Read), 0, Fault::Error);
    assert!(read(&reader, &[1])[0].1.is_ok());
    // Short reads are continued.
    disk.heal();
    disk.fail(Some(Operation::Read), 0, Fault::Short);
    assert!(read(&reader, &[1, 2]).iter().all(|(_, r)| r.is_ok()));
}

#[test]
fn one_record_costs_one_block_and_its_frame() {
    let disk = SimulatedStorage::new(1);
    let sized = || Options {
        segment_bytes: 8 << 20,
        ..options()
    };
    let mut log = Stepped::open(&disk, sized()).unwrap();
    let record = [7; 1000];
    for _ in 0..400 {
        log.log.append(&batch(&[record; 10])).unwrap();
        log.step();
    }
    log.log.append(&batch(&[vec![8; 300_000]])).unwrap();
    log.step();
    let reader = log.log.reader();
    let cost = |indexes: &[u64]| {
        let before = disk.bytes_read();
        assert!(read(&reader, indexes).iter().all(|(_, r)| r.is_ok()));
        disk.bytes_read() - before
    };
    for index in [1, 777, 3999, 4000] {
        assert!(cost(&[index]) <= 80_000, "{index}");
    }
    assert!(cost(&[4001]) <= 64 * 1024 + 300_000 + 80_000);
    assert!(
        cost(&[5, 2000, 3500]) <= 3 * 80_000,
        "nothing between is read"
    );
    let all: Vec<u64> = (1..=4000).collect();
    // The last block ends with the large frame.
    assert!(cost(&all) <= 4_100_000 + 300_000, "and nothing twice");
    drop(log);
    // After a restart the headers are read once.
    let log = Stepped::open(&disk, sized()).unwrap();
    let reader = log.log.reader();
    read(&reader, &[1]);
    let before = disk.bytes_read();
    read(&reader, &[3000]);
    assert!(disk.bytes_read() - before <= 80_000);
}

/// Only every 16th record is wanted below a place that moves.
#[derive(Default)]
struct Wanted {
    sparse_below: AtomicU64,
    done: AtomicBool,
}

impl Wanted {
    fn includes(&self, index: u64) -> bool {
        index.is_multiple_of(16) || index >= self.sparse_below.load(Ordering::Acquire)
    }

    /// Reads what is wanted, here and there, until all is done.
    fn read(&self, log: &SegmentedLog, mut random: Random) {
        let reader = log.reader();
        while !self.done.load(Ordering::Acquire) {
            let committed = log.committed().0;
            let from = 1 + random.below(usize::try_from(committed).unwrap()) as u64;
            let to = (from + random.below(300) as u64).min(committed);
            let wanted: Vec<u64> = (from..=to).filter(|&i| self.includes(i)).collect();
            for (index, record) in read(&reader, &wanted) {
                match record {
                    Ok(record) => assert_eq!(record, record_of(index), "{index}"),
                    Err(flaw) => assert!(!self.includes(index), "{flaw}"),
                }
            }
        }
    }

    /// Gives up what is not wanted below an index.
    fn thin_out(&self, log: &SegmentedLog, below: u64) {
        log.wait_committed(Index(below)).unwrap();
        self.sparse_below.store(below, Ordering::Release);
        log.release(Index(below));
        let segments = log.segments();
        let victims = segments.iter().filter(|s| s.end.0 <= below);
        let victims: Vec<_> = victims.map(SegmentInfo::reference).collect();
        let live = &mut (0..below).step_by(16).map(Index);
        let copied = log.copy_live(&victims, live).unwrap();
        assert!(copied.segment.is_some() && copied.damaged == 0);
        log.drop_segments(&victims);
    }
}

#[test]
fn reading_never_disturbs_those_who_append_copy_and_drop() {
    const LAST: u64 = 6000;
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(FileStorage::open(directory.path()).unwrap());
    let sized = Options {
        segment_bytes: 16 * 1024,
        durability: crate::options::Durability::Os,
        ..options()
    };
    let opened = SegmentedLog::open(storage, sized).unwrap();
    let log = &opened.log;
    let wanted = Wanted::default();
    thread::scope(|scope| {
        for seed in 0..2 {
            let wanted = &wanted;
            scope.spawn(move || wanted.read(log, Random(seed)));
        }
        let mut index = 1;
        while index <= LAST {
            match log.append(&batch(&[record_of(index), record_of(index + 1)])) {
                Ok(first) => {
                    assert_eq!(first.0, index);
                    index += 2;
                    if index % 1000 == 1 {
                        wanted.thin_out(log, index - 500);
                    }
                }
                Err(LogError::Full) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        wanted.done.store(true, Ordering::Release);
    });
    log.close().unwrap();
    let wanted: Vec<u64> = (1..=LAST).filter(|i| i % 16 == 0).collect();
    for (index, record) in read(&log.reader(), &wanted) {
        assert_eq!(record.unwrap(), record_of(index));
    }
    assert!(log.segments().iter().filter(|s| s.kept).count() <= 3);
}
