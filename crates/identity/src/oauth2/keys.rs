//! The keys that tokens are signed with, by their identifiers.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use super::algorithm::{Algorithm, Material};
use super::config::KeysConfig;
use super::{OAuth2Error, jwk, pem};

/// Keys, at most.
pub(super) const KEYS_MAX: usize = 1_024;

/// Bytes of a file or an answer with keys, at most.
pub(super) const FILE_BYTES_MAX: u64 = 4 << 20;

/// A key, and the algorithm it is for, if it says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub(super) material: Material,
    pub(super) algorithm: Option<Algorithm>,
}

/// Why a file has no key that can be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It is no file of keys.
    #[error("longer than {FILE_BYTES_MAX} bytes")]
    TooLong,
    /// A PEM section without an end.
    #[error("a PEM section that does not end")]
    Pem,
    /// Neither `PUBLIC KEY` nor `CERTIFICATE`, nor a JSON Web Key.
    #[error("neither a public key or certificate in PEM nor a JSON Web Key")]
    NoPublicKey,
    /// What is in the PEM section.
    #[error("not readable as DER: {0}")]
    Der(#[from] der::Error),
    /// No JSON.
    #[error("no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A member of a JSON Web Key that is not there, or not of its form.
    #[error("member `{0}` of the JSON Web Key is missing or wrong")]
    Member(&'static str),
    /// A kind of key, curve or algorithm that cannot be used.
    #[error("a kind of key that cannot be used; RSA, P-256, P-384, Ed25519 and symmetric ones can")]
    Unsupported,
    /// RSA.
    #[error("an RSA key of less than 2,048 or more than 8,192 bits")]
    RsaLength,
    /// The set.
    #[error("no JSON Web Key Set with 1 to {KEYS_MAX} keys that can be used")]
    NoKeys,
}

/// All keys.
#[derive(Debug, Default)]
pub(super) struct KeyRing {
    keys: HashMap<String, Key>,
}

/// When a file was changed, and how long it is; none if it cannot be seen.
pub(super) type Stamp = Option<(SystemTime, u64)>;

impl KeyRing {
    /// Reads all files.
    pub(super) fn load(config: &KeysConfig) -> Result<Self, OAuth2Error> {
        let mut ring = Self::default();
        let failed = |file: &Path, error| OAuth2Error::Key {
            file: file.to_owned(),
            error,
        };
        for signing in &config.signing_keys {
            let key = read_key(&signing.file).map_err(|error| failed(&signing.file, error))?;
            ring.keys.insert(signing.id.clone(), key);
        }
        if let Some(file) = &config.jwks_file {
            let set = read_text(file).and_then(|text| Self::read(&text, &file.display()));
            let set = set.map_err(|error| failed(file, error))?;
            ring.keys.extend(set.keys);
        }
        if ring.keys.len() > KEYS_MAX {
            return Err(OAuth2Error::TooManyKeys);
        }
        Ok(ring)
    }

    /// Reads a JSON Web Key Set. Authorization servers have keys in theirs that are not for signing, or of kinds that
    /// nobody here knows: those are left out (RFC 7517 §5). `whence` is for the log.
    pub(super) fn read(set: &str, whence: &dyn fmt::Display) -> Result<Self, KeyError> {
        let set: Value = serde_json::from_str(set)?;
        let all = set.get("keys").and_then(Value::as_array);
        let mut keys = HashMap::new();
        for key in all.ok_or(KeyError::NoKeys)? {
            if jwk::is_for_encryption(key) {
                continue;
            }
            let id = key.get("kid").and_then(Value::as_str);
            match (id, jwk::read(key)) {
                (Some(id), Ok(read)) => {
                    keys.insert(id.to_owned(), read);
                }
                (None, _) => tracing::warn!(%whence, "a key without `kid` is not used"),
                (Some(id), Err(error)) => {
                    tracing::warn!(%whence, id, %error, "a key is not used");
                }
            }
        }
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(KeyError::NoKeys);
        }
        Ok(Self { keys })
    }

    pub(super) fn get(&self, id: &str) -> Option<&Key> {
        self.keys.get(id)
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// What all files look like now.
pub(super) fn stamps(config: &KeysConfig) -> Vec<Stamp> {
    let signing = config.signing_keys.iter().map(|signing| &signing.file);
    let files: Vec<&PathBuf> = signing.chain(&config.jwks_file).collect();
    let stamp = |file: &&PathBuf| {
        let seen = std::fs::metadata(file).ok()?;
        Some((seen.modified().ok()?, seen.len()))
    };
    files.iter().map(stamp).collect()
}

fn read_text(file: &Path) -> Result<String, KeyError> {
    if std::fs::metadata(file)?.len() > FILE_BYTES_MAX {
        return Err(KeyError::TooLong);
    }
    Ok(std::fs::read_to_string(file)?)
}

/// One key, in PEM or as a JSON Web Key.
fn read_key(file: &Path) -> Result<Key, KeyError> {
    let text = read_text(file)?;
    if text.trim_start().starts_with('{') {
        return jwk::read(&serde_json::from_str(&text)?);
    }
    Ok(Key {
        material: pem::read(&text)?,
        algorithm: None,
    })
}
