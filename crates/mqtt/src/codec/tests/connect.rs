//! CONNECT and CONNACK on raw bytes.

use super::*;
use crate::frame::Will;

/// A CONNECT of MQTT 5 without properties: flags, keep alive 60, then `payload` from the client identifier on.
fn v5(flags: u8, payload: &[u8]) -> Vec<u8> {
    raw(
        0x10,
        &[b"\x00\x04MQTT\x05", &[flags][..], b"\x00\x3C\x00", payload],
    )
}

fn v311(flags: u8, payload: &[u8]) -> Vec<u8> {
    raw(
        0x10,
        &[b"\x00\x04MQTT\x04", &[flags][..], b"\x00\x3C", payload],
    )
}

fn v31(flags: u8, payload: &[u8]) -> Vec<u8> {
    raw(
        0x10,
        &[b"\x00\x06MQIsdp\x03", &[flags][..], b"\x00\x3C", payload],
    )
}

fn accept(input: &[u8]) -> Connect<'_> {
    match packet(input, None, Sender::Client) {
        Packet::Connect(connect) => connect,
        other => panic!("{other:?}"),
    }
}

fn refuse(input: &[u8], violation: Violation) {
    assert_eq!(
        violation_of(input, None, Sender::Client),
        violation,
        "{input:02x?}"
    );
}

const ID: &[u8] = b"\x00\x01c";

#[test]
fn first_packet_must_be_connect() {
    for first in [
        0x20, 0x30, 0x40, 0x50, 0x62, 0x70, 0x82, 0x90, 0xA2, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0,
    ] {
        let violation = violation_of(&[first, 0], None, Sender::Client);
        assert!(
            matches!(violation, Violation::ConnectExpected(_)),
            "{first:#x}: {violation:?}"
        );
    }
}

#[test]
fn second_connect_is_a_protocol_error() {
    for (version, connect) in [
        (ProtocolVersion::V5, v5(2, ID)),
        (ProtocolVersion::V311, v311(2, ID)),
    ] {
        let violation = violation_of(&connect, Some(version), Sender::Client);
        assert_eq!(violation, Violation::UnexpectedPacket(PacketType::Connect));
        assert_eq!(violation.reason_code(), ReasonCode::ProtocolError);
    }
}

#[test]
fn each_version_has_its_name_and_level() {
    assert_eq!(accept(&v31(2, ID)).version, ProtocolVersion::V31);
    assert_eq!(accept(&v311(2, ID)).version, ProtocolVersion::V311);
    assert_eq!(accept(&v5(2, ID)).version, ProtocolVersion::V5);
}

#[test]
fn unknown_protocol_name_is_refused() {
    for name in [
        &b"\x00\x04MQTt"[..],
        b"\x00\x04mqtt",
        b"\x00\x00",
        b"\x00\x05MQTT5",
        b"\x00\x06MQISDP",
    ] {
        let input = raw(0x10, &[name, b"\x04\x02\x00\x3C\x00\x01c"]);
        refuse(&input, Violation::ProtocolName);
    }
    assert_eq!(
        Violation::ProtocolName.reason_code(),
        ReasonCode::UnsupportedProtocolVersion
    );
}

#[test]
fn unknown_protocol_level_is_refused() {
    for level in [0, 1, 2, 3, 6, 0x83, 0x84, 0x85, 0xFF] {
        let input = raw(
            0x10,
            &[b"\x00\x04MQTT", &[level][..], b"\x02\x00\x3C\x00\x01c"],
        );
        refuse(&input, Violation::ProtocolLevel(level));
    }
    for level in [0, 2, 4, 5] {
        let input = raw(
            0x10,
            &[b"\x00\x06MQIsdp", &[level][..], b"\x02\x00\x3C\x00\x01c"],
        );
        refuse(&input, Violation::ProtocolLevel(level));
    }
    assert_eq!(
        Violation::ProtocolLevel(9).reason_code(),
        ReasonCode::UnsupportedProtocolVersion
    );
}

#[test]
fn header_flags_of_connect_must_be_zero_from_mqtt_3_1_1_on() {
    for flags in 1..16 {
        for mut input in [v311(2, ID), v5(2, ID)] {
            input[0] |= flags;
            refuse(
                &input,
                Violation::HeaderFlags {
                    packet: PacketType::Connect,
                    flags,
                },
            );
        }
        let mut input = v31(2, ID);
        input[0] |= flags;
        assert_eq!(accept(&input).client_id, "c");
    }
}

