//! Taking and settling: an entry is handed over, and comes to its end or back to its place.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::consumers::{AckMode, ConsumerKey, Consumers};
use super::ready::{Class, Entry, State, class_of};
use super::{Delivery, Effects, Outcome, Queue, Returned};
use crate::id::{Lsn, Position, Timestamp};
use crate::message::DeathReason;

/// A drained list of a consumer keeps memory for so many messages.
const ASSIGNED_KEPT_MAX: usize = 128;

/// Who holds a lease, and in which of its epochs it was taken.
type Holder = (ConsumerKey, u16);

/// How much one drain may take. The message that reaches a limit is the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Messages, at most.
    pub messages: usize,
    /// No more messages once so many body bytes are taken.
    pub bytes: usize,
}

/// How long an entry has been here, as far as it is counted.
#[inline]
fn waited_ms(entry: &Entry, now: Timestamp) -> u32 {
    u32::try_from(now.since(entry.enqueued_at)).unwrap_or(u32::MAX)
}

fn delivery(entry: &Entry, position: Position, recovered: bool) -> Delivery {
    Delivery {
        message: entry.message.clone(),
        position,
        tags: entry.tags.clone(),
        attempts: entry.attempts,
        failures: entry.failures,
        lsn: entry.lsn,
        redelivered: recovered || entry.attempts > 0,
        at_most_once: class_of(position) == Class::AtMostOnce,
        settled: false,
    }
}

