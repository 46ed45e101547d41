//! Raw bytes in, packets or violations out; then packets in, the same packets out.

use super::*;
use crate::frame::{Ack, ConnAck, Connect, PacketId, QoS, SubscribeFilters};
use crate::properties::{PropertyBuf, PropertyId};

mod connect;
mod oracle;
mod others;
mod publish;
mod roundtrip;
mod tables;

const V5: Option<ProtocolVersion> = Some(ProtocolVersion::V5);

/// A packet of these parts with the remaining length they have.
fn raw(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut input = vec![first];
    write_variable_byte_integer(u32::try_from(body.len()).unwrap(), &mut input);
    input.extend_from_slice(&body);
    input
}

/// Why `input` is refused.
fn violation_of(input: &[u8], version: Option<ProtocolVersion>, sender: Sender) -> Violation {
    match decode(
        input,
        version,
        Limits {
            sender,
            ..Limits::default()
        },
    ) {
        Err(error) => error.violation,
        Ok(decoded) => panic!("{decoded:?} for {input:02x?}"),
    }
}

/// The one packet in `input`, which must end where the input ends.
fn packet(input: &[u8], version: Option<ProtocolVersion>, sender: Sender) -> Packet<'_> {
    let limits = Limits {
        sender,
        ..Limits::default()
    };
    match decode(input, version, limits) {
        Ok(Decoded::Packet { packet, len }) => {
            assert_eq!(len, input.len());
            packet
        }
        other => panic!("{other:?} for {input:02x?}"),
    }
}

#[test]
fn publish_is_borrowed_from_the_input() {
    let input = b"\x33\x0D\x00\x03a/b\x00\x07\x00hello";
    let Packet::Publish(publish) = packet(input, V5, Sender::Client) else {
        panic!()
    };
    assert_eq!((publish.topic, publish.payload), ("a/b", &b"hello"[..]));
    assert_eq!(publish.packet_id, PacketId::new(7));
    assert_eq!(
        (publish.qos, publish.retain, publish.dup),
        (QoS::AtLeastOnce, true, false)
    );
    assert!(input.as_ptr_range().contains(&publish.payload.as_ptr()));
}

#[test]
fn packet_behind_the_first_is_left_alone() {
    let Ok(Decoded::Packet { packet, len }) =
        decode(b"\xC0\x00\x40\x02\x00\x01", V5, Limits::default())
    else {
        panic!()
    };
    assert_eq!((packet, len), (Packet::PingReq, 2));
}

#[test]
fn puback_is_written_as_short_as_it_can_be() {
    let mut out = Vec::new();
    let id = PacketId::new(258).unwrap();
    puback(
        &mut out,
        ProtocolVersion::V5,
        PacketType::PubRel,
        id,
        ReasonCode::Success,
    );
    puback(
        &mut out,
        ProtocolVersion::V5,
        PacketType::PubAck,
        id,
        ReasonCode::NoMatchingSubscribers,
    );
    puback(
        &mut out,
        ProtocolVersion::V311,
        PacketType::PubRec,
        id,
        ReasonCode::NotAuthorized,
    );
    assert_eq!(out, b"\x62\x02\x01\x02\x40\x03\x01\x02\x10\x50\x02\x01\x02");
    let ack = Ack::new(id, ReasonCode::NoMatchingSubscribers);
    assert_eq!(packet(&out[4..9], V5, Sender::Client), Packet::PubAck(ack));
}
