//! `/nodes`, `/nodes/:name`

use std::path::PathBuf;

use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use ternmq_broker::mailbox::DiskRoom;

use super::overview::{Context, Described, contexts, exchange_types};
use super::{Empty, Shared};
use crate::Manage;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::node::{Usage, processors};
use crate::rates::{Details, Measures, NodeNumbers, Numbers as _};
use crate::reply::Answer;
use crate::request::{Names, Query};

/// How each protocol is called where plugins are listed.
const PLUGINS: [(&str, &str); 4] = [
    ("mqtt", "rabbitmq_mqtt"),
    ("http", "rabbitmq_management"),
    ("http/web-mqtt", "rabbitmq_web_mqtt"),
    ("http/prometheus", "rabbitmq_prometheus"),
];

#[derive(Serialize)]
struct Shown {
    name: String,
    r#type: &'static str,
    running: bool,
    being_drained: bool,
    os_pid: String,
    uptime: u64,
    processors: usize,
    run_queue: u64,
    rates_mode: &'static str,
    rabbitmq_version: Box<str>,
    mem_used: u64,
    mem_used_details: Details,
    mem_limit: u64,
    mem_alarm: bool,
    mem_calculation_strategy: &'static str,
    disk_free: u64,
    disk_free_details: Details,
    disk_free_limit: u64,
    disk_free_alarm: bool,
    fd_used: u64,
    fd_used_details: Details,
    fd_total: u64,
    sockets_used: u64,
    sockets_used_details: Details,
    sockets_total: usize,
    proc_used: u64,
    proc_used_details: Details,
    proc_total: u64,
    net_ticktime: u64,
    partitions: [Empty; 0],
    cluster_links: [Empty; 0],
    enabled_plugins: Vec<&'static str>,
    applications: Vec<Value>,
    auth_mechanisms: Vec<Value>,
    exchange_types: Vec<Described>,
    contexts: Vec<Context>,
    config_files: Vec<PathBuf>,
    log_files: [&'static str; 1],
    db_dir: PathBuf,
    #[serde(flatten)]
    churn: Measures,
}

impl Row for Shown {
    fn name(&self) -> &str {
        &self.name
    }
}

fn show(manage: &Manage, query: &Query) -> Shown {
    let node = &manage.node;
    let usage = Usage::now(&node.data_dir);
    let past = manage.sampler.past();
    let ranges = past.ranges(query);
    let details = |index: usize| Details::of(Some(&past.node), ranges.nodes, move |n| n[index]);
    let sockets = manage.broker.inspect().connections(None).len() as u64;
    let mechanism = |name: &str| json!({"name": name, "description": format!("SASL {name} authentication mechanism"), "enabled": true});
    Shown {
        name: node.name.clone(),
        r#type: "disc",
        running: true,
        being_drained: false,
        os_pid: std::process::id().to_string(),
        uptime: manage.broker.now().since(node.started_at),
        processors: processors(),
        run_queue: usage.runnable,
        rates_mode: "basic",
        rabbitmq_version: manage.version(),
        mem_used: usage.resident_bytes,
        mem_used_details: details(NodeNumbers::MEMORY),
        mem_limit: node.memory_high_bytes,
        mem_alarm: manage.broker.is_blocked(),
        mem_calculation_strategy: "rss",
        disk_free: usage.disk_free_bytes,
        disk_free_details: details(NodeNumbers::DISK_FREE),
        disk_free_limit: node.disk_free_low_bytes,
        disk_free_alarm: manage.broker.disk_room() != DiskRoom::Enough,
        fd_used: usage.files,
        fd_used_details: details(NodeNumbers::FILES),
        fd_total: usage.files_max,
        sockets_used: sockets,
        sockets_used_details: details(NodeNumbers::SOCKETS),
        sockets_total: node.connections_max,
        proc_used: usage.threads,
        proc_used_details: details(NodeNumbers::TASKS),
        proc_total: node.threads_max,
        net_ticktime: 60,
        partitions: [],
        cluster_links: [],
        enabled_plugins: plugins(manage),
        applications: vec![
            json!({"name": "ternmq", "description": "TernMQ", "version": env!("CARGO_PKG_VERSION")}),
        ],
        auth_mechanisms: vec![mechanism("PLAIN"), mechanism("AMQPLAIN")],
        exchange_types: exchange_types(),
        contexts: contexts(manage),
        config_files: node.config_files.clone(),
        log_files: ["<stderr>"],
        db_dir: node.data_dir.clone(),
        churn: NodeNumbers::measures(&past.node.last(), Some(&past.node), ranges.nodes),
    }
}

/// What tools ask plugins for: by what is spoken here.
fn plugins(manage: &Manage) -> Vec<&'static str> {
    let listening = manage.listening();
    let is_spoken = |protocol: &str| listening.iter().any(|l| l.protocol == protocol);
    let plugins = PLUGINS.iter().filter(|(protocol, _)| is_spoken(protocol));
    plugins.map(|(_, plugin)| *plugin).collect()
}

pub(crate) async fn list(State(manage): State<Shared>, caller: Caller, query: Query) -> Answer {
    caller.monitor()?;
    listing::whole(vec![show(&manage, &query)], &query)
}

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    caller.monitor()?;
    check_name(&manage, &name)?;
    Ok(listing::object(&show(&manage, &query), &query))
}

/// Refuses the name of another node.
pub(crate) fn check_name(manage: &Manage, name: &str) -> Result<(), Fault> {
    if name == manage.node.name {
        Ok(())
    } else {
        Err(Fault::not_found())
    }
}
