//! How the socket loop gets a machine for an HTTP connection.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use ternmq_broker::mailbox::Mailbox;
use ternmq_core::id::Timestamp;
use ternmq_net::machine::{Acceptor, Machine, Peer, Refused};

use crate::Manage;
use crate::machine::{HttpMachine, Opened, Place};
use crate::router::Api;

/// Accepts connections of the management API.
pub struct ManageAcceptor {
    api: Api,
    connections: Arc<AtomicUsize>,
    connections_max: usize,
    idle_timeout_ms: u64,
}

impl ManageAcceptor {
    /// An acceptor that answers for `manage`.
    pub fn new(manage: &Arc<Manage>) -> Self {
        Self {
            api: Api::new(manage),
            connections: Arc::default(),
            connections_max: manage.config.connections_max,
            idle_timeout_ms: manage.config.idle_timeout_ms,
        }
    }
}

impl Acceptor for ManageAcceptor {
    fn protocol(&self) -> &'static str {
        "http"
    }

    fn accept(
        &self,
        peer: Peer,
        mailbox: Arc<Mailbox>,
        now: Timestamp,
    ) -> Result<Box<dyn Machine>, Refused> {
        let place = Place::take(&self.connections, self.connections_max).ok_or(Refused {
            reason: "too many HTTP connections",
        })?;
        let opened = Opened {
            api: self.api.clone(),
            from: peer.addr.ip(),
            mailbox,
            place,
            idle_timeout_ms: self.idle_timeout_ms,
        };
        Ok(Box::new(HttpMachine::new(opened, now)))
    }

    fn pending_bytes_max(&self) -> usize {
        // Everything is taken as it comes, as long as reading goes on.
        0
    }

    fn token_max(&self) -> usize {
        1
    }
}
