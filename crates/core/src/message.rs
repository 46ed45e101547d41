//! A message: one counted allocation that every queue of a fan-out shares.
//!
//! ```text
//! Message ──► count │ envelope │ exchange │ routing key │ native properties │ body (up to BODY_INLINE_MAX)
//!                        └──► Bytes: a larger body, in an allocation of its own
//! ```
//!
//! Properties stay in the bytes of the protocol the message came in with (its *native form*). Who speaks that
//! protocol copies them; who does not asks for the neutral [`Properties`], which the message's
//! [`PropertyFormat`] decodes on demand. So the core never parses a property on the hot path, and knows no protocol.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use triomphe::ThinArc;

use crate::id::{PublisherId, Timestamp};
use crate::routing::key::KeySyntax;
use crate::value::{Headers, Value};

/// Bodies up to this many bytes lie in the message's own allocation; larger ones are shared [`Bytes`].
pub const BODY_INLINE_MAX: usize = 8 * 1024;

/// Stable number of a native property form; part of the durable format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FormatId(pub u8);

/// Decodes one protocol's native property bytes. One static value per adapter.
pub trait PropertyFormat: Send + Sync {
    /// Which form this is.
    fn id(&self) -> FormatId;
    /// The neutral view. `native` was accepted by the adapter when the message came in; if it is damaged all the
    /// same, what can be read is returned.
    fn decode(&self, native: &[u8]) -> Properties;
    /// The same properties with another value for a header; none if this form has no such headers. Messages keep what
    /// their publisher said, so this is for what the broker has to tell in the publisher's words.
    fn with_header(&self, _native: &[u8], _name: &str, _value: &Value) -> Option<Vec<u8>> {
        None
    }
}

/// The form of messages that carry no properties.
#[derive(Debug)]
pub struct NoProperties;

impl PropertyFormat for NoProperties {
    fn id(&self) -> FormatId {
        FormatId(0)
    }
    fn decode(&self, _native: &[u8]) -> Properties {
        Properties::default()
    }
}

/// What a message says about itself, in no protocol's terms. Durability, priority and TTL are in the message's
/// envelope ([`Message::durable`], [`Message::priority`], [`Message::ttl_ms`]).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// MIME type of the body.
    pub content_type: Option<Bytes>,
    /// MIME encoding of the body.
    pub content_encoding: Option<Bytes>,
    /// The publisher's own identifier.
    pub message_id: Option<Bytes>,
    /// Ties a reply to its request; any bytes.
    pub correlation_id: Option<Bytes>,
    /// Queue that a reply goes to.
    pub reply_to: Option<Bytes>,
    /// Topic that a reply goes to, with the syntax it is written in.
    pub reply_topic: Option<(KeySyntax, Bytes)>,
    /// The publisher's name for the kind of message.
    pub message_type: Option<Bytes>,
    /// The publishing application.
    pub app_id: Option<Bytes>,
    /// The publishing user, as claimed and checked at publish.
    pub user_id: Option<Bytes>,
    /// Publisher's time in seconds since the Unix epoch.
    pub timestamp: Option<u64>,
    /// Whether the publisher declared the body to be UTF-8 text.
    pub body_is_text: bool,
    /// Everything else, named.
    pub headers: Headers,
}

/// Why a message died.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeathReason {
    /// A consumer refused it.
    Rejected,
    /// Its time to live was over.
    Expired,
    /// The queue was over its length limit.
    MaxLength,
    /// It was returned more often than the queue allows.
    DeliveryLimit,
}

impl DeathReason {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// All of them, in the order of [`Self::index`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::Rejected,
        Self::Expired,
        Self::MaxLength,
        Self::DeliveryLimit,
    ];

    /// Its number, from 0 on.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name that tools know.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// One queue's deaths of a message for one reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Death {
    /// Why.
    pub reason: DeathReason,
    /// In which queue.
    pub queue: Box<str>,
    /// The exchange it had been published to.
    pub exchange: Bytes,
    /// The keys it had been published with, blind copies left out, in the syntax of `key_syntax`.
    pub routing_keys: Vec<Bytes>,
    /// How the routing keys are written.
    pub key_syntax: KeySyntax,
    /// How often.
    pub count: u64,
    /// When first.
    pub first_time: Timestamp,
    /// When last.
    pub last_time: Timestamp,
    /// The time to live it had, which death took away, in milliseconds.
    pub original_ttl_ms: Option<u64>,
}

