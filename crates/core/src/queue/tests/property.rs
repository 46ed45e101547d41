//! Random commands to the queue and to the model; after each, both must say the same.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::*;
use super::model::{MCredit, MEffects, MEntry, MState, Model};
use crate::id::{Lsn, Position};
use crate::message::{Body, NewMessage};
use crate::policy::{AtMostOnce, DeadLetterTarget, Overflow};
use crate::tags::Tags;

#[derive(Clone, Debug)]
enum CreditKind {
    Unlimited,
    Limited(u32),
    Shared(u32),
}

#[derive(Clone, Debug)]
enum Command {
    Enqueue {
        times: usize,
        size: usize,
        priority: Option<u8>,
        ttl_ms: Option<u64>,
        at_most_once: bool,
        journal: bool,
    },
    Add {
        mode: AckMode,
        credit: CreditKind,
        priority: i32,
        exclusive: bool,
    },
    Remove(Index),
    SetCredit(Index, CreditKind),
    Replenish(Index),
    Drain(Index, Budget),
    Get {
        auto_ack: bool,
    },
    Settle(Vec<Index>, Outcome),
    Purge,
    Advance(u64),
    Expire,
    Touch,
    Settings(QueueSettings),
    ShareElsewhere {
        take: bool,
    },
    SetSharedLimit(u32),
    Close,
}

fn option<T: Clone + core::fmt::Debug + 'static>(
    some: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<T>> {
    prop_oneof![3 => Just(None), 1 => some.prop_map(Some)].boxed()
}

fn settings() -> impl Strategy<Value = QueueSettings> {
    let overflow = prop_oneof![
        2 => Just(Overflow::DropHead),
        1 => Just(Overflow::RejectPublish),
        1 => Just(Overflow::RejectPublishDeadLetter),
    ];
    let limits = (option(0u64..12), option(0u64..60), overflow);
    let time = (option(0u64..30), option(1u64..60));
    let at_most_once = (
        any::<bool>(),
        prop_oneof![Just(0u32), Just(3), Just(u32::MAX)],
        prop_oneof![Just(0u64), Just(20), Just(u64::MAX)],
    );
    let rest = (
        any::<bool>(),
        option(0u32..3),
        option(0u8..6),
        prop::bool::weighted(0.2),
        any::<bool>(),
    );
    (limits, time, at_most_once, rest).prop_map(|(limits, time, at_most_once, rest)| {
        QueueSettings {
            max_length: limits.0,
            max_length_bytes: limits.1,
            overflow: limits.2,
            message_ttl_ms: time.0,
            expires_ms: time.1,
            dead_letter: rest.0.then(|| DeadLetterTarget {
                exchange: "dlx".into(),
                routing_key: None,
            }),
            delivery_limit: rest.1,
            max_priority: rest.2,
            default_priority: if rest.0 { 2 } else { 0 },
            single_active_consumer: rest.3,
            auto_delete: rest.4,
            at_most_once: AtMostOnce {
                transient: false,
                keep_without_consumer: at_most_once.0,
                messages_max: at_most_once.1,
                bytes_max: at_most_once.2,
            },
            ..QueueSettings::default()
        }
    })
}

fn credit() -> impl Strategy<Value = CreditKind> {
    prop_oneof![
        Just(CreditKind::Unlimited),
        (0u32..5).prop_map(CreditKind::Limited),
        prop_oneof![Just(u32::MAX), 0u32..5].prop_map(CreditKind::Shared)
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        2 => Just(Outcome::Ack),
        3 => any::<bool>().prop_map(|failed| Outcome::Return { failed }),
        1 => any::<bool>().prop_map(|failed| Outcome::Reject { failed }),
        1 => Just(Outcome::Untouched),
    ]
}

