//! What is encoded is decoded to the same packet, cut short it is incomplete, damaged it never panics.

#![expect(clippy::cast_possible_truncation, reason = "any bits will do")]

use std::num::NonZeroU16;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::codec::*;
use crate::frame::*;
use crate::properties::{Place, Properties, Property, PropertyBuf};
use crate::reason_code::{ConnectReturnCode, ReasonCode};

/// Owned parts that any packet can be built from.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    kind: u8,
    pub(super) version: ProtocolVersion,
    sender: Sender,
    properties: PropertyBuf,
    will_properties: PropertyBuf,
    packet_id: PacketId,
    qos: QoS,
    bits: u8,
    number: u16,
    reason: ReasonCode,
    text: String,
    topic: String,
    payload: Vec<u8>,
    filters: Vec<(String, SubscribeOptions)>,
}

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 äß€😀\u{FEFF}.-]{0,12}"
}

fn topic_name() -> impl Strategy<Value = String> {
    "[a-z$ ä€/]{1,20}"
}

fn topic_filter() -> impl Strategy<Value = String> {
    "([a-z]{0,3}/|\\+/){0,4}([a-z]{1,3}|#|\\+)"
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ]
}

fn options() -> impl Strategy<Value = SubscribeOptions> {
    any::<u8>().prop_filter_map("options byte", |byte| {
        SubscribeOptions::from_u8(byte & 0x3F)
    })
}

/// One of every property, with values a decoder takes.
fn every_property(
    buf: &mut PropertyBuf,
    place: Place,
    sender: Sender,
    seed: (u32, &str, &str, &[u8]),
) {
    let (number, text, topic, bytes) = seed;
    let two = NonZeroU16::new((number >> 3) as u16 | 1).unwrap();
    let bit = number & 1 != 0;
    let all = [
        Property::PayloadFormatIndicator(bit),
        Property::UserProperty(text, topic),
        Property::MessageExpiryInterval(number),
        Property::ContentType(text),
        Property::ResponseTopic(topic),
        Property::CorrelationData(bytes),
        Property::SubscriptionIdentifier(number % VARIABLE_BYTE_INTEGER_MAX + 1),
        Property::SubscriptionIdentifier(1),
        Property::SessionExpiryInterval(number),
        Property::AssignedClientIdentifier(text),
        Property::ServerKeepAlive(number as u16),
        Property::AuthenticationMethod(text),
        Property::AuthenticationData(bytes),
        Property::RequestProblemInformation(bit),
        Property::WillDelayInterval(number),
        Property::RequestResponseInformation(bit),
        Property::ResponseInformation(text),
        Property::ServerReference(text),
        Property::ReasonString(text),
        Property::ReceiveMaximum(two),
        Property::TopicAliasMaximum(number as u16),
        Property::TopicAlias(two),
        Property::MaximumQos(if bit {
            QoS::AtLeastOnce
        } else {
            QoS::AtMostOnce
        }),
        Property::RetainAvailable(bit),
        Property::UserProperty(topic, ""),
        Property::UserProperty("", topic),
        Property::MaximumPacketSize(number | 1),
        Property::WildcardSubscriptionAvailable(bit),
        Property::SubscriptionIdentifierAvailable(bit),
        Property::SharedSubscriptionAvailable(bit),
    ];
    for (at, property) in all.iter().enumerate() {
        // Authentication data, and AUTH, need the method.
        let needed =
            at == 11 && matches!(place, Place::Packet(PacketType::Auth | PacketType::Connect));
        if !needed && (number >> (at % 29)) & 4 == 0 {
            continue;
        }
        let mut with = buf.clone();
        with.push(*property).unwrap();
        if Properties::validate(with.as_properties().as_bytes(), place, sender, |_| {}).is_ok() {
            *buf = with;
        }
    }
}

prop_compose! {
    pub(super) fn parts()(
        kind in 1_u8..=15,
        version in prop_oneof![Just(ProtocolVersion::V31), Just(ProtocolVersion::V311), Just(ProtocolVersion::V5)],
        from_server in any::<bool>(),
        number in any::<u32>(),
        packet_id in 1_u16..,
        qos in qos(),
        reason in 0..ReasonCode::ALL.len(),
        text in text(),
        topic in topic_name(),
        payload in vec(any::<u8>(), 0..40),
        filters in vec((topic_filter(), options()), 1..5),
    ) -> Parts {
        let packet = PacketType::from_u8(kind).unwrap();
        let sender = match packet {
            PacketType::Connect | PacketType::Subscribe | PacketType::Unsubscribe | PacketType::PingReq => {
                Sender::Client
            }
            PacketType::ConnAck | PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp => {
                Sender::Server
            }
            _ if from_server => Sender::Server,
            _ => Sender::Client,
        };
        let version = if packet == PacketType::Auth { ProtocolVersion::V5 } else { version };
        let (mut properties, mut will_properties) = (PropertyBuf::new(), PropertyBuf::new());
        if version.is_v5() {
            let seed = (number, text.as_str(), topic.as_str(), payload.as_slice());
            every_property(&mut properties, Place::Packet(packet), sender, seed);
            every_property(&mut will_properties, Place::Will, sender, seed);
        }
        let filters = filters
            .into_iter()
            .map(|(filter, options)| match version {
                ProtocolVersion::V5 => (filter, options),
                _ => (filter, SubscribeOptions { qos: options.qos, ..SubscribeOptions::default() }),
            })
            .collect();
        Parts {
            kind,
            version,
            sender,
            properties,
            will_properties,
            packet_id: PacketId::new(packet_id).unwrap(),
            qos,
            bits: number as u8,
            number: (number >> 8) as u16,
            reason: ReasonCode::ALL[reason],
            text,
            topic,
            payload,
            filters,
        }
    }
}