#[test]
fn reserved_connect_flag_is_refused_from_mqtt_3_1_1_on() {
    for input in [v311(3, ID), v5(3, ID)] {
        refuse(&input, Violation::ConnectFlags(3));
    }
    // MQTT 3.1 §3.1 does not use the bit.
    assert!(accept(&v31(3, ID)).clean_start);
    assert!(!accept(&v31(1, ID)).clean_start);
}

#[test]
fn will_qos_or_retain_without_a_will_is_refused() {
    for flags in [0x0A, 0x12, 0x1A, 0x22, 0x3A] {
        for input in [v31(flags, ID), v311(flags, ID), v5(flags, ID)] {
            refuse(&input, Violation::ConnectFlags(flags));
        }
    }
}

#[test]
fn will_qos_3_is_refused() {
    refuse(
        &v311(0x1E, b"\x00\x01c\x00\x01t\x00\x01p"),
        Violation::ConnectFlags(0x1E),
    );
    refuse(
        &v5(0x1E, b"\x00\x01c\x00\x00\x01t\x00\x01p"),
        Violation::ConnectFlags(0x1E),
    );
}

#[test]
fn will_must_have_topic_and_payload() {
    for payload in [
        &b"\x00\x01c"[..],
        b"\x00\x01c\x00",
        b"\x00\x01c\x00\x01",
        b"\x00\x01c\x00\x01t",
        b"\x00\x01c\x00\x01t\x00",
    ] {
        refuse(&v311(6, payload), Violation::FieldBeyondPacket);
    }
    for payload in [
        &b"\x00\x01c"[..],
        b"\x00\x01c\x00",
        b"\x00\x01c\x00\x00\x01t",
        b"\x00\x01c\x00\x00\x01t\x00\x05p",
    ] {
        refuse(&v5(6, payload), Violation::FieldBeyondPacket);
    }
}

#[test]
fn will_topic_is_a_topic_name() {
    for topic in [&b"\x00\x00"[..], b"\x00\x01+", b"\x00\x01#", b"\x00\x03a/#"] {
        let payload = [ID, topic, b"\x00\x01p"].concat();
        refuse(&v311(6, &payload), Violation::TopicName);
        let payload = [ID, b"\x00", topic, b"\x00\x01p"].concat();
        refuse(&v5(6, &payload), Violation::TopicName);
    }
    assert_eq!(
        Violation::TopicName.reason_code(),
        ReasonCode::TopicNameInvalid
    );
    refuse(
        &v5(6, b"\x00\x01c\x00\x00\x01\x00\x00\x01p"),
        Violation::NulInText,
    );
}

#[test]
fn empty_will_payload_is_valid() {
    let input = v5(0x2E, b"\x00\x01c\x00\x00\x01t\x00\x00");
    let will = Will {
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: "t",
        payload: b"",
        properties: Properties::EMPTY,
    };
    assert_eq!(accept(&input).will, Some(will));
}

#[test]
fn user_name_and_password_follow_their_flags() {
    refuse(&v311(0x82, ID), Violation::FieldBeyondPacket);
    refuse(&v5(0x82, ID), Violation::FieldBeyondPacket);
    refuse(&v5(0x42, ID), Violation::FieldBeyondPacket);
    refuse(
        &v311(0xC2, b"\x00\x01c\x00\x01u"),
        Violation::FieldBeyondPacket,
    );
    refuse(&v311(2, b"\x00\x01c\x00\x01u"), Violation::TrailingBytes);
    refuse(&v5(2, b"\x00\x01c\x00\x01u"), Violation::TrailingBytes);
    refuse(
        &v311(0x82, b"\x00\x01c\x00\x01u\x00\x01p"),
        Violation::TrailingBytes,
    );
}

#[test]
fn password_without_user_name_is_for_mqtt_5_only() {
    refuse(
        &v31(0x42, b"\x00\x01c\x00\x01p"),
        Violation::ConnectFlags(0x42),
    );
    refuse(
        &v311(0x42, b"\x00\x01c\x00\x01p"),
        Violation::ConnectFlags(0x42),
    );
    let input = v5(0x42, b"\x00\x01c\x00\x01p");
    let connect = accept(&input);
    assert_eq!(
        (connect.user_name, connect.password),
        (None, Some(&b"p"[..]))
    );
}

