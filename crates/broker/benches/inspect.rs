//! What looking costs: lists of everything, one queue, all counters.

#![allow(clippy::unwrap_used, reason = "a bench that cannot begin has failed")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use ternmq_broker::clock::ManualClock;
use ternmq_broker::inspect::Protocol;
use ternmq_broker::mailbox::{Mailbox, Token};
use ternmq_broker::{Broker, BrokerConfig, Client, MemoryLog};
use ternmq_core::id::Timestamp;
use ternmq_core::queue::{AckMode, ConsumerSpec, Credit, LeaseTimeout};
use ternmq_core::topology::QueueDecl;
use ternmq_core::value::{Headers, Value};

const QUEUES: usize = 10_000;

fn broker() -> (Broker, Client) {
    let clock = Arc::new(ManualClock::new(Timestamp(1_000)));
    let broker = Broker::new(&BrokerConfig::default(), clock, Arc::new(MemoryLog::new()));
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let user = broker.login("guest", b"guest", loopback).unwrap();
    let mut client = broker.connect(&user, "/", Mailbox::new(QUEUES)).unwrap();
    for n in 0..QUEUES {
        let name = format!("a.queue.with.a.name.like.others.{n:05}");
        let mut arguments = Headers::new();
        arguments.push("x-max-length", Value::I64(1_000));
        client
            .declare_queue(QueueDecl {
                name: name.as_str().into(),
                durable: true,
                exclusive: None,
                auto_delete: false,
                arguments,
            })
            .unwrap();
        let spec = ConsumerSpec {
            mode: AckMode::Manual,
            credit: Credit::Limited(10),
            priority: 0,
            exclusive: false,
            lease_timeout: LeaseTimeout::Never,
        };
        client.consume(&name, spec, Token(n as u64)).unwrap();
    }
    (broker, client)
}

fn looks(c: &mut Criterion) {
    let (broker, _client) = broker();
    let mut group = c.benchmark_group("inspect");
    group.bench_function("list_10k_queues", |b| {
        b.iter(|| black_box(broker.inspect().queues(None)).len());
    });
    group.bench_function("list_10k_consumers", |b| {
        b.iter(|| black_box(broker.inspect().consumers(None)).len());
    });
    group.bench_function("list_10k_bindings", |b| {
        b.iter(|| black_box(broker.inspect().bindings(None)).len());
    });
    group.bench_function("totals_of_10k_queues", |b| {
        b.iter(|| black_box(broker.inspect().totals()));
    });
    group.bench_function("one_queue_of_10k", |b| {
        let name = "a.queue.with.a.name.like.others.05000";
        b.iter(|| black_box(broker.inspect().queue("/", name)).is_some());
    });
    group.bench_function("protocol_totals", |b| {
        b.iter(|| black_box(broker.inspect().protocol_totals(Protocol::Amqp091)));
    });
    group.finish();
}

criterion_group!(benches, looks);
criterion_main!(benches);
