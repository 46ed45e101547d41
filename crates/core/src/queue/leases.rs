//! Taking and settling: an entry is handed over, and comes to its end or back to its place.

use alloc::vec::Vec;

use super::consumers::{AckMode, ConsumerKey, Consumers};
use super::ready::{Class, Entry, State, class_of};
use super::{Delivery, Effects, Outcome, Queue, Returned};
use crate::id::{Position, Timestamp};
use crate::message::DeathReason;

/// How much one drain may take. The message that reaches a limit is the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Messages, at most.
    pub messages: usize,
    /// No more messages once so many body bytes are taken.
    pub bytes: usize,
}

fn delivery(entry: &Entry, position: Position) -> Delivery {
    Delivery {
        message: entry.message.clone(),
        position,
        tags: entry.tags.clone(),
        attempts: entry.attempts,
        failures: entry.failures,
        at_most_once: class_of(position) == Class::AtMostOnce,
        settled: false,
    }
}

fn last_delivery(entry: Entry, position: Position) -> Delivery {
    Delivery {
        message: entry.message,
        position,
        tags: entry.tags,
        attempts: entry.attempts,
        failures: entry.failures,
        at_most_once: class_of(position) == Class::AtMostOnce,
        settled: true,
    }
}

impl Queue {
    /// Hands over what is assigned to a consumer, oldest assignment first. Returns whether there is more: then the
    /// consumer must come back without being named in [`Effects::ready`] again.
    pub fn drain(
        &mut self,
        now: Timestamp,
        key: ConsumerKey,
        budget: Budget,
        out: &mut Vec<Delivery>,
        fx: &mut Effects,
    ) -> bool {
        let (mut messages, mut bytes) = (0, 0);
        let Some(consumer) = self.consumers.get_mut(key) else {
            return false;
        };
        while messages < budget.messages && (bytes < budget.bytes || messages == 0) {
            let Some(position) = consumer.assigned.pop_front() else {
                break;
            };
            let Some(entry) = self.lanes.entry_mut(position) else {
                continue;
            };
            debug_assert_eq!(entry.state, State::Assigned(key));
            let body_bytes = u64::from(entry.body_bytes);
            messages += 1;
            bytes += entry.body_bytes as usize;
            consumer.assigned_bytes -= body_bytes;
            self.assigned -= 1;
            let settled = match consumer.mode() {
                AckMode::Auto => true,
                AckMode::Manual => false,
                AckMode::ByMessage => class_of(position) == Class::AtMostOnce,
            };
            if !settled {
                entry.state = State::Leased(key);
                Consumers::lease(consumer);
                self.leased += 1;
                out.push(delivery(entry, position));
            } else if let Some(entry) = self.lanes.remove(position) {
                fx.freed_bytes += body_bytes;
                fx.settle(entry.lsn);
                if entry.indexed {
                    self.expiry.forget_one(&self.lanes);
                }
                out.push(last_delivery(entry, position));
            }
        }
        self.consumers.refresh_key(key);
        self.assign(now, fx);
        let Some(consumer) = self.consumers.get_mut(key) else {
            return false;
        };
        consumer.notified = !consumer.assigned.is_empty();
        consumer.notified
    }

    /// Takes the next message without being a consumer, and counts as use of the queue. Also returns how many are
    /// left ready, as [`super::Counts::visible`] counts.
    pub fn get(
        &mut self,
        now: Timestamp,
        auto_ack: bool,
        fx: &mut Effects,
    ) -> Option<(Delivery, u64)> {
        if self.closed {
            return None;
        }
        self.last_used = now;
        let position = match self.first_unexpired(now, Class::Kept, fx) {
            Some(position) => position,
            None => self.first_unexpired(now, Class::AtMostOnce, fx)?,
        };
        self.take_from_ready(position, State::Leased(ConsumerKey::NOBODY));
        let delivery = if auto_ack {
            let entry = self.lanes.remove(position)?;
            fx.freed_bytes += u64::from(entry.body_bytes);
            fx.settle(entry.lsn);
            self.unindex(&entry);
            last_delivery(entry, position)
        } else {
            self.leased += 1;
            delivery(self.lanes.entry(position)?, position)
        };
        Some((delivery, self.ready + self.assigned))
    }

