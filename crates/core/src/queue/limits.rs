//! Length limits, and how entries die.

use super::ready::State;
use super::thaw::Stalled;
use super::{Dead, Effects, Queue};
use crate::id::{Lsn, Position};
use crate::message::{DeathReason, Message};
use crate::policy::Overflow;

impl Queue {
    /// Whether one more waiting message of that size would be too much.
    pub(super) fn would_overflow(&self, body_bytes: u32) -> bool {
        self.settings
            .max_length
            .is_some_and(|max| self.ready >= max)
            || self
                .settings
                .max_length_bytes
                .is_some_and(|max| self.ready_bytes + u64::from(body_bytes) > max)
    }

    /// Whether the publisher is told that the queue is full.
    pub(super) fn refuses_overflow(&self) -> bool {
        self.settings.overflow != Overflow::DropHead
    }

    /// Whether entries must be dropped.
    pub(super) fn overflows(&self) -> bool {
        let is_over = |max: Option<u64>, n| max.is_some_and(|max| n > max);
        !self.refuses_overflow()
            && (is_over(self.settings.max_length, self.ready)
                || is_over(self.settings.max_length_bytes, self.ready_bytes))
    }

    /// Lets the waiting entries that matter least die until the limits hold, if the queue overflows that way. If the
    /// next of them is cold, that goes on when it is back.
    pub(super) fn drop_overflow(&mut self, fx: &mut Effects) {
        while self.overflows() {
            if self.stalled == Stalled::Assigning {
                return;
            }
            let Some(position) = self.lanes.least_ready() else {
                if self.ready > 0 {
                    if !self.stalled.is_dropping() {
                        self.stalled = Stalled::Dropping;
                    }
                    fx.wants_cold = true;
                }
                return;
            };
            self.die(position, DeathReason::MaxLength, fx);
        }
        if self.stalled.is_dropping() {
            self.stalled = Stalled::No;
        }
    }

    /// Refuses a message at the door.
    pub(super) fn refuse(&mut self, message: Message, lsn: Lsn, fx: &mut Effects) {
        self.counters.refused += 1;
        if self.settings.overflow == Overflow::RejectPublishDeadLetter
            && self.settings.dead_letter.is_some()
        {
            fx.dead.push(Dead {
                message,
                lsn,
                reason: DeathReason::MaxLength,
                attempts: 0,
            });
        } else {
            fx.settle(lsn);
        }
    }

    /// Lets an entry die: to the dead-letter target, or into nothing.
    pub(super) fn die(&mut self, position: Position, reason: DeathReason, fx: &mut Effects) {
        let Some(entry) = self.lanes.remove(position) else {
            return;
        };
        if entry.state == State::Ready {
            self.ready -= 1;
            self.ready_bytes -= u64::from(entry.body_bytes);
        }
        self.unindex(&entry);
        self.bury(entry.message, entry.lsn, (reason, entry.attempts), fx);
    }
}
