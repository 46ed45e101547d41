//! The names that this broker has for authorization servers, and what tokens for each of them may be like.

use std::sync::Arc;

use serde_json::Value;

use super::OAuth2Error;
use super::config::{OAuth2Config, ResourceServer, ScopeAlias};
use super::provider::Provider;
use super::token::{TokenError, shortened};

/// Names, at most.
const SERVERS_MAX: usize = 1_024;

/// One of the broker's names, with its rules; see [`OAuth2Config`] for what they mean.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) id: String,
    pub(super) resource_server_type: String,
    pub(super) scope_prefix: String,
    pub(super) additional_scopes_key: String,
    pub(super) preferred_username_claims: Vec<String>,
    pub(super) verify_aud: bool,
    pub(super) require_exp: bool,
    pub(super) scope_aliases: Vec<ScopeAlias>,
    /// Whose keys sign the tokens.
    pub(super) provider: Arc<Provider>,
}

impl Server {
    fn new(
        config: &OAuth2Config,
        own: &ResourceServer,
        providers: &[Arc<Provider>],
    ) -> Result<Self, OAuth2Error> {
        let named = own.oauth_provider_id.as_ref();
        let name = named.or(config.default_oauth_provider.as_ref());
        let found = providers.iter().find(|known| known.name() == name);
        let provider = found.ok_or_else(|| match name {
            Some(name) => OAuth2Error::NoProvider(name.clone()),
            None => OAuth2Error::NoKeys,
        })?;
        let or = |own: &Option<String>, ours: &String| own.as_ref().unwrap_or(ours).clone();
        let prefix = own.scope_prefix.as_ref().or(config.scope_prefix.as_ref());
        let claims = own.preferred_username_claims.as_ref();
        let aliases = own.scope_aliases.as_ref();
        Ok(Self {
            id: own.id.clone(),
            resource_server_type: or(&own.resource_server_type, &config.resource_server_type),
            scope_prefix: prefix.map_or_else(|| format!("{}.", own.id), Clone::clone),
            additional_scopes_key: or(&own.additional_scopes_key, &config.additional_scopes_key),
            preferred_username_claims: claims.unwrap_or(&config.preferred_username_claims).clone(),
            verify_aud: own.verify_aud.unwrap_or(config.verify_aud),
            require_exp: own.require_exp.unwrap_or(config.require_exp),
            scope_aliases: aliases.unwrap_or(&config.scope_aliases).clone(),
            provider: Arc::clone(provider),
        })
    }
}

/// All names, each once.
pub(super) fn all(
    config: &OAuth2Config,
    providers: &[Arc<Provider>],
) -> Result<Vec<Server>, OAuth2Error> {
    let first = ResourceServer {
        id: config.resource_server_id.clone(),
        ..ResourceServer::default()
    };
    let first = Some(&first).filter(|first| !first.id.is_empty());
    let mut servers: Vec<Server> = Vec::new();
    for own in first.into_iter().chain(&config.resource_servers) {
        if own.id.is_empty() || servers.iter().any(|known| known.id == own.id) {
            return Err(OAuth2Error::ResourceServer(own.id.clone()));
        }
        servers.push(Server::new(config, own, providers)?);
    }
    if servers.is_empty() || servers.len() > SERVERS_MAX {
        return Err(OAuth2Error::NoResourceServer);
    }
    Ok(servers)
}

/// Which name a token is for. RFC 7519 §4.1.3: a text or a list of them; several in one text, as some servers have it, are
/// separated by spaces. If it is for none, the only one is taken that does not ask.
pub(super) fn of_audience<'a>(
    servers: &'a [Server],
    aud: Option<&Value>,
) -> Result<&'a Server, TokenError> {
    let is_named = |server: &&Server| match aud {
        Some(Value::String(text)) => text.split(' ').any(|one| one == server.id),
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(&server.id)),
        _ => false,
    };
    let shown = || aud.map_or_else(|| "nobody".to_owned(), |aud| shortened(&aud.to_string()));
    let mut named = servers.iter().filter(is_named);
    match (named.next(), named.next()) {
        (Some(one), None) => return Ok(one),
        (Some(_), Some(_)) => return Err(TokenError::Ambiguous(shown())),
        (None, _) => {}
    }
    let mut lax = servers.iter().filter(|server| !server.verify_aud);
    match (lax.next(), lax.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(TokenError::Audience(shown())),
    }
}
