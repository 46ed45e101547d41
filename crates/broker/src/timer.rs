//! When which queue has something to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;
use ternmq_core::id::{QueueId, Timestamp};

use crate::broker::{Broker, Inner};
use crate::cell::QueueCell;
use crate::mailbox::DiskRoom;
use crate::vhost::Vhost;
use crate::work::Work;

/// How often a vhost's retained messages are looked through for expired ones, in milliseconds.
const RETAINED_SWEEP_MS: u64 = 10_000;

/// How often the journal is asked for the room on the disk while there is not enough, and while there is, in
/// milliseconds.
const ROOM_CHECK_SHORT_MS: u64 = 1_000;
const ROOM_CHECK_MS: u64 = 10_000;

/// Queues that one tick lets act, at most; what is left is due at once.
const QUEUES_PER_TICK_MAX: usize = 16;

/// Queues by their next deadline. A queue stands here under the earliest deadline it named since it last acted.
#[derive(Default)]
pub(crate) struct Timers {
    due: Mutex<BTreeMap<(Timestamp, QueueId), Weak<QueueCell>>>,
    /// Vhosts whose retained messages are to be looked through for expired ones.
    retained: Mutex<BTreeMap<Timestamp, Vec<Weak<Vhost>>>>,
    room: Mutex<RoomChecks>,
    /// Whoever sleeps until the next deadline.
    sleeper: AtomicWaker,
}

/// What was done last about the room on the disk.
#[derive(Default)]
struct RoomChecks {
    /// It was asked for.
    asked: Timestamp,
    /// A checkpoint was wished because there was not enough.
    wished: Timestamp,
}

/// The move of a queue's deadline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rearm {
    /// Where the queue stood; none if it did not.
    pub(crate) from: Option<Timestamp>,
    /// None: nothing will ever be due.
    pub(crate) to: Option<Timestamp>,
}

impl Timers {
    /// Sees to it that the queue is asked when it has something to do. Of two moves at once the later one may come
    /// first: then the queue is asked once more than it needs to be, never less.
    pub(crate) fn rearm(&self, moved: Rearm, cell: &Arc<QueueCell>) {
        let mut due = self.due.lock();
        if let Some(from) = moved.from {
            due.remove(&(from, cell.id));
        }
        let Some(to) = moved.to else { return };
        let key = (to, cell.id);
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

    /// How many deadlines of queues stand here.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.due.lock().len()
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
        let held = self.0.hold.next();
        let room = self.0.next_room_check();
        let login = self.0.expiries.next();
        [queues, retained, scheduled, held, room, login]
            .into_iter()
            .flatten()
            .min()
    }

    /// Registers who is woken when [`Broker::next_deadline`] moves earlier. There is one sleeper.
    pub fn wake_on_earlier_deadline(&self, waker: &Waker) {
        self.0.timers.sleeper.register(waker);
    }

    /// Does what is due: expires messages and queues, publishes what was scheduled, tries dead letters again that
    /// were refused. If that is very much, only a part
    /// of it, and [`Broker::next_deadline`] still lies in the past.
    pub fn tick(&self, now: Timestamp) {
        let _inside = self.0.gate.enter();
        let mut work = Work::default();
        for _ in 0..QUEUES_PER_TICK_MAX {
            let Some(cell) = self.0.timers.pop(now) else {
                break;
            };
            if let Some(cell) = cell.upgrade() {
                cell.expire(&mut work, now);
                self.0.follow_up(&cell, &mut work, now);
            }
        }
        if let Some(vhosts) = self.0.timers.pop_retained(now) {
            for vhost in vhosts.iter().filter_map(Weak::upgrade) {
                self.0.expire_retained(&vhost, now);
            }
        }
        self.0.publish_due(&mut work, now);
        self.0.retry_held(&mut work, now);
        self.0.close_expired(now);
        self.0.check_room(now);
    }
}

impl Inner {
    /// Nobody says that a disk has room again, or that others have used it up: that is asked for. None where nothing is
    /// kept.
    fn next_room_check(&self) -> Option<Timestamp> {
        self.store.as_ref()?;
        let every_ms = if self.pressure.disk() == DiskRoom::Enough {
            ROOM_CHECK_MS
        } else {
            ROOM_CHECK_SHORT_MS
        };
        Some(self.timers.room.lock().asked.plus_ms(every_ms))
    }

    fn check_room(&self, now: Timestamp) {
        let Some(store) = &self.store else { return };
        if self.next_room_check().is_none_or(|at| now < at) {
            return;
        }
        let mut room = self.timers.room.lock();
        room.asked = now;
        let is_short = self.pressure.disk() != DiskRoom::Enough;
        let wishes = is_short && room.wished.plus_ms(ROOM_CHECK_MS) <= now;
        if wishes {
            room.wished = now;
        }
        drop(room);
        // The answer comes by the watcher.
        store.log.check_room();
        if wishes {
            // What was consumed meanwhile can be given back. The journal hardly grows now, so nothing else asks for it.
            store.checkpointing.wish();
        } else {
            store
                .checkpointing
                .look_for_quiet(store.log.written_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use ternmq_core::queue::EXPIRE_BATCH_MAX;
    use ternmq_core::value::Value;

    use super::*;
    use crate::bed::{START, broker, client, publish, queue};

    fn armed(broker: &Broker) -> usize {
        broker.0.timers.len()
    }

    #[test]
    fn queue_stands_once_however_often_its_deadline_moves_earlier() {
        let broker = broker();
        let mut client = client(&broker);
        client.declare_queue(queue("q", &[])).unwrap();
        for ttl in (1..100).rev() {
            publish(&mut client, "q", Some(ttl * 1_000));
            assert_eq!(broker.next_deadline(), Some(START.plus_ms(ttl * 1_000)));
            assert_eq!(armed(&broker), 1);
        }
        broker.tick(START.plus_ms(50_000));
        assert_eq!(broker.next_deadline(), Some(START.plus_ms(51_000)));
        assert_eq!(client.check_queue("q").unwrap().messages, 49);
    }

    #[test]
    fn queue_that_is_gone_leaves_no_deadline_behind() {
        let broker = broker();
        let mut client = client(&broker);
        let year = Value::I64(365 * 86_400_000);
        for _ in 0..10 {
            client
                .declare_queue(queue("q", &[("x-expires", year.clone())]))
                .unwrap();
            publish(&mut client, "q", Some(1_000));
            client
                .delete_queue("q", crate::DeleteIf::default())
                .unwrap();
            assert_eq!(armed(&broker), 0);
        }
    }

    #[test]
    fn one_tick_does_a_bounded_part_of_what_is_due() {
        let broker = broker();
        let mut client = client(&broker);
        let many = EXPIRE_BATCH_MAX * (QUEUES_PER_TICK_MAX + 1);
        client.declare_queue(queue("q", &[])).unwrap();
        for _ in 0..many {
            publish(&mut client, "q", Some(10));
        }
        let due = START.plus_ms(10);
        broker.tick(due);
        assert_eq!(
            client.check_queue("q").unwrap().messages,
            EXPIRE_BATCH_MAX as u64
        );
        assert!(
            broker.next_deadline() <= Some(due),
            "the rest is due at once"
        );
        broker.tick(due);
        assert_eq!(client.check_queue("q").unwrap().messages, 0);
    }
}
