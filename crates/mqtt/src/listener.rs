//! Where connections come in.

use std::sync::Arc;

use ternmq_broker::Broker;
use ternmq_broker::mailbox::Mailbox;
use ternmq_core::id::Timestamp;
use ternmq_core::value::Headers;
use ternmq_net::machine::{Acceptor, Machine, Peer, Refused};

use crate::config::MqttConfig;
use crate::connection::Connection;
use crate::connection::introduction::client_properties;
use crate::registry::Registry;
use crate::session::restore;

/// What all MQTT connections of a node share.
pub(crate) struct Node {
    pub(crate) config: MqttConfig,
    pub(crate) broker: Broker,
    pub(crate) registry: Registry,
    /// Of every client, as others see it.
    pub(crate) client_properties: Arc<Headers>,
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
        let node = Arc::new(Node {
            config: config.clamped(),
            registry: Registry::beginning_at(broker.now()),
            broker,
            client_properties: client_properties(),
        });
        restore::restore(&node);
        Self { node }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.node.registry
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