/// Where a message died, without the counts.
#[derive(Clone, Debug, PartialEq)]
pub struct DeathPlace {
    /// Why.
    pub reason: DeathReason,
    /// In which queue.
    pub queue: Box<str>,
    /// The exchange it had been published to.
    pub exchange: Bytes,
}

/// A message's deaths.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// One entry per queue and reason, the most recent first; never empty.
    pub deaths: Vec<Death>,
    /// The first death ever.
    pub first: DeathPlace,
    /// The latest death.
    pub last: DeathPlace,
}

/// What few messages have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    /// Further routing keys that consumers may see.
    pub cc: Vec<Bytes>,
    /// Further routing keys that nobody sees.
    pub bcc: Vec<Bytes>,
    /// Deaths so far.
    pub history: Option<History>,
    /// The native properties carry a list of further keys that no longer holds: leave it out when rendering.
    pub hide_cc: bool,
}

#[derive(Clone)]
struct Envelope {
    format: &'static dyn PropertyFormat,
    received_at: Timestamp,
    ttl_ms: Option<u64>,
    publisher: Option<PublisherId>,
    shared_body: Option<Bytes>,
    extras: Option<Box<Extras>>,
    native_len: u32,
    key_len: u16,
    exchange_len: u8,
    key_syntax: KeySyntax,
    priority: Option<u8>,
    durable: bool,
}

/// The body of a message to be built.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// Copied into the message's allocation.
    Inline(&'a [u8]),
    /// Shared as it is.
    Shared(Bytes),
}

impl<'a> Body<'a> {
    /// Inline if it is small, else a copy in an allocation of its own.
    pub fn copy_from(body: &'a [u8]) -> Self {
        if body.len() <= BODY_INLINE_MAX {
            Self::Inline(body)
        } else {
            Self::Shared(Bytes::copy_from_slice(body))
        }
    }
}

/// Everything a message is made of. Exchange names have at most 255 bytes, routing keys 65,535.
#[derive(Clone)]
pub struct NewMessage<'a> {
    /// The exchange published to.
    pub exchange: &'a [u8],
    /// The routing key as the publisher wrote it.
    pub routing_key: &'a [u8],
    /// How the routing key is written.
    pub key_syntax: KeySyntax,
    /// Reads `native`.
    pub format: &'static dyn PropertyFormat,
    /// Properties in the publisher's protocol.
    pub native: &'a [u8],
    /// The body.
    pub body: Body<'a>,
    /// Whether it must survive a restart, in a durable queue.
    pub durable: bool,
    /// Priority, if one was given.
    pub priority: Option<u8>,
    /// Time to live in milliseconds, if one was given.
    pub ttl_ms: Option<u64>,
    /// When the node took it.
    pub received_at: Timestamp,
    /// Who published it, for bindings that exclude a publisher.
    pub publisher: Option<PublisherId>,
    /// What few messages have.
    pub extras: Option<Box<Extras>>,
}

impl<'a> NewMessage<'a> {
    /// A transient message without properties: a start for tests and tools.
    pub fn plain(exchange: &'a [u8], routing_key: &'a [u8], body: &'a [u8]) -> Self {
        NewMessage {
            exchange,
            routing_key,
            key_syntax: KeySyntax::Dotted,
            format: &NoProperties,
            native: &[],
            body: Body::copy_from(body),
            durable: false,
            priority: None,
            ttl_ms: None,
            received_at: Timestamp(0),
            publisher: None,
            extras: None,
        }
    }

    /// Builds the message. `scratch` is cleared and used to lay out the bytes; keep it for the next one.
    ///
    /// Names beyond their maximum are cut; adapters refuse them before.
    pub fn build(self, scratch: &mut Vec<u8>) -> Message {
        let exchange = &self.exchange[..self.exchange.len().min(u8::MAX.into())];
        let key = &self.routing_key[..self.routing_key.len().min(u16::MAX.into())];
        let native = &self.native[..self.native.len().min(u32::MAX as usize)];
        scratch.clear();
        scratch.extend_from_slice(exchange);
        scratch.extend_from_slice(key);
        scratch.extend_from_slice(native);
        let shared_body = match self.body {
            Body::Inline(body) => {
                scratch.extend_from_slice(body);
                None
            }
            Body::Shared(body) => Some(body),
        };
        let envelope = Envelope {
            format: self.format,
            received_at: self.received_at,
            ttl_ms: self.ttl_ms,
            publisher: self.publisher,
            shared_body,
            extras: self.extras,
            // Cut to their types' range just above.
            native_len: u32::try_from(native.len()).unwrap_or(u32::MAX),
            key_len: u16::try_from(key.len()).unwrap_or(u16::MAX),
            exchange_len: u8::try_from(exchange.len()).unwrap_or(u8::MAX),
            key_syntax: self.key_syntax,
            priority: self.priority,
            durable: self.durable,
        };
        Message(ThinArc::from_header_and_slice(envelope, scratch))
    }
}

