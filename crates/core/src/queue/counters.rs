//! What a queue counts, and what it holds: for those who look at it.

use alloc::vec::Vec;

use super::Queue;
use super::ready::ENTRY_BYTES;
use crate::id::Timestamp;
use crate::message::{DeathReason, Message};

/// What happened in a queue since it was made, or since the node started. Numbers only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueCounters {
    /// Messages that came in, whatever became of them.
    pub published: u64,
    /// Messages drained by consumers, to be settled.
    pub delivered: u64,
    /// Messages drained by consumers, and gone with that.
    pub delivered_auto: u64,
    /// Messages taken by [`Queue::get`], to be settled.
    pub got: u64,
    /// Messages taken by [`Queue::get`], and gone with that.
    pub got_auto: u64,
    /// Calls of [`Queue::get`] that found nothing.
    pub got_empty: u64,
    /// Those of the deliveries that may have been delivered before.
    pub redelivered: u64,
    /// Messages settled as done.
    pub acked: u64,
    /// Messages settled by going back to their place.
    pub returned: u64,
    /// Messages refused because the queue was full.
    pub refused: u64,
    /// Messages dropped at the door.
    pub dropped: u64,
    /// Messages that died, dead-lettered or not; by [`DeathReason::index`].
    pub died: [u64; DeathReason::COUNT],
    /// Messages purged.
    pub purged: u64,
}

impl QueueCounters {
    /// All messages handed over.
    pub const fn taken(&self) -> u64 {
        self.delivered + self.delivered_auto + self.got + self.got_auto
    }

    pub(super) fn died(&mut self, reason: DeathReason, messages: u64) {
        self.died[reason.index()] += messages;
    }

    /// Adds what happened in another queue.
    pub fn add(&mut self, other: &Self) {
        let Self {
            published,
            delivered,
            delivered_auto,
            got,
            got_auto,
            got_empty,
            redelivered,
            acked,
            returned,
            refused,
            dropped,
            died,
            purged,
        } = other;
        self.published += published;
        self.delivered += delivered;
        self.delivered_auto += delivered_auto;
        self.got += got;
        self.got_auto += got_auto;
        self.got_empty += got_empty;
        self.redelivered += redelivered;
        self.acked += acked;
        self.returned += returned;
        self.refused += refused;
        self.dropped += dropped;
        for (mine, other) in self.died.iter_mut().zip(died) {
            *mine += other;
        }
        self.purged += purged;
    }
}

/// What a queue holds now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Holdings {
    /// Messages that wait.
    pub ready: u64,
    /// Their bodies, in bytes.
    pub ready_bytes: u64,
    /// Messages in consumers' lists, not drained.
    pub assigned: u64,
    /// Messages drained or got, and not settled.
    pub leased: u64,
    /// Bodies of those that are assigned or leased, in bytes.
    pub in_flight_bytes: u64,
    /// Messages in memory.
    pub resident: u64,
    /// Their bodies, in bytes.
    pub resident_bytes: u64,
    /// Messages that survive a restart: they have a record.
    pub durable: u64,
    /// Their bodies, in bytes.
    pub durable_bytes: u64,
    /// About how much memory all of it takes, in bytes.
    pub memory_bytes: u64,
    /// Consumers.
    pub consumers: u64,
}

impl Holdings {
    /// Messages that somebody has or is about to have, and that are not settled.
    pub const fn in_flight(&self) -> u64 {
        self.assigned + self.leased
    }

    /// All messages.
    pub const fn messages(&self) -> u64 {
        self.ready + self.in_flight()
    }

    /// All bodies, in bytes.
    pub const fn bytes(&self) -> u64 {
        self.ready_bytes + self.in_flight_bytes
    }

    /// Adds what another queue holds.
    pub fn add(&mut self, other: &Self) {
        self.ready += other.ready;
        self.ready_bytes += other.ready_bytes;
        self.assigned += other.assigned;
        self.leased += other.leased;
        self.in_flight_bytes += other.in_flight_bytes;
        self.resident += other.resident;
        self.resident_bytes += other.resident_bytes;
        self.durable += other.durable;
        self.durable_bytes += other.durable_bytes;
        self.memory_bytes += other.memory_bytes;
        self.consumers += other.consumers;
    }
}

impl Queue {
    /// What happened here.
    pub fn counters(&self) -> &QueueCounters {
        &self.counters
    }

    /// What is here.
    pub fn holdings(&self) -> Holdings {
        let in_flight = self.assigned + self.leased;
        let cold = self.lanes.cold.totals;
        let messages = self.ready + in_flight;
        let resident = messages.saturating_sub(cold.entries);
        let memory = self.lanes.held_bytes() as u64;
        // Memory of resident entries is counted as a fixed part of each and its body.
        let resident_bytes =
            (self.lanes.entry_bytes() as u64).saturating_sub(resident * ENTRY_BYTES as u64);
        let bytes = resident_bytes + cold.bytes;
        let journalled = self.lanes.journalled();
        Holdings {
            ready: self.ready,
            ready_bytes: self.ready_bytes,
            assigned: self.assigned,
            leased: self.leased,
            in_flight_bytes: bytes.saturating_sub(self.ready_bytes),
            resident,
            resident_bytes,
            durable: journalled.entries + cold.journalled,
            durable_bytes: journalled.bytes + cold.journalled_bytes,
            memory_bytes: memory,
            consumers: self.consumers.len() as u64,
        }
    }

    /// When a message last came, was taken or settled, or the queue was used otherwise.
    pub fn last_active(&self) -> Timestamp {
        self.last_active.max(self.last_used)
    }

    /// The message that goes next, if it is in memory.
    pub fn head(&mut self) -> Option<Message> {
        use super::ready::Class;
        let position = self.lanes.first_ready(Class::Kept);
        let position = match position {
            None if !self.is_head_cold() => self.lanes.first_ready(Class::AtMostOnce)?,
            position => position?,
        };
        Some(self.lanes.entry(position)?.message.clone())
    }

    /// The consumer that is served alone, if only one is.
    pub fn single_active(&self) -> Option<super::ConsumerKey> {
        self.consumers.single_active()
    }

    /// The consumer that is alone by its own wish, if there is one.
    pub fn exclusive_consumer(&self) -> Option<super::ConsumerKey> {
        self.consumers.exclusive()
    }

    /// The consumers as a list, see [`Queue::consumers`].
    pub fn consumer_list(&self) -> Vec<super::ConsumerView> {
        self.consumers.views().collect()
    }
}
