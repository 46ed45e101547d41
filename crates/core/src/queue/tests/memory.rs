//! What a burst took, a quiet queue gives back.

use alloc::collections::BTreeSet;

use super::*;

const MANY: u64 = 20_000;
/// Of anything: what a quiet queue keeps.
const FEW: usize = 256;

fn lasting(ttl_ms: u64) -> Spec {
    Spec {
        ttl_ms: Some(ttl_ms),
        ..body("x")
    }
}

#[test]
fn expired_burst_leaves_no_memory_for_deadlines_behind() {
    let mut bed = Bed::new(QueueSettings::default());
    for n in 0..MANY {
        // Half of them in rising order, half in falling order.
        bed.put(&lasting(if n % 2 == 0 { MANY + n } else { MANY - n }));
    }
    assert!(bed.queue.expiry.capacity() as u64 >= MANY);
    bed.at(3 * MANY);
    while bed.queue.next_deadline().is_some() {
        bed.expire();
    }
    assert_eq!(bed.queue.counts().ready, 0);
    assert!(bed.queue.expiry.capacity() < FEW);
    assert!(bed.queue.lanes.resident_slots() < FEW);
}

#[test]
fn drained_burst_leaves_no_memory_in_the_consumers_list() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Auto, Credit::Unlimited);
    for _ in 0..WINDOW_MESSAGES_MAX {
        bed.put(&body("x"));
    }
    assert!(bed.queue.consumers.assigned_capacity() >= WINDOW_MESSAGES_MAX);
    assert_eq!(bed.drain(key).len(), WINDOW_MESSAGES_MAX);
    assert!(bed.queue.consumers.assigned_capacity() < FEW);
}

#[test]
fn effects_of_a_burst_leave_no_memory_behind() {
    let mut bed = Bed::new(with_dead_letters());
    for _ in 0..MANY {
        bed.put(&body("x"));
    }
    bed.queue.purge(Timestamp(0), MANY, &mut bed.fx);
    assert!(bed.fx.settled.capacity() as u64 >= MANY);
    bed.fx.clear();
    assert!(bed.fx.is_empty() && bed.fx.settled.capacity() <= EFFECTS_KEPT_MAX);
}

/// One message that nobody settles, and very many that come and go behind it.
#[test]
fn straggler_holds_no_memory_for_what_came_after_it() {
    let mut bed = Bed::new(QueueSettings::default());
    bed.put(&body("first"));
    let straggler = bed.get().unwrap();
    for _ in 0..10 * MANY {
        bed.put(&body("x"));
        bed.queue.get(Timestamp(0), true, &mut bed.fx).unwrap();
        bed.fx.clear();
    }
    assert!(bed.queue.lanes.plain().resident_chunks() < FEW);
    bed.put(&body("second"));
    bed.settle(&[straggler], Outcome::Return { failed: true });
    assert_eq!(bed.rest(), ["first", "second"]);
    assert_eq!(bed.queue.counts(), Counts::default());
}

/// Random takings, returns and ends, where old messages are seldom settled, against the numbers alone.
#[test]
fn stragglers_are_found_settled_and_returned_like_all_others() {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut pick = |n: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(random >> 33).unwrap() % n
    };
    let mut bed = Bed::new(QueueSettings::default());
    let mut ready = BTreeSet::new();
    let mut leased: Vec<Delivery> = Vec::new();
    for _ in 0..2 * MANY {
        match pick(100) {
            0..40 => {
                bed.put(&body("x"));
                ready.insert(bed.lsn);
            }
            40..85 => {
                let first = ready.pop_first();
                let got = bed.get();
                let position = got.as_ref().map(|delivery| delivery.position.0 + 1);
                assert_eq!(
                    position, first,
                    "the oldest ready one, whatever it was before"
                );
                leased.extend(got);
            }
            n if !leased.is_empty() => {
                // Mostly one of the last taken.
                let near = leased.len().min(8);
                let at = if n < 99 {
                    leased.len() - 1 - pick(near)
                } else {
                    pick(leased.len())
                };
                let delivery = leased.remove(at);
                let outcome = if n % 4 == 0 {
                    ready.insert(delivery.position.0 + 1);
                    Outcome::Return { failed: false }
                } else {
                    Outcome::Ack
                };
                assert_eq!(bed.settle(&[delivery], outcome), 1);
            }
            _ => {}
        }
        let counts = bed.queue.counts();
        assert_eq!(
            (counts.ready, counts.leased),
            (ready.len() as u64, leased.len() as u64)
        );
        bed.fx.clear();
        if leased.len() > 200 {
            for delivery in leased.drain(100..) {
                bed.settle(&[delivery], Outcome::Ack);
            }
        }
    }
    assert!(
        bed.queue.lanes.plain().strays() > 0,
        "the test reaches what it is about"
    );
    for delivery in leased {
        assert_eq!(bed.settle(&[delivery], Outcome::Ack), 1);
    }
    assert_eq!(bed.rest().len(), ready.len());
    assert_eq!(bed.queue.counts(), Counts::default());
    assert_eq!(bed.queue.lanes.plain().strays(), 0);
    assert!(bed.queue.lanes.resident_slots() < FEW);
}
