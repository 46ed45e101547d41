use amq_protocol::frame::WriteContext;
use amq_protocol::types::generation::gen_field_table;
use amq_protocol::types::parsing::parse_field_table;
use amq_protocol::types::{AMQPValue, DecimalValue, FieldTable, ShortString};
use bytes::Bytes;
use proptest::prelude::*;
use ternmq_core::value::{Headers, Value};

use super::*;

fn any_bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Void),
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(Value::U64),
        any::<f32>().prop_map(Value::F32),
        any::<f64>().prop_map(Value::F64),
        (any::<u8>(), any::<i32>()).prop_map(|(scale, value)| Value::Decimal { scale, value }),
        any::<u64>().prop_map(Value::Timestamp),
        any_bytes().prop_map(Value::Text),
        any_bytes().prop_map(Value::Binary),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            proptest::collection::vec(("[a-c]{0,3}", inner), 0..4)
                .prop_map(|entries| Value::Map(to_map(entries))),
        ]
    })
}

fn to_map(entries: Vec<(String, Value)>) -> Headers {
    entries
        .into_iter()
        .map(|(name, value)| (name.into_boxed_str(), value))
        .collect()
}

fn any_headers() -> impl Strategy<Value = Headers> {
    proptest::collection::vec(("[a-e.ü-]{0,4}", any_value()), 0..8).prop_map(to_map)
}

/// The same value in the oracle's types; it has none for `L`.
fn to_oracle(value: &Value) -> AMQPValue {
    match value.clone() {
        Value::Void => AMQPValue::Void,
        Value::Bool(v) => AMQPValue::Boolean(v),
        Value::I8(v) => AMQPValue::ShortShortInt(v),
        Value::U8(v) => AMQPValue::ShortShortUInt(v),
        Value::I16(v) => AMQPValue::ShortInt(v),
        Value::U16(v) => AMQPValue::ShortUInt(v),
        Value::I32(v) => AMQPValue::LongInt(v),
        Value::U32(v) => AMQPValue::LongUInt(v),
        Value::I64(v) => AMQPValue::LongLongInt(v),
        Value::U64(v) => AMQPValue::LongLongInt(v.cast_signed()),
        Value::F32(v) => AMQPValue::Float(v),
        Value::F64(v) => AMQPValue::Double(v),
        Value::Decimal { scale, value } => AMQPValue::DecimalValue(DecimalValue {
            scale,
            value: value.cast_unsigned(),
        }),
        Value::Timestamp(v) => AMQPValue::Timestamp(v),
        Value::Text(v) => AMQPValue::LongString(v.to_vec().into()),
        Value::Binary(v) => AMQPValue::ByteArray(v.to_vec().into()),
        Value::List(v) => AMQPValue::FieldArray(v.iter().map(to_oracle).collect::<Vec<_>>().into()),
        Value::Map(v) => AMQPValue::FieldTable(to_oracle_table(&v)),
    }
}

fn to_oracle_table(headers: &Headers) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in headers.iter() {
        table.insert(ShortString::try_new(name).unwrap(), to_oracle(value));
    }
    table
}

fn encoded(headers: &Headers) -> Vec<u8> {
    let mut raw = Vec::new();
    encode_headers(&mut raw, headers).unwrap();
    raw
}

fn with_len(raw: &[u8]) -> Vec<u8> {
    [&u32::try_from(raw.len()).unwrap().to_be_bytes(), raw].concat()
}

/// `depth` lists or maps within each other.
fn nested(depth: usize, wrap: fn(Value) -> Value, innermost: Value) -> Value {
    (0..depth).fold(innermost, |inner, _| wrap(inner))
}

