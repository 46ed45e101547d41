//! Control packets in the specification's names, borrowed from the bytes they were read from.
//!
//! One set of types serves MQTT 3.1, 3.1.1 and 5: what a version does not have is empty.

use std::num::NonZeroU16;

use crate::properties::Properties;
use crate::reason_code::ReasonCode;

pub use crate::codec::lists::{ReasonCodes, SubscribeFilter, SubscribeFilters, UnsubscribeFilters};

/// A packet identifier; 0 does not occur (MQTT-2.2.1-3).
pub type PacketId = NonZeroU16;

/// What the peer speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ProtocolVersion {
    /// MQTT 3.1, protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1, protocol name `MQTT`, level 4.
    V311,
    /// MQTT 5.0, protocol name `MQTT`, level 5.
    V5,
}

impl ProtocolVersion {
    /// Whether packets carry properties and reason codes.
    pub const fn is_v5(self) -> bool {
        matches!(self, Self::V5)
    }

    /// The protocol level byte of CONNECT.
    pub const fn level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }

    /// The protocol name of CONNECT.
    pub const fn protocol_name(self) -> &'static str {
        match self {
            Self::V31 => "MQIsdp",
            Self::V311 | Self::V5 => "MQTT",
        }
    }
}

/// Quality of service (§4.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0.
    #[default]
    AtMostOnce = 0,
    /// QoS 1.
    AtLeastOnce = 1,
    /// QoS 2.
    ExactlyOnce = 2,
}

impl QoS {
    /// The QoS of that wire value; 3 and above do not exist.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The code that grants this QoS in a SUBACK.
    pub const fn granted(self) -> ReasonCode {
        match self {
            Self::AtMostOnce => ReasonCode::GRANTED_QOS_0,
            Self::AtLeastOnce => ReasonCode::GrantedQos1,
            Self::ExactlyOnce => ReasonCode::GrantedQos2,
        }
    }
}

/// Type of a control packet: the high nibble of its first byte (§2.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    /// The type of that wire value; 0 is forbidden.
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }
}

/// One control packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    PubAck(Ack<'a>),
    PubRec(Ack<'a>),
    PubRel(Ack<'a>),
    PubComp(Ack<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(UnsubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

impl Packet<'_> {
    /// Which packet it is.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

/// CONNECT (§3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connect<'a> {
    /// What the client speaks.
    pub version: ProtocolVersion,
    /// Clean start (MQTT 5) or clean session (MQTT 3).
    pub clean_start: bool,
    /// Keep alive in seconds; 0 is off.
    pub keep_alive_s: u16,
    /// Client identifier; may be empty, then the server assigns one. In MQTT 3 an empty one has `clean_start` set.
    pub client_id: &'a str,
    /// Will message.
    pub will: Option<Will<'a>>,
    /// User name; `Some("")` differs from `None`.
    pub user_name: Option<&'a str>,
    /// Password: any bytes.
    pub password: Option<&'a [u8]>,
    /// Properties of the CONNECT itself.
    pub properties: Properties<'a>,
}

/// The will of a CONNECT (§3.1.3.2 to §3.1.3.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Will<'a> {
    /// QoS to publish it with.
    pub qos: QoS,
    /// Whether it is published as a retained message.
    pub retain: bool,
    /// Topic name: not empty, without wildcards.
    pub topic: &'a str,
    /// Payload; may be empty.
    pub payload: &'a [u8],
    /// Will properties.
    pub properties: Properties<'a>,
}

/// CONNACK (§3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnAck<'a> {
    /// Whether the server had state for this client; false where `reason` is an error.
    pub session_present: bool,
    /// Outcome. MQTT 3 sees the return code that [`crate::reason_code::ConnectReturnCode::from_reason`] gives.
    pub reason: ReasonCode,
    /// Properties.
    pub properties: Properties<'a>,
}

/// PUBLISH (§3.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publish<'a> {
    /// A repeated delivery; never with QoS 0.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// Retain flag.
    pub retain: bool,
    /// Topic name without wildcards. Empty only together with a topic alias.
    pub topic: &'a str,
    /// Packet identifier: present exactly where the QoS is above 0.
    pub packet_id: Option<PacketId>,
    /// Decoded from `properties`: topic alias. Whether it is within the maximum is the session's to check.
    pub topic_alias: Option<NonZeroU16>,
    /// Decoded from `properties`: message expiry interval in seconds.
    pub message_expiry_s: Option<u32>,
    /// All properties.
    pub properties: Properties<'a>,
    /// Payload; empty in [`crate::codec::Decoded::PublishHead`].
    pub payload: &'a [u8],
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP (§3.4 to §3.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack<'a> {
    /// Which PUBLISH it is about.
    pub packet_id: PacketId,
    /// Outcome; always success in MQTT 3.
    pub reason: ReasonCode,
    /// Properties.
    pub properties: Properties<'a>,
}

impl Ack<'_> {
    /// An acknowledgement without properties.
    pub const fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self {
            packet_id,
            reason,
            properties: Properties::EMPTY,
        }
    }
}

