//! The log on disk.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use crate::batch::Batch;
use crate::committer::{Committer, Limits, Shared};
use crate::error::{Action, At as _, Failure, OpenError};
use crate::log::{Index, Log, LogError, Pressure, Watcher};
use crate::options::{Durability, Options};
use crate::reader::Recovered;
use crate::recovery::recover;
use crate::storage::Storage;
use crate::writer::{Layout, Writer};

/// A log in segment files. The crate's documentation says what it promises.
///
/// Dropping it closes it, as [`SegmentedLog::close`] does.
pub struct SegmentedLog {
    shared: Arc<Shared>,
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
        let recovery = recover(storage.as_ref(), options.new_store_id)?;
        let recovered = Recovered::new(
            storage.clone(),
            &recovery.segments,
            recovery.link,
            options.replay_from,
        )?;
        let cut = recovery.cut();
        let layout = Layout {
            segment_bytes,
            spares_max: options.spares_max,
            durability: options.durability,
        };
        let max = usize::try_from(segment_bytes / 2).unwrap_or(usize::MAX);
        let limits = Limits {
            high: options.unsynced_high_bytes,
            max: options.unsynced_bytes_max.min(max),
        };
        let writer = Writer::new(storage, layout, recovery)?;
        let committer = Committer::new(writer, limits, options.on_failure);
        let log = Self {
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

    /// Records below `index` are no longer needed. Segments that hold no others are recycled or deleted, soon and on the
    /// committer's thread; a later start begins with the first record of the oldest segment that is left.
    pub fn release(&self, index: Index) {
        self.shared.release(index);
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
        self.shared.append(batch)
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
