//! Exchanges that choose one of their bindings, as a publisher sees them.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use super::tests::{BY, Fixture, binding, exchange_decl, request, slashed};
use super::*;
use crate::error::{ArgumentFault, BindingFault, Kind};
use crate::policy::QueueKind;
use crate::topology::{
    BindingDecl, BindingOptions, Destination, ExchangeKind, Removed, WEIGHT_MAX,
};
use crate::value::Value;

const ALL: [ExchangeKind; 4] = [
    ExchangeKind::ConsistentHash,
    ExchangeKind::ModulusHash,
    ExchangeKind::Random,
    ExchangeKind::LocalRandom,
];

/// A key that every one of the kinds takes for a binding.
fn binding_key(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::LocalRandom => "",
        _ => "1",
    }
}

fn hashing(argument: &str, name: &str) -> Fixture {
    let mut f = Fixture::new(8);
    let mut decl = exchange_decl("x", ExchangeKind::ConsistentHash);
    decl.arguments.push(argument, Value::text(name));
    assert!(f.topology.declare_exchange(decl).unwrap());
    for n in 0..8 {
        f.bind("x", &format!("q{n}"), "1");
    }
    f
}

fn one(f: &mut Fixture, request: &RouteRequest<'_>) -> u64 {
    let targets = f.route(request);
    assert_eq!(targets.len(), 1);
    targets[0]
}

fn spread(f: &mut Fixture, exchange: &str) -> BTreeMap<u64, usize> {
    let mut spread = BTreeMap::new();
    for n in 0..1000 {
        let key = format!("key.{n}");
        *spread.entry(one(f, &request(exchange, &key))).or_default() += 1;
    }
    spread
}

#[test]
fn message_goes_to_one_destination_and_all_have_their_turn() {
    for kind in ALL {
        let mut f = Fixture::new(5);
        f.exchange("x", kind);
        f.exchange("behind", ExchangeKind::Direct);
        f.with_alternate("behind2", ExchangeKind::Direct, "amq.fanout");
        f.bind("amq.fanout", "q4", "");
        for queue in ["q0", "q1", "q2"] {
            f.bind("x", queue, binding_key(kind));
        }
        f.bind_exchange("x", "behind2", binding_key(kind));
        let spread = spread(&mut f, "x");
        assert_eq!(spread.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 4]);
        assert!(
            spread.values().all(|count| (190..310).contains(count)),
            "{kind:?}: {spread:?}"
        );
    }
}

#[test]
fn routes_by_key_are_cacheable_and_stay_over_restarts_and_in_any_order_of_bindings() {
    for kind in [ExchangeKind::ConsistentHash, ExchangeKind::ModulusHash] {
        let mut f = Fixture::new(6);
        f.exchange("x", kind);
        let mut other = Fixture::new(6);
        other.exchange("x", kind);
        for n in 0..6 {
            f.bind("x", &format!("q{n}"), "2");
            other.bind("x", &format!("q{}", 5 - n), "2");
        }
        for n in 0..200 {
            let key = format!("{n}");
            let first = one(&mut f, &request("x", &key));
            assert!(f.cacheable(&request("x", &key)));
            assert_eq!(one(&mut f, &request("x", &key)), first);
            assert_eq!(one(&mut other, &request("x", &key)), first);
        }
    }
}

#[test]
fn chance_is_not_cacheable_and_follows_from_the_declaration() {
    for kind in [ExchangeKind::Random, ExchangeKind::LocalRandom] {
        let run = || {
            let mut f = Fixture::new(3);
            f.exchange("x", kind);
            for queue in ["q0", "q1", "q2"] {
                f.bind("x", queue, binding_key(kind));
            }
            assert!(!f.cacheable(&request("x", "k")));
            (0..50)
                .map(|_| one(&mut f, &request("x", "k")))
                .collect::<Vec<_>>()
        };
        let (first, second) = (run(), run());
        assert_eq!(first, second);
        assert!((0..3).all(|queue| first.contains(&queue)));
    }
}

#[test]
fn key_hashes_alike_in_both_spellings_and_further_keys_count_for_the_modulus_only() {
    for kind in [ExchangeKind::ConsistentHash, ExchangeKind::ModulusHash] {
        let mut f = Fixture::new(8);
        f.exchange("x", kind);
        for n in 0..8 {
            f.bind("x", &format!("q{n}"), "1");
        }
        let mut differ = 0;
        for n in 0..100 {
            let (dotted, slash) = (format!("a.{n}"), format!("a/{n}"));
            let alone = one(&mut f, &request("x", &dotted));
            assert_eq!(one(&mut f, &slashed("x", &slash)), alone);
            let copied = RouteRequest {
                extra_keys: &[b"copy"],
                ..request("x", &dotted)
            };
            differ += usize::from(one(&mut f, &copied) != alone);
            assert!(!f.cacheable(&copied));
        }
        assert_eq!(differ > 0, kind == ExchangeKind::ModulusHash);
    }
}

