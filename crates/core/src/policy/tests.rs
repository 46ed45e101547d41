use alloc::boxed::Box;

use crate::error::{ArgumentFault as Fault, Refusal};
use crate::id::ConnectionId;
use crate::policy::{DeadLetterStrategy, Overflow, QueueKind, QueueSettings};
use crate::topology::QueueDecl;
use crate::value::{Headers, Value};

fn decl(args: &[(&str, Value)]) -> QueueDecl {
    QueueDecl {
        name: "q".into(),
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments: args
            .iter()
            .map(|(n, v)| (Box::from(*n), v.clone()))
            .collect(),
    }
}

fn settings(args: &[(&str, Value)]) -> QueueSettings {
    QueueSettings::from_decl(&decl(args)).unwrap()
}

fn quorum(args: &[(&str, Value)]) -> QueueDecl {
    let mut decl = decl(args);
    decl.arguments.push("x-queue-type", Value::text("quorum"));
    decl
}

fn fault_of(decl: &QueueDecl) -> (Box<str>, Fault) {
    match QueueSettings::from_decl(decl) {
        Err(Refusal::InvalidArgument { arg, fault, .. }) => (arg, *fault),
        other => panic!("expected an invalid argument, got {other:?}"),
    }
}

fn fault(arg: &str, value: Value) -> Fault {
    let (named, fault) = fault_of(&decl(&[(arg, value)]));
    assert_eq!(&*named, arg);
    fault
}

#[test]
fn numbers_of_the_wrong_type_or_range_are_refused_with_rabbitmqs_reason() {
    for arg in [
        "x-message-ttl",
        "x-max-length",
        "x-max-length-bytes",
        "x-max-priority",
        "x-expires",
    ] {
        assert_eq!(fault(arg, Value::I32(-1)), Fault::Negative(-1), "{arg}");
        assert_eq!(
            fault(arg, Value::text("a")),
            Fault::NotAnInteger(Value::text("a")),
            "{arg}"
        );
        assert_eq!(
            fault(arg, Value::Bool(true)),
            Fault::NotAnInteger(Value::Bool(true)),
            "{arg}"
        );
    }
    assert_eq!(fault("x-expires", Value::I32(0)), Fault::Zero);
    assert_eq!(
        fault("x-max-priority", Value::I32(256)),
        Fault::TooLarge(256)
    );
    assert_eq!(
        fault("x-queue-version", Value::I32(3)),
        Fault::UnknownName("3".into())
    );
}

#[test]
fn zero_and_large_numbers_are_accepted_where_rabbitmq_accepts_them() {
    assert_eq!(
        settings(&[("x-message-ttl", Value::I32(0))]).message_ttl_ms,
        Some(0)
    );
    assert_eq!(
        settings(&[("x-message-ttl", Value::I64(4_294_967_296))]).message_ttl_ms,
        Some(4_294_967_296)
    );
    assert_eq!(
        settings(&[("x-max-length", Value::U8(0))]).max_length,
        Some(0)
    );
    assert_eq!(
        settings(&[("x-max-length-bytes", Value::U64(u64::MAX))]).max_length_bytes,
        Some(u64::MAX)
    );
    assert_eq!(
        settings(&[("x-max-priority", Value::I32(255))]).max_priority,
        Some(255)
    );
    assert_eq!(
        settings(&[("x-max-priority", Value::I32(0))]).max_priority,
        Some(0)
    );
    assert_eq!(
        settings(&[("x-expires", Value::I32(1))]).expires_ms,
        Some(1)
    );
}

#[test]
fn names_are_checked_against_the_known_ones() {
    for arg in [
        "x-overflow",
        "x-queue-mode",
        "x-queue-type",
        "x-dead-letter-strategy",
        "x-queue-leader-locator",
    ] {
        assert_eq!(
            fault(arg, Value::text("bad")),
            Fault::UnknownName("bad".into()),
            "{arg}"
        );
        assert_eq!(
            fault(arg, Value::I32(1)),
            Fault::UnacceptableType(Value::I32(1)),
            "{arg}"
        );
    }
    assert_eq!(
        fault("x-queue-type", Value::text("stream")),
        Fault::UnknownName("stream".into())
    );
    assert_eq!(
        settings(&[("x-overflow", Value::text("reject-publish-dlx"))]).overflow,
        Overflow::RejectPublishDeadLetter
    );
    assert_eq!(
        settings(&[("x-overflow", Value::text("reject-publish"))]).overflow,
        Overflow::RejectPublish
    );
    assert_eq!(
        settings(&[("x-queue-mode", Value::text("lazy"))]),
        QueueSettings::default()
    );
    assert_eq!(
        settings(&[("x-queue-type", Value::text("classic"))]).kind,
        QueueKind::Classic
    );
}

