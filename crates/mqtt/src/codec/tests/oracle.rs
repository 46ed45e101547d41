//! Second opinions: what two other codecs make of our packets, and what we make of theirs.
//!
//! Each well-formed packet goes out of our encoder, into theirs and out again, and comes back to our decoder as the
//! same packet but for the order of properties. Where they are known to be wrong, they are not asked.

use bytes::BytesMut;
use proptest::prelude::*;

use super::roundtrip::{Parts, parts};
use crate::codec::*;
use crate::frame::*;
use crate::properties::{Properties, Property};

const SIZE_MAX: usize = 1 << 20;

/// mqttbytes 0.6, whose packets have no common `write`.
macro_rules! mqttbytes_rewrite {
    ($bytes:expr, $module:ident, $($more:pat => $write:expr),*) => {{
        use mqttbytes::$module::*;
        let mut input = BytesMut::from($bytes);
        let mut out = BytesMut::new();
        let packet = read(&mut input, SIZE_MAX).map_err(|error| format!("{error:?}"))?;
        match &packet {
            Packet::Connect(p) => p.write(&mut out),
            Packet::ConnAck(p) => p.write(&mut out),
            Packet::Publish(p) => p.write(&mut out),
            Packet::PubAck(p) => p.write(&mut out),
            Packet::PubRec(p) => p.write(&mut out),
            Packet::PubRel(p) => p.write(&mut out),
            Packet::PubComp(p) => p.write(&mut out),
            Packet::Subscribe(p) => p.write(&mut out),
            Packet::SubAck(p) => p.write(&mut out),
            Packet::Unsubscribe(p) => p.write(&mut out),
            Packet::UnsubAck(p) => p.write(&mut out),
            Packet::PingReq => PingReq.write(&mut out),
            Packet::PingResp => PingResp.write(&mut out),
            Packet::Disconnect { .. } => {
                $(if let $more = &packet { let _ = $write.write(&mut out); })*
                Ok(0)
            }
        }
        .map_err(|error| format!("{error:?}"))?;
        Ok(out.to_vec())
    }};
}

fn mqttbytes_v4(bytes: &[u8]) -> Result<Vec<u8>, String> {
    mqttbytes_rewrite!(bytes, v4, Packet::Disconnect => Disconnect)
}

fn mqttbytes_v5(bytes: &[u8]) -> Result<Vec<u8>, String> {
    mqttbytes_rewrite!(bytes, v5, Packet::Disconnect(p) => p)
}

fn rumqttc_v4(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = BytesMut::new();
    rumqttc::mqttbytes::v4::Packet::read(&mut BytesMut::from(bytes), SIZE_MAX)
        .and_then(|packet| packet.write(&mut out, SIZE_MAX))
        .map_err(|error| format!("{error:?}"))?;
    Ok(out.to_vec())
}

fn rumqttc_v5(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = BytesMut::new();
    rumqttc::v5::mqttbytes::v5::Packet::read(&mut BytesMut::from(bytes), None)
        .and_then(|packet| packet.write(&mut out, None))
        .map_err(|error| format!("{error:?}"))?;
    Ok(out.to_vec())
}

