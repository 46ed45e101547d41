//! One message to very many durable queues.

use ternmq_core::id::Lsn;
use ternmq_core::record::{self, Record};
use ternmq_journal::MemoryLog;

use crate::node::{Forms, Node, START, bind, bodies, get, publish, queue};

const QUEUES: usize = 1_000;

#[test]
fn message_to_many_queues_is_recorded_once_and_names_them_by_one_number() {
    let node = Node::new(MemoryLog::recording());
    let mut client = node.client();
    for n in 0..QUEUES {
        client.declare_queue(queue(&format!("q{n}"), &[])).unwrap();
        bind(&mut client, "amq.fanout", &format!("q{n}"), "");
    }
    let before = node.log.records().len();
    for body in ["one", "two"] {
        let (lsn, rejected) = publish(&mut client, START, "amq.fanout", "k", &[body]);
        assert!(lsn.is_some() && rejected.is_empty());
    }
    let records = node.log.records();
    let [set, one, two] = &records[before..] else {
        unreachable!("the list once, and two messages")
    };
    assert!(matches!(
        record::decode(set, &Forms),
        Ok(Record::RouteSet(_, targets)) if targets.len() == QUEUES
    ));
    assert!(one.len() < 60 && two.len() < 60);

    let again = Node::new(MemoryLog::new());
    for (lsn, record) in (1..).zip(records) {
        again.broker.replay(Lsn(lsn), &record, &Forms).unwrap();
    }
    again.broker.finish_replay(START);
    let mut reader = again.client();
    for n in [0, 1, QUEUES - 1] {
        let name = format!("q{n}");
        let first = reader.get(&name, false).unwrap().unwrap();
        assert_eq!(bodies(&[first.delivery]), ["one"]);
        assert_eq!(get(&mut reader, &name).unwrap().body(), b"two");
    }
}
