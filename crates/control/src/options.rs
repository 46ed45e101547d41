//! Options that every command has which talks to a server.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

const HEADING: &str = "Server";

/// Where the management API is and who asks. The names of these options are used by many commands for arguments of their
/// own, so clap knows them by others.
#[derive(Clone, Debug, Args)]
pub(crate) struct Server {
    /// Address of the management API, `http://` or `https://`
    #[arg(
        id = "server_url",
        long = "url",
        global = true,
        env = "TERNMQ_URL",
        value_name = "URL",
        help_heading = HEADING,
        default_value = "http://127.0.0.1:15672",
    )]
    pub(crate) url: String,

    /// Log in as this user
    #[arg(
        id = "server_user",
        long = "user",
        global = true,
        env = "TERNMQ_USER",
        value_name = "NAME",
        help_heading = HEADING,
        default_value = "guest",
    )]
    pub(crate) user: String,

    /// Password of that user; asked for on a terminal when it is left out (guest's is guest)
    #[arg(
        id = "server_password",
        long = "password",
        global = true,
        env = "TERNMQ_PASSWORD",
        value_name = "PASSWORD",
        help_heading = HEADING,
        hide_env_values = true,
    )]
    pub(crate) password: Option<String>,

    /// Virtual host. Lists show all that the user may see when it is left out; everything else is done in `/`
    #[arg(
        id = "server_vhost",
        long = "vhost",
        global = true,
        env = "TERNMQ_VHOST",
        value_name = "VHOST",
        help_heading = HEADING,
    )]
    pub(crate) vhost: Option<String>,

    /// Trust the certificate authorities of this file (PEM) instead of the system's
    #[arg(
        id = "server_cacert",
        long = "cacert",
        global = true,
        env = "TERNMQ_CACERT",
        value_name = "FILE",
        help_heading = HEADING,
    )]
    pub(crate) cacert: Option<PathBuf>,

    /// Accept any certificate, of anybody: for experiments
    #[arg(
        id = "server_insecure",
        long = "insecure",
        global = true,
        help_heading = HEADING,
    )]
    pub(crate) insecure: bool,

    /// How long the server may take to answer, in seconds
    #[arg(
        id = "server_timeout",
        long = "timeout",
        global = true,
        value_name = "SECONDS",
        help_heading = HEADING,
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=86_400),
    )]
    pub(crate) timeout: u64,

    /// Write JSON as the server sent it, for scripts, instead of tables
    #[arg(
        id = "server_json",
        long = "json",
        global = true,
        help_heading = HEADING,
    )]
    pub(crate) json: bool,
}

impl Server {
    /// The virtual host that is meant where one has to be.
    pub(crate) fn vhost(&self) -> &str {
        self.vhost.as_deref().unwrap_or("/")
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// What of a list is shown, and in which order.
#[derive(Clone, Debug, Default, Args)]
pub struct Selection {
    /// Only rows whose name contains this text
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,

    /// Show these fields of the server's answer instead, e.g. `name,messages,message_stats.publish_details.rate`
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    pub columns: Vec<String>,

    /// Order by this field of the server's answer: numbers from the greatest down, texts from A to Z
    #[arg(long, value_name = "FIELD")]
    pub sort: Option<String>,

    /// Turn the order around
    #[arg(long)]
    pub reverse: bool,

    /// At most so many rows
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<usize>,
}
