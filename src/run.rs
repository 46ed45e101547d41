//! The life of the process: configuration, listeners, signals, goodbye.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ternmq_broker::clock::{Clock, SystemClock};
use ternmq_net::server::{Server, ServerConfig};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::cli::Cli;
use crate::config::Config;
use crate::store_command::StoreCommand;
use crate::{logging, management, protocols, ready_file, storage, store_command, system};

/// Publishers pause when messages hold this share of the machine's memory, unless the configuration says otherwise.
const MEMORY_HIGH_PERCENT: u64 = 40;

/// How long tasks that are still there at the end may hold up the exit.
const RUNTIME_STOP: Duration = Duration::from_secs(1);

/// Runs until a signal ends it.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    system::raise_open_files_limit();
    let mut config = Config::load(cli)?;
    let share = |bytes: u64| bytes / 100 * MEMORY_HIGH_PERCENT;
    let memory_high = config.broker.memory_high_bytes;
    config.broker.memory_high_bytes = memory_high.or_else(|| system::memory_bytes().map(share));
    let cluster = config.broker.cluster_name.take();
    config.broker.cluster_name =
        cluster.or_else(|| Some(format!("ternmq@{}", system::host_name()?)));
    logging::init(&config.log)?;
    let runtime = runtime().context("cannot start the runtime")?;
    let ended = runtime.block_on(serve(config));
    runtime.shutdown_timeout(RUNTIME_STOP);
    ended
}

/// Looks at the data directory instead. Exit code 0: all is well with it.
pub(crate) fn look_at_store(command: &StoreCommand, cli: Cli) -> anyhow::Result<ExitCode> {
    let config = Config::load(cli)?;
    let sound = store_command::run(command, &config.data_dir)?;
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(storage::EXIT_DAMAGED)
    })
}

/// As many worker threads as the machine has cores.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .thread_name("ternmq-worker")
        .build()
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::register().context("cannot wait for signals")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let server_config = ServerConfig {
        connections_max: config.limits.connections_max,
        ..ServerConfig::default()
    };
    let mut server = Server::new(&server_config, Arc::clone(&clock));
    let started_at = clock.now();
    let broker = storage::open(&config, clock)?;
    server.tick(Arc::new(broker.clone()));
    let manage = management::open(&config, &broker, started_at, server.connections_max())?;
    server.tick(manage.clone());
    let listening = protocols::listen(&config, &broker, &manage, &mut server)?;

    info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        "ternmq"
    );
    info!(
        memory_high_bytes = config.broker.memory_high_bytes,
        data_dir = %config.data_dir.display(),
        durability = broker.durability(),
        "storage"
    );
    for (protocol, addr) in &listening {
        info!(protocol, %addr, "listening");
    }
    if let Some(path) = &config.ready_file {
        ready_file::write(path, &listening)?;
    }
    info!(connections_max = server.connections_max(), "ready");

    let signal = signals.next().await;
    info!(
        signal,
        connections = server.connection_count(),
        "stopping; a second signal stops at once"
    );
    tokio::select! {
        farewell = server.shutdown(Duration::from_millis(config.limits.shutdown_grace_ms)) => {
            info!(connections = farewell.told, cut = farewell.cut, "stopped");
        }
        signal = signals.next() => {
            warn!(signal, "stopped at once");
            std::process::exit(EXIT_AT_ONCE);
        }
    }
    broker.close();
    Ok(())
}

/// The exit code after a second signal: connections were not said goodbye.
const EXIT_AT_ONCE: i32 = 1;

/// What ends the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn register() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
