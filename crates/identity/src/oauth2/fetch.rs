//! Keys from where the authorization server has them: a JSON Web Key Set, at an address that is known, or that the server
//! names (`OpenID` Connect Discovery 1.0 §4).
//!
//! Whoever can change an answer can let anybody in. So it comes over TLS, or from this machine.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Uri;

use super::OAuth2Error;
use super::config::KeysConfig;
use super::keys::{FILE_BYTES_MAX, KeyError, KeyRing};
use crate::client::{self, Limits};

/// Time for one of the two answers at most.
pub(super) const TIMEOUT: Duration = Duration::from_secs(4);

/// Redirections that are followed, at most.
const REDIRECTS_MAX: u32 = 3;

/// Why no keys came.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0}")]
    Http(#[from] Box<ureq::Error>),
    #[error("status {0}")]
    Status(u16),
    #[error("the answer names no `jwks_uri`")]
    NoKeySet,
    #[error("`jwks_uri` is {0:?}; only https:// is asked, or this machine")]
    Address(String),
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// Where keys are fetched from.
#[derive(Debug)]
pub(super) struct Source {
    agent: Agent,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// The address of a key set.
    Keys(String),
    /// The address of what names that.
    Discovery(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Keys(address) | Place::Discovery(address) => f.write_str(address),
        }
    }
}

impl Source {
    /// None if nothing says where keys are.
    pub(super) fn new(config: &KeysConfig) -> Result<Option<Self>, OAuth2Error> {
        let (key, address, place) = match (&config.jwks_uri, &config.issuer) {
            (Some(address), _) => ("jwks_uri", address.clone(), Place::Keys as fn(String) -> _),
            (None, Some(issuer)) => {
                let issuer = issuer.trim_end_matches('/');
                let path = config.discovery_endpoint_path.trim_start_matches('/');
                ("issuer", format!("{issuer}/{path}"), Place::Discovery as _)
            }
            (None, None) => return Ok(None),
        };
        if !may_be_asked(&address) {
            return Err(OAuth2Error::Address { key, address });
        }
        let is_secure = address.starts_with("https://");
        let limits = Limits {
            request: TIMEOUT,
            connection: TIMEOUT,
            idle_connections: 1,
            redirects: if is_secure { REDIRECTS_MAX } else { 0 },
        };
        Ok(Some(Self {
            agent: client::agent(&limits, config.cacertfile.as_deref())?,
            place: place(address),
        }))
    }

    /// Fetches the keys. Takes twice [`TIMEOUT`] at most.
    pub(super) fn fetch(&self) -> Result<KeyRing, FetchError> {
        let address = match &self.place {
            Place::Keys(address) => address,
            Place::Discovery(address) => &key_set(&self.get(address)?)?,
        };
        Ok(KeyRing::read(&self.get(address)?, address)?)
    }

    fn get(&self, address: &str) -> Result<String, FetchError> {
        let mut answer = self.agent.get(address).call().map_err(Box::new)?;
        let status = answer.status().as_u16();
        if status != 200 {
            return Err(FetchError::Status(status));
        }
        let body = answer.body_mut().with_config().limit(FILE_BYTES_MAX);
        Ok(body.read_to_string().map_err(Box::new)?)
    }
}

/// What the authorization server says about where its keys are.
fn key_set(metadata: &str) -> Result<String, FetchError> {
    let metadata: Value = serde_json::from_str(metadata).map_err(KeyError::Json)?;
    let address = metadata.get("jwks_uri").and_then(Value::as_str);
    let address = address.ok_or(FetchError::NoKeySet)?;
    if may_be_asked(address) {
        Ok(address.to_owned())
    } else {
        Err(FetchError::Address(address.to_owned()))
    }
}

/// Whether nobody on the way can change the answer.
fn may_be_asked(address: &str) -> bool {
    let Ok(uri) = address.parse::<Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default();
    let is_here = || {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let ip = host.parse::<std::net::IpAddr>();
        host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    };
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_here(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_over_tls_or_from_this_machine() {
        for yes in [
            "https://id.example/keys",
            "https://id.example:8443/realms/x?a=b",
            "http://localhost:8080/keys",
            "http://127.0.0.1/keys",
            "http://[::1]:80/keys",
        ] {
            assert!(may_be_asked(yes), "{yes}");
        }
        for no in [
            "http://id.example/keys",
            "http://localhost.example/keys",
            "http://127.0.0.1.example/",
            "ftp://localhost/",
            "file:///etc/keys",
            "id.example/keys",
            "https:///keys",
            "",
        ] {
            assert!(!may_be_asked(no), "{no}");
        }
    }

    #[test]
    fn metadata_names_the_key_set() {
        let set = |metadata: &str| key_set(metadata).map_err(|error| error.to_string());
        let good = r#"{"issuer": "https://x", "jwks_uri": "https://x/keys"}"#;
        assert_eq!(set(good).unwrap(), "https://x/keys");
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"jwks_uri": 1}"#,
            r#"{"jwks_uri": "http://x/keys"}"#,
        ] {
            assert!(set(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_those_of_the_configuration() {
        let shown = |config: KeysConfig| Source::new(&config).unwrap().map(|s| s.to_string());
        let issuer = |issuer: &str| KeysConfig {
            issuer: Some(issuer.to_owned()),
            ..KeysConfig::default()
        };
        let discovery = "https://x/realms/y/.well-known/openid-configuration";
        assert_eq!(shown(KeysConfig::default()), None);
        assert_eq!(shown(issuer("https://x/realms/y")).unwrap(), discovery);
        assert_eq!(shown(issuer("https://x/realms/y/")).unwrap(), discovery);
        let other = KeysConfig {
            discovery_endpoint_path: "/conf?app=1".to_owned(),
            ..issuer("https://x")
        };
        assert_eq!(shown(other).unwrap(), "https://x/conf?app=1");
        let both = KeysConfig {
            jwks_uri: Some("https://x/keys".to_owned()),
            ..issuer("https://y")
        };
        assert_eq!(shown(both).unwrap(), "https://x/keys");
        assert!(Source::new(&issuer("http://x")).is_err());
    }
}
