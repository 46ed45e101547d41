//! Users by token: JSON Web Tokens that an OAuth 2.0 authorization server signed, read as RabbitMQ's plugin
//! `rabbitmq_auth_backend_oauth2` reads them.
//!
//! ```text
//! password ─► aud: whom it is for (server.rs) ─► signature (token.rs, provider.rs) ─► exp, nbf ─► scopes ─► User: name,
//! tags, rights, until exp
//! ```
//!
//! A key that is not known is fetched, if the configuration says from where (remote.rs); who logs in by it waits.
//! Left out: RabbitMQ's scopes that are regular expressions (`scope_pattern_syntax`).

mod algorithm;
pub mod config;
mod details;
mod fetch;
mod jwk;
mod keys;
mod pem;
mod provider;
mod remote;
mod rights;
mod scopes;
mod server;
mod token;
mod wildcard;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use ternmq_broker::aside::Aside;
use ternmq_broker::clock::Clock;
use ternmq_broker::{Attempt, Backend, LoginRefusal, User};
use ternmq_core::id::Timestamp;

use crate::aside::{Bell, Waiting};
use crate::client::AuthoritiesError;
use algorithm::Algorithm;
use config::OAuth2Config;
use keys::Key;
pub use keys::KeyError;
use provider::Provider;
use rights::Token;
use server::Server;
pub use token::TOKEN_BYTES_MAX;
use token::{TokenError, Unchecked, shortened};

/// Why tokens cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum OAuth2Error {
    /// Nothing says who this broker is.
    #[error("neither `resource_server_id` nor `resource_servers` is set")]
    NoResourceServer,
    /// A name without letters, or one that is there twice.
    #[error("{0:?} is no `id` of a resource server, or another one has it")]
    ResourceServer(String),
    /// A name that stands for nobody.
    #[error("{0:?} is none of `oauth_providers`, or it is there twice")]
    NoProvider(String),
    /// An address that is not asked.
    #[error("`{key}`: {address:?} is not asked for keys; https:// is, or this machine")]
    Address {
        /// What has it.
        key: &'static str,
        /// Which one.
        address: String,
    },
    /// The authorities.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// A thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// There is no such algorithm.
    #[error("algorithm {0:?} is not known; known are {known}", known = known_algorithms())]
    Algorithm(String),
    /// There is nothing to check signatures with.
    #[error("there is no key: set `signing_keys`, `jwks_file`, `jwks_uri` or `issuer`")]
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
}

/// What all logins share.
#[derive(Debug)]
struct Shared {
    servers: Vec<Server>,
    providers: Vec<Arc<Provider>>,
    waiting: Waiting,
    wall: Wall,
}

/// What tokens mean by now: who made them has never heard of the broker's clock, which does not follow if the machine's is
/// set, or the machine sleeps.
#[derive(Default)]
struct Wall(OnceLock<Arc<dyn Clock>>);

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wall").finish_non_exhaustive()
    }
}

impl Wall {
    /// The same as the broker's clock before there is another.
    fn at(&self, now: Timestamp) -> Timestamp {
        self.0.get().map_or(now, |clock| clock.wall())
    }
}

/// Threads that fetch keys end with the last who could need one.
impl Drop for Shared {
    fn drop(&mut self) {
        self.providers.iter().for_each(|provider| provider.stop());
    }
}

/// Who logs in.
#[derive(Clone, Copy)]
enum Patience<'a> {
    /// Is told to come back when this is called.
    Waker(&'a Waker),
    /// Waits in its thread.
    Thread,
}

