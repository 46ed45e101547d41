//! PUBLISH from the client (§3.3): collected into the turn, answered when it is safe.
//!
//! ```text
//! PUBLISH ──► turn ──flush──► broker ──► owed ──committed──► PUBACK or PUBREC, in the order of the publishes
//! ```

use bytes::Bytes;
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::message::{Body, Message};
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::value::{Headers, Value};

use super::topic_alias::{define_alias, resolve_topic};
use super::{Active, Live};
use crate::codec;
use crate::error::{Fault, acknowledge_reason};
use crate::frame::{PacketId, PacketType, Publish, QoS};
use crate::mapping::{self, Origin};
use crate::properties::Properties;
use crate::reason_code::ReasonCode;

/// Topics of the broker itself: a client's publishes there go nowhere.
const SYS_PREFIX: &str = "$SYS/";

/// Where a publish's payload is.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// In the packet.
    InPacket,
    /// It came in pieces, and was put together here.
    Assembled(Bytes),
}

/// What answers a publish of this turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnAck {
    /// Its index in the turn; none if it is not part of it.
    index: Option<usize>,
    packet_id: PacketId,
    /// PUBACK or PUBREC.
    packet: PacketType,
    reason: ReasonCode,
}

/// A retained message of this turn.
#[derive(Debug)]
pub(crate) struct TurnRetain {
    index: Option<usize>,
    /// Place among the turn's answers, if there is one for it.
    ack: Option<usize>,
    message: Message,
}

/// An answer that waits for the journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owed {
    lsn: Lsn,
    packet_id: PacketId,
    packet: PacketType,
    reason: ReasonCode,
}

