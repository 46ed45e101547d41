//! Length limits, and how entries die.

use super::ready::State;
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

    /// Lets the waiting entries that matter least die until the limits hold, if the queue overflows that way.
    pub(super) fn drop_overflow(&mut self, fx: &mut Effects) {
        if self.refuses_overflow() {
            return;
        }
        while self.settings.max_length.is_some_and(|max| self.ready > max)
            || self
                .settings
                .max_length_bytes
                .is_some_and(|max| self.ready_bytes > max)
        {
            let Some(position) = self.lanes.least_ready() else {
                break;
            };
            self.die(position, DeathReason::MaxLength, fx);
        }
    }

    /// Refuses a message at the door.
    pub(super) fn refuse(&self, message: Message, lsn: Lsn, fx: &mut Effects) {
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
        if self.settings.dead_letter.is_some() {
            fx.dead.push(Dead {
                message: entry.message,
                lsn: entry.lsn,
                reason,
                attempts: entry.attempts,
            });
        } else {
            fx.dropped += 1;
            fx.settle(entry.lsn);
        }
    }
}
