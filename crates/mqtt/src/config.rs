//! What can be configured, with units, limits and defaults.

use serde::{Deserialize, Serialize};
use ternmq_net::tls::{AltNameKind, ClientCertificate, HolderName, NameFrom};

/// Settings of the MQTT adapter, from the section `[mqtt]` of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MqttConfig {
    /// Whether clients without user name and password are let in, as the broker's default user.
    pub anonymous: bool,
    /// Vhost of clients whose user name does not name one (`vhost:user`).
    pub vhost: String,
    /// Vhosts of clients whose user name does not name one, by the port they connected to.
    pub port_vhosts: Vec<PortVhost>,
    /// Vhosts of clients that log in with a certificate, by the name that it gives them. Before their port.
    pub certificate_vhosts: Vec<CertificateVhost>,
    /// Whether a colon in a user name is a part of it, rather than the end of a vhost's name.
    pub ignore_colons_in_username: bool,
    /// Whether a client that gives neither user name nor password, and has shown a certificate, is the user that the
    /// certificate names.
    pub ssl_cert_login: bool,
    /// Which part of the certificate names the user.
    pub ssl_cert_login_from: NameFrom,
    /// Which part of the certificate names the client, if it has to: a client identifier other than that is refused,
    /// and an empty one stands for it.
    pub ssl_cert_client_id_from: Option<NameFrom>,
    /// Where one of the certificate's other names is meant: of this kind,
    pub ssl_cert_san_type: AltNameKind,
    /// and the one with so many of that kind before it.
    pub ssl_cert_san_index: usize,
    /// Whether a client that publishes where it may not loses its connection. If not, an MQTT 5 client is told in the
    /// acknowledgement, if there is one; MQTT 3 has no words for it, so such a connection ends in any case.
    pub disconnect_on_unauthorized: bool,
    /// Exchange that clients publish to and subscribe from; at most 255 bytes. A topic exchange.
    pub exchange: String,
    /// Largest packet taken from a client, fixed header included, in bytes; at most 268,435,460.
    pub packet_bytes_max: u32,
    /// Largest packet taken before the client is logged in, in bytes.
    pub packet_bytes_max_before_login: u32,
    /// Milliseconds a client has for its CONNECT.
    pub connect_timeout_ms: u64,
    /// Longest keep alive in seconds; 0 puts no limit. A client that asks for more, or for none, is told this one
    /// (MQTT 5), and it is enforced.
    pub keep_alive_s_max: u16,
    /// Unacknowledged QoS 1 and 2 messages on their way to a client; at most 4096. Its own receive maximum may lower
    /// it.
    pub in_flight_max: u16,
    /// QoS 0 messages that wait for a connected client; more are dropped.
    pub qos0_backlog_max: u32,
    /// Bytes of payload in them; while there are so many, more are dropped.
    pub qos0_backlog_bytes_max: u64,
    /// Messages that may wait in the queue of a session, or of a group that shares a subscription; the oldest are
    /// dropped beyond it, QoS 0 first. 0 for no limit: then a client that never reads can fill the disk.
    pub session_backlog_max: u32,
    /// The same in bytes of payload.
    pub session_backlog_bytes_max: Option<u64>,
    /// QoS 1 and 2 messages taken from an MQTT 5 client and not yet acknowledged to it; one more ends its connection.
    /// MQTT 3 knows no such limit, so it is not applied there.
    pub receive_max: u16,
    /// Longest session expiry interval in seconds; longer ones are cut to it. An MQTT 3 session that is not clean
    /// has this one.
    pub session_expiry_s_max: u32,
    /// Subscriptions of one session.
    pub subscriptions_max: u32,
    /// Levels of a topic name or filter. The codec's own limit stands above it.
    pub topic_levels_max: u16,
    /// Highest topic alias taken from a client; 0 for none. The broker itself uses as many towards a client, or as
    /// many as that client takes, whichever is less.
    pub topic_alias_max: u16,
    /// Where messages go that die in sessions' queues: expired, or refused by an MQTT 5 client. Default: nowhere.
    pub dead_letter_exchange: Option<String>,
    /// Seconds between two publications of the `$SYS` topics; 0 for never.
    pub sys_interval_s: u32,
    /// Retained messages sent for one SUBSCRIBE, and that wait for one client at most.
    pub retained_per_subscribe_max: u32,
}

