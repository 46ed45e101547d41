//! Field tables to the core's typed values and back, to the bit.
//!
//! `L` stands for [`Value::U64`] so that it comes back as `L`; AMQP peers read it as signed like `l`.

use bytes::Bytes;
use ternmq_core::value::{Headers, Value};

use super::{Elements, Entries, Field, TABLE_DEPTH_MAX, TableError};

/// The headers in a raw table, in order, duplicates kept. Names that are not UTF-8 cannot be said in the core and
/// are left out.
pub fn to_headers(table: &[u8]) -> Result<Headers, TableError> {
    entries_to_headers(Entries::new(table), 1)
}

/// The headers in a raw table up to the first that cannot be read.
pub fn to_headers_lossy(table: &[u8]) -> Headers {
    Entries::new(table)
        .map_while(Result::ok)
        .filter_map(|(name, field)| {
            Some((
                std::str::from_utf8(name).ok()?.into(),
                to_value(field, 1).ok()?,
            ))
        })
        .collect()
}

/// Appends the headers as a raw table, without its length. On error the buffer is as it was.
pub fn encode_headers(out: &mut Vec<u8>, headers: &Headers) -> Result<(), TableError> {
    let start = out.len();
    let written = put_headers(out, headers, 1);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Appends one named value as an entry of a raw table. On error the buffer is as it was.
pub fn encode_entry(out: &mut Vec<u8>, name: &str, value: &Value) -> Result<(), TableError> {
    let start = out.len();
    let written = put_entry(out, name, value, 1);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn entries_to_headers(entries: Entries<'_>, depth: usize) -> Result<Headers, TableError> {
    let mut headers = Headers::new();
    for entry in entries {
        let (name, field) = entry?;
        let value = to_value(field, depth)?;
        if let Ok(name) = std::str::from_utf8(name) {
            headers.push(name, value);
        }
    }
    Ok(headers)
}

/// `depth` is that of the table or array the field lies in.
fn to_value(field: Field<'_>, depth: usize) -> Result<Value, TableError> {
    if matches!(field.tag, b'F' | b'A') && depth >= TABLE_DEPTH_MAX {
        return Err(TableError::TooDeep);
    }
    let payload = field.payload;
    Ok(match field.tag {
        b't' => Value::Bool(fixed(payload)? != [0]),
        b'b' => Value::I8(i8::from_be_bytes(fixed(payload)?)),
        b'B' => Value::U8(u8::from_be_bytes(fixed(payload)?)),
        b's' => Value::I16(i16::from_be_bytes(fixed(payload)?)),
        b'u' => Value::U16(u16::from_be_bytes(fixed(payload)?)),
        b'I' => Value::I32(i32::from_be_bytes(fixed(payload)?)),
        b'i' => Value::U32(u32::from_be_bytes(fixed(payload)?)),
        b'l' => Value::I64(i64::from_be_bytes(fixed(payload)?)),
        b'L' => Value::U64(u64::from_be_bytes(fixed(payload)?)),
        b'f' => Value::F32(f32::from_be_bytes(fixed(payload)?)),
        b'd' => Value::F64(f64::from_be_bytes(fixed(payload)?)),
        b'T' => Value::Timestamp(u64::from_be_bytes(fixed(payload)?)),
        b'D' => {
            let [scale, v0, v1, v2, v3] = fixed(payload)?;
            Value::Decimal {
                scale,
                value: i32::from_be_bytes([v0, v1, v2, v3]),
            }
        }
        b'S' => Value::Text(Bytes::copy_from_slice(payload)),
        b'x' => Value::Binary(Bytes::copy_from_slice(payload)),
        b'V' => Value::Void,
        b'F' => Value::Map(entries_to_headers(Entries::new(payload), depth + 1)?),
        b'A' => {
            let elements = Elements::new(payload).map(|element| to_value(element?, depth + 1));
            Value::List(elements.collect::<Result<_, _>>()?)
        }
        other => return Err(TableError::UnknownType(other)),
    })
}

/// The payload of a type of fixed size; the walk has given it exactly that size.
fn fixed<const N: usize>(payload: &[u8]) -> Result<[u8; N], TableError> {
    payload.try_into().map_err(|_| TableError::Truncated)
}

fn put_headers(out: &mut Vec<u8>, headers: &Headers, depth: usize) -> Result<(), TableError> {
    headers
        .iter()
        .try_for_each(|(name, value)| put_entry(out, name, value, depth))
}

fn put_entry(out: &mut Vec<u8>, name: &str, value: &Value, depth: usize) -> Result<(), TableError> {
    out.push(u8::try_from(name.len()).map_err(|_| TableError::NameTooLong)?);
    out.extend_from_slice(name.as_bytes());
    put_value(out, value, depth)
}

fn put_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), TableError> {
    match value {
        Value::Void => out.push(b'V'),
        Value::Bool(v) => out.extend_from_slice(&[b't', u8::from(*v)]),
        Value::I8(v) => put_scalar(out, b'b', v.to_be_bytes()),
        Value::U8(v) => put_scalar(out, b'B', v.to_be_bytes()),
        Value::I16(v) => put_scalar(out, b's', v.to_be_bytes()),
        Value::U16(v) => put_scalar(out, b'u', v.to_be_bytes()),
        Value::I32(v) => put_scalar(out, b'I', v.to_be_bytes()),
        Value::U32(v) => put_scalar(out, b'i', v.to_be_bytes()),
        Value::I64(v) => put_scalar(out, b'l', v.to_be_bytes()),
        Value::U64(v) => put_scalar(out, b'L', v.to_be_bytes()),
        Value::F32(v) => put_scalar(out, b'f', v.to_be_bytes()),
        Value::F64(v) => put_scalar(out, b'd', v.to_be_bytes()),
        Value::Timestamp(v) => put_scalar(out, b'T', v.to_be_bytes()),
        Value::Decimal { scale, value } => {
            out.extend_from_slice(&[b'D', *scale]);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::Text(bytes) => put_bytes(out, b'S', bytes)?,
        Value::Binary(bytes) => put_bytes(out, b'x', bytes)?,
        Value::List(values) => put_nested(out, b'A', depth, |out| {
            values
                .iter()
                .try_for_each(|value| put_value(out, value, depth + 1))
        })?,
        Value::Map(headers) => {
            put_nested(out, b'F', depth, |out| put_headers(out, headers, depth + 1))?;
        }
    }
    Ok(())
}

fn put_scalar<const N: usize>(out: &mut Vec<u8>, tag: u8, bytes: [u8; N]) {
    out.push(tag);
    out.extend_from_slice(&bytes);
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) -> Result<(), TableError> {
    let len = u32::try_from(bytes.len()).map_err(|_| TableError::ValueTooLarge)?;
    out.push(tag);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Writes a table or array with the length it turns out to have.
fn put_nested(
    out: &mut Vec<u8>,
    tag: u8,
    depth: usize,
    content: impl FnOnce(&mut Vec<u8>) -> Result<(), TableError>,
) -> Result<(), TableError> {
    if depth >= TABLE_DEPTH_MAX {
        return Err(TableError::TooDeep);
    }
    out.push(tag);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    content(out)?;
    let len = u32::try_from(out.len() - at - 4).map_err(|_| TableError::ValueTooLarge)?;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
    Ok(())
}
