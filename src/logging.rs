//! Log lines on standard error.

use std::io::{IsTerminal, stderr};

use anyhow::{Context, anyhow};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Which lines are written; can be changed while the process runs.
pub(crate) struct Filter {
    replace: Box<dyn Fn(EnvFilter) -> anyhow::Result<()> + Send + Sync>,
}

impl Filter {
    /// Writes the lines that these settings ask for from now on.
    pub(crate) fn set(&self, log: &Log) -> anyhow::Result<()> {
        (self.replace)(filter(log)?)
    }
}

/// Whether the environment asks for plain text (no-color.org).
fn says_no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn filter(log: &Log) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(&log.level).with_context(|| format!("log.level {:?}", log.level))
}

/// Sets up the process's log. Called once.
pub(crate) fn init(log: &Log) -> anyhow::Result<Filter> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(log)?)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal() && !says_no_color());
    let (initialised, filter) = match log.format {
        LogFormat::Text => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            let replace = move |filter| Ok(handle.reload(filter)?);
            (builder.try_init(), Filter::new(replace))
        }
        LogFormat::Json => {
            let builder = builder.json().with_filter_reloading();
            let handle = builder.reload_handle();
            let replace = move |filter| Ok(handle.reload(filter)?);
            (builder.try_init(), Filter::new(replace))
        }
    };
    initialised.map_err(|error| anyhow!(error).context("log"))?;
    Ok(filter)
}

impl Filter {
    fn new(replace: impl Fn(EnvFilter) -> anyhow::Result<()> + Send + Sync + 'static) -> Self {
        Self {
            replace: Box::new(replace),
        }
    }
}
