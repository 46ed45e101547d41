//! Looking at messages without taking them.

use super::cold::Cellar;
use super::*;
use crate::queue::lane::CHUNK_SLOTS;

/// The bodies of ready messages from one on, cold ones read.
fn ready(cellar: &Cellar, from: usize, count: usize) -> Vec<u64> {
    let mut stretches = Vec::new();
    let queue = &cellar.bed.queue;
    queue.browse_ready(from as u64, count, &mut stretches);
    let mut seen = Vec::new();
    for stretch in stretches {
        match stretch {
            Stretch::One(one) => seen.push(one.lsn.0),
            Stretch::Cold { chunk, skip, take } => {
                let entries = cellar.read(&chunk).into_iter().skip(skip).take(take);
                let entries = entries.map(|entry| Browsed::of_cold(entry, None).unwrap());
                seen.extend(entries.map(|entry| entry.lsn.0));
            }
        }
    }
    seen
}

/// All of them, and every part of them that is asked for.
fn check(cellar: &Cellar, expected: &[u64]) {
    assert_eq!(ready(cellar, 0, usize::MAX), expected);
    for from in 0..=expected.len() + 1 {
        for count in [0, 1, 2, CHUNK_SLOTS, usize::MAX] {
            let behind = expected.get(from..).unwrap_or_default();
            let part = &behind[..count.min(behind.len())];
            assert_eq!(ready(cellar, from, count), part, "{count} from {from}");
        }
    }
}

#[test]
fn ready_messages_are_seen_in_the_order_of_their_delivery() {
    let mut cellar = Cellar::new(QueueSettings {
        max_priority: Some(9),
        ..QueueSettings::default()
    });
    cellar.put(&body("low"), 3);
    let high = Spec {
        priority: Some(5),
        ..body("high")
    };
    cellar.put(&high, 2);
    check(&cellar, &[4, 5, 1, 2, 3]);
    let first = cellar.bed.get().unwrap();
    check(&cellar, &[5, 1, 2, 3]);
    let later = cellar.bed.get().unwrap();
    cellar
        .bed
        .settle(core::slice::from_ref(&first), Outcome::Untouched);
    check(&cellar, &[4, 1, 2, 3]);
    cellar
        .bed
        .settle(core::slice::from_ref(&later), Outcome::Untouched);
    check(&cellar, &[4, 5, 1, 2, 3]);
}

#[test]
fn cold_messages_are_seen_and_stay_cold() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("m"), 2 * CHUNK_SLOTS + 5);
    let got: Vec<_> = (0..3).map(|_| cellar.bed.get().unwrap()).collect();
    // What comes after is resident behind what is cold.
    cellar.store();
    cellar.put(&body("m"), CHUNK_SLOTS);
    cellar.bed.settle(&got[1..2], Outcome::Untouched);
    let all = 3 * CHUNK_SLOTS as u64 + 5;
    let expected: Vec<u64> = [2].into_iter().chain(4..=all).collect();
    let before = cellar.bed.queue.holdings();
    check(&cellar, &expected);
    assert_eq!(cellar.bed.queue.holdings(), before);
    assert!(before.resident < before.messages());
}

#[test]
fn messages_in_flight_are_seen_with_who_has_them_and_since_when() {
    let mut bed = Bed::new(QueueSettings::default());
    bed.put_all(&["a", "b", "c", "d"]);
    bed.at(10);
    let got = bed.get().unwrap();
    let key = bed.consume(AckMode::Manual, Credit::Limited(2));
    bed.at(30);
    let drained = bed.drain(key);
    assert_eq!(drained.len(), 2);
    bed.at(40);
    bed.settle(&drained[..1], Outcome::Ack);
    let mut seen = Vec::new();
    bed.queue.browse_in_flight(10, &mut seen);
    let told: Vec<_> = seen
        .iter()
        .map(|m| (m.lsn.0, m.holder, m.held_since))
        .collect();
    assert_eq!(
        told,
        [
            (1, Holder::Getter, Some(Timestamp(10))),
            (3, Holder::Consumer(key), Some(Timestamp(30))),
            (4, Holder::Assigned(key), None),
        ]
    );
    seen.clear();
    bed.queue.browse_in_flight(1, &mut seen);
    assert_eq!(seen.len(), 1);
    bed.settle(
        core::slice::from_ref(&got),
        Outcome::Return { failed: true },
    );
    let mut stretches = Vec::new();
    bed.queue.browse_ready(0, 10, &mut stretches);
    let Some(Stretch::One(back)) = stretches.first() else {
        panic!("it came back");
    };
    assert_eq!(
        (back.holder, back.attempts, back.failures),
        (Holder::Nobody, 1, 1)
    );
}