#[test]
fn password_is_any_bytes_and_empty_user_name_is_a_name() {
    let input = v311(0xC2, b"\x00\x01c\x00\x00\x00\x03\x00\xFF\xC0");
    let connect = accept(&input);
    assert_eq!(
        (connect.user_name, connect.password),
        (Some(""), Some(&b"\x00\xFF\xC0"[..]))
    );
    let input = v5(0x42, b"\x00\x01c\x00\x00");
    assert_eq!(accept(&input).password, Some(&b""[..]));
}

#[test]
fn user_name_may_be_missing_behind_its_flag_in_mqtt_3_1() {
    let input = v31(0xC2, ID);
    let connect = accept(&input);
    assert_eq!((connect.user_name, connect.password), (None, None));
    refuse(&v31(0xC2, b"\x00\x01c\x00"), Violation::FieldBeyondPacket);
}

#[test]
fn user_name_is_text() {
    for name in [
        &b"\x00\x01\xFF"[..],
        b"\x00\x02\xC0\x80",
        b"\x00\x03\xED\xA0\x80",
    ] {
        refuse(&v5(0x82, &[ID, name].concat()), Violation::NotUtf8);
    }
    refuse(&v5(0x82, b"\x00\x01c\x00\x01\x00"), Violation::NulInText);
}

#[test]
fn bytes_behind_the_last_field_are_refused() {
    for input in [
        v31(2, b"\x00\x01c\x00"),
        v311(2, b"\x00\x01c\x00"),
        v5(2, b"\x00\x01c\x00"),
    ] {
        refuse(&input, Violation::TrailingBytes);
    }
}

#[test]
fn client_identifier_is_clean_text() {
    refuse(&v5(2, b"\x00\x01\x00"), Violation::NulInText);
    refuse(&v5(2, b"\x00\x03\xED\xA0\x80"), Violation::NotUtf8);
    for id in [
        &b"\x00\x01\x01"[..],
        b"\x00\x01\x1F",
        b"\x00\x01\x7F",
        b"\x00\x02\xC2\x80",
        b"\x00\x02\xC2\x9F",
    ] {
        refuse(&v5(2, id), Violation::ClientIdentifier);
        refuse(&v311(2, id), Violation::ClientIdentifier);
    }
    assert_eq!(
        Violation::ClientIdentifier.reason_code(),
        ReasonCode::ClientIdentifierNotValid
    );
    let long = "x".repeat(65_535);
    let input = v5(2, &[b"\xFF\xFF", long.as_bytes()].concat());
    assert_eq!(accept(&input).client_id, long);
    let input = v311(2, b"\x00\x04\xF0\x9F\x98\x80");
    assert_eq!(accept(&input).client_id, "😀");
}

#[test]
fn empty_client_identifier_is_refused_by_mqtt_3_1_and_needs_a_clean_session_in_3_1_1() {
    refuse(&v311(0, b"\x00\x00"), Violation::ClientIdentifier);
    refuse(&v31(0, b"\x00\x00"), Violation::ClientIdentifier);
    refuse(&v31(2, b"\x00\x00"), Violation::ClientIdentifier);
    for input in [v311(2, b"\x00\x00"), v5(2, b"\x00\x00"), v5(0, b"\x00\x00")] {
        assert_eq!(accept(&input).client_id, "");
    }
}

#[test]
fn connect_that_ends_early_is_refused() {
    for full in [
        v31(0xC6, b"\x00\x01c\x00\x01t\x00\x01p\x00\x01u\x00\x01p"),
        v311(0xC6, b"\x00\x01c\x00\x01t\x00\x01p\x00\x01u\x00\x01p"),
        v5(0xC6, b"\x00\x01c\x00\x00\x01t\x00\x01p\x00\x01u\x00\x01p"),
    ] {
        accept(&full);
        for len in 2..full.len() {
            let mut short = full[..len].to_vec();
            short[1] = u8::try_from(len - 2).unwrap();
            let decoded = decode(&short, None, Limits::default());
            let absent =
                full[2..8] == *b"\x00\x06MQIs" && (len == full.len() - 3 || len == full.len() - 6);
            assert_eq!(decoded.is_err(), !absent, "{short:02x?}");
        }
    }
}

