//! What happens when the disk fills, and what is told of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use super::{Stepped, batch, options};
use crate::committer::Next;
use crate::log::{Index, Log as _, LogError, Pressure, Watcher};
use crate::options::{Durability, Options};
use crate::segmented::SegmentedLog;
use crate::simulated::{Fault, Operation, SimulatedStorage};

fn reserving(segments: usize) -> Options {
    Options {
        reserve_segments: segments,
        ..options()
    }
}

#[test]
fn essential_appends_go_on_from_the_reserve_when_the_disk_is_full() {
    let disk = SimulatedStorage::new(1);
    let mut log = Stepped::open(&disk, reserving(3)).unwrap();
    let record = ["r".repeat(1000)];
    log.log.append(&batch(&record)).unwrap();
    log.step();
    disk.fail(Some(Operation::Allocate), 0, Fault::Full);
    // The step to the second segment takes the file that is ready, and the next one out of the reserve.
    while log.log.append(&batch(&record)).is_ok() {
        assert_eq!(log.step(), Next::Again);
    }
    assert_eq!(log.log.pressure(), Pressure::NoRoom);
    let mut essential = 0;
    while log.log.append_essential(&batch(&record)).is_ok() {
        assert_eq!(log.step(), Next::Again, "a full disk is no failure");
        assert_eq!(log.log.append(&batch(&record)), Err(LogError::Full));
        essential += 1;
    }
    // What is left of the second segment, and three more.
    assert_eq!(essential, 2 + 3 * 3);
    assert_eq!(log.step(), Next::Again);
    disk.heal();
    log.log.check_room();
    assert_eq!(log.step(), Next::Again);
    assert_eq!(log.log.pressure(), Pressure::None);
    assert!(log.log.append(&batch(&record)).is_ok());
    log.close();
}

#[test]
fn essential_appends_may_wait_behind_four_times_as_much() {
    let disk = SimulatedStorage::new(1);
    let sized = Options {
        unsynced_bytes_max: 1000,
        ..reserving(2)
    };
    let log = Stepped::open(&disk, sized).unwrap();
    let record = ["r".repeat(428)];
    let mut publishes = 0;
    while log.log.append(&batch(&record)).is_ok() {
        publishes += 1;
    }
    let mut essential = 0;
    while log.log.append_essential(&batch(&record)).is_ok() {
        essential += 1;
    }
    // 500 bytes each, and one more each time than fits exactly.
    assert_eq!((publishes, essential), (3, 6));
}

/// Remembers what it was told of the pressure.
struct Pressures {
    log: Mutex<Option<Arc<SegmentedLog>>>,
    seen: Mutex<Vec<Pressure>>,
    calls: AtomicUsize,
}

impl Watcher for Pressures {
    fn on_commit(&self, _: Index) {}

    fn on_pressure(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(log) = &*self.log.lock() {
            self.seen.lock().push(log.pressure());
        }
    }
}

#[test]
fn the_watcher_hears_of_every_change_of_pressure() {
    let disk = SimulatedStorage::new(1);
    let limits = Options {
        free_low_bytes: 2000,
        free_min_bytes: 1000,
        unsynced_high_bytes: 2000,
        ..options()
    };
    let (opened, mut committer) = SegmentedLog::open_parts(Arc::new(disk.clone()), limits).unwrap();
    let log = Arc::new(opened.log);
    let watcher = Arc::new(Pressures {
        log: Mutex::new(Some(log.clone())),
        seen: Mutex::default(),
        calls: AtomicUsize::new(0),
    });
    log.watch(watcher.clone());
    let step = |free: Option<u64>, committer: &mut crate::committer::Committer| {
        if let Some(free) = free {
            disk.set_free_bytes(free);
            log.check_room();
        }
        assert_eq!(committer.step(), Next::Again);
        std::mem::take(&mut *watcher.seen.lock())
    };
    assert_eq!(step(Some(5000), &mut committer), []);
    assert_eq!(step(Some(1999), &mut committer), [Pressure::Low]);
    assert!(log.append(&batch(&["low is no refusal"])).is_ok());
    assert_eq!(step(Some(999), &mut committer), [Pressure::NoRoom]);
    assert_eq!(log.append(&batch(&["m"])), Err(LogError::Full));
    assert!(log.append_essential(&batch(&["e"])).is_ok());
    assert_eq!(step(Some(999), &mut committer), []);
    assert_eq!(step(Some(5000), &mut committer), [Pressure::None]);
    log.append(&batch(&["r".repeat(2000)])).unwrap();
    assert_eq!(log.pressure(), Pressure::Behind);
    assert_eq!(
        step(None, &mut committer),
        [Pressure::Behind, Pressure::None]
    );
    watcher.log.lock().take();
}

#[test]
fn free_bytes_that_the_system_does_not_tell_change_nothing() {
    let disk = SimulatedStorage::new(1);
    let mut log = Stepped::open(&disk, options()).unwrap();
    log.log.check_room();
    disk.fail(Some(Operation::Read), 0, Fault::Error);
    assert_eq!(log.step(), Next::Again);
    assert_eq!(log.log.pressure(), Pressure::None);
}

#[test]
fn who_waits_for_a_record_hears_of_it_or_of_the_end() {
    let disk = SimulatedStorage::new(1);
    let opened = SegmentedLog::open(Arc::new(disk.clone()), options()).unwrap();
    let log = &opened.log;
    assert_eq!(log.next_index(), Index(1));
    assert_eq!(log.wait_committed(Index(0)), Ok(()));
    for index in 1..200 {
        log.append(&batch(&["r"])).unwrap();
        assert_eq!(log.wait_committed(Index(index)), Ok(()));
    }
    assert_eq!(
        (log.next_index(), log.written_bytes()),
        (Index(200), 199 * 72)
    );
    thread::scope(|scope| {
        let waits = scope.spawn(|| log.wait_committed(Index(201)));
        disk.fail(Some(Operation::Sync), 0, Fault::Error);
        log.append(&batch(&["lost"])).unwrap();
        assert_eq!(waits.join().unwrap(), Err(LogError::Closed));
    });
    assert_eq!(log.wait_committed(Index(199)), Ok(()));
}

#[test]
fn who_waits_for_the_disk_has_it_synced_whatever_the_durability() {
    let disk = SimulatedStorage::new(1);
    let os = || Options {
        durability: Durability::Os,
        ..options()
    };
    let opened = SegmentedLog::open(Arc::new(disk.clone()), os()).unwrap();
    let log = &opened.log;
    for index in 1..=20 {
        log.append(&batch(&["r"])).unwrap();
        assert_eq!(log.wait_durable(Index(index)), Ok(()));
        assert!(log.durable() >= Index(index) && log.committed() >= Index(index));
    }
    disk.crash(1);
    let reopened = SegmentedLog::open(Arc::new(disk.clone()), os()).unwrap();
    assert_eq!(reopened.recovered.last(), Index(20));
    log.close().ok();
    assert_eq!(log.wait_durable(Index(21)), Err(LogError::Closed));
}
