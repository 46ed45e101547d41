//! Deliveries that no consumer answers for: fetched ones, and those whose consumer was cancelled.
//!
//! A queue measures for how long its consumers hold what they took. These have no consumer, so their channel does,
//! as finely as a queue: what a queue gave within a part of its timeout is one watch.

use std::collections::BTreeMap;

use ternmq_core::id::Timestamp;

use super::unacked::Unacked;

/// How finely a timeout is measured: one is noticed late by this part of it at most.
const SPANS_PER_TIMEOUT: u64 = 64;

/// Deliveries of one queue that came at about the same time.
struct Watch {
    /// Their first tag and their last; other queues' are between them.
    tags: (u64, u64),
    due: Timestamp,
    timeout_ms: u64,
}

/// See the module's documentation. There are as many watches as queues times [`SPANS_PER_TIMEOUT`], at most.
#[derive(Default)]
pub(super) struct Orphans {
    /// By queue, as the channel numbers them, and span of time.
    watches: BTreeMap<(u32, u64), Watch>,
}

impl Orphans {
    /// Deliveries of a queue with tags from the first to the last shall be settled within `timeout_ms`, in
    /// milliseconds. Returns when to look at them.
    pub(super) fn watch(
        &mut self,
        queue: u32,
        tags: (u64, u64),
        now: Timestamp,
        timeout_ms: u64,
    ) -> Timestamp {
        let span = now.0 / (timeout_ms / SPANS_PER_TIMEOUT).max(1);
        let due = now.plus_ms(timeout_ms);
        let new = Watch {
            tags,
            due,
            timeout_ms,
        };
        let watch = self
            .watches
            .entry((queue, span))
            .and_modify(|watch| {
                watch.tags = (watch.tags.0.min(tags.0), watch.tags.1.max(tags.1));
                watch.due = watch.due.max(due);
                watch.timeout_ms = timeout_ms;
            })
            .or_insert(new);
        watch.due
    }

    /// The timeout, in milliseconds, of a delivery that is still outstanding when it should not be.
    pub(super) fn overdue(&mut self, now: Timestamp, unacked: &Unacked) -> Option<u64> {
        let mut overdue = None;
        self.watches.retain(|(queue, _), watch| {
            if watch.due > now {
                return true;
            }
            if unacked.holds(*queue, watch.tags) {
                overdue = Some(watch.timeout_ms);
            }
            false
        });
        overdue
    }

    /// When to look at them again.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.watches.values().map(|watch| watch.due).min()
    }
}

#[cfg(test)]
mod tests {
    use ternmq_core::id::Position;

    use super::super::unacked::Delivered;
    use super::*;

    const TIMEOUT_MS: u64 = 6_400;

    fn unacked(entries: &[(u64, u32)]) -> Unacked {
        let mut unacked = Unacked::default();
        for &(tag, queue) in entries {
            let position = Position(tag);
            unacked.push(tag, Delivered { queue, position });
        }
        unacked
    }

    #[test]
    fn what_is_outstanding_when_its_time_is_over_is_named_once() {
        let mut orphans = Orphans::default();
        let unacked = unacked(&[(1, 7)]);
        assert_eq!(orphans.next_due(), None);
        let due = orphans.watch(7, (1, 1), Timestamp(1_000), TIMEOUT_MS);
        assert_eq!(due, Timestamp(7_400));
        assert_eq!(orphans.next_due(), Some(due));
        assert_eq!(orphans.overdue(Timestamp(7_399), &unacked), None);
        assert_eq!(orphans.overdue(due, &unacked), Some(TIMEOUT_MS));
        assert_eq!(orphans.next_due(), None);
    }

    #[test]
    fn settled_deliveries_and_those_of_other_queues_are_not() {
        let mut orphans = Orphans::default();
        let mut unacked = unacked(&[(1, 7), (2, 8), (3, 7), (4, 7)]);
        let due = orphans.watch(7, (1, 3), Timestamp(0), TIMEOUT_MS);
        unacked.take(1);
        unacked.take(3);
        assert_eq!(orphans.overdue(due, &unacked), None);
    }

    #[test]
    fn watches_of_a_queue_are_few() {
        let mut orphans = Orphans::default();
        for tag in 1..100_000 {
            let due = orphans.watch(7, (tag, tag), Timestamp(tag), TIMEOUT_MS);
            if tag % 50 == 0 {
                let unacked = unacked(&[(tag, 7)]);
                assert_eq!(orphans.overdue(Timestamp(tag), &unacked), None);
            }
            assert!(due <= Timestamp(tag + TIMEOUT_MS));
            assert!(orphans.watches.len() <= 66, "{}", orphans.watches.len());
        }
    }
}
