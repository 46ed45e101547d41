//! Bytes that make no sense: the protocol's own error, that connection only.

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, basic, channel, connection};

use crate::harness::*;

/// A frame with any type, payload and end.
fn frame(frame_type: u8, channel: u16, payload: &[u8], end: u8) -> Vec<u8> {
    let mut bytes = vec![frame_type];
    bytes.extend(channel.to_be_bytes());
    bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend(payload);
    bytes.push(end);
    bytes
}

/// What an open connection with channel 1 says to these bytes, and that nobody else suffers.
#[track_caller]
fn answer_to(bytes: &[u8]) -> Closed {
    let node = Node::new();
    let (mut other, mut peer) = (node.channel(), node.channel());
    peer.send_bytes(bytes);
    let whole = peer.expect_close();
    let mut slow = node.channel();
    slow.trickle(bytes);
    assert_eq!(
        slow.expect_close(),
        whole,
        "in single bytes the answer is the same"
    );
    other.declare("q");
    whole
}

fn closed(code: u16, text: &str, class_id: u16, method_id: u16) -> Closed {
    (code, text.to_owned(), class_id, method_id)
}

#[test]
fn bad_frame_end_is_a_frame_error() {
    let text = "FRAME_ERROR - type 1, all octets = <<0,20,0,40,1>>: {invalid_frame_end_marker,205}";
    assert_eq!(
        answer_to(&frame(1, 1, &[0, 20, 0, 40, 1], 0xCD)),
        closed(501, text, 0, 0)
    );
}

#[test]
fn frame_above_the_negotiated_size_is_a_frame_error_before_its_payload() {
    let node = Node::new();
    let mut peer = node.channel();
    let mut header = frame(3, 1, &[], 0);
    header[3..7].copy_from_slice(&131_073u32.to_be_bytes());
    peer.send_bytes(&header[..7]);
    let text = "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131073,131064}";
    assert_eq!(peer.expect_close(), closed(501, text, 0, 0));
    assert!(peer.is_gone());
}

#[test]
fn frame_size_is_judged_by_what_was_negotiated() {
    let node = Node::new();
    let mut peer = node.dial();
    peer.send_bytes(HEADER);
    peer.expect(0);
    peer.call(
        0,
        start_ok(&client_properties(), "PLAIN", b"\0guest\0guest"),
    );
    peer.send(0, tune_ok(2047, 4096, 0));
    peer.call(0, open(VHOST));
    peer.open_channel(1);
    peer.declare("q");
    peer.send_bytes(&method_bytes(1, publish_method("", "q", false)));
    peer.send_bytes(&header_bytes(1, 9_000, basic::AMQPProperties::default()));
    // Several clients count the payload alone: 4,096 bytes of it pass.
    peer.send_bytes(&frame(3, 1, &[7; 4096], 0xCE));
    peer.expect_silence();
    peer.send_bytes(&frame(3, 1, &[7; 4097], 0xCE));
    assert_eq!(peer.expect_close().0, 501);
}

#[test]
fn unknown_frame_type_is_a_frame_error() {
    let text = "FRAME_ERROR - type 9, all octets = <<>>: unknown_frame";
    let (code, said, ..) = answer_to(&frame(9, 1, &[], 0xCE));
    assert_eq!((code, said.as_str()), (501, text));
    assert_eq!(answer_to(b"GET / HTTP/1.1\r\n\r\n").0, 501);
}

#[test]
fn heartbeat_on_a_channel_is_unexpected() {
    let text = "UNEXPECTED_FRAME - type 8, all octets = <<>>";
    assert_eq!(answer_to(&frame(8, 1, &[], 0xCE)), closed(505, text, 0, 0));
}

#[test]
fn heartbeat_with_a_payload_is_a_frame_error() {
    assert_eq!(answer_to(&frame(8, 0, &[1], 0xCE)).0, 501);
}

