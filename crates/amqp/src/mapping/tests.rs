use amq_protocol::protocol::basic::parse_properties;
use amq_protocol::types::AMQPValue;
use proptest::prelude::*;
use ternmq_core::id::Timestamp;
use ternmq_core::message::{Body, Death, DeathPlace, DeathReason, History, NewMessage};

use super::*;
use crate::properties::Properties;
use crate::table::{encode_headers, find, validate};

/// Stands for another protocol: its native form is the neutral properties it was made with.
struct Foreign(Neutral);

impl PropertyFormat for Foreign {
    fn id(&self) -> FormatId {
        FormatId(99)
    }
    fn decode(&self, _native: &[u8]) -> Neutral {
        self.0.clone()
    }
}

fn headers<const N: usize>(entries: [(&str, Value); N]) -> Headers {
    entries
        .into_iter()
        .map(|(name, value)| (name.into(), value))
        .collect()
}

fn raw_table(headers: &Headers) -> Vec<u8> {
    let mut raw = Vec::new();
    encode_headers(&mut raw, headers).unwrap();
    raw
}

fn encoded(properties: &Properties<'_>) -> Vec<u8> {
    let mut raw = Vec::new();
    properties.encode(&mut raw).unwrap();
    raw
}

fn native(raw: &[u8]) -> NewMessage<'_> {
    NewMessage {
        format: &FORMAT,
        native: raw,
        ..NewMessage::plain(b"x", b"k", b"body")
    }
}

fn foreign(neutral: Neutral) -> NewMessage<'static> {
    NewMessage {
        format: Box::leak(Box::new(Foreign(neutral))),
        ..NewMessage::plain(b"amq.topic", b"a/b", b"body")
    }
}

fn built(message: NewMessage<'_>) -> Message {
    message.build(&mut Vec::new())
}

fn rendered(message: &Message, annotations: &[(&str, Value)]) -> Vec<u8> {
    from_core(message, annotations, &mut b"left over".to_vec())
        .unwrap()
        .to_vec()
}

