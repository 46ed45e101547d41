mod model;
mod property;

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::id::Lsn;
use crate::message::{Message, NewMessage};
use crate::tags::Tags;

const T0: Timestamp = Timestamp(1_000);

fn message(body: &str) -> Message {
    NewMessage::plain(b"", b"q", body.as_bytes()).build(&mut Vec::new())
}

fn incoming(body: &str) -> Incoming {
    Incoming {
        message: message(body),
        lsn: Lsn::NONE,
        tags: Tags::None,
        at_most_once: false,
    }
}

fn manual(credit: Credit) -> ConsumerSpec {
    ConsumerSpec {
        mode: AckMode::Manual,
        credit,
        priority: 0,
        exclusive: false,
    }
}

#[test]
fn message_passes_from_publisher_to_consumer_and_is_settled() {
    let mut fx = Effects::new();
    let mut queue = Queue::new(QueueSettings::default(), T0);
    let key = queue
        .add_consumer(T0, manual(Credit::Unlimited), &mut fx)
        .unwrap();
    assert_eq!(
        queue.enqueue(T0, incoming("a"), &mut fx),
        Admission::Accepted
    );
    assert_eq!(fx.ready, vec![key]);
    let mut out = Vec::new();
    assert!(!queue.drain(
        T0,
        key,
        Budget {
            messages: 10,
            bytes: 1000
        },
        &mut out,
        &mut fx
    ));
    assert_eq!(out[0].message.body(), b"a");
    assert_eq!(queue.counts().leased, 1);
    assert_eq!(
        queue.settle(T0, &[out[0].position], Outcome::Ack, &mut fx),
        1
    );
    assert_eq!(
        queue.counts(),
        Counts {
            consumers: 1,
            ..Counts::default()
        }
    );
}

#[test]
fn one_old_lease_does_not_hold_the_memory_of_all_that_came_after() {
    let mut fx = Effects::new();
    let mut queue = Queue::new(QueueSettings::default(), T0);
    queue.enqueue(T0, incoming("old"), &mut fx);
    let (old, _) = queue.get(T0, false, &mut fx).unwrap();
    for _ in 0..100 {
        for _ in 0..1000 {
            queue.enqueue(T0, incoming("a"), &mut fx);
        }
        while queue.get(T0, true, &mut fx).is_some() {}
    }
    assert!(queue.lanes.resident_slots() <= 3 * ready::CHUNK_SLOTS);
    assert_eq!(
        queue.settle(
            T0,
            &[old.position],
            Outcome::Return { failed: false },
            &mut fx
        ),
        1
    );
    assert_eq!(
        queue.get(T0, true, &mut fx).unwrap().0.message.body(),
        b"old"
    );
    assert!(queue.lanes.resident_slots() <= 32);
}
