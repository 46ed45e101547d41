//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use ternmq_control::{Completions, Pages};

use crate::config_command::ConfigCommand;
use crate::store_command::StoreCommand;

/// A message broker: RabbitMQ clients (AMQP 0.9.1) and MQTT devices (3.1, 3.1.1, 5) meet in one core.
///
/// Without arguments it listens for AMQP on port 5672 and for MQTT on port 1883; user guest, password guest may log in
/// from this machine.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "ternmq", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Configuration file (TOML, or RabbitMQ's form if it is named *.conf); the environment and flags override it
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// Directory for durable data. Default: what the configuration says, else `$STATE_DIRECTORY`, else `./data`
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data_dir: Option<PathBuf>,

    /// Listen for AMQP 0.9.1 here, port 0 for a free one; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub(crate) amqp: Vec<String>,

    /// Listen for MQTT here, port 0 for a free one; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub(crate) mqtt: Vec<String>,

    /// Listen for MQTT over WebSocket here; without it at port 15675 of the addresses of MQTT, or a free one where that is
    /// 0; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub(crate) mqtt_websocket: Vec<String>,

    /// Serve the management HTTP API here, port 0 for a free one; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub(crate) management: Vec<String>,

    /// Serve metrics for Prometheus here, port 0 for a free one; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub(crate) prometheus: Vec<String>,

    /// Accept MQTT clients without credentials, as user guest
    #[arg(long)]
    pub(crate) mqtt_anonymous: bool,

    /// Write the addresses listened on to this file, as JSON, once all accept connections
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do instead of running the broker.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Look at a data directory while the broker is not running, or repair it
    #[command(subcommand)]
    Store(StoreCommand),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write a script that completes commands in a shell
    Completions(Completions),
    /// Write the manual page, or all of them
    Man(Pages),
    #[command(flatten)]
    Control(Box<ternmq_control::Command>),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn addresses_may_be_repeated() {
        let cli = Cli::parse_from(["ternmq", "--amqp", "127.0.0.1:0", "--amqp", "[::1]:0"]);
        assert_eq!(cli.amqp, ["127.0.0.1:0", "[::1]:0"]);
        assert!(cli.mqtt.is_empty() && !cli.mqtt_anonymous);
    }
}
