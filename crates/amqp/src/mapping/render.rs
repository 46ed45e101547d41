//! Core message to raw property bytes.

use std::borrow::Cow;

use bytes::Bytes;
use ternmq_core::message::{Death, DeathPlace, History, Message, Properties as Neutral};
use ternmq_core::routing::key::{self, KeySyntax};
use ternmq_core::value::{Headers, Value};

use super::{CC, FORMAT_ID, X_CORRELATION_ID, X_MESSAGE_ID, X_REPLY_TO_TOPIC};
use crate::codec::EncodeError;
use crate::properties::{PERSISTENT, Properties};
use crate::table::{self, Entries, TableError};

/// `delivery_mode` of a message that need not survive a restart.
const TRANSIENT: u8 = 1;

/// Longest short string in bytes.
const SHORT_STRING_MAX: usize = 255;

/// The raw properties to deliver a message with: its own bytes if it came in over AMQP and the broker has nothing
/// to say, else rendered into `scratch`.
///
/// `annotations` are `x-` headers that belong to this delivery, such as [`super::X_DELIVERY_COUNT`]. Anything the
/// broker adds sorts the headers by name and removes duplicates, the broker's value first.
pub fn from_core<'a>(
    message: &'a Message,
    annotations: &[(&str, Value)],
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], EncodeError> {
    let is_native = message.format() == FORMAT_ID;
    let is_plain = message
        .extras()
        .is_none_or(|extras| extras.history.is_none() && !extras.hide_cc);
    if is_native && is_plain && annotations.is_empty() {
        return Ok(message.native());
    }
    scratch.clear();
    let mut broker = Vec::new();
    put_annotations(&mut broker, message.history(), annotations)?;
    if is_native {
        render_native(message, &broker, scratch)
    } else {
        render_foreign(message, &broker, scratch)
    }?;
    Ok(scratch)
}

/// Appends a raw table's entries but those of that name.
pub(super) fn copy_entries_without(out: &mut Vec<u8>, table: &[u8], unwanted: &[u8]) {
    for (name, entry) in RawEntries::new(table) {
        if name != unwanted {
            out.extend_from_slice(entry);
        }
    }
}

/// Raw properties with another value for a header. As whatever the broker says, it sorts the headers.
pub(super) fn with_header(
    native: &[u8],
    name: &str,
    value: &Value,
) -> Result<Vec<u8>, EncodeError> {
    let properties = Properties::parse_lossy(native);
    let mut header = Vec::new();
    table::encode_entry(&mut header, name, value)?;
    let headers = merged(&header, properties.headers.unwrap_or_default());
    let mut out = Vec::with_capacity(native.len() + header.len());
    Properties {
        headers: Some(&headers),
        ..properties
    }
    .encode(&mut out)?;
    Ok(out)
}

fn render_native(message: &Message, broker: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut properties = Properties::parse_lossy(message.native());
    let table = properties.headers.unwrap_or_default();
    let mut shown = Cow::Borrowed(table);
    if message.extras().is_some_and(|extras| extras.hide_cc) {
        shown.to_mut().clear();
        copy_entries_without(shown.to_mut(), table, CC);
    }
    if !broker.is_empty() {
        shown = Cow::Owned(merged(broker, &shown));
    }
    if properties.headers.is_some() || !broker.is_empty() {
        properties.headers = Some(&shown);
    }
    // Death takes the time to live away; what is set in the message since then counts.
    let ttl = message.ttl_ms().map(|ms| ms.to_string());
    if message.history().is_some() {
        properties.expiration = ttl.as_deref().map(str::as_bytes);
    }
    properties.encode(out)
}

fn render_foreign(message: &Message, broker: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let neutral = message.properties();
    let headers = merged(broker, &foreign_headers(&neutral));
    let ttl = message.ttl_ms().map(|ms| ms.to_string());
    let had_ttl = ttl.is_some()
        || message.history().is_some_and(|history| {
            history
                .deaths
                .iter()
                .any(|death| death.original_ttl_ms.is_some())
        });
    let properties = Properties {
        content_type: valid_short_string(neutral.content_type.as_ref())
            .filter(|text| text.is_ascii()),
        content_encoding: valid_short_string(neutral.content_encoding.as_ref()),
        headers: (!headers.is_empty()).then_some(&headers),
        delivery_mode: Some(if message.durable() {
            PERSISTENT
        } else {
            TRANSIENT
        }),
        priority: message.priority(),
        correlation_id: valid_short_string(neutral.correlation_id.as_ref()),
        reply_to: valid_short_string(neutral.reply_to.as_ref()),
        expiration: ttl.as_deref().map(str::as_bytes),
        message_id: valid_short_string(neutral.message_id.as_ref()),
        timestamp: neutral
            .timestamp
            .or_else(|| had_ttl.then(|| message.received_at().0 / 1000)),
        type_: valid_short_string(neutral.message_type.as_ref()),
        user_id: valid_short_string(neutral.user_id.as_ref()),
        app_id: valid_short_string(neutral.app_id.as_ref()),
        cluster_id: None,
    };
    properties.encode(out)
}

