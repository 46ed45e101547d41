//! Transactions: what waits for `tx.commit`, and what `tx.rollback` gives back.

use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, queue, tx};
use amq_protocol::types::AMQPValue;
use ternmq_amqp::AmqpConfig;
use ternmq_broker::MemoryLog;

use crate::harness::*;

fn select() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}))
}

fn commit() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {}))
}

fn rollback() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {}))
}

fn select_ok() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::SelectOk(tx::SelectOk {}))
}

fn commit_ok() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::CommitOk(tx::CommitOk {}))
}

fn rollback_ok() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::RollbackOk(tx::RollbackOk {}))
}

fn nack(delivery_tag: u64, requeue: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Nack(basic::Nack {
        delivery_tag,
        multiple: false,
        requeue,
    }))
}

fn precondition(text: &str, (class, method): (u16, u16)) -> Closed {
    let text = format!("PRECONDITION_FAILED - {text}");
    (406, text, class, method)
}

/// A peer in a transaction, with queue `q`, and another one to look on.
fn in_transaction(node: &Node) -> (Peer, Peer) {
    let mut peer = node.channel();
    peer.declare("q");
    assert_eq!(peer.call(1, select()), select_ok());
    (peer, node.channel())
}

/// The same with deliveries `1` to `3` outstanding, with these tags.
fn with_three(node: &Node) -> (Peer, Peer) {
    let mut other = node.channel();
    other.declare("q");
    for body in [b"1", b"2", b"3"] {
        other.publish("q", body);
    }
    let (mut peer, other) = in_transaction(node);
    for _ in 0..3 {
        peer.send(1, get("q", false));
        peer.expect_content(1);
    }
    (peer, other)
}

fn close_channel(peer: &mut Peer) {
    let close = channel::AMQPMethod::Close(channel::Close::default());
    let ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
    assert_eq!(
        peer.call(1, AMQPClass::Channel(close)),
        AMQPClass::Channel(ok)
    );
}

fn declare_durable(peer: &mut Peer, queue: &str, arguments: &[(&str, AMQPValue)]) {
    let declare = queue::Declare {
        queue: short(queue),
        durable: true,
        arguments: table(arguments),
        ..queue::Declare::default()
    };
    let answer = peer.call(1, declare_with(declare));
    let declared = matches!(answer, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(_)));
    assert!(declared, "{answer:?}");
}

fn publish_durable(peer: &mut Peer, queue: &str, body: &[u8]) {
    let mut bytes = method_bytes(1, publish_method("", queue, false));
    let properties = basic::AMQPProperties::default().with_delivery_mode(2);
    bytes.extend(content_bytes(1, properties, body));
    peer.send_bytes(&bytes);
}

fn next_body(peer: &mut Peer, queue: &str) -> Vec<u8> {
    peer.send(1, get(queue, true));
    peer.expect_content(1).body
}

#[test]
fn commit_and_rollback_need_select() {
    let node = Node::new();
    let mut peer = node.channel();
    for (method, id) in [(commit(), (90, 20)), (rollback(), (90, 30))] {
        peer.send(1, method);
        let closed = precondition("channel is not transactional", id);
        assert_eq!(peer.expect_channel_close(1), closed);
        peer.reopen_channel(1);
    }
    assert_eq!(peer.call(1, select()), select_ok());
    assert_eq!(peer.call(1, select()), select_ok(), "twice is fine");
    assert_eq!(peer.call(1, commit()), commit_ok(), "of nothing is fine");
    assert_eq!(peer.call(1, rollback()), rollback_ok());
}

#[test]
fn transactions_and_confirms_exclude_each_other() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.call(1, select());
    let confirm = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
    peer.send(1, AMQPClass::Confirm(confirm));
    let closed = precondition("cannot switch from tx to confirm mode", (85, 10));
    assert_eq!(peer.expect_channel_close(1), closed);
    peer.reopen_channel(1);
    peer.select_confirms();
    peer.send(1, select());
    let closed = precondition("cannot switch from confirm to tx mode", (90, 10));
    assert_eq!(peer.expect_channel_close(1), closed);
}

