use super::*;

fn ttl(ms: u64) -> QueueSettings {
    QueueSettings {
        message_ttl_ms: Some(ms),
        ..with_dead_letters()
    }
}

fn lasting(body: &'static str, ttl_ms: u64) -> Spec {
    Spec {
        body,
        ttl_ms: Some(ttl_ms),
        ..Spec::default()
    }
}

#[test]
fn the_lower_of_queue_and_message_ttl_counts() {
    let mut bed = Bed::new(ttl(100));
    bed.at(10).put(&lasting("short", 50));
    bed.put(&lasting("long", 500));
    assert_eq!(bed.queue.next_deadline(), Some(Timestamp(60)));
    bed.at(59).expire();
    assert!(bed.dead().is_empty());
    bed.at(60).expire();
    assert_eq!(bed.dead(), [("short".into(), DeathReason::Expired)]);
    assert_eq!(bed.queue.next_deadline(), Some(Timestamp(110)));
    bed.at(110).expire();
    assert_eq!(bed.dead().len(), 2);
    assert_eq!(bed.queue.next_deadline(), None);
}

#[test]
fn message_expires_behind_one_that_lasts_longer() {
    let mut bed = Bed::new(with_dead_letters());
    bed.put(&body("for ever"));
    bed.put(&lasting("long", 100));
    bed.put(&lasting("short", 10));
    bed.at(10).expire();
    assert_eq!(bed.dead(), [("short".into(), DeathReason::Expired)]);
    assert_eq!(bed.rest(), ["for ever", "long"]);
}

#[test]
fn messages_die_in_the_order_of_their_deadlines() {
    let mut bed = Bed::new(with_dead_letters());
    for (body, ttl_ms) in [("c", 30), ("a", 10), ("b1", 20), ("b2", 20), ("d", 40)] {
        bed.put(&lasting(body, ttl_ms));
    }
    bed.at(50).expire();
    let dead: Vec<String> = bed.dead().into_iter().map(|(body, _)| body).collect();
    assert_eq!(dead, ["a", "b1", "b2", "c", "d"]);
}

#[test]
fn without_dead_letters_expired_messages_are_settled_and_counted() {
    let mut bed = Bed::new(QueueSettings::default());
    bed.put(&lasting("a", 1));
    bed.at(1).expire();
    assert_eq!((bed.settled(), bed.fx.dropped), ([1].into(), 1));
}

#[test]
fn ttl_0_is_for_a_waiting_consumer_only() {
    let mut bed = Bed::new(ttl(0));
    assert_eq!(bed.put(&body("nobody")), Admission::Dropped);
    assert_eq!(bed.dead(), [("nobody".into(), DeathReason::Expired)]);
    let key = bed.consume(AckMode::Manual, Credit::Limited(1));
    assert_eq!(bed.put(&body("somebody")), Admission::Accepted);
    assert_eq!(bed.put(&body("too many")), Admission::Dropped);
    let out = bed.drain(key);
    assert_eq!(bodies(&out), ["somebody"]);
    bed.settle(&out, Outcome::Return { failed: false });
    assert_eq!(bed.dead().len(), 3);
}

#[test]
fn leased_message_expires_only_when_it_returns() {
    let mut bed = Bed::new(ttl(10));
    bed.put(&body("a"));
    let got = bed.get().unwrap();
    bed.at(20).expire();
    assert!(bed.dead().is_empty());
    assert_eq!(bed.queue.next_deadline(), None);
    bed.settle(&[got], Outcome::Return { failed: false });
    assert_eq!(bed.dead(), [("a".into(), DeathReason::Expired)]);
}

#[test]
fn leased_message_can_be_acked_after_its_time() {
    let mut bed = Bed::new(ttl(10));
    bed.put(&body("a"));
    let got = bed.get().unwrap();
    assert_eq!(bed.at(20).settle(&[got], Outcome::Ack), 1);
    assert!(bed.dead().is_empty());
}

#[test]
fn assigned_message_is_its_consumers_though_its_time_is_over() {
    let mut bed = Bed::new(ttl(10));
    let key = bed.consume(AckMode::Auto, Credit::Unlimited);
    bed.put(&body("a"));
    bed.at(20).expire();
    assert_eq!(bed.drained(key), ["a"]);
    bed.put(&body("b"));
    bed.at(40).leave(key);
    assert_eq!(bed.dead(), [("b".into(), DeathReason::Expired)]);
}

