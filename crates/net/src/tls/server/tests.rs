//! Sessions that are resumed, between a client and a server without sockets.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tempfile::tempdir;

use super::*;

/// When all certificates here have ended.
const YEAR_2200: Duration = Duration::from_hours(24 * 84_006);

/// Certificates that end before the year 2200.
fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2199, 1, 1);
    params
}

/// Lets both say what they have to say.
fn talk(client: &mut ClientConnection, server: &mut ServerConnection) {
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &bytes[..]).unwrap();
        server.process_new_packets().unwrap();
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut &bytes[..]).unwrap();
        client.process_new_packets().unwrap();
    }
}

#[test]
fn session_is_resumed_as_long_as_its_certificate_is_good() {
    let directory = tempdir().unwrap();
    let write = |name: &str, pem: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, pem).unwrap();
        Some(path)
    };
    let mut authority = params("authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&key).unwrap();
    let issuer = Issuer::new(authority, key);
    let (server_key, client_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let server = params("localhost").signed_by(&server_key, &issuer).unwrap();
    let mut client = params("client");
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = client.signed_by(&client_key, &issuer).unwrap();

    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let settings = TlsSettings {
            certfile: write("server.pem", server.pem()),
            keyfile: write("key.pem", server_key.serialize_pem()),
            cacertfile: write("ca.pem", root.pem()),
            verify: Verify::Peer,
            versions: vec![version],
            ..TlsSettings::default()
        };
        let loaded = load(settings, Alpn::None).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let dialer = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![client.der().clone()],
                PrivateKeyDer::try_from(client_key.serialize_der()).unwrap(),
            )
            .unwrap();
        let dialer = Arc::new(dialer);
        let connect = || {
            let name = ServerName::try_from("localhost").unwrap();
            let mut client = ClientConnection::new(Arc::clone(&dialer), name).unwrap();
            let mut server = ServerConnection::new(Arc::clone(&loaded.config)).unwrap();
            talk(&mut client, &mut server);
            server
        };
        let later = UnixTime::since_unix_epoch(YEAR_2200);
        let first = connect();
        assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
        assert!(
            loaded.check_resumed(&first, later).is_ok(),
            "checked before"
        );
        let second = connect();
        assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
        assert!(second.peer_certificates().is_some());
        assert!(loaded.check_resumed(&second, UnixTime::now()).is_ok());
        assert!(loaded.check_resumed(&second, later).is_err());
    }
}
