use super::*;
use crate::policy::{AtMostOnce, Overflow};

fn limited(max_length: u64, overflow: Overflow) -> QueueSettings {
    QueueSettings {
        max_length: Some(max_length),
        overflow,
        ..with_dead_letters()
    }
}

fn limited_bytes(max_length_bytes: u64, overflow: Overflow) -> QueueSettings {
    QueueSettings {
        max_length_bytes: Some(max_length_bytes),
        overflow,
        ..with_dead_letters()
    }
}

#[test]
fn full_queue_drops_its_oldest() {
    let mut bed = Bed::new(limited(2, Overflow::DropHead));
    bed.put_all(&["a", "b"]);
    assert!(bed.dead().is_empty());
    assert_eq!(bed.put(&body("c")), Admission::Accepted);
    assert_eq!(bed.dead(), [("a".into(), DeathReason::MaxLength)]);
    assert_eq!(bed.rest(), ["b", "c"]);
}

#[test]
fn full_queue_without_dead_letters_settles_what_it_drops() {
    let mut bed = Bed::new(QueueSettings {
        max_length: Some(1),
        ..QueueSettings::default()
    });
    bed.put_all(&["a", "b"]);
    assert_eq!((bed.settled(), bed.fx.dropped), ([1].into(), 1));
}

#[test]
fn full_queue_drops_the_lowest_priority_first() {
    let mut bed = Bed::new(QueueSettings {
        max_priority: Some(9),
        ..limited(2, Overflow::DropHead)
    });
    for (body, priority) in [("1", 1), ("5", 5), ("9", 9), ("0", 0)] {
        let priority = Some(priority);
        bed.put(&Spec {
            body,
            priority,
            ..Spec::default()
        });
    }
    let dead: Vec<String> = bed.dead().into_iter().map(|(body, _)| body).collect();
    assert_eq!(dead, ["1", "0"]);
    assert_eq!(bed.rest(), ["9", "5"]);
}

#[test]
fn full_queue_that_refuses_says_so_and_keeps_what_it_has() {
    let mut bed = Bed::new(limited(1, Overflow::RejectPublish));
    assert_eq!(bed.put(&body("a")), Admission::Accepted);
    assert_eq!(bed.put(&body("b")), Admission::Rejected);
    assert!(bed.dead().is_empty());
    assert_eq!(bed.settled(), [2]);
    assert_eq!(bed.rest(), ["a"]);
}

#[test]
fn full_queue_that_refuses_may_dead_letter_what_it_refused() {
    let mut bed = Bed::new(limited(1, Overflow::RejectPublishDeadLetter));
    bed.put(&body("a"));
    assert_eq!(bed.put(&body("b")), Admission::Rejected);
    assert_eq!(bed.dead(), [("b".into(), DeathReason::MaxLength)]);
    assert_eq!((bed.fx.dead[0].lsn, bed.settled().len()), (Lsn(2), 0));
}

#[test]
fn length_0_keeps_nothing_but_serves_who_waits() {
    for (overflow, answer) in [
        (Overflow::DropHead, Admission::Dropped),
        (Overflow::RejectPublish, Admission::Rejected),
    ] {
        let mut bed = Bed::new(limited(0, overflow));
        assert_eq!(bed.put(&body("a")), answer);
        assert_eq!(bed.queue.counts().ready, 0);
        let key = bed.consume(AckMode::Manual, Credit::Limited(1));
        assert_eq!(bed.put(&body("b")), Admission::Accepted);
        assert_eq!(bed.put(&body("c")), answer);
        assert_eq!(bed.drained(key), ["b"]);
    }
}

#[test]
fn taken_messages_do_not_count() {
    let mut bed = Bed::new(limited(1, Overflow::RejectPublish));
    bed.put(&body("leased"));
    bed.get().unwrap();
    let key = bed.consume(AckMode::Manual, Credit::Limited(1));
    assert_eq!(bed.put(&body("assigned")), Admission::Accepted);
    assert_eq!(bed.put(&body("ready")), Admission::Accepted);
    assert_eq!(bed.put(&body("more")), Admission::Rejected);
    assert_eq!(bed.drained(key), ["assigned"]);
}

#[test]
fn byte_limit_counts_bodies_and_is_held_exactly() {
    let mut bed = Bed::new(limited_bytes(10, Overflow::DropHead));
    let sized = |bytes| Spec {
        bytes,
        ..Spec::default()
    };
    bed.put(&sized(6));
    bed.put(&sized(4));
    assert!(bed.dead().is_empty());
    bed.put(&sized(1));
    assert_eq!(bed.dead().len(), 1);
    assert_eq!(bed.queue.counts().ready_bytes, 5);
    assert_eq!(bed.put(&sized(11)), Admission::Dropped);
    assert_eq!(bed.queue.counts().ready, 0);
    assert_eq!(bed.dead().len(), 4);
}

