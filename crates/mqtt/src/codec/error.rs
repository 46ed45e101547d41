//! What was wrong with the input, and the reason code that says so.

use crate::frame::{PacketType, ProtocolVersion};
use crate::properties::PropertyId;
use crate::reason_code::ReasonCode;

/// A packet that was refused. The connection it came on cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{violation}")]
pub struct DecodeError {
    /// What was wrong.
    pub violation: Violation,
    /// What the peer speaks, as far as known: for a CONNECT, once its protocol level was read.
    pub version: Option<ProtocolVersion>,
}

impl DecodeError {
    /// The reason code that names the violation: for a DISCONNECT, or for a CONNACK if it was the CONNECT.
    ///
    /// MQTT 3 is told nothing, unless [`crate::reason_code::ConnectReturnCode::from_reason`] has a return code for
    /// a refused CONNECT.
    pub const fn reason_code(&self) -> ReasonCode {
        self.violation.reason_code()
    }
}

/// A broken rule of the specification.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// §2.1.2: type 0, or AUTH before MQTT 5.
    #[error("reserved packet type {0}")]
    PacketTypeReserved(u8),
    /// MQTT-2.1.3-1, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1 and the like.
    #[error("reserved fixed header flags {flags:#06b} of {packet:?}")]
    HeaderFlags {
        /// In which packet.
        packet: PacketType,
        /// The low nibble.
        flags: u8,
    },
    /// §1.5.5: more than four bytes, or more than needed (MQTT-1.5.5-1).
    #[error("variable byte integer too long")]
    VariableByteInteger,
    /// The packet ends inside a field.
    #[error("field beyond the end of the packet")]
    FieldBeyondPacket,
    /// The packet goes on after its last field.
    #[error("bytes after the last field")]
    TrailingBytes,
    /// The packet is larger than its receiver takes.
    #[error("packet of {size} bytes, the maximum is {max}")]
    PacketTooLarge {
        /// Bytes of the whole packet, fixed header included.
        size: u32,
        /// The maximum.
        max: u32,
    },
    /// MQTT-1.5.4-1.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// MQTT-1.5.4-2.
    #[error("text holds U+0000")]
    NulInText,
    /// MQTT-2.2.1-3.
    #[error("packet identifier is 0")]
    PacketIdZero,
    /// MQTT-3.1.0-1.
    #[error("first packet is {0:?} instead of CONNECT")]
    ConnectExpected(PacketType),
    /// MQTT-3.1.0-2, and packets that only the other side sends.
    #[error("unexpected {0:?}")]
    UnexpectedPacket(PacketType),
    /// MQTT-3.1.2-1.
    #[error("unknown protocol name")]
    ProtocolName,
    /// MQTT-3.1.2-2.
    #[error("protocol level {0} is not supported under this protocol name")]
    ProtocolLevel(u8),
    /// MQTT-3.1.2-3, -11, -12, -13, and in MQTT 3 a password without a user name.
    #[error("connect flags {0:#010b}")]
    ConnectFlags(u8),
    /// MQTT-3.1.3-8 of 3.1.1, or control characters in a client identifier.
    #[error("client identifier refused")]
    ClientIdentifier,
    /// MQTT-3.3.1-4.
    #[error("QoS 3")]
    QosInvalid,
    /// MQTT-3.3.1-2.
    #[error("DUP with QoS 0")]
    DupWithoutQos,
    /// §1.5.4, in a topic name or filter.
    #[error("control character in a topic")]
    ControlCharacter,
    /// MQTT-3.3.2-2, or more levels than [`crate::topic::TOPIC_LEVELS_MAX`].
    #[error("topic name invalid")]
    TopicName,
    /// MQTT-4.7.3-1.
    #[error("empty topic name")]
    TopicNameEmpty,
    /// MQTT-3.3.2-8.
    #[error("topic alias 0")]
    TopicAliasZero,
    /// §2.2.2.1: the length says more than there is, or cuts a property.
    #[error("property length does not fit the properties")]
    PropertyLength,
    /// §2.2.2.2.
    #[error("unknown property {0:#04x}")]
    PropertyUnknown(u8),
    /// §2.2.2.2: the property belongs to other packets.
    #[error("property {0:?} in the wrong packet")]
    PropertyMisplaced(PropertyId),
    /// The property belongs to the packet, but this side must not send it, or not in a will.
    #[error("property {0:?} not allowed here")]
    PropertyForbidden(PropertyId),
    /// Once is the most.
    #[error("property {0:?} twice")]
    PropertyTwice(PropertyId),
    /// The value is outside of the property's range.
    #[error("property {0:?} has a forbidden value")]
    PropertyValue(PropertyId),
    /// §3.1.2.11.10, §3.15.2.2.2.
    #[error("authentication method missing")]
    AuthenticationMethodMissing,
    /// Each packet's own table.
    #[error("reason code {0:#04x} not allowed here")]
    ReasonCode(u8),
    /// MQTT-3.2.2-1, MQTT-3.2.2-6.
    #[error("acknowledge flags {0:#010b}")]
    AcknowledgeFlags(u8),
    /// MQTT-3.8.3-2, MQTT-3.10.3-2.
    #[error("no topic filter")]
    NoTopicFilter,
    /// MQTT-4.7.3-1.
    #[error("empty topic filter")]
    TopicFilterEmpty,
    /// MQTT-3.8.3-5, and QoS or retain handling 3.
    #[error("subscription options {0:#010b}")]
    SubscribeOptions(u8),
    /// MQTT-3.8.3-4.
    #[error("no-local on a shared subscription")]
    NoLocalShared,
}

impl Violation {
    /// The reason code that names it.
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::ProtocolName | Self::ProtocolLevel(_) => ReasonCode::UnsupportedProtocolVersion,
            Self::ClientIdentifier => ReasonCode::ClientIdentifierNotValid,
            Self::TopicName => ReasonCode::TopicNameInvalid,
            Self::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            Self::ConnectExpected(_)
            | Self::UnexpectedPacket(_)
            | Self::TopicNameEmpty
            | Self::PropertyForbidden(_)
            | Self::PropertyTwice(_)
            | Self::PropertyValue(_)
            | Self::AuthenticationMethodMissing
            | Self::ReasonCode(_)
            | Self::NoTopicFilter
            | Self::NoLocalShared => ReasonCode::ProtocolError,
            _ => ReasonCode::MalformedPacket,
        }
    }
}
