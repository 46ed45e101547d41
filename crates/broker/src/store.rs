//! What a node keeps on disk: its journal, the pages of its queues, its checkpoints.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use ternmq_core::id::QueueId;
use ternmq_core::record::{Formats, RecordError};
use ternmq_journal::{
    LogReader, OpenError, Options, PageOptions, PageStore, SegmentedLog, Storage, StoreId,
};

use crate::apply::ReplayError;
use crate::broker::{Broker, Inner};
use crate::cell::QueueCell;
use crate::checkpoint::Checkpointing;
use crate::config::{Durability, MemoryConfig, StorageConfig};
use crate::inbox::Inbox;
use crate::reclaim::{DiskSpace, KeptRecords};
use crate::residency::Residency;
use crate::work::Work;

/// Called when the node can't go on because its storage failed. It ends the process, and does not return.
pub type Halt = Arc<dyn Fn(&dyn fmt::Display) + Send + Sync>;

/// Where and how a node keeps its data.
pub struct StoreParts {
    /// The data directory.
    pub storage: Arc<dyn Storage>,
    /// A directory for messages that leave memory and need not survive: emptied now.
    pub spill: Arc<dyn Storage>,
    /// Settings.
    pub config: StorageConfig,
    /// Settings.
    pub memory: MemoryConfig,
    /// Reads messages back.
    pub formats: Arc<dyn Formats + Send + Sync>,
    /// Ends the process.
    pub halt: Halt,
}

/// Why the data of a node cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The files.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is in them.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A record of the checkpoint.
    #[error("checkpoint {number}: {error}")]
    Checkpoint {
        /// Which one.
        number: u64,
        /// What is wrong.
        error: RecordError,
    },
    /// A queue of the checkpoint.
    #[error("the checkpoint's queue {queue}: {error}")]
    Snapshot {
        /// Its identity.
        queue: QueueId,
        /// What is wrong.
        error: RecordError,
    },
    /// No random bytes for the identity of a new store.
    #[error("the system has no random bytes: {0}")]
    Random(getrandom::Error),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// Nothing is kept.
    #[error("this broker keeps nothing on disk")]
    NoStore,
}

impl RecoveryError {
    /// Whether what was kept is damaged or missing.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Replay(_) | Self::Checkpoint { .. } | Self::Snapshot { .. }
        )
    }
}

impl From<ternmq_journal::Failure> for RecoveryError {
    fn from(failure: ternmq_journal::Failure) -> Self {
        Self::Open(failure.into())
    }
}

pub(crate) fn journal_options(
    config: &StorageConfig,
    halt: &Halt,
) -> Result<Options, RecoveryError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(RecoveryError::Random)?;
    let mut options = Options::new(StoreId(id));
    options.segment_bytes = config.segment_bytes;
    options.durability = match config.durability {
        Durability::Fsync => ternmq_journal::Durability::Fsync,
        Durability::Os => ternmq_journal::Durability::Os,
    };
    options.free_low_bytes = config.disk_free_low_bytes;
    options.free_min_bytes = config.disk_free_min_bytes;
    let halt = halt.clone();
    options.on_failure = Some(Box::new(move |failure| halt(failure)));
    Ok(options)
}

/// A node's open files, and the threads that work on them.
pub(crate) struct Store {
    pub(crate) log: Arc<SegmentedLog>,
    pub(crate) reader: LogReader,
    /// Parts of durable queues.
    pub(crate) pages: PageStore,
    /// Parts of the others: gone with the process.
    pub(crate) spill: PageStore,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) id: StoreId,
    pub(crate) config: StorageConfig,
    pub(crate) formats: Arc<dyn Formats + Send + Sync>,
    pub(crate) halt: Halt,
    pub(crate) residency: Residency,
    /// Queues that want something loaded.
    pub(crate) loads: Arc<Inbox<Arc<QueueCell>>>,
    pub(crate) checkpointing: Checkpointing,
    /// Held by whoever makes a checkpoint.
    pub(crate) space: Mutex<DiskSpace>,
    /// What the last checkpoint found.
    pub(crate) kept: Mutex<KeptRecords>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    pub(crate) fn new(
        parts: StoreParts,
        log: Arc<SegmentedLog>,
        checkpoint: u64,
    ) -> Result<Self, RecoveryError> {
        let id = log.store_id();
        let page_options = PageOptions {
            file_bytes: parts.config.tuning.page_file_bytes,
            ..PageOptions::default()
        };
        let pages = PageStore::open_all(parts.storage.clone(), id, page_options)?;
        let spill = PageStore::open(parts.spill, id, page_options, None)?;
        Ok(Self {
            reader: log.reader(),
            log,
            pages,
            spill,
            storage: parts.storage,
            id,
            residency: Residency::new(parts.memory.resident_bodies),
            checkpointing: Checkpointing::new(parts.config.checkpoint_bytes),
            config: parts.config,
            formats: parts.formats,
            halt: parts.halt,
            loads: Arc::default(),
            space: Mutex::new(DiskSpace::behind(checkpoint)),
            kept: Mutex::default(),
            threads: Mutex::default(),
        })
    }

    fn close_inboxes(&self) {
        self.residency.tasks.close();
        self.loads.close();
        self.checkpointing.wishes.close();
    }

    /// Where parts of that queue go.
    pub(crate) fn pages_of(&self, cell: &QueueCell) -> &PageStore {
        if cell.durable {
            &self.pages
        } else {
            &self.spill
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close_inboxes();
    }
}

impl Broker {
    /// Starts the thread that lets messages leave memory: replay needs it too.
    pub(crate) fn start_keeper(&self) -> Result<(), RecoveryError> {
        let mut work = Work::default();
        self.start(
            "ternmq-keeper",
            |store| store.residency.tasks.clone(),
            move |inner, store, task| inner.keep(store, task, &mut work),
        )
    }

    /// Starts the others.
    pub(crate) fn start_threads(&self) -> Result<(), RecoveryError> {
        let mut work = Work::default();
        self.start(
            "ternmq-loader",
            |store| store.loads.clone(),
            move |inner, store, cell| inner.load_wanted(store, &cell, &mut work),
        )?;
        self.start(
            "ternmq-checkpoint",
            |store| store.checkpointing.wishes.clone(),
            |inner, store, ()| inner.make_wished_checkpoint(store),
        )
    }

    /// Starts a thread that does what comes into an inbox. While it waits it does not keep the node alive.
    fn start<T: Send + 'static>(
        &self,
        name: &str,
        inbox: impl FnOnce(&Store) -> Arc<Inbox<T>>,
        mut run: impl FnMut(&Inner, &Store, T) + Send + 'static,
    ) -> Result<(), RecoveryError> {
        let Some(store) = &self.0.store else {
            return Ok(());
        };
        let (inner, inbox) = (Arc::downgrade(&self.0), inbox(store));
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(task) = inbox.pop() {
                    if let Some(inner) = inner.upgrade()
                        && let Some(store) = &inner.store
                    {
                        run(&inner, store, task);
                    }
                }
            })
            .map_err(RecoveryError::Thread)?;
        store.threads.lock().push(thread);
        Ok(())
    }

    /// Lets all threads end, and waits for that.
    pub(crate) fn stop_threads(&self) {
        let Some(store) = &self.0.store else { return };
        store.close_inboxes();
        for thread in store.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the storage panicked");
            }
        }
    }
}
