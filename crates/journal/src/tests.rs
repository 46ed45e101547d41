//! The log as a whole.

mod disk;
mod faults;
mod golden;
mod keeping;
mod model;
mod reading;
mod repairing;
mod room;
mod threads;

use std::sync::Arc;

use crate::batch::Batch;
use crate::committer::{Committer, Next};
use crate::error::{Failure, OpenError, ReadFlaw};
use crate::log::{Index, Log as _, LogError};
use crate::lookup::LogReader;
use crate::options::{Options, StoreId};
use crate::reader::Recovered;
use crate::segment::SegmentRef;
use crate::segmented::{Opened, SegmentedLog};
use crate::simulated::SimulatedStorage;
use crate::table::SegmentInfo;

const STORE: StoreId = StoreId(*b"a store of tests");

fn options() -> Options {
    Options {
        segment_bytes: 8192,
        reserve_segments: 0,
        free_low_bytes: 0,
        free_min_bytes: 0,
        ..Options::new(STORE)
    }
}

fn batch<R: AsRef<[u8]>>(records: &[R]) -> Batch {
    let mut batch = Batch::new();
    for record in records {
        batch.record(|out| out.extend_from_slice(record.as_ref()));
    }
    batch
}

/// All records that are left to read.
fn read_all(recovered: &mut Recovered) -> Result<Vec<(u64, Vec<u8>)>, OpenError> {
    let mut records = Vec::new();
    while let Some((index, record)) = recovered.next_record()? {
        records.push((index.0, record.to_vec()));
    }
    Ok(records)
}

type Read = Vec<(u64, Result<Vec<u8>, ReadFlaw>)>;

/// What a reader returns, in its order.
fn read(reader: &LogReader, indexes: &[u64]) -> Read {
    let (records, result) = try_read(reader, indexes);
    result.unwrap();
    assert_eq!(records.len(), indexes.len());
    records
}

fn try_read(reader: &LogReader, indexes: &[u64]) -> (Read, Result<(), Failure>) {
    let wanted: Vec<Index> = indexes.iter().map(|&index| Index(index)).collect();
    let mut records = Vec::new();
    let result = reader.read(&wanted, &mut |index, record| {
        records.push((index.0, record.map(<[u8]>::to_vec)));
    });
    let visited = records.iter().map(|(index, _)| index);
    assert!(visited.eq(&indexes[..records.len()]), "each once, in order");
    (records, result)
}

/// A log whose committer works when it is told to.
struct Stepped {
    log: SegmentedLog,
    committer: Committer,
    recovered: Recovered,
    cut: bool,
}

impl Stepped {
    fn open(disk: &SimulatedStorage, options: Options) -> Result<Self, OpenError> {
        let (opened, committer) = SegmentedLog::open_parts(Arc::new(disk.clone()), options)?;
        let Opened {
            log,
            recovered,
            cut,
        } = opened;
        Ok(Self {
            log,
            committer,
            recovered,
            cut: cut.is_some(),
        })
    }

    fn append(&self, records: &[&str]) -> Result<Index, LogError> {
        self.log.append(&batch(records))
    }

    fn step(&mut self) -> Next {
        self.committer.step()
    }

    /// Releases, and drops what was released.
    fn give_up(&mut self, index: u64) {
        self.log.release(Index(index));
        self.log.drop_segments(&self.released(index));
        assert_eq!(self.step(), Next::Again);
    }

    /// The segments that a release would take out of the chain, or has.
    fn released(&self, index: u64) -> Vec<SegmentRef> {
        let segments = self.log.segments();
        let below = segments.iter().filter(|s| s.end.0 <= index);
        below.map(SegmentInfo::reference).collect()
    }

    /// Ends the log in order.
    fn close(mut self) {
        self.log.close().unwrap();
        assert_eq!(self.step(), Next::End);
        assert!(self.log.failure().is_none());
    }
}

/// The records of a disk, and the log to be closed or dropped.
fn reopen(disk: &SimulatedStorage) -> (Vec<(u64, Vec<u8>)>, Stepped) {
    let mut log = Stepped::open(disk, options()).unwrap();
    let records = read_all(&mut log.recovered).unwrap();
    (records, log)
}
