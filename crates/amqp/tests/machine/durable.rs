//! What answers to declarations wait for: a journal that holds its watermark back.

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, basic, channel, exchange, queue};
use ternmq_amqp::AmqpConfig;
use ternmq_broker::MemoryLog;

use crate::harness::*;

fn node() -> Node {
    Node::with_log(AmqpConfig::default(), MemoryLog::held_back())
}

fn durable_queue(queue: &str) -> queue::Declare {
    queue::Declare {
        queue: short(queue),
        durable: true,
        ..queue::Declare::default()
    }
}

fn durable_exchange(exchange: &str) -> exchange::Declare {
    exchange::Declare {
        exchange: short(exchange),
        kind: short("fanout"),
        durable: true,
        ..exchange::Declare::default()
    }
}

fn exchange(method: exchange::AMQPMethod) -> AMQPClass {
    AMQPClass::Exchange(method)
}

fn queue(method: queue::AMQPMethod) -> AMQPClass {
    AMQPClass::Queue(method)
}

/// Commits, and lets the driver hand in again what was not read.
fn commit(node: &Node, peer: &mut Peer) {
    node.log.commit();
    peer.pump();
    peer.send_bytes(&[]);
}

/// Class and method id of the next answer on channel 1.
#[track_caller]
fn answer(peer: &mut Peer) -> (u16, u16) {
    let class = peer.expect(1);
    (class.get_amqp_class_id(), class.get_amqp_method_id())
}

/// The answers that came on channel 1, by class and method id.
fn answers(peer: &mut Peer) -> Vec<(u16, u16)> {
    let mut ids = Vec::new();
    while let Some(frame) = peer.next_frame() {
        let AMQPFrame::Method(1, class) = frame else {
            panic!("a method on channel 1 was expected, not {frame:?}");
        };
        ids.push((class.get_amqp_class_id(), class.get_amqp_method_id()));
    }
    ids
}

#[test]
fn declarations_are_answered_when_they_are_committed() {
    let node = node();
    let mut peer = node.channel();
    let queue_bind = queue::Bind {
        queue: short("q"),
        exchange: short("x"),
        ..queue::Bind::default()
    };
    let queue_unbind = queue::Unbind {
        queue: short("q"),
        exchange: short("x"),
        ..queue::Unbind::default()
    };
    let bind = exchange::Bind {
        destination: short("y"),
        source: short("x"),
        ..exchange::Bind::default()
    };
    let unbind = exchange::Unbind {
        destination: short("y"),
        source: short("x"),
        ..exchange::Unbind::default()
    };
    let delete = exchange::Delete {
        exchange: short("y"),
        ..exchange::Delete::default()
    };
    for (method, ok) in [
        (
            exchange(exchange::AMQPMethod::Declare(durable_exchange("x"))),
            (40, 11),
        ),
        (
            exchange(exchange::AMQPMethod::Declare(durable_exchange("y"))),
            (40, 11),
        ),
        (declare_with(durable_queue("q")), (50, 11)),
        (queue(queue::AMQPMethod::Bind(queue_bind)), (50, 21)),
        (queue(queue::AMQPMethod::Unbind(queue_unbind)), (50, 51)),
        (exchange(exchange::AMQPMethod::Bind(bind)), (40, 31)),
        (exchange(exchange::AMQPMethod::Unbind(unbind)), (40, 51)),
        (exchange(exchange::AMQPMethod::Delete(delete)), (40, 21)),
    ] {
        peer.send(1, method);
        peer.expect_silence();
        assert!(!peer.reads(), "{ok:?}");
        commit(&node, &mut peer);
        assert_eq!(answer(&mut peer), ok);
        assert!(peer.reads(), "{ok:?}");
        peer.expect_silence();
    }
}

