use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::policy::{DeadLetterStrategy, Overflow};

fn headers(entries: &[(&str, Value)]) -> Headers {
    let entries = entries.iter().map(|(n, v)| (Box::from(*n), v.clone()));
    entries.collect()
}

fn fault(scope: PolicyScope, entries: &[(&str, Value)]) -> String {
    match check_definition(scope, &headers(entries)) {
        Err(fault) => fault.to_string(),
        Ok(()) => panic!("{entries:?} was taken"),
    }
}

fn user_fault(name: &str, value: Value) -> String {
    fault(PolicyScope::User, &[(name, value)])
}

fn decl(entries: &[(&str, Value)]) -> QueueDecl {
    QueueDecl {
        name: "q".into(),
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments: headers(entries),
    }
}

fn under(arguments: &[(&str, Value)], policy: &[(&str, Value)]) -> QueueSettings {
    let decl = decl(arguments);
    let declared = QueueSettings::from_decl(&decl).unwrap();
    declared.under_policy(&decl, &headers(policy))
}

#[test]
fn keys_are_in_the_order_in_which_they_are_looked_up() {
    assert!(KEYS.is_sorted_by(|a, b| a.name < b.name));
}

#[test]
fn values_that_cannot_be_used_are_refused_in_rabbitmqs_words() {
    let minus = Value::I64(-1);
    for (name, value, words) in [
        (
            "message-ttl",
            minus.clone(),
            "-1 is not a valid message TTL",
        ),
        (
            "message-ttl",
            Value::text("a"),
            "<<\"a\">> is not a valid message TTL",
        ),
        ("expires", Value::I64(0), "0 is not a valid queue expiry"),
        (
            "max-length",
            minus.clone(),
            "-1 is not a valid maximum length",
        ),
        (
            "max-length-bytes",
            Value::Bool(true),
            "true is not a valid maximum length in bytes",
        ),
        (
            "overflow",
            Value::text("x"),
            "<<\"x\">> is not a valid overflow value",
        ),
        (
            "dead-letter-exchange",
            Value::I64(3),
            "3 is not a valid dead letter exchange name",
        ),
        (
            "dead-letter-routing-key",
            Value::I64(3),
            "3 is not a valid dead letter routing key",
        ),
        (
            "alternate-exchange",
            Value::I64(3),
            "3 is not a valid alternate exchange name",
        ),
        (
            "delivery-limit",
            Value::F64(1.5),
            "1.5 is not a valid delivery limit",
        ),
        (
            "max-age",
            Value::text("1W"),
            "<<\"1W\">> is not a valid max age",
        ),
        (
            "queue-mode",
            Value::Void,
            "null is not a valid queue-mode value",
        ),
        (
            "queue-leader-locator",
            Value::List(vec![Value::I64(1), Value::text("b")]),
            "[1,<<\"b\">>] is not a valid queue leader locator value",
        ),
        (
            "dead-letter-strategy",
            Value::Map(headers(&[("a", Value::I64(1))])),
            "#{<<\"a\">> => 1} is not a valid dead letter strategy",
        ),
    ] {
        assert_eq!(user_fault(name, value), words, "{name}");
    }
}

#[test]
fn keys_that_there_are_not_are_named_with_their_values() {
    assert_eq!(
        user_fault("foo", Value::text("bar")),
        "[{<<\"foo\">>,<<\"bar\">>}] are not recognised policy settings"
    );
    for name in ["max-priority", "single-active-consumer", "queue-type", ""] {
        let words = user_fault(name, Value::I64(1));
        assert!(
            words.ends_with("are not recognised policy settings"),
            "{words}"
        );
    }
    assert_eq!(fault(PolicyScope::User, &[]), "no policy provided");
    let mixed = [("foo", Value::I64(1)), ("message-ttl", Value::text("x"))];
    assert_eq!(
        fault(PolicyScope::User, &mixed),
        "<<\"x\">> is not a valid message TTL",
        "values first"
    );
}

#[test]
fn operators_set_limits_only() {
    let check = |name, value| check_definition(PolicyScope::Operator, &headers(&[(name, value)]));
    for name in [
        "expires",
        "message-ttl",
        "max-length",
        "max-length-bytes",
        "delivery-limit",
    ] {
        assert_eq!(check(name, Value::I64(5)), Ok(()), "{name}");
    }
    for name in ["dead-letter-exchange", "overflow", "alternate-exchange"] {
        assert!(check(name, Value::text("drop-head")).is_err(), "{name}");
    }
}

#[test]
fn keys_of_what_there_is_not_here_are_kept() {
    let kept = headers(&[
        ("ha-mode", Value::text("all")),
        ("federation-upstream-set", Value::text("all")),
        ("max-age", Value::text("7D")),
        ("message-ttl", Value::I64(1)),
        ("stream-max-segment-size-bytes", Value::I64(3_000_000_000)),
    ]);
    assert_eq!(check_definition(PolicyScope::User, &kept), Ok(()));
    let idle: Vec<&str> = without_effect(&kept).collect();
    assert_eq!(idle.len(), 4);
    assert!(!idle.contains(&"message-ttl"));
}

