//! PUBLISH from the client (§3.3): collected into the turn, answered when it is safe.
//!
//! ```text
//! PUBLISH ──► turn ──flush──► broker ──► owed ──committed──► PUBACK or PUBREC, in the order of the publishes
//! ```

use bytes::Bytes;
use ternmq_broker::{Retain, Unroutable};
use ternmq_core::error::Refusal;
use ternmq_core::id::Timestamp;
use ternmq_core::message::{Body, Message, Properties as CoreProperties};
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::value::{Headers, Value};

use super::topic_alias::{define_alias, resolve_topic};
use super::{Active, Live};
use crate::config::MqttConfig;
use crate::error::Fault;
use crate::frame::{PacketId, PacketType, ProtocolVersion, Publish, QoS};
use crate::mapping;
use crate::properties::{Properties, Property};
use crate::reason_code::ReasonCode;
use crate::topic::{DELAYED_PREFIX, SYS_PREFIX};

/// Where a publish's payload is.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// In the packet.
    InPacket,
    /// It came in pieces, and was put together here.
    Assembled(Bytes),
}

impl Payload {
    /// Its length, as that of a packet's payload.
    fn len(&self, publish: &Publish<'_>) -> usize {
        match self {
            Self::InPacket => publish.payload.len(),
            Self::Assembled(bytes) => bytes.len(),
        }
    }
}

/// What answers a publish of this turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnAck {
    /// Its index in the turn; none if it is not part of it.
    pub(super) index: Option<usize>,
    pub(super) packet_id: PacketId,
    /// PUBACK or PUBREC; PUBREL or PUBCOMP of a session that is recorded.
    pub(super) packet: PacketType,
    pub(super) reason: ReasonCode,
    /// Whether the exchange began before, so that nothing of this turn decides about it.
    pub(super) is_repeat: bool,
}

/// A retained message of this turn.
#[derive(Debug)]
pub(crate) struct TurnRetain {
    pub(super) index: Option<usize>,
    /// Place among the turn's answers, if there is one for it.
    pub(super) ack: Option<usize>,
    pub(super) message: Message,
}

impl TurnRetain {
    fn new(index: Option<usize>, ack: Option<usize>, message: Message) -> Self {
        Self {
            index,
            ack,
            message,
        }
    }
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
        self.live.counted.published_by(payload.len(publish));
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
            limits,
            ..
        } = &mut *self.live;
        let topic = resolve_topic(publish, aliases_in, config.topic_levels_max)?;
        let (delay_ms, topic) = match destination(topic) {
            Ok(split) => split,
            Err(reason) => return Ok(Taken::Refused(reason)),
        };
        let request = RouteRequest {
            exchange: config.exchange.as_bytes(),
            routing_key: topic.as_bytes(),
            key_syntax: KeySyntax::Slashed,
            extra_keys: &[],
            headers: &|| headers(publish.properties),
            properties: &|| identifiers(publish.properties),
            publisher: Some(identity.publisher),
            from_client: true,
        };
        let mut route = match client.route(&request) {
            Err(refusal) if is_told(&refusal, limits.version, config) => {
                return Ok(Taken::Refused(ReasonCode::NotAuthorized));
            }
            route => route?,
        };
        if let Some(delay_ms) = delay_ms {
            // Where it goes is seen when its time has come, and that it may is seen now.
            route = client.route_later(now.plus_ms(delay_ms), retain(publish));
        }
        let nobody = route.is_empty();
        let reason = answer_reason(route.is_unroutable());
        if nobody {
            turn.push_unroutable(&route, payload.len(publish), Unroutable::Dropped);
            if !publish.retain {
                let index = None;
                return Ok(Taken::Turn { index, reason });
            }
        }
        let origin = identity.origin(now);
        let mut parts = mapping::to_core(publish, topic, origin, native);
        if let Payload::Assembled(bytes) = payload {
            parts.body = Body::Shared(bytes);
        }
        let message = parts.build(client.scratch());
        let retained = (publish.retain && delay_ms.is_none()).then(|| message.clone());
        let index = (!nobody).then(|| turn.push(message, route));
        if publish.packet_id.is_some() {
            turn.expect_confirm();
        }
        if let Some(message) = retained {
            let ack = publish.packet_id.map(|_| turn_acks.len());
            turn_retains.push(TurnRetain::new(index, ack, message));
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
                self.record_received(packet_id);
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
            is_repeat: false,
        });
    }

    /// Whether we have this publish already and answer it without routing it again.
    fn is_repeated(&mut self, publish: &Publish<'_>, packet_id: PacketId) -> bool {
        if publish.qos == QoS::ExactlyOnce {
            if self.kept.received.binary_search(&packet_id.get()).is_err() {
                return false;
            }
            // An answer that is on its way answers this one too.
            if !self.is_owed(PacketType::PubRec, packet_id) {
                self.answer_with_turn(PacketType::PubRec, packet_id, ReasonCode::Success);
            }
            return true;
        }
        publish.dup && self.is_owed(PacketType::PubAck, packet_id)
    }

    /// Notes an answer that is no publish's own, and goes out in order with theirs.
    pub(super) fn answer_with_turn(
        &mut self,
        packet: PacketType,
        packet_id: PacketId,
        reason: ReasonCode,
    ) {
        self.live.turn_acks.push(TurnAck {
            index: None,
            packet_id,
            packet,
            reason,
            is_repeat: true,
        });
    }

    fn is_owed(&self, packet: PacketType, packet_id: PacketId) -> bool {
        let acks = &self.live.turn_acks;
        acks.iter()
            .any(|ack| (ack.packet, ack.packet_id) == (packet, packet_id))
            || self.live.owed.iter().any(|owed| owed.is(packet, packet_id))
    }

    /// Whether this read brought a publish with that identifier.
    pub(super) fn is_answered_in_turn(&self, packet_id: PacketId) -> bool {
        let acks = &self.live.turn_acks;
        acks.iter()
            .any(|ack| (ack.packet, ack.packet_id) == (PacketType::PubRec, packet_id))
    }

    /// Publishes that count against our receive maximum (§4.9): QoS 1 without PUBACK, QoS 2 without PUBCOMP.
    fn unacknowledged(&self) -> usize {
        self.kept.received.len() + self.live.pubacks_owed
    }
}

