//! Queue arguments: which there are, for which kind of queue, what they may hold, and whether two declarations
//! that use them are the same.

use alloc::boxed::Box;
use alloc::format;

use super::{
    AT_MOST_ONCE_BYTES_MAX, AT_MOST_ONCE_MAX, AtMostOnce, DeadLetterStrategy, DeadLetterTarget,
    Overflow, QueueKind, QueueSettings,
};
use crate::error::{ArgumentFault, Inequivalence, Kind, Refusal};
use crate::topology::QueueDecl;
use crate::value::{Headers, Value};

/// How often a message may fail in a quorum queue that says nothing about it.
const QUORUM_DELIVERY_LIMIT: u32 = 20;
/// Quorum queues have lanes for the priorities 0 to this.
const QUORUM_MAX_PRIORITY: u8 = 31;
/// The priority of a message without one, in a quorum queue.
const QUORUM_DEFAULT_PRIORITY: u8 = 4;

/// Which kinds of queue take an argument.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Both,
    Classic,
    Quorum,
    /// Kinds that do not exist here: refused, as their effect would be missed.
    Others,
}

impl For {
    fn includes(self, kind: QueueKind) -> bool {
        match self {
            Self::Both => true,
            Self::Classic => kind == QueueKind::Classic,
            Self::Quorum => kind == QueueKind::Quorum,
            Self::Others => false,
        }
    }
}

type Check = fn(&Value, &Headers) -> Result<(), ArgumentFault>;

/// Every argument that has an effect on some kind of queue, in the order they are checked and compared.
const ARGUMENTS: &[(&str, For, Check)] = &[
    ("x-expires", For::Both, positive),
    ("x-message-ttl", For::Both, non_negative),
    (DEAD_LETTER_EXCHANGE, For::Both, exchange_name),
    (
        "x-dead-letter-routing-key",
        For::Both,
        dead_letter_routing_key,
    ),
    ("x-dead-letter-strategy", For::Both, dead_letter_strategy),
    ("x-max-length", For::Both, non_negative),
    ("x-max-length-bytes", For::Both, non_negative),
    ("x-max-in-memory-length", For::Quorum, non_negative),
    ("x-max-in-memory-bytes", For::Quorum, non_negative),
    ("x-max-priority", For::Classic, max_priority),
    ("x-overflow", For::Both, overflow),
    ("x-queue-mode", For::Classic, queue_mode),
    ("x-queue-version", For::Classic, queue_version),
    ("x-single-active-consumer", For::Both, boolean),
    (AT_MOST_ONCE_MAX, For::Both, non_negative),
    (AT_MOST_ONCE_BYTES_MAX, For::Both, non_negative),
    (QUEUE_TYPE, For::Both, queue_type),
    ("x-delivery-limit", For::Both, integer),
    ("x-consumer-timeout", For::Both, non_negative),
    ("x-quorum-initial-group-size", For::Quorum, positive),
    ("x-quorum-target-group-size", For::Quorum, positive),
    ("x-queue-master-locator", For::Classic, text),
    ("x-queue-leader-locator", For::Both, leader_locator),
    ("x-max-age", For::Others, text),
    ("x-stream-max-segment-size-bytes", For::Others, non_negative),
    ("x-stream-filter-size-bytes", For::Others, non_negative),
    ("x-initial-cluster-size", For::Others, positive),
];

/// The argument that says of which kind a queue is.
pub const QUEUE_TYPE: &str = "x-queue-type";
const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";

/// The settings of a declaration, or why it is refused.
pub(super) fn settings(decl: &QueueDecl) -> Result<QueueSettings, Refusal> {
    let args = &decl.arguments;
    // RabbitMQ resolves the dead-letter exchange, for its permissions, before it looks at anything else.
    check(decl, DEAD_LETTER_EXCHANGE, exchange_name)?;
    check(decl, QUEUE_TYPE, queue_type)?;
    let kind = kind_of(args);
    for &(name, kinds, rule) in ARGUMENTS {
        if kinds.includes(kind) {
            check(decl, name, rule)?;
        }
    }
    for (name, _) in args.iter() {
        if ARGUMENTS
            .iter()
            .any(|(known, kinds, _)| *known == name && !kinds.includes(kind))
        {
            return Err(invalid(decl, name, ArgumentFault::NotForThisKind(kind)));
        }
    }
    if kind == QueueKind::Quorum {
        check_quorum_properties(decl)?;
    }
    Ok(read(decl, kind))
}

fn check_quorum_properties(decl: &QueueDecl) -> Result<(), Refusal> {
    let property = if decl.auto_delete {
        "auto-delete"
    } else if decl.exclusive.is_some() {
        "exclusive-owner"
    } else if !decl.durable {
        "non-durable"
    } else {
        return Ok(());
    };
    Err(Refusal::InvalidProperty {
        name: decl.name.clone(),
        property,
    })
}

