//! `ternmq config`: looking at the configuration without starting the broker.

use std::io::{self, Write};

use clap::Subcommand;

use crate::config::Config;
use crate::identity::Identities;

/// What to do with the configuration: the file, the environment and the flags together.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether the broker would start with it, certificates included. Exit code 0 if it would
    Check,
    /// Write out every key with the value it has, as a configuration file; secrets are masked
    Print,
}

/// Carries out the command.
pub(crate) fn run(command: &ConfigCommand, config: &Config) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match command {
        ConfigCommand::Check => {
            // Before what may be wrong because of them.
            for remark in &config.remarks {
                writeln!(out, "{remark}")?;
            }
            config.check_certificates()?;
            config.amqp.settings.validate()?;
            Identities::load(&config.auth)?;
            writeln!(out, "the configuration can be used")?;
        }
        ConfigCommand::Print => out.write_all(config.print()?.as_bytes())?,
    }
    Ok(())
}
