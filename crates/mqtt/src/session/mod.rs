//! One client's conversation, and the state of it that outlives a connection (§4.1).
//!
//! ```text
//!              attach                    detach, expiry > 0
//!   (nothing) ───────► live ◄──────────────────────────────► kept ── expiry over ──► (nothing)
//!                       └── detach, expiry 0 ──► (nothing)
//!
//!   documents ── restart ──► kept
//! ```
//!
//! [`Session`] is what the registry holds, behind a lock. A connection that owns it works with [`Active`]: who the
//! session is, what is kept of it, and what lives as long as the connection. The four verbs are `impl Active` in a file
//! each; [`attach`](self::attach) is how connections come and go. What outlives the process is written by `record` and
//! read by `restore`.

pub(crate) mod attach;
mod awaited;
mod declare;
mod deliver;
pub(crate) mod documents;
mod encode;
mod ending;
mod flush;
mod publish;
mod record;
pub(crate) mod restore;
mod settle;
mod share;
mod source;
mod subscriptions;
mod topic_alias;
pub(crate) mod will;
pub(crate) mod window;

use std::collections::VecDeque;
use std::sync::Arc;

use ternmq_broker::mailbox::Mailbox;
use ternmq_broker::{Client, DocumentChange, ScheduleId, Turn};
use ternmq_core::id::{Lsn, PublisherId, Timestamp};
use ternmq_core::queue::Delivery;

use crate::frame::ProtocolVersion;
use crate::listener::Node;
use crate::mapping::Origin;
use crate::properties::PropertyBuf;
use crate::registry::VhostSessions;
use crate::sys::Counted;
use flush::Owed;
pub(crate) use publish::Payload;
use publish::{TurnAck, TurnRetain};
use source::Source;
use subscriptions::Subscriptions;
use will::Will;
use window::{Lease, Outgoing, Window};

/// See the module's documentation.
pub(crate) struct Session {
    identity: Identity,
    kept: Kept,
    live: Option<Box<Live>>,
    /// Mailboxes of connections that wait for the one that has it to leave.
    newcomers: Vec<Arc<Mailbox>>,
    /// The connection that owns it, or owned it last.
    epoch: u64,
    /// When the registry looks whether it has ended.
    looked_at: Option<Timestamp>,
    /// No longer in the registry: whoever comes upon it looks the client identifier up again.
    removed: bool,
}

/// Who the session is.
pub(crate) struct Identity {
    pub(crate) node: Arc<Node>,
    pub(crate) sessions: Arc<VhostSessions>,
    pub(crate) client_id: Box<str>,
    /// For subscriptions that do not want the session's own messages.
    pub(crate) publisher: PublisherId,
}

impl Identity {
    /// Of what the session publishes.
    fn origin(&self, now: Timestamp) -> Origin<'_> {
        Origin {
            exchange: self.node.config.exchange.as_bytes(),
            received_at: now,
            publisher: Some(self.publisher),
        }
    }
}

/// What is kept between connections.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) subscriptions: Subscriptions,
    /// Queues it consumes from: at 0 its own, behind it those of shared subscriptions.
    pub(crate) sources: Vec<Source>,
    /// QoS 1 and 2 towards the client.
    pub(crate) window: Window,
    /// What waits for room in the window, or in the output.
    pub(crate) pending: VecDeque<Outgoing>,
    /// Packet identifiers of QoS 2 messages that came and were not released (PUBREL), ascending.
    pub(crate) received: Vec<u16>,
    /// Seconds it is kept behind its connection.
    pub(crate) expiry_s: u32,
    /// Whether there is a session at all: false before the first connection and after its end.
    exists: bool,
    /// When it ends, while it has no connection.
    expires_at: Option<Timestamp>,
    /// A will that waits for its delay.
    scheduled_will: Option<ScheduleId>,
    /// Who connected last, if that is known and a document has room for the name.
    pub(crate) user: Option<Box<str>>,
    /// Whether it has documents.
    is_recorded: bool,
    /// The last record that a promise to the client rests upon: a connection that takes the session over is let in
    /// once that is safe, so nothing of an earlier one has to be waited for later.
    last_record: Lsn,
    /// After a restart: what its queue gives out with a later record came in since.
    restored_until: Lsn,
}

