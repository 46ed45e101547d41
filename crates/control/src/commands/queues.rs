//! `ternmq queues`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::field::{Field, Kind, find};
use crate::options::Selection;
use crate::{Action, Context};

use super::{arguments, bindings, messages, parse_argument, redrive};

const LIST: [Field; 14] = [
    Field::text("name", "NAME"),
    Field::text("vhost", "VHOST"),
    Field::text("type", "TYPE"),
    Field::text("state", "STATE"),
    Field::text("policy", "POLICY"),
    Field::count("messages_ready", "READY"),
    Field::count("messages_unacknowledged", "UNACKED"),
    Field::count("messages", "TOTAL"),
    Field::new("message_bytes", "BYTES", Kind::Bytes),
    Field::count("consumers", "CONSUMERS"),
    Field::new("message_stats.publish_details.rate", "IN", Kind::Rate),
    Field::new("message_stats.deliver_get_details.rate", "OUT", Kind::Rate),
    Field::new("message_stats.ack_details.rate", "ACKED", Kind::Rate),
    Field::text("idle_since", "IDLE SINCE"),
];

const SHOW: [Field; 30] = [
    Field::text("name", "Name"),
    Field::text("vhost", "Vhost"),
    Field::text("type", "Type"),
    Field::text("state", "State"),
    Field::new("durable", "Durable", Kind::Flag),
    Field::new("auto_delete", "Auto-delete", Kind::Flag),
    Field::new("exclusive", "Exclusive", Kind::Flag),
    Field::text("owner_pid_details.name", "Owner"),
    Field::text("arguments", "Arguments"),
    Field::text("policy", "Policy"),
    Field::text("operator_policy", "Operator policy"),
    Field::text("effective_policy_definition", "Effective policy"),
    Field::text("node", "Node"),
    Field::text("leader", "Leader"),
    Field::text("members", "Members"),
    Field::count("consumers", "Consumers"),
    Field::new("consumer_capacity", "Consumer capacity", Kind::Share),
    Field::text("single_active_consumer_tag", "Active consumer"),
    Field::count("messages", "Messages"),
    Field::count("messages_ready", "  ready"),
    Field::count("messages_unacknowledged", "  unacknowledged"),
    Field::count("messages_persistent", "  persistent"),
    Field::count("messages_ram", "  in memory"),
    Field::new("message_bytes", "Bytes", Kind::Bytes),
    Field::new("memory", "Memory", Kind::Bytes),
    Field::new("message_stats.publish_details.rate", "In", Kind::Rate),
    Field::new("message_stats.deliver_get_details.rate", "Out", Kind::Rate),
    Field::new("message_stats.ack_details.rate", "Acknowledged", Kind::Rate),
    Field::new(
        "message_stats.redeliver_details.rate",
        "Redelivered",
        Kind::Rate,
    ),
    Field::text("idle_since", "Idle since"),
];

const CONSUMERS: [Field; 5] = [
    Field::text("consumer_tag", "TAG"),
    Field::text("channel_details.name", "CHANNEL"),
    Field::new("ack_required", "ACKS", Kind::Flag),
    Field::new("active", "ACTIVE", Kind::Flag),
    Field::count("prefetch_count", "PREFETCH"),
];

/// What to do with queues.
#[derive(Clone, Debug, Subcommand)]
pub enum Queues {
    /// List queues
    List {
        #[command(flatten)]
        selection: Selection,
    },
    /// Show a queue, its bindings and its consumers
    Show {
        /// Its name
        name: String,
    },
    /// Declare a queue
    Declare(Queue),
    /// Delete a queue with its messages
    Delete {
        /// Its name
        name: String,
        /// Only if it has no messages
        #[arg(long)]
        if_empty: bool,
        /// Only if it has no consumers
        #[arg(long)]
        if_unused: bool,
    },
    /// Delete the ready messages of a queue
    Purge {
        /// Its name
        name: String,
    },
    /// Look at messages where they are, without side effects
    Peek(messages::Peek),
    /// Stop serving consumers; publishers go on
    Pause {
        /// Its name
        name: String,
    },
    /// Serve consumers again
    Resume {
        /// Its name
        name: String,
    },
    /// Send dead letters back to where they died
    Redrive(redrive::Redrive),
    /// Take messages out of a queue, or look at them and put them back, as a consumer would
    Get(messages::Get),
}

