//! What is ever made durable: facts, in a canonical form.
//!
//! A record says what happened, never what was asked for: targets are resolved, messages are named by the place of
//! their own record ([`Lsn`]). Replay routes nothing, compares no clocks and decides nothing.
//!
//! # Layout, version 1
//! ```text
//! record  = version (1 byte, 1)  kind (1 byte)  fields
//! number  = unsigned LEB128            text, bytes = number of bytes, bytes
//! flag    = 1 byte, 0 or 1             list        = number of items, items
//! option  = flag, then the value if it is 1
//!
//!  1 exchange declared  vhost name kind durable auto_delete internal arguments(table) declared_by?
//!  2 exchange deleted   vhost name
//!  3 queue declared     vhost id name durable auto_delete arguments(table)
//!  4 queue deleted      vhost id
//!  5 bound              vhost source destination(0 queue, 1 exchange; name) syntax key arguments(table)
//!                       options(tag?, excluded publisher?, at_most_once)
//!  6 unbound            vhost source destination syntax key arguments(table)
//!  7 published          message targets(list of queue id, list of tags)
//!  8 settled            queue, ranges(list of first lsn minus the end of the range before, length)
//!  9 returned           queue, list of (lsn, attempts, failures), absolute counters
//! 10 moved              queue, option(lsn left behind), message, targets, time of the move
//! 11 retained           vhost topic option(message)
//! 12 document           vhost key option(value)
//! 13 route set          id targets
//! 14 published by set   message, id of a route set that was recorded before
//! 15 started            time: a node began to serve clients with what is recorded before
//! 16 object put         object
//! 17 object removed     key: the object goes, and what belongs to it
//! 18 scheduled          id vhost due(time) option(exchange that holds it back) retained(flag) message
//! 19 released           id option(time, message, targets): it is scheduled no more; it entered queues then
//!
//! message = flags(1 byte: durable 1, slashed 2, priority 4, ttl 8, publisher 16, extras 32) format(1 byte)
//!           received_at exchange key native body priority? ttl_ms? publisher? extras?
//! extras  = list of cc, list of bcc, hide_cc, option(history)
//! history = list of deaths, first place, last place
//! death   = reason(1 byte) queue exchange list of keys, syntax, count first_time last_time option(ttl)
//! place   = reason(1 byte) queue exchange
//! object  = key value
//! key     = class(1 byte) and names        value behind it
//!           1 vhost name                   description, list of tags, option(queue type), tracing, protected
//!           2 user name                    option(algorithm(1 byte: 1 SHA-256, 2 SHA-512, 3 MD5) salt and hash),
//!                                          option(SCRAM salt, iterations, stored key(32), server key(32)), list of tags
//!           3 permission vhost user        configure write read
//!           4 topic permission vhost user exchange     write read
//!           5 policy vhost name operator   pattern, apply to, priority(8 bytes), table
//!           6 parameter vhost component name           text
//!           7 global parameter name        text
//!           8 vhost limit vhost limit(1 byte)          number
//!           9 user limit user limit(1 byte)            number
//! table   = list of (name, value); value = type(1 byte) and its bytes, see `value.rs`
//! ```

mod message;
mod object;
mod read;
pub mod state;
mod value;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

pub(crate) use message::{read as read_message, write as write_message};
pub(crate) use read::Reader;
pub use read::{Formats, RecordError, decode, message_of};

use crate::access::{Object, ObjectKey};
use crate::id::{Lsn, QueueId, RouteSetId, Timestamp};
use crate::message::Message;
use crate::queue::Returned;
use crate::routing::key::KeySyntax;
use crate::topology::{BindingDecl, BindingOptions, Destination, ExchangeDecl, QueueDecl};
use crate::value::Headers;

/// Version of the layout above.
pub const VERSION: u8 = 1;

/// Nesting of tables and lists in arguments that records carry; deeper values are refused when declared.
pub const DEPTH_MAX: usize = 64;

