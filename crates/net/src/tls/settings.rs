//! What an operator can set about TLS; the names are those of RabbitMQ's `ssl_options`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One side of TLS: our certificate, and which ones we ask for.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file of our certificate, followed by those that lead to a root clients know. Required.
    pub certfile: Option<PathBuf>,
    /// PEM file of the certificate's private key, not encrypted: PKCS#8, PKCS#1 or SEC1. Required.
    pub keyfile: Option<PathBuf>,
    /// PEM file of the authorities whose client certificates are trusted. Required for `verify = "peer"`.
    pub cacertfile: Option<PathBuf>,
    /// Whether clients are asked for a certificate.
    pub verify: Verify,
    /// Whether clients without a certificate are turned away; needs `verify = "peer"`.
    pub fail_if_no_peer_cert: bool,
    /// Most intermediate certificates between a client's certificate and a trusted authority; at most 6.
    pub depth: u8,
    /// Versions of TLS spoken.
    pub versions: Vec<TlsVersion>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            certfile: None,
            keyfile: None,
            cacertfile: None,
            verify: Verify::None,
            fail_if_no_peer_cert: false,
            depth: DEPTH_MAX,
            versions: vec![TlsVersion::Tls12, TlsVersion::Tls13],
        }
    }
}

/// Longer chains are refused by the verifier itself.
pub(super) const DEPTH_MAX: u8 = 6;

impl TlsSettings {
    /// Whether there is anything to begin with: without a certificate nothing speaks TLS.
    pub fn is_configured(&self) -> bool {
        self.certfile.is_some() || self.keyfile.is_some()
    }
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// They are not.
    #[serde(alias = "verify_none")]
    None,
    /// They are; one that was not issued by a trusted authority ends the handshake.
    #[serde(alias = "verify_peer")]
    Peer,
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[serde(rename = "1.2", alias = "tlsv1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3", alias = "tlsv1.3")]
    Tls13,
}
