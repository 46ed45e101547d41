//! Shell completions and manual pages, made from the definition of the command line.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use crate::failure::{Failure, Outcome};

/// The script that completes commands in a shell.
#[derive(Clone, Debug, Args)]
pub struct Completions {
    /// The shell it is for
    shell: Shell,
}

impl Completions {
    /// Writes it to standard output.
    pub fn write(&self, command: clap::Command) -> Outcome {
        io::stdout()
            .lock()
            .write_all(&self.script(command))
            .map_err(Failure::io("standard output"))
    }

    pub(crate) fn script(&self, mut command: clap::Command) -> Vec<u8> {
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        script
    }
}

/// The manual.
#[derive(Clone, Debug, Args)]
pub struct Pages {
    /// Write a page for every command into this directory, `ternmq.1`, `ternmq-queues.1` and so on
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Pages {
    /// Writes the pages to a directory, or the main one to standard output.
    pub fn write(&self, command: clap::Command) -> Outcome {
        let Some(dir) = &self.dir else {
            let out = &mut io::stdout().lock();
            let page = clap_mangen::Man::new(command);
            return page.render(out).map_err(Failure::io("standard output"));
        };
        let failed = || Failure::io(dir.display().to_string());
        fs::create_dir_all(dir).map_err(failed())?;
        clap_mangen::generate_to(command, dir).map_err(failed())
    }
}
