//! Typed values in records: one byte of type, then the value; integers of fixed width are little-endian.

use alloc::vec::Vec;

use super::read::{Reader, RecordError};
use super::{DEPTH_MAX, bytes, number};
use crate::value::{Headers, Value};

pub(super) fn table(headers: &Headers, out: &mut Vec<u8>) {
    number(headers.len() as u64, out);
    for (name, v) in headers.iter() {
        bytes(name.as_bytes(), out);
        value(v, out);
    }
}

fn value(v: &Value, out: &mut Vec<u8>) {
    let mut put = |kind: u8, b: &[u8]| {
        out.push(kind);
        out.extend_from_slice(b);
    };
    match v {
        Value::Void => put(0, &[]),
        Value::Bool(v) => put(1, &[(*v).into()]),
        Value::I8(v) => put(2, &v.to_le_bytes()),
        Value::U8(v) => put(3, &[*v]),
        Value::I16(v) => put(4, &v.to_le_bytes()),
        Value::U16(v) => put(5, &v.to_le_bytes()),
        Value::I32(v) => put(6, &v.to_le_bytes()),
        Value::U32(v) => put(7, &v.to_le_bytes()),
        Value::I64(v) => put(8, &v.to_le_bytes()),
        Value::U64(v) => put(9, &v.to_le_bytes()),
        Value::F32(v) => put(10, &v.to_bits().to_le_bytes()),
        Value::F64(v) => put(11, &v.to_bits().to_le_bytes()),
        Value::Decimal { scale, value } => {
            put(12, &[*scale]);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Value::Timestamp(v) => put(13, &v.to_le_bytes()),
        Value::Text(v) => {
            put(14, &[]);
            bytes(v, out);
        }
        Value::Binary(v) => {
            put(15, &[]);
            bytes(v, out);
        }
        Value::List(items) => {
            put(16, &[]);
            number(items.len() as u64, out);
            for item in items {
                value(item, out);
            }
        }
        Value::Map(headers) => {
            put(17, &[]);
            table(headers, out);
        }
    }
}

pub(super) fn read_table(r: &mut Reader<'_>) -> Result<Headers, RecordError> {
    table_at(r, 0)
}

fn table_at(r: &mut Reader<'_>, depth: usize) -> Result<Headers, RecordError> {
    if depth > DEPTH_MAX {
        return Err(RecordError::Malformed);
    }
    Ok(r.list(|r| Ok((r.text()?, value_at(r, depth)?)))?
        .into_iter()
        .collect())
}

fn value_at(r: &mut Reader<'_>, depth: usize) -> Result<Value, RecordError> {
    if depth > DEPTH_MAX {
        return Err(RecordError::Malformed);
    }
    Ok(match r.byte()? {
        0 => Value::Void,
        1 => Value::Bool(r.flag()?),
        2 => Value::I8(i8::from_le_bytes(r.array()?)),
        3 => Value::U8(r.byte()?),
        4 => Value::I16(i16::from_le_bytes(r.array()?)),
        5 => Value::U16(u16::from_le_bytes(r.array()?)),
        6 => Value::I32(i32::from_le_bytes(r.array()?)),
        7 => Value::U32(u32::from_le_bytes(r.array()?)),
        8 => Value::I64(i64::from_le_bytes(r.array()?)),
        9 => Value::U64(u64::from_le_bytes(r.array()?)),
        10 => Value::F32(f32::from_bits(u32::from_le_bytes(r.array()?))),
        11 => Value::F64(f64::from_bits(u64::from_le_bytes(r.array()?))),
        12 => Value::Decimal {
            scale: r.byte()?,
            value: i32::from_le_bytes(r.array()?),
        },
        13 => Value::Timestamp(u64::from_le_bytes(r.array()?)),
        14 => Value::Text(r.owned()?),
        15 => Value::Binary(r.owned()?),
        16 => Value::List(r.list(|r| value_at(r, depth + 1))?),
        17 => Value::Map(table_at(r, depth + 1)?),
        _ => return Err(RecordError::Malformed),
    })
}