#[test]
fn returned_message_keeps_its_deadline() {
    let mut bed = Bed::new(ttl(10));
    let key = bed.consume(AckMode::Manual, Credit::Unlimited);
    bed.put(&body("a"));
    let out = bed.drain(key);
    bed.leave(key);
    assert_eq!(bed.queue.next_deadline(), None);
    bed.at(5).settle(&out, Outcome::Return { failed: false });
    assert_eq!(bed.queue.next_deadline(), Some(Timestamp(10)));
    bed.at(10).expire();
    assert_eq!(bed.dead().len(), 1);
}

#[test]
fn nobody_is_given_a_message_whose_time_is_over() {
    let mut bed = Bed::new(ttl(10));
    bed.put_all(&["a", "b"]);
    bed.at(10);
    assert!(bed.get().is_none());
    assert_eq!(bed.dead().len(), 2);
    bed.put(&body("c"));
    let key = bed.at(20).consume(AckMode::Auto, Credit::Unlimited);
    assert!(bed.drain(key).is_empty());
    assert_eq!(bed.dead().len(), 3);
    assert_eq!(bed.queue.next_deadline(), None);
}

#[test]
fn new_ttl_counts_from_the_time_of_entering() {
    let mut bed = Bed::new(with_dead_letters());
    bed.put(&body("a"));
    bed.put(&lasting("b", 10));
    bed.at(5).configure(ttl(20));
    assert_eq!(bed.queue.next_deadline(), Some(Timestamp(10)));
    bed.at(19).expire();
    assert_eq!(bed.dead().len(), 1);
    bed.configure(with_dead_letters());
    bed.at(100).expire();
    assert_eq!(bed.dead().len(), 1);
    bed.configure(ttl(20));
    bed.expire();
    assert_eq!(bed.dead().len(), 2);
}

#[test]
fn one_call_expires_a_batch_and_the_rest_is_due_at_once() {
    let mut bed = Bed::new(ttl(10));
    for _ in 0..=EXPIRE_BATCH_MAX {
        bed.put(&body("a"));
    }
    bed.at(10).expire();
    assert_eq!(bed.dead().len(), EXPIRE_BATCH_MAX);
    assert_eq!(bed.queue.next_deadline(), Some(Timestamp(10)));
    bed.expire();
    assert_eq!(bed.dead().len(), EXPIRE_BATCH_MAX + 1);
}

#[test]
fn deadline_records_of_messages_that_left_do_not_pile_up() {
    let mut bed = Bed::new(with_dead_letters());
    bed.put(&lasting("stays", 1));
    bed.put(&lasting("stays too", 1_000_000));
    for ttl_ms in (2..20_000).rev() {
        bed.put(&lasting("a", ttl_ms));
        bed.put(&lasting("b", 30_000 - ttl_ms));
        let kept: Vec<Delivery> = (0..2).filter_map(|_| bed.get()).collect();
        let gone: Vec<Delivery> = (0..2).filter_map(|_| bed.get()).collect();
        bed.settle(&gone, Outcome::Ack);
        bed.settle(&kept, Outcome::Untouched);
        bed.fx.clear();
        assert!(bed.queue.expiry.len() <= 2 * 2 + 64);
    }
    assert_eq!(bed.queue.next_deadline(), Some(Timestamp(1)));
}

#[test]
fn unused_queue_asks_to_be_deleted() {
    let settings = QueueSettings {
        expires_ms: Some(100),
        ..QueueSettings::default()
    };
    let mut bed = Bed::new(settings);
    assert_eq!(bed.queue.next_deadline(), Some(Timestamp(100)));
    bed.at(50).put(&body("does not count"));
    bed.at(60);
    bed.get();
    assert_eq!(bed.queue.next_deadline(), Some(Timestamp(160)));
    bed.queue.touch(Timestamp(70));
    assert_eq!(bed.queue.next_deadline(), Some(Timestamp(170)));
    let key = bed.at(80).consume(AckMode::Auto, Credit::Unlimited);
    assert_eq!(bed.queue.next_deadline(), None);
    bed.at(1000).expire();
    assert_eq!(bed.fx.delete, None);
    bed.leave(key);
    bed.at(1099).expire();
    assert_eq!(bed.fx.delete, None);
    bed.at(1100).expire();
    assert_eq!(bed.fx.delete, Some(DeleteReason::Expired));
}

#[test]
fn a_ttl_beyond_the_end_of_time_never_ends() {
    let mut bed = Bed::new(ttl(u64::MAX));
    bed.at(5).put(&body("a"));
    assert_eq!(bed.queue.next_deadline(), None);
    bed.at(u64::MAX - 1).expire();
    assert_eq!(bed.rest(), ["a"]);
}
