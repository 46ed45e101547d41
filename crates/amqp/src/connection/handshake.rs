//! From the protocol header to `connection.open-ok` (§2.2.4, §4.2.2).

use amq_protocol::protocol::{AMQPClass, connection as method};
use amq_protocol::types::{AMQPValue, FieldTable, LongString, ShortString};
use ternmq_broker::{Announced, Client, ConnectRefusal};

use super::auth::Offer;
use crate::config::AmqpConfig;
use crate::error::{Fault, not_allowed};
use crate::frame::FRAME_MIN_SIZE;

/// What the client said it understands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Capabilities {
    pub(super) authentication_failure_close: bool,
    pub(super) connection_blocked: bool,
    pub(super) consumer_cancel_notify: bool,
}

impl Capabilities {
    pub(super) fn from_client_properties(properties: &FieldTable) -> Self {
        let Some(AMQPValue::FieldTable(table)) = properties.inner().get("capabilities") else {
            return Self::default();
        };
        let has = |name: &str| matches!(table.inner().get(name), Some(AMQPValue::Boolean(true)));
        Self {
            authentication_failure_close: has("authentication_failure_close"),
            connection_blocked: has("connection.blocked"),
            consumer_cancel_notify: has("consumer_cancel_notify"),
        }
    }
}

/// What the server says about itself.
pub(super) fn start(announced: &Announced, offer: Offer) -> AMQPClass {
    AMQPClass::Connection(method::AMQPMethod::Start(method::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: server_properties(announced),
        mechanisms: offer.mechanisms().as_str().into(),
        locales: "en_US".into(),
    }))
}

fn server_properties(announced: &Announced) -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        insert(&mut capabilities, name, AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    insert(
        &mut properties,
        "capabilities",
        AMQPValue::FieldTable(capabilities),
    );
    for (name, value) in [
        ("cluster_name", &*announced.cluster_name),
        ("copyright", "Copyright (c) the TernMQ authors"),
        // Not who answers, but whose dialect is spoken: see docs/decisions/0007.
        ("product", &announced.product),
        ("version", &announced.version),
        ("platform", concat!("TernMQ ", env!("CARGO_PKG_VERSION"))),
        ("information", "Licensed under Apache-2.0 or MIT"),
    ] {
        insert(
            &mut properties,
            name,
            AMQPValue::LongString(LongString::from(value)),
        );
    }
    properties
}

fn insert(table: &mut FieldTable, name: &str, value: AMQPValue) {
    // The names above are far shorter than a short string may be.
    if let Ok(name) = ShortString::try_new(name) {
        table.insert(name, value);
    }
}

pub(super) fn tune(config: &AmqpConfig) -> AMQPClass {
    AMQPClass::Connection(method::AMQPMethod::Tune(method::Tune {
        channel_max: config.channel_max,
        frame_max: config.frame_max,
        heartbeat: config.heartbeat_s,
    }))
}

/// A client may agree on less than it was offered, not on more; 0 asks for no limit and is more.
pub(super) fn check_tune_ok(tune_ok: &method::TuneOk, config: &AmqpConfig) -> Result<(), Fault> {
    let channel_max = (
        u32::from(tune_ok.channel_max),
        1,
        u32::from(config.channel_max),
    );
    let frame_max = (tune_ok.frame_max, FRAME_MIN_SIZE, config.frame_max);
    for (field, (value, min, max)) in [("channel_max", channel_max), ("frame_max", frame_max)] {
        let detail = if value == 0 { " (no limit)" } else { "" };
        if value != 0 && value < min {
            return Err(not_allowed(format!(
                "negotiated {field} = {value}{detail} is lower than the minimum allowed value ({min})"
            )));
        }
        if value == 0 || value > max {
            return Err(not_allowed(format!(
                "negotiated {field} = {value}{detail} is higher than the maximum allowed value ({max})"
            )));
        }
    }
    Ok(())
}

/// Why a client does not get into a vhost.
pub(super) fn from_connect_refusal(refusal: &ConnectRefusal, vhost: &str, user: &str) -> Fault {
    match refusal {
        ConnectRefusal::NoSuchVhost => not_allowed(format!("vhost {vhost} not found")),
        ConnectRefusal::NotAllowed | ConnectRefusal::Undecided => not_allowed(format!(
            "access to vhost '{vhost}' refused for user '{user}'"
        )),
        ConnectRefusal::LimitReached { max, .. } => not_allowed(format!(
            "connection refused: node connection limit ({max}) is reached"
        )),
        ConnectRefusal::VhostLimit { max } => not_allowed(format!(
            "access to vhost '{vhost}' refused for user '{user}': connection limit ({max}) is reached"
        )),
        ConnectRefusal::UserLimit { max } => not_allowed(format!(
            "connection refused for user '{user}': user connection limit ({max}) is reached"
        )),
    }
}

/// What the log says of a connection that is open.
pub(super) fn log_open(peer: std::net::SocketAddr, client: &Client, name: Option<&str>) {
    let (user, vhost) = (client.user().name(), client.vhost());
    tracing::info!(%peer, user, vhost, name, "connection open");
}
