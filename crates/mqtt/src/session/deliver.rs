//! Messages to the client: what was unanswered when it left, what waits for room, then what its queues hold (§4.4, §4.6).

use std::mem;

use ternmq_core::id::Timestamp;
use ternmq_core::queue::{Budget, Delivery, Outcome};
use ternmq_core::tags::Tags;
use ternmq_net::machine::Output;

use super::Active;
use super::encode::{Sent, Terms};
use super::window::{Lease, Outgoing, Step};
use crate::codec;
use crate::error::Fault;
use crate::frame::{PacketType, QoS};
use crate::reason_code::ReasonCode;

/// One drain takes at most so many messages.
const DRAIN_MESSAGES_MAX: usize = 256;
/// One drain takes at most about so many bytes of payload.
const DRAIN_BYTES_MAX: usize = 64 * 1024;
/// A buffer for more deliveries than this is given back when the client has them all.
const KEEP_DELIVERIES_MAX: usize = 32;

impl Active<'_> {
    /// A consumer's notice came.
    pub(crate) fn on_ready(&mut self, token: u64) {
        let source = usize::try_from(token)
            .ok()
            .and_then(|number| self.kept.sources.get_mut(number));
        if let Some(source) = source {
            source.ready = source.consumer.is_some();
        }
    }

    /// Whether the notice about a deleted queue is about one that is still consumed. Then the session is no more what
    /// the client thinks it is.
    pub(crate) fn on_cancelled(&mut self, token: u64) -> bool {
        let source = usize::try_from(token)
            .ok()
            .and_then(|number| self.kept.sources.get_mut(number));
        source.is_some_and(|source| source.consumer.take().is_some())
    }

    /// Writes what the client may have now, until the output is full. Returns whether there is more for it.
    ///
    /// # Errors
    /// What has to be recorded first can't be.
    pub(crate) fn deliver(&mut self, now: Timestamp, out: &mut Output) -> Result<bool, Fault> {
        self.collect_awaited();
        self.resend(now, out);
        self.send_pending(now, out);
        self.drain_ready(now, out);
        self.record_outgoing()?;
        self.flush_settlements(now);
        Ok(self.has_work())
    }

    /// Whether there is something to deliver for which there is room in the window.
    pub(crate) fn has_work(&self) -> bool {
        let kept = &self.kept;
        let has_room = kept.window.sent() < self.live.limits.quota;
        let moves = match kept.window.next_resend() {
            Some(entry) => self.is_committed(entry.record),
            None => !kept.pending.is_empty(),
        };
        moves && has_room || kept.sources.iter().any(|source| source.ready)
    }

    /// Sends again what an earlier connection left unanswered, in the original order (MQTT-4.4.0-1, MQTT-4.6.0-1), and
    /// what waited for its record.
    fn resend(&mut self, now: Timestamp, out: &mut Output) {
        while self.kept.window.sent() < self.live.limits.quota && !out.is_full() {
            let Some(entry) = self.kept.window.next_resend() else {
                return;
            };
            if !self.is_committed(entry.record) {
                return;
            }
            let (packet_id, step, was_sent) = (entry.packet_id(), entry.step, entry.was_sent);
            let qos = match step {
                Step::AwaitPubAck => QoS::AtLeastOnce,
                Step::AwaitPubRec => QoS::ExactlyOnce,
                Step::AwaitPubComp => QoS::AtMostOnce,
            };
            let again = entry
                .outgoing
                .clone()
                .filter(|_| step != Step::AwaitPubComp);
            let sent = if let Some(outgoing) = again {
                let dup = was_sent || outgoing.redelivered;
                let terms = Terms::Fixed {
                    packet_id,
                    qos,
                    dup,
                };
                self.transmit(&outgoing, terms, now, out)
            } else {
                let version = self.live.limits.version;
                let reason = ReasonCode::Success;
                self.live.counted.packets_sent += 1;
                codec::puback(out.buf(), version, PacketType::PubRel, packet_id, reason);
                Sent::Written(qos)
            };
            if matches!(sent, Sent::Written(_)) {
                self.kept.window.resent();
            } else {
                if qos == QoS::ExactlyOnce {
                    self.forget_outgoing(packet_id);
                }
                let gone = self
                    .kept
                    .window
                    .drop_resend()
                    .and_then(|entry| entry.outgoing);
                self.settle_now(
                    gone.and_then(|outgoing| outgoing.lease),
                    Outcome::Reject { failed: false },
                    now,
                );
            }
        }
    }

    /// Sends what waited for room.
    fn send_pending(&mut self, now: Timestamp, out: &mut Output) {
        while !out.is_full() {
            let Some(outgoing) = self.kept.pending.pop_front() else {
                break;
            };
            if let Some(waiting) = self.send(outgoing, Turn::Its, now, out) {
                self.kept.pending.push_front(waiting);
                return;
            }
        }
        if self.kept.pending.is_empty() && self.kept.pending.capacity() > KEEP_DELIVERIES_MAX {
            self.kept.pending = std::collections::VecDeque::new();
        }
    }

    /// Drains the queues that have something, in turns.
    fn drain_ready(&mut self, now: Timestamp, out: &mut Output) {
        let mut more = true;
        while more {
            more = false;
            for number in 0..self.kept.sources.len() {
                if out.is_full() {
                    return;
                }
                more |= self.drain_source(number, now, out);
            }
        }
    }

    /// Drains one queue once. Returns whether it has more.
    fn drain_source(&mut self, number: usize, now: Timestamp, out: &mut Output) -> bool {
        let Some(source) = self
            .kept
            .sources
            .get_mut(number)
            .filter(|source| source.ready)
        else {
            return false;
        };
        let Some(consumer) = &source.consumer else {
            source.ready = false;
            return false;
        };
        let mut deliveries = mem::take(&mut self.live.deliveries);
        let budget = Budget {
            messages: DRAIN_MESSAGES_MAX,
            bytes: DRAIN_BYTES_MAX,
        };
        source.ready = self
            .live
            .client
            .drain(consumer, budget, &mut deliveries, now);
        let (more, share) = (source.ready, source.share);
        for delivery in deliveries.drain(..) {
            if let Some(outgoing) = self.recognise(from_delivery(delivery, number, share)) {
                self.offer(outgoing, now, out);
            }
        }
        if more || deliveries.capacity() <= KEEP_DELIVERIES_MAX {
            self.live.deliveries = deliveries;
        }
        more
    }

    /// Sends a message, or lets it wait behind those that wait already.
    fn offer(&mut self, outgoing: Outgoing, now: Timestamp, out: &mut Output) {
        let turn = if self.kept.pending.is_empty() {
            Turn::Its
        } else {
            Turn::Others
        };
        if let Some(waiting) = self.send(outgoing, turn, now, out) {
            self.kept.pending.push_back(waiting);
        }
    }

    /// Sends a message if there is room for it. Returns it if there is not.
    fn send(
        &mut self,
        outgoing: Outgoing,
        turn: Turn,
        now: Timestamp,
        out: &mut Output,
    ) -> Option<Outgoing> {
        let packet_id = if outgoing.is_at_most_once() || !self.has_room() {
            None
        } else {
            self.kept.window.reserve()
        };
        match self.transmit(&outgoing, Terms::New { packet_id }, now, out) {
            Sent::Waits if self.kept.is_durable() => {
                return self.line_up(Step::AwaitPubAck, turn, outgoing);
            }
            Sent::Waits => return Some(outgoing),
            Sent::FirstRecorded => return self.line_up(Step::AwaitPubRec, turn, outgoing),
            Sent::Written(QoS::AtMostOnce) | Sent::Never => self.done(outgoing.lease),
            Sent::Written(QoS::AtLeastOnce) => self.kept.window.push(Step::AwaitPubAck, outgoing),
            Sent::Written(QoS::ExactlyOnce) => self.kept.window.push(Step::AwaitPubRec, outgoing),
            Sent::TooLarge => {
                self.settle_now(outgoing.lease, Outcome::Reject { failed: false }, now);
            }
        }
        None
    }

    /// Gives a message its packet identifier, to be sent behind what waits for its record. So whatever QoS messages have,
    /// they are sent in their order, and those of one drain wait for one record. Returns it if there is no room.
    fn line_up(&mut self, step: Step, turn: Turn, outgoing: Outgoing) -> Option<Outgoing> {
        let window = &mut self.kept.window;
        let has_room = window.len() < self.live.limits.quota;
        if turn == Turn::Others || !has_room || window.reserve().is_none() {
            return Some(outgoing);
        }
        window.line_up(step, outgoing);
        None
    }

    /// Whether one more message with a packet identifier may go out.
    fn has_room(&self) -> bool {
        self.kept.window.sent() < self.live.limits.quota && self.kept.window.next_resend().is_none()
    }
}

/// Whose turn it is among messages that wait for room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// The message's own.
    Its,
    /// Others came before it, and wait.
    Others,
}

pub(super) fn from_delivery(delivery: Delivery, number: usize, share: Option<u32>) -> Outgoing {
    let lease = (!delivery.settled).then(|| Lease {
        source: u16::try_from(number).unwrap_or(u16::MAX),
        position: delivery.position,
    });
    Outgoing {
        message: delivery.message,
        lsn: delivery.lsn,
        // All members of a group share one binding, so the tag is the member's own.
        tags: share.map_or(delivery.tags, Tags::One),
        lease,
        retained: false,
        redelivered: delivery.redelivered,
    }
}
