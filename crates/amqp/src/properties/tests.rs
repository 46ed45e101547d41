use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::basic::{AMQPProperties, gen_properties, parse_properties};
use amq_protocol::types::{AMQPValue, FieldTable, ShortString};
use proptest::prelude::*;

use super::*;
use crate::table::TABLE_DEPTH_MAX;

fn short() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[a-z/ü0-9]{0,60}")
}

#[derive(Debug, Clone)]
struct Sample {
    texts: Vec<Option<String>>,
    headers: Option<Vec<(String, i32)>>,
    octets: (Option<u8>, Option<u8>),
    timestamp: Option<u64>,
}

fn sample() -> impl Strategy<Value = Sample> {
    let headers = proptest::option::of(proptest::collection::vec(
        ("[a-z]{1,5}", any::<i32>()),
        0..4,
    ));
    (
        proptest::collection::vec(short(), 10),
        headers,
        any::<(Option<u8>, Option<u8>)>(),
        any::<Option<u64>>(),
    )
        .prop_map(|(texts, headers, octets, timestamp)| Sample {
            texts,
            headers,
            octets,
            timestamp,
        })
}

impl Sample {
    fn text(&self, at: usize) -> Option<&str> {
        self.texts[at].as_deref()
    }

    fn table(&self) -> Option<FieldTable> {
        let mut table = FieldTable::default();
        for (name, value) in self.headers.as_ref()? {
            table.insert(
                ShortString::try_new(&**name).unwrap(),
                AMQPValue::LongInt(*value),
            );
        }
        Some(table)
    }

    /// What amq-protocol writes.
    fn oracle(&self) -> AMQPProperties {
        type Setter = fn(AMQPProperties, ShortString) -> AMQPProperties;
        const SETTERS: [Setter; 10] = [
            AMQPProperties::with_content_type,
            AMQPProperties::with_content_encoding,
            AMQPProperties::with_correlation_id,
            AMQPProperties::with_reply_to,
            AMQPProperties::with_expiration,
            AMQPProperties::with_message_id,
            AMQPProperties::with_type,
            AMQPProperties::with_user_id,
            AMQPProperties::with_app_id,
            AMQPProperties::with_cluster_id,
        ];
        let mut properties = AMQPProperties::default();
        for (at, set) in SETTERS.iter().enumerate() {
            if let Some(text) = self.text(at) {
                properties = set(properties, ShortString::try_new(text).unwrap());
            }
        }
        if let Some(table) = self.table() {
            properties = properties.with_headers(table);
        }
        if let Some(mode) = self.octets.0 {
            properties = properties.with_delivery_mode(mode);
        }
        if let Some(priority) = self.octets.1 {
            properties = properties.with_priority(priority);
        }
        if let Some(seconds) = self.timestamp {
            properties = properties.with_timestamp(seconds);
        }
        properties
    }
}

fn oracle_bytes(properties: &AMQPProperties) -> Vec<u8> {
    gen_properties(properties)(WriteContext {
        write: Vec::new(),
        position: 0,
    })
    .unwrap()
    .write
}

fn encoded(properties: &Properties<'_>) -> Vec<u8> {
    let mut raw = Vec::new();
    properties.encode(&mut raw).unwrap();
    raw
}

proptest! {
    #[test]
    fn properties_that_amq_protocol_writes_are_read_and_written_the_same(sample in sample()) {
        let raw = oracle_bytes(&sample.oracle());
        let read = Properties::parse(&raw).unwrap();
        let text = |at| sample.text(at).map(str::as_bytes);
        let strings = [
            read.content_type, read.content_encoding, read.correlation_id, read.reply_to, read.expiration,
            read.message_id, read.type_, read.user_id, read.app_id, read.cluster_id,
        ];
        for (at, string) in strings.into_iter().enumerate() {
            prop_assert_eq!(string, text(at));
        }
        prop_assert_eq!((read.delivery_mode, read.priority), sample.octets);
        prop_assert_eq!(read.timestamp, sample.timestamp);
        prop_assert_eq!(read.headers.is_some(), sample.headers.is_some());
        for (name, value) in sample.headers.iter().flatten().rev() {
            prop_assert!(read.header(name.as_bytes()).unwrap().as_i64().is_some(), "{} {}", name, value);
        }
        prop_assert_eq!(encoded(&read), raw);
    }

    #[test]
    fn amq_protocol_reads_what_we_write(sample in sample()) {
        let raw = oracle_bytes(&sample.oracle());
        let written = encoded(&Properties::parse(&raw).unwrap());
        let (rest, theirs) = parse_properties(&written[..]).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(theirs, sample.oracle());
    }

    #[test]
    fn any_bytes_are_read_without_panic(raw in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(read) = Properties::parse(&raw) {
            prop_assert_eq!(encoded(&read), raw);
        }
    }

    #[test]
    fn damaged_properties_are_read_without_panic_or_refused(sample in sample(), at: usize, value: u8, cut: usize) {
        let mut raw = oracle_bytes(&sample.oracle());
        let whole = raw.len();
        let at = at % whole;
        raw[at] = value;
        if let Ok(read) = Properties::parse(&raw) {
            prop_assert_eq!(encoded(&read), raw);
        }
        let raw = oracle_bytes(&sample.oracle());
        prop_assert!(Properties::parse(&raw[..cut % whole]).is_err(), "cut short");
    }
}

