//! What a node keeps on disk: its journal, and what belongs to it.

use std::fmt;
use std::sync::Arc;

use ternmq_core::record::Formats;
use ternmq_journal::{OpenError, Options, SegmentedLog, Storage, StoreId};

use crate::apply::ReplayError;
use crate::config::{Durability, StorageConfig};

/// Called when the node can't go on because its storage failed. It ends the process, and does not return.
pub type Halt = Arc<dyn Fn(&dyn fmt::Display) + Send + Sync>;

/// Where and how a node keeps its data.
pub struct StoreParts {
    /// The data directory.
    pub storage: Arc<dyn Storage>,
    /// Settings.
    pub config: StorageConfig,
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
    /// No random bytes for the identity of a new store.
    #[error("the system has no random bytes: {0}")]
    Random(getrandom::Error),
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
    let halt = halt.clone();
    options.on_failure = Some(Box::new(move |failure| halt(failure)));
    Ok(options)
}

/// A node's open files.
pub(crate) struct Store {
    pub(crate) log: Arc<SegmentedLog>,
    pub(crate) halt: Halt,
}
