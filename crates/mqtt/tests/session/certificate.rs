//! Logins by client certificate.

use ternmq_broker::{BrokerConfig, UserConfig};
use ternmq_mqtt::MqttConfig;
use ternmq_mqtt::config::CertificateVhost;
use ternmq_net::tls::{AltNameKind, ClientCertificate, NameFrom, SubjectAltName};

use crate::harness::{Hello, Post, V5, V311, World};
use crate::log::TestLog;

pub(crate) fn certificate(name: &str) -> ClientCertificate {
    ClientCertificate {
        subject: format!("CN={name},O=example"),
        issuer: "CN=authority".into(),
        validity: "2026-01-01T00:00:00Z - 2027-01-01T00:00:00Z".into(),
        common_name: Some(name.into()),
        alt_names: vec![SubjectAltName::Dns(format!("{name}.example"))],
    }
}

fn world(config: MqttConfig) -> World {
    let user = |name: &str| UserConfig {
        name: name.into(),
        password: "p".into(),
        ..UserConfig::default()
    };
    let broker = BrokerConfig {
        vhosts: vec!["/".into(), "other".into()],
        users: vec![user("guest"), user("lamp"), user("CN=lamp,O=example")],
        ..BrokerConfig::default()
    };
    World::on(config, &broker, TestLog::new())
}

fn by_common_name() -> MqttConfig {
    MqttConfig {
        ssl_cert_login: true,
        ssl_cert_login_from: NameFrom::CommonName,
        ..MqttConfig::default()
    }
}

#[test]
fn certificate_names_the_user_where_that_is_configured() {
    let greet = |config: MqttConfig, name: &str, hello: &Hello<'_>| {
        let world = world(config);
        world.dial_with(certificate(name)).greet(hello)
    };
    let hello = Hello::new("a");
    let by_subject = MqttConfig {
        ssl_cert_login: true,
        ..MqttConfig::default()
    };
    assert_eq!(greet(by_subject.clone(), "lamp", &hello), ["CONNACK 00"]);
    assert_eq!(greet(by_common_name(), "lamp", &hello), ["CONNACK 00"]);
    assert_eq!(greet(by_common_name(), "nobody", &hello), ["CONNACK 86"]);
    assert_eq!(greet(MqttConfig::default(), "lamp", &hello), ["CONNACK 86"]);
    let by_uri = MqttConfig {
        ssl_cert_login_from: NameFrom::SubjectAlternativeName,
        ssl_cert_san_type: AltNameKind::Uri,
        ..by_subject
    };
    assert_eq!(greet(by_uri, "lamp", &hello), ["CONNACK 86"], "it has none");
    let wrong = Hello::new("a").login("guest", b"wrong");
    assert_eq!(greet(by_common_name(), "lamp", &wrong), ["CONNACK 86"]);
    let right = Hello::new("a").login("guest", b"p");
    assert_eq!(greet(by_common_name(), "nobody", &right), ["CONNACK 00"]);
    // Who shows none has to say who it is.
    let world = world(by_common_name());
    assert_eq!(world.dial().greet(&hello), ["CONNACK 86"]);
}

#[test]
fn certificate_may_name_the_vhost() {
    let config = MqttConfig {
        certificate_vhosts: vec![CertificateVhost {
            user: "lamp".into(),
            vhost: "other".into(),
        }],
        ..by_common_name()
    };
    let world = world(config);
    let mut there = world.dial_with(certificate("lamp"));
    assert_eq!(there.greet(&Hello::new("a")), ["CONNACK 00"]);
    there.subscribe("t", 0);
    let guest = |name| Hello::new("g").login(name, b"p");
    world.connect(&guest("guest")).publish(&Post::new("t", "x"));
    assert!(there.recv().is_empty());
    world
        .connect(&guest("other:guest"))
        .publish(&Post::new("t", "x"));
    assert_eq!(there.recv(), ["PUBLISH t=x q0"]);
}

#[test]
fn certificate_may_name_the_client() {
    let config = MqttConfig {
        ssl_cert_client_id_from: Some(NameFrom::SubjectAlternativeName),
        ..by_common_name()
    };
    let world = world(config);
    let greet = |hello: &Hello<'_>| world.dial_with(certificate("lamp")).greet(hello);
    assert_eq!(greet(&Hello::new("lamp.example")), ["CONNACK 00"]);
    assert_eq!(greet(&Hello::new("other")), ["CONNACK 85"]);
    let other = Hello::new("other").version(V311);
    assert_eq!(greet(&other), ["CONNACK 02"]);
    let assigned = greet(&Hello::new(""));
    assert_eq!(
        assigned,
        [r#"CONNACK 00 AssignedClientIdentifier("lamp.example")"#]
    );
    // Without a certificate there is nothing to compare with.
    for version in [V5, V311] {
        let hello = Hello::new("b").version(version).login("guest", b"p");
        assert_eq!(world.dial().greet(&hello), ["CONNACK 00"]);
    }
}
