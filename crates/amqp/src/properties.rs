//! The content header's property flags and list (§2.3.5.2, §4.2.6.1), read in place and written.
//!
//! ```text
//! properties = flags:u16 list      highest flag first: content-type content-encoding headers delivery-mode priority
//!              correlation-id reply-to expiration message-id timestamp type user-id app-id cluster-id 0 0
//! list       = shortstr each, but headers: field table, delivery-mode and priority: u8, timestamp: u64
//! ```

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::codec::EncodeError;
use crate::table::{self, TableError};

const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const CORRELATION_ID: u16 = 1 << 10;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const MESSAGE_ID: u16 = 1 << 7;
const TIMESTAMP: u16 = 1 << 6;
const TYPE: u16 = 1 << 5;
const USER_ID: u16 = 1 << 4;
const APP_ID: u16 = 1 << 3;
const CLUSTER_ID: u16 = 1 << 2;
const UNKNOWN: u16 = 0b11;

/// The `delivery_mode` of a message that survives a restart.
pub const PERSISTENT: u8 = 2;

/// Why raw properties cannot be read: 502 `SYNTAX_ERROR` on the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PropertiesError {
    /// A length points behind the end.
    #[error("properties end early")]
    Truncated,
    /// A flag that class basic does not define, the continuation flag included.
    #[error("unknown property flags {0:#06x}")]
    UnknownFlags(u16),
    /// Bytes behind the last property.
    #[error("bytes behind the last property")]
    TrailingBytes,
    /// The headers are damaged.
    #[error("headers: {0}")]
    Headers(TableError),
}

/// The properties of class basic, borrowed from their raw bytes: read with [`Properties::parse`], written with
/// [`Properties::encode`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Properties<'a> {
    /// MIME type of the body.
    pub content_type: Option<&'a [u8]>,
    /// MIME encoding of the body.
    pub content_encoding: Option<&'a [u8]>,
    /// Raw table, without its length; checked by [`table::validate`] when parsed.
    pub headers: Option<&'a [u8]>,
    /// 2 is persistent, anything else is not.
    pub delivery_mode: Option<u8>,
    /// Priority as sent.
    pub priority: Option<u8>,
    /// Ties a reply to its request.
    pub correlation_id: Option<&'a [u8]>,
    /// Queue for the reply.
    pub reply_to: Option<&'a [u8]>,
    /// Time to live: milliseconds in decimal digits, unchecked.
    pub expiration: Option<&'a [u8]>,
    /// The publisher's own identifier.
    pub message_id: Option<&'a [u8]>,
    /// Seconds since the Unix epoch.
    pub timestamp: Option<u64>,
    /// The publisher's name for the kind of message.
    pub type_: Option<&'a [u8]>,
    /// The publishing user, as claimed.
    pub user_id: Option<&'a [u8]>,
    /// The publishing application.
    pub app_id: Option<&'a [u8]>,
    /// Deprecated, carried along.
    pub cluster_id: Option<&'a [u8]>,
}

impl<'a> Properties<'a> {
    /// Reads raw properties to their last byte without allocating. What passes, headers included, can be forwarded
    /// as it is.
    #[inline]
    pub fn parse(raw: &'a [u8]) -> Result<Self, PropertiesError> {
        if let Some(mode) = only_delivery_mode(raw) {
            return Ok(Self {
                delivery_mode: Some(mode),
                ..Self::default()
            });
        }
        match *raw {
            [0, 0] => Ok(Self::default()),
            [f0, f1, ref list @ ..] => Self::parse_list(u16::from_be_bytes([f0, f1]), list),
            _ => Err(PropertiesError::Truncated),
        }
    }

    /// Reads what can be read: up to the first fault. For bytes that were
    /// accepted once; empty bytes stand for no properties.
    pub fn parse_lossy(raw: &'a [u8]) -> Self {
        let mut properties = Self::default();
        if let [f0, f1, ref list @ ..] = *raw {
            // What has been read before the fault is the result.
            let _fault = properties.read_list(u16::from_be_bytes([f0, f1]), list);
        }
        properties
    }

    fn parse_list(flags: u16, list: &'a [u8]) -> Result<Self, PropertiesError> {
        let mut properties = Self::default();
        properties.read_list(flags, list)?;
        Ok(properties)
    }

    fn read_list(&mut self, flags: u16, list: &'a [u8]) -> Result<(), PropertiesError> {
        if flags & UNKNOWN != 0 {
            return Err(PropertiesError::UnknownFlags(flags & UNKNOWN));
        }
        let mut list = List { flags, rest: list };
        self.content_type = list.short_string(CONTENT_TYPE)?;
        self.content_encoding = list.short_string(CONTENT_ENCODING)?;
        self.headers = list.table(HEADERS)?;
        self.delivery_mode = list.octet(DELIVERY_MODE)?;
        self.priority = list.octet(PRIORITY)?;
        self.correlation_id = list.short_string(CORRELATION_ID)?;
        self.reply_to = list.short_string(REPLY_TO)?;
        self.expiration = list.short_string(EXPIRATION)?;
        self.message_id = list.short_string(MESSAGE_ID)?;
        self.timestamp = list.timestamp(TIMESTAMP)?;
        self.type_ = list.short_string(TYPE)?;
        self.user_id = list.short_string(USER_ID)?;
        self.app_id = list.short_string(APP_ID)?;
        self.cluster_id = list.short_string(CLUSTER_ID)?;
        if list.rest.is_empty() {
            Ok(())
        } else {
            Err(PropertiesError::TrailingBytes)
        }
    }

