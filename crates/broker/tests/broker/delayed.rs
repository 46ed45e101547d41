//! Messages that wait for their time: exchanges that hold back, publishes with a time, limits, replay.

use ternmq_broker::{BrokerConfig, Client, Retain, ScheduleId, Turn};
use ternmq_core::error::{ArgumentFault, Refusal};
use ternmq_core::id::Lsn;
use ternmq_core::queue::Outcome;
use ternmq_core::topology::{DELAY_MAX_MS, ExchangeDecl, ExchangeKind};
use ternmq_core::value::{Headers, Value};
use ternmq_journal::MemoryLog;

use crate::headed::{Forms, publish_headed};
use crate::node::{Node, START, bind, get, message, publish, queue, request};

fn delayed(name: &str, kind: Option<Value>) -> ExchangeDecl {
    let mut arguments = Headers::new();
    if let Some(kind) = kind {
        arguments.push("x-delayed-type", kind);
    }
    ExchangeDecl {
        name: name.into(),
        kind: ExchangeKind::Delayed,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
        declared_by: Box::default(),
    }
}

/// A delayed direct exchange `later`, and the queue `q`, which is not bound yet.
fn with_later(node: &Node) -> Client {
    let mut client = node.client();
    let decl = delayed("later", Some(Value::text("direct")));
    client.declare_exchange(decl).unwrap();
    client.declare_queue(queue("q", &[])).unwrap();
    client
}

fn tick(node: &Node, ms: u64) {
    let now = START.plus_ms(ms);
    node.clock.advance_to(now);
    node.broker.tick(now);
}

fn body(client: &mut Client, queue: &str) -> Option<String> {
    let message = get(client, queue)?;
    Some(String::from_utf8(message.body().to_vec()).unwrap())
}

/// What the journal of the first node makes of another one.
fn replayed(node: &Node) -> Node {
    let again = Node::new(MemoryLog::recording());
    for (lsn, record) in (1..).zip(node.log.records()) {
        again.broker.replay(Lsn(lsn), &record, &Forms).unwrap();
        // What is applied twice is applied once.
        again.broker.replay(Lsn(lsn), &record, &Forms).unwrap();
    }
    again.broker.finish_replay(START);
    again
}

#[test]
fn message_is_routed_when_its_delay_ends_with_the_bindings_of_that_moment() {
    let node = Node::new(MemoryLog::new());
    let mut client = with_later(&node);
    let (lsn, rejected) = publish_headed(
        &mut client,
        START,
        ("later", "k"),
        &[("m", "a=1\nx-delay=50")],
    );
    assert!(lsn.is_some() && rejected.is_empty());
    bind(&mut client, "later", "q", "k");
    assert_eq!(node.broker.messages_delayed("/", "later"), 1);
    tick(&node, 49);
    assert_eq!(body(&mut client, "q"), None);
    assert_eq!(node.broker.next_deadline(), Some(START.plus_ms(50)));
    tick(&node, 50);
    let message = get(&mut client, "q").unwrap();
    let headers = message.properties().headers;
    assert_eq!(headers.get("x-delay").and_then(Value::as_i64), Some(-50));
    assert_eq!(headers.get("a").and_then(Value::as_i64), Some(1));
    assert_eq!(message.received_at(), START.plus_ms(50));
    assert_eq!(node.broker.messages_delayed("/", "later"), 0);
    assert_eq!(body(&mut client, "q"), None);
}

#[test]
fn delays_that_are_none_lead_to_the_queue_at_once() {
    let node = Node::new(MemoryLog::new());
    let mut client = with_later(&node);
    bind(&mut client, "later", "q", "k");
    let too_long = format!("x-delay={}", DELAY_MAX_MS + 1);
    for headers in ["", "x-delay=0", "x-delay=-5", &too_long] {
        publish_headed(&mut client, START, ("later", "k"), &[("now", headers)]);
        assert_eq!(body(&mut client, "q").as_deref(), Some("now"), "{headers}");
    }
    let longest = format!("x-delay={DELAY_MAX_MS}");
    publish_headed(&mut client, START, ("later", "k"), &[("then", &longest)]);
    assert_eq!(body(&mut client, "q"), None);
    tick(&node, DELAY_MAX_MS);
    assert_eq!(body(&mut client, "q").as_deref(), Some("then"));
}

#[test]
fn messages_are_published_in_order_of_time_then_of_coming() {
    let node = Node::new(MemoryLog::new());
    let mut client = with_later(&node);
    bind(&mut client, "later", "q", "k");
    let messages = [
        ("c", "x-delay=30"),
        ("a", "x-delay=10"),
        ("d", "x-delay=30"),
    ];
    publish_headed(&mut client, START, ("later", "k"), &messages);
    publish_headed(&mut client, START, ("later", "k"), &[("b", "x-delay=20")]);
    tick(&node, 100);
    for expected in ["a", "b", "c", "d"] {
        assert_eq!(body(&mut client, "q").as_deref(), Some(expected));
    }
}

