//! What the operator can set about tokens; named as in a `rabbitmq.conf`, without `auth_oauth2.`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which tokens let somebody in, and what they allow.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OAuth2Config {
    /// Who this broker is to the authorization server: in `aud` of every token, and before every scope.
    pub resource_server_id: String,
    /// The `type` of those entries of `authorization_details` that are meant for this broker; without it none is.
    pub resource_server_type: String,
    /// What scopes begin with that are meant for this broker. Default: `resource_server_id` and a point.
    pub scope_prefix: Option<String>,
    /// Claims that have scopes besides `scope`, separated by spaces; points lead into them: `realm_access.roles`.
    pub additional_scopes_key: String,
    /// Claims that name the user, the first one that there is; then `sub`, then `client_id`.
    pub preferred_username_claims: Vec<String>,
    /// Whether `aud` has to name this broker.
    pub verify_aud: bool,
    /// The key of tokens that name none.
    pub default_key: Option<String>,
    /// Keys that tokens are signed with.
    pub signing_keys: Vec<SigningKey>,
    /// A file with such keys as a JSON Web Key Set (RFC 7517).
    pub jwks_file: Option<PathBuf>,
    /// The algorithms that may be used. Default: all that fit the key.
    pub algorithms: Vec<String>,
    /// Scopes that stand for others.
    pub scope_aliases: Vec<ScopeAlias>,
}

impl Default for OAuth2Config {
    fn default() -> Self {
        Self {
            resource_server_id: String::new(),
            resource_server_type: String::new(),
            scope_prefix: None,
            additional_scopes_key: String::new(),
            preferred_username_claims: Vec::new(),
            verify_aud: true,
            default_key: None,
            signing_keys: Vec::new(),
            jwks_file: None,
            algorithms: Vec::new(),
            scope_aliases: Vec::new(),
        }
    }
}

/// A key in a file of its own.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKey {
    /// What tokens call it (`kid`).
    pub id: String,
    /// A public key or a certificate in PEM, or one JSON Web Key, which may be symmetric.
    pub file: PathBuf,
}

/// A scope that stands for others.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeAlias {
    /// As it stands in tokens.
    pub alias: String,
    /// What it stands for, separated by spaces.
    pub scope: String,
}
