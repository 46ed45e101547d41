//! Fixed headers, and all packets but CONNECT and PUBLISH, on raw bytes.

use super::*;
use crate::frame::{RetainHandling, SubscribeOptions};
use crate::topic::TopicFilterError;

const V31: Option<ProtocolVersion> = Some(ProtocolVersion::V31);
const V311: Option<ProtocolVersion> = Some(ProtocolVersion::V311);

fn refuse(input: &[u8], version: Option<ProtocolVersion>, violation: Violation) {
    assert_eq!(
        violation_of(input, version, Sender::Client),
        violation,
        "{input:02x?}"
    );
}

fn accept(input: &[u8], version: Option<ProtocolVersion>) -> Packet<'_> {
    packet(input, version, Sender::Client)
}

#[test]
fn packet_type_0_is_refused() {
    for first in 0..16 {
        for version in [None, V31, V311, V5] {
            refuse(&[first], version, Violation::PacketTypeReserved(0));
        }
    }
    assert_eq!(
        Violation::PacketTypeReserved(0).reason_code(),
        ReasonCode::MalformedPacket
    );
}

#[test]
fn auth_does_not_exist_before_mqtt_5() {
    refuse(b"\xF0\x00", V311, Violation::PacketTypeReserved(15));
    refuse(b"\xF0\x00", V31, Violation::PacketTypeReserved(15));
}

#[test]
fn packets_of_the_server_are_refused_from_a_client() {
    for (first, packet) in [
        (0x20, PacketType::ConnAck),
        (0x90, PacketType::SubAck),
        (0xB0, PacketType::UnsubAck),
        (0xD0, PacketType::PingResp),
    ] {
        for version in [V31, V311, V5] {
            refuse(&[first, 0], version, Violation::UnexpectedPacket(packet));
            refuse(
                &[first, 4, 0, 1, 0, 0],
                version,
                Violation::UnexpectedPacket(packet),
            );
            for flags in 1..16 {
                refuse(
                    &[first | flags, 0],
                    version,
                    Violation::HeaderFlags { packet, flags },
                );
            }
        }
    }
    let violation = Violation::UnexpectedPacket(PacketType::SubAck);
    assert_eq!(violation.reason_code(), ReasonCode::ProtocolError);
}

#[test]
fn packets_of_the_client_are_refused_from_a_server() {
    for first in [0x10, 0x82, 0xA2, 0xC0] {
        let violation = violation_of(&[first, 0], V5, Sender::Server);
        assert!(
            matches!(violation, Violation::UnexpectedPacket(_)),
            "{first:#x}"
        );
    }
}

#[test]
fn reserved_header_flags_are_refused() {
    for (kind, needed) in [
        (4, 0),
        (5, 0),
        (6, 2),
        (7, 0),
        (8, 2),
        (10, 2),
        (12, 0),
        (14, 0),
        (15, 0),
    ] {
        let packet = PacketType::from_u8(kind).unwrap();
        for flags in (0..16).filter(|flags| *flags != needed) {
            refuse(
                &[kind << 4 | flags, 0],
                V5,
                Violation::HeaderFlags { packet, flags },
            );
            if packet != PacketType::Auth {
                refuse(
                    &[kind << 4 | flags, 0],
                    V311,
                    Violation::HeaderFlags { packet, flags },
                );
            }
        }
    }
    let violation = Violation::HeaderFlags {
        packet: PacketType::PubRel,
        flags: 0,
    };
    assert_eq!(violation.reason_code(), ReasonCode::MalformedPacket);
}

#[test]
fn mqtt_3_1_repeats_with_dup() {
    accept(b"\x6A\x02\x00\x01", V31);
    accept(b"\x8A\x06\x00\x01\x00\x01a\x00", V31);
    accept(b"\xAA\x05\x00\x01\x00\x01a", V31);
    for first in [0x60, 0x6E, 0x80, 0x83, 0xA0, 0x4A] {
        let violation = violation_of(&[first, 2, 0, 1], V31, Sender::Client);
        assert!(
            matches!(violation, Violation::HeaderFlags { .. }),
            "{first:#x}"
        );
    }
}

