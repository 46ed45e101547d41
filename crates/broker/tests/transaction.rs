//! Transactions: publishes and settlements in one append, all or nothing.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::Arc;

use parking_lot::Mutex;
use ternmq_broker::clock::ManualClock;
use ternmq_broker::mailbox::{Mailbox, Notice};
use ternmq_broker::{Broker, BrokerConfig, Client, Got, Log, LogError, MemoryLog};
use ternmq_broker::{QueueHandle, Settlement, Turn};
use ternmq_core::id::{Lsn, Position, Timestamp};
use ternmq_core::message::{FormatId, NewMessage, NoProperties, PropertyFormat};
use ternmq_core::queue::Outcome;
use ternmq_core::record::{self, Formats, Record};
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::QueueDecl;
use ternmq_core::value::{Headers, Value};
use ternmq_journal::{Batch, Index, Watcher};

const NOW: Timestamp = Timestamp(1_000_000);

/// Remembers how many records came at a time, and can refuse them.
struct Script {
    log: MemoryLog,
    appends: Mutex<Vec<usize>>,
    full: Mutex<bool>,
}

impl Log for Script {
    fn append(&self, batch: &Batch) -> Result<Index, LogError> {
        if *self.full.lock() {
            return Err(LogError::Full);
        }
        if !batch.is_empty() {
            self.appends.lock().push(batch.len());
        }
        self.log.append(batch)
    }

    fn committed(&self) -> Index {
        self.log.committed()
    }

    fn watch(&self, watcher: Arc<dyn Watcher>) {
        self.log.watch(watcher);
    }

    fn durability(&self) -> &'static str {
        self.log.durability()
    }
}

fn node(log: MemoryLog) -> (Broker, Arc<Script>, Client) {
    let log = Arc::new(Script {
        log,
        appends: Mutex::default(),
        full: Mutex::default(),
    });
    let clock = Arc::new(ManualClock::new(NOW));
    let broker = Broker::new(&BrokerConfig::default(), clock, log.clone());
    let client = connect(&broker);
    (broker, log, client)
}

fn connect(broker: &Broker) -> Client {
    let user = broker.default_user();
    broker.connect(&user, "/", Mailbox::new(10)).unwrap()
}

fn declare(client: &mut Client, name: &str, arguments: &[(&str, Value)]) {
    let decl = QueueDecl {
        name: name.into(),
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments: arguments
            .iter()
            .map(|(n, v)| ((*n).into(), v.clone()))
            .collect(),
    };
    client.declare_queue(decl).unwrap();
}

fn turn(client: &mut Client, messages: &[(&str, &str)]) -> Turn {
    let mut turn = Turn::new();
    for (queue, body) in messages {
        let route = client
            .route(&RouteRequest {
                exchange: b"",
                routing_key: queue.as_bytes(),
                key_syntax: KeySyntax::Dotted,
                extra_keys: &[],
                headers: &Headers::new,
                properties: &ternmq_core::message::Properties::default,
                publisher: None,
                from_client: true,
            })
            .unwrap();
        let mut new = NewMessage::plain(b"", queue.as_bytes(), body.as_bytes());
        new.durable = true;
        turn.push(new.build(&mut Vec::new()), route);
    }
    turn
}

/// Publishes the bodies to a queue and takes them all.
fn leased(client: &mut Client, queue: &str, bodies: &[&str]) -> (QueueHandle, Vec<Position>) {
    let messages: Vec<(&str, &str)> = bodies.iter().map(|body| (queue, *body)).collect();
    let mut turn = turn(client, &messages);
    client.publish(&mut turn, NOW);
    let got: Vec<Got> = std::iter::from_fn(|| client.get(queue, false).unwrap()).collect();
    let positions = got.iter().map(|got| got.delivery.position).collect();
    (got[0].queue.clone(), positions)
}

fn bodies(client: &mut Client, queue: &str) -> Vec<String> {
    let got = std::iter::from_fn(|| client.get(queue, true).unwrap());
    got.map(|got| String::from_utf8(got.delivery.message.body().to_vec()).unwrap())
        .collect()
}

struct Forms;

impl Formats for Forms {
    fn format(&self, id: FormatId) -> Option<&'static dyn PropertyFormat> {
        (id == FormatId(0)).then_some(&NoProperties)
    }
}

fn settlement<'a>(
    queue: &'a QueueHandle,
    positions: &'a [Position],
    outcome: Outcome,
) -> Settlement<'a> {
    Settlement {
        queue,
        positions,
        outcome,
    }
}

