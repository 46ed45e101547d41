use std::num::NonZeroU16;

use ternmq_core::message::{Death, DeathPlace, DeathReason, Extras, History};

use super::*;
use crate::codec::{Decoded, Limits, OutgoingPublish, decode, publish};
use crate::frame::Packet;

const RECEIVED: Timestamp = Timestamp(1_000_000);

fn origin() -> Origin<'static> {
    Origin {
        exchange: b"amq.topic",
        received_at: RECEIVED,
        publisher: None,
    }
}

fn buf(properties: &[Property<'_>]) -> PropertyBuf {
    let mut buf = PropertyBuf::new();
    for property in properties {
        buf.push(*property).unwrap();
    }
    buf
}

fn incoming<'a>(properties: &'a PropertyBuf, payload: &'a [u8]) -> Publish<'a> {
    Publish {
        dup: false,
        qos: QoS::ExactlyOnce,
        retain: true,
        topic: "a.b/c",
        packet_id: NonZeroU16::new(1),
        topic_alias: None,
        message_expiry_s: None,
        properties: properties.as_properties(),
        payload,
    }
}

fn message_of(publish: &Publish<'_>) -> Message {
    to_core(publish, publish.topic, origin(), &mut Vec::new()).build(&mut Vec::new())
}

const USER_DATA: [Property<'static>; 7] = [
    Property::UserProperty("b", "2"),
    Property::ContentType("text/plain"),
    Property::UserProperty("a", "1"),
    Property::PayloadFormatIndicator(true),
    Property::UserProperty("b", ""),
    Property::ResponseTopic("re/ply.x"),
    Property::CorrelationData(b"\0\xFF"),
];

#[test]
fn mqtt_subscriber_gets_user_data_bit_for_bit() {
    let properties = buf(&USER_DATA);
    let message = message_of(&incoming(&properties, b"body"));
    let mut scratch = PropertyBuf::new();
    let out = from_core(&message, ProtocolVersion::V5, RECEIVED, &mut scratch).unwrap();
    assert_eq!(out.properties, properties.as_properties());
    assert_eq!(
        (out.qos, out.retain, out.message_expiry_s),
        (QoS::ExactlyOnce, true, None)
    );
    assert_eq!(out.topic, TopicText::Topic(b"a.b/c"));
    assert_eq!(message.body(), b"body");
    assert!(message.durable());
}

#[test]
fn what_belongs_to_a_connection_is_not_kept() {
    let properties = buf(&[
        Property::UserProperty("a", "1"),
        Property::TopicAlias(NonZeroU16::MIN),
        Property::MessageExpiryInterval(7),
        Property::SubscriptionIdentifier(300),
        Property::UserProperty("b", "2"),
    ]);
    let message = message_of(&incoming(&properties, b""));
    let kept = buf(&[
        Property::UserProperty("a", "1"),
        Property::UserProperty("b", "2"),
    ]);
    assert_eq!(
        Native::read(message.native()).properties,
        kept.as_properties()
    );
    assert_eq!(message.ttl_ms(), Some(7000));
}

#[test]
fn will_leaves_its_delay_behind() {
    let properties = buf(&[
        Property::WillDelayInterval(9),
        Property::MessageExpiryInterval(0),
    ]);
    let will = Will {
        qos: QoS::AtMostOnce,
        retain: true,
        topic: "w",
        payload: b"gone",
        properties: properties.as_properties(),
    };
    let message = will_to_core(&will, origin(), &mut Vec::new()).build(&mut Vec::new());
    let native = Native::read(message.native());
    assert_eq!((native.qos, native.retain), (QoS::AtMostOnce, true));
    assert!(native.properties.is_empty() && !message.durable());
    assert_eq!(message.ttl_ms(), Some(0));
}

#[test]
fn expiry_is_rewritten_to_the_remainder_rounded_up() {
    let properties = buf(&[Property::MessageExpiryInterval(10)]);
    let message = message_of(&incoming(&properties, b""));
    let mut left = |waited_ms| {
        let mut scratch = PropertyBuf::new();
        let out = from_core(
            &message,
            ProtocolVersion::V5,
            RECEIVED.plus_ms(waited_ms),
            &mut scratch,
        );
        out.unwrap().message_expiry_s
    };
    assert_eq!(
        [0, 1, 1000, 9999, 10_000, 20_000]
            .map(&mut left)
            .map(Option::unwrap),
        [10, 10, 9, 1, 0, 0]
    );
}

#[test]
fn mqtt_3_gets_no_properties() {
    let properties = buf(&[
        Property::ContentType("x"),
        Property::MessageExpiryInterval(10),
    ]);
    let message = message_of(&incoming(&properties, b""));
    let mut scratch = PropertyBuf::new();
    for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
        let out = from_core(&message, version, RECEIVED, &mut scratch).unwrap();
        assert!(out.properties.is_empty() && out.message_expiry_s.is_none());
    }
}

