//! Sessions and shared groups, looked at by whoever runs the node.

use std::sync::Arc;

use ternmq_core::id::Timestamp;

use crate::listener::MqttAcceptor;
use crate::session::Session;

/// A session at one moment.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Client identifier.
    pub client_id: Box<str>,
    /// Who connected last; none if that is not known.
    pub user: Option<Box<str>>,
    /// Whether a client has it now.
    pub connected: bool,
    /// Seconds it is kept behind its connection; `u32::MAX` for ever.
    pub expiry_s: u32,
    /// When it ends, while nobody is connected.
    pub expires_at: Option<Timestamp>,
    /// What it is subscribed to.
    pub subscriptions: Vec<SubscriptionInfo>,
    /// QoS 1 and 2 messages that were sent to the client and not acknowledged.
    pub in_flight: usize,
    /// Messages that wait for room in the client's window.
    pub pending: usize,
    /// QoS 2 messages from the client that it has not released.
    pub unreleased: usize,
    /// The session's own queue, once it has one.
    pub queue: Option<Arc<str>>,
}

/// A subscription.
#[derive(Clone, Debug)]
pub struct SubscriptionInfo {
    /// As the client wrote it, `$share/` included.
    pub filter: Arc<str>,
    /// Granted QoS.
    pub qos: u8,
    /// Subscription identifier of MQTT 5.
    pub id: Option<u32>,
    /// Whether it is shared with other sessions.
    pub shared: bool,
}

/// A group of a shared subscription.
#[derive(Clone, Debug)]
pub struct ShareInfo {
    /// `$share/NAME/FILTER`.
    pub filter: Box<str>,
    /// The queue that its members take from.
    pub queue: Arc<str>,
    /// Sessions that are subscribed, connected or not.
    pub members: usize,
}

impl MqttAcceptor {
    /// The sessions of a vhost, by client identifier. Each is locked for a look, one after the other.
    pub fn sessions(&self, vhost: &str) -> Vec<SessionInfo> {
        let mut all: Vec<SessionInfo> = self
            .registry()
            .vhost(vhost)
            .all()
            .iter()
            .filter_map(|cell| cell.lock().info())
            .collect();
        all.sort_unstable_by(|a, b| a.client_id.cmp(&b.client_id));
        all
    }

    /// The session of a client identifier.
    pub fn session(&self, vhost: &str, client_id: &str) -> Option<SessionInfo> {
        self.registry().vhost(vhost).find(client_id)?.lock().info()
    }

    /// The groups of shared subscriptions of a vhost.
    pub fn shares(&self, vhost: &str) -> Vec<ShareInfo> {
        let mut all = self.registry().vhost(vhost).share_infos();
        all.sort_unstable_by(|a, b| a.filter.cmp(&b.filter));
        all
    }
}

impl Session {
    /// None if it has ended.
    fn info(&self) -> Option<SessionInfo> {
        if self.is_removed() || !self.exists() {
            return None;
        }
        let kept = self.kept();
        let subscriptions = kept
            .subscriptions
            .iter()
            .map(|subscription| SubscriptionInfo {
                filter: subscription.filter.clone(),
                qos: subscription.options.qos as u8,
                id: subscription.id,
                shared: subscription.source.is_some(),
            });
        Some(SessionInfo {
            client_id: self.client_id().into(),
            user: kept.user.clone(),
            connected: self.is_connected(),
            expiry_s: kept.expiry_s,
            expires_at: self.expires_at(),
            subscriptions: subscriptions.collect(),
            in_flight: kept.window.len(),
            pending: kept.pending.len(),
            unreleased: kept.received.len(),
            queue: kept.sources.first().and_then(|source| source.name.clone()),
        })
    }
}