/// Reads checked arguments.
fn read(decl: &QueueDecl, kind: QueueKind) -> QueueSettings {
    let args = &decl.arguments;
    let number = |name| {
        args.get(name)
            .and_then(as_integer)
            .and_then(|n| u64::try_from(n).ok())
    };
    let string = |name| args.get(name).and_then(Value::as_str);
    let delivery_limit = match args.get("x-delivery-limit").and_then(as_integer) {
        Some(limit) if limit < 0 => None,
        Some(limit) => Some(u32::try_from(limit).unwrap_or(u32::MAX)),
        None => (kind == QueueKind::Quorum).then_some(QUORUM_DELIVERY_LIMIT),
    };
    let (max_priority, default_priority) = match kind {
        QueueKind::Quorum => (Some(QUORUM_MAX_PRIORITY), QUORUM_DEFAULT_PRIORITY),
        QueueKind::Classic => (
            number("x-max-priority").and_then(|n| u8::try_from(n).ok()),
            0,
        ),
    };
    QueueSettings {
        kind,
        max_length: number("x-max-length"),
        max_length_bytes: number("x-max-length-bytes"),
        overflow: string("x-overflow")
            .and_then(parse_overflow)
            .unwrap_or_default(),
        message_ttl_ms: number("x-message-ttl"),
        expires_ms: number("x-expires"),
        dead_letter: string(DEAD_LETTER_EXCHANGE).map(|exchange| DeadLetterTarget {
            exchange: exchange.into(),
            routing_key: string("x-dead-letter-routing-key").map(Box::from),
        }),
        dead_letter_strategy: string("x-dead-letter-strategy")
            .and_then(parse_strategy)
            .unwrap_or_default(),
        delivery_limit,
        consumer_timeout_ms: number("x-consumer-timeout"),
        max_priority,
        default_priority,
        single_active_consumer: args
            .get("x-single-active-consumer")
            .and_then(Value::as_bool)
            .unwrap_or_default(),
        auto_delete: decl.auto_delete,
        at_most_once: number(AT_MOST_ONCE_MAX).map_or_else(AtMostOnce::default, |messages_max| {
            let bytes_max = number(AT_MOST_ONCE_BYTES_MAX).unwrap_or(u64::MAX);
            AtMostOnce::session(messages_max, bytes_max)
        }),
        expose_counters: kind == QueueKind::Quorum || delivery_limit.is_some(),
    }
}

/// The first argument in which two declarations of a queue of that kind differ. Arguments without an effect do
/// not count; integers compare by value, whatever their width.
pub(crate) fn difference(
    kind: QueueKind,
    current: &Headers,
    received: &Headers,
) -> Option<Inequivalence> {
    ARGUMENTS
        .iter()
        .filter(|(_, kinds, _)| kinds.includes(kind))
        .find_map(|&(name, _, _)| {
            if name == QUEUE_TYPE {
                type_difference(current, received)
            } else {
                argument_difference(name, current, received)
            }
        })
}

/// How the type differs, if it does; left out, it means the default type.
fn type_difference(current: &Headers, received: &Headers) -> Option<Inequivalence> {
    let (current, received) = (kind_of(current), kind_of(received));
    (current != received).then(|| Inequivalence {
        arg: QUEUE_TYPE.into(),
        received: Some(Value::text(received.name())),
        current: Some(Value::text(current.name())),
    })
}

/// How one argument differs, if it does.
pub(crate) fn argument_difference(
    name: &str,
    current: &Headers,
    received: &Headers,
) -> Option<Inequivalence> {
    let (current, received) = (current.get(name), received.get(name));
    let same = match (current, received) {
        (None, None) => true,
        (Some(a), Some(b)) => equivalent(a, b),
        _ => false,
    };
    (!same).then(|| Inequivalence {
        arg: name.into(),
        received: received.cloned(),
        current: current.cloned(),
    })
}

#[allow(
    clippy::float_cmp,
    reason = "two declarations agree only if they say the very same number"
)]
fn equivalent(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::F32(x), Value::F64(y)) | (Value::F64(y), Value::F32(x)) => f64::from(*x) == *y,
        _ => a == b || as_integer(a).is_some_and(|x| as_integer(b) == Some(x)),
    }
}

pub(super) fn kind_of(args: &Headers) -> QueueKind {
    args.get(QUEUE_TYPE)
        .and_then(Value::as_str)
        .and_then(QueueKind::parse)
        .unwrap_or_default()
}

fn check(decl: &QueueDecl, name: &str, rule: Check) -> Result<(), Refusal> {
    let Some(value) = decl.arguments.get(name) else {
        return Ok(());
    };
    rule(value, &decl.arguments).map_err(|fault| invalid(decl, name, fault))
}

