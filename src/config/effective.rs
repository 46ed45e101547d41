//! The configuration as it is in effect, every key with its value: to print it, to know which keys there are, and to
//! see what changed.

use serde_json::{Map, Value, json};

use super::{Config, keys};

/// What stands in the place of a secret.
const MASK: &str = "***";

/// Keys, or what they end with, whose values are nobody's business.
const SECRETS: [&str; 5] = ["password", "secret", "token", "_pass", "_key_pem"];

impl Config {
    /// Every key with its value; null where there is none.
    pub(crate) fn effective(&self) -> Map<String, Value> {
        let mut mqtt = self.mqtt.effective();
        mqtt.extend(self.websocket.effective());
        let mut storage = object(&self.storage);
        storage.insert("data_dir".into(), json!(self.data_dir));
        let sections = [
            ("amqp", self.amqp.effective()),
            ("mqtt", mqtt),
            ("management", self.management.effective()),
            ("prometheus", self.prometheus.effective()),
            ("tls", object(&self.tls)),
            ("auth", object(&self.auth)),
            ("broker", object(&self.broker)),
            ("storage", storage),
            ("memory", object(&self.memory)),
            ("limits", object(&self.limits)),
            ("log", object(&self.log)),
        ];
        let mut all: Map<_, _> = sections
            .into_iter()
            .map(|(name, section)| (name.to_owned(), section.into()))
            .collect();
        // Another place for the key of `[management]`.
        all.insert("load_definitions".into(), Value::Null);
        all
    }

    /// The same as a file that has this effect, but for secrets.
    pub(crate) fn print(&self) -> anyhow::Result<String> {
        let mut all = Value::from(self.effective());
        mask(&mut all);
        Ok(toml::to_string_pretty(&without_nulls(all))?)
    }

    /// Paths of the keys that have another value in `other`.
    pub(crate) fn changes(&self, other: &Self) -> Vec<String> {
        let (ours, theirs) = (self.effective(), other.effective());
        let value = |all: &Map<String, Value>, path: &str| {
            let mut parts = path.split('.');
            let first = all.get(parts.next()?)?;
            parts
                .try_fold(first, |below, part| below.get(part))
                .cloned()
        };
        let is_key = |path: &String| !matches!(value(&ours, path), Some(Value::Object(_)));
        let paths = keys::paths(&ours).into_iter().filter(is_key);
        paths
            .filter(|path| value(&ours, path) != value(&theirs, path))
            .collect()
    }
}

/// The fields of a structure.
pub(super) fn object(section: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(section) {
        Ok(Value::Object(fields)) => fields,
        // Sections are structures.
        _ => Map::new(),
    }
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let is_secret = SECRETS.iter().any(|secret| key.ends_with(secret));
                match value {
                    Value::String(text) if is_secret => MASK.clone_into(text),
                    value => mask(value),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(mask),
        _ => {}
    }
}

/// TOML has no null: a key without a value is not there.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(elements) => elements
            .into_iter()
            .map(without_nulls)
            .collect::<Vec<_>>()
            .into(),
        other => other,
    }
}