#[test]
fn header_decides_where_it_is_named_and_its_absence_is_one_value() {
    let mut f = hashing("hash-header", "id");
    let mut reached = Vec::new();
    for n in 0..100 {
        let headers =
            || Headers::from_iter([("id".into(), Value::I32(n)), ("z".into(), Value::I32(1))]);
        let wide = || Headers::from_iter([("id".into(), Value::I64(n.into()))]);
        let by_header = RouteRequest {
            headers: &headers,
            ..request("x", "k")
        };
        let queue = one(&mut f, &by_header);
        assert!(!f.cacheable(&by_header));
        for (key, headers) in [("k", &wide as &dyn Fn() -> Headers), ("other", &headers)] {
            let again = RouteRequest {
                headers,
                ..request("x", key)
            };
            assert_eq!(one(&mut f, &again), queue);
        }
        reached.push(queue);
    }
    assert!((0..8).all(|queue| reached.contains(&queue)));
    let without = one(&mut f, &request("x", "a"));
    assert!((0..50).all(|n| one(&mut f, &request("x", &format!("{n}"))) == without));
}

#[test]
fn property_decides_where_it_is_named() {
    for name in ["message_id", "correlation_id", "timestamp"] {
        let mut f = hashing("hash-property", name);
        let mut reached = Vec::new();
        for n in 0..100_u64 {
            let properties = || {
                let mut properties = Properties::default();
                let text = Some(format!("{n}").into_bytes().into());
                match name {
                    "message_id" => properties.message_id = text,
                    "correlation_id" => properties.correlation_id = text,
                    _ => properties.timestamp = Some(n),
                }
                properties
            };
            let by_property = RouteRequest {
                properties: &properties,
                ..request("x", "k")
            };
            let queue = one(&mut f, &by_property);
            assert!(!f.cacheable(&by_property));
            let again = RouteRequest {
                routing_key: b"other",
                ..by_property
            };
            assert_eq!(one(&mut f, &again), queue);
            reached.push(queue);
        }
        assert!((0..8).all(|queue| reached.contains(&queue)), "{name}");
    }
}

#[test]
fn nothing_bound_leaves_it_to_the_alternate_exchange_and_reads_nothing() {
    for kind in ALL {
        let mut f = Fixture::new(1);
        f.with_alternate("x", kind, "amq.fanout");
        f.bind("amq.fanout", "q0", "");
        assert_eq!(f.route(&request("x", "k")), [0]);
        assert!(f.cacheable(&request("x", "k")));
    }
    let mut f = hashing("hash-header", "id");
    for n in 0..8 {
        f.topology.delete_queue(QueueId(n), &mut Removed::default());
    }
    assert_eq!(f.route(&request("x", "k")), [0; 0]);
    assert!(f.cacheable(&request("x", "k")));
}

#[test]
fn queue_that_is_bound_twice_keeps_its_first_weight_and_gets_the_next_when_that_goes() {
    let mut f = Fixture::new(2);
    f.exchange("x", ExchangeKind::ConsistentHash);
    f.bind("x", "q0", "1");
    f.bind("x", "q0", "9");
    f.bind("x", "q1", "1");
    let even = spread(&mut f, "x");
    assert!((400..600).contains(&even[&0]), "{even:?}");
    let first = binding("x", Destination::Queue("q0"), "1");
    let mut removed = Removed::default();
    assert!(f.topology.unbind(&first, BY, &mut removed).unwrap());
    let uneven = spread(&mut f, "x");
    assert!((850..950).contains(&uneven[&0]), "{uneven:?}");
}

#[test]
fn queue_that_is_bound_twice_has_two_chances_where_every_binding_is_alike() {
    for kind in [ExchangeKind::ModulusHash, ExchangeKind::Random] {
        let mut f = Fixture::new(2);
        f.exchange("x", kind);
        f.bind("x", "q0", "a");
        f.bind("x", "q0", "b");
        f.bind("x", "q1", "");
        let spread = spread(&mut f, "x");
        assert!((580..750).contains(&spread[&0]), "{kind:?} {spread:?}");
    }
}

