//! The specification's two big tables, property by packet and reason code by packet, each cell on raw bytes.

use super::*;

/// Packets with properties, and the will.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Carrier {
    Packet(PacketType, Sender),
    Will,
}

const CONNECT: Carrier = Carrier::Packet(PacketType::Connect, Sender::Client);
const CONNACK: Carrier = Carrier::Packet(PacketType::ConnAck, Sender::Server);
const PUBLISH: Carrier = Carrier::Packet(PacketType::Publish, Sender::Client);
const PUBLISH_OUT: Carrier = Carrier::Packet(PacketType::Publish, Sender::Server);
const PUBACK: Carrier = Carrier::Packet(PacketType::PubAck, Sender::Client);
const PUBREC: Carrier = Carrier::Packet(PacketType::PubRec, Sender::Client);
const PUBREL: Carrier = Carrier::Packet(PacketType::PubRel, Sender::Client);
const PUBCOMP: Carrier = Carrier::Packet(PacketType::PubComp, Sender::Client);
const SUBSCRIBE: Carrier = Carrier::Packet(PacketType::Subscribe, Sender::Client);
const SUBACK: Carrier = Carrier::Packet(PacketType::SubAck, Sender::Server);
const UNSUBSCRIBE: Carrier = Carrier::Packet(PacketType::Unsubscribe, Sender::Client);
const UNSUBACK: Carrier = Carrier::Packet(PacketType::UnsubAck, Sender::Server);
const DISCONNECT: Carrier = Carrier::Packet(PacketType::Disconnect, Sender::Client);
const DISCONNECT_OUT: Carrier = Carrier::Packet(PacketType::Disconnect, Sender::Server);
const AUTH: Carrier = Carrier::Packet(PacketType::Auth, Sender::Client);

const CARRIERS: [Carrier; 16] = [
    CONNECT,
    Carrier::Will,
    CONNACK,
    PUBLISH,
    PUBLISH_OUT,
    PUBACK,
    PUBREC,
    PUBREL,
    PUBCOMP,
    SUBSCRIBE,
    SUBACK,
    UNSUBSCRIBE,
    UNSUBACK,
    DISCONNECT,
    DISCONNECT_OUT,
    AUTH,
];

const REASON_STRING: &[Carrier] = &[
    CONNACK,
    PUBACK,
    PUBREC,
    PUBREL,
    PUBCOMP,
    SUBACK,
    UNSUBACK,
    DISCONNECT,
    DISCONNECT_OUT,
    AUTH,
];

/// Table 2-4: a valid property, and where it may stand.
const PROPERTIES: [(&[u8], &[Carrier]); 27] = [
    (b"\x01\x01", &[PUBLISH, PUBLISH_OUT, Carrier::Will]),
    (
        b"\x02\x00\x00\x00\x01",
        &[PUBLISH, PUBLISH_OUT, Carrier::Will],
    ),
    (b"\x03\x00\x01c", &[PUBLISH, PUBLISH_OUT, Carrier::Will]),
    (b"\x08\x00\x01r", &[PUBLISH, PUBLISH_OUT, Carrier::Will]),
    (b"\x09\x00\x01c", &[PUBLISH, PUBLISH_OUT, Carrier::Will]),
    (b"\x0B\x01", &[PUBLISH_OUT, SUBSCRIBE]),
    (b"\x11\x00\x00\x00\x01", &[CONNECT, CONNACK, DISCONNECT]),
    (b"\x12\x00\x01i", &[CONNACK]),
    (b"\x13\x00\x01", &[CONNACK]),
    (b"\x15\x00\x01m", &[CONNECT, CONNACK, AUTH]),
    (b"\x16\x00\x01d", &[CONNACK]),
    (b"\x17\x01", &[CONNECT]),
    (b"\x18\x00\x00\x00\x01", &[Carrier::Will]),
    (b"\x19\x01", &[CONNECT]),
    (b"\x1A\x00\x01r", &[CONNACK]),
    (b"\x1C\x00\x01s", &[CONNACK, DISCONNECT_OUT]),
    (b"\x1F\x00\x01r", REASON_STRING),
    (b"\x21\x00\x01", &[CONNECT, CONNACK]),
    (b"\x22\x00\x01", &[CONNECT, CONNACK]),
    (b"\x23\x00\x01", &[PUBLISH, PUBLISH_OUT]),
    (b"\x24\x01", &[CONNACK]),
    (b"\x25\x01", &[CONNACK]),
    (b"\x26\x00\x01n\x00\x01v", &CARRIERS),
    (b"\x27\x00\x00\x00\x01", &[CONNECT, CONNACK]),
    (b"\x28\x01", &[CONNACK]),
    (b"\x29\x01", &[CONNACK]),
    (b"\x2A\x01", &[CONNACK]),
];