#[test]
fn delayed_message_is_not_unroutable() {
    let node = Node::new(MemoryLog::new());
    let mut client = with_later(&node);
    let delay = || -> Headers {
        [(Box::from("x-delay"), Value::I32(5))]
            .into_iter()
            .collect()
    };
    let route = client.route(&request("later", "none", &delay)).unwrap();
    assert!(!route.is_unroutable() && !route.is_empty());
    let route = client
        .route(&request("later", "none", &Headers::new))
        .unwrap();
    assert!(route.is_unroutable());
}

#[test]
fn exchange_behaves_as_the_kind_it_is_declared_with() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let decl = delayed("later", Some(Value::text("topic")));
    client.declare_exchange(decl).unwrap();
    client.declare_queue(queue("q", &[])).unwrap();
    bind(&mut client, "later", "q", "a.*");
    let to = |key| ("later", key);
    publish_headed(&mut client, START, to("a.b"), &[("yes", "x-delay=1")]);
    publish_headed(&mut client, START, to("b.b"), &[("no", "x-delay=1")]);
    publish_headed(&mut client, START, to("a.c"), &[("now", "")]);
    assert_eq!(body(&mut client, "q").as_deref(), Some("now"));
    tick(&node, 1);
    assert_eq!(body(&mut client, "q").as_deref(), Some("yes"));
    assert_eq!(body(&mut client, "q"), None);
}

#[test]
fn delayed_exchange_needs_a_kind_that_can_be_delayed() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let mut fault = |kind| match client.declare_exchange(delayed("later", kind)) {
        Err(Refusal::InvalidArgument { fault, arg, .. }) => {
            assert_eq!(&*arg, "x-delayed-type");
            *fault
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(fault(None), ArgumentFault::NoDelayedKind);
    assert_eq!(fault(Some(Value::I32(1))), ArgumentFault::NoDelayedKind);
    for name in ["nope", "x-delayed-message"] {
        let unknown = ArgumentFault::UnknownExchangeKind(name.into());
        assert_eq!(fault(Some(Value::text(name))), unknown);
    }
}

#[test]
fn exchange_takes_what_it_holds_back_with_it() {
    let node = Node::new(MemoryLog::recording());
    let mut client = with_later(&node);
    publish_headed(&mut client, START, ("later", "k"), &[("old", "x-delay=5")]);
    client.delete_exchange("later", false).unwrap();
    assert_eq!(node.broker.totals().delayed, 0);
    let decl = delayed("later", Some(Value::text("direct")));
    client.declare_exchange(decl).unwrap();
    bind(&mut client, "later", "q", "k");
    publish_headed(&mut client, START, ("later", "k"), &[("new", "x-delay=5")]);
    for node in [replayed(&node), node] {
        let mut client = node.client();
        tick(&node, 5);
        assert_eq!(body(&mut client, "q").as_deref(), Some("new"));
        assert_eq!(body(&mut client, "q"), None);
    }
}

#[test]
fn auto_deleted_exchange_takes_what_it_holds_back_with_it() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let mut decl = delayed("later", Some(Value::text("direct")));
    decl.auto_delete = true;
    client.declare_exchange(decl).unwrap();
    client.declare_queue(queue("q", &[])).unwrap();
    bind(&mut client, "later", "q", "k");
    publish_headed(&mut client, START, ("later", "k"), &[("m", "x-delay=5")]);
    client
        .delete_queue("q", ternmq_broker::DeleteIf::default())
        .unwrap();
    assert_eq!(node.broker.totals().delayed, 0);
}

#[test]
fn scheduled_messages_are_there_after_a_replay_and_are_published_once() {
    let node = Node::new(MemoryLog::recording());
    let mut client = with_later(&node);
    bind(&mut client, "later", "q", "k");
    let messages = [("due", "x-delay=5"), ("waits", "x-delay=50")];
    publish_headed(&mut client, START, ("later", "k"), &messages);
    let transient = message("", "q", "transient", false, START);
    let at = START.plus_ms(50);
    client.schedule(at, transient, Retain::No).unwrap();
    let will = message("", "q", "will", true, START);
    let (id, lsn) = client.schedule(at, will.clone(), Retain::No).unwrap();
    assert!(lsn.is_some());
    let (gone, _) = client.schedule(at, will, Retain::No).unwrap();
    assert!(node.broker.cancel_scheduled(gone).is_some_and(Lsn::is_some));
    tick(&node, 5);
    let again = replayed(&node);
    let mut client = again.client();
    assert_eq!(again.broker.totals().delayed, 2);
    let listed = again.broker.scheduled("/", None, 10);
    assert_eq!(listed.len(), 2);
    assert_eq!((&*listed[0].exchange, listed[0].at), ("later", at));
    assert_eq!((listed[1].id, listed[1].durable), (id, true));
    assert_eq!(
        again.broker.scheduled("/", Some((at, listed[0].id)), 10),
        listed[1..]
    );
    assert_eq!(body(&mut client, "q").as_deref(), Some("due"));
    assert_eq!(body(&mut client, "q"), None);
    tick(&again, 50);
    let found: Vec<_> = std::iter::from_fn(|| body(&mut client, "q")).collect();
    assert_eq!(found, ["waits", "will"]);
    let third = replayed(&again);
    assert_eq!(third.broker.totals().delayed, 0);
    let (next, _) = client
        .schedule(at, message("", "q", "x", true, START), Retain::No)
        .unwrap();
    assert!(next > gone, "numbers are never used again");
}

