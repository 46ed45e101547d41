//! AMQP field tables (§4.2.5.5) in RabbitMQ's dialect.
//!
//! ```text
//! table  = length:u32 { name:shortstr value }       array = length:u32 { value }
//! value  = tag:u8 ...
//!   t bool(u8)  b i8   B u8   s i16  u u16  I i32  i u32  l i64  L i64 (read as l)   f f32  d f64
//!   D scale:u8 value:u32   T seconds:u64   S length:u32 text   x length:u32 bytes   F table   A array   V nothing
//! ```
//!
//! Raw tables are walked in place: [`validate`] once when they come in, then [`find`] and [`Entries`] without
//! building anything. Everywhere in this module a *raw table* is the part behind the length.

mod convert;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use convert::{encode_entry, encode_headers, to_headers, to_headers_lossy};

/// How deep tables and arrays may lie within each other; the outermost counts as 1.
pub const TABLE_DEPTH_MAX: usize = 64;

/// Why a field table cannot be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum TableError {
    /// A length points behind the end.
    #[error("ends early")]
    Truncated,
    /// No type has this tag.
    #[error("unknown type tag {0:#04x}")]
    UnknownType(u8),
    /// Nested beyond [`TABLE_DEPTH_MAX`].
    #[error("nested too deeply")]
    TooDeep,
    /// A name has more than 255 bytes; only when writing.
    #[error("field name longer than 255 bytes")]
    NameTooLong,
    /// A value or table has 4 GiB or more; only when writing.
    #[error("field value too large")]
    ValueTooLarge,
}

/// One value, still raw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    /// Type tag, such as `b'S'`.
    pub tag: u8,
    /// The value's bytes; for `S`, `x`, `F` and `A` without their length.
    pub payload: &'a [u8],
}

impl<'a> Field<'a> {
    /// The bytes of a long string (`S`).
    pub fn as_text(&self) -> Option<&'a [u8]> {
        (self.tag == b'S').then_some(self.payload)
    }

    /// The integer of any width (`b B s u I i l L`) this holds.
    pub fn as_i64(&self) -> Option<i64> {
        match (self.tag, self.payload) {
            (b'b', &[a]) => Some(i8::from_be_bytes([a]).into()),
            (b'B', &[a]) => Some(a.into()),
            (b's', &[a, b]) => Some(i16::from_be_bytes([a, b]).into()),
            (b'u', &[a, b]) => Some(u16::from_be_bytes([a, b]).into()),
            (b'I', &[a, b, c, d]) => Some(i32::from_be_bytes([a, b, c, d]).into()),
            (b'i', &[a, b, c, d]) => Some(u32::from_be_bytes([a, b, c, d]).into()),
            (b'l' | b'L', bytes) => bytes.try_into().ok().map(i64::from_be_bytes),
            _ => None,
        }
    }

    /// The truth value (`t`) this holds.
    pub fn as_bool(&self) -> Option<bool> {
        match (self.tag, self.payload) {
            (b't', &[a]) => Some(a != 0),
            _ => None,
        }
    }

    /// The elements of an array (`A`).
    pub fn as_array(&self) -> Option<Elements<'a>> {
        (self.tag == b'A').then_some(Elements { rest: self.payload })
    }

    /// The entries of a table (`F`).
    pub fn as_table(&self) -> Option<Entries<'a>> {
        (self.tag == b'F').then_some(Entries { rest: self.payload })
    }

    /// RabbitMQ's name of the type, as its error texts use it.
    pub fn type_name(&self) -> &'static str {
        match self.tag {
            b't' => "bool",
            b'b' => "byte",
            b'B' => "unsignedbyte",
            b's' => "short",
            b'u' => "unsignedshort",
            b'I' => "signedint",
            b'i' => "unsignedint",
            b'l' | b'L' => "long",
            b'f' => "float",
            b'd' => "double",
            b'D' => "decimal",
            b'T' => "timestamp",
            b'S' => "longstr",
            b'x' => "binary",
            b'F' => "table",
            b'A' => "array",
            _ => "void",
        }
    }
}

/// Walks a raw table. An entry that cannot be read ends the walk with its error.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// The entries of a raw table.
    pub const fn new(table: &'a [u8]) -> Self {
        Self { rest: table }
    }

    /// What has not been walked yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(&'a [u8], Field<'a>), TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&len, rest) = self.rest.split_first()?;
        let entry = rest
            .split_at_checked(len.into())
            .ok_or(TableError::Truncated)
            .and_then(|(name, rest)| split_field(rest).map(|(field, rest)| (name, field, rest)));
        Some(match entry {
            Ok((name, field, rest)) => {
                self.rest = rest;
                Ok((name, field))
            }
            Err(error) => {
                self.rest = &[];
                Err(error)
            }
        })
    }
}

/// Walks a raw array. An element that cannot be read ends the walk with its error.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// The elements of a raw array (the part behind the length).
    pub const fn new(array: &'a [u8]) -> Self {
        Self { rest: array }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Field<'a>, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(match split_field(self.rest) {
            Ok((field, rest)) => {
                self.rest = rest;
                Ok(field)
            }
            Err(error) => {
                self.rest = &[];
                Err(error)
            }
        })
    }
}

/// Checks a raw table to its last byte: types, lengths, depth. What passes can be walked without an error.
pub fn validate(table: &[u8]) -> Result<(), TableError> {
    validate_entries(table, 1)
}

/// The first field of that name in a raw table; `None` as well if the table is damaged before it.
pub fn find<'a>(table: &'a [u8], name: &[u8]) -> Option<Field<'a>> {
    Entries::new(table)
        .map_while(Result::ok)
        .find(|(n, _)| *n == name)
        .map(|(_, field)| field)
}

fn validate_entries(table: &[u8], depth: usize) -> Result<(), TableError> {
    for entry in Entries::new(table) {
        validate_nested(entry?.1, depth)?;
    }
    Ok(())
}

fn validate_elements(array: &[u8], depth: usize) -> Result<(), TableError> {
    for element in Elements::new(array) {
        validate_nested(element?, depth)?;
    }
    Ok(())
}

fn validate_nested(field: Field<'_>, depth: usize) -> Result<(), TableError> {
    match field.tag {
        b'F' | b'A' if depth >= TABLE_DEPTH_MAX => Err(TableError::TooDeep),
        b'F' => validate_entries(field.payload, depth + 1),
        b'A' => validate_elements(field.payload, depth + 1),
        _ => Ok(()),
    }
}

/// Splits a value with its tag from the front.
#[inline]
fn split_field(input: &[u8]) -> Result<(Field<'_>, &[u8]), TableError> {
    let (&tag, rest) = input.split_first().ok_or(TableError::Truncated)?;
    let (size, rest) = match tag {
        b'S' | b'x' | b'F' | b'A' => {
            let (len, rest) = rest.split_first_chunk::<4>().ok_or(TableError::Truncated)?;
            (u32::from_be_bytes(*len) as usize, rest)
        }
        b'V' => (0, rest),
        b't' | b'b' | b'B' => (1, rest),
        b's' | b'u' => (2, rest),
        b'I' | b'i' | b'f' => (4, rest),
        b'D' => (5, rest),
        b'l' | b'L' | b'd' | b'T' => (8, rest),
        other => return Err(TableError::UnknownType(other)),
    };
    let (payload, rest) = rest.split_at_checked(size).ok_or(TableError::Truncated)?;
    Ok((Field { tag, payload }, rest))
}
