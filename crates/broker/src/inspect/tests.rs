use ternmq_core::policy::QueueKind;
use ternmq_core::queue::{AckMode, Budget, ConsumerSpec, Credit, Delivery, Outcome};
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::{BindingDecl, BindingOptions, Destination};
use ternmq_core::value::{Headers, Value};

use super::*;
use crate::bed::{START, broker, client, publish, queue, spec};
use crate::mailbox::Token;
use crate::{Client, Consumer};

fn manual(limit: u32) -> ConsumerSpec {
    ConsumerSpec {
        mode: AckMode::Manual,
        credit: Credit::Limited(limit),
        ..spec()
    }
}

fn label(tag: &'static str) -> ConsumerLabel {
    ConsumerLabel {
        tag: tag.into(),
        channel: 3,
        prefetch: 2,
        arguments: None,
    }
}

fn drain(client: &mut Client, consumer: &Consumer) -> Vec<Delivery> {
    let budget = Budget {
        messages: 100,
        bytes: 1 << 20,
    };
    let mut out = Vec::new();
    client.drain(consumer, budget, &mut out, START);
    out
}

#[test]
fn queue_shows_what_it_holds_and_what_happened_in_it() {
    let broker = broker();
    let mut client = client(&broker);
    client.declare_queue(queue("q", &[])).unwrap();
    for _ in 0..5 {
        publish(&mut client, "q", None);
    }
    let consumer = client
        .consume_as("q", manual(3), Token(1), label("me"))
        .unwrap();
    let before = broker.inspect().queue("/", "q").unwrap();
    assert_eq!((before.holdings.ready, before.holdings.assigned), (2, 3));
    assert_eq!(before.holdings.in_flight_bytes, 3 * 4);
    let got = drain(&mut client, &consumer);
    client.settle(consumer.queue(), &[got[0].position], Outcome::Ack, START);
    let failed = Outcome::Return { failed: true };
    client.settle(consumer.queue(), &[got[1].position], failed, START);
    let again = drain(&mut client, &consumer);
    assert!(again.iter().any(|delivery| delivery.redelivered));
    let refused = Outcome::Reject { failed: true };
    client.settle(consumer.queue(), &[got[2].position], refused, START);

    let seen = broker.inspect().queue("/", "q").unwrap();
    assert_eq!((seen.name(), seen.vhost()), ("q", "/"));
    assert_eq!(seen.state, QueueState::Running);
    assert_eq!(seen.settings.kind, QueueKind::Classic);
    let counters = seen.counters;
    assert_eq!((counters.published, counters.acked), (5, 1));
    assert_eq!(counters.delivered, 3 + again.len() as u64);
    assert_eq!((counters.redelivered, counters.returned), (1, 1));
    assert_eq!(
        counters.died[ternmq_core::message::DeathReason::Rejected.index()],
        1
    );
    let holdings = seen.holdings;
    assert_eq!((holdings.messages(), holdings.bytes()), (3, 3 * 4));
    assert_eq!((holdings.resident, holdings.resident_bytes), (3, 3 * 4));
    assert_eq!((holdings.durable, holdings.consumers), (0, 1));
    assert!(holdings.memory_bytes > 3 * 4);
    assert_eq!(seen.idle_since, None, "somebody consumes");
    client.cancel(consumer);
    let unused = broker.inspect().queue("/", "q").unwrap();
    assert_eq!(unused.idle_since, Some(START));
    assert!(broker.inspect().queue("/", "other").is_none());
    assert!(broker.inspect().queue("other", "q").is_none());
}

#[test]
fn getting_is_counted_by_how_it_is_settled() {
    let broker = broker();
    let mut client = client(&broker);
    client.declare_queue(queue("q", &[])).unwrap();
    publish(&mut client, "q", None);
    publish(&mut client, "q", None);
    client.get("q", true).unwrap().unwrap();
    client.get("q", false).unwrap().unwrap();
    assert!(client.get("q", false).unwrap().is_none());
    let counters = broker.inspect().queue("/", "q").unwrap().counters;
    assert_eq!(
        (counters.got_auto, counters.got, counters.got_empty),
        (1, 1, 1)
    );
    assert_eq!(counters.taken(), 2);
}

