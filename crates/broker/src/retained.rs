//! Retained messages: the last one of a topic, for those who subscribe later.

use std::sync::Arc;

use ternmq_core::error::Refusal;
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::message::Message;
use ternmq_core::record;

use crate::broker::{Broker, Inner, Weight};
use crate::client::Client;
use crate::vhost::Vhost;
use crate::work::Work;

impl Client {
    /// Retains a message for a slashed topic, or forgets the topic's message. Returns the record to wait for before
    /// anybody is promised that.
    ///
    /// # Errors
    /// [`Refusal::LimitReached`] for a new topic, [`Refusal::DiskFull`].
    pub fn retain(&mut self, topic: &[u8], message: Option<Message>) -> Result<Lsn, Refusal> {
        let _inside = self.broker.gate.enter();
        self.broker
            .retain(&self.vhost, topic, message, self.work.get())
    }

    /// Appends the retained messages whose topics match a slashed filter and that have not expired.
    pub fn retained(&mut self, filter: &[u8], now: Timestamp, out: &mut Vec<Message>) {
        self.vhost.retained.lock().store.matching(filter, now, out);
    }
}

impl Broker {
    /// Retained messages of all vhosts.
    pub fn retained_count(&self) -> usize {
        let vhosts = self.0.all_vhosts();
        vhosts
            .iter()
            .map(|vhost| vhost.retained.lock().store.len())
            .sum()
    }
}

impl Inner {
    pub(crate) fn retain(
        &self,
        vhost: &Arc<Vhost>,
        topic: &[u8],
        message: Option<Message>,
        work: &mut Work,
    ) -> Result<Lsn, Refusal> {
        work.batch.clear();
        work.batch
            .record(|out| record::retained(&vhost.name, topic, message.as_ref(), out));
        let mut retained = vhost.retained.lock();
        if retained.sealed {
            return Err(Refusal::VhostDeleted);
        }
        if let Some(message) = &message {
            retained.store.check(topic, message)?;
        }
        // Under the lock: of two changes of one topic, the journal has to end with the one that stands.
        let weight = if message.is_some() {
            Weight::Refusable
        } else {
            Weight::Essential
        };
        let lsn = self.try_append(&work.batch, weight).map_err(|error| {
            tracing::debug!(%error, "journal refused a retained message");
            Refusal::DiskFull
        })?;
        retained.position = Lsn(lsn.0 + 1);
        match message {
            Some(message) => retained.store.set(topic, message, lsn)?,
            None => drop(retained.store.clear(topic)),
        }
        if let Some(at) = retained.store.next_expiry() {
            self.timers.arm_retained(at, vhost);
        }
        Ok(lsn)
    }

    /// Forgets what has expired.
    pub(crate) fn expire_retained(&self, vhost: &Arc<Vhost>, now: Timestamp) {
        let mut retained = vhost.retained.lock();
        retained.store.expire(now);
        let next = retained.store.next_expiry();
        drop(retained);
        if let Some(at) = next {
            self.timers.arm_retained(at, vhost);
        }
    }
}
