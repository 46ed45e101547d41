//! Threads that publish, consume, settle, cancel, declare, delete and let time pass, all at once, on a few queues.
//!
//! What every thread does is fixed by its seed; how the threads meet is not. Afterwards every message must have come to
//! exactly one end, every waiting consumer must have been told, and nothing may be left of what was deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use ternmq_core::id::Timestamp;
use ternmq_core::message::NewMessage;
use ternmq_core::queue::{
    AckMode, Budget, ConsumerSpec, ConsumerView, Counts, Credit, Delivery, LeaseTimeout, Outcome,
    SharedCredit,
};
use ternmq_core::topology::QueueDecl;
use ternmq_core::value::Value;

use crate::bed::{self, START, request};
use crate::cell::QueueCell;
use crate::clock::ManualClock;
use crate::mailbox::{Mailbox, Notice, Token};
use crate::work::Work;
use crate::{Broker, BrokerConfig, Client, Consumer, DeleteIf, MemoryLog, QueueHandle, Turn};

const WORKERS: u64 = 3;
const STEPS: usize = 12_000;
const MESSAGES_MAX: usize = 200_000;

/// Queues that are there from start to end.
const LASTING: [&str; 8] = [
    "plain", "short", "timed", "limited", "single", "ranked", "choked", "few",
];
/// Queues that come and go.
const FLEETING: [&str; 4] = ["unused", "expiring", "mine", "deleted"];

fn declaration(name: &str, client: &Client) -> QueueDecl {
    let dead = |more: &[(&str, Value)]| {
        let mut all = vec![
            ("x-dead-letter-exchange", Value::text("")),
            ("x-dead-letter-routing-key", Value::text("dead")),
        ];
        all.extend_from_slice(more);
        bed::queue(name, &all)
    };
    match name {
        "short" => dead(&[("x-max-length", Value::I32(20))]),
        "timed" => dead(&[("x-message-ttl", Value::I32(3))]),
        "limited" => dead(&[("x-delivery-limit", Value::I32(1))]),
        "single" => dead(&[("x-single-active-consumer", Value::Bool(true))]),
        "choked" => bed::queue(
            name,
            &[
                ("x-max-length", Value::I32(2)),
                ("x-dead-letter-exchange", Value::text("")),
                ("x-dead-letter-routing-key", Value::text("few")),
            ],
        ),
        "few" => bed::queue(
            name,
            &[
                ("x-max-length", Value::I32(3)),
                ("x-overflow", Value::text("reject-publish")),
            ],
        ),
        "ranked" => bed::queue(
            name,
            &[
                ("x-max-priority", Value::I32(3)),
                ("x-message-ttl", Value::I32(5)),
            ],
        ),
        "unused" => QueueDecl {
            auto_delete: true,
            ..bed::queue(name, &[])
        },
        "expiring" => bed::queue(
            name,
            &[
                ("x-expires", Value::I32(2)),
                ("x-message-ttl", Value::I32(1)),
            ],
        ),
        "mine" => QueueDecl {
            exclusive: Some(client.id()),
            ..bed::queue(name, &[])
        },
        _ => bed::queue(name, &[]),
    }
}

/// What became of which message.
struct Ledger {
    next: AtomicUsize,
    /// Ends of each message.
    ends: Vec<AtomicU8>,
    /// Messages that came to an end which somebody saw.
    ended: AtomicU64,
    purged: AtomicU64,
    refused: AtomicU64,
}

impl Ledger {
    fn end(&self, delivery: &Delivery, queue: &str) {
        let body: [u8; 8] = delivery.message.body().try_into().unwrap();
        let id = usize::try_from(u64::from_le_bytes(body)).unwrap();
        let before = self.ends[id].fetch_add(1, Ordering::SeqCst);
        assert_eq!(
            before, 0,
            "message {id} ended twice, the second time in {queue}"
        );
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

struct Held {
    queue: QueueHandle,
    delivery: Delivery,
}

/// One connection and what it holds.
struct Worker<'a> {
    broker: &'a Broker,
    ledger: &'a Ledger,
    client: Client,
    credit: Arc<SharedCredit>,
    consumers: Vec<(Token, Consumer)>,
    held: Vec<Held>,
    /// The names it works with.
    queues: &'a [&'static str],
    random: u64,
    tokens: u64,
}

