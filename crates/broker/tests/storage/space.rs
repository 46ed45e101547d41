//! What is given back, and what leaves memory and comes back.

use ternmq_broker::clock::Clock;
use ternmq_broker::mailbox::Token;
use ternmq_broker::{Broker, Client, DeleteIf, Turn};
use ternmq_core::queue::{AckMode, Budget, ConsumerSpec, Credit, LeaseTimeout, Outcome};
use ternmq_core::value::Value;
use ternmq_journal::Storage;

use crate::node::{Letter, Machine, connect, id_of, queue, request, until};

pub(crate) fn publish(
    client: &mut Client,
    name: &str,
    ids: std::ops::Range<u64>,
    durable: bool,
) -> Vec<usize> {
    let mut turn = Turn::new();
    let route = client.route(&request("", name)).unwrap();
    let now = crate::node::START;
    for id in ids {
        let letter = Letter {
            id,
            bytes: 100,
            durable,
            priority: None,
        };
        turn.push(letter.build("", name, now), route.clone());
    }
    let published = client.publish(&mut turn, now);
    published.rejected.to_vec()
}

/// Takes all that is there.
pub(crate) fn take_all(client: &mut Client, name: &str) -> Vec<u64> {
    let got = std::iter::from_fn(|| client.get(name, true).unwrap());
    got.map(|got| id_of(&got.delivery.message)).collect()
}

/// Waits until little is in memory: all that can leave has left.
pub(crate) fn backlog(machine: &Machine, name: &str, count: u64) -> (Broker, Client) {
    let broker = machine.open();
    let mut client = connect(&broker);
    client.declare_queue(queue(name, true, &[])).unwrap();
    for first in (0..count).step_by(500) {
        let rejected = publish(&mut client, name, first..(first + 500).min(count), true);
        assert!(rejected.is_empty());
    }
    until("the pages are written", || {
        !machine.files("pages-").is_empty()
    });
    (broker, client)
}

#[test]
fn one_old_message_does_not_keep_all_that_came_after_it() {
    let machine = Machine::new(1);
    let broker = machine.open();
    let mut client = connect(&broker);
    for name in ["old", "busy"] {
        client.declare_queue(queue(name, true, &[])).unwrap();
    }
    publish(&mut client, "old", 0..1, true);
    let mut most = 0;
    for round in 0..200 {
        let ids = 1 + round * 100..101 + round * 100;
        publish(&mut client, "busy", ids.clone(), true);
        assert_eq!(take_all(&mut client, "busy"), ids.collect::<Vec<_>>());
        if round % 4 == 3 {
            broker.checkpoint();
        }
        let files = machine.files("seg-").len() + machine.files("cold-").len();
        most = most.max(files);
    }
    // 200 rounds write about 240 segments.
    assert!(most <= 14, "{most} segments");
    assert_eq!(machine.files("checkpoint-").len(), 1);
    assert_eq!(take_all(&mut client, "old"), [0]);
    broker.close();
}

#[test]
fn what_lives_in_sparse_segments_is_copied_and_stays_readable() {
    let mut machine = Machine::new(2);
    machine.storage_config.tuning.kept_floor_bytes = 1;
    let broker = machine.open();
    let mut client = connect(&broker);
    for name in ["old", "busy"] {
        client.declare_queue(queue(name, true, &[])).unwrap();
    }
    let mut old = Vec::new();
    for round in 0..60 {
        publish(&mut client, "old", round..round + 1, true);
        old.push(round);
        publish(&mut client, "busy", 1_000..1_100, true);
        assert_eq!(take_all(&mut client, "busy").len(), 100);
    }
    let before = machine.files("seg-").len();
    until("the victims are gone", || {
        broker.checkpoint();
        machine.files("seg-").len() < before / 2
    });
    assert!(!machine.files("cold-").is_empty());
    let mut held = Vec::new();
    while let Some(got) = client.get("old", false).unwrap() {
        held.push((
            id_of(&got.delivery.message),
            got.delivery.position,
            got.queue,
        ));
    }
    assert_eq!(held.iter().map(|held| held.0).collect::<Vec<_>>(), old);
    client.close();
    machine.cut(&broker, 3);
    let broker = machine.open();
    let mut client = connect(&broker);
    assert_eq!(
        take_all(&mut client, "old"),
        old,
        "from the copies, after a crash"
    );
    assert_eq!(broker.totals().unreadable, 0);
    until("nothing is kept", || {
        broker.checkpoint();
        machine.files("cold-").is_empty()
    });
    broker.close();
}

#[test]
fn cold_backlog_survives_ends_of_all_kinds_and_comes_back_in_order() {
    let machine = Machine::new(4);
    let (broker, mut client) = backlog(&machine, "q", 3_000);
    broker.checkpoint();
    client.close();
    machine.cut(&broker, 5);
    let broker = machine.open();
    let mut client = connect(&broker);
    assert_eq!(client.check_queue("q").unwrap().messages, 3_000);
    client.close();
    broker.close();
    let broker = machine.open();
    let mut client = connect(&broker);
    let consumer = client.consume("q", spec(40), Token(1)).unwrap();
    let (mut seen, mut out) = (Vec::new(), Vec::new());
    let budget = Budget {
        messages: 100,
        bytes: 1 << 20,
    };
    let mut next = 3_000;
    until("everything is delivered", || {
        let now = machine.clock.now();
        client.drain(&consumer, budget, &mut out, now);
        for delivery in out.drain(..) {
            seen.push(id_of(&delivery.message));
            client.settle(consumer.queue(), &[delivery.position], Outcome::Ack, now);
        }
        if next < 3_500 {
            publish(&mut client, "q", next..next + 10, true);
            next += 10;
        }
        seen.len() == 3_500
    });
    assert_eq!(seen, (0..3_500).collect::<Vec<_>>());
    client.cancel(consumer);
    client.close();
    broker.close();
}

