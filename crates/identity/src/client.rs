//! The HTTP client that other servers are asked with: limits on everything, and certificates that are always checked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// How long a server may take, and what it may lead to.
pub(crate) struct Limits {
    /// A question with its answer.
    pub(crate) request: Duration,
    /// The connection to the server.
    pub(crate) connection: Duration,
    /// Connections that are kept for the next question.
    pub(crate) idle_connections: usize,
    /// Redirections that are followed. With any, `https://` only is asked.
    pub(crate) redirects: u32,
}

/// Why authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", file.display())]
pub struct AuthoritiesError {
    /// Which file.
    file: PathBuf,
    /// Why not.
    #[source]
    error: io::Error,
}

/// A client that trusts certificates of the authorities in a PEM file, or of those that the machine trusts.
pub(crate) fn agent(
    limits: &Limits,
    authorities: Option<&Path>,
) -> Result<Agent, AuthoritiesError> {
    let config = Agent::config_builder()
        .timeout_global(Some(limits.request))
        .timeout_connect(Some(limits.connection))
        .proxy(None)
        .max_redirects(limits.redirects)
        .https_only(limits.redirects > 0)
        .http_status_as_error(false)
        .max_idle_connections_per_host(limits.idle_connections)
        .user_agent("ternmq")
        .tls_config(tls(authorities)?)
        .build();
    Ok(Agent::new_with_config(config))
}

fn tls(authorities: Option<&Path>) -> Result<TlsConfig, AuthoritiesError> {
    let roots = match authorities {
        Some(file) => {
            let failed = |error| AuthoritiesError {
                file: file.to_owned(),
                error,
            };
            let pem = std::fs::read(file).map_err(failed)?;
            let roots = certificates(&pem);
            if roots.is_empty() {
                return Err(failed(io::Error::other("has no certificate in it")));
            }
            roots
        }
        None => rustls_native_certs::load_native_certs()
            .certs
            .into_iter()
            .map(|certificate| Certificate::from_der(&certificate).to_owned())
            .collect(),
    };
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .build())
}

fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    let items = parse_pem(pem).filter_map(Result::ok);
    let certificates = items.filter_map(|item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    });
    certificates.collect()
}
