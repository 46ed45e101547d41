//! The one table from refusals and faults to AMQP's reply codes and RabbitMQ's texts.
//!
//! Whether a fault closes the channel or the connection follows from its reply code ([`Reply::scope`], §1.2).

use ternmq_core::error::{ArgumentFault, BindingFault, Inequivalence, Kind, Refusal};
use ternmq_core::value::Value;

use crate::frame::{CLASS_BASIC, FrameError, MethodFault};
use crate::mapping::MappingError;

#[cfg(test)]
mod tests;
mod text;

use text::{Binary, describe, type_name};

/// Longest reply text in bytes (§4.2.5.3).
const REPLY_TEXT_MAX: usize = 255;

/// Class and method id of the method at fault; zeros where there is none.
pub(crate) type MethodId = (u16, u16);

/// The method that a fault in a publish's content belongs to.
pub(crate) const BASIC_PUBLISH: MethodId = (CLASS_BASIC, 40);

/// What a fault ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// The channel it happened on.
    Channel,
    /// The whole connection.
    Connection,
}

/// Reply codes (§1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(crate) enum Reply {
    ConnectionForced = 320,
    AccessRefused = 403,
    NotFound = 404,
    ResourceLocked = 405,
    PreconditionFailed = 406,
    FrameError = 501,
    SyntaxError = 502,
    CommandInvalid = 503,
    ChannelError = 504,
    UnexpectedFrame = 505,
    NotAllowed = 530,
    NotImplemented = 540,
    InternalError = 541,
}

impl Reply {
    pub(crate) const fn code(self) -> u16 {
        self as u16
    }

    pub(crate) const fn scope(self) -> Scope {
        match self {
            Self::AccessRefused
            | Self::NotFound
            | Self::ResourceLocked
            | Self::PreconditionFailed => Scope::Channel,
            _ => Scope::Connection,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ConnectionForced => "CONNECTION_FORCED",
            Self::AccessRefused => "ACCESS_REFUSED",
            Self::NotFound => "NOT_FOUND",
            Self::ResourceLocked => "RESOURCE_LOCKED",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::FrameError => "FRAME_ERROR",
            Self::SyntaxError => "SYNTAX_ERROR",
            Self::CommandInvalid => "COMMAND_INVALID",
            Self::ChannelError => "CHANNEL_ERROR",
            Self::UnexpectedFrame => "UNEXPECTED_FRAME",
            Self::NotAllowed => "NOT_ALLOWED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }
}

/// Why a channel or the connection is closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub(crate) reply: Reply,
    pub(crate) method: MethodId,
    text: String,
}

impl Fault {
    pub(crate) fn new(reply: Reply, text: impl Into<String>) -> Self {
        Self {
            reply,
            method: (0, 0),
            text: text.into(),
        }
    }

    /// Names the method at fault, unless it is named already.
    pub(crate) fn in_method(mut self, method: MethodId) -> Self {
        if self.method == (0, 0) {
            self.method = method;
        }
        self
    }

    pub(crate) const fn scope(&self) -> Scope {
        self.reply.scope()
    }

    /// What is said behind the code's name.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// The reply text as it goes out: name and text, cut to what a short string holds.
    pub(crate) fn reply_text(&self) -> String {
        let mut full = if self.text.is_empty() {
            self.reply.name().to_owned()
        } else {
            format!("{} - {}", self.reply.name(), self.text)
        };
        if full.len() > REPLY_TEXT_MAX {
            full.truncate(full.floor_char_boundary(REPLY_TEXT_MAX - 3));
            full.push_str("...");
        }
        full
    }
}

/// Shorthand for faults that are made in many places.
pub(crate) fn precondition_failed(text: impl Into<String>) -> Fault {
    Fault::new(Reply::PreconditionFailed, text)
}

/// See [`precondition_failed`].
pub(crate) fn not_implemented(text: impl Into<String>) -> Fault {
    Fault::new(Reply::NotImplemented, text)
}

/// See [`precondition_failed`].
pub(crate) fn not_allowed(text: impl Into<String>) -> Fault {
    Fault::new(Reply::NotAllowed, text)
}

/// See [`precondition_failed`].
pub(crate) fn unexpected_frame(text: impl Into<String>) -> Fault {
    Fault::new(Reply::UnexpectedFrame, text)
}

/// A frame of a type that cannot stand where it does.
pub(crate) fn misplaced_frame(frame_type: u8, payload: &[u8]) -> Fault {
    unexpected_frame(format!("type {frame_type}, {}", Binary(payload).snippet()))
}

/// A header or body frame while a method was awaited.
pub(crate) fn not_a_method() -> Fault {
    unexpected_frame("expected method frame, got non method frame instead")
}

/// The node stops.
pub(crate) fn shutdown() -> Fault {
    forced("shutdown")
}

/// Somebody closes the connection.
pub(crate) fn forced(reason: &str) -> Fault {
    let text = format!("broker forced connection closure with reason '{reason}'");
    Fault::new(Reply::ConnectionForced, text)
}

/// For whom and where something was refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) vhost: &'a str,
    pub(crate) user: &'a str,
}

