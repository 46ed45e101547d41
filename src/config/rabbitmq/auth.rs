//! Who is asked for users: `auth_backends`, `auth_oauth2`.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Line, Outcome, boolean};

/// What the file says so far.
#[derive(Default)]
pub(super) struct Auth {
    /// By the number in `auth_backends.1`.
    backends: BTreeMap<u32, Backend>,
    oauth2: Table,
    /// By the number in `auth_oauth2.preferred_username_claims.1`.
    claims: BTreeMap<u32, String>,
    algorithms: BTreeMap<u32, String>,
    /// By the number in `auth_oauth2.scope_aliases.1.alias`.
    aliases: BTreeMap<u32, Alias>,
}

#[derive(Default)]
struct Backend {
    authn: Option<&'static str>,
    authz: Option<&'static str>,
}

#[derive(Default)]
struct Alias {
    alias: String,
    scope: String,
}

impl Auth {
    /// Takes a line, if it is one of these.
    pub(super) fn take(&mut self, line: Line<'_>) -> Option<Outcome> {
        let parts: Vec<&str> = line.key.split('.').collect();
        match parts[..] {
            ["auth_backends", number] => Some(self.backend(number, line, |backend, name| {
                backend.authn = Some(name);
                backend.authz = Some(name);
            })),
            ["auth_backends", number, "authn"] => {
                Some(self.backend(number, line, |backend, name| backend.authn = Some(name)))
            }
            ["auth_backends", number, "authz"] => {
                Some(self.backend(number, line, |backend, name| backend.authz = Some(name)))
            }
            ["auth_oauth2", ref rest @ ..] => self.oauth2(rest, line),
            _ => None,
        }
    }

    fn backend(
        &mut self,
        number: &str,
        line: Line<'_>,
        set: impl FnOnce(&mut Backend, &'static str),
    ) -> Outcome {
        let name = match line.value {
            "internal" | "rabbit_auth_backend_internal" => "internal",
            "oauth" | "oauth2" | "rabbit_auth_backend_oauth2" => "oauth2",
            other => return Err(format!("{} = {other}: there is no such backend", line.key)),
        };
        set(self.backends.entry(index(number)?).or_default(), name);
        Ok(())
    }

    fn oauth2(&mut self, rest: &[&str], line: Line<'_>) -> Option<Outcome> {
        let text = line.value.to_owned();
        let done = match *rest {
            [
                key @ ("resource_server_id"
                | "resource_server_type"
                | "scope_prefix"
                | "additional_scopes_key"
                | "default_key"
                | "jwks_file"),
            ] => {
                self.oauth2.insert(key.to_owned(), text.into());
                Ok(())
            }
            ["verify_aud"] => boolean(line.value).map(|value| {
                self.oauth2.insert("verify_aud".to_owned(), value.into());
            }),
            ["preferred_username_claims", number] => index(number).map(|number| {
                self.claims.insert(number, text);
            }),
            ["algorithms", number] => index(number).map(|number| {
                self.algorithms.insert(number, text);
            }),
            ["signing_keys", id] => {
                self.push("signing_keys", [("id", id), ("file", line.value)]);
                Ok(())
            }
            ["scope_aliases", alias] => {
                self.push("scope_aliases", [("alias", alias), ("scope", line.value)]);
                Ok(())
            }
            ["scope_aliases", number, "alias"] => index(number).map(|number| {
                self.aliases.entry(number).or_default().alias = text;
            }),
            ["scope_aliases", number, "scope"] => index(number).map(|number| {
                self.aliases.entry(number).or_default().scope = text;
            }),
            ["jwks_url" | "jwks_uri" | "issuer", ..] => Err(format!(
                "{}: keys are not fetched; put them into a file that `auth_oauth2.jwks_file` names",
                line.key
            )),
            _ => return None,
        };
        Some(done)
    }

    fn push(&mut self, key: &str, pairs: [(&str, &str); 2]) {
        let pairs = pairs.map(|(key, value)| (key.to_owned(), Value::from(value)));
        let list = self.oauth2.entry(key).or_insert(Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(Table::from_iter(pairs).into());
        }
    }

    /// The section `[auth]`; none if the file says nothing about it.
    pub(super) fn finish(mut self) -> Option<Table> {
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
                self.oauth2.insert(key.to_owned(), list.into());
            }
        }
        let mut section = Table::new();
        let backends: Vec<Value> = self.backends.values().filter_map(step).collect();
        if !backends.is_empty() {
            section.insert("backends".to_owned(), backends.into());
        }
        if !self.oauth2.is_empty() {
            section.insert("oauth2".to_owned(), self.oauth2.into());
        }
        Some(section).filter(|section| !section.is_empty())
    }
}

fn step(backend: &Backend) -> Option<Value> {
    // Nobody takes the place of one who is not there.
    let authn = backend.authn?;
    let authz = backend.authz?;
    if authn == authz {
        return Some(authn.into());
    }
    let pairs = [("authn", authn), ("authz", authz)];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), Value::from(value)));
    Some(Table::from_iter(pairs).into())
}

fn index(number: &str) -> Result<u32, String> {
    let index = number.parse();
    index.map_err(|_| format!("{number:?} is no number"))
}
