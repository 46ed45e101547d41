//! Policies: what they are about, and what they do to what is there and to what comes.

use ternmq_broker::{AdminRefusal, Client, DeleteIf, PolicyStatus};
use ternmq_core::access::{ApplyTo, PolicyScope, PolicySpec, VhostSpec};
use ternmq_core::id::Lsn;
use ternmq_core::policy::QueueKind;
use ternmq_core::topology::{ExchangeDecl, ExchangeKind};
use ternmq_core::value::{Headers, Value};
use ternmq_journal::MemoryLog;

use crate::headed::Forms;
use crate::node::{Node, START, bind, get, publish, queue};

fn spec(pattern: &str, definition: &[(&str, Value)]) -> PolicySpec {
    PolicySpec {
        pattern: pattern.into(),
        definition: definition
            .iter()
            .map(|(n, v)| ((*n).into(), v.clone()))
            .collect(),
        ..PolicySpec::default()
    }
}

fn put(node: &Node, name: &str, spec: PolicySpec) {
    let put = node
        .broker
        .admin()
        .put_policy(PolicyScope::User, "/", name, spec);
    put.unwrap();
}

fn put_operator(node: &Node, name: &str, spec: PolicySpec) {
    let admin = node.broker.admin();
    let put = admin.put_policy(PolicyScope::Operator, "/", name, spec);
    put.unwrap();
}

fn delete(node: &Node, name: &str) {
    let admin = node.broker.admin();
    admin.delete_policy(PolicyScope::User, "/", name).unwrap();
}

fn status(node: &Node, queue: &str) -> PolicyStatus {
    node.broker.queue_policy("/", queue).unwrap()
}

fn name_of(node: &Node, queue: &str) -> Option<String> {
    status(node, queue).policy.map(String::from)
}

fn ready(client: &mut Client, queue: &str) -> u64 {
    client.check_queue(queue).unwrap().messages
}

fn tick(node: &Node, ms: u64) {
    let now = START.plus_ms(ms);
    node.clock.advance_to(now);
    while node.broker.next_deadline().is_some_and(|at| at <= now) {
        node.broker.tick(now);
    }
}

fn exchange(name: &str, arguments: Headers) -> ExchangeDecl {
    ExchangeDecl {
        name: name.into(),
        kind: ExchangeKind::Direct,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
        declared_by: Box::default(),
    }
}

/// The same node after its records were read again.
fn replayed(node: &Node) -> Node {
    let again = Node::new(MemoryLog::new());
    for (lsn, record) in (1..).zip(node.log.records()) {
        again.broker.replay(Lsn(lsn), &record, &Forms).unwrap();
    }
    again.broker.finish_replay(START);
    again
}

#[test]
fn policy_is_about_what_is_there_and_what_comes_until_it_is_deleted() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    client.declare_queue(queue("a.old", &[])).unwrap();
    client.declare_queue(queue("b", &[])).unwrap();
    put(
        &node,
        "short",
        spec("^a\\.", &[("max-length", Value::I64(1))]),
    );
    client.declare_queue(queue("a.new", &[])).unwrap();
    for (queue, kept) in [("a.old", 1), ("a.new", 1), ("b", 3)] {
        publish(&mut client, START, "", queue, &["1", "2", "3"]);
        assert_eq!(ready(&mut client, queue), kept, "{queue}");
    }
    assert_eq!(name_of(&node, "a.new").as_deref(), Some("short"));
    assert_eq!(name_of(&node, "b"), None);
    delete(&node, "short");
    publish(&mut client, START, "", "a.old", &["4"]);
    assert_eq!(ready(&mut client, "a.old"), 2);
    assert_eq!(status(&node, "a.old"), PolicyStatus::default());
}

#[test]
fn highest_priority_counts_then_the_first_name() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    client.declare_queue(queue("q", &[])).unwrap();
    let of = |priority, length| PolicySpec {
        priority,
        ..spec(".*", &[("max-length", Value::I64(length))])
    };
    put(&node, "b", of(1, 10));
    put(&node, "c", of(1, 20));
    assert_eq!(name_of(&node, "q").as_deref(), Some("b"));
    put(&node, "z", of(2, 30));
    assert_eq!(name_of(&node, "q").as_deref(), Some("z"));
    put(&node, "a", of(1, 40));
    delete(&node, "z");
    assert_eq!(name_of(&node, "q").as_deref(), Some("a"));
    put(&node, "a", of(0, 40));
    assert_eq!(name_of(&node, "q").as_deref(), Some("b"));
}

