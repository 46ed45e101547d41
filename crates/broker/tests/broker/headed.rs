//! Messages with headers, in a form of their own: `name=value` in lines.

use ternmq_broker::{Client, Turn};
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::message::{
    FormatId, Message, NewMessage, NoProperties, Properties, PropertyFormat,
};
use ternmq_core::record::Formats;
use ternmq_core::value::{Headers, Value};

use crate::node::request;

/// Reads that form.
#[derive(Debug)]
pub(crate) struct Lines;

impl PropertyFormat for Lines {
    fn id(&self) -> FormatId {
        FormatId(77)
    }

    fn decode(&self, native: &[u8]) -> Properties {
        let text = std::str::from_utf8(native).unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once('=').unwrap();
            let value = match value {
                "true" => Value::Bool(true),
                number => Value::I64(number.parse().unwrap()),
            };
            (Box::from(name), value)
        };
        Properties {
            headers: text.lines().map(header).collect(),
            ..Properties::default()
        }
    }

    fn with_header(&self, native: &[u8], name: &str, value: &Value) -> Option<Vec<u8>> {
        let mut headers = self.decode(native).headers;
        headers.set(name, value.clone());
        let lines = headers.iter().map(|(name, value)| match value {
            Value::Bool(v) => format!("{name}={v}\n"),
            value => format!("{name}={}\n", value.as_i64().unwrap()),
        });
        Some(lines.collect::<String>().into_bytes())
    }
}

pub(crate) struct Forms;

impl Formats for Forms {
    fn format(&self, id: FormatId) -> Option<&'static dyn PropertyFormat> {
        match id {
            FormatId(0) => Some(&NoProperties),
            FormatId(77) => Some(&Lines),
            _ => None,
        }
    }
}

/// A durable message with these headers.
pub(crate) fn headed(exchange: &str, key: &str, body: &str, headers: &str) -> Message {
    let mut new = NewMessage::plain(exchange.as_bytes(), key.as_bytes(), body.as_bytes());
    new.durable = true;
    new.format = &Lines;
    new.native = headers.as_bytes();
    new.build(&mut Vec::new())
}

/// Publishes messages, each a body with headers, in one turn. Returns what to wait for, and those refused.
pub(crate) fn publish_headed(
    client: &mut Client,
    now: Timestamp,
    (exchange, key): (&str, &str),
    messages: &[(&str, &str)],
) -> (Lsn, Vec<usize>) {
    let mut turn = Turn::new();
    for (body, headers) in messages {
        let read = || -> Headers { Lines.decode(headers.as_bytes()).headers };
        let route = client.route(&request(exchange, key, &read)).unwrap();
        turn.push(headed(exchange, key, body, headers), route);
    }
    let published = client.publish(&mut turn, now);
    (published.lsn, published.rejected.to_vec())
}
