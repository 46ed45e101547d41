//! The common keys of a `rabbitmq.conf`, for those who come from there: each line becomes the keys that have the same
//! effect here. What has none is a remark with its line, never an error: the file was right for somebody else.
//!
//! ```text
//! listeners.tcp.default = 5673        →  [amqp] listen = ["0.0.0.0:5673"]
//! ssl_options.certfile = /etc/c.pem   →  [tls] certfile = "/etc/c.pem"
//! ```

use std::collections::BTreeMap;

use toml::{Table, Value};

mod auth;
mod keys;
mod listen;
mod oauth2;

/// Something in the file that has no effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Remark {
    /// Counted from 1.
    pub(crate) line: usize,
    /// What is wrong with it.
    pub(crate) text: String,
}

/// A line with a key.
#[derive(Clone, Copy)]
struct Line<'a> {
    key: &'a str,
    value: &'a str,
}

/// What a key's value became, or why it did not.
type Outcome = Result<(), String>;

/// Translates a file. `memory_bytes` is the machine's, for limits that are a share of it.
pub(super) fn translate(text: &str, memory_bytes: Option<u64>) -> (Table, Vec<Remark>) {
    let mut translation = Translation {
        table: Table::new(),
        memory_bytes,
        user: User::default(),
        loopback: None,
        auth: auth::Auth::default(),
        hosts: BTreeMap::new(),
    };
    let mut remarks = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with('%') {
            continue;
        }
        let outcome = match line.split_once('=') {
            Some((key, value)) => translation.take(Line {
                key: key.trim(),
                value: unquoted(value.trim()),
            }),
            None => Err(format!("{line:?} is no line of the form key = value")),
        };
        if let Err(text) = outcome {
            let line = index + 1;
            remarks.push(Remark { line, text });
        }
    }
    (translation.finish(), remarks)
}

/// Values may stand in single quotes.
fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('\'')
        .and_then(|value| value.strip_suffix('\''))
        .unwrap_or(value)
}

struct Translation {
    table: Table,
    memory_bytes: Option<u64>,
    user: User,
    /// Who may log in from this machine only, if the file says anything about it.
    loopback: Option<Vec<String>>,
    auth: auth::Auth,
    /// Interfaces that listeners are at, by section and key; their ports are said elsewhere.
    hosts: BTreeMap<(String, &'static str), String>,
}

/// The user that a new node begins with.
#[derive(Default)]
struct User {
    name: Option<String>,
    password: Option<String>,
    tags: Vec<String>,
}

impl Translation {
    fn take(&mut self, line: Line<'_>) -> Outcome {
        if let Some(taken) = self.auth.take(line) {
            return taken;
        }
        let parts: Vec<&str> = line.key.split('.').collect();
        match parts[..] {
            ["listeners", "tcp" | "ssl"] | ["mqtt", "listeners", "tcp" | "ssl"] => {
                self.no_listeners(line)
            }
            ["listeners", "tcp", _] => self.listen("amqp", "listen", line.value),
            ["listeners", "ssl", _] => self.listen("amqp", "tls_listen", line.value),
            ["mqtt", "listeners", "tcp", _] => self.listen("mqtt", "listen", line.value),
            ["mqtt", "listeners", "ssl", _] => self.listen("mqtt", "tls_listen", line.value),
            ["web_mqtt", "tcp", "port" | "listener"] => {
                self.listen("mqtt", "websocket_listen", line.value)
            }
            ["web_mqtt", "ssl", "port" | "listener"] => {
                self.listen("mqtt", "websocket_tls_listen", line.value)
            }
            ["web_mqtt", "ws_path"] => {
                self.set(
                    "mqtt",
                    "websocket_paths",
                    vec![Value::from(line.value)].into(),
                );
                Ok(())
            }
            ["management", "tcp" | "listener", "port"] => {
                self.listen("management", "listen", line.value)
            }
            ["management", "ssl", "port"] => self.listen("management", "tls_listen", line.value),
            [section, kind, "ip"] if self.listen_at(section, kind, line.value) => Ok(()),
            ["prometheus", "tcp", "port"] => self.listen("prometheus", "listen", line.value),
            ["prometheus", "ssl", "port"] => self.listen("prometheus", "tls_listen", line.value),
            [
                "management" | "prometheus",
                "ssl",
                key @ ("certfile" | "keyfile" | "cacertfile"),
            ] => {
                self.own_file(line, key);
                Ok(())
            }
            ["ssl_options", "versions", _] => self.tls_version(line.value),
            ["default_user_tags", tag] => {
                if boolean(line.value)? {
                    self.user.tags.push(tag.to_owned());
                }
                Ok(())
            }
            ["default_permissions", "configure" | "read" | "write"] => permission(line),
            ["loopback_users"] if line.value == "none" => {
                self.loopback = Some(Vec::new());
                Ok(())
            }
            ["loopback_users", user] => self.loopback_user(user, line.value),
            _ => self.take_plain(line),
        }
    }

