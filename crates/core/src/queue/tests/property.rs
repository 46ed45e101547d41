//! Random commands to the queue and to the model; after each, both must say the same.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::*;
use super::model::{MCredit, MEffects, MEntry, MState, Model};
use super::shelf::Shelf;
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
    Freeze {
        keep: u64,
        committed: u64,
        backwards: bool,
    },
    Write {
        take: bool,
        written: usize,
        failed: usize,
    },
    Restart,
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

fn freeze() -> impl Strategy<Value = Command> {
    let keep = prop_oneof![2 => Just(0u64), 1 => 0u64..50];
    let committed = prop_oneof![3 => Just(u64::MAX), 1 => 0u64..200];
    (keep, committed, any::<bool>()).prop_map(|(keep, committed, backwards)| Command::Freeze {
        keep,
        committed,
        backwards,
    })
}

fn write() -> impl Strategy<Value = Command> {
    (any::<bool>(), 0usize..5, 0usize..2).prop_map(|(take, written, failed)| Command::Write {
        take,
        written,
        failed,
    })
}

/// With messages that go cold.
fn cold_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        8 => command(),
        2 => freeze(),
        1 => write(),
        1 => prop::bool::weighted(0.1).prop_map(|restart| if restart { Command::Restart } else { Command::Touch }),
    ]
}

