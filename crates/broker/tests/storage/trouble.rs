//! Disks that are full, damaged or broken.

use ternmq_broker::mailbox::{DiskRoom, Notice};
use ternmq_broker::{Client, DeleteIf, RecoveryError};
use ternmq_core::error::Refusal;
use ternmq_core::queue::Outcome;
use ternmq_journal::simulated::{Fault, Operation};

use crate::node::{Machine, connect, queue, until};
use crate::space::{backlog, publish, take_all};

fn notices(client: &Client) -> Vec<Notice> {
    let mut out = Vec::new();
    client.mailbox().drain(&mut out);
    out
}

#[test]
fn damaged_page_loses_its_messages_and_no_others() {
    let machine = Machine::new(20);
    let (broker, mut client) = backlog(&machine, "q", 2_000);
    broker.checkpoint();
    client.close();
    broker.close();
    let file = machine.files("pages-").remove(0);
    // Behind the headers of the file and of its first page.
    machine.storage.flip(&file, 64 + 32 + 5, 0xFF);
    let broker = machine.open();
    let mut client = connect(&broker);
    assert_eq!(client.check_queue("q").unwrap().messages, 2_000);
    let got = take_all(&mut client, "q");
    let lost = 2_000 - got.len() as u64;
    assert!((1..=256).contains(&lost), "{lost}");
    assert!(got.is_sorted());
    assert_eq!(broker.totals().unreadable, lost);
    assert_eq!(client.check_queue("q").unwrap().messages, 0);
    assert!(machine.halts.lock().is_empty());
    broker.close();
}

#[test]
fn damaged_record_is_missing_alone() {
    let machine = Machine::new(21);
    let (broker, mut client) = backlog(&machine, "q", 1_500);
    client.close();
    broker.close();
    let broker = machine.open();
    let mut client = connect(&broker);
    let file = machine.files("seg-").remove(0);
    machine.storage.flip(&file, 12_000, 0xFF);
    let got = take_all(&mut client, "q");
    let lost = 1_500 - got.len() as u64;
    assert!((1..600).contains(&lost), "{lost}");
    assert!(got.is_sorted());
    assert_eq!(broker.totals().unreadable, lost);
    assert!(machine.halts.lock().is_empty());
    broker.close();
}

#[test]
fn full_disk_refuses_what_is_new_and_lets_the_rest_go_on() {
    let mut machine = Machine::new(22);
    machine.storage_config.disk_free_low_bytes = 2_000;
    machine.storage_config.disk_free_min_bytes = 1_000;
    machine.storage.set_free_bytes(10_000);
    let broker = machine.open();
    let mut client = connect(&broker);
    for name in ["q", "gone"] {
        client.declare_queue(queue(name, true, &[])).unwrap();
    }
    client.declare_queue(queue("t", false, &[])).unwrap();
    assert!(publish(&mut client, "q", 0..10, true).is_empty());
    assert_eq!(notices(&client), []);

    machine.storage.set_free_bytes(10);
    let mut now = machine.clock.advance_ms(10_000);
    assert!(broker.next_deadline() <= Some(now), "it asks by itself");
    broker.tick(now);
    until("it is told", || client.mailbox().has_notices());
    let told = notices(&client);
    assert!(told.contains(&Notice::Disk(DiskRoom::Full)), "{told:?}");
    assert_eq!(publish(&mut client, "q", 10..13, true), [0, 1, 2]);
    assert!(publish(&mut client, "q", 13..14, false).is_empty());
    assert!(publish(&mut client, "t", 14..15, true).is_empty());
    let refused = client.declare_queue(queue("new", true, &[]));
    assert_eq!(refused, Err(Refusal::DiskFull));
    assert!(client.check_queue("new").is_err(), "nothing has changed");
    client.declare_queue(queue("q", true, &[])).unwrap();
    client
        .declare_queue(queue("transient", false, &[]))
        .unwrap();
    client.delete_queue("gone", DeleteIf::default()).unwrap();
    let deleted = client.declared();
    until("it is committed", || client.committed() >= deleted);
    let got = client.get("q", false).unwrap().unwrap();
    let position = got.delivery.position;
    client.settle(&got.queue, &[position], Outcome::Ack, now);

    machine.storage.set_free_bytes(10_000);
    now = machine.clock.advance_ms(1_000);
    assert!(broker.next_deadline() <= Some(now), "it asks more often");
    broker.tick(now);
    until("it is told", || client.mailbox().has_notices());
    assert!(notices(&client).contains(&Notice::Disk(DiskRoom::Enough)));
    assert!(publish(&mut client, "q", 20..22, true).is_empty());
    client.close();
    machine.cut(&broker, 23);
    let broker = machine.open();
    let mut client = connect(&broker);
    assert!(client.check_queue("gone").is_err());
    let all = take_all(&mut client, "q");
    assert!(all.starts_with(&[1, 2, 3]), "{all:?}");
    assert!(!all.contains(&10) && !all.contains(&13));
    broker.close();
}

