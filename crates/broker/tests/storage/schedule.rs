//! Messages that wait for their time, over checkpoints, power cuts and starts.

use std::collections::{BTreeMap, BTreeSet};

use rand_like::Rng;
use ternmq_broker::{Broker, Client, Retain, ScheduleId, Turn};
use ternmq_core::id::Lsn;

use crate::node::{Letter, Machine, START, connect, id_of, queue, request, until};
use crate::space::take_all;

/// Small and the same on every run.
mod rand_like {
    pub(super) struct Rng(pub(super) u64);

    impl Rng {
        pub(super) fn below(&mut self, end: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % end
        }
    }
}

/// Lives of one machine.
struct Lives {
    machine: Machine,
    rng: Rng,
    next: u64,
    /// Those that somebody was promised, with when they are due.
    promised: BTreeMap<u64, u64>,
    /// Those that may have become durable or not.
    tried: BTreeSet<u64>,
    ids: BTreeMap<u64, ScheduleId>,
    cancelled: BTreeSet<u64>,
    now_ms: u64,
}

impl Lives {
    fn new(seed: u64) -> Self {
        Self {
            machine: Machine::new(seed),
            rng: Rng(seed),
            next: 0,
            promised: BTreeMap::new(),
            tried: BTreeSet::new(),
            ids: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            now_ms: 0,
        }
    }

    fn letter(&mut self, durable: bool) -> Letter {
        self.next += 1;
        Letter {
            id: self.next,
            bytes: usize::try_from(self.rng.below(3_000)).unwrap(),
            durable,
            priority: None,
        }
    }

    fn schedule(&mut self, client: &mut Client, waits: bool) {
        let letter = self.letter(true);
        let due = self.now_ms + self.rng.below(60);
        let message = letter.build("", "q", START);
        let (id, lsn) = client
            .schedule(START.plus_ms(due), message, Retain::No)
            .unwrap();
        self.tried.insert(letter.id);
        if waits {
            until("it is committed", || client.committed() >= lsn);
            self.promised.insert(letter.id, due);
            self.ids.insert(letter.id, id);
        }
    }

    /// What goes by and makes the journal grow.
    fn noise(&mut self, client: &mut Client) {
        let letter = self.letter(true);
        let mut turn = Turn::new();
        let route = client.route(&request("", "noise")).unwrap();
        turn.push(letter.build("", "noise", START), route);
        client.publish(&mut turn, START);
        let _ = client.get("noise", true).unwrap();
    }

    fn cancel(&mut self, broker: &Broker, client: &Client) {
        let waiting: Vec<u64> = self.promised.keys().copied().collect();
        let Some(letter) = waiting.get(usize::try_from(self.rng.below(20)).unwrap()) else {
            return;
        };
        let Some(lsn) = broker.cancel_scheduled(self.ids[letter]) else {
            return;
        };
        assert!(lsn.is_some(), "it had a record");
        until("it is committed", || client.committed() >= lsn);
        self.promised.remove(letter);
        self.cancelled.insert(*letter);
    }

    fn tick(&mut self, broker: &Broker, ms: u64) {
        self.now_ms += ms;
        let now = START.plus_ms(self.now_ms);
        self.machine.clock.advance_to(now);
        while broker.next_deadline().is_some_and(|at| at <= now) {
            broker.tick(now);
        }
    }

    fn live(&mut self) {
        let broker = self.machine.open();
        let mut client = connect(&broker);
        client.declare_queue(queue("q", true, &[])).unwrap();
        client.declare_queue(queue("noise", true, &[])).unwrap();
        self.check(&broker, &mut client);
        for _ in 0..40 {
            match self.rng.below(10) {
                0..4 => {
                    let waits = self.rng.below(4) > 0;
                    self.schedule(&mut client, waits);
                }
                4..7 => self.noise(&mut client),
                7 => {
                    let ms = self.rng.below(10);
                    self.tick(&broker, ms);
                }
                8 => self.cancel(&broker, &client),
                _ => broker.checkpoint(),
            }
        }
        drop(client);
        if self.rng.below(3) == 0 {
            broker.close();
        } else {
            let seed = self.rng.below(u64::MAX);
            self.machine.cut(&broker, seed);
        }
    }

    /// Everything promised is in the queue or waits, not both; nothing that was cancelled is anywhere.
    fn check(&self, broker: &Broker, client: &mut Client) {
        let waiting = broker.scheduled("/", None, usize::MAX);
        let due: usize = self
            .promised
            .values()
            .filter(|due| **due > self.now_ms)
            .count();
        assert!(waiting.len() >= due, "{} wait of {due}", waiting.len());
        let ready = client.check_queue("q").unwrap().messages;
        let all = waiting.len() as u64 + ready;
        assert!(all >= self.promised.len() as u64, "{all}");
        assert!(all <= self.tried.len() as u64, "{all}");
    }

    fn end(mut self) {
        let broker = self.machine.open();
        let mut client = connect(&broker);
        self.tick(&broker, 1_000);
        assert_eq!(broker.totals().delayed, 0);
        let found = take_all(&mut client, "q");
        let once: BTreeSet<u64> = found.iter().copied().collect();
        assert_eq!(once.len(), found.len(), "nothing is there twice");
        for letter in self.promised.keys() {
            assert!(once.contains(letter), "{letter} is lost");
        }
        for letter in &self.cancelled {
            assert!(!once.contains(letter), "{letter} was cancelled");
        }
        assert!(once.is_subset(&self.tried));
        drop(client);
        broker.close();
        assert!(self.machine.halts.lock().is_empty());
    }
}

#[test]
fn scheduled_messages_are_published_once_whatever_happens_in_between() {
    for seed in 0..30 {
        let mut lives = Lives::new(seed);
        for _ in 0..6 {
            lives.live();
        }
        lives.end();
    }
}

#[test]
fn scheduled_message_keeps_its_segment_alive() {
    let machine = Machine::new(7);
    let broker = machine.open();
    let mut client = connect(&broker);
    client.declare_queue(queue("q", true, &[])).unwrap();
    let letter = Letter {
        id: 1,
        bytes: 100,
        durable: true,
        priority: None,
    };
    let at = START.plus_ms(5);
    let (_, lsn) = client
        .schedule(at, letter.build("", "q", START), Retain::No)
        .unwrap();
    for n in 0..40 {
        let mut turn = Turn::new();
        let route = client.route(&request("", "q")).unwrap();
        let noise = Letter {
            id: n + 2,
            bytes: 8_000,
            ..letter
        };
        turn.push(noise.build("", "q", START), route);
        let lsn = client.publish(&mut turn, START).lsn;
        until("it is committed", || client.committed() >= lsn);
        assert!(client.get("q", true).unwrap().is_some());
    }
    assert!(lsn > Lsn::NONE);
    broker.checkpoint();
    broker.checkpoint();
    drop(client);
    machine.cut(&broker, 3);
    let broker = machine.open();
    let mut client = connect(&broker);
    machine.clock.advance_to(at);
    broker.tick(at);
    let found = client.get("q", true).unwrap().unwrap();
    assert_eq!(id_of(&found.delivery.message), 1);
    drop(client);
    broker.close();
}
