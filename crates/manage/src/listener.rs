//! How the socket loop gets a machine for an HTTP connection.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use ternmq_broker::mailbox::Mailbox;
use ternmq_core::id::Timestamp;
use ternmq_net::machine::{Acceptor, Machine, Peer, Refused};

use crate::aside::Desk;
use crate::machine::{HttpMachine, Opened, Place, Site};
use crate::metrics::Metrics;
use crate::router::Api;
use crate::{Manage, PrometheusConfig};

/// Accepts connections of the management API, or of those who collect metrics.
pub struct ManageAcceptor {
    protocol: &'static str,
    site: Arc<dyn Site>,
    desk: Arc<Desk>,
    connections: Arc<AtomicUsize>,
    connections_max: usize,
    idle_timeout_ms: u64,
}

impl ManageAcceptor {
    /// An acceptor that answers for `manage`.
    pub fn new(manage: &Arc<Manage>) -> Self {
        Self {
            protocol: "http",
            site: Arc::new(Api::new(manage)),
            desk: manage.desk.clone(),
            connections: Arc::default(),
            connections_max: manage.config.connections_max,
            idle_timeout_ms: manage.config.idle_timeout_ms,
        }
    }

    /// An acceptor that answers with the metrics of the same node.
    pub fn metrics(manage: &Arc<Manage>, config: &PrometheusConfig) -> Self {
        Self {
            protocol: "http/prometheus",
            site: Arc::new(Metrics::new(manage, config)),
            desk: manage.desk.clone(),
            connections: Arc::default(),
            connections_max: config.connections_max,
            idle_timeout_ms: config.idle_timeout_ms,
        }
    }
}

impl Acceptor for ManageAcceptor {
    fn protocol(&self) -> &'static str {
        self.protocol
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
            site: Arc::clone(&self.site),
            from: peer.addr.ip(),
            is_encrypted: peer.tls.is_some(),
            mailbox,
            place,
            desk: Arc::clone(&self.desk),
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