/// What fills a queue, so that much of it is cold.
fn long_enqueue() -> impl Strategy<Value = Command> {
    enqueue().prop_map(|mut command| {
        if let Command::Enqueue { times, .. } = &mut command {
            *times += 20;
        }
        command
    })
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
    shelf: Shelf,
    /// Messages up to this number were there at a restart.
    recovered: usize,
    /// Something cold was read for this command.
    loaded: bool,
    /// A drained consumer may be notified of what was cold.
    behind: Option<ConsumerKey>,
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
            shelf: Shelf::default(),
            recovered: 0,
            loaded: false,
            behind: None,
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
        assert_eq!(delivery.lsn.0, e.lsn);
        let recovered = number < self.recovered;
        assert_eq!(delivery.redelivered, recovered || e.attempts > 0);
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
        let message = new.build(&mut Vec::new());
        self.shelf.journal.insert(Lsn(lsn), message.clone());
        let incoming = Incoming {
            message,
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
        let expected = self.model.enqueue(self.now, entry, priority);
        // It may have to be dropped when what goes before is back.
        let is_late = self.fx.wants_cold && got == Admission::Accepted;
        assert!(got == expected || is_late && expected == Admission::Dropped);
        self.load();
    }

    /// Gives the queue what is cold and wanted.
    fn load(&mut self) {
        let now = self.now();
        self.loaded |= self.shelf.load(&mut self.queue, now, &mut self.fx);
    }

    fn restart(&mut self) {
        let mut bytes = Vec::new();
        self.queue.snapshot(&mut bytes);
        let settings = self.queue.settings().clone();
        self.queue.close(&mut Effects::new());
        let restored = Queue::restore_snapshot(settings, &bytes, self.now()).unwrap();
        self.queue = restored;
        let mut again = Vec::new();
        self.queue.snapshot(&mut again);
        assert_eq!(bytes, again);
        // What only transient messages were in is garbage now.
        let mut pages = Vec::new();
        self.queue.cold_parts(|_, place, _, _| pages.push(place));
        self.shelf.pages.retain(|place, _| pages.contains(place));
        self.shelf.writing.clear();
        self.keys.fill(ConsumerKey::NOBODY);
        self.positions.fill(None);
        self.recovered = self.positions.len();
        self.queue.mark_recovered();
        let now = self.now();
        self.queue.finish_replay(now, &mut self.fx);
        self.model.restart(self.now);
    }

    fn write(&mut self, take: bool, written: usize, failed: usize) {
        if take {
            self.queue.take_parts(&mut self.shelf.writing);
        }
        for n in 0..written + failed {
            let Some((key, bytes)) = self.shelf.writing.pop() else {
                break;
            };
            if n < written {
                self.shelf.write(&mut self.queue, key, bytes);
            } else {
                self.queue.part_failed(key);
            }
        }
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
                let purged = self.shelf.purge(&mut self.queue, now, &mut self.fx);
                self.loaded = true;
                assert_eq!(purged, self.model.purge(self.now));
            }
            Command::Advance(ms) => self.now += ms,
            Command::Expire => {
                self.queue.expire(now, &mut self.fx);
                self.load();
                // What came back with it.
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
            &Command::Freeze {
                keep,
                committed,
                backwards,
            } => {
                self.shelf.backwards = backwards;
                self.queue.freeze(keep, Lsn(committed));
            }
            &Command::Write {
                take,
                written,
                failed,
            } => self.write(take, written, failed),
            Command::Restart if self.queue.is_closed() => {}
            Command::Restart => self.restart(),
            Command::Close => {
                self.queue.close(&mut self.fx);
                for place in self.fx.remains.pages() {
                    assert!(self.shelf.pages.remove(&place).is_some());
                }
                assert!(self.shelf.pages.is_empty());
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
                    lease_timeout: LeaseTimeout::Never,
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
                if more != expected_more {
                    assert!(!more && self.fx.wants_cold);
                    self.behind = Some(self.keys[who]);
                }
                assert_eq!(out.len(), drained.len());
                for (delivery, number) in out.iter().zip(drained) {
                    self.check_delivery(delivery, number);
                }
            }
            other => unreachable!("{other:?} needs no consumer"),
        }
    }

    fn get(&mut self, auto_ack: bool) {
        let now = self.now();
        let mut got = self.queue.get(now, auto_ack, &mut self.fx);
        while got.is_none() && self.queue.is_head_cold() {
            assert!(self.fx.wants_cold);
            self.load();
            got = self.queue.get(now, auto_ack, &mut self.fx);
        }
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
        self.load();
        if let Some(key) = self.behind.take() {
            let at = self.fx.ready.iter().position(|k| *k == key).unwrap();
            // Told by the drain itself where nothing is cold, unless it had nothing before.
            if self.model.fx.ready.len() < self.fx.ready.len() {
                self.fx.ready.remove(at);
            }
        }
        assert_eq!(self.fx.unreadable, 0);
        self.shelf.check(&self.queue);
        let number_of_key = |key: &ConsumerKey| self.keys.iter().position(|k| k == key).unwrap();
        let mut got = MEffects {
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
        let mut expected = core::mem::take(&mut self.model.fx);
        if core::mem::take(&mut self.loaded) {
            // Chunks come back one after the other.
            for fx in [&mut got, &mut expected] {
                fx.dead.sort_unstable_by_key(|dead| dead.0);
                fx.settled.sort_unstable();
            }
        }
        assert_eq!(got, expected);
        self.fx.clear();
        self.check_counts();
        self.check_credit();
        self.check_deadline();
    }

    fn check_holdings(&self, counts: Counts) {
        let there = |e: &&MEntry| e.state != MState::Gone;
        let sizes = |durable: bool| {
            let entries = self.model.entries.iter().filter(there);
            let entries = entries.filter(|e| !durable || e.lsn != 0);
            entries.fold((0, 0), |(n, bytes), e| (n + 1, bytes + e.size))
        };
        let holdings = self.queue.holdings();
        assert_eq!((holdings.messages(), holdings.bytes()), sizes(false));
        assert_eq!((holdings.durable, holdings.durable_bytes), sizes(true));
        assert_eq!(
            (holdings.ready, holdings.leased),
            (counts.ready, counts.leased)
        );
        let cold = self.queue.lanes.cold.totals;
        assert_eq!(holdings.resident + cold.entries, holdings.messages());
        assert_eq!(holdings.resident_bytes + cold.bytes, holdings.bytes());
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
        if self.queue.lanes.cold.chunks == 0 {
            assert_eq!(self.queue.resident_bytes() as u64, held);
        }
        self.check_holdings(counts);
        self.check_cold();
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

    /// What is known of cold chunks is what they are.
    fn check_cold(&self) {
        let lanes = &self.queue.lanes;
        let resident = lanes.resident().map(|e| 256 + e.body_bytes as usize);
        let (mut chunks, mut bytes) = (0, resident.sum::<usize>());
        for (_, lane) in lanes.kept() {
            let mut live = 0;
            for (_, chunk, cold) in lane.cold_chunks(0) {
                assert!(!chunk.loading);
                chunks += 1;
                bytes += cold.held_bytes();
                live += u64::from(cold.live);
            }
            assert_eq!(live, lane.cold);
        }
        assert_eq!(chunks, lanes.cold.chunks);
        assert_eq!(bytes, self.queue.resident_bytes());
        let (mut named, mut ranged) = (0, 0);
        self.queue
            .each_lsn(|_| named += 1, |_, _, count| ranged += count);
        let entries = self.model.entries.iter();
        let there = entries.filter(|e| e.state != MState::Gone && e.lsn > 0);
        assert_eq!(named + ranged, there.count() as u64);
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
    fn queue_whose_messages_go_cold_and_model_say_the_same(
        settings in settings(),
        commands in prop::collection::vec(prop_oneof![9 => cold_command().boxed(), 1 => long_enqueue().boxed()], 1..120),
    ) {
        let mut pair = Pair::new(settings);
        for command in &commands {
            pair.run(command);
            pair.check();
        }
    }

    /// Begins with what fills several chunks, most of it on disk.
    #[test]
    fn queue_with_much_on_disk_and_model_say_the_same(
        mut settings in settings(),
        times in 60usize..200,
        ttl_ms in option(20u64..60),
        keep in 0u64..60,
        commands in prop::collection::vec(cold_command(), 1..60),
    ) {
        settings.max_length = settings.max_length.map(|max| 10 * max);
        settings.max_length_bytes = None;
        settings.message_ttl_ms = settings.message_ttl_ms.map(|ttl| ttl + 20);
        let mut pair = Pair::new(settings);
        for n in 0..times {
            let ttl_ms = ttl_ms.filter(|_| n % 3 == 0).map(|ttl| ttl + n as u64 % 7);
            let priority = Some(u8::try_from(n % 2).unwrap());
            pair.enqueue(n % 5, priority, ttl_ms, false, n % 4 != 0);
            if n % 16 == 0 {
                pair.run(&Command::Advance(1));
                pair.queue.freeze(keep, Lsn(u64::MAX));
            }
        }
        pair.shelf.write_all(&mut pair.queue);
        pair.loaded = true;
        pair.check();
        for command in &commands {
            pair.run(command);
            pair.check();
        }
    }

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
