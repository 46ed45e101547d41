//! What one message costs on the wire: frames in, frames out, properties. Nothing here may allocate once the output
//! buffer has grown; `tests/allocations.rs` holds that.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ternmq_amqp::codec::{self, Decoded, Deliver};
use ternmq_amqp::frame::{Ack, Limits};
use ternmq_amqp::mapping;
use ternmq_amqp::properties::Properties;
use ternmq_core::message::{Message, NewMessage};

const LIMITS: Limits = Limits { frame_max: 131_072 };
const BODY: &[u8] = b"sixteen bytes ..";

/// `basic.publish`, header and body as a client sends them.
fn published(properties: &[u8]) -> Vec<u8> {
    let mut input =
        b"\x01\x00\x01\x00\x00\x00\x1a\x00\x3c\x00\x28\x00\x00\x06orders\x0beu.orders.1\x00\xce"
            .to_vec();
    codec::header(&mut input, 1, BODY.len() as u64, properties).unwrap();
    codec::body(&mut input, 1, BODY, LIMITS.frame_max);
    input
}

/// Persistent, with the properties and headers of an ordinary application.
fn with_headers() -> Vec<u8> {
    let headers =
        b"\x0btraceparentS\0\0\0\x0b00-1234-567\x05retryI\0\0\0\x03\x06tenantS\0\0\0\x04acme";
    let properties = Properties {
        content_type: Some(b"application/json"),
        headers: Some(headers),
        delivery_mode: Some(2),
        message_id: Some(b"0123456789abcdef"),
        ..Properties::default()
    };
    let mut raw = Vec::new();
    properties.encode(&mut raw).unwrap();
    raw
}

/// Decodes every frame, and a header's properties as a publish needs them; returns the bytes seen.
fn read_all(input: &[u8]) -> usize {
    let mut at = 0;
    while let Ok(Decoded::Frame { frame, len, .. }) = codec::decode(&input[at..], &LIMITS) {
        if let ternmq_amqp::frame::Frame::Header(header) = &frame {
            black_box(&mapping::to_core(header.properties).unwrap());
        }
        black_box(&frame);
        at += len;
    }
    at
}

fn deliver(out: &mut Vec<u8>, message: &Message, scratch: &mut Vec<u8>) {
    let delivery = Deliver {
        consumer_tag: b"ctag1.4711",
        delivery_tag: 42,
        redelivered: false,
        exchange: message.exchange(),
        routing_key: message.routing_key(),
    };
    codec::deliver(out, 1, &delivery).unwrap();
    let properties = mapping::from_core(message, &[], scratch).unwrap();
    codec::header(out, 1, message.body().len() as u64, properties).unwrap();
    codec::body(out, 1, message.body(), LIMITS.frame_max);
}

fn bench(c: &mut Criterion) {
    for (name, properties) in [
        ("no properties", vec![0, 0]),
        ("persistent", vec![0x10, 0, 2]),
        ("headers", with_headers()),
    ] {
        let input = published(&properties);
        c.bench_function(&format!("decode publish, {name}"), |b| {
            b.iter(|| assert_eq!(read_all(black_box(&input)), input.len()));
        });
        let native = mapping::to_core(&properties).unwrap().native.into_owned();
        let message = NewMessage {
            format: &mapping::FORMAT,
            native: &native,
            ..NewMessage::plain(b"orders", b"eu.orders.1", BODY)
        };
        let message = message.build(&mut Vec::new());
        let (mut out, mut scratch) = (Vec::with_capacity(4096), Vec::new());
        c.bench_function(&format!("encode deliver, {name}"), |b| {
            b.iter(|| {
                out.clear();
                deliver(&mut out, black_box(&message), &mut scratch);
                black_box(&out);
            });
        });
        c.bench_function(&format!("parse properties, {name}"), |b| {
            b.iter(|| {
                black_box(
                    Properties::parse(black_box(&properties))
                        .unwrap()
                        .is_persistent(),
                )
            });
        });
    }
    let mut out = Vec::with_capacity(64);
    codec::ack(
        &mut out,
        1,
        Ack {
            delivery_tag: 7,
            multiple: true,
        },
    );
    let input = out.clone();
    c.bench_function("decode ack", |b| {
        b.iter(|| {
            black_box(codec::decode(black_box(&input), &LIMITS).is_ok());
        });
    });
    c.bench_function("encode ack", |b| {
        b.iter(|| {
            out.clear();
            codec::ack(
                &mut out,
                1,
                black_box(Ack {
                    delivery_tag: 7,
                    multiple: true,
                }),
            );
            black_box(&out);
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