#[test]
fn policy_is_about_kinds_of_objects() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    client.declare_queue(queue("classic", &[])).unwrap();
    let quorum = [("x-queue-type", Value::text("quorum"))];
    client.declare_queue(queue("quorum", &quorum)).unwrap();
    for (apply_to, classic, quorum, exchange) in [
        (ApplyTo::All, true, true, true),
        (ApplyTo::Queues, true, true, false),
        (ApplyTo::ClassicQueues, true, false, false),
        (ApplyTo::QuorumQueues, false, true, false),
        (ApplyTo::Exchanges, false, false, true),
        (ApplyTo::Streams, false, false, false),
    ] {
        let policy = PolicySpec {
            apply_to,
            ..spec("", &[("alternate-exchange", Value::text("ae"))])
        };
        let policy = PolicySpec {
            pattern: ".".into(),
            ..policy
        };
        put(&node, "p", policy);
        assert_eq!(name_of(&node, "classic").is_some(), classic, "{apply_to:?}");
        assert_eq!(name_of(&node, "quorum").is_some(), quorum, "{apply_to:?}");
        let of_exchange = node.broker.exchange_policy("/", "amq.direct").unwrap();
        assert_eq!(of_exchange.policy.is_some(), exchange, "{apply_to:?}");
    }
    assert_eq!(node.broker.exchange_policy("/", "none"), None);
    assert_eq!(node.broker.queue_policy("/", "none"), None);
}

#[test]
fn operator_lowers_what_users_set() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let arguments = [("x-max-length", Value::I32(3))];
    client.declare_queue(queue("q", &arguments)).unwrap();
    put(&node, "user", spec("q", &[("max-length", Value::I64(5))]));
    publish(&mut client, START, "", "q", &["1", "2", "3", "4"]);
    assert_eq!(ready(&mut client, "q"), 3, "the argument is lower");
    put_operator(&node, "op", spec("q", &[("max-length", Value::I64(2))]));
    assert_eq!(ready(&mut client, "q"), 2, "it drops at once");
    let status = status(&node, "q");
    assert_eq!(status.operator_policy.as_deref(), Some("op"));
    assert_eq!(status.effective.get("max-length"), Some(&Value::I64(2)));
}

#[test]
fn time_to_live_counts_from_the_time_of_entering() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    client.declare_queue(queue("q", &[])).unwrap();
    publish(&mut client, START, "", "q", &["old"]);
    tick(&node, 60);
    publish(&mut client, START.plus_ms(60), "", "q", &["new"]);
    put(&node, "ttl", spec("q", &[("message-ttl", Value::I64(50))]));
    tick(&node, 61);
    assert_eq!(ready(&mut client, "q"), 1);
    put(&node, "ttl", spec("q", &[("message-ttl", Value::I64(500))]));
    tick(&node, 111);
    assert_eq!(ready(&mut client, "q"), 1);
    tick(&node, 560);
    assert_eq!(ready(&mut client, "q"), 0);
}

#[test]
fn dead_letter_exchange_of_a_policy_gets_what_its_length_drops() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    client.declare_queue(queue("q", &[])).unwrap();
    client.declare_queue(queue("dead", &[])).unwrap();
    publish(&mut client, START, "", "q", &["1", "2", "3"]);
    let definition = [
        ("max-length", Value::I64(1)),
        ("dead-letter-exchange", Value::text("")),
        ("dead-letter-routing-key", Value::text("dead")),
    ];
    put(&node, "dlx", spec("^q$", &definition));
    assert_eq!(get(&mut client, "dead").unwrap().body(), b"1");
    assert_eq!(get(&mut client, "dead").unwrap().body(), b"2");
    assert_eq!(ready(&mut client, "q"), 1);
}

#[test]
fn queue_begins_and_ends_to_expire_with_its_policy() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    for name in ["q", "kept"] {
        client.declare_queue(queue(name, &[])).unwrap();
    }
    put(&node, "e", spec(".", &[("expires", Value::I64(100))]));
    tick(&node, 99);
    client.check_queue("q").unwrap();
    put(&node, "e", spec("^q$", &[("expires", Value::I64(100))]));
    tick(&node, 198);
    client.declare_queue(queue("other", &[])).unwrap();
    tick(&node, 200);
    assert!(client.check_queue("q").is_err());
    assert!(client.check_queue("kept").is_ok());
}

#[test]
fn alternate_exchange_of_a_policy_counts_where_none_is_declared() {
    let node = Node::new(MemoryLog::recording());
    let mut client = node.client();
    for name in ["lost", "own"] {
        client.declare_queue(queue(name, &[])).unwrap();
    }
    for (name, kind) in [
        ("ae", ExchangeKind::Fanout),
        ("own-ae", ExchangeKind::Fanout),
    ] {
        let mut decl = exchange(name, Headers::new());
        decl.kind = kind;
        client.declare_exchange(decl).unwrap();
    }
    bind(&mut client, "ae", "lost", "");
    bind(&mut client, "own-ae", "own", "");
    client
        .declare_exchange(exchange("x", Headers::new()))
        .unwrap();
    let arguments = [("alternate-exchange".into(), Value::text("own-ae"))];
    let decl = exchange("x-own", arguments.into_iter().collect());
    client.declare_exchange(decl).unwrap();
    put(
        &node,
        "ae",
        spec("^x", &[("alternate-exchange", Value::text("ae"))]),
    );
    client
        .declare_exchange(exchange("x-new", Headers::new()))
        .unwrap();
    for node in [replayed(&node), node] {
        let mut client = node.client();
        for name in ["x", "x-new", "x-own"] {
            publish(&mut client, START, name, "nowhere", &[name]);
        }
        assert_eq!(get(&mut client, "lost").unwrap().body(), b"x");
        assert_eq!(get(&mut client, "lost").unwrap().body(), b"x-new");
        assert_eq!(get(&mut client, "own").unwrap().body(), b"x-own");
        delete(&node, "ae");
        publish(&mut client, START, "x", "nowhere", &["gone"]);
        publish(&mut client, START, "x-own", "nowhere", &["still"]);
        assert_eq!(get(&mut client, "lost").map(|m| m.body().to_vec()), None);
        assert_eq!(get(&mut client, "own").unwrap().body(), b"still");
    }
}

