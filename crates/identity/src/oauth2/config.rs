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
    /// Whether tokens have to end.
    pub require_exp: bool,
    /// Scopes that stand for others.
    pub scope_aliases: Vec<ScopeAlias>,
    /// Other names of this broker, with other rules.
    pub resource_servers: Vec<ResourceServer>,
    /// Whose keys sign tokens, where the resource server does not say. Default: those below.
    pub default_oauth_provider: Option<String>,
    /// Further authorization servers.
    pub oauth_providers: Vec<OAuthProvider>,
    /// The keys of the authorization server without a name.
    #[serde(flatten)]
    pub keys: KeysConfig,
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
            require_exp: true,
            scope_aliases: Vec::new(),
            resource_servers: Vec::new(),
            default_oauth_provider: None,
            oauth_providers: Vec::new(),
            keys: KeysConfig::default(),
        }
    }
}

/// Where keys come from, and what they may be used for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct KeysConfig {
    /// The key of tokens that name none.
    pub default_key: Option<String>,
    /// Keys that tokens are signed with.
    pub signing_keys: Vec<SigningKey>,
    /// A file with such keys as a JSON Web Key Set (RFC 7517).
    pub jwks_file: Option<PathBuf>,
    /// Where such a set is fetched from.
    pub jwks_uri: Option<String>,
    /// The authorization server that says where, if `jwks_uri` does not.
    pub issuer: Option<String>,
    /// Where below `issuer` it says that, with a query if need be.
    pub discovery_endpoint_path: String,
    /// PEM file of the authorities that the server's certificate is trusted from. Default: the machine's.
    pub cacertfile: Option<PathBuf>,
    /// The algorithms that may be used. Default: all that fit the key.
    pub algorithms: Vec<String>,
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self {
            default_key: None,
            signing_keys: Vec::new(),
            jwks_file: None,
            jwks_uri: None,
            issuer: None,
            discovery_endpoint_path: ".well-known/openid-configuration".to_owned(),
            cacertfile: None,
            algorithms: Vec::new(),
        }
    }
}

/// Another name of this broker. What is not said here is as for the broker's first name.
#[derive(Clone, Default, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResourceServer {
    /// What `aud` of a token has to name.
    pub id: String,
    /// See [`OAuth2Config::resource_server_type`].
    pub resource_server_type: Option<String>,
    /// See [`OAuth2Config::scope_prefix`]. Default: that of [`OAuth2Config`] if it has one, else `id` and a point.
    pub scope_prefix: Option<String>,
    /// See [`OAuth2Config::additional_scopes_key`].
    pub additional_scopes_key: Option<String>,
    /// See [`OAuth2Config::preferred_username_claims`].
    pub preferred_username_claims: Option<Vec<String>>,
    /// See [`OAuth2Config::verify_aud`].
    pub verify_aud: Option<bool>,
    /// See [`OAuth2Config::require_exp`].
    pub require_exp: Option<bool>,
    /// See [`OAuth2Config::scope_aliases`].
    pub scope_aliases: Option<Vec<ScopeAlias>>,
    /// Whose keys sign its tokens. Default: [`OAuth2Config::default_oauth_provider`].
    pub oauth_provider_id: Option<String>,
}

/// An authorization server.
#[derive(Clone, Default, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OAuthProvider {
    /// What resource servers call it.
    pub id: String,
    /// Its keys.
    #[serde(flatten)]
    pub keys: KeysConfig,
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