#[test]
fn neutral_view_has_the_user_properties_in_order() {
    let properties = buf(&USER_DATA);
    let core = message_of(&incoming(&properties, b"")).properties();
    assert_eq!(core.content_type.as_deref(), Some(&b"text/plain"[..]));
    assert_eq!(core.correlation_id.as_deref(), Some(&b"\0\xFF"[..]));
    assert_eq!(
        core.reply_topic,
        Some((KeySyntax::Slashed, Bytes::from_static(b"re/ply.x")))
    );
    assert!(core.body_is_text);
    let headers: Vec<_> = core
        .headers
        .iter()
        .map(|(n, v)| (n, v.as_str().unwrap()))
        .collect();
    assert_eq!(headers, [("b", "2"), ("a", "1"), ("b", "")]);
}

#[test]
fn damaged_native_form_is_read_as_far_as_it_goes() {
    let mut native = vec![0xFF];
    native.extend_from_slice(
        buf(&[Property::ContentType("x")])
            .as_properties()
            .as_bytes(),
    );
    native.extend_from_slice(&[0x26, 0, 9]);
    let core = FORMAT.decode(&native);
    assert_eq!(core.content_type.as_deref(), Some(&b"x"[..]));
    assert!(core.headers.is_empty());
    assert_eq!(
        Native::read(&[]),
        Native {
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::EMPTY
        }
    );
}

/// A stand-in for another protocol.
struct Foreign(CoreProperties);

impl PropertyFormat for Foreign {
    fn id(&self) -> FormatId {
        FormatId(200)
    }
    fn decode(&self, _native: &[u8]) -> CoreProperties {
        self.0.clone()
    }
}

