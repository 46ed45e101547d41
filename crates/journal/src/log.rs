//! The contract between the broker and whatever keeps its records.

use std::sync::Arc;

use crate::batch::Batch;

/// A record's place in the log; the first record has 1, so 0 means "no record".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Index(pub u64);

/// Why a log takes no more records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogError {
    /// It was closed.
    #[error("the journal is closed")]
    Closed,
    /// It has no room, on the disk or for what waits for the disk. The batch was not taken; what was taken before is
    /// safe. Another batch may be taken later.
    #[error("the journal is full")]
    Full,
    /// The batch is larger than a log can hold in one piece: 1 GiB.
    #[error("the batch is too large for the journal")]
    TooLarge,
}

/// What a log asks its owner to hold back, the least first. [`Watcher::on_pressure`] tells of changes; besides, an append
/// changes it at once from none to [`Pressure::Behind`], so who publishes looks after each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Pressure {
    /// Nothing.
    #[default]
    None,
    /// The disk does not keep up: publishers should pause until it has.
    Behind,
    /// The disk will be full soon: publishers should pause until there is room again, which may take long.
    Low,
    /// The disk is full, and `append` refuses: the room that is left serves what settles and deletes, which comes by
    /// [`Log::append_essential`].
    NoRoom,
}

/// Hears of the watermark.
pub trait Watcher: Send + Sync {
    /// The watermark moved, at least to `committed`.
    fn on_commit(&self, committed: Index);

    /// [`Log::pressure`] is another than at the last call, or was for a moment. Called with no lock of the log held, from
    /// the thread that calls `on_commit`.
    fn on_pressure(&self) {}
}

/// A log of records. The crate documentation lists what it promises.
pub trait Log: Send + Sync {
    /// Appends the batch and returns the index of its first record; an empty batch takes none and returns the
    /// index that the next record would get.
    fn append(&self, batch: &Batch) -> Result<Index, LogError>;

    /// Appends what must not be refused because messages fill the log: settlements, deletions, what closes a
    /// connection. It may wait behind more bytes than `append` accepts, and use room that is held back for it. If even
    /// this is refused, the owner has nothing left to try.
    fn append_essential(&self, batch: &Batch) -> Result<Index, LogError> {
        self.append(batch)
    }

    /// The index that the next record will get, if nobody appends before.
    fn next_index(&self) -> Index {
        // An empty batch takes none; a log that is closed ends with what is committed, as far as can be said.
        let next = self.append(&Batch::new());
        next.unwrap_or(Index(self.committed().0 + 1))
    }

    /// Every record up to this one is safe.
    fn committed(&self) -> Index;

    /// Sets who hears of the watermark. There is one watcher; a second call replaces it.
    fn watch(&self, watcher: Arc<dyn Watcher>);

    /// What should be held back now.
    fn pressure(&self) -> Pressure {
        Pressure::None
    }

    /// What the log survives, for the operator: shown at start.
    fn durability(&self) -> &'static str;
}
