//! A log in memory: for nodes that keep nothing, and for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::batch::Batch;
use crate::log::{Index, Log, LogError, Watcher};

/// A log that survives nothing.
///
/// In service it counts records and lets them go, so that it needs no memory. In tests it can keep them for replay
/// ([`MemoryLog::recording`]) and hold back the watermark ([`MemoryLog::held_back`]).
#[derive(Default)]
pub struct MemoryLog {
    last: AtomicU64,
    test: Option<Mutex<TestState>>,
}

#[derive(Default)]
struct TestState {
    records: Vec<Vec<u8>>,
    committed: u64,
    held_back: bool,
    watcher: Option<Arc<dyn Watcher>>,
}

impl MemoryLog {
    /// A log that commits at once and keeps nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A log that commits at once and keeps its records for [`MemoryLog::records`].
    pub fn recording() -> Self {
        Self {
            last: AtomicU64::new(0),
            test: Some(Mutex::default()),
        }
    }

    /// A recording log whose watermark moves by [`MemoryLog::commit`] only.
    pub fn held_back() -> Self {
        let state = TestState {
            held_back: true,
            ..TestState::default()
        };
        Self {
            last: AtomicU64::new(0),
            test: Some(Mutex::new(state)),
        }
    }

    /// The records so far, oldest first; none if they are not kept.
    pub fn records(&self) -> Vec<Vec<u8>> {
        self.test
            .as_ref()
            .map_or_else(Vec::new, |t| t.lock().records.clone())
    }

    /// Commits all that was appended and tells the watcher.
    pub fn commit(&self) {
        let Some(test) = &self.test else { return };
        let mut state = test.lock();
        state.committed = self.last.load(Ordering::Acquire);
        let (committed, watcher) = (Index(state.committed), state.watcher.clone());
        drop(state);
        if let Some(watcher) = watcher {
            watcher.on_commit(committed);
        }
    }
}

impl Log for MemoryLog {
    fn append(&self, batch: &Batch) -> Result<Index, LogError> {
        let count = batch.len() as u64;
        let Some(test) = &self.test else {
            return Ok(Index(self.last.fetch_add(count, Ordering::AcqRel) + 1));
        };
        let mut state = test.lock();
        let first = self.last.fetch_add(count, Ordering::AcqRel) + 1;
        state.records.extend(batch.iter().map(<[u8]>::to_vec));
        if !state.held_back {
            state.committed = first + count - 1;
        }
        Ok(Index(first))
    }

    fn committed(&self) -> Index {
        match &self.test {
            None => Index(self.last.load(Ordering::Acquire)),
            Some(test) => Index(test.lock().committed),
        }
    }

    fn next_index(&self) -> Index {
        Index(self.last.load(Ordering::Acquire) + 1)
    }

    fn watch(&self, watcher: Arc<dyn Watcher>) {
        // A log that commits within `append` has nothing to tell later.
        if let Some(test) = &self.test {
            test.lock().watcher = Some(watcher);
        }
    }

    fn durability(&self) -> &'static str {
        "none: data is kept in memory only"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(records: &[&str]) -> Batch {
        let mut batch = Batch::new();
        for r in records {
            batch.record(|out| out.extend_from_slice(r.as_bytes()));
        }
        batch
    }

    #[test]
    fn records_get_consecutive_indexes_from_one() {
        for log in [MemoryLog::new(), MemoryLog::recording()] {
            assert_eq!(log.append(&batch(&["a", "b"])), Ok(Index(1)));
            assert_eq!(log.append(&batch(&[])), Ok(Index(3)));
            assert_eq!(log.append(&batch(&["c"])), Ok(Index(3)));
            assert_eq!(log.committed(), Index(3));
        }
    }

    #[test]
    fn held_back_watermark_moves_by_commit_and_tells_the_watcher() {
        struct Seen(AtomicU64);
        impl Watcher for Seen {
            fn on_commit(&self, committed: Index) {
                self.0.store(committed.0, Ordering::Release);
            }
        }
        let seen = Arc::new(Seen(AtomicU64::new(0)));
        let log = MemoryLog::held_back();
        log.watch(seen.clone());
        assert_eq!(log.append(&batch(&["a", "b"])), Ok(Index(1)));
        assert_eq!(log.committed(), Index(0));
        log.commit();
        assert_eq!(
            (log.committed(), seen.0.load(Ordering::Acquire)),
            (Index(2), 2)
        );
        assert_eq!(log.records(), [b"a".to_vec(), b"b".to_vec()]);
    }
}
