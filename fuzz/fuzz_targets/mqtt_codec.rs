//! Any bytes as a stream of packets, in every version and from either side: nothing panics, nothing is read beyond the
//! packet, what was read is written so that it reads the same, and every accepted PUBLISH becomes a message and one
//! again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ternmq_core::id::Timestamp;
use ternmq_core::message::PropertyFormat;
use ternmq_mqtt::codec::{
    self, Decoded, Limits, OutgoingPublish, STREAM_PAYLOAD_MIN, Sender, decode,
};
use ternmq_mqtt::frame::{Packet, ProtocolVersion, Publish};
use ternmq_mqtt::mapping::{self, Origin};
use ternmq_mqtt::properties::PropertyBuf;
use ternmq_mqtt::topic::TopicFilter;

fuzz_target!(|data: &[u8]| {
    let Some((first, input)) = data.split_first() else {
        return;
    };
    let version = match first & 3 {
        0 => None,
        1 => Some(ProtocolVersion::V31),
        2 => Some(ProtocolVersion::V311),
        _ => Some(ProtocolVersion::V5),
    };
    let sender = if first & 4 == 0 {
        Sender::Client
    } else {
        Sender::Server
    };
    let packet_max = if first & 8 == 0 { u32::MAX } else { 300 };
    stream(input, version, Limits { packet_max, sender });
    let _ = mapping::FORMAT.decode(data);
    if let Ok(text) = std::str::from_utf8(data) {
        filter(text);
    }
});

/// Reads packet after packet, as a connection does.
fn stream(mut input: &[u8], mut version: Option<ProtocolVersion>, limits: Limits) {
    loop {
        match decode(input, version, limits) {
            Ok(Decoded::Packet { packet, len }) => {
                assert!(len <= input.len() && len <= limits.packet_max as usize);
                rewritten(&packet, version, limits);
                truncated(&input[..len], version, limits);
                match packet {
                    Packet::Connect(connect) => version = Some(connect.version),
                    Packet::Publish(publish) => message(&publish),
                    Packet::Subscribe(subscribe) => {
                        assert_eq!(subscribe.filters.iter().count(), subscribe.filters.len());
                        subscribe.filters.iter().for_each(|f| filter(f.filter));
                    }
                    _ => {}
                }
                input = &input[len..];
            }
            Ok(Decoded::PublishHead {
                head,
                payload_len,
                consumed,
            }) => {
                assert!(payload_len > STREAM_PAYLOAD_MIN && input.len() < consumed + payload_len);
                message(&head);
                return;
            }
            Ok(Decoded::Incomplete) | Err(_) => return,
        }
    }
}

fn rewritten(packet: &Packet<'_>, version: Option<ProtocolVersion>, limits: Limits) {
    let mut out = Vec::new();
    let written_in = version.unwrap_or(ProtocolVersion::V5);
    codec::encode(packet, written_in, &mut out).unwrap();
    let unlimited = Limits {
        packet_max: u32::MAX,
        ..limits
    };
    let again = decode(&out, version, unlimited);
    assert_eq!(
        again,
        Ok(Decoded::Packet {
            packet: *packet,
            len: out.len()
        })
    );
    assert_eq!(codec::encoded_len(packet, written_in), Ok(out.len()));
}

/// A part of a packet is a wish for more.
fn truncated(packet: &[u8], version: Option<ProtocolVersion>, limits: Limits) {
    for len in 0..packet.len().min(64) {
        assert_eq!(
            decode(&packet[..len], version, limits),
            Ok(Decoded::Incomplete)
        );
    }
}

fn message(publish: &Publish<'_>) {
    let origin = Origin {
        exchange: b"amq.topic",
        received_at: Timestamp(1000),
        publisher: None,
    };
    let mut native = Vec::new();
    let message =
        mapping::to_core(publish, publish.topic, origin, &mut native).build(&mut Vec::new());
    let neutral = message.properties();
    assert!(neutral.headers.len() <= publish.properties.as_bytes().len());
    let mut scratch = PropertyBuf::new();
    let out = mapping::from_core(&message, ProtocolVersion::V5, Timestamp(1000), &mut scratch)
        .expect("what came as a topic has a form as a topic");
    assert_eq!(out.message_expiry_s, publish.message_expiry_s);
    assert!(
        out.properties
            .user_properties()
            .eq(publish.properties.user_properties())
    );
    let head = OutgoingPublish {
        dup: publish.dup,
        qos: out.qos,
        retain: out.retain,
        topic: out.topic,
        packet_id: publish.packet_id,
        topic_alias: publish.topic_alias,
        message_expiry_s: out.message_expiry_s,
        subscription_ids: &[1, 128],
        properties: out.properties,
    };
    let mut bytes = Vec::new();
    codec::publish(&mut bytes, ProtocolVersion::V5, &head, message.body()).unwrap();
    let limits = Limits {
        packet_max: u32::MAX,
        sender: Sender::Server,
    };
    let Ok(Decoded::Packet {
        packet: Packet::Publish(back),
        ..
    }) = decode(&bytes, Some(ProtocolVersion::V5), limits)
    else {
        panic!("what is sent can be read")
    };
    assert_eq!((back.topic, back.payload), (publish.topic, publish.payload));
    assert_eq!((back.qos, back.retain), (publish.qos, publish.retain));
}

fn filter(text: &str) {
    if let Ok(filter) = TopicFilter::parse(text) {
        assert!(filter.as_str().ends_with(filter.filter()));
        if !filter.has_wildcard() {
            assert!(filter.matches(filter.filter()));
        }
    }
}