/// What a client reads when the core refuses.
pub(crate) fn from_refusal(refusal: &Refusal, scene: Scene<'_>) -> Fault {
    let vhost = scene.vhost;
    match refusal {
        Refusal::NotFound { kind, name } => Fault::new(
            Reply::NotFound,
            format!("no {} '{name}' in vhost '{vhost}'", noun(*kind)),
        ),
        Refusal::Inequivalent {
            kind,
            name,
            difference,
        } => inequivalent(*kind, name, difference, vhost),
        Refusal::InvalidArgument {
            kind,
            name,
            arg,
            fault,
        } => precondition_failed(invalid_argument((*kind, name), arg, fault, vhost)),
        Refusal::InvalidBinding(fault) => precondition_failed(invalid_binding(fault)),
        Refusal::InvalidProperty { name, property } => precondition_failed(format!(
            "invalid property '{property}' for queue '{name}' in vhost '{vhost}'"
        )),
        Refusal::InUse { kind, name } => precondition_failed(format!(
            "{} '{name}' in vhost '{vhost}' in use",
            noun(*kind)
        )),
        Refusal::NotEmpty(name) => {
            precondition_failed(format!("queue '{name}' in vhost '{vhost}' not empty"))
        }
        Refusal::LimitReached { limit, max } => precondition_failed(format!(
            "limit {limit} in vhost '{vhost}' ({max}) is reached"
        )),
        Refusal::UnknownExchangeType(name) => {
            precondition_failed(format!("invalid exchange type '{name}'"))
        }
        Refusal::DiskFull => precondition_failed("the disk is full"),
        Refusal::ShuttingDown => shutdown(),
        refusal => from_denial(refusal, scene),
    }
}

/// The same for what is there and not for this client.
fn from_denial(refusal: &Refusal, scene: Scene<'_>) -> Fault {
    let Scene { vhost, user } = scene;
    match refusal {
        Refusal::ReservedName { kind, name } => Fault::new(
            Reply::AccessRefused,
            format!(
                "{} name '{name}' contains reserved prefix 'amq.*'",
                noun(*kind)
            ),
        ),
        Refusal::DefaultExchange => Fault::new(
            Reply::AccessRefused,
            "operation not permitted on the default exchange",
        ),
        Refusal::SystemExchange(name) => Fault::new(
            Reply::AccessRefused,
            format!("deletion of system exchange '{name}' in vhost '{vhost}' not allowed"),
        ),
        Refusal::InternalExchange(name) => Fault::new(
            Reply::AccessRefused,
            format!("cannot publish to internal exchange '{name}' in vhost '{vhost}'"),
        ),
        Refusal::Locked(name) => Fault::new(
            Reply::ResourceLocked,
            format!(
                "cannot obtain exclusive access to locked queue '{name}' in vhost '{vhost}'. It could \
                 be originally declared on another connection or the exclusive property value does not \
                 match that of the original declaration."
            ),
        ),
        Refusal::ExclusiveUse(name) => Fault::new(
            Reply::AccessRefused,
            format!("queue '{name}' in vhost '{vhost}' in exclusive use"),
        ),
        Refusal::SingleActiveConsumer(name) => Fault::new(
            Reply::ResourceLocked,
            format!(
                "cannot obtain access to locked queue '{name}' in vhost '{vhost}'. basic.get operations are not \
                 supported by quorum queues with single active consumer"
            ),
        ),
        Refusal::AccessRefused { right, kind, name } => Fault::new(
            Reply::AccessRefused,
            format!(
                "{} access to {} '{name}' in vhost '{vhost}' refused for user '{user}'",
                right.name(),
                noun(*kind)
            ),
        ),
        Refusal::TopicRefused {
            right,
            exchange,
            key,
        } => Fault::new(
            Reply::AccessRefused,
            format!(
                "{} access to topic '{key}' in exchange '{exchange}' in vhost '{vhost}' refused for user '{user}'",
                right.name()
            ),
        ),
        Refusal::QueueLimit { queue, max } => precondition_failed(format!(
            "cannot declare queue '{queue}': queue limit in vhost '{vhost}' ({max}) is reached"
        )),
        Refusal::VhostDeleted => Fault::new(
            Reply::ConnectionForced,
            format!("vhost '{vhost}' is deleted"),
        ),
        other => Fault::new(Reply::InternalError, other.to_string()),
    }
}

const fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Queue => "queue",
        Kind::Exchange => "exchange",
    }
}

fn inequivalent(kind: Kind, name: &str, difference: &Inequivalence, vhost: &str) -> Fault {
    let Inequivalence {
        arg,
        received,
        current,
    } = difference;
    let detail = match (received, current) {
        (Some(received), Some(current)) => {
            format!(
                "received '{}' but current is '{}'",
                describe(received),
                describe(current)
            )
        }
        (received, current) => {
            format!(
                "received {} but current is {}",
                one_sided(received.as_ref()),
                one_sided(current.as_ref())
            )
        }
    };
    let noun = noun(kind);
    precondition_failed(format!(
        "inequivalent arg '{arg}' for {noun} '{name}' in vhost '{vhost}': {detail}"
    ))
}

fn one_sided(value: Option<&Value>) -> String {
    value.map_or_else(
        || "none".to_owned(),
        |value| {
            format!(
                "the value '{}' of type '{}'",
                describe(value),
                type_name(value)
            )
        },
    )
}

fn invalid_argument(
    (kind, name): (Kind, &str),
    arg: &str,
    fault: &ArgumentFault,
    vhost: &str,
) -> String {
    let noun = noun(kind);
    let place = format!("{noun} '{name}' in vhost '{vhost}'");
    let detail = match fault {
        ArgumentFault::NotAName(value) => {
            return format!(
                "invalid type '{}' for arg '{arg}' in {place}",
                type_name(value)
            );
        }
        ArgumentFault::NotForThisKind(kind) => {
            let kind = kind.name();
            return format!("invalid arg '{arg}' for {place} of queue type rabbit_{kind}_queue");
        }
        ArgumentFault::UnsupportedProperty(name) => return format!("Unsupported property: {name}"),
        ArgumentFault::ExclusiveWith(other) => {
            return format!("{arg} and {other} are mutually exclusive");
        }
        ArgumentFault::NotAHistoryLength(value) => {
            let value = match value {
                Value::Text(text) => Binary(text).term(),
                other => describe(other),
            };
            return format!("Invalid argument {value}, '{arg}' must be a positive integer");
        }
        ArgumentFault::NoDelayedKind => {
            return format!("Invalid argument, '{arg}' must be an existing exchange type");
        }
        ArgumentFault::UnknownExchangeKind(name) => {
            return format!("invalid exchange type '{name}'");
        }
        ArgumentFault::UnknownMatchMode(Value::Text(mode)) => {
            return format!(
                "Invalid x-match field value <<\"{}\">>; expected all, any, all-with-x, or any-with-x",
                String::from_utf8_lossy(mode)
            );
        }
        ArgumentFault::UnknownMatchMode(value) => {
            return format!(
                "Invalid x-match field type {} (value {}); expected longstr",
                type_name(value),
                describe(value)
            );
        }
        ArgumentFault::NotAnInteger(value) => {
            format!("\"expected integer, got {}\"", type_name(value))
        }
        ArgumentFault::UnacceptableType(value) => {
            format!("{{unacceptable_type,{}}}", type_name(value))
        }
        ArgumentFault::Negative(value) => format!("{{value_negative,{value}}}"),
        ArgumentFault::Zero => "{value_zero,0}".to_owned(),
        ArgumentFault::TooLarge(value) => format!("{{max_value_exceeded,{value}}}"),
        ArgumentFault::RoutingKeyWithoutExchange => "routing_key_but_no_dlx_defined".to_owned(),
        ArgumentFault::UnknownName(value) => unknown_name(arg, value),
    };
    format!("invalid arg '{arg}' for {place}: {detail}")
}