fn sorted(properties: Properties<'_>) -> Vec<Property<'_>> {
    let mut list: Vec<_> = properties.iter().collect();
    list.sort_by_key(|property| property.id() as u8);
    list
}

/// The packet without its properties, and those of the packet and of its will by identifier.
fn canonical(mut packet: Packet<'_>) -> (Packet<'_>, Vec<Property<'_>>, Vec<Property<'_>>) {
    let mut will = Properties::EMPTY;
    let none = &mut Properties::default();
    let own = match &mut packet {
        Packet::Connect(p) => {
            if let Some(w) = &mut p.will {
                will = std::mem::take(&mut w.properties);
            }
            &mut p.properties
        }
        Packet::ConnAck(p) => &mut p.properties,
        Packet::Publish(p) => &mut p.properties,
        Packet::PubAck(p) | Packet::PubRec(p) | Packet::PubRel(p) | Packet::PubComp(p) => {
            &mut p.properties
        }
        Packet::Subscribe(p) => &mut p.properties,
        Packet::SubAck(p) => &mut p.properties,
        Packet::Unsubscribe(p) => &mut p.properties,
        Packet::UnsubAck(p) => &mut p.properties,
        Packet::Disconnect(p) => &mut p.properties,
        Packet::Auth(p) => &mut p.properties,
        Packet::PingReq | Packet::PingResp => none,
    };
    let own = std::mem::take(own);
    (packet, sorted(own), sorted(will))
}

/// Whether the others are right about this kind of packet.
fn can_be_asked(packet: &Packet<'_>, version: ProtocolVersion) -> bool {
    match packet {
        // Passwords are text to them and come with a user name; neither may be empty.
        Packet::Connect(p) => match (p.user_name, p.password) {
            (None, None) => true,
            (Some(name), Some(password)) => {
                !name.is_empty() && !password.is_empty() && std::str::from_utf8(password).is_ok()
            }
            _ => false,
        },
        Packet::Auth(_) => false,
        Packet::Disconnect(_) => !version.is_v5(),
        _ => version != ProtocolVersion::V31,
    }
}

fn check(parts: &Parts, version: ProtocolVersion, rewrite: fn(&[u8]) -> Result<Vec<u8>, String>) {
    if parts.version != version {
        return;
    }
    let lists = parts.lists();
    let packet = parts.packet(&lists);
    if !can_be_asked(&packet, version) {
        return;
    }
    let ours = parts.encoded();
    let theirs = rewrite(&ours).unwrap_or_else(|error| panic!("{error} for {packet:?}"));
    let decoded = decode(&theirs, parts.known_version(), parts.limits());
    let Ok(Decoded::Packet { packet: back, len }) = decoded else {
        panic!("{decoded:?} from {theirs:02x?} for {packet:?}")
    };
    assert_eq!(len, theirs.len());
    assert_eq!(canonical(back), canonical(packet));
}

/// Why they are asked and not used; docs/decisions/0002 rests on this. Where one of them was mended, take the line out.
#[test]
fn others_are_wrong_where_they_are_not_asked() {
    let valid: [(&str, &[u8], Option<ProtocolVersion>); 3] = [
        (
            "DISCONNECT without a body",
            b"\xE0\x00",
            Some(ProtocolVersion::V5),
        ),
        (
            "AUTH",
            b"\xF0\x06\x18\x04\x15\x00\x01m",
            Some(ProtocolVersion::V5),
        ),
        (
            "binary password",
            b"\x10\x14\x00\x04MQTT\x05\xC2\x00\x00\x00\x00\x01c\x00\x01u\x00\x01\xFF",
            None,
        ),
    ];
    for (name, input, version) in valid {
        let decoded = decode(input, version, Limits::default());
        assert!(
            matches!(decoded, Ok(Decoded::Packet { len, .. }) if len == input.len()),
            "{name}"
        );
        assert!(
            mqttbytes_v5(input).is_err() && rumqttc_v5(input).is_err(),
            "{name}"
        );
    }
    let malformed: [(&str, &[u8]); 5] = [
        ("DUP with QoS 0", b"\x38\x04\x00\x01t\x00"),
        ("property twice", b"\x30\x08\x00\x01t\x04\x01\x00\x01\x00"),
        ("payload format 2", b"\x30\x06\x00\x01t\x02\x01\x02"),
        ("wildcard in a topic name", b"\x30\x04\x00\x01#\x00"),
        ("reserved flags of PUBACK", b"\x4F\x02\x00\x01"),
    ];
    for (name, input) in malformed {
        assert!(
            decode(input, Some(ProtocolVersion::V5), Limits::default()).is_err(),
            "{name}"
        );
        assert!(
            mqttbytes_v5(input).is_ok() && rumqttc_v5(input).is_ok(),
            "{name}"
        );
    }
}

proptest! {
    #[test]
    fn mqttbytes_agrees_on_mqtt_3_1_1(parts in parts()) {
        check(&parts, ProtocolVersion::V311, mqttbytes_v4);
    }

    #[test]
    fn mqttbytes_agrees_on_mqtt_5(parts in parts()) {
        check(&parts, ProtocolVersion::V5, mqttbytes_v5);
    }

    #[test]
    fn rumqttc_agrees_on_mqtt_3_1_1(parts in parts()) {
        check(&parts, ProtocolVersion::V311, rumqttc_v4);
    }

    #[test]
    fn rumqttc_agrees_on_mqtt_5(parts in parts()) {
        check(&parts, ProtocolVersion::V5, rumqttc_v5);
    }
}