/// A queue to declare.
#[derive(Clone, Debug, Args)]
pub struct Queue {
    /// Its name
    name: String,
    /// What it is; the virtual host's default if left out
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<QueueKind>,
    /// Gone after a restart
    #[arg(long)]
    transient: bool,
    /// Gone when its last consumer is
    #[arg(long)]
    auto_delete: bool,
    /// A further argument, e.g. x-max-length=1000; may be repeated
    #[arg(long = "argument", value_name = "KEY=VALUE", value_parser = parse_argument)]
    arguments: Vec<(String, Value)>,
}

/// Types of queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum QueueKind {
    /// On one node.
    Classic,
    /// With delivery limits, and replicated in a cluster.
    Quorum,
    /// A log that any number of consumers read.
    Stream,
}

impl QueueKind {
    fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }
}

impl Action for Queues {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        match self {
            Self::List { selection } => {
                let path = context.in_vhost("queues");
                context.list(&path, &LIST, selection)
            }
            Self::Show { name } => show(context, name),
            Self::Declare(queue) => queue.declare(context),
            Self::Delete {
                name,
                if_empty,
                if_unused,
            } => {
                let mut path = context.thing("queues", "queue", name);
                for (flag, set) in [("if-empty", if_empty), ("if-unused", if_unused)] {
                    if *set {
                        path = path.query(flag, true);
                    }
                }
                context.api.delete(&path)?;
                context.out.done(format!("deleted queue {name}"))
            }
            Self::Purge { name } => {
                let path = context.thing("queues", "queue", name).join("contents");
                context.api.delete(&path)?;
                context.out.done(format!("purged queue {name}"))
            }
            Self::Peek(peek) => peek.run(context),
            Self::Pause { name } => {
                serve(context, name, "pause")?;
                context.out.done(format!("paused queue {name}"))
            }
            Self::Resume { name } => {
                serve(context, name, "resume")?;
                context.out.done(format!("resumed queue {name}"))
            }
            Self::Redrive(redrive) => redrive.run(context),
            Self::Get(get) => get.run(context),
        }
    }
}

fn serve(context: &mut Context<'_>, name: &str, verb: &str) -> Outcome {
    let path = context.own_thing("queues", "queue", name).join(verb);
    context.api.post(&path, &json!({})).map(drop)
}

fn show(context: &mut Context<'_>, name: &str) -> Outcome {
    let path = context.thing("queues", "queue", name);
    let queue = context.api.get(&path)?;
    let bound = context.api.get(&path.join("bindings"))?;
    if context.out.is_json() {
        return context
            .out
            .json(&json!({"queue": queue, "bindings": bound}));
    }
    context.out.object(&queue, &SHOW)?;
    bindings::show(context, "Bindings", bound)?;
    match find(&queue, "consumer_details") {
        Value::Array(consumers) if !consumers.is_empty() => {
            context.out.heading("Consumers")?;
            context.out.rows(consumers, &CONSUMERS)
        }
        _ => Ok(()),
    }
}

impl Queue {
    fn declare(&self, context: &mut Context<'_>) -> Outcome {
        let mut arguments = arguments(&self.arguments);
        if let Some(kind) = self.kind {
            arguments["x-queue-type"] = kind.name().into();
        }
        let body = json!({
            "durable": !self.transient,
            "auto_delete": self.auto_delete,
            "arguments": arguments,
        });
        let path = context.thing("queues", "queue", &self.name);
        context.api.put(&path, &body)?;
        context.out.done(format!("declared queue {}", self.name))
    }
}
