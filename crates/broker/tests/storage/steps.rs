//! What happens in a random life.

use ternmq_broker::clock::Clock;
use ternmq_broker::mailbox::Token;
use ternmq_broker::{DeleteIf, DocumentChange, Durability, QueueHandle, Settlement, Turn};
use ternmq_core::message::NewMessage;
use ternmq_core::queue::{AckMode, Budget, ConsumerSpec, Credit, Delivery, LeaseTimeout, Outcome};

use crate::model::Kind;
use crate::node::{Letter, id_of, queue, request, until};

use crate::life::{COMING, FAN, Life, queues_of};

impl Life {
    pub(crate) fn step(&mut self) {
        match self.random.below(40) {
            0..=9 => self.publish(),
            10..=11 => self.publish_fan(),
            12..=18 => self.take(),
            19..=24 => self.settle(),
            25 => self.purge(),
            26..=27 => self.transaction(),
            28..=29 => self.put_document(),
            30..=31 => self.retain(),
            32..=34 => self.tick(),
            35 => self.broker.checkpoint(),
            36 => self.come_or_go(),
            37..=38 => self.consume(),
            _ => {
                let name = self.any_shelf();
                self.verify(&name);
            }
        }
        if !self.held.is_empty() && self.random.one_in(3) {
            self.mark();
        }
    }

    fn any_shelf(&mut self) -> String {
        let names = [
            "q0", "q0", "q0", "q1", "p0", "m0", "t0", "d0", "x0", "x1", "f00", "f17",
        ];
        let name = names[self.random.below(names.len())];
        match self.model.shelves[name].exists {
            Some(true) => name.to_owned(),
            _ => "q0".to_owned(),
        }
    }

    fn letter(&mut self, large: bool) -> Letter {
        self.next_id += 1;
        let bytes = if large { 4_000 } else { 60 };
        Letter {
            id: self.next_id,
            bytes: self.random.below(bytes),
            durable: !self.random.one_in(6),
            priority: (self.random.one_in(2)).then(|| [0, 1, 2, 3, 4][self.random.below(5)]),
        }
    }

    fn fill(&mut self, turn: &mut Turn, count: usize) -> Vec<(String, Letter)> {
        let (now, large) = (self.machine.clock.now(), self.random.one_in(8));
        let mut name = self.any_shelf();
        let mut letters = Vec::new();
        for _ in 0..count {
            if self.random.one_in(60) {
                name = self.any_shelf();
            }
            let letter = self.letter(large && count < 50);
            let route = self.client.route(&request("", &name)).unwrap();
            turn.push(letter.build("", &name, now), route);
            letters.push((name.clone(), letter));
        }
        letters
    }

    fn is_published(&mut self, letters: Vec<(String, Letter)>, rejected: &[usize]) {
        for (at, (name, letter)) in letters.into_iter().enumerate() {
            if rejected.contains(&at) {
                continue;
            }
            let priority = letter.priority.unwrap_or(0).min(3);
            let priority = if name == "p0" { priority } else { 0 };
            self.model
                .published(&name, letter.id, letter.durable, priority);
        }
    }

    fn publish(&mut self) {
        let count = match self.random.below(12) {
            0 => 600,
            1..=4 => 100,
            _ => 8,
        };
        let (count, mut turn) = (1 + self.random.below(count), Turn::new());
        let letters = self.fill(&mut turn, count);
        let now = self.machine.clock.now();
        let published = self.client.publish(&mut turn, now);
        let (lsn, rejected) = (published.lsn, published.rejected.to_vec());
        self.is_published(letters, &rejected);
        if lsn.is_some() {
            self.model.bound(lsn.0);
        }
    }

    fn publish_fan(&mut self) {
        let (mut turn, mut letters) = (Turn::new(), Vec::new());
        let now = self.machine.clock.now();
        for _ in 0..=self.random.below(20) {
            let letter = self.letter(false);
            let route = self.client.route(&request("fan", "")).unwrap();
            turn.push(letter.build("fan", "", now), route);
            letters.push(letter);
        }
        let published = self.client.publish(&mut turn, now);
        let (lsn, rejected) = (published.lsn, published.rejected.to_vec());
        for (at, letter) in letters.iter().enumerate() {
            for n in (0..FAN).filter(|_| !rejected.contains(&at)) {
                let name = format!("f{n:02}");
                self.model.published(&name, letter.id, letter.durable, 0);
            }
        }
        if lsn.is_some() {
            self.model.bound(lsn.0);
        }
    }

