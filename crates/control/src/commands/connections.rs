//! `ternmq connections`.

use clap::Subcommand;

use crate::failure::Outcome;
use crate::field::{Field, Kind};
use crate::options::Selection;
use crate::path::Path;
use crate::{Action, Context};

const LIST: [Field; 12] = [
    Field::text("name", "NAME"),
    Field::text("user_provided_name", "CLIENT"),
    Field::text("vhost", "VHOST"),
    Field::text("user", "USER"),
    Field::text("protocol", "PROTOCOL"),
    Field::new("ssl", "TLS", Kind::Flag),
    Field::text("state", "STATE"),
    Field::count("channels", "CHANNELS"),
    Field::new("recv_oct_details.rate", "IN/S", Kind::Bytes),
    Field::new("send_oct_details.rate", "OUT/S", Kind::Bytes),
    Field::new("connected_at", "SINCE", Kind::Moment),
    Field::text("node", "NODE"),
];

const SHOW: [Field; 23] = [
    Field::text("name", "Name"),
    Field::text("user_provided_name", "Client"),
    Field::text("client_properties.product", "Product"),
    Field::text("client_properties.version", "Version"),
    Field::text("client_properties.platform", "Platform"),
    Field::text("variable_map.client_id", "MQTT client"),
    Field::text("vhost", "Vhost"),
    Field::text("user", "User"),
    Field::text("auth_mechanism", "Mechanism"),
    Field::text("protocol", "Protocol"),
    Field::new("ssl", "TLS", Kind::Flag),
    Field::text("ssl_protocol", "TLS version"),
    Field::text("ssl_cipher", "Cipher"),
    Field::text("peer_cert_subject", "Certificate"),
    Field::text("peer_cert_validity", "Valid"),
    Field::text("state", "State"),
    Field::count("channels", "Channels"),
    Field::new("timeout", "Heartbeat (s)", Kind::Text),
    Field::new("frame_max", "Frame limit", Kind::Bytes),
    Field::new("recv_oct", "Received", Kind::Bytes),
    Field::new("send_oct", "Sent", Kind::Bytes),
    Field::new("connected_at", "Since", Kind::Moment),
    Field::text("node", "Node"),
];

/// What to do with connections.
#[derive(Clone, Debug, Subcommand)]
pub enum Connections {
    /// List open connections
    List {
        #[command(flatten)]
        selection: Selection,
    },
    /// Show one connection
    Show {
        /// Its name, as listed
        name: String,
    },
    /// Close a connection, or all of a user
    Close {
        /// Its name, as listed
        #[arg(required_unless_present = "of_user", conflicts_with = "of_user")]
        name: Option<String>,
        /// All connections of this user
        #[arg(long, value_name = "USER")]
        of_user: Option<String>,
        /// What the client is told
        #[arg(long, value_name = "TEXT", default_value = "closed by the operator")]
        reason: String,
    },
}

impl Action for Connections {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        match self {
            Self::List { selection } => {
                let path = match &context.server.vhost {
                    Some(vhost) => Path::of(["vhosts", vhost, "connections"])
                        .called(format!("vhost {vhost:?}")),
                    None => Path::of(["connections"]),
                };
                context.list(&path, &LIST, selection)
            }
            Self::Show { name } => {
                let connection = context.api.get(&connection(name))?;
                if context.out.is_json() {
                    return context.out.json(&connection);
                }
                context.out.object(&connection, &SHOW)
            }
            Self::Close {
                name: Some(name),
                reason,
                ..
            } => {
                context.api.delete_because(&connection(name), reason)?;
                context.out.done(format!("closed {name}"))
            }
            Self::Close {
                of_user, reason, ..
            } => {
                let user = of_user.as_deref().unwrap_or_default();
                let path = Path::of(["connections", "username", user]);
                let path = path.called(format!("a connection of {user}"));
                context.api.delete_because(&path, reason)?;
                context
                    .out
                    .done(format!("closed the connections of {user}"))
            }
        }
    }
}

fn connection(name: &str) -> Path {
    Path::of(["connections", name]).called(format!("connection {name:?}"))
}
