//! `/x/queues/:vhost/:name/messages`, `/in-flight`

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use ternmq_broker::inspect::{HeldBy, MessageSnapshot};
use ternmq_core::access::Right;
use ternmq_core::error::Kind;
use ternmq_core::id::{ConnectionId, Timestamp};

use super::{MessageRow, encoding, number};
use crate::Manage;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::reply::{self, Answer};
use crate::request::{Names, Query};
use crate::resources::Shared;
use crate::time;

/// Messages that one answer holds unless the request says otherwise.
const COUNT: u64 = 50;

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    message: MessageRow,
    enqueued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    attempts: u32,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<Holder>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_ms: Option<u64>,
}

/// Who has a message.
#[derive(Serialize)]
struct Holder {
    connection: Box<str>,
    channel: u16,
    consumer_tag: String,
}

pub(crate) async fn ready(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.may(&vhost, Right::Read, (Kind::Queue, &name))?;
    let (from, count) = (number(&query, "from", 0), number(&query, "count", COUNT));
    let inspect = manage.broker.inspect();
    let found = inspect.browse(
        &vhost,
        &name,
        from,
        usize::try_from(count).unwrap_or(usize::MAX),
    );
    let found = found.ok_or_else(Fault::not_found)?;
    Ok(answer(&manage, found, &query))
}

pub(crate) async fn in_flight(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.may(&vhost, Right::Read, (Kind::Queue, &name))?;
    let count = usize::try_from(number(&query, "count", COUNT)).unwrap_or(usize::MAX);
    let found = manage.broker.inspect().in_flight(&vhost, &name, count);
    let found = found.ok_or_else(Fault::not_found)?;
    Ok(answer(&manage, found, &query))
}

fn answer(manage: &Manage, messages: Vec<MessageSnapshot>, query: &Query) -> Response {
    let encoding = encoding(query);
    let now = manage.broker.now();
    let connections = manage.broker.inspect().connections(None);
    let names: HashMap<ConnectionId, Box<str>> = connections
        .into_iter()
        .map(|connection| (connection.id, connection.name))
        .collect();
    let shown = messages.into_iter().map(|snapshot| Shown {
        message: MessageRow::of(&snapshot.message, encoding),
        enqueued_at: time::rfc3339(snapshot.enqueued_at),
        expires_at: snapshot.expires_at.map(time::rfc3339),
        attempts: snapshot.attempts,
        failures: snapshot.failures,
        held_by: holder(snapshot.held_by, &names),
        held_since: snapshot.held_since.map(time::rfc3339),
        held_ms: snapshot.held_since.map(|since: Timestamp| now.since(since)),
    });
    reply::json(&shown.collect::<Vec<_>>())
}

fn holder(held_by: HeldBy, names: &HashMap<ConnectionId, Box<str>>) -> Option<Holder> {
    match held_by {
        HeldBy::Consumer { connection, label } => Some(Holder {
            connection: names.get(&connection).cloned().unwrap_or_default(),
            channel: label.channel,
            consumer_tag: label.tag.into_owned(),
        }),
        HeldBy::Nobody | HeldBy::Other => None,
    }
}
