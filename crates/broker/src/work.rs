//! What one step leaves to be done after its lock is released; the buffers are kept from step to step.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ternmq_core::queue::{EFFECTS_KEPT_MAX, Effects, PartKey};
use ternmq_core::routing::Routes;
use ternmq_journal::Batch;

use crate::cell::QueueCell;
use crate::mailbox::{Mailbox, Notice};
use crate::timer::Rearm;

/// Reusable buffers and pending follow-ups. Every caller of the broker's verbs has one while it is at work.
#[derive(Default)]
pub(crate) struct Work {
    /// What the queue decided in the current step.
    pub(crate) effects: Effects,
    /// To be pushed once no lock is held.
    pub(crate) notices: Vec<(Arc<Mailbox>, Notice)>,
    /// A deadline of the current cell that the timers do not know yet.
    pub(crate) rearm: Option<Rearm>,
    /// Change of the memory held by queues.
    pub(crate) resident_delta: i64,
    /// The current cell takes so much memory that it is to be looked at.
    pub(crate) freeze: bool,
    /// Parts of the current cell that are to be written.
    pub(crate) parts: Vec<(PartKey, Bytes)>,
    /// Messages died in the current step; their queue has them.
    pub(crate) has_dead: bool,
    /// Queues with dead messages that are to go to their dead-letter targets.
    pub(crate) dead: VecDeque<Arc<QueueCell>>,
    /// Queues that ended themselves.
    pub(crate) ended: Vec<Arc<QueueCell>>,
    /// Records of the current step.
    pub(crate) batch: Batch,
    /// Where messages are laid out.
    pub(crate) scratch: Vec<u8>,
    /// Where a publish goes.
    pub(crate) routes: Routes,
}

/// Memory for laying out one message that is kept between turns, in bytes.
const SCRATCH_KEPT_MAX: usize = 1024;
/// Memory for one step's records, likewise.
const RECORDS_KEPT_MAX: usize = 4 * 1024;

impl Work {
    /// Whether nothing is left to be done.
    fn is_done(&self) -> bool {
        self.notices.is_empty()
            && self.parts.is_empty()
            && self.dead.is_empty()
            && self.ended.is_empty()
            && self.rearm.is_none()
            && self.resident_delta == 0
    }

    /// Gives back what a large turn took: connections are many, and most of them idle.
    pub(crate) fn release(&mut self) {
        if self.scratch.capacity() > SCRATCH_KEPT_MAX {
            self.scratch = Vec::new();
        }
        if self.batch.byte_len() > RECORDS_KEPT_MAX {
            self.batch = Batch::new();
        }
        if self.notices.capacity() > EFFECTS_KEPT_MAX {
            self.notices = Vec::new();
        }
        if self.dead.capacity() > EFFECTS_KEPT_MAX {
            self.dead = VecDeque::new();
        }
    }
}

thread_local! {
    /// A [`Work`] that nobody needs at the moment: a turn runs on one thread from start to end.
    static SPARE: Cell<Option<Box<Work>>> = const { Cell::new(None) };
}

/// A [`Work`] while there is work: a connection that waits shall not hold a kilobyte of empty buffers.
#[derive(Default)]
pub(crate) struct OnDemand(Option<Box<Work>>);

impl OnDemand {
    /// The buffers, empty of what earlier steps left to be done.
    #[inline]
    pub(crate) fn get(&mut self) -> &mut Work {
        self.0
            .get_or_insert_with(|| SPARE.take().unwrap_or_default())
    }

    /// Leaves the buffers to whoever is next on this thread. Between two steps only.
    pub(crate) fn put_back(&mut self) {
        let Some(mut work) = self.0.take() else {
            return;
        };
        debug_assert!(work.is_done(), "a step is followed up before the next");
        // Who drains or settles counts these; what is left was of no interest.
        work.effects.waited_ms = None;
        work.effects.held_ms = None;
        SPARE.set(Some(work));
    }
}
