//! Routing and binding costs as the number of bindings grows: both should hardly move.

#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use ternmq_core::id::{ConnectionId, QueueId};
use ternmq_core::message::Properties;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::routing::{RouteRequest, Routes};
use ternmq_core::topology::{
    BindingDecl, BindingOptions, Destination, ExchangeDecl, ExchangeKind, QueueDecl, Removed,
    Topology,
};
use ternmq_core::value::{Headers, Value};

const BY: ConnectionId = ConnectionId(1);
const SIZES: [u64; 3] = [1, 1_000, 100_000];

/// What the bindings look like, by the number of the binding, and a key that one of them matches.
struct Shape {
    name: &'static str,
    exchange: &'static str,
    syntax: KeySyntax,
    pattern: fn(u64) -> String,
    key: &'static str,
}

const SHAPES: [Shape; 5] = [
    Shape {
        name: "direct",
        exchange: "amq.direct",
        syntax: KeySyntax::Dotted,
        pattern: |n| format!("order.{n}.created"),
        key: "order.0.created",
    },
    Shape {
        name: "topic exact",
        exchange: "amq.topic",
        syntax: KeySyntax::Dotted,
        pattern: |n| format!("order.{n}.created"),
        key: "order.0.created",
    },
    Shape {
        name: "topic wildcard",
        exchange: "amq.topic",
        syntax: KeySyntax::Dotted,
        pattern: |n| format!("order.{n}.*.#"),
        key: "order.0.created.now",
    },
    Shape {
        name: "filter exact",
        exchange: "amq.topic",
        syntax: KeySyntax::Slashed,
        pattern: |n| format!("site/{n}/temperature"),
        key: "site/0/temperature",
    },
    Shape {
        name: "filter wildcard",
        exchange: "amq.topic",
        syntax: KeySyntax::Slashed,
        pattern: |n| format!("site/{n}/+"),
        key: "site/0/temperature",
    },
];

/// Exchanges that choose one of all bindings.
const CHOOSING: [Shape; 4] = [
    CHOOSING_BY_KEY,
    Shape {
        name: "consistent hash of a header",
        exchange: "by header",
        ..CHOOSING_BY_KEY
    },
    Shape {
        name: "modulus hash",
        exchange: "x-modulus-hash",
        ..CHOOSING_BY_KEY
    },
    Shape {
        name: "random",
        exchange: "x-random",
        ..CHOOSING_BY_KEY
    },
];

const CHOOSING_BY_KEY: Shape = Shape {
    name: "consistent hash",
    exchange: "x-consistent-hash",
    syntax: KeySyntax::Dotted,
    pattern: |n| (n % 10 + 1).to_string(),
    key: "order.0.created",
};

fn declare_choosing(topology: &mut Topology) {
    for shape in &CHOOSING {
        let kind = ExchangeKind::parse(shape.exchange).unwrap_or(ExchangeKind::ConsistentHash);
        let mut arguments = Headers::new();
        if shape.exchange == "by header" {
            arguments.push("hash-header", Value::text("device"));
        }
        let decl = ExchangeDecl {
            name: shape.exchange.into(),
            kind,
            durable: false,
            auto_delete: false,
            internal: false,
            arguments,
            declared_by: Box::default(),
        };
        topology.declare_exchange(decl).expect("a new exchange");
    }
}

fn queue_name(n: u64) -> String {
    format!("q{n}")
}

fn with_queues(count: u64) -> Topology {
    let mut topology = Topology::new();
    declare_choosing(&mut topology);
    for n in 0..count {
        let decl = QueueDecl {
            name: queue_name(n).into(),
            durable: false,
            exclusive: None,
            auto_delete: false,
            arguments: Headers::new(),
        };
        topology
            .declare_queue(decl, BY, QueueId(n))
            .expect("a new queue without arguments");
    }
    topology
}

/// Patterns and queues as text, so that making them is not measured.
fn texts(shape: &Shape, count: u64) -> Vec<(String, String)> {
    (0..count)
        .map(|n| ((shape.pattern)(n), queue_name(n)))
        .collect()
}

