//! What others may know of a connection.

use std::sync::Arc;

use ternmq_broker::inspect::{ConnectionInfo, ConnectionState, MqttInfo, Protocol};
use ternmq_core::id::Timestamp;
use ternmq_core::value::{Headers, Value};
use ternmq_net::machine::Peer;

use super::Online;
use crate::frame::{Connect, ProtocolVersion};

/// What every MQTT client says about itself: nothing. Shared, as there are many.
pub(crate) fn client_properties() -> Arc<Headers> {
    let product = ("product".into(), Value::text("MQTT client"));
    Arc::new([product].into_iter().collect())
}

/// What was granted to a client.
pub(super) struct Granted<'a> {
    pub(super) client_id: &'a str,
    pub(super) keep_alive_s: u16,
    pub(super) session_expiry_s: u32,
}

/// As others see a connection that is let in.
pub(super) fn introduction(
    peer: &Peer,
    connect: &Connect<'_>,
    granted: &Granted<'_>,
    client_properties: &Arc<Headers>,
    now: Timestamp,
) -> ConnectionInfo {
    ConnectionInfo {
        protocol: match connect.version {
            ProtocolVersion::V31 => Protocol::Mqtt310,
            ProtocolVersion::V311 => Protocol::Mqtt311,
            ProtocolVersion::V5 => Protocol::Mqtt50,
        },
        peer: peer.addr,
        local: peer.local_addr,
        tls: peer.tls.is_some(),
        auth_mechanism: Box::default(),
        client_properties: Arc::clone(client_properties),
        frame_max: 0,
        channel_max: 0,
        timeout_s: granted.keep_alive_s,
        connected_at: now,
        mqtt: Some(Box::new(MqttInfo {
            client_id: granted.client_id.into(),
            clean_start: connect.clean_start,
            session_expiry_s: granted.session_expiry_s,
            has_will: connect.will.is_some(),
        })),
    }
}

impl Online {
    /// Lets others see what holds the connection up, if anything does.
    pub(super) fn show_state(&self) {
        let state = if self.is_blocked && self.has_published {
            ConnectionState::Blocked
        } else if self.is_blocked {
            ConnectionState::Blocking
        } else if self.owes_much {
            ConnectionState::Flow
        } else {
            ConnectionState::Running
        };
        self.stats.set_state(state);
    }
}