proptest! {
    #[test]
    fn headers_come_back_in_order_with_types_and_duplicates(headers in any_headers()) {
        let raw = encoded(&headers);
        prop_assert_eq!(validate(&raw), Ok(()));
        let back = to_headers(&raw).unwrap();
        // Bytes, not values: NaN equals nothing.
        prop_assert_eq!(encoded(&back), raw.clone());
        prop_assert_eq!(to_headers_lossy(&raw).len(), headers.len());
        for ((name, value), (other, _)) in back.iter().zip(headers.iter()) {
            prop_assert_eq!(name, other);
            prop_assert!(find(&raw, name.as_bytes()).is_some());
            if let (Some(v), Some(field)) = (value.as_i64(), find(&raw, name.as_bytes())) {
                let first = back.get(name).and_then(Value::as_i64);
                prop_assert!(first != Some(v) || field.as_i64() == Some(v));
            }
        }
    }

    #[test]
    fn amq_protocol_reads_what_we_write(headers in any_headers()) {
        let bytes = with_len(&encoded(&headers));
        let (rest, theirs) = parse_field_table(&bytes[..]).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(format!("{theirs:?}"), format!("{:?}", to_oracle_table(&headers)));
    }

    #[test]
    fn what_amq_protocol_writes_is_read_and_written_the_same(headers in any_headers()) {
        let table = to_oracle_table(&headers);
        let bytes = gen_field_table(&table)(WriteContext { write: Vec::new(), position: 0 }).unwrap().write;
        let raw = &bytes[4..];
        prop_assert_eq!(validate(raw), Ok(()));
        prop_assert_eq!(encoded(&to_headers(raw).unwrap()), raw);
    }

    #[test]
    fn any_bytes_are_walked_without_panic_and_all_walks_agree(
        raw in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        prop_assert_eq!(validate(&raw), to_headers(&raw).map(|_| ()));
        let _ = to_headers_lossy(&raw);
        let _ = find(&raw, b"x");
        let walked = Entries::new(&raw).filter(Result::is_err).count();
        prop_assert!(walked <= 1);
    }

    #[test]
    fn damaged_tables_are_walked_without_panic(headers in any_headers(), at: usize, value: u8) {
        let mut raw = encoded(&headers);
        if !raw.is_empty() {
            let at = at % raw.len();
            raw[at] = value;
        }
        prop_assert_eq!(validate(&raw), to_headers(&raw).map(|_| ()));
    }
}

#[test]
fn golden_table_is_read_field_by_field() {
    let raw = b"\x01bb\xff\x01BB\xff\x01ss\xff\xfe\x01uu\xff\xfe\x01II\xff\xff\xff\xfe\x01ii\xff\xff\xff\xfe\
        \x01ll\xff\xff\xff\xff\xff\xff\xff\xfe\x01LL\0\0\0\0\0\0\0\x07\x01tt\x01\x01SS\0\0\0\x02hi\x01xx\0\0\0\x01\0\
        \x01TT\0\0\0\0\0\0\0\x05\x01DD\x02\0\0\0\x09\x01VV\x01ff\x3f\x80\0\0\x01dd\x3f\xf0\0\0\0\0\0\0\
        \x01AA\0\0\0\x03t\0V\x01FF\0\0\0\x03\x01kV";
    assert_eq!(validate(raw), Ok(()));
    let integers = [
        ("b", -1),
        ("B", 255),
        ("s", -2),
        ("u", 65_534),
        ("I", -2),
        ("i", 4_294_967_294),
        ("l", -2),
        ("L", 7),
    ];
    for (name, value) in integers {
        assert_eq!(
            find(raw, name.as_bytes()).unwrap().as_i64(),
            Some(value),
            "{name}"
        );
    }
    assert_eq!(find(raw, b"S").unwrap().as_text(), Some(&b"hi"[..]));
    assert_eq!(find(raw, b"t").unwrap().as_bool(), Some(true));
    assert_eq!(find(raw, b"A").unwrap().as_array().unwrap().count(), 2);
    assert_eq!(find(raw, b"F").unwrap().as_table().unwrap().count(), 1);
    assert_eq!(find(raw, b"nope"), None);
    assert_eq!(find(raw, b"S").unwrap().as_i64(), None);
    let names: Vec<_> = Entries::new(raw)
        .map(|entry| entry.unwrap().1.type_name())
        .collect();
    assert_eq!(
        names,
        [
            "byte",
            "unsignedbyte",
            "short",
            "unsignedshort",
            "signedint",
            "unsignedint",
            "long",
            "long",
            "bool",
            "longstr",
            "binary",
            "timestamp",
            "decimal",
            "void",
            "float",
            "double",
            "array",
            "table",
        ]
    );
    let headers = to_headers(raw).unwrap();
    assert_eq!(headers.get("L"), Some(&Value::U64(7)));
    assert_eq!(
        headers.get("D"),
        Some(&Value::Decimal { scale: 2, value: 9 })
    );
    assert_eq!(
        headers.get("A"),
        Some(&Value::List(vec![Value::Bool(false), Value::Void]))
    );
    assert_eq!(encoded(&headers), raw);
}