pub(crate) mod kind {
    pub(crate) const EXCHANGE_DECLARED: u8 = 1;
    pub(crate) const EXCHANGE_DELETED: u8 = 2;
    pub(crate) const QUEUE_DECLARED: u8 = 3;
    pub(crate) const QUEUE_DELETED: u8 = 4;
    pub(crate) const BOUND: u8 = 5;
    pub(crate) const UNBOUND: u8 = 6;
    pub(crate) const PUBLISHED: u8 = 7;
    pub(crate) const SETTLED: u8 = 8;
    pub(crate) const RETURNED: u8 = 9;
    pub(crate) const MOVED: u8 = 10;
    pub(crate) const RETAINED: u8 = 11;
    pub(crate) const DOCUMENT: u8 = 12;
    pub(crate) const ROUTE_SET: u8 = 13;
    pub(crate) const PUBLISHED_BY_SET: u8 = 14;
    pub(crate) const STARTED: u8 = 15;
    pub(crate) const OBJECT_PUT: u8 = 16;
    pub(crate) const OBJECT_REMOVED: u8 = 17;
    pub(crate) const SCHEDULED: u8 = 18;
    pub(crate) const RELEASED: u8 = 19;
}

/// A binding as a record names it.
#[derive(Clone, Debug, PartialEq)]
pub struct BindingRecord {
    /// The exchange it leads from.
    pub source: Box<str>,
    /// Whether it leads to an exchange rather than a queue.
    pub to_exchange: bool,
    /// Where it leads to.
    pub destination: Box<str>,
    /// How the key is written.
    pub syntax: KeySyntax,
    /// The binding key.
    pub key: Bytes,
    /// Its arguments.
    pub arguments: Headers,
}

/// A queue and the tags of the bindings by which a message reached it.
pub type TargetRecord = (QueueId, Vec<u32>);

/// What a record says about a message that is to be published later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScheduledRecord {
    /// Its identity while it waits.
    pub id: u64,
    /// The vhost it is to be published in.
    pub vhost: Box<str>,
    /// When.
    pub at: Timestamp,
    /// The exchange that holds it back; none if it is to be published to its own.
    pub via: Option<Box<str>>,
    /// Whether it is to be retained as well.
    pub retain: bool,
}

/// A message that is scheduled no more, and the queues it entered.
#[derive(Clone, Debug)]
pub struct ReleasedRecord {
    /// When it entered them.
    pub at: Timestamp,
    /// The message as it was published; its identity is the place of this record.
    pub message: Message,
    /// The queues.
    pub targets: Vec<TargetRecord>,
}

/// A record, read back.
#[derive(Clone, Debug)]
pub enum Record {
    /// A durable exchange came to be.
    ExchangeDeclared(Box<str>, ExchangeDecl),
    /// An exchange went, with its bindings.
    ExchangeDeleted(Box<str>, Box<str>),
    /// A durable queue came to be.
    QueueDeclared(Box<str>, QueueId, QueueDecl),
    /// A queue went, with its bindings and messages.
    QueueDeleted(Box<str>, QueueId),
    /// A durable binding came to be, or its options changed.
    Bound(Box<str>, BindingRecord, BindingOptions),
    /// A binding went.
    Unbound(Box<str>, BindingRecord),
    /// A message entered queues; its identity is the place of this record.
    Published(Message, Vec<TargetRecord>),
    /// Messages left a queue for good.
    Settled(QueueId, Vec<Lsn>),
    /// Messages came back to a queue, with their counters of attempts and failures.
    Returned(QueueId, Vec<Returned>),
    /// A message left one queue and entered others; its identity there is the place of this record.
    Moved {
        /// The queue it left.
        source: QueueId,
        /// Its identity there, if it had one.
        left: Option<Lsn>,
        /// The message as it went on.
        message: Message,
        /// The queues it entered.
        targets: Vec<TargetRecord>,
        /// When it entered them.
        at: Timestamp,
    },
    /// A topic's retained message changed, or went.
    Retained(Box<str>, Bytes, Option<Message>),
    /// A durable note of a protocol adapter changed, or went.
    Document(Box<str>, Bytes, Option<Bytes>),
    /// Many queues that messages go to together, under an id by which later records name them.
    RouteSet(RouteSetId, Vec<TargetRecord>),
    /// A message entered the queues of a route set; its identity is the place of this record.
    PublishedBySet(Message, RouteSetId),
    /// A node began to serve clients: from here on messages may have been delivered without a record of it.
    Started(Timestamp),
    /// An operator set something.
    ObjectPut(Object),
    /// It went, and with it what belongs to it.
    ObjectRemoved(ObjectKey),
    /// A message is to be published later.
    Scheduled(ScheduledRecord, Message),
    /// A message is scheduled no more, by its identity there: it was published, or cancelled.
    Released(u64, Option<ReleasedRecord>),
}

fn begin(kind: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, kind]);
}

