//! Acknowledging: what settles what, and what is refused.

use amq_protocol::protocol::{AMQPClass, basic, channel, queue};

use crate::harness::*;

fn nack(delivery_tag: u64, multiple: bool, requeue: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Nack(basic::Nack {
        delivery_tag,
        multiple,
        requeue,
    }))
}

fn reject(delivery_tag: u64, requeue: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Reject(basic::Reject {
        delivery_tag,
        requeue,
    }))
}

/// A peer with three unacknowledged deliveries, tags 1 to 3, bodies `1` to `3`.
fn with_three(node: &Node) -> Peer {
    let mut peer = node.channel();
    peer.declare("q");
    for body in [b"1", b"2", b"3"] {
        peer.publish("q", body);
        peer.send(1, get("q", false));
        peer.expect_content(1);
    }
    peer
}

/// Closes the channel and tells what came back, each with its redelivered flag.
fn returned(peer: &mut Peer) -> Vec<(Vec<u8>, bool)> {
    peer.call(
        1,
        AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close::default())),
    );
    peer.open_channel(1);
    let mut all = Vec::new();
    loop {
        peer.send(1, get("q", true));
        peer.pump();
        let Some(frame) = peer.next_frame() else {
            break;
        };
        let amq_protocol::frame::AMQPFrame::Method(
            1,
            AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)),
        ) = frame
        else {
            break;
        };
        peer.next_frame();
        let Some(amq_protocol::frame::AMQPFrame::Body(_, body)) = peer.next_frame() else {
            panic!("a body was expected");
        };
        all.push((body, ok.redelivered));
    }
    all
}

fn bodies(of: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
    of.iter().map(|body| (body.to_vec(), true)).collect()
}

#[test]
fn tags_that_are_not_outstanding_are_refused() {
    let unknown = |tag: u64| format!("PRECONDITION_FAILED - unknown delivery tag {tag}");
    for (method, tag, id) in [
        (ack(99, false), 99, 80),
        (ack(0, false), 0, 80),
        (ack(99, true), 99, 80),
        (nack(99, false, true), 99, 120),
        (nack(99, true, false), 99, 120),
        (reject(99, false), 99, 90),
        (reject(0, true), 0, 90),
    ] {
        let node = Node::new();
        let mut peer = with_three(&node);
        peer.send(1, method);
        assert_eq!(peer.expect_channel_close(1), (406, unknown(tag), 60, id));
        peer.reopen_channel(1);
        assert_eq!(peer.ready(1, "q"), 3, "everything came back");
    }
}

#[test]
fn acknowledging_twice_is_refused() {
    for (first, second) in [
        (ack(1, false), ack(1, false)),
        (ack(2, true), ack(1, false)),
        (ack(2, true), ack(2, true)),
    ] {
        let node = Node::new();
        let mut peer = with_three(&node);
        peer.send(1, first);
        peer.send(1, second);
        assert_eq!(peer.expect_channel_close(1).0, 406);
    }
}

#[test]
fn automatic_deliveries_cannot_be_acknowledged() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.publish("q", b"m");
    peer.send(1, get("q", true));
    peer.expect_content(1);
    peer.send(1, ack(1, false));
    let text = "PRECONDITION_FAILED - unknown delivery tag 1";
    assert_eq!(peer.expect_channel_close(1), (406, text.to_owned(), 60, 80));
}

#[test]
fn tags_belong_to_their_channel() {
    let node = Node::new();
    let mut peer = with_three(&node);
    peer.open_channel(2);
    peer.send(2, ack(1, false));
    assert_eq!(peer.expect_channel_close(2).0, 406);
    peer.send(1, ack(1, false));
    peer.expect_silence();
}

#[test]
fn single_and_multiple_acknowledgements_settle_what_they_name() {
    let node = Node::new();
    let mut peer = with_three(&node);
    peer.send(1, ack(2, false));
    assert_eq!(returned(&mut peer), bodies(&[b"1", b"3"]));
    let mut peer = with_three(&node);
    peer.send(1, ack(2, true));
    assert_eq!(returned(&mut peer), bodies(&[b"3"]));
}

