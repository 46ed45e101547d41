//! `auth_oauth2`: what the broker is called, and who signs tokens for it; for the broker's first name, and for further ones
//! (`resource_servers.NAME`) and their authorization servers (`oauth_providers.NAME`) in the same words.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::auth::index;
use super::{Line, Outcome, boolean};

/// What may be said of authorization servers.
const OF_PROVIDERS: [&str; 9] = [
    "algorithms",
    "default_key",
    "discovery_endpoint_params",
    "discovery_endpoint_path",
    "https",
    "issuer",
    "jwks_uri",
    "jwks_url",
    "signing_keys",
];

/// What may be said of a name of the broker.
const OF_SERVERS: [&str; 10] = [
    "additional_scopes_key",
    "id",
    "oauth_provider_id",
    "preferred_username_claims",
    "require_exp",
    "resource_server_type",
    "scope_aliases",
    "scope_pattern_syntax",
    "scope_prefix",
    "verify_aud",
];

/// What is not said of the broker's first name and the nameless authorization server.
const OF_OTHERS: [&str; 4] = [
    "id",
    "oauth_provider_id",
    "oauth_providers",
    "resource_servers",
];

/// Keys with a text that are called the same here.
const TEXTS: [&str; 12] = [
    "additional_scopes_key",
    "default_key",
    "default_oauth_provider",
    "discovery_endpoint_path",
    "id",
    "issuer",
    "jwks_file",
    "jwks_uri",
    "oauth_provider_id",
    "resource_server_id",
    "resource_server_type",
    "scope_prefix",
];

/// What the file says so far.
#[derive(Default)]
pub(super) struct OAuth2 {
    root: Part,
    /// By the name in `auth_oauth2.oauth_providers.NAME`.
    providers: BTreeMap<String, Part>,
    servers: BTreeMap<String, Part>,
}

/// What is said of one of them.
#[derive(Default)]
struct Part {
    table: Table,
    /// By the number in `preferred_username_claims.1`.
    claims: BTreeMap<u32, String>,
    algorithms: BTreeMap<u32, String>,
    /// By the number in `scope_aliases.1.alias`.
    aliases: BTreeMap<u32, Alias>,
    /// Name and value, as in an address.
    discovery: Vec<String>,
}

#[derive(Default)]
struct Alias {
    alias: String,
    scope: String,
}

impl OAuth2 {
    /// Takes what follows `auth_oauth2`, if it is one of these.
    pub(super) fn take(&mut self, rest: &[&str], line: Line<'_>) -> Option<Outcome> {
        match *rest {
            ["oauth_providers", name, key, ref more @ ..] if OF_PROVIDERS.contains(&key) => {
                let provider = self.providers.entry(name.to_owned()).or_default();
                provider.take(key, more, line)
            }
            ["resource_servers", name, key, ref more @ ..] if OF_SERVERS.contains(&key) => {
                let server = self.servers.entry(name.to_owned()).or_default();
                server.take(key, more, line)
            }
            [key, ref more @ ..] if !OF_OTHERS.contains(&key) => self.root.take(key, more, line),
            _ => None,
        }
    }

    /// The section `[auth.oauth2]`.
    pub(super) fn finish(self) -> Table {
        let mut section = self.root.finish();
        let named = [
            ("oauth_providers", self.providers),
            ("resource_servers", self.servers),
        ];
        for (key, parts) in named {
            let parts = parts.into_iter().map(|(name, part)| {
                let mut table = part.finish();
                table.entry("id").or_insert(name.into());
                Value::from(table)
            });
            let parts: Vec<Value> = parts.collect();
            if !parts.is_empty() {
                section.insert(key.to_owned(), parts.into());
            }
        }
        section
    }
}

impl Part {
    fn take(&mut self, key: &str, more: &[&str], line: Line<'_>) -> Option<Outcome> {
        let text = line.value.to_owned();
        let same = TEXTS.contains(&key).then_some(key);
        let renamed = match (key, more) {
            ("jwks_url", []) => Some("jwks_uri"),
            ("https", ["cacertfile"]) => Some("cacertfile"),
            _ => same.filter(|_| more.is_empty()),
        };
        if let Some(key) = renamed {
            self.table.insert(key.to_owned(), text.into());
            return Some(Ok(()));
        }
        let done = match (key, more) {
            ("https", [what, ..]) => always_checked(what, line),
            ("verify_aud" | "require_exp", []) => boolean(line.value)
                .map(|value| drop(self.table.insert(key.to_owned(), value.into()))),
            ("scope_pattern_syntax", []) if line.value == "wildcard" => Ok(()),
            ("discovery_endpoint_params", [name]) => {
                self.discovery.push(format!("{name}={text}"));
                Ok(())
            }
            ("preferred_username_claims", [number]) => index(number).map(|number| {
                self.claims.insert(number, text);
            }),
            ("algorithms", [number]) => index(number).map(|number| {
                self.algorithms.insert(number, text);
            }),
            ("signing_keys", [id]) => {
                self.push("signing_keys", [("id", id), ("file", line.value)]);
                Ok(())
            }
            ("scope_aliases", [alias]) => {
                self.push("scope_aliases", [("alias", alias), ("scope", line.value)]);
                Ok(())
            }
            ("scope_aliases", [number, "alias"]) => index(number).map(|number| {
                self.aliases.entry(number).or_default().alias = text;
            }),
            ("scope_aliases", [number, "scope"]) => index(number).map(|number| {
                self.aliases.entry(number).or_default().scope = text;
            }),
            _ => return None,
        };
        Some(done)
    }

    fn push(&mut self, key: &str, pairs: [(&str, &str); 2]) {
        let pairs = pairs.map(|(key, value)| (key.to_owned(), Value::from(value)));
        let list = self.table.entry(key).or_insert(Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(Table::from_iter(pairs).into());
        }
    }

    fn finish(mut self) -> Table {
        for alias in std::mem::take(&mut self.aliases).into_values() {
            let pairs = [("alias", &*alias.alias), ("scope", &*alias.scope)];
            self.push("scope_aliases", pairs);
        }
        let lists = [
            ("preferred_username_claims", self.claims),
            ("algorithms", self.algorithms),
        ];
        for (key, list) in lists {
            if !list.is_empty() {
                let list: Vec<_> = list.into_values().map(Value::from).collect();
                self.table.insert(key.to_owned(), list.into());
            }
        }
        if !self.discovery.is_empty() {
            let key = "discovery_endpoint_path";
            let path = self.table.get(key).and_then(Value::as_str);
            let path = path.unwrap_or(".well-known/openid-configuration");
            let path = format!("{path}?{}", self.discovery.join("&"));
            self.table.insert(key.to_owned(), path.into());
        }
        self.table
    }
}

/// What says how the authorization server's certificate is checked: that is not left to choice.
fn always_checked(what: &str, line: Line<'_>) -> Outcome {
    match (what, line.value) {
        ("verify" | "peer_verification", "verify_peer") | ("hostname_verification", "wildcard") => {
            Ok(())
        }
        _ => Err(format!(
            "{} has no effect here: the server's certificate is always checked",
            line.key
        )),
    }
}