/// Appends an unsigned LEB128 number.
pub(crate) fn number(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n.to_le_bytes()[0] | 0x80);
        n >>= 7;
    }
    out.push(n.to_le_bytes()[0]);
}

pub(crate) fn bytes(b: &[u8], out: &mut Vec<u8>) {
    number(b.len() as u64, out);
    out.extend_from_slice(b);
}

fn flag(f: bool, out: &mut Vec<u8>) {
    out.push(f.into());
}

fn syntax(s: KeySyntax, out: &mut Vec<u8>) {
    out.push(match s {
        KeySyntax::Dotted => 0,
        KeySyntax::Slashed => 1,
    });
}

/// A durable exchange came to be.
pub fn exchange_declared(vhost: &str, decl: &ExchangeDecl, out: &mut Vec<u8>) {
    begin(kind::EXCHANGE_DECLARED, out);
    bytes(vhost.as_bytes(), out);
    bytes(decl.name.as_bytes(), out);
    bytes(decl.kind.name().as_bytes(), out);
    flag(decl.durable, out);
    flag(decl.auto_delete, out);
    flag(decl.internal, out);
    value::table(&decl.arguments, out);
    bytes(decl.declared_by.as_bytes(), out);
}

/// An exchange went, with its bindings.
pub fn exchange_deleted(vhost: &str, name: &str, out: &mut Vec<u8>) {
    begin(kind::EXCHANGE_DELETED, out);
    bytes(vhost.as_bytes(), out);
    bytes(name.as_bytes(), out);
}

/// A durable queue came to be. Exclusive queues never get here: they end with their connection.
pub fn queue_declared(vhost: &str, id: QueueId, decl: &QueueDecl, out: &mut Vec<u8>) {
    begin(kind::QUEUE_DECLARED, out);
    bytes(vhost.as_bytes(), out);
    number(id.0, out);
    bytes(decl.name.as_bytes(), out);
    flag(decl.durable, out);
    flag(decl.auto_delete, out);
    value::table(&decl.arguments, out);
}

/// A queue went, with its bindings and messages.
pub fn queue_deleted(vhost: &str, id: QueueId, out: &mut Vec<u8>) {
    begin(kind::QUEUE_DELETED, out);
    bytes(vhost.as_bytes(), out);
    number(id.0, out);
}

fn binding(vhost: &str, b: &BindingDecl<'_>, out: &mut Vec<u8>) {
    bytes(vhost.as_bytes(), out);
    bytes(b.source.as_bytes(), out);
    let (to_exchange, name) = match b.destination {
        Destination::Queue(name) => (false, name),
        Destination::Exchange(name) => (true, name),
    };
    flag(to_exchange, out);
    bytes(name.as_bytes(), out);
    syntax(b.syntax, out);
    bytes(b.key, out);
    value::table(b.arguments, out);
}

/// A durable binding came to be, or its options changed.
pub fn bound(vhost: &str, b: &BindingDecl<'_>, out: &mut Vec<u8>) {
    begin(kind::BOUND, out);
    binding(vhost, b, out);
    option(b.options.tag, out, |tag, out| number(tag.into(), out));
    option(b.options.exclude_publisher, out, |p, out| number(p.0, out));
    flag(b.options.at_most_once, out);
}

/// A binding went.
pub fn unbound(vhost: &str, b: &BindingDecl<'_>, out: &mut Vec<u8>) {
    begin(kind::UNBOUND, out);
    binding(vhost, b, out);
}

fn option<T>(value: Option<T>, out: &mut Vec<u8>, write: impl FnOnce(T, &mut Vec<u8>)) {
    flag(value.is_some(), out);
    if let Some(value) = value {
        write(value, out);
    }
}

fn targets<'a>(targets: impl Iterator<Item = (QueueId, &'a [u32])> + Clone, out: &mut Vec<u8>) {
    number(targets.clone().count() as u64, out);
    for (queue, tags) in targets {
        number(queue.0, out);
        number(tags.len() as u64, out);
        for tag in tags {
            number((*tag).into(), out);
        }
    }
}

/// A message entered durable queues.
pub fn published<'a>(
    message: &Message,
    to: impl Iterator<Item = (QueueId, &'a [u32])> + Clone,
    out: &mut Vec<u8>,
) {
    begin(kind::PUBLISHED, out);
    message::write(message, out);
    targets(to, out);
}

