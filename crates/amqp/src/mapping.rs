//! Wire to core message and back, lossless for AMQP's own messages.
//!
//! A message that came in over AMQP keeps its raw properties as its native form and is delivered with them byte for
//! byte, unless the broker has something to add (deaths, counters) or to take away (TTL after a death, blind
//! copies). Messages of other protocols are rendered from the core's neutral properties.

mod expiration;
mod render;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;
use ternmq_core::message::{Extras, FormatId, Message, Properties as Neutral, PropertyFormat};
use ternmq_core::routing::key::{self, KeySyntax};
use ternmq_core::value::{Headers, Value};
use thiserror::Error;

pub use expiration::{ExpirationError, parse_expiration};
pub use render::from_core;

use crate::codec::EncodeError;
use crate::properties::{PERSISTENT, Properties, PropertiesError, only_delivery_mode};
use crate::table::{self, Entries, Field};

/// Number of AMQP 0.9.1's native property form; part of the durable format.
pub const FORMAT_ID: FormatId = FormatId(1);

/// Reads AMQP 0.9.1's raw properties: what a message's `format` points to.
pub static FORMAT: BasicFormat = BasicFormat;

/// Annotation on deliveries: how often the message was taken before.
pub const X_ACQUIRED_COUNT: &str = "x-acquired-count";
/// Annotation on deliveries: how often taking it failed before.
pub const X_DELIVERY_COUNT: &str = "x-delivery-count";
/// Header that stands in for a `correlation_id` that is no valid short string.
pub const X_CORRELATION_ID: &str = "x-correlation-id";
/// Header that stands in for a `message_id` that is no valid short string.
pub const X_MESSAGE_ID: &str = "x-message-id";
/// Header that carries the topic a reply goes to, dotted.
pub const X_REPLY_TO_TOPIC: &str = "x-reply-to-topic";

/// Header with further routing keys.
const CC: &[u8] = b"CC";
/// Header with further routing keys that no consumer sees.
const BCC: &[u8] = b"BCC";

/// Raw properties of class basic, as they were on the wire; empty stands for none.
#[derive(Debug)]
pub struct BasicFormat;

impl PropertyFormat for BasicFormat {
    fn id(&self) -> FormatId {
        FORMAT_ID
    }

    fn decode(&self, native: &[u8]) -> Neutral {
        let wire = Properties::parse_lossy(native);
        let mut headers = wire
            .headers
            .map(table::to_headers_lossy)
            .unwrap_or_default();
        let owned = |text: Option<&[u8]>| text.map(Bytes::copy_from_slice);
        let correlation_id =
            owned(wire.correlation_id).or_else(|| take_bytes(&mut headers, X_CORRELATION_ID));
        let reply_topic =
            take_bytes(&mut headers, X_REPLY_TO_TOPIC).map(|topic| (KeySyntax::Dotted, topic));
        Neutral {
            content_type: owned(wire.content_type),
            content_encoding: owned(wire.content_encoding),
            message_id: owned(wire.message_id),
            correlation_id,
            reply_to: owned(wire.reply_to),
            reply_topic,
            message_type: owned(wire.type_),
            app_id: owned(wire.app_id),
            user_id: owned(wire.user_id),
            timestamp: wire.timestamp,
            body_is_text: false,
            headers,
        }
    }

    fn with_header(&self, native: &[u8], name: &str, value: &Value) -> Option<Vec<u8>> {
        render::with_header(native, name, value).ok()
    }
}

/// Takes a header that stands in for a property, if it is a string.
fn take_bytes(headers: &mut Headers, name: &str) -> Option<Bytes> {
    match headers.get(name) {
        Some(Value::Text(bytes) | Value::Binary(bytes)) => {
            let bytes = bytes.clone();
            headers.remove(name);
            Some(bytes)
        }
        _ => None,
    }
}

/// Why a publish's properties are refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum MappingError {
    /// Connection error 502 `SYNTAX_ERROR`.
    #[error(transparent)]
    Properties(#[from] PropertiesError),
    /// Channel error 406 `PRECONDITION_FAILED`, this text behind the code's name.
    #[error("invalid expiration '{}': {fault}", text.escape_ascii())]
    Expiration {
        /// As it was sent.
        text: Box<[u8]>,
        /// What is wrong with it.
        fault: ExpirationError,
    },
    /// Channel error 406 `PRECONDITION_FAILED`, this text behind the code's name.
    #[error("invalid message: {{unacceptable_type_in_header,\"{header}\",{found}}}")]
    HeaderType {
        /// `CC` or `BCC`.
        header: &'static str,
        /// RabbitMQ's name of the type found where an array must be.
        found: &'static str,
    },
    /// Connection error 541 `INTERNAL_ERROR`: what was read cannot be written without its blind copies. Properties
    /// that came in one frame always can.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// What the core needs to know of a publish's properties.
#[derive(Clone, PartialEq, Debug)]
pub struct Incoming<'a> {
    /// The publishing user, as claimed: must be the one who logged in.
    pub user_id: Option<&'a [u8]>,
    /// Queue for the reply, as sent.
    pub reply_to: Option<&'a [u8]>,
    /// The headers as sent: a raw table that passes [`table::validate`].
    pub headers: Option<&'a [u8]>,
    /// The bytes to keep as the message's native form: what was sent without blind copies; empty for none.
    pub native: Cow<'a, [u8]>,
    /// Whether it must survive a restart.
    pub durable: bool,
    /// Priority, if one was given.
    pub priority: Option<u8>,
    /// Time to live in milliseconds, if one was given.
    pub ttl_ms: Option<u64>,
    /// Further routing keys, if there are any.
    pub extras: Option<Box<Extras>>,
}