fn enqueue() -> impl Strategy<Value = Command> {
    let times = prop_oneof![8 => Just(1usize), 1 => 2usize..80];
    let size = prop_oneof![20 => 0usize..20, 1 => Just(100_000usize)];
    let flags = (prop::bool::weighted(0.2), any::<bool>());
    (times, size, option(0u8..8), option(0u64..40), flags).prop_map(
        |(times, size, priority, ttl_ms, (at_most_once, journal))| Command::Enqueue {
            times,
            size,
            priority,
            ttl_ms,
            at_most_once,
            journal,
        },
    )
}

fn add() -> impl Strategy<Value = Command> {
    let mode = prop_oneof![
        Just(AckMode::Auto),
        Just(AckMode::Manual),
        Just(AckMode::ByMessage)
    ];
    (mode, credit(), -1i32..2, prop::bool::weighted(0.05)).prop_map(
        |(mode, credit, priority, exclusive)| Command::Add {
            mode,
            credit,
            priority,
            exclusive,
        },
    )
}

fn budget() -> impl Strategy<Value = Budget> {
    (
        0usize..40,
        prop_oneof![Just(0usize), Just(10), Just(1 << 20)],
    )
        .prop_map(|(messages, bytes)| Budget { messages, bytes })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        30 => enqueue(),
        6 => add(),
        3 => any::<Index>().prop_map(Command::Remove),
        3 => (any::<Index>(), credit()).prop_map(|(who, credit)| Command::SetCredit(who, credit)),
        3 => any::<Index>().prop_map(Command::Replenish),
        20 => (any::<Index>(), budget()).prop_map(|(who, budget)| Command::Drain(who, budget)),
        8 => any::<bool>().prop_map(|auto_ack| Command::Get { auto_ack }),
        20 => (prop::collection::vec(any::<Index>(), 1..8), outcome()).prop_map(|(w, o)| Command::Settle(w, o)),
        1 => Just(Command::Purge),
        8 => (0u64..15).prop_map(Command::Advance),
        6 => Just(Command::Expire),
        1 => Just(Command::Touch),
        2 => settings().prop_map(Command::Settings),
        4 => any::<bool>().prop_map(|take| Command::ShareElsewhere { take }),
        1 => (0u32..8).prop_map(Command::SetSharedLimit),
        1 => prop::bool::weighted(0.1).prop_map(|close| if close { Command::Close } else { Command::Touch }),
    ]
}

struct Pair {
    queue: Queue,
    model: Model,
    fx: Effects,
    now: u64,
    keys: Vec<ConsumerKey>,
    /// Positions as learned from deliveries, by message.
    positions: Vec<Option<Position>>,
    shared: [Arc<SharedCredit>; 2],
    elsewhere: u32,
}

impl Pair {
    fn new(settings: QueueSettings) -> Self {
        Self {
            queue: Queue::new(settings.clone(), Timestamp(0)),
            model: Model::new(settings),
            fx: Effects::new(),
            now: 0,
            keys: Vec::new(),
            positions: Vec::new(),
            shared: [
                Arc::new(SharedCredit::new(4)),
                Arc::new(SharedCredit::new(4)),
            ],
            elsewhere: 0,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.now)
    }

    fn who(&self, index: Index) -> Option<usize> {
        (!self.keys.is_empty()).then(|| index.index(self.keys.len()))
    }

    fn credits(&self, kind: &CreditKind) -> (Credit, MCredit) {
        match kind {
            CreditKind::Unlimited => (Credit::Unlimited, MCredit::Unlimited),
            CreditKind::Limited(limit) => (Credit::Limited(*limit), MCredit::Limited(*limit)),
            CreditKind::Shared(limit) => (
                Credit::Shared {
                    with: self.shared[0].clone(),
                    limit: *limit,
                },
                MCredit::Shared(self.shared[1].clone(), *limit),
            ),
        }
    }

    fn check_delivery(&mut self, delivery: &Delivery, number: usize) {
        let e = &self.model.entries[number];
        assert_eq!(number_of(&delivery.message), number);
        assert_eq!(delivery.tags, tags_of(number));
        assert_eq!(
            (delivery.attempts, delivery.failures),
            (e.attempts, e.failures)
        );
        assert_eq!(delivery.at_most_once, e.at_most_once);
        assert_eq!(delivery.settled, e.state == MState::Gone);
        // A message has one position for ever, and nobody else has it.
        assert!(self.positions[number].is_none_or(|known| known == delivery.position));
        if self.positions[number].is_none() {
            assert!(!self.positions.contains(&Some(delivery.position)));
        }
        self.positions[number] = Some(delivery.position);
    }

