//! `/api/x/...`: what RabbitMQ's API does not have. Looking at messages where they are, stopping and mending queues.
//!
//! | path below `/api/x` | |
//! |---|---|
//! | `queues/:vhost/:name/messages?from=&count=` | ready messages in their order, untouched |
//! | `queues/:vhost/:name/in-flight?count=` | messages that somebody has, with who, and since when |
//! | `queues/:vhost/:name/pause`, `/resume` | stops and goes on serving consumers |
//! | `queues/:vhost/:name/redrive` | sends dead letters back to where they died, as a task |
//! | `tasks`, `tasks/:id` | such tasks: how far they are; `DELETE` stops one |
//! | `delayed/:vhost`, `delayed/:vhost/:id` | messages that wait for their time; `DELETE` forgets one |
//! | `retained/:vhost?filter=`, `retained/:vhost/:topic` | retained messages; `DELETE` forgets one |
//! | `mqtt/sessions/:vhost`, `/:client`, `mqtt/shares/:vhost` | MQTT sessions with their subscriptions, and shared groups; `DELETE` ends a session |
//! | `explain-route/:vhost/:exchange` | where a message would go, and why not elsewhere |

pub(crate) mod browse;
pub(crate) mod delayed;
pub(crate) mod explain;
pub(crate) mod pause;
pub(crate) mod redrive;
pub(crate) mod retained;
pub(crate) mod sessions;

use serde::Serialize;
use serde_json::Value;
use ternmq_amqp::mapping;
use ternmq_core::message::Message;

use crate::properties;
use crate::request::Query;
use crate::resources::get::Encoding;

/// Bytes of each payload that are shown unless the request says otherwise.
const TRUNCATE: usize = 4_096;

/// A message as it is shown.
#[derive(Serialize)]
pub(crate) struct MessageRow {
    exchange: String,
    routing_key: String,
    payload_bytes: usize,
    payload: String,
    payload_encoding: &'static str,
    properties: Value,
    durable: bool,
}

impl MessageRow {
    pub(crate) fn of(message: &Message, encoding: Encoding) -> Self {
        let mut scratch = Vec::new();
        let key = mapping::routing_key(message, &mut scratch);
        let (payload, payload_encoding) = encoding.write(message.body());
        Self {
            exchange: String::from_utf8_lossy(message.exchange()).into_owned(),
            routing_key: String::from_utf8_lossy(key).into_owned(),
            payload_bytes: message.body().len(),
            payload,
            payload_encoding,
            properties: properties::to_json(message),
            durable: message.durable(),
        }
    }
}

/// How payloads are written, as the query asks: `encoding=base64`, `truncate=100`.
fn encoding(query: &Query) -> Encoding {
    let truncate = query.get("truncate").and_then(|bytes| bytes.parse().ok());
    Encoding {
        text: query.get("encoding") != Some("base64"),
        truncate: truncate.unwrap_or(TRUNCATE),
    }
}

/// A number in the query, or another.
fn number(query: &Query, name: &str, otherwise: u64) -> u64 {
    query
        .get(name)
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}
