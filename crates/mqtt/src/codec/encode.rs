//! Packets → bytes, appended to the caller's buffer without allocation of their own.
//!
//! [`encode`] writes any packet. What a broker sends all the time has functions of its own that need no packet value.

use crate::codec::VARIABLE_BYTE_INTEGER_MAX;
use crate::frame::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, PacketId, PacketType, ProtocolVersion,
    Publish, Will,
};
use crate::properties::Properties;
use crate::reason_code::{ConnectReturnCode, ReasonCode};

/// A packet that the format cannot say. Nothing was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    /// A text or binary field of more than 65,535 bytes.
    #[error("field longer than 65535 bytes")]
    FieldTooLong,
    /// More than 268,435,455 bytes behind the fixed header.
    #[error("packet longer than the format allows")]
    PacketTooLong,
    /// A packet identifier with QoS 0, or none with QoS 1 or 2.
    #[error("packet identifier does not fit the QoS")]
    PacketId,
    /// What this version cannot say: AUTH before MQTT 5, a CONNACK reason without a return code.
    #[error("not part of this version of the protocol")]
    Version,
}

/// Bytes a variable byte integer takes, 1 to 4 (§1.5.5).
#[inline]
pub const fn variable_byte_integer_len(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Appends a variable byte integer of at most [`VARIABLE_BYTE_INTEGER_MAX`].
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
pub(crate) fn write_variable_byte_integer(mut value: u32, out: &mut Vec<u8>) {
    debug_assert!(value <= VARIABLE_BYTE_INTEGER_MAX);
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a fixed header.
#[inline]
pub(crate) fn fixed_header(packet: PacketType, flags: u8, remaining: u32, out: &mut Vec<u8>) {
    out.push((packet as u8) << 4 | flags);
    write_variable_byte_integer(remaining, out);
}

/// Appends a packet. On an error nothing was written.
///
/// Fields that the version does not have are left out. A CONNECT is written in its own version.
pub fn encode(
    packet: &Packet<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let remaining = remaining(packet, version)?;
    out.reserve(5 + remaining as usize);
    fixed_header(packet.packet_type(), flags(packet), remaining, out);
    body(packet, version, out);
    Ok(())
}

/// Bytes the packet takes on the wire.
pub fn encoded_len(packet: &Packet<'_>, version: ProtocolVersion) -> Result<usize, EncodeError> {
    let remaining = remaining(packet, version)?;
    Ok(1 + variable_byte_integer_len(remaining) + remaining as usize)
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP, as `packet` says, without properties.
#[inline]
pub fn puback(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    packet: PacketType,
    packet_id: PacketId,
    reason: ReasonCode,
) {
    debug_assert!(matches!(
        packet,
        PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp
    ));
    let first = (packet as u8) << 4
        | if packet == PacketType::PubRel {
            0b0010
        } else {
            0
        };
    let [high, low] = packet_id.get().to_be_bytes();
    if version.is_v5() && reason != ReasonCode::Success {
        out.extend_from_slice(&[first, 3, high, low, reason.as_u8()]);
    } else {
        out.extend_from_slice(&[first, 2, high, low]);
    }
}

/// Appends a CONNACK. MQTT 3 gets its return code, and [`EncodeError::Version`] where it has none for the reason: then
/// the connection is closed without a word.
pub fn connack(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    connack: &ConnAck<'_>,
) -> Result<(), EncodeError> {
    encode(&Packet::ConnAck(*connack), version, out)
}

/// Appends a SUBACK. MQTT 3 gets 0x80 for every failure.
pub fn suback(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    packet_id: PacketId,
    reasons: &[ReasonCode],
    properties: Properties<'_>,
) -> Result<(), EncodeError> {
    let write = |sink: &mut dyn Sink| {
        sink.bytes(&packet_id.get().to_be_bytes());
        sink.properties(version, properties);
        for reason in reasons {
            sink.byte(suback_code(*reason, version));
        }
    };
    measured(PacketType::SubAck, write, out)
}

/// Appends an UNSUBACK. MQTT 3 gets neither reasons nor properties.
pub fn unsuback(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    packet_id: PacketId,
    reasons: &[ReasonCode],
    properties: Properties<'_>,
) -> Result<(), EncodeError> {
    let write = |sink: &mut dyn Sink| {
        sink.bytes(&packet_id.get().to_be_bytes());
        sink.properties(version, properties);
        if version.is_v5() {
            for reason in reasons {
                sink.byte(reason.as_u8());
            }
        }
    };
    measured(PacketType::UnsubAck, write, out)
}

/// Appends a PINGRESP.
pub fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[(PacketType::PingResp as u8) << 4, 0]);
}

/// Writes a body twice: to learn its length, then for good.
fn measured(
    packet: PacketType,
    write: impl Fn(&mut dyn Sink),
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let mut measure = Measure::default();
    write(&mut measure);
    let remaining = measure.finish()?;
    out.reserve(5 + remaining as usize);
    fixed_header(packet, 0, remaining, out);
    write(out);
    Ok(())
}

const fn suback_code(reason: ReasonCode, version: ProtocolVersion) -> u8 {
    if reason.is_error() && !version.is_v5() {
        ReasonCode::UnspecifiedError.as_u8()
    } else {
        reason.as_u8()
    }
}

/// Where a body goes: a buffer, or only a count of bytes.
trait Sink {
    fn bytes(&mut self, bytes: &[u8]);
    /// A field with its length in front, as measured before.
    fn field(&mut self, bytes: &[u8]);

    fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.byte((value & 0x7F) as u8 | 0x80);
            value >>= 7;
        }
        self.byte((value & 0x7F) as u8);
    }

    fn properties(&mut self, version: ProtocolVersion, properties: Properties<'_>) {
        if version.is_v5() {
            let bytes = properties.as_bytes();
            // Longer ones do not pass the measure.
            self.varint(u32::try_from(bytes.len()).unwrap_or(VARIABLE_BYTE_INTEGER_MAX));
            self.bytes(bytes);
        }
    }
}

