use alloc::sync::Arc;

use super::*;

fn single() -> QueueSettings {
    QueueSettings {
        single_active_consumer: true,
        ..QueueSettings::default()
    }
}

#[test]
fn consumers_of_one_priority_take_turns() {
    let mut bed = Bed::new(QueueSettings::default());
    let keys = [0; 3].map(|_| bed.consume(AckMode::Manual, Credit::Unlimited));
    bed.put_all(&["a", "b", "c", "d", "e", "f", "g"]);
    assert_eq!(bed.drained(keys[0]), ["a", "d", "g"]);
    assert_eq!(bed.drained(keys[1]), ["b", "e"]);
    assert_eq!(bed.drained(keys[2]), ["c", "f"]);
}

#[test]
fn higher_priority_takes_all_while_it_has_room() {
    let mut bed = Bed::new(QueueSettings::default());
    let low = bed.consume_as(AckMode::Manual, Credit::Unlimited, -1);
    let high = bed.consume_as(AckMode::Manual, Credit::Limited(2), 10);
    bed.put_all(&["a", "b", "c"]);
    let out = bed.drain(high);
    assert_eq!(bodies(&out), ["a", "b"]);
    assert_eq!(bed.drained(low), ["c"]);
    bed.settle(&out[..1], Outcome::Ack);
    bed.put_all(&["d", "e"]);
    assert_eq!(bed.drained(high), ["d"]);
    assert_eq!(bed.drained(low), ["e"]);
}

#[test]
fn consumer_is_named_ready_once_until_it_drained_all() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Manual, Credit::Unlimited);
    bed.put_all(&["a", "b", "c"]);
    assert_eq!(bed.fx.ready, [key]);
    bed.fx.clear();
    let mut out = Vec::new();
    let two = Budget {
        messages: 2,
        bytes: 1000,
    };
    assert!(
        bed.queue
            .drain(Timestamp(0), key, two, &mut out, &mut bed.fx)
    );
    bed.put(&body("d"));
    assert!(bed.fx.ready.is_empty());
    assert!(
        !bed.queue
            .drain(Timestamp(0), key, two, &mut out, &mut bed.fx)
    );
    bed.put(&body("e"));
    assert_eq!(bed.fx.ready, [key]);
}

#[test]
fn drain_ends_with_the_message_that_reaches_the_byte_budget() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Manual, Credit::Unlimited);
    for _ in 0..4 {
        bed.put(&Spec {
            bytes: 10,
            ..Spec::default()
        });
    }
    for (bytes, expected) in [(0, 1), (10, 1), (11, 2)] {
        let mut out = Vec::new();
        let budget = Budget { messages: 9, bytes };
        bed.queue
            .drain(Timestamp(0), key, budget, &mut out, &mut bed.fx);
        assert_eq!(out.len(), expected);
    }
}

#[test]
fn window_leaves_messages_beyond_its_number_to_others() {
    let mut bed = Bed::new(QueueSettings::default());
    let slow = bed.consume(AckMode::Auto, Credit::Unlimited);
    for _ in 0..=WINDOW_MESSAGES_MAX {
        bed.put(&body("a"));
    }
    let counts = bed.queue.counts();
    assert_eq!(
        (counts.assigned, counts.ready),
        (WINDOW_MESSAGES_MAX as u64, 1)
    );
    let other = bed.consume(AckMode::Auto, Credit::Unlimited);
    assert_eq!(bed.drain(other).len(), 1);
    assert_eq!(bed.drain(slow).len(), WINDOW_MESSAGES_MAX);
}

#[test]
fn window_closes_at_its_bytes() {
    let half = usize::try_from(WINDOW_BYTES_MAX / 2).unwrap();
    for (bytes, assigned) in [(half, 2), (half - 1, 3), (2 * half, 1)] {
        let mut bed = Bed::new(QueueSettings::default());
        bed.consume(AckMode::Auto, Credit::Unlimited);
        for _ in 0..4 {
            bed.put(&Spec {
                bytes,
                ..Spec::default()
            });
        }
        assert_eq!(bed.queue.counts().assigned, assigned, "{bytes}");
    }
}

#[test]
fn draining_opens_the_window_and_says_that_there_is_more() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Auto, Credit::Unlimited);
    for _ in 0..WINDOW_MESSAGES_MAX + 5 {
        bed.put(&body("a"));
    }
    let mut out = Vec::new();
    assert!(
        bed.queue
            .drain(Timestamp(0), key, ALL, &mut out, &mut bed.fx)
    );
    assert!(
        !bed.queue
            .drain(Timestamp(0), key, ALL, &mut out, &mut bed.fx)
    );
    assert_eq!(out.len(), WINDOW_MESSAGES_MAX + 5);
}

