//! PUBLISH on raw bytes.

use std::num::NonZeroU16;

use super::*;

const V311: Option<ProtocolVersion> = Some(ProtocolVersion::V311);

fn refuse(input: &[u8], version: Option<ProtocolVersion>, violation: Violation) {
    assert_eq!(
        violation_of(input, version, Sender::Client),
        violation,
        "{input:02x?}"
    );
}

fn accept(input: &[u8], version: Option<ProtocolVersion>) -> Publish<'_> {
    match packet(input, version, Sender::Client) {
        Packet::Publish(publish) => publish,
        other => panic!("{other:?}"),
    }
}

#[test]
fn dup_with_qos_0_is_refused() {
    refuse(b"\x38\x04\x00\x01t\x00", V5, Violation::DupWithoutQos);
    refuse(b"\x38\x03\x00\x01t", V311, Violation::DupWithoutQos);
}

#[test]
fn qos_3_is_refused() {
    for first in [0x36, 0x37, 0x3E, 0x3F] {
        refuse(
            &raw(first, &[b"\x00\x01t\x00\x01\x00"]),
            V5,
            Violation::QosInvalid,
        );
        refuse(
            &raw(first, &[b"\x00\x01t\x00\x01"]),
            V311,
            Violation::QosInvalid,
        );
    }
    assert_eq!(
        Violation::QosInvalid.reason_code(),
        ReasonCode::MalformedPacket
    );
}

#[test]
fn packet_identifier_0_is_refused() {
    for first in [0x32, 0x34, 0x3A, 0x3D] {
        refuse(
            &raw(first, &[b"\x00\x01t\x00\x00\x00"]),
            V5,
            Violation::PacketIdZero,
        );
        refuse(
            &raw(first, &[b"\x00\x01t\x00\x00"]),
            V311,
            Violation::PacketIdZero,
        );
    }
}

#[test]
fn wildcard_in_a_topic_name_is_refused() {
    for topic in [
        &b"\x00\x01+"[..],
        b"\x00\x01#",
        b"\x00\x03a/+",
        b"\x00\x03a/#",
        b"\x00\x02a+",
        b"\x00\x02#a",
    ] {
        refuse(&raw(0x30, &[topic, b"\x00"]), V5, Violation::TopicName);
        refuse(&raw(0x30, &[topic]), V311, Violation::TopicName);
    }
    assert_eq!(
        Violation::TopicName.reason_code(),
        ReasonCode::TopicNameInvalid
    );
}

#[test]
fn empty_topic_needs_an_alias() {
    refuse(b"\x30\x02\x00\x00", V311, Violation::TopicNameEmpty);
    refuse(b"\x30\x03\x00\x00\x00", V5, Violation::TopicNameEmpty);
    refuse(
        b"\x30\x05\x00\x00\x02\x01\x00",
        V5,
        Violation::TopicNameEmpty,
    );
    assert_eq!(
        Violation::TopicNameEmpty.reason_code(),
        ReasonCode::ProtocolError
    );
    let publish = accept(b"\x30\x06\x00\x00\x03\x23\x00\x01", V5);
    assert_eq!(
        (publish.topic, publish.topic_alias),
        ("", NonZeroU16::new(1))
    );
}

#[test]
fn topic_alias_0_is_refused() {
    refuse(
        b"\x30\x07\x00\x01t\x03\x23\x00\x00",
        V5,
        Violation::TopicAliasZero,
    );
    assert_eq!(
        Violation::TopicAliasZero.reason_code(),
        ReasonCode::TopicAliasInvalid
    );
    assert_eq!(
        accept(b"\x30\x07\x00\x01t\x03\x23\xFF\xFF", V5).topic_alias,
        NonZeroU16::new(0xFFFF)
    );
}

