//! When which queue has something to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;
use ternmq_core::id::{QueueId, Timestamp};

use crate::broker::Broker;
use crate::cell::QueueCell;
use crate::vhost::Vhost;
use crate::work::Work;

/// How often a vhost's retained messages are looked through for expired ones, in milliseconds.
const RETAINED_SWEEP_MS: u64 = 10_000;

/// Queues by their next deadline. A queue stands here under the earliest deadline it named since it last acted.
#[derive(Default)]
pub(crate) struct Timers {
    due: Mutex<BTreeMap<(Timestamp, QueueId), Weak<QueueCell>>>,
    /// Vhosts whose retained messages are to be looked through for expired ones.
    retained: Mutex<BTreeMap<Timestamp, Vec<Weak<Vhost>>>>,
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

    /// Sees to it that expired retained messages are forgotten. Nobody is sent one that has expired, so this has time:
    /// a vhost is looked through once in [`RETAINED_SWEEP_MS`] at most.
    pub(crate) fn arm_retained(&self, at: Timestamp, vhost: &Arc<Vhost>) {
        let at = Timestamp(
            at.0.div_ceil(RETAINED_SWEEP_MS)
                .saturating_mul(RETAINED_SWEEP_MS),
        );
        let mut due = self.retained.lock();
        let vhosts = due.entry(at).or_default();
        let weak = Arc::downgrade(vhost);
        if !vhosts.iter().any(|known| known.ptr_eq(&weak)) {
            vhosts.push(weak);
            drop(due);
            self.sleeper.wake();
        }
    }

    fn pop_retained(&self, now: Timestamp) -> Option<Vec<Weak<Vhost>>> {
        let mut due = self.retained.lock();
        let entry = due.first_entry().filter(|e| *e.key() <= now)?;
        Some(entry.remove())
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
        let retained = self.0.timers.retained.lock().keys().next().copied();
        let scheduled = self.0.schedule.next();
        [queues, retained, scheduled].into_iter().flatten().min()
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
        while let Some(vhosts) = self.0.timers.pop_retained(now) {
            for vhost in vhosts.iter().filter_map(Weak::upgrade) {
                self.0.expire_retained(&vhost, now);
            }
        }
        self.0.publish_due(&mut work, now);
    }
}