fn foreign(core: CoreProperties, change: impl FnOnce(&mut NewMessage<'_>)) -> Message {
    let mut message = NewMessage::plain(b"amq.topic", b"a.b", b"body");
    message.format = Box::leak(Box::new(Foreign(core)));
    message.received_at = RECEIVED;
    change(&mut message);
    message.build(&mut Vec::new())
}

fn rendered(message: &Message) -> (QoS, Vec<(String, String)>) {
    let mut scratch = PropertyBuf::new();
    let out = from_core(message, ProtocolVersion::V5, RECEIVED, &mut scratch).unwrap();
    assert!(!out.retain);
    let user = out
        .properties
        .user_properties()
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .collect();
    (out.qos, user)
}

#[test]
fn durable_message_of_another_protocol_is_qos_1() {
    assert_eq!(
        rendered(&foreign(CoreProperties::default(), |_| {})).0,
        QoS::AtMostOnce
    );
    assert_eq!(
        rendered(&foreign(CoreProperties::default(), |m| m.durable = true)).0,
        QoS::AtLeastOnce
    );
}

#[test]
fn scalar_headers_become_user_properties() {
    let mut headers = Headers::new();
    headers.push("text", Value::text("grün"));
    headers.push("x-pass", Value::I64(-5));
    headers.push("time", Value::Timestamp(1_700_000_000));
    headers.push("yes", Value::Bool(true));
    headers.push("void", Value::Void);
    headers.push("float", Value::F64(1.5));
    headers.push(
        "decimal",
        Value::Decimal {
            scale: 3,
            value: -42,
        },
    );
    headers.push("binary", Value::Binary(Bytes::from_static(b"x")));
    headers.push("list", Value::List(vec![Value::Void]));
    headers.push("map", Value::Map(Headers::new()));
    headers.push("not utf-8", Value::Text(Bytes::from_static(b"\xFF")));
    headers.push("nul", Value::text("a\0b"));
    headers.push("na\0me", Value::Void);
    headers.push("long", Value::text("x".repeat(65_536)));
    let (_, user) = rendered(&foreign(
        CoreProperties {
            headers,
            ..CoreProperties::default()
        },
        |_| {},
    ));
    let user: Vec<_> = user.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(
        user,
        [
            ("text", "grün"),
            ("x-pass", "-5"),
            ("time", "1700000000"),
            ("yes", "true"),
            ("void", ""),
            ("float", "1.5"),
            ("decimal", "-0.042"),
        ]
    );
}

#[test]
fn properties_of_another_protocol_are_named_as_mqtt_names_them() {
    let mut headers = Headers::new();
    headers.push("x-reply-to-topic", Value::text("re.ply"));
    headers.push(
        "x-correlation-id",
        Value::Binary(Bytes::from_static(b"\xFE")),
    );
    let core = CoreProperties {
        content_type: Some(Bytes::from_static(b"text/plain")),
        message_id: Some(Bytes::from_static(b"dropped")),
        reply_to: Some(Bytes::from_static(b"dropped")),
        headers,
        ..CoreProperties::default()
    };
    let message = foreign(core.clone(), |m| m.ttl_ms = Some(1001));
    let mut scratch = PropertyBuf::new();
    let out = from_core(&message, ProtocolVersion::V5, RECEIVED, &mut scratch).unwrap();
    let expected = [
        Property::ContentType("text/plain"),
        Property::ResponseTopic("re/ply"),
        Property::CorrelationData(b"\xFE"),
    ];
    assert_eq!(out.properties.iter().collect::<Vec<_>>(), expected);
    assert_eq!(out.message_expiry_s, Some(2));
    assert_eq!(out.topic, TopicText::Dotted(b"a.b"));

    let own = CoreProperties {
        correlation_id: Some(Bytes::from_static(b"id")),
        ..core
    };
    let message = foreign(own, |_| {});
    let out = from_core(&message, ProtocolVersion::V5, RECEIVED, &mut scratch).unwrap();
    assert!(
        out.properties
            .iter()
            .any(|p| p == Property::CorrelationData(b"id"))
    );
}

#[test]
fn reply_topic_without_a_form_in_mqtt_is_dropped() {
    for key in ["", "a.+", "#", "a\0"] {
        let reply_topic = Some((KeySyntax::Dotted, Bytes::copy_from_slice(key.as_bytes())));
        let message = foreign(
            CoreProperties {
                reply_topic,
                ..CoreProperties::default()
            },
            |_| {},
        );
        let mut scratch = PropertyBuf::new();
        let out = from_core(&message, ProtocolVersion::V5, RECEIVED, &mut scratch).unwrap();
        assert!(out.properties.is_empty(), "{key}");
    }
}

#[test]
fn key_without_a_form_as_topic_reaches_no_mqtt_client() {
    for key in [&b""[..], b"a.+", b"#", b"a\0", b"\xFF"] {
        let message = foreign(CoreProperties::default(), |m| {
            m.routing_key = Box::leak(key.into());
        });
        assert!(
            from_core(
                &message,
                ProtocolVersion::V5,
                RECEIVED,
                &mut PropertyBuf::new()
            )
            .is_none()
        );
    }
}

#[test]
fn dotted_key_goes_out_with_slashes() {
    let message = foreign(CoreProperties::default(), |m| m.routing_key = b"a.b/c.*");
    let mut scratch = PropertyBuf::new();
    let rendered = from_core(&message, ProtocolVersion::V311, RECEIVED, &mut scratch).unwrap();
    let head = OutgoingPublish {
        dup: false,
        qos: rendered.qos,
        retain: rendered.retain,
        topic: rendered.topic,
        packet_id: None,
        topic_alias: None,
        message_expiry_s: rendered.message_expiry_s,
        subscription_ids: &[],
        properties: rendered.properties,
    };
    let mut out = b"before".to_vec();
    publish(&mut out, ProtocolVersion::V311, &head, message.body()).unwrap();
    assert_eq!(out, b"before\x30\x0D\x00\x07a/b/c/*body");
    let decoded = decode(&out[6..], Some(ProtocolVersion::V311), Limits::default()).unwrap();
    assert!(
        matches!(decoded, Decoded::Packet { packet: Packet::Publish(p), .. } if p.payload == b"body")
    );
}

fn history(deaths: usize) -> History {
    let death = |number: usize| Death {
        reason: DeathReason::Rejected,
        queue: format!("q\"{number}").into(),
        exchange: Bytes::from_static(b"amq.topic"),
        routing_keys: vec![Bytes::from_static(b"a.b"), Bytes::from_static(b"c")],
        key_syntax: KeySyntax::Dotted,
        count: 2,
        first_time: Timestamp(5000),
        last_time: Timestamp(9000),
        original_ttl_ms: (number == 0).then_some(1500),
    };
    let place = |queue: &str| DeathPlace {
        reason: DeathReason::Expired,
        queue: queue.into(),
        exchange: Bytes::new(),
    };
    History {
        deaths: (0..deaths).map(death).collect(),
        first: place("first"),
        last: place("last"),
    }
}

#[test]
fn dead_message_shows_its_history() {
    let mut headers = Headers::new();
    headers.push("x-death", Value::text("a client's own"));
    headers.push("kept", Value::Void);
    let message = foreign(
        CoreProperties {
            headers,
            ..CoreProperties::default()
        },
        |m| {
            m.extras = Some(Box::new(Extras {
                history: Some(history(2)),
                ..Extras::default()
            }));
        },
    );
    let (_, user) = rendered(&message);
    let user: Vec<_> = user.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let json = concat!(
        r#"[{"reason":"rejected","queue":"q\"0","exchange":"amq.topic","routing-keys":["a/b","c"],"#,
        r#""count":2,"time":5,"original-expiration":"1500"},"#,
        r#"{"reason":"rejected","queue":"q\"1","exchange":"amq.topic","routing-keys":["a/b","c"],"#,
        r#""count":2,"time":5}]"#,
    );
    assert_eq!(
        user,
        [
            ("kept", ""),
            ("x-first-death-reason", "expired"),
            ("x-first-death-queue", "first"),
            ("x-last-death-reason", "expired"),
            ("x-last-death-queue", "last"),
            ("x-death-count", "4"),
            ("x-death", json),
        ]
    );
}

#[test]
fn dead_mqtt_message_keeps_its_properties_in_front_of_its_history() {
    let properties = buf(&USER_DATA);
    let alive = message_of(&incoming(&properties, b""));
    let mut new = alive.to_new();
    new.extras = Some(Box::new(Extras {
        history: Some(history(1)),
        ..Extras::default()
    }));
    let dead = new.build(&mut Vec::new());
    let mut scratch = PropertyBuf::new();
    let out = from_core(&dead, ProtocolVersion::V5, RECEIVED, &mut scratch).unwrap();
    assert!(
        out.properties
            .as_bytes()
            .starts_with(properties.as_properties().as_bytes())
    );
    assert_eq!(
        out.properties.user_properties().count(),
        3 + history::NAMES.len()
    );
}

#[test]
fn long_history_loses_its_oldest_deaths() {
    let message = foreign(CoreProperties::default(), |m| {
        m.extras = Some(Box::new(Extras {
            history: Some(history(100)),
            ..Extras::default()
        }));
    });
    let (_, user) = rendered(&message);
    let (_, json) = user.last().unwrap();
    assert!(
        json.len() <= history::X_DEATH_BYTES_MAX && json.len() > history::X_DEATH_BYTES_MAX - 200
    );
    assert!(json.contains(r#"q\"0"#) && !json.contains(r#"q\"99"#) && json.ends_with("}]"));
}