#[test]
fn credit_counts_assigned_and_leased_and_comes_back_when_settled() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Manual, Credit::Limited(2));
    bed.put_all(&["a", "b", "c", "d"]);
    let out = bed.drain(key);
    assert_eq!(bodies(&out), ["a", "b"]);
    assert!(bed.drain(key).is_empty());
    bed.settle(&out[1..], Outcome::Ack);
    assert_eq!(bed.drained(key), ["c"]);
}

#[test]
fn credit_limits_neither_automatic_acks_nor_get() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Auto, Credit::Limited(0));
    bed.put_all(&["a", "b"]);
    let out = bed.drain(key);
    assert_eq!(bodies(&out), ["a", "b"]);
    assert!(out.iter().all(|d| d.settled));
    assert_eq!(bed.settled(), [1, 2]);
    assert_eq!(bed.settle(&out, Outcome::Return { failed: false }), 0);
    bed.leave(key);
    bed.consume(AckMode::Manual, Credit::Limited(1));
    bed.put_all(&["c", "d", "e"]);
    assert_eq!(bed.rest(), ["d", "e"]);
}

#[test]
fn raised_credit_assigns_at_once_and_lowered_credit_takes_nothing_back() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Manual, Credit::Limited(1));
    bed.put_all(&["a", "b", "c", "d"]);
    bed.queue
        .set_credit(Timestamp(0), key, Credit::Limited(3), &mut bed.fx);
    let out = bed.drain(key);
    assert_eq!(bodies(&out), ["a", "b", "c"]);
    bed.queue
        .set_credit(Timestamp(0), key, Credit::Limited(1), &mut bed.fx);
    bed.settle(&out[..2], Outcome::Ack);
    assert!(bed.drain(key).is_empty());
    bed.settle(&out[2..], Outcome::Ack);
    assert_eq!(bed.drained(key), ["d"]);
}

fn share(with: &Arc<SharedCredit>) -> Credit {
    Credit::Shared {
        with: with.clone(),
        limit: u32::MAX,
    }
}

#[test]
fn own_limit_holds_beside_a_shared_credit() {
    let shared = Arc::new(SharedCredit::new(3));
    let own = || Credit::Shared {
        with: shared.clone(),
        limit: 2,
    };
    let mut bed = Bed::new(QueueSettings::default());
    let first = bed.consume(AckMode::Manual, own());
    bed.put_all(&["a", "b", "c", "d"]);
    let out = bed.drain(first);
    assert_eq!((out.len(), shared.used()), (2, 2));
    let second = bed.consume(AckMode::Manual, own());
    assert_eq!(bed.drained(second), ["c"]);
    assert_eq!(bed.queue.counts().ready, 1);
    bed.settle(&out[..1], Outcome::Ack);
    assert_eq!(bed.queue.counts().ready, 0);
    assert_eq!(shared.used(), 3);
}

#[test]
fn shared_credit_is_one_for_all_queues_and_replenished_where_it_is_missing() {
    let shared = Arc::new(SharedCredit::new(2));
    let (mut one, mut two) = (
        Bed::new(QueueSettings::default()),
        Bed::new(QueueSettings::default()),
    );
    let first = one.consume(AckMode::Manual, share(&shared));
    let second = two.consume(AckMode::Manual, share(&shared));
    one.put_all(&["a", "b"]);
    two.put_all(&["c"]);
    assert_eq!(
        (one.queue.counts().assigned, two.queue.counts().assigned),
        (2, 0)
    );
    let out = one.drain(first);
    one.settle(&out[..1], Outcome::Ack);
    two.queue.replenish(Timestamp(0), second, &mut two.fx);
    assert_eq!(two.fx.ready, [second]);
    assert_eq!(two.drained(second), ["c"]);
    assert_eq!(shared.used(), 2);
}

#[test]
fn consumer_without_acknowledgements_waits_for_a_shared_credit_and_takes_none_of_it() {
    let shared = Arc::new(SharedCredit::new(1));
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Auto, share(&shared));
    bed.put_all(&["a", "b"]);
    assert_eq!(bed.drained(key), ["a", "b"]);
    assert_eq!(shared.used(), 0);
    assert!(shared.try_take());
    bed.put_all(&["c"]);
    assert_eq!(bed.drained(key), [""; 0]);
    shared.give_back(1);
    bed.queue.replenish(Timestamp(0), key, &mut bed.fx);
    assert_eq!(bed.drained(key), ["c"]);
}

