//! Credit: how many messages a consumer may hold, alone or together with others.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Credit that several consumers share, of one queue or of many.
///
/// A queue that gets credit back may serve its own consumers only; whoever shares it elsewhere is told by
/// [`super::Queue::replenish`].
#[derive(Debug)]
pub struct SharedCredit {
    limit: AtomicU32,
    used: AtomicU32,
    held: AtomicBool,
}

impl SharedCredit {
    /// Room for so many messages; `u32::MAX` is no limit.
    pub const fn new(limit: u32) -> Self {
        Self {
            limit: AtomicU32::new(limit),
            used: AtomicU32::new(0),
            held: AtomicBool::new(false),
        }
    }

    /// Changes the limit; what is used stays used.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Release);
    }

    /// The limit.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Acquire)
    }

    /// How much is used; above the limit after it was lowered.
    pub fn used(&self) -> u32 {
        self.used.load(Ordering::Acquire)
    }

    /// Nobody takes more until [`Self::resume`], so that what is given back meanwhile is not at once taken by the
    /// queue that gave it.
    pub fn hold(&self) {
        self.held.store(true, Ordering::Release);
    }

    /// It may be taken again: whoever shares it is to be told by [`super::Queue::replenish`].
    pub fn resume(&self) {
        self.held.store(false, Ordering::Release);
    }

    /// Takes room for one message, if there is some.
    pub fn try_take(&self) -> bool {
        if self.held.load(Ordering::Acquire) {
            return false;
        }
        let limit = self.limit();
        let take = |used| if used < limit { Some(used + 1) } else { None };
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .is_ok()
    }

    /// Gives back the room of so many messages.
    pub fn give_back(&self, messages: u32) {
        let give = |used: u32| Some(used.saturating_sub(messages));
        // The closure never refuses.
        let _ = self
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, give);
    }

    /// Takes room for messages that are out already, limit or not.
    pub(super) fn take_all(&self, messages: u32) {
        let take = |used: u32| Some(used.saturating_add(messages));
        let _ = self
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
    }

    pub(super) fn has_room(&self) -> bool {
        self.used() < self.limit() && !self.held.load(Ordering::Acquire)
    }
}

/// How many messages a consumer may hold, assigned or leased. Automatically settled ones do not count; but a consumer
/// that settles all of its messages that way gets none while a credit that it shares is used up by others.
#[derive(Clone, Debug)]
pub enum Credit {
    /// Any number.
    Unlimited,
    /// So many.
    Limited(u32),
    /// As many as it gets from a credit shared with others, and no more than a limit of its own.
    Shared {
        /// The credit of all together.
        with: Arc<SharedCredit>,
        /// Its own limit; `u32::MAX` is none.
        limit: u32,
    },
}
