//! `ternmq consumers`.

use clap::Subcommand;

use crate::failure::Outcome;
use crate::field::{Field, Kind};
use crate::options::Selection;
use crate::{Action, Context};

const LIST: [Field; 9] = [
    Field::text("consumer_tag", "TAG"),
    Field::text("queue.vhost", "VHOST"),
    Field::text("queue.name", "QUEUE"),
    Field::text("channel_details.name", "CHANNEL"),
    Field::new("ack_required", "ACKS", Kind::Flag),
    Field::new("exclusive", "EXCLUSIVE", Kind::Flag),
    Field::new("active", "ACTIVE", Kind::Flag),
    Field::count("prefetch_count", "PREFETCH"),
    Field::text("arguments", "ARGUMENTS"),
];

/// What to do with consumers.
#[derive(Clone, Debug, Subcommand)]
pub enum Consumers {
    /// List consumers
    List {
        #[command(flatten)]
        selection: Selection,
    },
}

impl Action for Consumers {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let Self::List { selection } = self;
        let path = context.in_vhost("consumers");
        context.list(&path, &LIST, selection)
    }
}