impl Sink for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn field(&mut self, bytes: &[u8]) {
        // Longer ones do not pass the measure.
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.extend_from_slice(&len.to_be_bytes());
        self.extend_from_slice(bytes);
    }
}

/// Counts bytes.
#[derive(Default)]
struct Measure {
    len: usize,
    field_too_long: bool,
}

impl Measure {
    fn finish(&self) -> Result<u32, EncodeError> {
        if self.field_too_long {
            return Err(EncodeError::FieldTooLong);
        }
        match u32::try_from(self.len) {
            Ok(len) if len <= VARIABLE_BYTE_INTEGER_MAX => Ok(len),
            _ => Err(EncodeError::PacketTooLong),
        }
    }
}

impl Sink for Measure {
    fn bytes(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
    }

    fn field(&mut self, bytes: &[u8]) {
        self.field_too_long |= bytes.len() > usize::from(u16::MAX);
        self.len += 2 + bytes.len();
    }
}

/// Remaining length; refuses what cannot be said.
fn remaining(packet: &Packet<'_>, version: ProtocolVersion) -> Result<u32, EncodeError> {
    match packet {
        Packet::Auth(_) if !version.is_v5() => return Err(EncodeError::Version),
        Packet::ConnAck(p)
            if !version.is_v5() && ConnectReturnCode::from_reason(p.reason).is_none() =>
        {
            return Err(EncodeError::Version);
        }
        Packet::Publish(p) if p.packet_id.is_some() != (p.qos as u8 > 0) => {
            return Err(EncodeError::PacketId);
        }
        _ => {}
    }
    let mut measure = Measure::default();
    body(packet, version, &mut measure);
    measure.finish()
}

fn flags(packet: &Packet<'_>) -> u8 {
    match packet {
        Packet::Publish(p) => u8::from(p.dup) << 3 | (p.qos as u8) << 1 | u8::from(p.retain),
        Packet::PubRel(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) => 0b0010,
        _ => 0,
    }
}

