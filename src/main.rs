//! `ternmq`: the broker as a process. Reads the configuration, opens the listeners, waits for a signal.
//!
//! Where to start: [`run`] is the life of the process from start to end.

mod cli;
mod config;
mod config_command;
mod identity;
mod logging;
mod management;
mod protocols;
mod ready_file;
mod reload;
mod run;
mod service;
mod storage;
mod store_command;
mod system;
mod tls;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use ternmq_control::Failure;

/// See the root `Cargo.toml` for why.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let ended = match cli.command.clone() {
        None => run::run(&cli).map(|()| ExitCode::SUCCESS),
        Some(cli::Command::Store(command)) => run::look_at_store(&command, cli),
        Some(cli::Command::Config(command)) => {
            run::look_at_config(&command, cli).map(|()| ExitCode::SUCCESS)
        }
        Some(cli::Command::Completions(shell)) => ask(shell.write(cli::Cli::command())),
        Some(cli::Command::Man(pages)) => ask(pages.write(cli::Cli::command())),
        Some(cli::Command::Control(command)) => ask(ternmq_control::run(&command)),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell if standard error is gone.
            let _ = writeln!(std::io::stderr(), "ternmq: {error:#}");
            if storage::is_damage(&error) {
                ExitCode::from(storage::EXIT_DAMAGED)
            } else {
                error
                    .downcast_ref()
                    .map_or(ExitCode::FAILURE, Failure::exit_code)
            }
        }
    }
}

/// What came of a command of the operator.
fn ask(outcome: Result<(), Failure>) -> anyhow::Result<ExitCode> {
    outcome?;
    Ok(ExitCode::SUCCESS)
}