#[test]
fn what_is_given_back_of_a_held_credit_goes_to_who_is_replenished_first() {
    let shared = Arc::new(SharedCredit::new(1));
    let mut bed = Bed::new(QueueSettings::default());
    let first = bed.consume(AckMode::Manual, share(&shared));
    let second = bed.consume(AckMode::Manual, share(&shared));
    bed.put_all(&["a", "b"]);
    let out = bed.drain(first);
    shared.hold();
    bed.settle(&out, Outcome::Ack);
    assert_eq!((bed.queue.counts().ready, shared.used()), (1, 0));
    shared.resume();
    bed.queue.replenish(Timestamp(0), second, &mut bed.fx);
    bed.queue.replenish(Timestamp(0), first, &mut bed.fx);
    assert_eq!(bed.drained(second), ["b"]);
}

#[test]
fn shared_credit_of_a_consumer_that_went_comes_back_when_its_messages_are_settled() {
    let shared = Arc::new(SharedCredit::new(2));
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Manual, share(&shared));
    bed.put_all(&["leased"]);
    let out = bed.drain(key);
    bed.put_all(&["assigned"]);
    bed.leave(key);
    assert_eq!(shared.used(), 1);
    let heir = bed.consume(AckMode::Manual, share(&shared));
    bed.put(&body("waits"));
    assert_eq!(bed.drained(heir), ["assigned"]);
    bed.settle(&out, Outcome::Ack);
    assert_eq!(shared.used(), 1);
    bed.queue.replenish(Timestamp(0), heir, &mut bed.fx);
    assert_eq!(bed.drained(heir), ["waits"]);
    assert_ne!(key, heir);
}

#[test]
fn handing_over_an_at_most_once_message_does_not_open_a_consumer_past_what_waits() {
    let shared = Arc::new(SharedCredit::new(1));
    let mut bed = Bed::new(single());
    let session = bed.consume(AckMode::ByMessage, share(&shared));
    assert!(shared.try_take());
    bed.put(&body("waits"));
    shared.give_back(1);
    bed.put(&Spec {
        body: "passes",
        at_most_once: true,
        ..Spec::default()
    });
    bed.put(&body("later"));
    bed.queue.replenish(Timestamp(0), session, &mut bed.fx);
    assert_eq!(bed.drained(session), ["passes", "waits"]);
}

#[test]
fn switching_between_credits_carries_what_is_held() {
    let shared = Arc::new(SharedCredit::new(5));
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Manual, Credit::Limited(3));
    bed.put_all(&["a", "b"]);
    let out = bed.drain(key);
    bed.queue
        .set_credit(Timestamp(0), key, share(&shared), &mut bed.fx);
    assert_eq!(shared.used(), 2);
    bed.settle(&out[..1], Outcome::Ack);
    assert_eq!(shared.used(), 1);
    bed.queue
        .set_credit(Timestamp(0), key, Credit::Unlimited, &mut bed.fx);
    assert_eq!(shared.used(), 0);
}

#[test]
fn exclusive_consumer_is_alone() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Auto, Credit::Unlimited);
    assert_eq!(bed.exclusively(), Err(ConsumeRefusal::ExclusiveUse));
    bed.leave(key);
    let key = bed.exclusively().unwrap();
    assert_eq!(bed.exclusively(), Err(ConsumeRefusal::ExclusiveUse));
    let plain = ConsumerSpec {
        mode: AckMode::Auto,
        credit: Credit::Unlimited,
        priority: 0,
        exclusive: false,
        lease_timeout: LeaseTimeout::Never,
    };
    let refused = bed.queue.add_consumer(Timestamp(0), plain, &mut bed.fx);
    assert_eq!(refused, Err(ConsumeRefusal::ExclusiveUse));
    bed.leave(key);
    bed.consume(AckMode::Auto, Credit::Unlimited);
}

#[test]
fn exclusive_consumer_on_a_single_active_consumer_queue_is_refused() {
    let mut bed = Bed::new(single());
    assert_eq!(bed.exclusively(), Err(ConsumeRefusal::ExclusiveUse));
}

#[test]
fn single_active_consumer_gets_all_until_it_goes_then_the_next_in_line() {
    let mut bed = Bed::new(single());
    let keys = [0; 3].map(|_| bed.consume(AckMode::Manual, Credit::Limited(2)));
    bed.put_all(&["a", "b", "c", "d"]);
    assert!(bed.drain(keys[1]).is_empty());
    let active: Vec<bool> = bed.queue.consumers().map(|view| view.active).collect();
    assert_eq!(active, [true, false, false]);
    let held = bed.drain(keys[0]);
    assert_eq!(bodies(&held), ["a", "b"]);
    bed.leave(keys[0]);
    assert_eq!(bed.drained(keys[1]), ["c", "d"]);
    bed.settle(&held, Outcome::Return { failed: true });
    assert!(bed.drain(keys[2]).is_empty());
    bed.leave(keys[1]);
    assert_eq!(bed.drained(keys[2]), ["a", "b"]);
}