/// A message; cloning counts a reference.
#[derive(Clone)]
pub struct Message(ThinArc<Envelope, u8>);

impl Message {
    fn envelope(&self) -> &Envelope {
        &self.0.header.header
    }

    /// The exchange it was published to, or dead-lettered to.
    pub fn exchange(&self) -> &[u8] {
        &self.0.slice[..self.envelope().exchange_len.into()]
    }

    /// The routing key, as the publisher wrote it; see [`Message::key_syntax`].
    pub fn routing_key(&self) -> &[u8] {
        let e = self.envelope();
        let start = usize::from(e.exchange_len);
        &self.0.slice[start..start + usize::from(e.key_len)]
    }

    /// How the routing key is written.
    pub fn key_syntax(&self) -> KeySyntax {
        self.envelope().key_syntax
    }

    /// Properties in the bytes of the protocol the message came in with.
    pub fn native(&self) -> &[u8] {
        let e = self.envelope();
        let start = usize::from(e.exchange_len) + usize::from(e.key_len);
        &self.0.slice[start..start + e.native_len as usize]
    }

    /// Which protocol's bytes [`Message::native`] holds.
    pub fn format(&self) -> FormatId {
        self.envelope().format.id()
    }

    /// The neutral view of the properties, decoded now.
    pub fn properties(&self) -> Properties {
        self.envelope().format.decode(self.native())
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        let e = self.envelope();
        match &e.shared_body {
            Some(body) => body,
            None => {
                &self.0.slice
                    [usize::from(e.exchange_len) + usize::from(e.key_len) + e.native_len as usize..]
            }
        }
    }

    /// The body as shared bytes, if it has an allocation of its own (see [`BODY_INLINE_MAX`]).
    pub fn shared_body(&self) -> Option<&Bytes> {
        self.envelope().shared_body.as_ref()
    }

    /// Whether it must survive a restart, in a durable queue.
    pub fn durable(&self) -> bool {
        self.envelope().durable
    }

    /// Priority, if one was given.
    pub fn priority(&self) -> Option<u8> {
        self.envelope().priority
    }

    /// Time to live in milliseconds from [`Message::received_at`], if one was given.
    pub fn ttl_ms(&self) -> Option<u64> {
        self.envelope().ttl_ms
    }

    /// When the node took it.
    pub fn received_at(&self) -> Timestamp {
        self.envelope().received_at
    }

    /// Who published it.
    pub fn publisher(&self) -> Option<PublisherId> {
        self.envelope().publisher
    }

    /// What few messages have.
    pub fn extras(&self) -> Option<&Extras> {
        self.envelope().extras.as_deref()
    }

    /// Deaths so far.
    pub fn history(&self) -> Option<&History> {
        self.extras()?.history.as_ref()
    }

    /// Bytes of memory it takes, shared by all who hold it.
    pub fn resident_bytes(&self) -> usize {
        size_of::<Envelope>() + self.0.slice.len() + self.shared_body().map_or(0, Bytes::len)
    }

    /// The parts it was made of, to make a changed copy.
    pub fn to_new(&self) -> NewMessage<'_> {
        let e = self.envelope();
        NewMessage {
            exchange: self.exchange(),
            routing_key: self.routing_key(),
            key_syntax: e.key_syntax,
            format: e.format,
            native: self.native(),
            body: e
                .shared_body
                .clone()
                .map_or_else(|| Body::Inline(self.body()), Body::Shared),
            durable: e.durable,
            priority: e.priority,
            ttl_ms: e.ttl_ms,
            received_at: e.received_at,
            publisher: e.publisher,
            extras: e.extras.clone(),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("exchange", &self.exchange().escape_ascii())
            .field("routing_key", &self.routing_key().escape_ascii())
            .field("body_bytes", &self.body().len())
            .finish_non_exhaustive()
    }
}
