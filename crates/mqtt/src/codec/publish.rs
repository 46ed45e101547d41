//! PUBLISH (§3.3), the hot path: nothing is allocated or copied on the way in, and written once on the way out.

use std::num::NonZeroU16;

use crate::codec::encode::{fixed_header, variable_byte_integer_len, write_variable_byte_integer};
use crate::codec::header::Header;
use crate::codec::reader::variable_byte_integer;
use crate::codec::{Decoded, EncodeError, Reader, STREAM_PAYLOAD_MIN, Sender, Violation};
use crate::frame::{Packet, PacketId, PacketType, ProtocolVersion, Publish, QoS};
use crate::properties::{Place, Properties, Property, PropertyId};
use crate::topic::{self, TopicNameError};

/// Decodes what stands behind the fixed header.
#[inline]
pub(super) fn decode<'a>(
    header: &Header,
    rest: &'a [u8],
    version: ProtocolVersion,
    sender: Sender,
) -> Result<Decoded<'a>, Violation> {
    let flags = Flags::check(header.flags)?;
    if let Some(body) = rest.get(..header.remaining) {
        let packet = Packet::Publish(decode_body(body, flags, version, sender)?);
        return Ok(Decoded::Packet {
            packet,
            len: header.len + header.remaining,
        });
    }
    let Some(head_len) = head_len(rest, flags, version)? else {
        return Ok(Decoded::Incomplete);
    };
    let payload_len = header
        .remaining
        .checked_sub(head_len)
        .ok_or(Violation::FieldBeyondPacket)?;
    match rest.get(..head_len) {
        Some(head) if payload_len > STREAM_PAYLOAD_MIN => Ok(Decoded::PublishHead {
            head: decode_body(head, flags, version, sender)?,
            payload_len,
            consumed: header.len + head_len,
        }),
        _ => Ok(Decoded::Incomplete),
    }
}

#[derive(Clone, Copy)]
struct Flags {
    dup: bool,
    qos: QoS,
    retain: bool,
}

impl Flags {
    #[inline]
    fn check(flags: u8) -> Result<Self, Violation> {
        // MQTT-3.3.1-4, MQTT-3.3.1-2.
        let qos = QoS::from_u8(flags >> 1 & 3).ok_or(Violation::QosInvalid)?;
        let dup = flags & 8 != 0;
        if dup && qos == QoS::AtMostOnce {
            return Err(Violation::DupWithoutQos);
        }
        Ok(Self {
            dup,
            qos,
            retain: flags & 1 != 0,
        })
    }
}

/// Bytes from the topic to the end of the properties, told from their lengths alone; `None` until those are there.
fn head_len(
    rest: &[u8],
    flags: Flags,
    version: ProtocolVersion,
) -> Result<Option<usize>, Violation> {
    let Some(topic_len) = rest.first_chunk().map(|len| u16::from_be_bytes(*len)) else {
        return Ok(None);
    };
    let mut len = 2 + usize::from(topic_len);
    if flags.qos > QoS::AtMostOnce {
        len += 2;
    }
    if version.is_v5() {
        let Some(properties) = rest.get(len..) else {
            return Ok(None);
        };
        let Some(varint) = variable_byte_integer(properties)? else {
            return Ok(None);
        };
        len += varint.len + varint.value as usize;
    }
    Ok(Some(len))
}

#[inline]
fn decode_body(
    body: &[u8],
    flags: Flags,
    version: ProtocolVersion,
    sender: Sender,
) -> Result<Publish<'_>, Violation> {
    let mut reader = Reader::new(body);
    let topic = decode_topic(&mut reader)?;
    let packet_id = if flags.qos > QoS::AtMostOnce {
        Some(reader.packet_id()?)
    } else {
        None
    };
    let mut publish = Publish {
        dup: flags.dup,
        qos: flags.qos,
        retain: flags.retain,
        topic,
        packet_id,
        topic_alias: None,
        message_expiry_s: None,
        properties: Properties::EMPTY,
        payload: &[],
    };
    if version.is_v5() {
        let bytes = reader.property_bytes()?;
        if !bytes.is_empty() {
            decode_properties(&mut publish, bytes, sender)?;
        }
    }
    // An alias may stand for the name (§3.3.2.1).
    if topic.is_empty() && publish.topic_alias.is_none() {
        return Err(Violation::TopicNameEmpty);
    }
    publish.payload = reader.take_rest();
    Ok(publish)
}

#[inline]
fn decode_topic<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Violation> {
    let topic = std::str::from_utf8(reader.binary()?).map_err(|_| Violation::NotUtf8)?;
    match topic::validate_name(topic) {
        Ok(()) | Err(TopicNameError::Empty) => Ok(topic),
        Err(_) if topic.contains('\0') => Err(Violation::NulInText),
        Err(TopicNameError::ControlCharacter) => Err(Violation::ControlCharacter),
        Err(_) => Err(Violation::TopicName),
    }
}

fn decode_properties<'a>(
    publish: &mut Publish<'a>,
    bytes: &'a [u8],
    sender: Sender,
) -> Result<(), Violation> {
    let (mut alias, mut expiry) = (None, None);
    let place = Place::Packet(PacketType::Publish);
    publish.properties = Properties::validate(bytes, place, sender, |property| match property {
        Property::TopicAlias(value) => alias = Some(value),
        Property::MessageExpiryInterval(value) => expiry = Some(value),
        _ => {}
    })?;
    publish.topic_alias = alias;
    publish.message_expiry_s = expiry;
    Ok(())
}