/// Whether a client that may not publish is told so, and keeps its connection.
fn is_told(refusal: &Refusal, version: ProtocolVersion, config: &MqttConfig) -> bool {
    let is_unauthorized = matches!(
        refusal,
        Refusal::AccessRefused { .. } | Refusal::TopicRefused { .. }
    );
    is_unauthorized && version.is_v5() && !config.disconnect_on_unauthorized
}

fn retain(publish: &Publish<'_>) -> Retain {
    if publish.retain {
        Retain::Yes
    } else {
        Retain::No
    }
}

/// The delay in front of a topic, in milliseconds, and the topic.
fn destination(topic: &str) -> Result<(Option<u64>, &str), ReasonCode> {
    if topic.starts_with(SYS_PREFIX) {
        return Err(ReasonCode::NotAuthorized);
    }
    let Some(rest) = topic.strip_prefix(DELAYED_PREFIX) else {
        return Ok((None, topic));
    };
    let (seconds, topic) = rest.split_once('/').ok_or(ReasonCode::TopicNameInvalid)?;
    let is_number = seconds.bytes().all(|byte| byte.is_ascii_digit());
    match seconds.parse::<u64>() {
        Ok(seconds)
            if is_number
                && seconds <= DELAY_S_MAX
                && !topic.is_empty()
                && !topic.starts_with(SYS_PREFIX) =>
        {
            Ok((Some(seconds * 1000), topic))
        }
        _ => Err(ReasonCode::TopicNameInvalid),
    }
}

/// Ten years.
const DELAY_S_MAX: u64 = 10 * 365 * 24 * 3600;

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

/// What an exchange can hash beside the headers.
pub(super) fn identifiers(properties: Properties<'_>) -> CoreProperties {
    let correlation = properties.iter().find_map(|property| match property {
        Property::CorrelationData(bytes) => Some(Bytes::copy_from_slice(bytes)),
        _ => None,
    });
    CoreProperties {
        correlation_id: correlation,
        ..CoreProperties::default()
    }
}

/// Adds to the ascending packet identifiers.
pub(super) fn remember(received: &mut Vec<u16>, packet_id: PacketId) {
    if let Err(at) = received.binary_search(&packet_id.get()) {
        received.insert(at, packet_id.get());
    }
}

pub(super) fn forget(received: &mut Vec<u16>, packet_id: PacketId) {
    if let Ok(at) = received.binary_search(&packet_id.get()) {
        received.remove(at);
    }
}
