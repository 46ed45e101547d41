//! What a record costs on its way to the disk, with real files and real syncs below the target directory.
//!
//! `append` is the side of those who publish: copying into the open group. `commit` is a group of records of 1 KiB from
//! the append to the watermark, so its time is that of the disk; `commit_os` is the same without the sync.
//! `raw` is the disk's own rate: the same bytes written and synced round and round in a file that was written before,
//! without a thread. `recover` reads back what was written, `read` reads single records.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot run has nothing to say"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use ternmq_journal::{
    Batch, Durability, FileStorage, Index, Log as _, Opened, Options, SegmentInfo, SegmentedLog,
    Storage as _, StoreId, Watcher,
};

const RECORD: [u8; 1024] = [b'r'; 1024];

struct Tell(SyncSender<Index>);

impl Watcher for Tell {
    fn on_commit(&self, committed: Index) {
        // Nobody listens any more when a bench ends.
        let _ = self.0.send(committed);
    }
}

/// A journal whose watermark can be waited for.
struct Bench {
    opened: Opened,
    told: Receiver<Index>,
    directory: TempDir,
}

impl Bench {
    fn open(durability: Durability) -> Self {
        // Not the system's temporary directory, which may lie in memory.
        let directory = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
        let opened = reopen(directory.path(), durability);
        let (tell, told) = sync_channel(1024);
        opened.log.watch(Arc::new(Tell(tell)));
        Self {
            opened,
            told,
            directory,
        }
    }

    /// Appends a batch, waits until it is safe, and gives up what lies before it.
    fn commit(&self, batch: &Batch) {
        let first = self.opened.log.append(batch).unwrap();
        let last = first.0 + batch.len() as u64 - 1;
        while self.told.recv().unwrap().0 < last {}
        if first.0 % 65_536 == 1 {
            give_up(&self.opened.log, first);
        }
    }
}

fn give_up(log: &SegmentedLog, below: Index) {
    log.release(below);
    let segments = log.segments();
    let behind = segments.iter().filter(|segment| segment.end <= below);
    log.drop_segments(&behind.map(SegmentInfo::reference).collect::<Vec<_>>());
}

fn reopen(directory: &Path, durability: Durability) -> Opened {
    let storage = FileStorage::open(directory.join("journal")).unwrap();
    let options = Options {
        durability,
        ..Options::new(StoreId([1; 16]))
    };
    SegmentedLog::open(Arc::new(storage), options).unwrap()
}

fn batch(records: usize) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..records {
        batch.record(|out| out.extend_from_slice(&RECORD));
    }
    batch
}

fn commit(c: &mut Criterion) {
    for (name, durability) in [("commit", Durability::Fsync), ("commit_os", Durability::Os)] {
        let mut group = c.benchmark_group(name);
        group.sample_size(20);
        for records in [1, 16, 256, 1024] {
            let bench = Bench::open(durability);
            let batch = batch(records);
            group.throughput(Throughput::Bytes((records * RECORD.len()) as u64));
            group.bench_function(BenchmarkId::from_parameter(records), |b| {
                b.iter(|| bench.commit(&batch));
            });
        }
    }
}

fn raw(c: &mut Criterion) {
    const FILE_BYTES: usize = 64 * 1024 * 1024;
    let mut group = c.benchmark_group("raw");
    group.sample_size(20);
    for records in [1, 16, 256, 1024] {
        let directory = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
        let storage = FileStorage::open(directory.path()).unwrap();
        let file = storage.create("raw").unwrap();
        file.write_at(0, &vec![0; FILE_BYTES]).unwrap();
        file.sync_data().unwrap();
        let bytes = vec![b'r'; records * RECORD.len()];
        let mut offset = 0;
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(records), |b| {
            b.iter(|| {
                file.write_at(offset as u64, &bytes).unwrap();
                file.sync_data().unwrap();
                offset = (offset + bytes.len()) % FILE_BYTES;
            });
        });
    }
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.sample_size(20);
    let bench = Bench::open(Durability::Os);
    let batch = batch(16);
    group.throughput(Throughput::Elements(16));
    group.bench_function("16", |b| {
        b.iter(|| {
            while bench.opened.log.append(black_box(&batch)).is_err() {
                // Full: the disk is behind by half a segment.
                let committed = bench.told.recv().unwrap();
                give_up(&bench.opened.log, committed);
            }
            while bench.told.try_recv().is_ok() {}
        });
    });
}

fn recover(c: &mut Criterion) {
    const RECORDS: usize = 65_536;
    let bench = Bench::open(Durability::Os);
    for _ in 0..RECORDS / 256 {
        bench.commit(&batch(256));
    }
    let Bench {
        opened, directory, ..
    } = bench;
    drop(opened);
    let mut group = c.benchmark_group("recover");
    group.sample_size(10);
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("64Ki", |b| {
        b.iter(|| {
            let mut recovered = reopen(directory.path(), Durability::Os).recovered;
            let mut records = 0;
            while let Some((_, record)) = recovered.next_record().unwrap() {
                records += usize::from(black_box(record).len() == RECORD.len());
            }
            assert_eq!(records, RECORDS);
        });
    });
}

/// Reads what the log holds, from files that are in the page cache: `all` in calls of 256 records, which a queue that is
/// drained asks for; `one` a record anywhere.
fn read(c: &mut Criterion) {
    const RECORDS: u64 = 65_536;
    const AT_ONCE: u64 = 256;
    let bench = Bench::open(Durability::Os);
    for _ in 0..RECORDS / 16 {
        bench.commit(&batch(16));
    }
    let reader = bench.opened.log.reader();
    let take = |indexes: &[Index]| {
        let mut bytes = 0;
        reader
            .read(indexes, &mut |_, record| {
                bytes += black_box(record.unwrap()).len();
            })
            .unwrap();
        assert_eq!(bytes, indexes.len() * RECORD.len());
    };
    let mut group = c.benchmark_group("read");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(RECORDS * RECORD.len() as u64));
    group.bench_function("all", |b| {
        b.iter(|| {
            for first in (1..=RECORDS).step_by(256) {
                let indexes: Vec<Index> = (first..first + AT_ONCE).map(Index).collect();
                take(&indexes);
            }
        });
    });
    group.throughput(Throughput::Elements(1));
    let mut at = 1;
    group.bench_function("one", |b| {
        b.iter(|| {
            at = (at * 48_271) % RECORDS;
            take(&[Index(at + 1)]);
        });
    });
}

criterion_group!(benches, append, raw, commit, recover, read);
criterion_main!(benches);