/// What lives as long as the connection.
pub(crate) struct Live {
    pub(crate) client: Client,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) limits: PeerLimits,
    pub(crate) will: Option<Box<Will>>,
    /// Topics by alias, from 1 on, as the client set them.
    pub(crate) aliases_in: Vec<Option<Box<str>>>,
    /// Topics by alias, from 1 on, as we set them: keys with their syntax.
    pub(crate) aliases_out: Vec<encode::AliasedTopic>,
    /// Publishes of this read.
    pub(crate) turn: Turn,
    /// What answers them.
    pub(crate) turn_acks: Vec<TurnAck>,
    /// Which of them are retained.
    pub(crate) turn_retains: Vec<TurnRetain>,
    /// Documents that change with the next batch.
    pub(crate) documents: Vec<DocumentChange>,
    /// Leases of QoS 2 messages whose PUBREC came, to be settled with the next batch.
    pub(crate) releases: Vec<Lease>,
    /// Answers that wait for the journal, in the order of the publishes.
    pub(crate) owed: VecDeque<Owed>,
    /// PUBACKs among those answers.
    pub(crate) pubacks_owed: usize,
    /// Reused: what a drain brings, the broker's refusals, subscription identifiers, properties, native forms.
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) rejected: Vec<usize>,
    pub(crate) ids: Vec<u32>,
    pub(crate) properties: PropertyBuf,
    pub(crate) native: Vec<u8>,
    /// Nothing more is read before this record is committed: the disk does not keep up.
    pub(crate) read_on_at: Lsn,
    /// What this turn brings, for `$SYS`.
    pub(crate) counted: Counted,
    /// Whether the client published, and so is stopped under memory pressure.
    pub(crate) has_published: bool,
    /// Retained messages looked through for what this read asked.
    pub(crate) work: usize,
}

/// What the client said about itself in CONNECT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerLimits {
    pub(crate) version: ProtocolVersion,
    /// QoS 1 and 2 messages towards it, unacknowledged.
    pub(crate) quota: usize,
    /// Largest packet it takes, in bytes.
    pub(crate) packet_bytes_max: u32,
    /// Highest topic alias it takes, and we use.
    pub(crate) topic_alias_max: u16,
}

/// A session in the hands of the connection that owns it.
pub(crate) struct Active<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) kept: &'a mut Kept,
    pub(crate) live: &'a mut Live,
}

impl Session {
    /// A place for a session that does not exist yet.
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            kept: Kept::default(),
            live: None,
            newcomers: Vec::new(),
            epoch: 0,
            looked_at: None,
            removed: false,
        }
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.identity.client_id
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether it is out of the registry.
    pub(crate) fn is_removed(&self) -> bool {
        self.removed
    }

    pub(crate) fn mark_removed(&mut self) {
        self.removed = true;
    }

    /// Whether there is a session: its client was here, and it has not ended.
    pub(crate) fn exists(&self) -> bool {
        self.kept.exists
    }

    /// Whether a connection has it.
    pub(crate) fn is_connected(&self) -> bool {
        self.live.is_some()
    }

    /// What of it outlives a connection.
    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// When it ends, if nobody is connected.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.kept.expires_at.filter(|_| self.live.is_none())
    }

    /// It has to be looked at by then. Returns whether that is new: then it has to be entered in the registry.
    pub(crate) fn looked_at_by(&mut self, at: Timestamp) -> bool {
        let is_new = self.looked_at.is_none_or(|entered| entered > at);
        if is_new {
            self.looked_at = Some(at);
        }
        is_new
    }

    /// Whether that is when it was to be looked at; then it is to be no more.
    pub(crate) fn is_looked_at(&mut self, at: Timestamp) -> bool {
        self.looked_at.take_if(|entered| *entered == at).is_some()
    }

    /// Whether nobody is connected and its time is over.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.live.is_none() && self.kept.expires_at.is_some_and(|at| at <= now)
    }

    /// The session as the connection of that epoch may use it.
    pub(crate) fn active(&mut self, epoch: u64) -> Option<Active<'_>> {
        if self.epoch != epoch {
            return None;
        }
        let live = self.live.as_deref_mut()?;
        Some(Active {
            identity: &self.identity,
            kept: &mut self.kept,
            live,
        })
    }
}

impl Active<'_> {
    /// How many subscriptions the session has.
    pub(crate) fn subscriptions(&self) -> u64 {
        self.kept.subscriptions.len() as u64
    }

    /// Hands over everything this read collected: publishes, then settlements, then answers.
    pub(crate) fn flush(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        self.flush_publishes(now, out);
        self.flush_settlements(now);
    }
}
