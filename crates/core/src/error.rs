//! Protocol-neutral refusals: what the core says no to, and why. Adapters turn them into their protocol's codes.

use alloc::boxed::Box;

use crate::access::Right;
use crate::policy::QueueKind;
use crate::value::Value;

/// What a refusal is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A queue.
    Queue,
    /// An exchange.
    Exchange,
}

/// What is wrong with an argument's value.
#[derive(Clone, PartialEq, Debug)]
pub enum ArgumentFault {
    /// An integer is wanted, this is something else.
    NotAnInteger(Value),
    /// This type cannot be used here.
    UnacceptableType(Value),
    /// Negative where it must not be.
    Negative(i64),
    /// Zero where it must not be.
    Zero,
    /// Above the largest allowed.
    TooLarge(i64),
    /// A text that names nothing known here.
    UnknownName(Box<str>),
    /// A dead-letter routing key without a dead-letter exchange.
    RoutingKeyWithoutExchange,
    /// This kind of queue has no such argument.
    NotForThisKind(QueueKind),
    /// The name of an exchange is wanted (text), this is something else. Checked before any other argument.
    NotAName(Value),
    /// A headers binding's match mode is not one of the four.
    UnknownMatchMode(Value),
    /// Messages cannot be hashed by the property of that name.
    UnsupportedProperty(Box<str>),
    /// It cannot stand beside the argument of that name.
    ExclusiveWith(&'static str),
    /// The length of a history is a positive integer, this is something else.
    NotAHistoryLength(Value),
    /// The kind of a delayed exchange is missing, or no text.
    NoDelayedKind,
    /// There is no such kind of exchange, or it cannot be delayed.
    UnknownExchangeKind(Box<str>),
}

/// Why an exchange does not take a binding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BindingFault {
    /// The key is a weight, and this is no number.
    WeightNotAnInteger(Box<[u8]>),
    /// The weight is zero or less.
    WeightNotPositive,
    /// The weight is above the largest, this one.
    WeightTooLarge(u32),
    /// The key must be empty, and this one is not.
    KeyNotEmpty(Box<[u8]>),
    /// The exchange does not take queues of this kind.
    QueueKind(QueueKind),
}

/// How a declared property differs from the existing one.
#[derive(Clone, PartialEq, Debug)]
pub struct Inequivalence {
    /// The property or argument.
    pub arg: Box<str>,
    /// As asked for now; none if absent.
    pub received: Option<Value>,
    /// As it is; none if absent.
    pub current: Option<Value>,
}

/// Why an operation is refused. Nothing has changed when one is returned.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Refusal {
    /// No such queue or exchange.
    #[error("no such {kind:?}: {name}")]
    NotFound {
        /// Of which kind.
        kind: Kind,
        /// Its name.
        name: Box<str>,
    },
    /// It exists and differs from what is declared.
    #[error("{kind:?} {name} exists and differs in {}", difference.arg)]
    Inequivalent {
        /// Of which kind.
        kind: Kind,
        /// Its name.
        name: Box<str>,
        /// In what.
        difference: Box<Inequivalence>,
    },
    /// An argument's value cannot be used.
    #[error("invalid argument {arg} for {kind:?} {name}")]
    InvalidArgument {
        /// Of which kind.
        kind: Kind,
        /// Its name.
        name: Box<str>,
        /// Which argument.
        arg: Box<str>,
        /// What is wrong with it.
        fault: Box<ArgumentFault>,
    },
    /// The exchange does not take such a binding.
    #[error("invalid binding: {0:?}")]
    InvalidBinding(BindingFault),
    /// A property does not go with this kind of queue (for example a replicated kind that is not durable).
    #[error("invalid property {property} for {name}")]
    InvalidProperty {
        /// The queue.
        name: Box<str>,
        /// Which property, in the field's terms: `non-durable`, `exclusive-owner`, `auto-delete`.
        property: &'static str,
    },
    /// Names that start with `amq.` belong to the broker.
    #[error("{kind:?} name {name} is reserved")]
    ReservedName {
        /// Of which kind.
        kind: Kind,
        /// The name asked for.
        name: Box<str>,
    },
    /// The exchange type is not known.
    #[error("unknown exchange type {0}")]
    UnknownExchangeType(Box<str>),
    /// The default exchange can't be declared, deleted, bound or unbound.
    #[error("operation not permitted on the default exchange")]
    DefaultExchange,
    /// A predeclared exchange can't be deleted.
    #[error("system exchange {0} cannot be deleted")]
    SystemExchange(Box<str>),
    /// Clients do not publish to internal exchanges.
    #[error("exchange {0} is internal")]
    InternalExchange(Box<str>),
    /// Another connection owns the queue.
    #[error("queue {0} is locked by another connection")]
    Locked(Box<str>),
    /// It still has consumers or bindings.
    #[error("{kind:?} {name} in use")]
    InUse {
        /// Of which kind.
        kind: Kind,
        /// Its name.
        name: Box<str>,
    },
    /// The queue still has messages.
    #[error("queue {0} not empty")]
    NotEmpty(Box<str>),
    /// The queue has an exclusive consumer, or has consumers and one asked to be exclusive.
    #[error("queue {0} in exclusive use")]
    ExclusiveUse(Box<str>),
    /// The queue serves one consumer only, and who is none cannot have a message of it.
    #[error("queue {0} has a single active consumer")]
    SingleActiveConsumer(Box<str>),
    /// A named limit is reached.
    #[error("limit {limit} reached ({max})")]
    LimitReached {
        /// The limit's name in the configuration.
        limit: &'static str,
        /// Its value.
        max: u64,
    },
    /// The user may not do this.
    #[error("{} access to {kind:?} {name} refused", right.name())]
    AccessRefused {
        /// What is missing.
        right: Right,
        /// Of which kind.
        kind: Kind,
        /// Its name; the default exchange goes by `amq.default`.
        name: Box<str>,
    },
    /// The user may not use this routing key on this topic exchange.
    #[error("{} access to topic {key} in exchange {exchange} refused", right.name())]
    TopicRefused {
        /// What is missing.
        right: Right,
        /// The exchange.
        exchange: Box<str>,
        /// The key, dotted.
        key: Box<str>,
    },
    /// The vhost has as many queues as it may.
    #[error("cannot declare queue {queue}: queue limit ({max}) is reached")]
    QueueLimit {
        /// The queue that would have been one more.
        queue: Box<str>,
        /// The limit.
        max: u64,
    },
    /// The vhost was deleted.
    #[error("the vhost is deleted")]
    VhostDeleted,
    /// The disk has no room for what would have to be kept.
    #[error("the disk is full")]
    DiskFull,
    /// The broker is stopping.
    #[error("the broker is shutting down")]
    ShuttingDown,
}
