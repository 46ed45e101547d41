//! `/nodes/:name/memory`, `/nodes/:name/memory/relative`
//!
//! What a category means here is in `docs/management.md`.

use axum::extract::State;
use serde_json::{Map, Value, json};

use super::{Shared, nodes};
use crate::Manage;
use crate::auth::Caller;
use crate::node::Usage;
use crate::reply::{self, Answer};
use crate::request::Names;

/// RabbitMQ's categories that nothing here corresponds to, or of which it is not known how much they take.
const ABSENT: [&str; 22] = [
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "connection_other",
    "queue_slave_procs",
    "quorum_queue_dlx_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "plugins",
    "metadata_store",
    "metadata_store_ets",
    "other_proc",
    "metrics",
    "mgmt_db",
    "mnesia",
    "quorum_ets",
    "other_ets",
    "msg_index",
    "atom",
    "allocated_unused",
    "reserved_unallocated",
];

/// What the memory of the process is used for, in bytes.
struct Breakdown {
    categories: Vec<(&'static str, u64)>,
    resident: u64,
}

impl Breakdown {
    fn of(manage: &Manage) -> Self {
        let usage = Usage::now(&manage.node.data_dir);
        let memory = manage.broker.inspect().memory();
        let known = memory.all() + usage.program_bytes;
        let [classic, quorum] = memory.queues;
        let mut categories = vec![
            ("queue_procs", classic),
            ("quorum_queue_procs", quorum),
            ("binary", memory.messages()),
            ("code", usage.program_bytes),
            ("other_system", usage.resident_bytes.saturating_sub(known)),
        ];
        categories.extend(ABSENT.map(|name| (name, 0)));
        Self {
            categories,
            resident: usage.resident_bytes,
        }
    }

    /// The categories as an object.
    fn object(&self, value: impl Fn(u64) -> u64) -> Map<String, Value> {
        let categories = self.categories.iter();
        categories
            .map(|(name, bytes)| ((*name).to_owned(), value(*bytes).into()))
            .collect()
    }
}

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer {
    caller.monitor()?;
    nodes::check_name(&manage, &name)?;
    let breakdown = Breakdown::of(&manage);
    let mut memory = breakdown.object(|bytes| bytes);
    let total = breakdown.resident;
    memory.insert("strategy".to_owned(), "rss".into());
    memory.insert(
        "total".to_owned(),
        json!({"rss": total, "allocated": total, "erlang": total}),
    );
    Ok(reply::json(&json!({"memory": memory})))
}

/// The same in percent.
pub(crate) async fn get_relative(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer {
    caller.monitor()?;
    nodes::check_name(&manage, &name)?;
    let breakdown = Breakdown::of(&manage);
    let mut memory = breakdown.object(|bytes| percent(bytes, breakdown.resident));
    memory.insert("total".to_owned(), 100.into());
    Ok(reply::json(&json!({"memory": memory})))
}

/// Rounded; what is there at all is at least 1.
fn percent(part: u64, total: u64) -> u64 {
    let rounded = (part * 100 + total / 2) / total.max(1);
    rounded.max(u64::from(part > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_never_nothing() {
        assert_eq!(percent(0, 1000), 0);
        assert_eq!(percent(1, 1000), 1);
        assert_eq!(percent(254, 1000), 25);
        assert_eq!(percent(255, 1000), 26);
        assert_eq!(percent(1000, 1000), 100);
        assert_eq!(percent(1, 0), 100);
    }
}
