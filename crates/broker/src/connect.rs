//! Ways into a vhost: as a connection, which limits are about, or without one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ternmq_core::id::{ConnectionId, Lsn};

use crate::admin::{Rights, Scene, access_revoked, vhost_deleted};
use crate::broker::{Broker, ClientEntry, Inner};
use crate::client::Client;
use crate::mailbox::{DiskRoom, Mailbox, Notice};
use crate::metrics::Counting;
use crate::route_cache::RouteCache;
use crate::users::User;
use crate::vhost::Vhost;
use crate::work::OnDemand;

/// Why a login does not lead into a vhost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectRefusal {
    /// There is no such vhost.
    #[error("no such vhost")]
    NoSuchVhost,
    /// The user may not use it.
    #[error("access to the vhost refused")]
    NotAllowed,
    /// Whether the user may is not known yet. The mailbox gets a notice when it is: ask again then.
    #[error("access to the vhost is being asked for")]
    Undecided,
    /// There are as many connections as there may be.
    #[error("{limit} reached ({max})")]
    LimitReached {
        /// The limit's name in the configuration.
        limit: &'static str,
        /// Its value.
        max: u64,
    },
    /// The vhost has as many connections as it may.
    #[error("connection limit of the vhost reached ({max})")]
    VhostLimit {
        /// How many.
        max: u64,
    },
    /// The user has as many connections as allowed.
    #[error("connection limit of the user reached ({max})")]
    UserLimit {
        /// How many.
        max: u64,
    },
}

/// Whether limits on connections are about a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tally {
    /// It is a connection like others.
    Counted,
    /// It is none.
    Free,
}

impl Broker {
    /// Lets a connection into a vhost, unless a limit on connections is reached.
    ///
    /// # Errors
    /// See [`ConnectRefusal`].
    pub fn connect(
        &self,
        user: &Arc<User>,
        vhost: &str,
        mailbox: Arc<Mailbox>,
    ) -> Result<Client, ConnectRefusal> {
        self.let_in(user, vhost, mailbox, Tally::Counted)
    }

    /// Lets in whoever works there without being connected: an operator's request, an adapter on its own account. No
    /// limit on connections is about them, so that a vhost which takes no clients can still be looked after.
    ///
    /// # Errors
    /// See [`ConnectRefusal`]; never one about a limit.
    pub fn operate(
        &self,
        user: &Arc<User>,
        vhost: &str,
        mailbox: Arc<Mailbox>,
    ) -> Result<Client, ConnectRefusal> {
        self.let_in(user, vhost, mailbox, Tally::Free)
    }

    fn let_in(
        &self,
        user: &Arc<User>,
        vhost: &str,
        mailbox: Arc<Mailbox>,
        tally: Tally,
    ) -> Result<Client, ConnectRefusal> {
        let inner = &self.0;
        let vhost = inner
            .vhosts
            .get(vhost)
            .map(|v| v.clone())
            .ok_or(ConnectRefusal::NoSuchVhost)?;
        let scene = Scene {
            user: user.name(),
            vhost: &vhost.name,
            client_id: None,
        };
        let rights_version = inner.registry.version();
        let rights = rights_of(user, &scene, &mailbox)?;
        if tally == Tally::Counted {
            inner.count_in(user, &vhost)?;
        }
        let id = ConnectionId(inner.next_connection.fetch_add(1, Ordering::Relaxed));
        inner.remember_client(
            id,
            ClientEntry {
                mailbox: mailbox.clone(),
                user: user.clone(),
                vhost: vhost.clone(),
            },
        );
        // Whoever deleted vhost or user meanwhile may not have seen this connection.
        let is_stale = inner.registry.version() != rights_version;
        if vhost.is_sealed() {
            mailbox.push(Notice::Close(vhost_deleted(&vhost.name)));
        } else if is_stale && user.authority.rights(&scene).is_none() {
            mailbox.push(Notice::Close(access_revoked(&vhost.name, user.name())));
        }
        if inner.pressure.is_blocked() {
            inner.pressure.tell_memory(&mailbox);
        }
        if inner.pressure.disk() != DiskRoom::Enough {
            inner.pressure.tell_disk(&mailbox);
        }
        Ok(Client {
            broker: inner.clone(),
            vhost,
            id,
            user: user.clone(),
            rights,
            rights_version,
            identifier: None,
            is_trusted: false,
            tally,
            channels: 0,
            mailbox,
            route_cache: RouteCache::default(),
            work: OnDemand::default(),
            rejected: Vec::new(),
            declared: Lsn::NONE,
            closed: false,
            counting: Counting::default(),
        })
    }
}

impl Inner {
    /// Counts a connection in, unless there are as many as there may be.
    fn count_in(&self, user: &User, vhost: &Vhost) -> Result<(), ConnectRefusal> {
        let max = self.limits.connections_max;
        if self.clients.len() as u64 >= max {
            return Err(ConnectRefusal::LimitReached {
                limit: "connections_max",
                max,
            });
        }
        self.registry.enter(user.name(), &vhost.name)
    }
}

/// What the user may do there, if that is known and anything.
fn rights_of(
    user: &User,
    scene: &Scene<'_>,
    mailbox: &Arc<Mailbox>,
) -> Result<Arc<dyn Rights>, ConnectRefusal> {
    if !user.authority.is_ready(scene, &mailbox.waker()) {
        return Err(ConnectRefusal::Undecided);
    }
    let rights = user.authority.rights(scene);
    rights.ok_or(ConnectRefusal::NotAllowed)
}