    fn is_taken(&mut self, shelf: &str, queue: &QueueHandle, delivery: &Delivery) {
        let id = id_of(&delivery.message);
        let known = self.model.shelves[shelf].entries.contains_key(&id);
        assert!(
            known,
            "{shelf}: {id} was delivered, and should not be there"
        );
        let entry = (shelf.to_owned(), queue.clone(), delivery.position, id);
        self.held.push(entry);
    }

    fn take(&mut self) {
        let shelf = self.any_shelf();
        // Those are in more than one queue, which the model does not tell apart while they are held.
        if shelf.starts_with('f') {
            return;
        }
        let queues = queues_of(&shelf);
        let name = queues[self.random.below(queues.len())];
        for _ in 0..self.random.below(60) {
            let Some(got) = self.client.get(name, false).unwrap() else {
                break;
            };
            self.is_taken(&shelf, &got.queue, &got.delivery);
            let id = self.held.last().unwrap().3;
            self.model.leased.insert(id);
        }
    }

    fn settle(&mut self) {
        let outcome = match self.random.below(6) {
            0 => Outcome::Return { failed: false },
            1 => Outcome::Reject { failed: false },
            2 => Outcome::Untouched,
            _ => Outcome::Ack,
        };
        let now = self.machine.clock.now();
        let mut left = Vec::new();
        for (shelf, queue, position, id) in std::mem::take(&mut self.held) {
            if self.random.one_in(5) {
                left.push((shelf, queue, position, id));
                continue;
            }
            self.client.settle(&queue, &[position], outcome, now);
            self.is_settled(&shelf, &queue, id, outcome);
        }
        self.held = left;
    }

    fn is_settled(&mut self, shelf: &str, queue: &QueueHandle, id: u64, outcome: Outcome) {
        self.model.leased.remove(&id);
        let is_dead_letter = shelf == "d0" && queue.name() == "d0";
        match outcome {
            Outcome::Ack => self.model.settled(shelf, id),
            Outcome::Reject { .. } if !is_dead_letter => self.model.settled(shelf, id),
            // A message that dies again where it died does not come back, and one that is moved keeps no place.
            _ => {}
        }
    }

    /// A document, so that it is known which record covers what was done.
    fn mark(&mut self) {
        let change = DocumentChange {
            key: b"mark".as_slice().into(),
            value: Some(self.next_id.to_le_bytes().into()),
        };
        self.model
            .put("doc:mark", Some(self.next_id.to_le_bytes().to_vec()));
        if let Ok(lsn) = self.client.put_documents(vec![change]) {
            self.model.bound(lsn.0);
        }
    }

    fn purge(&mut self) {
        let name = self.any_shelf();
        if name.starts_with('f') || name == "d0" || self.random.one_in(2) {
            return;
        }
        let shelf = &self.model.shelves[&name];
        let leased = self.held.iter().filter(|held| held.0 == name).count();
        let there = shelf.entries.len() - leased;
        let sure = shelf.entries.values().filter(|entry| entry.certain).count();
        let is_exact = shelf.kind == Kind::Plain && sure == shelf.entries.len();
        let purged = self.client.purge_queue(&name).unwrap();
        assert!(
            !is_exact || purged == there as u64 || self.has_stopped(),
            "{name}: {purged} of {there}"
        );
        let ids: Vec<u64> = shelf.entries.keys().copied().collect();
        for id in ids {
            if !self.model.leased.contains(&id) {
                self.model.settled(&name, id);
            }
        }
        assert_eq!(
            self.client.check_queue(&name).unwrap().messages,
            0,
            "{name}"
        );
    }

