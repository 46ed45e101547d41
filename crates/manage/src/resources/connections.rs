//! `/connections`, `/connections/:name`, `/connections/username/:user`, `/vhosts/:vhost/connections`

use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use ternmq_broker::inspect::ConnectionSnapshot;
use ternmq_core::id::ConnectionId;
use ternmq_core::value::{Headers, Value};

use super::Shared;
use crate::Manage;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::rates::{ConnectionNumbers, Details, Past, Ranges};
use crate::reply::{self, Answer};
use crate::request::{Names, Query};
use crate::table::Table;

/// The header that says why a connection is closed, and what is said without it.
const REASON_HEADER: &str = "x-reason";
const REASON: &str = "Closed via management plugin";

/// A connection as it is shown.
#[derive(Serialize)]
struct Shown {
    name: Box<str>,
    node: Box<str>,
    vhost: Box<str>,
    user: Box<str>,
    user_who_performed_action: Box<str>,
    protocol: &'static str,
    state: &'static str,
    r#type: &'static str,
    connected_at: u64,
    host: String,
    port: u16,
    peer_host: String,
    peer_port: u16,
    channels: u64,
    channel_max: u16,
    frame_max: u32,
    timeout: u16,
    ssl: bool,
    ssl_protocol: Option<&'static str>,
    ssl_key_exchange: Option<&'static str>,
    ssl_cipher: Option<&'static str>,
    ssl_hash: Option<&'static str>,
    peer_cert_subject: Option<Box<str>>,
    peer_cert_issuer: Option<Box<str>>,
    peer_cert_validity: Option<Box<str>>,
    auth_mechanism: Box<str>,
    client_properties: Table,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_provided_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable_map: Option<VariableMap>,
    recv_oct: u64,
    recv_oct_details: Details,
    send_oct: u64,
    send_oct_details: Details,
    recv_cnt: u64,
    send_cnt: u64,
    send_pend: u64,
    /// Work units of another kind of runtime.
    reductions: u64,
    reductions_details: Details,
}

/// What is known of an MQTT client.
#[derive(Serialize)]
struct VariableMap {
    client_id: Box<str>,
    clean_start: bool,
    session_expiry_interval: u32,
    has_will: bool,
    subscriptions: u64,
}

impl Row for Shown {
    fn name(&self) -> &str {
        &self.name
    }
}

/// The ends of a connection, where other objects name it.
#[derive(Clone, Serialize)]
pub(crate) struct Ends {
    pub(crate) name: Box<str>,
    pub(crate) peer_host: String,
    pub(crate) peer_port: u16,
}

impl Ends {
    pub(crate) fn of(connection: &ConnectionSnapshot) -> Self {
        Self {
            name: connection.name.clone(),
            peer_host: connection.info.peer.ip().to_canonical().to_string(),
            peer_port: connection.info.peer.port(),
        }
    }
}

/// The ends of the connection of that identity.
pub(crate) fn ends(manage: &Manage, id: ConnectionId) -> Option<Ends> {
    let connection = manage.broker.inspect().connection(id)?;
    Some(Ends::of(&connection))
}

pub(crate) async fn list(State(manage): State<Shared>, caller: Caller, query: Query) -> Answer {
    let connections = manage.broker.inspect().connections(None);
    answer(&manage, &caller, connections, &query)
}

pub(crate) async fn list_in_vhost(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let connections = manage.broker.inspect().connections(Some(&vhost));
    answer(&manage, &caller, connections, &query.without_pages())
}

pub(crate) async fn list_of_user(
    State(manage): State<Shared>,
    caller: Caller,
    Names(user): Names<String>,
    query: Query,
) -> Answer {
    let mut connections = manage.broker.inspect().connections(None);
    connections.retain(|connection| *connection.user == *user);
    answer(&manage, &caller, connections, &query)
}

/// Whoever may not see all connections sees their own.
fn answer(
    manage: &Manage,
    caller: &Caller,
    mut connections: Vec<ConnectionSnapshot>,
    query: &Query,
) -> Answer {
    connections.retain(|connection| caller.is_monitor() || *connection.user == *caller.name());
    let past = manage.sampler.past();
    let ranges = past.ranges(query);
    let shown = connections
        .iter()
        .map(|connection| show(manage, connection, &past, ranges));
    listing::list(shown.collect(), query)
}

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    let connection = find(&manage, &name)?;
    if !caller.is_monitor() {
        caller.themselves(&connection.user)?;
    }
    let past = manage.sampler.past();
    let shown = show(&manage, &connection, &past, past.ranges(&query));
    Ok(listing::object(&shown, &query))
}

