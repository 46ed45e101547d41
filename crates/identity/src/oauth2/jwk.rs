//! JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037), and the form of them that Cloud Foundry's UAA has: `value`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::algorithm::{Algorithm, Material};
use super::keys::{Key, KeyError};
use super::pem;

/// Reads one key.
pub(super) fn read(key: &Value) -> Result<Key, KeyError> {
    let material = match text(key, "kty")? {
        "RSA" => match key.get("value").and_then(Value::as_str) {
            Some(pem) => pem::read(pem)?,
            None => pem::rsa(&bytes(key, "n")?, &bytes(key, "e")?)?,
        },
        "EC" => match text(key, "crv")? {
            "P-256" => Material::P256(point(key, 32)?),
            "P-384" => Material::P384(point(key, 48)?),
            _ => return Err(KeyError::Unsupported),
        },
        "OKP" if text(key, "crv")? == "Ed25519" => Material::Ed25519(exact(key, "x", 32)?),
        "oct" => Material::Symmetric(bytes(key, "k")?),
        "MAC" => Material::Symmetric(text(key, "value")?.as_bytes().to_vec()),
        _ => return Err(KeyError::Unsupported),
    };
    if matches!(&material, Material::Symmetric(secret) if secret.is_empty()) {
        return Err(KeyError::Member("k"));
    }
    let algorithm = match key.get("alg").and_then(Value::as_str) {
        None => None,
        Some(name) => Some(algorithm(name).ok_or(KeyError::Unsupported)?),
    };
    Ok(Key {
        material,
        algorithm,
    })
}

/// UAA has the names of Java's cryptography in older releases.
fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "HMACSHA256" | "HMAC-SHA256" => Some(Algorithm::Hs256),
        "SHA256withRSA" => Some(Algorithm::Rs256),
        name => Algorithm::named(name),
    }
}

/// Whether the key is there to encrypt, and none of ours.
pub(super) fn is_for_encryption(key: &Value) -> bool {
    key.get("use").and_then(Value::as_str) == Some("enc")
}

fn point(key: &Value, length: usize) -> Result<Vec<u8>, KeyError> {
    const UNCOMPRESSED: u8 = 4;
    let mut point = vec![UNCOMPRESSED];
    point.extend(exact(key, "x", length)?);
    point.extend(exact(key, "y", length)?);
    Ok(point)
}

fn exact(key: &Value, member: &'static str, length: usize) -> Result<Vec<u8>, KeyError> {
    let bytes = bytes(key, member)?;
    if bytes.len() == length {
        Ok(bytes)
    } else {
        Err(KeyError::Member(member))
    }
}

fn bytes(key: &Value, member: &'static str) -> Result<Vec<u8>, KeyError> {
    let text = text(key, member)?.trim_end_matches('=');
    let decoded = URL_SAFE_NO_PAD.decode(text);
    decoded.map_err(|_| KeyError::Member(member))
}

fn text<'a>(key: &'a Value, member: &'static str) -> Result<&'a str, KeyError> {
    let value = key.get(member).and_then(Value::as_str);
    value.ok_or(KeyError::Member(member))
}