#[test]
fn topic_is_text() {
    // Surrogate, overlong, beyond U+10FFFF, cut, lone continuation.
    for topic in [
        &b"\x00\x03\xED\xA0\x80"[..],
        b"\x00\x02\xC0\xAF",
        b"\x00\x03\xE0\x80\xAF",
        b"\x00\x04\xF4\x90\x80\x80",
        b"\x00\x02\xE2\x82",
        b"\x00\x01\x80",
        b"\x00\x01\xFF",
    ] {
        refuse(&raw(0x30, &[topic, b"\x00"]), V5, Violation::NotUtf8);
        refuse(&raw(0x30, &[topic]), V311, Violation::NotUtf8);
    }
    refuse(
        &raw(0x30, &[b"\x00\x03a\x00b\x00"]),
        V5,
        Violation::NulInText,
    );
    assert_eq!(
        Violation::NulInText.reason_code(),
        ReasonCode::MalformedPacket
    );
    // MQTT-1.5.4-3: U+FEFF is kept.
    assert_eq!(
        accept(b"\x30\x07\x00\x04\xEF\xBB\xBFa\x00", V5).topic,
        "\u{FEFF}a"
    );
}

#[test]
fn empty_payload_and_empty_levels_are_valid() {
    for topic in [
        &b"\x00\x01/"[..],
        b"\x00\x02//",
        b"\x00\x02/a",
        b"\x00\x02a/",
        b"\x00\x05$SYSx",
        b"\x00\x01 ",
    ] {
        assert_eq!(accept(&raw(0x31, &[topic]), V311).payload, b"");
        assert_eq!(accept(&raw(0x31, &[topic, b"\x00"]), V5).payload, b"");
    }
}

#[test]
fn longest_topic_is_valid_and_levels_are_limited() {
    let long = [b"\xFF\xFF".to_vec(), vec![b'a'; 65_535], vec![0]].concat();
    assert_eq!(accept(&raw(0x30, &[&long]), V5).topic.len(), 65_535);
    let most = crate::topic::TOPIC_LEVELS_MAX - 1;
    let levels = |slashes: usize| {
        let len = u16::try_from(slashes).unwrap().to_be_bytes();
        raw(0x30, &[&len[..], &vec![b'/'; slashes], b"\x00"])
    };
    accept(&levels(most), V5);
    refuse(&levels(most + 1), V5, Violation::TopicName);
}

#[test]
fn packet_that_ends_in_its_head_is_refused_at_once() {
    for (body, version) in [
        (&b""[..], V311),
        (b"\x00", V311),
        (b"\x00\x02t", V311),
        (b"\x00\x01t", V5),
        (b"", V5),
        (b"\x00\x00", V5),
    ] {
        refuse(&raw(0x30, &[body]), version, Violation::FieldBeyondPacket);
    }
    for (body, version) in [
        (&b"\x00\x01t"[..], V311),
        (b"\x00\x01t\x00", V311),
        (b"\x00\x01t\x00\x01", V5),
    ] {
        refuse(&raw(0x32, &[body]), version, Violation::FieldBeyondPacket);
    }
    refuse(b"\x30\x05\x00\x01t\x02\x01", V5, Violation::PropertyLength);
}

#[test]
fn subscription_identifier_is_for_the_server_to_send() {
    let input = b"\x30\x06\x00\x01t\x02\x0B\x01";
    let violation = Violation::PropertyForbidden(PropertyId::SubscriptionIdentifier);
    refuse(input, V5, violation);
    assert_eq!(violation.reason_code(), ReasonCode::ProtocolError);
    packet(input, V5, Sender::Server);
    packet(
        b"\x30\x09\x00\x01t\x05\x0B\x01\x0B\xFF\x7F",
        V5,
        Sender::Server,
    );
    let zero = violation_of(b"\x30\x06\x00\x01t\x02\x0B\x00", V5, Sender::Server);
    assert_eq!(
        zero,
        Violation::PropertyValue(PropertyId::SubscriptionIdentifier)
    );
}

