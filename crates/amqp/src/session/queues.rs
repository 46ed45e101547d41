//! The queues a channel has deliveries or consumers of, by small numbers, and what is to be settled in each.

use std::collections::HashMap;

use ternmq_broker::{Client, QueueHandle};
use ternmq_core::id::{Position, Timestamp};
use ternmq_core::queue::Outcome;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Queues {
    slots: Vec<Slot>,
    free: Vec<u32>,
    numbers: HashMap<QueueHandle, u32>,
    /// Queues with something to settle, each once.
    dirty: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    handle: Option<QueueHandle>,
    /// Consumers and unacknowledged deliveries.
    references: usize,
    acks: Vec<Position>,
    others: Vec<(Outcome, Position)>,
}

impl Slot {
    fn is_clean(&self) -> bool {
        self.acks.is_empty() && self.others.is_empty()
    }
}

impl Queues {
    /// The queue's number, with one more reference to it.
    pub(super) fn hold(&mut self, handle: &QueueHandle) -> u32 {
        if let Some(&number) = self.numbers.get(handle) {
            self.hold_number(number);
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            // A channel has fewer queues than deliveries and consumers, whose numbers are bounded far below.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = &mut self.slots[number as usize];
        slot.handle = Some(handle.clone());
        slot.references = 1;
        self.numbers.insert(handle.clone(), number);
        number
    }

    /// One more reference to a queue that has one.
    #[inline]
    pub(super) fn hold_number(&mut self, number: u32) {
        self.slots[number as usize].references += 1;
    }

    /// One delivery is settled: its reference ends when that is carried out.
    #[inline]
    pub(super) fn settle(&mut self, number: u32, position: Position, outcome: Outcome) {
        let slot = &mut self.slots[number as usize];
        if slot.is_clean() {
            self.dirty.push(number);
        }
        if outcome == Outcome::Ack {
            slot.acks.push(position);
        } else {
            slot.others.push((outcome, position));
        }
    }

    /// The queue of that number.
    pub(super) fn handle(&self, number: u32) -> Option<&QueueHandle> {
        self.slots.get(number as usize)?.handle.as_ref()
    }

    /// One consumer less, or one delivery that was settled by other ways than [`Queues::settle`].
    pub(super) fn release(&mut self, number: u32) {
        self.slots[number as usize].references -= 1;
        self.forget_unused(number);
    }

    pub(super) fn is_clean(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Carries out what was settled: one call per queue and outcome.
    pub(super) fn flush(&mut self, client: &mut Client, now: Timestamp) {
        while let Some(number) = self.dirty.pop() {
            let slot = &mut self.slots[number as usize];
            let Some(handle) = &slot.handle else { continue };
            slot.references -= slot.acks.len() + slot.others.len();
            if !slot.acks.is_empty() {
                client.settle(handle, &slot.acks, Outcome::Ack, now);
                slot.acks.clear();
            }
            for run in slot.others.chunk_by(|a, b| a.0 == b.0) {
                let positions: Vec<Position> = run.iter().map(|(_, position)| *position).collect();
                client.settle(handle, &positions, run[0].0, now);
            }
            slot.others.clear();
            self.forget_unused(number);
        }
    }

    fn forget_unused(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        if slot.references == 0
            && slot.is_clean()
            && let Some(handle) = slot.handle.take()
        {
            self.numbers.remove(&handle);
            self.free.push(number);
        }
    }
}
