//! A cursor over the bytes of one packet: nothing is read beyond its end, nothing is copied.

use crate::codec::Violation;
use crate::frame::PacketId;

/// Largest value of a variable byte integer (§1.5.5).
pub const VARIABLE_BYTE_INTEGER_MAX: u32 = 268_435_455;

/// What has not been read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Everything that is left.
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(Violation::FieldBeyondPacket)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, Violation> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn two_bytes(&mut self) -> Result<u16, Violation> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn four_bytes(&mut self) -> Result<u32, Violation> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, Violation> {
        PacketId::new(self.two_bytes()?).ok_or(Violation::PacketIdZero)
    }

    #[inline]
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Violation> {
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(Violation::FieldBeyondPacket)?;
        self.rest = rest;
        Ok(head)
    }

    /// Binary data (§1.5.6).
    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], Violation> {
        let len = self.two_bytes()?;
        self.bytes(len.into())
    }

    /// A UTF-8 encoded string (§1.5.4): well formed and without U+0000.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<&'a str, Violation> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| Violation::NotUtf8)?;
        if text.as_bytes().contains(&0) {
            return Err(Violation::NulInText);
        }
        Ok(text)
    }

    /// A variable byte integer in its shortest form (§1.5.5).
    #[inline]
    pub(crate) fn variable_byte_integer(&mut self) -> Result<u32, Violation> {
        match variable_byte_integer(self.rest)? {
            None => Err(Violation::FieldBeyondPacket),
            Some(Varint { minimal: false, .. }) => Err(Violation::VariableByteInteger),
            Some(Varint { value, len, .. }) => {
                self.rest = &self.rest[len..];
                Ok(value)
            }
        }
    }

    /// What a length in front of it spans, as a variable byte integer: the properties.
    #[inline]
    pub(crate) fn property_bytes(&mut self) -> Result<&'a [u8], Violation> {
        let len = self.variable_byte_integer()?;
        self.bytes(len as usize)
            .map_err(|_| Violation::PropertyLength)
    }
}

/// A variable byte integer that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Varint {
    pub(crate) value: u32,
    /// Bytes it takes, 1 to 4.
    pub(crate) len: usize,
    /// Whether it is in its shortest form.
    pub(crate) minimal: bool,
}

/// Reads a variable byte integer; `None` where the bytes end inside of it.
#[inline]
pub(crate) fn variable_byte_integer(bytes: &[u8]) -> Result<Option<Varint>, Violation> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some(Varint {
                value,
                len: at + 1,
                minimal: at == 0 || *byte != 0,
            }));
        }
    }
    if bytes.len() < 4 {
        Ok(None)
    } else {
        Err(Violation::VariableByteInteger)
    }
}
