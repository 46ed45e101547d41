//! `/exchanges/:vhost/:name/publish`

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use ternmq_amqp::{mapping, table};
use ternmq_broker::{Client, Turn};
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::message::{BODY_INLINE_MAX, Body, NewMessage, PropertyFormat as _};
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;

use super::{Shared, exchanges};
use crate::auth::Caller;
use crate::fault::Fault;
use crate::properties;
use crate::reply::{self, Answer};
use crate::request::{Fields, Names, Payload};

/// Longest routing key in bytes, as in AMQP 0.9.1.
const KEY_BYTES_MAX: usize = 255;

pub(crate) async fn publish(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, exchange)): Names<(String, String)>,
    payload: Payload,
) -> Answer {
    let fields = payload.object()?;
    fields.require(&["routing_key", "properties", "payload", "payload_encoding"])?;
    let body = body(&fields)?;
    let key = fields.text("routing_key")?;
    if key.len() > KEY_BYTES_MAX {
        return Err(Fault::bad_request("routing_key_too_long"));
    }
    let Some(Value::Object(given)) = fields.get("properties") else {
        // Old clients write an empty list.
        return publish_bytes(&manage, &caller, (&vhost, &exchange, key), &[0, 0], body).await;
    };
    let raw = properties::from_fields(&Fields(given.clone()))?;
    publish_bytes(&manage, &caller, (&vhost, &exchange, key), &raw, body).await
}

async fn publish_bytes(
    manage: &Shared,
    caller: &Caller,
    (vhost, exchange, key): (&str, &str, &str),
    properties: &[u8],
    body: Bytes,
) -> Answer {
    if manage.broker.is_blocked() {
        return Err(Fault::unavailable(
            "memory is short: publishers have to wait",
        ));
    }
    let (routed, lsn) = {
        let mut client = caller.client(vhost, Fault::not_found())?;
        let message = Publish {
            exchange: exchanges::named(exchange),
            key,
            properties,
            body,
        };
        message.send(&mut client, caller, manage.broker.now())?
    };
    manage.durable(lsn).await;
    Ok(reply::json(&json!({"routed": routed})))
}

fn body(fields: &Fields) -> Result<Bytes, Fault> {
    let Some(text) = fields.required("payload")?.as_str() else {
        return Err(Fault::bad_request("payload_not_string"));
    };
    match fields.text("payload_encoding")? {
        "string" => Ok(Bytes::copy_from_slice(text.as_bytes())),
        "base64" => {
            let decoded = STANDARD.decode(text);
            let decoded = decoded.map_err(|_| Fault::bad_request(json!(["not_base64", text])));
            decoded.map(Bytes::from)
        }
        other => Err(Fault::bad_request(json!(["unsupported_encoding", other]))),
    }
}

/// A message to be published.
struct Publish<'a> {
    exchange: &'a str,
    key: &'a str,
    /// Raw, of class basic.
    properties: &'a [u8],
    body: Bytes,
}

impl Publish<'_> {
    /// Publishes. Returns whether it reached a queue, and the record that makes it safe.
    fn send(
        self,
        client: &mut Client,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(bool, Lsn), Fault> {
        let incoming =
            mapping::to_core(self.properties).map_err(|error| precondition(&error.to_string()))?;
        check_user(incoming.user_id, caller)?;
        let extras = incoming.extras.as_deref();
        let further = extras.map(|extras| extras.cc.iter().chain(&extras.bcc));
        let further: Vec<&[u8]> = further.into_iter().flatten().map(|key| &key[..]).collect();
        let headers = || incoming.headers.map(table::to_headers_lossy);
        let request = RouteRequest {
            exchange: self.exchange.as_bytes(),
            routing_key: self.key.as_bytes(),
            key_syntax: KeySyntax::Dotted,
            extra_keys: &further,
            headers: &|| headers().unwrap_or_default(),
            properties: &|| mapping::FORMAT.decode(&incoming.native),
            publisher: None,
            from_client: true,
        };
        let vhost = client.vhost().to_owned();
        let route = client
            .route(&request)
            .map_err(|refusal| Fault::of_publish(&refusal, &vhost, caller.name()))?;
        if route.is_empty() {
            return Ok((false, Lsn::NONE));
        }
        let message = NewMessage {
            exchange: self.exchange.as_bytes(),
            routing_key: self.key.as_bytes(),
            key_syntax: KeySyntax::Dotted,
            format: &mapping::FORMAT,
            native: &incoming.native,
            body: if self.body.len() <= BODY_INLINE_MAX {
                Body::Inline(&self.body)
            } else {
                Body::Shared(self.body.clone())
            },
            durable: incoming.durable,
            priority: incoming.priority,
            ttl_ms: incoming.ttl_ms,
            received_at: now,
            publisher: None,
            extras: incoming.extras.clone(),
        };
        let routed = !route.is_unroutable();
        let mut turn = Turn::new();
        turn.push(message.build(client.scratch()), route);
        let published = client.publish(&mut turn, now);
        if !published.rejected.is_empty() {
            return Err(Fault::bad_request("rejected"));
        }
        Ok((routed, published.lsn))
    }
}

/// Messages carry the name of who sends them, or none.
fn check_user(claimed: Option<&[u8]>, caller: &Caller) -> Result<(), Fault> {
    let Some(claimed) = claimed.filter(|claimed| *claimed != caller.name().as_bytes()) else {
        return Ok(());
    };
    if caller.may_impersonate() {
        return Ok(());
    }
    let (claimed, name) = (String::from_utf8_lossy(claimed), caller.name());
    Err(precondition(&format!(
        "user_id property set to '{claimed}' but authenticated user was '{name}'"
    )))
}

fn precondition(text: &str) -> Fault {
    Fault::bad_request(format!("406 PRECONDITION_FAILED - {text}"))
}