#[test]
fn operator_lowers_numbers_and_what_the_kind_has_not_is_left_out() {
    let policy = headers(&[
        ("max-length", Value::I64(10)),
        ("queue-mode", Value::text("lazy")),
        ("max-age", Value::text("1D")),
        ("alternate-exchange", Value::text("ae")),
        ("overflow", Value::text("reject-publish")),
    ]);
    let operator = headers(&[
        ("max-length", Value::I64(5)),
        ("message-ttl", Value::I64(7)),
    ]);
    let merge = |subject| merge_definitions(subject, Some(&policy), Some(&operator));
    assert_eq!(
        merge(Subject::Queue(QueueKind::Quorum)),
        headers(&[
            ("max-length", Value::I64(5)),
            ("message-ttl", Value::I64(7)),
            ("overflow", Value::text("reject-publish")),
        ])
    );
    assert!(
        merge(Subject::Queue(QueueKind::Classic))
            .get("queue-mode")
            .is_some()
    );
    assert_eq!(
        merge(Subject::Exchange),
        headers(&[("alternate-exchange", Value::text("ae"))])
    );
    let higher = headers(&[("max-length", Value::I64(50))]);
    let merged = merge_definitions(
        Subject::Queue(QueueKind::Classic),
        Some(&policy),
        Some(&higher),
    );
    assert_eq!(merged.get("max-length"), Some(&Value::I64(10)));
}

#[test]
fn lower_of_argument_and_policy_counts_for_numbers() {
    for (argument, key) in [
        ("x-message-ttl", "message-ttl"),
        ("x-expires", "expires"),
        ("x-max-length", "max-length"),
        ("x-max-length-bytes", "max-length-bytes"),
        ("x-consumer-timeout", "consumer-timeout"),
    ] {
        let value = |settings: &QueueSettings| match key {
            "message-ttl" => settings.message_ttl_ms,
            "expires" => settings.expires_ms,
            "max-length" => settings.max_length,
            "max-length-bytes" => settings.max_length_bytes,
            _ => settings.consumer_timeout_ms,
        };
        let number = |n| Value::I64(n);
        let settings = under(&[(argument, number(10))], &[(key, number(20))]);
        assert_eq!(value(&settings), Some(10), "{key}");
        let settings = under(&[(argument, number(20))], &[(key, number(10))]);
        assert_eq!(value(&settings), Some(10), "{key}");
        let settings = under(&[], &[(key, number(10))]);
        assert_eq!(value(&settings), Some(10), "{key}");
        let settings = under(&[(argument, number(20))], &[]);
        assert_eq!(value(&settings), Some(20), "{key}");
    }
}

#[test]
fn arguments_win_where_there_is_no_lower() {
    let policy = [
        ("overflow", Value::text("reject-publish")),
        ("dead-letter-exchange", Value::text("of-policy")),
        ("dead-letter-routing-key", Value::text("key-of-policy")),
        ("dead-letter-strategy", Value::text("at-most-once")),
    ];
    let plain = under(&[], &policy);
    assert_eq!(plain.overflow, Overflow::RejectPublish);
    assert_eq!(plain.dead_letter_strategy, DeadLetterStrategy::AtMostOnce);
    let target = plain.dead_letter.unwrap();
    assert_eq!(
        (&*target.exchange, target.routing_key.as_deref()),
        ("of-policy", Some("key-of-policy"))
    );
    let declared = under(
        &[
            ("x-overflow", Value::text("drop-head")),
            ("x-dead-letter-exchange", Value::text("own")),
            ("x-dead-letter-strategy", Value::text("at-least-once")),
        ],
        &policy,
    );
    assert_eq!(declared.overflow, Overflow::DropHead);
    assert_eq!(
        declared.dead_letter_strategy,
        DeadLetterStrategy::AtLeastOnce
    );
    let target = declared.dead_letter.unwrap();
    assert_eq!(
        (&*target.exchange, target.routing_key.as_deref()),
        ("own", Some("key-of-policy"))
    );
    let key_alone = under(&[], &[("dead-letter-routing-key", Value::text("k"))]);
    assert_eq!(key_alone.dead_letter, None);
}

#[test]
fn delivery_limit_of_a_policy_replaces_the_default_and_lowers_what_is_declared() {
    let quorum = ("x-queue-type", Value::text("quorum"));
    let limit = |declared: Option<i64>, policy: i64| {
        let mut arguments = vec![quorum.clone()];
        arguments.extend(declared.map(|n| ("x-delivery-limit", Value::I64(n))));
        under(&arguments, &[("delivery-limit", Value::I64(policy))]).delivery_limit
    };
    assert_eq!(limit(None, 50), Some(50));
    assert_eq!(limit(None, -1), None);
    assert_eq!(limit(Some(5), 50), Some(5));
    assert_eq!(limit(Some(5), 3), Some(3));
    assert_eq!(limit(Some(5), -1), Some(5));
    assert_eq!(limit(Some(-1), 5), Some(5));
    assert_eq!(limit(Some(-1), -1), None);
}