#[test]
fn failed_sync_ends_the_node_and_nothing_is_confirmed_after_it() {
    let machine = Machine::new(24);
    let broker = machine.open();
    let mut client = connect(&broker);
    client.declare_queue(queue("q", true, &[])).unwrap();
    let declared = client.declared();
    until("it is committed", || client.committed() >= declared);
    machine.storage.fail(Some(Operation::Sync), 0, Fault::Error);
    publish(&mut client, "q", 0..5, true);
    until("it is noticed", || !machine.halts.lock().is_empty());
    let committed = client.committed();
    assert_eq!(committed, declared);
    assert_eq!(publish(&mut client, "q", 5..6, true), [0]);
    assert_eq!(client.committed(), committed);
    client.close();
    broker.close();
    assert_eq!(client.committed(), committed);
    let halts = machine.halts.lock().clone();
    assert_eq!(halts.len(), 1, "{halts:?}");
}

fn error(machine: &Machine) -> String {
    let opened = machine.try_open();
    assert!(opened.is_err(), "it opened");
    opened.map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn damaged_and_missing_files_are_refused_by_name() {
    let machine = Machine::new(25);
    let (broker, mut client) = backlog(&machine, "q", 1_000);
    broker.checkpoint();
    client.close();
    broker.close();
    let file = machine.files("checkpoint-").remove(0);
    let whole = machine.storage.contents(&file).unwrap();
    for offset in (0..whole.len()).step_by(97) {
        machine.storage.flip(&file, offset, 1);
        let said = error(&machine);
        assert!(said.contains(&file), "{offset}: {said}");
        machine.storage.flip(&file, offset, 1);
    }
    machine.storage.put(&file, &whole[..whole.len() / 2]);
    assert!(error(&machine).contains(&file));
    machine.storage.put(&file, &whole);

    let manifests = machine.files("manifest");
    let contents: Vec<_> = manifests
        .iter()
        .map(|name| machine.storage.contents(name).unwrap())
        .collect();
    for name in &manifests {
        machine.storage.remove(name);
    }
    assert!(matches!(machine.try_open(), Err(RecoveryError::Open(_))));
    assert!(error(&machine).contains("manifest"));
    for (name, contents) in manifests.iter().zip(contents) {
        machine.storage.put(name, &contents);
    }

    let broker = machine.open();
    let mut client = connect(&broker);
    assert_eq!(take_all(&mut client, "q").len(), 1_000);
    broker.close();
    machine
        .storage
        .remove(&machine.files("checkpoint-").remove(0));
    // Without it the journal begins too late.
    let _ = error(&machine);
}

#[test]
fn broker_that_is_let_go_lets_its_files_go() {
    let machine = Machine::new(26);
    let (broker, client) = backlog(&machine, "q", 1_000);
    drop(client);
    drop(broker);
    until("nobody holds it any more", || {
        std::sync::Arc::strong_count(&machine.halts) == 1
    });
    let broker = machine.open();
    let mut client = connect(&broker);
    assert_eq!(take_all(&mut client, "q").len(), 1_000);
    broker.close();
}

#[test]
fn full_disk_gets_room_from_what_is_consumed() {
    let mut machine = Machine::new(27);
    machine.storage_config.disk_free_low_bytes = 2_000;
    machine.storage_config.disk_free_min_bytes = 1_000;
    machine.storage_config.checkpoint_bytes = 1 << 30;
    machine.storage_config.tuning.kept_floor_bytes = 1;
    let (broker, mut client) = backlog(&machine, "q", 2_000);
    publish(&mut client, "q", 2_000..2_001, true);
    machine.storage.set_free_bytes(10);
    broker.tick(machine.clock.advance_ms(10_000));
    until("it is told", || client.mailbox().has_notices());
    for id in 0..2_000 {
        assert!(client.get("q", true).unwrap().is_some(), "{id}");
    }
    let before = machine.files("seg-").len();
    until("the segments are given back", || {
        broker.tick(machine.clock.advance_ms(1_000));
        std::thread::yield_now();
        machine.files("seg-").len() < before / 2
    });
    assert_eq!(take_all(&mut client, "q"), [2_000]);
    assert_eq!(*machine.halts.lock(), Vec::<String>::new());
    broker.close();
}