#[test]
fn unknown_class_and_unknown_method_are_invalid_commands() {
    let text = "COMMAND_INVALID - unimplemented method";
    assert_eq!(
        answer_to(&frame(1, 1, &[0, 61, 0, 10], 0xCE)),
        closed(503, text, 61, 10)
    );
    assert_eq!(
        answer_to(&frame(1, 1, &[0, 60, 0, 99, 1, 2], 0xCE)),
        closed(503, text, 60, 99)
    );
    assert_eq!(
        answer_to(&frame(1, 0, &[0, 10, 0, 99], 0xCE)),
        closed(503, text, 10, 99)
    );
}

#[test]
fn methods_that_only_servers_send_are_invalid_commands() {
    let text = "COMMAND_INVALID - unimplemented method";
    let deliver = basic::AMQPMethod::Deliver(basic::Deliver::default());
    assert_eq!(
        answer_to(&method_bytes(1, basic(deliver))),
        closed(503, text, 60, 60)
    );
    let ok = AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {}));
    assert_eq!(answer_to(&method_bytes(1, ok)), closed(503, text, 20, 11));
}

#[test]
fn arguments_that_end_early_or_late_are_a_frame_error() {
    let text = "FRAME_ERROR - cannot decode <<0,0,5,113>>";
    assert_eq!(
        answer_to(&frame(1, 1, &[0, 50, 0, 10, 0, 0, 5, 113], 0xCE)),
        closed(501, text, 50, 10)
    );
    let mut ack = vec![0, 60, 0, 80];
    ack.extend([0; 10]);
    assert_eq!(answer_to(&frame(1, 1, &ack, 0xCE)).0, 501);
    assert_eq!(answer_to(&frame(1, 1, &[0, 60], 0xCE)).0, 501);
}

#[test]
fn short_string_that_is_not_utf8_is_a_frame_error() {
    // basic.publish to an exchange named 0xFF
    let payload = [0, 60, 0, 40, 0, 0, 1, 0xFF, 0, 0];
    let text = "FRAME_ERROR - Malformed UTF-8 in shortstr";
    assert_eq!(
        answer_to(&frame(1, 1, &payload, 0xCE)),
        closed(501, text, 60, 40)
    );
}

/// `queue.declare` of `q` with these bytes as its table.
fn declare_with_table(table: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 50, 0, 10, 0, 0, 1, b'q', 0];
    payload.extend(u32::try_from(table.len()).unwrap().to_be_bytes());
    payload.extend(table);
    frame(1, 1, &payload, 0xCE)
}

#[test]
fn tables_may_hold_every_type_that_rabbitmq_knows() {
    let values: [&[u8]; 17] = [
        b"t\x01",
        b"b\xff",
        b"B\xff",
        b"s\xff\xff",
        b"u\xff\xff",
        b"I\xff\xff\xff\xff",
        b"i\xff\xff\xff\xff",
        b"l\xff\xff\xff\xff\xff\xff\xff\xff",
        b"L\xff\xff\xff\xff\xff\xff\xff\xff",
        b"f\x40\x00\x00\x00",
        b"d\x40\x00\x00\x00\x00\x00\x00\x00",
        b"D\x02\xff\xff\xff\xff",
        b"S\x00\x00\x00\x02\xff\x00",
        b"A\x00\x00\x00\x02t\x00",
        b"T\x00\x00\x00\x00\x00\x00\x00\x01",
        b"F\x00\x00\x00\x03\x01vV",
        b"x\x00\x00\x00\x01\xff",
    ];
    let mut table = b"\x01vV".to_vec();
    for value in values {
        table.extend([1, value[0]]);
        table.extend(value);
    }
    let node = Node::new();
    let mut peer = node.channel();
    peer.send_bytes(&declare_with_table(&table));
    let answer = peer.expect(1);
    assert!(matches!(answer, AMQPClass::Queue(_)), "{answer:?}");
}

#[test]
fn unknown_field_type_is_a_syntax_error() {
    let (code, text, class_id, method_id) = answer_to(&declare_with_table(b"\x01a?x"));
    assert_eq!((code, class_id, method_id), (502, 50, 10));
    assert_eq!(text, "SYNTAX_ERROR - field table: unknown type tag 0x3f");
}

