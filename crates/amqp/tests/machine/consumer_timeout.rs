//! Consumers that do not settle what they were delivered.

use amq_protocol::protocol::{basic, queue};
use amq_protocol::types::AMQPValue;

use crate::harness::*;

const TIMEOUT: &str = "x-consumer-timeout";

/// Time passes for the node, and the connection hears of it.
fn wait_ms(node: &Node, peer: &mut Peer, ms: u64) {
    let until = node.broker.now().plus_ms(ms);
    while let Some(deadline) = node.broker.next_deadline().filter(|at| *at <= until) {
        node.clock.advance_to(deadline);
        node.broker.tick(deadline);
    }
    node.clock.advance_to(until);
    peer.pump();
}

fn consume(tag: &str, arguments: &[(&str, AMQPValue)]) -> amq_protocol::protocol::AMQPClass {
    basic(basic::AMQPMethod::Consume(basic::Consume {
        queue: short("q"),
        consumer_tag: short(tag),
        arguments: table(arguments),
        ..basic::Consume::default()
    }))
}

#[track_caller]
fn expect_timeout(peer: &mut Peer, ms: u64) {
    let text = format!(
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: {ms} ms. This \
         timeout value can be configured, see consumers doc guide to learn more"
    );
    assert_eq!(peer.expect_channel_close(1), (406, text, 0, 0));
}

#[test]
fn delivery_that_is_not_settled_in_time_closes_its_channel_with_406() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.consume("q", "c", false);
    peer.publish("q", b"m");
    peer.expect_delivery(1);
    wait_ms(&node, &mut peer, 1_700_000);
    peer.expect_silence();
    wait_ms(&node, &mut peer, 200_000);
    expect_timeout(&mut peer, 1_800_000);
    peer.reopen_channel(1);
    assert_eq!(peer.ready(1, "q"), 1, "it is back");
}

#[test]
fn queue_and_consumer_may_say_another_timeout() {
    let node = Node::new();
    let mut peer = node.channel();
    let declare = queue::Declare {
        queue: short("q"),
        arguments: table(&[(TIMEOUT, AMQPValue::LongInt(60_000))]),
        ..queue::Declare::default()
    };
    peer.call(1, declare_with(declare));
    for (arguments, ms) in [
        (vec![], 60_000),
        (vec![(TIMEOUT, AMQPValue::LongInt(10_000))], 10_000),
    ] {
        peer.call(1, consume("c", &arguments));
        peer.publish("q", b"m");
        peer.expect_delivery(1);
        wait_ms(&node, &mut peer, ms - 1);
        peer.expect_silence();
        wait_ms(&node, &mut peer, ms / 64 + 2);
        expect_timeout(&mut peer, ms);
        peer.reopen_channel(1);
        peer.send(1, get("q", true));
        peer.expect(1);
        while peer.has_frame() {
            peer.next_frame();
        }
    }
}

#[test]
fn what_is_settled_or_needs_no_acknowledgement_does_not_time_out() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.consume("q", "c", false);
    peer.publish("q", b"m");
    peer.expect_delivery(1);
    wait_ms(&node, &mut peer, 1_000_000);
    peer.send(1, ack(1, false));
    peer.open_channel(2);
    peer.declare("automatic");
    peer.consume("automatic", "a", true);
    peer.publish("automatic", b"m");
    peer.expect_delivery(1);
    wait_ms(&node, &mut peer, 10_000_000);
    peer.expect_silence();
}

#[test]
fn timeout_of_a_consumer_is_a_non_negative_integer() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    for value in [AMQPValue::LongInt(-1), text("soon")] {
        peer.send(1, consume("c", &[(TIMEOUT, value)]));
        let (code, words, ..) = peer.expect_channel_close(1);
        assert_eq!(code, 406);
        assert!(words.contains(TIMEOUT), "{words}");
        peer.reopen_channel(1);
    }
}

#[test]
fn fetched_delivery_times_out_as_well() {
    let node = Node::new();
    let mut peer = node.channel();
    let declare = queue::Declare {
        queue: short("q"),
        arguments: table(&[(TIMEOUT, AMQPValue::LongInt(20_000))]),
        ..queue::Declare::default()
    };
    peer.call(1, declare_with(declare));
    for (no_ack, settled) in [(true, false), (false, true), (false, false)] {
        peer.publish("q", b"m");
        peer.send(1, get("q", no_ack));
        while peer.has_frame() {
            peer.next_frame();
        }
        peer.wait_ms(19_999);
        peer.expect_silence();
        if settled {
            peer.send(1, ack(2, false));
        }
        peer.wait_ms(1);
    }
    expect_timeout(&mut peer, 20_000);
    peer.reopen_channel(1);
    assert_eq!(peer.ready(1, "q"), 1, "it is back");
}

#[test]
fn what_a_cancelled_consumer_holds_times_out_as_well() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.call(1, consume("c", &[(TIMEOUT, AMQPValue::LongInt(20_000))]));
    peer.publish("q", b"m");
    peer.expect_delivery(1);
    let cancel = basic::Cancel {
        consumer_tag: short("c"),
        ..basic::Cancel::default()
    };
    peer.call(1, basic(basic::AMQPMethod::Cancel(cancel)));
    peer.wait_ms(19_999);
    peer.expect_silence();
    peer.wait_ms(1);
    expect_timeout(&mut peer, 20_000);
    peer.reopen_channel(1);
    assert_eq!(peer.ready(1, "q"), 1, "it is back");
}
