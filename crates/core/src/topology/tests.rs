use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::*;
use crate::error::{ArgumentFault, Inequivalence};
use crate::routing::tests::{BY, Fixture, binding, exchange_decl, queue_decl, request};
use crate::value::Value;

const OTHER: ConnectionId = ConnectionId(2);

fn to_queue<'a>(source: &'a str, queue: &'a str, key: &'a str) -> BindingDecl<'a> {
    binding(source, Destination::Queue(queue), key)
}

fn to_exchange<'a>(source: &'a str, exchange: &'a str) -> BindingDecl<'a> {
    binding(source, Destination::Exchange(exchange), "")
}

fn not_found_named(kind: Kind, name: &str) -> Refusal {
    Refusal::NotFound {
        kind,
        name: name.into(),
    }
}

fn auto_delete(name: &str) -> ExchangeDecl {
    ExchangeDecl {
        auto_delete: true,
        ..exchange_decl(name, ExchangeKind::Fanout)
    }
}

fn exchange_names(topology: &Topology) -> Vec<&str> {
    topology.exchanges().map(|x| &*x.name).collect()
}

#[test]
fn kinds_of_exchange_are_known_by_name() {
    for kind in ExchangeKind::ALL {
        assert_eq!(ExchangeKind::parse(kind.name()), Some(kind));
    }
    for unknown in ["bad", "", "Direct", "x-recent"] {
        assert_eq!(ExchangeKind::parse(unknown), None);
    }
}

#[test]
fn predeclared_exchanges_are_there_and_trace_is_internal() {
    let topology = Topology::new();
    assert_eq!(
        exchange_names(&topology),
        [
            "",
            "amq.direct",
            "amq.fanout",
            "amq.topic",
            "amq.headers",
            "amq.match",
            "amq.rabbitmq.trace"
        ]
    );
    for exchange in topology.exchanges() {
        assert!(exchange.durable);
        assert_eq!(exchange.internal, &*exchange.name == "amq.rabbitmq.trace");
    }
    assert_eq!(
        topology.exchange("amq.match").unwrap().kind,
        ExchangeKind::Headers
    );
}

#[test]
fn default_exchange_takes_part_in_nothing_but_publishing() {
    let mut t = Fixture::new(1).topology;
    let refused = Refusal::DefaultExchange;
    assert_eq!(
        t.declare_exchange(exchange_decl("", ExchangeKind::Direct)),
        Err(refused.clone())
    );
    assert_eq!(t.check_exchange(""), Err(refused.clone()));
    assert_eq!(
        t.delete_exchange("", false, &mut Removed::default()),
        Err(refused.clone())
    );
    for b in [
        to_queue("", "q0", "k"),
        to_queue("", "nope", "k"),
        to_exchange("amq.fanout", ""),
    ] {
        assert_eq!(t.bind(&b, BY), Err(refused.clone()));
        assert_eq!(
            t.unbind(&b, BY, &mut Removed::default()),
            Err(refused.clone())
        );
    }
}

#[test]
fn names_that_belong_to_the_broker_are_refused_unless_they_exist() {
    let mut t = Topology::new();
    assert_eq!(
        t.declare_exchange(exchange_decl("amq.direct", ExchangeKind::Direct)),
        Ok(false)
    );
    assert_eq!(
        check_client_exchange_name("amq.foo"),
        Err(Refusal::ReservedName {
            kind: Kind::Exchange,
            name: "amq.foo".into()
        })
    );
    assert!(check_client_exchange_name("amqfoo").is_ok());
    assert_eq!(
        t.check_exchange("amq.foo"),
        Err(not_found_named(Kind::Exchange, "amq.foo"))
    );
    for name in ["amq.direct", "amq.foo"] {
        let refused = t.delete_exchange(name, false, &mut Removed::default());
        assert_eq!(refused, Err(Refusal::SystemExchange(name.into())));
    }
    assert!(check_client_queue_name("amq.foo").is_err());
    assert!(check_client_queue_name("amqfoo").is_ok());
}

