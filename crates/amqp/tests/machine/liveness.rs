//! Time: heartbeats, limits of opening and closing, shutdown, memory pressure.

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::FieldTable;
use ternmq_amqp::AmqpConfig;
use ternmq_broker::mailbox::{CloseReason, Notice};

use crate::harness::*;

const HEARTBEAT: &[u8] = &[8, 0, 0, 0, 0, 0, 0, 0xCE];

#[test]
fn handshake_has_a_time_limit() {
    let node = Node::new();
    let mut peer = node.dial();
    peer.wait_ms(9_999);
    assert!(!peer.is_gone());
    peer.wait_ms(1);
    assert!(peer.is_gone());

    let mut peer = node.dial();
    peer.send_bytes(HEADER);
    peer.expect(0);
    peer.wait_ms(10_000);
    assert!(peer.is_gone());
}

#[test]
fn heartbeats_are_sent_at_half_the_interval_while_nothing_else_is() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.wait_ms(29_999);
    peer.expect_silence();
    peer.wait_ms(1);
    assert_eq!(peer.next_frame(), Some(AMQPFrame::Heartbeat));
    peer.wait_ms(20_000);
    peer.declare("q");
    peer.wait_ms(29_999);
    peer.expect_silence();
    peer.wait_ms(1);
    assert_eq!(peer.next_frame(), Some(AMQPFrame::Heartbeat));
}

#[test]
fn silent_client_is_given_up_after_two_intervals_and_any_traffic_counts() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.wait_ms(119_999);
    peer.send_bytes(HEARTBEAT);
    peer.wait_ms(119_999);
    peer.declare("q");
    peer.wait_ms(119_999);
    assert!(!peer.is_gone());
    peer.wait_ms(1);
    assert!(peer.is_gone());
}

#[test]
fn heartbeat_of_zero_in_tune_ok_switches_heartbeats_off() {
    let node = Node::new();
    let mut peer = node.dial();
    peer.send_bytes(HEADER);
    peer.expect(0);
    peer.call(
        0,
        start_ok(&client_properties(), "PLAIN", b"\0guest\0guest"),
    );
    peer.send(0, tune_ok(2047, 131_072, 0));
    peer.call(0, open(VHOST));
    peer.wait_ms(100_000_000);
    peer.expect_silence();
    assert!(!peer.is_gone());
}

#[test]
fn shutdown_is_told_and_waits_for_the_answer() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.shut_down();
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    assert_eq!(peer.expect_close(), (320, text.to_owned(), 0, 0));
    assert!(!peer.is_gone());
    peer.send(
        0,
        AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {})),
    );
    assert!(peer.is_gone());
}

#[test]
fn shutdown_ends_an_unfinished_handshake() {
    let node = Node::new();
    let mut peer = node.dial();
    peer.shut_down();
    assert!(peer.is_gone());
}

#[test]
fn answer_to_close_has_a_time_limit() {
    let node = Node::with(AmqpConfig {
        close_timeout_ms: 700,
        ..AmqpConfig::default()
    });
    let mut peer = node.channel();
    peer.shut_down();
    peer.expect_close();
    peer.wait_ms(699);
    assert!(!peer.is_gone());
    peer.wait_ms(1);
    assert!(peer.is_gone());
}

#[test]
fn whoever_closes_a_connection_gives_the_reason() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.notify(Notice::Close(CloseReason::Administrative(
        "maintenance".into(),
    )));
    let text = "CONNECTION_FORCED - maintenance".to_owned();
    assert_eq!(peer.expect_close(), (320, text, 0, 0));
}

#[test]
fn blocked_is_told_after_a_publish_and_unblocked_when_it_is_over() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.notify(Notice::Blocked);
    peer.expect_silence();
    peer.publish("q", b"one");
    let blocked = connection::Blocked {
        reason: short("low on memory"),
    };
    assert_eq!(
        peer.expect(0),
        AMQPClass::Connection(connection::AMQPMethod::Blocked(blocked))
    );
    assert!(peer.reads());
    assert_eq!(peer.ready(1, "q"), 1);
    peer.publish("q", b"two");
    assert!(!peer.reads());
    peer.wait_ms(1_000_000);
    assert!(
        !peer.is_gone(),
        "silence means nothing while nothing is read"
    );
    peer.notify(Notice::Unblocked);
    let expected = connection::AMQPMethod::Unblocked(connection::Unblocked {});
    assert_eq!(peer.expect(0), AMQPClass::Connection(expected));
    assert!(peer.reads());
    peer.send_bytes(&[]);
    assert_eq!(peer.ready(1, "q"), 2);
}

#[test]
fn clients_without_the_capability_are_only_not_read() {
    let node = Node::new();
    let mut peer = node.dial();
    peer.log_in(&FieldTable::default(), VHOST);
    peer.open_channel(1);
    peer.declare("q");
    peer.notify(Notice::Blocked);
    assert_eq!(peer.ready(1, "q"), 0);
    peer.publish("q", b"one");
    peer.expect_silence();
    assert!(!peer.reads());
    peer.notify(Notice::Unblocked);
    peer.expect_silence();
    peer.send_bytes(&[]);
    assert_eq!(peer.ready(1, "q"), 1);
}

#[test]
fn connections_that_only_consume_are_not_blocked() {
    let node = Node::new();
    let (mut consumer, mut publisher) = (node.channel(), node.channel());
    consumer.declare("q");
    consumer.consume("q", "c", false);
    publisher.publish("q", b"one");
    consumer.notify(Notice::Blocked);
    let (deliver, _) = consumer.expect_delivery(1);
    consumer.send(1, ack(deliver.delivery_tag, false));
    consumer.expect_silence();
    assert!(consumer.reads());
}