    fn transaction(&mut self) {
        let (mut turn, count) = (Turn::new(), self.random.below(20));
        let letters = self.fill(&mut turn, count);
        let value = self.next_id.to_le_bytes().to_vec();
        turn.push_document(DocumentChange {
            key: b"tx".as_slice().into(),
            value: Some(value.clone().into()),
        });
        let held = self
            .held
            .split_off(self.held.len() - self.held.len().min(4));
        let settlements: Vec<Settlement<'_>> = held
            .iter()
            .map(|(_, queue, position, _)| Settlement {
                queue,
                positions: std::slice::from_ref(position),
                outcome: Outcome::Ack,
            })
            .collect();
        let now = self.machine.clock.now();
        match self.client.commit(&mut turn, &settlements, now) {
            Ok(published) => {
                let (lsn, rejected) = (published.lsn, published.rejected.to_vec());
                self.is_published(letters, &rejected);
                for (shelf, queue, _, id) in &held {
                    self.is_settled(shelf, queue, *id, Outcome::Ack);
                }
                self.model.put("doc:tx", Some(value));
                assert!(lsn.is_some());
                self.model.bound(lsn.0);
            }
            Err(_) => self.held.extend(held),
        }
    }

    fn put_document(&mut self) {
        let key = format!("k{}", self.random.below(5));
        let value = (!self.random.one_in(3)).then(|| self.next_id.to_le_bytes().to_vec());
        let change = DocumentChange {
            key: key.as_bytes().into(),
            value: value.clone().map(Into::into),
        };
        if let Ok(lsn) = self.client.put_documents(vec![change]) {
            self.model.put(&format!("doc:{key}"), value);
            self.model.bound(lsn.0);
        }
    }

    fn retain(&mut self) {
        let topic = format!("t{}", self.random.below(5));
        self.next_id += 1;
        let body = self.next_id.to_le_bytes();
        let message = (!self.random.one_in(3)).then(|| {
            let mut new = NewMessage::plain(b"", topic.as_bytes(), &body);
            new.durable = true;
            new.build(&mut Vec::new())
        });
        let value = message.as_ref().map(|_| body.to_vec());
        if let Ok(lsn) = self.client.retain(topic.as_bytes(), message) {
            self.model.put(&format!("kept:{topic}"), value);
            self.model.bound(lsn.0);
        }
    }

    fn tick(&mut self) {
        let now = self.machine.clock.advance_ms(self.random.below(600) as u64);
        self.broker.tick(now);
    }

    fn come_or_go(&mut self) {
        let name = COMING[self.random.below(COMING.len())];
        let exists = self.model.shelves[name].exists == Some(true);
        if exists {
            self.held.retain(|held| held.0 != name);
            self.client.delete_queue(name, DeleteIf::default()).unwrap();
        } else {
            self.client.declare_queue(queue(name, true, &[])).unwrap();
        }
        let lsn = self.client.declared();
        until("it is committed, or never will be", || {
            self.client.committed() >= lsn || self.has_stopped()
        });
        let certain = self.client.committed() >= lsn;
        let durability = self.machine.storage_config.durability;
        let certain = certain && durability == Durability::Fsync;
        if exists {
            self.model.deleted(name, certain);
        } else {
            self.model.shelves.get_mut(name).unwrap().exists = certain.then_some(true);
        }
    }

    fn consume(&mut self) {
        let shelf = self.any_shelf();
        if shelf.starts_with('f') || shelf == "d0" || shelf == "m0" {
            return;
        }
        let credit = [1, 3, 10, 40, 100][self.random.below(5)];
        let spec = ConsumerSpec {
            mode: AckMode::Manual,
            credit: Credit::Limited(credit),
            priority: 0,
            exclusive: false,
            lease_timeout: LeaseTimeout::Never,
        };
        let there = self.model.shelves[&shelf].entries.iter();
        let there = there.filter(|(id, entry)| entry.certain && !self.model.leased.contains(id));
        let wanted = there.count().min(credit as usize);
        let consumer = self.client.consume(&shelf, spec, Token(1)).unwrap();
        let (now, mut out) = (self.machine.clock.now(), Vec::new());
        let budget = Budget {
            messages: 1_000,
            bytes: 1 << 20,
        };
        let (client, machine) = (&mut self.client, &self.machine);
        until("consumers get what is there", || {
            client.drain(&consumer, budget, &mut out, now);
            out.len() >= wanted || machine.storage.has_stopped() || !machine.halts.lock().is_empty()
        });
        for delivery in &out {
            self.is_taken(&shelf, consumer.queue(), delivery);
            self.model.leased.insert(id_of(&delivery.message));
        }
        self.client.cancel(consumer);
    }
}