    fn enqueue(
        &mut self,
        size: usize,
        priority: Option<u8>,
        ttl_ms: Option<u64>,
        at_most_once: bool,
        journal: bool,
    ) {
        let number = self.model.entries.len();
        let mut body = format!("{number:04}").into_bytes();
        body.resize(body.len() + size, b'x');
        let mut new = NewMessage::plain(b"x", b"k", &[]);
        new.body = Body::copy_from(&body);
        (new.priority, new.ttl_ms) = (priority, ttl_ms);
        let lsn = if journal { number as u64 + 1 } else { 0 };
        let incoming = Incoming {
            message: new.build(&mut Vec::new()),
            lsn: Lsn(lsn),
            tags: tags_of(number),
            at_most_once,
        };
        let entry = MEntry {
            lsn,
            size: body.len() as u64,
            lane: 0,
            at_most_once,
            ttl_ms,
            enqueued_at: 0,
            expire_at: None,
            attempts: 0,
            failures: 0,
            state: MState::Gone,
        };
        self.positions.push(None);
        let got = self
            .queue
            .enqueue(Timestamp(self.now), incoming, &mut self.fx);
        assert_eq!(got, self.model.enqueue(self.now, entry, priority));
    }

    fn run(&mut self, command: &Command) {
        let now = self.now();
        match command {
            &Command::Enqueue {
                times,
                size,
                priority,
                ttl_ms,
                at_most_once,
                journal,
            } => {
                let times = if size > 1000 { times.min(5) } else { times };
                for _ in 0..times {
                    self.enqueue(size, priority, ttl_ms, at_most_once, journal);
                }
            }
            Command::Get { auto_ack } => self.get(*auto_ack),
            Command::Settle(which, outcome) => self.settle(which, *outcome),
            Command::Purge => {
                assert_eq!(
                    self.queue.purge(now, u64::MAX, &mut self.fx),
                    self.model.purge(self.now)
                );
            }
            Command::Advance(ms) => self.now += ms,
            Command::Expire => {
                self.queue.expire(now, &mut self.fx);
                self.model.expire(self.now);
                let next = self.queue.next_deadline();
                assert!(self.fx.delete.is_some() || next.is_none_or(|next| next > now));
            }
            Command::Touch => {
                self.queue.touch(now);
                self.model.last_used = self.now;
            }
            Command::Settings(settings) => {
                self.queue.set_settings(settings.clone(), now, &mut self.fx);
                self.model.set_settings(self.now, settings.clone());
            }
            Command::ShareElsewhere { take: true } => {
                let took = self.shared[0].try_take();
                assert_eq!(took, self.shared[1].try_take());
                self.elsewhere += u32::from(took);
            }
            Command::ShareElsewhere { take: false } => {
                let back = self.elsewhere.min(1);
                self.elsewhere -= back;
                self.shared.iter().for_each(|shared| shared.give_back(back));
            }
            Command::SetSharedLimit(limit) => self
                .shared
                .iter()
                .for_each(|shared| shared.set_limit(*limit)),
            Command::Close => {
                self.queue.close(&mut self.fx);
                self.model.close();
            }
            _ => self.run_with_consumer(command),
        }
    }

