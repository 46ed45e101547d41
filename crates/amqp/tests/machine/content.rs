//! Bodies: in pieces, interleaved, large, at their limit.

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, basic, connection};
use ternmq_amqp::AmqpConfig;

use crate::harness::*;

fn body(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

/// A publish whose body is sent in frames of so many bytes.
fn publish_in_frames(queue: &str, body: &[u8], frame: usize) -> Vec<u8> {
    let mut bytes = method_bytes(1, publish_method("", queue, false));
    bytes.extend(header_bytes(
        1,
        body.len() as u64,
        basic::AMQPProperties::default(),
    ));
    for piece in body.chunks(frame) {
        bytes.extend(frame_bytes(&AMQPFrame::Body(1, piece.to_vec())));
    }
    bytes
}

#[test]
fn body_arrives_whole_however_it_was_cut() {
    for (len, frame, read) in [
        (1, 1, 1),
        (100, 7, 13),
        (8 * 1024, 8 * 1024, 1000),
        (8 * 1024 + 1, 8 * 1024, 4096),
        (300_000, 131_064, 65_536),
        (300_000, 50_000, 299_999),
        (70_000, 70_000, 69_999),
    ] {
        let node = Node::new();
        let mut peer = node.channel();
        peer.declare("q");
        let sent = body(len);
        for part in publish_in_frames("q", &sent, frame).chunks(read) {
            peer.send_bytes(part);
        }
        peer.consume("q", "c", true);
        let (_, content) = peer.expect_delivery(1);
        assert!(
            content.body == sent,
            "{len} bytes in frames of {frame}, read by {read}"
        );
        assert_eq!(content.body_frames, len.div_ceil(131_064));
    }
}

#[test]
fn large_body_is_delivered_in_frames_of_the_receivers_size() {
    let node = Node::new();
    let mut publisher = node.channel();
    publisher.declare("q");
    let sent = body(10_000);
    publisher.publish("q", &sent);
    let mut consumer = node.dial();
    consumer.send_bytes(HEADER);
    consumer.expect(0);
    consumer.call(
        0,
        start_ok(&client_properties(), "PLAIN", b"\0guest\0guest"),
    );
    consumer.send(0, tune_ok(2047, 4096, 0));
    consumer.call(0, open(VHOST));
    consumer.open_channel(1);
    consumer.consume("q", "c", true);
    let (_, content) = consumer.expect_delivery(1);
    assert_eq!(content.body, sent);
    assert_eq!(content.body_frames, 10_000usize.div_ceil(4096 - 8));
}

#[test]
fn contents_of_several_channels_interleave() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.open_channel(2);
    peer.declare("q");
    let on = |channel: u16, text: &[u8]| {
        [
            method_bytes(channel, publish_method("", "q", false)),
            header_bytes(channel, text.len() as u64, basic::AMQPProperties::default()),
            frame_bytes(&AMQPFrame::Body(channel, text[..3].to_vec())),
            frame_bytes(&AMQPFrame::Body(channel, text[3..].to_vec())),
        ]
    };
    let (one, two) = (on(1, b"one-one"), on(2, b"two-two"));
    for (first, second) in one.iter().zip(&two) {
        peer.send_bytes(first);
        peer.send_bytes(second);
    }
    peer.consume("q", "c", true);
    assert_eq!(peer.expect_delivery(1).1.body, b"one-one");
    assert_eq!(peer.expect_delivery(1).1.body, b"two-two");
}

#[test]
fn body_at_the_largest_size_is_taken_and_one_byte_more_is_refused() {
    let node = Node::with(AmqpConfig {
        message_bytes_max: 1000,
        ..AmqpConfig::default()
    });
    let mut peer = node.channel();
    peer.declare("q");
    peer.publish("q", &body(1000));
    assert_eq!(peer.ready(1, "q"), 1);
    peer.publish("q", &body(1001));
    let text = "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000";
    assert_eq!(peer.expect_channel_close(1), (406, text.to_owned(), 60, 40));
    peer.reopen_channel(1);
    assert_eq!(peer.ready(1, "q"), 1);
}

#[test]
fn announced_size_alone_takes_no_memory() {
    let node = Node::with(AmqpConfig {
        message_bytes_max: u64::MAX,
        ..AmqpConfig::default()
    });
    let mut peer = node.channel();
    peer.send_bytes(&method_bytes(1, publish_method("", "q", false)));
    peer.send_bytes(&header_bytes(1, u64::MAX, basic::AMQPProperties::default()));
    peer.send_bytes(&frame_bytes(&AMQPFrame::Body(1, body(1000))));
    peer.expect_silence();
    peer.lose();
}

#[test]
fn unfinished_publish_is_forgotten_with_its_connection() {
    let node = Node::new();
    let (mut peer, mut other) = (node.channel(), node.channel());
    other.declare("q");
    let bytes = publish_in_frames("q", &body(100), 50);
    peer.send_bytes(&bytes[..bytes.len() - 1]);
    peer.lose();
    assert_eq!(other.ready(1, "q"), 0);
}

#[test]
fn what_was_published_before_the_close_of_one_read_is_there() {
    let node = Node::new();
    let (mut peer, mut other) = (node.channel(), node.channel());
    other.declare("q");
    let mut bytes = publish_bytes(1, "", "q", b"m");
    let close = connection::AMQPMethod::Close(connection::Close::default());
    bytes.extend(method_bytes(0, AMQPClass::Connection(close)));
    peer.send_bytes(&bytes);
    let answer = peer.expect(0);
    assert!(matches!(
        answer,
        AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))
    ));
    assert_eq!(other.ready(1, "q"), 1);
}

#[test]
fn publishes_before_a_fault_of_the_connection_are_there() {
    let node = Node::new();
    let (mut peer, mut other) = (node.channel(), node.channel());
    other.declare("q");
    let mut bytes = publish_bytes(1, "", "q", b"m");
    bytes.extend(method_bytes(1, channel_open()));
    peer.send_bytes(&bytes);
    assert_eq!(peer.expect_close().0, 504);
    assert_eq!(other.ready(1, "q"), 1);
}
