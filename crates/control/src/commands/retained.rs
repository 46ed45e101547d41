//! `ternmq retained`.

use clap::Subcommand;

use crate::failure::Outcome;
use crate::field::{Field, Kind};
use crate::options::Selection;
use crate::path::Path;
use crate::{Action, Context};

const LIST: [Field; 4] = [
    Field::text("topic", "TOPIC"),
    Field::new("payload_bytes", "SIZE", Kind::Bytes),
    Field::text("received_at", "CAME"),
    Field::text("payload", "PAYLOAD"),
];

/// What to do with retained messages.
#[derive(Clone, Debug, Subcommand)]
pub enum Retained {
    /// List retained messages
    List {
        /// Those whose topics match this filter, as in MQTT
        #[arg(default_value = "#")]
        topics: String,
        /// At most so many are asked for
        #[arg(long, value_name = "COUNT", default_value_t = 1000)]
        count: u32,
        #[command(flatten)]
        selection: Selection,
    },
    /// Forget the message retained for a topic
    Delete {
        /// The topic
        topic: String,
    },
}

impl Action for Retained {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let vhost = context.server.vhost();
        let path = Path::of(["x", "retained", vhost]).called(format!("vhost {vhost:?}"));
        match self {
            Self::List {
                topics,
                count,
                selection,
            } => {
                let path = path.query("filter", topics).query("count", count);
                context.list(&path, &LIST, selection)
            }
            Self::Delete { topic } => {
                let path = path.join(topic).called(format!("a message for {topic:?}"));
                context.api.delete(&path)?;
                context.out.done(format!("forgot the message for {topic}"))
            }
        }
    }
}
