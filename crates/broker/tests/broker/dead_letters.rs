//! Where dead messages go, and how they are counted.

use ternmq_broker::Totals;
use ternmq_core::value::Value;
use ternmq_journal::MemoryLog;

use crate::node::{Node, START, bind, publish, queue};

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
        dropped: 0,
        dead_lettered,
        dead_dropped,
    };
    assert_eq!(node.broker.totals(), totals(1, 1));
    let full = [
        ("x-max-length", Value::I32(0)),
        ("x-overflow", Value::text("reject-publish")),
        ("x-dead-letter-strategy", Value::text("at-most-once")),
    ];
    for (name, arguments) in [("a", &[][..]), ("b", &[][..]), ("full", &full[..])] {
        client.declare_queue(queue(name, arguments)).unwrap();
        bind(&mut client, "amq.fanout", name, "");
    }
    publish(&mut client, START, "", "q", &["two take it"]);
    assert_eq!(node.broker.totals(), totals(2, 1));
}
