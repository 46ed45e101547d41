//! What one step leaves to be done after its lock is released; the buffers are kept from step to step.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ternmq_core::queue::{Dead, EFFECTS_KEPT_MAX, Effects, PartKey};
use ternmq_core::routing::Routes;
use ternmq_journal::Batch;

use crate::cell::QueueCell;
use crate::mailbox::{Mailbox, Notice};
use crate::timer::Rearm;

/// Reusable buffers and pending follow-ups. Every caller of the broker's verbs owns one.
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
    /// Dead messages on their way to their dead-letter targets.
    pub(crate) dead: VecDeque<(Arc<QueueCell>, Dead)>,
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