impl<'a> Worker<'a> {
    fn new(broker: &'a Broker, ledger: &'a Ledger, queues: &'a [&'static str], seed: u64) -> Self {
        Self {
            broker,
            ledger,
            client: connect(broker),
            credit: Arc::new(SharedCredit::new(4)),
            consumers: Vec::new(),
            held: Vec::new(),
            queues,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            tokens: 0,
        }
    }

    fn pick(&mut self, n: usize) -> usize {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.random >> 33).unwrap() % n
    }

    fn any_queue(&mut self) -> &'static str {
        self.queues[self.pick(self.queues.len())]
    }

    fn step(&mut self) {
        match self.pick(100) {
            0..35 => self.publish(),
            35..45 => self.consume(),
            45..53 => self.cancel(),
            53..75 => self.settle(),
            75..85 => self.get(),
            85..92 => {
                let name = self.any_queue();
                // It may be there in another way.
                let _ = self.client.declare_queue(declaration(name, &self.client));
            }
            92..95 => {
                let name = self.any_queue();
                if FLEETING.contains(&name) {
                    let _ = self.client.delete_queue(name, DeleteIf::default());
                }
            }
            95 => {
                let name = self.any_queue();
                let purged = self.client.purge_queue(name).unwrap_or(0);
                self.ledger.purged.fetch_add(purged, Ordering::SeqCst);
            }
            97 => self.reconnect(),
            _ => {}
        }
        self.listen();
    }

    fn publish(&mut self) {
        let queue = self.any_queue();
        let mut turn = Turn::new();
        let count = 1 + self.pick(6);
        for _ in 0..count {
            let id = self.ledger.next.fetch_add(1, Ordering::SeqCst);
            let body = (id as u64).to_le_bytes();
            let mut new = NewMessage::plain(b"", queue.as_bytes(), &body);
            new.priority = u8::try_from(id % 5).ok();
            new.ttl_ms = id.is_multiple_of(7).then_some((id % 4) as u64);
            let route = self.client.route(&request(b"", queue.as_bytes())).unwrap();
            turn.push(new.build(&mut Vec::new()), route);
        }
        let now = self.broker.now();
        let refused = self.client.publish(&mut turn, now).rejected.len();
        self.ledger
            .refused
            .fetch_add(refused as u64, Ordering::SeqCst);
    }

    fn consume(&mut self) {
        if self.consumers.len() >= 4 {
            return;
        }
        let queue = self.any_queue();
        let credit = match self.pick(3) {
            0 => Credit::Unlimited,
            1 => Credit::Limited(3),
            _ => Credit::Shared {
                with: self.credit.clone(),
                limit: 3,
            },
        };
        let spec = ConsumerSpec {
            mode: if self.pick(3) == 0 {
                AckMode::Auto
            } else {
                AckMode::Manual
            },
            credit,
            priority: i32::try_from(self.pick(2)).unwrap(),
            exclusive: self.pick(20) == 0,
            lease_timeout: LeaseTimeout::Never,
        };
        self.tokens += 1;
        let token = Token(self.tokens);
        // The queue may be gone, or used by one alone.
        if let Ok(consumer) = self.client.consume(queue, spec, token) {
            self.consumers.push((token, consumer));
        }
    }

    fn cancel(&mut self) {
        if !self.consumers.is_empty() {
            let at = self.pick(self.consumers.len());
            let (_, consumer) = self.consumers.swap_remove(at);
            self.client.cancel(consumer);
            self.replenish();
        }
    }

    /// Acts on every notice.
    fn listen(&mut self) {
        let mut notices = Vec::new();
        self.client.mailbox().drain(&mut notices);
        for notice in notices {
            match notice {
                Notice::Ready(token) => self.drain(token),
                Notice::Cancelled(token) => {
                    if let Some(at) = self.consumers.iter().position(|(t, _)| *t == token) {
                        let (_, consumer) = self.consumers.swap_remove(at);
                        self.client.cancel(consumer);
                        self.replenish();
                    }
                }
                _ => {}
            }
        }
    }

    fn drain(&mut self, token: Token) {
        let Some((_, consumer)) = self.consumers.iter().find(|(t, _)| *t == token) else {
            return;
        };
        let budget = Budget {
            messages: 5,
            bytes: 1 << 20,
        };
        let mut out = Vec::new();
        while self
            .client
            .drain(consumer, budget, &mut out, self.broker.now())
        {}
        let queue = consumer.queue().clone();
        for delivery in out {
            self.got(queue.clone(), delivery);
        }
    }

    fn got(&mut self, queue: QueueHandle, delivery: Delivery) {
        if delivery.settled {
            self.ledger.end(&delivery, queue.name());
        } else {
            self.held.push(Held { queue, delivery });
        }
    }

    fn get(&mut self) {
        let (queue, auto) = (self.any_queue(), self.pick(2) == 0);
        if let Ok(Some(got)) = self.client.get(queue, auto) {
            self.got(got.queue, got.delivery);
        }
    }

    fn settle(&mut self) {
        let count = self.pick(8).min(self.held.len());
        let outcome = match self.pick(4) {
            0 => Outcome::Return { failed: true },
            1 => Outcome::Reject { failed: true },
            _ => Outcome::Ack,
        };
        for held in self.held.drain(..count) {
            settle(
                &mut self.client,
                self.ledger,
                &held,
                outcome,
                self.broker.now(),
            );
        }
        self.replenish();
    }

    fn replenish(&mut self) {
        for (_, consumer) in &self.consumers {
            self.client.replenish(consumer);
        }
    }

    /// What an adapter does when its connection ends.
    fn leave(&mut self) {
        for (_, consumer) in self.consumers.drain(..) {
            self.client.cancel(consumer);
        }
        let back = Outcome::Return { failed: true };
        for held in self.held.drain(..) {
            settle(
                &mut self.client,
                self.ledger,
                &held,
                back,
                self.broker.now(),
            );
        }
        self.client.mailbox().close();
    }

    fn reconnect(&mut self) {
        self.leave();
        self.client = connect(self.broker);
        self.credit = Arc::new(SharedCredit::new(4));
    }
}

