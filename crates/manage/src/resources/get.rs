//! `/queues/:vhost/:name/get`

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use ternmq_amqp::mapping;
use ternmq_broker::{Client, Got};
use ternmq_core::queue::Outcome;

use super::Shared;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::properties;
use crate::reply::{self, Answer};
use crate::request::{Fields, Names, Payload};

/// Bodies that one answer holds: no more messages are taken beyond it.
const BODIES_BYTES_MAX: usize = 64 << 20;

/// One message in the answer.
#[derive(Serialize)]
pub(crate) struct Shown {
    payload_bytes: usize,
    redelivered: bool,
    exchange: String,
    routing_key: String,
    message_count: u64,
    properties: Value,
    payload: String,
    payload_encoding: &'static str,
}

/// What becomes of the messages that were taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AckMode {
    /// They are gone as they are taken.
    Gone,
    /// They are settled when all are taken: so none is taken twice.
    Settled(Outcome),
}

impl AckMode {
    fn of(fields: &Fields) -> Result<Self, Fault> {
        let mode = match (fields.get("ackmode"), fields.get("requeue")) {
            (None, Some(_)) if fields.flag("requeue")? => "ack_requeue_true",
            (None, Some(_)) => "ack_requeue_false",
            _ => fields.text("ackmode")?,
        };
        match mode {
            "ack_requeue_true" => Ok(Self::Settled(Outcome::Return { failed: false })),
            "ack_requeue_false" => Ok(Self::Gone),
            "reject_requeue_true" => Ok(Self::Settled(Outcome::Return { failed: true })),
            "reject_requeue_false" => Ok(Self::Settled(Outcome::Reject { failed: true })),
            other => Err(Fault::bad_request(serde_json::json!([
                "unsupported_ackmode",
                other
            ]))),
        }
    }
}

/// How payloads are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Encoding {
    /// As text where they are text.
    pub(crate) text: bool,
    /// Bytes of each that are written.
    pub(crate) truncate: usize,
}

impl Encoding {
    pub(crate) fn of(fields: &Fields) -> Result<Self, Fault> {
        let text = match fields.text("encoding")? {
            "auto" => true,
            "base64" => false,
            _ => {
                let reason = "Unsupported encoding. Please use auto or base64.";
                return Err(Fault::bad_request(reason));
            }
        };
        let truncate = fields.integer("truncate")?.map(usize::try_from);
        Ok(Self {
            text,
            truncate: truncate.and_then(Result::ok).unwrap_or(usize::MAX),
        })
    }

    /// The payload, and how it is written.
    pub(crate) fn write(self, body: &[u8]) -> (String, &'static str) {
        let mut shown = &body[..body.len().min(self.truncate)];
        if self.text
            && let Ok(whole) = std::str::from_utf8(body)
        {
            shown = &body[..whole.floor_char_boundary(shown.len())];
            return (String::from_utf8_lossy(shown).into_owned(), "string");
        }
        (STANDARD.encode(shown), "base64")
    }
}

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    payload: Payload,
) -> Answer {
    let fields = payload.object()?;
    if fields.get("requeue").is_some() {
        fields.require(&["count", "encoding"])?;
    } else {
        fields.require(&["ackmode", "count", "encoding"])?;
    }
    let (mode, encoding) = (AckMode::of(&fields)?, Encoding::of(&fields)?);
    let count = fields.integer("count")?.unwrap_or(0);
    let mut client = caller.client(&vhost, Fault::not_found())?;
    let refused = |refusal| Fault::of_get(&refusal, &vhost, caller.name());
    let taken = take(&mut client, &name, (mode, count), refused)?;
    let shown: Vec<Shown> = taken.iter().map(|got| show(got, encoding)).collect();
    if let AckMode::Settled(outcome) = mode {
        let now = manage.broker.now();
        for got in &taken {
            client.settle(&got.queue, &[got.delivery.position], outcome, now);
        }
    }
    Ok(reply::json(&shown))
}

fn take(
    client: &mut Client,
    queue: &str,
    (mode, count): (AckMode, i64),
    refused: impl Fn(ternmq_core::error::Refusal) -> Fault,
) -> Result<Vec<Got>, Fault> {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    for _ in 0..count {
        let Some(got) = client.get(queue, mode == AckMode::Gone).map_err(&refused)? else {
            break;
        };
        bytes += got.delivery.message.body().len();
        taken.push(got);
        if bytes > BODIES_BYTES_MAX {
            break;
        }
    }
    Ok(taken)
}

fn show(got: &Got, encoding: Encoding) -> Shown {
    let message = &got.delivery.message;
    let mut scratch = Vec::new();
    let key = mapping::routing_key(message, &mut scratch);
    let (payload, payload_encoding) = encoding.write(message.body());
    Shown {
        payload_bytes: message.body().len(),
        redelivered: got.delivery.redelivered,
        exchange: String::from_utf8_lossy(message.exchange()).into_owned(),
        routing_key: String::from_utf8_lossy(key).into_owned(),
        message_count: got.ready,
        properties: properties::to_json(message),
        payload,
        payload_encoding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_text_where_it_is_text() {
        let auto = |truncate| Encoding {
            text: true,
            truncate,
        };
        assert_eq!(
            auto(99).write("grüß".as_bytes()),
            ("grüß".to_owned(), "string")
        );
        assert_eq!(
            auto(3).write("grüß".as_bytes()),
            ("gr".to_owned(), "string")
        );
        assert_eq!(auto(99).write(b"\xff\xfe"), ("//4=".to_owned(), "base64"));
        let base64 = Encoding {
            text: false,
            truncate: 2,
        };
        assert_eq!(base64.write(b"hello"), ("aGU=".to_owned(), "base64"));
    }
}
