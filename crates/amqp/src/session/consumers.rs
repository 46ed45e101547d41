//! The consumers of a channel, by tag and by the token their notices carry.
//!
//! ```text
//! token = channel:16 | generation:24 | slot:24
//! ```
//! A notice to a consumer that is gone names a generation that its slot no longer has.

use std::collections::HashMap;

use ternmq_broker::QueueHandle;
use ternmq_broker::mailbox::Token;

const SLOT_BITS: u32 = 24;
const MASK: u64 = (1 << SLOT_BITS) - 1;

/// One consumer.
pub(super) struct Consumer {
    pub(super) broker: ternmq_broker::Consumer,
    pub(super) tag: Box<[u8]>,
    /// The queue's number on this channel.
    pub(super) queue: u32,
    pub(super) acks: Acks,
    /// How many it may hold, whatever the channel may; `u32::MAX` for no limit.
    pub(super) prefetch: u32,
    /// Deliveries tell how often they were taken and failed before.
    pub(super) counters: Counters,
}

/// Whether deliveries tell how often they were taken and failed before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Counters {
    Shown,
    Hidden,
}

impl Counters {
    pub(super) fn of(queue: &QueueHandle) -> Self {
        if queue.exposes_counters() {
            Self::Shown
        } else {
            Self::Hidden
        }
    }
}

/// Whether deliveries wait for the client's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Acks {
    Wanted,
    Automatic,
}

/// A consumer as a token names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    index: usize,
    generation: u64,
}

impl Slot {
    /// The channel and the consumer that a token names.
    pub(crate) fn from_token(token: Token) -> (u16, Self) {
        let [c0, c1, ..] = token.0.to_be_bytes();
        // Both are masked to 24 bits.
        let index = usize::try_from(token.0 & MASK).unwrap_or(usize::MAX);
        let generation = token.0 >> SLOT_BITS & MASK;
        (u16::from_be_bytes([c0, c1]), Self { index, generation })
    }
}

#[derive(Default)]
struct Entry {
    generation: u64,
    consumer: Option<Consumer>,
}

/// See the module's documentation.
pub(super) struct Consumers {
    channel: u16,
    entries: Vec<Entry>,
    free: Vec<usize>,
    by_tag: HashMap<Box<[u8]>, usize>,
}

impl Consumers {
    pub(super) fn new(channel: u16) -> Self {
        Self {
            channel,
            entries: Vec::new(),
            free: Vec::new(),
            by_tag: HashMap::new(),
        }
    }

    pub(super) fn has_tag(&self, tag: &[u8]) -> bool {
        self.by_tag.contains_key(tag)
    }

    /// The token of the next consumer.
    pub(super) fn next_token(&mut self) -> Token {
        let index = self.next_index();
        let generation = self.entries[index].generation;
        Token(u64::from(self.channel) << 48 | generation << SLOT_BITS | index as u64)
    }

    /// Adds the consumer that [`Consumers::next_token`] was asked for.
    pub(super) fn insert(&mut self, consumer: Consumer) {
        let index = self.next_index();
        self.free.pop();
        self.by_tag.insert(consumer.tag.clone(), index);
        self.entries[index].consumer = Some(consumer);
    }

    /// The place of the next consumer, which is made if there is none.
    fn next_index(&mut self) -> usize {
        if let Some(&index) = self.free.last() {
            return index;
        }
        let index = self.entries.len();
        debug_assert!(
            (index as u64) < MASK,
            "the number of consumers is bounded far below"
        );
        self.entries.push(Entry::default());
        self.free.push(index);
        index
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Consumer> {
        let entry = self.entries.get(slot.index)?;
        entry
            .consumer
            .as_ref()
            .filter(|_| entry.generation == slot.generation)
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Consumer> {
        self.get(slot)?;
        self.remove_index(slot.index)
    }

    pub(super) fn remove_tag(&mut self, tag: &[u8]) -> Option<Consumer> {
        let index = *self.by_tag.get(tag)?;
        self.remove_index(index)
    }

    fn remove_index(&mut self, index: usize) -> Option<Consumer> {
        let entry = &mut self.entries[index];
        let consumer = entry.consumer.take()?;
        entry.generation = (entry.generation + 1) & MASK;
        self.free.push(index);
        self.by_tag.remove(&consumer.tag);
        Some(consumer)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_tag.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.entries
            .iter()
            .filter_map(|entry| entry.consumer.as_ref())
    }

    /// Takes all of them out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Consumer> + use<> {
        self.by_tag.clear();
        self.free.clear();
        std::mem::take(&mut self.entries)
            .into_iter()
            .filter_map(|entry| entry.consumer)
    }
}