fn settle(client: &mut Client, ledger: &Ledger, held: &Held, outcome: Outcome, now: Timestamp) {
    if outcome == Outcome::Ack {
        ledger.end(&held.delivery, held.queue.name());
    }
    client.settle(&held.queue, &[held.delivery.position], outcome, now);
}

fn connect(broker: &Broker) -> Client {
    let mailbox = Mailbox::new(MESSAGES_MAX);
    broker
        .connect(&broker.default_user(), "/", mailbox)
        .unwrap()
}

/// Lets the threads work on those queues. Afterwards every consumer has been told of what it was assigned, and is gone.
fn run(queues: &[&'static str]) -> (Broker, Ledger) {
    let clock = Arc::new(ManualClock::new(START));
    let log = Arc::new(MemoryLog::new());
    let broker = Broker::new(&BrokerConfig::default(), clock.clone(), log);
    let ledger = Ledger {
        next: AtomicUsize::new(0),
        ends: std::iter::repeat_with(AtomicU8::default)
            .take(MESSAGES_MAX)
            .collect(),
        ended: AtomicU64::default(),
        purged: AtomicU64::default(),
        refused: AtomicU64::default(),
    };
    let mut owner = connect(&broker);
    for name in LASTING.iter().chain(&["dead"]) {
        owner.declare_queue(declaration(name, &owner)).unwrap();
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (broker, ledger, over) = (&broker, &ledger, &over);
        let work = |seed| {
            let mut worker = Worker::new(broker, ledger, queues, seed);
            (0..STEPS).for_each(|_| worker.step());
            worker
        };
        let threads: Vec<_> = (1..=WORKERS)
            .map(|seed| scope.spawn(move || work(seed)))
            .collect();
        scope.spawn(move || {
            while !over.load(Ordering::SeqCst) {
                broker.tick(clock.advance_ms(1));
                std::thread::yield_now();
            }
        });
        let ended: Vec<_> = threads
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        over.store(true, Ordering::SeqCst);
        let mut workers: Vec<_> = ended.into_iter().map(Result::unwrap).collect();
        // What one does may be a notice for those who looked before.
        while workers.iter().any(|w| w.client.mailbox().has_notices()) {
            workers.iter_mut().for_each(Worker::listen);
        }
        for cell in cells(broker) {
            check_idle(&cell);
        }
        workers.iter_mut().for_each(Worker::leave);
    });
    (broker, ledger)
}

