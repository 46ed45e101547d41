use super::*;

fn restore(bed: &mut Bed, enqueued_at: u64, spec: &Spec, attempts: u32) {
    let incoming = bed.incoming(spec);
    bed.queue
        .restore(Timestamp(enqueued_at), incoming, attempts, 0);
}

#[test]
fn restored_queue_is_as_it_was() {
    let mut bed = Bed::new(QueueSettings {
        message_ttl_ms: Some(100),
        max_length: Some(3),
        ..with_dead_letters()
    });
    for (at, text, attempts) in [
        (0, "a", 0),
        (5, "b", 1),
        (6, "c", 0),
        (7, "d", 0),
        (8, "e", 0),
    ] {
        restore(&mut bed, at, &body(text), attempts);
    }
    assert!(bed.queue.remove_by_lsn(Lsn(3)));
    assert!(!bed.queue.remove_by_lsn(Lsn(3)));
    assert!(bed.queue.set_counters(Lsn(4), 7, 2));
    assert!(!bed.queue.set_counters(Lsn(9), 1, 1));
    assert!(bed.fx.is_empty());
    bed.at(50);
    bed.queue.finish_replay(Timestamp(50), &mut bed.fx);
    assert_eq!(bed.dead(), [("a".into(), DeathReason::MaxLength)]);
    assert_eq!(bed.queue.next_deadline(), Some(Timestamp(105)));
    let got: Vec<Delivery> = (0..3).filter_map(|_| bed.get()).collect();
    assert_eq!(bodies(&got), ["b", "d", "e"]);
    let counters: Vec<(u32, u32)> = got.iter().map(|d| (d.attempts, d.failures)).collect();
    assert_eq!(counters, [(1, 0), (7, 2), (0, 0)]);
}

#[test]
fn entry_that_is_restored_twice_is_there_once() {
    let mut bed = Bed::new(QueueSettings::default());
    restore(&mut bed, 0, &body("a"), 0);
    bed.lsn -= 1;
    restore(&mut bed, 0, &body("a"), 0);
    bed.queue.finish_replay(Timestamp(0), &mut bed.fx);
    assert_eq!(bed.rest(), ["a"]);
}

#[test]
fn everything_that_was_removed_leaves_nothing() {
    let mut bed = Bed::new(QueueSettings {
        message_ttl_ms: Some(5),
        ..QueueSettings::default()
    });
    for _ in 0..500 {
        restore(&mut bed, 0, &body("a"), 0);
    }
    for lsn in (1..=500).rev() {
        assert!(bed.queue.remove_by_lsn(Lsn(lsn)));
    }
    bed.queue.finish_replay(Timestamp(9), &mut bed.fx);
    assert_eq!(bed.queue.counts(), Counts::default());
    assert_eq!(bed.queue.next_deadline(), None);
    assert_eq!(bed.queue.resident_bytes(), 0);
}
