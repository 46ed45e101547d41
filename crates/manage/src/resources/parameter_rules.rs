//! What parameters of a component may say: RabbitMQ refuses others, and so do we, although nothing here acts on them.

use serde_json::{Map, Value};

/// What a field may hold.
#[derive(Clone, Copy)]
enum Holds {
    Text,
    Number,
    Truth,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// An AMQP address, or a list of them.
    Addresses,
    /// An object.
    Object,
    /// Number of messages or one of these texts.
    NumberOr(&'static [&'static str]),
}

/// The rule of one field.
struct Rule {
    name: &'static str,
    holds: Holds,
    mandatory: bool,
}

const fn must(name: &'static str, holds: Holds) -> Rule {
    Rule {
        name,
        holds,
        mandatory: true,
    }
}

const fn may(name: &'static str, holds: Holds) -> Rule {
    Rule {
        name,
        holds,
        mandatory: false,
    }
}

const ACK_MODES: Holds = Holds::OneOf(&["no-ack", "on-publish", "on-confirm"]);
const PROTOCOLS: Holds = Holds::OneOf(&["amqp091", "amqp10", "local"]);
const DELETE_AFTER: Holds = Holds::NumberOr(&["never", "queue-length"]);

/// Of an upstream, and of an upstream in a set.
const UPSTREAM: &[Rule] = &[
    may("exchange", Holds::Text),
    may("queue", Holds::Text),
    may("consumer-tag", Holds::Text),
    may("prefetch-count", Holds::Number),
    may("reconnect-delay", Holds::Number),
    may("max-hops", Holds::Number),
    may("expires", Holds::Number),
    may("message-ttl", Holds::Number),
    may("trust-user-id", Holds::Truth),
    may("ack-mode", ACK_MODES),
    may("resource-cleanup-mode", Holds::OneOf(&["default", "never"])),
    may("queue-type", Holds::OneOf(&["classic", "quorum"])),
    may("bind-nowait", Holds::Truth),
    may("channel-use-mode", Holds::OneOf(&["multiple", "single"])),
    may("ha-policy", Holds::Text),
];

const SHOVEL: &[Rule] = &[
    may("internal", Holds::Truth),
    may("internal_owner", Holds::Object),
    may("reconnect-delay", Holds::Number),
    may("ack-mode", ACK_MODES),
    may("src-protocol", PROTOCOLS),
    may("dest-protocol", PROTOCOLS),
    must("src-uri", Holds::Addresses),
    may("src-exchange", Holds::Text),
    may("src-exchange-key", Holds::Text),
    may("src-queue", Holds::Text),
    may("src-queue-args", Holds::Object),
    may("src-address", Holds::Text),
    may("src-consumer-args", Holds::Object),
    may("src-consumer-name", Holds::Text),
    may("prefetch-count", Holds::Number),
    may("src-prefetch-count", Holds::Number),
    may("delete-after", DELETE_AFTER),
    may("src-delete-after", DELETE_AFTER),
    may("src-delete-after-duration", Holds::Number),
    may("src-predeclared", Holds::Truth),
    must("dest-uri", Holds::Addresses),
    may("dest-exchange", Holds::Text),
    may("dest-exchange-key", Holds::Text),
    may("dest-queue", Holds::Text),
    may("dest-queue-args", Holds::Object),
    may("dest-address", Holds::Text),
    may("add-forward-headers", Holds::Truth),
    may("add-timestamp-header", Holds::Truth),
    may("dest-add-forward-headers", Holds::Truth),
    may("dest-add-timestamp-header", Holds::Truth),
    may("publish-properties", Holds::Object),
    may("dest-publish-properties", Holds::Object),
    may("dest-properties", Holds::Object),
    may("dest-application-properties", Holds::Object),
    may("dest-message-annotations", Holds::Object),
    may("dest-predeclared", Holds::Truth),
];

