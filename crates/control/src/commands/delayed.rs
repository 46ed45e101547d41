//! `ternmq delayed`.

use clap::Subcommand;

use crate::failure::Outcome;
use crate::field::{Field, Kind};
use crate::options::Selection;
use crate::path::Path;
use crate::{Action, Context};

const LIST: [Field; 6] = [
    Field::text("id", "ID"),
    Field::text("exchange", "EXCHANGE"),
    Field::text("routing_key", "KEY"),
    Field::new("payload_bytes", "SIZE", Kind::Bytes),
    Field::text("due_at", "DUE"),
    Field::new("due_in_ms", "IN", Kind::Duration),
];

/// What to do with messages that wait for their time.
#[derive(Clone, Debug, Subcommand)]
pub enum Delayed {
    /// List messages that wait for their time, the next first
    List {
        /// At most so many are asked for
        #[arg(long, value_name = "COUNT", default_value_t = 1000)]
        count: u32,
        #[command(flatten)]
        selection: Selection,
    },
    /// Forget a message that waits
    Cancel {
        /// Its number, as listed
        id: u64,
    },
}

impl Action for Delayed {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let vhost = context.server.vhost();
        let path = Path::of(["x", "delayed", vhost]).called(format!("vhost {vhost:?}"));
        match self {
            Self::List { count, selection } => {
                let path = path.query("count", count);
                context.list(&path, &LIST, selection)
            }
            Self::Cancel { id } => {
                let path = path.join(&id.to_string());
                let path = path.called(format!("delayed message {id} in vhost {vhost:?}"));
                context.api.delete(&path)?;
                context.out.done(format!("cancelled message {id}"))
            }
        }
    }
}
