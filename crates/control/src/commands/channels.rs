//! `ternmq channels`.

use clap::Subcommand;

use crate::failure::Outcome;
use crate::field::{Field, Kind};
use crate::options::Selection;
use crate::path::Path;
use crate::{Action, Context};

const LIST: [Field; 12] = [
    Field::text("name", "NAME"),
    Field::text("vhost", "VHOST"),
    Field::text("user", "USER"),
    Field::text("state", "STATE"),
    Field::new("confirm", "CONFIRMS", Kind::Flag),
    Field::new("transactional", "TX", Kind::Flag),
    Field::count("consumer_count", "CONSUMERS"),
    Field::count("prefetch_count", "PREFETCH"),
    Field::count("messages_unacknowledged", "UNACKED"),
    Field::count("messages_unconfirmed", "UNCONFIRMED"),
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
];

/// What to do with channels.
#[derive(Clone, Debug, Subcommand)]
pub enum Channels {
    /// List open channels
    List {
        #[command(flatten)]
        selection: Selection,
    },
}

impl Action for Channels {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let Self::List { selection } = self;
        let path = match &context.server.vhost {
            Some(vhost) => {
                Path::of(["vhosts", vhost, "channels"]).called(format!("vhost {vhost:?}"))
            }
            None => Path::of(["channels"]),
        };
        context.list(&path, &LIST, selection)
    }
}
