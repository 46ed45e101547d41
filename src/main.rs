//! `ternmq`: the broker as a process. Reads the configuration, opens the listeners, waits for a signal.
//!
//! Where to start: [`run`] is the life of the process from start to end.

mod cli;
mod config;
mod logging;
mod protocols;
mod ready_file;
mod run;
mod storage;
mod store_command;
mod system;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// See the root `Cargo.toml` for why.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let ended = match cli.command.clone() {
        None => run::run(cli).map(|()| ExitCode::SUCCESS),
        Some(cli::Command::Store(command)) => run::look_at_store(&command, cli),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell if standard error is gone.
            let _ = writeln!(std::io::stderr(), "ternmq: {error:#}");
            if storage::is_damage(&error) {
                ExitCode::from(storage::EXIT_DAMAGED)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
