//! `/deprecated-features`: what RabbitMQ means to give up, as far as clients meet it here.

use axum::extract::State;
use serde::Serialize;
use ternmq_broker::inspect::QueueSnapshot;

use super::Shared;
use crate::Manage;
use crate::auth::Caller;
use crate::listing::{self, Row};
use crate::reply::Answer;
use crate::request::Query;

/// How far a feature has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    PermittedByDefault,
    Removed,
}

/// Whether clients may use a feature. Here nobody forbids one that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Permission {
    Permitted,
    Denied,
}

impl Phase {
    const fn permission(self) -> Permission {
        match self {
            Self::PermittedByDefault => Permission::Permitted,
            Self::Removed => Permission::Denied,
        }
    }
}

/// A deprecated feature as it is shown.
#[derive(Clone, Copy, Debug, Serialize)]
struct Feature {
    name: &'static str,
    desc: &'static str,
    deprecation_phase: Phase,
    state: Permission,
    doc_url: &'static str,
    provided_by: &'static str,
    #[serde(skip)]
    is_used: fn(&Manage) -> bool,
}

impl Row for Feature {
    fn name(&self) -> &str {
        self.name
    }
}

const fn feature(
    name: &'static str,
    desc: &'static str,
    deprecation_phase: Phase,
    is_used: fn(&Manage) -> bool,
) -> Feature {
    Feature {
        name,
        desc,
        deprecation_phase,
        state: deprecation_phase.permission(),
        doc_url: "",
        provided_by: "rabbit",
        is_used,
    }
}

/// All of them, by name.
const FEATURES: [Feature; 5] = [
    feature(
        "classic_queue_mirroring",
        "Policies that mirror classic queues are kept and have no effect",
        Phase::Removed,
        |_| false,
    ),
    feature(
        "global_qos",
        "A prefetch count that the consumers of a channel share",
        Phase::PermittedByDefault,
        |manage| {
            let channels = manage.broker.inspect().channels(None);
            let mut counts = channels.iter().map(|c| c.stats.global_prefetch.get());
            counts.any(|count| count > 0)
        },
    ),
    feature(
        "queue_master_locator",
        "The argument x-queue-master-locator is kept and has no effect",
        Phase::PermittedByDefault,
        |manage| {
            let queues = manage.broker.inspect().queues(None);
            let mut arguments = queues.iter().map(|queue| &queue.decl().arguments);
            arguments.any(|arguments| arguments.get("x-queue-master-locator").is_some())
        },
    ),
    feature(
        "ram_node_type",
        "Nodes that keep no data on disk",
        Phase::Removed,
        |_| false,
    ),
    feature(
        "transient_nonexcl_queues",
        "Queues that are neither durable nor exclusive",
        Phase::PermittedByDefault,
        |manage| {
            let queues = manage.broker.inspect().queues(None);
            let mut declarations = queues.iter().map(QueueSnapshot::decl);
            declarations.any(|decl| !decl.durable && decl.exclusive.is_none())
        },
    ),
];

pub(crate) async fn list(caller: Caller, query: Query) -> Answer {
    caller.monitor()?;
    listing::whole(FEATURES.into(), &query)
}

pub(crate) async fn list_used(
    State(manage): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer {
    caller.monitor()?;
    let used = FEATURES.into_iter().filter(|f| (f.is_used)(&manage));
    listing::whole(used.collect(), &query)
}
