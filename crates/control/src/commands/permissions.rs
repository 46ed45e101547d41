//! `ternmq permissions` and `ternmq topic-permissions`.

use clap::Subcommand;
use serde_json::json;

use crate::failure::Outcome;
use crate::field::Field;
use crate::options::Selection;
use crate::path::Path;
use crate::{Action, Context};

pub(super) const PERMISSIONS: [Field; 5] = [
    Field::text("user", "USER"),
    Field::text("vhost", "VHOST"),
    Field::text("configure", "CONFIGURE"),
    Field::text("write", "WRITE"),
    Field::text("read", "READ"),
];

pub(super) const TOPIC_PERMISSIONS: [Field; 5] = [
    Field::text("user", "USER"),
    Field::text("vhost", "VHOST"),
    Field::text("exchange", "EXCHANGE"),
    Field::text("write", "WRITE"),
    Field::text("read", "READ"),
];

/// What to do with permissions.
#[derive(Clone, Debug, Subcommand)]
pub enum Permissions {
    /// List permissions
    List {
        #[command(flatten)]
        selection: Selection,
    },
    /// Let a user into the virtual host, and say what of it
    Set {
        /// The user's name
        user: String,
        /// Names of what it may declare and delete, as a regular expression; '' for none
        configure: String,
        /// Names of what it may publish and bind to
        write: String,
        /// Names of what it may consume and bind from
        read: String,
    },
    /// Keep a user out of the virtual host
    Clear {
        /// The user's name
        user: String,
    },
}

/// What to do with topic permissions.
#[derive(Clone, Debug, Subcommand)]
pub enum TopicPermissions {
    /// List topic permissions
    List {
        #[command(flatten)]
        selection: Selection,
    },
    /// Say which routing keys a user may use with a topic exchange
    Set {
        /// The user's name
        user: String,
        /// The exchange's name
        exchange: String,
        /// Keys it may publish with, as a regular expression; may have `{username}`, `{vhost}` and `{client_id}`
        write: String,
        /// Keys it may bind with
        read: String,
    },
    /// Let a user use any routing key again
    Clear {
        /// The user's name
        user: String,
        /// With this exchange only
        exchange: Option<String>,
    },
}

impl Action for Permissions {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let vhost = context.server.vhost().to_owned();
        match self {
            Self::List { selection } => {
                let path = of_vhost(context, "permissions");
                context.list(&path, &PERMISSIONS, selection)
            }
            Self::Set {
                user,
                configure,
                write,
                read,
            } => {
                let body = json!({"configure": configure, "write": write, "read": read});
                context.api.put(&entry(&vhost, user), &body)?;
                context
                    .out
                    .done(format!("set permissions of {user} in {vhost}"))
            }
            Self::Clear { user } => {
                context.api.delete(&entry(&vhost, user))?;
                context
                    .out
                    .done(format!("cleared permissions of {user} in {vhost}"))
            }
        }
    }
}

impl Action for TopicPermissions {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let vhost = context.server.vhost().to_owned();
        match self {
            Self::List { selection } => {
                let path = of_vhost(context, "topic-permissions");
                context.list(&path, &TOPIC_PERMISSIONS, selection)
            }
            Self::Set {
                user,
                exchange,
                write,
                read,
            } => {
                let body = json!({"exchange": exchange, "write": write, "read": read});
                context.api.put(&topic_entry(&vhost, user), &body)?;
                context.out.done(format!(
                    "set topic permissions of {user} in {vhost} for {exchange}"
                ))
            }
            Self::Clear { user, exchange } => {
                let path = match exchange {
                    Some(exchange) => topic_entry(&vhost, user).join(exchange),
                    None => topic_entry(&vhost, user),
                };
                context.api.delete(&path)?;
                context
                    .out
                    .done(format!("cleared topic permissions of {user} in {vhost}"))
            }
        }
    }
}

/// The list of one virtual host is below that, not below the kind as elsewhere.
fn of_vhost(context: &Context<'_>, kind: &str) -> Path {
    match &context.server.vhost {
        Some(vhost) => Path::of(["vhosts", vhost, kind]).called(format!("vhost {vhost:?}")),
        None => Path::of([kind]),
    }
}

fn entry(vhost: &str, user: &str) -> Path {
    Path::of(["permissions", vhost, user]).called(format!("user {user:?} or vhost {vhost:?}"))
}

fn topic_entry(vhost: &str, user: &str) -> Path {
    let path = Path::of(["topic-permissions", vhost, user]);
    path.called(format!(
        "a topic permission of user {user:?} in vhost {vhost:?}"
    ))
}
