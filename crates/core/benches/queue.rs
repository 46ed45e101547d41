//! What a queue costs per message, without locks, journal and sockets.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ternmq_core::id::{Lsn, Position, Timestamp};
use ternmq_core::message::{Message, NewMessage};
use ternmq_core::policy::QueueSettings;
use ternmq_core::queue::{
    AckMode, Budget, ConsumerKey, ConsumerSpec, Credit, Delivery, Effects, Incoming, LeaseTimeout,
    Outcome, Queue,
};
use ternmq_core::tags::Tags;

const NOW: Timestamp = Timestamp(1_000_000);
const TURN: u64 = 100;
const BACKLOG: u64 = 1_000_000;
const ALL: Budget = Budget {
    messages: usize::MAX,
    bytes: usize::MAX,
};

struct Bench {
    queue: Queue,
    message: Message,
    fx: Effects,
    out: Vec<Delivery>,
    positions: Vec<Position>,
}

impl Bench {
    fn new(settings: QueueSettings) -> Self {
        Self {
            queue: Queue::new(settings, NOW),
            message: NewMessage::plain(b"", b"queue", &[b'x'; 16]).build(&mut Vec::new()),
            fx: Effects::new(),
            out: Vec::new(),
            positions: Vec::new(),
        }
    }

    fn consumer(&mut self, mode: AckMode) -> ConsumerKey {
        let spec = ConsumerSpec {
            mode,
            credit: Credit::Unlimited,
            priority: 0,
            exclusive: false,
            lease_timeout: LeaseTimeout::Never,
        };
        self.queue
            .add_consumer(NOW, spec, &mut self.fx)
            .expect("nobody is exclusive")
    }

    fn enqueue(&mut self, times: u64, now: Timestamp) {
        for _ in 0..times {
            let message = self.message.clone();
            let incoming = Incoming {
                message,
                lsn: Lsn::NONE,
                tags: Tags::None,
                at_most_once: false,
            };
            black_box(self.queue.enqueue(now, incoming, &mut self.fx));
        }
    }

    fn drain(&mut self, key: ConsumerKey) {
        while self.queue.drain(NOW, key, ALL, &mut self.out, &mut self.fx) {}
        self.positions.clear();
        self.positions.extend(
            self.out
                .drain(..)
                .map(|delivery| black_box(delivery).position),
        );
    }

    fn settle(&mut self, outcome: Outcome) {
        self.queue
            .settle(NOW, &self.positions, outcome, &mut self.fx);
        self.fx.clear();
    }
}

fn turns(c: &mut Criterion) {
    let mut group = c.benchmark_group("turn of 100");
    group.throughput(Throughput::Elements(TURN));
    group.bench_function("enqueue, drain: auto", |b| {
        let mut bench = Bench::new(QueueSettings::default());
        let key = bench.consumer(AckMode::Auto);
        b.iter(|| {
            bench.enqueue(TURN, NOW);
            bench.drain(key);
            bench.fx.clear();
        });
    });
    group.bench_function("enqueue, drain, ack", |b| {
        let mut bench = Bench::new(QueueSettings::default());
        let key = bench.consumer(AckMode::Manual);
        b.iter(|| {
            bench.enqueue(TURN, NOW);
            bench.drain(key);
            bench.settle(Outcome::Ack);
        });
    });
    group.bench_function("enqueue, drain, ack: ten consumers", |b| {
        let mut bench = Bench::new(QueueSettings::default());
        let keys: Vec<_> = (0..10).map(|_| bench.consumer(AckMode::Manual)).collect();
        b.iter(|| {
            bench.enqueue(TURN, NOW);
            for &key in &keys {
                bench.drain(key);
                bench.settle(Outcome::Ack);
            }
        });
    });
    group.bench_function("enqueue, drain, ack: uniform ttl", |b| {
        let mut bench = Bench::new(QueueSettings {
            message_ttl_ms: Some(1000),
            ..QueueSettings::default()
        });
        let key = bench.consumer(AckMode::Manual);
        b.iter(|| {
            bench.enqueue(TURN, NOW);
            bench.drain(key);
            bench.settle(Outcome::Ack);
        });
    });
    group.bench_function("return, drain", |b| {
        let mut bench = Bench::new(QueueSettings::default());
        let key = bench.consumer(AckMode::Manual);
        bench.enqueue(TURN, NOW);
        bench.drain(key);
        b.iter(|| {
            bench.settle(Outcome::Return { failed: false });
            bench.drain(key);
        });
    });
    group.finish();
}

fn backlog(c: &mut Criterion) {
    let mut group = c.benchmark_group("backlog of a million");
    group.sample_size(10);
    group.throughput(Throughput::Elements(BACKLOG));
    group.bench_function("fill", |b| {
        b.iter_batched_ref(
            || Bench::new(QueueSettings::default()),
            |bench| bench.enqueue(BACKLOG, NOW),
            BatchSize::PerIteration,
        );
    });
    let full = |settings: QueueSettings| {
        move || {
            let mut bench = Bench::new(settings.clone());
            for ms in 0..BACKLOG / 1000 {
                bench.enqueue(1000, NOW.plus_ms(ms));
            }
            bench
        }
    };
    group.bench_function("empty: get, auto", |b| {
        b.iter_batched_ref(
            full(QueueSettings::default()),
            |bench| while black_box(bench.queue.get(NOW, true, &mut bench.fx)).is_some() {},
            BatchSize::PerIteration,
        );
    });
    let ttl = QueueSettings {
        message_ttl_ms: Some(60_000),
        ..QueueSettings::default()
    };
    group.bench_function("expire", |b| {
        b.iter_batched_ref(
            full(ttl.clone()),
            |bench| {
                let end = NOW.plus_ms(10_000_000);
                while bench.queue.next_deadline().is_some() {
                    bench.queue.expire(end, &mut bench.fx);
                    bench.fx.clear();
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Elements(TURN));
    group.bench_function("turn of 100 behind it: enqueue, drain, ack", |b| {
        let mut bench = full(QueueSettings::default())();
        let key = bench.consumer(AckMode::Manual);
        bench.drain(key);
        bench.settle(Outcome::Return { failed: false });
        let budget = Budget {
            messages: 100,
            bytes: usize::MAX,
        };
        b.iter(|| {
            bench.enqueue(TURN, NOW);
            bench
                .queue
                .drain(NOW, key, budget, &mut bench.out, &mut bench.fx);
            bench.positions.clear();
            bench
                .positions
                .extend(bench.out.drain(..).map(|delivery| delivery.position));
            bench.settle(Outcome::Ack);
        });
    });
    group.finish();
}

criterion_group!(benches, turns, backlog);
criterion_main!(benches);
