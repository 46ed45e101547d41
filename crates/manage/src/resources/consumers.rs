//! `/consumers`, `/consumers/:vhost`

use std::collections::HashMap;

use axum::extract::State;
use serde::Serialize;
use ternmq_broker::inspect::{ConnectionSnapshot, ConsumerSnapshot};
use ternmq_core::id::ConnectionId;
use ternmq_core::value::Headers;

use super::Shared;
use crate::Manage;
use crate::auth::Caller;
use crate::listing::{self, Row};
use crate::reply::Answer;
use crate::request::{Names, Query};
use crate::table::Table;

/// A consumer as it is shown.
#[derive(Serialize)]
pub(crate) struct ConsumerRow {
    ack_required: bool,
    active: bool,
    activity_status: &'static str,
    arguments: Table,
    channel_details: ChannelDetails,
    consumer_tag: String,
    /// In milliseconds, 0 for none: strict clients want a number.
    consumer_timeout: u64,
    exclusive: bool,
    prefetch_count: u32,
    queue: Queue,
}

#[derive(Serialize)]
struct ChannelDetails {
    connection_name: Box<str>,
    name: String,
    node: Box<str>,
    number: u16,
    peer_host: String,
    peer_port: u16,
    user: Box<str>,
}

#[derive(Serialize)]
struct Queue {
    name: Box<str>,
    vhost: Box<str>,
}

impl Row for ConsumerRow {
    fn name(&self) -> &str {
        &self.consumer_tag
    }

    fn group(&self) -> &str {
        &self.queue.name
    }
}

pub(crate) async fn list(State(manage): State<Shared>, caller: Caller, query: Query) -> Answer {
    let mut consumers = manage.broker.inspect().consumers(None);
    let seen = caller.seen_vhosts();
    consumers.retain(|consumer| seen.contains(consumer.vhost()));
    listing::whole(rows(&manage, consumers), &query)
}

pub(crate) async fn list_in_vhost(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let consumers = manage.broker.inspect().consumers(Some(&vhost));
    listing::whole(rows(&manage, consumers), &query)
}

/// The consumers of one queue.
pub(crate) fn of_queue(manage: &Manage, vhost: &str, queue: &str) -> Vec<ConsumerRow> {
    rows(
        manage,
        manage.broker.inspect().queue_consumers(vhost, queue),
    )
}

/// The consumers on one channel.
pub(crate) fn of_channel(
    manage: &Manage,
    vhost: &str,
    (connection, channel): (ConnectionId, u16),
) -> Vec<ConsumerRow> {
    let mut consumers = manage.broker.inspect().consumers(Some(vhost));
    consumers.retain(|c| c.connection == connection && c.label.channel == channel);
    rows(manage, consumers)
}

fn rows(manage: &Manage, consumers: Vec<ConsumerSnapshot>) -> Vec<ConsumerRow> {
    if consumers.is_empty() {
        return Vec::new();
    }
    let connections = manage.broker.inspect().connections(None);
    let by_id: HashMap<ConnectionId, &ConnectionSnapshot> = connections
        .iter()
        .map(|connection| (connection.id, connection))
        .collect();
    let row = |consumer: ConsumerSnapshot| {
        row(manage, &consumer, by_id.get(&consumer.connection).copied())
    };
    consumers.into_iter().map(row).collect()
}

/// A consumer without a connection that anybody introduced is one whose connection just goes.
fn row(
    manage: &Manage,
    consumer: &ConsumerSnapshot,
    connection: Option<&ConnectionSnapshot>,
) -> ConsumerRow {
    let number = consumer.label.channel;
    let connection_name = connection.map_or_else(Box::default, |c| c.name.clone());
    let peer = connection.map(|c| c.info.peer);
    ConsumerRow {
        ack_required: consumer.ack_required(),
        active: consumer.is_active(),
        activity_status: consumer.status.name(),
        arguments: Table(
            consumer
                .label
                .arguments
                .as_deref()
                .cloned()
                .unwrap_or_else(Headers::new),
        ),
        channel_details: ChannelDetails {
            name: format!("{connection_name} ({number})"),
            connection_name,
            node: manage.node.name.as_str().into(),
            number,
            peer_host: peer
                .map(|peer| peer.ip().to_canonical().to_string())
                .unwrap_or_default(),
            peer_port: peer.map_or(0, |peer| peer.port()),
            user: connection.map_or_else(Box::default, |c| c.user.clone()),
        },
        consumer_tag: consumer.label.tag.clone().into_owned(),
        consumer_timeout: consumer.timeout_ms.unwrap_or(0),
        exclusive: consumer.exclusive,
        prefetch_count: consumer.label.prefetch,
        queue: Queue {
            name: consumer.queue().into(),
            vhost: consumer.vhost().into(),
        },
    }
}
