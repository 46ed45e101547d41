//! The command line.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
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

impl Cli {
    /// Reads the process's command line, and ends the process with the reason if it makes no sense.
    pub(crate) fn from_process() -> Self {
        let cli = Self::parse();
        if let Some(flag) = cli.idle_flag() {
            let reason = format!(
                "'{flag}' is about the broker's own process, which this command does not start"
            );
            Self::command()
                .error(ErrorKind::ArgumentConflict, reason)
                .exit();
        }
        cli
    }

    /// A flag that would change nothing, with a command that only asks a running broker, or none.
    fn idle_flag(&self) -> Option<&'static str> {
        match self.command.as_ref()? {
            Command::Store(_) | Command::Config(_) => return None,
            Command::Completions(_) | Command::Man(_) | Command::Control(_) => {}
        }
        let flags = [
            ("--config", self.config.is_some()),
            ("--data-dir", self.data_dir.is_some()),
            ("--amqp", !self.amqp.is_empty()),
            ("--mqtt", !self.mqtt.is_empty()),
            ("--mqtt-websocket", !self.mqtt_websocket.is_empty()),
            ("--management", !self.management.is_empty()),
            ("--prometheus", !self.prometheus.is_empty()),
            ("--mqtt-anonymous", self.mqtt_anonymous),
            ("--ready-file", self.ready_file.is_some()),
        ];
        let mut given = flags.into_iter().filter(|(_, is_given)| *is_given);
        given.next().map(|(flag, _)| flag)
    }
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
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_of_the_broker_are_refused_where_none_is_started() {
        let idle = |line: &str| Cli::parse_from(line.split(' ')).idle_flag();
        assert_eq!(idle("ternmq --amqp [::1]:0 status"), Some("--amqp"));
        assert_eq!(idle("ternmq queues list --data-dir d"), Some("--data-dir"));
        assert_eq!(idle("ternmq queues list --vhost v"), None);
        assert_eq!(idle("ternmq config print --data-dir d"), None);
        assert_eq!(idle("ternmq --data-dir d"), None);
    }

    #[test]
    fn addresses_may_be_repeated() {
        let cli = Cli::parse_from(["ternmq", "--amqp", "127.0.0.1:0", "--amqp", "[::1]:0"]);
        assert_eq!(cli.amqp, ["127.0.0.1:0", "[::1]:0"]);
        assert!(cli.mqtt.is_empty() && !cli.mqtt_anonymous);
    }
}