#[test]
fn publishes_are_invisible_until_commit_and_gone_after_rollback() {
    let node = Node::new();
    let (mut peer, mut other) = in_transaction(&node);
    peer.publish("q", b"dropped");
    assert_eq!(other.ready(1, "q"), 0);
    assert_eq!(peer.ready(1, "q"), 0, "not even to oneself");
    assert_eq!(peer.call(1, rollback()), rollback_ok());
    assert_eq!(peer.call(1, commit()), commit_ok());
    assert_eq!(other.ready(1, "q"), 0);

    other.declare("r");
    for (queue, body) in [("q", b"1"), ("r", b"2"), ("q", b"3")] {
        peer.publish(queue, body);
    }
    assert_eq!(peer.call(1, commit()), commit_ok());
    let bodies = ["q", "q", "r"].map(|queue| next_body(&mut other, queue));
    assert_eq!(bodies, [b"1", b"3", b"2"]);
    assert_eq!(peer.call(1, commit()), commit_ok());
    assert_eq!(other.ready(1, "q"), 0, "committed once");
}

#[test]
fn publishes_and_commit_in_one_read_come_in_that_order() {
    let node = Node::new();
    let (mut peer, mut other) = in_transaction(&node);
    let mut bytes = publish_bytes(1, "", "q", b"1");
    bytes.extend(method_bytes(1, commit()));
    bytes.extend(publish_bytes(1, "", "q", b"2"));
    bytes.extend(method_bytes(1, commit()));
    bytes.extend(publish_bytes(1, "", "q", b"3"));
    peer.send_bytes(&bytes);
    assert_eq!([peer.expect(1), peer.expect(1)], [commit_ok(), commit_ok()]);
    assert_eq!(other.ready(1, "q"), 2);
}

#[test]
fn publish_is_routed_when_it_comes() {
    let node = Node::new();
    let (mut peer, mut other) = in_transaction(&node);
    peer.publish("q", b"m");
    peer.send_bytes(&publish_bytes(1, "nope", "", b"m"));
    let closed = peer.expect_channel_close(1);
    let text = "NOT_FOUND - no exchange 'nope' in vhost 'probe'";
    assert_eq!(closed, (404, text.to_owned(), 60, 40));
    assert_eq!(other.ready(1, "q"), 0, "nothing of it happened");
    peer.reopen_channel(1);
    peer.call(1, select());
    // The queue comes too late, and the other one goes too early.
    peer.publish("later", b"m");
    peer.publish("q", b"m");
    other.declare("later");
    let delete = queue::AMQPMethod::Delete(queue::Delete {
        queue: short("q"),
        ..queue::Delete::default()
    });
    other.call(1, AMQPClass::Queue(delete));
    assert_eq!(peer.call(1, commit()), commit_ok());
    assert_eq!(other.ready(1, "later"), 0);
}

#[test]
fn mandatory_messages_are_returned_at_commit_before_its_answer() {
    let node = Node::new();
    let (mut peer, _other) = in_transaction(&node);
    let mut mandatory = method_bytes(1, publish_method("", "nowhere", true));
    let properties = basic::AMQPProperties::default().with_message_id(short("m1"));
    mandatory.extend(content_bytes(1, properties.clone(), b"back"));
    peer.send_bytes(&mandatory);
    peer.expect_silence();
    assert_eq!(peer.call(1, rollback()), rollback_ok());
    peer.send_bytes(&mandatory);
    peer.publish("nowhere", b"dropped");
    peer.send(1, commit());
    let returned = peer.expect_content(1);
    let expected = basic::Return {
        reply_code: 312,
        reply_text: short("NO_ROUTE"),
        exchange: short(""),
        routing_key: short("nowhere"),
    };
    assert_eq!(
        returned.method,
        basic(basic::AMQPMethod::Return(expected.clone()))
    );
    assert_eq!(
        (returned.properties, &*returned.body),
        (properties, &b"back"[..])
    );
    assert_eq!(peer.expect(1), commit_ok());
    assert_eq!(peer.call(1, commit()), commit_ok(), "returned once");
}

