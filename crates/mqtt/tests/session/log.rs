//! A journal in memory that a test holds back, refuses, cuts and replays.

use std::sync::Arc;

use parking_lot::Mutex;
use ternmq_broker::{Batch, Index, Log, LogError, Pressure, Watcher};

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct TestLog(Mutex<State>);

#[derive(Default)]
struct State {
    records: Vec<Vec<u8>>,
    /// How many came at a time.
    appends: Vec<usize>,
    /// So many are safe.
    committed: usize,
    is_held_back: bool,
    is_full: bool,
    is_behind: bool,
    watcher: Option<Arc<dyn Watcher>>,
}

impl TestLog {
    /// Commits at once.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Commits by [`TestLog::commit`] only.
    pub(crate) fn held_back() -> Self {
        let log = Self::default();
        log.hold_back();
        log
    }

    /// One that begins with records which are safe.
    pub(crate) fn of(records: &[Vec<u8>]) -> Self {
        let log = Self::default();
        {
            let mut state = log.0.lock();
            state.records = records.to_vec();
            state.appends = vec![records.len()];
            state.committed = records.len();
        }
        log
    }

    /// From now on nothing is committed but by [`TestLog::commit`].
    pub(crate) fn hold_back(&self) {
        self.0.lock().is_held_back = true;
    }

    /// Whether it refuses what comes.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.0.lock().is_full = is_full;
    }

    /// Whether it takes more than its disk.
    pub(crate) fn set_behind(&self, is_behind: bool) {
        self.0.lock().is_behind = is_behind;
    }

    /// All records so far.
    pub(crate) fn records(&self) -> Vec<Vec<u8>> {
        self.0.lock().records.clone()
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().records.len()
    }

    /// How many records came at a time since there were so many.
    pub(crate) fn appends(&self, since: usize) -> Vec<usize> {
        let state = self.0.lock();
        let mut before = 0;
        let later = state.appends.iter().filter(|count| {
            before += **count;
            before > since
        });
        later.copied().collect()
    }

    /// After how many records a batch ends, from what is safe on. A crash leaves whole batches.
    pub(crate) fn ends(&self) -> Vec<usize> {
        let state = self.0.lock();
        let mut before = 0;
        let ends = state.appends.iter().map(|count| {
            before += count;
            before
        });
        let later = ends.filter(|end| *end > state.committed);
        std::iter::once(state.committed).chain(later).collect()
    }

    /// How many records are safe.
    pub(crate) fn safe(&self) -> usize {
        self.0.lock().committed
    }

    /// All so far is safe.
    pub(crate) fn commit(&self) {
        self.commit_up_to(usize::MAX);
    }

    /// So many records are safe.
    pub(crate) fn commit_up_to(&self, count: usize) {
        let mut state = self.0.lock();
        state.committed = state.committed.max(count.min(state.records.len()));
        let (committed, watcher) = (Index(state.committed as u64), state.watcher.clone());
        drop(state);
        if let Some(watcher) = watcher {
            watcher.on_commit(committed);
        }
    }
}

impl Log for TestLog {
    fn append(&self, batch: &Batch) -> Result<Index, LogError> {
        let mut state = self.0.lock();
        let first = Index(state.records.len() as u64 + 1);
        if batch.is_empty() {
            return Ok(first);
        }
        if state.is_full {
            return Err(LogError::Full);
        }
        state.appends.push(batch.len());
        state.records.extend(batch.iter().map(<[u8]>::to_vec));
        if !state.is_held_back {
            state.committed = state.records.len();
        }
        Ok(first)
    }

    fn committed(&self) -> Index {
        Index(self.0.lock().committed as u64)
    }

    fn pressure(&self) -> Pressure {
        if self.0.lock().is_behind {
            Pressure::Behind
        } else {
            Pressure::None
        }
    }

    fn watch(&self, watcher: Arc<dyn Watcher>) {
        self.0.lock().watcher = Some(watcher);
    }

    fn durability(&self) -> &'static str {
        "a test's"
    }
}
