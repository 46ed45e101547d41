//! Retained messages: the last one of a topic, for those who subscribe later.

use std::sync::Arc;

use ternmq_core::error::Refusal;
use ternmq_core::id::Timestamp;
use ternmq_core::message::Message;
use ternmq_core::record;

use crate::broker::Inner;
use crate::client::Client;
use crate::vhost::Vhost;
use crate::work::Work;

impl Client {
    /// Retains a message for a slashed topic, or forgets the topic's message.
    ///
    /// # Errors
    /// [`Refusal::LimitReached`] for a new topic.
    pub fn retain(&mut self, topic: &[u8], message: Option<Message>) -> Result<(), Refusal> {
        self.broker
            .retain(&self.vhost, topic, message, &mut self.work)
    }

    /// Appends the retained messages whose topics match a slashed filter and that have not expired.
    pub fn retained(&mut self, filter: &[u8], now: Timestamp, out: &mut Vec<Message>) {
        self.vhost.retained.lock().matching(filter, now, out);
    }
}

impl Inner {
    pub(crate) fn retain(
        &self,
        vhost: &Arc<Vhost>,
        topic: &[u8],
        message: Option<Message>,
        work: &mut Work,
    ) -> Result<(), Refusal> {
        work.batch.clear();
        work.batch
            .record(|out| record::retained(&vhost.name, topic, message.as_ref(), out));
        let mut retained = vhost.retained.lock();
        match message {
            Some(message) => retained.set(topic, message)?,
            None => drop(retained.clear(topic)),
        }
        // Under the lock: of two changes of one topic, the journal has to end with the one that stands.
        self.append(&work.batch);
        if let Some(at) = retained.next_expiry() {
            self.timers.arm_retained(at, vhost);
        }
        Ok(())
    }

    /// Forgets what has expired.
    pub(crate) fn expire_retained(&self, vhost: &Arc<Vhost>, now: Timestamp) {
        let mut retained = vhost.retained.lock();
        retained.expire(now);
        let next = retained.next_expiry();
        drop(retained);
        if let Some(at) = next {
            self.timers.arm_retained(at, vhost);
        }
    }
}