impl OAuth2 {
    /// Reads the keys that are in files.
    ///
    /// # Errors
    /// What of the configuration cannot be used.
    pub fn load(config: &OAuth2Config, aside: Aside) -> Result<Self, OAuth2Error> {
        let mut providers = Vec::new();
        for own in &config.oauth_providers {
            let is_known = |known: &Arc<Provider>| known.name() == Some(&own.id);
            if own.id.is_empty() || providers.iter().any(is_known) {
                return Err(OAuth2Error::NoProvider(own.id.clone()));
            }
            providers.push(Arc::new(Provider::load(Some(&own.id), &own.keys)?));
        }
        match Provider::load(None, &config.keys) {
            Ok(provider) => providers.push(Arc::new(provider)),
            // Whoever needs it says so.
            Err(OAuth2Error::NoKeys) => {}
            Err(error) => return Err(error),
        }
        let shared = Shared {
            servers: server::all(config, &providers)?,
            providers,
            waiting: Waiting::new(aside),
            wall: Wall::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Begins to fetch keys, where the configuration says from where: a thread for each of those places. From now on the
    /// clock says when tokens end. Called once, before anybody logs in.
    ///
    /// # Errors
    /// [`OAuth2Error::Thread`]
    pub fn start(&self, clock: &Arc<dyn Clock>) -> Result<(), OAuth2Error> {
        let set = self.shared.wall.0.set(clock.clone());
        debug_assert!(set.is_ok(), "set once");
        let (now, mut providers) = (clock.now(), self.shared.providers.iter());
        providers.try_for_each(|provider| provider.start(now))
    }

    /// Reads the keys again, and fetches them. Keys that cannot be used change nothing.
    pub fn reload(&self) {
        for provider in &self.shared.providers {
            provider.reload();
        }
    }

    /// Reads the keys again if their files have changed, and then have been the same for two looks.
    pub fn reload_if_changed(&self) {
        for provider in &self.shared.providers {
            provider.reload_if_changed();
        }
    }
}

impl Backend for OAuth2 {
    /// The name is ignored: a token says whom it is about.
    fn login(&self, attempt: &Attempt<'_>, now: Timestamp) -> Result<User, LoginRefusal> {
        let password = attempt.password.unwrap_or_default();
        let patience = attempt.waker.map_or(Patience::Thread, Patience::Waker);
        let user = self.shared.clone().user_of(password, now, patience);
        user.map_err(|error| {
            let peer = attempt.peer;
            match error {
                TokenError::Fetching => return LoginRefusal::Undecided,
                TokenError::NotAToken => tracing::debug!(%peer, "password is no token"),
                error => tracing::info!(%peer, %error, "token refused"),
            }
            LoginRefusal::BadCredentials
        })
    }
}

impl Shared {
    /// Whom a token lets in.
    fn user_of(
        self: Arc<Self>,
        token: &[u8],
        now: Timestamp,
        patience: Patience<'_>,
    ) -> Result<User, TokenError> {
        let token = Unchecked::read(token)?;
        let server = server::of_audience(&self.servers, token.audience())?;
        let provider = &server.provider;
        let algorithm = token.algorithm(provider.algorithms())?;
        let key = self.key_of(
            provider,
            token.key_id(provider.default_key())?,
            now,
            patience,
        )?;
        let claims = token.verify(algorithm, &key)?;
        let wall = self.wall.at(now);
        let ends_at = token::check_times(&claims, server, wall)?;
        let scopes = scopes::of(&claims, server)?;
        let tags = scopes::tags(&scopes);
        let name = token::user_name(&claims, &server.preferred_username_claims).to_owned();
        let token = Token {
            shared: self,
            scopes,
            claims,
        };
        let user = User::new(&name, &tags, Arc::new(token));
        Ok(match ends_at {
            Some(ends_at) => user.until(now.plus_ms(ends_at.since(wall))),
            None => user,
        })
    }

    /// A key that is known, or could be fetched.
    fn key_of(
        &self,
        provider: &Provider,
        id: &str,
        now: Timestamp,
        patience: Patience<'_>,
    ) -> Result<Key, TokenError> {
        let remote = provider.remote();
        if let Some(key) = provider.key(id) {
            if let Some(remote) = remote {
                remote.look_at_age(now);
            }
            return Ok(key);
        }
        if let Some(remote) = remote {
            match patience {
                Patience::Waker(waker) if remote.want(now, waker) => {
                    return Err(TokenError::Fetching);
                }
                Patience::Waker(_) => {}
                Patience::Thread => {
                    let bell = Arc::new(Bell::default());
                    if remote.want(now, &Waker::from(bell.clone())) {
                        // One that had begun before, and the one that was wanted now.
                        self.waiting.wait(&bell, fetch::TIMEOUT.saturating_mul(4));
                    }
                }
            }
        }
        // It may have come meanwhile.
        let key = provider.key(id);
        key.ok_or_else(|| TokenError::UnknownKey(shortened(id)))
    }
}

#[cfg(test)]
mod tests;