#[test]
fn values_of_publish_properties_are_checked() {
    use PropertyId as Id;
    for (properties, violation) in [
        (
            &b"\x02\x01\x02"[..],
            Violation::PropertyValue(Id::PayloadFormatIndicator),
        ),
        (
            b"\x02\x01\xFF",
            Violation::PropertyValue(Id::PayloadFormatIndicator),
        ),
        (
            b"\x04\x08\x00\x01#",
            Violation::PropertyValue(Id::ResponseTopic),
        ),
        (
            b"\x04\x08\x00\x01+",
            Violation::PropertyValue(Id::ResponseTopic),
        ),
        (
            b"\x03\x08\x00\x00",
            Violation::PropertyValue(Id::ResponseTopic),
        ),
        (b"\x04\x08\x00\x01\x00", Violation::NulInText),
        (b"\x04\x03\x00\x01\xFF", Violation::NotUtf8),
        (b"\x06\x26\x00\x01\xFF\x00\x00", Violation::NotUtf8),
        (b"\x06\x26\x00\x00\x00\x01\x00", Violation::NulInText),
    ] {
        refuse(&raw(0x30, &[b"\x00\x01t", properties]), V5, violation);
    }
    for properties in [
        &b"\x02\x01\x00"[..],
        b"\x02\x01\x01",
        b"\x05\x02\x00\x00\x00\x00",
        b"\x05\x02\xFF\xFF\xFF\xFF",
        b"\x03\x03\x00\x00",
        b"\x03\x09\x00\x00",
        b"\x05\x09\x00\x02\x00\xFF",
        b"\x05\x26\x00\x00\x00\x00",
        b"\x0A\x26\x00\x00\x00\x00\x26\x00\x00\x00\x00",
    ] {
        accept(&raw(0x30, &[b"\x00\x01t", properties]), V5);
    }
}

#[test]
fn property_length_must_fit() {
    // Longer than the packet, cutting a property, or too long a number.
    refuse(
        &raw(0x30, &[b"\x00\x01t\x03\x01\x00"]),
        V5,
        Violation::PropertyLength,
    );
    refuse(
        &raw(0x30, &[b"\x00\x01t\x01\x01\x00"]),
        V5,
        Violation::PropertyLength,
    );
    refuse(
        &raw(0x30, &[b"\x00\x01t\x03\x02\x00\x00\x00\x00"]),
        V5,
        Violation::PropertyLength,
    );
    refuse(
        &raw(0x30, &[b"\x00\x01t\xFF\xFF\xFF\xFF\x01"]),
        V5,
        Violation::VariableByteInteger,
    );
    refuse(
        &raw(0x30, &[b"\x00\x01t\x82\x00\x01\x00"]),
        V5,
        Violation::VariableByteInteger,
    );
    refuse(
        &raw(0x30, &[b"\x00\x01t\x80"]),
        V5,
        Violation::FieldBeyondPacket,
    );
    assert_eq!(
        Violation::PropertyLength.reason_code(),
        ReasonCode::MalformedPacket
    );
}

#[test]
fn large_payload_is_handed_out_before_it_arrives() {
    let payload_len = STREAM_PAYLOAD_MIN + 1;
    let whole = raw(
        0x32,
        &[b"\x00\x01t\x00\x07\x02\x01\x01", &vec![b'x'; payload_len]],
    );
    let head_end = whole.len() - payload_len;
    for len in 0..head_end {
        assert_eq!(
            decode(&whole[..len], V5, Limits::default()),
            Ok(Decoded::Incomplete),
            "{len}"
        );
    }
    for len in [head_end, head_end + 1, whole.len() - 1] {
        let Ok(Decoded::PublishHead {
            head,
            payload_len: told,
            consumed,
        }) = decode(&whole[..len], V5, Limits::default())
        else {
            panic!("no head at {len} bytes")
        };
        assert_eq!((told, consumed), (payload_len, head_end));
        assert_eq!(
            (head.topic, head.payload, head.packet_id),
            ("t", &b""[..], PacketId::new(7))
        );
        assert_eq!(head.properties.iter().count(), 1);
    }
    assert_eq!(accept(&whole, V5).payload.len(), payload_len);
}

#[test]
fn payload_at_the_streaming_limit_is_waited_for() {
    let whole = raw(0x30, &[b"\x00\x01t", &vec![b'x'; STREAM_PAYLOAD_MIN]]);
    assert_eq!(
        decode(&whole[..whole.len() - 1], V311, Limits::default()),
        Ok(Decoded::Incomplete)
    );
    assert_eq!(accept(&whole, V311).payload.len(), STREAM_PAYLOAD_MIN);
}

#[test]
fn damage_in_the_head_of_a_large_packet_is_refused_before_the_payload_arrives() {
    let refuse_early = |body: &[u8], version, violation| {
        let mut input = vec![0x32, 0x80, 0x80, 0x20];
        input.extend_from_slice(body);
        refuse(&input, version, violation);
    };
    refuse_early(b"\x00\x01+\x00\x07", V311, Violation::TopicName);
    refuse_early(b"\x00\x01t\x00\x00", V311, Violation::PacketIdZero);
    refuse_early(
        b"\x00\x01t\x00\x01\x02\x01\x02",
        V5,
        Violation::PropertyValue(PropertyId::PayloadFormatIndicator),
    );
    refuse_early(
        b"\x00\x01t\x00\x01\xFF\xFF\xFF\x7F",
        V5,
        Violation::FieldBeyondPacket,
    );
    refuse_early(
        b"\x00\x01t\x00\x01\xFF\xFF\xFF\xFF",
        V5,
        Violation::VariableByteInteger,
    );
}

