//! Channels: their life, their limits, and who suffers from whose faults.

use amq_protocol::protocol::{AMQPClass, access, basic, channel, queue};
use ternmq_amqp::AmqpConfig;

use crate::harness::*;

fn close_ok() -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}))
}

fn close() -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close::default()))
}

#[test]
fn channel_opens_closes_and_opens_again() {
    let node = Node::new();
    let mut peer = node.connect();
    for _ in 0..3 {
        peer.open_channel(7);
        assert_eq!(peer.call(7, close()), close_ok());
    }
}

#[test]
fn second_open_of_a_channel_is_a_channel_error_on_the_connection() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.send(1, channel_open());
    let text = "CHANNEL_ERROR - second 'channel.open' seen";
    assert_eq!(peer.expect_close(), (504, text.to_owned(), 20, 10));
}

#[test]
fn any_method_on_a_channel_that_is_not_open_is_a_channel_error_on_the_connection() {
    for method in [
        declare_queue("q"),
        publish_method("", "q", false),
        ack(1, false),
        close(),
    ] {
        let node = Node::new();
        let mut peer = node.channel();
        peer.send(2, method);
        let (code, text, ..) = peer.expect_close();
        assert_eq!(
            (code, text.as_str()),
            (504, "CHANNEL_ERROR - expected 'channel.open'")
        );
    }
}

#[test]
fn channel_closed_by_both_sides_at_once_is_free_again() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.send(1, ack(99, false));
    peer.send(1, close());
    assert_eq!(peer.expect_channel_close(1).0, 406);
    assert_eq!(peer.expect(1), close_ok());
    // The answer to the broker's close comes after the channel is free.
    peer.send(1, close_ok());
    peer.open_channel(1);
    peer.declare("q");
}

#[test]
fn close_ok_for_a_channel_that_is_not_open_is_ignored() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.send(2, close_ok());
    peer.open_channel(2);
    peer.declare("q");
}

#[test]
fn as_many_channels_open_as_were_negotiated_and_not_one_more() {
    let node = Node::with(AmqpConfig {
        channel_max: 3,
        ..AmqpConfig::default()
    });
    let mut peer = node.connect();
    for channel in 1..=3 {
        peer.open_channel(channel);
    }
    peer.call(2, close());
    peer.open_channel(2);
    peer.send(4, channel_open());
    let text =
        "NOT_ALLOWED - number of channels opened (3) has reached the negotiated channel_max (3)";
    assert_eq!(peer.expect_close(), (530, text.to_owned(), 20, 10));
}

#[test]
fn channels_may_have_any_numbers_while_they_are_no_more_than_the_negotiated_maximum() {
    let node = Node::with(AmqpConfig {
        channel_max: 2,
        ..AmqpConfig::default()
    });
    let mut peer = node.connect();
    for channel in [65_535, 4] {
        peer.open_channel(channel);
        peer.send(channel, passive_queue("nope"));
        assert_eq!(peer.expect_channel_close(channel).0, 404);
        peer.reopen_channel(channel);
    }
    peer.call(65_535, close());
    peer.open_channel(1);
    peer.send(65_535, channel_open());
    let text =
        "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)";
    assert_eq!(peer.expect_close(), (530, text.to_owned(), 20, 10));
}

#[test]
fn channel_that_waits_for_close_ok_counts_and_ignores_what_comes() {
    let node = Node::with(AmqpConfig {
        channel_max: 1,
        ..AmqpConfig::default()
    });
    let mut peer = node.channel();
    peer.declare("q");
    let mut bytes = method_bytes(1, passive_queue("nope"));
    bytes.extend(method_bytes(1, declare_queue("other")));
    bytes.extend(publish_bytes(1, "", "q", b"lost"));
    bytes.extend(method_bytes(1, ack(9, false)));
    bytes.extend(method_bytes(1, channel_open()));
    peer.send_bytes(&bytes);
    let text = "NOT_FOUND - no queue 'nope' in vhost 'probe'";
    assert_eq!(peer.expect_channel_close(1), (404, text.to_owned(), 50, 10));
    peer.expect_silence();
    peer.reopen_channel(1);
    assert_eq!(peer.ready(1, "q"), 0);
    peer.send(1, passive_queue("other"));
    assert_eq!(peer.expect_channel_close(1).0, 404);
}

