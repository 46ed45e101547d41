//! The log with its thread, on real files.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::{batch, options, read_all};
use crate::batch::Batch;
use crate::log::{Index, Log as _, LogError, Watcher};
use crate::options::{Durability, Options};
use crate::segmented::SegmentedLog;
use crate::simulated::{Fault, Operation, SimulatedStorage};
use crate::storage::FileStorage;

/// Long enough for any disk; nothing waits for it in the normal case.
const PATIENCE: Duration = Duration::from_mins(1);

/// Passes the watermark on.
struct Tell(SyncSender<Index>);

impl Watcher for Tell {
    fn on_commit(&self, committed: Index) {
        // A test that has seen enough no longer listens.
        let _ = self.0.try_send(committed);
    }
}

/// Appends as soon as the disk has kept up.
fn append_patiently(log: &SegmentedLog, batch: &Batch) -> Index {
    loop {
        match log.append(batch) {
            Err(LogError::Full) => thread::yield_now(),
            result => return result.unwrap(),
        }
    }
}

#[test]
fn many_threads_append_and_all_is_read_back_in_order() {
    const THREADS: usize = 4;
    const BATCHES: usize = 250;
    for durability in [Durability::Fsync, Durability::Os] {
        let directory = tempfile::tempdir().unwrap();
        let storage = || Arc::new(FileStorage::open(directory.path().join("journal")).unwrap());
        let sized = || Options {
            segment_bytes: 64 * 1024,
            durability,
            ..options()
        };
        let opened = SegmentedLog::open(storage(), sized()).unwrap();
        let log = &opened.log;
        let (tell, told) = sync_channel(1 << 16);
        log.watch(Arc::new(Tell(tell)));
        let written = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let written = &written;
                scope.spawn(move || {
                    for number in 0..BATCHES {
                        let pair = [format!("{thread}/{number}/a"), "b".repeat(number)];
                        let index = append_patiently(log, &batch(&pair));
                        written.lock().push((index.0, pair));
                    }
                });
            }
        });
        let last = Index((THREADS * BATCHES * 2) as u64);
        let mut before = Index(0);
        while before < last {
            let committed = told.recv_timeout(PATIENCE).unwrap();
            assert!(committed > before, "each call is a move forward");
            before = committed;
        }
        assert_eq!(log.committed(), last);
        log.close().unwrap();
        assert_eq!(log.append(&batch(&["late"])), Err(LogError::Closed));
        drop(opened);

        let mut opened = SegmentedLog::open(storage(), sized()).unwrap();
        assert!(opened.cut.is_none());
        let mut written = written.into_inner();
        written.sort_unstable();
        let expected: Vec<(u64, Vec<u8>)> = written
            .into_iter()
            .flat_map(|(index, [a, b])| [(index, a.into_bytes()), (index + 1, b.into_bytes())])
            .collect();
        assert_eq!(read_all(&mut opened.recovered).unwrap(), expected);
    }
}

#[test]
fn closing_commits_what_was_appended() {
    let disk = SimulatedStorage::new(1);
    let sized = Options {
        segment_bytes: 64 * 1024,
        ..options()
    };
    let opened = SegmentedLog::open(Arc::new(disk.clone()), sized).unwrap();
    for _ in 0..100 {
        opened.log.append(&batch(&["record"])).unwrap();
    }
    opened.log.close().unwrap();
    assert_eq!(opened.log.committed(), Index(100));
    opened.log.close().unwrap();
    disk.crash(1);
    let opened = SegmentedLog::open(Arc::new(disk), options()).unwrap();
    assert_eq!(opened.recovered.last(), Index(100));
}

#[test]
fn a_failure_is_told_by_the_hook_from_the_committers_thread() {
    let disk = SimulatedStorage::new(1);
    let (tell, told) = sync_channel(1);
    let hooked = Options {
        on_failure: Some(Box::new(move |failure| {
            tell.send(failure.to_string()).unwrap();
        })),
        ..options()
    };
    let opened = SegmentedLog::open(Arc::new(disk.clone()), hooked).unwrap();
    disk.fail(Some(Operation::Sync), 0, Fault::Error);
    opened.log.append(&batch(&["record"])).unwrap();
    let said = told.recv_timeout(PATIENCE).unwrap();
    assert!(said.starts_with("cannot sync "), "{said}");
    assert!(opened.log.close().is_err());
    assert_eq!(opened.log.committed(), Index(0));
}

#[test]
fn a_watcher_that_panics_ends_the_log_as_a_failure() {
    struct Panics;
    impl Watcher for Panics {
        fn on_commit(&self, _: Index) {
            panic!("a watcher of a test");
        }
    }
    let disk = SimulatedStorage::new(1);
    let opened = SegmentedLog::open(Arc::new(disk), options()).unwrap();
    opened.log.watch(Arc::new(Panics));
    opened.log.append(&batch(&["record"])).unwrap();
    assert!(opened.log.close().is_err());
    assert_eq!(opened.log.append(&batch(&["late"])), Err(LogError::Closed));
}

#[test]
fn a_watcher_may_use_the_log_and_drop_it() {
    struct Owner(
        Mutex<Option<SegmentedLog>>,
        SyncSender<Result<Index, LogError>>,
    );
    impl Watcher for Owner {
        fn on_commit(&self, _: Index) {
            if let Some(log) = self.0.lock().take() {
                let appended = log.append(&batch(&["from the watcher"]));
                drop(log);
                self.1.send(appended).unwrap();
            }
        }
    }
    let disk = SimulatedStorage::new(1);
    let opened = SegmentedLog::open(Arc::new(disk), options()).unwrap();
    let (tell, told) = sync_channel(1);
    let owner = Arc::new(Owner(Mutex::new(None), tell));
    opened.log.watch(owner.clone());
    let mut place = owner.0.lock();
    opened.log.append(&batch(&["record"])).unwrap();
    *place = Some(opened.log);
    drop(place);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Ok(Index(2)));
}
