//! Retained messages: the last one of a topic, for those who subscribe later.

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
        vhost: &Vhost,
        topic: &[u8],
        message: Option<Message>,
        work: &mut Work,
    ) -> Result<(), Refusal> {
        let record = message.clone();
        match message {
            Some(message) => vhost.retained.lock().set(topic, message)?,
            None => drop(vhost.retained.lock().clear(topic)),
        }
        work.batch.clear();
        work.batch
            .record(|out| record::retained(&vhost.name, topic, record.as_ref(), out));
        self.append(&work.batch);
        Ok(())
    }
}
