//! The hot path allocates nothing per message once its buffers have grown.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]

use ternmq_amqp::codec::{self, Decoded, Deliver};
use ternmq_amqp::frame::{Ack, Frame, Limits, Nack};
use ternmq_amqp::mapping;
use ternmq_amqp::properties::Properties;
use ternmq_core::message::NewMessage;

const LIMITS: Limits = Limits { frame_max: 131_072 };

fn properties_with_headers() -> Vec<u8> {
    let mut raw = Vec::new();
    let headers = Some(&b"\x05retryI\0\0\0\x03\x06tenantS\0\0\0\x04acme"[..]);
    let expiration = Some(&b"60000"[..]);
    Properties {
        headers,
        delivery_mode: Some(2),
        expiration,
        ..Properties::default()
    }
    .encode(&mut raw)
    .unwrap();
    raw
}

#[test]
fn decoding_a_publish_and_settlements_allocates_nothing() {
    let mut input =
        b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x28\x00\x00\x01x\x03key\x00\xce".to_vec();
    codec::header(&mut input, 1, 4, &properties_with_headers()).unwrap();
    codec::body(&mut input, 1, b"body", LIMITS.frame_max);
    codec::ack(
        &mut input,
        1,
        Ack {
            delivery_tag: 1,
            multiple: false,
        },
    );
    codec::nack(
        &mut input,
        1,
        Nack {
            delivery_tag: 1,
            multiple: false,
            requeue: true,
        },
    );
    codec::heartbeat(&mut input);
    let mut frames = 0;
    let info = allocation_counter::measure(|| {
        let mut at = 0;
        while let Ok(Decoded::Frame { frame, len, .. }) = codec::decode(&input[at..], &LIMITS) {
            if let Frame::Header(header) = frame {
                assert_eq!(
                    mapping::to_core(header.properties).unwrap().ttl_ms,
                    Some(60_000)
                );
            }
            at += len;
            frames += 1;
        }
    });
    assert_eq!(frames, 6);
    assert_eq!(info.count_total, 0);
}

#[test]
fn encoding_a_delivery_and_confirms_allocates_nothing() {
    let native = properties_with_headers();
    let message = NewMessage {
        format: &mapping::FORMAT,
        native: &native,
        ..NewMessage::plain(b"x", b"key", b"body")
    };
    let message = message.build(&mut Vec::new());
    let (mut out, mut scratch) = (Vec::with_capacity(1024), Vec::new());
    let info = allocation_counter::measure(|| {
        let delivery = Deliver {
            consumer_tag: b"c",
            delivery_tag: 1,
            redelivered: false,
            exchange: message.exchange(),
            routing_key: message.routing_key(),
        };
        codec::deliver(&mut out, 1, &delivery).unwrap();
        let properties = mapping::from_core(&message, &[], &mut scratch).unwrap();
        codec::header(&mut out, 1, 4, properties).unwrap();
        codec::body(&mut out, 1, message.body(), LIMITS.frame_max);
        codec::ack(
            &mut out,
            1,
            Ack {
                delivery_tag: 1,
                multiple: true,
            },
        );
    });
    assert!(!out.is_empty());
    assert_eq!(info.count_total, 0);
}
