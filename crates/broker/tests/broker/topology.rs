//! Declarations at the limits, and what replay makes of those that are gone.

use ternmq_broker::{BrokerConfig, DeleteIf};
use ternmq_core::error::Refusal;
use ternmq_core::id::Lsn;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::{BindingDecl, BindingOptions, Destination};
use ternmq_core::value::Headers;
use ternmq_journal::MemoryLog;

use crate::node::{Forms, Node, START, publish, queue};

#[test]
fn binding_that_is_there_may_be_changed_at_the_limit() {
    let config = BrokerConfig {
        bindings_max: 1,
        ..BrokerConfig::default()
    };
    let node = Node::with(&config, MemoryLog::new());
    let mut client = node.client();
    client.declare_queue(queue("q", &[])).unwrap();
    let arguments = Headers::new();
    let binding = |key, tag| BindingDecl {
        source: "amq.topic",
        destination: Destination::Queue("q"),
        key,
        syntax: KeySyntax::Dotted,
        arguments: &arguments,
        options: BindingOptions {
            tag: Some(tag),
            ..BindingOptions::default()
        },
    };
    assert_eq!(client.bind(&binding(b"a", 1)), Ok(true));
    assert_eq!(client.bind(&binding(b"a", 2)), Ok(false));
    let refused = client.bind(&binding(b"b", 1));
    let limit = Refusal::LimitReached {
        limit: "bindings_max",
        max: 1,
    };
    assert_eq!(refused, Err(limit));
    let mut gone = binding(b"b", 1);
    gone.destination = Destination::Queue("none");
    let refused = client.bind(&gone);
    assert!(matches!(refused, Err(Refusal::NotFound { .. })));
}

#[test]
fn replayed_queue_that_was_deleted_holds_no_memory() {
    let config = BrokerConfig {
        memory_high_bytes: Some(100_000),
        ..BrokerConfig::default()
    };
    let node = Node::with(&config, MemoryLog::recording());
    let mut client = node.client();
    let body = "x".repeat(60_000);
    for _ in 0..3 {
        client.declare_queue(queue("q", &[])).unwrap();
        publish(&mut client, START, "", "q", &[&body]);
        client.delete_queue("q", DeleteIf::default()).unwrap();
    }
    let again = Node::with(&config, MemoryLog::new());
    for (lsn, record) in (1..).zip(node.log.records()) {
        again.broker.replay(Lsn(lsn), &record, &Forms).unwrap();
    }
    again.broker.finish_replay(START);
    assert!(!node.broker.is_blocked() && !again.broker.is_blocked());
}