fn strings(values: &[&'static str]) -> Value {
    Value::List(values.iter().map(Value::text).collect())
}

fn keys(values: &[&'static str]) -> Vec<Bytes> {
    values
        .iter()
        .map(|v| Bytes::from_static(v.as_bytes()))
        .collect()
}

fn death(reason: DeathReason, queue: &str, original_ttl_ms: Option<u64>) -> Death {
    Death {
        reason,
        queue: queue.into(),
        exchange: Bytes::from_static(b"orders"),
        routing_keys: keys(&["a/b", "cc"]),
        key_syntax: KeySyntax::Slashed,
        count: 3,
        first_time: Timestamp(1_700_000_000_999),
        last_time: Timestamp(1_700_000_009_000),
        original_ttl_ms,
    }
}

fn history() -> History {
    let place = |reason, queue: &str| DeathPlace {
        reason,
        queue: queue.into(),
        exchange: Bytes::from_static(b"orders"),
    };
    History {
        deaths: vec![
            death(DeathReason::Rejected, "late", None),
            death(DeathReason::Expired, "early", Some(60_000)),
        ],
        first: place(DeathReason::Expired, "early"),
        last: place(DeathReason::Rejected, "late"),
    }
}

fn died(hide_cc: bool) -> Box<Extras> {
    Box::new(Extras {
        history: Some(history()),
        hide_cc,
        ..Extras::default()
    })
}

fn names(raw: &[u8]) -> Vec<String> {
    let table = Properties::parse(raw).unwrap().headers.unwrap();
    Entries::new(table)
        .map(|entry| String::from_utf8(entry.unwrap().0.to_vec()).unwrap())
        .collect()
}

proptest! {
    #[test]
    fn message_of_amqp_is_delivered_byte_for_byte(
        entries in proptest::collection::vec(("[a-d]{0,3}", any::<i16>()), 0..5),
        texts in proptest::collection::vec(proptest::option::of("[a-z]{0,9}"), 5),
        mode: Option<u8>, priority: Option<u8>, ttl in proptest::option::of(0_u32..), timestamp: Option<u64>,
    ) {
        let table = raw_table(&entries.into_iter().map(|(n, v)| (n.into(), Value::I16(v))).collect());
        let ttl = ttl.map(|ms| ms.to_string());
        let text = |at: usize| texts[at].as_deref().map(str::as_bytes);
        let raw = encoded(&Properties {
            content_type: text(0), correlation_id: text(1), reply_to: text(2), user_id: text(3), cluster_id: text(4),
            headers: (!table.is_empty()).then_some(&table), delivery_mode: mode, priority,
            expiration: ttl.as_deref().map(str::as_bytes), timestamp, ..Properties::default()
        });
        let incoming = to_core(&raw).unwrap();
        prop_assert_eq!(incoming.durable, mode == Some(2));
        prop_assert_eq!(incoming.priority, priority);
        prop_assert_eq!(incoming.ttl_ms.map(|ms| ms.to_string()), ttl);
        prop_assert_eq!(&incoming.extras, &None);
        let message = built(NewMessage { ttl_ms: incoming.ttl_ms, ..native(&incoming.native) });
        let delivered = rendered(&message, &[]);
        prop_assert_eq!(if delivered.is_empty() { vec![0, 0] } else { delivered }, raw);
    }

    #[test]
    fn any_bytes_are_mapped_without_panic(raw in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = to_core(&raw);
        let _ = FORMAT.decode(&raw);
        // Whatever a damaged store holds, what is rendered from it can be read.
        let message = built(NewMessage { extras: Some(died(true)), ..native(&raw) });
        let delivered = rendered(&message, &[(X_DELIVERY_COUNT, Value::I64(1))]);
        prop_assert!(Properties::parse(&delivered).is_ok());
    }

    #[test]
    fn every_expiration_is_a_number_or_refused(text in "[-+]?[0-9]{0,25}[ .a]?") {
        let expected = text.strip_prefix('+').unwrap_or(&text).parse::<u128>().ok();
        let read = parse_expiration(text.as_bytes());
        match expected {
            Some(ms) => prop_assert_eq!(read, Ok(u64::try_from(ms).unwrap_or(u64::MAX))),
            None => prop_assert!(read.is_err() || read == Ok(0), "{}", text),
        }
    }
}

#[test]
fn expirations_are_refused_in_rabbitmqs_words() {
    for (text, message) in [
        ("-1", "invalid expiration '-1': {value_negative,-1}"),
        ("-007", "invalid expiration '-007': {value_negative,-7}"),
        ("abc", "invalid expiration 'abc': no_integer"),
        ("1.5", "invalid expiration '1.5': {leftover_string,\".5\"}"),
        ("", "invalid expiration '': no_integer"),
        ("-", "invalid expiration '-': no_integer"),
        (
            "1000 ",
            "invalid expiration '1000 ': {leftover_string,\" \"}",
        ),
        (
            "-1.5",
            "invalid expiration '-1.5': {leftover_string,\".5\"}",
        ),
    ] {
        let raw = encoded(&Properties {
            expiration: Some(text.as_bytes()),
            ..Properties::default()
        });
        assert_eq!(to_core(&raw).unwrap_err().to_string(), message);
    }
    for (text, ms) in [
        ("0", 0),
        ("-0", 0),
        ("+5", 5),
        ("4294967296", 4_294_967_296),
        ("99999999999999999999", u64::MAX),
    ] {
        assert_eq!(parse_expiration(text.as_bytes()), Ok(ms));
    }
}

#[test]
fn publish_without_properties_keeps_no_bytes() {
    let incoming = to_core(&[0, 0]).unwrap();
    assert!(incoming.native.is_empty());
    assert_eq!(
        (incoming.durable, incoming.priority, incoming.ttl_ms),
        (false, None, None)
    );
    assert_eq!(
        to_core(&[]).unwrap_err(),
        MappingError::Properties(PropertiesError::Truncated)
    );
}

#[test]
fn copies_become_routing_keys_and_blind_ones_are_stripped() {
    let table = headers([
        ("BCC", strings(&["hidden"])),
        ("z", Value::U16(7)),
        ("CC", strings(&["b", "c"])),
        ("BCC", strings(&["again"])),
        ("a", Value::U64(9)),
    ]);
    let table = raw_table(&table);
    let raw = encoded(&Properties {
        headers: Some(&table),
        type_: Some(b"t"),
        ..Properties::default()
    });
    let incoming = to_core(&raw).unwrap();
    let extras = incoming.extras.unwrap();
    assert_eq!(
        (extras.cc, extras.bcc),
        (keys(&["b", "c"]), keys(&["hidden"]))
    );
    let kept = headers([
        ("z", Value::U16(7)),
        ("CC", strings(&["b", "c"])),
        ("a", Value::U64(9)),
    ]);
    let kept = raw_table(&kept);
    let expected = encoded(&Properties {
        headers: Some(&kept),
        type_: Some(b"t"),
        ..Properties::default()
    });
    assert_eq!(*incoming.native, *expected);
}

#[test]
fn copies_alone_leave_the_bytes_as_they_are() {
    let table = raw_table(&headers([("CC", strings(&["b"]))]));
    let raw = encoded(&Properties {
        headers: Some(&table),
        ..Properties::default()
    });
    let incoming = to_core(&raw).unwrap();
    assert!(matches!(incoming.native, Cow::Borrowed(kept) if kept == raw));
    assert_eq!(incoming.extras.unwrap().cc, keys(&["b"]));
}

#[test]
fn copies_must_be_arrays_but_other_elements_than_strings_are_passed_over() {
    for name in ["CC", "BCC"] {
        let table = raw_table(&headers([(name, Value::text("b"))]));
        let raw = encoded(&Properties {
            headers: Some(&table),
            ..Properties::default()
        });
        let text = format!("invalid message: {{unacceptable_type_in_header,\"{name}\",longstr}}");
        assert_eq!(to_core(&raw).unwrap_err().to_string(), text);
    }
    let mixed = Value::List(vec![Value::I32(1), Value::text("b"), Value::Void]);
    let table = raw_table(&headers([("BCC", mixed), ("CC", Value::List(Vec::new()))]));
    let raw = encoded(&Properties {
        headers: Some(&table),
        ..Properties::default()
    });
    let extras = to_core(&raw).unwrap().extras.unwrap();
    assert_eq!((extras.cc, extras.bcc), (Vec::new(), keys(&["b"])));
}

#[test]
fn neutral_view_of_amqp_properties_holds_everything() {
    let table = raw_table(&headers([
        ("n", Value::I8(-1)),
        ("x-reply-to-topic", Value::text("a.b")),
    ]));
    let raw = encoded(&Properties {
        content_type: Some(b"text/plain"),
        content_encoding: Some(b"gzip"),
        headers: Some(&table),
        correlation_id: Some(b"c"),
        reply_to: Some(b"r"),
        message_id: Some(b"m"),
        timestamp: Some(5),
        type_: Some(b"t"),
        user_id: Some(b"u"),
        app_id: Some(b"a"),
        ..Properties::default()
    });
    let some = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let expected = Neutral {
        content_type: some("text/plain"),
        content_encoding: some("gzip"),
        message_id: some("m"),
        correlation_id: some("c"),
        reply_to: some("r"),
        reply_topic: Some((KeySyntax::Dotted, Bytes::from_static(b"a.b"))),
        message_type: some("t"),
        app_id: some("a"),
        user_id: some("u"),
        timestamp: Some(5),
        body_is_text: false,
        headers: headers([("n", Value::I8(-1))]),
    };
    assert_eq!(built(native(&raw)).properties(), expected);
    assert_eq!(built(native(&[])).properties(), Neutral::default());
}

#[test]
fn correlation_header_stands_in_for_the_property_only_where_that_is_missing() {
    let table = raw_table(&headers([("x-correlation-id", Value::text("long"))]));
    let raw = encoded(&Properties {
        headers: Some(&table),
        ..Properties::default()
    });
    let neutral = FORMAT.decode(&raw);
    assert_eq!(neutral.correlation_id, Some(Bytes::from_static(b"long")));
    assert!(neutral.headers.is_empty());
    let raw = encoded(&Properties {
        headers: Some(&table),
        correlation_id: Some(b"short"),
        ..Properties::default()
    });
    let neutral = FORMAT.decode(&raw);
    assert_eq!(neutral.correlation_id, Some(Bytes::from_static(b"short")));
    assert_eq!(neutral.headers.len(), 1);
}

#[test]
fn damaged_native_bytes_give_what_can_be_read() {
    let neutral = FORMAT.decode(b"\x80\x80\x01t\x09cut");
    assert_eq!(neutral.content_type, Some(Bytes::from_static(b"t")));
    assert_eq!(neutral.message_id, None);
}

#[test]
fn history_is_shown_with_exact_order_and_types() {
    let table = raw_table(&headers([
        ("zz", Value::U8(1)),
        ("k", Value::Bool(true)),
        ("k", Value::Bool(false)),
    ]));
    let raw = encoded(&Properties {
        headers: Some(&table),
        expiration: Some(b"60000"),
        ..Properties::default()
    });
    let message = built(NewMessage {
        extras: Some(died(false)),
        ..native(&raw)
    });
    let delivered = rendered(&message, &[]);
    let properties = Properties::parse(&delivered).unwrap();
    assert_eq!(
        properties.expiration, None,
        "death takes the time to live away"
    );
    assert_eq!(
        names(&delivered),
        [
            "k",
            "x-death",
            "x-first-death-exchange",
            "x-first-death-queue",
            "x-first-death-reason",
            "x-last-death-exchange",
            "x-last-death-queue",
            "x-last-death-reason",
            "zz",
        ]
    );
    assert_eq!(
        properties.header(b"k").unwrap().as_bool(),
        Some(true),
        "of equal names the first stays"
    );
    for (name, text) in [
        ("x-first-death-exchange", "orders"),
        ("x-first-death-queue", "early"),
        ("x-first-death-reason", "expired"),
        ("x-last-death-exchange", "orders"),
        ("x-last-death-queue", "late"),
        ("x-last-death-reason", "rejected"),
    ] {
        assert_eq!(
            properties.header(name.as_bytes()).unwrap().as_text(),
            Some(text.as_bytes()),
            "{name}"
        );
    }
    // Each entry is a table within the array.
    let keys = b"\x0crouting-keysA\0\0\0\x0fS\0\0\0\x03a.bS\0\0\0\x02cc";
    let common = [&b"\x05countl\0\0\0\0\0\0\0\x03"[..]];
    let time_and_rest = [
        &b"\x04timeT\0\0\0\0\x65\x53\xf1\x00\x08exchangeS\0\0\0\x06orders"[..],
        keys,
    ]
    .concat();
    let late = [
        common[0],
        b"\x06reasonS\0\0\0\x08rejected\x05queueS\0\0\0\x04late",
        &time_and_rest,
    ]
    .concat();
    let early = [
        b"\x13original-expirationS\0\0\0\x0560000",
        common[0],
        b"\x06reasonS\0\0\0\x07expired\x05queueS\0\0\0\x05early",
        &time_and_rest,
    ]
    .concat();
    let deaths: Vec<_> = properties
        .header(b"x-death")
        .unwrap()
        .as_array()
        .unwrap()
        .map(|entry| entry.unwrap().payload)
        .collect();
    assert_eq!(deaths, [late, early]);
}

#[test]
fn amq_protocol_reads_the_history() {
    let message = built(NewMessage {
        extras: Some(died(false)),
        ..native(&[])
    });
    let delivered = rendered(&message, &[]);
    let (rest, theirs) = parse_properties(&delivered[..]).unwrap();
    assert!(rest.is_empty());
    let table = theirs.headers().as_ref().unwrap();
    let Some(AMQPValue::FieldArray(deaths)) = table.inner().get("x-death") else {
        panic!("{table:?}")
    };
    let AMQPValue::FieldTable(first) = &deaths.as_slice()[0] else {
        panic!("{deaths:?}")
    };
    assert_eq!(first.inner().get("count"), Some(&AMQPValue::LongLongInt(3)));
    assert_eq!(
        first.inner().get("time"),
        Some(&AMQPValue::Timestamp(1_700_000_000))
    );
}

#[test]
fn client_made_death_header_passes_until_the_first_death_replaces_it() {
    let table = raw_table(&headers([("x-death", Value::text("made up"))]));
    let raw = encoded(&Properties {
        headers: Some(&table),
        ..Properties::default()
    });
    assert_eq!(rendered(&built(native(&raw)), &[]), raw);
    let dead = rendered(
        &built(NewMessage {
            extras: Some(died(false)),
            ..native(&raw)
        }),
        &[],
    );
    let properties = Properties::parse(&dead).unwrap();
    assert_eq!(
        properties
            .header(b"x-death")
            .unwrap()
            .as_array()
            .unwrap()
            .count(),
        2
    );
    assert_eq!(
        names(&dead)
            .iter()
            .filter(|name| *name == "x-death")
            .count(),
        1
    );
}

#[test]
fn copies_that_no_longer_hold_are_hidden() {
    let table = raw_table(&headers([("CC", strings(&["b"])), ("a", Value::Void)]));
    let raw = encoded(&Properties {
        headers: Some(&table),
        ..Properties::default()
    });
    let hidden = rendered(
        &built(NewMessage {
            extras: Some(died(true)),
            ..native(&raw)
        }),
        &[],
    );
    assert!(!names(&hidden).contains(&"CC".to_owned()));
    assert!(names(&hidden).contains(&"a".to_owned()));
    let shown = rendered(
        &built(NewMessage {
            extras: Some(died(false)),
            ..native(&raw)
        }),
        &[],
    );
    assert!(names(&shown).contains(&"CC".to_owned()));
    // Without anything added the order stays.
    let table = raw_table(&headers([
        ("z", Value::Void),
        ("CC", strings(&["b"])),
        ("a", Value::Void),
    ]));
    let raw = encoded(&Properties {
        headers: Some(&table),
        ..Properties::default()
    });
    let extras = Some(Box::new(Extras {
        hide_cc: true,
        ..Extras::default()
    }));
    assert_eq!(
        names(&rendered(
            &built(NewMessage {
                extras,
                ..native(&raw)
            }),
            &[]
        )),
        ["z", "a"]
    );
}

#[test]
fn annotations_sort_the_headers_and_win_over_the_clients() {
    let table = raw_table(&headers([
        ("z", Value::Void),
        ("x-delivery-count", Value::text("mine")),
        ("a", Value::Void),
    ]));
    let raw = encoded(&Properties {
        headers: Some(&table),
        expiration: Some(b"5"),
        ..Properties::default()
    });
    let message = built(NewMessage {
        ttl_ms: Some(5),
        ..native(&raw)
    });
    let counts = [
        (X_DELIVERY_COUNT, Value::I64(2)),
        (X_ACQUIRED_COUNT, Value::I64(3)),
    ];
    let delivered = rendered(&message, &counts);
    assert_eq!(
        names(&delivered),
        ["a", "x-acquired-count", "x-delivery-count", "z"]
    );
    let properties = Properties::parse(&delivered).unwrap();
    assert_eq!(
        properties.header(b"x-delivery-count").unwrap().as_i64(),
        Some(2)
    );
    assert_eq!(
        properties.expiration,
        Some(&b"5"[..]),
        "only death takes the time to live away"
    );
}

#[test]
fn time_to_live_given_after_a_death_is_shown() {
    let message = built(NewMessage {
        extras: Some(died(false)),
        ttl_ms: Some(250),
        ..native(&[])
    });
    assert_eq!(
        Properties::parse(&rendered(&message, &[]))
            .unwrap()
            .expiration,
        Some(&b"250"[..])
    );
}

#[test]
fn foreign_message_is_rendered_from_its_neutral_properties() {
    let neutral = Neutral {
        content_type: Some(Bytes::from_static(b"text/plain")),
        correlation_id: Some(Bytes::from_static("kö".as_bytes())),
        reply_topic: Some((KeySyntax::Slashed, Bytes::from_static(b"re/ply.to"))),
        body_is_text: true,
        headers: headers([
            ("b", Value::text("2")),
            ("a", Value::text("1")),
            ("b", Value::text("3")),
        ]),
        ..Neutral::default()
    };
    let message = built(NewMessage {
        durable: true,
        ttl_ms: Some(90_000),
        received_at: Timestamp(1_700_000_000_999),
        key_syntax: KeySyntax::Slashed,
        ..foreign(neutral)
    });
    let delivered = rendered(&message, &[]);
    let table = raw_table(&headers([
        ("a", Value::text("1")),
        ("b", Value::text("2")),
        ("x-reply-to-topic", Value::text("re.ply.to")),
    ]));
    let expected = Properties {
        content_type: Some(b"text/plain"),
        headers: Some(&table),
        delivery_mode: Some(2),
        correlation_id: Some("kö".as_bytes()),
        expiration: Some(b"90000"),
        timestamp: Some(1_700_000_000),
        ..Properties::default()
    };
    assert_eq!(Properties::parse(&delivered), Ok(expected));
    assert_eq!(routing_key(&message, &mut Vec::new()), b"a.b");
}

#[test]
fn foreign_message_without_expiry_or_headers_has_neither_timestamp_nor_table() {
    let delivered = rendered(&built(foreign(Neutral::default())), &[]);
    assert_eq!(delivered, [0x10, 0, 1]);
}

#[test]
fn dead_foreign_message_that_had_an_expiry_keeps_its_timestamp() {
    let message = built(NewMessage {
        extras: Some(died(false)),
        received_at: Timestamp(5000),
        ..foreign(Neutral::default())
    });
    let delivered = rendered(&message, &[]);
    let properties = Properties::parse(&delivered).unwrap();
    assert_eq!(
        (properties.expiration, properties.timestamp),
        (None, Some(5))
    );
    assert!(find(properties.headers.unwrap(), b"x-death").is_some());
}

#[test]
fn foreign_values_that_no_short_string_can_say_go_to_headers_or_are_dropped() {
    let long = Bytes::from(vec![b'c'; 256]);
    let neutral = |correlation: Bytes| Neutral {
        content_type: Some(Bytes::from_static("café".as_bytes())),
        content_encoding: Some(long.clone()),
        correlation_id: Some(correlation),
        message_id: Some(long.clone()),
        app_id: Some(long.clone()),
        headers: [
            ("n".repeat(255).into(), Value::Void),
            ("n".repeat(256).into(), Value::Void),
        ]
        .into_iter()
        .collect(),
        ..Neutral::default()
    };
    for correlation in [
        long.clone(),
        Bytes::from_static(b"nul\0"),
        Bytes::from_static(b"\xff"),
    ] {
        let delivered = rendered(&built(foreign(neutral(correlation.clone()))), &[]);
        let properties = Properties::parse(&delivered).unwrap();
        assert_eq!(
            (
                properties.content_type,
                properties.content_encoding,
                properties.correlation_id,
                properties.app_id
            ),
            (None, None, None, None)
        );
        assert_eq!(
            properties.header(b"x-correlation-id").unwrap().as_text(),
            Some(&correlation[..])
        );
        assert_eq!(
            properties.header(b"x-message-id").unwrap().as_text(),
            Some(&long[..])
        );
        assert_eq!(names(&delivered).len(), 3);
    }
}

#[test]
fn foreign_value_nested_too_deeply_is_left_out_alone() {
    let deep = (0..200).fold(Value::Void, |inner, _| Value::List(vec![inner]));
    let neutral = Neutral {
        headers: headers([("deep", deep), ("kept", Value::Void)]),
        ..Neutral::default()
    };
    let delivered = rendered(&built(foreign(neutral)), &[]);
    assert_eq!(names(&delivered), ["kept"]);
    assert_eq!(
        validate(Properties::parse(&delivered).unwrap().headers.unwrap()),
        Ok(())
    );
}

#[test]
fn own_routing_key_is_shown_as_it_is() {
    let message = built(NewMessage {
        body: Body::Inline(b""),
        ..native(&[])
    });
    let mut scratch = b"untouched".to_vec();
    assert_eq!(routing_key(&message, &mut scratch), b"k");
    assert_eq!(scratch, b"untouched");
}
