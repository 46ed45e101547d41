//! Queues that give nothing to consumers for a while.

use super::*;

fn pause(bed: &mut Bed, service: Service) {
    let now = Timestamp(bed.now);
    bed.queue.set_service(now, service, &mut bed.fx);
    assert_eq!(bed.queue.service(), service);
}

#[test]
fn paused_queue_takes_back_what_was_not_drained_and_gives_it_when_it_goes_on() {
    let mut bed = Bed::new(QueueSettings::default());
    let one = bed.consume(AckMode::Manual, Credit::Limited(3));
    let two = bed.consume(AckMode::Manual, Credit::Limited(3));
    bed.put_all(&["a", "b", "c"]);
    assert_eq!(bed.queue.counts().assigned, 3);
    pause(&mut bed, Service::Paused);
    assert_eq!(
        (bed.queue.counts().assigned, bed.queue.counts().ready),
        (0, 3)
    );
    bed.put_all(&["d"]);
    assert!(bed.drained(one).is_empty() && bed.drained(two).is_empty());
    bed.fx.clear();
    pause(&mut bed, Service::Running);
    assert_eq!(bed.fx.ready.len(), 2, "both hear of it");
    let mut got = bed.drained(one);
    got.extend(bed.drained(two));
    got.sort_unstable();
    assert_eq!(got, ["a", "b", "c", "d"]);
}

#[test]
fn paused_queue_is_still_got_from_and_settled() {
    let mut bed = Bed::new(QueueSettings::default());
    let key = bed.consume(AckMode::Manual, Credit::Limited(1));
    bed.put_all(&["a", "b"]);
    let drained = bed.drain(key);
    pause(&mut bed, Service::Paused);
    bed.settle(&drained[..1], Outcome::Ack);
    assert_eq!(
        bed.queue.counts().assigned,
        0,
        "its credit came back in vain"
    );
    assert!(bed.get().is_some());
    pause(&mut bed, Service::Running);
    bed.put_all(&["c"]);
    assert_eq!(bed.drained(key), ["c"]);
}

#[test]
fn consumer_that_comes_while_a_queue_is_paused_waits() {
    let mut bed = Bed::new(QueueSettings::default());
    bed.put_all(&["a"]);
    pause(&mut bed, Service::Paused);
    let key = bed.consume(AckMode::Auto, Credit::Unlimited);
    assert!(bed.drained(key).is_empty());
    pause(&mut bed, Service::Running);
    assert_eq!(bed.drained(key), ["a"]);
}
