//! The real binary over TLS, WebSocket and behind a proxy, and what changes while it runs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod support;

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use support::amqp::{declare, get, open, send};
use support::http::get as get_json;
use support::mqtt::{BOTH, Device, Version};
use support::raw::{AMQP_HEADER, Raw, method, start_ok};
use support::secure::{Around, Authority, handshake, relay, write_identity};
use support::{Ternmq, command, soon, write_config};
use tempfile::{TempDir, tempdir};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A broker with a certificate, and who issued it.
struct Secure {
    broker: Ternmq,
    authority: Authority,
    directory: TempDir,
}

impl Secure {
    /// Starts with this in the configuration too.
    fn start(more: &str) -> Self {
        let directory = tempdir().unwrap();
        let authority = Authority::new("authority");
        let [certificate, key] = write_identity(directory.path(), &authority.issue("first"));
        let authorities = directory.path().join("ca.pem");
        fs::write(&authorities, &authority.pem).unwrap();
        let config = format!(
            "[tls]\ncertfile = {:?}\nkeyfile = {:?}\ncacertfile = {:?}\n{more}",
            certificate.to_str().unwrap(),
            key.to_str().unwrap(),
            authorities.to_str().unwrap()
        );
        let path = write_config(directory.path(), &config);
        let broker = Ternmq::start(&["--config", path.to_str().unwrap()]);
        Self {
            broker,
            authority,
            directory,
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

#[tokio::test]
async fn amqp_clients_work_over_tls() {
    let mut secure = Secure::start("");
    let around = Around::Tls(secure.authority.client(None));
    secure.broker.amqp = relay(secure.broker.addresses["amqp/ssl"], around).await;
    let (_connection, channel) = open(&secure.broker).await;
    declare(&channel, "q", lapin::types::FieldTable::default()).await;
    let large = vec![7; 3_000_000];
    for body in [b"small".as_slice(), &large] {
        send(&channel, "q", body).await;
        assert_eq!(get(&channel, "q").await.unwrap().data, body);
    }
}

#[tokio::test]
async fn a_session_is_the_same_by_whatever_way_its_client_comes() {
    let mut secure = Secure::start("");
    let client = || secure.authority.client(None);
    let at = |name: &str| secure.broker.addresses[name];
    let ways = [
        at("mqtt"),
        relay(at("mqtt/ssl"), Around::Tls(client())).await,
        relay(at("http/web-mqtt"), Around::WebSocket).await,
        relay(at("https/web-mqtt"), Around::Both(client())).await,
    ];
    for version in BOTH {
        let mut publisher = Device::connect(&secure.broker, version, "publisher").await;
        for (n, way) in ways.iter().enumerate() {
            secure.broker.mqtt = *way;
            let mut device =
                support::mqtt::Options::new(&secure.broker, version, &format!("{version:?}"))
                    .persistent()
                    .connect()
                    .await;
            if n == 0 {
                device.subscribe("a/+", 1).await;
            } else {
                assert_eq!(device.next().await.payload, b"while it was away");
            }
            for payload in [vec![1], vec![2; 300_000]] {
                publisher.publish("a/b", 1, &payload).await;
                assert_eq!(device.next().await.payload, payload);
                // And back.
                device.publish("a/b", 2, b"own").await;
                assert_eq!(device.next().await.payload, b"own");
            }
            device.disconnect().await;
            publisher.publish("a/b", 1, b"while it was away").await;
        }
        secure.broker.mqtt = ways[0];
    }
}

#[tokio::test]
async fn cookies_that_are_set_over_tls_stay_there() {
    let secure = Secure::start("");
    let addresses = &secure.broker.addresses;
    let client = secure.authority.client(None);
    let tls = relay(addresses["https"], Around::Tls(client)).await;
    for (addr, is_secure) in [(addresses["http"], false), (tls, true)] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let form = "username=guest&password=guest";
        let length = form.len();
        let request = format!(
            "POST /api/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{form}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        let cookie = answer.lines().find(|line| line.contains("auth="));
        let cookie = cookie.unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(cookie.ends_with("; Secure"), is_secure, "{cookie}");
    }
}

#[tokio::test]
async fn certificates_change_while_connections_live() {
    let mut secure = Secure::start("");
    let addr = secure.broker.addresses["amqp/ssl"];
    let old = secure.authority.client(None);
    secure.broker.amqp = relay(addr, Around::Tls(old.clone())).await;
    let (_connection, channel) = open(&secure.broker).await;
    declare(&channel, "q", lapin::types::FieldTable::default()).await;

    for round in ["a signal", "a look at the files"] {
        let other = Authority::new(round);
        write_identity(secure.path(), &other.issue("new"));
        if round == "a signal" {
            secure.broker.signal(Signal::HUP);
        }
        // Every protocol with TLS has a line of its own.
        let amqp = "certificates read again, for new connections section=\"amqp\"";
        secure.broker.wait_for_log(amqp);
        assert!(soon(handshake(addr, &old)).await.is_err(), "{round}");
        soon(handshake(addr, &other.client(None))).await.unwrap();
        send(&channel, "q", b"m").await;
        assert_eq!(get(&channel, "q").await.unwrap().data, b"m");
    }
    fs::write(secure.path().join("server.pem"), "broken").unwrap();
    secure
        .broker
        .wait_for_log("cannot be used, the old ones stay");
    send(&channel, "q", b"still there").await;
}

#[tokio::test]
async fn clients_without_a_certificate_are_turned_away_where_one_is_required() {
    let mut secure = Secure::start("verify = \"peer\"\nfail_if_no_peer_cert = true\n");
    let addr = secure.broker.addresses["amqp/ssl"];
    let known = secure.authority.issue("client");
    let known = secure.authority.client(Some(&known));
    secure.broker.amqp = relay(addr, Around::Tls(known)).await;
    drop(open(&secure.broker).await);
    // TLS 1.3 tells the client when it reads.
    if let Ok(mut stream) = soon(handshake(addr, &secure.authority.client(None))).await {
        use tokio::io::AsyncReadExt;
        assert!(soon(stream.read(&mut [0; 1])).await.is_err());
    }
    let line = secure.broker.wait_for_log("TLS handshake");
    assert!(line.contains("peer="), "{line}");
}

#[tokio::test]
async fn certificate_is_a_login() {
    let secure =
        Secure::start("verify = \"peer\"\n[amqp]\nssl_cert_login_from = \"common_name\"\n");
    let addr = secure.broker.addresses["amqp/ssl"];
    for (name, is_let_in) in [("guest", true), ("nobody", false)] {
        let identity = secure.authority.issue(name);
        let client = secure.authority.client(Some(&identity));
        let way = relay(addr, Around::Tls(client)).await;
        let uri = format!("amqp://{way}/%2f?auth_mechanism=external");
        let properties = lapin::ConnectionProperties::default();
        let connected = soon(lapin::Connection::connect(&uri, properties)).await;
        assert_eq!(connected.is_ok(), is_let_in, "{name}");
        if is_let_in {
            let shown = &get_json(secure.broker.management, "/connections")[0];
            assert_eq!(shown["ssl"], true);
            assert_eq!(shown["peer_cert_subject"], "CN=guest");
            assert_eq!(shown["peer_cert_issuer"], "CN=authority");
            assert_eq!(shown["ssl_protocol"], "tlsv1.3");
            assert_eq!(shown["ssl_hash"], "aead");
            for field in ["ssl_cipher", "ssl_key_exchange", "peer_cert_validity"] {
                assert!(shown[field].is_string(), "{field}");
            }
        }
    }
}

#[test]
fn guest_comes_from_where_the_proxy_says() {
    let broker = Ternmq::start_with_config("[amqp]\nproxy_protocol = true\n", &[]);
    for (header, is_let_in) in [
        ("PROXY TCP4 127.0.0.1 127.0.0.1 40000 5672\r\n", true),
        ("PROXY TCP4 192.0.2.1 127.0.0.1 40000 5672\r\n", false),
    ] {
        let mut raw = Raw::connect(broker.amqp);
        raw.send(header.as_bytes());
        raw.send(AMQP_HEADER);
        assert_eq!(raw.frame().method(), (10, 10), "connection.start");
        raw.send(&method(0, 10, 11, &start_ok()));
        if is_let_in {
            raw.expect(10, 30);
        } else {
            let is_tune = |bytes: &[u8]| bytes == [0, 10, 0, 30];
            assert!(!raw.rest().windows(4).any(is_tune));
        }
    }
}

#[test]
fn changed_configuration_is_read_at_a_signal() {
    let directory = tempdir().unwrap();
    let path = write_config(directory.path(), "[log]\nlevel = \"info\"\n");
    let mut broker = Ternmq::start(&["--config", path.to_str().unwrap()]);
    write_config(
        directory.path(),
        "[log]\nlevel = \"debug\"\n[limits]\nconnections_max = 77\n[amqp]\nheartbeat_s = 9\n",
    );
    broker.signal(Signal::HUP);
    let line = broker.wait_for_log("need a restart");
    assert!(
        line.contains("amqp.heartbeat_s") && !line.contains("log.level"),
        "{line}"
    );
    let line = broker.wait_for_log("configuration read again");
    assert!(line.contains("limits.connections_max, log.level"), "{line}");
    drop(Raw::connect(broker.amqp));
    broker.wait_for_log("DEBUG");

    write_config(directory.path(), "[log]\nlevle = \"info\"\n");
    broker.signal(Signal::HUP);
    let line = broker.wait_for_log("the old one stays");
    assert!(line.contains("did you mean `log.level`"), "{line}");
    assert!(broker.terminate().success());
}

fn config_command(config: &str, name: &str, arguments: &[&str]) -> (bool, String) {
    let directory = tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, config).unwrap();
    let mut command = command();
    command.arg("--config").arg(&path).args(arguments);
    command.env("TERNMQ_AMQP__HEARTBEAT_S", "33");
    let output = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn configuration_can_be_checked_and_printed() {
    let (is_good, text) = config_command(
        "[amqp]\nframe_max = 8192\n",
        "ternmq.toml",
        &["config", "check"],
    );
    assert!(is_good, "{text}");
    let missing = "[tls]\ncertfile = \"/nowhere/c.pem\"\nkeyfile = \"/nowhere/k.pem\"\n";
    let (is_good, text) = config_command(missing, "ternmq.toml", &["config", "check"]);
    assert!(!is_good && text.contains("/nowhere/c.pem"), "{text}");
    for (wrong, names) in [
        (
            "auth_backends.1 = ldap\n",
            ["no such backend", "nobody could log in"],
        ),
        (
            "auth_mechanisms.1 = GSSAPI\n",
            ["no such mechanism", "amqp.mechanisms must be"],
        ),
    ] {
        let (is_good, text) = config_command(wrong, "rabbitmq.conf", &["config", "check"]);
        let names_all = names.iter().all(|name| text.contains(name));
        assert!(!is_good && names_all, "{text}");
    }
    let rabbitmq =
        "listeners.tcp.default = 127.0.0.1:5999\nno.such = 1\ndefault_pass = swordfish\n";
    let (is_good, text) = config_command(rabbitmq, "rabbitmq.conf", &["config", "check"]);
    assert!(
        is_good && text.contains(":2: no.such is not known here"),
        "{text}"
    );
    let (is_good, text) = config_command(rabbitmq, "rabbitmq.conf", &["config", "print"]);
    assert!(
        is_good && text.contains("\"127.0.0.1:5999\"") && !text.contains("swordfish"),
        "{text}"
    );
    assert!(text.contains("heartbeat_s = 33"), "{text}");
}

#[tokio::test]
async fn websocket_listener_speaks_mqtt_to_every_version() {
    let mut broker = Ternmq::start(&[]);
    broker.mqtt = relay(broker.addresses["http/web-mqtt"], Around::WebSocket).await;
    for version in [Version::V311, Version::V5] {
        let mut device = Device::connect(&broker, version, "web").await;
        device.subscribe("#", 2).await;
        device.publish("t", 2, b"m").await;
        assert_eq!(device.next().await.payload, b"m");
    }
}
