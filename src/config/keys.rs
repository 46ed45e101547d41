//! Which keys there are, and what somebody meant who wrote another.

use anyhow::bail;
use serde_json::{Map, Value};

/// Most letters that a key may differ in from the one that is suggested for it.
const DISTANCE_MAX: usize = 3;

/// Refuses the first key of `given` that is not in `known`, which has a value for every key.
pub(super) fn check(given: &toml::Table, known: &Map<String, Value>) -> anyhow::Result<()> {
    check_below("", given, known, known)
}

fn check_below(
    section: &str,
    given: &toml::Table,
    here: &Map<String, Value>,
    known: &Map<String, Value>,
) -> anyhow::Result<()> {
    for (key, value) in given {
        let path = join(section, key);
        match (here.get(key), value) {
            (None, _) => match suggestion(&path, known) {
                Some(meant) => bail!("unknown key `{path}`; did you mean `{meant}`?"),
                None => bail!("unknown key `{path}`"),
            },
            (Some(Value::Object(below)), toml::Value::Table(table)) => {
                check_below(&path, table, below, known)?;
            }
            // What is in lists is checked by those who read them.
            _ => {}
        }
    }
    Ok(())
}

/// `section.key`
pub(super) fn join(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}

/// Every key, with its sections in front, in order.
pub(super) fn paths(known: &Map<String, Value>) -> Vec<String> {
    let mut paths = Vec::new();
    collect("", known, &mut paths);
    paths
}

fn collect(section: &str, known: &Map<String, Value>, paths: &mut Vec<String>) {
    for (key, value) in known {
        let path = join(section, key);
        if let Value::Object(below) = value {
            collect(&path, below, paths);
        }
        paths.push(path);
    }
}

/// The same key in another section, or the one that is spelled most alike.
fn suggestion(path: &str, known: &Map<String, Value>) -> Option<String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let paths = paths(known);
    let elsewhere = paths.iter().find(|known| last(known) == last(path));
    let alike = paths
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, path), known))
        .min()
        .filter(|(distance, _)| *distance <= DISTANCE_MAX);
    alike.map(|(_, known)| known).or(elsewhere).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let known = serde_json::json!({
            "amqp": {"frame_max": 1, "tls": {"certfile": null}},
            "log": {"level": "info"},
            "free": {},
        });
        let given = toml::from_str(text).unwrap();
        match check(&given, known.as_object().unwrap()) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn known_keys_are_taken_wherever_they_are() {
        let text = "[amqp]\nframe_max = 1\ntls.certfile = \"x\"\n[log]\nlevel = \"info\"\n";
        assert_eq!(refused(text), "");
    }

    #[test]
    fn misspelled_keys_are_named_with_what_was_meant() {
        for (text, expected) in [
            ("[ampq]\n", "unknown key `ampq`; did you mean `amqp`?"),
            (
                "[amqp]\nframe_maks = 1",
                "unknown key `amqp.frame_maks`; did you mean `amqp.frame_max`?",
            ),
            (
                "frame_max = 1",
                "unknown key `frame_max`; did you mean `amqp.frame_max`?",
            ),
            (
                "[amqp.tls]\nkertfile = 1",
                "unknown key `amqp.tls.kertfile`; did you mean `amqp.tls.certfile`?",
            ),
            ("[log]\ncolour = true", "unknown key `log.colour`"),
        ] {
            assert_eq!(refused(text), expected);
        }
    }
}
