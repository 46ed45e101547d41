//! What a token's scopes allow: `read:vhost/name`, `write:vhost/name/routing_key`, `configure:…`.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use ternmq_broker::{Authority, LoginRefusal, Rights, Scene, User};
use ternmq_core::access::Right;
use ternmq_core::error::Kind;
use ternmq_core::id::Timestamp;

use super::token::{Claims, TokenError};
use super::wildcard::{Wildcard, escape};
use super::{Patience, Shared};

/// What a token says, for as long as somebody is logged in by it.
pub(super) struct Token {
    pub(super) shared: Arc<Shared>,
    pub(super) scopes: Vec<String>,
    pub(super) claims: Claims,
}

/// Claims are people's own.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// What a token allows in one vhost.
#[derive(Debug)]
struct Grants(Vec<Grant>);

/// What one scope allows.
#[derive(Debug)]
struct Grant {
    right: Right,
    name: Wildcard,
    /// Which keys; none if the scope says nothing of them.
    key: Option<Wildcard>,
}

impl Authority for Token {
    fn rights(&self, scene: &Scene<'_>) -> Option<Arc<dyn Rights>> {
        let scopes = self.scopes.iter();
        let grants = scopes.filter_map(|scope| grant(scope, &self.claims, scene.vhost));
        let grants: Vec<Grant> = grants.collect();
        if grants.is_empty() {
            return None;
        }
        Some(Arc::new(Grants(grants)))
    }

    fn renew(
        self: Arc<Self>,
        user: &User,
        secret: &[u8],
        now: Timestamp,
    ) -> Result<User, LoginRefusal> {
        let renewed = self.shared.clone().user_of(secret, now, Patience::Thread);
        let renewed = renewed.and_then(|renewed| {
            if renewed.name() == user.name() {
                Ok(renewed)
            } else {
                Err(TokenError::OtherUser)
            }
        });
        renewed.map_err(|error| {
            tracing::warn!(user = user.name(), %error, "new token refused");
            LoginRefusal::BadCredentials
        })
    }
}

impl Rights for Grants {
    fn may(&self, right: Right, _: Kind, name: &str) -> bool {
        let mut grants = self.0.iter();
        grants.any(|grant| grant.right == right && grant.name.matches(name))
    }

    /// A scope without a routing key says nothing about topics, as in RabbitMQ.
    fn may_on_topic(&self, right: Right, exchange: &str, key: &str) -> bool {
        let keys = |grant: &Grant| grant.key.as_ref().is_some_and(|keys| keys.matches(key));
        let mut grants = self.0.iter();
        grants.any(|grant| grant.right == right && grant.name.matches(exchange) && keys(grant))
    }
}

/// What a scope allows in the vhost, if anything.
fn grant(scope: &str, claims: &Claims, vhost: &str) -> Option<Grant> {
    let (right, resource) = scope.split_once(':')?;
    let right = match right {
        "read" => Right::Read,
        "write" => Right::Write,
        "configure" => Right::Configure,
        _ => return None,
    };
    let resource = expand(resource, claims, vhost)?;
    let mut parts = resource.split('/');
    let vhosts = Wildcard::parse(parts.next()?)?;
    let name = Wildcard::parse(parts.next()?)?;
    let key = match parts.next() {
        None => None,
        Some(key) => Some(Wildcard::parse(key)?),
    };
    if parts.next().is_some() || !vhosts.matches(vhost) {
        return None;
    }
    Some(Grant { right, name, key })
}

/// Puts claims that are texts in the place of their names in braces, and the vhost in that of `{vhost}`. They stand for
/// themselves only: a user called `*` gets no more than others. A scope that names a claim that is not there allows
/// nothing.
fn expand(resource: &str, claims: &Claims, vhost: &str) -> Option<String> {
    let mut out = String::with_capacity(resource.len());
    let mut rest = resource;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let (name, after) = after.split_once('}')?;
        let value = match name {
            "vhost" => vhost,
            name => claims.get(name).and_then(Value::as_str)?,
        };
        escape(value, &mut out);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}