impl Incoming<'_> {
    /// Puts another queue for the reply in the place of the one that was sent.
    pub fn set_reply_to(&mut self, queue: &str) -> Result<(), MappingError> {
        let mut native = Vec::with_capacity(self.native.len() + queue.len());
        Properties {
            reply_to: Some(queue.as_bytes()),
            ..Properties::parse(&self.native)?
        }
        .encode(&mut native)?;
        self.native = Cow::Owned(native);
        Ok(())
    }
}

/// Reads a content header's raw properties for a publish. Allocates only for CC and BCC.
#[inline]
pub fn to_core(raw: &[u8]) -> Result<Incoming<'_>, MappingError> {
    let mut incoming = Incoming {
        user_id: None,
        reply_to: None,
        headers: None,
        native: Cow::Borrowed(raw),
        durable: false,
        priority: None,
        ttl_ms: None,
        extras: None,
    };
    if raw == [0, 0] {
        incoming.native = Cow::Borrowed(&[]);
    } else if let Some(mode) = only_delivery_mode(raw) {
        incoming.durable = mode == PERSISTENT;
    } else {
        read_properties(&mut incoming, raw)?;
    }
    Ok(incoming)
}

fn read_properties<'a>(incoming: &mut Incoming<'a>, raw: &'a [u8]) -> Result<(), MappingError> {
    let properties = Properties::parse(raw)?;
    incoming.user_id = properties.user_id;
    incoming.reply_to = properties.reply_to;
    incoming.headers = properties.headers;
    incoming.durable = properties.is_persistent();
    incoming.priority = properties.priority;
    if let Some(text) = properties.expiration {
        let ttl_ms = parse_expiration(text);
        incoming.ttl_ms = Some(ttl_ms.map_err(|fault| MappingError::Expiration {
            text: text.into(),
            fault,
        })?);
    }
    if let Some(table) = properties.headers {
        take_copies(incoming, table, &properties)?;
    }
    Ok(())
}

/// Reads CC and BCC, and strips BCC.
fn take_copies(
    incoming: &mut Incoming<'_>,
    table: &[u8],
    sent: &Properties<'_>,
) -> Result<(), MappingError> {
    let (mut cc, mut bcc) = (None, None);
    for (name, field) in Entries::new(table).map_while(Result::ok) {
        match name {
            CC if cc.is_none() => cc = Some(routing_keys("CC", field)?),
            BCC if bcc.is_none() => bcc = Some(routing_keys("BCC", field)?),
            _ => {}
        }
    }
    if bcc.is_some() {
        let mut stripped = Vec::with_capacity(table.len());
        render::copy_entries_without(&mut stripped, table, BCC);
        let mut native = Vec::with_capacity(incoming.native.len());
        Properties {
            headers: Some(&stripped),
            ..*sent
        }
        .encode(&mut native)?;
        incoming.native = Cow::Owned(native);
    }
    let (cc, bcc) = (cc.unwrap_or_default(), bcc.unwrap_or_default());
    if !cc.is_empty() || !bcc.is_empty() {
        incoming.extras = Some(Box::new(Extras {
            cc,
            bcc,
            ..Extras::default()
        }));
    }
    Ok(())
}

/// The strings of an array; elements of another type are passed over, as RabbitMQ does.
fn routing_keys(header: &'static str, field: Field<'_>) -> Result<Vec<Bytes>, MappingError> {
    let elements = field.as_array().ok_or(MappingError::HeaderType {
        header,
        found: field.type_name(),
    })?;
    Ok(elements
        .map_while(Result::ok)
        .filter_map(|key| key.as_text())
        .map(Bytes::copy_from_slice)
        .collect())
}

/// The routing key a consumer sees, dotted. It may be longer than the 255 bytes a short string can say if the
/// message came from another protocol.
#[inline]
pub fn routing_key<'a>(message: &'a Message, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    match message.key_syntax() {
        KeySyntax::Dotted => message.routing_key(),
        written @ KeySyntax::Slashed => {
            scratch.clear();
            key::render(message.routing_key(), written, KeySyntax::Dotted, scratch);
            scratch
        }
    }
}
