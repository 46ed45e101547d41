//! A random life of a broker, beside its model.

use std::collections::BTreeMap;

use ternmq_broker::clock::Clock;
use ternmq_broker::{Broker, Client, Durability, QueueHandle};
use ternmq_core::error::Refusal;
use ternmq_core::id::Position;
use ternmq_core::queue::Outcome;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::{BindingDecl, BindingOptions, Destination, ExchangeDecl, ExchangeKind};
use ternmq_core::value::{Headers, Value};
use ternmq_journal::simulated::{Fault, Operation, Random};

use crate::model::{Kind, Model};
use crate::node::{Machine, connect, id_of, queue, until};
use crate::noise::{self, Noise};

/// Queues of the fanout: so many that records name them as a list.
pub(crate) const FAN: usize = 18;
/// Queues that are deleted and declared again.
pub(crate) const COMING: [&str; 2] = ["x0", "x1"];

pub(crate) struct Life {
    pub(crate) machine: Machine,
    pub(crate) broker: Broker,
    pub(crate) client: Client,
    pub(crate) model: Model,
    pub(crate) random: Random,
    /// Taken and not settled.
    pub(crate) held: Vec<(String, QueueHandle, Position, u64)>,
    pub(crate) next_id: u64,
    noise: Option<Noise>,
    /// How it ended last, for messages.
    ended: String,
}

fn bind(client: &mut Client, source: &str, to: &str) {
    let arguments = Headers::new();
    let binding = BindingDecl {
        source,
        destination: Destination::Queue(to),
        key: b"",
        syntax: KeySyntax::Dotted,
        arguments: &arguments,
        options: BindingOptions::default(),
    };
    client.bind(&binding).unwrap();
}

/// The queues whose messages are on a shelf.
pub(crate) fn queues_of(shelf: &str) -> Vec<&str> {
    if shelf == "d0" {
        vec!["d0", "dead"]
    } else {
        vec![shelf]
    }
}

impl Life {
    pub(crate) fn begin(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut machine = Machine::new(seed);
        let config = &mut machine.storage_config;
        config.segment_bytes = 8 << (10 + random.below(4));
        config.checkpoint_bytes = 2 << (10 + random.below(7));
        if random.one_in(5) {
            config.durability = Durability::Os;
        }
        let tuning = &mut config.tuning;
        tuning.kept_floor_bytes = 8 << (10 + random.below(5));
        tuning.keep_messages = 1 + random.below(64) as u64;
        tuning.keep_bytes = 512 << random.below(5);
        tuning.freeze_floor_bytes = 512 << random.below(6);
        tuning.page_file_bytes = 1 << (10 + random.below(6));
        machine.memory.resident_bodies = 512 << random.below(8);
        let broker = machine.open();
        let client = connect(&broker);
        let mut life = Self {
            machine,
            broker,
            client,
            model: Model::default(),
            random,
            held: Vec::new(),
            next_id: 1,
            noise: None,
            ended: String::new(),
        };
        life.declare_all();
        // On the disk, whatever a commit means.
        life.broker.checkpoint();
        life
    }

    fn declare_all(&mut self) {
        let client = &mut self.client;
        for (name, kind) in [("fan", ExchangeKind::Fanout), ("dlx", ExchangeKind::Fanout)] {
            let decl = ExchangeDecl {
                name: name.into(),
                kind,
                durable: true,
                auto_delete: false,
                internal: false,
                arguments: Headers::new(),
                declared_by: Box::default(),
            };
            client.declare_exchange(decl).unwrap();
        }
        let mut declare = |name: &str, kind, durable, arguments: &[(&str, Value)]| {
            let decl = queue(name, durable, arguments);
            client.declare_queue(decl).unwrap();
            self.model.add(name, kind, durable);
        };
        declare("q0", Kind::Plain, true, &[]);
        declare("q1", Kind::Plain, true, &[]);
        declare(
            "p0",
            Kind::Plain,
            true,
            &[("x-max-priority", Value::I64(3))],
        );
        declare(
            "m0",
            Kind::Bounded,
            true,
            &[("x-max-length", Value::I64(300))],
        );
        declare(noise::NAME, Kind::Plain, true, &[]);
        declare("t0", Kind::Plain, false, &[]);
        let dead_letters = [
            ("x-dead-letter-exchange", Value::Text("dlx".into())),
            ("x-message-ttl", Value::I64(1_000)),
        ];
        declare("d0", Kind::Plain, true, &dead_letters);
        for name in COMING {
            declare(name, Kind::Plain, true, &[]);
        }
        let fan: Vec<String> = (0..FAN).map(|n| format!("f{n:02}")).collect();
        for name in &fan {
            declare(name, Kind::Plain, true, &[]);
        }
        client.declare_queue(queue("dead", true, &[])).unwrap();
        bind(client, "dlx", "dead");
        for name in &fan {
            bind(client, "fan", name);
        }
        let lsn = self.client.declared();
        until("the declarations are committed", || {
            self.client.committed() >= lsn
        });
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.machine.storage.has_stopped() || !self.machine.halts.lock().is_empty()
    }

    /// Has something strike while the life goes on.
    pub(crate) fn arm(&mut self) {
        let storage = &self.machine.storage;
        match self.random.below(8) {
            0 => {
                let countdown = self.random.below(60) as u64;
                storage.fail(Some(Operation::Sync), countdown, Fault::Error);
            }
            1..=4 => {
                let countdown = self.random.below(400) as u64;
                storage.fail(None, countdown, Fault::PowerCut);
            }
            5 => {
                let countdown = self.random.below(30) as u64;
                storage.fail(Some(Operation::Directory), countdown, Fault::PowerCut);
            }
            _ => {}
        }
    }