/// Everybody has acted on every notice: nothing waits for somebody who could have it.
fn check_idle(cell: &QueueCell) {
    let (counts, is_served) = cell.update(&mut Work::default(), |queue, _| {
        let unlimited = |c: ConsumerView| c.active && c.credit_limit.is_none();
        (queue.counts(), queue.consumers().any(unlimited))
    });
    assert_eq!(
        counts.assigned, 0,
        "a consumer of {} was not told",
        cell.name
    );
    assert!(counts.ready == 0 || !is_served, "{} is stuck", cell.name);
}

fn cells(broker: &Broker) -> Vec<Arc<QueueCell>> {
    let vhost = broker.0.vhost("/").unwrap();
    vhost.read(|space| space.cells.values().cloned().collect())
}

#[test]
fn every_message_comes_to_exactly_one_end_whatever_happens_at_once() {
    let (broker, ledger) = run(&LASTING);
    let mut client = connect(&broker);
    let mut now = broker.now();
    loop {
        for queue in LASTING.iter().chain(&["dead"]) {
            while let Some(got) = client.get(queue, true).unwrap() {
                ledger.end(&got.delivery, queue);
            }
            assert_eq!(client.check_queue(queue).unwrap().consumers, 0, "{queue}");
        }
        // Dead letters that found their queue full come when it is not.
        match broker.0.hold.next() {
            None => break,
            Some(at) => now = at.max(now),
        }
        broker.tick(now);
    }
    for cell in cells(&broker) {
        assert_eq!(cell.counts(), Counts::default(), "{}", cell.name);
    }
    let totals = broker.totals();
    assert!(totals.dropped > 0 && totals.dead_lettered > 0);
    let told = ledger.purged.into_inner() + ledger.refused.into_inner();
    assert_eq!(
        ledger.ended.into_inner() + told + totals.dropped + totals.dead_dropped,
        ledger.next.into_inner() as u64
    );
    assert_eq!(broker.0.pressure.resident(), 0);
}

#[test]
fn queues_that_come_and_go_while_they_are_used_leave_nothing_behind() {
    let names = [&LASTING[..2], &FLEETING[..]].concat();
    let (broker, ledger) = run(&names);
    assert!(ledger.ended.into_inner() > 0);
    for cell in cells(&broker) {
        let work = &mut Work::default();
        broker.0.delete_queue(&cell.vhost, cell.id, work);
    }
    assert!(cells(&broker).is_empty());
    assert_eq!(broker.0.pressure.resident(), 0);
    // A deadline that was being set when its queue went may stand until it comes.
    assert!(broker.0.timers.len() <= usize::try_from(WORKERS).unwrap());
}
