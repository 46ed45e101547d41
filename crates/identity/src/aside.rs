//! Threads that wait for an answer in the middle of a verb, few at once: threads are for messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use ternmq_broker::aside::Aside;

/// Threads that wait at once, at most, for one server.
const WAITING_MAX: usize = 128;

/// Those who wait.
#[derive(Debug)]
pub(crate) struct Waiting {
    aside: Aside,
    count: AtomicUsize,
}

impl Waiting {
    pub(crate) fn new(aside: Aside) -> Self {
        Self {
            aside,
            count: AtomicUsize::new(0),
        }
    }

    /// Waits for the bell, not much longer than `limit`. False at once if too many wait already.
    pub(crate) fn wait(&self, bell: &Bell, limit: Duration) -> bool {
        let is_one_too_many = self.count.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX;
        if !is_one_too_many {
            (self.aside)(&mut || bell.wait(limit));
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        !is_one_too_many
    }
}

/// Wakes a thread that waits.
#[derive(Default)]
pub(crate) struct Bell {
    has_rung: Mutex<bool>,
    rings: Condvar,
}

impl Bell {
    fn wait(&self, limit: Duration) {
        let mut has_rung = self.has_rung.lock();
        let rings = |has_rung: &mut bool| !*has_rung;
        self.rings.wait_while_for(&mut has_rung, rings, limit);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.has_rung.lock() = true;
        self.rings.notify_all();
    }
}
