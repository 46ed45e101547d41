//! The server's side of handshakes, with certificates that can be exchanged.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use ternmq_broker::inspect::TlsSuite;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::certificate;
use super::files::{File, Fingerprint, TlsError};
use super::peer::TlsPeer;
use super::settings::{DEPTH_MAX, TlsSettings, TlsVersion, Verify};
use super::verify::DepthLimit;

/// An encrypted stream.
pub type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// What is agreed on beside TLS itself (RFC 7301).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alpn {
    /// Nothing: the port says what is spoken.
    None,
    /// HTTP/1.1.
    Http,
}

/// Accepts TLS handshakes, each with the certificates of its moment.
pub struct TlsServer {
    alpn: Alpn,
    current: ArcSwap<Loaded>,
    watched: Mutex<Watched>,
}

struct Loaded {
    settings: TlsSettings,
    config: Arc<ServerConfig>,
    /// Who looks at clients' certificates, if they are asked for any.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    ends: Vec<CertificateEnd>,
}

/// When a certificate ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateEnd {
    /// Where it was read from.
    pub file: PathBuf,
    /// In seconds since 1970.
    pub not_after_s: u64,
}

/// How the files looked, to tell when they change.
struct Watched {
    loaded: Fingerprint,
    /// At the last look, if that was different.
    changing: Option<Fingerprint>,
}

impl TlsServer {
    /// Reads the files that the settings name.
    pub fn load(settings: TlsSettings, alpn: Alpn) -> Result<Self, TlsError> {
        let loaded = Fingerprint::of(&settings);
        let current = ArcSwap::from_pointee(load(settings, alpn)?);
        Ok(Self {
            alpn,
            current,
            watched: Mutex::new(Watched {
                loaded,
                changing: None,
            }),
        })
    }

    /// Reads the files again. Handshakes from now on use what is in them; if they cannot be used, everything stays as
    /// it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let settings = self.current.load().settings.clone();
        self.reload_with(settings)
    }

    /// The same with other settings.
    pub fn reload_with(&self, settings: TlsSettings) -> Result<(), TlsError> {
        *self.watched.lock() = Watched {
            loaded: Fingerprint::of(&settings),
            changing: None,
        };
        let loaded = load(settings, self.alpn)?;
        self.current.store(Arc::new(loaded));
        Ok(())
    }

    /// To be called now and then: reads the files again when they have changed since they were last read, and not since
    /// the last call, so that a certificate and its key that are replaced one after the other are read together. `None`
    /// if there was nothing to do.
    pub fn reload_if_changed(&self) -> Option<Result<(), TlsError>> {
        let now = Fingerprint::of(&self.current.load().settings);
        let mut watched = self.watched.lock();
        if now == watched.loaded {
            watched.changing = None;
            return None;
        }
        if watched.changing.as_ref() != Some(&now) {
            watched.changing = Some(now);
            return None;
        }
        drop(watched);
        Some(self.reload())
    }

    /// When the certificates in use end: our own, then those that lead to a root, then the authorities whose clients are
    /// trusted.
    pub fn ends(&self) -> Vec<CertificateEnd> {
        self.current.load().ends.clone()
    }

    /// What rustls needs, as it is now. For servers that do their handshakes themselves.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// Does the server's side of a handshake. Takes as long as the peer takes: the caller sets the limit.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream, TlsPeer)> {
        let loaded = self.current.load_full();
        let acceptor = TlsAcceptor::from(Arc::clone(&loaded.config));
        let stream = acceptor.accept(stream).await?;
        let connection = stream.get_ref().1;
        loaded
            .check_resumed(connection, UnixTime::now())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let peer = describe(connection)?;
        Ok((stream, peer))
    }
}

impl Loaded {
    /// Who resumes a session shows no certificate: the one of that session's beginning has to be good now, too. It may have
    /// ended meanwhile, and a session is resumed for as long as its client comes back.
    fn check_resumed(
        &self,
        connection: &ServerConnection,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let verifier = self.verifier.as_ref().filter(|_| is_resumed);
        let shown = connection.peer_certificates();
        let Some((verifier, [own, others @ ..])) = verifier.zip(shown) else {
            return Ok(());
        };
        verifier.verify_client_cert(own, others, now).map(drop)
    }
}

