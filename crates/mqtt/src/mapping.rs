//! PUBLISH ↔ `ternmq_core::Message`.
//!
//! A message that came in by MQTT keeps its properties as they were on the wire, so that an MQTT subscriber gets them
//! bit for bit:
//!
//! ```text
//! native = flags (1 byte) │ properties as on the wire, the length in front left out
//! flags  = bits 0-1 QoS │ bit 2 RETAIN │ bits 3-7 zero
//! ```
//!
//! The form is the same for every protocol version. Left out are what belongs to a connection or a session (topic
//! alias, subscription identifiers, will delay) and what the envelope holds: the message expiry interval is the
//! message's TTL, and what is left of it is sent on.
//!
//! A message of another protocol gets its properties by way of the neutral view, by RabbitMQ's rules.

mod convert;
pub mod history;

use bytes::Bytes;
use ternmq_core::id::{PublisherId, Timestamp};
use ternmq_core::message::{
    Body, FormatId, Message, NewMessage, Properties as CoreProperties, PropertyFormat,
};
use ternmq_core::routing::key::{KeySyntax, has_view};
use ternmq_core::value::{Headers, Value};

use crate::codec::TopicText;
use crate::frame::{ProtocolVersion, Publish, QoS, Will};
use crate::properties::{Properties, Property, PropertyBuf, PropertyId};

/// The number of MQTT's native form.
pub const FORMAT_ID: FormatId = FormatId(2);

/// The one value of MQTT's native form.
pub static FORMAT: MqttFormat = MqttFormat;

/// Bit 2 of the flags of the native form.
const NATIVE_RETAIN: u8 = 0x04;

/// Reads MQTT's native form.
#[derive(Clone, Copy, Debug)]
pub struct MqttFormat;

impl PropertyFormat for MqttFormat {
    fn id(&self) -> FormatId {
        FORMAT_ID
    }

    fn decode(&self, native: &[u8]) -> CoreProperties {
        let mut core = CoreProperties::default();
        let mut headers = Headers::new();
        for property in Native::read(native).properties {
            match property {
                Property::PayloadFormatIndicator(text) => core.body_is_text = text,
                Property::ContentType(v) => core.content_type = Some(copy(v.as_bytes())),
                Property::ResponseTopic(v) => {
                    core.reply_topic = Some((KeySyntax::Slashed, copy(v.as_bytes())));
                }
                Property::CorrelationData(v) => core.correlation_id = Some(copy(v)),
                Property::UserProperty(name, value) => headers.push(name, Value::text(value)),
                _ => {}
            }
        }
        core.headers = headers;
        core
    }
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// A message's native form, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Native<'a> {
    /// QoS it was published with.
    pub qos: QoS,
    /// RETAIN flag it was published with.
    pub retain: bool,
    /// Its properties but for the message expiry interval.
    pub properties: Properties<'a>,
}

impl<'a> Native<'a> {
    /// Reads the native form; what is damaged reads as QoS 0, not retained, without properties.
    pub fn read(native: &'a [u8]) -> Self {
        let (flags, properties) = native.split_first().unwrap_or((&0, &[]));
        Self {
            qos: QoS::from_u8(flags & 3).unwrap_or_default(),
            retain: flags & NATIVE_RETAIN != 0,
            properties: Properties::from_validated(properties),
        }
    }
}

/// Where a message comes from: what a packet does not say.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The exchange that MQTT publishes to.
    pub exchange: &'a [u8],
    /// When it was received.
    pub received_at: Timestamp,
    /// Whose it is, for subscriptions with no-local.
    pub publisher: Option<PublisherId>,
}

/// The message of a PUBLISH. `topic` is the packet's own or what its alias stands for; `native` is cleared and used.
///
/// A payload that arrives in pieces replaces [`NewMessage::body`].
pub fn to_core<'a>(
    publish: &Publish<'a>,
    topic: &'a str,
    origin: Origin<'a>,
    native: &'a mut Vec<u8>,
) -> NewMessage<'a> {
    let content = Content {
        qos: publish.qos,
        retain: publish.retain,
        topic,
        payload: publish.payload,
        properties: publish.properties,
    };
    content.to_core(origin, native)
}

/// The message of a will, at the moment of its publication. `native` is cleared and used.
pub fn will_to_core<'a>(
    will: &Will<'a>,
    origin: Origin<'a>,
    native: &'a mut Vec<u8>,
) -> NewMessage<'a> {
    let content = Content {
        qos: will.qos,
        retain: will.retain,
        topic: will.topic,
        payload: will.payload,
        properties: will.properties,
    };
    content.to_core(origin, native)
}

/// What a PUBLISH and a will have in common.
struct Content<'a> {
    qos: QoS,
    retain: bool,
    topic: &'a str,
    payload: &'a [u8],
    properties: Properties<'a>,
}

impl<'a> Content<'a> {
    fn to_core(&self, origin: Origin<'a>, native: &'a mut Vec<u8>) -> NewMessage<'a> {
        native.clear();
        native.push(self.qos as u8 | if self.retain { NATIVE_RETAIN } else { 0 });
        let expiry_s = copy_kept(self.properties, native);
        NewMessage {
            exchange: origin.exchange,
            routing_key: self.topic.as_bytes(),
            key_syntax: KeySyntax::Slashed,
            format: &FORMAT,
            native,
            body: Body::copy_from(self.payload),
            durable: self.qos > QoS::AtMostOnce,
            priority: None,
            ttl_ms: expiry_s.map(|seconds| u64::from(seconds) * 1000),
            received_at: origin.received_at,
            publisher: origin.publisher,
            extras: None,
        }
    }
}