#[test]
fn exchange_redeclared_differently_names_the_first_difference() {
    let mut t = Topology::new();
    let original = exchange_decl("x", ExchangeKind::Direct);
    assert_eq!(t.declare_exchange(original.clone()), Ok(true));
    assert_eq!(t.declare_exchange(original.clone()), Ok(false));
    let flag = |arg: &str, received| Inequivalence {
        arg: arg.into(),
        received: Some(Value::Bool(received)),
        current: Some(Value::Bool(!received)),
    };
    let difference = |t: &mut Topology, decl: &ExchangeDecl| match t.declare_exchange(decl.clone())
    {
        Err(Refusal::Inequivalent {
            kind: Kind::Exchange,
            name,
            difference,
        }) if &*name == "x" => *difference,
        other => panic!("expected a difference, got {other:?}"),
    };
    // From the last that is looked at to the first, each hiding those before.
    let mut decl = original;
    decl.arguments.push("alternate-exchange", Value::text("a"));
    let alternate = Inequivalence {
        arg: "alternate-exchange".into(),
        received: Some(Value::text("a")),
        current: None,
    };
    assert_eq!(difference(&mut t, &decl), alternate);
    decl.internal = true;
    assert_eq!(difference(&mut t, &decl), flag("internal", true));
    decl.auto_delete = true;
    assert_eq!(difference(&mut t, &decl), flag("auto_delete", true));
    decl.durable = false;
    assert_eq!(difference(&mut t, &decl), flag("durable", false));
    decl.kind = ExchangeKind::Fanout;
    let kind = Inequivalence {
        arg: "type".into(),
        received: Some(Value::text("fanout")),
        current: Some(Value::text("direct")),
    };
    assert_eq!(difference(&mut t, &decl), kind);
}

#[test]
fn unknown_exchange_arguments_do_not_count_and_the_alternate_is_a_name() {
    let mut t = Topology::new();
    let mut decl = exchange_decl("x", ExchangeKind::Direct);
    t.declare_exchange(decl.clone()).unwrap();
    decl.arguments.push("x-mine", Value::I32(1));
    assert_eq!(t.declare_exchange(decl.clone()), Ok(false));
    decl.name = "y".into();
    decl.arguments.push("alternate-exchange", Value::I32(1));
    let refused = Refusal::InvalidArgument {
        kind: Kind::Exchange,
        name: "y".into(),
        arg: "alternate-exchange".into(),
        fault: Box::new(ArgumentFault::NotAName(Value::I32(1))),
    };
    assert_eq!(t.declare_exchange(decl), Err(refused));
    assert_eq!(
        t.check_exchange("y"),
        Err(not_found_named(Kind::Exchange, "y"))
    );
}

#[test]
fn deleting_an_exchange_that_does_not_exist_is_fine() {
    let mut t = Topology::new();
    assert_eq!(
        t.delete_exchange("nope", true, &mut Removed::default()),
        Ok(false)
    );
}

#[test]
fn exchange_is_in_use_while_it_is_a_source_and_not_while_it_is_a_destination() {
    let mut f = Fixture::new(1);
    f.exchange("x", ExchangeKind::Fanout);
    f.bind_exchange("amq.fanout", "x", "");
    f.bind("x", "q0", "");
    let mut removed = Removed::default();
    let in_use = Refusal::InUse {
        kind: Kind::Exchange,
        name: "x".into(),
    };
    assert_eq!(
        f.topology.delete_exchange("x", true, &mut removed),
        Err(in_use)
    );
    f.topology
        .unbind(&to_queue("x", "q0", ""), BY, &mut removed)
        .unwrap();
    assert_eq!(
        f.topology.delete_exchange("x", true, &mut removed),
        Ok(true)
    );
    assert_eq!(
        f.topology.binding_count(),
        0,
        "the binding that led to it is gone with it"
    );
    assert_eq!(removed, Removed::default());
}

#[test]
fn deleted_exchange_takes_its_bindings_on_both_sides_with_it() {
    let mut f = Fixture::new(1);
    f.exchange("x", ExchangeKind::Topic);
    f.bind_exchange("amq.fanout", "x", "");
    f.bind_exchange("x", "amq.fanout", "a.*");
    f.bind("x", "q0", "#");
    assert_eq!(f.route(&request("amq.fanout", "k")), [0]);
    assert_eq!(
        f.topology
            .delete_exchange("x", false, &mut Removed::default()),
        Ok(true)
    );
    assert_eq!(f.route(&request("amq.fanout", "k")), [0; 0]);
    assert_eq!(f.topology.binding_count(), 0);
    // A new exchange of the same name begins with nothing.
    f.exchange("x", ExchangeKind::Direct);
    assert_eq!(f.topology.bindings_from("x").count(), 0);
}

