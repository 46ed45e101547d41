//! The log on disk.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use crate::batch::Batch;
use crate::cold::{self, Copied};
use crate::committer::{Committer, Limits, Need, Shared};
use crate::error::{Action, At as _, Failure, OpenError};
use crate::log::{Index, Log, LogError, Pressure, Watcher};
use crate::lookup::LogReader;
use crate::options::{Durability, Options, StoreId};
use crate::pool::PoolLimits;
use crate::reader::Recovered;
use crate::recovery::recover;
use crate::segment::{HEADER_BYTES, SegmentRef};
use crate::storage::Storage;
use crate::syncs::Syncs;
use crate::table::{SegmentInfo, Table};
use crate::writer::{Layout, Writer};

/// A log in segment files. The crate's documentation says what it promises.
///
/// Dropping it closes it, as [`SegmentedLog::close`] does.
pub struct SegmentedLog {
    shared: Arc<Shared>,
    table: Arc<Table>,
    store: StoreId,
    durability: Durability,
    committer: Mutex<Option<JoinHandle<()>>>,
}

/// A log that was opened, and what it held.
pub struct Opened {
    /// Takes records at once, behind those that were recovered.
    pub log: SegmentedLog,
    /// What it held.
    pub recovered: Recovered,
    /// What was cut off its end, if anything was; nothing of it had been committed.
    pub cut: Option<Cut>,
}

/// The place where a log was cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The segment.
    pub file: String,
    /// Where in it the log ends now.
    pub offset: u64,
}

impl SegmentedLog {
    /// Opens the journal of a directory, or makes one if the directory has none. Repairs what a crash left; refuses what
    /// only damage can have left, and then has changed nothing.
    pub fn open(storage: Arc<dyn Storage>, options: Options) -> Result<Opened, OpenError> {
        let (opened, committer) = Self::open_parts(storage, options)?;
        let handle = thread::Builder::new()
            .name("journal-commit".to_owned())
            .spawn(|| committer.run())
            .at(Action::Run, "journal-commit")?;
        *opened.log.committer.lock() = Some(handle);
        Ok(opened)
    }

    /// A log without its thread.
    pub(crate) fn open_parts(
        storage: Arc<dyn Storage>,
        options: Options,
    ) -> Result<(Opened, Committer), OpenError> {
        let segment_bytes = options.checked_segment_bytes()?;
        let recovery = recover(storage.as_ref(), options.new_store_id, &options.kept)?;
        let recovered = Recovered::new(
            storage.clone(),
            &recovery.segments,
            recovery.link,
            options.replay_from,
        )?;
        let cut = recovery.cut();
        let layout = Layout {
            durability: options.durability,
            pool: PoolLimits {
                segment_bytes,
                spares_max: options.spares_max,
                reserve: options.reserve_segments,
                free_low_bytes: options.free_low_bytes,
                free_min_bytes: options.free_min_bytes,
            },
        };
        let capacity = segment_bytes - HEADER_BYTES as u64;
        let half_segment = usize::try_from(capacity / 2).unwrap_or(usize::MAX);
        let limits = Limits {
            high: options.unsynced_high_bytes,
            max: options.unsynced_bytes_max.min(half_segment),
            half_segment,
        };
        let writer = Writer::new(storage, layout, recovery)?;
        let (table, store) = (writer.table(), writer.store());
        let committer = Committer::new(writer, limits, options.on_failure);
        let log = Self {
            table,
            store,
            shared: committer.shared(),
            durability: options.durability,
            committer: Mutex::new(None),
        };
        let opened = Opened {
            log,
            recovered,
            cut,
        };
        Ok((opened, committer))
    }

    /// A start need not replay records below `index` any more: the owner has a durable checkpoint that covers them, and
    /// that lists the segments it still needs. Segments that hold no others leave the chain, soon and on the committer's
    /// thread; they are kept until they are dropped, and readable until then.
    pub fn release(&self, index: Index) {
        // In this order: a drop that follows from it must not overtake it.
        self.shared.release(index);
        self.table.note_release(index.0);
    }

    /// How often the disk was waited for, and how long.
    pub fn syncs(&self) -> Syncs {
        self.table.syncs.read()
    }

