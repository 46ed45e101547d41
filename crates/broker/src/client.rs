//! One connection's hold on the broker: the four verbs are its methods.

use std::sync::Arc;

use ternmq_core::id::{ConnectionId, Lsn, Timestamp};

use crate::admin::Rights;
use crate::broker::Inner;
use crate::connect::Tally;
use crate::mailbox::Mailbox;
use crate::metrics::Counting;
use crate::route_cache::RouteCache;
use crate::users::User;
use crate::vhost::Vhost;
use crate::work::OnDemand;

/// A connection that is logged in and works in one vhost. Owned by the connection's machine; dropping it closes it.
///
/// The verbs are in `declare.rs`, `publish.rs`, `deliver.rs` and `settle.rs`; `transaction.rs` has two of them in one.
pub struct Client {
    pub(crate) broker: Arc<Inner>,
    pub(crate) vhost: Arc<Vhost>,
    pub(crate) id: ConnectionId,
    pub(crate) user: Arc<User>,
    /// What the user may do, as of that version of the registry.
    pub(crate) rights: Arc<dyn Rights>,
    pub(crate) rights_version: u64,
    /// See [`Client::identify`].
    pub(crate) identifier: Option<Box<str>>,
    /// See [`Client::on_own_account`].
    pub(crate) is_trusted: bool,
    pub(crate) tally: Tally,
    /// Channels that are counted in.
    pub(crate) channels: u64,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) route_cache: RouteCache,
    /// See [`Client::rest`].
    pub(crate) work: OnDemand,
    /// Indexes of the last turn's refused messages.
    pub(crate) rejected: Vec<usize>,
    /// See [`Client::declared`].
    pub(crate) declared: Lsn,
    pub(crate) closed: bool,
    pub(crate) counting: Counting,
}

impl Client {
    /// Identity of the connection.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Who is logged in.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The vhost's name.
    pub fn vhost(&self) -> &str {
        &self.vhost.name
    }

    /// Where the connection's notices come in.
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// A buffer for laying out a message, kept from message to message.
    pub fn scratch(&mut self) -> &mut Vec<u8> {
        &mut self.work.get().scratch
    }

    /// Lets go of memory that only serves a turn. Whoever waits for its peer says so; nothing else changes.
    pub fn rest(&mut self) {
        self.work.put_back();
    }

    /// The record that has to be committed before the last declaration, binding or deletion of this connection may be
    /// answered. It covers what that found done already, by whomever.
    pub fn declared(&self) -> Lsn {
        self.declared
    }

    /// Ends the connection's hold: its exclusive queues go. Deliveries that are still unsettled were settled by the
    /// adapter before, and its consumers cancelled. Does nothing the second time.
    pub fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let _inside = self.broker.gate.enter();
        for id in self.vhost.read(|space| space.topology.owned_by(self.id)) {
            self.broker.delete_queue(&self.vhost, id, self.work.get());
        }
        self.broker.forget_client(self.id);
        self.broker
            .move_expiry(self.id, self.user.expires_at(), None);
        if self.tally == Tally::Counted {
            let (user, vhost) = (self.user.name(), &self.vhost.name);
            self.broker.registry.leave(user, vhost, self.channels);
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.broker.clock.now()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
    }
}