fn last_delivery(entry: Entry, position: Position, recovered: bool) -> Delivery {
    Delivery {
        message: entry.message,
        position,
        tags: entry.tags,
        attempts: entry.attempts,
        failures: entry.failures,
        lsn: entry.lsn,
        redelivered: recovered || entry.attempts > 0,
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
        let (mut messages, mut bytes, mut leases) = (0, 0, 0);
        let epoch = self.begin_leases(now, key);
        let Some(consumer) = self.consumers.get_mut(key) else {
            return false;
        };
        let (first, mut entered) = (out.len(), None);
        while messages < budget.messages && (bytes < budget.bytes || messages == 0) {
            let Some(position) = consumer.assigned.pop_front() else {
                break;
            };
            let gone = match consumer.mode() {
                AckMode::Auto => true,
                AckMode::Manual => false,
                AckMode::ByMessage => class_of(position) == Class::AtMostOnce,
            };
            let recovered = self.lanes.is_recovered(position);
            let body_bytes;
            if gone {
                let Some(entry) = self.lanes.remove(position) else {
                    continue;
                };
                debug_assert_eq!(entry.state, State::Assigned(key));
                body_bytes = entry.body_bytes;
                entered = Some(entry.enqueued_at);
                fx.settle(entry.lsn);
                if entry.indexed {
                    self.expiry.forget_one(&self.lanes);
                }
                out.push(last_delivery(entry, position, recovered));
            } else {
                let Some(entry) = self.lanes.entry_mut(position) else {
                    continue;
                };
                debug_assert_eq!(entry.state, State::Assigned(key));
                body_bytes = entry.body_bytes;
                entered = Some(entry.enqueued_at);
                entry.state = State::Leased(key);
                entry.waited_ms = waited_ms(entry, now);
                entry.epoch = epoch;
                Consumers::lease(consumer);
                leases += 1;
                out.push(delivery(entry, position, recovered));
            }
            messages += 1;
            bytes += body_bytes as usize;
            consumer.assigned_bytes -= u64::from(body_bytes);
            self.assigned -= 1;
        }
        self.took_leases(key, leases);
        self.count_drained(now, &out[first..]);
        fx.waited_ms = entered.map(|at| now.since(at));
        self.consumers.refresh_key(key);
        self.assign(now, fx);
        let Some(consumer) = self.consumers.get_mut(key) else {
            return false;
        };
        consumer.notified = !consumer.assigned.is_empty();
        if !consumer.notified && consumer.assigned.capacity() > ASSIGNED_KEPT_MAX {
            consumer.assigned = VecDeque::new();
        }
        consumer.notified
    }

    /// Takes the next message without being a consumer, and counts as use of the queue. Also returns how many are
    /// left ready, as [`super::Counts::visible`] counts.
    ///
    /// None as well if the next message is cold ([`Self::is_head_cold`]): then it is wanted, and this is to be
    /// called again when it is back.
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
        let position = self.next_to_get(now, fx)?;
        self.last_active = now;
        let recovered = self.lanes.is_recovered(position);
        self.take_from_ready(position, State::Leased(ConsumerKey::NOBODY));
        let delivery = if auto_ack {
            let entry = self.lanes.remove(position)?;
            fx.settle(entry.lsn);
            self.unindex(&entry);
            last_delivery(entry, position, recovered)
        } else {
            self.leased += 1;
            let entry = self.lanes.entry_mut(position)?;
            entry.waited_ms = waited_ms(entry, now);
            delivery(entry, position, recovered)
        };
        self.counters.got += u64::from(!auto_ack);
        self.counters.got_auto += u64::from(auto_ack);
        self.counters.redelivered += u64::from(delivery.redelivered);
        Some((delivery, self.ready + self.assigned))
    }

    fn next_to_get(&mut self, now: Timestamp, fx: &mut Effects) -> Option<Position> {
        if let Some(position) = self.first_unexpired(now, Class::Kept, fx) {
            return Some(position);
        }
        if self.is_head_cold() {
            self.want_head(fx);
            return None;
        }
        let position = self.first_unexpired(now, Class::AtMostOnce, fx);
        self.counters.got_empty += u64::from(position.is_none());
        position
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
        let (mut holder, mut run) = ((ConsumerKey::NOBODY, 0), 0);
        for &position in positions {
            let key = match outcome {
                Outcome::Ack => self.acknowledge(now, position, fx),
                Outcome::Return { failed } => self.give_back(now, position, Some(failed), fx),
                Outcome::Untouched => self.give_back(now, position, None, fx),
                Outcome::Reject { failed } => self.reject(position, failed, fx),
            };
            let Some(key) = key else { continue };
            if key != holder {
                self.release(holder, run);
                (holder, run) = (key, 0);
            }
            ended += 1;
            run += 1;
        }
        if ended > 0 {
            self.count_settled(now, ended as u64, outcome);
            self.leased -= ended as u64;
            self.release(holder, run);
            self.assign(now, fx);
            if matches!(outcome, Outcome::Return { .. } | Outcome::Untouched) {
                self.drop_overflow(fx);
            }
        }
        ended
    }

    /// Leases of one holder and epoch ended.
    fn release(&mut self, holder: Holder, leases: u32) {
        self.leases_ended(holder, leases);
        self.consumers.release(holder.0, leases);
    }

    fn count_drained(&mut self, now: Timestamp, drained: &[Delivery]) {
        if drained.is_empty() {
            return;
        }
        self.last_active = now;
        let (mut settled, mut redelivered) = (0, 0);
        for delivery in drained {
            settled += u64::from(delivery.settled);
            redelivered += u64::from(delivery.redelivered);
        }
        self.counters.redelivered += redelivered;
        self.counters.delivered_auto += settled;
        self.counters.delivered += drained.len() as u64 - settled;
    }

    fn count_settled(&mut self, now: Timestamp, messages: u64, outcome: Outcome) {
        self.last_active = now;
        match outcome {
            Outcome::Ack => self.counters.acked += messages,
            Outcome::Return { .. } | Outcome::Untouched => self.counters.returned += messages,
            // Counted by their death.
            Outcome::Reject { .. } => {}
        }
    }

    /// The records of leased messages that such a settlement would end for good and that go nowhere else: what
    /// [`Effects::settled`] will begin with if it is carried out while nobody else settles them.
    pub fn ending(&self, positions: &[Position], outcome: Outcome) -> Vec<Lsn> {
        let ends = match outcome {
            Outcome::Ack => true,
            Outcome::Reject { .. } => self.settings.dead_letter.is_none(),
            Outcome::Return { .. } | Outcome::Untouched => false,
        };
        let leased = |position: &Position| {
            let entry = self.lanes.entry(*position)?;
            matches!(entry.state, State::Leased(_)).then_some(entry.lsn)
        };
        let positions = if ends { positions } else { &[] };
        let lsns = positions.iter().filter_map(leased);
        lsns.filter(|lsn| lsn.is_some()).collect()
    }

    /// Ends a lease for good. Returns who held it, as the others below.
    fn acknowledge(
        &mut self,
        now: Timestamp,
        position: Position,
        fx: &mut Effects,
    ) -> Option<Holder> {
        let (entry, holder) = self.lanes.remove_leased(position)?;
        let taken_at = entry.enqueued_at.plus_ms(entry.waited_ms.into());
        fx.held_ms = Some(now.since(taken_at));
        fx.settle(entry.lsn);
        self.unindex(&entry);
        Some((holder, entry.epoch))
    }

    fn reject(&mut self, position: Position, failed: bool, fx: &mut Effects) -> Option<Holder> {
        let (entry, holder) = self.leased_mut(position)?;
        entry.count_taking(failed);
        self.die(position, DeathReason::Rejected, fx);
        Some(holder)
    }

    /// Ends a lease with the entry back in its place, or dead if it failed too often; a taking counts if `failed`
    /// says how.
    fn give_back(
        &mut self,
        now: Timestamp,
        position: Position,
        failed: Option<bool>,
        fx: &mut Effects,
    ) -> Option<Holder> {
        let delivery_limit = self.settings.delivery_limit;
        let (entry, holder) = self.leased_mut(position)?;
        if let Some(failed) = failed {
            entry.count_taking(failed);
            let Entry {
                lsn,
                attempts,
                failures,
                ..
            } = *entry;
            if delivery_limit.is_some_and(|limit| failures > limit) {
                self.die(position, DeathReason::DeliveryLimit, fx);
                return Some(holder);
            }
            if lsn.is_some() {
                fx.returned.push(Returned {
                    lsn,
                    attempts,
                    failures,
                });
            }
        }
        self.make_ready(now, position, fx);
        Some(holder)
    }

    fn leased_mut(&mut self, position: Position) -> Option<(&mut Entry, Holder)> {
        let entry = self.lanes.entry_mut(position)?;
        let State::Leased(holder) = entry.state else {
            return None;
        };
        let epoch = entry.epoch;
        Some((entry, (holder, epoch)))
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

    /// The next ready entry of that class whose time is not over. None as well if it is cold.
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
