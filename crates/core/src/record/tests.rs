use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::id::{PublisherId, Timestamp};
use crate::message::{
    Death, DeathPlace, DeathReason, Extras, FormatId, History, NewMessage, NoProperties,
    PropertyFormat,
};
use crate::topology::ExchangeKind;
use crate::value::Value;

struct OnlyNone;

impl Formats for OnlyNone {
    fn format(&self, id: FormatId) -> Option<&'static dyn PropertyFormat> {
        (id == FormatId(0)).then_some(&NoProperties)
    }
}

fn read(bytes: &[u8]) -> Record {
    decode(bytes, &OnlyNone).unwrap_or_else(|e| unreachable!("{e}"))
}

fn dead_message() -> Message {
    let place = DeathPlace {
        reason: DeathReason::Expired,
        queue: "q".into(),
        exchange: Bytes::from_static(b"x"),
    };
    let death = Death {
        reason: DeathReason::Expired,
        queue: "q".into(),
        exchange: Bytes::from_static(b"x"),
        routing_keys: vec![Bytes::from_static(b"a/b")],
        key_syntax: KeySyntax::Slashed,
        count: 3,
        first_time: Timestamp(10),
        last_time: Timestamp(20),
        original_ttl_ms: Some(5),
    };
    let history = History {
        deaths: vec![death],
        first: place.clone(),
        last: place,
    };
    let mut new = NewMessage::plain(b"dlx", b"a/b", b"body");
    new.key_syntax = KeySyntax::Slashed;
    new.native = b"native";
    new.durable = true;
    new.priority = Some(7);
    new.ttl_ms = Some(1000);
    new.publisher = Some(PublisherId(9));
    new.received_at = Timestamp(300);
    new.extras = Some(Box::new(Extras {
        cc: vec![Bytes::from_static(b"c")],
        bcc: vec![Bytes::from_static(b"d")],
        hide_cc: true,
        history: Some(history),
    }));
    new.build(&mut Vec::new())
}

/// The layout is a promise to the disk: if this fails, the version has to change.
#[test]
fn layout_of_version_1_stays_as_it_is() {
    let mut out = Vec::new();
    settled(QueueId(300), &[Lsn(5), Lsn(6), Lsn(7), Lsn(20)], &mut out);
    assert_eq!(out, [1, 8, 0xac, 0x02, 2, 5, 3, 12, 1]);
    out.clear();
    let message = NewMessage::plain(b"x", b"k", b"hi").build(&mut Vec::new());
    published(
        &message,
        [(QueueId(2), &[1_u32, 4][..])].into_iter(),
        &mut out,
    );
    assert_eq!(
        out,
        *b"\x01\x07\x00\x00\x00\x01x\x01k\x00\x02hi\x01\x02\x02\x01\x04"
    );
    out.clear();
    returned(
        QueueId(1),
        &[Returned {
            lsn: Lsn(9),
            attempts: 2,
            failures: 1,
        }],
        &mut out,
    );
    assert_eq!(out, [1, 9, 1, 1, 9, 2, 1]);
}

fn later() -> ScheduledRecord {
    ScheduledRecord {
        id: 300,
        vhost: "v".into(),
        at: Timestamp(400),
        via: Some("later".into()),
        retain: true,
    }
}

#[test]
fn scheduled_message_comes_back_as_it_waited_and_as_it_went() {
    let message = NewMessage::plain(b"x", b"k", b"hi").build(&mut Vec::new());
    let mut out = Vec::new();
    scheduled(&later(), &message, &mut out);
    assert_eq!(
        out,
        *b"\x01\x12\xac\x02\x01v\x90\x03\x01\x05later\x01\x00\x00\x00\x01x\x01k\x00\x02hi"
    );
    let Record::Scheduled(back, kept) = read(&out) else {
        unreachable!()
    };
    assert_eq!((back, kept.body()), (later(), &b"hi"[..]));
    out.clear();
    let to = core::iter::once((QueueId(2), &[1_u32][..]));
    released(300, Timestamp(9), &message, to, &mut out);
    assert_eq!(
        out,
        *b"\x01\x13\xac\x02\x01\x09\x00\x00\x00\x01x\x01k\x00\x02hi\x01\x02\x01\x01"
    );
    let Record::Released(300, Some(back)) = read(&out) else {
        unreachable!()
    };
    assert_eq!(
        (back.at, back.targets),
        (Timestamp(9), vec![(QueueId(2), vec![1])])
    );
    out.clear();
    released(300, Timestamp(9), &message, core::iter::empty(), &mut out);
    assert_eq!(out, [1, 19, 0xac, 0x02, 0]);
    assert!(matches!(read(&out), Record::Released(300, None)));
}

