//! The four verbs over an in-memory log, without sockets: what adapters rely on.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ternmq_broker::mailbox::{Notice, Token};
use ternmq_broker::{BrokerConfig, Client, DeleteIf, LoginRefusal, Retain, Turn};
use ternmq_core::error::Refusal;
use ternmq_core::id::Lsn;
use ternmq_core::message::{DeathReason, NewMessage};
use ternmq_core::queue::Outcome;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::{
    BindingDecl, BindingOptions, Destination, ExchangeDecl, ExchangeKind, QueueDecl,
};
use ternmq_core::value::{Headers, Value};
use ternmq_journal::{Log, MemoryLog};

use crate::node::{
    Forms, LOOPBACK, Node, START, bind, bodies, consume, drain, get, message, notices, publish,
    queue, request, with_dead_letters,
};

#[test]
fn published_turn_reaches_the_consumer_with_one_notice_in_order() {
    let node = Node::new(MemoryLog::new());
    let (mut a, mut b) = (node.client(), node.client());
    a.declare_queue(queue("q", &[])).unwrap();
    let consumer = consume(&mut b, "q", 7);
    assert_eq!(notices(&b), []);
    publish(&mut a, START, "", "q", &["1", "2", "3"]);
    publish(&mut a, START, "", "q", &["4"]);
    assert_eq!(notices(&b), [Notice::Ready(Token(7))]);
    let deliveries = drain(&mut b, &consumer, START);
    assert_eq!(bodies(&deliveries), ["1", "2", "3", "4"]);
    let positions: Vec<_> = deliveries.iter().map(|d| d.position).collect();
    b.settle(consumer.queue(), &positions, Outcome::Ack, START);
    assert_eq!(b.check_queue("q").unwrap().messages, 0);
}

#[test]
fn confirm_waits_for_the_watermark_and_the_waiter_is_told() {
    let node = Node::new(MemoryLog::held_back());
    let mut client = node.client();
    client.declare_queue(queue("q", &[])).unwrap();
    let (lsn, rejected) = publish(&mut client, START, "", "q", &["a", "b"]);
    assert!(lsn.is_some() && rejected.is_empty() && client.committed() < lsn);
    client.notify_commit(lsn);
    assert_eq!(notices(&client), []);
    node.log.commit();
    assert_eq!(notices(&client), [Notice::Committed]);
    assert_eq!(client.committed(), lsn);
    client.notify_commit(lsn);
    assert_eq!(notices(&client), [Notice::Committed]);
}

#[test]
fn transient_messages_never_enter_the_journal() {
    let node = Node::new(MemoryLog::recording());
    let mut client = node.client();
    client.declare_queue(queue("q", &[])).unwrap();
    let before = node.log.records().len();
    let route = client.route(&request("", "q", &Headers::new)).unwrap();
    let mut turn = Turn::new();
    turn.push(message("", "q", "x", false, START), route);
    assert_eq!(client.publish(&mut turn, START).lsn, Lsn::NONE);
    assert_eq!(get(&mut client, "q").unwrap().body(), b"x");
    assert_eq!(node.log.records().len(), before);
}

#[test]
fn fan_out_shares_one_record_and_full_queue_refuses_alone() {
    let node = Node::new(MemoryLog::recording());
    let mut client = node.client();
    let full = [
        ("x-max-length", Value::I32(1)),
        ("x-overflow", Value::text("reject-publish")),
    ];
    client.declare_queue(queue("full", &full)).unwrap();
    client.declare_queue(queue("open", &[])).unwrap();
    for name in ["full", "open"] {
        bind(&mut client, "amq.fanout", name, "");
    }
    let before = node.log.records().len();
    let (_, rejected) = publish(&mut client, START, "amq.fanout", "", &["1", "2", "3"]);
    assert_eq!(rejected, [1, 2]);
    assert_eq!(client.check_queue("open").unwrap().messages, 3);
    assert_eq!(client.check_queue("full").unwrap().messages, 1);
    // Three publishes, and that two of them left the full queue at once.
    assert_eq!(node.log.records().len() - before, 4);
}

#[test]
fn route_is_cached_until_the_topology_changes() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let empty = client
        .route(&request("amq.direct", "k", &Headers::new))
        .unwrap();
    assert!(empty.is_empty());
    assert!(Arc::ptr_eq(
        &empty,
        &client
            .route(&request("amq.direct", "k", &Headers::new))
            .unwrap()
    ));
    let mut other = node.client();
    other.declare_queue(queue("q", &[])).unwrap();
    bind(&mut other, "amq.direct", "q", "k");
    assert!(
        !client
            .route(&request("amq.direct", "k", &Headers::new))
            .unwrap()
            .is_empty()
    );
    other.delete_queue("q", DeleteIf::default()).unwrap();
    assert!(
        client
            .route(&request("amq.direct", "k", &Headers::new))
            .unwrap()
            .is_empty()
    );
    let missing = client.route(&request("nope", "k", &Headers::new)).err();
    assert!(matches!(missing, Some(Refusal::NotFound { .. })));
}

