//! What a queue is told to do: settings, from its declaration's arguments.

use alloc::boxed::Box;

use crate::error::Refusal;
use crate::topology::QueueDecl;
use crate::value::Headers;

pub(crate) mod arguments;
mod definition;

pub use arguments::QUEUE_TYPE;
pub use definition::{
    ALTERNATE_EXCHANGE, DefinitionFault, Subject, check_definition, merge_definitions,
    without_effect,
};

/// Kinds of queue, told apart by their defaults and by the arguments they take.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum QueueKind {
    /// May be transient, exclusive or auto-deleted; one lane unless a maximum priority is set.
    #[default]
    Classic,
    /// Durable and shared; always with a delivery limit unless it is switched off, and with priorities.
    Quorum,
}

impl QueueKind {
    /// How many there are.
    pub const COUNT: usize = 2;

    /// All of them, in the order of [`Self::index`].
    pub const ALL: [Self; Self::COUNT] = [Self::Classic, Self::Quorum];

    /// Its number, from 0 on.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in a declaration's `x-queue-type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Classic, Self::Quorum]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// What dead-lettering does when the target refuses the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DeadLetterStrategy {
    /// The message waits until the target has room, for a bounded time and in a bounded number.
    #[default]
    AtLeastOnce,
    /// The message is dropped.
    AtMostOnce,
}

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

/// The argument that makes a queue keep apart what is worth delivering once at most: its value is
/// [`AtMostOnce::messages_max`]. Queues of sessions have it.
pub const AT_MOST_ONCE_MAX: &str = "x-at-most-once-max-length";

/// The argument whose value is [`AtMostOnce::bytes_max`], beside [`AT_MOST_ONCE_MAX`].
pub const AT_MOST_ONCE_BYTES_MAX: &str = "x-at-most-once-max-length-bytes";

/// What to do with at-most-once messages beyond those that a consumer can be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AtMostOnce {
    /// Messages that are not durable are at-most-once, whatever binding led them here.
    pub transient: bool,
    /// Keep them while nobody consumes; otherwise they are dropped at the door.
    pub keep_without_consumer: bool,
    /// Ready at-most-once messages above this number are dropped at the door.
    pub messages_max: u32,
    /// They are dropped at the door while those that are ready have this many body bytes or more.
    pub bytes_max: u64,
}

impl AtMostOnce {
    /// The rules of a session's queue.
    pub fn session(messages_max: u64, bytes_max: u64) -> Self {
        Self {
            transient: true,
            keep_without_consumer: false,
            messages_max: u32::try_from(messages_max).unwrap_or(u32::MAX),
            bytes_max,
        }
    }
}

impl Default for AtMostOnce {
    fn default() -> Self {
        Self {
            transient: false,
            keep_without_consumer: true,
            messages_max: u32::MAX,
            bytes_max: u64::MAX,
        }
    }
}

/// A queue's effective settings.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct QueueSettings {
    /// Which kind of queue.
    pub kind: QueueKind,
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
    /// What happens when the dead-letter target refuses.
    pub dead_letter_strategy: DeadLetterStrategy,
    /// A message that failed more often than this is dead.
    pub delivery_limit: Option<u32>,
    /// How long a consumer may hold a message in milliseconds, 0 for ever; none leaves that to the node.
    pub consumer_timeout_ms: Option<u64>,
    /// Priorities 0 to this, each a lane of its own; none for one lane.
    pub max_priority: Option<u8>,
    /// The priority of messages that have none.
    pub default_priority: u8,
    /// Only the first consumer is served, until it goes.
    pub single_active_consumer: bool,
    /// The queue goes with its last consumer.
    pub auto_delete: bool,
    /// What happens to at-most-once messages.
    pub at_most_once: AtMostOnce,
    /// Deliveries tell their counters (attempts and failures).
    pub expose_counters: bool,
}

impl QueueKind {
    /// The kind that a declaration with these arguments asks for, if they can be used.
    pub fn asked(arguments: &Headers) -> Self {
        arguments::kind_of(arguments)
    }
}

impl QueueSettings {
    /// The settings a declaration asks for.
    ///
    /// # Errors
    /// [`Refusal::InvalidArgument`] for the first argument that cannot be used, in the order RabbitMQ looks at
    /// them; [`Refusal::InvalidProperty`] for a property the kind of queue does not go with.
    pub fn from_decl(decl: &QueueDecl) -> Result<Self, Refusal> {
        arguments::settings(decl)
    }
}

#[cfg(test)]
mod tests;
