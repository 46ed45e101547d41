//! Who is asked for users: `auth_backends`, `auth_http`, `auth_cache`; and `auth_oauth2`, see `oauth2.rs`. How they log in:
//! `auth_mechanisms`.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::oauth2::OAuth2;
use super::{Line, Outcome, boolean, integer};

/// What the file says so far.
#[derive(Default)]
pub(super) struct Auth {
    /// By the number in `auth_backends.1`.
    backends: BTreeMap<u32, Backend>,
    /// Whether it names any, be they known here or not.
    has_backends: bool,
    /// By the number in `auth_mechanisms.1`.
    mechanisms: BTreeMap<u32, &'static str>,
    /// Whether it names any, be they known here or not.
    has_mechanisms: bool,
    oauth2: OAuth2,
    http: Table,
    cache: Table,
    /// Who is asked by the cache; the broker's own users, if nobody is named.
    cached: Option<&'static str>,
}

#[derive(Default)]
struct Backend {
    authn: Option<&'static str>,
    authz: Option<&'static str>,
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
            ["auth_mechanisms", number] => Some(self.mechanism(number, line)),
            ["auth_oauth2", ref rest @ ..] => self.oauth2.take(rest, line),
            ["auth_http", ref rest @ ..] => self.http(rest, line),
            ["auth_cache", key] => self.cache(key, line),
            _ => None,
        }
    }

    fn backend(
        &mut self,
        number: &str,
        line: Line<'_>,
        set: impl FnOnce(&mut Backend, &'static str),
    ) -> Outcome {
        self.has_backends = true;
        let name = named(line)?;
        set(self.backends.entry(index(number)?).or_default(), name);
        Ok(())
    }

    fn mechanism(&mut self, number: &str, line: Line<'_>) -> Outcome {
        self.has_mechanisms = true;
        let mut known = MECHANISMS.into_iter();
        let name = known.find(|known| *known == line.value);
        let name = name.ok_or_else(|| {
            let (key, value) = (line.key, line.value);
            format!("{key} = {value}: there is no such mechanism")
        })?;
        self.mechanisms.insert(index(number)?, name);
        Ok(())
    }

    /// `mechanisms` and `anonymous` of the section `[amqp]`; none if the file says nothing about it.
    pub(super) fn mechanisms(&self) -> Option<(Value, bool)> {
        let named = self.mechanisms.values();
        let (anonymous, others): (Vec<&str>, Vec<&str>) =
            named.partition(|name| **name == ANONYMOUS);
        let others: Vec<Value> = others.into_iter().map(Value::from).collect();
        let said = (others.into(), !anonymous.is_empty());
        self.has_mechanisms.then_some(said)
    }

    fn http(&mut self, rest: &[&str], line: Line<'_>) -> Option<Outcome> {
        let done = match *rest {
            [
                key @ ("http_method" | "user_path" | "vhost_path" | "resource_path" | "topic_path"),
            ] => {
                self.http.insert(key.to_owned(), line.value.into());
                Ok(())
            }
            [key @ ("request_timeout" | "connection_timeout")] => integer(line.value).map(|ms| {
                self.http.insert(key.to_owned(), ms.into());
            }),
            ["ssl_options", "cacertfile"] => {
                self.http.insert("cacertfile".to_owned(), line.value.into());
                Ok(())
            }
            _ => return None,
        };
        Some(done)
    }

    fn cache(&mut self, key: &str, line: Line<'_>) -> Option<Outcome> {
        let done = match key {
            "cached_backend" => named(line).map(|name| self.cached = Some(name)),
            "cache_ttl" => integer(line.value).map(|ms| {
                self.cache.insert(key.to_owned(), ms.into());
            }),
            "cache_refusals" => boolean(line.value).map(|value| {
                self.cache.insert(key.to_owned(), value.into());
            }),
            _ => return None,
        };
        Some(done)
    }

    /// The section `[auth]`; none if the file says nothing about it.
    pub(super) fn finish(self) -> Option<Table> {
        let mut section = Table::new();
        let cached = self.cached.unwrap_or("internal");
        let backends = self.backends.values();
        let backends: Vec<Value> = backends
            .filter_map(|backend| step(backend, cached))
            .collect();
        // If none of them can be asked, nobody else is asked instead: such a node does not start.
        if self.has_backends {
            section.insert("backends".to_owned(), backends.into());
        }
        let below = [
            ("oauth2", self.oauth2.finish()),
            ("http", self.http),
            ("cache", self.cache),
        ];
        for (name, table) in below {
            if !table.is_empty() {
                section.insert(name.to_owned(), table.into());
            }
        }
        Some(section).filter(|section| !section.is_empty())
    }
}

/// How AMQP clients may log in.
const MECHANISMS: [&str; 4] = ["PLAIN", "AMQPLAIN", "EXTERNAL", ANONYMOUS];
const ANONYMOUS: &str = "ANONYMOUS";

/// What has answers kept here, whoever is named for that.
const CACHE: &str = "cache";

fn named(line: Line<'_>) -> Result<&'static str, String> {
    match line.value {
        "internal" | "rabbit_auth_backend_internal" => Ok("internal"),
        "oauth" | "oauth2" | "rabbit_auth_backend_oauth2" => Ok("oauth2"),
        "http" | "rabbit_auth_backend_http" => Ok("http"),
        "cache" | "rabbit_auth_backend_cache" => Ok(CACHE),
        other => Err(format!("{} = {other}: there is no such backend", line.key)),
    }
}

fn step(backend: &Backend, cached: &'static str) -> Option<Value> {
    let real = |name: &'static str| if name == CACHE { cached } else { name };
    // Nobody takes the place of one who is not there.
    let authn = real(backend.authn?);
    let authz = real(backend.authz?);
    if authn == authz {
        return Some(authn.into());
    }
    let pairs = [("authn", authn), ("authz", authz)];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), Value::from(value)));
    Some(Table::from_iter(pairs).into())
}

pub(super) fn index(number: &str) -> Result<u32, String> {
    let index = number.parse();
    index.map_err(|_| format!("{number:?} is no number"))
}