#[test]
fn binding_key_of_a_consistent_hash_is_a_weight() {
    let mut f = Fixture::new(1);
    f.exchange("x", ExchangeKind::ConsistentHash);
    let mut bind = |key: &str| {
        let decl = binding("x", Destination::Queue("q0"), key);
        f.topology.bind(&decl, BY)
    };
    let refused = |fault| Err(Refusal::InvalidBinding(fault));
    for key in ["", "k", "1.5", " 1", "1 ", "+", "-", "+-1", "0x1"] {
        let fault = BindingFault::WeightNotAnInteger(key.as_bytes().into());
        assert_eq!(bind(key), refused(fault), "{key}");
    }
    for key in ["0", "-0", "-1", "-99999999999999999999"] {
        assert_eq!(bind(key), refused(BindingFault::WeightNotPositive), "{key}");
    }
    for key in ["10001", "99999999999999999999"] {
        let fault = BindingFault::WeightTooLarge(WEIGHT_MAX);
        assert_eq!(bind(key), refused(fault), "{key}");
    }
    for key in ["1", "+2", "007", "10000"] {
        assert_eq!(bind(key), Ok(true), "{key}");
    }
}

#[test]
fn local_random_takes_empty_keys_and_queues_of_one_place() {
    let mut f = Fixture::new(1);
    f.exchange("x", ExchangeKind::LocalRandom);
    let mut quorum = tests::queue_decl("quorum");
    quorum.arguments.push("x-queue-type", Value::text("quorum"));
    f.topology.declare_queue(quorum, BY, QueueId(9)).unwrap();
    let mut bind = |queue: &str, key: &str| {
        let decl = binding("x", Destination::Queue(queue), key);
        f.topology.bind(&decl, BY)
    };
    let refused = |fault| Err(Refusal::InvalidBinding(fault));
    let key = BindingFault::KeyNotEmpty(b"k"[..].into());
    assert_eq!(bind("q0", "k"), refused(key.clone()));
    assert_eq!(bind("quorum", "k"), refused(key), "the key comes first");
    let kind = BindingFault::QueueKind(QueueKind::Quorum);
    assert_eq!(bind("quorum", ""), refused(kind));
    assert_eq!(bind("q0", ""), Ok(true));
}

#[test]
fn what_a_consistent_hash_hashes_is_one_thing_that_there_is() {
    let mut topology = Topology::new();
    let mut declare = |arguments: &[(&str, Value)]| {
        let mut decl = exchange_decl("x", ExchangeKind::ConsistentHash);
        decl.arguments = arguments
            .iter()
            .map(|(name, value)| ((*name).into(), value.clone()))
            .collect();
        topology.declare_exchange(decl)
    };
    let refused = |arg: &str, fault| {
        Err(Refusal::InvalidArgument {
            kind: Kind::Exchange,
            name: "x".into(),
            arg: arg.into(),
            fault: alloc::boxed::Box::new(fault),
        })
    };
    let (header, property) = ("hash-header", "hash-property");
    let number = || Value::I32(1);
    for name in [header, property] {
        let fault = ArgumentFault::NotAName(number());
        assert_eq!(declare(&[(name, number())]), refused(name, fault));
    }
    let fault = ArgumentFault::UnsupportedProperty("app_id".into());
    assert_eq!(
        declare(&[(property, Value::text("app_id"))]),
        refused(property, fault)
    );
    let fault = ArgumentFault::ExclusiveWith(property);
    let both = [
        (header, Value::text("h")),
        (property, Value::text("timestamp")),
    ];
    assert_eq!(declare(&both), refused(header, fault));
    assert_eq!(declare(&both[1..]), Ok(true));
    assert_eq!(declare(&both), Ok(false), "as RabbitMQ compares them");
}

#[test]
fn publisher_that_the_chosen_binding_leaves_out_is_left_to_the_alternate_exchange() {
    let mut f = Fixture::new(2);
    f.with_alternate("x", ExchangeKind::Random, "amq.fanout");
    f.bind("amq.fanout", "q1", "");
    f.bind_as(&BindingDecl {
        options: BindingOptions {
            exclude_publisher: Some(PublisherId(1)),
            ..BindingOptions::default()
        },
        ..binding("x", Destination::Queue("q0"), "")
    });
    for (publisher, queue) in [(1, 1), (2, 0)] {
        let by = RouteRequest {
            publisher: Some(PublisherId(publisher)),
            ..request("x", "")
        };
        assert_eq!(one(&mut f, &by), queue);
    }
}