#[test]
fn zero_with_multiple_is_everything_and_may_be_nothing() {
    let node = Node::new();
    let mut peer = with_three(&node);
    peer.send(1, ack(0, true));
    peer.send(1, ack(0, true));
    peer.expect_silence();
    assert_eq!(returned(&mut peer), []);
}

#[test]
fn refused_messages_return_to_their_places_or_go() {
    let node = Node::new();
    let mut peer = with_three(&node);
    peer.publish("q", b"4");
    peer.send(1, nack(2, true, true));
    peer.send(1, reject(3, false));
    assert_eq!(peer.ready(1, "q"), 3);
    let mut expected = bodies(&[b"1", b"2"]);
    expected.push((b"4".to_vec(), false));
    assert_eq!(returned(&mut peer), expected);
}

#[test]
fn refused_messages_die_into_the_dead_letter_queue() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("dead");
    peer.call(
        1,
        declare_with(queue::Declare {
            queue: short("q"),
            arguments: table(&[
                ("x-dead-letter-exchange", text("")),
                ("x-dead-letter-routing-key", text("dead")),
            ]),
            ..queue::Declare::default()
        }),
    );
    peer.publish("q", b"m");
    peer.send(1, get("q", false));
    peer.expect_content(1);
    peer.send(1, nack(1, false, false));
    peer.send(1, get("dead", true));
    let content = peer.expect_content(1);
    let headers = content.properties.headers().clone().unwrap();
    assert_eq!(
        headers.inner().get("x-first-death-reason"),
        Some(&text("rejected"))
    );
    assert!(headers.contains_key("x-death"));
}

#[test]
fn recover_returns_everything_and_cannot_do_otherwise() {
    let node = Node::new();
    let mut peer = with_three(&node);
    peer.send(1, ack(2, false));
    let recover = |requeue| basic(basic::AMQPMethod::Recover(basic::Recover { requeue }));
    let ok = basic(basic::AMQPMethod::RecoverOk(basic::RecoverOk {}));
    assert_eq!(peer.call(1, recover(true)), ok);
    assert_eq!(peer.ready(1, "q"), 2);
    peer.send(1, get("q", false));
    peer.expect_content(1);
    peer.send(
        1,
        basic(basic::AMQPMethod::RecoverAsync(basic::RecoverAsync {
            requeue: true,
        })),
    );
    peer.expect_silence();
    assert_eq!(peer.ready(1, "q"), 2);
    peer.send(1, recover(false));
    let text = "NOT_IMPLEMENTED - requeue=false";
    assert_eq!(peer.expect_close(), (540, text.to_owned(), 60, 110));
}

#[test]
fn lost_connection_returns_what_it_held() {
    let node = Node::new();
    let peer = with_three(&node);
    let mut other = node.channel();
    assert_eq!(other.ready(1, "q"), 0);
    peer.lose();
    assert_eq!(returned(&mut other), bodies(&[b"1", b"2", b"3"]));
}

#[test]
fn machine_that_is_dropped_returns_what_it_held() {
    let node = Node::new();
    let peer = with_three(&node);
    let mut other = node.channel();
    drop(peer);
    assert_eq!(returned(&mut other), bodies(&[b"1", b"2", b"3"]));
}

#[test]
fn silent_peer_that_is_given_up_returns_what_it_held() {
    let node = Node::new();
    let mut peer = with_three(&node);
    peer.wait_ms(120_000);
    assert!(peer.is_gone());
    let mut other = node.channel();
    assert_eq!(returned(&mut other), bodies(&[b"1", b"2", b"3"]));
}

#[test]
fn acknowledgement_and_question_in_one_read_come_in_that_order() {
    let node = Node::new();
    let mut peer = with_three(&node);
    let mut bytes = method_bytes(1, nack(0, true, true));
    bytes.extend(method_bytes(1, passive_queue("q")));
    peer.send_bytes(&bytes);
    let AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) = peer.expect(1) else {
        panic!("queue.declare-ok was expected");
    };
    assert_eq!(ok.message_count, 3);
}