#[test]
fn auto_delete_exchange_goes_with_its_last_binding_and_not_before_it_had_one() {
    let mut f = Fixture::new(1);
    f.topology.declare_exchange(auto_delete("x")).unwrap();
    let mut removed = Removed::default();
    assert!(
        !f.topology
            .unbind(&to_queue("x", "q0", ""), BY, &mut removed)
            .unwrap()
    );
    f.bind("x", "q0", "a");
    f.bind("x", "q0", "b");
    assert!(
        f.topology
            .unbind(&to_queue("x", "q0", "a"), BY, &mut removed)
            .unwrap()
    );
    assert!(removed.exchanges.is_empty());
    assert!(
        f.topology
            .unbind(&to_queue("x", "q0", "b"), BY, &mut removed)
            .unwrap()
    );
    assert_eq!(removed.exchanges, ["x".into()]);
    assert_eq!(
        f.topology.check_exchange("x"),
        Err(not_found_named(Kind::Exchange, "x"))
    );
}

#[test]
fn auto_deletion_runs_through_a_chain_and_ends_in_a_cycle() {
    let mut f = Fixture::new(1);
    for name in ["a", "b", "c"] {
        f.topology.declare_exchange(auto_delete(name)).unwrap();
    }
    f.bind_exchange("a", "b", "");
    f.bind_exchange("b", "c", "");
    f.bind_exchange("c", "a", "");
    f.bind("c", "q0", "");
    let mut removed = Removed::default();
    assert!(f.topology.delete_queue(QueueId(0), &mut removed));
    assert_eq!(
        removed,
        Removed {
            queues: [QueueId(0)].into(),
            exchanges: Vec::new()
        },
        "c still leads to a"
    );
    let mut removed = Removed::default();
    assert!(
        f.topology
            .unbind(&to_exchange("c", "a"), BY, &mut removed)
            .unwrap()
    );
    assert_eq!(removed.exchanges, ["c".into(), "b".into(), "a".into()]);
    assert_eq!(f.topology.binding_count(), 0);
}

#[test]
fn deleting_an_exchange_auto_deletes_those_that_led_only_to_it() {
    let mut f = Fixture::new(0);
    f.exchange("x", ExchangeKind::Fanout);
    f.topology.declare_exchange(auto_delete("a")).unwrap();
    f.topology.declare_exchange(auto_delete("unused")).unwrap();
    f.bind_exchange("a", "x", "");
    let mut removed = Removed::default();
    f.topology
        .delete_exchange("x", false, &mut removed)
        .unwrap();
    assert_eq!(removed.exchanges, ["a".into()]);
    assert!(f.topology.exchange("unused").is_some());
}

#[test]
fn queue_is_new_once_and_keeps_its_identity() {
    let mut t = Topology::new();
    let new = t.declare_queue(queue_decl("q"), BY, QueueId(1)).unwrap();
    assert_eq!(
        new,
        Declared {
            id: QueueId(1),
            created: true
        }
    );
    let again = t.declare_queue(queue_decl("q"), OTHER, QueueId(2)).unwrap();
    assert_eq!(
        again,
        Declared {
            id: QueueId(1),
            created: false
        }
    );
    assert_eq!(t.queue_by_id(QueueId(2)), None);
    assert_eq!(t.queue("q", OTHER).unwrap().id, QueueId(1));
    assert_eq!(
        t.queue("nope", BY),
        Err(not_found_named(Kind::Queue, "nope"))
    );
    assert_eq!(t.queue_count(), 1);
}

#[test]
fn queue_redeclared_differently_names_the_first_difference() {
    let mut t = Topology::new();
    let mut decl = queue_decl("q");
    decl.arguments.push("x-message-ttl", Value::I32(1000));
    t.declare_queue(decl.clone(), BY, QueueId(1)).unwrap();
    let refuse = |t: &mut Topology, decl: &QueueDecl| {
        t.declare_queue(decl.clone(), BY, QueueId(2)).unwrap_err()
    };
    let inequivalent = |arg: &str, received: Option<Value>, current: Value| Refusal::Inequivalent {
        kind: Kind::Queue,
        name: "q".into(),
        difference: Box::new(Inequivalence {
            arg: arg.into(),
            received,
            current: Some(current),
        }),
    };
    decl.arguments = Headers::new();
    assert_eq!(
        refuse(&mut t, &decl),
        inequivalent("x-message-ttl", None, Value::I32(1000))
    );
    decl.auto_delete = true;
    let yes = Some(Value::Bool(true));
    assert_eq!(
        refuse(&mut t, &decl),
        inequivalent("auto_delete", yes, Value::Bool(false))
    );
    decl.durable = false;
    let no = Some(Value::Bool(false));
    assert_eq!(
        refuse(&mut t, &decl),
        inequivalent("durable", no, Value::Bool(true))
    );
    decl.exclusive = Some(BY);
    assert_eq!(
        refuse(&mut t, &decl),
        Refusal::Locked("q".into()),
        "exclusiveness is looked at first"
    );
}

