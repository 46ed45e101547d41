//! `/overview`

use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Empty, Shared, parameters};
use crate::Manage;
use crate::auth::Caller;
use crate::listing;
use crate::node::Listening;
use crate::rates::{Details, Measures, NodeNumbers, Numbers as _, VhostNumbers};
use crate::reply::Answer;
use crate::request::Query;

/// What tools that print the version of a runtime get to read.
const RUNTIME: &str = "none";

/// Exchange types, with what user interfaces say about them.
const EXCHANGE_TYPES: [(&str, &str); 10] = [
    (
        "direct",
        "AMQP direct exchange, as per the AMQP specification",
    ),
    (
        "fanout",
        "AMQP fanout exchange, as per the AMQP specification",
    ),
    (
        "headers",
        "AMQP headers exchange, as per the AMQP specification",
    ),
    (
        "topic",
        "AMQP topic exchange, as per the AMQP specification",
    ),
    ("x-consistent-hash", "Consistent Hashing Exchange"),
    ("x-modulus-hash", "Modulus Hashing Exchange"),
    ("x-random", "Picks one destination queue at random"),
    (
        "x-local-random",
        "Picks one local destination queue at random",
    ),
    ("x-delayed-message", "Delayed Message Exchange."),
    ("x-recent-history", "Recent History Exchange"),
];

/// A type of exchange, or a way to log in.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Described {
    name: &'static str,
    description: &'static str,
    enabled: bool,
}

/// The exchange types there are.
pub(crate) fn exchange_types() -> Vec<Described> {
    let described = |(name, description)| Described {
        name,
        description,
        enabled: true,
    };
    EXCHANGE_TYPES.map(described).to_vec()
}

/// Where something listens, as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Listener {
    node: String,
    protocol: &'static str,
    ip_address: String,
    port: u16,
    tls: bool,
    socket_opts: Value,
}

impl Listener {
    fn of(manage: &Manage, listening: &Listening) -> Self {
        Self {
            node: manage.node.name.clone(),
            protocol: listening.protocol,
            ip_address: listening.addr.ip().to_string(),
            port: listening.addr.port(),
            tls: listening.tls,
            socket_opts: json!({}),
        }
    }
}

/// Where pages are served.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Context {
    node: String,
    description: &'static str,
    path: String,
    ip: String,
    port: String,
    ssl_opts: [Empty; 0],
}

/// The places where the API is served.
pub(crate) fn contexts(manage: &Manage) -> Vec<Context> {
    let listening = manage.listening();
    let http = listening
        .iter()
        .filter(|l| ["http", "https"].contains(&l.protocol));
    let context = |listening: &Listening| Context {
        node: manage.node.name.clone(),
        description: "RabbitMQ Management",
        path: format!("{}/", manage.config.path_prefix),
        ip: listening.addr.ip().to_string(),
        port: listening.addr.port().to_string(),
        ssl_opts: [],
    };
    http.map(context).collect()
}

#[derive(Serialize)]
struct Shown {
    management_version: Box<str>,
    rabbitmq_version: Box<str>,
    product_name: Box<str>,
    product_version: Box<str>,
    /// What it is, whatever it says it is.
    ternmq_version: &'static str,
    erlang_version: &'static str,
    erlang_full_version: &'static str,
    release_series_support_status: &'static str,
    cluster_name: String,
    cluster_tags: Value,
    node: String,
    node_tags: Value,
    rates_mode: &'static str,
    default_queue_type: &'static str,
    disable_stats: bool,
    enable_queue_totals: bool,
    is_op_policy_updating_enabled: bool,
    sample_retention_policies: Value,
    exchange_types: Vec<Described>,
    listeners: Vec<Listener>,
    contexts: Vec<Context>,
    message_stats: Measures,
    churn_rates: Measures,
    queue_totals: QueueTotals,
    object_totals: ObjectTotals,
    statistics_db_event_queue: u64,
}

#[derive(Serialize)]
struct QueueTotals {
    messages: u64,
    messages_details: Details,
    messages_ready: u64,
    messages_ready_details: Details,
    messages_unacknowledged: u64,
    messages_unacknowledged_details: Details,
}

#[derive(Default, Serialize)]
struct ObjectTotals {
    channels: u64,
    connections: u64,
    consumers: u64,
    exchanges: u64,
    queues: u64,
}

impl ObjectTotals {
    /// What the caller may see.
    fn of(manage: &Manage, caller: &Caller) -> Self {
        let mut totals = Self::default();
        let inspect = manage.broker.inspect();
        for vhost in caller.known_vhosts() {
            let Some(of_vhost) = inspect.vhost_totals(&vhost) else {
                continue;
            };
            totals.channels += of_vhost.channels;
            totals.connections += of_vhost.connections;
            totals.consumers += of_vhost.holdings.consumers;
            totals.exchanges += of_vhost.exchanges;
            totals.queues += of_vhost.queues;
        }
        totals
    }
}

pub(crate) async fn get(State(manage): State<Shared>, caller: Caller, query: Query) -> Answer {
    let object_totals = ObjectTotals::of(&manage, &caller);
    let past = manage.sampler.past();
    let ranges = past.ranges(&query);
    let (numbers, history) = (&past.all.numbers, Some(&past.all.history));
    let length = |index: usize| Details::of(history, ranges.lengths, move |n| n[index]);
    let is_monitor = caller.is_monitor();
    let shown = Shown {
        management_version: manage.version(),
        rabbitmq_version: manage.version(),
        product_name: manage.broker.announced().product.clone(),
        product_version: manage.version(),
        ternmq_version: env!("CARGO_PKG_VERSION"),
        erlang_version: RUNTIME,
        erlang_full_version: RUNTIME,
        release_series_support_status: "supported",
        cluster_name: parameters::cluster_name(&manage),
        cluster_tags: json!({}),
        node: manage.node.name.clone(),
        node_tags: json!({}),
        rates_mode: "basic",
        default_queue_type: "classic",
        disable_stats: false,
        enable_queue_totals: false,
        is_op_policy_updating_enabled: true,
        sample_retention_policies: json!({
            "global": [manage.config.sample_retention_totals_s],
            "basic": [manage.config.sample_retention_s],
            "detailed": [manage.config.sample_retention_s],
        }),
        exchange_types: exchange_types(),
        listeners: if is_monitor {
            manage
                .listening()
                .iter()
                .map(|l| Listener::of(&manage, l))
                .collect()
        } else {
            Vec::new()
        },
        contexts: if is_monitor {
            contexts(&manage)
        } else {
            Vec::new()
        },
        message_stats: VhostNumbers::measures(numbers, history, ranges.messages)
            .unless_zero()
            .unwrap_or_default(),
        churn_rates: NodeNumbers::measures(&past.node.last(), Some(&past.node), ranges.messages),
        queue_totals: QueueTotals {
            messages: numbers[VhostNumbers::MESSAGES],
            messages_details: length(VhostNumbers::MESSAGES),
            messages_ready: numbers[VhostNumbers::READY],
            messages_ready_details: length(VhostNumbers::READY),
            messages_unacknowledged: numbers[VhostNumbers::UNACKNOWLEDGED],
            messages_unacknowledged_details: length(VhostNumbers::UNACKNOWLEDGED),
        },
        object_totals,
        statistics_db_event_queue: 0,
    };
    Ok(listing::object(&shown, &query))
}
