//! Acknowledgements from the client: PUBACK, PUBREC, PUBCOMP for what it received, PUBREL for what it sent (§4.3).

use ternmq_core::id::Timestamp;
use ternmq_core::queue::Outcome;

use super::Active;
use super::window::{Lease, Step};
use crate::codec;
use crate::error::Fault;
use crate::frame::{Ack, PacketId, PacketType};
use crate::reason_code::ReasonCode;

impl Active<'_> {
    /// PUBACK: the client has a QoS 1 message, or refuses it.
    pub(crate) fn on_puback(&mut self, ack: &Ack<'_>, now: Timestamp) -> Result<(), Fault> {
        let known = self.kept.window.get(ack.packet_id);
        match known.filter(|entry| entry.was_sent).map(|entry| entry.step) {
            // Nothing to do for an exchange that is over.
            None => Ok(()),
            Some(Step::AwaitPubAck) => {
                self.finish(ack.packet_id, ack.reason, now);
                Ok(())
            }
            Some(_) => Err(Fault::WrongAcknowledgement(ack.packet_id.get())),
        }
    }

    /// PUBREC: the client has a QoS 2 message, or refuses it.
    pub(crate) fn on_pubrec(
        &mut self,
        ack: &Ack<'_>,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let version = self.live.limits.version;
        let is_durable = self.kept.is_durable();
        let known = self.kept.window.get_mut(ack.packet_id);
        let Some(entry) = known.filter(|entry| entry.was_sent) else {
            // The PUBLISH of an exchange from before a restart is still to come again, and the PUBREC with it.
            let is_known = self.kept.window.awaits(ack.packet_id);
            if !ack.reason.is_error() && !is_known {
                let reason = ReasonCode::PacketIdentifierNotFound;
                self.live.counted.packets_sent += 1;
                codec::puback(out, version, PacketType::PubRel, ack.packet_id, reason);
            }
            return Ok(());
        };
        match entry.step {
            Step::AwaitPubAck => return Err(Fault::WrongAcknowledgement(ack.packet_id.get())),
            Step::AwaitPubComp => {}
            // MQTT-4.3.3-4: then no PUBREL follows, and the identifier is free.
            Step::AwaitPubRec if ack.reason.is_error() => {
                self.finish(ack.packet_id, ack.reason, now);
                return Ok(());
            }
            Step::AwaitPubRec if is_durable => {
                entry.step = Step::AwaitPubComp;
                let lease = entry.outgoing.as_ref().and_then(|outgoing| outgoing.lease);
                self.live.releases.extend(lease);
                self.record_released(ack.packet_id);
            }
            Step::AwaitPubRec => {
                entry.step = Step::AwaitPubComp;
                let lease = entry.outgoing.take().and_then(|outgoing| outgoing.lease);
                self.done(lease);
            }
        }
        self.conclude(PacketType::PubRel, ack.packet_id, ReasonCode::Success, out);
        Ok(())
    }

    /// PUBCOMP: a QoS 2 exchange towards the client is over.
    pub(crate) fn on_pubcomp(&mut self, ack: &Ack<'_>) -> Result<(), Fault> {
        match self
            .kept
            .window
            .get_mut(ack.packet_id)
            .map(|entry| entry.step)
        {
            None => Ok(()),
            Some(Step::AwaitPubComp) => {
                self.kept.window.remove(ack.packet_id);
                self.forget_outgoing(ack.packet_id);
                Ok(())
            }
            Some(_) => Err(Fault::WrongAcknowledgement(ack.packet_id.get())),
        }
    }

    /// PUBREL: the client knows that we have its QoS 2 message; its identifier is free.
    pub(crate) fn on_pubrel(&mut self, ack: &Ack<'_>, now: Timestamp, out: &mut Vec<u8>) {
        // The PUBREC of this very read goes out first.
        if self.is_answered_in_turn(ack.packet_id) {
            self.flush_publishes(now, out);
        }
        let received = &mut self.kept.received;
        let reason = match received.binary_search(&ack.packet_id.get()) {
            Ok(at) => {
                received.remove(at);
                ReasonCode::Success
            }
            Err(_) => ReasonCode::PacketIdentifierNotFound,
        };
        if reason == ReasonCode::Success {
            self.forget_received(ack.packet_id);
        }
        self.conclude(PacketType::PubComp, ack.packet_id, reason, out);
    }

    /// Answers the second half of a QoS 2 exchange: at once, or with the turn where it has to be recorded.
    fn conclude(
        &mut self,
        packet: PacketType,
        packet_id: PacketId,
        reason: ReasonCode,
        out: &mut Vec<u8>,
    ) {
        if self.kept.is_durable() {
            self.answer_with_turn(packet, packet_id, reason);
        } else {
            self.live.counted.packets_sent += 1;
            codec::puback(out, self.live.limits.version, packet, packet_id, reason);
        }
    }

    /// The client answered a message for good.
    fn finish(&mut self, packet_id: PacketId, reason: ReasonCode, now: Timestamp) {
        let entry = self.kept.window.remove(packet_id);
        if entry
            .as_ref()
            .is_some_and(|entry| entry.step == Step::AwaitPubRec)
        {
            self.forget_outgoing(packet_id);
        }
        let lease = entry
            .and_then(|entry| entry.outgoing)
            .and_then(|outgoing| outgoing.lease);
        if reason.is_error() {
            // MQTT-4.4.0-2: never sent again.
            self.settle_now(lease, Outcome::Reject { failed: false }, now);
        } else {
            self.done(lease);
        }
    }

    /// Settles a lease as done, with the next flush.
    pub(super) fn done(&mut self, lease: Option<Lease>) {
        if let Some(lease) = lease
            && let Some(source) = self.kept.sources.get_mut(usize::from(lease.source))
        {
            source.done.push(lease.position);
        }
    }

    /// Settles one lease at once, for what is rare.
    pub(super) fn settle_now(&mut self, lease: Option<Lease>, outcome: Outcome, now: Timestamp) {
        let Some(lease) = lease else { return };
        let source = self.kept.sources.get(usize::from(lease.source));
        if let Some(queue) = source.and_then(|source| source.queue.as_ref()) {
            self.live
                .client
                .settle(queue, &[lease.position], outcome, now);
        }
    }

    /// Settles what is done, one call per queue.
    pub(super) fn flush_settlements(&mut self, now: Timestamp) {
        for source in &mut self.kept.sources {
            if source.done.is_empty() {
                continue;
            }
            if let Some(queue) = &source.queue {
                self.live
                    .client
                    .settle(queue, &source.done, Outcome::Ack, now);
            }
            source.done.clear();
        }
    }
}
