//! A message's deaths as user properties, for MQTT 5 clients that read what a dead-letter queue holds.

use std::fmt::Write as _;

use ternmq_core::message::{Death, History};
use ternmq_core::routing::key::{KeySyntax, render};

use crate::properties::{Property, PropertyBuf};

/// Most bytes of `x-death`; the oldest deaths are left out.
pub const X_DEATH_BYTES_MAX: usize = 2048;

/// Names of the properties.
pub(super) const NAMES: [&str; 6] = [
    "x-first-death-reason",
    "x-first-death-queue",
    "x-last-death-reason",
    "x-last-death-queue",
    "x-death-count",
    "x-death",
];

/// Appends the history.
pub(super) fn properties(history: &History, out: &mut PropertyBuf) {
    let count = history
        .deaths
        .iter()
        .fold(0_u64, |sum, death| sum.saturating_add(death.count));
    let values = [
        history.first.reason.name(),
        &history.first.queue,
        history.last.reason.name(),
        &history.last.queue,
        &count.to_string(),
        &json(&history.deaths),
    ];
    for (name, value) in NAMES.into_iter().zip(values) {
        // Queue names are short strings, the JSON is limited, and neither holds U+0000: a name with one is left out.
        if !value.contains('\0') {
            let pushed = out.push(Property::UserProperty(name, value));
            debug_assert!(pushed.is_ok(), "history values are short");
        }
    }
}

/// The deaths as a JSON list, the most recent first.
fn json(deaths: &[Death]) -> String {
    let mut json = String::from("[");
    for death in deaths {
        let before = json.len();
        if before > 1 {
            json.push(',');
        }
        push_death(&mut json, death);
        // Room for the closing bracket.
        if json.len() >= X_DEATH_BYTES_MAX {
            json.truncate(before);
            break;
        }
    }
    json.push(']');
    json
}

fn push_death(json: &mut String, death: &Death) {
    json.push_str("{\"reason\":");
    push_string(json, death.reason.name());
    json.push_str(",\"queue\":");
    push_string(json, &death.queue);
    json.push_str(",\"exchange\":");
    push_string(json, &String::from_utf8_lossy(&death.exchange));
    json.push_str(",\"routing-keys\":[");
    for (at, key) in death.routing_keys.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        let mut topic = Vec::with_capacity(key.len());
        render(key, death.key_syntax, KeySyntax::Slashed, &mut topic);
        push_string(json, &String::from_utf8_lossy(&topic));
    }
    // Writing to a string does not fail.
    let _ = write!(
        json,
        "],\"count\":{},\"time\":{}",
        death.count,
        death.first_time.0 / 1000
    );
    if let Some(ttl_ms) = death.original_ttl_ms {
        let _ = write!(json, ",\"original-expiration\":\"{ttl_ms}\"");
    }
    json.push('}');
}

fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if u32::from(c) < 0x20 => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
}
