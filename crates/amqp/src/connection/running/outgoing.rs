//! What a running connection says of its own accord: confirms, deliveries, memory pressure.

use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::ShortString;
use ternmq_broker::inspect::ConnectionState;
use ternmq_broker::mailbox::{DiskRoom, Token};
use ternmq_core::id::Timestamp;
use ternmq_core::queue::Budget;
use ternmq_net::machine::{OUTPUT_BUDGET_BYTES, Output};

use super::{Pressure, Running};
use crate::error::delivery_timed_out;
use crate::session::{ConsumerSlot, write_method};

/// What a client is told to be short, in RabbitMQ's words.
const LOW_ON_MEMORY: &str = "low on memory";
const LOW_ON_DISK: &str = "low on disk";

/// Most messages one consumer is sent before the next one's turn.
const TURN_MESSAGES_MAX: usize = 512;

impl Running {
    /// Something is short: the first publish is answered by `connection.blocked`.
    ///
    /// If it is memory, that one is taken, and the next one waits with all that is behind it; a client without that
    /// capability waits at once. If it is room on the disk, publishes are taken while there is some. When there is none,
    /// those that are confirmed are refused one by one, so that what else the connection sends is read; those that are
    /// not wait, as their publisher could not be told.
    #[cold]
    pub(super) fn admit_publish(&mut self, channel: u16, out: &mut Output) -> bool {
        let Pressure {
            node_blocked,
            disk,
            told,
            ..
        } = self.pressure;
        let tells = self.capabilities.connection_blocked && !told;
        if tells {
            self.pressure.told = true;
            let reason = if node_blocked {
                LOW_ON_MEMORY
            } else {
                LOW_ON_DISK
            };
            let reason = ShortString::try_new(reason).unwrap_or_default();
            let blocked = connection::AMQPMethod::Blocked(connection::Blocked { reason });
            write_method(0, &AMQPClass::Connection(blocked), out);
        }
        let session = self.channels.open_session(channel);
        let is_unheard = session.is_none_or(|session| !session.hears_of_refusals());
        self.pressure.paused = node_blocked && !tells || disk == DiskRoom::Full && is_unheard;
        self.show_state();
        !self.pressure.paused
    }

    /// The node's shortage of memory began or ended.
    pub(in crate::connection) fn on_pressure(&mut self, node_blocked: bool, out: &mut Output) {
        self.pressure.node_blocked = node_blocked;
        self.relax(out);
    }

    /// The room on the disk changed.
    pub(in crate::connection) fn on_disk(&mut self, room: DiskRoom, out: &mut Output) {
        self.pressure.disk = room;
        self.relax(out);
    }

    /// Goes on if there is enough again. A publish that still has to wait pauses once more.
    fn relax(&mut self, out: &mut Output) {
        self.pressure.paused = false;
        if self.pressure.told && !self.pressure.is_short() {
            self.pressure.told = false;
            let unblocked = connection::AMQPMethod::Unblocked(connection::Unblocked {});
            write_method(0, &AMQPClass::Connection(unblocked), out);
        }
        self.show_state();
    }

    /// Lets others see what holds the connection up, if anything does.
    fn show_state(&self) {
        let pressure = self.pressure;
        let state = if pressure.paused || pressure.told && pressure.is_short() {
            ConnectionState::Blocked
        } else if pressure.is_short() {
            ConnectionState::Blocking
        } else if self.behind.is_some() {
            ConnectionState::Flow
        } else {
            ConnectionState::Running
        };
        self.shared.stats.set_state(state);
    }

    /// Reads on if the disk has caught up.
    pub(in crate::connection) fn catch_up(&mut self) {
        let committed = self.shared.client.committed();
        self.behind = self.behind.filter(|lsn| *lsn > committed);
        self.show_state();
    }

    /// Carries out what was collected: settles, publishes, confirms.
    #[inline]
    pub(super) fn flush(&mut self, now: Timestamp, out: &mut Output) {
        while let Some(channel) = self.unsettled.pop() {
            if let Some(session) = self.channels.open_session(channel) {
                session.settle(&mut self.shared.client, now);
            }
        }
        if !self.shared.publishes.is_empty() {
            self.flush_publishes(now, out);
        }
    }

    fn flush_publishes(&mut self, now: Timestamp, out: &mut Output) {
        let Self {
            shared,
            channels,
            owing,
            ..
        } = self;
        let lsn = shared.publishes.flush(&mut shared.client, now, |owed| {
            if let Some(session) = channels.open_session(owed.channel) {
                if !session.owes_confirms() {
                    owing.push(owed.channel);
                }
                session.on_owed(owed);
                session.show(now);
            }
        });
        if self.shared.publishes.slows_down() && lsn.is_some() {
            self.behind = Some(lsn);
            self.shared.client.notify_commit(lsn);
            self.show_state();
        }
        if self.owing.is_empty() {
            return;
        }
        self.confirm(out);
        if lsn.is_some() && !self.owing.is_empty() {
            self.shared.client.notify_commit(lsn);
        }
    }