/// Room for what packets borrow.
#[derive(Default)]
pub(super) struct Lists {
    filters: Vec<u8>,
    names: Vec<u8>,
    codes: Vec<u8>,
}

impl Parts {
    fn packet_type(&self) -> PacketType {
        PacketType::from_u8(self.kind).unwrap()
    }

    pub(super) fn lists(&self) -> Lists {
        let mut lists = Lists::default();
        for (filter, options) in &self.filters {
            SubscribeFilters::push(&mut lists.filters, filter, *options).unwrap();
            UnsubscribeFilters::push(&mut lists.names, filter).unwrap();
            let reason = self.reason();
            lists
                .codes
                .push(if reason.is_error() && !self.version.is_v5() {
                    0x80
                } else {
                    reason as u8
                });
        }
        lists
    }

    /// A reason that the packet may have.
    fn reason(&self) -> ReasonCode {
        let packet = self.packet_type();
        let at = ReasonCode::ALL
            .iter()
            .position(|reason| *reason == self.reason)
            .unwrap();
        let fits = |reason: &&ReasonCode| {
            reason.allowed_in(packet, self.sender)
                && (self.version.is_v5()
                    || match packet {
                        PacketType::ConnAck => ConnectReturnCode::from_reason(**reason)
                            .is_some_and(|code| code.to_reason() == **reason),
                        PacketType::SubAck => matches!(**reason as u8, 0..=2 | 0x80),
                        _ => **reason == ReasonCode::Success,
                    })
        };
        *ReasonCode::ALL
            .iter()
            .cycle()
            .skip(at)
            .take(43)
            .find(fits)
            .unwrap_or(&ReasonCode::Success)
    }

    fn connect(&self) -> Connect<'_> {
        let user_name = self.bits & 4 != 0;
        let password = self.bits & 8 != 0 && (user_name || self.version.is_v5());
        Connect {
            version: self.version,
            clean_start: self.bits & 1 != 0 || self.text.is_empty(),
            keep_alive_s: self.number,
            client_id: match self.version {
                ProtocolVersion::V31 if self.text.is_empty() => "nameless",
                _ => &self.text,
            },
            will: (self.bits & 2 != 0).then(|| Will {
                qos: self.qos,
                retain: self.bits & 16 != 0,
                topic: &self.topic,
                payload: &self.payload,
                properties: self.will_properties.as_properties(),
            }),
            user_name: user_name.then_some(&self.text),
            password: password.then_some(&self.payload),
            properties: self.properties.as_properties(),
        }
    }

    fn publish(&self) -> Publish<'_> {
        let properties = self.properties.as_properties();
        Publish {
            dup: self.bits & 1 != 0 && self.qos > QoS::AtMostOnce,
            qos: self.qos,
            retain: self.bits & 2 != 0,
            topic: &self.topic,
            packet_id: (self.qos > QoS::AtMostOnce).then_some(self.packet_id),
            topic_alias: properties.iter().find_map(|property| match property {
                Property::TopicAlias(alias) => Some(alias),
                _ => None,
            }),
            message_expiry_s: properties.iter().find_map(|property| match property {
                Property::MessageExpiryInterval(seconds) => Some(seconds),
                _ => None,
            }),
            properties,
            payload: &self.payload,
        }
    }

    pub(super) fn packet<'a>(&'a self, lists: &'a Lists) -> Packet<'a> {
        let (packet_id, properties) = (self.packet_id, self.properties.as_properties());
        let packet = self.packet_type();
        let reason = self.reason();
        let ack = Ack {
            packet_id,
            reason,
            properties,
        };
        let codes = |bytes| ReasonCodes::validate(bytes, packet, self.version).unwrap();
        match packet {
            PacketType::Connect => Packet::Connect(self.connect()),
            PacketType::ConnAck => {
                let session_present = self.bits & 1 != 0 && !reason.is_error();
                Packet::ConnAck(ConnAck {
                    session_present,
                    reason,
                    properties,
                })
            }
            PacketType::Publish => Packet::Publish(self.publish()),
            PacketType::PubAck => Packet::PubAck(ack),
            PacketType::PubRec => Packet::PubRec(ack),
            PacketType::PubRel => Packet::PubRel(ack),
            PacketType::PubComp => Packet::PubComp(ack),
            PacketType::Subscribe => Packet::Subscribe(Subscribe {
                packet_id,
                subscription_id: properties.iter().find_map(|property| match property {
                    Property::SubscriptionIdentifier(id) => Some(id),
                    _ => None,
                }),
                properties,
                filters: SubscribeFilters::validate(&lists.filters, self.version).unwrap(),
            }),
            PacketType::SubAck => Packet::SubAck(SubAck {
                packet_id,
                properties,
                reasons: codes(&lists.codes),
            }),
            PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe {
                packet_id,
                properties,
                filters: UnsubscribeFilters::validate(&lists.names).unwrap(),
            }),
            PacketType::UnsubAck => {
                let reasons = if self.version.is_v5() {
                    codes(&lists.codes)
                } else {
                    ReasonCodes::EMPTY
                };
                Packet::UnsubAck(UnsubAck {
                    packet_id,
                    properties,
                    reasons,
                })
            }
            PacketType::PingReq => Packet::PingReq,
            PacketType::PingResp => Packet::PingResp,
            PacketType::Disconnect => Packet::Disconnect(Disconnect { reason, properties }),
            PacketType::Auth => Packet::Auth(Auth { reason, properties }),
        }
    }

    /// What the connection speaks when this packet arrives.
    pub(super) fn known_version(&self) -> Option<ProtocolVersion> {
        (self.packet_type() != PacketType::Connect).then_some(self.version)
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            sender: self.sender,
            ..Limits::default()
        }
    }

    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&self.packet(&self.lists()), self.version, &mut out).unwrap();
        out
    }
}