    fn run_with_consumer(&mut self, command: &Command) {
        let now = self.now();
        match command {
            Command::Add {
                mode,
                credit,
                priority,
                exclusive,
            } => {
                let (credit, mcredit) = self.credits(credit);
                let spec = ConsumerSpec {
                    mode: *mode,
                    credit,
                    priority: *priority,
                    exclusive: *exclusive,
                };
                let got = self.queue.add_consumer(now, spec, &mut self.fx);
                let expected = self
                    .model
                    .add_consumer(self.now, *mode, mcredit, *priority, *exclusive);
                assert_eq!(got.err(), expected.err());
                self.keys.extend(got);
            }
            Command::Remove(who) => {
                let Some(who) = self.who(*who) else { return };
                self.queue
                    .remove_consumer(now, self.keys[who], &mut self.fx);
                self.model.remove_consumer(self.now, who);
            }
            Command::SetCredit(who, credit) => {
                let Some(who) = self.who(*who) else { return };
                let (credit, mcredit) = self.credits(credit);
                self.queue
                    .set_credit(now, self.keys[who], credit, &mut self.fx);
                self.model.set_credit(self.now, who, mcredit);
            }
            Command::Replenish(who) => {
                let Some(who) = self.who(*who) else { return };
                self.queue.replenish(now, self.keys[who], &mut self.fx);
                self.model.replenish(self.now, who);
            }
            Command::Drain(who, budget) => {
                let Some(who) = self.who(*who) else { return };
                let mut out = Vec::new();
                let more = self
                    .queue
                    .drain(now, self.keys[who], *budget, &mut out, &mut self.fx);
                let (drained, expected_more) = self.model.drain(self.now, who, *budget);
                assert_eq!(more, expected_more);
                assert_eq!(out.len(), drained.len());
                for (delivery, number) in out.iter().zip(drained) {
                    self.check_delivery(delivery, number);
                }
            }
            other => unreachable!("{other:?} needs no consumer"),
        }
    }

    fn get(&mut self, auto_ack: bool) {
        let got = self.queue.get(self.now(), auto_ack, &mut self.fx);
        let expected = self.model.get(self.now, auto_ack);
        assert_eq!(got.is_some(), expected.is_some());
        if let (Some((delivery, left)), Some(number)) = (got, expected) {
            self.check_delivery(&delivery, number);
            assert_eq!(left, self.queue.counts().visible());
        }
    }

    /// Settles what is leased if something is, but for the fourth: that is anything ever delivered.
    fn settle(&mut self, which: &[Index], outcome: Outcome) {
        let known: Vec<usize> = (0..self.positions.len())
            .filter(|&n| self.positions[n].is_some())
            .collect();
        if known.is_empty() {
            return;
        }
        let leased = |n: &usize| matches!(self.model.entries[*n].state, MState::Leased(_));
        let leased: Vec<usize> = known.iter().copied().filter(leased).collect();
        let likely = if leased.is_empty() { &known } else { &leased };
        let choose = |(i, index): (usize, &Index)| {
            let from = if i == 3 { &known } else { likely };
            from[index.index(from.len())]
        };
        let numbers: Vec<usize> = which.iter().enumerate().map(choose).collect();
        let positions: Vec<Position> = numbers.iter().filter_map(|&n| self.positions[n]).collect();
        let got = self
            .queue
            .settle(self.now(), &positions, outcome, &mut self.fx);
        assert_eq!(got, self.model.settle(self.now, &numbers, outcome));
    }

    fn check(&mut self) {
        let number_of_key = |key: &ConsumerKey| self.keys.iter().position(|k| k == key).unwrap();
        let got = MEffects {
            ready: self
                .fx
                .ready
                .iter()
                // A consumer that is just being added has no number in the list yet, but it is the next.
                .map(|key| {
                    self.keys
                        .iter()
                        .position(|k| k == key)
                        .unwrap_or(self.keys.len())
                })
                .collect(),
            dead: self
                .fx
                .dead
                .iter()
                .map(|d| (number_of(&d.message), d.reason, d.attempts))
                .collect(),
            settled: self.fx.settled.iter().map(|lsn| lsn.0).collect(),
            returned: self
                .fx
                .returned
                .iter()
                .map(|r| (r.lsn.0, r.attempts, r.failures))
                .collect(),
            cancelled: self.fx.cancelled.iter().map(number_of_key).collect(),
            delete: self.fx.delete,
            dropped: self.fx.dropped,
        };
        for dead in &self.fx.dead {
            assert_eq!(dead.lsn.0, self.model.entries[number_of(&dead.message)].lsn);
        }
        assert_eq!(got, core::mem::take(&mut self.model.fx));
        self.fx.clear();
        self.check_counts();
        self.check_credit();
        self.check_deadline();
    }

