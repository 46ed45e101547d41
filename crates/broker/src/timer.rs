//! When which queue has something to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;
use ternmq_core::id::{QueueId, Timestamp};

use crate::broker::Broker;
use crate::cell::QueueCell;
use crate::work::Work;

/// Queues by their next deadline. A queue stands here under the earliest deadline it named since it last acted.
#[derive(Default)]
pub(crate) struct Timers {
    due: Mutex<BTreeMap<(Timestamp, QueueId), Weak<QueueCell>>>,
    /// Whoever sleeps until the next deadline.
    sleeper: AtomicWaker,
}

impl Timers {
    /// Sees to it that the queue is asked at `deadline`.
    pub(crate) fn arm(&self, deadline: Timestamp, cell: &Arc<QueueCell>) {
        let key = (deadline, cell.id);
        let mut due = self.due.lock();
        due.insert(key, Arc::downgrade(cell));
        let is_first = due
            .first_key_value()
            .is_some_and(|(first, _)| *first == key);
        drop(due);
        if is_first {
            self.sleeper.wake();
        }
    }

    pub(crate) fn wake(&self) {
        self.sleeper.wake();
    }

    fn next(&self) -> Option<Timestamp> {
        self.due
            .lock()
            .first_key_value()
            .map(|((deadline, _), _)| *deadline)
    }

    fn pop(&self, now: Timestamp) -> Option<Weak<QueueCell>> {
        let mut due = self.due.lock();
        let entry = due.first_entry().filter(|e| e.key().0 <= now)?;
        Some(entry.remove())
    }
}

impl Broker {
    /// When [`Broker::tick`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let queues = self.0.timers.next();
        let scheduled = self.0.schedule.next();
        queues.into_iter().chain(scheduled).min()
    }

    /// Registers who is woken when [`Broker::next_deadline`] moves earlier. There is one sleeper.
    pub fn wake_on_earlier_deadline(&self, waker: &Waker) {
        self.0.timers.sleeper.register(waker);
    }

    /// Does what is due: expires messages and queues, publishes what was scheduled.
    pub fn tick(&self, now: Timestamp) {
        let mut work = Work::default();
        while let Some(cell) = self.0.timers.pop(now) {
            if let Some(cell) = cell.upgrade() {
                cell.expire(&mut work, now);
                self.0.follow_up(&cell, &mut work, now);
            }
        }
        self.0.publish_due(&mut work, now);
    }
}
