//! What others may know of a connection.

use std::sync::Arc;

use ternmq_broker::Client;
use ternmq_broker::inspect::{
    ConnectionInfo, ConnectionState, ConnectionStats, MqttInfo, Protocol,
};
use ternmq_core::id::Timestamp;
use ternmq_core::value::{Headers, Value};

use super::{Connection, Online};
use crate::frame::{Connect, ProtocolVersion};

/// What every MQTT client says about itself: nothing. Shared, as there are many.
pub(crate) fn client_properties() -> Arc<Headers> {
    let product = ("product".into(), Value::text("MQTT client"));
    Arc::new([product].into_iter().collect())
}

impl Connection {
    /// Makes a connection known that is about to be let in: with that client identifier and that many seconds of keep
    /// alive and of session expiry.
    pub(super) fn introduce(
        &self,
        client: &mut Client,
        connect: &Connect<'_>,
        (client_id, keep_alive_s, session_expiry_s): (&str, u16, u32),
        now: Timestamp,
    ) -> Arc<ConnectionStats> {
        client.introduce(ConnectionInfo {
            protocol: match connect.version {
                ProtocolVersion::V31 => Protocol::Mqtt310,
                ProtocolVersion::V311 => Protocol::Mqtt311,
                ProtocolVersion::V5 => Protocol::Mqtt50,
            },
            peer: self.peer.addr,
            local: self.peer.local_addr,
            tls: self.peer.tls_info(),
            auth_mechanism: Box::default(),
            client_properties: Arc::clone(&self.node.client_properties),
            frame_max: 0,
            channel_max: 0,
            timeout_s: keep_alive_s,
            connected_at: now,
            mqtt: Some(Box::new(MqttInfo {
                client_id: client_id.into(),
                clean_start: connect.clean_start,
                session_expiry_s,
                has_will: connect.will.is_some(),
            })),
        })
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
