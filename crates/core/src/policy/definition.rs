//! What policies may say: keys and values, checked as RabbitMQ checks them and refused in its words.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use super::arguments::{as_integer, parse_overflow, parse_strategy};
use super::{DeadLetterTarget, QueueKind, QueueSettings};
use crate::access::PolicyScope;
use crate::topology::QueueDecl;
use crate::value::{Headers, Value};

/// Where a queue's dead messages go.
const DEAD_LETTER_EXCHANGE: &str = "dead-letter-exchange";
const DEAD_LETTER_ROUTING_KEY: &str = "dead-letter-routing-key";
/// Where an exchange's messages go that match nothing.
pub const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// The largest segment of a stream, in bytes.
const SEGMENT_BYTES_MAX: i128 = 3_000_000_000;

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Exchange,
    Queue,
    /// Queues of that kind alone.
    Only(QueueKind),
    /// What there is not here: kept, and without effect.
    Elsewhere,
}

impl Use {
    fn includes(self, subject: Subject) -> bool {
        match (self, subject) {
            (Self::Exchange, Subject::Exchange) | (Self::Queue, Subject::Queue(_)) => true,
            (Self::Only(only), Subject::Queue(kind)) => only == kind,
            _ => false,
        }
    }
}

/// What a policy is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// An exchange.
    Exchange,
    /// A queue of that kind.
    Queue(QueueKind),
}

struct Key {
    name: &'static str,
    of: Use,
    /// Operators may set it too.
    of_operators: bool,
    is_valid: fn(&Value) -> bool,
    /// What an invalid value is not.
    valid: &'static str,
}

const fn key(
    name: &'static str,
    of: Use,
    is_valid: fn(&Value) -> bool,
    valid: &'static str,
) -> Key {
    Key {
        name,
        of,
        of_operators: false,
        is_valid,
        valid,
    }
}

const fn limit(
    name: &'static str,
    of: Use,
    is_valid: fn(&Value) -> bool,
    valid: &'static str,
) -> Key {
    Key {
        of_operators: true,
        ..key(name, of, is_valid, valid)
    }
}

/// Every key, in the order of their names.
const KEYS: &[Key] = &[
    key(
        ALTERNATE_EXCHANGE,
        Use::Exchange,
        is_text,
        "alternate exchange name",
    ),
    limit(
        "consumer-timeout",
        Use::Queue,
        is_natural,
        "consumer timeout",
    ),
    key(
        DEAD_LETTER_EXCHANGE,
        Use::Queue,
        is_text,
        "dead letter exchange name",
    ),
    key(
        DEAD_LETTER_ROUTING_KEY,
        Use::Queue,
        is_text,
        "dead letter routing key",
    ),
    key(
        "dead-letter-strategy",
        Use::Queue,
        is_strategy,
        "dead letter strategy",
    ),
    limit("delivery-limit", Use::Queue, is_integer, "delivery limit"),
    limit("expires", Use::Queue, is_positive, "queue expiry"),
    key(
        "federation-upstream",
        Use::Elsewhere,
        is_text,
        "federation upstream name",
    ),
    key(
        "federation-upstream-pattern",
        Use::Elsewhere,
        is_text,
        "federation upstream pattern",
    ),
    key(
        "federation-upstream-set",
        Use::Elsewhere,
        is_text,
        "federation upstream set name",
    ),
    limit("ha-mode", Use::Elsewhere, is_text, "ha-mode"),
    limit("ha-params", Use::Elsewhere, is_anything, "ha-params"),
    key(
        "ha-promote-on-failure",
        Use::Elsewhere,
        is_text,
        "ha-promote-on-failure",
    ),
    key(
        "ha-promote-on-shutdown",
        Use::Elsewhere,
        is_text,
        "ha-promote-on-shutdown",
    ),
    key(
        "ha-sync-batch-size",
        Use::Elsewhere,
        is_natural,
        "ha-sync-batch-size",
    ),
    limit("ha-sync-mode", Use::Elsewhere, is_text, "ha-sync-mode"),
    key(
        "initial-cluster-size",
        Use::Elsewhere,
        is_natural,
        "cluster size",
    ),
    key("max-age", Use::Elsewhere, is_age, "max age"),
    limit(
        "max-in-memory-bytes",
        Use::Only(QueueKind::Quorum),
        is_natural,
        "maximum memory in bytes",
    ),
    limit(
        "max-in-memory-length",
        Use::Only(QueueKind::Quorum),
        is_natural,
        "maximum memory in bytes",
    ),
    limit("max-length", Use::Queue, is_natural, "maximum length"),
    limit(
        "max-length-bytes",
        Use::Queue,
        is_natural,
        "maximum length in bytes",
    ),
    limit("message-ttl", Use::Queue, is_natural, "message TTL"),
    key("overflow", Use::Queue, is_overflow, "overflow value"),
    key(
        "queue-leader-locator",
        Use::Queue,
        is_locator,
        "queue leader locator value",
    ),
    key(
        "queue-master-locator",
        Use::Only(QueueKind::Classic),
        is_text,
        "queue master locator",
    ),
    key(
        "queue-mode",
        Use::Only(QueueKind::Classic),
        is_queue_mode,
        "queue-mode value",
    ),
    key(
        "queue-version",
        Use::Only(QueueKind::Classic),
        is_queue_version,
        "queue-version value",
    ),
    key(
        "stream-filter-size-bytes",
        Use::Elsewhere,
        is_filter_size,
        "filter size",
    ),
    key(
        "stream-max-segment-size-bytes",
        Use::Elsewhere,
        is_segment_size,
        "segment size",
    ),
    limit(
        "target-group-size",
        Use::Only(QueueKind::Quorum),
        is_positive,
        "target count",
    ),
];

