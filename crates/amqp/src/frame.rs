//! Typed wire units in the specification's names, and the faults a peer's bytes can have.
//!
//! The frames every message needs (publish, content header, body, ack, nack, reject, deliver) are plain borrowed
//! structures; every other method is `amq-protocol`'s [`AMQPClass`].

use amq_protocol::protocol::AMQPClass;
use thiserror::Error;

use crate::table::TableError;

/// Class id of `basic`, the only class with content (AMQP 0-9-1 §1.8).
pub const CLASS_BASIC: u16 = 60;

/// Class id of `exchange` (§1.6).
pub const CLASS_EXCHANGE: u16 = 40;

/// Class id of `queue` (§1.7).
pub const CLASS_QUEUE: u16 = 50;

/// Bytes around a frame's payload: type, channel and size in front, the end marker behind (§2.3.5).
pub const FRAME_OVERHEAD: usize = 8;

/// Smallest `frame_max` that peers may agree on, in bytes (§2.3.5, `frame-min-size`).
pub const FRAME_MIN_SIZE: u32 = 4096;

/// Largest frame of the handshake, in bytes, which is before a limit is agreed on: who has not logged in takes little
/// memory.
pub const HANDSHAKE_FRAME_MAX: u32 = 8192;

/// Largest frame accepted or sent whatever was negotiated, in bytes: a `frame_max` of 0 ("no limit") must not
/// let one peer claim unbounded memory.
pub const FRAME_HARD_MAX: u32 = 16 * 1024 * 1024;

/// Bytes by which a frame may exceed the negotiated size: several clients count the payload alone.
pub const FRAME_SIZE_TOLERANCE: u32 = 8;

/// What a decoder holds a peer to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Negotiated largest frame in bytes, overhead included; 0 means no limit but [`FRAME_HARD_MAX`].
    pub frame_max: u32,
}

/// One frame. Slices point into the input.
#[derive(Debug, PartialEq)]
pub enum Frame<'a> {
    /// `basic.publish`; a content header follows.
    Publish(Publish<'a>),
    /// Content header; body frames follow unless `body_size` is 0.
    Header(ContentHeader<'a>),
    /// A piece of a body.
    Body(&'a [u8]),
    /// `basic.ack`.
    Ack(Ack),
    /// `basic.nack` (RabbitMQ's extension).
    Nack(Nack),
    /// `basic.reject`.
    Reject(Reject),
    /// Any other method.
    Method(Method),
    /// Sign of life. On any channel but 0 it is an error (505 `UNEXPECTED_FRAME`).
    Heartbeat,
}

/// `basic.publish` (§1.8.3.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publish<'a> {
    /// Exchange name; at most 255 bytes, UTF-8.
    pub exchange: &'a [u8],
    /// Routing key; at most 255 bytes, UTF-8.
    pub routing_key: &'a [u8],
    /// Return the message if no queue takes it.
    pub mandatory: bool,
    /// Return the message if no consumer can take it at once; brokers answer 540.
    pub immediate: bool,
}

/// Content header (§2.3.5.2), its properties still raw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContentHeader<'a> {
    /// Class of the method before it.
    pub class_id: u16,
    /// Bytes of body to come.
    pub body_size: u64,
    /// Property flags and list, unread: see [`crate::properties::Properties::parse`].
    pub properties: &'a [u8],
}

/// `basic.ack` (§1.8.3.13), in both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    /// The delivery, or the publish, that is acknowledged.
    pub delivery_tag: u64,
    /// All up to and including the tag; with tag 0 all outstanding.
    pub multiple: bool,
}

/// `basic.nack` (RabbitMQ's extension), in both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nack {
    /// The delivery, or the publish, that is refused.
    pub delivery_tag: u64,
    /// All up to and including the tag; with tag 0 all outstanding.
    pub multiple: bool,
    /// Put back into the queue instead of dropping or dead-lettering; without meaning from server to client.
    pub requeue: bool,
}

/// `basic.reject` (§1.8.3.14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reject {
    /// The delivery that is refused.
    pub delivery_tag: u64,
    /// Put back into the queue instead of dropping or dead-lettering.
    pub requeue: bool,
}

/// A method off the hot path.
#[derive(Debug, PartialEq)]
pub struct Method {
    /// Class id as it was on the wire.
    pub class_id: u16,
    /// Method id as it was on the wire.
    pub method_id: u16,
    /// The method itself.
    pub class: Box<AMQPClass>,
}

