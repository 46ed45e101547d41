//! What of a session outlives the broker's process, as documents of the broker: keys and values, and how they are laid
//! out.
//!
//! Sessions that end with their connection have none. Numbers are big endian; a *name* is its length in one byte and
//! its bytes in UTF-8; every value begins with the layout's version, 1.
//!
//! ```text
//! key = "mqtt" 0x00 │ length of client id u16 │ client id │ kind u8 │ detail
//!
//! kind          detail         value behind the version
//! 1 session     -              expiry u32 s │ expires at u64 ms, 0 while connected │ publisher u64 │ next tag u32
//!                              │ flags u8: bit 0 the own queue is the session's work │ own queue, a name; empty if none
//!                              │ user, a name; not there if nobody knows
//! 2 subscription filter        tag u32 │ options u8, as in SUBSCRIBE │ identifier u32, 0 if none
//!                              │ queue of the group, or the one consumed, a name; empty if neither
//! 3 received    packet id u16  -
//! 4 outgoing    packet id u16  step u8: 1 sent, 2 released │ serial u64 │ record u64, 0 if none
//!                              │ queue, a name; empty for the session's own
//! 5 will        -              scheduled u64
//! ```
//!
//! *Received* are QoS 2 packets from the client between PUBLISH and PUBREL; *outgoing* are those to the client, up to
//! PUBCOMP: sent before PUBREC came, released after it. The serial says in which order they were sent; the record is the
//! message's, by which it is recognised when its queue gives it out again. A *will* is one that waits for its delay: the
//! broker knows it by that number, and publishes it unless the client comes back before.

use std::num::NonZeroU16;

use ternmq_broker::{DocumentChange, ScheduleId};
use ternmq_core::id::{Lsn, PublisherId, Timestamp};

use crate::frame::{PacketId, SubscribeOptions};

/// What the key of every document of this adapter begins with.
pub(crate) const PREFIX: &[u8] = b"mqtt\0";

const VERSION: u8 = 1;
const OWN_QUEUE_CREATED: u8 = 1;

/// What a document is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject<'a> {
    /// The session as a whole.
    Session,
    /// The subscription with that filter.
    Subscription(&'a str),
    /// A QoS 2 packet of the client.
    Received(PacketId),
    /// A QoS 2 packet to the client.
    Outgoing(PacketId),
    /// The will that waits for its delay.
    ScheduledWill,
}

/// The session as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SessionDocument {
    /// Seconds it is kept behind its connection.
    pub(crate) expiry_s: u32,
    /// When it ends; none while it is connected.
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) publisher: PublisherId,
    /// For the next subscription.
    pub(crate) next_tag: u32,
    /// Its own queue's name, once it has one, and whether the session made it.
    pub(crate) own_queue: Option<(Box<str>, bool)>,
    /// Who connected last, unless the name is longer than a name may be here.
    pub(crate) user: Option<Box<str>>,
}

/// A subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SubscriptionDocument {
    pub(crate) tag: u32,
    pub(crate) options: SubscribeOptions,
    /// Subscription identifier of MQTT 5.
    pub(crate) id: Option<u32>,
    /// The group's queue, if it is shared.
    pub(crate) share_queue: Option<Box<str>>,
}

/// How far a QoS 2 message to the client is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OutgoingStep {
    /// The client may have the PUBLISH.
    Sent,
    /// It answered PUBREC.
    Released,
}

/// A QoS 2 message on its way to the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OutgoingDocument {
    pub(crate) step: OutgoingStep,
    /// Its place in the order of sending.
    pub(crate) serial: u64,
    /// The message's record.
    pub(crate) lsn: Lsn,
    /// The queue of a group; none for the session's own.
    pub(crate) queue: Option<Box<str>>,
}

/// What the keys of all documents of a session begin with.
pub(crate) fn session_prefix(client_id: &str) -> Vec<u8> {
    let mut key = PREFIX.to_vec();
    // The protocol's strings have a length of 16 bits.
    let len = u16::try_from(client_id.len()).unwrap_or(u16::MAX);
    key.extend_from_slice(&len.to_be_bytes());
    key.extend_from_slice(client_id.as_bytes());
    key
}

/// The key of a document.
pub(crate) fn key(client_id: &str, subject: Subject<'_>) -> Box<[u8]> {
    let mut key = session_prefix(client_id);
    match subject {
        Subject::Session => key.push(1),
        Subject::Subscription(filter) => {
            key.push(2);
            key.extend_from_slice(filter.as_bytes());
        }
        Subject::Received(id) => {
            key.push(3);
            key.extend_from_slice(&id.get().to_be_bytes());
        }
        Subject::Outgoing(id) => {
            key.push(4);
            key.extend_from_slice(&id.get().to_be_bytes());
        }
        Subject::ScheduledWill => key.push(5),
    }
    key.into()
}

/// The client identifier and what the document is about; none if it is no key of this layout.
pub(crate) fn read_key(key: &[u8]) -> Option<(&str, Subject<'_>)> {
    let mut reader = Reader(key.strip_prefix(PREFIX)?);
    let len = reader.u16()?;
    let client_id = reader.text(len.into())?;
    let subject = match reader.u8()? {
        1 => Subject::Session,
        2 => Subject::Subscription(reader.text(reader.0.len())?),
        3 => Subject::Received(NonZeroU16::new(reader.u16()?)?),
        4 => Subject::Outgoing(NonZeroU16::new(reader.u16()?)?),
        5 => Subject::ScheduledWill,
        _ => return None,
    };
    reader.end((client_id, subject))
}

