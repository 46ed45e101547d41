//! Whom a login is about, and which vhost it leads to.
//!
//! As RabbitMQ has it: with a client certificate its name decides, then the port; else the part of the user name before
//! its last colon, then the port; and where none of them says anything, the configured vhost.

use ternmq_net::machine::Peer;

use crate::config::MqttConfig;

/// A user, and the vhost to work in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Account {
    pub(crate) vhost: Box<str>,
    pub(crate) user: Box<str>,
}

impl Account {
    /// Of a name that came with a password, or a proof of one.
    pub(crate) fn of(name: &str, peer: &Peer, config: &MqttConfig) -> Self {
        let split = if config.ignore_colons_in_username {
            None
        } else {
            name.rsplit_once(':')
        };
        let (vhost, user) = match split {
            Some((vhost, user)) => (vhost, user),
            None => (of_port(peer, config), name),
        };
        Self {
            vhost: vhost.into(),
            user: user.into(),
        }
    }

    /// Of a client certificate.
    pub(crate) fn of_certificate(name: &str, peer: &Peer, config: &MqttConfig) -> Self {
        let mapped = config
            .certificate_vhosts
            .iter()
            .find(|mapped| *mapped.user == *name);
        let vhost = mapped.map_or_else(|| of_port(peer, config), |mapped| &mapped.vhost);
        Self {
            vhost: vhost.into(),
            user: name.into(),
        }
    }

    /// Of a client that names nobody.
    pub(crate) fn anonymous(user: &str, peer: &Peer, config: &MqttConfig) -> Self {
        Self {
            vhost: of_port(peer, config).into(),
            user: user.into(),
        }
    }
}

/// The vhost of the port that the client connected to.
fn of_port<'a>(peer: &Peer, config: &'a MqttConfig) -> &'a str {
    let port = peer.local_addr.port();
    let mapped = config.port_vhosts.iter().find(|mapped| mapped.port == port);
    mapped.map_or(&config.vhost, |mapped| &mapped.vhost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CertificateVhost, PortVhost};

    fn peer() -> Peer {
        Peer::tcp(
            ([127, 0, 0, 1], 50_000).into(),
            ([127, 0, 0, 1], 1884).into(),
        )
    }

    fn config() -> MqttConfig {
        MqttConfig {
            port_vhosts: vec![PortVhost {
                port: 1884,
                vhost: "port".into(),
            }],
            certificate_vhosts: vec![CertificateVhost {
                user: "CN=lamp".into(),
                vhost: "certificate".into(),
            }],
            ..MqttConfig::default()
        }
    }

    fn account(vhost: &str, user: &str) -> Account {
        Account {
            vhost: vhost.into(),
            user: user.into(),
        }
    }

    #[test]
    fn user_name_comes_before_the_port_and_that_before_the_default() {
        let config = config();
        let of = |name: &str, config: &MqttConfig| Account::of(name, &peer(), config);
        assert_eq!(of("named:u", &config), account("named", "u"));
        assert_eq!(of("a:b:u", &config), account("a:b", "u"));
        assert_eq!(of("u", &config), account("port", "u"));
        assert_eq!(of("u", &MqttConfig::default()), account("/", "u"));
        let anonymous = Account::anonymous("guest", &peer(), &config);
        assert_eq!(anonymous, account("port", "guest"));
    }

    #[test]
    fn colons_may_be_part_of_user_names() {
        let config = MqttConfig {
            ignore_colons_in_username: true,
            ..config()
        };
        let of = Account::of("named:u", &peer(), &config);
        assert_eq!(of, account("port", "named:u"));
    }

    #[test]
    fn certificate_comes_before_the_port() {
        let of = |name: &str| Account::of_certificate(name, &peer(), &config());
        assert_eq!(of("CN=lamp"), account("certificate", "CN=lamp"));
        assert_eq!(of("CN=a:b"), account("port", "CN=a:b"));
    }
}
