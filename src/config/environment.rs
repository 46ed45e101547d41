//! Keys set by environment variables: `TERNMQ_AMQP__FRAME_MAX=8192` is `frame_max = 8192` in the section `[amqp]`.

use std::ffi::OsString;

use anyhow::{Context, bail};
use serde_json::{Map, Value};

/// What the names of such variables begin with.
const PREFIX: &str = "TERNMQ_";
/// What stands between a section and its key. Variables without it belong to somebody else.
const SEPARATOR: &str = "__";

/// Puts every such variable into the table, over what is there. `known` says of what type a key is.
pub(super) fn apply(
    table: &mut toml::Table,
    variables: impl Iterator<Item = (OsString, OsString)>,
    known: &Map<String, Value>,
) -> anyhow::Result<()> {
    for (name, text) in variables {
        let Some(name) = name.to_str().filter(|name| is_ours(name)) else {
            continue;
        };
        let text = text
            .to_str()
            .with_context(|| format!("{name} is no UTF-8"))?;
        let lower = name[PREFIX.len()..].to_lowercase();
        let path: Vec<&str> = lower.split(SEPARATOR).collect();
        if path.iter().any(|part| part.is_empty()) {
            bail!("{name} names no key");
        }
        let key = path
            .iter()
            .try_fold(None, |found: Option<&Value>, part| match found {
                None => known.get(*part).map(Some),
                Some(section) => section.get(*part).map(Some),
            });
        insert(table, &path, value(text, key.flatten())).with_context(|| name.to_owned())?;
    }
    Ok(())
}

fn is_ours(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.contains(SEPARATOR))
}

/// A value of the type that the key has by default; where there is no default, what it looks like.
fn value(text: &str, default: Option<&Value>) -> toml::Value {
    match default {
        Some(Value::String(_)) => text.into(),
        Some(Value::Array(_)) if !text.starts_with('[') => {
            let elements = text.split(',').map(str::trim);
            let elements = elements.filter(|element| !element.is_empty());
            elements.map(toml::Value::from).collect::<Vec<_>>().into()
        }
        // Not of the right type: whoever reads it says so, by the name of the key.
        _ => literal(text).unwrap_or_else(|| text.into()),
    }
}

fn literal(text: &str) -> Option<toml::Value> {
    let line: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
    line.into_iter().map(|(_, value)| value).next()
}

fn insert(table: &mut toml::Table, path: &[&str], value: toml::Value) -> anyhow::Result<()> {
    match path {
        [] => Ok(()),
        [key] => {
            table.insert((*key).to_owned(), value);
            Ok(())
        }
        [section, rest @ ..] => {
            let below = table
                .entry(*section)
                .or_insert_with(|| toml::Table::new().into());
            match below {
                toml::Value::Table(below) => insert(below, rest, value),
                _ => bail!("{section} is no section"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(file: &str, variables: &[(&str, &str)]) -> anyhow::Result<toml::Table> {
        let known = serde_json::json!({
            "amqp": {"listen": ["x"], "frame_max": 1, "tls": {"certfile": null}},
            "log": {"level": "info"},
        });
        let mut table = toml::from_str(file)?;
        let variables = variables
            .iter()
            .map(|(name, text)| (OsString::from(name), OsString::from(text)));
        apply(&mut table, variables, known.as_object().unwrap())?;
        Ok(table)
    }

    #[test]
    fn variables_override_the_file_with_values_of_the_keys_types() {
        let variables = [
            ("TERNMQ_AMQP__FRAME_MAX", "8192"),
            ("TERNMQ_AMQP__LISTEN", "127.0.0.1:1, 127.0.0.1:2"),
            ("TERNMQ_AMQP__TLS__CERTFILE", "/etc/cert.pem"),
            ("TERNMQ_LOG__LEVEL", "5"),
            ("TERNMQ_BINARY", "somebody else's"),
            ("PATH", "/bin"),
        ];
        let expected: toml::Table = toml::from_str(
            r#"
            [amqp]
            frame_max = 8192
            heartbeat_s = 7
            listen = ["127.0.0.1:1", "127.0.0.1:2"]
            tls.certfile = "/etc/cert.pem"
            [log]
            level = "5"
            "#,
        )
        .unwrap();
        let file = "[amqp]\nframe_max = 1\nheartbeat_s = 7\n";
        assert_eq!(applied(file, &variables).unwrap(), expected);
        let toml = applied("", &[("TERNMQ_AMQP__LISTEN", "[\"a\"]")]).unwrap();
        assert_eq!(toml["amqp"]["listen"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn variables_that_name_no_key_are_refused_by_name() {
        for (name, file) in [("TERNMQ___X", ""), ("TERNMQ_LOG__LEVEL", "log = 1")] {
            let error = applied(file, &[(name, "x")]).unwrap_err();
            assert!(format!("{error:#}").contains(name), "{error:#}");
        }
    }
}