fn known(name: &str) -> Option<&'static Key> {
    let at = KEYS.binary_search_by(|key| key.name.cmp(name)).ok()?;
    Some(&KEYS[at])
}

/// Why a definition is refused, in RabbitMQ's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct DefinitionFault(String);

/// Checks a policy's definition.
///
/// # Errors
/// It is empty; else the first value that cannot be used, else all keys that there are not, or not for this scope.
pub fn check_definition(scope: PolicyScope, definition: &Headers) -> Result<(), DefinitionFault> {
    if definition.is_empty() {
        return Err(DefinitionFault("no policy provided".into()));
    }
    let mut unknown = Vec::new();
    for (name, value) in definition.iter() {
        match known(name).filter(|key| scope == PolicyScope::User || key.of_operators) {
            None => unknown.push((name, value)),
            Some(key) if (key.is_valid)(value) => {}
            Some(key) => {
                let valid = key.valid;
                return Err(DefinitionFault(format!(
                    "{} is not a valid {valid}",
                    Term(value)
                )));
            }
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let mut text = String::from("[");
    for (at, (name, value)) in unknown.into_iter().enumerate() {
        let comma = if at > 0 { ",\n " } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{{<<\"{name}\">>,{}}}", Term(value));
    }
    text.push_str("] are not recognised policy settings");
    Err(DefinitionFault(text))
}

/// The keys of a definition that are kept and have no effect here.
pub fn without_effect(definition: &Headers) -> impl Iterator<Item = &str> {
    let names = definition.iter().map(|(name, _)| name);
    names.filter(|name| known(name).is_none_or(|key| key.of == Use::Elsewhere))
}

/// A policy and an operator's policy as one, for an object of that kind: what the kind does not have is left out, and of
/// two numbers the lower one counts.
pub fn merge_definitions(
    subject: Subject,
    policy: Option<&Headers>,
    operator: Option<&Headers>,
) -> Headers {
    let mut merged = Headers::new();
    let entries = policy.into_iter().chain(operator).flat_map(Headers::iter);
    for (name, value) in entries {
        let applies = known(name).is_some_and(|key| {
            key.of.includes(subject) || key.of == Use::Elsewhere && is_federated(name)
        });
        if !applies {
            continue;
        }
        let lower = match merged.get(name) {
            None => value.clone(),
            Some(other) => lower_of(name, other, value),
        };
        merged.set(name, lower);
    }
    merged.sort_unique();
    merged
}

/// What links of a federation would be about is told of queues and exchanges alike.
fn is_federated(name: &str) -> bool {
    name.starts_with("federation-")
}

fn lower_of(name: &str, policy: &Value, operator: &Value) -> Value {
    match (as_integer(policy), as_integer(operator)) {
        (Some(a), Some(b)) if name == "delivery-limit" && (a < 0 || b < 0) => {
            if a > b {
                policy.clone()
            } else {
                operator.clone()
            }
        }
        (Some(a), Some(b)) if a <= b => policy.clone(),
        _ => operator.clone(),
    }
}

impl QueueSettings {
    /// The settings in force of a queue that was declared like that and has these settings of its own, under a merged
    /// policy: of numbers the lower one counts, of all else what was declared.
    #[must_use]
    pub fn under_policy(&self, decl: &QueueDecl, policy: &Headers) -> Self {
        let declares = |name: &str| decl.arguments.get(name).is_some();
        let number = |name| {
            let value = policy.get(name).and_then(as_integer);
            value.and_then(|n| u64::try_from(n).ok())
        };
        let text = |name| policy.get(name).and_then(Value::as_str);
        let lower = |own: Option<u64>, name| own.into_iter().chain(number(name)).min();
        let mut settings = self.clone();
        settings.message_ttl_ms = lower(self.message_ttl_ms, "message-ttl");
        settings.expires_ms = lower(self.expires_ms, "expires");
        settings.max_length = lower(self.max_length, "max-length");
        settings.max_length_bytes = lower(self.max_length_bytes, "max-length-bytes");
        settings.consumer_timeout_ms = lower(self.consumer_timeout_ms, "consumer-timeout");
        settings.dead_letter = self.dead_letter_under(policy);
        if let Some(strategy) = text("dead-letter-strategy").and_then(parse_strategy)
            && !declares("x-dead-letter-strategy")
        {
            settings.dead_letter_strategy = strategy;
        }
        if let Some(overflow) = text("overflow").and_then(parse_overflow)
            && !declares("x-overflow")
        {
            settings.overflow = overflow;
        }
        if let Some(limit) = policy.get("delivery-limit").and_then(as_integer) {
            let limit = u32::try_from(limit.max(0)).ok().filter(|_| limit >= 0);
            settings.delivery_limit = match (self.delivery_limit, limit) {
                (Some(own), Some(limit)) if declares("x-delivery-limit") => Some(own.min(limit)),
                (own, limit) if declares("x-delivery-limit") => own.max(limit),
                (_, limit) => limit,
            };
            settings.expose_counters = true;
        }
        settings
    }

    fn dead_letter_under(&self, policy: &Headers) -> Option<DeadLetterTarget> {
        let text = |name| policy.get(name).and_then(Value::as_str);
        let own = self.dead_letter.as_ref();
        let exchange = own
            .map(|target| &*target.exchange)
            .or_else(|| text(DEAD_LETTER_EXCHANGE))?;
        let routing_key = own
            .and_then(|target| target.routing_key.as_deref())
            .or_else(|| text(DEAD_LETTER_ROUTING_KEY));
        Some(DeadLetterTarget {
            exchange: exchange.into(),
            routing_key: routing_key.map(Into::into),
        })
    }
}

fn is_anything(_: &Value) -> bool {
    true
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some()
}

fn is_integer(value: &Value) -> bool {
    as_integer(value).is_some()
}

fn is_natural(value: &Value) -> bool {
    as_integer(value).is_some_and(|n| n >= 0)
}

fn is_positive(value: &Value) -> bool {
    as_integer(value).is_some_and(|n| n >= 1)
}

fn is_overflow(value: &Value) -> bool {
    value.as_str().and_then(parse_overflow).is_some()
}

fn is_strategy(value: &Value) -> bool {
    value.as_str().and_then(parse_strategy).is_some()
}

fn is_queue_mode(value: &Value) -> bool {
    matches!(value.as_str(), Some("default" | "lazy"))
}

fn is_queue_version(value: &Value) -> bool {
    matches!(as_integer(value), Some(1 | 2))
}

fn is_locator(value: &Value) -> bool {
    matches!(
        value.as_str(),
        Some("client-local" | "balanced" | "random" | "least-leaders")
    )
}

fn is_segment_size(value: &Value) -> bool {
    as_integer(value).is_some_and(|n| (0..=SEGMENT_BYTES_MAX).contains(&n))
}

fn is_filter_size(value: &Value) -> bool {
    as_integer(value).is_some_and(|n| (16..=255).contains(&n))
}

/// A number with a unit: years, months, days, hours, minutes or seconds.
fn is_age(value: &Value) -> bool {
    let age = value
        .as_str()
        .and_then(|text| text.split_at_checked(text.len().saturating_sub(1)));
    age.is_some_and(|(digits, unit)| {
        !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && matches!(unit, "Y" | "M" | "D" | "h" | "m" | "s")
    })
}

/// A value as RabbitMQ writes it in its refusals.
struct Term<'a>(&'a Value);

impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Void => f.write_str("null"),
            Value::Bool(v) => write!(f, "{v}"),
            Value::F32(v) => write!(f, "{v:?}"),
            Value::F64(v) => write!(f, "{v:?}"),
            Value::Text(bytes) | Value::Binary(bytes) => {
                write!(f, "<<\"{}\">>", String::from_utf8_lossy(bytes))
            }
            Value::List(items) => {
                f.write_char('[')?;
                for (at, item) in items.iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    write!(f, "{comma}{}", Term(item))?;
                }
                f.write_char(']')
            }
            Value::Map(entries) => {
                f.write_str("#{")?;
                for (at, (name, value)) in entries.iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    write!(f, "{comma}<<\"{name}\">> => {}", Term(value))?;
                }
                f.write_char('}')
            }
            value => match as_integer(value) {
                Some(number) => write!(f, "{number}"),
                None => write!(f, "{value:?}"),
            },
        }
    }
}

#[cfg(test)]
mod tests;