fn spec(credit: u32) -> ConsumerSpec {
    ConsumerSpec {
        mode: AckMode::Manual,
        credit: Credit::Limited(credit),
        priority: 0,
        exclusive: false,
        lease_timeout: LeaseTimeout::Never,
    }
}

#[test]
fn purge_goes_through_what_is_cold_and_what_is_behind_it() {
    let machine = Machine::new(6);
    let (broker, mut client) = backlog(&machine, "q", 2_000);
    let got = client.get("q", false).unwrap().unwrap();
    assert_eq!(got.ready, 1_999);
    assert_eq!(client.purge_queue("q"), Ok(1_999));
    assert_eq!(client.check_queue("q").unwrap().messages, 0);
    assert_eq!(client.purge_queue("q"), Ok(0));
    publish(&mut client, "q", 5_000..5_010, true);
    assert_eq!(
        take_all(&mut client, "q"),
        (5_000..5_010).collect::<Vec<_>>()
    );
    client.close();
    broker.close();
    let broker = machine.open();
    let mut client = connect(&broker);
    assert_eq!(take_all(&mut client, "q"), [0], "the one that was taken");
    broker.close();
}

#[test]
fn pages_of_a_deleted_queue_are_given_back_and_sparse_files_moved() {
    let mut machine = Machine::new(7);
    machine.storage_config.tuning.page_file_bytes = 2 << 10;
    let (broker, mut client) = backlog(&machine, "gone", 3_000);
    client.declare_queue(queue("stays", true, &[])).unwrap();
    for first in 0..6 {
        publish(&mut client, "stays", first * 300..first * 300 + 300, true);
        publish(&mut client, "gone", 10_000..11_000, true);
    }
    until("most of it has left memory", || {
        machine.files("pages-").len() > 8
    });
    broker.checkpoint();
    let before = machine.files("pages-").len();
    client.delete_queue("gone", DeleteIf::default()).unwrap();
    for _ in 0..3 {
        broker.checkpoint();
    }
    let after = machine.files("pages-").len();
    assert!(after < before / 2, "{after} of {before}");
    client.close();
    machine.cut(&broker, 8);
    let broker = machine.open();
    let mut client = connect(&broker);
    assert_eq!(
        take_all(&mut client, "stays"),
        (0..1_800).collect::<Vec<_>>()
    );
    broker.close();
}

#[test]
fn get_goes_on_where_there_is_no_memory_for_messages() {
    let mut machine = Machine::new(13);
    machine.memory.resident_bodies = 1;
    let (broker, mut client) = backlog(&machine, "q", 1_500);
    assert_eq!(take_all(&mut client, "q"), (0..1_500).collect::<Vec<_>>());
    broker.close();
}

#[test]
fn cold_messages_expire_into_the_dead_letter_queue() {
    let machine = Machine::new(9);
    let broker = machine.open();
    let mut client = connect(&broker);
    let arguments = [
        ("x-message-ttl", Value::I64(1_000)),
        ("x-dead-letter-exchange", Value::Text("".into())),
        ("x-dead-letter-routing-key", Value::Text("dead".into())),
    ];
    client.declare_queue(queue("q", true, &arguments)).unwrap();
    client.declare_queue(queue("dead", true, &[])).unwrap();
    publish(&mut client, "q", 0..1_500, true);
    until("pages are written", || !machine.files("pages-").is_empty());
    let now = machine.clock.advance_ms(1_000);
    until("all have died", || {
        broker.tick(now);
        client.check_queue("dead").unwrap().messages == 1_500
    });
    assert_eq!(client.check_queue("q").unwrap().messages, 0);
    client.close();
    machine.cut(&broker, 10);
    let broker = machine.open();
    let mut client = connect(&broker);
    // Those whose move was not on the disk die once more.
    until("all have died again", || {
        broker.tick(now);
        client.check_queue("q").unwrap().messages == 0
    });
    let mut dead = take_all(&mut client, "dead");
    dead.sort_unstable();
    assert_eq!(dead, (0..1_500).collect::<Vec<_>>());
    broker.close();
}

#[test]
fn transient_messages_leave_memory_too_and_end_with_the_process() {
    let machine = Machine::new(11);
    let broker = machine.open();
    let mut client = connect(&broker);
    client.declare_queue(queue("t", false, &[])).unwrap();
    client.declare_queue(queue("q", true, &[])).unwrap();
    publish(&mut client, "t", 0..1_500, false);
    publish(&mut client, "q", 0..1_500, false);
    until("they spill", || !machine.spill.list().unwrap().is_empty());
    assert_eq!(take_all(&mut client, "t"), (0..1_500).collect::<Vec<_>>());
    assert_eq!(take_all(&mut client, "q"), (0..1_500).collect::<Vec<_>>());
    publish(&mut client, "t", 0..1_500, false);
    publish(&mut client, "q", 0..1_500, false);
    client.close();
    broker.close();
    let broker = machine.open();
    assert!(machine.spill.list().unwrap().is_empty());
    let mut client = connect(&broker);
    assert!(client.check_queue("t").is_err());
    assert_eq!(client.check_queue("q").unwrap().messages, 0);
    broker.close();
}