impl Active<'_> {
    /// A PUBLISH arrived.
    pub(crate) fn on_publish(
        &mut self,
        publish: &Publish<'_>,
        payload: Payload,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let config = &self.identity.node.config;
        define_alias(&mut self.live.aliases_in, publish, config.topic_alias_max)?;
        if let Some(packet_id) = publish.packet_id {
            if self.is_repeated(publish, packet_id) {
                return Ok(());
            }
            if self.live.limits.version.is_v5()
                && self.unacknowledged() >= usize::from(config.receive_max)
            {
                return Err(Fault::ReceiveMaximumExceeded);
            }
        }
        self.live.has_published = true;
        let refused = match self.take(publish, payload, now)? {
            Taken::Turn { index, reason } => {
                self.answer(publish, index, reason);
                return Ok(());
            }
            Taken::Refused(reason) => reason,
        };
        // MQTT 3 has no words for it: acknowledged and dropped.
        let v5 = self.live.limits.version.is_v5();
        self.answer(
            publish,
            None,
            if v5 { refused } else { ReasonCode::Success },
        );
        Ok(())
    }

    /// Routes a publish and puts it into the turn.
    fn take(
        &mut self,
        publish: &Publish<'_>,
        payload: Payload,
        now: Timestamp,
    ) -> Result<Taken, Fault> {
        let identity = self.identity;
        let config = &identity.node.config;
        let Live {
            client,
            turn,
            turn_retains,
            turn_acks,
            aliases_in,
            native,
            ..
        } = &mut *self.live;
        let topic = resolve_topic(publish, aliases_in, config.topic_levels_max)?;
        if topic.starts_with(SYS_PREFIX) {
            return Ok(Taken::Refused(ReasonCode::NotAuthorized));
        }
        let request = RouteRequest {
            exchange: config.exchange.as_bytes(),
            routing_key: topic.as_bytes(),
            key_syntax: KeySyntax::Slashed,
            extra_keys: &[],
            headers: &|| headers(publish.properties),
            publisher: Some(identity.publisher),
            from_client: true,
        };
        let route = client.route(&request)?;
        let nobody = route.is_empty();
        let reason = answer_reason(nobody);
        if nobody && !publish.retain {
            return Ok(Taken::Turn {
                index: None,
                reason,
            });
        }
        let origin = Origin {
            exchange: config.exchange.as_bytes(),
            received_at: now,
            publisher: Some(identity.publisher),
        };
        let mut parts = mapping::to_core(publish, topic, origin, native);
        if let Payload::Assembled(bytes) = payload {
            parts.body = Body::Shared(bytes);
        }
        let message = parts.build(client.scratch());
        let retained = publish.retain.then(|| message.clone());
        let index = (!nobody).then(|| turn.push(message, route));
        if let Some(message) = retained {
            let ack = publish.packet_id.map(|_| turn_acks.len());
            turn_retains.push(TurnRetain {
                index,
                ack,
                message,
            });
        }
        Ok(Taken::Turn { index, reason })
    }

    /// Notes the answer to a publish of QoS 1 or 2.
    fn answer(&mut self, publish: &Publish<'_>, index: Option<usize>, reason: ReasonCode) {
        let Some(packet_id) = publish.packet_id else {
            return;
        };
        let packet = if publish.qos == QoS::ExactlyOnce {
            if !reason.is_error() {
                remember(&mut self.kept.received, packet_id);
            }
            PacketType::PubRec
        } else {
            self.live.pubacks_owed += 1;
            PacketType::PubAck
        };
        self.live.turn_acks.push(TurnAck {
            index,
            packet_id,
            packet,
            reason,
        });
    }

    /// Whether we have this publish already and answer it without routing it again.
    fn is_repeated(&mut self, publish: &Publish<'_>, packet_id: PacketId) -> bool {
        if publish.qos == QoS::ExactlyOnce {
            if self.kept.received.binary_search(&packet_id.get()).is_err() {
                return false;
            }
            // An answer that is on its way answers this one too.
            if !self.is_owed(packet_id) {
                let reason = ReasonCode::Success;
                let ack = TurnAck {
                    index: None,
                    packet_id,
                    packet: PacketType::PubRec,
                    reason,
                };
                self.live.turn_acks.push(ack);
            }
            return true;
        }
        publish.dup && self.is_owed(packet_id)
    }

    fn is_owed(&self, packet_id: PacketId) -> bool {
        self.live
            .turn_acks
            .iter()
            .any(|ack| ack.packet_id == packet_id)
            || self
                .live
                .owed
                .iter()
                .any(|owed| owed.packet_id == packet_id)
    }

    /// Publishes that count against our receive maximum (§4.9): QoS 1 without PUBACK, QoS 2 without PUBCOMP.
    fn unacknowledged(&self) -> usize {
        self.kept.received.len() + self.live.pubacks_owed
    }

    /// Hands the turn to the broker, then the retained messages, then notes or writes the answers.
    pub(super) fn flush_publishes(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        let Live {
            client,
            limits,
            turn,
            turn_acks,
            turn_retains,
            owed,
            pubacks_owed,
            rejected,
            ..
        } = &mut *self.live;
        if turn.is_empty() && turn_acks.is_empty() && turn_retains.is_empty() {
            return;
        }
        let published = client.publish(turn, now);
        let lsn = published.lsn;
        rejected.clear();
        rejected.extend_from_slice(published.rejected);
        let is_rejected =
            |index: Option<usize>| index.is_some_and(|at| rejected.binary_search(&at).is_ok());
        for TurnRetain {
            index,
            ack,
            message,
        } in turn_retains.drain(..)
        {
            if is_rejected(index) {
                continue;
            }
            let topic = message.routing_key().to_vec();
            let kept = Some(message).filter(|message| !message.body().is_empty());
            if let Err(refusal) = client.retain(&topic, kept)
                && let Some(ack) = ack.and_then(|at| turn_acks.get_mut(at))
            {
                ack.reason = acknowledge_reason(&refusal);
            }
        }
        for TurnAck {
            index,
            packet_id,
            packet,
            mut reason,
        } in turn_acks.drain(..)
        {
            if is_rejected(index) {
                reason = ReasonCode::QuotaExceeded;
            }
            if reason.is_error() {
                if packet == PacketType::PubRec {
                    forget(&mut self.kept.received, packet_id);
                }
                if !limits.version.is_v5() {
                    // It can't be told: the client sends it again when it connects again.
                    *pubacks_owed -= usize::from(packet == PacketType::PubAck);
                    continue;
                }
            }
            owed.push_back(Owed {
                lsn,
                packet_id,
                packet,
                reason,
            });
        }
        self.acknowledge(out);
        if self.live.owed.back().is_some_and(|owed| owed.lsn == lsn) {
            self.live.client.notify_commit(lsn);
        }
    }

    /// Writes the answers whose publishes are safe.
    pub(crate) fn acknowledge(&mut self, out: &mut Vec<u8>) {
        let Live {
            client,
            owed,
            pubacks_owed,
            limits,
            ..
        } = &mut *self.live;
        if owed.is_empty() {
            return;
        }
        let committed = client.committed();
        while let Some(Owed {
            packet_id,
            packet,
            reason,
            ..
        }) = owed.pop_front_if(|owed| owed.lsn <= committed)
        {
            *pubacks_owed -= usize::from(packet == PacketType::PubAck);
            codec::puback(out, limits.version, packet, packet_id, reason);
        }
    }
}

/// What became of a publish.
enum Taken {
    /// It is in the turn, unless there is nobody to get it.
    Turn {
        index: Option<usize>,
        reason: ReasonCode,
    },
    /// It goes nowhere, and the client may hear why.
    Refused(ReasonCode),
}

/// What answers a publish that was taken; MQTT 3 sees no difference.
const fn answer_reason(nobody: bool) -> ReasonCode {
    if nobody {
        ReasonCode::NoMatchingSubscribers
    } else {
        ReasonCode::Success
    }
}

pub(super) fn headers(properties: Properties<'_>) -> Headers {
    properties
        .user_properties()
        .map(|(name, value)| (name.into(), Value::text(value)))
        .collect()
}

/// Adds to the ascending packet identifiers.
fn remember(received: &mut Vec<u16>, packet_id: PacketId) {
    if let Err(at) = received.binary_search(&packet_id.get()) {
        received.insert(at, packet_id.get());
    }
}

fn forget(received: &mut Vec<u16>, packet_id: PacketId) {
    if let Ok(at) = received.binary_search(&packet_id.get()) {
        received.remove(at);
    }
}