#[test]
fn lists_have_every_queue_however_many_there_are() {
    let broker = broker();
    let mut client = client(&broker);
    for n in 0..=SCAN_STEP * 2 {
        client.declare_queue(queue(&format!("q{n}"), &[])).unwrap();
    }
    let all = broker.inspect().queues(Some("/"));
    let mut names: Vec<_> = all.iter().map(|queue| queue.name().to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SCAN_STEP * 2 + 1);
    assert!(broker.inspect().queues(Some("other")).is_empty());
    assert_eq!(broker.inspect().queues(None).len(), names.len());
    let totals = broker.inspect().totals();
    assert_eq!(totals.queues, names.len() as u64);
    assert_eq!(totals.exchanges, 7);
    assert_eq!(broker.inspect().vhost_totals("/"), Some(totals));
    assert_eq!(broker.inspect().vhost_totals("other"), None);
    // One each, to the default exchange.
    assert_eq!(broker.inspect().bindings(None).len(), names.len());
    assert_eq!(broker.inspect().bindings_from("/", "").len(), names.len());
}

#[test]
fn bindings_are_found_from_both_ends() {
    let broker = broker();
    let mut client = client(&broker);
    client.declare_queue(queue("q", &[])).unwrap();
    let mut arguments = Headers::new();
    arguments.push("a", Value::I32(1));
    let binding = BindingDecl {
        source: "amq.topic",
        destination: Destination::Queue("q"),
        key: b"a.#",
        syntax: KeySyntax::Dotted,
        arguments: &arguments,
        options: BindingOptions::default(),
    };
    client.bind(&binding).unwrap();
    client
        .bind(&BindingDecl {
            source: "amq.fanout",
            destination: Destination::Exchange("amq.topic"),
            key: b"",
            ..binding.clone()
        })
        .unwrap();
    let inspect = broker.inspect();
    let from = inspect.bindings_from("/", "amq.topic");
    assert_eq!(from.len(), 1);
    assert_eq!(
        (&*from[0].key, &from[0].arguments),
        (&b"a.#"[..], &arguments)
    );
    assert_eq!(from[0].destination, BindingEnd::Queue("q".into()));
    let to_queue = inspect.bindings_to("/", Destination::Queue("q"));
    assert_eq!(to_queue.len(), 2);
    assert_eq!((&*to_queue[0].source, &*to_queue[0].key), ("", &b"q"[..]));
    assert_eq!(to_queue[1], from[0]);
    let to_exchange = inspect.bindings_to("/", Destination::Exchange("amq.topic"));
    assert_eq!(to_exchange.len(), 1);
    let between = inspect.bindings_between("/", "amq.topic", Destination::Queue("q"));
    assert_eq!(between, from);
    assert_eq!(inspect.bindings(Some("/")).len(), 3);
    let exchange = inspect.exchange("/", "amq.topic").unwrap();
    assert_eq!(&*exchange.decl.name, "amq.topic");
    assert!(inspect.exchange("/", "other").is_none());
    assert_eq!(inspect.exchanges(None).len(), 7);
}

#[test]
fn consumers_say_who_they_are_and_which_of_them_is_served() {
    let broker = broker();
    let mut client = client(&broker);
    let single = [("x-single-active-consumer", Value::Bool(true))];
    client.declare_queue(queue("single", &single)).unwrap();
    client.declare_queue(queue("own", &[])).unwrap();
    let first = client
        .consume_as("single", manual(5), Token(1), label("first"))
        .unwrap();
    client
        .consume_as("single", manual(5), Token(2), label("second"))
        .unwrap();
    let alone = ConsumerSpec {
        exclusive: true,
        ..spec()
    };
    client
        .consume_as("own", alone, Token(3), label("alone"))
        .unwrap();
    let inspect = broker.inspect();
    let seen = inspect.queue_consumers("/", "single");
    let status: Vec<_> = seen.iter().map(|c| (&*c.label.tag, c.status)).collect();
    assert_eq!(
        status,
        [
            ("first", ActivityStatus::SingleActive),
            ("second", ActivityStatus::Waiting)
        ]
    );
    assert_eq!(seen[0].connection, client.id());
    assert_eq!((seen[0].label.channel, seen[0].label.prefetch), (3, 2));
    assert!(seen[0].ack_required() && seen[0].is_active() && !seen[1].is_active());
    let active = |name: &str| inspect.queue("/", name).unwrap().single_active_consumer;
    assert_eq!(active("single").as_deref(), Some("first"));
    let own = inspect.queue("/", "own").unwrap();
    assert_eq!(own.single_active_consumer, None);
    assert_eq!(own.exclusive_consumer.as_deref(), Some("alone"));
    let all = inspect.consumers(None);
    assert_eq!(all.len(), 3);
    let exclusive = all.iter().find(|c| c.exclusive).unwrap();
    assert_eq!((exclusive.queue(), exclusive.vhost()), ("own", "/"));
    assert!(!exclusive.ack_required());
    client.cancel(first);
    assert_eq!(active("single").as_deref(), Some("second"));
}
