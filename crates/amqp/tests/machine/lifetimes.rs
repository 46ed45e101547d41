//! How long queues and their messages are there, and what goes with them.

use amq_protocol::protocol::{AMQPClass, basic, channel, connection, exchange, queue};
use amq_protocol::types::AMQPValue;

use crate::harness::*;

fn delete(queue: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete {
        queue: short(queue),
        ..queue::Delete::default()
    }))
}

fn purge(queue: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Purge(queue::Purge {
        queue: short(queue),
        nowait: false,
    }))
}

fn nack(delivery_tag: u64, requeue: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Nack(basic::Nack {
        delivery_tag,
        multiple: false,
        requeue,
    }))
}

/// Declares `q` with these arguments.
#[track_caller]
fn declare_q(peer: &mut Peer, arguments: &[(&str, AMQPValue)]) {
    let declare = queue::Declare {
        queue: short("q"),
        arguments: table(arguments),
        ..queue::Declare::default()
    };
    let answer = peer.call(1, declare_with(declare));
    assert!(matches!(answer, AMQPClass::Queue(_)), "{answer:?}");
}

/// Something a client does with a queue.
type Use = fn(&mut Peer);

/// Whether a queue is there, as a channel of its own finds out.
fn is_there(peer: &mut Peer, queue: &str) -> bool {
    peer.open_channel(9);
    let answer = peer.call(9, passive_queue(queue));
    let is_there = matches!(answer, AMQPClass::Queue(_));
    let end = if is_there {
        channel::AMQPMethod::Close(channel::Close::default())
    } else {
        channel::AMQPMethod::CloseOk(channel::CloseOk {})
    };
    peer.send(9, AMQPClass::Channel(end));
    peer.next_frame();
    is_there
}

/// Time passes for the node: whatever expires, expires.
fn wait_ms(node: &Node, ms: u64) {
    let until = node.broker.now().plus_ms(ms);
    while let Some(deadline) = node.broker.next_deadline().filter(|at| *at <= until) {
        node.clock.advance_to(deadline);
        node.broker.tick(deadline);
    }
    node.clock.advance_to(until);
}

#[test]
fn passive_declare_looks_at_nothing_but_the_name() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    let passive = queue::Declare {
        queue: short("q"),
        passive: true,
        durable: true,
        exclusive: true,
        auto_delete: true,
        nowait: false,
        arguments: table(&[("x-message-ttl", text("soon"))]),
    };
    let answer = peer.call(1, declare_with(passive));
    assert!(matches!(answer, AMQPClass::Queue(_)), "{answer:?}");
    let passive = exchange::Declare {
        exchange: short("amq.topic"),
        kind: short("no such type"),
        passive: true,
        ..exchange::Declare::default()
    };
    let answer = peer.call(
        1,
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(passive)),
    );
    assert!(matches!(answer, AMQPClass::Exchange(_)), "{answer:?}");
}

#[test]
fn exclusive_queue_outlives_its_channel_and_is_gone_when_its_connection_is_told_so() {
    let node = Node::new();
    let (mut owner, mut other) = (node.channel(), node.connect());
    let declare = queue::Declare {
        queue: short("q"),
        exclusive: true,
        ..queue::Declare::default()
    };
    owner.call(1, declare_with(declare));
    owner.call(
        1,
        AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close::default())),
    );
    assert!(is_there(&mut owner, "q"));
    let close = connection::AMQPMethod::Close(connection::Close::default());
    let answer = owner.call(0, AMQPClass::Connection(close));
    assert!(matches!(
        answer,
        AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))
    ));
    assert!(!is_there(&mut other, "q"));
}

#[test]
fn unused_queue_expires_unless_it_is_consumed_got_from_or_declared_again() {
    // What a client does at 600 ms, and whether the queue is there at 1,200 ms.
    let uses: [(Use, bool); 4] = [
        (|peer| peer.publish("q", b"m"), false),
        (
            |peer| {
                peer.call(1, get("q", true));
            },
            true,
        ),
        (
            |peer| declare_q(peer, &[("x-expires", AMQPValue::LongInt(1000))]),
            true,
        ),
        (
            |peer| {
                peer.consume("q", "c", true);
                let cancel = basic::Cancel {
                    consumer_tag: short("c"),
                    nowait: false,
                };
                peer.call(1, basic(basic::AMQPMethod::Cancel(cancel)));
            },
            true,
        ),
    ];
    for (number, (using, stays)) in uses.into_iter().enumerate() {
        let node = Node::new();
        let mut peer = node.channel();
        declare_q(&mut peer, &[("x-expires", AMQPValue::LongInt(1000))]);
        wait_ms(&node, 600);
        using(&mut peer);
        wait_ms(&node, 600);
        assert_eq!(is_there(&mut peer, "q"), stays, "use {number}");
        // Asking whether it is there was a use as well.
        wait_ms(&node, 900);
        assert_eq!(is_there(&mut peer, "q"), stays, "use {number}");
        wait_ms(&node, 1100);
        assert!(!is_there(&mut peer, "q"), "use {number}");
    }
}

