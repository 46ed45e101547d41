mod browse;
mod cold;
mod consumers;
mod expiry;
mod leases;
mod limits;
mod memory;
mod model;
mod part;
mod pause;
mod property;
mod replay;
mod shelf;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;
use crate::id::{Lsn, Position};
use crate::message::{Message, NewMessage};
use crate::policy::DeadLetterTarget;
use crate::tags::Tags;

const ALL: Budget = Budget {
    messages: usize::MAX,
    bytes: usize::MAX,
};

/// A message in words; every one is journalled, by a number of its own.
#[derive(Clone, Default)]
struct Spec {
    body: &'static str,
    bytes: usize,
    priority: Option<u8>,
    ttl_ms: Option<u64>,
    at_most_once: bool,
}

fn body(body: &'static str) -> Spec {
    Spec {
        body,
        ..Spec::default()
    }
}

/// A queue with its clock, its effects and what was delivered.
struct Bed {
    queue: Queue,
    now: u64,
    lsn: u64,
    fx: Effects,
}

impl Bed {
    fn new(settings: QueueSettings) -> Self {
        Self {
            queue: Queue::new(settings, Timestamp(0)),
            now: 0,
            lsn: 0,
            fx: Effects::new(),
        }
    }

    fn at(&mut self, now: u64) -> &mut Self {
        self.now = now;
        self
    }

    fn incoming(&mut self, spec: &Spec) -> Incoming {
        self.lsn += 1;
        let mut bytes = spec.body.as_bytes().to_vec();
        bytes.resize(bytes.len() + spec.bytes, b'.');
        let mut new = NewMessage::plain(b"", b"q", &bytes);
        (new.priority, new.ttl_ms) = (spec.priority, spec.ttl_ms);
        Incoming {
            message: new.build(&mut Vec::new()),
            lsn: Lsn(self.lsn),
            tags: Tags::None,
            at_most_once: spec.at_most_once,
        }
    }

    fn put(&mut self, spec: &Spec) -> Admission {
        let incoming = self.incoming(spec);
        self.queue
            .enqueue(Timestamp(self.now), incoming, &mut self.fx)
    }

    fn put_all(&mut self, bodies: &[&'static str]) {
        for text in bodies {
            self.put(&body(text));
        }
    }

    fn consume(&mut self, mode: AckMode, credit: Credit) -> ConsumerKey {
        self.consume_as(mode, credit, 0)
    }

    fn consume_as(&mut self, mode: AckMode, credit: Credit, priority: i32) -> ConsumerKey {
        let spec = ConsumerSpec {
            mode,
            credit,
            priority,
            exclusive: false,
            lease_timeout: LeaseTimeout::Never,
        };
        self.queue
            .add_consumer(Timestamp(self.now), spec, &mut self.fx)
            .unwrap()
    }

    fn exclusively(&mut self) -> Result<ConsumerKey, ConsumeRefusal> {
        let spec = ConsumerSpec {
            mode: AckMode::Auto,
            credit: Credit::Unlimited,
            priority: 0,
            exclusive: true,
            lease_timeout: LeaseTimeout::Never,
        };
        self.queue
            .add_consumer(Timestamp(self.now), spec, &mut self.fx)
    }

    fn leave(&mut self, key: ConsumerKey) {
        self.queue
            .remove_consumer(Timestamp(self.now), key, &mut self.fx);
    }

    fn drain(&mut self, key: ConsumerKey) -> Vec<Delivery> {
        let mut out = Vec::new();
        while self
            .queue
            .drain(Timestamp(self.now), key, ALL, &mut out, &mut self.fx)
        {}
        out
    }

    fn drained(&mut self, key: ConsumerKey) -> Vec<String> {
        bodies(&self.drain(key))
    }

    fn get(&mut self) -> Option<Delivery> {
        let got = self.queue.get(Timestamp(self.now), false, &mut self.fx)?;
        Some(got.0)
    }

    /// Takes and forgets everything that is ready.
    fn rest(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        while let Some((delivery, _)) = self.queue.get(Timestamp(self.now), true, &mut self.fx) {
            out.push(delivery);
        }
        bodies(&out)
    }

    fn settle(&mut self, deliveries: &[Delivery], outcome: Outcome) -> usize {
        let positions: Vec<Position> = deliveries.iter().map(|d| d.position).collect();
        self.queue
            .settle(Timestamp(self.now), &positions, outcome, &mut self.fx)
    }

    fn expire(&mut self) {
        self.queue.expire(Timestamp(self.now), &mut self.fx);
    }

    fn configure(&mut self, settings: QueueSettings) {
        self.queue
            .set_settings(settings, Timestamp(self.now), &mut self.fx);
    }

    fn dead(&self) -> Vec<(String, DeathReason)> {
        let dead = self.fx.dead.iter();
        dead.map(|d| (text(&d.message), d.reason)).collect()
    }

    fn settled(&self) -> Vec<u64> {
        self.fx.settled.iter().map(|lsn| lsn.0).collect()
    }
}

fn text(message: &Message) -> String {
    let text = core::str::from_utf8(message.body()).unwrap();
    text.trim_end_matches('.').to_string()
}

fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|d| text(&d.message)).collect()
}

fn with_dead_letters() -> QueueSettings {
    QueueSettings {
        dead_letter: Some(DeadLetterTarget {
            exchange: "dlx".into(),
            routing_key: None,
        }),
        ..QueueSettings::default()
    }
}

