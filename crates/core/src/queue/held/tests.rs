use alloc::vec::Vec;

use super::*;
use crate::id::Lsn;
use crate::message::NewMessage;
use crate::policy::QueueSettings;
use crate::queue::{
    AckMode, Budget, ConsumerKey, ConsumerSpec, Credit, Delivery, Incoming, Outcome,
};
use crate::tags::Tags;

const ALL: Budget = Budget {
    messages: usize::MAX,
    bytes: usize::MAX,
};

fn at(ms: u64) -> Timestamp {
    Timestamp(ms)
}

struct Bed {
    queue: Queue,
    fx: Effects,
}

impl Bed {
    fn new(consumer_timeout_ms: Option<u64>) -> Self {
        let settings = QueueSettings {
            consumer_timeout_ms,
            ..QueueSettings::default()
        };
        Self {
            queue: Queue::new(settings, at(0)),
            fx: Effects::new(),
        }
    }

    fn consumer(&mut self, mode: AckMode, lease_timeout: LeaseTimeout) -> ConsumerKey {
        let spec = ConsumerSpec {
            mode,
            credit: Credit::Unlimited,
            priority: 0,
            exclusive: false,
            lease_timeout,
        };
        self.queue.add_consumer(at(0), spec, &mut self.fx).unwrap()
    }

    fn take(&mut self, now: u64, key: ConsumerKey, count: usize) -> Vec<Delivery> {
        for _ in 0..count {
            let incoming = Incoming {
                message: NewMessage::plain(b"", b"q", b"m").build(&mut Vec::new()),
                lsn: Lsn::NONE,
                tags: Tags::None,
                at_most_once: false,
            };
            self.queue.enqueue(at(now), incoming, &mut self.fx);
        }
        let mut out = Vec::new();
        self.queue.drain(at(now), key, ALL, &mut out, &mut self.fx);
        assert_eq!(out.len(), count);
        out
    }

    fn settle(&mut self, now: u64, deliveries: &[Delivery], outcome: Outcome) {
        let positions: Vec<_> = deliveries.iter().map(|d| d.position).collect();
        let ended = self
            .queue
            .settle(at(now), &positions, outcome, &mut self.fx);
        assert_eq!(ended, positions.len());
    }

    fn over(&mut self, now: u64) -> Vec<(ConsumerKey, u64)> {
        self.fx.clear();
        self.queue.expire(at(now), &mut self.fx);
        let named = self.fx.timed_out.clone();
        let timed = |key| (key, self.queue.lease_timeout_ms(key).unwrap());
        named.into_iter().map(timed).collect()
    }
}

#[test]
fn consumer_that_holds_a_message_for_too_long_is_named_once() {
    let mut bed = Bed::new(None);
    let key = bed.consumer(AckMode::Manual, LeaseTimeout::OfQueue(100));
    bed.take(5, key, 2);
    assert_eq!(bed.queue.next_deadline(), Some(at(105)));
    assert!(bed.over(104).is_empty());
    assert_eq!(bed.over(105), [(key, 100)]);
    assert!(bed.over(500).is_empty(), "it was told");
}

#[test]
fn queue_and_consumer_have_timeouts_of_their_own() {
    let mut bed = Bed::new(Some(50));
    let own = bed.consumer(AckMode::Manual, LeaseTimeout::Own(10));
    bed.take(0, own, 1);
    assert_eq!(bed.over(10), [(own, 10)]);
    let mut bed = Bed::new(Some(50));
    let of_queue = bed.consumer(AckMode::Manual, LeaseTimeout::OfQueue(1_000));
    bed.take(0, of_queue, 1);
    assert_eq!(bed.over(50), [(of_queue, 50)]);
    for timeout in [LeaseTimeout::Never, LeaseTimeout::Own(0)] {
        let mut bed = Bed::new(Some(50));
        let key = bed.consumer(AckMode::Manual, timeout);
        bed.take(0, key, 1);
        assert_eq!(bed.queue.next_deadline(), None);
        assert!(bed.over(1_000_000).is_empty());
    }
}

#[test]
fn what_is_settled_in_time_is_not_held() {
    let mut bed = Bed::new(None);
    let key = bed.consumer(AckMode::Manual, LeaseTimeout::OfQueue(6_400));
    let first = bed.take(0, key, 3);
    let second = bed.take(3_000, key, 3);
    bed.settle(4_000, &first, Outcome::Ack);
    assert!(bed.over(6_400).is_empty());
    bed.settle(7_000, &second[..2], Outcome::Reject { failed: true });
    assert!(bed.over(9_399).is_empty());
    assert_eq!(
        bed.over(9_400),
        [(key, 6_400)],
        "the last one is still there"
    );
    bed.settle(9_500, &second[2..], Outcome::Untouched);
    let mut again = Vec::new();
    bed.queue
        .drain(at(9_600), key, ALL, &mut again, &mut bed.fx);
    assert_eq!(again.len(), 1);
    assert!(bed.over(15_999).is_empty());
    assert_eq!(bed.over(16_100), [(key, 6_400)], "it began anew");
}

#[test]
fn automatic_acknowledgement_holds_nothing() {
    let mut bed = Bed::new(None);
    let key = bed.consumer(AckMode::Auto, LeaseTimeout::OfQueue(100));
    bed.take(0, key, 3);
    assert_eq!(bed.queue.next_deadline(), None);
    assert!(bed.over(1_000).is_empty());
}

#[test]
fn timeout_that_is_set_later_counts_for_what_is_held() {
    let mut bed = Bed::new(Some(1_000_000));
    let key = bed.consumer(AckMode::Manual, LeaseTimeout::OfQueue(0));
    bed.take(0, key, 1);
    let settings = QueueSettings {
        consumer_timeout_ms: Some(200),
        ..QueueSettings::default()
    };
    bed.queue.set_settings(settings, at(150), &mut bed.fx);
    assert!(bed.over(199).is_empty());
    assert_eq!(bed.over(300), [(key, 200)]);
}

proptest::proptest! {
    /// Against a list of everything held: never too early, and late by one part in 64 at most.
    #[test]
    fn oldest_lease_is_known(
        steps in proptest::collection::vec((0_u64..400, 0_usize..4, 0_usize..6), 1..120)
    ) {
        const TIMEOUT_MS: u64 = 6_400;
        let mut bed = Bed::new(None);
        let key = bed.consumer(AckMode::Manual, LeaseTimeout::OfQueue(TIMEOUT_MS));
        let (mut now, mut held, mut told) = (0, Vec::<(u64, Delivery)>::new(), false);
        for (passes, takes, settles) in steps {
            now += passes;
            let over = !bed.over(now).is_empty();
            let oldest = held.iter().map(|(taken, _)| *taken).min();
            let age = oldest.map_or(0, |taken| now - taken);
            proptest::prop_assert!(!over || age >= TIMEOUT_MS, "{age}");
            told |= over;
            // Looked at every 400 ms at most, and measured to 100 ms twice.
            proptest::prop_assert!(told || age <= TIMEOUT_MS + 600, "{age}");
            for delivery in bed.take(now, key, takes) {
                held.push((now, delivery));
            }
            for _ in 0..settles.min(held.len()) {
                let at = usize::try_from(passes).unwrap() % held.len();
                let (_, delivery) = held.swap_remove(at);
                bed.settle(now, &[delivery], Outcome::Ack);
            }
            told &= !held.is_empty();
            if told {
                break;
            }
        }
    }
}