#[test]
fn table_nested_without_end_is_a_syntax_error_and_no_more() {
    let mut nested = Vec::new();
    for _ in 0..2_500 {
        let mut outer = b"\x01aF".to_vec();
        outer.extend(u32::try_from(nested.len()).unwrap().to_be_bytes());
        outer.extend(&nested);
        nested = outer;
    }
    let node = Node::new();
    let mut peer = node.channel();
    peer.send_bytes(&declare_with_table(&nested));
    let text = "SYNTAX_ERROR - field table nested too deeply";
    assert_eq!(peer.expect_close(), closed(502, text, 50, 10));
}

#[test]
fn table_with_a_length_behind_its_end_is_a_syntax_error() {
    assert_eq!(
        answer_to(&declare_with_table(b"\x01aS\xff\xff\xff\xff")).0,
        502
    );
}

#[test]
fn damaged_properties_are_a_syntax_error() {
    for properties in [
        // The continuation flag; a content type that ends early; bytes behind the last property.
        &[0, 1][..],
        &[0x80, 0, 9, b'a'],
        &[0, 0, 7],
    ] {
        let node = Node::new();
        let mut peer = node.channel();
        peer.declare("q");
        let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header.extend(properties);
        peer.send_bytes(&method_bytes(1, publish_method("", "q", false)));
        peer.send_bytes(&frame(2, 1, &header, 0xCE));
        let (code, _, class_id, method_id) = peer.expect_close();
        assert_eq!((code, class_id, method_id), (502, 60, 40));
    }
}

#[test]
fn content_frames_out_of_turn_are_unexpected() {
    let properties = basic::AMQPProperties::default;
    let text = "UNEXPECTED_FRAME - expected method frame, got non method frame instead";
    assert_eq!(
        answer_to(&header_bytes(1, 3, properties())),
        closed(505, text, 0, 0)
    );
    assert_eq!(
        answer_to(&frame(3, 1, b"abc", 0xCE)),
        closed(505, text, 0, 0)
    );
    // On a channel that nobody opened.
    assert_eq!(
        answer_to(&frame(3, 2, b"abc", 0xCE)),
        closed(505, text, 0, 0)
    );

    let mut bytes = method_bytes(1, publish_method("", "q", false));
    bytes.extend(frame(3, 1, b"abc", 0xCE));
    let text = "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead";
    assert_eq!(answer_to(&bytes), closed(505, text, 60, 40));

    let mut bytes = method_bytes(1, publish_method("", "q", false));
    bytes.extend(method_bytes(1, declare_queue("q")));
    assert_eq!(answer_to(&bytes).1, text);

    let mut bytes = method_bytes(1, publish_method("", "q", false));
    bytes.extend(header_bytes(1, 3, properties()));
    bytes.extend(method_bytes(1, publish_method("", "q", false)));
    let text = "UNEXPECTED_FRAME - expected content body, got non content body frame instead";
    assert_eq!(answer_to(&bytes), closed(505, text, 60, 40));

    let mut bytes = method_bytes(1, publish_method("", "q", false));
    bytes.extend(header_bytes(1, 3, properties()));
    bytes.extend(header_bytes(1, 3, properties()));
    assert_eq!(answer_to(&bytes).1, text);
}

#[test]
fn acknowledgement_between_the_frames_of_a_publish_is_unexpected() {
    for method in [
        ack(1, false),
        basic(basic::AMQPMethod::Nack(basic::Nack::default())),
        basic(basic::AMQPMethod::Reject(basic::Reject::default())),
    ] {
        let mut bytes = method_bytes(1, publish_method("", "q", false));
        bytes.extend(method_bytes(1, method));
        assert_eq!(answer_to(&bytes).0, 505);
    }
}