/// A well-formed packet around these property bytes. AUTH has its method already.
fn around(carrier: Carrier, properties: &[u8]) -> Vec<u8> {
    let packet = match carrier {
        Carrier::Will => {
            return raw(
                0x10,
                &[
                    b"\x00\x04MQTT\x05\x06\x00\x00\x00\x00\x01c",
                    &[u8::try_from(properties.len()).unwrap()],
                    properties,
                    b"\x00\x01t\x00\x01p",
                ],
            );
        }
        Carrier::Packet(packet, _) => packet,
    };
    let (first, before, behind): (u8, &[u8], &[u8]) = match packet {
        PacketType::Connect => (0x10, b"\x00\x04MQTT\x05\x02\x00\x00", b"\x00\x01c"),
        PacketType::ConnAck => (0x20, b"\x00\x00", b""),
        PacketType::Publish => (0x32, b"\x00\x01t\x00\x01", b"p"),
        PacketType::PubAck => (0x40, b"\x00\x01\x00", b""),
        PacketType::PubRec => (0x50, b"\x00\x01\x00", b""),
        PacketType::PubRel => (0x62, b"\x00\x01\x00", b""),
        PacketType::PubComp => (0x70, b"\x00\x01\x00", b""),
        PacketType::Subscribe => (0x82, b"\x00\x01", b"\x00\x01a\x00"),
        PacketType::SubAck => (0x90, b"\x00\x01", b"\x00"),
        PacketType::Unsubscribe => (0xA2, b"\x00\x01", b"\x00\x01a"),
        PacketType::UnsubAck => (0xB0, b"\x00\x01", b"\x00"),
        PacketType::Disconnect => (0xE0, b"\x00", b""),
        PacketType::Auth => (0xF0, b"\x18", b""),
        PacketType::PingReq | PacketType::PingResp => panic!("no properties"),
    };
    let method: &[u8] = if packet == PacketType::Auth && properties.first() != Some(&0x15) {
        b"\x15\x00\x01m"
    } else {
        b""
    };
    let len = [u8::try_from(properties.len() + method.len()).unwrap()];
    raw(first, &[before, &len, properties, method, behind])
}

fn outcome(carrier: Carrier, input: &[u8]) -> Result<(), Violation> {
    let (version, sender) = match carrier {
        Carrier::Will | CONNECT => (None, Sender::Client),
        Carrier::Packet(_, sender) => (V5, sender),
    };
    match decode(
        input,
        version,
        Limits {
            sender,
            ..Limits::default()
        },
    ) {
        Ok(Decoded::Packet { len, .. }) if len == input.len() => Ok(()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.violation),
    }
}

/// Authentication data in CONNECT needs a method, in AUTH one is there: both are tested elsewhere.
fn is_special(carrier: Carrier, property: &[u8]) -> bool {
    property[0] == 0x16 && matches!(carrier, CONNECT | AUTH)
}

#[test]
fn each_property_stands_where_the_table_says_and_nowhere_else() {
    for (property, carriers) in PROPERTIES {
        for carrier in CARRIERS {
            if is_special(carrier, property) {
                continue;
            }
            let result = outcome(carrier, &around(carrier, property));
            if carriers.contains(&carrier) {
                assert_eq!(result, Ok(()), "{property:02x?} in {carrier:?}");
                continue;
            }
            let reason = result.expect_err("misplaced").reason_code();
            let expected = match (carrier, property[0]) {
                (Carrier::Will, _)
                | (PUBLISH, 0x0B)
                | (DISCONNECT, 0x1C)
                | (DISCONNECT_OUT, 0x11) => ReasonCode::ProtocolError,
                _ => ReasonCode::MalformedPacket,
            };
            assert_eq!(reason, expected, "{property:02x?} in {carrier:?}");
        }
    }
}

#[test]
fn property_twice_is_a_protocol_error() {
    for (property, carriers) in PROPERTIES {
        for carrier in CARRIERS {
            if !carriers.contains(&carrier) {
                continue;
            }
            let result = outcome(carrier, &around(carrier, &[property, property].concat()));
            if property[0] == 0x26 || (carrier == PUBLISH_OUT && property[0] == 0x0B) {
                assert_eq!(result, Ok(()), "{property:02x?} in {carrier:?}");
            } else {
                let violation = result.expect_err("twice");
                assert!(
                    matches!(violation, Violation::PropertyTwice(_)),
                    "{property:02x?} in {carrier:?}"
                );
                assert_eq!(violation.reason_code(), ReasonCode::ProtocolError);
            }
        }
    }
}

#[test]
fn property_cut_by_its_length_is_refused() {
    for (property, carriers) in PROPERTIES {
        for carrier in carriers {
            for len in 1..property.len() {
                let mut input = around(*carrier, &property[..len]);
                // The method that AUTH gets would be taken for the rest.
                if *carrier == AUTH && property[0] != 0x15 {
                    input = raw(
                        0xF0,
                        &[&[0x18, u8::try_from(len).unwrap()], &property[..len]],
                    );
                }
                assert_eq!(
                    outcome(*carrier, &input),
                    Err(Violation::PropertyLength),
                    "{input:02x?}"
                );
            }
        }
    }
}

