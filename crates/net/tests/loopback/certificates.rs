//! Authorities and certificates, made for one test.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use ternmq_net::tls::TlsSettings;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Who issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
    der: CertificateDer<'static>,
}

/// A certificate and its key.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

fn named(name: &str, is_ca: IsCa) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = is_ca;
    params
}

impl Authority {
    /// One that nobody stands above.
    pub fn root(name: &str) -> Self {
        let mut params = named(name, IsCa::Ca(BasicConstraints::Unconstrained));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// One that this one vouches for.
    pub fn below(&self, name: &str) -> Self {
        let mut params = named(name, IsCa::Ca(BasicConstraints::Unconstrained));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        Identity {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A certificate for a server at localhost.
    pub fn server(&self, name: &str) -> Identity {
        let mut params = named(name, IsCa::NoCa);
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into().unwrap()),
            SanType::IpAddress(IpAddr::from([127, 0, 0, 1])),
        ];
        self.issue(&params)
    }

    /// A certificate for a client, with every kind of name.
    pub fn client(&self, name: &str) -> Identity {
        let mut params = named(name, IsCa::NoCa);
        params.distinguished_name.push(
            DnType::OrganizationName,
            DnValue::Utf8String("Meters, Ltd".into()),
        );
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::Rfc822Name("a@example".try_into().unwrap()),
            SanType::IpAddress(IpAddr::from([10, 0, 0, 1])),
            SanType::URI("urn:meter:7".try_into().unwrap()),
        ];
        self.issue(&params)
    }
}

/// Files of a listener, in a directory that the test owns.
pub struct Files<'a>(pub &'a Path);

impl Files<'_> {
    /// Writes one and returns where it is.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Writes certificate and key, and returns settings with them.
    pub fn identity(&self, identity: &Identity) -> TlsSettings {
        TlsSettings {
            certfile: Some(self.write("server.pem", &identity.certificate)),
            keyfile: Some(self.write("server-key.pem", &identity.key)),
            ..TlsSettings::default()
        }
    }
}

/// How a client connects.
pub struct Dialer<'a> {
    pub trusts: &'a Authority,
    pub identity: Option<&'a Identity>,
    pub versions: &'a [&'static SupportedProtocolVersion],
}

impl Dialer<'_> {
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts.der.clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
                    .collect::<Result<Vec<_>, _>>()
                    .unwrap();
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        })
    }

    /// Does the client's side of a handshake.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> std::io::Result<TlsStream<S>> {
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(self.config())
            .connect(name, stream)
            .await
    }
}