#[test]
fn version_is_told_with_the_violation_once_known() {
    let version = |input: &[u8]| decode(input, None, Limits::default()).unwrap_err().version;
    assert_eq!(version(&v5(3, ID)), Some(ProtocolVersion::V5));
    assert_eq!(version(&v311(3, ID)), Some(ProtocolVersion::V311));
    assert_eq!(version(b"\x10\x07\x00\x04MQTT\x07"), None);
}

#[test]
fn values_of_connect_properties_are_checked() {
    use PropertyId as Id;
    let with = |properties: &[u8]| {
        let len = [u8::try_from(properties.len()).unwrap()];
        raw(
            0x10,
            &[b"\x00\x04MQTT\x05\x02\x00\x3C", &len[..], properties, ID],
        )
    };
    for (properties, id) in [
        (&b"\x21\x00\x00"[..], Id::ReceiveMaximum),
        (b"\x27\x00\x00\x00\x00", Id::MaximumPacketSize),
        (b"\x17\x02", Id::RequestProblemInformation),
        (b"\x19\x02", Id::RequestResponseInformation),
        (b"\x19\xFF", Id::RequestResponseInformation),
    ] {
        refuse(&with(properties), Violation::PropertyValue(id));
    }
    assert_eq!(
        Violation::PropertyValue(Id::ReceiveMaximum).reason_code(),
        ReasonCode::ProtocolError
    );
    refuse(
        &with(b"\x16\x00\x01d"),
        Violation::AuthenticationMethodMissing,
    );
    accept(&with(b"\x16\x00\x01d\x15\x00\x01m"));
    accept(&with(b"\x26\x00\x00\x00\x00\x26\x00\x00\x00\x00"));
}

#[test]
fn connack_of_a_server_is_checked() {
    let server = |input: &[u8], version| {
        decode(
            input,
            Some(version),
            Limits {
                sender: Sender::Server,
                ..Limits::default()
            },
        )
        .map(|_| ())
    };
    for input in [
        &b"\x20\x02\x02\x00"[..],
        b"\x20\x02\x01\x05",
        b"\x20\x02\x00\x06",
        b"\x20\x03\x00\x00\x00",
        b"\x20\x01\x00",
    ] {
        assert!(
            server(input, ProtocolVersion::V311).is_err(),
            "{input:02x?}"
        );
    }
    for input in [
        &b"\x20\x03\x02\x00\x00"[..],
        b"\x20\x03\x01\x80\x00",
        b"\x20\x03\x00\x01\x00",
        b"\x20\x02\x00\x00",
        b"\x20\x04\x00\x00\x00\x00",
    ] {
        assert!(server(input, ProtocolVersion::V5).is_err(), "{input:02x?}");
    }
    assert!(server(b"\x20\x02\x01\x00", ProtocolVersion::V311).is_ok());
    assert!(server(b"\x20\x03\x00\x9F\x00", ProtocolVersion::V5).is_ok());
}

#[test]
fn connack_speaks_return_codes_to_mqtt_3() {
    let written = |version, reason| {
        let mut out = Vec::new();
        let ack = ConnAck {
            session_present: false,
            reason,
            properties: Properties::EMPTY,
        };
        connack(&mut out, version, &ack).map(|()| out)
    };
    for (reason, code) in [
        (ReasonCode::Success, 0),
        (ReasonCode::UnsupportedProtocolVersion, 1),
        (ReasonCode::ClientIdentifierNotValid, 2),
        (ReasonCode::ServerUnavailable, 3),
        (ReasonCode::ServerBusy, 3),
        (ReasonCode::BadUserNameOrPassword, 4),
        (ReasonCode::NotAuthorized, 5),
        (ReasonCode::QuotaExceeded, 5),
    ] {
        assert_eq!(
            written(ProtocolVersion::V311, reason).unwrap(),
            [0x20, 2, 0, code],
            "{reason:?}"
        );
    }
    assert_eq!(
        written(ProtocolVersion::V31, ReasonCode::MalformedPacket),
        Err(EncodeError::Version)
    );
    assert_eq!(
        written(ProtocolVersion::V5, ReasonCode::MalformedPacket).unwrap(),
        [0x20, 3, 0, 0x81, 0]
    );
}
