//! Whom a login is about, and which vhost it leads to.
//!
//! As RabbitMQ has it: with a client certificate its name decides, then the port; else the part of the user name before
//! its last colon, then the port; and where none of them says anything, the configured vhost.

use serde_json::Value;
use ternmq_broker::Broker;
use ternmq_net::machine::Peer;

use crate::config::MqttConfig;

/// RabbitMQ's names of the parameters.
const PORTS_PARAMETER: &str = "mqtt_port_to_vhost_mapping";
const USERS_PARAMETER: &str = "mqtt_default_vhosts";

/// A user, and the vhost to work in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Account {
    pub(crate) vhost: Box<str>,
    pub(crate) user: Box<str>,
}

/// What decides about vhosts that clients do not name.
pub(crate) struct VhostRules<'a> {
    config: &'a MqttConfig,
    /// What operators have set while the node runs, before the configuration: by port and by the name of a certificate.
    ports: Parameter,
    users: Parameter,
}

/// A parameter of the node, an object in JSON: vhosts by what leads to them.
#[derive(Default)]
struct Parameter(Option<Box<str>>);

impl Parameter {
    /// What it says; nothing if it is something else.
    fn vhost_of(&self, key: &str) -> Option<Box<str>> {
        let text = self.0.as_deref()?;
        let mapped: Value = serde_json::from_str(text).ok()?;
        mapped.get(key)?.as_str().map(Into::into)
    }
}

impl<'a> VhostRules<'a> {
    /// As they are now.
    pub(crate) fn of(config: &'a MqttConfig, broker: &Broker) -> Self {
        let parameter = |name| Parameter(broker.admin().global_parameter(name));
        Self {
            config,
            ports: parameter(PORTS_PARAMETER),
            users: parameter(USERS_PARAMETER),
        }
    }

    /// The vhost of a certificate's user.
    fn of_certificate(&self, name: &str) -> Option<Box<str>> {
        self.users.vhost_of(name).or_else(|| {
            let mut mapped = self.config.certificate_vhosts.iter();
            let mapped = mapped.find(|mapped| *mapped.user == *name)?;
            Some(mapped.vhost.as_str().into())
        })
    }

    /// The vhost of the port that the client connected to, or else the one for all.
    fn of_port(&self, peer: &Peer) -> Box<str> {
        let port = peer.local_addr.port();
        self.ports.vhost_of(&port.to_string()).unwrap_or_else(|| {
            let mut mapped = self.config.port_vhosts.iter();
            let mapped = mapped.find(|mapped| mapped.port == port);
            mapped
                .map_or(&self.config.vhost, |mapped| &mapped.vhost)
                .as_str()
                .into()
        })
    }
}

impl Account {
    /// Of a name that came with a password, or a proof of one.
    pub(crate) fn of(name: &str, peer: &Peer, rules: &VhostRules<'_>) -> Self {
        let split = if rules.config.ignore_colons_in_username {
            None
        } else {
            name.rsplit_once(':')
        };
        let (vhost, user) = match split {
            Some((vhost, user)) => (vhost.into(), user),
            None => (rules.of_port(peer), name),
        };
        Self {
            vhost,
            user: user.into(),
        }
    }

    /// Of a client certificate.
    pub(crate) fn of_certificate(name: &str, peer: &Peer, rules: &VhostRules<'_>) -> Self {
        let mapped = rules.of_certificate(name);
        Self {
            vhost: mapped.unwrap_or_else(|| rules.of_port(peer)),
            user: name.into(),
        }
    }

    /// Of a client that names nobody.
    pub(crate) fn anonymous(user: &str, peer: &Peer, rules: &VhostRules<'_>) -> Self {
        Self {
            vhost: rules.of_port(peer),
            user: user.into(),
        }
    }
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

    fn rules(config: &MqttConfig) -> VhostRules<'_> {
        VhostRules {
            config,
            ports: Parameter::default(),
            users: Parameter::default(),
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
        let of = |name: &str, config: &MqttConfig| Account::of(name, &peer(), &rules(config));
        assert_eq!(of("named:u", &config), account("named", "u"));
        assert_eq!(of("a:b:u", &config), account("a:b", "u"));
        assert_eq!(of("u", &config), account("port", "u"));
        assert_eq!(of("u", &MqttConfig::default()), account("/", "u"));
        let anonymous = Account::anonymous("guest", &peer(), &rules(&config));
        assert_eq!(anonymous, account("port", "guest"));
    }

    #[test]
    fn colons_may_be_part_of_user_names() {
        let config = MqttConfig {
            ignore_colons_in_username: true,
            ..config()
        };
        let of = Account::of("named:u", &peer(), &rules(&config));
        assert_eq!(of, account("port", "named:u"));
    }

    #[test]
    fn certificate_comes_before_the_port() {
        let of = |name: &str| Account::of_certificate(name, &peer(), &rules(&config()));
        assert_eq!(of("CN=lamp"), account("certificate", "CN=lamp"));
        assert_eq!(of("CN=a:b"), account("port", "CN=a:b"));
    }

    #[test]
    fn parameters_come_before_the_configuration_for_what_they_name() {
        let config = config();
        let rules = VhostRules {
            ports: Parameter(Some(r#"{"1884": "set", "1885": 7}"#.into())),
            users: Parameter(Some(r#"{"CN=a:b": "own"}"#.into())),
            ..rules(&config)
        };
        assert_eq!(Account::of("u", &peer(), &rules), account("set", "u"));
        let of = |name: &str| Account::of_certificate(name, &peer(), &rules);
        assert_eq!(of("CN=a:b"), account("own", "CN=a:b"));
        assert_eq!(of("CN=lamp"), account("certificate", "CN=lamp"));
        assert_eq!(of("CN=other"), account("set", "CN=other"));
    }

    #[test]
    fn parameters_that_are_something_else_say_nothing() {
        let config = config();
        for text in ["7", "[]", r#"{"1884": 7}"#, "broken", r#"{"1883": "x"}"#] {
            let rules = VhostRules {
                ports: Parameter(Some(text.into())),
                ..rules(&config)
            };
            let of = Account::of("u", &peer(), &rules);
            assert_eq!(of, account("port", "u"), "{text}");
        }
    }
}
