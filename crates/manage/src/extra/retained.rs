//! `/x/retained/:vhost`, `/x/retained/:vhost/:topic`

use axum::extract::State;
use serde::Serialize;
use ternmq_core::message::Message;
use ternmq_mqtt::topic::TopicFilter;

use super::{MessageRow, encoding, number};
use crate::auth::Caller;
use crate::fault::Fault;
use crate::reply::{self, Answer};
use crate::request::{Names, Query};
use crate::resources::Shared;
use crate::time;

/// The filter that every topic matches but those of the broker.
const EVERYTHING: &str = "#";
/// Messages that one answer holds, at most, and unless the request says otherwise.
const COUNT_MAX: u64 = 10_000;
const COUNT: u64 = 100;

#[derive(Serialize)]
struct Shown {
    topic: String,
    received_at: String,
    #[serde(flatten)]
    message: MessageRow,
}

/// Those whose topics match a filter, which is written as in MQTT.
pub(crate) async fn list(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let mut client = caller.client(&vhost, Fault::not_found())?;
    let filter = query.get("filter").unwrap_or(EVERYTHING);
    TopicFilter::parse(filter).map_err(|error| Fault::bad_request(format!("filter: {error}")))?;
    let mut messages = Vec::new();
    client.retained(filter.as_bytes(), manage.broker.now(), &mut messages);
    let count = number(&query, "count", COUNT).min(COUNT_MAX);
    let encoding = encoding(&query);
    let shown = messages
        .iter()
        .take(usize::try_from(count).unwrap_or(usize::MAX));
    let shown = shown.map(|message: &Message| Shown {
        topic: String::from_utf8_lossy(message.routing_key()).into_owned(),
        received_at: time::rfc3339(message.received_at()),
        message: MessageRow::of(message, encoding),
    });
    Ok(reply::json(&shown.collect::<Vec<_>>()))
}

/// Forgets the message of one topic.
pub(crate) async fn forget(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, topic)): Names<(String, String)>,
) -> Answer {
    caller.policymaker()?;
    let mut client = caller.client(&vhost, Fault::not_found())?;
    let mut found = Vec::new();
    client.retained(topic.as_bytes(), manage.broker.now(), &mut found);
    if !found
        .iter()
        .any(|message| message.routing_key() == topic.as_bytes())
    {
        return Err(Fault::not_found());
    }
    let lsn = client
        .retain(topic.as_bytes(), None)
        .map_err(|refusal| Fault::of_refusal(&refusal, &vhost, caller.name()))?;
    drop(client);
    manage.durable(lsn).await;
    Ok(reply::done())
}