/// The topic of a PUBLISH to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicText<'a> {
    /// As it goes on the wire.
    Topic(&'a [u8]),
    /// A dotted routing key, whose dots are written as slashes. That it has a form as a topic is the caller's to know
    /// (`ternmq_core::routing::key::has_view`).
    Dotted(&'a [u8]),
}

impl<'a> TopicText<'a> {
    const fn bytes(self) -> &'a [u8] {
        match self {
            Self::Topic(bytes) | Self::Dotted(bytes) => bytes,
        }
    }
}

/// A PUBLISH to be sent, without its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutgoingPublish<'a> {
    /// A repeated delivery.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// Retain flag.
    pub retain: bool,
    /// Topic name; may be empty where there is an alias.
    pub topic: TopicText<'a>,
    /// Must be there exactly where the QoS is above 0.
    pub packet_id: Option<PacketId>,
    /// MQTT 5: stands for the topic from now on.
    pub topic_alias: Option<NonZeroU16>,
    /// MQTT 5: seconds left.
    pub message_expiry_s: Option<u32>,
    /// MQTT 5: identifiers of the matching subscriptions, each 1 to 268,435,455.
    pub subscription_ids: &'a [u32],
    /// MQTT 5: the other properties. None of those above may be among them.
    pub properties: Properties<'a>,
}

impl OutgoingPublish<'_> {
    /// Bytes of the properties, the length in front of them left out.
    #[inline]
    fn properties_len(&self) -> usize {
        let alias = if self.topic_alias.is_some() { 3 } else { 0 };
        let expiry = if self.message_expiry_s.is_some() {
            5
        } else {
            0
        };
        let ids: usize = self
            .subscription_ids
            .iter()
            .map(|id| 1 + variable_byte_integer_len(*id))
            .sum();
        self.properties.as_bytes().len() + alias + expiry + ids
    }

    /// Remaining length with a payload of that many bytes, and the properties' share of it.
    #[inline]
    fn remaining(
        &self,
        version: ProtocolVersion,
        payload_len: usize,
    ) -> Result<(u32, u32), EncodeError> {
        let topic_len = self.topic.bytes().len();
        if topic_len > usize::from(u16::MAX) {
            return Err(EncodeError::FieldTooLong);
        }
        if self.packet_id.is_some() != (self.qos > QoS::AtMostOnce) {
            return Err(EncodeError::PacketId);
        }
        let mut len = 2 + topic_len + payload_len;
        if self.packet_id.is_some() {
            len += 2;
        }
        let mut properties_len = 0;
        if version.is_v5() {
            properties_len =
                u32::try_from(self.properties_len()).map_err(|_| EncodeError::PacketTooLong)?;
            len += variable_byte_integer_len(properties_len) + properties_len as usize;
        }
        match u32::try_from(len) {
            Ok(len) if len <= super::VARIABLE_BYTE_INTEGER_MAX => Ok((len, properties_len)),
            _ => Err(EncodeError::PacketTooLong),
        }
    }

    fn write_properties(&self, len: u32, out: &mut Vec<u8>) {
        write_variable_byte_integer(len, out);
        if len == 0 {
            return;
        }
        if let Some(alias) = self.topic_alias {
            out.push(PropertyId::TopicAlias as u8);
            out.extend_from_slice(&alias.get().to_be_bytes());
        }
        if let Some(seconds) = self.message_expiry_s {
            out.push(PropertyId::MessageExpiryInterval as u8);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        for id in self.subscription_ids {
            out.push(PropertyId::SubscriptionIdentifier as u8);
            write_variable_byte_integer(*id, out);
        }
        out.extend_from_slice(self.properties.as_bytes());
    }
}

/// Bytes that the whole PUBLISH takes on the wire: what a client's Maximum Packet Size limits.
#[inline]
pub fn publish_len(
    head: &OutgoingPublish<'_>,
    version: ProtocolVersion,
    payload_len: usize,
) -> Result<usize, EncodeError> {
    let (remaining, _) = head.remaining(version, payload_len)?;
    Ok(1 + variable_byte_integer_len(remaining) + remaining as usize)
}

/// Appends a PUBLISH. On an error nothing was written.
#[inline]
pub fn publish(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    head: &OutgoingPublish<'_>,
    payload: &[u8],
) -> Result<(), EncodeError> {
    write_head(out, version, head, payload.len(), payload.len())?;
    out.extend_from_slice(payload);
    Ok(())
}

/// Appends a PUBLISH up to its payload, which the caller sends right behind it, `payload_len` bytes. On an error
/// nothing was written.
#[inline]
pub fn publish_head(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    head: &OutgoingPublish<'_>,
    payload_len: usize,
) -> Result<(), EncodeError> {
    write_head(out, version, head, payload_len, 0)
}

/// `payload_len` is told to the peer, `reserve_len` of it will be appended.
#[inline]
fn write_head(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    head: &OutgoingPublish<'_>,
    payload_len: usize,
    reserve_len: usize,
) -> Result<(), EncodeError> {
    let (remaining, properties_len) = head.remaining(version, payload_len)?;
    out.reserve(5 + remaining as usize - payload_len + reserve_len);
    let flags = u8::from(head.dup) << 3 | (head.qos as u8) << 1 | u8::from(head.retain);
    fixed_header(PacketType::Publish, flags, remaining, out);
    let topic = head.topic.bytes();
    // Checked by `remaining`.
    let topic_len = u16::try_from(topic.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&topic_len.to_be_bytes());
    out.extend_from_slice(topic);
    if let TopicText::Dotted(key) = head.topic {
        let start = out.len() - key.len();
        for byte in &mut out[start..] {
            if *byte == b'.' {
                *byte = b'/';
            }
        }
    }
    if let Some(packet_id) = head.packet_id {
        out.extend_from_slice(&packet_id.get().to_be_bytes());
    }
    if version.is_v5() {
        head.write_properties(properties_len, out);
    }
    Ok(())
}