/// Appends the properties that stay with the message, as they are, and returns the message expiry interval.
fn copy_kept(properties: Properties<'_>, native: &mut Vec<u8>) -> Option<u32> {
    let mut expiry_s = None;
    for (property, bytes) in properties.iter_with_bytes() {
        match property.id() {
            PropertyId::TopicAlias
            | PropertyId::SubscriptionIdentifier
            | PropertyId::WillDelayInterval => {}
            PropertyId::MessageExpiryInterval => {
                if let Property::MessageExpiryInterval(seconds) = property {
                    expiry_s = Some(seconds);
                }
            }
            _ => native.extend_from_slice(bytes),
        }
    }
    expiry_s
}

/// A message as an MQTT client gets it, before what the subscription decides (granted QoS, retain as published,
/// subscription identifiers) and the connection (packet identifier, topic alias).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FromCore<'a> {
    /// QoS it was published with: for messages of other protocols 1 if durable, else 0.
    pub qos: QoS,
    /// RETAIN flag it was published with.
    pub retain: bool,
    /// Its topic.
    pub topic: TopicText<'a>,
    /// MQTT 5: seconds left to live, rounded up.
    pub message_expiry_s: Option<u32>,
    /// MQTT 5: all other properties.
    pub properties: Properties<'a>,
}

/// Renders a message for MQTT; `None` where its routing key has no form as a topic, and then no MQTT client can get
/// it. `scratch` is cleared and used for what is not sent as it came in.
pub fn from_core<'a>(
    message: &'a Message,
    version: ProtocolVersion,
    now: Timestamp,
    scratch: &'a mut PropertyBuf,
) -> Option<FromCore<'a>> {
    Some(render((message, topic(message)?), version, now, scratch))
}

/// Renders a message for who consumes the queue it was in: with QoS 1, under a topic that stands for the queue. Its
/// routing key, which MQTT may have no form of, is told as a user property.
pub fn from_queue<'a>(
    (message, topic): (&'a Message, &'a str),
    version: ProtocolVersion,
    now: Timestamp,
    scratch: &'a mut PropertyBuf,
) -> FromCore<'a> {
    let (mut message_expiry_s, mut properties) = (None, Properties::EMPTY);
    if version.is_v5() {
        message_expiry_s = remaining_s(message, now);
        write_properties(message, native(message), scratch);
        if let Ok(key) = std::str::from_utf8(message.routing_key()) {
            // One that is too long for a property is left out.
            scratch
                .push(Property::UserProperty(ROUTING_KEY_PROPERTY, key))
                .ok();
        }
        properties = scratch.as_properties();
    }
    FromCore {
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: TopicText::Topic(topic.as_bytes()),
        message_expiry_s,
        properties,
    }
}

/// See [`from_queue`].
const ROUTING_KEY_PROPERTY: &str = "x-routing-key";

fn native(message: &Message) -> Option<Native<'_>> {
    (message.format() == FORMAT_ID).then(|| Native::read(message.native()))
}

fn write_properties(message: &Message, native: Option<Native<'_>>, out: &mut PropertyBuf) {
    let history = message.history();
    out.clear();
    match native {
        Some(native) => out.push_all(native.properties),
        None => convert::properties(&message.properties(), history.is_some(), out),
    }
    if let Some(history) = history {
        history::properties(history, out);
    }
}

fn render<'a>(
    (message, topic): (&'a Message, TopicText<'a>),
    version: ProtocolVersion,
    now: Timestamp,
    scratch: &'a mut PropertyBuf,
) -> FromCore<'a> {
    let native = native(message);
    let qos = native.map_or(
        if message.durable() {
            QoS::AtLeastOnce
        } else {
            QoS::AtMostOnce
        },
        |n| n.qos,
    );
    let retain = native.is_some_and(|n| n.retain);
    let mut rendered = FromCore {
        qos,
        retain,
        topic,
        message_expiry_s: None,
        properties: Properties::EMPTY,
    };
    if version.is_v5() {
        rendered.message_expiry_s = remaining_s(message, now);
        rendered.properties = match (native, message.history()) {
            (Some(native), None) => native.properties,
            (native, _) => {
                write_properties(message, native, scratch);
                scratch.as_properties()
            }
        };
    }
    rendered
}

/// The topic a message has for MQTT clients.
fn topic(message: &Message) -> Option<TopicText<'_>> {
    let key = message.routing_key();
    match message.key_syntax() {
        KeySyntax::Slashed => Some(TopicText::Topic(key)),
        syntax @ KeySyntax::Dotted => {
            let sayable =
                has_view(key, syntax, KeySyntax::Slashed) && std::str::from_utf8(key).is_ok();
            sayable.then_some(TopicText::Dotted(key))
        }
    }
}

/// MQTT-3.3.2-6, rounded up so that a message that lives never carries 0 unless it came with 0.
fn remaining_s(message: &Message, now: Timestamp) -> Option<u32> {
    let left_ms = message
        .ttl_ms()?
        .saturating_sub(now.since(message.received_at()));
    Some(u32::try_from(left_ms.div_ceil(1000)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