/// Messages left a queue for good. Consecutive places become one range.
pub fn settled(queue: QueueId, lsns: &[Lsn], out: &mut Vec<u8>) {
    begin(kind::SETTLED, out);
    number(queue.0, out);
    let ranges = || lsns.chunk_by(|a, b| b.0 == a.0.wrapping_add(1));
    number(ranges().count() as u64, out);
    let mut end = 0_u64;
    for range in ranges() {
        // Ranges may go backwards when returned messages are settled late: the difference wraps.
        let first = range.first().map_or(0, |lsn| lsn.0);
        number(first.wrapping_sub(end), out);
        number(range.len() as u64, out);
        end = first.wrapping_add(range.len() as u64);
    }
}

/// Messages came back to a queue; the counters are absolute.
pub fn returned(queue: QueueId, messages: &[Returned], out: &mut Vec<u8>) {
    begin(kind::RETURNED, out);
    number(queue.0, out);
    number(messages.len() as u64, out);
    for message in messages {
        number(message.lsn.0, out);
        number(message.attempts.into(), out);
        number(message.failures.into(), out);
    }
}

/// The queues of a route, for messages that name them by the set's id.
pub fn route_set<'a>(
    id: RouteSetId,
    to: impl Iterator<Item = (QueueId, &'a [u32])> + Clone,
    out: &mut Vec<u8>,
) {
    begin(kind::ROUTE_SET, out);
    number(id.0, out);
    targets(to, out);
}

/// A message entered the durable queues of a route set.
pub fn published_by_set(message: &Message, set: RouteSetId, out: &mut Vec<u8>) {
    begin(kind::PUBLISHED_BY_SET, out);
    message::write(message, out);
    number(set.0, out);
}

/// A message left one queue and entered others at `at`, both or neither.
pub fn moved<'a>(
    (source, left): (QueueId, Lsn),
    at: Timestamp,
    message: &Message,
    to: impl Iterator<Item = (QueueId, &'a [u32])> + Clone,
    out: &mut Vec<u8>,
) {
    begin(kind::MOVED, out);
    number(source.0, out);
    option(left.is_some().then_some(left), out, |lsn, out| {
        number(lsn.0, out);
    });
    message::write(message, out);
    targets(to, out);
    number(at.0, out);
}

/// A topic's retained message changed, or went.
pub fn retained(vhost: &str, topic: &[u8], message: Option<&Message>, out: &mut Vec<u8>) {
    begin(kind::RETAINED, out);
    bytes(vhost.as_bytes(), out);
    bytes(topic, out);
    option(message, out, message::write);
}

/// An adapter's durable note changed, or went.
pub fn document(vhost: &str, key: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    begin(kind::DOCUMENT, out);
    bytes(vhost.as_bytes(), out);
    bytes(key, out);
    option(value, out, bytes);
}

/// A node began to serve clients.
pub fn started(at: Timestamp, out: &mut Vec<u8>) {
    begin(kind::STARTED, out);
    number(at.0, out);
}

/// An operator set something.
pub fn object_put(o: &Object, out: &mut Vec<u8>) {
    begin(kind::OBJECT_PUT, out);
    object::object(o, out);
}

/// Something that an operator set went, and what belongs to it.
pub fn object_removed(key: &ObjectKey, out: &mut Vec<u8>) {
    begin(kind::OBJECT_REMOVED, out);
    object::key(key, out);
}

/// A message is to be published later.
pub fn scheduled(s: &ScheduledRecord, message: &Message, out: &mut Vec<u8>) {
    begin(kind::SCHEDULED, out);
    scheduling(s, out);
    message::write(message, out);
}

fn scheduling(s: &ScheduledRecord, out: &mut Vec<u8>) {
    number(s.id, out);
    bytes(s.vhost.as_bytes(), out);
    number(s.at.0, out);
    option(s.via.as_ref(), out, |via, out| bytes(via.as_bytes(), out));
    flag(s.retain, out);
}

/// A scheduled message was published at `at` and entered durable queues.
pub fn released<'a>(
    id: u64,
    at: Timestamp,
    message: &Message,
    to: impl Iterator<Item = (QueueId, &'a [u32])> + Clone,
    out: &mut Vec<u8>,
) {
    if to.clone().next().is_none() {
        return cancelled(id, out);
    }
    begin(kind::RELEASED, out);
    number(id, out);
    flag(true, out);
    number(at.0, out);
    message::write(message, out);
    targets(to, out);
}

/// A scheduled message went without entering any durable queue.
pub fn cancelled(id: u64, out: &mut Vec<u8>) {
    begin(kind::RELEASED, out);
    number(id, out);
    flag(false, out);
}
