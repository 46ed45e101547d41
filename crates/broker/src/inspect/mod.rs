//! Looking at the broker: what there is, who is connected, how much of everything happened.
//!
//! [`Broker::inspect`] gives out owned snapshots. A list is put together in parts: of the topology a few hundred things
//! are copied at a time, and each queue is locked for a look at its counters after the vhost was let go. So a list of
//! everything is no picture of one moment, and nobody who publishes waits for it. What is asked for by name is looked up,
//! without a list.
//!
//! What is counted is counted where it happens: in a queue's own state under the lock that is held anyway, and in
//! [`Count`]s that one task alone writes. Counters only grow; rates are somebody else's business.
//!
//! `browse` has messages and ways; `queues`, `topology`, `consumers`, `connections` and `channels` have a kind of thing each.

mod browse;
mod channels;
mod connections;
mod consumers;
mod count;
mod journal;
mod logins;
mod memory;
mod queues;
mod topology;

pub use browse::{BROWSE_MAX, HeldBy, MISSED_MAX, MessageSnapshot, VisitSnapshot};
pub use channels::{ChannelMode, ChannelSnapshot, ChannelStats};
pub(crate) use connections::Connections;
pub use connections::{
    CertificateInfo, ConnectionInfo, ConnectionSnapshot, ConnectionState, ConnectionStats,
    MqttInfo, Protocol, TlsInfo, TlsSuite,
};
pub use consumers::{ActivityStatus, ConsumerLabel, ConsumerSnapshot};
pub use count::{Count, Gauge, Octets};
pub use journal::JournalSnapshot;
pub(crate) use logins::LoginCounters;
pub use logins::{Door, Logins};
pub use memory::MemorySnapshot;
pub use queues::{QueueSnapshot, QueueState};
pub use topology::{BindingEnd, BindingSnapshot, ExchangeSnapshot};

use ternmq_core::queue::{Holdings, QueueCounters};

use crate::broker::{Broker, Inner};
use crate::vhost::Vhost;

/// Things of the topology copied under one lock, at most.
const SCAN_STEP: usize = 512;

/// See the module's documentation.
#[derive(Clone, Copy)]
pub struct Inspect<'a>(pub(crate) &'a Inner);

impl Broker {
    /// What there is, and what happened.
    pub fn inspect(&self) -> Inspect<'_> {
        Inspect(&self.0)
    }
}

/// How many there are of everything, and what queues hold together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ObjectTotals {
    /// Connections.
    pub connections: u64,
    /// Channels.
    pub channels: u64,
    /// Queues.
    pub queues: u64,
    /// Exchanges.
    pub exchanges: u64,
    /// Bindings, the default exchange's left out.
    pub bindings: u64,
    /// Retained messages.
    pub retained: u64,
    /// About how much memory they take, in bytes.
    pub retained_bytes: u64,
    /// What all queues hold; its `consumers` are all consumers.
    pub holdings: Holdings,
    /// What happened in the queues that are there now.
    pub counters: QueueCounters,
    /// Bytes from the clients that are connected now.
    pub received_bytes: u64,
    /// Bytes to them.
    pub sent_bytes: u64,
}

impl Inspect<'_> {
    /// Totals of the node.
    pub fn totals(self) -> ObjectTotals {
        let mut totals = ObjectTotals::default();
        for vhost in self.0.all_vhosts() {
            add_topology(&vhost, &mut totals);
        }
        self.add_connections(None, &mut totals);
        totals
    }

    /// Totals of one vhost; none if there is no such.
    pub fn vhost_totals(self, vhost: &str) -> Option<ObjectTotals> {
        let mut totals = ObjectTotals::default();
        add_topology(&*self.0.vhost(vhost)?, &mut totals);
        self.add_connections(Some(vhost), &mut totals);
        Some(totals)
    }

    fn add_connections(self, vhost: Option<&str>, totals: &mut ObjectTotals) {
        self.0.connections.for_each(|connection| {
            if vhost.is_none_or(|name| *name == *connection.vhost()) {
                totals.connections += 1;
                totals.channels += connection.channel_count() as u64;
                totals.received_bytes += connection.octets().received_bytes.get();
                totals.sent_bytes += connection.octets().sent_bytes.get();
            }
        });
    }
}

fn add_topology(vhost: &Vhost, totals: &mut ObjectTotals) {
    vhost.read(|space| {
        totals.exchanges += space.topology.exchange_count() as u64;
        totals.bindings += space.topology.binding_count() as u64;
    });
    {
        let retained = vhost.retained.lock();
        totals.retained += retained.store.len() as u64;
        totals.retained_bytes += retained.store.bytes() as u64;
    }
    for cell in queues::cells_of(vhost) {
        totals.queues += 1;
        let (holdings, counters) = cell.look(|queue| (queue.holdings(), *queue.counters()));
        totals.holdings.add(&holdings);
        totals.counters.add(&counters);
    }
}

#[cfg(test)]
mod tests;