    /// Confirms what the journal's watermark allows.
    pub(in crate::connection) fn confirm(&mut self, out: &mut Output) {
        let committed = self.shared.client.committed();
        let Self {
            channels,
            owing,
            confirms,
            ..
        } = self;
        let (mut commits_are_left, mut confirmed) = (false, 0);
        owing.retain(|channel| {
            let Some(session) = channels.open_session(*channel) else {
                return false;
            };
            confirmed += session.confirm(committed, confirms, out);
            commits_are_left |= session.awaits_commit();
            session.owes_confirms()
        });
        self.committing.set_any(commits_are_left);
        if confirmed > 0 {
            self.shared.client.count_confirmed(confirmed);
        }
    }

    /// Messages wait for a consumer.
    pub(in crate::connection) fn on_ready(&mut self, token: Token) {
        self.ready.push_back(token);
    }

    /// A consumer's queue is gone. Who deleted it on this connection hears of that first, however long its answer waits.
    pub(in crate::connection) fn on_cancelled(
        &mut self,
        token: Token,
        now: Timestamp,
        out: &mut Output,
    ) {
        let (channel, slot) = ConsumerSlot::from_token(token);
        let notify = self.capabilities.consumer_cancel_notify;
        let cancel_at = out.buf().len();
        if let Some(session) = self.channels.open_session(channel) {
            session.on_cancelled(slot, notify, &mut self.shared.context(now, out));
            self.hold_behind(cancel_at, out);
        }
    }

    /// A consumer holds a delivery for too long: its channel is closed.
    pub(in crate::connection) fn on_timed_out(
        &mut self,
        token: Token,
        now: Timestamp,
        out: &mut Output,
    ) {
        let (channel, slot) = ConsumerSlot::from_token(token);
        let Some(session) = self.channels.open_session(channel) else {
            return;
        };
        let Some(timeout_ms) = session.lease_timeout_ms(slot, &self.shared.client) else {
            return;
        };
        // A fault of the channel's alone ends nothing else.
        let _ = self.on_fault(channel, delivery_timed_out(channel, timeout_ms), now, out);
    }

    /// When [`Self::close_overdue`] is to be called.
    pub(in crate::connection) fn deadline(&self) -> Option<Timestamp> {
        self.shared.overdue_at
    }

    /// Channels that hold a delivery without a consumer for too long are closed.
    pub(in crate::connection) fn close_overdue(&mut self, now: Timestamp, out: &mut Output) {
        if self.shared.overdue_at.is_none_or(|at| now < at) {
            return;
        }
        let (mut overdue, mut next) = (Vec::new(), None);
        for (channel, session) in self.channels.open_sessions() {
            let (timeout_ms, due) = session.overdue(now);
            if let Some(timeout_ms) = timeout_ms {
                overdue.push((channel, timeout_ms));
            } else {
                next = [next, due].into_iter().flatten().min();
            }
        }
        self.shared.overdue_at = next;
        for (channel, timeout_ms) in overdue {
            // A fault of the channel's alone ends nothing else.
            let _ = self.on_fault(channel, delivery_timed_out(channel, timeout_ms), now, out);
        }
    }

    /// Sends consumers what waits for them, in turns, until nothing waits or the output is full. Returns whether
    /// more waits, or reading does.
    pub(in crate::connection) fn deliver(&mut self, now: Timestamp, out: &mut Output) -> bool {
        while let Some(token) = self.ready.pop_front() {
            let bytes = OUTPUT_BUDGET_BYTES.saturating_sub(out.len());
            if bytes == 0 {
                self.ready.push_front(token);
                return true;
            }
            let (channel, slot) = ConsumerSlot::from_token(token);
            let Some(session) = self.channels.open_session(channel) else {
                continue;
            };
            let budget = Budget {
                messages: TURN_MESSAGES_MAX,
                bytes,
            };
            let mut cx = self.shared.context(now, out);
            if session.deliver(slot, budget, &mut self.scratch, &mut cx) {
                self.ready.push_back(token);
            }
            session.settle(&mut self.shared.client, now);
        }
        self.is_resting
    }

    /// Reading goes on after a rest, if the output has room.
    pub(in crate::connection) fn resume(&mut self, out: &Output) {
        self.is_resting = self.is_resting && out.is_full();
    }

    /// Gives back everything the connection holds.
    pub(in crate::connection) fn release(&mut self, now: Timestamp) {
        for mut session in self.channels.drain() {
            session.release(&mut self.shared.client, &mut self.shared.consumers, now);
        }
        self.shared.client.close();
    }
}