    /// Takes everything that is on a shelf, compares, and puts it back.
    pub(crate) fn verify(&mut self, shelf: &str) {
        if self.has_stopped() {
            return;
        }
        let now = self.machine.clock.now();
        let (mut found, mut taken) = (Vec::new(), Vec::new());
        let queues = queues_of(shelf);
        for name in &queues {
            while let Some(got) = self.client.get(name, false).unwrap() {
                found.push(id_of(&got.delivery.message));
                taken.push((got.queue, got.delivery.position));
            }
            let left = self.client.check_queue(name).unwrap().messages;
            assert_eq!(left, 0, "{name}: messages that nobody gets");
        }
        if !self.has_stopped() {
            self.model.check(shelf, &found, queues.len() == 1);
        }
        for (queue, position) in taken {
            self.client
                .settle(&queue, &[position], Outcome::Untouched, now);
        }
    }

    /// Ends the broker in some way, and begins again.
    pub(crate) fn restart(&mut self) {
        let is_clean = !self.has_stopped() && self.random.one_in(3);
        let seed = self.random.number();
        self.client.close();
        if !is_clean && !self.machine.storage.has_stopped() {
            self.machine.storage.fail(None, 0, Fault::PowerCut);
        }
        if let Some(noise) = self.noise.take() {
            self.model.noise(noise::NAME, noise.end());
        }
        if is_clean {
            self.machine.storage.heal();
            self.broker.close();
        }
        // What was armed may have struck at the last moment.
        let is_clean = is_clean && !self.has_stopped();
        if !is_clean {
            self.machine.cut(&self.broker, seed);
        }
        let is_os = self.machine.storage_config.durability == Durability::Os;
        let committed = match (is_clean, is_os) {
            (true, _) => u64::MAX - 1,
            (_, true) => 0,
            _ => self.client.committed().0,
        };
        self.ended = format!("clean {is_clean}, os {is_os}, committed {committed}");
        if is_clean {
            self.model.bound(0);
        }
        self.held.clear();
        self.broker = self.machine.open();
        self.client = connect(&self.broker);
        assert_eq!(*self.machine.halts.lock(), Vec::<String>::new());
        self.model.restarted(committed);
        self.check_after_start();
        self.begin_noise();
    }

    fn begin_noise(&mut self) {
        let seed = self.random.number() >> 30 | self.next_id << 34;
        self.next_id += 1;
        if self.random.one_in(2) {
            let now = self.machine.clock.now();
            self.noise = Some(Noise::begin(&self.broker, seed, now));
        }
    }

    fn check_after_start(&mut self) {
        let names: Vec<String> = self.model.shelves.keys().cloned().collect();
        for name in &names {
            self.check_queue(name);
        }
        let documents = self.broker.documents("/", b"").into_iter();
        let documents = documents.map(|(key, value)| {
            (
                format!("doc:{}", String::from_utf8_lossy(&key)),
                value.to_vec(),
            )
        });
        self.model.check_cells("doc:", &documents.collect());
        let (mut kept, now) = (Vec::new(), self.machine.clock.now());
        self.client.retained(b"#", now, &mut kept);
        let kept: BTreeMap<_, _> = kept
            .iter()
            .map(|m| {
                let topic = String::from_utf8_lossy(m.routing_key());
                (format!("kept:{topic}"), m.body().to_vec())
            })
            .collect();
        self.model.check_cells("kept:", &kept);
        for name in &names {
            if self.model.shelves[name].exists == Some(true) && self.random.one_in(2) {
                self.verify(name);
            }
        }
    }

    fn check_queue(&mut self, name: &str) {
        let counts = self.client.check_queue(name);
        let shelf = self.model.shelves.get_mut(name).unwrap();
        let Ok(counts) = counts else {
            assert!(
                matches!(counts, Err(Refusal::NotFound { .. })),
                "{counts:?}"
            );
            assert_ne!(shelf.exists, Some(true), "{name} is gone");
            (shelf.exists, shelf.entries) = (Some(false), BTreeMap::new());
            if name == "t0" {
                self.client.declare_queue(queue(name, false, &[])).unwrap();
                shelf.exists = Some(true);
            }
            return;
        };
        assert_ne!(shelf.exists, Some(false), "{name} is back");
        shelf.exists = Some(true);
        if name != "d0" {
            let most = shelf.entries.len() as u64;
            let least = shelf.entries.values().filter(|entry| entry.certain).count() as u64;
            let range = least..=most;
            if !range.contains(&counts.messages) {
                let surplus = self.surplus(name);
                assert_eq!(
                    surplus, "",
                    "{name}: {counts:?} of {range:?} {}",
                    self.ended
                );
            }
        }
    }

    /// What is on a shelf and should not be, or is there twice.
    fn surplus(&mut self, name: &str) -> String {
        let mut seen = BTreeMap::new();
        while let Some(got) = self.client.get(name, false).unwrap() {
            let delivery = got.delivery;
            let durable = delivery.message.durable();
            seen.entry((id_of(&delivery.message), durable))
                .or_insert_with(Vec::new)
                .push((delivery.lsn.0, delivery.redelivered));
        }
        let entries = &self.model.shelves[name].entries;
        seen.retain(|(id, _), lsns| lsns.len() > 1 || !entries.contains_key(id));
        format!("{seen:?}")
    }

    /// All that is left is right.
    pub(crate) fn end(mut self) {
        self.restart();
        if let Some(noise) = self.noise.take() {
            self.model.noise(noise::NAME, noise.end());
        }
        let names: Vec<String> = self.model.shelves.keys().cloned().collect();
        for name in names {
            if self.model.shelves[&name].exists == Some(true) {
                self.verify(&name);
            }
        }
        self.client.close();
        self.broker.close();
    }
}
