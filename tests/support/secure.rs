//! Certificates, and relays that let clients without TLS or WebSocket come in by them.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional, split};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// Who issues certificates, and where they are written.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// The authority's own certificate.
    pub pem: String,
}

/// A certificate and its key.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// For a server at this machine, or a client of this name.
    pub fn issue(&self, name: &str) -> Identity {
        let mut params = named(name);
        params.subject_alt_names = vec![rcgen::SanType::DnsName("localhost".try_into().unwrap())];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        Identity {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A client that trusts this authority, and shows a certificate.
    pub fn client(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let chain = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![chain], key).unwrap()
            }
        })
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Writes what a listener needs, and returns where certificate and key are.
pub fn write_identity(directory: &Path, identity: &Identity) -> [PathBuf; 2] {
    let files = [
        ("server.pem", &identity.certificate),
        ("server-key.pem", &identity.key),
    ];
    files.map(|(name, content)| {
        // As careful people do, so that nobody reads half a file.
        let (path, new) = (directory.join(name), directory.join(format!("{name}.new")));
        fs::write(&new, content).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    })
}

/// Shakes hands.
pub async fn handshake(
    addr: SocketAddr,
    config: &Arc<ClientConfig>,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await
}

/// What a relay puts around the bytes of its clients.
#[derive(Clone)]
pub enum Around {
    Tls(Arc<ClientConfig>),
    WebSocket,
    Both(Arc<ClientConfig>),
}

#[allow(clippy::disallowed_methods, reason = "relays live beside the test")]
/// Takes connections at the address that it returns, and passes them on to `to`, until the test ends.
pub async fn relay(to: SocketAddr, around: Around) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let around = around.clone();
            tokio::spawn(async move {
                // What goes wrong, the client notices.
                let _ = pass_on(client, to, around).await;
            });
        }
    });
    addr
}

async fn pass_on(mut client: TcpStream, to: SocketAddr, around: Around) -> io::Result<()> {
    match around {
        Around::Tls(config) => {
            let mut server = handshake(to, &config).await?;
            copy_bidirectional(&mut client, &mut server).await.map(drop)
        }
        Around::WebSocket => frame(client, TcpStream::connect(to).await?).await,
        Around::Both(config) => frame(client, handshake(to, &config).await?).await,
    }
}

const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Bytes of the client in binary frames, and back.
async fn frame(
    client: TcpStream,
    mut server: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    server.write_all(REQUEST).await?;
    server.flush().await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(server.read_u8().await?);
    }
    let (mut from_server, mut to_server) = split(server);
    let (mut from_client, mut to_client) = split(client);
    let up = async {
        let mut bytes = [0; 1000];
        loop {
            let count = from_client.read(&mut bytes).await?;
            let [high, low] = u16::try_from(count).unwrap().to_be_bytes();
            // Masked with zeros.
            let head = [
                if count == 0 { 0x88 } else { 0x82 },
                0xfe,
                high,
                low,
                0,
                0,
                0,
                0,
            ];
            to_server
                .write_all(&[&head, &bytes[..count]].concat())
                .await?;
            to_server.flush().await?;
            if count == 0 {
                return Ok(());
            }
        }
    };
    let down = async {
        loop {
            let kind = from_server.read_u8().await?;
            let length = match from_server.read_u8().await? {
                126 => usize::from(from_server.read_u16().await?),
                short => usize::from(short),
            };
            let mut payload = vec![0; length];
            from_server.read_exact(&mut payload).await?;
            if kind != 0x82 {
                return to_client.shutdown().await;
            }
            to_client.write_all(&payload).await?;
        }
    };
    let (up, down): (io::Result<()>, io::Result<()>) = tokio::join!(up, down);
    up.and(down)
}