#[test]
fn fifth_byte_of_a_remaining_length_is_not_waited_for() {
    for first in [0x10, 0x30] {
        let version = if first == 0x10 { None } else { V311 };
        refuse(
            &[first, 0x80, 0x80, 0x80, 0x80],
            version,
            Violation::VariableByteInteger,
        );
        refuse(
            &[first, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
            version,
            Violation::VariableByteInteger,
        );
        assert_eq!(
            decode(&[first, 0xFF, 0xFF, 0xFF], version, Limits::default()),
            Ok(Decoded::Incomplete)
        );
    }
}

#[test]
fn remaining_length_is_in_its_shortest_form_in_mqtt_5() {
    refuse(b"\xC0\x80\x00", V5, Violation::VariableByteInteger);
    refuse(
        b"\x30\x84\x00\x00\x01t\x00",
        V5,
        Violation::VariableByteInteger,
    );
    accept(b"\xC0\x80\x00", V311);
    let connect = b"\x10\x8E\x00\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01c";
    refuse(connect, None, Violation::VariableByteInteger);
    accept(b"\x10\x8D\x00\x00\x04MQTT\x04\x02\x00\x00\x00\x01c", None);
}

#[test]
fn size_is_judged_from_the_remaining_length() {
    let limits = Limits {
        packet_max: 130,
        sender: Sender::Client,
    };
    // Two bytes of fixed header and 127, three and 127.
    assert_eq!(decode(b"\x30\x7F", V5, limits), Ok(Decoded::Incomplete));
    assert_eq!(
        decode(
            b"\x30\x80\x01",
            V5,
            Limits {
                packet_max: 131,
                ..limits
            }
        ),
        Ok(Decoded::Incomplete)
    );
    let error = decode(b"\x30\x80\x01", V5, limits).unwrap_err();
    assert_eq!(
        error.violation,
        Violation::PacketTooLarge {
            size: 131,
            max: 130
        }
    );
    assert_eq!(error.reason_code(), ReasonCode::PacketTooLarge);
    let error = decode(b"\x10\xFF\xFF\xFF\x7F", None, limits).unwrap_err();
    assert_eq!(
        error.violation,
        Violation::PacketTooLarge {
            size: PACKET_BYTES_MAX,
            max: 130
        }
    );
    assert_eq!(
        decode(b"\x10\xFF\xFF\xFF\x7F", None, Limits::default()),
        Ok(Decoded::Incomplete)
    );
}

#[test]
fn acknowledgement_has_an_identifier_that_is_not_0() {
    for first in [0x40, 0x50, 0x62, 0x70] {
        for version in [V31, V311, V5] {
            refuse(&[first, 0], version, Violation::FieldBeyondPacket);
            refuse(&[first, 1, 0], version, Violation::FieldBeyondPacket);
            refuse(&[first, 2, 0, 0], version, Violation::PacketIdZero);
            accept(&[first, 2, 0xFF, 0xFF], version);
        }
        refuse(&[first, 3, 0, 1, 0], V311, Violation::TrailingBytes);
        refuse(&[first, 3, 0, 1, 0], V31, Violation::TrailingBytes);
    }
}

#[test]
fn acknowledgement_may_leave_out_its_end_in_mqtt_5() {
    for first in [0x40, 0x50, 0x62, 0x70] {
        accept(&[first, 2, 0, 1], V5);
        accept(&[first, 3, 0, 1, 0], V5);
        accept(&[first, 4, 0, 1, 0, 0], V5);
        accept(&[first, 8, 0, 1, 0, 4, 0x1F, 0, 1, b'r'], V5);
        accept(&[first, 9, 0, 1, 0, 5, 0x26, 0, 0, 0, 0], V5);
        refuse(&[first, 5, 0, 1, 0, 0, 0], V5, Violation::TrailingBytes);
        refuse(&[first, 4, 0, 1, 0, 1], V5, Violation::PropertyLength);
        refuse(&[first, 4, 0, 1, 0, 0x80], V5, Violation::FieldBeyondPacket);
    }
}

#[test]
fn subscribe_has_an_identifier_and_filters() {
    let no_filter = Violation::NoTopicFilter;
    refuse(b"\x82\x02\x00\x01", V311, no_filter);
    refuse(b"\x82\x03\x00\x01\x00", V5, no_filter);
    refuse(b"\xA2\x02\x00\x01", V311, no_filter);
    refuse(b"\xA2\x03\x00\x01\x00", V5, no_filter);
    assert_eq!(no_filter.reason_code(), ReasonCode::ProtocolError);
    refuse(
        b"\x82\x06\x00\x00\x00\x01a\x00",
        V311,
        Violation::PacketIdZero,
    );
    refuse(
        b"\x82\x07\x00\x00\x00\x00\x01a\x00",
        V5,
        Violation::PacketIdZero,
    );
    refuse(b"\xA2\x05\x00\x00\x00\x01a", V311, Violation::PacketIdZero);
    refuse(
        b"\xA2\x06\x00\x00\x00\x00\x01a",
        V5,
        Violation::PacketIdZero,
    );
    for body in [&b""[..], b"\x00", b"\x00\x01"] {
        let v5_short = raw(0x82, &[body]);
        refuse(&v5_short, V5, Violation::FieldBeyondPacket);
        refuse(&raw(0xA2, &[body]), V5, Violation::FieldBeyondPacket);
    }
}

#[test]
fn subscribe_that_ends_in_a_filter_is_refused() {
    for body in [
        &b"\x00"[..],
        b"\x00\x01",
        b"\x00\x02a",
        b"\x00\x01a",
        b"\x00\x01a\x00\x00",
        b"\x00\x01a\x00\x00\x01b",
    ] {
        refuse(
            &raw(0x82, &[b"\x00\x01", body]),
            V311,
            Violation::FieldBeyondPacket,
        );
        refuse(
            &raw(0x82, &[b"\x00\x01\x00", body]),
            V5,
            Violation::FieldBeyondPacket,
        );
    }
    for body in [&b"\x00"[..], b"\x00\x01", b"\x00\x02a", b"\x00\x01a\x00"] {
        refuse(
            &raw(0xA2, &[b"\x00\x01", body]),
            V311,
            Violation::FieldBeyondPacket,
        );
        refuse(
            &raw(0xA2, &[b"\x00\x01\x00", body]),
            V5,
            Violation::FieldBeyondPacket,
        );
    }
}

#[test]
fn filter_that_is_empty_or_no_text_is_refused() {
    for (filter, violation) in [
        (&b"\x00\x00"[..], Violation::TopicFilterEmpty),
        (b"\x00\x01\x00", Violation::NulInText),
        (b"\x00\x01\xFF", Violation::NotUtf8),
        (b"\x00\x03\xED\xA0\x80", Violation::NotUtf8),
    ] {
        assert_eq!(violation.reason_code(), ReasonCode::MalformedPacket);
        refuse(&raw(0x82, &[b"\x00\x01", filter, b"\x00"]), V311, violation);
        refuse(
            &raw(0x82, &[b"\x00\x01\x00", filter, b"\x00"]),
            V5,
            violation,
        );
        refuse(&raw(0xA2, &[b"\x00\x01", filter]), V311, violation);
        refuse(&raw(0xA2, &[b"\x00\x01\x00", filter]), V5, violation);
        // The second one counts as well.
        refuse(
            &raw(0x82, &[b"\x00\x01\x00\x00\x01a\x00", filter, b"\x00"]),
            V5,
            violation,
        );
    }
}

#[test]
fn reserved_subscription_options_are_refused() {
    let v5 = |options: u8| raw(0x82, &[b"\x00\x01\x00\x00\x01a", &[options][..]]);
    let v3 = |options: u8| raw(0x82, &[b"\x00\x01\x00\x01a", &[options][..]]);
    for options in 0..=255 {
        let valid = options & 0xC0 == 0 && options & 0x30 != 0x30 && options & 3 != 3;
        if valid {
            accept(&v5(options), V5);
        } else {
            refuse(&v5(options), V5, Violation::SubscribeOptions(options));
        }
        for version in [V31, V311] {
            if options <= 2 {
                accept(&v3(options), version);
            } else {
                refuse(&v3(options), version, Violation::SubscribeOptions(options));
            }
        }
    }
    assert_eq!(
        Violation::SubscribeOptions(3).reason_code(),
        ReasonCode::MalformedPacket
    );
}

#[test]
fn no_local_on_a_shared_subscription_is_refused() {
    let subscribe = |options: u8| raw(0x82, &[b"\x00\x01\x00\x00\x0A$share/g/a", &[options][..]]);
    refuse(&subscribe(4), V5, Violation::NoLocalShared);
    refuse(&subscribe(6), V5, Violation::NoLocalShared);
    assert_eq!(
        Violation::NoLocalShared.reason_code(),
        ReasonCode::ProtocolError
    );
    accept(&subscribe(2), V5);
}

#[test]
fn filters_are_judged_one_by_one() {
    let input = raw(
        0x82,
        &[
            b"\x00\x09\x02\x0B\x07",
            b"\x00\x03a/#\x2D",
            b"\x00\x03#/a\x02",
            b"\x00\x0D$share/g/+/b/\x01",
        ],
    );
    let Packet::Subscribe(subscribe) = accept(&input, V5) else {
        panic!()
    };
    assert_eq!(
        (subscribe.packet_id.get(), subscribe.subscription_id),
        (9, Some(7))
    );
    assert_eq!(subscribe.filters.len(), 3);
    let filters: Vec<_> = subscribe.filters.iter().collect();
    assert_eq!(
        filters[0].options,
        SubscribeOptions {
            qos: QoS::AtLeastOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
        }
    );
    assert!(filters[0].parse().unwrap().has_wildcard());
    assert_eq!(
        filters[1].parse(),
        Err(TopicFilterError::MultiLevelWildcard)
    );
    assert_eq!(filters[2].parse().unwrap().share_name(), Some("g"));
    assert_eq!(filters[2].parse().unwrap().filter(), "+/b/");
}

#[test]
fn thousands_of_filters_are_read() {
    let mut payload = Vec::new();
    for number in 0..5000 {
        SubscribeFilters::push(
            &mut payload,
            &format!("f/{number}"),
            SubscribeOptions::default(),
        )
        .unwrap();
    }
    let input = raw(0x82, &[b"\x00\x01", &payload]);
    let Packet::Subscribe(subscribe) = accept(&input, V311) else {
        panic!()
    };
    assert_eq!(
        (subscribe.filters.len(), subscribe.filters.iter().count()),
        (5000, 5000)
    );
}

#[test]
fn subscription_identifier_is_one_and_not_0() {
    use PropertyId::SubscriptionIdentifier as Id;
    let with = |properties: &[u8]| raw(0x82, &[b"\x00\x01", properties, b"\x00\x01a\x00"]);
    refuse(&with(b"\x02\x0B\x00"), V5, Violation::PropertyValue(Id));
    refuse(
        &with(b"\x04\x0B\x01\x0B\x02"),
        V5,
        Violation::PropertyTwice(Id),
    );
    refuse(
        &with(b"\x06\x0B\xFF\xFF\xFF\xFF\x01"),
        V5,
        Violation::VariableByteInteger,
    );
    refuse(
        &with(b"\x03\x0B\x81\x00"),
        V5,
        Violation::VariableByteInteger,
    );
    refuse(&with(b"\x02\x0B\x81"), V5, Violation::PropertyLength);
    let input = with(b"\x05\x0B\xFF\xFF\xFF\x7F");
    let Packet::Subscribe(subscribe) = accept(&input, V5) else {
        panic!()
    };
    assert_eq!(subscribe.subscription_id, Some(VARIABLE_BYTE_INTEGER_MAX));
}

#[test]
fn ping_has_no_body() {
    for version in [V31, V311, V5] {
        accept(b"\xC0\x00", version);
        refuse(b"\xC0\x01", version, Violation::TrailingBytes);
        refuse(b"\xC0\x01\x00", version, Violation::TrailingBytes);
    }
}

#[test]
fn disconnect_has_no_body_before_mqtt_5() {
    for version in [V31, V311] {
        accept(b"\xE0\x00", version);
        refuse(b"\xE0\x01\x00", version, Violation::TrailingBytes);
        refuse(b"\xE0\x02\x00\x00", version, Violation::TrailingBytes);
    }
}

#[test]
fn disconnect_may_leave_out_its_end_in_mqtt_5() {
    for input in [
        &b"\xE0\x00"[..],
        b"\xE0\x01\x00",
        b"\xE0\x02\x00\x00",
        b"\xE0\x01\x04",
        b"\xE0\x07\x00\x05\x11\x00\x00\x00\x01",
    ] {
        accept(input, V5);
    }
    refuse(b"\xE0\x03\x00\x00\x00", V5, Violation::TrailingBytes);
    refuse(b"\xE0\x02\x00\x01", V5, Violation::PropertyLength);
}

#[test]
fn disconnect_of_a_client_has_nothing_of_the_server() {
    refuse(
        b"\xE0\x06\x00\x04\x1C\x00\x01s",
        V5,
        Violation::PropertyForbidden(PropertyId::ServerReference),
    );
    for reason in [
        0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1,
        0xA2,
    ] {
        refuse(&[0xE0, 1, reason], V5, Violation::ReasonCode(reason));
        packet(&[0xE0, 1, reason], V5, Sender::Server);
    }
    assert_eq!(
        violation_of(b"\xE0\x01\x04", V5, Sender::Server),
        Violation::ReasonCode(4)
    );
    let expiry = violation_of(b"\xE0\x07\x00\x05\x11\x00\x00\x00\x01", V5, Sender::Server);
    assert_eq!(
        expiry,
        Violation::PropertyForbidden(PropertyId::SessionExpiryInterval)
    );
}

#[test]
fn auth_of_a_client_goes_on_or_starts_again_with_a_method() {
    let with = |reason: u8, properties: &[u8]| raw(0xF0, &[&[reason][..], properties]);
    accept(&with(0x18, b"\x04\x15\x00\x01m"), V5);
    accept(&with(0x19, b"\x08\x15\x00\x01m\x16\x00\x01d"), V5);
    refuse(b"\xF0\x00", V5, Violation::ReasonCode(0));
    refuse(&with(0, b"\x04\x15\x00\x01m"), V5, Violation::ReasonCode(0));
    refuse(&with(0x18, b""), V5, Violation::FieldBeyondPacket);
    refuse(
        &with(0x18, b"\x00"),
        V5,
        Violation::AuthenticationMethodMissing,
    );
    refuse(
        &with(0x18, b"\x04\x16\x00\x01d"),
        V5,
        Violation::AuthenticationMethodMissing,
    );
    refuse(
        &with(0x18, b"\x04\x15\x00\x01m\x00"),
        V5,
        Violation::TrailingBytes,
    );
    assert_eq!(
        Violation::AuthenticationMethodMissing.reason_code(),
        ReasonCode::ProtocolError
    );
    packet(b"\xF0\x00", V5, Sender::Server);
    assert_eq!(
        violation_of(b"\xF0\x06\x19\x04\x15\x00\x01m", V5, Sender::Server),
        Violation::ReasonCode(0x19)
    );
}

#[test]
fn answers_to_subscriptions_are_checked() {
    let server = |input: &[u8], version| violation_of(input, version, Sender::Server);
    assert_eq!(
        server(b"\x90\x03\x00\x01\x03", V311),
        Violation::ReasonCode(3)
    );
    assert_eq!(
        server(b"\x90\x03\x00\x01\x87", V311),
        Violation::ReasonCode(0x87)
    );
    assert_eq!(
        server(b"\x90\x02\x00\x01", V311),
        Violation::FieldBeyondPacket
    );
    assert_eq!(
        server(b"\x90\x03\x00\x01\x00", V5),
        Violation::FieldBeyondPacket
    );
    assert_eq!(
        server(b"\xB0\x03\x00\x01\x00", V311),
        Violation::TrailingBytes
    );
    assert_eq!(
        server(b"\xB0\x03\x00\x01\x00", V5),
        Violation::FieldBeyondPacket
    );
    let Packet::SubAck(answer) = packet(b"\x90\x05\x00\x01\x00\x01\x80", V311, Sender::Server)
    else {
        panic!()
    };
    assert!(answer.reasons.iter().eq([
        ReasonCode::Success,
        ReasonCode::GrantedQos1,
        ReasonCode::UnspecifiedError
    ]));
}

#[test]
fn answers_to_subscriptions_are_written_by_version() {
    let id = PacketId::new(1).unwrap();
    let reasons = [ReasonCode::GrantedQos2, ReasonCode::TopicFilterInvalid];
    let mut out = Vec::new();
    suback(
        &mut out,
        ProtocolVersion::V311,
        id,
        &reasons,
        Properties::EMPTY,
    )
    .unwrap();
    suback(
        &mut out,
        ProtocolVersion::V5,
        id,
        &reasons,
        Properties::EMPTY,
    )
    .unwrap();
    unsuback(
        &mut out,
        ProtocolVersion::V311,
        id,
        &[ReasonCode::Success],
        Properties::EMPTY,
    )
    .unwrap();
    unsuback(
        &mut out,
        ProtocolVersion::V5,
        id,
        &[ReasonCode::NoSubscriptionExisted],
        Properties::EMPTY,
    )
    .unwrap();
    pingresp(&mut out);
    let expected = b"\x90\x04\x00\x01\x02\x80\x90\x05\x00\x01\x00\x02\x8F\xB0\x02\x00\x01\xB0\x04\x00\x01\x00\x11\xD0\x00";
    assert_eq!(out, expected);
}
