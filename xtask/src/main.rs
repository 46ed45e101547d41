//! Project checks that cargo has no command for.
//!
//! `cargo xtask tidy` holds the rules of the code base that neither the compiler nor clippy knows; `.ci/run` calls it.
//! Start at [`tidy`]: one module a rule, each a function from sources to problems.

mod tidy;
mod workspace;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

const USAGE: &str = "usage: cargo xtask tidy";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => run_tidy(),
        ["help" | "--help" | "-h"] => {
            eprintln!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(count) => {
            eprintln!("tidy: {count} problem(s)");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("tidy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints every problem and returns how many there are.
fn run_tidy() -> Result<usize> {
    let manifest_dir =
        std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask tidy`")?;
    let root = Path::new(&manifest_dir)
        .parent()
        .context("xtask lies in a directory of the workspace")?;
    let workspace = Workspace::load(root)?;
    let problems = tidy::check(&workspace);
    for problem in &problems {
        eprintln!("{problem}");
    }
    Ok(problems.len())
}
