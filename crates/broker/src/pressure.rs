//! The memory that messages hold, and when publishers have to pause.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::mailbox::Notice;

/// Publishers go on when memory falls below this share of the high mark, in percent.
const LOW_PERCENT: i64 = 90;

/// Bytes that queues hold, against a high mark.
pub(crate) struct Pressure {
    resident: AtomicI64,
    high: i64,
    blocked: AtomicBool,
}

impl Pressure {
    pub(crate) fn new(high_bytes: u64) -> Self {
        Self {
            resident: AtomicI64::new(0),
            high: i64::try_from(high_bytes).unwrap_or(i64::MAX),
            blocked: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    pub(crate) fn resident(&self) -> i64 {
        self.resident.load(Ordering::Relaxed)
    }

    /// Accounts a change. Returns what everybody has to be told, if a mark was crossed.
    pub(crate) fn add(&self, delta: i64) -> Option<Notice> {
        let resident = self.resident.fetch_add(delta, Ordering::AcqRel) + delta;
        let blocked = self.is_blocked();
        if !blocked && resident > self.high {
            return (!self.blocked.swap(true, Ordering::AcqRel)).then_some(Notice::Blocked);
        }
        if blocked && resident < self.high / 100 * LOW_PERCENT {
            return self
                .blocked
                .swap(false, Ordering::AcqRel)
                .then_some(Notice::Unblocked);
        }
        None
    }
}
