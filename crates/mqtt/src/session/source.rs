//! A queue that a session consumes from.

use std::sync::Arc;

use ternmq_broker::{Consumer, QueueHandle};
use ternmq_core::id::Position;

/// See the module's documentation. Its number in the session is its consumer's token, and stays the same as long as
/// there are leases.
#[derive(Default)]
pub(crate) struct Source {
    /// The queue, once it was consumed from.
    pub(crate) queue: Option<QueueHandle>,
    /// The queue's name.
    pub(crate) name: Option<Arc<str>>,
    /// Whether the session made it, and deletes it when it ends.
    pub(crate) created: bool,
    /// While connected.
    pub(crate) consumer: Option<Consumer>,
    /// Messages it was given that are another session's, see [`crate::registry::reserved`]: they count against the
    /// consumer's credit and must not.
    pub(crate) held_for_others: u32,
    /// Messages are assigned to the consumer.
    pub(crate) ready: bool,
    /// Delivered and done, to be settled with the next flush.
    pub(crate) done: Vec<Position>,
    /// The subscription it belongs to (its tag), a shared one or that of a queue; none for the session's own queue, and
    /// for a source that was left.
    pub(crate) share: Option<u32>,
}

impl Source {
    /// The session's own queue.
    pub(crate) const OWN: u16 = 0;
}
