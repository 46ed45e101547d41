//! Makes a machine for every connection that a listener accepts.

use std::sync::Arc;

use ternmq_broker::Broker;
use ternmq_broker::mailbox::Mailbox;
use ternmq_core::id::Timestamp;
use ternmq_net::machine::{Acceptor, Machine, Peer, Refused};

use crate::config::{AmqpConfig, CONSUMER_CHURN_MAX, ConfigError};
use crate::connection::Connection;
use crate::frame::{FRAME_OVERHEAD, FRAME_SIZE_TOLERANCE};

/// The AMQP 0.9.1 adapter, as listeners know it.
pub struct AmqpAcceptor {
    broker: Broker,
    config: Arc<AmqpConfig>,
}

impl AmqpAcceptor {
    /// An adapter with these settings.
    ///
    /// # Errors
    /// The first setting that is outside its range.
    pub fn new(config: AmqpConfig, broker: Broker) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            broker,
            config: Arc::new(config),
        })
    }
}

impl Acceptor for AmqpAcceptor {
    fn protocol(&self) -> &'static str {
        "amqp"
    }

    fn accept(
        &self,
        peer: Peer,
        mailbox: Arc<Mailbox>,
        now: Timestamp,
    ) -> Result<Box<dyn Machine>, Refused> {
        let ends = (self.broker.clone(), Arc::clone(&self.config));
        Ok(Box::new(Connection::new(ends, peer, mailbox, now)))
    }

    fn pending_bytes_max(&self) -> usize {
        let frame_max = usize::try_from(self.config.frame_max).unwrap_or(usize::MAX);
        frame_max + usize::try_from(FRAME_SIZE_TOLERANCE).unwrap_or(0) + FRAME_OVERHEAD
    }

    fn token_max(&self) -> usize {
        usize::try_from(self.config.consumers_max).unwrap_or(usize::MAX) + CONSUMER_CHURN_MAX
    }
}
