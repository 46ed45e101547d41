//! From a message to the queues it reaches.
//!
//! Exchanges are visited from a work list, each at most once, so cycles of bindings end. An exchange at which
//! nothing matches hands over to its alternate exchange, if there is one.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::error::Refusal;
use crate::id::{PublisherId, QueueId};
use crate::message::Properties;
use crate::tags::Tags;
use crate::topology::{ExchangeDecl, ExchangeTraffic, Topology};
use crate::value::Headers;

pub(crate) mod choice;
mod explain;
pub(crate) mod hash;
pub(crate) mod headers;
pub mod key;
mod pass;
pub(crate) mod topic;

pub use explain::{Miss, Visit};
use key::KeySyntax;

/// What routing looks at.
#[derive(Clone, Copy)]
pub struct RouteRequest<'a> {
    /// The exchange published to; empty for the default exchange.
    pub exchange: &'a [u8],
    /// The routing key.
    pub routing_key: &'a [u8],
    /// How the routing key and the further ones are written.
    pub key_syntax: KeySyntax,
    /// Further routing keys; every key may match.
    pub extra_keys: &'a [&'a [u8]],
    /// Reads the message's headers; called at most once, and only if an exchange is met that looks at them.
    pub headers: &'a dyn Fn() -> Headers,
    /// Reads the message's properties, of which only identifiers and the timestamp count here; called at most once,
    /// and only if an exchange is met that looks at them.
    pub properties: &'a dyn Fn() -> Properties,
    /// Who publishes.
    pub publisher: Option<PublisherId>,
    /// Whether a client publishes, and not the broker: clients may not publish to internal exchanges.
    pub from_client: bool,
}

/// One queue a message goes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteTarget {
    /// The queue.
    pub queue: QueueId,
    /// The tags of the bindings to it that matched.
    pub tags: Tags,
    /// Every binding to it that matched wants the message at most once.
    pub at_most_once: bool,
}

/// Where a message goes. Keep it for the next one: it holds the memory that routing works in.
#[derive(Debug, Default)]
pub struct Routes {
    /// Each queue once, in an order that depends on the topology only.
    pub targets: Vec<RouteTarget>,
    /// Whether the same exchange, key, syntax and publisher lead to the same targets until
    /// [`Topology::version`] changes. They do not if headers, properties, further keys or chance played a part.
    pub cacheable: bool,
    /// Exchanges met that keep the message in their history, by their places.
    recorded: Vec<u32>,
    /// Exchanges met that hold the message back, by their places, and for how long.
    delayed: Vec<(u32, u64)>,
    /// Counters of the exchange that was published to.
    pub traffic: Option<Arc<ExchangeTraffic>>,
    scratch: pass::Scratch,
}

/// Whether exchanges may hold a message back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Delays {
    Heeded,
    /// They have done so already.
    Over,
}

/// After a larger fan-out, memory for targets is given back down to this number.
const TARGETS_KEPT: usize = 1024;

impl Routes {
    fn reset(&mut self) {
        self.targets.clear();
        self.targets.shrink_to(TARGETS_KEPT);
        self.cacheable = true;
        self.recorded.clear();
        self.delayed.clear();
        self.traffic = None;
        self.scratch.reset(TARGETS_KEPT);
    }
}

impl Topology {
    /// Finds the queues a message goes to. `routes` is overwritten.
    ///
    /// # Errors
    /// The exchange is not found, or is internal and a client publishes.
    pub fn route(&self, request: &RouteRequest<'_>, routes: &mut Routes) -> Result<(), Refusal> {
        pass::run(self, request, Delays::Heeded, routes, None)
    }

    /// As [`Self::route`], for a message that no exchange holds back any more.
    ///
    /// # Errors
    /// As [`Self::route`].
    pub fn route_due(
        &self,
        request: &RouteRequest<'_>,
        routes: &mut Routes,
    ) -> Result<(), Refusal> {
        pass::run(self, request, Delays::Over, routes, None)
    }

    /// The exchanges on the way that keep the message in their history. To be asked of the topology that found the
    /// way, before it changes.
    pub fn recorded_by<'a>(&'a self, routes: &'a Routes) -> impl Iterator<Item = &'a str> {
        let places = routes.recorded.iter();
        places.map(|place| &*self.exchanges[*place].decl.name)
    }

    /// The exchanges on the way that hold the message back, each with the time it does, in milliseconds. As
    /// [`Self::recorded_by`].
    pub fn delayed_by<'a>(
        &'a self,
        routes: &'a Routes,
    ) -> impl ExactSizeIterator<Item = (&'a ExchangeDecl, u64)> {
        let places = routes.delayed.iter();
        places.map(|(place, ms)| (&self.exchanges[*place].decl, *ms))
    }
}

#[cfg(test)]
mod choosing_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
pub(crate) mod tests;