#[test]
fn rejected_message_moves_with_its_history_in_one_record() {
    let node = Node::new(MemoryLog::recording());
    let mut client = node.client();
    with_dead_letters(&mut client, &[]);
    publish(&mut client, START, "", "q", &["poison"]);
    let got = client.get("q", false).unwrap().unwrap();
    let before = node.log.records().len();
    client.settle(
        &got.queue,
        &[got.delivery.position],
        Outcome::Reject { failed: true },
        START,
    );
    assert_eq!(node.log.records().len() - before, 1);
    let dead = get(&mut client, "dead").unwrap();
    let history = dead.history().unwrap();
    assert_eq!(
        (history.deaths[0].reason, &*history.deaths[0].queue),
        (DeathReason::Rejected, "q")
    );
}

#[test]
fn expired_message_is_dead_lettered_by_the_timer() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    with_dead_letters(&mut client, &[("x-message-ttl", Value::I32(500))]);
    publish(&mut client, START, "", "q", &["late"]);
    let deadline = node.broker.next_deadline().unwrap();
    assert!(deadline <= START.plus_ms(600));
    node.broker.tick(START.plus_ms(100));
    assert!(get(&mut client, "dead").is_none());
    node.clock.advance_to(deadline);
    node.broker.tick(deadline);
    let history = get(&mut client, "dead").unwrap().history().unwrap().clone();
    assert_eq!(history.last.reason, DeathReason::Expired);
    assert_eq!(node.broker.next_deadline(), None);
}

#[test]
fn overflow_cycle_of_a_queue_onto_itself_ends() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let arguments = [
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("self")),
        ("x-max-length", Value::I32(1)),
    ];
    client.declare_queue(queue("self", &arguments)).unwrap();
    publish(&mut client, START, "", "self", &["1", "2"]);
    assert_eq!(get(&mut client, "self").unwrap().body(), b"2");
    assert!(get(&mut client, "self").is_none());
}

#[test]
fn exclusive_queue_goes_with_its_connection_and_consumers_elsewhere_are_locked_out() {
    let node = Node::new(MemoryLog::new());
    let (mut owner, mut other) = (node.client(), node.client());
    let mut decl = queue("mine", &[]);
    decl.exclusive = Some(owner.id());
    owner.declare_queue(decl).unwrap();
    assert_eq!(
        other.check_queue("mine"),
        Err(Refusal::Locked("mine".into()))
    );
    drop(owner);
    assert!(matches!(
        other.check_queue("mine"),
        Err(Refusal::NotFound { .. })
    ));
}

#[test]
fn reserved_names_are_for_the_broker_and_may_be_declared_again() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let refused = client.declare_queue(queue("amq.mine", &[]));
    assert!(matches!(refused, Err(Refusal::ReservedName { .. })));
    let made = client.declare_queue(queue("", &[])).unwrap();
    assert!(made.name.starts_with("amq.gen-"));
    assert!(
        !client
            .declare_queue(queue(&made.name, &[]))
            .unwrap()
            .created
    );
}

#[test]
fn secret_queue_has_a_reserved_name_that_no_client_can_declare() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let decl = || QueueDecl {
        exclusive: Some(client.id()),
        auto_delete: true,
        durable: false,
        ..queue("", &[])
    };
    let (first, second) = (decl(), decl());
    let names = [first, second].map(|d| client.declare_secret_queue("amq.x.", d).unwrap().name);
    assert_ne!(names[0], names[1]);
    assert!(names[0].starts_with("amq.x.") && names[0].len() == "amq.x.".len() + 22);
    let refused = node.client().declare_queue(queue("amq.x.a", &[]));
    assert!(matches!(refused, Err(Refusal::ReservedName { .. })));
    // It goes with its consumer, and another may follow.
    let consumer = consume(&mut client, &names[0], 1);
    client.cancel(consumer);
    assert!(client.check_queue(&names[0]).is_err() && client.check_queue(&names[1]).is_ok());
}

#[test]
fn deleted_queue_cancels_its_consumers() {
    let node = Node::new(MemoryLog::new());
    let (mut a, mut b) = (node.client(), node.client());
    a.declare_queue(queue("q", &[])).unwrap();
    let consumer = consume(&mut b, "q", 3);
    publish(&mut a, START, "", "q", &["x"]);
    a.delete_queue("q", DeleteIf::default()).unwrap();
    assert!(notices(&b).contains(&Notice::Cancelled(Token(3))));
    assert!(drain(&mut b, &consumer, START).is_empty());
}