#[test]
fn committed_transaction_is_one_append_and_replays_as_it_lived() {
    let (_broker, log, mut client) = node(MemoryLog::recording());
    for queue in ["in", "a", "b"] {
        declare(&mut client, queue, &[]);
    }
    let (queue, positions) = leased(&mut client, "in", &["1", "2", "3"]);
    let mut turn = turn(&mut client, &[("a", "x"), ("b", "y"), ("a", "z")]);
    log.appends.lock().clear();
    let settlements = [
        settlement(&queue, &positions[..1], Outcome::Ack),
        settlement(&queue, &positions[1..2], Outcome::Reject { failed: false }),
    ];
    let published = client.commit(&mut turn, &settlements, NOW).unwrap();
    let records = log.log.records();
    assert_eq!(published.lsn, Lsn(records.len() as u64));
    assert!(published.rejected.is_empty() && turn.is_empty());
    assert_eq!(*log.appends.lock(), [5], "three published, two settled");
    assert_eq!(bodies(&mut client, "in"), [""; 0], "3 is still taken");

    let (again, _, mut reader) = node(MemoryLog::new());
    for (lsn, record) in (1..).zip(&records) {
        again.replay(Lsn(lsn), record, &Forms).unwrap();
    }
    again.finish_replay(NOW);
    for reader in [&mut client, &mut reader] {
        assert_eq!(bodies(reader, "a"), ["x", "z"]);
        assert_eq!(bodies(reader, "b"), ["y"]);
    }
    assert_eq!(bodies(&mut reader, "in"), ["3"]);
}

#[test]
fn transaction_that_the_journal_refuses_changes_nothing() {
    let (_broker, log, mut client) = node(MemoryLog::recording());
    declare(&mut client, "in", &[]);
    declare(&mut client, "out", &[]);
    let (queue, positions) = leased(&mut client, "in", &["1"]);
    let mut turn = turn(&mut client, &[("out", "x")]);
    let ack = [settlement(&queue, &positions, Outcome::Ack)];
    *log.full.lock() = true;
    let refused = client.commit(&mut turn, &ack, NOW).map(|_| ());
    assert_eq!(refused, Err(LogError::Full));
    assert_eq!((turn.len(), bodies(&mut client, "out").len()), (1, 0));
    *log.full.lock() = false;
    client.settle(&queue, &positions, Outcome::Return { failed: true }, NOW);
    assert_eq!(bodies(&mut client, "in"), ["1"]);
}

#[test]
fn returned_and_dead_messages_have_records_of_their_own_that_the_commit_waits_for() {
    let (_broker, log, mut client) = node(MemoryLog::held_back());
    declare(&mut client, "dead", &[]);
    let to_dead = [
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
    ];
    declare(&mut client, "in", &to_dead);
    let (queue, positions) = leased(&mut client, "in", &["1", "2"]);
    let mut turn = turn(&mut client, &[("dead", "x")]);
    let settlements = [
        settlement(&queue, &positions[..1], Outcome::Reject { failed: true }),
        settlement(&queue, &positions[1..], Outcome::Return { failed: false }),
    ];
    let lsn = client.commit(&mut turn, &settlements, NOW).unwrap().lsn;
    let records = log.log.records();
    assert_eq!(lsn, Lsn(records.len() as u64));
    let kinds: Vec<Record> = records[records.len() - 3..]
        .iter()
        .map(|record| record::decode(record, &Forms).unwrap())
        .collect();
    assert!(
        matches!(
            kinds[..],
            [
                Record::Published(..),
                Record::Moved { left: Some(_), .. },
                Record::Returned(..)
            ]
        ),
        "{kinds:?}"
    );
    client.notify_commit(lsn);
    let mut notices = Vec::new();
    client.mailbox().drain(&mut notices);
    assert!(notices.is_empty());
    log.log.commit();
    client.mailbox().drain(&mut notices);
    assert_eq!(notices, [Notice::Committed]);
    assert_eq!(bodies(&mut client, "dead"), ["x", "1"]);
    assert_eq!(bodies(&mut client, "in"), ["2"]);
}

#[test]
fn full_queue_refuses_its_message_and_takes_no_other_back() {
    let (_broker, _log, mut client) = node(MemoryLog::new());
    let full = [
        ("x-max-length", Value::I32(1)),
        ("x-overflow", Value::text("reject-publish")),
    ];
    declare(&mut client, "full", &full);
    declare(&mut client, "out", &[]);
    let mut turn = turn(&mut client, &[("full", "1"), ("full", "2"), ("out", "3")]);
    let published = client.commit(&mut turn, &[], NOW).unwrap();
    assert_eq!(published.rejected, [1]);
    assert_eq!(bodies(&mut client, "out"), ["3"]);
}
