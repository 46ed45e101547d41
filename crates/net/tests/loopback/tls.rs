//! Listeners that speak TLS.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::certificates::{Authority, Dialer, Files, Identity};
use super::support::{Lab, Seen, eventually, frame, receive};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tempfile::{TempDir, tempdir};
use ternmq_net::entrance::Entrance;
use ternmq_net::machine::Peer;
use ternmq_net::server::ServerConfig;
use ternmq_net::tls::{Alpn, SubjectAltName, TlsServer, TlsSettings, TlsVersion, Verify};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// An echo listener behind TLS, and what its certificates were made with.
struct Secure {
    lab: Lab,
    authority: Authority,
    tls: Arc<TlsServer>,
    directory: TempDir,
}

impl Secure {
    fn start(set: impl FnOnce(&mut TlsSettings, &Files<'_>, &Authority)) -> Self {
        Self::start_with(&ServerConfig::default(), set)
    }

    fn start_with(
        config: &ServerConfig,
        set: impl FnOnce(&mut TlsSettings, &Files<'_>, &Authority),
    ) -> Self {
        let directory = tempdir().unwrap();
        let files = Files(directory.path());
        let authority = Authority::root("authority");
        let mut settings = files.identity(&authority.server("first"));
        set(&mut settings, &files, &authority);
        let tls = Arc::new(TlsServer::load(settings, Alpn::None).unwrap());
        let entrance = Entrance {
            tls: Some(Arc::clone(&tls)),
            ..Entrance::default()
        };
        Self {
            lab: Lab::start_through(entrance, config),
            authority,
            tls,
            directory,
        }
    }

    fn files(&self) -> Files<'_> {
        Files(self.directory.path())
    }

    fn dialer<'a>(&'a self, identity: Option<&'a Identity>) -> Dialer<'a> {
        Dialer {
            trusts: &self.authority,
            identity,
            versions: BOTH,
        }
    }

    async fn socket(&self) -> TcpStream {
        TcpStream::connect(self.lab.addr).await.unwrap()
    }

    /// Connects, says something and hears it; whether that worked.
    async fn try_echo(&self, dialer: &Dialer<'_>) -> std::io::Result<()> {
        let mut stream = dialer.connect(self.socket().await).await?;
        stream.write_all(&frame(b"hello")).await?;
        let mut echoed = [0; 9];
        // A client knows of a refusal of its certificate when it reads (RFC 8446 §4.4.2.4).
        stream.read_exact(&mut echoed).await?;
        assert_eq!(echoed[..], frame(b"hello"));
        Ok(())
    }

    fn last_peer(&self) -> Peer {
        self.lab.seen.peers.lock().last().unwrap().clone()
    }
}

fn no_change(_: &mut TlsSettings, _: &Files<'_>, _: &Authority) {}

/// Asks for client certificates that the authority issued, through any number of others.
fn ask(settings: &mut TlsSettings, files: &Files<'_>, authority: &Authority) {
    settings.cacertfile = Some(files.write("ca.pem", &authority.pem));
    settings.verify = Verify::Peer;
}

#[tokio::test]
async fn frames_of_every_size_come_through_both_versions() {
    let secure = Secure::start(no_change);
    for (version, name) in [(&TLS12, "tlsv1.2"), (&TLS13, "tlsv1.3")] {
        let dialer = Dialer {
            versions: &[version],
            ..secure.dialer(None)
        };
        let mut stream = dialer.connect(secure.socket().await).await.unwrap();
        for size in [0, 1, 16 * 1024, 64 * 1024, 1_000_000] {
            let payload = vec![9; size];
            let (mut reader, mut writer) = tokio::io::split(stream);
            let framed = frame(&payload);
            let (sent, received) = tokio::join!(writer.write_all(&framed), receive(&mut reader));
            sent.unwrap();
            assert_eq!(received, payload);
            stream = reader.unsplit(writer);
            stream.flush().await.unwrap();
        }
        let tls = secure.last_peer().tls.unwrap();
        assert_eq!(tls.suite.version, name);
        let cipher = tls.suite.cipher;
        assert!(cipher.starts_with("aes_") || cipher.starts_with("chacha20"));
        assert_eq!(tls.certificate, None);
    }
}

#[tokio::test]
async fn versions_that_are_not_allowed_are_refused() {
    let secure = Secure::start(|settings, _, _| settings.versions = vec![TlsVersion::Tls13]);
    let old = Dialer {
        versions: &[&TLS12],
        ..secure.dialer(None)
    };
    assert!(secure.try_echo(&old).await.is_err());
    secure.try_echo(&secure.dialer(None)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_to_a_slow_reader_stop_and_go_on() {
    let secure = Secure::start(no_change);
    let dialer = secure.dialer(None);
    let mut stream = dialer.connect(secure.socket().await).await.unwrap();
    stream.write_all(&frame(b"generate")).await.unwrap();
    stream.flush().await.unwrap();
    let seen = Arc::clone(&secure.lab.seen);
    eventually("the output is full", || Seen::get(&seen.full) > 0).await;
    for _ in 0..100_000 {
        assert_eq!(
            receive(&mut stream).await,
            [1; super::support::GENERATED_BYTES]
        );
    }
    stream.write_all(&frame(b"still there")).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(receive(&mut stream).await, b"still there");
}

#[tokio::test]
async fn both_sides_say_that_they_close() {
    let secure = Secure::start(no_change);
    let dialer = secure.dialer(None);
    let mut stream = dialer.connect(secure.socket().await).await.unwrap();
    stream.write_all(&frame(b"close")).await.unwrap();
    let body = receive(&mut stream).await;
    assert_eq!(body.len(), super::support::BODY_BYTES);
    assert_eq!(receive(&mut stream).await, b"bye");
    // Without `close_notify` this would be an error.
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    let mut stream = dialer.connect(secure.socket().await).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn client_certificates_are_read_and_others_refused() {
    let secure = Secure::start(ask);
    let known = secure.authority.client("meter 7");
    secure.try_echo(&secure.dialer(Some(&known))).await.unwrap();
    let certificate = secure.last_peer().tls.unwrap().certificate.clone().unwrap();
    assert_eq!(certificate.subject, "O=Meters\\, Ltd,CN=meter 7");
    assert_eq!(certificate.issuer, "CN=authority");
    assert_eq!(certificate.common_name.as_deref(), Some("meter 7"));
    let expected = [
        SubjectAltName::Dns("a.example".into()),
        SubjectAltName::Email("a@example".into()),
        SubjectAltName::Ip([10, 0, 0, 1].into()),
        SubjectAltName::Uri("urn:meter:7".into()),
    ];
    assert_eq!(certificate.alt_names, expected);
    assert!(certificate.validity.ends_with("T00:00:00Z"));

    let stranger = Authority::root("authority").client("meter 7");
    let refused = secure.try_echo(&secure.dialer(Some(&stranger))).await;
    assert!(refused.is_err(), "its issuer has only the name of ours");
    // Asked for, but not required.
    secure.try_echo(&secure.dialer(None)).await.unwrap();
    assert_eq!(secure.last_peer().tls.unwrap().certificate, None);
}

#[tokio::test]
async fn a_certificate_can_be_required() {
    let secure = Secure::start(|settings, files, authority| {
        ask(settings, files, authority);
        settings.fail_if_no_peer_cert = true;
    });
    assert!(secure.try_echo(&secure.dialer(None)).await.is_err());
    let known = secure.authority.client("meter 7");
    secure.try_echo(&secure.dialer(Some(&known))).await.unwrap();
}

#[tokio::test]
async fn chains_end_at_the_depth() {
    let secure = Secure::start(|settings, files, authority| {
        ask(settings, files, authority);
        settings.depth = 1;
    });
    let second = secure.authority.below("second");
    let third = second.below("third");
    let mut near = second.client("near");
    near.certificate += &second.pem;
    // The root may come along.
    near.certificate += &secure.authority.pem;
    secure.try_echo(&secure.dialer(Some(&near))).await.unwrap();
    let mut far = third.client("far");
    far.certificate += &third.pem;
    far.certificate += &second.pem;
    assert!(secure.try_echo(&secure.dialer(Some(&far))).await.is_err());
}

#[tokio::test]
async fn new_certificates_are_for_new_connections_only() {
    let secure = Secure::start(no_change);
    let before = secure.dialer(None);
    let mut old = before.connect(secure.socket().await).await.unwrap();
    let other = Authority::root("another authority");
    secure.files().identity(&other.server("second"));
    secure.tls.reload().unwrap();

    assert!(
        secure.try_echo(&before).await.is_err(),
        "it does not trust the new one"
    );
    let after = Dialer {
        trusts: &other,
        ..secure.dialer(None)
    };
    secure.try_echo(&after).await.unwrap();
    old.write_all(&frame(b"still there")).await.unwrap();
    assert_eq!(receive(&mut old).await, b"still there");
}

#[tokio::test]
async fn broken_new_files_change_nothing_and_are_named() {
    let secure = Secure::start(no_change);
    let files = secure.files();
    for (name, content, reason) in [
        ("server.pem", "", "certfile"),
        (
            "server.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "certfile",
        ),
        ("server-key.pem", "nothing", "no private key in it"),
        (
            "server-key.pem",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "encrypted",
        ),
        (
            "server-key.pem",
            &secure.authority.server("other").key,
            "certfile and keyfile",
        ),
    ] {
        let path = secure.directory.path().join(name);
        let good = fs::read_to_string(&path).unwrap();
        files.write(name, content);
        let error = secure.tls.reload().unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        secure.try_echo(&secure.dialer(None)).await.unwrap();
        files.write(name, &good);
    }
    fs::remove_file(secure.directory.path().join("server.pem")).unwrap();
    let error = secure.tls.reload().unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
    secure.try_echo(&secure.dialer(None)).await.unwrap();
}

#[tokio::test]
async fn changed_files_are_read_once_they_are_quiet() {
    let secure = Secure::start(no_change);
    assert!(secure.tls.reload_if_changed().is_none());
    let new = secure.authority.server("a name of another length");
    let files = secure.files();
    files.write("server.pem", &new.certificate);
    assert!(
        secure.tls.reload_if_changed().is_none(),
        "the key may follow"
    );
    files.write("server-key.pem", &(new.key.clone() + "\n"));
    assert!(secure.tls.reload_if_changed().is_none(), "it did");
    assert!(secure.tls.reload_if_changed().unwrap().is_ok());
    assert!(secure.tls.reload_if_changed().is_none());
    secure.try_echo(&secure.dialer(None)).await.unwrap();

    files.write("server.pem", "broken");
    assert!(secure.tls.reload_if_changed().is_none());
    assert!(secure.tls.reload_if_changed().unwrap().is_err());
    assert!(secure.tls.reload_if_changed().is_none(), "said once");
}

#[test]
fn settings_that_cannot_work_are_named() {
    let directory = tempdir().unwrap();
    let files = Files(directory.path());
    let good = files.identity(&Authority::root("authority").server("first"));
    let refused = |change: fn(&mut TlsSettings)| {
        let mut settings = good.clone();
        change(&mut settings);
        match TlsServer::load(settings, Alpn::None) {
            Ok(_) => panic!("it was taken"),
            Err(error) => error.to_string(),
        }
    };
    for (error, key) in [
        (refused(|s| s.certfile = None), "certfile is not set"),
        (refused(|s| s.keyfile = None), "keyfile is not set"),
        (
            refused(|s| s.verify = Verify::Peer),
            "cacertfile is not set",
        ),
        (
            refused(|s| s.fail_if_no_peer_cert = true),
            "fail_if_no_peer_cert",
        ),
        (refused(|s| s.versions.clear()), "versions must be"),
        (refused(|s| s.depth = 7), "depth must be 0 to 6"),
    ] {
        assert!(error.contains(key), "{error}");
    }
}

#[tokio::test]
async fn whoever_does_not_shake_hands_is_not_waited_for_and_blocks_nobody() {
    for handshake_timeout in [Duration::from_millis(500), Duration::from_hours(1)] {
        let config = ServerConfig {
            handshake_timeout,
            handshakes_max: 2,
            ..ServerConfig::default()
        };
        silent_peers_go(&Secure::start_with(&config, no_change)).await;
    }
}

async fn silent_peers_go(secure: &Secure) {
    let mut silent = [secure.socket().await, secure.socket().await];
    eventually("they are inside", || {
        secure.lab.server.connection_count() == 2
    })
    .await;
    // Both places are taken: the third comes when they are free, or given up because it waits.
    secure.try_echo(&secure.dialer(None)).await.unwrap();
    for socket in &mut silent {
        assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0);
    }
    assert_eq!(secure.lab.seen.accepted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn bytes_that_are_not_tls_end_the_connection() {
    let secure = Secure::start(no_change);
    let mut socket = secure.socket().await;
    socket
        .write_all(b"AMQP\0\0\x09\x01 and more than a record's head")
        .await
        .unwrap();
    // An alert at most.
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    assert!(rest.len() <= 7, "{rest:?}");
    eventually("the place is free", || {
        secure.lab.server.connection_count() == 0
    })
    .await;
    assert_eq!(secure.lab.seen.accepted.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_does_not_wait_for_handshakes() {
    let secure = Secure::start(no_change);
    let _silent = secure.socket().await;
    eventually("it is inside", || secure.lab.server.connection_count() == 1).await;
    let farewell = secure.lab.server.shutdown(Duration::from_mins(1)).await;
    assert_eq!(farewell.cut, 0);
}

/// An implementation by others, where it is installed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_gets_through_with_a_client_certificate() {
    if Command::new("openssl").arg("version").output().is_err() {
        return;
    }
    let secure = Secure::start(ask);
    let files = secure.files();
    let client = secure.authority.client("by hand");
    let addr = secure.lab.addr.to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut openssl = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", version])
            .args(["-connect", &addr, "-servername", "localhost"])
            .arg("-CAfile")
            .arg(files.write("ca.pem", &secure.authority.pem))
            .arg("-cert")
            .arg(files.write("client.pem", &client.certificate))
            .arg("-key")
            .arg(files.write("client-key.pem", &client.key))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = openssl.stdin.take().unwrap();
        stdin.write_all(&frame(b"close")).unwrap();
        let waiting = tokio::task::spawn_blocking(move || openssl.wait_with_output().unwrap());
        let output = waiting.await.unwrap();
        assert!(output.stdout.ends_with(&frame(b"bye")), "{version}");
        let certificate = secure.last_peer().tls.unwrap().certificate.clone();
        assert_eq!(certificate.unwrap().common_name.as_deref(), Some("by hand"));
    }
}