#[test]
fn auto_delete_queue_goes_with_its_last_consumer() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let decl = QueueDecl {
        auto_delete: true,
        ..queue("q", &[])
    };
    client.declare_queue(decl).unwrap();
    let consumer = consume(&mut client, "q", 1);
    client.cancel(consumer);
    assert!(matches!(
        client.check_queue("q"),
        Err(Refusal::NotFound { .. })
    ));
}

#[test]
fn scheduled_message_is_routed_when_it_is_due() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let at = START.plus_ms(50);
    client
        .schedule(at, message("", "later", "will", true, START), Retain::No)
        .unwrap();
    let (cancelled, _) = client
        .schedule(at, message("", "later", "no", true, START), Retain::No)
        .unwrap();
    let (early, _) = client
        .schedule(at, message("", "later", "early", true, START), Retain::No)
        .unwrap();
    client.declare_queue(queue("later", &[])).unwrap();
    assert!(node.broker.cancel_scheduled(cancelled).is_some());
    assert!(node.broker.cancel_scheduled(cancelled).is_none());
    assert!(node.broker.fire_scheduled(early));
    assert_eq!(get(&mut client, "later").unwrap().body(), b"early");
    node.broker.tick(START);
    assert!(get(&mut client, "later").is_none());
    node.clock.advance_to(at);
    node.broker.tick(at);
    assert_eq!(get(&mut client, "later").unwrap().body(), b"will");
    assert!(get(&mut client, "later").is_none());
}

#[test]
fn scheduled_messages_are_limited_in_number_and_in_bytes() {
    let limited = |scheduled_max, scheduled_bytes_max| BrokerConfig {
        scheduled_max,
        scheduled_bytes_max,
        ..BrokerConfig::default()
    };
    let at = START.plus_ms(50);
    let later = message("", "q", &"x".repeat(1_000), true, START);
    let two = 2 * later.resident_bytes();
    for (config, limit) in [
        (limited(2, usize::MAX), "scheduled_max"),
        (limited(usize::MAX, two), "scheduled_bytes_max"),
    ] {
        let node = Node::with(&config, MemoryLog::new());
        let mut client = node.client();
        let (first, _) = client.schedule(at, later.clone(), Retain::No).unwrap();
        client.schedule(at, later.clone(), Retain::No).unwrap();
        let refused = client.schedule(at, later.clone(), Retain::No);
        assert!(matches!(refused, Err(Refusal::LimitReached { limit: l, .. }) if l == limit));
        assert!(node.broker.cancel_scheduled(first).is_some());
        assert!(client.schedule(at, later.clone(), Retain::No).is_ok());
    }
}

#[test]
fn expired_retained_messages_are_forgotten_by_the_timer() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let mut new = NewMessage::plain(b"amq.topic", b"a", b"x");
    (new.ttl_ms, new.received_at) = (Some(1_000), START);
    client
        .retain(b"a", Some(new.build(&mut Vec::new())))
        .unwrap();
    let retained = |client: &mut Client, now| {
        let mut out = Vec::new();
        client.retained(b"#", now, &mut out);
        out.len()
    };
    assert_eq!(retained(&mut client, START), 1);
    assert_eq!(retained(&mut client, START.plus_ms(1_000)), 0);
    let sweep = node.broker.next_deadline().unwrap();
    assert!(sweep >= START.plus_ms(1_000));
    node.broker.tick(sweep);
    // It is gone, not only passed over: asking for an earlier moment does not bring it back.
    assert_eq!(retained(&mut client, START), 0);
    assert_eq!(node.broker.next_deadline(), None);
}

#[test]
fn limits_of_the_topology_refuse_one_more_and_nothing_else() {
    let config = BrokerConfig {
        queues_max: 1,
        bindings_max: 1,
        exchanges_max: 8,
        ..BrokerConfig::default()
    };
    let node = Node::with(&config, MemoryLog::new());
    let mut client = node.client();
    client.declare_queue(queue("a", &[])).unwrap();
    client.declare_queue(queue("a", &[])).unwrap();
    let limit = |name, max| Refusal::LimitReached { limit: name, max };
    assert_eq!(
        client.declare_queue(queue("b", &[])),
        Err(limit("queues_max", 1))
    );
    bind(&mut client, "amq.fanout", "a", "");
    let arguments = Headers::new();
    let second = BindingDecl {
        source: "amq.direct",
        destination: Destination::Queue("a"),
        key: b"k",
        syntax: KeySyntax::Dotted,
        arguments: &arguments,
        options: BindingOptions::default(),
    };
    assert_eq!(client.bind(&second), Err(limit("bindings_max", 1)));
    let exchange = |name: &str| ExchangeDecl {
        name: name.into(),
        kind: ExchangeKind::Fanout,
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: Headers::new(),
        declared_by: Box::default(),
    };
    // Seven are predeclared.
    assert_eq!(client.declare_exchange(exchange("x")), Ok(true));
    assert_eq!(client.declare_exchange(exchange("x")), Ok(false));
    assert_eq!(
        client.declare_exchange(exchange("y")),
        Err(limit("exchanges_max", 8))
    );
    client.delete_queue("a", DeleteIf::default()).unwrap();
    client.declare_queue(queue("b", &[])).unwrap();
}

