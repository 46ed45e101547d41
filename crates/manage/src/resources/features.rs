//! `/feature-flags`, and lists of what there is none of.

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::json;
use ternmq_broker::inspect::Door;

use super::{Empty, Shared, nodes};
use crate::Manage;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::reply::{self, Answer};
use crate::request::{Names, Payload, Query};

/// What RabbitMQ 4 requires, and tools look for.
const FLAGS: [(&str, &str); 25] = [
    (
        "classic_mirrored_queue_version",
        "Support setting version for classic mirrored queues",
    ),
    (
        "classic_queue_type_delivery_support",
        "Bug fix for classic queue deliveries using mixed versions",
    ),
    (
        "detailed_queues_endpoint",
        "Add a detailed queues HTTP API endpoint",
    ),
    (
        "direct_exchange_routing_v2",
        "v2 direct exchange routing implementation",
    ),
    (
        "drop_unroutable_metric",
        "Count unroutable publishes to be dropped in stats",
    ),
    (
        "empty_basic_get_metric",
        "Count AMQP `basic.get` on empty queues in stats",
    ),
    ("feature_flags_v2", "Feature flags subsystem V2"),
    (
        "implicit_default_bindings",
        "Default bindings are now implicit, instead of being stored in the database",
    ),
    ("khepri_db", "The metadata are kept without Mnesia"),
    (
        "listener_records_in_ets",
        "Store listener records in ETS instead of Mnesia",
    ),
    ("maintenance_mode_status", "Maintenance mode status"),
    ("message_containers", "Message containers."),
    (
        "message_containers_deaths_v2",
        "Cycles of dead letters are seen by every protocol",
    ),
    ("quorum_queue", "Support queues of type `quorum`"),
    (
        "quorum_queue_non_voters",
        "New members of quorum queues vote once they have caught up",
    ),
    (
        "rabbit_mqtt_qos0_queue",
        "Support pseudo queue type for MQTT QoS 0 subscribers omitting a queue process",
    ),
    (
        "restart_streams",
        "Support for restarting streams with optional preferred next leader argument",
    ),
    ("stream_filtering", "Streams can be filtered"),
    ("stream_queue", "Support queues of type `stream`"),
    (
        "stream_sac_coordinator_unblock_group",
        "Bug fix to unblock a group of consumers in a super stream partition",
    ),
    (
        "stream_single_active_consumer",
        "Single active consumer for streams",
    ),
    (
        "stream_update_config_command",
        "Policies change streams that are there",
    ),
    (
        "tracking_records_in_ets",
        "Store tracking records in ETS instead of Mnesia",
    ),
    (
        "user_limits",
        "Configure connection and channel limits for a user",
    ),
    (
        "virtual_host_metadata",
        "Virtual host metadata (description, tags, etc)",
    ),
];

/// One for each version, which tools look for too, and the version that has it first.
const VERSIONS: [(&str, (u64, u64)); 4] = [
    ("rabbitmq_4.0.0", (4, 0)),
    ("rabbitmq_4.1.0", (4, 1)),
    ("rabbitmq_4.2.0", (4, 2)),
    ("rabbitmq_4.3.0", (4, 3)),
];

/// Those up to the version that is announced.
fn versions(manage: &Manage) -> impl Iterator<Item = &'static str> {
    let announced = major_and_minor(&manage.version());
    let reached = VERSIONS
        .iter()
        .filter(move |(_, version)| *version <= announced);
    reached.map(|(name, _)| *name)
}