#[test]
fn acknowledgements_take_effect_at_commit() {
    let node = Node::new();
    let (mut peer, mut other) = with_three(&node);
    peer.send(1, ack(2, true));
    peer.send(1, nack(3, true));
    assert_eq!(other.ready(1, "q"), 0, "not yet requeued");
    assert_eq!(peer.call(1, commit()), commit_ok());
    assert_eq!(other.ready(1, "q"), 1);
    close_channel(&mut peer);
    assert_eq!(other.ready(1, "q"), 1, "the others are gone");
    assert_eq!(next_body(&mut other, "q"), b"3");
}

#[test]
fn tag_acknowledged_in_the_transaction_is_no_longer_outstanding() {
    for (first, second, tag) in [
        (ack(1, false), ack(1, false), 1),
        (ack(2, true), ack(1, false), 1),
        (nack(3, false), ack(3, true), 3),
    ] {
        let node = Node::new();
        let (mut peer, mut other) = with_three(&node);
        peer.send(1, first);
        peer.send(1, second);
        let closed = precondition(&format!("unknown delivery tag {tag}"), (60, 80));
        assert_eq!(peer.expect_channel_close(1), closed);
        assert_eq!(
            other.ready(1, "q"),
            3,
            "closed before commit: all come back"
        );
    }
}

#[test]
fn rollback_makes_acknowledged_deliveries_outstanding_again() {
    let node = Node::new();
    let (mut peer, mut other) = with_three(&node);
    peer.send(1, ack(2, false));
    peer.send(1, nack(3, false));
    assert_eq!(peer.call(1, rollback()), rollback_ok());
    assert_eq!(other.ready(1, "q"), 0, "they stay with the channel");
    // Everything can be said once more.
    peer.send(1, ack(2, true));
    assert_eq!(peer.call(1, commit()), commit_ok());
    close_channel(&mut peer);
    other.send(1, get("q", true));
    let left = other.expect_content(1);
    let AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)) = left.method else {
        panic!("basic.get-ok was expected");
    };
    assert!(ok.redelivered && ok.message_count == 0);
    assert_eq!(left.body, b"3");
}

#[test]
fn dead_letters_are_made_at_commit() {
    let node = Node::new();
    let (mut peer, mut other) = in_transaction(&node);
    peer.declare("dead");
    let to_dead = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ];
    declare_durable(&mut peer, "dying", &to_dead);
    other.publish("dying", b"m");
    peer.send(1, get("dying", false));
    peer.expect_content(1);
    peer.send(1, nack(1, false));
    assert_eq!(other.ready(1, "dead"), 0);
    assert_eq!(peer.call(1, commit()), commit_ok());
    assert_eq!(next_body(&mut other, "dead"), b"m");
}

#[test]
fn recover_returns_what_is_not_acknowledged_in_the_transaction() {
    let node = Node::new();
    let (mut peer, mut other) = with_three(&node);
    peer.send(1, ack(2, false));
    let recover = basic(basic::AMQPMethod::Recover(basic::Recover { requeue: true }));
    let ok = basic(basic::AMQPMethod::RecoverOk(basic::RecoverOk {}));
    assert_eq!(peer.call(1, recover), ok);
    assert_eq!(other.ready(1, "q"), 2);
    assert_eq!(peer.call(1, rollback()), rollback_ok());
    close_channel(&mut peer);
    assert_eq!(other.ready(1, "q"), 3);
}

#[test]
fn prefetch_counts_deliveries_until_the_commit() {
    let node = Node::new();
    let (mut peer, mut other) = in_transaction(&node);
    let qos = basic::Qos {
        prefetch_count: 1,
        global: true,
    };
    peer.call(1, basic(basic::AMQPMethod::Qos(qos)));
    peer.consume("q", "c", false);
    other.publish("q", b"1");
    other.publish("q", b"2");
    assert_eq!(peer.expect_delivery(1).1.body, b"1");
    peer.send(1, ack(1, false));
    peer.expect_silence();
    assert_eq!(peer.call(1, commit()), commit_ok());
    assert_eq!(peer.expect_delivery(1).1.body, b"2");
}