#[test]
fn memory_pressure_pauses_and_releases_publishers() {
    let config = BrokerConfig {
        memory_high_bytes: Some(100_000),
        ..BrokerConfig::default()
    };
    let node = Node::with(&config, MemoryLog::new());
    let mut client = node.client();
    client.declare_queue(queue("q", &[])).unwrap();
    let body = "x".repeat(60_000);
    publish(&mut client, START, "", "q", &[&body]);
    assert!(!node.broker.is_blocked());
    publish(&mut client, START, "", "q", &[&body]);
    assert!(node.broker.is_blocked());
    assert_eq!(notices(&client), [Notice::Blocked]);
    let late = node.client();
    assert_eq!(notices(&late), [Notice::Blocked]);
    client.purge_queue("q").unwrap();
    assert!(!node.broker.is_blocked());
    assert_eq!(notices(&client), [Notice::Unblocked]);
}

#[test]
fn guest_logs_in_from_loopback_only() {
    let node = Node::new(MemoryLog::new());
    let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(
        node.broker.login("guest", b"guest", elsewhere).err(),
        Some(LoginRefusal::LoopbackOnly)
    );
    assert_eq!(
        node.broker.login("guest", b"wrong", LOOPBACK).err(),
        Some(LoginRefusal::BadCredentials)
    );
    assert_eq!(
        node.broker.login("nobody", b"", LOOPBACK).err(),
        Some(LoginRefusal::BadCredentials)
    );
}

/// Declarations, publishes, acks, returns, dead letters and retained messages, then the same from the journal alone.
#[test]
fn replayed_journal_gives_the_durable_half_of_the_live_state() {
    let node = Node::new(MemoryLog::recording());
    let mut client = node.client();
    with_dead_letters(&mut client, &[("x-max-length", Value::I32(4))]);
    client
        .declare_exchange(ExchangeDecl {
            name: "x".into(),
            kind: ExchangeKind::Direct,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Headers::new(),
            declared_by: Box::default(),
        })
        .unwrap();
    bind(&mut client, "x", "q", "k");
    publish(&mut client, START, "x", "k", &["1", "2", "3", "4", "5"]);
    let second = client.get("q", false).unwrap().unwrap();
    client.settle(
        &second.queue,
        &[second.delivery.position],
        Outcome::Ack,
        START,
    );
    let third = client.get("q", false).unwrap().unwrap();
    client.settle(
        &third.queue,
        &[third.delivery.position],
        Outcome::Return { failed: true },
        START,
    );
    client
        .retain(b"a/b", Some(message("x", "k", "kept", true, START)))
        .unwrap();
    client.declare_queue(queue("gone", &[])).unwrap();
    client.delete_queue("gone", DeleteIf::default()).unwrap();

    let again = Node::new(MemoryLog::new());
    for _ in 0..2 {
        for (lsn, record) in (1..).zip(node.log.records()) {
            again.broker.replay(Lsn(lsn), &record, &Forms).unwrap();
        }
    }
    again.broker.finish_replay(START);
    let mut reader = again.client();
    assert!(reader.check_exchange("x").is_ok() && reader.check_queue("gone").is_err());
    assert_eq!(get(&mut reader, "dead").unwrap().body(), b"1");
    assert!(get(&mut reader, "dead").is_none());
    let first = reader.get("q", true).unwrap().unwrap();
    assert_eq!(
        (first.delivery.message.body(), first.delivery.attempts),
        (&b"3"[..], 1)
    );
    assert_eq!(get(&mut reader, "q").unwrap().body(), b"4");
    assert_eq!(get(&mut reader, "q").unwrap().body(), b"5");
    assert!(get(&mut reader, "q").is_none());
    publish(&mut reader, START, "x", "k", &["routed"]);
    assert_eq!(get(&mut reader, "q").unwrap().body(), b"routed");
    let mut retained = Vec::new();
    reader.retained(b"a/+", START, &mut retained);
    assert_eq!(retained.len(), 1);
    assert_eq!(again.log.durability(), node.log.durability());
}

#[test]
fn purge_takes_all_however_many_and_counts_them() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    client.declare_queue(queue("q", &[])).unwrap();
    let bodies = vec!["x"; 10_001];
    publish(&mut client, START, "", "q", &bodies);
    assert_eq!(client.purge_queue("q"), Ok(10_001));
    assert_eq!(client.purge_queue("q"), Ok(0));
}