fn decl<'a>(shape: &Shape, pattern: &'a str, queue: &'a str) -> BindingDecl<'a> {
    static NO_ARGUMENTS: Headers = Headers::new();
    BindingDecl {
        source: shape.exchange,
        destination: Destination::Queue(queue),
        key: pattern.as_bytes(),
        syntax: shape.syntax,
        arguments: &NO_ARGUMENTS,
        options: BindingOptions {
            tag: Some(0),
            ..BindingOptions::default()
        },
    }
}

fn bind_all(topology: &mut Topology, shape: &Shape, texts: &[(String, String)]) {
    for (pattern, queue) in texts {
        topology
            .bind(&decl(shape, pattern, queue), BY)
            .expect("queue and exchange exist");
    }
}

fn request(shape: &Shape) -> RouteRequest<'_> {
    RouteRequest {
        exchange: shape.exchange.as_bytes(),
        routing_key: shape.key.as_bytes(),
        key_syntax: shape.syntax,
        extra_keys: &[],
        headers: &|| Headers::from_iter([("device".into(), Value::I32(4711))]),
        properties: &Properties::default,
        publisher: None,
        from_client: true,
    }
}

fn route(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    for shape in SHAPES.iter().chain(&CHOOSING) {
        for count in SIZES {
            let mut topology = with_queues(count);
            bind_all(&mut topology, shape, &texts(shape, count));
            let mut routes = Routes::default();
            let routed = topology.route(&request(shape), &mut routes);
            assert_eq!(
                (routed, routes.targets.len()),
                (Ok(()), 1),
                "{}",
                shape.name
            );
            group.bench_function(BenchmarkId::new(shape.name, count), |b| {
                b.iter(|| topology.route(black_box(&request(shape)), &mut routes));
            });
        }
    }
    group.finish();
}

/// One message to every one of 100,000 subscribers of one filter.
fn fan_out(c: &mut Criterion) {
    let shape = Shape {
        pattern: |_| "all/#".to_owned(),
        key: "all/x",
        ..SHAPES[4]
    };
    let mut topology = with_queues(100_000);
    bind_all(&mut topology, &shape, &texts(&shape, 100_000));
    let mut routes = Routes::default();
    let routed = topology.route(&request(&shape), &mut routes);
    assert_eq!((routed, routes.targets.len()), (Ok(()), 100_000));
    c.bench_function("fan-out to 100000", |b| {
        b.iter(|| topology.route(black_box(&request(&shape)), &mut routes));
    });
}

/// One binding more and less, beside many: of their own filters, and of the one filter all share.
fn bind_and_unbind(c: &mut Criterion) {
    let mut group = c.benchmark_group("bind and unbind");
    let shared = Shape {
        name: "one filter",
        pattern: |_| "all/#".to_owned(),
        ..SHAPES[4]
    };
    for shape in SHAPES.iter().chain([&shared]).chain(&CHOOSING) {
        for count in SIZES {
            let mut topology = with_queues(count + 1);
            bind_all(&mut topology, shape, &texts(shape, count));
            let (pattern, queue) = ((shape.pattern)(count), queue_name(count));
            let one = decl(shape, &pattern, &queue);
            let mut removed = Removed::default();
            group.bench_function(BenchmarkId::new(shape.name, count), |b| {
                b.iter(|| {
                    topology.bind(&one, BY).expect("queue and exchange exist");
                    topology
                        .unbind(&one, BY, &mut removed)
                        .expect("nothing is exclusive")
                });
            });
        }
    }
    group.finish();
}

/// 100,000 sessions subscribe one after the other.
fn subscribe_all(c: &mut Criterion) {
    let mut group = c.benchmark_group("subscribe 100000");
    group.sample_size(10);
    let shared = Shape {
        name: "one filter",
        pattern: |_| "all/#".to_owned(),
        ..SHAPES[4]
    };
    for shape in [&SHAPES[3], &SHAPES[4], &shared, &CHOOSING_BY_KEY] {
        let texts = texts(shape, 100_000);
        group.bench_function(shape.name, |b| {
            b.iter_batched(
                || with_queues(100_000),
                |mut topology| {
                    bind_all(&mut topology, shape, &texts);
                    topology
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, route, fan_out, bind_and_unbind, subscribe_all);
criterion_main!(benches);
