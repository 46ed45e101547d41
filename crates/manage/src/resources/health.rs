//! `/health/checks/...`, `/aliveness-test/:vhost`: 200 if all is well, else 503 and why.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use ternmq_broker::Turn;
use ternmq_broker::mailbox::DiskRoom;
use ternmq_core::message::{NewMessage, Properties};
use ternmq_core::queue::Outcome;
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::QueueDecl;
use ternmq_core::value::Headers;

use super::{Shared, nodes};
use crate::Manage;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::reply::{self, Answer};
use crate::request::Names;

/// The queue that the aliveness test goes through.
const ALIVENESS_QUEUE: &str = "aliveness-test";

fn well() -> Response {
    reply::json(&json!({"status": "ok"}))
}

/// All is well, and something more is said.
fn well_with(field: &str, value: impl Into<Value>) -> Response {
    let mut body = json!({"status": "ok"});
    body[field] = value.into();
    reply::json(&body)
}

/// 503 with the reason, and details in fields of their own.
fn failed(reason: &str, details: Value) -> Response {
    let mut body = json!({"status": "failed", "reason": reason});
    if let (Value::Object(body), Value::Object(details)) = (&mut body, details) {
        body.extend(details);
    }
    reply::json_with(StatusCode::SERVICE_UNAVAILABLE, &body)
}

/// Memory and disk.
pub(crate) async fn alarms(State(manage): State<Shared>, _: Caller) -> Answer {
    let mut alarms = Vec::new();
    let mut raise =
        |resource: &str| alarms.push(json!({"node": manage.node.name, "resource": resource}));
    if manage.broker.is_blocked() {
        raise("memory");
    }
    if manage.broker.disk_room() != DiskRoom::Enough {
        raise("disk");
    }
    if alarms.is_empty() {
        return Ok(well());
    }
    Ok(failed(
        "resource alarm(s) in effect",
        json!({"alarms": alarms}),
    ))
}

pub(crate) async fn certificate_expiration(
    State(manage): State<Shared>,
    _: Caller,
    Names((within, unit)): Names<(String, String)>,
) -> Answer {
    let days = match unit.as_str() {
        "days" => 1,
        "weeks" => 7,
        "months" => 30,
        "years" => 365,
        _ => {
            let reason = "Time unit not recognised. Supported units: days, weeks, months, years.";
            return Err(Fault::bad_request(reason));
        }
    };
    let within: u64 = within
        .parse()
        .map_err(|_| Fault::bad_request(format!("Invalid expiration period: '{within}'")))?;
    let until = manage
        .broker
        .now()
        .plus_ms(within.saturating_mul(days * 86_400_000));
    let expired: Vec<Value> = manage
        .certificates()
        .iter()
        .filter(|certificate| certificate.expires_at <= until)
        .map(|certificate| json!({"file": certificate.file, "not_after": crate::time::rfc3339(certificate.expires_at)}))
        .collect();
    if expired.is_empty() {
        return Ok(well());
    }
    Ok(failed("Certificates expiring", json!({"expired": expired})))
}

pub(crate) async fn port_listener(
    State(manage): State<Shared>,
    _: Caller,
    Names(port): Names<String>,
) -> Answer {
    let port: u16 = port
        .parse()
        .map_err(|_| Fault::bad_request("Invalid port"))?;
    let ports: BTreeSet<u16> = manage.listening().iter().map(|l| l.addr.port()).collect();
    if ports.contains(&port) {
        return Ok(well_with("port", port));
    }
    Ok(failed(
        "No active listener",
        json!({"missing": port, "ports": ports}),
    ))
}

/// All of the protocols are wanted, if several are named, separated by commas.
pub(crate) async fn protocol_listener(
    State(manage): State<Shared>,
    _: Caller,
    Names(names): Names<String>,
) -> Answer {
    let spoken: BTreeSet<&str> = manage.listening().iter().map(|l| l.protocol).collect();
    let wanted: BTreeSet<String> = names.split(',').map(canonical_protocol).collect();
    let missing: Vec<&String> = wanted
        .iter()
        .filter(|protocol| !spoken.contains(protocol.as_str()))
        .collect();
    let several = names.contains(',');
    if let Some(first) = missing.first() {
        let missing = if several {
            json!(missing)
        } else {
            json!(first)
        };
        let details = json!({"missing": missing, "protocols": spoken});
        return Ok(failed("No active listener", details));
    }
    Ok(if several {
        well_with("protocols", Vec::from_iter(wanted))
    } else {
        well_with("protocol", Vec::from_iter(wanted).concat())
    })
}