    fn take_plain(&mut self, line: Line<'_>) -> Outcome {
        match line.key {
            "default_user" => self.user.name = Some(line.value.to_owned()),
            "default_pass" if line.value.starts_with("encrypted:") => {
                // Not what stands there, and not what is known to everybody.
                self.user.password = Some(String::new());
                return Err(
                    "default_pass: encrypted values cannot be read; the user has no password"
                        .to_owned(),
                );
            }
            "default_pass" => self.user.password = Some(line.value.to_owned()),
            "default_vhost" => {
                self.set("broker", "vhosts", vec![Value::from(line.value)].into());
            }
            "vm_memory_high_watermark.absolute" => {
                let bytes = bytes(line.value)?;
                self.set("broker", "memory_high_bytes", bytes.into());
            }
            "vm_memory_high_watermark.relative" => {
                let bytes = self.share(line.value)?;
                self.set("broker", "memory_high_bytes", bytes.into());
            }
            "disk_free_limit.absolute" => self.disk_free(bytes(line.value)?),
            "disk_free_limit.relative" => {
                let bytes = self.share(line.value)?;
                self.disk_free(bytes);
            }
            "log.console.formatter" | "log.file.formatter" => {
                let format = if line.value == "json" { "json" } else { "text" };
                self.set("log", "format", format.into());
            }
            "log.console.level" | "log.file.level" | "log.default.level" => {
                self.set("log", "level", log_level(line.value)?.into());
            }
            "mqtt.subscription_ttl" => {
                let seconds = integer(line.value)? / 1000;
                self.set("mqtt", "session_expiry_s_max", seconds.into());
            }
            _ => return self.take_same(line),
        }
        Ok(())
    }

    /// Keys with a counterpart that takes the same values, or several.
    fn take_same(&mut self, line: Line<'_>) -> Outcome {
        let mut is_known = false;
        for same in keys::SAME.iter().filter(|same| same.rabbitmq == line.key) {
            let value = match same.kind {
                keys::Kind::Text => line.value.into(),
                keys::Kind::Integer => integer(line.value)?.into(),
                keys::Kind::Boolean => boolean(line.value)?.into(),
            };
            self.set(same.section, same.key, value);
            is_known = true;
        }
        if is_known {
            return Ok(());
        }
        let has_no_effect = keys::WITHOUT_EFFECT
            .iter()
            .any(|prefix| line.key.strip_prefix(prefix).is_some_and(is_end_or_dot));
        Err(if has_no_effect {
            format!("{} has no effect here", line.key)
        } else {
            format!("{} is not known here", line.key)
        })
    }

    fn set(&mut self, section: &str, key: &str, value: Value) {
        let section = self
            .table
            .entry(section)
            .or_insert_with(|| Table::new().into());
        if let Value::Table(section) = section {
            section.insert(key.to_owned(), value);
        }
    }

    fn push(&mut self, section: &str, key: &str, value: Value) {
        let section = self
            .table
            .entry(section)
            .or_insert_with(|| Table::new().into());
        if let Value::Table(section) = section {
            let list = section
                .entry(key)
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(value);
            }
        }
    }

    /// A file of a section's own TLS.
    fn own_file(&mut self, line: Line<'_>, key: &str) {
        let section = line.key.split('.').next().unwrap_or_default();
        let section = self
            .table
            .entry(section)
            .or_insert_with(|| Table::new().into());
        if let Value::Table(section) = section {
            let tls = section.entry("tls").or_insert_with(|| Table::new().into());
            if let Value::Table(tls) = tls {
                tls.insert(key.to_owned(), line.value.into());
            }
        }
    }

    fn tls_version(&mut self, value: &str) -> Outcome {
        match value {
            "tlsv1.2" | "tlsv1.3" => {
                self.push("tls", "versions", value.into());
                Ok(())
            }
            old => Err(format!("{old} is not spoken; TLS 1.2 and 1.3 are")),
        }
    }

