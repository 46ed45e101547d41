//! Which scopes a token has for this broker: those of `scope`, of Keycloak's permissions, of further claims, of aliases,
//! of `authorization_details`; without the prefix, and without those that have none.

use serde_json::Value;

use super::details;
use super::server::Server;
use super::token::{Claims, TokenError};

/// Scopes of a token, at most; as many as RabbitMQ takes.
pub(super) const SCOPES_MAX: usize = 2_048;

/// What scopes begin with that give the user a tag.
const TAG: &str = "tag:";

/// Where Keycloak has the scopes of a requesting party token.
const PERMISSIONS: &str = "authorization.permissions.scopes";

/// The scopes without their prefix, each once, in order.
pub(super) fn of(claims: &Claims, server: &Server) -> Result<Vec<String>, TokenError> {
    let id = &*server.id;
    let mut all = Vec::new();
    if let Some(scope) = claims.get("scope") {
        collect_list(scope, &mut all);
    }
    let further = server.additional_scopes_key.split_whitespace();
    for path in further.chain([PERMISSIONS]) {
        let steps: Vec<&str> = path.split('.').filter(|step| !step.is_empty()).collect();
        collect_below(claims, &steps, id, &mut all);
    }
    for index in 0..all.len() {
        let mut aliases = server.scope_aliases.iter();
        if let Some(meant) = aliases.find(|alias| alias.alias == all[index]) {
            all.extend(meant.scope.split_whitespace().map(str::to_owned));
        }
    }
    all.extend(details::scopes(claims, server));
    let ours = all
        .iter()
        .filter_map(|scope| scope.strip_prefix(&*server.scope_prefix));
    let mut ours: Vec<String> = ours.map(str::to_owned).collect();
    ours.sort();
    ours.dedup();
    if ours.len() > SCOPES_MAX {
        return Err(TokenError::TooManyScopes(SCOPES_MAX));
    }
    Ok(ours)
}

/// The tags among the scopes.
pub(super) fn tags(scopes: &[String]) -> Vec<Box<str>> {
    let tags = scopes.iter().filter_map(|scope| scope.strip_prefix(TAG));
    tags.filter(|tag| !tag.is_empty()).map(Into::into).collect()
}

/// A text of scopes with spaces between them, or a list of scopes, which may have some in them.
fn collect_list(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.extend(text.split_whitespace().map(str::to_owned)),
        Value::Array(all) => {
            out.extend(all.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        _ => {}
    }
}

/// Follows a path of members; lists on the way are followed element by element.
fn collect_below(members: &Claims, steps: &[&str], id: &str, out: &mut Vec<String>) {
    let Some((step, rest)) = steps.split_first() else {
        return;
    };
    match members.get(*step) {
        Some(found) if rest.is_empty() => collect_found(found, id, out),
        Some(Value::Object(below)) => collect_below(below, rest, id, out),
        Some(Value::Array(all)) => {
            for below in all.iter().filter_map(Value::as_object) {
                collect_below(below, rest, id, out);
            }
        }
        _ => {}
    }
}

/// At the end of a path. An object has lists by the broker's name, without prefix.
fn collect_found(found: &Value, id: &str, out: &mut Vec<String>) {
    let Value::Object(by_server) = found else {
        return collect_list(found, out);
    };
    if let Some(ours) = by_server.get(id) {
        let mut bare = Vec::new();
        collect_list(ours, &mut bare);
        out.extend(bare.into_iter().map(|scope| format!("{id}.{scope}")));
    }
}
