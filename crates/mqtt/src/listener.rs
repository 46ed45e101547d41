//! Where connections come in.

use std::sync::Arc;
use std::task::Waker;

use ternmq_broker::Broker;
use ternmq_broker::mailbox::Mailbox;
use ternmq_core::id::Timestamp;
use ternmq_core::value::Headers;
use ternmq_net::machine::{Acceptor, Machine, Peer, Refused};
use ternmq_net::timers::Ticker;

use crate::account::VhostRules;
use crate::config::MqttConfig;
use crate::connection::Connection;
use crate::connection::introduction::client_properties;
use crate::registry::Registry;
use crate::session::restore;
use crate::sys::{self, Sys};

/// What all MQTT connections of a node share.
pub(crate) struct Node {
    pub(crate) config: MqttConfig,
    pub(crate) broker: Broker,
    pub(crate) registry: Registry,
    /// New at each start, and known to nobody.
    pub(crate) secret: String,
    pub(crate) sys: Sys,
    /// Of every client, as others see it.
    pub(crate) client_properties: Arc<Headers>,
}

impl Node {
    /// What decides about vhosts that clients do not name, as it is now.
    pub(crate) fn vhost_rules(&self) -> VhostRules<'_> {
        VhostRules::of(&self.config, &self.broker)
    }
}

/// Makes a machine for each MQTT connection. One for all listeners of a node, so that a client identifier is one
/// session whichever of them it comes by.
pub struct MqttAcceptor {
    node: Arc<Node>,
}

impl MqttAcceptor {
    /// An adapter in front of `broker`, with the sessions that the broker has documents of: so its journal was replayed
    /// before, and nobody is connected yet. Numbers out of range in `config` are moved into it
    /// ([`MqttConfig::clamped`]).
    pub fn new(config: MqttConfig, broker: Broker) -> Self {
        let config = config.clamped();
        let node = Arc::new(Node {
            registry: Registry::beginning_at(broker.now()),
            secret: broker.random_name(),
            sys: Sys::new(config.sys_interval_s, broker.now()),
            config,
            broker,
            client_properties: client_properties(),
        });
        restore::restore(&node);
        Self { node }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.node.registry
    }
}

/// `$SYS` topics, which are published now and then.
impl Ticker for MqttAcceptor {
    fn next_deadline(&self) -> Option<Timestamp> {
        self.node.sys.next_deadline()
    }

    fn wake_on_earlier_deadline(&self, _: &Waker) {
        // The deadline never moves earlier.
    }

    fn tick(&self, now: Timestamp) {
        sys::tick(&self.node, now);
    }
}

impl Acceptor for MqttAcceptor {
    fn protocol(&self) -> &'static str {
        "mqtt"
    }

    fn accept(
        &self,
        peer: Peer,
        mailbox: Arc<Mailbox>,
        now: Timestamp,
    ) -> Result<Box<dyn Machine>, Refused> {
        self.node.sys.accepted();
        Ok(Box::new(Connection::new(
            Arc::clone(&self.node),
            peer,
            mailbox,
            now,
        )))
    }

    fn pending_bytes_max(&self) -> usize {
        self.node.config.packet_bytes_max as usize
    }

    fn token_max(&self) -> usize {
        // The session's own queue, and one for each shared subscription.
        self.node.config.subscriptions_max as usize + 1
    }
}