#[test]
fn unknown_property_is_refused() {
    let known: Vec<u8> = PROPERTIES.iter().map(|(property, _)| property[0]).collect();
    for id in (0..=255).filter(|id| !known.contains(id)) {
        for carrier in CARRIERS {
            let result = outcome(carrier, &around(carrier, &[id, 0, 0, 0, 0]));
            assert_eq!(result, Err(Violation::PropertyUnknown(id)), "{carrier:?}");
        }
    }
    assert_eq!(
        Violation::PropertyUnknown(0).reason_code(),
        ReasonCode::MalformedPacket
    );
}

#[test]
fn text_of_every_property_is_checked() {
    for (id, carrier) in [
        (0x03, PUBLISH),
        (0x03, Carrier::Will),
        (0x08, PUBLISH),
        (0x08, Carrier::Will),
        (0x12, CONNACK),
        (0x15, CONNECT),
        (0x15, AUTH),
        (0x1A, CONNACK),
        (0x1C, CONNACK),
        (0x1F, PUBACK),
        (0x1F, PUBREC),
        (0x1F, PUBREL),
        (0x1F, PUBCOMP),
        (0x1F, DISCONNECT),
        (0x1F, AUTH),
    ] {
        for (text, violation) in [
            (&b"\x00\x01\x00"[..], Violation::NulInText),
            (b"\x00\x01\x80", Violation::NotUtf8),
            (b"\x00\x02\xC0\x80", Violation::NotUtf8),
            (b"\x00\x03\xED\xBF\xBF", Violation::NotUtf8),
            (b"\x00\x04\xF4\x90\x80\x80", Violation::NotUtf8),
        ] {
            let input = around(carrier, &[&[id], text].concat());
            assert_eq!(
                outcome(carrier, &input),
                Err(violation),
                "{id:#x} in {carrier:?}"
            );
        }
    }
    for carrier in CARRIERS {
        for pair in [
            &b"\x26\x00\x01\x00\x00\x00"[..],
            b"\x26\x00\x00\x00\x01\x00",
        ] {
            assert_eq!(
                outcome(carrier, &around(carrier, pair)),
                Err(Violation::NulInText),
                "{carrier:?}"
            );
        }
    }
}

/// First byte, the bytes before and behind the code, who sends it, which codes.
type ReasonRow = (u8, &'static [u8], &'static [u8], Sender, &'static [u8]);

/// Table 2-6 and the packets' own tables.
const REASONS: [ReasonRow; 10] = [
    (
        0x20,
        b"\x00",
        b"\x00",
        Sender::Server,
        b"\x00\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8A\x8C\x90\x95\x97\x99\x9A\x9B\x9C\x9D\x9F",
    ),
    (
        0x40,
        b"\x00\x01",
        b"",
        Sender::Client,
        b"\x00\x10\x80\x83\x87\x90\x91\x97\x99",
    ),
    (
        0x50,
        b"\x00\x01",
        b"",
        Sender::Client,
        b"\x00\x10\x80\x83\x87\x90\x91\x97\x99",
    ),
    (0x62, b"\x00\x01", b"", Sender::Client, b"\x00\x92"),
    (0x70, b"\x00\x01", b"", Sender::Client, b"\x00\x92"),
    (
        0x90,
        b"\x00\x01\x00",
        b"",
        Sender::Server,
        b"\x00\x01\x02\x80\x83\x87\x8F\x91\x97\x9E\xA1\xA2",
    ),
    (
        0xB0,
        b"\x00\x01\x00",
        b"",
        Sender::Server,
        b"\x00\x11\x80\x83\x87\x8F\x91",
    ),
    (
        0xE0,
        b"",
        b"",
        Sender::Client,
        b"\x00\x04\x80\x81\x82\x83\x90\x93\x94\x95\x96\x97\x98\x99",
    ),
    (0xF0, b"", b"\x04\x15\x00\x01m", Sender::Client, b"\x18\x19"),
    (0xF0, b"", b"\x04\x15\x00\x01m", Sender::Server, b"\x00\x18"),
];

#[test]
fn each_reason_code_stands_where_the_table_says_and_nowhere_else() {
    for (first, before, behind, sender, codes) in REASONS {
        for code in 0..=255 {
            let input = raw(first, &[before, &[code], behind]);
            let decoded = decode(
                &input,
                V5,
                Limits {
                    sender,
                    ..Limits::default()
                },
            );
            if codes.contains(&code) {
                assert!(decoded.is_ok(), "{code:#x} in {first:#x}: {decoded:?}");
            } else {
                let violation = decoded.unwrap_err().violation;
                assert_eq!(violation, Violation::ReasonCode(code), "in {first:#x}");
            }
        }
    }
    assert_eq!(
        Violation::ReasonCode(1).reason_code(),
        ReasonCode::ProtocolError
    );
}

#[test]
fn reason_codes_are_all_there() {
    let codes: Vec<u8> = (0..=255)
        .filter(|code| ReasonCode::from_u8(*code).is_some())
        .collect();
    assert!(
        codes
            .iter()
            .copied()
            .eq(ReasonCode::ALL.map(ReasonCode::as_u8))
    );
    assert!(
        ReasonCode::ALL
            .iter()
            .all(|code| code.is_error() == (code.as_u8() >= 0x80))
    );
}