#[test]
fn message_with_everything_comes_back_the_same() {
    let message = dead_message();
    let mut out = Vec::new();
    moved(
        (QueueId(1), Lsn(44)),
        Timestamp(700),
        &message,
        [(QueueId(2), &[][..])].into_iter(),
        &mut out,
    );
    let Record::Moved {
        source,
        left,
        message: back,
        targets,
        at,
    } = read(&out)
    else {
        unreachable!()
    };
    assert_eq!(
        (source, left, targets, at),
        (
            QueueId(1),
            Some(Lsn(44)),
            vec![(QueueId(2), vec![])],
            Timestamp(700)
        )
    );
    let mut again = Vec::new();
    moved(
        (QueueId(1), Lsn(44)),
        Timestamp(700),
        &back,
        [(QueueId(2), &[][..])].into_iter(),
        &mut again,
    );
    assert_eq!(out, again);
    assert_eq!(back.extras(), message.extras());
    assert_eq!(
        (back.priority(), back.ttl_ms(), back.native()),
        (Some(7), Some(1000), &b"native"[..])
    );
}

#[test]
fn documents_come_back_the_same_and_so_does_their_end() {
    for value in [Some(&b"value"[..]), Some(b""), None] {
        let mut out = Vec::new();
        document("/", b"key", value, &mut out);
        let Record::Document(vhost, key, back) = read(&out) else {
            unreachable!()
        };
        assert_eq!((&*vhost, &*key, back.as_deref()), ("/", &b"key"[..], value));
    }
}

#[test]
fn message_of_a_route_set_names_the_set_and_not_its_queues() {
    let queues: Vec<(QueueId, Vec<u32>)> = (0..1_000).map(|n| (QueueId(n), vec![7])).collect();
    let mut out = Vec::new();
    let targets = queues.iter().map(|(queue, tags)| (*queue, &**tags));
    route_set(RouteSetId(9), targets, &mut out);
    let Record::RouteSet(RouteSetId(9), back) = read(&out) else {
        unreachable!()
    };
    assert_eq!(back, queues);
    let message = dead_message();
    out.clear();
    published_by_set(&message, RouteSetId(9), &mut out);
    let alone = out.len();
    let Record::PublishedBySet(back, RouteSetId(9)) = read(&out) else {
        unreachable!()
    };
    assert_eq!(back.body(), message.body());
    out.clear();
    published(&message, core::iter::empty(), &mut out);
    assert_eq!(alone, out.len());
}

#[test]
fn declarations_come_back_the_same() {
    let arguments: Headers = [
        ("x-max-length".into(), Value::I32(5)),
        (
            "nested".into(),
            Value::Map(
                [("a".into(), Value::List(vec![Value::Void, Value::F64(0.5)]))]
                    .into_iter()
                    .collect(),
            ),
        ),
    ]
    .into_iter()
    .collect();
    let mut out = Vec::new();
    let decl = QueueDecl {
        name: "q".into(),
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments: arguments.clone(),
    };
    queue_declared("/", QueueId(3), &decl, &mut out);
    let Record::QueueDeclared(vhost, id, back) = read(&out) else {
        unreachable!()
    };
    assert_eq!(
        (&*vhost, id, &*back.name, back.durable, back.arguments),
        ("/", QueueId(3), "q", true, arguments.clone())
    );

    out.clear();
    let x = ExchangeDecl {
        name: "x".into(),
        kind: ExchangeKind::Topic,
        durable: true,
        auto_delete: true,
        internal: false,
        arguments: Headers::new(),
        declared_by: "carol".into(),
    };
    exchange_declared("v", &x, &mut out);
    let Record::ExchangeDeclared(_, back) = read(&out) else {
        unreachable!()
    };
    assert_eq!(
        (
            &*back.name,
            back.kind.name(),
            back.auto_delete,
            back.internal
        ),
        ("x", "topic", true, false)
    );

    out.clear();
    let options = BindingOptions {
        tag: Some(8),
        exclude_publisher: Some(PublisherId(1)),
        at_most_once: true,
    };
    let b = BindingDecl {
        source: "x",
        destination: Destination::Queue("q"),
        key: b"a/+",
        syntax: KeySyntax::Slashed,
        arguments: &arguments,
        options,
    };
    bound("/", &b, &mut out);
    let Record::Bound(_, back, options) = read(&out) else {
        unreachable!()
    };
    assert_eq!(
        (
            &*back.source,
            back.to_exchange,
            &*back.destination,
            &*back.key
        ),
        ("x", false, "q", &b"a/+"[..])
    );
    assert_eq!(
        (options.tag, options.exclude_publisher, options.at_most_once),
        (Some(8), Some(PublisherId(1)), true)
    );
}

