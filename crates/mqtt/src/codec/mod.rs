//! Bytes ↔ packets, for MQTT 3.1, 3.1.1 and 5 alike: pure, without IO, without state.
//!
//! [`decode`] looks at the start of what was read. It borrows from it, copies nothing, and checks everything that can
//! be checked without knowing the session: what it returns obeys the specification to the letter. What depends on the
//! session stays with the session: topic alias and receive maximum, unknown packet identifiers, the order of packets.
//!
//! ```text
//! input: [ packet ][ packet ][ half a packet
//!          │                   └► Incomplete: come back with more
//!          └► Packet { packet, len }: drop `len` bytes, go on
//! ```
//!
//! The packet's size is judged as soon as its remaining length is there, and what the fixed header tells is refused
//! before the body arrives. A field that goes beyond the packet is an error, never a wish for more bytes.
//!
//! A PUBLISH whose payload is larger than [`STREAM_PAYLOAD_MIN`] need not be in the input as a whole: when its head is
//! there and its payload is not, [`Decoded::PublishHead`] hands out the head, and the payload is the caller's to take.
//!
//! Start reading at [`decode`], then `header.rs`, then the packet at hand.

mod acknowledge;
mod closing;
mod connect;
mod encode;
mod error;
mod header;
pub(crate) mod lists;
mod publish;
mod reader;
mod subscribe;

pub use encode::{
    EncodeError, connack, encode, encoded_len, pingresp, puback, suback, unsuback,
    variable_byte_integer_len,
};
pub use error::{DecodeError, Violation};
pub use publish::{OutgoingPublish, TopicText, publish, publish_head, publish_len};
pub use reader::VARIABLE_BYTE_INTEGER_MAX;

pub(crate) use encode::write_variable_byte_integer;
pub(crate) use reader::Reader;

use crate::frame::{Packet, PacketType, ProtocolVersion, Publish};
use crate::properties::{Place, Properties, Property};
use crate::reason_code::ReasonCode;
use header::Header;

/// Largest packet that the format can say: five bytes of fixed header and the largest remaining length.
pub const PACKET_BYTES_MAX: u32 = VARIABLE_BYTE_INTEGER_MAX + 5;

/// Payloads of more bytes than this are handed out as they arrive, if they are not in the input already.
pub const STREAM_PAYLOAD_MIN: usize = 64 * 1024;

/// Who sent the bytes that are decoded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Sender {
    /// A client: the decoder serves a broker.
    #[default]
    Client,
    /// A server: the decoder serves a client.
    Server,
}

/// What the decoder goes by, beside the specification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest packet taken, in bytes, fixed header included.
    pub packet_max: u32,
    /// Who sent the bytes.
    pub sender: Sender,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_max: PACKET_BYTES_MAX,
            sender: Sender::Client,
        }
    }
}

/// What stands at the start of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded<'a> {
    /// The start of something that may become a packet.
    Incomplete,
    /// A whole packet.
    Packet {
        /// The packet.
        packet: Packet<'a>,
        /// Bytes of input it takes.
        len: usize,
    },
    /// The head of a large PUBLISH whose payload has not arrived in full.
    PublishHead {
        /// The packet without its payload.
        head: Publish<'a>,
        /// Bytes of the whole payload. The first of them may be in the input already, behind the head.
        payload_len: usize,
        /// Bytes of input the head takes.
        consumed: usize,
    },
}

/// Decodes the packet at the start of `input`.
///
/// `version` is what the connection speaks: `None` until CONNECT was decoded, which is then the only packet a client
/// may send. A server's packets are taken for MQTT 5 without it.
#[inline]
pub fn decode(
    input: &[u8],
    version: Option<ProtocolVersion>,
    limits: Limits,
) -> Result<Decoded<'_>, DecodeError> {
    let fail = |violation| DecodeError { violation, version };
    let Some(header) = Header::read(input, version, limits).map_err(fail)? else {
        return Ok(Decoded::Incomplete);
    };
    let rest = &input[header.len..];
    if header.packet == PacketType::Publish {
        let version = version.unwrap_or(ProtocolVersion::V5);
        return publish::decode(&header, rest, version, limits.sender).map_err(fail);
    }
    let Some(body) = rest.get(..header.remaining) else {
        return Ok(Decoded::Incomplete);
    };
    let packet = if header.packet == PacketType::Connect {
        connect::decode(&header, body).map(Packet::Connect)?
    } else {
        let version = version.unwrap_or(ProtocolVersion::V5);
        decode_body(header.packet, body, version, limits.sender).map_err(fail)?
    };
    Ok(Decoded::Packet {
        packet,
        len: header.len + header.remaining,
    })
}

