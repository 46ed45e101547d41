//! Where dead messages go, and how they are counted.

use ternmq_broker::{Broker, Client, DeleteIf, Totals};
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::value::Value;
use ternmq_journal::MemoryLog;

use crate::node::{Forms, Node, START, bind, get, publish, queue};

/// A queue that holds one message, and one whose messages die into it at once.
fn with_full_target(client: &mut Client, more: &[(&str, Value)]) {
    let full = [
        ("x-max-length", Value::I32(1)),
        ("x-overflow", Value::text("reject-publish")),
    ];
    client.declare_queue(queue("dead", &full)).unwrap();
    let mut arguments = vec![
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
        ("x-max-length", Value::I32(0)),
    ];
    arguments.extend_from_slice(more);
    client.declare_queue(queue("q", &arguments)).unwrap();
}

fn body(client: &mut Client, queue: &str) -> Option<String> {
    get(client, queue).map(|m| String::from_utf8(m.body().to_vec()).unwrap())
}

fn pass(node: &Node, ms: u64) -> Timestamp {
    let now = node.clock.advance_ms(ms);
    while node.broker.next_deadline().is_some_and(|at| at <= now) {
        node.broker.tick(now);
    }
    now
}

fn held(broker: &Broker) -> (u64, u64) {
    (broker.totals().dead_held, broker.totals().dead_dropped)
}

#[test]
fn dead_letters_wait_in_order_until_their_target_has_room() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    with_full_target(&mut client, &[]);
    publish(&mut client, START, "", "q", &["1", "2", "3"]);
    assert_eq!(held(&node.broker), (2, 0));
    pass(&node, 60_000);
    assert_eq!(client.check_queue("dead").unwrap().messages, 1);
    assert_eq!(body(&mut client, "dead").as_deref(), Some("1"));
    // There is room now, but others wait for it already.
    publish(&mut client, START, "", "q", &["4"]);
    assert_eq!(held(&node.broker), (3, 0));
    for (n, left) in [("2", 2), ("3", 1), ("4", 0)] {
        pass(&node, 10_000);
        assert_eq!(held(&node.broker), (left, 0));
        assert_eq!(body(&mut client, "dead").as_deref(), Some(n));
    }
    assert_eq!(node.broker.next_deadline(), None);
}

#[test]
fn dead_letters_that_are_worth_one_try_are_dropped_by_a_full_target() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let once = [("x-dead-letter-strategy", Value::text("at-most-once"))];
    with_full_target(&mut client, &once);
    publish(&mut client, START, "", "q", &["1", "2"]);
    assert_eq!(held(&node.broker), (0, 1));
}

#[test]
fn dead_letter_is_given_up_after_its_time_or_with_its_target() {
    let node = Node::new(MemoryLog::recording());
    let mut client = node.client();
    with_full_target(&mut client, &[]);
    publish(&mut client, START, "", "q", &["1", "2"]);
    pass(&node, 3_599_000);
    assert_eq!(held(&node.broker), (1, 0));
    pass(&node, 20_000);
    assert_eq!(held(&node.broker), (0, 1));
    let again = replayed(&node);
    assert_eq!(again.client().check_queue("dead").unwrap().messages, 1);

    publish(&mut client, START, "", "q", &["3"]);
    client.delete_queue("dead", DeleteIf::default()).unwrap();
    pass(&node, 20_000);
    assert_eq!(held(&node.broker), (0, 2));
    assert_eq!(node.broker.next_deadline(), None);
}

fn replayed(node: &Node) -> Node {
    let again = Node::new(MemoryLog::new());
    for (lsn, record) in (1..).zip(node.log.records()) {
        again.broker.replay(Lsn(lsn), &record, &Forms).unwrap();
    }
    again.broker.finish_replay(START);
    again
}

#[test]
fn dead_letters_that_wait_are_in_their_target_after_a_restart() {
    let node = Node::new(MemoryLog::recording());
    let mut client = node.client();
    with_full_target(&mut client, &[]);
    publish(&mut client, START, "", "q", &["1", "2", "3"]);
    let mut reader = replayed(&node).client();
    for n in ["1", "2", "3"] {
        assert_eq!(body(&mut reader, "dead").as_deref(), Some(n));
    }
}

#[test]
fn full_target_that_passes_dead_letters_on_holds_none() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    with_full_target(&mut client, &[]);
    client.delete_queue("dead", DeleteIf::default()).unwrap();
    let passes_on = [
        ("x-max-length", Value::I32(0)),
        ("x-overflow", Value::text("reject-publish-dlx")),
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("last")),
    ];
    client.declare_queue(queue("dead", &passes_on)).unwrap();
    client.declare_queue(queue("last", &[])).unwrap();
    publish(&mut client, START, "", "q", &["1"]);
    assert_eq!(held(&node.broker), (0, 0));
    assert_eq!(body(&mut client, "last").as_deref(), Some("1"));
}

#[test]
fn dead_message_counts_once_however_many_queues_take_it() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let to_fanout = [
        ("x-dead-letter-exchange", Value::text("amq.fanout")),
        ("x-max-length", Value::I32(0)),
    ];
    client.declare_queue(queue("q", &to_fanout)).unwrap();
    publish(&mut client, START, "", "q", &["nobody wants it"]);
    let totals = |dead_lettered, dead_dropped| Totals {
        unreadable: 0,
        delayed: 0,
        dropped: 0,
        dead_lettered,
        dead_dropped,
        dead_held: 0,
    };
    assert_eq!(node.broker.totals(), totals(1, 1));
    for name in ["a", "b"] {
        client.declare_queue(queue(name, &[])).unwrap();
        bind(&mut client, "amq.fanout", name, "");
    }
    publish(&mut client, START, "", "q", &["two take it"]);
    assert_eq!(node.broker.totals(), totals(2, 1));
}