/// Everything that is wrong with a parameter; nothing is wrong if the list is empty.
pub(super) fn faults(component: &str, name: &str, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    match component {
        "federation-upstream" => {
            let uri = must("uri", Holds::Addresses);
            check(name, value, &[&uri], UPSTREAM, &mut faults);
        }
        "federation-upstream-set" => {
            let upstream = must("upstream", Holds::Text);
            match value {
                Value::Array(upstreams) => {
                    for one in upstreams {
                        check(name, one, &[&upstream], UPSTREAM, &mut faults);
                    }
                }
                other => faults.push(format!("{name} should be list, actually was {other}")),
            }
        }
        "shovel" => {
            check_ends(value, &mut faults);
            check(name, value, &[], SHOVEL, &mut faults);
        }
        other => faults.push(format!("component {other} not found")),
    }
    faults
}

/// A shovel takes from one place and brings to one.
fn check_ends(value: &Value, faults: &mut Vec<String>) {
    let says = |field: &str| value.get(field).is_some_and(|value| !value.is_null());
    let is_amqp_1 = |field: &str| value.get(field).and_then(Value::as_str) == Some("amqp10");
    if is_amqp_1("src-protocol") {
        if !says("src-address") {
            faults.push("Key \"src-address\" not found".into());
        }
    } else {
        match (says("src-exchange"), says("src-queue")) {
            (false, false) => {
                faults.push("Must specify 'src-exchange' or 'src-queue'".into());
            }
            (true, true) => faults.push("Cannot specify 'src-exchange' and 'src-queue'".into()),
            _ => {}
        }
    }
    if is_amqp_1("dest-protocol") {
        if !says("dest-address") {
            faults.push("Key \"dest-address\" not found".into());
        }
    } else if says("dest-exchange") && says("dest-queue") {
        faults.push("Cannot specify 'dest-exchange' and 'dest-queue'".into());
    }
    let delete_after = value
        .get("src-delete-after")
        .or_else(|| value.get("delete-after"));
    if delete_after.is_some_and(Value::is_number)
        && value.get("ack-mode").and_then(Value::as_str) == Some("no-ack")
    {
        faults.push("Cannot specify 'no-ack' and numerical 'delete-after'".into());
    }
}

fn check(name: &str, value: &Value, own: &[&Rule], shared: &[Rule], faults: &mut Vec<String>) {
    let Value::Object(fields) = value else {
        faults.push(format!("{name} not a list {value}"));
        return;
    };
    let rules = || own.iter().copied().chain(shared);
    let unknown: Map<String, Value> = fields
        .iter()
        .filter(|(field, _)| rules().all(|rule| rule.name != field.as_str()))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect();
    if !unknown.is_empty() {
        let unknown = Value::Object(unknown);
        faults.push(format!("Unrecognised terms {unknown} in {name}"));
    }
    for rule in rules() {
        match fields.get(rule.name) {
            Some(value) => faults.extend(rule.holds.fault(rule.name, value)),
            None if rule.mandatory => {
                faults.push(format!("Key \"{}\" not found in {name}", rule.name));
            }
            None => {}
        }
    }
}

impl Holds {
    /// What is wrong with the value of a field.
    fn fault(self, name: &str, value: &Value) -> Option<String> {
        let should_be = |kind: &str| Some(format!("{name} should be {kind}, actually was {value}"));
        match self {
            Self::Text if !value.is_string() => should_be("binary"),
            Self::Number if !value.is_number() => should_be("a number"),
            Self::Truth if !value.is_boolean() => should_be("boolean"),
            Self::Object if !value.is_object() => should_be("an object"),
            Self::OneOf(texts) if value.as_str().is_none_or(|text| !texts.contains(&text)) => {
                should_be(&format!("one of {}", texts.join(", ")))
            }
            Self::NumberOr(texts)
                if !value.is_number()
                    && value.as_str().is_none_or(|text| !texts.contains(&text)) =>
            {
                should_be(&format!("a number or one of {}", texts.join(", ")))
            }
            Self::Addresses => address_fault(name, value),
            _ => None,
        }
    }
}

fn address_fault(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!is_address(text)).then(|| format!("\"{text}\" not a valid URI")),
        Value::Array(addresses) => addresses
            .iter()
            .find_map(|address| address_fault(name, address)),
        other => Some(format!("{name} should be list, actually was {other}")),
    }
}