/// The document comes, or changes.
pub(crate) fn put(client_id: &str, subject: Subject<'_>, value: Vec<u8>) -> DocumentChange {
    DocumentChange {
        key: key(client_id, subject),
        value: Some(value.into()),
    }
}

/// The document goes.
pub(crate) fn remove(client_id: &str, subject: Subject<'_>) -> DocumentChange {
    DocumentChange {
        key: key(client_id, subject),
        value: None,
    }
}

/// What the document of a received packet says.
pub(crate) fn received() -> Vec<u8> {
    vec![VERSION]
}

/// Whether that is what the document of a received packet says.
pub(crate) fn is_received(value: &[u8]) -> bool {
    value == [VERSION]
}

/// What the document of a will says: by which name the broker knows it.
pub(crate) fn scheduled_will(will: ScheduleId) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&will.0.to_be_bytes());
    out
}

/// See [`scheduled_will`].
pub(crate) fn read_scheduled_will(value: &[u8]) -> Option<ScheduleId> {
    let mut reader = Reader::versioned(value)?;
    let will = ScheduleId(reader.u64()?);
    reader.end(will)
}

impl SessionDocument {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (name, created) = match &self.own_queue {
            Some((name, created)) => (&**name, *created),
            None => ("", false),
        };
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.expiry_s.to_be_bytes());
        out.extend_from_slice(&self.expires_at.map_or(0, |at| at.0).to_be_bytes());
        out.extend_from_slice(&self.publisher.0.to_be_bytes());
        out.extend_from_slice(&self.next_tag.to_be_bytes());
        out.push(if created { OWN_QUEUE_CREATED } else { 0 });
        write_name(name, &mut out);
        if let Some(user) = &self.user {
            write_name(user, &mut out);
        }
        out
    }

    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::versioned(value)?;
        let (expiry_s, expires_at) = (reader.u32()?, reader.u64()?);
        let (publisher, next_tag) = (PublisherId(reader.u64()?), reader.u32()?);
        let flags = reader.u8()?;
        if flags & !OWN_QUEUE_CREATED != 0 {
            return None;
        }
        let own_queue = owned(reader.name()?).map(|name| (name, flags != 0));
        let user = if reader.0.is_empty() {
            None
        } else {
            Some(owned(reader.name()?)?)
        };
        reader.end(Self {
            expiry_s,
            expires_at: Some(Timestamp(expires_at)).filter(|at| at.0 != 0),
            publisher,
            next_tag,
            own_queue,
            user,
        })
    }
}

impl SubscriptionDocument {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.tag.to_be_bytes());
        out.push(self.options.as_u8());
        out.extend_from_slice(&self.id.unwrap_or(0).to_be_bytes());
        write_name(self.share_queue.as_deref().unwrap_or_default(), &mut out);
        out
    }

    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::versioned(value)?;
        let tag = reader.u32()?;
        let options = SubscribeOptions::from_u8(reader.u8()?)?;
        let id = Some(reader.u32()?).filter(|id| *id != 0);
        let share_queue = owned(reader.name()?);
        reader.end(Self {
            tag,
            options,
            id,
            share_queue,
        })
    }
}

impl OutgoingDocument {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let step = match self.step {
            OutgoingStep::Sent => 1,
            OutgoingStep::Released => 2,
        };
        let mut out = vec![VERSION, step];
        out.extend_from_slice(&self.serial.to_be_bytes());
        out.extend_from_slice(&self.lsn.0.to_be_bytes());
        write_name(self.queue.as_deref().unwrap_or_default(), &mut out);
        out
    }

    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::versioned(value)?;
        let step = match reader.u8()? {
            1 => OutgoingStep::Sent,
            2 => OutgoingStep::Released,
            _ => return None,
        };
        let (serial, lsn) = (reader.u64()?, Lsn(reader.u64()?));
        let queue = owned(reader.name()?);
        reader.end(Self {
            step,
            serial,
            lsn,
            queue,
        })
    }
}

/// Names of queues have 255 bytes at most, and so have those of users that are kept; none is empty.
fn write_name(name: &str, out: &mut Vec<u8>) {
    let len = u8::try_from(name.len());
    debug_assert!(len.is_ok(), "a name has 255 bytes at most");
    let (len, name) = len.map_or((0, ""), |len| (len, name));
    out.push(len);
    out.extend_from_slice(name.as_bytes());
}

/// The user's name, if it is one that a document has room for.
pub(crate) fn user_name(name: &str) -> Option<Box<str>> {
    owned(name).filter(|name| u8::try_from(name.len()).is_ok())
}

fn owned(name: &str) -> Option<Box<str>> {
    (!name.is_empty()).then(|| name.into())
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn versioned(value: &'a [u8]) -> Option<Self> {
        let mut reader = Self(value);
        (reader.u8()? == VERSION).then_some(reader)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn text(&mut self, len: usize) -> Option<&'a str> {
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// A name, empty if there is none.
    fn name(&mut self) -> Option<&'a str> {
        let len = self.u8()?;
        self.text(len.into())
    }

    /// The value that was read, if nothing is left.
    fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

#[cfg(test)]
mod tests;