/// The first two numbers of a version; zero for what is no number.
fn major_and_minor(version: &str) -> (u64, u64) {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// A feature flag as it is shown.
#[derive(Serialize)]
struct Flag {
    name: &'static str,
    desc: &'static str,
    doc_url: &'static str,
    state: &'static str,
    stability: &'static str,
    require_level: &'static str,
    experiment_level: &'static str,
    callbacks: [Empty; 0],
    provided_by: &'static str,
}

impl Row for Flag {
    fn name(&self) -> &str {
        self.name
    }
}

pub(crate) async fn list(State(manage): State<Shared>, _: Caller, query: Query) -> Answer {
    let flag = |(name, desc)| Flag {
        name,
        desc,
        doc_url: "",
        state: "enabled",
        stability: "required",
        require_level: "soft",
        experiment_level: "supported",
        callbacks: [],
        provided_by: "rabbit",
    };
    let version = |name| Flag {
        stability: "stable",
        require_level: "none",
        ..flag((name, "What feature flags of that version are about"))
    };
    let flags = FLAGS
        .map(flag)
        .into_iter()
        .chain(versions(&manage).map(version));
    listing::whole(flags.collect(), &query)
}

/// All are enabled.
pub(crate) async fn enable(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer {
    caller.administrator()?;
    let is_known = FLAGS.iter().any(|(flag, _)| *flag == name)
        || versions(&manage).any(|version| version == name);
    if name != "all" && !is_known {
        return Err(Fault::bad_request(format!(
            "feature flag '{name}' is not known"
        )));
    }
    Ok(reply::done())
}

/// A list with nothing in it, of something that only RabbitMQ has.
pub(crate) async fn none(_: Caller) -> Answer {
    let none: [Empty; 0] = [];
    Ok(reply::json(&none))
}

/// The same of one vhost.
pub(crate) async fn none_in_vhost(caller: Caller, Names(vhost): Names<String>) -> Answer {
    caller.vhost(&vhost)?;
    let none: [Empty; 0] = [];
    Ok(reply::json(&none))
}

/// One of those that are not there.
pub(crate) async fn absent(_: Caller) -> Answer {
    Err(Fault::not_found())
}

/// Statistics are not collected in a place that could be cleared.
pub(crate) async fn reset(caller: Caller) -> Answer {
    caller.administrator()?;
    Ok(reply::done())
}

/// The same of one node.
pub(crate) async fn reset_node(
    State(manage): State<Shared>,
    caller: Caller,
    Names(node): Names<String>,
) -> Answer {
    nodes::check_name(&manage, &node)?;
    reset(caller).await
}

/// Queues are where they are.
pub(crate) async fn rebalance(caller: Caller, _: Payload) -> Answer {
    caller.administrator()?;
    Ok(reply::done())
}

/// Attempts to log in by one protocol.
#[derive(Serialize)]
struct Attempts {
    protocol: &'static str,
    #[serde(rename = "auth_attempts")]
    all: u64,
    #[serde(rename = "auth_attempts_failed")]
    failed: u64,
    #[serde(rename = "auth_attempts_succeeded")]
    succeeded: u64,
}

impl Row for Attempts {
    fn name(&self) -> &str {
        self.protocol
    }
}

/// Who was let in and who was not, since the node started.
pub(crate) async fn auth_attempts(
    State(manage): State<Shared>,
    caller: Caller,
    Names(node): Names<String>,
    query: Query,
) -> Answer {
    caller.monitor()?;
    nodes::check_name(&manage, &node)?;
    let attempts = Door::ALL.map(|door| {
        let logins = manage.broker.inspect().logins(door);
        Attempts {
            protocol: door.label(),
            all: logins.succeeded + logins.failed,
            failed: logins.failed,
            succeeded: logins.succeeded,
        }
    });
    listing::whole(attempts.into(), &query)
}

/// Where they came from is not kept, as in RabbitMQ unless it is told to.
pub(crate) async fn auth_attempts_by_source(
    State(manage): State<Shared>,
    caller: Caller,
    Names(node): Names<String>,
) -> Answer {
    caller.monitor()?;
    nodes::check_name(&manage, &node)?;
    let none: [Empty; 0] = [];
    Ok(reply::json(&none))
}

/// The hash that a password gets, with a new salt.
pub(crate) async fn hash_password(caller: Caller, Names(password): Names<String>) -> Answer {
    caller.administrator()?;
    let algorithm = ternmq_core::access::HashAlgorithm::Sha256;
    let hash = ternmq_broker::admin::hash_password(algorithm, password.as_bytes());
    let hash = STANDARD.encode(&hash.bytes);
    Ok(reply::json(&json!({"ok": hash})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart_by_their_first_two_numbers() {
        for (version, numbers) in [
            ("4.1.0", (4, 1)),
            ("4.10.2-rc.1", (4, 10)),
            ("3.13.7", (3, 13)),
            ("5", (5, 0)),
            ("new", (0, 0)),
            ("", (0, 0)),
        ] {
            assert_eq!(major_and_minor(version), numbers, "{version}");
        }
    }
}