fn invalid(decl: &QueueDecl, arg: &str, fault: ArgumentFault) -> Refusal {
    Refusal::InvalidArgument {
        kind: Kind::Queue,
        name: decl.name.clone(),
        arg: arg.into(),
        fault: Box::new(fault),
    }
}

/// The integer of whatever width, the unsigned ones above `i64::MAX` included.
pub(super) fn as_integer(value: &Value) -> Option<i128> {
    match value {
        Value::U64(v) => Some(i128::from(*v)),
        _ => value.as_i64().map(i128::from),
    }
}

fn clamp(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn integer(value: &Value, _: &Headers) -> Result<(), ArgumentFault> {
    as_integer(value)
        .map(drop)
        .ok_or_else(|| ArgumentFault::NotAnInteger(value.clone()))
}

fn non_negative(value: &Value, args: &Headers) -> Result<(), ArgumentFault> {
    integer(value, args)?;
    match as_integer(value) {
        Some(n) if n < 0 => Err(ArgumentFault::Negative(clamp(n))),
        _ => Ok(()),
    }
}

fn positive(value: &Value, args: &Headers) -> Result<(), ArgumentFault> {
    non_negative(value, args)?;
    if as_integer(value) == Some(0) {
        Err(ArgumentFault::Zero)
    } else {
        Ok(())
    }
}

fn max_priority(value: &Value, args: &Headers) -> Result<(), ArgumentFault> {
    non_negative(value, args)?;
    match as_integer(value) {
        Some(n) if n > i128::from(u8::MAX) => Err(ArgumentFault::TooLarge(clamp(n))),
        _ => Ok(()),
    }
}

fn queue_version(value: &Value, args: &Headers) -> Result<(), ArgumentFault> {
    non_negative(value, args)?;
    match as_integer(value) {
        Some(1 | 2) | None => Ok(()),
        Some(n) => Err(ArgumentFault::UnknownName(format!("{n}").into())),
    }
}

fn boolean(value: &Value, _: &Headers) -> Result<(), ArgumentFault> {
    value
        .as_bool()
        .map(drop)
        .ok_or_else(|| ArgumentFault::UnacceptableType(value.clone()))
}

fn exchange_name(value: &Value, _: &Headers) -> Result<(), ArgumentFault> {
    value
        .as_str()
        .map(drop)
        .ok_or_else(|| ArgumentFault::NotAName(value.clone()))
}

fn text(value: &Value, _: &Headers) -> Result<(), ArgumentFault> {
    value
        .as_str()
        .map(drop)
        .ok_or_else(|| ArgumentFault::UnacceptableType(value.clone()))
}

fn dead_letter_routing_key(value: &Value, args: &Headers) -> Result<(), ArgumentFault> {
    text(value, args)?;
    match args.get(DEAD_LETTER_EXCHANGE) {
        Some(_) => Ok(()),
        None => Err(ArgumentFault::RoutingKeyWithoutExchange),
    }
}

/// A text of which `known` says whether it is a name that is known.
fn name_in(value: &Value, known: impl Fn(&str) -> bool) -> Result<(), ArgumentFault> {
    match value.as_str() {
        Some(name) if known(name) => Ok(()),
        Some(name) => Err(ArgumentFault::UnknownName(name.into())),
        None => Err(ArgumentFault::UnacceptableType(value.clone())),
    }
}

fn dead_letter_strategy(value: &Value, _: &Headers) -> Result<(), ArgumentFault> {
    name_in(value, |name| parse_strategy(name).is_some())
}

fn overflow(value: &Value, _: &Headers) -> Result<(), ArgumentFault> {
    name_in(value, |name| parse_overflow(name).is_some())
}

fn queue_mode(value: &Value, _: &Headers) -> Result<(), ArgumentFault> {
    name_in(value, |name| matches!(name, "default" | "lazy"))
}

/// Clients that have no type to say send an empty one, or Erlang's word for nothing.
fn queue_type(value: &Value, _: &Headers) -> Result<(), ArgumentFault> {
    name_in(value, |name| {
        matches!(name, "" | "undefined") || QueueKind::parse(name).is_some()
    })
}

fn leader_locator(value: &Value, _: &Headers) -> Result<(), ArgumentFault> {
    name_in(value, |name| {
        matches!(
            name,
            "client-local" | "balanced" | "random" | "least-leaders"
        )
    })
}

pub(super) fn parse_overflow(name: &str) -> Option<Overflow> {
    match name {
        "drop-head" => Some(Overflow::DropHead),
        "reject-publish" => Some(Overflow::RejectPublish),
        "reject-publish-dlx" => Some(Overflow::RejectPublishDeadLetter),
        _ => None,
    }
}

pub(super) fn parse_strategy(name: &str) -> Option<DeadLetterStrategy> {
    match name {
        "at-least-once" => Some(DeadLetterStrategy::AtLeastOnce),
        "at-most-once" => Some(DeadLetterStrategy::AtMostOnce),
        _ => None,
    }
}