#[test]
fn single_active_consumer_is_a_truth_value() {
    let arg = "x-single-active-consumer";
    assert_eq!(
        fault(arg, Value::text("a")),
        Fault::UnacceptableType(Value::text("a"))
    );
    assert!(settings(&[(arg, Value::Bool(true))]).single_active_consumer);
    assert!(!settings(&[(arg, Value::Bool(false))]).single_active_consumer);
}

#[test]
fn dead_letter_exchange_is_a_name_and_its_routing_key_needs_one() {
    let (dlx, key) = ("x-dead-letter-exchange", "x-dead-letter-routing-key");
    assert_eq!(fault(dlx, Value::I32(1)), Fault::NotAName(Value::I32(1)));
    assert_eq!(
        fault(key, Value::text("k")),
        Fault::RoutingKeyWithoutExchange
    );
    let wrong = decl(&[(dlx, Value::text("a")), (key, Value::I32(1))]);
    assert_eq!(
        fault_of(&wrong),
        (key.into(), Fault::UnacceptableType(Value::I32(1)))
    );
    let target = settings(&[(dlx, Value::text("")), (key, Value::text("k"))])
        .dead_letter
        .unwrap();
    assert_eq!(
        (&*target.exchange, target.routing_key.as_deref()),
        ("", Some("k"))
    );
    let strategy =
        settings(&[("x-dead-letter-strategy", Value::text("at-most-once"))]).dead_letter_strategy;
    assert_eq!(strategy, DeadLetterStrategy::AtMostOnce);
}

#[test]
fn dead_letter_exchange_is_looked_at_first_then_the_type_then_values_then_support() {
    let mut all = decl(&[
        ("x-max-age", Value::text("1D")),
        ("x-expires", Value::I32(0)),
    ]);
    assert_eq!(fault_of(&all), ("x-expires".into(), Fault::Zero));
    all.arguments.push("x-queue-type", Value::text("bad"));
    assert_eq!(fault_of(&all).0, "x-queue-type".into());
    all.arguments.push("x-dead-letter-exchange", Value::Void);
    assert_eq!(fault_of(&all).0, "x-dead-letter-exchange".into());
}

#[test]
fn arguments_of_another_kind_of_queue_are_refused() {
    for arg in [
        "x-max-age",
        "x-stream-max-segment-size-bytes",
        "x-quorum-initial-group-size",
    ] {
        assert_eq!(
            fault(arg, Value::I32(1)),
            Fault::NotForThisKind(QueueKind::Classic),
            "{arg}"
        );
    }
    for (arg, value) in [
        ("x-max-priority", Value::I32(3)),
        ("x-queue-mode", Value::text("lazy")),
    ] {
        let (named, fault) = fault_of(&quorum(&[(arg, value)]));
        assert_eq!(
            (&*named, fault),
            (arg, Fault::NotForThisKind(QueueKind::Quorum))
        );
    }
}

#[test]
fn unknown_arguments_are_accepted() {
    assert_eq!(
        settings(&[("x-no-such-thing", Value::Void)]),
        QueueSettings::default()
    );
}

#[test]
fn quorum_queue_accepts_what_rabbitmq_accepts() {
    for (arg, value) in [
        ("x-overflow", Value::text("reject-publish-dlx")),
        ("x-delivery-limit", Value::I32(-1)),
        ("x-message-ttl", Value::I32(5)),
        ("x-quorum-initial-group-size", Value::I32(1)),
        ("x-expires", Value::I32(60_000)),
    ] {
        assert!(
            QueueSettings::from_decl(&quorum(&[(arg, value)])).is_ok(),
            "{arg}"
        );
    }
}