fn outgoing(topic: TopicText<'_>) -> OutgoingPublish<'_> {
    OutgoingPublish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic,
        packet_id: None,
        topic_alias: None,
        message_expiry_s: None,
        subscription_ids: &[],
        properties: Properties::EMPTY,
    }
}

#[test]
fn outgoing_publish_has_every_property_once() {
    let mut user = PropertyBuf::new();
    user.push(Property::UserProperty("a", "b")).unwrap();
    let head = OutgoingPublish {
        dup: true,
        qos: QoS::ExactlyOnce,
        retain: true,
        packet_id: PacketId::new(9),
        topic_alias: NonZeroU16::new(2),
        message_expiry_s: Some(60),
        subscription_ids: &[1, 300],
        properties: user.as_properties(),
        ..outgoing(TopicText::Topic(b"a/b"))
    };
    for payload_len in [0, 5, 200, 20_000, 3_000_000] {
        let payload = vec![b'p'; payload_len];
        let (mut whole, mut split) = (Vec::new(), Vec::new());
        publish(&mut whole, ProtocolVersion::V5, &head, &payload).unwrap();
        publish_head(&mut split, ProtocolVersion::V5, &head, payload_len).unwrap();
        assert_eq!(
            publish_len(&head, ProtocolVersion::V5, payload_len).unwrap(),
            whole.len()
        );
        split.extend_from_slice(&payload);
        assert!(split == whole);
        let Packet::Publish(decoded) = packet(&whole, V5, Sender::Server) else {
            panic!()
        };
        assert_eq!(
            (decoded.dup, decoded.qos, decoded.retain),
            (true, QoS::ExactlyOnce, true)
        );
        assert_eq!(
            (decoded.topic, decoded.packet_id),
            ("a/b", PacketId::new(9))
        );
        let expected = [
            Property::TopicAlias(NonZeroU16::new(2).unwrap()),
            Property::MessageExpiryInterval(60),
            Property::SubscriptionIdentifier(1),
            Property::SubscriptionIdentifier(300),
            Property::UserProperty("a", "b"),
        ];
        assert_eq!(decoded.properties.iter().collect::<Vec<_>>(), expected);
        assert_eq!(decoded.payload, payload);
    }
}

#[test]
fn mqtt_3_publish_has_no_properties() {
    let mut out = Vec::new();
    let head = OutgoingPublish {
        message_expiry_s: Some(60),
        ..outgoing(TopicText::Dotted(b"a.b"))
    };
    publish(&mut out, ProtocolVersion::V311, &head, b"x").unwrap();
    assert_eq!(out, b"\x30\x06\x00\x03a/bx");
    assert_eq!(publish_len(&head, ProtocolVersion::V311, 1), Ok(out.len()));
}

#[test]
fn what_the_format_cannot_say_is_not_written() {
    let long = vec![b'a'; 65_536];
    let mut out = Vec::new();
    let version = ProtocolVersion::V311;
    let error = publish(&mut out, version, &outgoing(TopicText::Topic(&long)), b"");
    assert_eq!(error, Err(EncodeError::FieldTooLong));
    let without_id = OutgoingPublish {
        qos: QoS::AtLeastOnce,
        ..outgoing(TopicText::Topic(b"t"))
    };
    assert_eq!(
        publish(&mut out, version, &without_id, b""),
        Err(EncodeError::PacketId)
    );
    let head = outgoing(TopicText::Topic(b"t"));
    let most = VARIABLE_BYTE_INTEGER_MAX as usize - 3;
    assert_eq!(
        publish_len(&head, version, most),
        Ok(PACKET_BYTES_MAX as usize)
    );
    assert_eq!(
        publish_head(&mut out, version, &head, most + 1),
        Err(EncodeError::PacketTooLong)
    );
    assert!(out.is_empty());
}