#[test]
fn common_shapes_are_read() {
    assert_eq!(Properties::parse(&[0, 0]), Ok(Properties::default()));
    let persistent = Properties::parse(&[0x10, 0, 2]).unwrap();
    assert!(persistent.is_persistent());
    assert_eq!(
        persistent,
        Properties {
            delivery_mode: Some(2),
            ..Properties::default()
        }
    );
    assert!(!Properties::parse(&[0x10, 0, 1]).unwrap().is_persistent());
    assert!(!Properties::default().is_persistent());
    let mode_and_priority = Properties::parse(&[0x18, 0, 2, 7]).unwrap();
    assert_eq!(
        (mode_and_priority.delivery_mode, mode_and_priority.priority),
        (Some(2), Some(7))
    );
}

#[test]
fn golden_bytes_of_every_property_are_read_and_written() {
    let raw = b"\xff\xfc\x01a\x01b\0\0\0\x05\x01kB\x07\0\x02\x05\x01c\x01d\x02\x31\x30\x01e\0\0\0\0\0\0\0\x01\x01f\x01g\x01h\x01i";
    // The table is one byte longer than its only field: refused.
    assert_eq!(
        Properties::parse(raw),
        Err(PropertiesError::Headers(TableError::Truncated))
    );
    let raw = b"\xff\xfc\x01a\x01b\0\0\0\x04\x01kB\x07\x02\x05\x01c\x01d\x02\x31\x30\x01e\0\0\0\0\0\0\0\x01\x01f\x01g\x01h\x01i";
    let all = Properties {
        content_type: Some(b"a"),
        content_encoding: Some(b"b"),
        headers: Some(b"\x01kB\x07"),
        delivery_mode: Some(2),
        priority: Some(5),
        correlation_id: Some(b"c"),
        reply_to: Some(b"d"),
        expiration: Some(b"10"),
        message_id: Some(b"e"),
        timestamp: Some(1),
        type_: Some(b"f"),
        user_id: Some(b"g"),
        app_id: Some(b"h"),
        cluster_id: Some(b"i"),
    };
    assert_eq!(Properties::parse(raw), Ok(all));
    assert_eq!(encoded(&all), raw);
}

#[test]
fn malformed_properties_are_told_apart() {
    for (raw, error) in [
        (&b""[..], PropertiesError::Truncated),
        (b"\0", PropertiesError::Truncated),
        (b"\0\0\0", PropertiesError::TrailingBytes),
        (b"\x10\0", PropertiesError::Truncated),
        (b"\x10\0\x02\x02", PropertiesError::TrailingBytes),
        (b"\0\x01\0\0", PropertiesError::UnknownFlags(1)),
        (b"\0\x02", PropertiesError::UnknownFlags(2)),
        (b"\x80\0", PropertiesError::Truncated),
        (b"\x80\0\x05abc", PropertiesError::Truncated),
        (b"\0\x40\0\0\0\0\0\0\0", PropertiesError::Truncated),
        (b"\x20\0\0\0\0", PropertiesError::Truncated),
        (b"\x20\0\0\0\0\x01", PropertiesError::Truncated),
        (b"\x20\0\xff\xff\xff\xff", PropertiesError::Truncated),
        (
            b"\x20\0\0\0\0\x03\x01kZ",
            PropertiesError::Headers(TableError::UnknownType(b'Z')),
        ),
    ] {
        assert_eq!(Properties::parse(raw), Err(error), "{}", raw.escape_ascii());
    }
}

#[test]
fn headers_nested_beyond_the_limit_are_refused() {
    let raw_of = |depth: usize| {
        let mut table = Vec::new();
        for _ in 1..depth {
            table = [
                &b"\x01nF"[..],
                &u32::try_from(table.len()).unwrap().to_be_bytes(),
                &table,
            ]
            .concat();
        }
        [
            &b"\x20\0"[..],
            &u32::try_from(table.len()).unwrap().to_be_bytes(),
            &table,
        ]
        .concat()
    };
    assert!(Properties::parse(&raw_of(TABLE_DEPTH_MAX)).is_ok());
    let deeper = raw_of(TABLE_DEPTH_MAX + 1);
    assert_eq!(
        Properties::parse(&deeper),
        Err(PropertiesError::Headers(TableError::TooDeep))
    );
    let bomb = raw_of(20_000);
    assert_eq!(
        Properties::parse(&bomb),
        Err(PropertiesError::Headers(TableError::TooDeep))
    );
}

#[test]
fn short_string_of_255_bytes_is_written_and_256_refused_without_a_trace() {
    let text = [b'c'; 256];
    let properties = |len| Properties {
        app_id: Some(&text[..len]),
        ..Properties::default()
    };
    assert_eq!(encoded(&properties(255)).len(), 2 + 1 + 255);
    let mut out = b"kept".to_vec();
    assert_eq!(
        properties(256).encode(&mut out),
        Err(EncodeError::ShortStringTooLong(256))
    );
    assert_eq!(out, b"kept");
}
