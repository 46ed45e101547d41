//! The settle verb: what became of deliveries.

use ternmq_core::id::{Position, Timestamp};
use ternmq_core::queue::Outcome;

use crate::cell::QueueHandle;
use crate::client::Client;

impl Client {
    /// Settles deliveries of one queue, in the order they were delivered. Those that the queue no longer knows are
    /// passed over.
    pub fn settle(
        &mut self,
        queue: &QueueHandle,
        positions: &[Position],
        outcome: Outcome,
        now: Timestamp,
    ) {
        let _inside = self.broker.gate.enter();
        let cell = &queue.0;
        let settled = cell.update(self.work.get(), |queue, effects| {
            queue.settle(now, positions, outcome, effects)
        });
        self.count_settled(cell.kind, outcome, settled);
        self.broker.follow_up(cell, self.work.get(), now);
    }
}