#[test]
fn message_passes_from_publisher_to_consumer_and_is_settled() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Manual, Credit::Unlimited);
    assert_eq!(bed.put(&body("a")), Admission::Accepted);
    assert_eq!(bed.fx.ready, [key]);
    let out = bed.drain(key);
    assert_eq!(bodies(&out), ["a"]);
    assert_eq!(bed.queue.counts().leased, 1);
    assert_eq!(bed.settle(&out, Outcome::Ack), 1);
    assert_eq!(bed.settled(), [1]);
    let expected = Counts {
        consumers: 1,
        ..Counts::default()
    };
    assert_eq!(bed.queue.counts(), expected);
    assert_eq!(bed.settle(&out, Outcome::Ack), 0);
}

#[test]
fn one_old_lease_does_not_hold_the_memory_of_all_that_came_after() {
    let mut bed = Bed::new(QueueSettings::default());
    bed.put(&body("old"));
    let old = bed.get().unwrap();
    for _ in 0..100 {
        for _ in 0..1000 {
            bed.put(&body("a"));
        }
        assert_eq!(bed.rest().len(), 1000);
    }
    assert!(bed.queue.lanes.resident_slots() <= 3 * lane::CHUNK_SLOTS);
    assert_eq!(bed.settle(&[old], Outcome::Return { failed: false }), 1);
    assert_eq!(bed.rest(), ["old"]);
    assert!(bed.queue.lanes.resident_slots() <= lane::CHUNK_SLOTS / 8);
}

#[test]
fn queue_that_is_used_one_by_one_stays_small() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Manual, Credit::Unlimited);
    for _ in 0..10_000 {
        bed.put(&body("a"));
        let out = bed.drain(key);
        bed.settle(&out, Outcome::Ack);
        bed.fx.clear();
    }
    assert!(bed.queue.lanes.resident_slots() <= 4);
}

#[test]
fn purge_takes_what_is_ready_and_leaves_what_consumers_have() {
    let mut bed = Bed::new(with_dead_letters());
    bed.put_all(&["got", "assigned", "a", "b"]);
    let got = bed.get().unwrap();
    let key = bed.consume(AckMode::Manual, Credit::Limited(1));
    assert_eq!(bed.queue.purge(Timestamp(0), 1, &mut bed.fx), 1);
    assert_eq!(bed.queue.purge(Timestamp(0), 9, &mut bed.fx), 1);
    assert!(bed.dead().is_empty());
    assert_eq!(bed.settled(), [3, 4]);
    assert_eq!(bed.drained(key), ["assigned"]);
    assert_eq!(bed.settle(&[got], Outcome::Ack), 1);
}

#[test]
fn closed_queue_cancels_forgets_and_takes_nothing_more() {
    let mut bed = Bed::new(with_dead_letters());
    let key = bed.consume(AckMode::Manual, Credit::Limited(2));
    bed.put_all(&["leased", "assigned", "ready"]);
    let mut out = Vec::new();
    let one = Budget {
        messages: 1,
        bytes: 1,
    };
    assert!(
        bed.queue
            .drain(Timestamp(0), key, one, &mut out, &mut bed.fx)
    );
    bed.queue.close(&mut bed.fx);
    assert_eq!(bed.fx.cancelled, [key]);
    assert!(bed.dead().is_empty() && bed.settled().is_empty());
    assert_eq!(bed.queue.counts(), Counts::default());
    assert_eq!(bed.queue.resident_bytes(), 0);
    assert_eq!(bed.put(&body("late")), Admission::Dropped);
    assert_eq!(bed.settled(), [4]);
    assert_eq!(bed.exclusively(), Err(ConsumeRefusal::Closed));
    assert_eq!(bed.settle(&out, Outcome::Return { failed: true }), 0);
    assert!(bed.get().is_none());
    assert_eq!(bed.queue.next_deadline(), None);
}

#[test]
fn priorities_are_served_highest_first_and_clamped() {
    let mut bed = Bed::new(QueueSettings {
        max_priority: Some(5),
        ..QueueSettings::default()
    });
    for (body, priority) in [
        ("unset", None),
        ("3a", Some(3)),
        ("0", Some(0)),
        ("9", Some(9)),
        ("3b", Some(3)),
        ("5", Some(5)),
        ("255", Some(255)),
    ] {
        bed.put(&Spec {
            body,
            priority,
            ..Spec::default()
        });
    }
    assert_eq!(bed.rest(), ["9", "5", "255", "3a", "3b", "unset", "0"]);
}

#[test]
fn message_without_priority_has_the_queues_default() {
    let mut bed = Bed::new(QueueSettings {
        max_priority: Some(31),
        default_priority: 4,
        ..QueueSettings::default()
    });
    for (body, priority) in [
        ("3", Some(3)),
        ("unset", None),
        ("5", Some(5)),
        ("4", Some(4)),
    ] {
        bed.put(&Spec {
            body,
            priority,
            ..Spec::default()
        });
    }
    assert_eq!(bed.rest(), ["5", "unset", "4", "3"]);
}

#[test]
fn priorities_mean_nothing_to_a_queue_without_them() {
    let mut bed = Bed::new(QueueSettings::default());
    for (body, priority) in [("a", None), ("b", Some(9))] {
        bed.put(&Spec {
            body,
            priority,
            ..Spec::default()
        });
    }
    assert_eq!(bed.rest(), ["a", "b"]);
}

#[test]
fn all_256_priorities_are_kept_apart() {
    let mut bed = Bed::new(QueueSettings {
        max_priority: Some(255),
        ..QueueSettings::default()
    });
    for priority in 0..=255u8 {
        let priority = Some(priority.wrapping_mul(77));
        bed.put(&Spec {
            priority,
            ..Spec::default()
        });
    }
    let mut got = Vec::new();
    while let Some((delivery, _)) = bed.queue.get(Timestamp(0), true, &mut bed.fx) {
        got.extend(delivery.message.priority());
    }
    assert_eq!(got, (0..=255).rev().collect::<Vec<u8>>());
}