    /// The first header of that name.
    pub fn header(&self, name: &[u8]) -> Option<table::Field<'a>> {
        table::find(self.headers?, name)
    }

    /// Whether the publisher asked for persistence.
    pub const fn is_persistent(&self) -> bool {
        matches!(self.delivery_mode, Some(PERSISTENT))
    }

    /// Appends flags and list. On error the buffer is as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let written = self.encode_list(out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn flags(&self) -> u16 {
        [
            (CONTENT_TYPE, self.content_type.is_some()),
            (CONTENT_ENCODING, self.content_encoding.is_some()),
            (HEADERS, self.headers.is_some()),
            (DELIVERY_MODE, self.delivery_mode.is_some()),
            (PRIORITY, self.priority.is_some()),
            (CORRELATION_ID, self.correlation_id.is_some()),
            (REPLY_TO, self.reply_to.is_some()),
            (EXPIRATION, self.expiration.is_some()),
            (MESSAGE_ID, self.message_id.is_some()),
            (TIMESTAMP, self.timestamp.is_some()),
            (TYPE, self.type_.is_some()),
            (USER_ID, self.user_id.is_some()),
            (APP_ID, self.app_id.is_some()),
            (CLUSTER_ID, self.cluster_id.is_some()),
        ]
        .into_iter()
        .fold(
            0,
            |flags, (flag, present)| if present { flags | flag } else { flags },
        )
    }

    fn encode_list(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&self.flags().to_be_bytes());
        put_short_string(out, self.content_type)?;
        put_short_string(out, self.content_encoding)?;
        if let Some(table) = self.headers {
            let len =
                u32::try_from(table.len()).map_err(|_| EncodeError::FrameTooLarge(table.len()))?;
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(table);
        }
        out.extend(self.delivery_mode);
        out.extend(self.priority);
        put_short_string(out, self.correlation_id)?;
        put_short_string(out, self.reply_to)?;
        put_short_string(out, self.expiration)?;
        put_short_string(out, self.message_id)?;
        if let Some(seconds) = self.timestamp {
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        put_short_string(out, self.type_)?;
        put_short_string(out, self.user_id)?;
        put_short_string(out, self.app_id)?;
        put_short_string(out, self.cluster_id)
    }
}

/// The delivery mode of properties that hold nothing else: what most publishers of persistent messages send, and
/// quick to see.
#[inline]
pub(crate) const fn only_delivery_mode(raw: &[u8]) -> Option<u8> {
    match *raw {
        [0x10, 0, mode] => Some(mode),
        _ => None,
    }
}

fn put_short_string(out: &mut Vec<u8>, text: Option<&[u8]>) -> Result<(), EncodeError> {
    let Some(text) = text else { return Ok(()) };
    out.push(u8::try_from(text.len()).map_err(|_| EncodeError::ShortStringTooLong(text.len()))?);
    out.extend_from_slice(text);
    Ok(())
}

/// What is left of a property list.
struct List<'a> {
    flags: u16,
    rest: &'a [u8],
}

impl<'a> List<'a> {
    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], PropertiesError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(PropertiesError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], PropertiesError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(PropertiesError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    fn short_string(&mut self, flag: u16) -> Result<Option<&'a [u8]>, PropertiesError> {
        if self.flags & flag == 0 {
            return Ok(None);
        }
        let [len] = self.take_array()?;
        self.take(len.into()).map(Some)
    }

    #[inline]
    fn octet(&mut self, flag: u16) -> Result<Option<u8>, PropertiesError> {
        if self.flags & flag == 0 {
            return Ok(None);
        }
        let [value] = self.take_array()?;
        Ok(Some(value))
    }

    #[inline]
    fn timestamp(&mut self, flag: u16) -> Result<Option<u64>, PropertiesError> {
        if self.flags & flag == 0 {
            return Ok(None);
        }
        self.take_array()
            .map(|bytes| Some(u64::from_be_bytes(bytes)))
    }

    #[inline]
    fn table(&mut self, flag: u16) -> Result<Option<&'a [u8]>, PropertiesError> {
        if self.flags & flag == 0 {
            return Ok(None);
        }
        let len = u32::from_be_bytes(self.take_array()?);
        let table = self.take(len as usize)?;
        table::validate(table).map_err(PropertiesError::Headers)?;
        Ok(Some(table))
    }
}
