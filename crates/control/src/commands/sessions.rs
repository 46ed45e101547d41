//! `ternmq sessions`.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::field::{Field, Kind, find};
use crate::options::Selection;
use crate::path::Path;
use crate::{Action, Context};

const LIST: [Field; 8] = [
    Field::text("client_id", "CLIENT"),
    Field::new("connected", "CONNECTED", Kind::Flag),
    Field::count("subscription_count", "SUBSCRIPTIONS"),
    Field::count("in_flight", "IN FLIGHT"),
    Field::count("pending", "PENDING"),
    Field::text("queue", "QUEUE"),
    Field::text("expiry_s", "EXPIRY (S)"),
    Field::text("expires_at", "EXPIRES"),
];

const SUBSCRIPTIONS: [Field; 4] = [
    Field::text("filter", "FILTER"),
    Field::text("qos", "QOS"),
    Field::text("id", "ID"),
    Field::new("shared", "SHARED", Kind::Flag),
];

const SHARES: [Field; 3] = [
    Field::text("filter", "FILTER"),
    Field::text("queue", "QUEUE"),
    Field::count("members", "MEMBERS"),
];

/// What to do with MQTT sessions.
#[derive(Clone, Debug, Subcommand)]
pub enum Sessions {
    /// List sessions of MQTT clients, connected or not
    List {
        #[command(flatten)]
        selection: Selection,
    },
    /// Show a session and its subscriptions
    Show {
        /// Its client identifier
        client_id: String,
    },
    /// End a session with its subscriptions and all that waits for it; a connected client is disconnected
    Delete {
        /// Its client identifier
        client_id: String,
    },
    /// List groups that share subscriptions
    Shares {
        #[command(flatten)]
        selection: Selection,
    },
}

impl Action for Sessions {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let vhost = context.server.vhost();
        let of =
            |kind: &str| Path::of(["x", "mqtt", kind, vhost]).called(format!("vhost {vhost:?}"));
        let session_of = |client_id: &String| {
            let path = of("sessions").join(client_id);
            path.called(format!("session of {client_id:?} in vhost {vhost:?}"))
        };
        match self {
            Self::List { selection } => {
                let mut sessions = context.api.get(&of("sessions"))?;
                if !context.out.is_json() {
                    count_subscriptions(&mut sessions);
                }
                context.out.list(sessions, &LIST, selection)
            }
            Self::Show { client_id } => {
                let session = context.api.get(&session_of(client_id))?;
                if context.out.is_json() {
                    return context.out.json(&session);
                }
                context.out.object(&session, &LIST)?;
                match find(&session, "subscriptions") {
                    Value::Array(subscriptions) if !subscriptions.is_empty() => {
                        context.out.heading("Subscriptions")?;
                        context.out.rows(subscriptions, &SUBSCRIPTIONS)
                    }
                    _ => Ok(()),
                }
            }
            Self::Delete { client_id } => {
                context.api.delete(&session_of(client_id))?;
                context
                    .out
                    .done(format!("ended the session of {client_id}"))
            }
            Self::Shares { selection } => {
                let path = of("shares");
                context.list(&path, &SHARES, selection)
            }
        }
    }
}

fn count_subscriptions(sessions: &mut Value) {
    for session in sessions.as_array_mut().into_iter().flatten() {
        let subscriptions = find(session, "subscriptions").as_array();
        session["subscription_count"] = json!(subscriptions.map_or(0, Vec::len));
    }
}
