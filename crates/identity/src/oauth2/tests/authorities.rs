//! Whose word is taken for keys: a server with a certificate for its name, of an authority that is trusted.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::super::fetch::Source;
use super::*;

const KEYS: &str = r#"{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0"}]}"#;

/// Writes the certificate of a new authority, and issues one for a server of that name.
fn issue(file: &Path, name: &str) -> ServerConfig {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(file, params.self_signed(&key).unwrap().pem()).unwrap();
    let authority = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}

/// Answers every request with keys, until the process ends. Returns where.
fn serve(config: ServerConfig) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(config);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let session = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(session, socket.unwrap());
            let lines = BufReader::new(&mut stream).lines();
            // A client that does not trust us says nothing.
            if !lines.map_while(Result::ok).any(|line| line.is_empty()) {
                continue;
            }
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n";
            let length = KEYS.len();
            write!(stream, "{head}content-length: {length}\r\n\r\n{KEYS}").unwrap();
        }
    });
    format!("https://localhost:{port}/keys")
}

#[test]
fn keys_are_taken_from_a_server_that_an_authority_vouches_for() {
    let directory = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours.pem", "theirs.pem"].map(|name| directory.path().join(name));
    issue(&theirs, "localhost");
    let fetch = |name: &str, trusted: Option<&PathBuf>| {
        let uri = serve(issue(&ours, name));
        let config = KeysConfig {
            jwks_uri: Some(uri),
            cacertfile: trusted.cloned(),
            ..KeysConfig::default()
        };
        let source = Source::new(&config).unwrap().unwrap();
        source.fetch().map(|ring| ring.len())
    };
    assert_eq!(fetch("localhost", Some(&ours)).unwrap(), 1);
    for (name, trusted) in [
        ("localhost", Some(&theirs)),
        ("localhost", None),
        ("other.example", Some(&ours)),
    ] {
        let error = fetch(name, trusted).unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
    }
}
