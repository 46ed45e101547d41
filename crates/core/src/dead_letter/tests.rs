use alloc::vec;

use super::*;
use crate::message::NewMessage;

fn target(exchange: &str, key: Option<&str>) -> DeadLetterTarget {
    DeadLetterTarget {
        exchange: exchange.into(),
        routing_key: key.map(Into::into),
    }
}

fn message(cc: &[&'static str], bcc: &[&'static str], ttl_ms: Option<u64>) -> Message {
    let keys = |keys: &[&'static str]| {
        keys.iter()
            .map(|key| Bytes::from_static(key.as_bytes()))
            .collect()
    };
    let extras = Extras {
        cc: keys(cc),
        bcc: keys(bcc),
        ..Extras::default()
    };
    let mut new = NewMessage::plain(b"orders", b"a.b", b"body");
    new.extras = Some(Box::new(extras));
    new.ttl_ms = ttl_ms;
    new.priority = Some(3);
    new.durable = true;
    new.build(&mut Vec::new())
}

fn die(
    message: &Message,
    reason: DeathReason,
    queue: &str,
    to: &DeadLetterTarget,
    now: u64,
) -> Message {
    dead_letter(
        message,
        reason,
        queue,
        to,
        Timestamp(now),
        &mut vec![1, 2, 3],
    )
}

#[test]
fn first_death_is_recorded_with_exchange_visible_keys_and_ttl() {
    let dead = die(
        &message(&["c1"], &["b1"], Some(70)),
        DeathReason::Expired,
        "q",
        &target("dlx", None),
        5,
    );
    let history = dead.history().unwrap();
    let place = DeathPlace {
        reason: DeathReason::Expired,
        queue: "q".into(),
        exchange: Bytes::from_static(b"orders"),
    };
    assert_eq!(history.first, place);
    assert_eq!(history.last, place);
    let death = Death {
        reason: DeathReason::Expired,
        queue: "q".into(),
        exchange: Bytes::from_static(b"orders"),
        routing_keys: vec![Bytes::from_static(b"a.b"), Bytes::from_static(b"c1")],
        key_syntax: KeySyntax::Dotted,
        count: 1,
        first_time: Timestamp(5),
        last_time: Timestamp(5),
        original_ttl_ms: Some(70),
    };
    assert_eq!(history.deaths, vec![death]);
}

#[test]
fn without_a_dead_letter_key_all_keys_stay_and_body_and_envelope_too() {
    let dead = die(
        &message(&["c1"], &["b1"], Some(70)),
        DeathReason::Expired,
        "q",
        &target("dlx", None),
        5,
    );
    assert_eq!(dead.exchange(), b"dlx");
    assert_eq!(dead.routing_key(), b"a.b");
    let extras = dead.extras().unwrap();
    assert_eq!(
        (&*extras.cc, &*extras.bcc),
        (
            &[Bytes::from_static(b"c1")][..],
            &[Bytes::from_static(b"b1")][..]
        )
    );
    assert!(!extras.hide_cc);
    assert_eq!(
        (dead.body(), dead.priority(), dead.durable()),
        (&b"body"[..], Some(3), true)
    );
}

#[test]
fn dead_letter_key_replaces_all_keys_and_hides_the_list() {
    let to = target("", Some("dead"));
    let dead = die(
        &message(&["c1"], &["b1"], None),
        DeathReason::Rejected,
        "q",
        &to,
        5,
    );
    assert_eq!(
        (dead.exchange(), dead.routing_key()),
        (&b""[..], &b"dead"[..])
    );
    let extras = dead.extras().unwrap();
    assert!(extras.cc.is_empty() && extras.bcc.is_empty() && extras.hide_cc);
    assert_eq!(
        extras.history.as_ref().unwrap().deaths[0]
            .routing_keys
            .len(),
        2
    );
}

#[test]
fn dead_letter_key_is_dotted_though_the_message_was_slashed() {
    let mut new = NewMessage::plain(b"amq.topic", b"a/b", b"");
    new.key_syntax = KeySyntax::Slashed;
    let dead = die(
        &new.build(&mut Vec::new()),
        DeathReason::Rejected,
        "q",
        &target("x", Some("k/l")),
        5,
    );
    assert_eq!(dead.key_syntax(), KeySyntax::Dotted);
    assert_eq!(
        dead.history().unwrap().deaths[0].key_syntax,
        KeySyntax::Slashed
    );
}