#[test]
fn what_does_not_fit_is_refused_and_does_not_come_back() {
    let config = BrokerConfig {
        scheduled_max: 2,
        ..BrokerConfig::default()
    };
    let node = Node::with(&config, MemoryLog::recording());
    let mut client = with_later(&node);
    bind(&mut client, "later", "q", "k");
    let messages = [
        ("1", "x-delay=5"),
        ("now", ""),
        ("2", "x-delay=5"),
        ("3", "x-delay=5"),
    ];
    let (_, rejected) = publish_headed(&mut client, START, ("later", "k"), &messages);
    assert_eq!(rejected, [3]);
    assert_eq!(replayed(&node).broker.totals().delayed, 2);
    tick(&node, 5);
    let found: Vec<_> = std::iter::from_fn(|| body(&mut client, "q")).collect();
    assert_eq!(found, ["now", "1", "2"]);
}

#[test]
fn scheduled_message_can_be_cancelled_by_its_id() {
    let node = Node::new(MemoryLog::new());
    let mut client = with_later(&node);
    publish_headed(&mut client, START, ("later", "k"), &[("m", "x-delay=5")]);
    let listed = node.broker.scheduled("/", None, 10);
    let id = listed[0].id;
    assert_eq!(node.broker.scheduled_message(id).as_ref(), Some(&listed[0]));
    assert!(node.broker.scheduled("other", None, 10).is_empty());
    assert!(node.broker.cancel_scheduled(id).is_some());
    assert_eq!(node.broker.cancel_scheduled(id), None);
    assert_eq!(node.broker.cancel_scheduled(ScheduleId(0)), None);
    assert_eq!(node.broker.next_deadline(), None);
}

#[test]
fn publish_with_a_time_is_part_of_its_turn() {
    let node = Node::new(MemoryLog::recording());
    let mut client = with_later(&node);
    let at = START.plus_ms(10);
    let mut turn = Turn::new();
    let now = client.route(&request("", "q", &Headers::new)).unwrap();
    turn.push(message("", "q", "now", true, START), now);
    let later = client.route_later(at, Retain::Yes);
    turn.push(message("", "q", "later", true, START), later);
    let published = client.publish(&mut turn, START);
    assert_eq!(published.lsn, Lsn(node.log.records().len() as u64));
    assert!(turn.is_empty());
    assert_eq!(body(&mut client, "q").as_deref(), Some("now"));
    tick(&node, 10);
    assert_eq!(body(&mut client, "q").as_deref(), Some("later"));
    let mut retained = Vec::new();
    client.retained(b"#", at, &mut retained);
    assert_eq!(retained.len(), 1);
}

#[test]
fn dead_letter_can_be_delayed() {
    let node = Node::new(MemoryLog::recording());
    let mut client = with_later(&node);
    bind(&mut client, "later", "q", "work");
    let dlx = [("x-dead-letter-exchange", Value::text("later"))];
    client.declare_queue(queue("work", &dlx)).unwrap();
    publish_headed(&mut client, START, ("", "work"), &[("m", "x-delay=20")]);
    let got = client.get("work", false).unwrap().unwrap();
    let outcome = Outcome::Reject { failed: true };
    client.settle(&got.queue, &[got.delivery.position], outcome, START);
    assert_eq!(body(&mut client, "q"), None);
    for node in [replayed(&node), node] {
        let mut client = node.client();
        assert_eq!(body(&mut client, "work"), None);
        tick(&node, 20);
        let message = get(&mut client, "q").unwrap();
        assert_eq!(message.history().unwrap().deaths.len(), 1);
        assert_eq!(body(&mut client, "q"), None);
    }
}

#[test]
fn one_tick_publishes_a_bounded_part() {
    let node = Node::new(MemoryLog::new());
    let mut client = with_later(&node);
    bind(&mut client, "later", "q", "k");
    for _ in 0..300 {
        publish_headed(&mut client, START, ("later", "k"), &[("m", "x-delay=1")]);
    }
    tick(&node, 1);
    assert!(node.broker.totals().delayed > 0);
    assert!(node.broker.next_deadline() <= Some(START.plus_ms(1)));
    tick(&node, 1);
    assert_eq!(client.check_queue("q").unwrap().messages, 300);
    publish(&mut client, START, "later", "k", &["now"]);
    assert_eq!(client.check_queue("q").unwrap().messages, 301);
}