#[test]
fn redeclaring_does_not_judge_the_arguments_anew() {
    let mut t = Topology::new();
    t.declare_queue(queue_decl("q"), BY, QueueId(1)).unwrap();
    let mut decl = queue_decl("q");
    decl.arguments.push("x-max-age", Value::text("1D"));
    assert!(t.declare_queue(decl, BY, QueueId(2)).is_ok());
}

#[test]
fn refused_queue_leaves_nothing_behind() {
    let mut t = Topology::new();
    let mut decl = QueueDecl {
        exclusive: Some(BY),
        ..queue_decl("q")
    };
    decl.arguments.push("x-expires", Value::I32(0));
    let version = t.version();
    assert!(t.declare_queue(decl, BY, QueueId(1)).is_err());
    assert_eq!(t.owned_by(BY), []);
    assert_eq!((t.queue_count(), t.version()), (0, version));
    assert_eq!(t.queue("q", BY), Err(not_found_named(Kind::Queue, "q")));
}

#[test]
fn exclusive_queue_is_locked_for_other_connections() {
    let mut t = Topology::new();
    let exclusive = QueueDecl {
        exclusive: Some(BY),
        ..queue_decl("q")
    };
    t.declare_queue(exclusive.clone(), BY, QueueId(1)).unwrap();
    assert!(!t.declare_queue(exclusive, BY, QueueId(2)).unwrap().created);
    let locked = Refusal::Locked("q".into());
    let mine = QueueDecl {
        exclusive: Some(OTHER),
        ..queue_decl("q")
    };
    assert_eq!(
        t.declare_queue(mine, OTHER, QueueId(2)),
        Err(locked.clone())
    );
    assert_eq!(
        t.declare_queue(queue_decl("q"), BY, QueueId(2)),
        Err(locked.clone())
    );
    assert_eq!(t.queue("q", OTHER), Err(locked.clone()));
    assert!(t.queue("q", BY).is_ok());
    let b = to_queue("amq.fanout", "q", "");
    assert_eq!(t.bind(&b, OTHER), Err(locked.clone()));
    assert!(
        !t.unbind(&b, OTHER, &mut Removed::default()).unwrap(),
        "there is no such binding"
    );
    assert!(t.bind(&b, BY).unwrap());
    assert_eq!(t.unbind(&b, OTHER, &mut Removed::default()), Err(locked));
}

#[test]
fn exclusive_queues_are_listed_by_their_owner() {
    let mut t = Topology::new();
    for (id, owner) in [(3, Some(BY)), (1, Some(BY)), (2, Some(OTHER)), (4, None)] {
        let decl = QueueDecl {
            exclusive: owner,
            ..queue_decl(&format!("q{id}"))
        };
        t.declare_queue(decl, owner.unwrap_or(BY), QueueId(id))
            .unwrap();
    }
    assert_eq!(t.owned_by(BY), [QueueId(1), QueueId(3)]);
    t.delete_queue(QueueId(1), &mut Removed::default());
    assert_eq!(t.owned_by(BY), [QueueId(3)]);
    assert_eq!(t.owned_by(ConnectionId(9)), []);
}

#[test]
fn deleting_a_queue_that_does_not_exist_is_fine() {
    let mut removed = Removed::default();
    assert!(!Topology::new().delete_queue(QueueId(7), &mut removed));
    assert_eq!(removed, Removed::default());
}