#[test]
fn byte_limit_refuses_what_would_pass_it() {
    let mut bed = Bed::new(limited_bytes(10, Overflow::RejectPublish));
    let sized = |bytes| Spec {
        bytes,
        ..Spec::default()
    };
    assert_eq!(bed.put(&sized(6)), Admission::Accepted);
    assert_eq!(bed.put(&sized(5)), Admission::Rejected);
    assert_eq!(bed.put(&sized(4)), Admission::Accepted);
    assert_eq!(bed.put(&sized(0)), Admission::Accepted);
    assert_eq!(bed.put(&sized(1)), Admission::Rejected);
}

#[test]
fn lowered_limit_drops_at_once() {
    let mut bed = Bed::new(with_dead_letters());
    bed.put_all(&["a", "b", "c"]);
    bed.configure(limited(1, Overflow::DropHead));
    assert_eq!(bed.dead().len(), 2);
    assert_eq!(bed.rest(), ["c"]);
}

#[test]
fn message_that_returns_into_a_full_queue_counts_again() {
    let mut bed = Bed::new(limited(1, Overflow::DropHead));
    bed.put(&body("old"));
    let got = bed.get().unwrap();
    bed.put(&body("new"));
    bed.settle(&[got], Outcome::Return { failed: false });
    assert_eq!(bed.dead(), [("old".into(), DeathReason::MaxLength)]);
    assert_eq!(bed.rest(), ["new"]);
}

fn at_most_once(body: &'static str) -> Spec {
    Spec {
        body,
        at_most_once: true,
        ..Spec::default()
    }
}

#[test]
fn at_most_once_messages_wait_for_no_consumer_unless_told_to() {
    let rule = AtMostOnce {
        keep_without_consumer: false,
        ..AtMostOnce::default()
    };
    let mut bed = Bed::new(QueueSettings {
        at_most_once: rule,
        ..with_dead_letters()
    });
    assert_eq!(bed.put(&at_most_once("a")), Admission::Dropped);
    assert_eq!(
        (bed.fx.dropped, bed.settled(), bed.dead().len()),
        (1, [1].into(), 0)
    );
    let key = bed.consume(AckMode::ByMessage, Credit::Limited(0));
    assert_eq!(bed.put(&at_most_once("b")), Admission::Accepted);
    assert_eq!(bed.drained(key), ["b"]);
    bed.configure(QueueSettings::default());
    bed.leave(key);
    assert_eq!(bed.put(&at_most_once("c")), Admission::Accepted);
}

#[test]
fn at_most_once_messages_beyond_their_number_are_dropped_at_the_door() {
    let rule = AtMostOnce {
        messages_max: 2,
        ..AtMostOnce::default()
    };
    let mut bed = Bed::new(QueueSettings {
        at_most_once: rule,
        ..with_dead_letters()
    });
    bed.put_all(&["1", "2", "3"]);
    assert_eq!(bed.put(&at_most_once("a")), Admission::Accepted);
    assert_eq!(bed.put(&at_most_once("b")), Admission::Accepted);
    assert_eq!(bed.put(&at_most_once("c")), Admission::Dropped);
    assert!(bed.dead().is_empty());
    assert_eq!(bed.rest(), ["1", "2", "3", "a", "b"]);
}

#[test]
fn at_most_once_messages_are_dropped_at_the_door_while_those_that_wait_have_too_many_bytes() {
    let rule = AtMostOnce {
        bytes_max: 4,
        ..AtMostOnce::default()
    };
    let mut bed = Bed::new(QueueSettings {
        at_most_once: rule,
        ..with_dead_letters()
    });
    bed.put_all(&["other"]);
    assert_eq!(bed.put(&at_most_once("abc")), Admission::Accepted);
    assert_eq!(bed.put(&at_most_once("def")), Admission::Accepted);
    assert_eq!(bed.put(&at_most_once("g")), Admission::Dropped);
    assert_eq!(bed.rest(), ["other", "abc", "def"]);
    assert_eq!(bed.put(&at_most_once("h")), Admission::Accepted);
}

#[test]
fn full_queue_drops_at_most_once_messages_first() {
    let mut bed = Bed::new(limited(2, Overflow::DropHead));
    bed.put_all(&["a"]);
    bed.put(&at_most_once("b"));
    bed.put_all(&["c"]);
    assert_eq!(bed.dead(), [("b".into(), DeathReason::MaxLength)]);
}
