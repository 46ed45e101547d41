//! The management API: what it is told of the process.

use std::sync::Arc;

use anyhow::Context;
use ternmq_broker::Broker;
use ternmq_core::id::Timestamp;
use ternmq_manage::{Manage, NodeFacts};

use crate::config::Config;
use crate::system::aside;

/// The API, not listening yet. Definitions that the configuration names are imported.
pub(crate) fn open(
    config: &Config,
    broker: &Broker,
    started_at: Timestamp,
    connections_max: usize,
) -> anyhow::Result<Arc<Manage>> {
    let settings = config.management.settings.clone();
    let name = settings.node_name.clone();
    let node = NodeFacts {
        name: name.unwrap_or_else(NodeFacts::default_name),
        started_at,
        data_dir: config.data_dir.clone(),
        config_files: config.source.iter().cloned().collect(),
        memory_high_bytes: config.broker.memory_high_bytes.unwrap_or(0),
        disk_free_low_bytes: config.storage.disk_free_low_bytes,
        connections_max,
        threads_max: NodeFacts::machine_threads_max(),
    };
    let definitions = settings.load_definitions.clone();
    let manage = Manage::new(broker.clone(), settings, node, aside);
    if let Some(path) = definitions {
        manage.import_files(&path).context("load_definitions")?;
    }
    Ok(manage)
}

/// Whether there are definitions to load that name users.
///
/// # Errors
/// They cannot be read.
pub(crate) fn brings_users(config: &Config) -> anyhow::Result<bool> {
    let Some(path) = &config.management.settings.load_definitions else {
        return Ok(false);
    };
    Manage::files_name_users(path).context("load_definitions")
}