#[test]
fn binding_names_the_missing_exchange_before_the_missing_queue() {
    let mut t = Fixture::new(1).topology;
    let refusal = |t: &mut Topology, b: &BindingDecl<'_>| t.bind(b, BY).unwrap_err();
    let exchange = |name| not_found_named(Kind::Exchange, name);
    assert_eq!(
        refusal(&mut t, &to_queue("nope", "q0", "")),
        exchange("nope")
    );
    assert_eq!(
        refusal(&mut t, &to_queue("nope", "none", "")),
        exchange("nope")
    );
    assert_eq!(
        refusal(&mut t, &to_queue("amq.fanout", "none", "")),
        not_found_named(Kind::Queue, "none")
    );
    assert_eq!(
        refusal(&mut t, &to_exchange("amq.fanout", "nope")),
        exchange("nope")
    );
    assert_eq!(
        refusal(&mut t, &to_exchange("nope", "amq.fanout")),
        exchange("nope")
    );
}

#[test]
fn unbinding_what_does_not_exist_is_fine() {
    let mut t = Fixture::new(1).topology;
    for b in [
        to_queue("amq.fanout", "q0", "k"),
        to_queue("amq.fanout", "nope", "k"),
        to_queue("nope", "q0", "k"),
        to_exchange("nope", "amq.fanout"),
        to_exchange("amq.fanout", "nope"),
    ] {
        assert_eq!(t.unbind(&b, BY, &mut Removed::default()), Ok(false));
    }
}

#[test]
fn transient_queue_may_be_bound_to_a_durable_exchange() {
    let mut t = Topology::new();
    t.declare_queue(
        QueueDecl {
            durable: false,
            ..queue_decl("q")
        },
        BY,
        QueueId(1),
    )
    .unwrap();
    assert_eq!(t.bind(&to_queue("amq.fanout", "q", ""), BY), Ok(true));
}

#[test]
fn same_binding_again_replaces_the_options_and_changes_the_version_only_if_they_differ() {
    let mut f = Fixture::new(1);
    let with_tag = |tag| BindingDecl {
        options: BindingOptions {
            tag: Some(tag),
            ..BindingOptions::default()
        },
        ..to_queue("amq.topic", "q0", "a.*")
    };
    assert!(f.topology.bind(&with_tag(1), BY).unwrap());
    let version = f.topology.version();
    assert!(!f.topology.bind(&with_tag(1), BY).unwrap());
    assert_eq!(f.topology.version(), version);
    assert!(!f.topology.bind(&with_tag(2), BY).unwrap());
    assert!(f.topology.version() > version);
    assert_eq!(
        f.targets(&request("amq.topic", "a.b"))[0].tags.as_slice(),
        [2]
    );
    assert_eq!(f.topology.binding_count(), 1);
}

#[test]
fn arguments_make_another_binding_and_their_order_does_not() {
    let mut f = Fixture::new(1);
    let args = |pairs: &[(&str, Value)]| -> Headers {
        pairs
            .iter()
            .map(|(n, v)| ((*n).into(), v.clone()))
            .collect()
    };
    let (a, b) = (("a", Value::F64(f64::NAN)), ("b", Value::text("t")));
    let (ab, ba, only_a) = (
        args(&[a.clone(), b.clone()]),
        args(&[b, a.clone()]),
        args(&[a]),
    );
    let with = |arguments| BindingDecl {
        arguments,
        ..to_queue("amq.headers", "q0", "")
    };
    let none = Headers::new();
    for (arguments, new) in [
        (&ab, true),
        (&ba, false),
        (&only_a, true),
        (&none, true),
        (&ab, false),
    ] {
        assert_eq!(f.topology.bind(&with(arguments), BY), Ok(new));
    }
    assert_eq!(
        f.topology.unbind(&with(&ba), BY, &mut Removed::default()),
        Ok(true)
    );
    assert_eq!(f.topology.binding_count(), 2);
}

#[test]
fn headers_binding_with_an_unknown_match_mode_is_refused_before_its_owner_is_checked() {
    let mut t = Topology::new();
    t.declare_queue(
        QueueDecl {
            exclusive: Some(BY),
            ..queue_decl("q")
        },
        BY,
        QueueId(1),
    )
    .unwrap();
    let bad = Headers::from_iter([("x-match".into(), Value::text("bad"))]);
    let b = BindingDecl {
        arguments: &bad,
        ..to_queue("amq.headers", "q", "")
    };
    let refused = Refusal::InvalidArgument {
        kind: Kind::Exchange,
        name: "amq.headers".into(),
        arg: "x-match".into(),
        fault: Box::new(ArgumentFault::UnknownMatchMode(Value::text("bad"))),
    };
    assert_eq!(t.bind(&b, OTHER), Err(refused));
    assert_eq!(
        t.bind(
            &BindingDecl {
                source: "amq.topic",
                ..b
            },
            BY
        ),
        Ok(true),
        "of no meaning there"
    );
}