/// SUBSCRIBE (§3.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscribe<'a> {
    /// Packet identifier.
    pub packet_id: PacketId,
    /// Decoded from `properties`: subscription identifier, 1 to 268,435,455.
    pub subscription_id: Option<u32>,
    /// Properties.
    pub properties: Properties<'a>,
    /// Filters with their options, at least one. Whether a filter is well formed is told filter by filter.
    pub filters: SubscribeFilters<'a>,
}

/// SUBACK (§3.9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubAck<'a> {
    /// Packet identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// Properties.
    pub properties: Properties<'a>,
    /// One code per filter, in order.
    pub reasons: ReasonCodes<'a>,
}

/// UNSUBSCRIBE (§3.10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsubscribe<'a> {
    /// Packet identifier.
    pub packet_id: PacketId,
    /// Properties.
    pub properties: Properties<'a>,
    /// Filters, at least one.
    pub filters: UnsubscribeFilters<'a>,
}

/// UNSUBACK (§3.11).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnsubAck<'a> {
    /// Packet identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// Properties.
    pub properties: Properties<'a>,
    /// One code per filter, in order; none in MQTT 3.
    pub reasons: ReasonCodes<'a>,
}

/// DISCONNECT (§3.14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disconnect<'a> {
    /// Why; always normal in MQTT 3.
    pub reason: ReasonCode,
    /// Properties.
    pub properties: Properties<'a>,
}

/// AUTH (§3.15).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Auth<'a> {
    /// Success, continue authentication or re-authenticate.
    pub reason: ReasonCode,
    /// Properties; from a client always with an authentication method.
    pub properties: Properties<'a>,
}

/// Options of one subscription (§3.8.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SubscribeOptions {
    /// Maximum QoS to deliver with.
    pub qos: QoS,
    /// Do not deliver what this client published itself.
    pub no_local: bool,
    /// Keep the publisher's retain flag on delivery.
    pub retain_as_published: bool,
    /// When retained messages are sent.
    pub retain_handling: RetainHandling,
}

impl SubscribeOptions {
    /// The options byte, or `None` where it has a reserved bit, QoS 3 or retain handling 3.
    pub const fn from_u8(byte: u8) -> Option<Self> {
        if byte & 0xC0 != 0 {
            return None;
        }
        let Some(qos) = QoS::from_u8(byte & 3) else {
            return None;
        };
        let retain_handling = match byte >> 4 {
            0 => RetainHandling::SendAtSubscribe,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return None,
        };
        Some(Self {
            qos,
            no_local: byte & 4 != 0,
            retain_as_published: byte & 8 != 0,
            retain_handling,
        })
    }

    /// The options byte of MQTT 5; MQTT 3 has the two bits of the QoS only.
    pub const fn as_u8(self) -> u8 {
        self.qos as u8
            | (self.no_local as u8) << 2
            | (self.retain_as_published as u8) << 3
            | (self.retain_handling as u8) << 4
    }
}

/// When a subscription gets retained messages (§3.8.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE.
    #[default]
    SendAtSubscribe = 0,
    /// Only where the subscription did not exist.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}
