//! Targets that records name together: a message to very many durable queues names one number instead of all of them.
//!
//! The list itself is a record of its own, written with the first message that uses it. Replay begins at a checkpoint,
//! so a list has to be written again after each one: that is what epochs are for. A checkpoint begins a new epoch, then
//! waits until all verbs that may have seen the old one have ended ([`crate::gate`]); records behind that moment name only
//! lists that were written in the new epoch.

use std::sync::atomic::{AtomicU64, Ordering};

use ternmq_core::id::{Lsn, RouteSetId};

/// Routes with more durable queues than this are recorded as sets.
pub(crate) const INLINE_TARGETS_MAX: usize = 16;

/// What the route sets of a node have in common.
pub(crate) struct RouteSets {
    next_id: AtomicU64,
    epoch: AtomicU64,
}

impl RouteSets {
    /// `next` is the place of the next record. Every set that was ever made has a record of its own, so the numbers
    /// from there on are new.
    pub(crate) fn new(next: Lsn) -> Self {
        Self {
            next_id: AtomicU64::new(next.0),
            epoch: AtomicU64::new(1),
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// From now on every set is written again before it is used.
    pub(crate) fn begin_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// From now on ids are those behind that record.
    pub(crate) fn begin_behind(&self, next: Lsn) {
        self.next_id.fetch_max(next.0, Ordering::Relaxed);
    }
}

/// One route's set: its id, and when it was last written.
#[derive(Default)]
pub(crate) struct RouteSet {
    /// 0: none yet.
    id: AtomicU64,
    /// The epoch it was written in; 0: never.
    written: AtomicU64,
}

impl RouteSet {
    pub(crate) fn id(&self, sets: &RouteSets) -> RouteSetId {
        let id = self.id.load(Ordering::Acquire);
        if id != 0 {
            return RouteSetId(id);
        }
        let new = sets.next_id.fetch_add(1, Ordering::Relaxed);
        let stored = self
            .id
            .compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire);
        RouteSetId(stored.map_or_else(|other| other, |_| new))
    }

    /// Whether records of that epoch may name it.
    pub(crate) fn is_written(&self, epoch: u64) -> bool {
        self.written.load(Ordering::Acquire) == epoch
    }

    /// Its record was appended in that epoch.
    pub(crate) fn set_written(&self, epoch: u64) {
        self.written.fetch_max(epoch, Ordering::AcqRel);
    }
}