#[test]
fn queue_with_a_consumer_does_not_expire() {
    let node = Node::new();
    let mut peer = node.channel();
    declare_q(&mut peer, &[("x-expires", AMQPValue::LongInt(1000))]);
    peer.consume("q", "c", true);
    wait_ms(&node, 5000);
    assert!(is_there(&mut peer, "q"));
}

#[test]
fn counts_and_purges_leave_out_what_is_not_acknowledged() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    for body in [b"1", b"2", b"3"] {
        peer.publish("q", body);
    }
    peer.send(1, get("q", false));
    peer.expect_content(1);
    assert_eq!(peer.ready(1, "q"), 2);
    let purged = queue::AMQPMethod::PurgeOk(queue::PurgeOk { message_count: 2 });
    assert_eq!(peer.call(1, purge("q")), AMQPClass::Queue(purged));
    peer.send(1, nack(1, true));
    assert_eq!(peer.ready(1, "q"), 1);
    peer.send(1, get("q", false));
    assert_eq!(peer.expect_content(1).body, b"1");
    let deleted = queue::AMQPMethod::DeleteOk(queue::DeleteOk { message_count: 0 });
    assert_eq!(peer.call(1, delete("q")), AMQPClass::Queue(deleted));
    // The delivery outlived its queue, and can still be acknowledged.
    peer.send(1, ack(2, false));
    peer.expect_silence();
}

#[test]
fn purging_deleting_and_returning_dead_letter_nothing() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("dead");
    let mortal = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ];
    declare_q(&mut peer, &mortal);
    peer.publish("q", b"1");
    peer.send(1, get("q", false));
    peer.expect_content(1);
    peer.send(1, nack(1, true));
    peer.call(1, purge("q"));
    peer.publish("q", b"2");
    peer.call(1, delete("q"));
    assert_eq!(peer.ready(1, "dead"), 0);
}

#[test]
fn dead_letters_for_an_exchange_that_is_not_there_are_dropped() {
    let node = Node::new();
    let mut peer = node.channel();
    declare_q(&mut peer, &[("x-dead-letter-exchange", text("nowhere"))]);
    peer.publish("q", b"m");
    peer.send(1, get("q", false));
    peer.expect_content(1);
    peer.send(1, nack(1, false));
    assert_eq!(peer.ready(1, "q"), 0);
    peer.expect_silence();
}

#[test]
fn dead_letter_is_not_redelivered_in_its_new_queue() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("dead");
    let mortal = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ];
    declare_q(&mut peer, &mortal);
    peer.publish("q", b"m");
    for (tag, requeue) in [(1, true), (2, false)] {
        peer.send(1, get("q", false));
        peer.expect_content(1);
        peer.send(1, nack(tag, requeue));
    }
    peer.send(1, get("dead", false));
    let AMQPClass::Basic(basic::AMQPMethod::GetOk(got)) = peer.expect_content(1).method else {
        panic!("basic.get-ok was expected");
    };
    assert!(!got.redelivered);
    assert_eq!(
        (got.exchange.as_str(), got.routing_key.as_str()),
        ("", "dead")
    );
}

#[test]
fn messages_leave_a_priority_queue_highest_first_and_in_order_within_one() {
    let node = Node::new();
    let mut peer = node.channel();
    declare_q(&mut peer, &[("x-max-priority", AMQPValue::LongInt(5))]);
    let messages = [
        (None, b"none"),
        (Some(3), b"3  1"),
        (Some(9), b"9   "),
        (Some(0), b"0   "),
        (Some(3), b"3  2"),
        (Some(5), b"5   "),
    ];
    for (priority, body) in messages {
        let properties = priority.map_or_else(basic::AMQPProperties::default, |priority| {
            basic::AMQPProperties::default().with_priority(priority)
        });
        let mut bytes = method_bytes(1, publish_method("", "q", false));
        bytes.extend(content_bytes(1, properties, body));
        peer.send_bytes(&bytes);
    }
    peer.consume("q", "c", true);
    for body in [b"9   ", b"5   ", b"3  1", b"3  2", b"none", b"0   "] {
        assert_eq!(peer.expect_delivery(1).1.body, body);
    }
    peer.expect_silence();
}