/// RabbitMQ takes `amqp://` without a host for itself.
fn is_address(text: &str) -> bool {
    let rest = text
        .strip_prefix("amqp://")
        .or_else(|| text.strip_prefix("amqps://"));
    rest.is_some_and(|rest| !rest.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn definitions_that_tools_send_are_taken() {
        for (component, value) in [
            (
                "federation-upstream",
                json!({"uri": "amqp://localhost/%2f"}),
            ),
            (
                "federation-upstream",
                json!({"uri": ["amqp://a", "amqps://b:5671/v?heartbeat=10"], "prefetch-count": 1000, "reconnect-delay": 5,
                       "ack-mode": "on-confirm", "trust-user-id": false, "max-hops": 1, "expires": 1_800_000,
                       "message-ttl": 360, "exchange": "x", "queue": "q", "queue-type": "quorum",
                       "resource-cleanup-mode": "never"}),
            ),
            (
                "federation-upstream-set",
                json!([{"upstream": "a"}, {"upstream": "b", "max-hops": 2}]),
            ),
            (
                "shovel",
                json!({"src-uri": "amqp://", "src-queue": "a", "dest-uri": ["amqp://"], "dest-queue": "b",
                       "ack-mode": "on-publish", "src-delete-after": "never", "add-forward-headers": true}),
            ),
            (
                "shovel",
                json!({"src-uri": "amqp://h", "src-protocol": "amqp10", "src-address": "/a", "dest-uri": "amqp://h",
                       "dest-exchange": "x", "dest-exchange-key": "k"}),
            ),
        ] {
            assert_eq!(faults(component, "n", &value), Vec::<String>::new());
        }
    }

    #[test]
    fn what_is_wrong_is_said_of_every_field() {
        for (component, value, expected) in [
            (
                "federation-upstream",
                json!({}),
                vec!["Key \"uri\" not found in n"],
            ),
            (
                "federation-upstream",
                json!({"uri": null, "expires": "x", "ack-mode": "maybe", "trust-user-id": 1}),
                vec![
                    "uri should be list, actually was null",
                    "expires should be a number, actually was \"x\"",
                    "trust-user-id should be boolean, actually was 1",
                    "ack-mode should be one of no-ack, on-publish, on-confirm, actually was \"maybe\"",
                ],
            ),
            (
                "federation-upstream",
                json!({"uri": ["amqp://a", "http://b"], "colour": "red"}),
                vec![
                    "Unrecognised terms {\"colour\":\"red\"} in n",
                    "\"http://b\" not a valid URI",
                ],
            ),
            (
                "federation-upstream",
                json!("text"),
                vec!["n not a list \"text\""],
            ),
            (
                "federation-upstream-set",
                json!({"upstream": "a"}),
                vec!["n should be list, actually was {\"upstream\":\"a\"}"],
            ),
            (
                "shovel",
                json!({"src-uri": "amqp://", "dest-uri": "amqp://", "src-queue": "a", "src-exchange": "b",
                       "dest-queue": "a", "dest-exchange": "b", "ack-mode": "no-ack", "delete-after": 5}),
                vec![
                    "Cannot specify 'src-exchange' and 'src-queue'",
                    "Cannot specify 'dest-exchange' and 'dest-queue'",
                    "Cannot specify 'no-ack' and numerical 'delete-after'",
                ],
            ),
            (
                "shovel",
                json!({"src-protocol": "amqp10", "dest-protocol": "amqp10", "delete-after": "soon"}),
                vec![
                    "Key \"src-address\" not found",
                    "Key \"dest-address\" not found",
                    "Key \"src-uri\" not found in n",
                    "delete-after should be a number or one of never, queue-length, actually was \"soon\"",
                    "Key \"dest-uri\" not found in n",
                ],
            ),
            ("other", json!({}), vec!["component other not found"]),
        ] {
            assert_eq!(faults(component, "n", &value), expected);
        }
    }
}
