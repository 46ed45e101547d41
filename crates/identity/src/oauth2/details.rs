//! Rich authorization requests (RFC 9396): `authorization_details` of a token, as scopes.
//!
//! ```json
//! {"type": "rabbitmq", "locations": ["cluster:finance/vhost:primary-*"], "actions": ["read", "configure"]}
//! ```
//! is `finance.read:primary-*/*/*` and `finance.configure:primary-*/*/*` to the broker called `finance`.

use serde_json::Value;

use super::server::Server;
use super::token::Claims;
use super::wildcard::Wildcard;

const RIGHTS: [&str; 3] = ["read", "write", "configure"];
const TAGS: [&str; 4] = ["administrator", "monitoring", "management", "policymaker"];

/// Scopes, at most, that are made of this; more than this is refused by those who count all.
const SCOPES_MAX: usize = super::scopes::SCOPES_MAX + 1;

/// All that are meant for this broker, with its name before them.
pub(super) fn scopes(claims: &Claims, server: &Server) -> Vec<String> {
    let id = &server.id;
    let details = claims
        .get("authorization_details")
        .and_then(Value::as_array);
    let is_ours = |detail: &&Value| {
        let kind = detail.get("type").and_then(Value::as_str);
        !server.resource_server_type.is_empty() && kind == Some(&server.resource_server_type)
    };
    let mut out = Vec::new();
    for detail in details.into_iter().flatten().filter(is_ours) {
        let locations = texts(detail.get("locations"));
        let locations: Vec<String> = locations
            .filter_map(|location| resource(location, id))
            .collect();
        if locations.is_empty() {
            continue;
        }
        for action in texts(detail.get("actions")) {
            if TAGS.contains(&action) {
                out.push(format!("{id}.tag:{action}"));
            } else if RIGHTS.contains(&action) {
                let scope = |location: &String| format!("{id}.{action}:{location}");
                out.extend(locations.iter().map(scope));
            }
            if out.len() > SCOPES_MAX {
                return out;
            }
        }
    }
    out
}

/// What a location names, if it is in this broker: vhost, queue or exchange, routing key.
fn resource(location: &str, id: &str) -> Option<String> {
    // The last one counts; one without a value is not there.
    let attribute = |name: &str| {
        let parts = location.rsplit('/').filter_map(|part| part.split_once(':'));
        let mut valued = parts.filter(|(_, value)| !value.is_empty());
        valued.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let cluster = attribute("cluster")?;
    if !Wildcard::parse(cluster)?.matches(id) {
        return None;
    }
    let (queue, exchange) = (attribute("queue"), attribute("exchange"));
    if queue.is_some() && exchange.is_some() && queue != exchange {
        return None;
    }
    let vhost = attribute("vhost").unwrap_or("*");
    let name = queue.or(exchange).unwrap_or("*");
    let key = attribute("routing-key").unwrap_or("*");
    Some(format!("{vhost}/{name}/{key}"))
}

/// A text, or a list of them.
fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let all = match value {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    all.iter().filter_map(Value::as_str)
}