fn invalid_binding(fault: &BindingFault) -> String {
    match fault {
        BindingFault::WeightNotAnInteger(key) => {
            format!("The binding key must be an integer: {}", Binary(key).term())
        }
        BindingFault::WeightNotPositive => "The binding key must be greater than 0".to_owned(),
        BindingFault::WeightTooLarge(max) => format!("The binding key must not exceed {max}"),
        BindingFault::KeyNotEmpty(key) => format!(
            "Non empty binding '{}' key not permitted",
            String::from_utf8_lossy(key)
        ),
        BindingFault::QueueKind(kind) => format!(
            "Queue type rabbit_{}_queue not valid for this exchange type",
            kind.name()
        ),
    }
}

fn unknown_name(arg: &str, value: &str) -> String {
    if arg == "x-overflow" {
        return "invalid_overflow".to_owned();
    }
    // `x-queue-mode` is an unsupported queue mode, `x-queue-type` an unsupported queue type.
    let what = arg.strip_prefix("x-").unwrap_or(arg).replace('-', " ");
    format!("\"unsupported {what} '{value}'\"")
}

/// What a client reads when it does not settle a delivery in time.
pub(crate) fn delivery_timed_out(channel: u16, timeout_ms: u64) -> Fault {
    precondition_failed(format!(
        "delivery acknowledgement on channel {channel} timed out. Timeout value used: {timeout_ms} ms. \
         This timeout value can be configured, see consumers doc guide to learn more"
    ))
}

/// What a client reads when its bytes make no frame. `input` begins with the frame at fault.
pub(crate) fn from_frame_error(error: &FrameError, input: &[u8]) -> Fault {
    let frame_type = input.first().copied().unwrap_or_default();
    let payload = payload(input);
    let broken = |detail: String, payload: &[u8]| {
        let snippet = Binary(payload).snippet();
        Fault::new(
            Reply::FrameError,
            format!("type {frame_type}, {snippet}: {detail}"),
        )
    };
    let fault = match *error {
        FrameError::BadFrameEnd { found, .. } => {
            broken(format!("{{invalid_frame_end_marker,{found}}}"), payload)
        }
        FrameError::FrameTooLarge { size, max, .. } => {
            let max = max.saturating_sub(crate::frame::FRAME_SIZE_TOLERANCE);
            let overhead = crate::frame::FRAME_OVERHEAD as u64;
            let (size, max) = (
                size.saturating_sub(overhead),
                u64::from(max).saturating_sub(overhead),
            );
            broken(format!("{{frame_too_large,{size},{max}}}"), &[])
        }
        // Its size says nothing, so there is no payload to show.
        FrameError::UnknownFrameType { .. } => broken("unknown_frame".to_owned(), &[]),
        FrameError::BadPayloadSize { .. } => broken("unknown_frame".to_owned(), payload),
        FrameError::HeaderWeight { weight, .. } => {
            unexpected_frame(format!("content header with weight {weight}"))
        }
        FrameError::UnknownMethod { .. } => {
            Fault::new(Reply::CommandInvalid, "unimplemented method")
        }
        FrameError::MalformedMethod { fault, .. } => malformed(fault, payload),
        FrameError::TableTooDeep { .. } => {
            Fault::new(Reply::SyntaxError, "field table nested too deeply")
        }
    };
    fault.in_method(error.class_and_method())
}

/// The payload of the frame at the front of `input`, as far as it is there.
fn payload(input: &[u8]) -> &[u8] {
    let Some((&[_, _, _, s0, s1, s2, s3], rest)) = input.split_first_chunk::<7>() else {
        return &[];
    };
    let size = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
    &rest[..rest.len().min(size)]
}

fn malformed(fault: MethodFault, payload: &[u8]) -> Fault {
    match fault {
        MethodFault::NotUtf8 => Fault::new(Reply::FrameError, "Malformed UTF-8 in shortstr"),
        MethodFault::Truncated | MethodFault::TrailingBytes => {
            let arguments = payload.get(4..).unwrap_or_default();
            Fault::new(
                Reply::FrameError,
                format!("cannot decode {}", Binary(arguments)),
            )
        }
        MethodFault::Table(error) => {
            Fault::new(Reply::SyntaxError, format!("field table: {error}"))
        }
        MethodFault::Syntax => Fault::new(Reply::SyntaxError, fault.to_string()),
    }
}

/// What a client reads when the properties of a publish are refused.
pub(crate) fn from_mapping_error(error: &MappingError) -> Fault {
    match error {
        MappingError::Properties(error) => Fault::new(Reply::SyntaxError, error.to_string()),
        MappingError::Expiration { .. } | MappingError::HeaderType { .. } => {
            precondition_failed(error.to_string())
        }
        MappingError::Encode(error) => Fault::new(Reply::InternalError, error.to_string()),
    }
}
