//! What one step leaves to be done after its lock is released; the buffers are kept from step to step.

use std::collections::VecDeque;
use std::sync::Arc;

use ternmq_core::queue::{Dead, Effects};
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