#[test]
fn channel_or_connection_that_ends_rolls_back() {
    let node = Node::new();
    let (mut peer, mut other) = with_three(&node);
    peer.publish("q", b"dropped");
    peer.send(1, ack(0, true));
    close_channel(&mut peer);
    assert_eq!(other.ready(1, "q"), 3);

    peer.open_channel(1);
    peer.call(1, select());
    peer.send(1, get("q", false));
    peer.expect_content(1);
    peer.send(1, ack(1, false));
    peer.publish("q", b"dropped");
    assert_eq!(other.ready(1, "q"), 2);
    peer.lose();
    assert_eq!(other.ready(1, "q"), 3);
}

#[test]
fn commit_is_answered_when_the_journal_is_safe() {
    let node = Node::with_log(AmqpConfig::default(), MemoryLog::held_back());
    let mut peer = node.channel();
    for queue in ["d", "e"] {
        let declare = queue::Declare {
            queue: short(queue),
            durable: true,
            nowait: true,
            ..queue::Declare::default()
        };
        peer.send(1, declare_with(declare));
    }
    node.log.commit();
    peer.call(1, select());
    let before = node.log.records().len();
    publish_durable(&mut peer, "d", b"1");
    publish_durable(&mut peer, "e", b"2");
    assert_eq!(node.log.records().len(), before, "nothing is written early");
    peer.send(1, commit());
    assert_eq!(node.log.records().len(), before + 2);
    peer.expect_silence();
    node.log.commit();
    assert_eq!(peer.expect(1), commit_ok());

    // An acknowledgement alone is journalled too.
    peer.send(1, get("d", false));
    peer.expect_content(1);
    peer.send(1, ack(1, false));
    peer.send(1, commit());
    peer.expect_silence();
    node.log.commit();
    assert_eq!(peer.expect(1), commit_ok());
    peer.expect_silence();
}

/// A connection whose channels 1 to 3 are open, and whose first two are transacted and have published to a durable
/// queue `d`.
fn two_open_transactions(node: &Node) -> Peer {
    let mut peer = node.channel();
    let declare = queue::Declare {
        queue: short("d"),
        durable: true,
        nowait: true,
        ..queue::Declare::default()
    };
    peer.send(1, declare_with(declare));
    node.log.commit();
    for channel in 2..=3 {
        peer.open_channel(channel);
    }
    for channel in 1..=2 {
        peer.call(channel, select());
        let mut bytes = method_bytes(channel, publish_method("", "d", false));
        let durable = basic::AMQPProperties::default().with_delivery_mode(2);
        bytes.extend(content_bytes(channel, durable, b"m"));
        peer.send_bytes(&bytes);
    }
    peer
}

/// The journal gets on, and the driver hands in again what was not read.
fn make_safe(node: &Node, peer: &mut Peer) {
    node.log.commit();
    peer.pump();
    peer.send_bytes(&[]);
}

#[test]
fn whatever_is_pipelined_behind_a_commit_is_answered_after_it() {
    let cases = [
        (1, rollback(), rollback_ok()),
        (1, select(), select_ok()),
        (
            1,
            get("nowhere", false),
            AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close {
                reply_code: 404,
                reply_text: short("NOT_FOUND - no queue 'nowhere' in vhost 'probe'"),
                class_id: 60,
                method_id: 70,
            })),
        ),
        (
            1,
            AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close::default())),
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})),
        ),
        (
            0,
            AMQPClass::Connection(connection::AMQPMethod::Close(connection::Close::default())),
            AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {})),
        ),
    ];
    for (channel, behind, answer) in cases {
        let node = Node::with_log(AmqpConfig::default(), MemoryLog::held_back());
        let mut peer = two_open_transactions(&node);
        let mut bytes = method_bytes(1, commit());
        bytes.extend(method_bytes(channel, behind));
        peer.send_bytes(&bytes);
        peer.expect_silence();
        assert!(!peer.reads(), "it waits with what was sent");
        make_safe(&node, &mut peer);
        assert_eq!(peer.expect(1), commit_ok());
        assert_eq!(peer.expect(channel), answer);
        peer.expect_silence();
    }
}