#[test]
fn client_may_close_a_channel_that_the_server_closes() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.send(1, passive_queue("nope"));
    peer.expect_channel_close(1);
    assert_eq!(peer.call(1, close()), close_ok());
    peer.open_channel(1);
}

#[test]
fn other_channels_go_on_after_a_channel_error() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.open_channel(2);
    peer.send(2, passive_queue("nope"));
    peer.expect_channel_close(2);
    peer.declare("q");
}

#[test]
fn unacked_of_a_closed_channel_return_in_order_and_redelivered() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    for body in [b"1", b"2", b"3"] {
        peer.publish("q", body);
    }
    peer.consume("q", "c", false);
    for _ in 0..3 {
        assert!(!peer.expect_delivery(1).0.redelivered);
    }
    peer.call(1, close());
    peer.open_channel(1);
    peer.consume("q", "c", true);
    for body in [b"1", b"2", b"3"] {
        let (deliver, content) = peer.expect_delivery(1);
        assert!(deliver.redelivered);
        assert_eq!(content.body, body);
    }
}

#[test]
fn flow_can_be_active_and_not_inactive() {
    let node = Node::new();
    let mut peer = node.channel();
    let flow = |active| AMQPClass::Channel(channel::AMQPMethod::Flow(channel::Flow { active }));
    let ok = channel::AMQPMethod::FlowOk(channel::FlowOk { active: true });
    assert_eq!(peer.call(1, flow(true)), AMQPClass::Channel(ok));
    peer.send(1, flow(false));
    let text = "NOT_IMPLEMENTED - active=false";
    assert_eq!(peer.expect_close(), (540, text.to_owned(), 20, 20));
}

#[test]
fn access_request_of_old_clients_is_granted() {
    let node = Node::new();
    let mut peer = node.channel();
    let request = access::AMQPMethod::Request(access::Request::default());
    let answer = peer.call(1, AMQPClass::Access(request));
    assert!(matches!(
        answer,
        AMQPClass::Access(access::AMQPMethod::RequestOk(_))
    ));
}

#[test]
fn last_declared_queue_stands_in_for_an_empty_name() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.send(1, get("", true));
    let text = "NOT_FOUND - no previously declared queue";
    assert_eq!(peer.expect_channel_close(1), (404, text.to_owned(), 60, 70));
    peer.reopen_channel(1);
    let bind = |exchange: &str| {
        AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
            exchange: short(exchange),
            ..queue::Bind::default()
        }))
    };
    peer.send(1, bind("amq.direct"));
    assert_eq!(peer.expect_channel_close(1), (404, text.to_owned(), 50, 20));
    peer.reopen_channel(1);

    peer.declare("q");
    assert!(matches!(
        peer.call(1, bind("amq.direct")),
        AMQPClass::Queue(queue::AMQPMethod::BindOk(_))
    ));
    // The key was the queue's name too.
    peer.send_bytes(&publish_bytes(1, "amq.direct", "q", b"m"));
    peer.consume("", "c", true);
    assert_eq!(peer.expect_delivery(1).1.body, b"m");
    peer.publish("q", b"n");
    assert_eq!(peer.expect_delivery(1).1.body, b"n");
    let cancel = basic::Cancel {
        consumer_tag: short("c"),
        nowait: false,
    };
    peer.call(1, basic(basic::AMQPMethod::Cancel(cancel)));
    peer.publish("q", b"o");
    let purge = queue::AMQPMethod::Purge(queue::Purge::default());
    let ok = queue::AMQPMethod::PurgeOk(queue::PurgeOk { message_count: 1 });
    assert_eq!(peer.call(1, AMQPClass::Queue(purge)), AMQPClass::Queue(ok));
    let delete = queue::AMQPMethod::Delete(queue::Delete::default());
    let ok = queue::AMQPMethod::DeleteOk(queue::DeleteOk { message_count: 0 });
    assert_eq!(peer.call(1, AMQPClass::Queue(delete)), AMQPClass::Queue(ok));
}
