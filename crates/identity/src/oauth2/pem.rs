//! Public keys in PEM (RFC 7468): as such, in PKCS #1, or in a certificate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode as _, Encode as _, Reader as _, SliceReader};
use x509_cert::Certificate;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::algorithm::Material;
use super::keys::KeyError;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Reads the first public key or certificate of a text.
pub(super) fn read(text: &str) -> Result<Material, KeyError> {
    let mut rest = text;
    while let Some(section) = next_section(rest)? {
        match section.label {
            "PUBLIC KEY" => return from_spki(&section.bytes),
            "RSA PUBLIC KEY" => return from_pkcs1(&section.bytes),
            "CERTIFICATE" => {
                let certificate = Certificate::from_der(&section.bytes)?;
                let spki = &certificate.tbs_certificate.subject_public_key_info;
                return from_spki(&spki.to_der()?);
            }
            _ => rest = section.after,
        }
    }
    Err(KeyError::NoPublicKey)
}

/// What stands between two lines of dashes.
struct Section<'a> {
    label: &'a str,
    bytes: Vec<u8>,
    /// What comes behind it.
    after: &'a str,
}

fn next_section(text: &str) -> Result<Option<Section<'_>>, KeyError> {
    const BEGIN: &str = "-----BEGIN ";
    const DASHES: &str = "-----";
    let Some(start) = text.find(BEGIN) else {
        return Ok(None);
    };
    let (label, rest) = text[start + BEGIN.len()..]
        .split_once(DASHES)
        .ok_or(KeyError::Pem)?;
    let end = format!("-----END {label}-----");
    let (body, after) = rest.split_once(&end).ok_or(KeyError::Pem)?;
    let body: String = body.split_whitespace().collect();
    // What has headers between its dashes is a private key, or from another time.
    let bytes = STANDARD.decode(body).unwrap_or_default();
    Ok(Some(Section {
        label,
        bytes,
        after,
    }))
}

/// A subject public key info (RFC 5280 §4.1.2.7).
fn from_spki(bytes: &[u8]) -> Result<Material, KeyError> {
    let info = SubjectPublicKeyInfoRef::from_der(bytes)?;
    let key = info.subject_public_key.raw_bytes();
    let curve = || info.algorithm.parameters_oid().ok();
    match info.algorithm.oid {
        RSA => from_pkcs1(key),
        EC if curve() == Some(P256) => Ok(Material::P256(key.to_vec())),
        EC if curve() == Some(P384) => Ok(Material::P384(key.to_vec())),
        ED25519 => Ok(Material::Ed25519(key.to_vec())),
        _ => Err(KeyError::Unsupported),
    }
}

/// An RSA public key (RFC 8017 §A.1.1).
fn from_pkcs1(bytes: &[u8]) -> Result<Material, KeyError> {
    let mut reader = SliceReader::new(bytes)?;
    let (n, e) = reader.sequence(|reader| {
        let n = UintRef::decode(reader)?;
        let e = UintRef::decode(reader)?;
        Ok((n, e))
    })?;
    rsa(n.as_bytes(), e.as_bytes())
}

/// An RSA key, if it is long enough.
pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Material, KeyError> {
    /// Shorter ones can be factored by those who want to.
    const BYTES_MIN: usize = 2048 / 8;
    /// Longer ones take longer than anybody waits.
    const BYTES_MAX: usize = 8192 / 8;
    let stripped = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes[zeros..].to_vec()
    };
    let (n, e) = (stripped(n), stripped(e));
    if !(BYTES_MIN..=BYTES_MAX).contains(&n.len()) || e.is_empty() {
        return Err(KeyError::RsaLength);
    }
    Ok(Material::Rsa { n, e })
}