    /// Ends leases. Positions that name no leased message are passed over. Returns how many were ended.
    pub fn settle(
        &mut self,
        now: Timestamp,
        positions: &[Position],
        outcome: Outcome,
        fx: &mut Effects,
    ) -> usize {
        let mut ended = 0;
        // Credit goes back per run of messages that one consumer held.
        let (mut holder, mut run) = (ConsumerKey::NOBODY, 0);
        for &position in positions {
            let Some(entry) = self.lanes.entry(position) else {
                continue;
            };
            let State::Leased(key) = entry.state else {
                continue;
            };
            ended += 1;
            self.leased -= 1;
            if key != holder {
                self.consumers.release(holder, run);
                (holder, run) = (key, 0);
            }
            run += 1;
            self.end_lease(now, position, outcome, fx);
        }
        if ended > 0 {
            self.consumers.release(holder, run);
            if matches!(outcome, Outcome::Return { .. } | Outcome::Untouched) {
                self.assign(now, fx);
                self.drop_overflow(fx);
            } else {
                self.assign(now, fx);
            }
        }
        ended
    }

    fn end_lease(
        &mut self,
        now: Timestamp,
        position: Position,
        outcome: Outcome,
        fx: &mut Effects,
    ) {
        match outcome {
            Outcome::Ack => {
                if let Some(entry) = self.lanes.remove(position) {
                    fx.freed_bytes += u64::from(entry.body_bytes);
                    fx.settle(entry.lsn);
                    self.unindex(&entry);
                }
            }
            Outcome::Untouched => self.make_ready(now, position, fx),
            Outcome::Reject { failed } => {
                self.count_taking(position, failed);
                self.die(position, DeathReason::Rejected, fx);
            }
            Outcome::Return { failed } => {
                let Some((attempts, failures, lsn)) = self.count_taking(position, failed) else {
                    return;
                };
                if self
                    .settings
                    .delivery_limit
                    .is_some_and(|limit| failures > limit)
                {
                    return self.die(position, DeathReason::DeliveryLimit, fx);
                }
                if lsn.is_some() {
                    fx.returned.push(Returned {
                        lsn,
                        attempts,
                        failures,
                    });
                }
                self.make_ready(now, position, fx);
            }
        }
    }

    fn count_taking(
        &mut self,
        position: Position,
        failed: bool,
    ) -> Option<(u32, u32, crate::id::Lsn)> {
        let entry = self.lanes.entry_mut(position)?;
        entry.attempts = entry.attempts.saturating_add(1);
        entry.failures = entry.failures.saturating_add(failed.into());
        Some((entry.attempts, entry.failures, entry.lsn))
    }

    /// Puts a taken entry back to its place, unless its time is over.
    pub(super) fn make_ready(&mut self, now: Timestamp, position: Position, fx: &mut Effects) {
        let Some(entry) = self.lanes.entry(position) else {
            return;
        };
        if entry.expire_at <= now {
            return self.die(position, DeathReason::Expired, fx);
        }
        self.ready += 1;
        self.ready_bytes += u64::from(entry.body_bytes);
        self.lanes.give_back(position);
        self.index_deadline(position);
    }

    /// Takes the entry that is first in its lane.
    pub(super) fn take_from_ready(&mut self, position: Position, state: State) {
        let Some(entry) = self.lanes.entry(position) else {
            return;
        };
        self.ready -= 1;
        self.ready_bytes -= u64::from(entry.body_bytes);
        self.lanes.take_first(position, state);
    }

    /// The next ready entry of that class whose time is not over.
    pub(super) fn first_unexpired(
        &mut self,
        now: Timestamp,
        class: Class,
        fx: &mut Effects,
    ) -> Option<Position> {
        loop {
            let position = self.lanes.first_ready(class)?;
            if self.lanes.entry(position)?.expire_at > now {
                return Some(position);
            }
            self.die(position, DeathReason::Expired, fx);
        }
    }
}
