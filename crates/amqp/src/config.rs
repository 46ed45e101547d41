//! What an operator can set about AMQP 0.9.1.

use serde::{Deserialize, Serialize};
use ternmq_net::tls::{AltNameKind, HolderName, NameFrom};

use crate::frame::{FRAME_HARD_MAX, FRAME_MIN_SIZE};

/// Consumers that may come and go within one read, beyond [`AmqpConfig::consumers_max`]: room in the mailbox for
/// notices to consumers that are gone already.
pub(crate) const CONSUMER_CHURN_MAX: usize = 8192;

/// Settings of the AMQP 0.9.1 adapter. Unknown keys are refused.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmqpConfig {
    /// Most channels a connection may have open; 1 to 65,535. Clients may agree on fewer.
    pub channel_max: u16,
    /// Largest frame in bytes, its 8 bytes of overhead included; 4,096 to 16,777,216. Clients may agree on less.
    pub frame_max: u32,
    /// Proposed heartbeat interval in seconds; 0 proposes none. What the client answers stands.
    pub heartbeat_s: u16,
    /// By which mechanisms clients may log in, apart from ANONYMOUS.
    pub mechanisms: Vec<Mechanism>,
    /// Which part of a client's certificate names the user, for the mechanism EXTERNAL. It is offered to whoever has
    /// shown one that the listener verified.
    pub ssl_cert_login_from: NameFrom,
    /// For `subject_alternative_name`: the kind of name.
    pub ssl_cert_login_san_type: AltNameKind,
    /// For `subject_alternative_name`: which of that kind, from 0.
    pub ssl_cert_login_san_index: usize,
    /// Whether to offer the mechanism ANONYMOUS: whoever uses it is the first of the broker's users.
    pub anonymous: bool,
    /// Time from the first byte until `connection.open` is answered, in milliseconds; at least 1.
    pub handshake_timeout_ms: u64,
    /// How long to wait for `connection.close-ok`, in milliseconds; at least 1.
    pub close_timeout_ms: u64,
    /// Largest message body in bytes. A larger one closes its channel with 406.
    pub message_bytes_max: u64,
    /// Most consumers a connection may have on all its channels; 1 to 1,000,000. One more closes it with 530.
    pub consumers_max: u32,
    /// Most bytes that a channel's open transaction may hold: its publishes, the messages that will be returned, and
    /// 64 bytes or less for each acknowledgement. What goes beyond it closes the channel with 406, and nothing of the
    /// transaction happens. This memory does not count towards the node's `broker.memory_high_bytes`: a publisher that
    /// is paused could never commit. At least 1.
    pub transaction_bytes_max: u64,
}

impl Default for AmqpConfig {
    fn default() -> Self {
        Self {
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat_s: 60,
            mechanisms: vec![Mechanism::Plain, Mechanism::AmqPlain, Mechanism::External],
            ssl_cert_login_from: NameFrom::DistinguishedName,
            ssl_cert_login_san_type: AltNameKind::Dns,
            ssl_cert_login_san_index: 0,
            anonymous: false,
            handshake_timeout_ms: 10_000,
            close_timeout_ms: 5_000,
            // RabbitMQ 3 has the same, RabbitMQ 4 an eighth: clients written for either shall find room.
            message_bytes_max: 128 * 1024 * 1024,
            consumers_max: 65_536,
            transaction_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// A way to log in (SASL).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mechanism {
    /// By name and password.
    Plain,
    /// The same in a table, as clients of AMQP 0.8 do.
    AmqPlain,
    /// By the client's certificate.
    External,
}

/// A setting outside its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("amqp.{key} must be {range}")]
pub struct ConfigError {
    /// The key.
    pub key: &'static str,
    /// What it may be.
    pub range: &'static str,
}

impl AmqpConfig {
    /// Which part of a certificate names the user.
    pub(crate) const fn certificate_holder(&self) -> HolderName {
        HolderName {
            from: self.ssl_cert_login_from,
            san_type: self.ssl_cert_login_san_type,
            san_index: self.ssl_cert_login_san_index,
        }
    }

    /// Checks every range named above.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let checks = [
            (
                self.anonymous || !self.mechanisms.is_empty(),
                "mechanisms",
                "PLAIN, AMQPLAIN, EXTERNAL, or some of them",
            ),
            (self.channel_max >= 1, "channel_max", "1 to 65535"),
            (
                (FRAME_MIN_SIZE..=FRAME_HARD_MAX).contains(&self.frame_max),
                "frame_max",
                "4096 to 16777216",
            ),
            (
                self.handshake_timeout_ms >= 1,
                "handshake_timeout_ms",
                "at least 1",
            ),
            (self.close_timeout_ms >= 1, "close_timeout_ms", "at least 1"),
            (
                (1..=1_000_000).contains(&self.consumers_max),
                "consumers_max",
                "1 to 1000000",
            ),
            (
                self.transaction_bytes_max >= 1,
                "transaction_bytes_max",
                "at least 1",
            ),
        ];
        match checks.into_iter().find(|(holds, ..)| !holds) {
            Some((_, key, range)) => Err(ConfigError { key, range }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_what_the_field_expects_and_valid() {
        let config = AmqpConfig::default();
        assert_eq!(config.channel_max, 2047);
        assert_eq!(config.frame_max, 131_072);
        assert_eq!(config.heartbeat_s, 60);
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn values_outside_their_range_are_named() {
        type Change = fn(&mut AmqpConfig);
        let changes: [(&str, Change); 8] = [
            ("channel_max", |c| c.channel_max = 0),
            ("frame_max", |c| c.frame_max = 4095),
            ("frame_max", |c| c.frame_max = 16_777_217),
            ("handshake_timeout_ms", |c| c.handshake_timeout_ms = 0),
            ("close_timeout_ms", |c| c.close_timeout_ms = 0),
            ("consumers_max", |c| c.consumers_max = 0),
            ("consumers_max", |c| c.consumers_max = 1_000_001),
            ("transaction_bytes_max", |c| c.transaction_bytes_max = 0),
        ];
        for (key, change) in changes {
            let mut config = AmqpConfig::default();
            change(&mut config);
            assert_eq!(config.validate().map_err(|error| error.key), Err(key));
        }
        for frame_max in [4096, 16_777_216] {
            assert_eq!(
                AmqpConfig {
                    frame_max,
                    ..AmqpConfig::default()
                }
                .validate(),
                Ok(())
            );
        }
    }
}
