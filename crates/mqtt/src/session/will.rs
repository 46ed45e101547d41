//! The will: what the server publishes in the client's name when the connection ends badly (§3.1.2.5).

use ternmq_broker::Retain;
use ternmq_core::id::Timestamp;
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;

use super::{Active, Live, publish};
use crate::frame::{self, QoS};
use crate::mapping;
use crate::properties::{Properties, Property};

/// A will, kept from CONNECT to the end of the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Will {
    qos: QoS,
    retain: bool,
    topic: Box<str>,
    payload: Box<[u8]>,
    properties: Box<[u8]>,
    delay_s: u32,
}

impl Will {
    /// The will of a CONNECT.
    pub(crate) fn new(will: &frame::Will<'_>) -> Self {
        let delay = will.properties.iter().find_map(|property| match property {
            Property::WillDelayInterval(seconds) => Some(seconds),
            _ => None,
        });
        Self {
            qos: will.qos,
            retain: will.retain,
            topic: will.topic.into(),
            payload: will.payload.into(),
            properties: will.properties.as_bytes().into(),
            delay_s: delay.unwrap_or(0),
        }
    }

    fn as_frame(&self) -> frame::Will<'_> {
        frame::Will {
            qos: self.qos,
            retain: self.retain,
            topic: &self.topic,
            payload: &self.payload,
            properties: Properties::from_validated(&self.properties),
        }
    }
}

impl Active<'_> {
    /// The connection ends: publishes the will, now or after its delay, which the end of the session cuts short
    /// (MQTT-3.1.3-9). Refusals are silent: there is nobody to tell.
    pub(super) fn execute_will(&mut self, now: Timestamp) {
        let Some(will) = self.live.will.take() else {
            return;
        };
        let identity = self.identity;
        let exchange = identity.node.config.exchange.as_bytes();
        let Live {
            client,
            turn,
            native,
            ..
        } = &mut *self.live;
        // The publisher's rights are those at publication.
        let request = RouteRequest {
            exchange,
            routing_key: will.topic.as_bytes(),
            key_syntax: KeySyntax::Slashed,
            extra_keys: &[],
            headers: &|| publish::headers(properties(&will)),
            properties: &|| publish::identifiers(properties(&will)),
            publisher: Some(identity.publisher),
            from_client: true,
        };
        let Ok(route) = client.route(&request) else {
            return;
        };
        let origin = identity.origin(now);
        let message =
            mapping::will_to_core(&will.as_frame(), origin, native).build(client.scratch());
        let delay_s = will.delay_s.min(self.kept.expiry_s);
        if delay_s > 0 {
            let at = now.plus_ms(u64::from(delay_s) * 1000);
            let retain = if will.retain { Retain::Yes } else { Retain::No };
            match client.schedule(at, message, retain) {
                Ok((id, _)) => self.kept.scheduled_will = Some(id),
                Err(refusal) => {
                    tracing::warn!(%refusal, client_id = &*identity.client_id, "will dropped");
                }
            }
            return;
        }
        if !route.is_empty() {
            turn.push(message.clone(), route);
            client.publish(turn, now);
        }
        if will.retain {
            let kept = Some(message).filter(|message| !message.body().is_empty());
            if let Err(refusal) = client.retain(will.topic.as_bytes(), kept) {
                tracing::warn!(%refusal, client_id = &*identity.client_id, "will not retained");
            }
        }
    }
}

fn properties(will: &Will) -> Properties<'_> {
    Properties::from_validated(&will.properties)
}