/// What is wrong with a method's arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum MethodFault {
    /// 501 `FRAME_ERROR`.
    #[error("arguments end early")]
    Truncated,
    /// 501 `FRAME_ERROR`.
    #[error("bytes behind the last argument")]
    TrailingBytes,
    /// 501 `FRAME_ERROR`; the text RabbitMQ sends is "Malformed UTF-8 in shortstr".
    #[error("short string is not UTF-8")]
    NotUtf8,
    /// 502 `SYNTAX_ERROR`.
    #[error("field table: {0}")]
    Table(TableError),
    /// 502 `SYNTAX_ERROR`: refused by `amq-protocol` for another reason.
    #[error("arguments do not parse")]
    Syntax,
}

/// A fault in a peer's bytes. All of them are connection errors; the reply code is named at each.
///
/// After an error that names no complete frame ([`FrameError::BadFrameEnd`], [`FrameError::FrameTooLarge`],
/// [`FrameError::UnknownFrameType`]) the stream is out of step: nothing behind it may be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FrameError {
    /// 501 `FRAME_ERROR`: no 0xCE behind the payload.
    #[error("frame end marker is {found:#04x}")]
    BadFrameEnd {
        /// Channel in the frame's header.
        channel: u16,
        /// What stood there.
        found: u8,
    },
    /// 501 `FRAME_ERROR`: larger than agreed, judged by the frame's header alone.
    #[error("frame of {size} bytes exceeds {max}")]
    FrameTooLarge {
        /// Channel in the frame's header.
        channel: u16,
        /// The frame's size in bytes with its overhead.
        size: u64,
        /// The limit in force, in bytes.
        max: u32,
    },
    /// 501 `FRAME_ERROR`.
    #[error("unknown frame type {frame_type}")]
    UnknownFrameType {
        /// Channel in the frame's header.
        channel: u16,
        /// The type octet.
        frame_type: u8,
    },
    /// 501 `FRAME_ERROR`: the payload is too short for what its frame type begins with, or a heartbeat has one.
    #[error("frame of type {frame_type} with a payload of {size} bytes")]
    BadPayloadSize {
        /// Channel in the frame's header.
        channel: u16,
        /// The type octet.
        frame_type: u8,
        /// Payload bytes.
        size: u32,
    },
    /// 505 `UNEXPECTED_FRAME`: a content header whose weight is not 0 (§2.3.5.2).
    #[error("content header with weight {weight}")]
    HeaderWeight {
        /// Channel in the frame's header.
        channel: u16,
        /// The weight.
        weight: u16,
    },
    /// 503 `COMMAND_INVALID`: no such class and method.
    #[error("unknown method {class_id}.{method_id}")]
    UnknownMethod {
        /// Channel in the frame's header.
        channel: u16,
        /// Class id.
        class_id: u16,
        /// Method id.
        method_id: u16,
    },
    /// 501 or 502, by the fault: the arguments of a known method cannot be read.
    #[error("malformed method {class_id}.{method_id}: {fault}")]
    MalformedMethod {
        /// Channel in the frame's header.
        channel: u16,
        /// Class id.
        class_id: u16,
        /// Method id.
        method_id: u16,
        /// What is wrong.
        fault: MethodFault,
    },
    /// 502 `SYNTAX_ERROR`: tables and arrays within each other beyond [`crate::table::TABLE_DEPTH_MAX`].
    #[error("field table nested too deeply in method {class_id}.{method_id}")]
    TableTooDeep {
        /// Channel in the frame's header.
        channel: u16,
        /// Class id.
        class_id: u16,
        /// Method id.
        method_id: u16,
    },
}

impl FrameError {
    /// The channel named by the frame at fault.
    pub const fn channel(&self) -> u16 {
        match *self {
            Self::BadFrameEnd { channel, .. }
            | Self::FrameTooLarge { channel, .. }
            | Self::UnknownFrameType { channel, .. }
            | Self::BadPayloadSize { channel, .. }
            | Self::HeaderWeight { channel, .. }
            | Self::UnknownMethod { channel, .. }
            | Self::MalformedMethod { channel, .. }
            | Self::TableTooDeep { channel, .. } => channel,
        }
    }

    /// Class and method id for `connection.close`; zeros where the fault is in no method.
    pub const fn class_and_method(&self) -> (u16, u16) {
        match *self {
            Self::UnknownMethod {
                class_id,
                method_id,
                ..
            }
            | Self::MalformedMethod {
                class_id,
                method_id,
                ..
            }
            | Self::TableTooDeep {
                class_id,
                method_id,
                ..
            } => (class_id, method_id),
            _ => (0, 0),
        }
    }
}
