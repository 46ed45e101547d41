//! `/channels`, `/channels/:name`, `/vhosts/:vhost/channels`, `/connections/:name/channels`

use std::collections::HashMap;

use axum::extract::State;
use serde::Serialize;
use ternmq_broker::inspect::{ChannelMode, ChannelSnapshot};
use ternmq_core::id::ConnectionId;

use super::connections::Ends;
use super::consumers::{self, ConsumerRow};
use super::{Empty, Shared, connections};
use crate::Manage;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::rates::{ChannelNumbers, Measures, Numbers as _, Past, Ranges, channel_numbers};
use crate::reply::Answer;
use crate::request::{Names, Query};
use crate::time;

/// A channel as it is shown.
#[derive(Serialize)]
struct Shown {
    name: String,
    number: u16,
    node: Box<str>,
    vhost: Box<str>,
    user: Box<str>,
    user_who_performed_action: Box<str>,
    state: &'static str,
    connection_details: Ends,
    consumer_count: u64,
    confirm: bool,
    transactional: bool,
    prefetch_count: u64,
    global_prefetch_count: u64,
    messages_unacknowledged: u64,
    messages_unconfirmed: u64,
    messages_uncommitted: u64,
    acks_uncommitted: u64,
    idle_since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<Measures>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    detail: Option<Detail>,
}

/// What only the channel itself shows, not lists.
#[derive(Serialize)]
struct Detail {
    consumer_details: Vec<ConsumerRow>,
    /// Rates by exchange and by queue, which nobody counts.
    publishes: [Empty; 0],
    deliveries: [Empty; 0],
}

impl Row for Shown {
    fn name(&self) -> &str {
        &self.name
    }
}

pub(crate) async fn list(State(manage): State<Shared>, caller: Caller, query: Query) -> Answer {
    let channels = manage.broker.inspect().channels(None);
    answer(&manage, &caller, channels, &query)
}

pub(crate) async fn list_in_vhost(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let channels = manage.broker.inspect().channels(Some(&vhost));
    answer(&manage, &caller, channels, &query.without_pages())
}

pub(crate) async fn list_of_connection(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    let connection = connections::find(&manage, &name)?;
    if !caller.is_monitor() {
        caller.themselves(&connection.user)?;
    }
    let channels = manage.broker.inspect().channels_of(connection.id);
    answer(&manage, &caller, channels, &query.without_pages())
}

/// Whoever may not see all channels sees their own.
fn answer(
    manage: &Manage,
    caller: &Caller,
    mut channels: Vec<ChannelSnapshot>,
    query: &Query,
) -> Answer {
    channels.retain(|channel| caller.is_monitor() || *channel.user == *caller.name());
    let connections = manage.broker.inspect().connections(None);
    let ends: HashMap<ConnectionId, Ends> =
        connections.iter().map(|c| (c.id, Ends::of(c))).collect();
    let past = manage.sampler.past();
    let ranges = past.ranges(query);
    let shown = channels.iter().filter_map(|channel| {
        // A connection that went in between took its channels with it.
        let ends = ends.get(&channel.connection)?.clone();
        Some(show(manage, channel, ends, (&past, ranges)))
    });
    listing::list(shown.collect(), query)
}

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    let found = manage.broker.inspect().channel_named(&name);
    let channel = found.ok_or_else(Fault::not_found)?;
    if !caller.is_monitor() {
        caller.themselves(&channel.user)?;
    }
    let ends = connections::ends(&manage, channel.connection).ok_or_else(Fault::not_found)?;
    let place = (channel.connection, channel.number);
    let detail = Detail {
        consumer_details: consumers::of_channel(&manage, &channel.vhost, place),
        publishes: [],
        deliveries: [],
    };
    let past = manage.sampler.past();
    let shown = show(&manage, &channel, ends, (&past, past.ranges(&query)));
    let shown = Shown {
        detail: Some(detail),
        ..shown
    };
    Ok(listing::object(&shown, &query))
}

fn show(
    manage: &Manage,
    channel: &ChannelSnapshot,
    ends: Ends,
    (past, ranges): (&Past, Ranges),
) -> Shown {
    let stats = &channel.stats;
    let past = past.channels.get(&(channel.connection, channel.number));
    let numbers = channel_numbers(stats);
    Shown {
        name: channel.name(),
        number: channel.number,
        node: manage.node.name.as_str().into(),
        vhost: channel.vhost.clone(),
        user: channel.user.clone(),
        user_who_performed_action: channel.user.clone(),
        state: "running",
        connection_details: ends,
        consumer_count: stats.consumers.get(),
        confirm: channel.mode == ChannelMode::Confirm,
        transactional: channel.mode == ChannelMode::Transactional,
        prefetch_count: stats.prefetch.get(),
        global_prefetch_count: stats.global_prefetch.get(),
        messages_unacknowledged: stats.unacknowledged.get(),
        messages_unconfirmed: stats.unconfirmed.get(),
        messages_uncommitted: stats.uncommitted.get(),
        acks_uncommitted: stats.acks_uncommitted.get(),
        idle_since: time::rfc3339(channel.active_at),
        message_stats: ChannelNumbers::measures(&numbers, past, ranges.messages).unless_zero(),
        detail: None,
    }
}
