//! Retained messages: the last one of each topic.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::error::Refusal;
use crate::id::Timestamp;
use crate::message::Message;

/// How much a store holds.
#[derive(Clone, Copy, Debug)]
pub struct RetainedLimits {
    /// Messages.
    pub messages_max: usize,
    /// Bytes of messages.
    pub bytes_max: usize,
}

/// Retained messages by slashed topic.
#[derive(Debug)]
pub struct RetainedStore {
    limits: RetainedLimits,
    messages: BTreeMap<Box<[u8]>, Message>,
}

impl RetainedStore {
    /// An empty store.
    pub fn new(limits: RetainedLimits) -> Self {
        Self {
            limits,
            messages: BTreeMap::new(),
        }
    }

    /// Retains a message.
    pub fn set(&mut self, topic: &[u8], message: Message) -> Result<(), Refusal> {
        if self.messages.len() >= self.limits.messages_max && !self.messages.contains_key(topic) {
            return Err(Refusal::LimitReached {
                limit: "retained_messages_max",
                max: self.limits.messages_max as u64,
            });
        }
        self.messages.insert(topic.into(), message);
        Ok(())
    }

    /// Forgets a topic's message.
    pub fn clear(&mut self, topic: &[u8]) -> Option<Message> {
        self.messages.remove(topic)
    }

    /// Appends the messages whose topics match a slashed filter.
    pub fn matching(&mut self, filter: &[u8], now: Timestamp, out: &mut Vec<Message>) {
        let alive = |m: &Message| {
            m.ttl_ms()
                .is_none_or(|ttl| m.received_at().plus_ms(ttl) > now)
        };
        let found = self
            .messages
            .iter()
            .filter(|(topic, m)| matches(filter, topic) && alive(m));
        out.extend(found.map(|(_, m)| m.clone()));
    }
}

fn matches(filter: &[u8], topic: &[u8]) -> bool {
    let mut levels = topic.split(|b| *b == b'/');
    if topic.first() == Some(&b'$') && matches!(filter.first(), Some(b'+' | b'#')) {
        return false;
    }
    for pattern in filter.split(|b| *b == b'/') {
        if pattern == b"#" {
            return true;
        }
        match levels.next() {
            Some(level) if pattern == b"+" || pattern == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}
