//! What one virtual host has declared: exchanges, queues, and the bindings between them.
//!
//! ```text
//! exchange ──source──► binding ──destination──► queue or exchange
//!     └──► matcher ──► bucket (one routing key or pattern) ──► bindings with that key
//! ```
//!
//! A pure value; the shell puts a lock around it. Everything lies at numbered places, found by hash; a binding is
//! part of three lists threaded through the bindings themselves (of its source, its destination, its bucket), so
//! that binding and unbinding cost the same however many there are. How a message finds its way is in
//! [`crate::routing`].

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use foldhash::fast::RandomState;

use crate::error::{Kind, Refusal};
use crate::id::{ConnectionId, PublisherId, QueueId};
use crate::policy::QueueSettings;
use crate::routing::key::KeySyntax;
use crate::routing::topic::TopicMatcher;
use crate::value::Headers;

mod behaviour;
mod bindings;
mod chooser;
mod exchanges;
mod identity;
pub(crate) mod index;
mod queues;
mod scan;

pub(crate) use behaviour::delay_ms;
pub use behaviour::{
    Behaviour, DELAY_MAX_MS, HISTORY_LENGTH, HISTORY_NO_STORE, X_DELAY, delay_over,
};
pub(crate) use bindings::{Binding, Bucket, End, List};
pub use chooser::WEIGHT_MAX;
pub(crate) use chooser::{By, Chooser};
pub use exchanges::{check_client_exchange_name, is_predeclared_exchange};
use index::{Index, NONE, Slab};
pub use queues::check_client_queue_name;
pub use scan::{ExchangeTraffic, Place};

/// How an exchange chooses among its bindings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExchangeKind {
    /// Bindings whose key is the routing key.
    Direct,
    /// Every binding.
    Fanout,
    /// Bindings whose key is a pattern that the routing key matches.
    Topic,
    /// Bindings whose arguments the message's headers match.
    Headers,
    /// One destination by a hash of the routing key, of a header or of a property; in proportion to the weights that
    /// the binding keys are, and so that few messages go elsewhere when a destination comes or goes.
    ConsistentHash,
    /// One binding by a hash of the routing key, every one alike.
    ModulusHash,
    /// One binding by chance.
    Random,
    /// One binding by chance, to a destination on this node; binding keys are empty.
    LocalRandom,
    /// Every binding; the last messages are kept, and a new binding's destination gets those first.
    RecentHistory,
    /// As the kind that its arguments name, when the time has come that a header of the message says.
    Delayed,
}

impl ExchangeKind {
    const ALL: [Self; 10] = [
        Self::Direct,
        Self::Fanout,
        Self::Topic,
        Self::Headers,
        Self::ConsistentHash,
        Self::ModulusHash,
        Self::Random,
        Self::LocalRandom,
        Self::RecentHistory,
        Self::Delayed,
    ];

    /// The name in a declaration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::ModulusHash => "x-modulus-hash",
            Self::Random => "x-random",
            Self::LocalRandom => "x-local-random",
            Self::RecentHistory => "x-recent-history",
            Self::Delayed => "x-delayed-message",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A declared exchange.
#[derive(Clone, PartialEq, Debug)]
pub struct ExchangeDecl {
    /// Its name; empty for the default exchange.
    pub name: Box<str>,
    /// How it chooses.
    pub kind: ExchangeKind,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with the last binding that has it as source.
    pub auto_delete: bool,
    /// Whether clients may not publish to it.
    pub internal: bool,
    /// Arguments as declared.
    pub arguments: Headers,
    /// The user who declared it; empty if it was the broker, or is not known. A declaration that differs in nothing else is the same.
    pub declared_by: Box<str>,
}

/// A declared queue.
#[derive(Clone, PartialEq, Debug)]
pub struct QueueDecl {
    /// Its name.
    pub name: Box<str>,
    /// Whether it survives a restart.
    pub durable: bool,
    /// The connection that owns it and that it goes with.
    pub exclusive: Option<ConnectionId>,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Arguments as declared.
    pub arguments: Headers,
}

/// Where a binding leads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Destination<'a> {
    /// To the queue of that name.
    Queue(&'a str),
    /// To the exchange of that name.
    Exchange(&'a str),
}

/// What a binding does beyond leading somewhere. Not part of its identity. On a binding between exchanges only
/// `exclude_publisher` has a meaning.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BindingOptions {
    /// Handed on with the message, see [`crate::tags`].
    pub tag: Option<u32>,
    /// Messages of this publisher do not match.
    pub exclude_publisher: Option<PublisherId>,
    /// The destination wants the message at most once.
    pub at_most_once: bool,
}

/// A binding. Its identity is everything but its options; the order of arguments does not count.
#[derive(Clone, Debug)]
pub struct BindingDecl<'a> {
    /// The exchange it starts from.
    pub source: &'a str,
    /// Where it leads.
    pub destination: Destination<'a>,
    /// Routing key or pattern.
    pub key: &'a [u8],
    /// How `key` is written. Patterns of a topic exchange match the view of that syntax; the other kinds of
    /// exchange use the dotted view of the key.
    pub syntax: KeySyntax,
    /// Arguments.
    pub arguments: &'a Headers,
    /// What it does beyond.
    pub options: BindingOptions,
}