#[test]
fn single_active_consumer_that_goes_leaves_its_assigned_messages_in_order() {
    let mut bed = Bed::new(single());
    let first = bed.consume(AckMode::Manual, Credit::Unlimited);
    let second = bed.consume(AckMode::Manual, Credit::Unlimited);
    bed.put_all(&["a", "b", "c"]);
    bed.leave(first);
    assert_eq!(bed.drained(second), ["a", "b", "c"]);
}

#[test]
fn higher_priority_is_next_in_line_but_does_not_push_the_active_one_out() {
    let mut bed = Bed::new(single());
    let first = bed.consume_as(AckMode::Auto, Credit::Unlimited, 0);
    let _second = bed.consume_as(AckMode::Auto, Credit::Unlimited, 0);
    let third = bed.consume_as(AckMode::Auto, Credit::Unlimited, 1);
    bed.put(&body("a"));
    assert_eq!(bed.drained(first), ["a"]);
    bed.leave(first);
    bed.put(&body("b"));
    assert_eq!(bed.drained(third), ["b"]);
}

#[test]
fn higher_priority_replaces_the_active_one_of_a_quorum_queue_once_that_holds_nothing() {
    let mut bed = Bed::new(QueueSettings {
        kind: QueueKind::Quorum,
        ..single()
    });
    let low = bed.consume_as(AckMode::Manual, Credit::Limited(2), 0);
    let middle = bed.consume_as(AckMode::Manual, Credit::Limited(2), 1);
    bed.put_all(&["a"]);
    assert_eq!(bodies(&bed.drain(low)), [""; 0], "it held nothing");
    let held = bed.drain(middle);
    assert_eq!(bodies(&held), ["a"]);
    let high = bed.consume_as(AckMode::Manual, Credit::Limited(2), 2);
    bed.put_all(&["b", "c"]);
    assert_eq!(bed.queue.counts().ready, 2, "nobody gets more");
    bed.settle(&held, Outcome::Ack);
    assert_eq!(bodies(&bed.drain(high)), ["b", "c"]);
    bed.put_all(&["d"]);
    bed.leave(high);
    assert_eq!(bodies(&bed.drain(middle)), ["d"]);
    let higher = bed.consume_as(AckMode::Manual, Credit::Limited(2), 3);
    bed.put_all(&["e"]);
    assert_eq!(bed.queue.counts().ready, 1);
    bed.leave(higher);
    assert_eq!(bodies(&bed.drain(middle)), ["e"], "whoever waited is gone");
}

#[test]
fn at_most_once_messages_pass_an_exhausted_credit() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::ByMessage, Credit::Limited(1));
    let at_most_once = Spec {
        body: "0",
        at_most_once: true,
        ..Spec::default()
    };
    bed.put_all(&["a", "b"]);
    bed.put(&at_most_once);
    let out = bed.drain(key);
    assert_eq!(bodies(&out), ["a", "0"]);
    assert_eq!(
        out.iter().map(|d| d.settled).collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!(
        out.iter().map(|d| d.at_most_once).collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!(bed.settle(&out, Outcome::Ack), 1);
    assert_eq!(bed.drained(key), ["b"]);
}

#[test]
fn at_most_once_messages_are_leased_by_consumers_that_settle_all() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Manual, Credit::Limited(1));
    for _ in 0..2 {
        bed.put(&Spec {
            at_most_once: true,
            ..Spec::default()
        });
    }
    let out = bed.drain(key);
    assert_eq!((out.len(), out[0].settled), (1, false));
    assert_eq!(bed.settle(&out, Outcome::Ack), 1);
    assert_eq!(bed.drain(key).len(), 1);
}

#[test]
fn removed_consumers_key_is_never_valid_again() {
    let mut bed = Bed::new(QueueSettings::default());
    let old = bed.consume(AckMode::Manual, Credit::Unlimited);
    bed.leave(old);
    let new = bed.consume(AckMode::Manual, Credit::Unlimited);
    assert_eq!(old.index(), new.index());
    assert_ne!(old, new);
    bed.put(&body("a"));
    assert!(bed.drain(old).is_empty());
    bed.leave(old);
    assert_eq!(bed.drained(new), ["a"]);
}

#[test]
fn queue_goes_with_its_last_consumer_if_it_is_told_to() {
    let mut bed = Bed::new(QueueSettings {
        auto_delete: true,
        ..QueueSettings::default()
    });
    bed.put(&body("a"));
    bed.get();
    assert_eq!(bed.fx.delete, None);
    let keys = [
        bed.consume(AckMode::Auto, Credit::Unlimited),
        bed.consume(AckMode::Auto, Credit::Unlimited),
    ];
    bed.leave(keys[0]);
    assert_eq!(bed.fx.delete, None);
    bed.leave(keys[1]);
    assert_eq!(bed.fx.delete, Some(DeleteReason::Unused));
}
