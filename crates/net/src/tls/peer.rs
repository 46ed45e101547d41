//! What a handshake says about the peer.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use ternmq_broker::inspect::TlsSuite;

/// A TLS connection as its client negotiated it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsPeer {
    /// What was agreed on.
    pub suite: TlsSuite,
    /// What the client presented and the listener verified, if it did.
    pub certificate: Option<ClientCertificate>,
}

/// A client's certificate, issued by an authority that the listener trusts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificate {
    /// The subject, `CN=client,O=example`: RFC 4514, as RabbitMQ prints it for `distinguished_name`.
    pub subject: String,
    /// The issuer, in the same form.
    pub issuer: String,
    /// `2026-01-01T00:00:00Z - 2027-01-01T00:00:00Z`.
    pub validity: String,
    /// The subject's common names, joined with commas if there are several; `None` without any.
    pub common_name: Option<String>,
    /// The subject's other names, in the order of the certificate.
    pub alt_names: Vec<SubjectAltName>,
}

impl ClientCertificate {
    /// The subject's other name of this kind that has `index` of the same kind before it.
    pub fn alt_name(&self, kind: AltNameKind, index: usize) -> Option<String> {
        let mut names = self.alt_names.iter().filter(|name| name.kind() == kind);
        names.nth(index).map(ToString::to_string)
    }
}

/// Which part of a certificate names its holder: a user, or an MQTT client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NameFrom {
    /// The whole subject.
    DistinguishedName,
    /// The subject's common name.
    CommonName,
    /// One of the subject's other names.
    SubjectAlternativeName,
}

/// Which part of a certificate names its holder, exactly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HolderName {
    /// The part.
    pub from: NameFrom,
    /// For [`NameFrom::SubjectAlternativeName`]: of this kind,
    pub san_type: AltNameKind,
    /// and the one with so many of that kind before it.
    pub san_index: usize,
}

impl HolderName {
    /// The name; `None` if the certificate has no such part.
    pub fn of(self, certificate: &ClientCertificate) -> Option<String> {
        match self.from {
            NameFrom::DistinguishedName => Some(certificate.subject.clone()),
            NameFrom::CommonName => certificate.common_name.clone(),
            NameFrom::SubjectAlternativeName => certificate.alt_name(self.san_type, self.san_index),
        }
    }
}

/// One of a subject's other names (RFC 5280 §4.2.1.6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SubjectAltName {
    /// `dNSName`
    Dns(String),
    /// `iPAddress`
    Ip(IpAddr),
    /// `rfc822Name`
    Email(String),
    /// `uniformResourceIdentifier`
    Uri(String),
    /// `otherName` of a string, with its type's identifier in dotted decimals.
    Other {
        /// What kind of name.
        kind: String,
        /// The name.
        name: String,
    },
}

/// Kinds of [`SubjectAltName`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AltNameKind {
    /// [`SubjectAltName::Dns`]
    Dns,
    /// [`SubjectAltName::Ip`]
    Ip,
    /// [`SubjectAltName::Email`]
    Email,
    /// [`SubjectAltName::Uri`]
    Uri,
    /// [`SubjectAltName::Other`]
    #[serde(rename = "other_name", alias = "other")]
    Other,
}

impl SubjectAltName {
    /// Its kind.
    pub fn kind(&self) -> AltNameKind {
        match self {
            Self::Dns(_) => AltNameKind::Dns,
            Self::Ip(_) => AltNameKind::Ip,
            Self::Email(_) => AltNameKind::Email,
            Self::Uri(_) => AltNameKind::Uri,
            Self::Other { .. } => AltNameKind::Other,
        }
    }
}

/// The name alone, without its kind.
impl fmt::Display for SubjectAltName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Email(name) | Self::Uri(name) | Self::Other { name, .. } => {
                formatter.write_str(name)
            }
            Self::Ip(addr) => addr.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> ClientCertificate {
        ClientCertificate {
            subject: "CN=meter 7,O=example".into(),
            issuer: "CN=authority".into(),
            validity: "2026-01-01T00:00:00Z - 2027-01-01T00:00:00Z".into(),
            common_name: Some("meter 7".into()),
            alt_names: vec![
                SubjectAltName::Dns("a.example".into()),
                SubjectAltName::Ip(IpAddr::from([10, 0, 0, 1])),
                SubjectAltName::Dns("b.example".into()),
            ],
        }
    }

    #[test]
    fn holder_is_named_by_the_part_that_was_asked_for() {
        let name = |from, san_type, san_index| {
            let part = HolderName {
                from,
                san_type,
                san_index,
            };
            part.of(&certificate())
        };
        let (dns, ip) = (AltNameKind::Dns, AltNameKind::Ip);
        let cases = [
            (
                NameFrom::DistinguishedName,
                dns,
                0,
                Some("CN=meter 7,O=example"),
            ),
            (NameFrom::CommonName, dns, 0, Some("meter 7")),
            (NameFrom::SubjectAlternativeName, dns, 1, Some("b.example")),
            (NameFrom::SubjectAlternativeName, ip, 0, Some("10.0.0.1")),
            (NameFrom::SubjectAlternativeName, dns, 2, None),
            (NameFrom::SubjectAlternativeName, AltNameKind::Uri, 0, None),
        ];
        for (from, kind, index, expected) in cases {
            assert_eq!(name(from, kind, index).as_deref(), expected);
        }
    }
}
