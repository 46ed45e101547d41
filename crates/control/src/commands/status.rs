//! `ternmq status`.

use clap::Args;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::field::{Field, Kind, find};
use crate::path::Path;
use crate::{Action, Context};

const OVERVIEW: [Field; 21] = [
    Field::text("ternmq_version", "TernMQ"),
    Field::text("product_name", "Product"),
    Field::text("product_version", "Version"),
    Field::text("rabbitmq_version", "RabbitMQ version"),
    Field::text("cluster_name", "Cluster"),
    Field::text("node", "Node"),
    Field::count("object_totals.connections", "Connections"),
    Field::count("object_totals.channels", "Channels"),
    Field::count("object_totals.exchanges", "Exchanges"),
    Field::count("object_totals.queues", "Queues"),
    Field::count("object_totals.consumers", "Consumers"),
    Field::count("queue_totals.messages", "Messages"),
    Field::count("queue_totals.messages_ready", "  ready"),
    Field::count("queue_totals.messages_unacknowledged", "  unacknowledged"),
    Field::new(
        "message_stats.publish_details.rate",
        "Published",
        Kind::Rate,
    ),
    Field::new(
        "message_stats.confirm_details.rate",
        "Confirmed",
        Kind::Rate,
    ),
    Field::new(
        "message_stats.deliver_get_details.rate",
        "Delivered",
        Kind::Rate,
    ),
    Field::new("message_stats.ack_details.rate", "Acknowledged", Kind::Rate),
    Field::new(
        "message_stats.redeliver_details.rate",
        "Redelivered",
        Kind::Rate,
    ),
    Field::new(
        "message_stats.return_unroutable_details.rate",
        "Returned",
        Kind::Rate,
    ),
    Field::new(
        "message_stats.drop_unroutable_details.rate",
        "Dropped",
        Kind::Rate,
    ),
];

const NODE: [Field; 14] = [
    Field::new("running", "Running", Kind::Flag),
    Field::text("os_pid", "Process"),
    Field::new("uptime", "Up for", Kind::Duration),
    Field::new("mem_used", "Memory used", Kind::Bytes),
    Field::new("mem_limit", "  limit", Kind::Bytes),
    Field::new("mem_alarm", "  ALARM", Kind::Flag),
    Field::new("disk_free", "Disk free", Kind::Bytes),
    Field::new("disk_free_limit", "  limit", Kind::Bytes),
    Field::new("disk_free_alarm", "  ALARM", Kind::Flag),
    Field::count("fd_used", "Open files"),
    Field::count("fd_total", "  limit"),
    Field::count("processors", "Processors"),
    Field::text("db_dir", "Data directory"),
    Field::text("config_files", "Configuration"),
];

const LISTENERS: [Field; 4] = [
    Field::text("protocol", "PROTOCOL"),
    Field::text("ip_address", "ADDRESS"),
    Field::new("port", "PORT", Kind::Text),
    Field::new("tls", "TLS", Kind::Flag),
];

/// No arguments of its own.
#[derive(Clone, Debug, Args)]
pub struct Status {}

impl Action for Status {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let overview = context.api.get(&Path::of(["overview"]))?;
        let nodes = match context.api.get(&Path::of(["nodes"])) {
            // Only monitors see nodes.
            Err(Failure::NotAllowed(_)) => json!([]),
            nodes => nodes?,
        };
        if context.out.is_json() {
            return context
                .out
                .json(&json!({"overview": overview, "nodes": nodes}));
        }
        context.out.object(&overview, &OVERVIEW)?;
        for node in nodes.as_array().map(Vec::as_slice).unwrap_or_default() {
            let name = find(node, "name").as_str().unwrap_or_default();
            context.out.heading(&format!("Node {name}"))?;
            context.out.object(node, &NODE)?;
        }
        if let Value::Array(listeners) = find(&overview, "listeners") {
            context.out.heading("Listeners")?;
            context.out.rows(listeners, &LISTENERS)?;
        }
        Ok(())
    }
}
