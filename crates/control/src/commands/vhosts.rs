//! `ternmq vhosts`.

use clap::Subcommand;
use serde_json::{Map, Value};

use crate::failure::Outcome;
use crate::field::{Field, Kind};
use crate::options::Selection;
use crate::path::Path;
use crate::{Action, Context};

use super::{limits, refuse_existing};

const LIST: [Field; 9] = [
    Field::text("name", "NAME"),
    Field::text("description", "DESCRIPTION"),
    Field::text("tags", "TAGS"),
    Field::text("default_queue_type", "QUEUE TYPE"),
    Field::count("messages_ready", "READY"),
    Field::count("messages_unacknowledged", "UNACKED"),
    Field::new(
        "message_stats.publish_details.rate",
        "PUBLISHED",
        Kind::Rate,
    ),
    Field::new(
        "message_stats.deliver_get_details.rate",
        "DELIVERED",
        Kind::Rate,
    ),
    Field::new("tracing", "TRACING", Kind::Flag),
];

/// What to do with virtual hosts.
#[derive(Clone, Debug, Subcommand)]
pub enum Vhosts {
    /// List virtual hosts
    List {
        #[command(flatten)]
        selection: Selection,
    },
    /// Add a virtual host
    Add {
        /// Its name
        name: String,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Words of your own
        #[arg(long, value_name = "TAGS", value_delimiter = ',')]
        tags: Vec<String>,
        /// Type of queues that are declared without one: classic, quorum or stream
        #[arg(long, value_name = "TYPE")]
        default_queue_type: Option<String>,
    },
    /// Delete a virtual host with everything in it
    Delete {
        /// Its name
        name: String,
    },
    /// List, set and clear limits on what a virtual host may hold
    #[command(subcommand)]
    Limits(limits::VhostLimits),
}

impl Action for Vhosts {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        match self {
            Self::List { selection } => context.list(&Path::of(["vhosts"]), &LIST, selection),
            Self::Add {
                name,
                description,
                tags,
                default_queue_type,
            } => {
                refuse_existing(&context.api, &vhost(name))?;
                let mut fields = Map::new();
                let mut set = |key: &str, value: Option<Value>| {
                    fields.extend(value.map(|value| (key.to_owned(), value)));
                };
                set("description", description.clone().map(Value::from));
                set("tags", (!tags.is_empty()).then(|| tags.join(",").into()));
                set(
                    "default_queue_type",
                    default_queue_type.clone().map(Value::from),
                );
                context.api.put(&vhost(name), &fields.into())?;
                context.out.done(format!("added vhost {name}"))
            }
            Self::Delete { name } => {
                context.api.delete(&vhost(name))?;
                context.out.done(format!("deleted vhost {name}"))
            }
            Self::Limits(action) => action.run(context),
        }
    }
}

fn vhost(name: &str) -> Path {
    Path::of(["vhosts", name]).called(format!("vhost {name:?}"))
}