#[test]
fn first_of_duplicate_names_is_found() {
    let raw = b"\x01kt\x01\x01kt\x00";
    assert_eq!(find(raw, b"k").unwrap().as_bool(), Some(true));
    assert_eq!(to_headers(raw).unwrap().len(), 2);
}

#[test]
fn depth_is_held_at_the_limit_and_one_above() {
    for wrap in [
        |v| Value::List(vec![v]),
        |v| Value::Map([("k".into(), v)].into_iter().collect()),
    ] {
        let at_limit: Headers = [("h".into(), nested(TABLE_DEPTH_MAX - 1, wrap, Value::Void))]
            .into_iter()
            .collect();
        let raw = encoded(&at_limit);
        assert_eq!(validate(&raw), Ok(()));
        assert_eq!(to_headers(&raw), Ok(at_limit));

        let deeper: Headers = [("h".into(), nested(TABLE_DEPTH_MAX, wrap, Value::Void))]
            .into_iter()
            .collect();
        let mut out = b"kept".to_vec();
        assert_eq!(encode_headers(&mut out, &deeper), Err(TableError::TooDeep));
        assert_eq!(
            encode_entry(&mut out, "h", deeper.get("h").unwrap()),
            Err(TableError::TooDeep)
        );
        assert_eq!(out, b"kept");
        // By hand, since the encoder refuses: the table at the limit within one more.
        let one_more = [&b"\x01hF"[..], &with_len(&raw)].concat();
        assert_eq!(validate(&one_more), Err(TableError::TooDeep));
        assert_eq!(to_headers(&one_more), Err(TableError::TooDeep));
    }
}

#[test]
fn name_of_255_bytes_is_written_and_256_refused_without_a_trace() {
    let name = "n".repeat(256);
    let mut out = Vec::new();
    encode_entry(&mut out, &name[..255], &Value::Void).unwrap();
    assert_eq!(validate(&out), Ok(()));
    out.clear();
    assert_eq!(
        encode_entry(&mut out, &name, &Value::Void),
        Err(TableError::NameTooLong)
    );
    assert!(out.is_empty());
}

#[test]
fn damage_is_told_apart_and_what_comes_before_it_can_still_be_read() {
    for (raw, error) in [
        (&b"\x01at\x01\x02a"[..], TableError::Truncated),
        (b"\x01at\x01\x01b", TableError::Truncated),
        (b"\x01at\x01\x01bZ", TableError::UnknownType(b'Z')),
        (b"\x01at\x01\x01bU\0\0", TableError::UnknownType(b'U')),
        (b"\x01at\x01\x01bI\0\0\0", TableError::Truncated),
        (b"\x01at\x01\x01bS\0\0\0\x02x", TableError::Truncated),
        (b"\x01at\x01\x01bS\xff\xff\xff\xff", TableError::Truncated),
        (b"\x01at\x01\x01bF\0\0\0\x02\x01k", TableError::Truncated),
        (
            b"\x01at\x01\x01bA\0\0\0\x01Q",
            TableError::UnknownType(b'Q'),
        ),
    ] {
        assert_eq!(validate(raw), Err(error), "{}", raw.escape_ascii());
        assert_eq!(
            find(raw, b"a").and_then(|field| field.as_bool()),
            Some(true)
        );
        assert_eq!(to_headers_lossy(raw).get("a"), Some(&Value::Bool(true)));
    }
}

#[test]
fn names_that_are_not_utf8_stay_out_of_the_neutral_view() {
    let raw = b"\x01\xfft\x01\x01kt\x01";
    assert_eq!(validate(raw), Ok(()));
    let headers = to_headers(raw).unwrap();
    assert_eq!(
        headers.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        ["k"]
    );
    assert_eq!(
        find(raw, b"\xff").and_then(|field| field.as_bool()),
        Some(true)
    );
}
