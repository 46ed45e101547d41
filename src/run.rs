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
use crate::config_command::{self, ConfigCommand};
use crate::identity::Identities;
use crate::logging::Filter;
use crate::reload::{Running, WATCH};
use crate::store_command::StoreCommand;
use crate::tls::Certificates;
use crate::{logging, management, protocols, ready_file, service, storage, store_command, system};

/// How long tasks that are still there at the end may hold up the exit.
const RUNTIME_STOP: Duration = Duration::from_secs(1);

/// Runs until a signal ends it.
pub(crate) fn run(cli: &Cli) -> anyhow::Result<()> {
    system::raise_open_files_limit();
    let config = Config::load(cli.clone())?;
    let filter = logging::init(&config.log)?;
    config.log_remarks();
    let runtime = runtime().context("cannot start the runtime")?;
    let ended = runtime.block_on(serve(config, cli, &filter));
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

/// Looks at the configuration instead.
pub(crate) fn look_at_config(command: &ConfigCommand, cli: Cli) -> anyhow::Result<()> {
    system::raise_open_files_limit();
    config_command::run(command, &Config::load(cli)?)
}

/// As many worker threads as the machine has cores.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .thread_name("ternmq-worker")
        .build()
}

async fn serve(mut config: Config, cli: &Cli, filter: &Filter) -> anyhow::Result<()> {
    let in_signals = "cannot wait for signals";
    let mut signals = Signals::register().context(in_signals)?;
    let mut hangup = signal(SignalKind::hangup()).context(in_signals)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let server_config = ServerConfig {
        connections_max: config.limits.connections_max,
        handshake_timeout: Duration::from_millis(config.limits.handshake_timeout_ms),
        handshakes_max: config.limits.handshakes_max,
    };
    let mut server = Server::new(&server_config, Arc::clone(&clock));
    let mut identities = Identities::load(&config.auth)?;
    let started_at = clock.now();
    config.broker.begins_bare = management::brings_users(&config)?;
    let broker = storage::open(&config, Arc::clone(&clock))?;
    identities.attach(&config.auth, &broker, &clock)?;
    server.tick(Arc::new(broker.clone()));
    let manage = management::open(&config, &broker, started_at, server.connections_max())?;
    server.tick(manage.clone());
    let mut certificates = Certificates::default();
    let listening = protocols::listen(&config, &broker, &manage, &mut certificates, &mut server)?;
    manage.set_certificates(certificates.shown());

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
    service::notify(service::State::Ready);

    let running = Running {
        cli,
        server: &server,
        certificates: &certificates,
        identities: &identities,
        manage: &manage,
        filter,
    };
    let signal = attend((&mut signals, &mut hangup), &running, &mut config).await;
    service::notify(service::State::Stopping);
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

/// Does what the running process is asked for until a signal ends it; returns which.
async fn attend(
    (signals, hangup): (&mut Signals, &mut Signal),
    running: &Running<'_>,
    config: &mut Config,
) -> &'static str {
    let mut watch = tokio::time::interval(WATCH);
    loop {
        tokio::select! {
            signal = signals.next() => return signal,
            _ = hangup.recv() => running.reload(config),
            _ = watch.tick() => running.look_at_files(),
        }
    }
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
