//! A limit on the length of clients' certificate chains, around the verifier that does everything else.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use super::certificate::is_self_issued;

/// Refuses chains with more than `depth` intermediate certificates.
#[derive(Debug)]
pub(super) struct DepthLimit {
    inner: Arc<dyn ClientCertVerifier>,
    depth: usize,
}

impl DepthLimit {
    pub(super) fn new(inner: Arc<dyn ClientCertVerifier>, depth: u8) -> Self {
        let depth = usize::from(depth);
        Self { inner, depth }
    }
}

#[derive(Debug)]
struct TooDeep {
    depth: usize,
}

impl fmt::Display for TooDeep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let depth = self.depth;
        write!(formatter, "more than {depth} intermediate certificates")
    }
}

impl std::error::Error for TooDeep {}

impl ClientCertVerifier for DepthLimit {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // A root that comes along counts nothing (RFC 5280 §6.1.4 (l)).
        let count = intermediates
            .iter()
            .filter(|certificate| !is_self_issued(certificate).unwrap_or(false))
            .count();
        if count > self.depth {
            let too_deep = OtherError(Arc::new(TooDeep { depth: self.depth }));
            return Err(CertificateError::Other(too_deep).into());
        }
        self.inner
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
