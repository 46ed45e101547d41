//! What makes two bindings the same binding.

use alloc::borrow::Cow;
use core::hash::{BuildHasher, Hash, Hasher};

use super::End;
use crate::routing::key::KeySyntax;
use crate::value::{Headers, Value};

/// A binding's identity, its names resolved.
pub(super) struct Identity<'a> {
    pub(super) source: u32,
    pub(super) end: End,
    pub(super) syntax: KeySyntax,
    pub(super) key: Cow<'a, [u8]>,
    pub(super) slashed: Option<&'a [u8]>,
    /// Sorted by name.
    pub(super) arguments: Cow<'a, Headers>,
}

impl Identity<'_> {
    pub(super) fn hash(&self, hasher: &impl BuildHasher) -> u64 {
        let mut state = hasher.build_hasher();
        (self.source, self.end, self.syntax, &self.key, self.slashed).hash(&mut state);
        hash_headers(&self.arguments, &mut state);
        state.finish()
    }

    pub(super) fn has_arguments(&self, arguments: &Headers) -> bool {
        same_headers(arguments, &self.arguments)
    }
}

fn hash_headers(headers: &Headers, state: &mut impl Hasher) {
    for (name, value) in headers.iter() {
        name.hash(state);
        hash_value(value, state);
    }
}

/// Equal values hash alike; lists and maps by their length, as few bindings differ in those alone.
fn hash_value(value: &Value, state: &mut impl Hasher) {
    core::mem::discriminant(value).hash(state);
    match value {
        Value::Void => {}
        Value::Bool(v) => v.hash(state),
        Value::F32(v) => v.to_bits().hash(state),
        Value::F64(v) => v.to_bits().hash(state),
        Value::Decimal { scale, value } => (scale, value).hash(state),
        Value::Timestamp(v) | Value::U64(v) => v.hash(state),
        Value::Text(v) | Value::Binary(v) => v.hash(state),
        Value::List(v) => v.len().hash(state),
        Value::Map(v) => v.len().hash(state),
        Value::I8(_)
        | Value::U8(_)
        | Value::I16(_)
        | Value::U16(_)
        | Value::I32(_)
        | Value::U32(_)
        | Value::I64(_) => {
            value.as_i64().hash(state);
        }
    }
}

fn same_headers(a: &Headers, b: &Headers) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b.iter())
            .all(|((n, v), (m, w))| n == m && same_value(v, w))
}

/// Equality to the bit, so that a binding with a NaN is equal to itself and can be unbound.
fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::F32(x), Value::F32(y)) => x.to_bits() == y.to_bits(),
        (Value::F64(x), Value::F64(y)) => x.to_bits() == y.to_bits(),
        (Value::List(x), Value::List(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(v, w)| same_value(v, w))
        }
        (Value::Map(x), Value::Map(y)) => same_headers(x, y),
        _ => a == b,
    }
}
