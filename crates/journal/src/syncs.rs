//! How often the journal waits for the disk, and how long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Measures one wait.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins to measure.
    #[allow(
        clippy::disallowed_methods,
        reason = "how long the disk took is told to people, and decides nothing"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

/// Counted by the committer's thread, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct SyncCounters {
    syncs: AtomicU64,
    micros: AtomicU64,
}

impl SyncCounters {
    /// One more wait is over.
    pub(crate) fn count(&self, watch: &Stopwatch) {
        let micros = u64::try_from(watch.0.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Syncs {
        Syncs {
            count: self.syncs.load(Ordering::Relaxed),
            micros: self.micros.load(Ordering::Relaxed),
        }
    }
}

/// How often the disk was waited for since the log was opened, and how long altogether.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Syncs {
    /// How often.
    pub count: u64,
    /// How long altogether, in microseconds.
    pub micros: u64,
}