/// A CONNECT names its version within so many bytes.
pub(crate) const CONNECT_START_BYTES_MAX: usize = 5 + 2 + 6 + 1;

/// What the sender of a CONNECT speaks, of which only the start is there.
pub(crate) fn version_at_start(input: &[u8]) -> Option<ProtocolVersion> {
    let remaining = input.get(1..)?.iter().position(|byte| byte & 0x80 == 0)? + 1;
    connect::decode_version(&mut Reader::new(input.get(1 + remaining..)?)).ok()
}

/// Every packet but CONNECT and PUBLISH.
fn decode_body(
    packet: PacketType,
    body: &[u8],
    version: ProtocolVersion,
    sender: Sender,
) -> Result<Packet<'_>, Violation> {
    let context = Context {
        packet,
        version,
        sender,
    };
    let mut reader = Reader::new(body);
    let decoded = match packet {
        PacketType::ConnAck => Packet::ConnAck(connect::decode_connack(&mut reader, context)?),
        PacketType::PubAck => Packet::PubAck(acknowledge::decode(&mut reader, context)?),
        PacketType::PubRec => Packet::PubRec(acknowledge::decode(&mut reader, context)?),
        PacketType::PubRel => Packet::PubRel(acknowledge::decode(&mut reader, context)?),
        PacketType::PubComp => Packet::PubComp(acknowledge::decode(&mut reader, context)?),
        PacketType::Subscribe => Packet::Subscribe(subscribe::decode(&mut reader, context)?),
        PacketType::SubAck => Packet::SubAck(subscribe::decode_suback(&mut reader, context)?),
        PacketType::Unsubscribe => {
            Packet::Unsubscribe(subscribe::decode_unsubscribe(&mut reader, context)?)
        }
        PacketType::UnsubAck => Packet::UnsubAck(subscribe::decode_unsuback(&mut reader, context)?),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => {
            Packet::Disconnect(closing::decode_disconnect(&mut reader, context)?)
        }
        PacketType::Auth => Packet::Auth(closing::decode_auth(&mut reader, context)?),
        // Both have ways of their own, see `decode`.
        PacketType::Connect | PacketType::Publish => {
            return Err(Violation::UnexpectedPacket(packet));
        }
    };
    if reader.is_empty() {
        Ok(decoded)
    } else {
        Err(Violation::TrailingBytes)
    }
}

/// What a field's meaning may depend on.
#[derive(Clone, Copy, Debug)]
struct Context {
    packet: PacketType,
    version: ProtocolVersion,
    sender: Sender,
}

impl Context {
    /// Reads property length and properties, which MQTT 3 does not have.
    fn properties<'a>(
        self,
        reader: &mut Reader<'a>,
        on_property: impl FnMut(Property<'a>),
    ) -> Result<Properties<'a>, Violation> {
        if !self.version.is_v5() {
            return Ok(Properties::EMPTY);
        }
        let bytes = reader.property_bytes()?;
        Properties::validate(bytes, Place::Packet(self.packet), self.sender, on_property)
    }

    /// Reads a reason code of this packet's table.
    fn reason(self, reader: &mut Reader<'_>) -> Result<ReasonCode, Violation> {
        let byte = reader.byte()?;
        ReasonCode::from_u8(byte)
            .filter(|reason| reason.allowed_in(self.packet, self.sender))
            .ok_or(Violation::ReasonCode(byte))
    }
}

#[cfg(test)]
mod tests;
