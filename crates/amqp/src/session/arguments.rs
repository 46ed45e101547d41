//! Arguments of declarations: from the method's field table to the core's headers.

use amq_protocol::types::{AMQPValue, FieldTable};
use bytes::Bytes;
use ternmq_core::value::{Headers, Value};

/// The table's entries, by name. The codec has checked its depth.
pub(crate) fn headers(table: &FieldTable) -> Headers {
    table
        .into_iter()
        .map(|(name, value)| (name.as_str().into(), to_value(value)))
        .collect()
}

fn to_value(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(v) => Value::Bool(*v),
        AMQPValue::ShortShortInt(v) => Value::I8(*v),
        AMQPValue::ShortShortUInt(v) => Value::U8(*v),
        AMQPValue::ShortInt(v) => Value::I16(*v),
        AMQPValue::ShortUInt(v) => Value::U16(*v),
        AMQPValue::LongInt(v) => Value::I32(*v),
        AMQPValue::LongUInt(v) => Value::U32(*v),
        AMQPValue::LongLongInt(v) => Value::I64(*v),
        AMQPValue::Float(v) => Value::F32(*v),
        AMQPValue::Double(v) => Value::F64(*v),
        // The sign bit is the specification's, the type `amq-protocol`'s.
        AMQPValue::DecimalValue(v) => Value::Decimal {
            scale: v.scale,
            value: v.value.cast_signed(),
        },
        AMQPValue::ShortString(v) => Value::text(v.as_str()),
        AMQPValue::LongString(v) => Value::Text(Bytes::copy_from_slice(v.as_bytes())),
        AMQPValue::FieldArray(v) => Value::List(v.as_slice().iter().map(to_value).collect()),
        AMQPValue::Timestamp(v) => Value::Timestamp(*v),
        AMQPValue::FieldTable(v) => Value::Map(headers(v)),
        AMQPValue::ByteArray(v) => Value::Binary(Bytes::copy_from_slice(v.as_slice())),
        AMQPValue::Void => Value::Void,
    }
}