/// A queue as the topology knows it.
#[derive(Clone, PartialEq, Debug)]
pub struct QueueEntry {
    /// Its identity.
    pub id: QueueId,
    /// Its declaration, shared with whoever works with the queue.
    pub decl: Arc<QueueDecl>,
    /// What the declaration means.
    pub settings: QueueSettings,
}

/// What an operation removed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Removed {
    /// Deleted queues.
    pub queues: Vec<QueueId>,
    /// Exchanges that were auto-deleted as a consequence.
    pub exchanges: Vec<Box<str>>,
}

/// The answer to a queue's declaration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Declared {
    /// The queue.
    pub id: QueueId,
    /// Whether it is new.
    pub created: bool,
}

/// How an exchange finds its bindings beyond the list of them.
#[derive(Debug)]
pub(crate) enum Matcher {
    /// The default exchange: by the queue's name.
    Default,
    Direct,
    Fanout,
    Topic(Box<TopicMatcher>),
    Headers,
    One(Box<Chooser>),
}

#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) decl: ExchangeDecl,
    pub(crate) behaviour: Behaviour,
    pub(crate) matcher: Matcher,
    /// Where messages go that match nothing.
    pub(crate) alternate: Option<Box<str>>,
    pub(crate) traffic: Arc<ExchangeTraffic>,
    /// First binding with this exchange as source.
    pub(crate) outgoing: u32,
    /// First binding with this exchange as destination.
    incoming: u32,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) entry: QueueEntry,
    /// First binding to this queue.
    incoming: u32,
}

/// Exchanges, queue declarations and bindings of one virtual host.
#[derive(Debug)]
pub struct Topology {
    /// Seeded at random, against names made to collide. No result depends on it: hash order is never visible.
    hasher: RandomState,
    pub(crate) exchanges: Slab<Exchange>,
    exchange_names: Index,
    pub(crate) queues: Slab<Queue>,
    queue_names: Index,
    queue_ids: Index,
    /// Exclusive queues by owner.
    owned: BTreeSet<(ConnectionId, QueueId)>,
    pub(crate) bindings: Slab<Binding>,
    binding_index: Index,
    pub(crate) buckets: Slab<Bucket>,
    bucket_index: Index,
    version: u64,
}

impl Default for Topology {
    fn default() -> Self {
        Self::new()
    }
}

impl Topology {
    /// The predeclared exchanges and nothing else.
    pub fn new() -> Self {
        let mut topology = Self {
            hasher: RandomState::default(),
            exchanges: Slab::default(),
            exchange_names: Index::default(),
            queues: Slab::default(),
            queue_names: Index::default(),
            queue_ids: Index::default(),
            owned: BTreeSet::new(),
            bindings: Slab::default(),
            binding_index: Index::default(),
            buckets: Slab::default(),
            bucket_index: Index::default(),
            version: 0,
        };
        topology.predeclare();
        topology
    }

    /// Grows with every change that can alter a route.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Makes every route stale, as a change does: who asked for one has to ask again.
    pub fn forget_routes(&mut self) {
        self.changed();
    }

    /// Forgets everything but the predeclared exchanges.
    pub fn clear(&mut self) {
        let version = self.version + 1;
        *self = Self {
            version,
            ..Self::new()
        };
    }

    /// Every exchange, the predeclared ones first.
    pub fn exchanges(&self) -> impl Iterator<Item = &ExchangeDecl> {
        self.exchanges.iter().map(|exchange| &exchange.decl)
    }

    /// The exchange of that name.
    pub fn exchange(&self, name: &str) -> Option<&ExchangeDecl> {
        self.exchange_slot(name.as_bytes())
            .map(|slot| &self.exchanges[slot].decl)
    }

    /// What the exchange of that name does.
    pub fn behaviour(&self, name: &str) -> Option<Behaviour> {
        self.exchange_slot(name.as_bytes())
            .map(|slot| self.exchanges[slot].behaviour)
    }

    /// Every queue.
    pub fn queues(&self) -> impl Iterator<Item = &QueueEntry> {
        self.queues.iter().map(|queue| &queue.entry)
    }

    /// How many exchanges there are, the predeclared ones included.
    pub fn exchange_count(&self) -> usize {
        self.exchanges.len()
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// How many bindings there are, those of queues to the default exchange left out.
    pub fn binding_count(&self) -> usize {
        self.bindings.len()
    }

    pub(crate) fn exchange_slot(&self, name: &[u8]) -> Option<u32> {
        self.exchange_names.find(self.hash(name), |slot| {
            self.exchanges[slot].decl.name.as_bytes() == name
        })
    }

    pub(crate) fn queue_slot(&self, name: &[u8]) -> Option<u32> {
        self.queue_names.find(self.hash(name), |slot| {
            self.queues[slot].entry.decl.name.as_bytes() == name
        })
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.hash_one(bytes)
    }

    fn changed(&mut self) {
        self.version += 1;
    }
}

/// The refusal for a name that nothing has.
pub(crate) fn not_found(kind: Kind, name: &[u8]) -> Refusal {
    Refusal::NotFound {
        kind,
        name: String::from_utf8_lossy(name).into(),
    }
}

#[cfg(test)]
mod tests;
