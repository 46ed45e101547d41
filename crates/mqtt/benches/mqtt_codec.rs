//! Cost of the codec per packet. Targets on the development machine: a PUBLISH with QoS 1 in, in about 90 ns or less,
//! and out, in about 40 ns. Decoded packets are `Copy` and so own no memory; encoders append to a buffer that keeps
//! its capacity.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ternmq_mqtt::codec::{Decoded, Limits, OutgoingPublish, TopicText, decode, puback, publish};
use ternmq_mqtt::frame::{PacketId, PacketType, ProtocolVersion, QoS};
use ternmq_mqtt::properties::{Properties, Property, PropertyBuf};
use ternmq_mqtt::reason_code::ReasonCode;

const TOPIC: &[u8] = b"plant/7/line/3/temperature";

fn outgoing(qos: QoS, properties: Properties<'_>) -> OutgoingPublish<'_> {
    OutgoingPublish {
        dup: false,
        qos,
        retain: false,
        topic: TopicText::Topic(TOPIC),
        packet_id: (qos > QoS::AtMostOnce).then_some(PacketId::MIN),
        topic_alias: None,
        message_expiry_s: None,
        subscription_ids: &[],
        properties,
    }
}

fn user_data() -> PropertyBuf {
    let mut properties = PropertyBuf::new();
    for property in [
        Property::ContentType("application/json"),
        Property::UserProperty("device", "4711"),
        Property::UserProperty(
            "trace",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
    ] {
        properties.push(property).unwrap();
    }
    properties
}

/// The packets that are measured: what a device sends, 64 bytes of payload.
fn cases(user_data: &PropertyBuf) -> [(&'static str, ProtocolVersion, OutgoingPublish<'_>); 4] {
    let none = Properties::EMPTY;
    [
        (
            "v311_qos0",
            ProtocolVersion::V311,
            outgoing(QoS::AtMostOnce, none),
        ),
        (
            "v311_qos1",
            ProtocolVersion::V311,
            outgoing(QoS::AtLeastOnce, none),
        ),
        (
            "v5_qos1",
            ProtocolVersion::V5,
            outgoing(QoS::AtLeastOnce, none),
        ),
        (
            "v5_qos1_properties",
            ProtocolVersion::V5,
            outgoing(QoS::AtLeastOnce, user_data.as_properties()),
        ),
    ]
}

fn publish_in(c: &mut Criterion) {
    let user_data = user_data();
    let mut group = c.benchmark_group("publish_decode");
    group.throughput(Throughput::Elements(1));
    for (name, version, head) in cases(&user_data) {
        let mut input = Vec::new();
        publish(&mut input, version, &head, &[b'x'; 64]).unwrap();
        group.bench_function(name, |b| {
            b.iter(|| decode(black_box(&input), Some(version), Limits::default()).unwrap());
        });
    }
    group.finish();
}

fn publish_out(c: &mut Criterion) {
    let user_data = user_data();
    let mut group = c.benchmark_group("publish_encode");
    group.throughput(Throughput::Elements(1));
    let mut out = Vec::with_capacity(4096);
    for (name, version, head) in cases(&user_data) {
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                publish(&mut out, version, black_box(&head), black_box(&[b'x'; 64])).unwrap();
                black_box(&out);
            });
        });
    }
    group.finish();
}

fn acknowledgements(c: &mut Criterion) {
    let version = ProtocolVersion::V5;
    let mut out = Vec::with_capacity(64);
    c.bench_function("puback_encode", |b| {
        b.iter(|| {
            out.clear();
            puback(
                &mut out,
                version,
                PacketType::PubAck,
                black_box(PacketId::MAX),
                ReasonCode::Success,
            );
            black_box(&out);
        });
    });
    c.bench_function("puback_decode", |b| {
        b.iter(|| {
            decode(
                black_box(b"\x40\x02\x12\x34"),
                Some(version),
                Limits::default(),
            )
            .unwrap()
        });
    });
}

/// What a read of 64 KiB brings.
fn stream_of_packets(c: &mut Criterion) {
    let version = ProtocolVersion::V5;
    let mut input = Vec::new();
    let head = outgoing(QoS::AtLeastOnce, Properties::EMPTY);
    let mut packets = 0_u64;
    while input.len() < 64 * 1024 {
        publish(&mut input, version, &head, &[b'x'; 64]).unwrap();
        packets += 1;
    }
    let mut group = c.benchmark_group("stream_decode");
    group.throughput(Throughput::Elements(packets));
    group.bench_function("v5_qos1", |b| {
        b.iter(|| {
            let mut rest = black_box(&input[..]);
            let mut count = 0_u64;
            while let Decoded::Packet { packet, len } =
                decode(rest, Some(version), Limits::default()).unwrap()
            {
                black_box(packet);
                rest = &rest[len..];
                count += 1;
            }
            assert_eq!(count, packets);
        });
    });
    group.finish();
}

criterion_group!(
    benches,
    publish_in,
    publish_out,
    acknowledgements,
    stream_of_packets
);
criterion_main!(benches);
