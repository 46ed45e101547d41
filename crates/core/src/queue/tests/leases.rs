use super::*;

#[test]
fn returned_messages_go_back_to_their_old_places() {
    let mut bed = Bed::new(QueueSettings::default());
    bed.put_all(&["a", "b", "c", "d", "e"]);
    let taken: Vec<Delivery> = (0..4).filter_map(|_| bed.get()).collect();
    bed.settle(&taken[1..2], Outcome::Ack);
    bed.settle(&taken[2..], Outcome::Return { failed: false });
    bed.settle(&taken[..1], Outcome::Return { failed: false });
    bed.put(&body("f"));
    assert_eq!(bed.rest(), ["a", "c", "d", "e", "f"]);
}

#[test]
fn returned_message_keeps_its_place_within_its_priority() {
    let mut bed = Bed::new(QueueSettings {
        max_priority: Some(1),
        ..QueueSettings::default()
    });
    for (body, priority) in [("0a", 0), ("1a", 1), ("1b", 1)] {
        let priority = Some(priority);
        bed.put(&Spec {
            body,
            priority,
            ..Spec::default()
        });
    }
    let taken: Vec<Delivery> = (0..3).filter_map(|_| bed.get()).collect();
    bed.settle(&taken[1..], Outcome::Return { failed: false });
    bed.settle(&taken[..1], Outcome::Return { failed: false });
    assert_eq!(bed.rest(), ["1a", "1b", "0a"]);
}

#[test]
fn returns_are_counted_and_failures_apart() {
    let mut bed = Bed::new(QueueSettings::default());
    bed.put(&body("a"));
    for (outcome, attempts, failures) in [
        (Outcome::Return { failed: false }, 1, 0),
        (Outcome::Return { failed: true }, 2, 1),
        (Outcome::Untouched, 2, 1),
        (Outcome::Return { failed: false }, 3, 1),
    ] {
        let taken = bed.get().unwrap();
        bed.fx.clear();
        bed.settle(&[taken], outcome);
        let expected = (outcome != Outcome::Untouched).then_some(Returned {
            lsn: Lsn(1),
            attempts,
            failures,
        });
        assert_eq!(bed.fx.returned.first().copied(), expected);
        let taken = bed.get().unwrap();
        assert_eq!((taken.attempts, taken.failures), (attempts, failures));
        bed.settle(&[taken], Outcome::Untouched);
    }
}

#[test]
fn assigned_messages_of_a_consumer_that_goes_are_as_if_never_taken() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Manual, Credit::Limited(3));
    bed.put_all(&["a", "b", "c", "d"]);
    bed.leave(key);
    let got = bed.get().unwrap();
    assert_eq!((text(&got.message).as_str(), got.attempts), ("a", 0));
    assert!(bed.fx.returned.is_empty());
    assert_eq!(bed.rest(), ["b", "c", "d"]);
}

#[test]
fn messages_that_were_drained_stay_leased_when_their_consumer_goes() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Manual, Credit::Unlimited);
    bed.put(&body("a"));
    let out = bed.drain(key);
    bed.leave(key);
    assert_eq!(bed.queue.counts().leased, 1);
    assert!(bed.get().is_none());
    assert_eq!(bed.settle(&out, Outcome::Ack), 1);
}

#[test]
fn rejected_message_is_dead_or_dropped() {
    let mut bed = Bed::new(with_dead_letters());
    bed.put(&body("a"));
    let got = bed.get().unwrap();
    bed.settle(&[got], Outcome::Reject { failed: false });
    assert_eq!(bed.dead(), [("a".into(), DeathReason::Rejected)]);
    assert_eq!((bed.fx.dead[0].lsn, bed.fx.dead[0].attempts), (Lsn(1), 1));
    assert!(bed.settled().is_empty());

    bed.configure(QueueSettings::default());
    bed.fx.clear();
    bed.put(&body("b"));
    let got = bed.get().unwrap();
    bed.settle(&[got], Outcome::Reject { failed: true });
    assert!(bed.dead().is_empty());
    assert_eq!((bed.settled(), bed.fx.dropped), ([2].into(), 1));
}

#[test]
fn message_that_fails_more_often_than_the_limit_is_dead() {
    let mut bed = Bed::new(QueueSettings {
        delivery_limit: Some(2),
        ..with_dead_letters()
    });
    bed.put(&body("a"));
    for failed in [true, false, true, false] {
        let got = bed.get().unwrap();
        bed.settle(&[got], Outcome::Return { failed });
        assert!(bed.dead().is_empty());
    }
    let got = bed.get().unwrap();
    assert_eq!((got.attempts, got.failures), (4, 2));
    bed.settle(&[got], Outcome::Return { failed: true });
    assert_eq!(bed.dead(), [("a".into(), DeathReason::DeliveryLimit)]);
    assert_eq!(bed.fx.dead[0].attempts, 5);
    assert_eq!(bed.fx.returned.len(), 4);
    assert!(bed.get().is_none());
}

#[test]
fn returned_message_goes_to_a_waiting_consumer() {
    let mut bed = Bed::new(QueueSettings::default());
    bed.put(&body("a"));
    let got = bed.get().unwrap();
    let key = bed.consume(AckMode::Manual, Credit::Unlimited);
    assert!(bed.fx.ready.is_empty());
    bed.settle(&[got], Outcome::Return { failed: false });
    assert_eq!(bed.fx.ready, [key]);
    let out = bed.drain(key);
    assert_eq!((bodies(&out), out[0].attempts), (["a".into()].into(), 1));
}

#[test]
fn get_says_how_many_are_left_for_clients() {
    let mut bed = Bed::new(QueueSettings::default());
    assert!(bed.get().is_none());
    bed.consume(AckMode::Manual, Credit::Limited(1));
    bed.put_all(&["assigned", "a", "b", "c"]);
    let (_, left) = bed.queue.get(Timestamp(0), false, &mut bed.fx).unwrap();
    assert_eq!(left, 3);
    assert_eq!(bed.queue.counts().visible(), 3);
}

#[test]
fn positions_that_name_nothing_are_passed_over() {
    let mut bed = Bed::new(QueueSettings::default());
    bed.put_all(&["a", "b"]);
    let got = bed.get().unwrap();
    let strange = [
        Position(u64::MAX),
        Position(1),
        Position(77),
        Position(256 << 55),
        got.position,
    ];
    let ended = bed
        .queue
        .settle(Timestamp(0), &strange, Outcome::Ack, &mut bed.fx);
    assert_eq!(ended, 1);
    assert_eq!(bed.rest(), ["b"]);
}