#[test]
fn other_channels_and_heartbeats_go_on_behind_a_commit_and_commits_share_the_wait() {
    let node = Node::with_log(AmqpConfig::default(), MemoryLog::held_back());
    let mut peer = two_open_transactions(&node);
    let mut bytes = method_bytes(1, commit());
    bytes.extend(frame_bytes(&amq_protocol::frame::AMQPFrame::Heartbeat));
    bytes.extend(method_bytes(2, commit()));
    bytes.extend(method_bytes(3, get("d", true)));
    peer.send_bytes(&bytes);
    let got = peer.expect_content(3);
    assert_eq!(got.body, b"m");
    peer.expect_silence();
    assert!(peer.reads(), "nothing waits yet");
    peer.send(2, commit());
    peer.expect_silence();
    assert!(!peer.reads());
    make_safe(&node, &mut peer);
    assert_eq!([peer.expect(1), peer.expect(2)], [commit_ok(), commit_ok()]);
    assert_eq!(peer.expect(2), commit_ok());
    assert!(peer.reads());
}

#[test]
fn transaction_of_transient_messages_does_not_wait_for_the_journal() {
    let node = Node::with_log(AmqpConfig::default(), MemoryLog::held_back());
    let (mut peer, mut other) = in_transaction(&node);
    peer.publish("q", b"m");
    assert_eq!(peer.call(1, commit()), commit_ok());
    assert_eq!(other.ready(1, "q"), 1);
}

#[test]
fn full_queue_makes_the_commit_partial() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("out");
    let full = [
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", text("reject-publish")),
    ];
    declare_durable(&mut peer, "full", &full);
    peer.call(1, select());
    for (queue, body) in [("full", b"1"), ("full", b"2"), ("out", b"3")] {
        peer.publish(queue, body);
    }
    peer.send(1, commit());
    let closed = precondition("partial tx completion", (90, 20));
    assert_eq!(peer.expect_channel_close(1), closed);
    peer.reopen_channel(1);
    assert_eq!((peer.ready(1, "full"), peer.ready(1, "out")), (1, 1));
}

#[test]
fn transaction_that_grows_too_large_closes_its_channel() {
    let config = AmqpConfig {
        transaction_bytes_max: 4000,
        ..AmqpConfig::default()
    };
    let text = "transaction is larger than transaction_bytes_max (4000)";
    let node = Node::with(config);
    let (mut peer, mut other) = in_transaction(&node);
    peer.publish("q", &[0; 3000]);
    peer.expect_silence();
    peer.publish("q", &[0; 1000]);
    assert_eq!(peer.expect_channel_close(1), precondition(text, (60, 40)));
    assert_eq!(other.ready(1, "q"), 0);

    // What will be returned counts, and acknowledgements do.
    peer.reopen_channel(1);
    peer.call(1, select());
    let mut mandatory = method_bytes(1, publish_method("", "nowhere", true));
    mandatory.extend(content_bytes(
        1,
        basic::AMQPProperties::default(),
        &[0; 3900],
    ));
    peer.send_bytes(&mandatory);
    peer.expect_silence();
    peer.send_bytes(&mandatory);
    assert_eq!(peer.expect_channel_close(1), precondition(text, (60, 40)));

    for _ in 0..500 {
        other.publish("q", b"m");
    }
    peer.reopen_channel(1);
    peer.call(1, select());
    for _ in 0..500 {
        peer.send(1, get("q", false));
        peer.expect_content(1);
    }
    peer.send(1, ack(0, true));
    assert_eq!(peer.expect_channel_close(1), precondition(text, (60, 80)));
    assert_eq!(other.ready(1, "q"), 500);

    // A transaction that ends makes room for the next one.
    peer.reopen_channel(1);
    peer.call(1, select());
    for end in [commit(), rollback(), commit()] {
        peer.publish("q", &[0; 3000]);
        peer.call(1, end);
    }
    assert_eq!(other.ready(1, "q"), 502);
}
