//! Looking at what left memory, and what stays of a paused queue.

use ternmq_broker::inspect::{BROWSE_MAX, QueueState};
use ternmq_broker::mailbox::Token;
use ternmq_broker::{Broker, DeleteIf};
use ternmq_core::queue::{AckMode, Budget, ConsumerSpec, Credit, LeaseTimeout, Service};

use crate::node::{Machine, START, connect, id_of, queue, until};
use crate::space::{backlog, publish, take_all};

fn browsed(broker: &Broker, from: u64, count: usize) -> Vec<u64> {
    let messages = broker.inspect().browse("/", "q", from, count).unwrap();
    messages.iter().map(|m| id_of(&m.message)).collect()
}

#[test]
fn backlog_on_disk_is_browsed_without_coming_back() {
    let machine = Machine::new(7);
    let (broker, mut client) = backlog(&machine, "q", 3_000);
    let before = broker.inspect().queue("/", "q").unwrap().holdings;
    assert!(before.resident < before.ready && before.durable == 3_000);
    for from in [0, 1, 15, 16, 17, 255, 256, 1_000, 2_990, 3_000] {
        let expected: Vec<u64> = (from..3_000).take(40).collect();
        assert_eq!(browsed(&broker, from, 40), expected);
    }
    assert_eq!(browsed(&broker, 0, usize::MAX).len(), BROWSE_MAX);
    let after = broker.inspect().queue("/", "q").unwrap();
    assert_eq!((after.holdings.ready, after.counters.taken()), (3_000, 0));
    assert!(after.holdings.resident <= before.resident);
    assert!(broker.inspect().browse("/", "other", 0, 1).is_none());
    assert_eq!(take_all(&mut client, "q"), (0..3_000).collect::<Vec<_>>());
    assert!(machine.halts.lock().is_empty());
    broker.close();
}

#[test]
fn messages_in_flight_are_told_with_their_consumer() {
    let machine = Machine::new(8);
    let broker = machine.open();
    let mut client = connect(&broker);
    client.declare_queue(queue("q", true, &[])).unwrap();
    publish(&mut client, "q", 0..5, true);
    let spec = ConsumerSpec {
        mode: AckMode::Manual,
        credit: Credit::Limited(2),
        priority: 0,
        exclusive: false,
        lease_timeout: LeaseTimeout::Never,
    };
    let consumer = client.consume("q", spec, Token(1)).unwrap();
    let budget = Budget {
        messages: 1,
        bytes: 1,
    };
    client.drain(&consumer, budget, &mut Vec::new(), START);
    client.get("q", false).unwrap().unwrap();
    let seen = broker.inspect().in_flight("/", "q", 10).unwrap();
    let told: Vec<_> = seen
        .iter()
        .map(|m| {
            use ternmq_broker::inspect::HeldBy;
            let consumes = matches!(&m.held_by, HeldBy::Consumer { connection, .. } if *connection == client.id());
            (id_of(&m.message), consumes, m.held_since)
        })
        .collect();
    assert_eq!(
        told,
        [
            (0, true, Some(START)),
            (1, true, None),
            (2, false, Some(START))
        ]
    );
    broker.close();
}

#[test]
fn paused_queue_stays_so_over_restarts_until_it_is_resumed_or_gone() {
    let machine = Machine::new(9);
    let broker = machine.open();
    let mut client = connect(&broker);
    for name in ["q", "gone"] {
        client.declare_queue(queue(name, true, &[])).unwrap();
        let lsn = broker.set_service("/", name, Service::Paused).unwrap();
        assert!(lsn.is_some());
    }
    client.delete_queue("gone", DeleteIf::default()).unwrap();
    client.declare_queue(queue("gone", true, &[])).unwrap();
    let declared = client.declared();
    until("it is safe", || client.committed() >= declared);
    drop(client);
    machine.cut(&broker, 1);
    let state = |broker: &Broker, name| broker.inspect().queue("/", name).unwrap().state;
    let broker = machine.open();
    assert_eq!(state(&broker, "q"), QueueState::Paused);
    assert_eq!(state(&broker, "gone"), QueueState::Running);
    broker.checkpoint();
    broker.close();
    let broker = machine.open();
    assert_eq!(state(&broker, "q"), QueueState::Paused);
    broker.set_service("/", "q", Service::Running).unwrap();
    broker.close();
    let broker = machine.open();
    assert_eq!(state(&broker, "q"), QueueState::Running);
    broker.close();
}

#[test]
fn journal_tells_how_much_it_wrote_and_how_often_it_waited() {
    let machine = Machine::new(10);
    let broker = machine.open();
    let mut client = connect(&broker);
    client.declare_queue(queue("q", true, &[])).unwrap();
    let before = broker.inspect().journal().unwrap();
    publish(&mut client, "q", 0..200, true);
    until("it is safe", || {
        let journal = broker.inspect().journal().unwrap();
        journal.committed >= before.appended + 200
    });
    broker.checkpoint();
    let after = broker.inspect().journal().unwrap();
    assert!(after.written_bytes >= before.written_bytes + 200 * 100);
    assert!(after.syncs.count > before.syncs.count && after.syncs.micros >= before.syncs.micros);
    assert!(after.segments > 0 && after.segment_bytes > 0);
    assert!(after.kept.alive <= after.kept.all);
    broker.close();
}