/// Sessions are what AMQP 1.0 calls its conversations, and nobody speaks that here.
pub(crate) async fn sessions(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer {
    let connection = find(&manage, &name)?;
    if !caller.is_monitor() {
        caller.themselves(&connection.user)?;
    }
    Err(Fault::bad_request("connection does not use AMQP 1.0"))
}

pub(crate) async fn close(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
    headers: HeaderMap,
) -> Answer {
    let connection = find(&manage, &name)?;
    caller.themselves(&connection.user)?;
    manage
        .broker
        .close_connection(connection.id, reason(&headers));
    Ok(reply::done())
}

pub(crate) async fn close_of_user(
    State(manage): State<Shared>,
    caller: Caller,
    Names(user): Names<String>,
    headers: HeaderMap,
) -> Answer {
    caller.themselves(&user)?;
    for connection in manage.broker.inspect().connections(None) {
        if *connection.user == *user {
            manage
                .broker
                .close_connection(connection.id, reason(&headers));
        }
    }
    Ok(reply::done())
}

fn reason(headers: &HeaderMap) -> &str {
    let given = headers
        .get(REASON_HEADER)
        .and_then(|value| value.to_str().ok());
    given.unwrap_or(REASON)
}

/// The connection of that name.
pub(crate) fn find(manage: &Manage, name: &str) -> Result<ConnectionSnapshot, Fault> {
    let found = manage.broker.inspect().connection_named(name);
    found.ok_or_else(Fault::not_found)
}

fn show(manage: &Manage, connection: &ConnectionSnapshot, past: &Past, ranges: Ranges) -> Shown {
    let info = &connection.info;
    let past = past.connections.get(&connection.id);
    let octets = |index: usize| Details::of(past, ranges.data, move |numbers| numbers[index]);
    let tls = info.tls.as_deref();
    let suite = tls.map(|tls| tls.suite);
    let certificate = tls.and_then(|tls| tls.certificate.as_ref());
    let Ends {
        name,
        peer_host,
        peer_port,
    } = Ends::of(connection);
    Shown {
        name,
        node: manage.node.name.as_str().into(),
        vhost: connection.vhost.clone(),
        user: connection.user.clone(),
        user_who_performed_action: connection.user.clone(),
        protocol: info.protocol.text(),
        state: connection.state.name(),
        r#type: "network",
        connected_at: info.connected_at.0,
        host: info.local.ip().to_canonical().to_string(),
        port: info.local.port(),
        peer_host,
        peer_port,
        channels: connection.channels,
        channel_max: info.channel_max,
        frame_max: info.frame_max,
        timeout: info.timeout_s,
        ssl: tls.is_some(),
        ssl_protocol: suite.map(|suite| suite.version),
        ssl_key_exchange: suite.map(|suite| suite.key_exchange),
        ssl_cipher: suite.map(|suite| suite.cipher),
        ssl_hash: suite.map(|suite| suite.hash),
        peer_cert_subject: certificate.map(|shown| shown.subject.clone()),
        peer_cert_issuer: certificate.map(|shown| shown.issuer.clone()),
        peer_cert_validity: certificate.map(|shown| shown.validity.clone()),
        auth_mechanism: info.auth_mechanism.clone(),
        client_properties: Table(client_properties(connection)),
        user_provided_name: info.user_provided_name().map(str::to_owned),
        variable_map: info.mqtt.as_deref().map(|mqtt| VariableMap {
            client_id: mqtt.client_id.clone(),
            clean_start: mqtt.clean_start,
            session_expiry_interval: mqtt.session_expiry_s,
            has_will: mqtt.has_will,
            subscriptions: connection.subscriptions,
        }),
        recv_oct: connection.received_bytes,
        recv_oct_details: octets(ConnectionNumbers::RECEIVED),
        send_oct: connection.sent_bytes,
        send_oct_details: octets(ConnectionNumbers::SENT),
        recv_cnt: connection.reads,
        send_cnt: connection.writes,
        send_pend: 0,
        reductions: 0,
        reductions_details: Details::default(),
    }
}

/// What the client says about itself; MQTT clients say only who they are.
fn client_properties(connection: &ConnectionSnapshot) -> Headers {
    let mut properties = (*connection.info.client_properties).clone();
    if let Some(mqtt) = &connection.info.mqtt {
        properties.set("product", Value::text("MQTT client"));
        properties.set("client_id", Value::text(&mqtt.client_id));
    }
    properties
}
