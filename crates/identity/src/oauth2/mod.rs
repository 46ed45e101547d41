//! Users by token: JSON Web Tokens that an OAuth 2.0 authorization server signed, read as RabbitMQ's plugin
//! `rabbitmq_auth_backend_oauth2` reads them.
//!
//! ```text
//! password ─► signature (token.rs, keys) ─► exp, nbf, aud ─► scopes ─► User: name, tags, rights, until exp
//! ```
//!
//! Left out: keys by URL and discovery of them, as nothing here asks the network; several resource servers in one broker.

mod algorithm;
pub mod config;
mod details;
mod jwk;
mod keys;
mod pem;
mod rights;
mod scopes;
mod token;
mod wildcard;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use ternmq_broker::{Attempt, Backend, LoginRefusal, User};
use ternmq_core::id::Timestamp;

use algorithm::Algorithm;
use config::OAuth2Config;
pub use keys::KeyError;
use keys::{KeyRing, Stamp};
use rights::Token;
pub use token::TOKEN_BYTES_MAX;
use token::TokenError;

/// Why tokens cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum OAuth2Error {
    /// Nothing says who this broker is.
    #[error("`resource_server_id` is not set")]
    NoResourceServer,
    /// There is no such algorithm.
    #[error("algorithm {0:?} is not known; known are {known}", known = known_algorithms())]
    Algorithm(String),
    /// There is nothing to check signatures with.
    #[error("there is no key: set `signing_keys` or `jwks_file`")]
    NoKeys,
    /// More than anybody has.
    #[error("more than {max} keys", max = keys::KEYS_MAX)]
    TooManyKeys,
    /// The default key is not among the keys.
    #[error("`default_key` is {0:?}, and there is no such key")]
    NoDefaultKey(String),
    /// A file cannot be used.
    #[error("{}: {error}", file.display())]
    Key {
        /// Which one.
        file: PathBuf,
        /// Why not.
        #[source]
        error: KeyError,
    },
}

fn known_algorithms() -> String {
    Algorithm::ALL.map(|(name, _)| name).join(", ")
}

/// Lets in who shows a token.
#[derive(Debug)]
pub struct OAuth2 {
    shared: Arc<Shared>,
    files: Mutex<Files>,
}

/// What the files of keys look like.
#[derive(Debug, Default)]
struct Files {
    /// When they were read, or tried to be.
    tried: Vec<Stamp>,
    /// When they had changed, at the last look.
    changed: Option<Vec<Stamp>>,
}

/// What all logins share.
#[derive(Debug)]
struct Shared {
    config: OAuth2Config,
    algorithms: Vec<Algorithm>,
    keys: ArcSwap<KeyRing>,
}

impl OAuth2 {
    /// Reads the keys.
    ///
    /// # Errors
    /// What of the configuration cannot be used.
    pub fn load(config: OAuth2Config) -> Result<Self, OAuth2Error> {
        if config.resource_server_id.is_empty() {
            return Err(OAuth2Error::NoResourceServer);
        }
        let algorithm = |name: &String| {
            Algorithm::named(name).ok_or_else(|| OAuth2Error::Algorithm(name.clone()))
        };
        let algorithms = config.algorithms.iter().map(algorithm);
        // Looked at before: what changes meanwhile is seen as a change.
        let files = Files {
            tried: keys::stamps(&config),
            changed: None,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                algorithms: algorithms.collect::<Result<_, _>>()?,
                keys: ArcSwap::from_pointee(KeyRing::load(&config)?),
                config,
            }),
            files: Mutex::new(files),
        })
    }

    /// Reads the keys again. Keys that cannot be used change nothing.
    pub fn reload(&self) {
        match KeyRing::load(&self.shared.config) {
            Ok(ring) => {
                tracing::info!(keys = ring.len(), "keys of tokens read again");
                self.shared.keys.store(Arc::new(ring));
            }
            Err(error) => {
                tracing::error!(%error, "the new keys of tokens cannot be used, the old ones stay");
            }
        }
    }

    /// Reads the keys again if their files have changed, and then have been the same for two looks.
    pub fn reload_if_changed(&self) {
        let now = keys::stamps(&self.shared.config);
        let mut files = self.files.lock();
        if files.tried == now {
            files.changed = None;
        } else if files.changed.as_ref() == Some(&now) {
            files.changed = None;
            files.tried = now;
            drop(files);
            self.reload();
        } else {
            files.changed = Some(now);
        }
    }
}

impl Backend for OAuth2 {
    /// The name is ignored: a token says whom it is about.
    fn login(&self, attempt: &Attempt<'_>, now: Timestamp) -> Result<User, LoginRefusal> {
        let password = attempt.password.unwrap_or_default();
        self.shared.clone().user_of(password, now).map_err(|error| {
            let peer = attempt.peer;
            if error == TokenError::NotAToken {
                tracing::debug!(%peer, "password is no token");
            } else {
                tracing::info!(%peer, %error, "token refused");
            }
            LoginRefusal::BadCredentials
        })
    }
}

impl Shared {
    /// Whom a token lets in.
    fn user_of(self: Arc<Self>, token: &[u8], now: Timestamp) -> Result<User, TokenError> {
        let config = &self.config;
        let ring = self.keys.load();
        let default_key = config.default_key.as_deref();
        let claims = token::verify(token, &ring, default_key, &self.algorithms)?;
        let expires_at = token::check_claims(&claims, config, now)?;
        let scopes = scopes::of(&claims, config)?;
        let tags = scopes::tags(&scopes);
        let name = token::user_name(&claims, &config.preferred_username_claims).to_owned();
        drop(ring);
        let token = Token {
            shared: self,
            scopes,
            claims,
        };
        Ok(User::new(&name, &tags, Arc::new(token)).until(expires_at))
    }
}

#[cfg(test)]
mod tests;