#[test]
fn recovered_queue_has_the_settings_that_its_policies_give_it() {
    let node = Node::new(MemoryLog::recording());
    let mut client = node.client();
    client.declare_queue(queue("dead", &[])).unwrap();
    let arguments = [
        ("x-max-length", Value::I32(2)),
        ("x-overflow", Value::text("drop-head")),
    ];
    client.declare_queue(queue("q", &arguments)).unwrap();
    publish(&mut client, START, "", "q", &["1", "2"]);
    let definition = [
        ("dead-letter-exchange", Value::text("")),
        ("dead-letter-routing-key", Value::text("dead")),
        ("message-ttl", Value::I64(1_000)),
    ];
    put(&node, "p", spec("^q$", &definition));
    put_operator(&node, "o", spec("^q$", &[("expires", Value::I64(5_000))]));
    let again = replayed(&node);
    let mut client = again.client();
    assert_eq!(status(&again, "q"), status(&node, "q"));
    publish(&mut client, START, "", "q", &["3"]);
    assert_eq!(get(&mut client, "dead").unwrap().body(), b"1");
    tick(&again, 1_000);
    assert_eq!(ready(&mut client, "dead"), 2);
    tick(&again, 6_000);
    assert!(client.check_queue("q").is_err());
}

#[test]
fn definition_that_cannot_be_used_is_refused_in_rabbitmqs_words() {
    let node = Node::new(MemoryLog::new());
    let refused = |scope, spec| match node.broker.admin().put_policy(scope, "/", "p", spec) {
        Err(AdminRefusal::Invalid(words)) => words,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(PolicyScope::User, spec(".", &[("foo", Value::text("bar"))])),
        "[{<<\"foo\">>,<<\"bar\">>}] are not recognised policy settings"
    );
    assert_eq!(
        refused(PolicyScope::User, spec(".", &[])),
        "no policy provided"
    );
    let words = refused(
        PolicyScope::Operator,
        spec(".", &[("overflow", Value::text("drop-head"))]),
    );
    assert!(words.starts_with("[{<<\"overflow\">>"), "{words}");
    let words = refused(
        PolicyScope::User,
        spec("(", &[("max-length", Value::I64(1))]),
    );
    assert!(
        words.starts_with("pattern should be regular expression but is invalid: "),
        "{words}"
    );
}

#[test]
fn own_settings_that_change_stay_under_the_policy() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    client.declare_queue(queue("q", &[])).unwrap();
    put(&node, "e", spec("q", &[("expires", Value::I64(500))]));
    let handle = client.queue("q").unwrap();
    client.adjust_queue(&handle, |settings| settings.expires_ms = Some(10_000));
    tick(&node, 400);
    delete(&node, "e");
    tick(&node, 9_999);
    assert!(node.broker.queue_policy("/", "q").is_some(), "it is there");
    tick(&node, 10_000);
    assert!(node.broker.queue_policy("/", "q").is_none());
}

#[test]
fn change_reaches_every_one_of_many_queues() {
    let node = Node::new(MemoryLog::new());
    let mut client = node.client();
    let name = |n: usize| format!("q{n}");
    for n in 0..1_000 {
        client.declare_queue(queue(&name(n), &[])).unwrap();
        publish(&mut client, START, "", &name(n), &["1", "2"]);
    }
    put(&node, "one", spec("^q", &[("max-length", Value::I64(1))]));
    for n in 0..1_000 {
        assert_eq!(ready(&mut client, &name(n)), 1);
        client.delete_queue(&name(n), DeleteIf::default()).unwrap();
    }
}

#[test]
fn vhost_says_which_kind_a_queue_is_that_does_not() {
    let node = Node::new(MemoryLog::new());
    let spec = VhostSpec {
        default_queue_type: Some("quorum".into()),
        ..VhostSpec::default()
    };
    node.broker.admin().put_vhost("/", spec).unwrap();
    let mut client = node.client();
    let mut transient = queue("transient", &[]);
    transient.durable = false;
    let classic = [("x-queue-type", Value::text("classic"))];
    for (decl, kind) in [
        (queue("plain", &[]), QueueKind::Quorum),
        (queue("said", &classic), QueueKind::Classic),
        (transient, QueueKind::Classic),
    ] {
        let name = decl.name.clone();
        client.declare_queue(decl.clone()).unwrap();
        assert_eq!(client.queue(&name).unwrap().kind(), kind, "{name}");
        client.declare_queue(decl).unwrap();
    }
    let again = [("x-queue-type", Value::text("quorum"))];
    client.declare_queue(queue("plain", &again)).unwrap();
}