#[test]
fn quorum_queue_is_durable_shared_and_permanent() {
    let property = |edit: fn(&mut QueueDecl)| {
        let mut decl = quorum(&[]);
        decl.durable = false;
        edit(&mut decl);
        match QueueSettings::from_decl(&decl) {
            Err(Refusal::InvalidProperty { property, .. }) => property,
            other => panic!("expected an invalid property, got {other:?}"),
        }
    };
    assert_eq!(property(|_| ()), "non-durable");
    assert_eq!(
        property(|d| d.exclusive = Some(ConnectionId(1))),
        "exclusive-owner"
    );
    assert_eq!(property(|d| d.auto_delete = true), "auto-delete");
}

#[test]
fn delivery_limit_is_twenty_for_quorum_off_for_classic_and_negative_switches_it_off() {
    let of = |decl: &QueueDecl| {
        let settings = QueueSettings::from_decl(decl).unwrap();
        (settings.delivery_limit, settings.expose_counters)
    };
    assert_eq!(of(&quorum(&[])), (Some(20), true));
    assert_eq!(
        of(&quorum(&[("x-delivery-limit", Value::I32(-1))])),
        (None, true)
    );
    assert_eq!(
        of(&quorum(&[("x-delivery-limit", Value::I32(2))])),
        (Some(2), true)
    );
    assert_eq!(of(&decl(&[])), (None, false));
    assert_eq!(
        of(&decl(&[("x-delivery-limit", Value::I32(3))])),
        (Some(3), true)
    );
}

#[test]
fn quorum_queue_has_thirty_two_priorities_and_four_is_the_default() {
    let settings = QueueSettings::from_decl(&quorum(&[])).unwrap();
    assert_eq!(
        (settings.max_priority, settings.default_priority),
        (Some(31), 4)
    );
    let classic = QueueSettings::from_decl(&decl(&[])).unwrap();
    assert_eq!((classic.max_priority, classic.default_priority), (None, 0));
}

#[test]
fn arguments_with_an_effect_count_for_equivalence_and_others_do_not() {
    let args = |args: &[(&str, Value)]| decl(args).arguments;
    let differ = |a: &Headers, b: &Headers| super::arguments::difference(QueueKind::Classic, a, b);
    let thousand = args(&[("x-message-ttl", Value::I32(1000))]);
    assert_eq!(
        differ(&thousand, &args(&[("x-message-ttl", Value::U64(1000))])),
        None
    );
    assert_eq!(
        differ(
            &thousand,
            &args(&[("x-message-ttl", Value::I32(1000)), ("x-mine", Value::Void)])
        ),
        None
    );
    for other in [Value::I32(2000), Value::text("1000"), Value::F64(1000.0)] {
        let difference = differ(&thousand, &args(&[("x-message-ttl", other.clone())])).unwrap();
        assert_eq!(
            (difference.current, difference.received),
            (Some(Value::I32(1000)), Some(other))
        );
    }
    let gone = differ(&thousand, &args(&[])).unwrap();
    assert_eq!(
        (&*gone.arg, gone.current, gone.received),
        ("x-message-ttl", Some(Value::I32(1000)), None)
    );
    let added = differ(&args(&[]), &thousand).unwrap();
    assert_eq!(
        (added.current, added.received),
        (None, Some(Value::I32(1000)))
    );
}

#[test]
fn queue_type_left_out_means_classic() {
    let args = |name: &str| decl(&[("x-queue-type", Value::text(name))]).arguments;
    let differ = super::arguments::difference;
    assert_eq!(
        differ(QueueKind::Classic, &Headers::new(), &args("classic")),
        None
    );
    assert_eq!(
        differ(QueueKind::Classic, &args("classic"), &Headers::new()),
        None
    );
    let gone = differ(QueueKind::Quorum, &args("quorum"), &Headers::new()).unwrap();
    assert_eq!(
        (gone.received, gone.current),
        (Some(Value::text("classic")), Some(Value::text("quorum")))
    );
    assert!(differ(QueueKind::Quorum, &args("quorum"), &args("classic")).is_some());
    assert!(differ(QueueKind::Classic, &Headers::new(), &args("quorum")).is_some());
}
