//! What goes into a queue, what comes out, and what its decisions ask of the shell.

use alloc::vec::Vec;
use core::fmt;

use super::ready::Lanes;
use super::{ConsumerKey, PagePlace};
use crate::id::{Lsn, Position};
use crate::message::{DeathReason, Message};
use crate::tags::Tags;

/// Of each effect, memory for so many is kept from step to step.
pub const EFFECTS_KEPT_MAX: usize = 1024;

/// A message on its way into the queue.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The message.
    pub message: Message,
    /// Its journal record; [`Lsn::NONE`] if it has none.
    pub lsn: Lsn,
    /// Tags of the bindings that led here.
    pub tags: Tags,
    /// Deliver at most once: it waits in a lane of its own, after all others, and consumers that settle by message
    /// ([`super::AckMode::ByMessage`]) take it without credit and without a lease.
    pub at_most_once: bool,
}

/// What became of a message on its way into the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It is in the queue.
    Accepted,
    /// It is not, by rules that the publisher does not hear of: dropped at the door, or dead on arrival (no time to
    /// live and nobody waiting, no room even without all others).
    Dropped,
    /// The queue is full and refuses it.
    Rejected,
}

/// A message handed to a consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// What to settle it by; stays the same when it comes back and is delivered again.
    pub position: Position,
    /// Tags of the bindings that led it here.
    pub tags: Tags,
    /// Completed takings before this one.
    pub attempts: u32,
    /// How many of those counted as failed.
    pub failures: u32,
    /// Its journal record; [`Lsn::NONE`] if it has none.
    pub lsn: Lsn,
    /// It may have been delivered before: it came back, or it was in the queue when that was recovered.
    pub redelivered: bool,
    /// It came in as at-most-once.
    pub at_most_once: bool,
    /// It has left the queue: there is nothing to settle.
    pub settled: bool,
}

// Measured: the next 8 bytes cost a tenth of a whole delivery.
const _: () = assert!(size_of::<Delivery>() <= 56);

/// How a lease ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done.
    Ack,
    /// Back to its place.
    Return {
        /// Counts as a failure.
        failed: bool,
    },
    /// Dead.
    Reject {
        /// Counts as a failure.
        failed: bool,
    },
    /// Back to its place as if it had not been taken: it never really got to the consumer.
    Untouched,
}

/// A message that died in a queue with a dead-letter target.
#[derive(Clone, Debug)]
pub struct Dead {
    /// The message.
    pub message: Message,
    /// Its journal record here; the move to the target ends it.
    pub lsn: Lsn,
    /// Why it died.
    pub reason: DeathReason,
    /// Completed takings.
    pub attempts: u32,
}

/// Why a queue asks to be deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeleteReason {
    /// Its last consumer went (auto-delete).
    Unused,
    /// Nobody used it for its time.
    Expired,
}

/// New counters of a journalled entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Returned {
    /// The entry's record.
    pub lsn: Lsn,
    /// Completed takings in all.
    pub attempts: u32,
    /// Failures in all.
    pub failures: u32,
}

/// The messages of a queue that was closed.
#[derive(Default)]
pub struct Remains(pub(super) Lanes);

impl Remains {
    /// The pages that its messages were in.
    pub fn pages(&self) -> impl Iterator<Item = PagePlace> {
        let lanes = self.0.kept();
        lanes.flat_map(|(_, lane)| lane.cold_chunks(0).flat_map(|(_, _, cold)| cold.pages()))
    }
}

impl fmt::Debug for Remains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remains")
            .field("bytes", &self.0.held_bytes())
            .finish()
    }
}

/// What the queue's decisions ask of the shell. Operations append; the shell clears when it has acted.
#[derive(Debug, Default)]
pub struct Effects {
    /// Consumers that have assigned messages and were not named since a drain last left them without.
    pub ready: Vec<ConsumerKey>,
    /// Messages to dead-letter, in order.
    pub dead: Vec<Dead>,
    /// Journalled entries that left for good: settled, refused, dropped, expired, purged. Not those in `dead`, nor
    /// those that ended with the queue.
    pub settled: Vec<Lsn>,
    /// Journalled entries whose counters changed as they came back.
    pub returned: Vec<Returned>,
    /// Consumers that ended with the queue.
    pub cancelled: Vec<ConsumerKey>,
    /// Consumers that hold a message for longer than they may ([`super::Queue::lease_timeout_ms`]). They are named again
    /// only when they have let go of everything in between.
    pub timed_out: Vec<ConsumerKey>,
    /// The queue asks to be deleted.
    pub delete: Option<DeleteReason>,
    /// Messages that were dropped at the door, or died without a dead-letter target.
    pub dropped: u64,
    /// Those of them that died, by [`DeathReason::index`].
    pub died: [u64; DeathReason::COUNT],
    /// How long a message that was drained had been here, in milliseconds: of the last one only.
    pub waited_ms: Option<u64>,
    /// How long a message that was settled had been leased, in milliseconds: of the last one only.
    pub held_ms: Option<u64>,
    /// Messages that were lost: neither their records nor their pages could be read. They left, and are not in
    /// `settled`.
    pub unreadable: u64,
    /// Something cold must be read before the queue can go on, or soon: see [`super::Queue::wanted_cold`].
    pub wants_cold: bool,
    /// Pages that nothing refers to any more.
    pub freed: Vec<PagePlace>,
    /// What a queue that was closed held: let go with the effects, as that may take long.
    pub remains: Remains,
}

impl Effects {
    /// No effects.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything, and keeps memory up to [`EFFECTS_KEPT_MAX`].
    pub fn clear(&mut self) {
        empty(&mut self.ready);
        empty(&mut self.dead);
        empty(&mut self.settled);
        empty(&mut self.returned);
        empty(&mut self.cancelled);
        empty(&mut self.timed_out);
        self.delete = None;
        self.dropped = 0;
        self.died = [0; DeathReason::COUNT];
        (self.waited_ms, self.held_ms) = (None, None);
        self.unreadable = 0;
        self.wants_cold = false;
        empty(&mut self.freed);
        self.remains = Remains::default();
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
            && self.dead.is_empty()
            && self.settled.is_empty()
            && self.returned.is_empty()
            && self.cancelled.is_empty()
            && self.timed_out.is_empty()
            && self.delete.is_none()
            && self.dropped == 0
            && self.unreadable == 0
            && !self.wants_cold
            && self.freed.is_empty()
    }

    pub(super) fn settle(&mut self, lsn: Lsn) {
        if lsn.is_some() {
            self.settled.push(lsn);
        }
    }
}

fn empty<T>(effects: &mut Vec<T>) {
    effects.clear();
    if effects.capacity() > EFFECTS_KEPT_MAX {
        *effects = Vec::new();
    }
}
