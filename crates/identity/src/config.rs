//! Who is asked for users, in which order.

use serde::{Deserialize, Serialize};

use crate::http::config::{CacheConfig, HttpConfig};
use crate::oauth2::config::OAuth2Config;

/// Steps, at most.
pub const STEPS_MAX: usize = 16;

/// Where users come from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Who is asked, one after the other, until one lets the user in: `internal`, `oauth2`, `http`; or
    /// `{ authn = "…", authz = "…" }`, where the first says who it is and the second what that user may do.
    pub backends: Vec<Step>,
    /// Tokens.
    pub oauth2: OAuth2Config,
    /// An HTTP server.
    pub http: HttpConfig,
    /// How long its answers are kept.
    pub cache: CacheConfig,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            backends: vec![Step::One(BackendName::Internal)],
            oauth2: OAuth2Config::default(),
            http: HttpConfig::default(),
            cache: CacheConfig::default(),
        }
    }
}

impl AuthConfig {
    /// Whether that one is asked at all.
    pub fn asks(&self, name: BackendName) -> bool {
        self.backends
            .iter()
            .any(|step| step.authn() == name || step.authz() == Some(name))
    }
}

/// One to ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendName {
    /// The broker's own users.
    Internal,
    /// Tokens.
    OAuth2,
    /// An HTTP server.
    Http,
}

/// Who says who a user is, and who says what that user may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "neither the name of a backend nor { authn, authz }"
)]
pub enum Step {
    /// Both at once.
    One(BackendName),
    /// One each.
    Two(Split),
}

/// Two that share the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Says who a user is.
    pub authn: BackendName,
    /// Says what that user may do.
    pub authz: BackendName,
}

impl Step {
    /// Who says who a user is.
    pub fn authn(self) -> BackendName {
        match self {
            Self::One(name) => name,
            Self::Two(split) => split.authn,
        }
    }

    /// Who says what that user may do, if that is another one.
    pub fn authz(self) -> Option<BackendName> {
        match self {
            Self::One(_) => None,
            Self::Two(split) => Some(split.authz).filter(|authz| *authz != split.authn),
        }
    }
}