    fn loopback_user(&mut self, user: &str, value: &str) -> Outcome {
        let is_loopback = boolean(value)?;
        let users = self.loopback.get_or_insert_with(|| vec!["guest".into()]);
        users.retain(|known| known != user);
        if is_loopback {
            users.push(user.to_owned());
        }
        Ok(())
    }

    fn disk_free(&mut self, bytes: i64) {
        self.set("storage", "disk_free_low_bytes", bytes.into());
        // What is refused must lie below what is warned of.
        let least = i64::try_from(ternmq_broker::StorageConfig::default().disk_free_min_bytes);
        let least = least.unwrap_or(i64::MAX).min(bytes);
        self.set("storage", "disk_free_min_bytes", least.into());
    }

    fn share(&self, value: &str) -> Result<i64, String> {
        let thousandths = thousandths(value).ok_or_else(|| format!("{value:?} is no number"))?;
        let memory = self
            .memory_bytes
            .ok_or("how much memory there is, is not known")?;
        let bytes = (memory / 1000).checked_mul(thousandths);
        bytes
            .and_then(|bytes| i64::try_from(bytes).ok())
            .ok_or_else(|| format!("{value:?} is too much"))
    }

    /// What is known only at the end of the file.
    fn finish(mut self) -> Table {
        self.place_listeners();
        let User {
            name,
            password,
            tags,
        } = std::mem::take(&mut self.user);
        if let Some(users) = self.loopback.take() {
            let users = users.into_iter().map(Value::from).collect();
            self.set("broker", "loopback_users", Value::Array(users));
        }
        if let Some((mechanisms, anonymous)) = self.auth.mechanisms() {
            self.set("amqp", "mechanisms", mechanisms);
            self.set("amqp", "anonymous", anonymous.into());
        }
        if let Some(auth) = std::mem::take(&mut self.auth).finish() {
            self.table.insert("auth".to_owned(), auth.into());
        }
        if name.is_none() && password.is_none() && tags.is_empty() {
            return self.table;
        }
        let name = name.unwrap_or_else(|| "guest".into());
        let is_loopback = name == "guest";
        let tags = if tags.is_empty() {
            vec!["administrator".into()]
        } else {
            tags
        };
        let mut user = Table::new();
        user.insert("name".into(), name.into());
        user.insert(
            "password".into(),
            password.unwrap_or_else(|| "guest".into()).into(),
        );
        user.insert("tags".into(), tags.into());
        user.insert("loopback_only".into(), is_loopback.into());
        self.set("broker", "users", vec![Value::Table(user)].into());
        self.table
    }
}

/// A new node's first user has all of them.
fn permission(line: Line<'_>) -> Outcome {
    if line.value == ".*" {
        return Ok(());
    }
    Err(format!(
        "{}: the first user has all permissions; change them while the node runs",
        line.key
    ))
}

fn is_end_or_dot(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('.')
}

fn integer(value: &str) -> Result<i64, String> {
    value.parse().map_err(|_| format!("{value:?} is no number"))
}

fn boolean(value: &str) -> Result<bool, String> {
    match value {
        "true" | "on" => Ok(true),
        "false" | "off" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

/// A number with at most three digits after its point, times a thousand.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.get(..3).unwrap_or(fraction);
    format!("{whole}{fraction:0<3}").parse().ok()
}

/// Bytes, with or without a unit: `2GB` and `2GiB` are not the same.
fn bytes(value: &str) -> Result<i64, String> {
    const UNITS: [(&str, i64); 13] = [
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("ki", 1 << 10),
        ("mi", 1 << 20),
        ("gi", 1 << 30),
        ("k", 1 << 10),
        ("m", 1 << 20),
    ];
    let lower = value.to_lowercase();
    let unit = UNITS
        .iter()
        .chain(&[("g", 1 << 30), ("", 1)])
        .find_map(|(unit, bytes)| Some((lower.strip_suffix(unit)?, bytes)));
    let (number, unit) = unit.unwrap_or((&lower, &1));
    let number = number.trim().parse::<i64>().ok();
    number
        .and_then(|number| number.checked_mul(*unit))
        .filter(|bytes| *bytes >= 0)
        .ok_or_else(|| format!("{value:?} is no number of bytes"))
}

fn log_level(value: &str) -> Result<&'static str, String> {
    match value {
        "debug" => Ok("debug"),
        "info" => Ok("info"),
        "warning" | "warn" => Ok("warn"),
        "error" | "critical" | "none" => Ok("error"),
        other => Err(format!("{other:?} is no level")),
    }
}

#[cfg(test)]
mod tests;
