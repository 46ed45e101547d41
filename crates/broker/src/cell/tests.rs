//! What happens between a step of a queue and what follows it, as if another thread came in between.

use ternmq_core::queue::DeleteReason;
use ternmq_core::value::Value;

use super::*;
use crate::Broker;
use crate::bed::{START, broker, client, queue, spec};

fn auto_delete() -> QueueDecl {
    QueueDecl {
        auto_delete: true,
        ..queue("q", &[])
    }
}

/// An auto-delete queue whose last consumer has just gone, and what is left to be done about it.
fn unused(broker: &Broker) -> (Arc<QueueCell>, Work) {
    let mut owner = client(broker);
    owner.declare_queue(auto_delete()).unwrap();
    let cell = owner.cell("q").unwrap();
    let mut work = Work::default();
    let new = NewSubscriber {
        mailbox: Mailbox::new(10),
        token: Token(1),
        connection: owner.id(),
        label: ConsumerLabel::default(),
    };
    let key = cell.subscribe(&mut work, START, spec(), new).unwrap();
    cell.unsubscribe(&mut work, START, key);
    assert_eq!(work.effects.delete, Some(DeleteReason::Unused));
    (cell, work)
}

#[test]
fn nobody_begins_to_consume_a_queue_that_is_about_to_go() {
    let broker = broker();
    let (cell, mut work) = unused(&broker);
    let mut other = client(&broker);
    let consumed = other.consume("q", spec(), Token(2));
    assert!(matches!(consumed, Err(Refusal::NotFound { .. })));
    assert!(matches!(
        other.get("q", true),
        Err(Refusal::NotFound { .. })
    ));
    broker.0.follow_up(&cell, &mut work, START);
    assert!(!other.mailbox().has_notices());
}

#[test]
fn queue_declared_while_its_predecessor_goes_is_a_new_one_and_stays() {
    let broker = broker();
    let (cell, mut work) = unused(&broker);
    let mut other = client(&broker);
    assert!(other.declare_queue(auto_delete()).unwrap().created);
    let consumer = other.consume("q", spec(), Token(2)).unwrap();
    broker.0.follow_up(&cell, &mut work, START);
    assert_eq!(other.check_queue("q").unwrap().consumers, 1);
    assert!(!other.mailbox().has_notices());
    other.cancel(consumer);
    assert!(other.check_queue("q").is_err());
}

#[test]
fn queue_that_expired_is_not_declared_again_but_anew() {
    let broker = broker();
    let mut owner = client(&broker);
    let decl = || queue("q", &[("x-expires", Value::I32(10))]);
    owner.declare_queue(decl()).unwrap();
    let cell = owner.cell("q").unwrap();
    let mut work = Work::default();
    cell.expire(&mut work, START.plus_ms(10));
    assert!(owner.declare_queue(decl()).unwrap().created);
    broker.0.follow_up(&cell, &mut work, START.plus_ms(10));
    assert!(owner.check_queue("q").is_ok());
}