#[test]
fn nesting_beyond_the_limit_is_refused() {
    let nested = |depth: usize| {
        let mut value = Value::Void;
        for _ in 0..depth {
            value = Value::List(vec![value]);
        }
        let arguments: Headers = [("a".into(), value)].into_iter().collect();
        let decl = QueueDecl {
            name: "q".into(),
            durable: true,
            exclusive: None,
            auto_delete: false,
            arguments,
        };
        let mut out = Vec::new();
        queue_declared("/", QueueId(1), &decl, &mut out);
        decode(&out, &OnlyNone).map(|_| ())
    };
    assert_eq!(nested(DEPTH_MAX), Ok(()));
    assert_eq!(nested(DEPTH_MAX + 1), Err(RecordError::Malformed));
}

#[test]
fn every_type_of_exchange_is_read_back() {
    for name in [
        "direct",
        "fanout",
        "topic",
        "headers",
        "x-consistent-hash",
        "x-modulus-hash",
        "x-random",
        "x-local-random",
        "x-recent-history",
        "x-delayed-message",
    ] {
        let x = ExchangeDecl {
            name: "x".into(),
            kind: ExchangeKind::parse(name).unwrap(),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Headers::new(),
            declared_by: "carol".into(),
        };
        let mut out = Vec::new();
        exchange_declared("v", &x, &mut out);
        let Record::ExchangeDeclared(_, back) = read(&out) else {
            unreachable!()
        };
        assert_eq!(back, x);

        // As it was written before it said by whom.
        out.truncate(out.len() - "carol".len() - 1);
        let Record::ExchangeDeclared(_, back) = read(&out) else {
            unreachable!()
        };
        assert_eq!(&*back.declared_by, "");
    }
}

#[test]
fn message_of_a_record_is_read_alone() {
    let message = dead_message();
    let to = || core::iter::once((QueueId(1), &[1_u32, 2][..]));
    let (mut published, mut moved, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    super::published(&message, to(), &mut published);
    super::moved(
        (QueueId(300), Lsn(500)),
        Timestamp(9),
        &message,
        to(),
        &mut moved,
    );
    retained("v", b"topic", Some(&message), &mut kept);
    let (mut scheduled, mut released) = (Vec::new(), Vec::new());
    super::scheduled(&later(), &message, &mut scheduled);
    super::released(300, Timestamp(9), &message, to(), &mut released);
    for record in [&published, &moved, &kept, &scheduled, &released] {
        let read = message_of(record, &OnlyNone).unwrap();
        assert_eq!(read.body(), b"body");
        assert_eq!(read.extras(), message.extras());
    }
    let mut gone = Vec::new();
    retained("v", b"topic", None, &mut gone);
    let mut other = Vec::new();
    queue_deleted("v", QueueId(1), &mut other);
    let mut cancelled = Vec::new();
    super::cancelled(300, &mut cancelled);
    for record in [&gone[..], &other, &cancelled, &published[..9], &[]] {
        assert!(message_of(record, &OnlyNone).is_err());
    }
}

#[test]
fn other_versions_and_unknown_forms_are_named() {
    assert_eq!(
        decode(&[2, 1], &OnlyNone).map(|_| ()),
        Err(RecordError::UnknownVersion(2))
    );
    assert_eq!(
        decode(&[1, 7, 0, 9], &OnlyNone).map(|_| ()),
        Err(RecordError::UnknownFormat(9))
    );
    let unknown = [&[1, 1, 1, b'v', 1, b'x', 3][..], b"x-y", &[1, 0, 0, 0]].concat();
    assert_eq!(
        decode(&unknown, &OnlyNone).map(|_| ()),
        Err(RecordError::UnknownExchangeType {
            exchange: "x".into(),
            kind: "x-y".into(),
        })
    );
    assert_eq!(
        decode(&[1, 99], &OnlyNone).map(|_| ()),
        Err(RecordError::Malformed)
    );
}

proptest! {
    #[test]
    fn settled_places_come_back_in_order(places in proptest::collection::vec(1_u64..1000, 0..50)) {
        let lsns: Vec<Lsn> = places.into_iter().map(Lsn).collect();
        let mut out = Vec::new();
        settled(QueueId(1), &lsns, &mut out);
        let Record::Settled(_, back) = read(&out) else { unreachable!() };
        prop_assert_eq!(back, lsns);
    }

    #[test]
    fn damaged_records_never_panic(mut flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4), cut in any::<usize>()) {
        let mut out = Vec::new();
        moved((QueueId(1), Lsn(44)), Timestamp(700), &dead_message(), [(QueueId(2), &[3_u32][..])].into_iter(), &mut out);
        for (at, byte) in flips.drain(..) {
            let at = at % out.len();
            out[at] = byte;
        }
        out.truncate(cut % (out.len() + 1));
        let _ = decode(&out, &OnlyNone);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &OnlyNone);
    }
}