/// One of [`MqttConfig::port_vhosts`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PortVhost {
    /// The listener's port.
    pub port: u16,
    /// The vhost.
    pub vhost: String,
}

/// One of [`MqttConfig::certificate_vhosts`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateVhost {
    /// The user name that the certificate stands for.
    pub user: String,
    /// The vhost.
    pub vhost: String,
}

impl Default for MqttConfig {
    fn default() -> Self {
        Self {
            anonymous: false,
            vhost: "/".into(),
            port_vhosts: Vec::new(),
            certificate_vhosts: Vec::new(),
            ignore_colons_in_username: false,
            ssl_cert_login: false,
            ssl_cert_login_from: NameFrom::DistinguishedName,
            ssl_cert_client_id_from: None,
            ssl_cert_san_type: AltNameKind::Dns,
            ssl_cert_san_index: 0,
            disconnect_on_unauthorized: true,
            exchange: "amq.topic".into(),
            packet_bytes_max: 16 * 1024 * 1024,
            packet_bytes_max_before_login: 64 * 1024,
            connect_timeout_ms: 10_000,
            keep_alive_s_max: 0,
            in_flight_max: 64,
            qos0_backlog_max: 50_000,
            qos0_backlog_bytes_max: 64 * 1024 * 1024,
            session_backlog_max: 1_000_000,
            session_backlog_bytes_max: None,
            receive_max: 4096,
            session_expiry_s_max: 86_400,
            subscriptions_max: 10_000,
            topic_levels_max: 200,
            topic_alias_max: 16,
            sys_interval_s: 10,
            retained_per_subscribe_max: 1_000_000,
            dead_letter_exchange: None,
        }
    }
}

impl MqttConfig {
    /// What a part of a certificate says.
    pub(crate) fn named(&self, from: NameFrom, certificate: &ClientCertificate) -> Option<String> {
        let name = HolderName {
            from,
            san_type: self.ssl_cert_san_type,
            san_index: self.ssl_cert_san_index,
        };
        name.of(certificate)
    }

    /// The same with every number inside the range that the protocol and the adapter can work with.
    #[must_use]
    pub fn clamped(mut self) -> Self {
        self.packet_bytes_max = self
            .packet_bytes_max
            .clamp(PACKET_BYTES_MAX_LEAST, PACKET_BYTES_MAX_MOST);
        self.packet_bytes_max_before_login = self
            .packet_bytes_max_before_login
            .clamp(PACKET_BYTES_MAX_LEAST, self.packet_bytes_max);
        self.in_flight_max = self.in_flight_max.clamp(1, IN_FLIGHT_MAX_MOST);
        self.receive_max = self.receive_max.max(1);
        self.topic_levels_max = self.topic_levels_max.max(1);
        self
    }
}

/// The window is searched one by one.
const IN_FLIGHT_MAX_MOST: u16 = 4096;
/// Below this no login would fit.
const PACKET_BYTES_MAX_LEAST: u32 = 1024;
/// What the protocol can express: a remaining length of 268,435,455 and five bytes in front.
const PACKET_BYTES_MAX_MOST: u32 = 268_435_460;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_nothing_can_work_with_are_moved_into_range() {
        let config = MqttConfig {
            packet_bytes_max: u32::MAX,
            packet_bytes_max_before_login: 0,
            in_flight_max: 0,
            receive_max: 0,
            topic_levels_max: 0,
            ..MqttConfig::default()
        }
        .clamped();
        assert_eq!(config.packet_bytes_max, 268_435_460);
        assert_eq!(config.packet_bytes_max_before_login, 1024);
        assert_eq!(
            (
                config.in_flight_max,
                config.receive_max,
                config.topic_levels_max
            ),
            (1, 1, 1)
        );
        let config = MqttConfig {
            in_flight_max: u16::MAX,
            ..MqttConfig::default()
        };
        assert_eq!(config.clamped().in_flight_max, 4096);
    }
}