#[test]
fn ttl_is_taken_away_whatever_the_reason() {
    for reason in [
        DeathReason::Rejected,
        DeathReason::Expired,
        DeathReason::MaxLength,
        DeathReason::DeliveryLimit,
    ] {
        let dead = die(
            &message(&[], &[], Some(70)),
            reason,
            "q",
            &target("x", None),
            5,
        );
        assert_eq!(dead.ttl_ms(), None);
        assert_eq!(dead.history().unwrap().deaths[0].original_ttl_ms, Some(70));
    }
}

#[test]
fn dying_again_in_the_same_way_counts_moves_to_the_front_and_changes_nothing_else() {
    let to = target("", Some("other"));
    let once = die(
        &message(&[], &[], Some(70)),
        DeathReason::Rejected,
        "q",
        &to,
        5,
    );
    let twice = die(
        &once,
        DeathReason::Expired,
        "other",
        &target("", Some("q")),
        6,
    );
    let thrice = die(&twice, DeathReason::Rejected, "q", &to, 7);
    let history = thrice.history().unwrap();
    assert_eq!(history.deaths.len(), 2);
    let again = &history.deaths[0];
    assert_eq!(
        (again.reason, &*again.queue, again.count),
        (DeathReason::Rejected, "q", 2)
    );
    assert_eq!(
        (again.first_time, again.last_time),
        (Timestamp(5), Timestamp(7))
    );
    assert_eq!(
        (&again.exchange[..], again.original_ttl_ms),
        (&b"orders"[..], Some(70))
    );
    assert_eq!(&*history.deaths[1].queue, "other");
    assert_eq!((&*history.first.queue, &*history.last.queue), ("q", "q"));
    assert_eq!(&history.last.exchange[..], b"");
}

#[test]
fn another_reason_in_the_same_queue_is_another_entry_and_the_first_stays_first() {
    let to = target("x", None);
    let once = die(&message(&[], &[], None), DeathReason::Expired, "q", &to, 5);
    let twice = die(&once, DeathReason::MaxLength, "q", &to, 6);
    let history = twice.history().unwrap();
    assert_eq!(
        history.deaths.iter().map(|d| d.count).collect::<Vec<_>>(),
        [1, 1]
    );
    assert_eq!(history.first.reason, DeathReason::Expired);
    assert_eq!(history.last.reason, DeathReason::MaxLength);
}

fn history(deaths: &[(&str, DeathReason)]) -> History {
    let mut message = message(&[], &[], None);
    for (queue, reason) in deaths {
        message = die(&message, *reason, queue, &target("x", None), 1);
    }
    message.history().unwrap().clone()
}

#[test]
fn expiry_back_into_the_same_queue_is_a_cycle() {
    let history = history(&[("q", DeathReason::Expired)]);
    assert!(closes_cycle(&history, "q", DeathReason::Expired));
    assert!(!closes_cycle(&history, "elsewhere", DeathReason::Expired));
}

#[test]
fn expiry_through_several_queues_is_a_cycle() {
    let history = history(&[("a", DeathReason::Expired), ("b", DeathReason::MaxLength)]);
    assert!(closes_cycle(&history, "a", DeathReason::MaxLength));
}

#[test]
fn a_rejection_since_then_or_then_breaks_the_cycle() {
    let since = history(&[
        ("a", DeathReason::Expired),
        ("b", DeathReason::Rejected),
        ("c", DeathReason::Expired),
    ]);
    assert!(!closes_cycle(&since, "a", DeathReason::Expired));
    let then = history(&[("a", DeathReason::Rejected), ("b", DeathReason::Expired)]);
    assert!(!closes_cycle(&then, "a", DeathReason::Expired));
    let before = history(&[("z", DeathReason::Rejected), ("a", DeathReason::Expired)]);
    assert!(closes_cycle(&before, "a", DeathReason::Expired));
}

#[test]
fn a_rejected_message_may_go_anywhere() {
    let history = history(&[("a", DeathReason::Expired), ("b", DeathReason::Rejected)]);
    assert!(!closes_cycle(&history, "a", DeathReason::Rejected));
    assert!(!closes_cycle(&history, "b", DeathReason::Rejected));
}