    fn check_counts(&self) {
        let count = |wanted: fn(MState) -> bool| {
            self.model
                .entries
                .iter()
                .filter(|e| wanted(e.state))
                .count() as u64
        };
        let ready_bytes: u64 = self
            .model
            .entries
            .iter()
            .filter(|e| e.state == MState::Ready)
            .map(|e| e.size)
            .sum();
        let expected = Counts {
            ready: count(|s| s == MState::Ready),
            ready_bytes,
            assigned: count(|s| matches!(s, MState::Assigned(_))),
            leased: count(|s| matches!(s, MState::Leased(_))),
            consumers: self.model.present().len() as u64,
        };
        let counts = self.queue.counts();
        assert_eq!(counts, expected);
        let held = self
            .model
            .entries
            .iter()
            .filter(|e| e.state != MState::Gone);
        let held: u64 = held.map(|e| 256 + e.size).sum();
        assert_eq!(self.queue.resident_bytes() as u64, held);
        if self.model.settings.overflow == Overflow::DropHead {
            assert!(
                self.model
                    .settings
                    .max_length
                    .is_none_or(|max| counts.ready <= max)
            );
            assert!(
                self.model
                    .settings
                    .max_length_bytes
                    .is_none_or(|max| counts.ready_bytes <= max)
            );
        }
        let views: Vec<usize> = self
            .queue
            .consumers()
            .map(|v| self.keys.iter().position(|k| *k == v.key).unwrap())
            .collect();
        assert_eq!(views, self.model.present());
    }

    fn check_credit(&self) {
        for view in self.queue.consumers() {
            let number = self.keys.iter().position(|k| *k == view.key).unwrap();
            let consumer = &self.model.consumers[number];
            assert_eq!(view.assigned, consumer.assigned.len() as u64);
            let leased = |e: &&MEntry| e.state == MState::Leased(Some(number));
            assert_eq!(
                view.leased,
                self.model.entries.iter().filter(leased).count() as u64
            );
        }
        let shared = |c: &usize| matches!(self.model.consumers[*c].credit, MCredit::Shared(..));
        let used: u32 = (0..self.model.consumers.len())
            .filter(shared)
            .map(|c| self.model.used(c))
            .sum::<u32>()
            + self.elsewhere;
        assert_eq!(self.shared[0].used(), used);
        assert_eq!(self.shared[1].used(), used);
    }

    fn check_deadline(&self) {
        let next = self.queue.next_deadline().map(|t| t.0);
        match (next, self.model.next_deadline()) {
            // Early is a wake-up for nothing, late a message that stays.
            (Some(next), Some(needed)) => assert!(next <= needed),
            (None, Some(_)) => panic!("a deadline is forgotten"),
            (_, None) => {}
        }
    }
}

fn number_of(message: &crate::message::Message) -> usize {
    core::str::from_utf8(&message.body()[..4])
        .unwrap()
        .parse()
        .unwrap()
}

fn tags_of(number: usize) -> Tags {
    match number % 3 {
        0 => Tags::None,
        1 => Tags::One(u32::try_from(number).unwrap()),
        _ => Tags::from_vec([1, 2].into()),
    }
}

proptest! {
    #[test]
    fn queue_and_model_say_the_same(
        settings in settings(),
        commands in prop::collection::vec(command(), 1..120),
    ) {
        let mut pair = Pair::new(settings);
        for command in &commands {
            pair.run(command);
            pair.check();
        }
        // Everything that came in is somewhere, and closing gives back all credit.
        let elsewhere = pair.elsewhere;
        if !pair.queue.is_closed() {
            pair.run(&Command::Close);
            pair.check();
        }
        prop_assert_eq!(pair.shared[0].used(), elsewhere);
    }
}