/// The neutral headers and what stands in for properties, as a raw table.
fn foreign_headers(neutral: &Neutral) -> Vec<u8> {
    let mut table = Vec::new();
    // A name of 256 bytes or more, or a value nested too deeply, cannot be said here: that header is left out, and
    // the encoder leaves no trace of it.
    let mut put = |name: &str, value: &Value| {
        table::encode_entry(&mut table, name, value).ok();
    };
    for (name, id) in [
        (X_CORRELATION_ID, &neutral.correlation_id),
        (X_MESSAGE_ID, &neutral.message_id),
    ] {
        if let (Some(id), None) = (id, valid_short_string(id.as_ref())) {
            put(name, &Value::Text(id.clone()));
        }
    }
    if let Some((written, topic)) = &neutral.reply_topic {
        put(X_REPLY_TO_TOPIC, &Value::Text(dotted(topic, *written)));
    }
    for (name, value) in neutral.headers.iter() {
        put(name, value);
    }
    table
}

/// The text if it is UTF-8 without NUL and fits a short string.
fn valid_short_string(text: Option<&Bytes>) -> Option<&[u8]> {
    let text: &[u8] = text?;
    let valid =
        text.len() <= SHORT_STRING_MAX && !text.contains(&0) && std::str::from_utf8(text).is_ok();
    valid.then_some(text)
}

fn dotted(key: &Bytes, written: KeySyntax) -> Bytes {
    match written {
        KeySyntax::Dotted => key.clone(),
        KeySyntax::Slashed => {
            let mut view = Vec::with_capacity(key.len());
            key::render(key, written, KeySyntax::Dotted, &mut view);
            view.into()
        }
    }
}

/// Both raw tables as one: sorted by name, of equal names the first, the broker's before the client's.
fn merged(broker: &[u8], client: &[u8]) -> Vec<u8> {
    let mut entries: Vec<_> = RawEntries::new(broker)
        .chain(RawEntries::new(client))
        .collect();
    entries.sort_by_key(|&(name, _)| name);
    entries.dedup_by_key(|&mut (name, _)| name);
    entries
        .into_iter()
        .flat_map(|(_, entry)| entry)
        .copied()
        .collect()
}

/// Walks a raw table: each name with the whole bytes of its entry. Ends at the first fault.
struct RawEntries<'a>(Entries<'a>);

impl<'a> RawEntries<'a> {
    const fn new(table: &'a [u8]) -> Self {
        Self(Entries::new(table))
    }
}

impl<'a> Iterator for RawEntries<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let before = self.0.rest();
        let (name, _) = self.0.next()?.ok()?;
        let entry = before.get(..before.len() - self.0.rest().len())?;
        Some((name, entry))
    }
}

/// Appends everything the broker says about the message as a raw table.
fn put_annotations(
    out: &mut Vec<u8>,
    history: Option<&History>,
    annotations: &[(&str, Value)],
) -> Result<(), TableError> {
    if let Some(history) = history {
        let deaths = history
            .deaths
            .iter()
            .map(|death| Value::Map(death_table(death)))
            .collect();
        table::encode_entry(out, "x-death", &Value::List(deaths))?;
        let DeathPlace {
            reason,
            queue,
            exchange,
        } = &history.first;
        table::encode_entry(
            out,
            "x-first-death-exchange",
            &Value::Text(exchange.clone()),
        )?;
        table::encode_entry(out, "x-first-death-queue", &Value::text(queue))?;
        table::encode_entry(out, "x-first-death-reason", &Value::text(reason.name()))?;
        let DeathPlace {
            reason,
            queue,
            exchange,
        } = &history.last;
        table::encode_entry(out, "x-last-death-exchange", &Value::Text(exchange.clone()))?;
        table::encode_entry(out, "x-last-death-queue", &Value::text(queue))?;
        table::encode_entry(out, "x-last-death-reason", &Value::text(reason.name()))?;
    }
    annotations
        .iter()
        .try_for_each(|(name, value)| table::encode_entry(out, name, value))
}

/// One entry of `x-death`. Clients depend on the order and on the types: `count` is a signed 64-bit integer, `time`
/// a timestamp, and of the first death.
fn death_table(death: &Death) -> Headers {
    let keys = death
        .routing_keys
        .iter()
        .map(|key| Value::Text(dotted(key, death.key_syntax)))
        .collect();
    let mut table = Headers::new();
    if let Some(ms) = death.original_ttl_ms {
        table.push("original-expiration", Value::text(ms.to_string()));
    }
    table.push(
        "count",
        Value::I64(i64::try_from(death.count).unwrap_or(i64::MAX)),
    );
    table.push("reason", Value::text(death.reason.name()));
    table.push("queue", Value::text(&death.queue));
    table.push("time", Value::Timestamp(death.first_time.0 / 1000));
    table.push("exchange", Value::Text(death.exchange.clone()));
    table.push("routing-keys", Value::List(keys));
    table
}