#[test]
fn what_somebody_else_declares_is_waited_for_too() {
    let node = node();
    let (mut first, mut second) = (node.channel(), node.channel());
    first.send(1, declare_with(durable_queue("q")));
    second.send(1, declare_with(durable_queue("q")));
    first.expect_silence();
    second.expect_silence();
    node.log.commit();
    assert_eq!(
        (answer(&mut first), answer(&mut second)),
        ((50, 11), (50, 11))
    );
}

#[test]
fn nothing_waits_without_an_answer_or_a_declaration() {
    let node = node();
    let mut peer = node.channel();
    let nowait = queue::Declare {
        nowait: true,
        ..durable_queue("q")
    };
    peer.send(1, declare_with(nowait));
    assert!(peer.reads());
    peer.consume("q", "c", false);

    let mut other = node.channel();
    assert_eq!(other.ready(1, "q"), 0, "a passive declare promises nothing");
}

#[test]
fn pipelined_declarations_share_one_commit_and_are_answered_in_order() {
    let node = node();
    let mut peer = node.channel();
    let nowait = queue::Declare {
        nowait: true,
        ..durable_queue("c")
    };
    let mut bytes = Vec::new();
    for method in [
        declare_with(durable_queue("a")),
        exchange(exchange::AMQPMethod::Declare(durable_exchange("x"))),
        declare_with(nowait),
        passive_queue("a"),
        declare_with(durable_queue("b")),
    ] {
        bytes.extend(method_bytes(1, method));
    }
    peer.send_bytes(&bytes);
    peer.expect_silence();
    assert_eq!(node.log.records().len(), 4, "all are carried out");
    commit(&node, &mut peer);
    assert_eq!(answers(&mut peer), [(50, 11), (40, 11), (50, 11), (50, 11)]);
}

#[test]
fn other_methods_wait_behind_a_declaration() {
    let node = node();
    let mut peer = node.channel();
    peer.select_confirms();
    let mut bytes = method_bytes(1, declare_with(durable_queue("q")));
    bytes.extend(publish_bytes(1, "", "q", b"m"));
    bytes.extend(method_bytes(1, get("q", true)));
    bytes.extend(method_bytes(1, declare_with(durable_queue("r"))));
    bytes.extend(method_bytes(2, channel_open()));
    peer.send_bytes(&bytes);
    peer.expect_silence();
    assert_eq!(node.log.records().len(), 1);

    commit(&node, &mut peer);
    assert_eq!(answer(&mut peer), (50, 11));
    assert_eq!(answer(&mut peer), (60, 80), "the confirm");
    assert_eq!(peer.expect_content(1).body, b"m");
    peer.expect_silence();

    commit(&node, &mut peer);
    assert_eq!(answer(&mut peer), (50, 11));
    let AMQPClass::Channel(channel::AMQPMethod::OpenOk(_)) = peer.expect(2) else {
        panic!("channel.open-ok was expected");
    };
}

#[test]
fn declaration_in_pieces_waits_for_its_rest() {
    let node = node();
    let mut peer = node.channel();
    let first = method_bytes(1, declare_with(durable_queue("a")));
    let second = method_bytes(1, declare_with(durable_queue("b")));
    for cut in 1..second.len() {
        peer.send_bytes(&[&first[..], &second[..cut]].concat());
        peer.expect_silence();
        commit(&node, &mut peer);
        assert_eq!(answer(&mut peer), (50, 11), "{cut}");
        peer.expect_silence();
        peer.send_bytes(&second[cut..]);
        commit(&node, &mut peer);
        assert_eq!(answer(&mut peer), (50, 11), "{cut}");
        peer.send(
            1,
            queue(queue::AMQPMethod::Delete(queue::Delete {
                queue: short("b"),
                nowait: true,
                ..queue::Delete::default()
            })),
        );
    }
}