#[test]
fn bindings_are_listed_as_they_were_made_by_source_and_by_destination() {
    let mut f = Fixture::new(2);
    let options = BindingOptions {
        tag: Some(3),
        exclude_publisher: Some(PublisherId(8)),
        at_most_once: true,
    };
    let made = BindingDecl {
        syntax: KeySyntax::Slashed,
        options: options.clone(),
        ..to_queue("amq.direct", "q0", "a/b")
    };
    f.bind_as(&made);
    f.bind("amq.topic", "q0", "#");
    f.bind_exchange("amq.topic", "amq.fanout", "x");
    let listed: Vec<_> = f.topology.bindings_from("amq.direct").collect();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].key, listed[0].syntax),
        (made.key, KeySyntax::Slashed)
    );
    assert_eq!(
        (listed[0].destination, &listed[0].options),
        (Destination::Queue("q0"), &options)
    );
    assert_eq!(f.topology.bindings_to(Destination::Queue("q0")).count(), 2);
    assert_eq!(f.topology.bindings_to(Destination::Queue("q1")).count(), 0);
    let sources: Vec<_> = f
        .topology
        .bindings_to(Destination::Exchange("amq.fanout"))
        .map(|b| b.source)
        .collect();
    assert_eq!(sources, ["amq.topic"]);
    assert_eq!(f.topology.bindings_from("amq.topic").count(), 2);
    assert_eq!(f.topology.bindings().count(), 3);
}

#[test]
fn version_grows_with_every_change_of_a_route() {
    let mut t = Topology::new();
    let mut last = t.version();
    let mut grows = |t: &Topology, what: &str| {
        assert!(t.version() > last, "{what}");
        last = t.version();
    };
    t.declare_queue(queue_decl("q"), BY, QueueId(1)).unwrap();
    grows(&t, "queue declared");
    t.declare_exchange(exchange_decl("x", ExchangeKind::Direct))
        .unwrap();
    grows(&t, "exchange declared");
    t.bind(&to_queue("x", "q", "k"), BY).unwrap();
    grows(&t, "bound");
    t.unbind(&to_queue("x", "q", "k"), BY, &mut Removed::default())
        .unwrap();
    grows(&t, "unbound");
    t.delete_queue(QueueId(1), &mut Removed::default());
    grows(&t, "queue deleted");
    t.delete_exchange("x", false, &mut Removed::default())
        .unwrap();
    grows(&t, "exchange deleted");
}

/// Twenty thousand one by one: quadratic work would take minutes.
#[test]
fn many_bindings_come_and_go_and_leave_nothing() {
    const COUNT: u32 = 20_000;
    let mut f = Fixture::new(u64::from(COUNT));
    let filters: Vec<String> = (0..COUNT).map(|n| format!("site/{n}/+")).collect();
    let queues: Vec<String> = (0..COUNT).map(|n| format!("q{n}")).collect();
    for (filter, queue) in filters.iter().zip(&queues) {
        for key in [filter.as_str(), "all/#", "exact"] {
            f.bind_as(&BindingDecl {
                syntax: KeySyntax::Slashed,
                ..to_queue("amq.topic", queue, key)
            });
        }
    }
    assert_eq!(f.route(&request("amq.topic", "site.77.temp")), [77]);
    assert_eq!(f.route(&request("amq.topic", "all")).len(), COUNT as usize);
    let mut removed = Removed::default();
    for (n, (filter, queue)) in filters.iter().zip(&queues).enumerate() {
        if n % 2 == 0 {
            f.topology.delete_queue(QueueId(n as u64), &mut removed);
        } else {
            for key in [filter.as_str(), "all/#", "exact"] {
                let b = BindingDecl {
                    syntax: KeySyntax::Slashed,
                    ..to_queue("amq.topic", queue, key)
                };
                assert!(f.topology.unbind(&b, BY, &mut removed).unwrap());
            }
        }
    }
    assert_eq!(
        (f.topology.binding_count(), f.topology.buckets.len()),
        (0, 0)
    );
    assert_eq!(f.route(&request("amq.topic", "all")), [0; 0]);
}
