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

use clap::CommandFactory;
use ternmq_control::Failure;

/// See the root `Cargo.toml` for why.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::from_process();
    let is_about_store = matches!(cli.command, Some(cli::Command::Store(_)));
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
        // Whoever read the output has seen enough. But nobody knows whether the store is well.
        Err(error) if is_closed_pipe(&error) => {
            if is_about_store {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            }
        }
        Err(error) => {
            // Nobody is left to tell if standard error is gone.
            let _ = writeln!(std::io::stderr(), "ternmq: {}", in_one_line(&error));
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

/// An error with its causes, each said once: some name their cause themselves.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.ends_with(&cause) {
            line.push_str(": ");
            line.push_str(&cause);
        }
    }
    line
}

/// Whether standard output is a pipe that nobody reads any more.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let failure = error.downcast_ref::<Failure>();
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    failure.is_some_and(Failure::is_closed_pipe)
        || causes.any(|cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// What came of a command of the operator.
fn ask(outcome: Result<(), Failure>) -> anyhow::Result<ExitCode> {
    outcome?;
    Ok(ExitCode::SUCCESS)
}
