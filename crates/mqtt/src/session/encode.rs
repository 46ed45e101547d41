//! From a message to the PUBLISH that this client gets.

use std::num::NonZeroU16;

use ternmq_core::id::Timestamp;
use ternmq_net::machine::Output;

use super::window::Outgoing;
use super::{Active, Live};
use crate::codec::{self, EncodeError, OutgoingPublish, TopicText};
use crate::frame::{PacketId, ProtocolVersion, QoS};
use crate::mapping;

/// A topic that the client knows by an alias.
#[derive(Debug)]
pub(crate) struct AliasedTopic {
    is_dotted: bool,
    text: Box<[u8]>,
}

impl AliasedTopic {
    fn is(&self, topic: TopicText<'_>) -> bool {
        match topic {
            TopicText::Topic(text) => !self.is_dotted && *self.text == *text,
            TopicText::Dotted(text) => self.is_dotted && *self.text == *text,
        }
    }
}

/// How a message goes to the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Terms {
    /// QoS 0 if the message or its subscriptions say so; else it needs a packet identifier, if there is one.
    New {
        /// For QoS above 0; none if there is no room in the window.
        packet_id: Option<PacketId>,
    },
    /// As it was decided before.
    Fixed {
        /// What it has.
        packet_id: PacketId,
        /// With which it goes.
        qos: QoS,
        /// Whether the client may have seen it before.
        dup: bool,
    },
}

impl Terms {
    /// QoS, packet identifier and DUP of a message that may have `qos_max`.
    fn settled(self, outgoing: &Outgoing, qos_max: QoS) -> (QoS, Option<PacketId>, bool) {
        match self {
            Self::Fixed {
                packet_id,
                qos,
                dup,
            } => (qos, Some(packet_id), dup),
            Self::New { .. } if outgoing.is_at_most_once() || qos_max == QoS::AtMostOnce => {
                (QoS::AtMostOnce, None, false)
            }
            Self::New { packet_id } => (qos_max, packet_id, outgoing.redelivered),
        }
    }
}

/// What became of an attempt to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// It is in the output, with this QoS.
    Written(QoS),
    /// It needs a packet identifier.
    Waits,
    /// It has QoS 2, and the session outlives the process: its packet identifier has to be recorded first.
    FirstRecorded,
    /// Larger than the client takes (MQTT-3.1.2-24).
    TooLarge,
    /// No topic of MQTT, or expired.
    Never,
}

impl Active<'_> {
    /// Writes a message as this client gets it.
    pub(super) fn transmit(
        &mut self,
        outgoing: &Outgoing,
        terms: Terms,
        now: Timestamp,
        out: &mut Output,
    ) -> Sent {
        let (subscriptions, is_durable) = (&self.kept.subscriptions, self.kept.is_durable());
        let grant = subscriptions.grant(&outgoing.tags);
        let Live {
            limits,
            properties,
            ids,
            aliases_out,
            counted,
            ..
        } = &mut *self.live;
        let message = &outgoing.message;
        let version = limits.version;
        let rendered = match subscriptions.queue_of(grant, &outgoing.tags) {
            Some(name) => Some(mapping::from_queue(
                (message, name),
                version,
                now,
                properties,
            )),
            None => mapping::from_core(message, version, now, properties),
        };
        let Some(rendered) = rendered else {
            return Sent::Never;
        };
        let qos_max = rendered.qos.min(grant.qos);
        let (qos, packet_id, dup) = match terms.settled(outgoing, qos_max) {
            (QoS::ExactlyOnce, ..) if is_durable && matches!(terms, Terms::New { .. }) => {
                return Sent::FirstRecorded;
            }
            (QoS::AtLeastOnce | QoS::ExactlyOnce, None, _) => return Sent::Waits,
            settled => settled,
        };
        ids.clear();
        if version.is_v5() {
            subscriptions.ids(&outgoing.tags, ids);
        }
        let alias = Alias::choose(aliases_out, limits.topic_alias_max, rendered.topic);
        let head = OutgoingPublish {
            dup,
            qos,
            retain: outgoing.retained || grant.retain_as_published && rendered.retain,
            topic: alias.topic(rendered.topic),
            packet_id,
            topic_alias: alias.number,
            message_expiry_s: rendered.message_expiry_s,
            subscription_ids: ids,
            properties: rendered.properties,
        };
        let body_len = message.body().len();
        let len = codec::publish_len(&head, version, body_len);
        if len.map_or(true, |len| len > limits.packet_bytes_max as usize)
            || write(&head, outgoing, version, out).is_err()
        {
            return Sent::TooLarge;
        }
        counted.published_to(body_len);
        if alias.number.is_some() && !alias.is_known {
            remember(aliases_out, rendered.topic);
        }
        Sent::Written(qos)
    }
}

fn write(
    head: &OutgoingPublish<'_>,
    outgoing: &Outgoing,
    version: ProtocolVersion,
    out: &mut Output,
) -> Result<(), EncodeError> {
    match outgoing.message.shared_body() {
        Some(body) => {
            codec::publish_head(out.buf(), version, head, body.len())?;
            out.put_shared(body.clone());
            Ok(())
        }
        None => codec::publish(out.buf(), version, head, outgoing.message.body()),
    }
}

/// The alias of a topic (§3.3.2.3.4): first come, first served, up to what both sides allow.
struct Alias {
    number: Option<NonZeroU16>,
    /// The client knows it already.
    is_known: bool,
}

impl Alias {
    /// The topic that goes with it: none once the client knows it.
    fn topic<'a>(&self, topic: TopicText<'a>) -> TopicText<'a> {
        if self.is_known {
            TopicText::Topic(&[])
        } else {
            topic
        }
    }

    fn choose(aliases: &[AliasedTopic], alias_max: u16, topic: TopicText<'_>) -> Self {
        if alias_max == 0 {
            return Self {
                number: None,
                is_known: false,
            };
        }
        let known = aliases.iter().position(|alias| alias.is(topic));
        let place = known.unwrap_or(aliases.len());
        let number = u16::try_from(place + 1)
            .ok()
            .filter(|number| *number <= alias_max);
        Self {
            number: number.and_then(NonZeroU16::new),
            is_known: known.is_some(),
        }
    }
}

fn remember(aliases: &mut Vec<AliasedTopic>, topic: TopicText<'_>) {
    let (is_dotted, text) = match topic {
        TopicText::Topic(text) => (false, text),
        TopicText::Dotted(text) => (true, text),
    };
    aliases.push(AliasedTopic {
        is_dotted,
        text: text.into(),
    });
}