    /// All segments that were not dropped, as they are now: one that was released may look like one of the chain for a
    /// moment. Those that are kept and then the chain, in the order of their records; then the cold ones.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.table.infos()
    }

    /// Recycles or deletes segments, soon and on the committer's thread, after all releases that were asked for before.
    /// What is still part of the chain then, or not there, is left alone. The last durable checkpoint must not list them.
    pub fn drop_segments(&self, dropped: &[SegmentRef]) {
        let dropped = self.table.note_drop(dropped);
        self.shared.drop_segments(&dropped);
    }

    /// Whose log it is.
    pub fn store_id(&self) -> StoreId {
        self.store
    }

    /// Reads single records, on any thread.
    pub fn reader(&self) -> LogReader {
        LogReader::new(self.table.clone())
    }

    /// Copies records out of `victims` into a cold segment of their own, on the caller's thread, and returns when it is
    /// durable. `live` ascends; records that are in none of the victims are passed over.
    ///
    /// The victims stay: the owner writes a checkpoint that lists the new segment and not the victims, and drops those
    /// then. Except for [`Copied::keep`], which hold records that could not be copied.
    ///
    /// Nothing depends on the new segment before that, so a failure here is not one of the log; a failed sync of a disk is
    /// bad news all the same.
    pub fn copy_live(
        &self,
        victims: &[SegmentRef],
        live: &mut dyn Iterator<Item = Index>,
    ) -> Result<Copied, Failure> {
        cold::copy(&self.table, self.store, victims, live)
    }

    /// Has the committer look how much room there is on the disk, also when nothing is written. For a timer.
    pub fn check_room(&self) {
        self.shared.check_room();
    }

    /// Bytes of the frames that were appended since the log was opened.
    pub fn written_bytes(&self) -> u64 {
        self.shared.written_bytes()
    }

    /// Every record up to this one is on the disk, whatever the durability. What an owner's checkpoint covers must not
    /// go beyond it: after a power cut the log might end before the checkpoint, and would be refused.
    pub fn durable(&self) -> Index {
        self.shared.durable()
    }

    /// Waits until a record is on the disk, and has what is written synced if nothing else does. Otherwise like
    /// [`SegmentedLog::wait_committed`].
    pub fn wait_durable(&self, index: Index) -> Result<(), LogError> {
        self.shared.wait_durable(index)
    }

    /// What [`SegmentedLog::wait_durable`] asks for.
    #[cfg(test)]
    pub(crate) fn ask_for_sync(&self) {
        self.shared.ask_for_sync();
    }

    /// Waits until a record is committed. [`LogError::Closed`] if it will never be, because the log was closed or has
    /// failed. For background threads: not from within a watcher, and not for a record that nobody appends.
    pub fn wait_committed(&self, index: Index) -> Result<(), LogError> {
        self.shared.wait_committed(index)
    }

    /// Why the log has failed, if it has.
    pub fn failure(&self) -> Option<Failure> {
        self.shared.failure().cloned()
    }

    /// Takes nothing more, writes and syncs what was taken, and waits for that. Appends from now on are refused with
    /// [`LogError::Closed`]. From within a watcher it does not wait.
    pub fn close(&self) -> Result<(), Failure> {
        self.shared.close();
        let handle = self.committer.lock().take();
        if let Some(handle) = handle
            && handle.thread().id() != thread::current().id()
        {
            // A panic of the thread is a failure of the log, which is reported below.
            let _ = handle.join();
        }
        self.failure().map_or(Ok(()), Err)
    }
}

impl Drop for SegmentedLog {
    fn drop(&mut self) {
        // Nobody is left to be told; the hook for failures was.
        let _ = self.close();
    }
}

impl Log for SegmentedLog {
    fn append(&self, batch: &Batch) -> Result<Index, LogError> {
        self.shared.append(batch, Need::Publish)
    }

    fn append_essential(&self, batch: &Batch) -> Result<Index, LogError> {
        self.shared.append(batch, Need::Essential)
    }

    fn next_index(&self) -> Index {
        self.shared.next_index()
    }

    fn committed(&self) -> Index {
        self.shared.committed()
    }

    fn watch(&self, watcher: Arc<dyn Watcher>) {
        self.shared.watch(watcher);
    }

    fn pressure(&self) -> Pressure {
        self.shared.pressure()
    }

    fn durability(&self) -> &'static str {
        match self.durability {
            Durability::Fsync => "fsync: what is confirmed survives a power cut",
            Durability::Os => {
                "os: what is confirmed survives a crash of the broker, not a power cut"
            }
        }
    }
}