/// The name by which listeners are known, for the names that people write: versions do not count, and TLS may be said in
/// several ways.
fn canonical_protocol(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    let name = name.replace('+', "/").replace('_', "-");
    let (kind, tls) = match name.strip_suffix("/ssl").or(name.strip_suffix("/tls")) {
        Some(kind) => (kind, true),
        None => (name.as_str(), false),
    };
    let kind = kind.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    match (kind, tls) {
        ("amqp" | "amqp/tcp", false) => "amqp",
        ("amqp", true) | ("amqps", _) => "amqp/ssl",
        ("mqtt", false) => "mqtt",
        ("mqtt", true) | ("mqtts", _) => "mqtt/ssl",
        ("web-mqtt" | "webmqtt" | "ws", false) => "http/web-mqtt",
        ("web-mqtt" | "webmqtt", true) | ("wss", _) => "https/web-mqtt",
        ("prometheus", false) => "http/prometheus",
        (
            "http" | "http-api" | "http/management" | "management" | "management-ui" | "ui",
            false,
        ) => "http",
        _ => name.as_str(),
    }
    .to_owned()
}

/// Every vhost there is works.
pub(crate) async fn virtual_hosts(_: Caller) -> Answer {
    Ok(well())
}

/// A node that is alone has no other to lose a majority with.
pub(crate) async fn alone(_: Caller) -> Answer {
    Ok(well_with("reason", "single node cluster"))
}

/// Queues of one node lead themselves.
pub(crate) async fn leaders(_: Caller) -> Answer {
    Ok(well())
}

pub(crate) async fn leaders_in_vhost(
    State(manage): State<Shared>,
    _: Caller,
    Names(vhost): Names<String>,
) -> Answer {
    manage
        .broker
        .admin()
        .vhost(&vhost)
        .ok_or_else(Fault::not_found)?;
    Ok(well())
}

pub(crate) async fn leaders_in_vhost_matching(
    State(manage): State<Shared>,
    _: Caller,
    Names((vhost, _)): Names<(String, String)>,
) -> Answer {
    manage
        .broker
        .admin()
        .vhost(&vhost)
        .ok_or_else(Fault::not_found)?;
    Ok(well())
}

/// Whoever answers is in service.
pub(crate) async fn in_service(_: Caller) -> Answer {
    Ok(well())
}

/// The same of a node by its name: of this one, since there is no other.
pub(crate) async fn node(
    State(manage): State<Shared>,
    _: Caller,
    Names(name): Names<String>,
) -> Answer {
    nodes::check_name(&manage, &name)?;
    Ok(well())
}

/// The answer of a node that has no room for a connection.
fn crowded(manage: &Manage) -> Option<Response> {
    let (limit, now) = (
        manage.node.connections_max,
        manage.broker.inspect().connections(None).len(),
    );
    let details = json!({"limit": limit, "connections": now});
    (now >= limit).then(|| failed("node connection limit is reached", details))
}

pub(crate) async fn below_connection_limit(State(manage): State<Shared>, _: Caller) -> Answer {
    Ok(crowded(&manage).unwrap_or_else(well))
}

/// It answers, speaks AMQP, and has room for a connection.
pub(crate) async fn ready(State(manage): State<Shared>, _: Caller) -> Answer {
    let listening = manage.listening();
    if !listening
        .iter()
        .any(|l| l.protocol == "amqp" || l.protocol == "amqp/ssl")
    {
        return Ok(failed("no active AMQP listener", json!({})));
    }
    Ok(crowded(&manage).unwrap_or_else(well))
}

/// Sends a message through a queue and takes it out again.
pub(crate) async fn aliveness(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
) -> Answer {
    let refused = |refusal| Fault::of_refusal(&refusal, &vhost, caller.name());
    let mut client = caller.client(&vhost, Fault::not_found())?;
    let decl = QueueDecl {
        name: ALIVENESS_QUEUE.into(),
        durable: false,
        exclusive: None,
        auto_delete: false,
        arguments: Headers::new(),
    };
    client.declare_queue(decl).map_err(refused)?;
    let request = RouteRequest {
        exchange: b"",
        routing_key: ALIVENESS_QUEUE.as_bytes(),
        key_syntax: KeySyntax::Dotted,
        extra_keys: &[],
        headers: &Headers::new,
        properties: &Properties::default,
        publisher: None,
        from_client: true,
    };
    let route = client.route(&request).map_err(refused)?;
    let now = manage.broker.now();
    let mut new = NewMessage::plain(b"", ALIVENESS_QUEUE.as_bytes(), b"test_message");
    new.received_at = now;
    let mut turn = Turn::new();
    turn.push(new.build(client.scratch()), route);
    client.publish(&mut turn, now);
    match client.get(ALIVENESS_QUEUE, false).map_err(refused)? {
        Some(got) => {
            client.settle(&got.queue, &[got.delivery.position], Outcome::Ack, now);
            Ok(well())
        }
        None => Ok(failed(
            "the message that was sent did not arrive",
            json!({}),
        )),
    }
}
