//! Reading records back. Damaged bytes give an error, never a panic, and never more memory than they have bytes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{
    BindingRecord, Record, ReleasedRecord, ScheduledRecord, TargetRecord, VERSION, kind, message,
    object, value,
};
use crate::id::{Lsn, PublisherId, QueueId, RouteSetId, Timestamp};
use crate::message::{FormatId, Message, PropertyFormat};
use crate::queue::Returned;
use crate::routing::key::KeySyntax;
use crate::topology::{BindingOptions, ExchangeDecl, ExchangeKind, QueueDecl};

/// Why a record cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by another version.
    #[error("record of version {0}")]
    UnknownVersion(u8),
    /// A message in a property form that no adapter of this build knows.
    #[error("message in property form {0}, which no adapter knows")]
    UnknownFormat(u8),
    /// An exchange of a type that this build does not have.
    #[error("exchange '{exchange}' of type '{kind}', which is not known")]
    UnknownExchangeType {
        /// The exchange.
        exchange: Box<str>,
        /// Its type.
        kind: Box<str>,
    },
    /// Not a record.
    #[error("malformed record")]
    Malformed,
}

/// Finds the property form of a message that is read back.
pub trait Formats {
    /// The form of that number.
    fn format(&self, id: FormatId) -> Option<&'static dyn PropertyFormat>;
}

/// Reads one record, which must fill `bytes` exactly.
pub fn decode(bytes: &[u8], formats: &dyn Formats) -> Result<Record, RecordError> {
    let mut r = Reader(bytes);
    let version = r.byte()?;
    if version != VERSION {
        return Err(RecordError::UnknownVersion(version));
    }
    let record = match r.byte()? {
        kind::EXCHANGE_DECLARED => Record::ExchangeDeclared(r.text()?, r.exchange()?),
        kind::EXCHANGE_DELETED => Record::ExchangeDeleted(r.text()?, r.text()?),
        kind::QUEUE_DECLARED => Record::QueueDeclared(r.text()?, QueueId(r.number()?), r.queue()?),
        kind::QUEUE_DELETED => Record::QueueDeleted(r.text()?, QueueId(r.number()?)),
        kind::BOUND => Record::Bound(r.text()?, r.binding()?, r.options()?),
        kind::UNBOUND => Record::Unbound(r.text()?, r.binding()?),
        kind::PUBLISHED => Record::Published(message::read(&mut r, formats)?, r.targets()?),
        kind::SETTLED => Record::Settled(QueueId(r.number()?), r.ranges()?),
        kind::RETURNED => {
            let item = |r: &mut Reader<'_>| {
                Ok(Returned {
                    lsn: Lsn(r.number()?),
                    attempts: r.number_u32()?,
                    failures: r.number_u32()?,
                })
            };
            Record::Returned(QueueId(r.number()?), r.list(item)?)
        }
        kind::MOVED => Record::Moved {
            source: QueueId(r.number()?),
            left: r.option(|r| Ok(Lsn(r.number()?)))?,
            message: message::read(&mut r, formats)?,
            targets: r.targets()?,
            at: Timestamp(r.number()?),
        },
        kind::RETAINED => Record::Retained(
            r.text()?,
            r.owned()?,
            r.option(|r| message::read(r, formats))?,
        ),
        kind::DOCUMENT => Record::Document(r.text()?, r.owned()?, r.option(Reader::owned)?),
        kind::ROUTE_SET => Record::RouteSet(RouteSetId(r.number()?), r.targets()?),
        kind::PUBLISHED_BY_SET => {
            Record::PublishedBySet(message::read(&mut r, formats)?, RouteSetId(r.number()?))
        }
        kind::STARTED => Record::Started(Timestamp(r.number()?)),
        kind::OBJECT_PUT => Record::ObjectPut(object::read_object(&mut r)?),
        kind::OBJECT_REMOVED => Record::ObjectRemoved(object::read_key(&mut r)?),
        kind::SCHEDULED => Record::Scheduled(r.scheduled()?, message::read(&mut r, formats)?),
        kind::RELEASED => {
            let released = |r: &mut Reader<'_>| {
                Ok(ReleasedRecord {
                    at: Timestamp(r.number()?),
                    message: message::read(r, formats)?,
                    targets: r.targets()?,
                })
            };
            Record::Released(r.number()?, r.option(released)?)
        }
        _ => return Err(RecordError::Malformed),
    };
    if r.0.is_empty() {
        Ok(record)
    } else {
        Err(RecordError::Malformed)
    }
}

/// Reads the message of a record that carries one (published, moved, retained, scheduled, released), and nothing behind it.
pub fn message_of(bytes: &[u8], formats: &dyn Formats) -> Result<Message, RecordError> {
    let mut r = Reader(bytes);
    let version = r.byte()?;
    if version != VERSION {
        return Err(RecordError::UnknownVersion(version));
    }
    match r.byte()? {
        kind::PUBLISHED | kind::PUBLISHED_BY_SET => {}
        kind::MOVED => {
            r.number()?;
            r.option(Reader::number)?;
        }
        kind::RETAINED => {
            r.bytes()?;
            r.bytes()?;
            if !r.flag()? {
                return Err(RecordError::Malformed);
            }
        }
        kind::SCHEDULED => drop(r.scheduled()?),
        kind::RELEASED => {
            r.number()?;
            if !r.flag()? {
                return Err(RecordError::Malformed);
            }
            r.number()?;
        }
        _ => return Err(RecordError::Malformed),
    }
    message::read(&mut r, formats)
}

pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(RecordError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, RecordError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        self.take(N)?.try_into().map_err(|_| RecordError::Malformed)
    }

    pub(crate) fn number(&mut self) -> Result<u64, RecordError> {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(RecordError::Malformed);
            }
            n |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(RecordError::Malformed)
    }

    pub(crate) fn number_u32(&mut self) -> Result<u32, RecordError> {
        u32::try_from(self.number()?).map_err(|_| RecordError::Malformed)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let count = usize::try_from(self.number()?).map_err(|_| RecordError::Malformed)?;
        self.take(count)
    }

    pub(super) fn owned(&mut self) -> Result<Bytes, RecordError> {
        self.bytes().map(Bytes::copy_from_slice)
    }

    pub(super) fn text(&mut self) -> Result<Box<str>, RecordError> {
        core::str::from_utf8(self.bytes()?)
            .map(Into::into)
            .map_err(|_| RecordError::Malformed)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, RecordError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordError::Malformed),
        }
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Option<T>, RecordError> {
        if self.flag()? {
            read(self).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Every item takes a byte at least, so a list cannot be longer than what is left.
    pub(crate) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        let count = self.number()?;
        if count > self.0.len() as u64 {
            return Err(RecordError::Malformed);
        }
        (0..count).map(|_| read(self)).collect()
    }

    pub(super) fn syntax(&mut self) -> Result<KeySyntax, RecordError> {
        Ok(if self.flag()? {
            KeySyntax::Slashed
        } else {
            KeySyntax::Dotted
        })
    }

    fn exchange(&mut self) -> Result<ExchangeDecl, RecordError> {
        let (name, kind) = (self.text()?, self.text()?);
        let Some(kind) = ExchangeKind::parse(&kind) else {
            return Err(RecordError::UnknownExchangeType {
                exchange: name,
                kind,
            });
        };
        Ok(ExchangeDecl {
            name,
            kind,
            durable: self.flag()?,
            auto_delete: self.flag()?,
            internal: self.flag()?,
            arguments: value::read_table(self)?,
            declared_by: self.text_if_any()?,
        })
    }

    /// What was added to the end of a kind of record: records from before do not have it.
    fn text_if_any(&mut self) -> Result<Box<str>, RecordError> {
        if self.is_empty() {
            return Ok(Box::default());
        }
        self.text()
    }

    fn queue(&mut self) -> Result<QueueDecl, RecordError> {
        Ok(QueueDecl {
            name: self.text()?,
            durable: self.flag()?,
            exclusive: None,
            auto_delete: self.flag()?,
            arguments: value::read_table(self)?,
        })
    }

    fn binding(&mut self) -> Result<BindingRecord, RecordError> {
        Ok(BindingRecord {
            source: self.text()?,
            to_exchange: self.flag()?,
            destination: self.text()?,
            syntax: self.syntax()?,
            key: self.owned()?,
            arguments: value::read_table(self)?,
        })
    }

    fn options(&mut self) -> Result<BindingOptions, RecordError> {
        Ok(BindingOptions {
            tag: self.option(Self::number_u32)?,
            exclude_publisher: self.option(|r| Ok(PublisherId(r.number()?)))?,
            at_most_once: self.flag()?,
        })
    }

    pub(super) fn scheduled(&mut self) -> Result<ScheduledRecord, RecordError> {
        Ok(ScheduledRecord {
            id: self.number()?,
            vhost: self.text()?,
            at: Timestamp(self.number()?),
            via: self.option(Self::text)?,
            retain: self.flag()?,
        })
    }

    fn targets(&mut self) -> Result<Vec<TargetRecord>, RecordError> {
        self.list(|r| Ok((QueueId(r.number()?), r.list(Self::number_u32)?)))
    }

    /// A record of `n` bytes can name up to 2^64 places in one range; more than this many are refused.
    fn ranges(&mut self) -> Result<Vec<Lsn>, RecordError> {
        const SETTLED_MAX: u64 = 16 << 20;
        let ranges = self.list(|r| Ok((r.number()?, r.number()?)))?;
        let total = ranges
            .iter()
            .try_fold(0_u64, |sum, (_, count)| sum.checked_add(*count));
        if total.is_none_or(|total| total > SETTLED_MAX) {
            return Err(RecordError::Malformed);
        }
        let mut lsns = Vec::new();
        let mut end = 0_u64;
        for (skip, count) in ranges {
            let first = end.wrapping_add(skip);
            end = first.checked_add(count).ok_or(RecordError::Malformed)?;
            lsns.extend((first..end).map(Lsn));
        }
        Ok(lsns)
    }
}
