//! Typed values and ordered headers: the superset of what the protocols can say.
//!
//! Integer widths are kept so that a header that is decoded and encoded again is the same to the bit.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

/// One typed value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value; in a headers binding it tests presence.
    Void,
    /// Truth value.
    Bool(bool),
    /// Signed 8 bits.
    I8(i8),
    /// Unsigned 8 bits.
    U8(u8),
    /// Signed 16 bits.
    I16(i16),
    /// Unsigned 16 bits.
    U16(u16),
    /// Signed 32 bits.
    I32(i32),
    /// Unsigned 32 bits.
    U32(u32),
    /// Signed 64 bits.
    I64(i64),
    /// Unsigned 64 bits.
    U64(u64),
    /// 32-bit floating point.
    F32(f32),
    /// 64-bit floating point.
    F64(f64),
    /// `value` divided by ten to the power of `scale`.
    Decimal {
        /// Digits behind the point.
        scale: u8,
        /// Unscaled value.
        value: i32,
    },
    /// Seconds since the Unix epoch.
    Timestamp(u64),
    /// Text by intention; peers may send any bytes.
    Text(Bytes),
    /// Bytes by intention.
    Binary(Bytes),
    /// Values in order.
    List(Vec<Self>),
    /// Named values in order.
    Map(Headers),
}

impl Value {
    /// Text from a string.
    pub fn text(s: impl AsRef<str>) -> Self {
        Self::Text(Bytes::copy_from_slice(s.as_ref().as_bytes()))
    }

    /// The integer this holds, of whatever width, if it holds one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::I8(v) => Some(v.into()),
            Self::U8(v) => Some(v.into()),
            Self::I16(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::I32(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::I64(v) => Some(v),
            Self::U64(v) => i64::try_from(v).ok(),
            _ => None,
        }
    }

    /// The text this holds, if it is text and UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) => core::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The truth value this holds.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(v) => Some(v),
            _ => None,
        }
    }
}

/// Named values, in the order given; a name may occur more than once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headers(Vec<(Box<str>, Value)>);

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The value of that name, if these are sorted: see [`Headers::sort_unique`].
    pub(crate) fn get_sorted(&self, name: &str) -> Option<&Value> {
        let at = self.0.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// Appends, whether or not the name is there already.
    pub fn push(&mut self, name: impl Into<Box<str>>, value: Value) {
        self.0.push((name.into(), value));
    }

    /// Replaces every value of that name with this one, at the first one's place or at the end.
    pub fn set(&mut self, name: &str, value: Value) {
        if let Some(at) = self.0.iter().position(|(n, _)| &**n == name) {
            self.0[at].1 = value;
            let mut seen = 0;
            self.0.retain(|(n, _)| {
                seen += usize::from(&**n == name);
                &**n != name || seen == 1
            });
        } else {
            self.push(name, value);
        }
    }

    /// Removes every value of that name and returns the first.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(n, _)| &**n == name)?;
        let (_, value) = self.0.remove(at);
        self.0.retain(|(n, _)| &**n != name);
        Some(value)
    }

    /// Sorts by name, keeping the first of each name.
    pub fn sort_unique(&mut self) {
        self.0.sort_by(|a, b| a.0.cmp(&b.0));
        self.0.dedup_by(|later, first| later.0 == first.0);
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(n, v)| (&**n, v))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Box<str>, Value)> for Headers {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Value)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}
