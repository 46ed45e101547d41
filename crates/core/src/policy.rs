//! What a queue is told to do: settings, from its declaration's arguments.

use alloc::boxed::Box;

/// What happens to a publish that a full queue cannot take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overflow {
    /// The oldest ready messages make room.
    #[default]
    DropHead,
    /// The new one is refused.
    RejectPublish,
    /// The new one is refused and dead-lettered.
    RejectPublishDeadLetter,
}

/// Where dead messages go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetterTarget {
    /// The exchange; empty for the default exchange.
    pub exchange: Box<str>,
    /// Replaces the message's own routing keys.
    pub routing_key: Option<Box<str>>,
}

/// What to do with at-most-once messages beyond those that a consumer can be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AtMostOnce {
    /// Keep them while nobody consumes; otherwise they are dropped at the door.
    pub keep_without_consumer: bool,
    /// Ready at-most-once messages above this number are dropped at the door.
    pub messages_max: u32,
}

impl Default for AtMostOnce {
    fn default() -> Self {
        Self {
            keep_without_consumer: true,
            messages_max: u32::MAX,
        }
    }
}

/// A queue's effective settings.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct QueueSettings {
    /// Ready messages beyond this number overflow.
    pub max_length: Option<u64>,
    /// Ready body bytes beyond this number overflow.
    pub max_length_bytes: Option<u64>,
    /// How it overflows.
    pub overflow: Overflow,
    /// Longest time in the queue in milliseconds; the lower of this and the message's own counts.
    pub message_ttl_ms: Option<u64>,
    /// The queue goes when unused for so many milliseconds.
    pub expires_ms: Option<u64>,
    /// Where dead messages go; none drops them.
    pub dead_letter: Option<DeadLetterTarget>,
    /// A message that failed more often than this is dead.
    pub delivery_limit: Option<u32>,
    /// Priorities 0 to this, each a lane of its own; none for one lane.
    pub max_priority: Option<u8>,
    /// Only the first consumer is served, until it goes.
    pub single_active_consumer: bool,
    /// The queue goes with its last consumer.
    pub auto_delete: bool,
    /// What happens to at-most-once messages.
    pub at_most_once: AtMostOnce,
    /// Deliveries tell their counters (attempts and failures).
    pub expose_counters: bool,
}