#[test]
fn header_of_another_class_is_unexpected() {
    let mut bytes = method_bytes(1, publish_method("", "q", false));
    bytes.extend(frame(
        2,
        1,
        &[0, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        0xCE,
    ));
    let text =
        "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead";
    assert_eq!(answer_to(&bytes), closed(505, text, 60, 40));
}

#[test]
fn header_with_a_weight_is_unexpected() {
    let mut bytes = method_bytes(1, publish_method("", "q", false));
    bytes.extend(frame(
        2,
        1,
        &[0, 60, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        0xCE,
    ));
    assert_eq!(answer_to(&bytes).0, 505);
}

#[test]
fn body_longer_than_announced_is_unexpected() {
    let mut bytes = method_bytes(1, publish_method("", "q", false));
    bytes.extend(header_bytes(1, 3, basic::AMQPProperties::default()));
    bytes.extend(frame(3, 1, b"abcd", 0xCE));
    assert_eq!(answer_to(&bytes).0, 505);
}

#[test]
fn content_on_channel_zero_is_unexpected() {
    let text = "UNEXPECTED_FRAME - type 3, all octets = <<97,98>>";
    assert_eq!(
        answer_to(&frame(3, 0, b"ab", 0xCE)),
        closed(505, text, 0, 0)
    );
    assert_eq!(
        answer_to(&header_bytes(0, 0, basic::AMQPProperties::default())).0,
        505
    );
}

#[test]
fn methods_of_a_channel_on_channel_zero_have_no_meaning() {
    let text = "CHANNEL_ERROR - unexpected method in connection state running";
    assert_eq!(
        answer_to(&method_bytes(0, channel_open())),
        closed(504, text, 20, 10)
    );
    assert_eq!(answer_to(&method_bytes(0, ack(1, false))).0, 504);
    assert_eq!(
        answer_to(&method_bytes(0, publish_method("", "q", false))).0,
        504
    );
    assert_eq!(
        answer_to(&method_bytes(0, open(VHOST))),
        closed(504, text, 10, 40)
    );
}

#[test]
fn methods_of_the_connection_on_a_channel_are_invalid_commands() {
    assert_eq!(answer_to(&method_bytes(1, open(VHOST))).0, 503);
}

#[test]
fn frames_behind_a_fault_are_ignored_until_close_ok() {
    let node = Node::new();
    let mut peer = node.channel();
    let mut bytes = method_bytes(1, publish_method("", "q", false));
    bytes.extend(method_bytes(1, declare_queue("q")));
    bytes.extend(publish_bytes(1, "", "q", &[0xCE; 5000]));
    bytes.extend(method_bytes(2, channel_open()));
    bytes.extend(&method_bytes(1, declare_queue("r"))[..9]);
    peer.send_bytes(&bytes);
    assert_eq!(peer.expect_close().0, 505);
    peer.expect_silence();
    peer.send_bytes(&method_bytes(1, declare_queue("r"))[9..]);
    peer.expect_silence();
    assert!(!peer.is_gone());
    peer.send(
        0,
        AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {})),
    );
    assert!(peer.is_gone());
    assert_eq!(peer.next_frame(), None);
}

#[test]
fn both_sides_may_close_at_once() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.shut_down();
    peer.expect_close();
    let close = connection::AMQPMethod::Close(connection::Close::default());
    let answer = peer.call(0, AMQPClass::Connection(close));
    assert!(matches!(
        answer,
        AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))
    ));
    assert!(peer.is_gone());
}

#[test]
fn update_secret_is_answered() {
    let node = Node::new();
    let mut peer = node.connect();
    let update = connection::UpdateSecret::default();
    let answer = peer.call(
        0,
        AMQPClass::Connection(connection::AMQPMethod::UpdateSecret(update)),
    );
    assert!(matches!(
        answer,
        AMQPClass::Connection(connection::AMQPMethod::UpdateSecretOk(_))
    ));
}

#[test]
fn heartbeats_are_taken_between_any_frames() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.send_bytes(&method_bytes(1, publish_method("", "q", false)));
    peer.send_bytes(&frame_bytes(&AMQPFrame::Heartbeat));
    peer.send_bytes(&header_bytes(1, 3, basic::AMQPProperties::default()));
    peer.send_bytes(&frame_bytes(&AMQPFrame::Heartbeat));
    peer.send_bytes(&frame(3, 1, b"abc", 0xCE));
    assert_eq!(peer.ready(1, "q"), 1);
}
