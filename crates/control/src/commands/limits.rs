//! `ternmq users limits` and `ternmq vhosts limits`.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::field::Field;
use crate::options::Selection;
use crate::path::Path;
use crate::{Action, Context};

/// What to do with the limits of users.
#[derive(Clone, Debug, Subcommand)]
pub enum UserLimits {
    /// List limits of users
    List {
        #[command(flatten)]
        selection: Selection,
    },
    /// Set a limit; a negative number means none
    Set {
        /// The user's name
        user: String,
        /// max-connections or max-channels
        limit: String,
        /// At most so many
        #[arg(allow_negative_numbers = true)]
        value: i64,
    },
    /// Take a limit away
    Clear {
        /// The user's name
        user: String,
        /// max-connections or max-channels
        limit: String,
    },
}

/// What to do with the limits of virtual hosts.
#[derive(Clone, Debug, Subcommand)]
pub enum VhostLimits {
    /// List limits of virtual hosts
    List {
        #[command(flatten)]
        selection: Selection,
    },
    /// Set a limit; a negative number means none
    Set {
        /// The virtual host's name
        name: String,
        /// max-connections or max-queues
        limit: String,
        /// At most so many
        #[arg(allow_negative_numbers = true)]
        value: i64,
    },
    /// Take a limit away
    Clear {
        /// The virtual host's name
        name: String,
        /// max-connections or max-queues
        limit: String,
    },
}

impl Action for UserLimits {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        match self {
            Self::List { selection } => list(
                context,
                USER_LIMITS,
                [Field::text("user", "USER"), VALUE],
                selection,
            ),
            Self::Set { user, limit, value } => set(context, [USER_LIMITS, user, limit], *value),
            Self::Clear { user, limit } => clear(context, [USER_LIMITS, user, limit]),
        }
    }
}

impl Action for VhostLimits {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        match self {
            Self::List { selection } => list(
                context,
                "vhost-limits",
                [Field::text("vhost", "VHOST"), VALUE],
                selection,
            ),
            Self::Set { name, limit, value } => set(context, ["vhost-limits", name, limit], *value),
            Self::Clear { name, limit } => clear(context, ["vhost-limits", name, limit]),
        }
    }
}

/// Where limits of users are.
const USER_LIMITS: &str = "user-limits";

const VALUE: Field = Field::text("value", "LIMITS");

fn list(
    context: &mut Context<'_>,
    kind: &str,
    fields: [Field; 2],
    selection: &Selection,
) -> Outcome {
    let items = context.api.get(&Path::of([kind]))?;
    if context.out.is_json() || !selection.columns.is_empty() {
        return context.out.list(items, &fields, selection);
    }
    let readable = items.as_array().map(Vec::as_slice).unwrap_or_default();
    let readable = readable.iter().map(|item| in_words(item, fields[0].key));
    context.out.list(readable.collect(), &fields, selection)
}

/// Limits as `max-connections=10, max-queues=5`.
fn in_words(item: &Value, owner: &str) -> Value {
    let limits = item.get("value").and_then(Value::as_object);
    let words = limits.into_iter().flatten();
    let words: Vec<_> = words
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    json!({owner: item.get(owner), "value": words})
}

/// The path of a limit, and what is meant if its owner is not there.
fn path(segments: [&str; 3]) -> Path {
    let owner = if segments[0] == USER_LIMITS {
        "user"
    } else {
        "vhost"
    };
    Path::of(segments).called(format!("{owner} {:?}", segments[1]))
}

fn set(context: &mut Context<'_>, segments: [&str; 3], value: i64) -> Outcome {
    let path = path(segments);
    context.api.put(&path, &json!({ "value": value }))?;
    context
        .out
        .done(format!("{} of {}: {value}", segments[2], segments[1]))
}

fn clear(context: &mut Context<'_>, segments: [&str; 3]) -> Outcome {
    context.api.delete(&path(segments))?;
    context
        .out
        .done(format!("{} of {}: none", segments[2], segments[1]))
}