proptest! {
    #[test]
    fn every_packet_comes_back_as_it_was(parts in parts()) {
        let lists = parts.lists();
        let packet = parts.packet(&lists);
        let bytes = parts.encoded();
        prop_assert_eq!(encoded_len(&packet, parts.version).unwrap(), bytes.len());
        let decoded = decode(&bytes, parts.known_version(), parts.limits());
        prop_assert_eq!(decoded, Ok(Decoded::Packet { packet, len: bytes.len() }));
    }

    #[test]
    fn every_truncation_is_incomplete(parts in parts()) {
        let bytes = parts.encoded();
        for len in 0..bytes.len() {
            let decoded = decode(&bytes[..len], parts.known_version(), parts.limits());
            prop_assert_eq!(decoded, Ok(Decoded::Incomplete), "{} of {} bytes", len, bytes.len());
        }
    }

    #[test]
    fn byte_behind_the_last_field_is_refused_or_payload(parts in parts()) {
        let mut bytes = parts.encoded();
        // Small enough for a remaining length of one byte, after the added one.
        prop_assume!(bytes[1] < 0x7F && bytes.len() == usize::from(bytes[1]) + 2);
        bytes.push(0);
        bytes[1] += 1;
        let decoded = decode(&bytes, parts.known_version(), parts.limits());
        match parts.packet_type() {
            PacketType::Publish => prop_assert!(decoded.is_ok()),
            // A further code or an empty property list.
            PacketType::SubAck | PacketType::UnsubAck if parts.version.is_v5() || bytes[0] == 0x90 => {}
            _ if parts.version.is_v5() && bytes.len() <= 6 => {}
            _ => prop_assert!(decoded.is_err(), "{:?}", decoded),
        }
    }

    #[test]
    fn what_is_decoded_from_damaged_packets_encodes_to_the_same_packet(
        parts in parts(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = parts.encoded();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check_any_input(&bytes, parts.known_version(), parts.limits());
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in vec(any::<u8>(), 0..64),
        version in prop_oneof![
            Just(None),
            Just(Some(ProtocolVersion::V31)),
            Just(Some(ProtocolVersion::V311)),
            Just(Some(ProtocolVersion::V5)),
        ],
        from_server in any::<bool>(),
    ) {
        let sender = if from_server { Sender::Server } else { Sender::Client };
        check_any_input(&bytes, version, Limits { sender, ..Limits::default() });
    }
}

/// Decodes what is there; what was taken for a packet must encode and decode to itself.
fn check_any_input(bytes: &[u8], version: Option<ProtocolVersion>, limits: Limits) {
    let Ok(Decoded::Packet { packet, len }) = decode(bytes, version, limits) else {
        return;
    };
    assert!(len <= bytes.len());
    let mut out = Vec::new();
    let written_in = version.unwrap_or(ProtocolVersion::V5);
    encode(&packet, written_in, &mut out).unwrap();
    let again = decode(&out, version, limits);
    assert_eq!(
        again,
        Ok(Decoded::Packet {
            packet,
            len: out.len()
        }),
        "from {bytes:02x?} to {out:02x?}"
    );
}
