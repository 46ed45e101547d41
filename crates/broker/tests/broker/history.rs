//! Exchanges that keep their last messages for what is bound later.

use ternmq_broker::Client;
use ternmq_core::error::{ArgumentFault, Refusal};
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::{BindingDecl, BindingOptions, Destination, ExchangeDecl, ExchangeKind};
use ternmq_core::value::{Headers, Value};
use ternmq_journal::MemoryLog;

use crate::headed::{Forms, publish_headed};
use crate::node::{Node, START, bind, get, publish, queue};
use ternmq_core::id::Lsn;

fn exchange(name: &str, kind: ExchangeKind, arguments: &[(&str, Value)]) -> ExchangeDecl {
    ExchangeDecl {
        name: name.into(),
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: arguments
            .iter()
            .map(|(n, v)| ((*n).into(), v.clone()))
            .collect(),
        declared_by: Box::default(),
    }
}

fn declare_history(client: &mut Client, length: i32) {
    let length = [("x-recent-history-length", Value::I32(length))];
    let decl = exchange("chat", ExchangeKind::RecentHistory, &length);
    client.declare_exchange(decl).unwrap();
}

fn all(client: &mut Client, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(message) = get(client, queue) {
        bodies.push(String::from_utf8(message.body().to_vec()).unwrap());
    }
    bodies
}

#[test]
fn new_binding_gets_the_last_messages_in_order_and_then_what_follows() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    declare_history(&mut client, 2);
    client.declare_queue(queue("early", &[])).unwrap();
    bind(&mut client, "chat", "early", "ignored");
    publish(&mut client, START, "chat", "", &["1", "2", "3"]);
    client.declare_queue(queue("late", &[])).unwrap();
    bind(&mut client, "chat", "late", "");
    publish(&mut client, START, "chat", "any", &["4"]);
    bind(&mut client, "chat", "late", "");
    assert_eq!(all(&mut client, "early"), ["1", "2", "3", "4"]);
    assert_eq!(
        all(&mut client, "late"),
        ["2", "3", "4"],
        "the same binding again brings nothing"
    );
}

#[test]
fn twenty_messages_are_kept_if_nothing_is_said() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let decl = exchange("chat", ExchangeKind::RecentHistory, &[]);
    client.declare_exchange(decl).unwrap();
    for n in 0..30 {
        publish(&mut client, START, "chat", "", &[&n.to_string()]);
    }
    client.declare_queue(queue("q", &[])).unwrap();
    bind(&mut client, "chat", "q", "");
    let kept: Vec<String> = (10..30).map(|n| n.to_string()).collect();
    assert_eq!(all(&mut client, "q"), kept);
}

#[test]
fn message_that_is_not_to_be_stored_is_not_kept() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    declare_history(&mut client, 5);
    let messages = [("kept", ""), ("not", "x-recent-history-no-store=true")];
    publish_headed(&mut client, START, ("chat", ""), &messages);
    client.declare_queue(queue("q", &[])).unwrap();
    bind(&mut client, "chat", "q", "");
    assert_eq!(all(&mut client, "q"), ["kept"]);
}

#[test]
fn history_goes_through_an_exchange_that_is_bound() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    declare_history(&mut client, 5);
    client.declare_queue(queue("q", &[])).unwrap();
    bind(&mut client, "amq.direct", "q", "yes");
    publish(&mut client, START, "chat", "yes", &["1"]);
    publish(&mut client, START, "chat", "no", &["2"]);
    publish(&mut client, START, "chat", "yes", &["3"]);
    let arguments = Headers::new();
    let binding = BindingDecl {
        source: "chat",
        destination: Destination::Exchange("amq.direct"),
        key: b"",
        syntax: KeySyntax::Dotted,
        arguments: &arguments,
        options: BindingOptions::default(),
    };
    assert_eq!(client.bind(&binding), Ok(true));
    assert_eq!(all(&mut client, "q"), ["1", "3"]);
}

#[test]
fn history_ends_with_its_exchange_and_with_the_process() {
    let node = Node::new(MemoryLog::recording());
    let mut client = node.client();
    client.declare_queue(queue("q", &[])).unwrap();
    declare_history(&mut client, 5);
    publish(&mut client, START, "chat", "", &["old"]);
    client.delete_exchange("chat", false).unwrap();
    declare_history(&mut client, 5);
    bind(&mut client, "chat", "q", "1");
    assert!(all(&mut client, "q").is_empty());
    publish(&mut client, START, "chat", "", &["new"]);
    assert_eq!(all(&mut client, "q"), ["new"]);
    let again = Node::new(MemoryLog::new());
    for (lsn, record) in (1..).zip(node.log.records()) {
        again.broker.replay(Lsn(lsn), &record, &Forms).unwrap();
    }
    again.broker.finish_replay(START);
    let mut client = again.client();
    bind(&mut client, "chat", "q", "2");
    assert!(all(&mut client, "q").is_empty());
}

#[test]
fn length_of_a_history_is_a_positive_integer() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    for length in [Value::I32(0), Value::I32(-1), Value::text("5")] {
        let arguments = [("x-recent-history-length", length.clone())];
        let decl = exchange("chat", ExchangeKind::RecentHistory, &arguments);
        let refused = client.declare_exchange(decl);
        let Err(Refusal::InvalidArgument { fault, .. }) = refused else {
            panic!("{length:?} was taken");
        };
        assert_eq!(*fault, ArgumentFault::NotAHistoryLength(length));
    }
}