#[test]
fn error_of_a_pipelined_declaration_comes_in_its_turn() {
    let node = node();
    let mut peer = node.channel();
    peer.open_channel(2);
    let mut bytes = method_bytes(1, declare_with(durable_queue("q")));
    bytes.extend(method_bytes(1, declare_queue("q")));
    bytes.extend(method_bytes(1, declare_with(durable_queue("ignored"))));
    bytes.extend(method_bytes(2, declare_with(durable_queue("r"))));
    peer.send_bytes(&bytes);
    peer.expect_silence();
    assert_eq!(node.log.records().len(), 2);
    commit(&node, &mut peer);
    assert_eq!(answer(&mut peer), (50, 11));
    assert_eq!(peer.expect_channel_close(1).0, 406);
    let AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) = peer.expect(2) else {
        panic!("queue.declare-ok was expected");
    };
    assert_eq!(ok.queue.as_str(), "r");
}

#[test]
fn cancel_comes_behind_the_answer_of_the_delete_that_caused_it() {
    let node = node();
    let mut peer = node.channel();
    peer.send(1, declare_with(durable_queue("q")));
    commit(&node, &mut peer);
    assert_eq!(answer(&mut peer), (50, 11));
    peer.consume("q", "c", true);
    let delete = queue::Delete {
        queue: short("q"),
        ..queue::Delete::default()
    };
    peer.send(1, queue(queue::AMQPMethod::Delete(delete)));
    assert_eq!(answers(&mut peer), []);
    commit(&node, &mut peer);
    assert_eq!(answers(&mut peer), [(50, 41), (60, 30)]);
}

#[test]
fn connection_that_ends_while_it_waits_is_told_nothing_of_its_declaration() {
    let node = node();
    let mut peer = node.channel();
    let mut bytes = method_bytes(1, declare_with(durable_queue("q")));
    // No method of the class that the codec knows.
    bytes.extend([1, 0, 1, 0, 0, 0, 4, 0, 50, 0, 99, 0xCE]);
    peer.send_bytes(&bytes);
    assert_eq!(peer.expect_close().0, 503);
    node.log.commit();
    peer.expect_silence();
}

#[test]
fn deliveries_heartbeats_and_confirms_go_on_while_a_declaration_waits() {
    let node = node();
    let (mut peer, mut other) = (node.channel(), node.channel());
    peer.declare("t");
    peer.consume("t", "c", true);
    other.send(1, declare_with(durable_queue("d")));
    commit(&node, &mut other);
    assert_eq!(answer(&mut other), (50, 11));

    peer.select_confirms();
    let persistent = basic::AMQPProperties::default().with_delivery_mode(2);
    let mut bytes = method_bytes(1, publish_method("", "d", false));
    bytes.extend(content_bytes(1, persistent, b"m"));
    peer.send_bytes(&bytes);
    // Committed with the publish, but not with the declaration behind it.
    peer.send(1, declare_with(durable_queue("q")));
    other.publish("t", b"m");
    assert_eq!(peer.expect_delivery(1).1.body, b"m");
    peer.wait_ms(1_000_000);
    assert!(
        !peer.is_gone(),
        "silence means nothing while nothing is read"
    );
    assert_eq!(peer.next_frame(), Some(AMQPFrame::Heartbeat));

    commit(&node, &mut peer);
    assert_eq!(answer(&mut peer), (60, 80), "the confirm was first");
    assert_eq!(answer(&mut peer), (50, 11));
    peer.wait_ms(119_999);
    assert!(!peer.is_gone());
    peer.wait_ms(1);
    assert!(peer.is_gone(), "and silence means something again");
}

#[test]
fn shortage_that_ends_while_a_declaration_waits_lets_nothing_be_read() {
    let node = node();
    let mut peer = node.channel();
    peer.notify(ternmq_broker::mailbox::Notice::Blocked);
    peer.send(1, declare_with(durable_queue("q")));
    peer.notify(ternmq_broker::mailbox::Notice::Unblocked);
    assert!(!peer.reads());
    commit(&node, &mut peer);
    assert_eq!(answer(&mut peer), (50, 11));
    assert!(peer.reads());
}