/// Everything behind the fixed header.
fn body(packet: &Packet<'_>, version: ProtocolVersion, sink: &mut dyn Sink) {
    match packet {
        Packet::Connect(p) => connect_body(p, sink),
        Packet::ConnAck(p) => connack_body(p, version, sink),
        Packet::Publish(p) => publish_body(p, version, sink),
        Packet::PubAck(p) | Packet::PubRec(p) | Packet::PubRel(p) | Packet::PubComp(p) => {
            ack_body(p, version, sink);
        }
        Packet::Subscribe(p) => {
            sink.bytes(&p.packet_id.get().to_be_bytes());
            sink.properties(version, p.properties);
            sink.bytes(p.filters.as_bytes());
        }
        Packet::Unsubscribe(p) => {
            sink.bytes(&p.packet_id.get().to_be_bytes());
            sink.properties(version, p.properties);
            sink.bytes(p.filters.as_bytes());
        }
        Packet::SubAck(p) => {
            sink.bytes(&p.packet_id.get().to_be_bytes());
            sink.properties(version, p.properties);
            p.reasons
                .iter()
                .for_each(|reason| sink.byte(suback_code(reason, version)));
        }
        Packet::UnsubAck(p) => {
            sink.bytes(&p.packet_id.get().to_be_bytes());
            sink.properties(version, p.properties);
            if version.is_v5() {
                sink.bytes(p.reasons.as_bytes());
            }
        }
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(p) => disconnect_body(p, version, sink),
        Packet::Auth(p) => auth_body(p, version, sink),
    }
}

fn connect_body(p: &Connect<'_>, sink: &mut dyn Sink) {
    let version = p.version;
    sink.field(version.protocol_name().as_bytes());
    sink.byte(version.level());
    let will_flags = p.will.map_or(0, |will| {
        0x04 | (will.qos as u8) << 3 | u8::from(will.retain) << 5
    });
    sink.byte(
        u8::from(p.clean_start) << 1
            | will_flags
            | u8::from(p.password.is_some()) << 6
            | u8::from(p.user_name.is_some()) << 7,
    );
    sink.bytes(&p.keep_alive_s.to_be_bytes());
    sink.properties(version, p.properties);
    sink.field(p.client_id.as_bytes());
    if let Some(Will {
        topic,
        payload,
        properties,
        ..
    }) = p.will
    {
        sink.properties(version, properties);
        sink.field(topic.as_bytes());
        sink.field(payload);
    }
    if let Some(user_name) = p.user_name {
        sink.field(user_name.as_bytes());
    }
    if let Some(password) = p.password {
        sink.field(password);
    }
}

fn connack_body(p: &ConnAck<'_>, version: ProtocolVersion, sink: &mut dyn Sink) {
    sink.byte(p.session_present.into());
    if version.is_v5() {
        sink.byte(p.reason.as_u8());
    } else {
        // `remaining` refuses reasons without a return code.
        sink.byte(ConnectReturnCode::from_reason(p.reason).map_or(0xFF, |code| code as u8));
    }
    sink.properties(version, p.properties);
}

fn publish_body(p: &Publish<'_>, version: ProtocolVersion, sink: &mut dyn Sink) {
    sink.field(p.topic.as_bytes());
    if let Some(packet_id) = p.packet_id {
        sink.bytes(&packet_id.get().to_be_bytes());
    }
    sink.properties(version, p.properties);
    sink.bytes(p.payload);
}

fn ack_body(p: &Ack<'_>, version: ProtocolVersion, sink: &mut dyn Sink) {
    sink.bytes(&p.packet_id.get().to_be_bytes());
    if version.is_v5() && (p.reason != ReasonCode::Success || !p.properties.is_empty()) {
        sink.byte(p.reason.as_u8());
        if !p.properties.is_empty() {
            sink.properties(version, p.properties);
        }
    }
}

fn disconnect_body(p: &Disconnect<'_>, version: ProtocolVersion, sink: &mut dyn Sink) {
    if version.is_v5() && (p.reason != ReasonCode::NORMAL_DISCONNECTION || !p.properties.is_empty())
    {
        sink.byte(p.reason.as_u8());
        if !p.properties.is_empty() {
            sink.properties(version, p.properties);
        }
    }
}

fn auth_body(p: &Auth<'_>, version: ProtocolVersion, sink: &mut dyn Sink) {
    if p.reason != ReasonCode::Success || !p.properties.is_empty() {
        sink.byte(p.reason.as_u8());
        sink.properties(version, p.properties);
    }
}