fn load(settings: TlsSettings, alpn: Alpn) -> Result<Loaded, TlsError> {
    if settings.depth > DEPTH_MAX {
        let (key, range) = ("depth", "0 to 6");
        return Err(TlsError::Invalid { key, range });
    }
    let (key, range) = ("fail_if_no_peer_cert", "false unless verify is \"peer\"");
    if settings.fail_if_no_peer_cert && settings.verify == Verify::None {
        return Err(TlsError::Invalid { key, range });
    }
    let file = File::required("certfile", settings.certfile.as_ref())?;
    let chain = file.certificates()?;
    let mut ends = ends_of(file, &chain);
    let private_key = File::required("keyfile", settings.keyfile.as_ref())?.private_key()?;
    let provider = Arc::new(ring::default_provider());
    let verifier = match settings.verify {
        Verify::None => None,
        Verify::Peer => {
            let file = File::required("cacertfile", settings.cacertfile.as_ref())?;
            ends.extend(ends_of(file, &file.certificates()?));
            Some(verifier(&settings, file, &provider)?)
        }
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(&settings)?)
        .map_err(|error| TlsError::Setup(error.to_string()))?;
    let builder = match &verifier {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
    };
    let mut config = builder
        .with_single_cert(chain, private_key)
        .map_err(TlsError::Pair)?;
    // Sessions live in the clients' tickets; new certificates and authorities come with new keys for them, so that
    // nobody resumes what would not be accepted any more.
    config.ticketer = ring::Ticketer::new().map_err(|error| TlsError::Setup(error.to_string()))?;
    config.send_tls13_tickets = 1;
    if alpn == Alpn::Http {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    Ok(Loaded {
        settings,
        config: Arc::new(config),
        verifier,
        ends,
    })
}

fn ends_of(file: File<'_>, certificates: &[CertificateDer<'_>]) -> Vec<CertificateEnd> {
    let ends = certificates
        .iter()
        .filter_map(|certificate| certificate::not_after_s(certificate).ok());
    ends.map(|not_after_s| CertificateEnd {
        file: file.path.to_owned(),
        not_after_s,
    })
    .collect()
}

fn versions(
    settings: &TlsSettings,
) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, TlsError> {
    if settings.versions.is_empty() {
        let (key, range) = ("versions", "one of \"1.2\" and \"1.3\", or both");
        return Err(TlsError::Invalid { key, range });
    }
    let known = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)];
    Ok(known
        .into_iter()
        .filter(|(version, _)| settings.versions.contains(version))
        .map(|(_, version)| version)
        .collect())
}

fn verifier(
    settings: &TlsSettings,
    authorities: File<'_>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let roots = Arc::new(authorities.authorities()?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let builder = if settings.fail_if_no_peer_cert {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    let verifier = builder
        .build()
        .map_err(|error| TlsError::Setup(error.to_string()))?;
    Ok(Arc::new(DepthLimit::new(verifier, settings.depth)))
}

/// What was agreed on.
fn describe(connection: &ServerConnection) -> io::Result<TlsPeer> {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "tlsv1.2",
        _ => "tlsv1.3",
    };
    let suite = connection.negotiated_cipher_suite();
    let (key_exchange, cipher) = suite.map_or(("any", "unknown"), |suite| words(suite.suite()));
    let certificate = connection
        .peer_certificates()
        .and_then(<[_]>::first)
        .map(|certificate| certificate::read(certificate))
        .transpose()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let suite = TlsSuite {
        version,
        key_exchange,
        cipher,
        hash: "aead",
    };
    Ok(TlsPeer { suite, certificate })
}

/// A cipher suite in the words that RabbitMQ has from Erlang.
fn words(suite: CipherSuite) -> (&'static str, &'static str) {
    const AES_128: &str = "aes_128_gcm";
    const AES_256: &str = "aes_256_gcm";
    const CHACHA: &str = "chacha20_poly1305";
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => ("any", AES_128),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => ("any", AES_256),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => ("any", CHACHA),
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => ("ecdhe_rsa", AES_128),
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => ("ecdhe_rsa", AES_256),
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => ("ecdhe_rsa", CHACHA),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => ("ecdhe_ecdsa", AES_128),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => ("ecdhe_ecdsa", AES_256),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => ("ecdhe_ecdsa", CHACHA),
        _ => ("any", "unknown"),
    }
}

#[cfg(test)]
mod tests;
