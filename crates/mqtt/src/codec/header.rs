//! The fixed header (§2.1): everything that can be judged before the body is there.

use crate::codec::reader::{Varint, variable_byte_integer};
use crate::codec::{Limits, Sender, Violation};
use crate::frame::{PacketType, ProtocolVersion};

/// A fixed header that was read and judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) packet: PacketType,
    /// Low nibble of the first byte.
    pub(crate) flags: u8,
    /// Bytes of the fixed header, 2 to 5.
    pub(crate) len: usize,
    /// Bytes behind the fixed header.
    pub(crate) remaining: usize,
    /// Whether the remaining length is in its shortest form.
    pub(crate) minimal: bool,
}

impl Header {
    /// Reads and judges the fixed header; `None` where the input ends inside of it.
    #[inline]
    pub(crate) fn read(
        input: &[u8],
        version: Option<ProtocolVersion>,
        limits: Limits,
    ) -> Result<Option<Self>, Violation> {
        let Some((first, rest)) = input.split_first() else {
            return Ok(None);
        };
        let packet = packet_type(*first, version, limits.sender)?;
        let flags = first & 0x0F;
        let Some(Varint {
            value,
            len,
            minimal,
        }) = variable_byte_integer(rest)?
        else {
            return Ok(None);
        };
        let size = value + 1 + u32::try_from(len).unwrap_or(4);
        if size > limits.packet_max {
            return Err(Violation::PacketTooLarge {
                size,
                max: limits.packet_max,
            });
        }
        // MQTT-1.5.5-1 is a rule of MQTT 5 only.
        if !minimal && version.is_some_and(ProtocolVersion::is_v5) {
            return Err(Violation::VariableByteInteger);
        }
        let header = Self {
            packet,
            flags,
            len: 1 + len,
            remaining: value as usize,
            minimal,
        };
        if let Some(version) = version {
            header.check_remaining(version)?;
        }
        Ok(Some(header))
    }

    /// Refuses remaining lengths that no body of this packet can have, before the body is there.
    #[inline]
    fn check_remaining(&self, version: ProtocolVersion) -> Result<(), Violation> {
        let v5 = version.is_v5();
        let unlimited_in_v5 = |max| if v5 { usize::MAX } else { max };
        let (min, max) = match self.packet {
            PacketType::Publish | PacketType::Subscribe | PacketType::Unsubscribe => {
                (if v5 { 3 } else { 2 }, usize::MAX)
            }
            PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::PubComp
            | PacketType::ConnAck
            | PacketType::UnsubAck => (2, unlimited_in_v5(2)),
            PacketType::SubAck => (3, usize::MAX),
            PacketType::PingReq | PacketType::PingResp => (0, 0),
            PacketType::Disconnect => (0, unlimited_in_v5(0)),
            PacketType::Connect | PacketType::Auth => (0, usize::MAX),
        };
        if self.remaining < min {
            return Err(Violation::FieldBeyondPacket);
        }
        if self.remaining > max {
            return Err(Violation::TrailingBytes);
        }
        Ok(())
    }
}

/// Type and flags, by what is known of the connection.
#[inline]
fn packet_type(
    first: u8,
    version: Option<ProtocolVersion>,
    sender: Sender,
) -> Result<PacketType, Violation> {
    let packet =
        PacketType::from_u8(first >> 4).ok_or(Violation::PacketTypeReserved(first >> 4))?;
    if packet == PacketType::Auth && version.is_some_and(|version| !version.is_v5()) {
        return Err(Violation::PacketTypeReserved(first >> 4));
    }
    let flags = first & 0x0F;
    if !flags_allowed(packet, flags, version) {
        return Err(Violation::HeaderFlags { packet, flags });
    }
    match (sender, version) {
        (Sender::Client, None) if packet != PacketType::Connect => {
            Err(Violation::ConnectExpected(packet))
        }
        (Sender::Client, Some(_)) if !sent_by_client(packet) => {
            Err(Violation::UnexpectedPacket(packet))
        }
        (Sender::Server, _) if !sent_by_server(packet) => Err(Violation::UnexpectedPacket(packet)),
        _ => Ok(packet),
    }
}

/// §2.1.3. MQTT 3.1 (§2.1 there) also sends PUBREL, SUBSCRIBE and UNSUBSCRIBE again with DUP set, and says of the
/// flags of a CONNECT that they are not used: they are judged once its version is known.
#[inline]
fn flags_allowed(packet: PacketType, flags: u8, version: Option<ProtocolVersion>) -> bool {
    match packet {
        // Judged with the rest of it.
        PacketType::Publish | PacketType::Connect => true,
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => {
            flags == 0b0010 || (flags == 0b1010 && version == Some(ProtocolVersion::V31))
        }
        _ => flags == 0,
    }
}

/// Once connected.
const fn sent_by_client(packet: PacketType) -> bool {
    !matches!(
        packet,
        PacketType::Connect
            | PacketType::ConnAck
            | PacketType::SubAck
            | PacketType::UnsubAck
            | PacketType::PingResp
    )
}

const fn sent_by_server(packet: PacketType) -> bool {
    !matches!(
        packet,
        PacketType::Connect | PacketType::Subscribe | PacketType::Unsubscribe | PacketType::PingReq
    )
}
