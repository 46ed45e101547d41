//! The configuration file and what the flags make of it.
//!
//! ```toml
//! [amqp]
//! listen = ["0.0.0.0:5672"]      # and every field of AmqpConfig
//!
//! [mqtt]
//! listen = ["0.0.0.0:1883"]      # and every field of MqttConfig
//!
//! [management]
//! listen = ["0.0.0.0:15672"]     # and every field of ManageConfig
//!
//! [prometheus]
//! listen = ["0.0.0.0:15692"]     # and every field of PrometheusConfig
//!
//! [broker]                       # every field of BrokerConfig
//!
//! [storage]
//! data_dir = "data"              # and every field of StorageConfig
//!
//! [memory]                       # every field of MemoryConfig
//!
//! [limits]
//! connections_max = 50000
//! shutdown_grace_ms = 10000
//!
//! [log]
//! level = "info"
//! format = "text"
//! ```
//!
//! Everything is optional. A key nobody knows is an error that names it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ternmq_amqp::config::AmqpConfig;
use ternmq_broker::{BrokerConfig, MemoryConfig, StorageConfig};
use ternmq_manage::{ManageConfig, PrometheusConfig};
use ternmq_mqtt::config::MqttConfig;
use ternmq_net::limits::{SHUTDOWN_GRACE, connections_max_default};

use crate::cli::Cli;

const AMQP_LISTEN: &str = "0.0.0.0:5672";
const MQTT_LISTEN: &str = "0.0.0.0:1883";
const MANAGEMENT_LISTEN: &str = "0.0.0.0:15672";
const PROMETHEUS_LISTEN: &str = "0.0.0.0:15692";
const DATA_DIR: &str = "data";

/// Most listeners of one protocol.
const LISTENERS_MAX: usize = 64;

/// Everything the process is told.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) amqp: Protocol<AmqpConfig>,
    pub(crate) mqtt: Protocol<MqttConfig>,
    pub(crate) management: Protocol<ManageConfig>,
    pub(crate) prometheus: Protocol<PrometheusConfig>,
    pub(crate) broker: BrokerConfig,
    pub(crate) storage: StorageConfig,
    pub(crate) memory: MemoryConfig,
    pub(crate) limits: Limits,
    pub(crate) log: Log,
    pub(crate) data_dir: PathBuf,
    pub(crate) ready_file: Option<PathBuf>,
    /// The file this was read from.
    pub(crate) config_file: Option<PathBuf>,
}

/// A protocol's section: where it is spoken, and its adapter's settings.
#[derive(Debug)]
pub(crate) struct Protocol<T> {
    /// Empty: not spoken at all.
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) settings: T,
}

/// The section `[limits]`: what bounds the process as a whole.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Connections at once, over all listeners; at least 1. Default: what the limit on open files allows, at most
    /// 100,000.
    pub(crate) connections_max: usize,
    /// How long connections may take to say goodbye when the process stops, in milliseconds; at most an hour.
    pub(crate) shutdown_grace_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: connections_max_default(),
            shutdown_grace_ms: u64::try_from(SHUTDOWN_GRACE.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// The section `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,ternmq_mqtt=debug`.
    pub(crate) level: String,
    /// How lines look.
    pub(crate) format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: LogFormat::Text,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The file's sections. Those whose fields belong to other crates stay tables until `listen` is taken out.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    amqp: toml::Table,
    mqtt: toml::Table,
    management: toml::Table,
    prometheus: toml::Table,
    broker: BrokerConfig,
    storage: toml::Table,
    memory: MemoryConfig,
    limits: Limits,
    log: Log,
    /// The same as in `[management]`.
    load_definitions: Option<PathBuf>,
}

impl Config {
    /// Reads the file the command line names, if it names one, and lets the other flags override it.
    pub(crate) fn load(cli: Cli) -> anyhow::Result<Self> {
        let Some(path) = cli.config.clone() else {
            return Self::build(File::default(), cli);
        };
        let in_file = || format!("configuration file {}", path.display());
        let file = read(&path).with_context(in_file)?;
        Self::build(file, cli).with_context(in_file)
    }

    fn build(file: File, cli: Cli) -> anyhow::Result<Self> {
        let amqp = protocol::<AmqpConfig>("amqp", file.amqp, cli.amqp, AMQP_LISTEN)?;
        let mut mqtt = protocol::<MqttConfig>("mqtt", file.mqtt, cli.mqtt, MQTT_LISTEN)?;
        mqtt.settings.anonymous |= cli.mqtt_anonymous;
        let mut management = protocol::<ManageConfig>(
            "management",
            file.management,
            cli.management,
            MANAGEMENT_LISTEN,
        )?;
        let prometheus = protocol::<PrometheusConfig>(
            "prometheus",
            file.prometheus,
            cli.prometheus,
            PROMETHEUS_LISTEN,
        )?;
        let definitions = &mut management.settings.load_definitions;
        *definitions = definitions.take().or(file.load_definitions);
        if amqp.listen.is_empty() && mqtt.listen.is_empty() {
            bail!("nothing to listen on: amqp.listen and mqtt.listen are both empty");
        }
        check_limits(&file.limits)?;
        let (data_dir, storage) = storage(file.storage, cli.data_dir)?;
        Ok(Self {
            amqp,
            mqtt,
            management,
            prometheus,
            broker: file.broker,
            storage,
            memory: file.memory,
            limits: file.limits,
            log: file.log,
            data_dir,
            ready_file: cli.ready_file,
            config_file: cli.config,
        })
    }
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path)?;
    Ok(toml::from_str(&text)?)
}

fn check_limits(limits: &Limits) -> anyhow::Result<()> {
    const GRACE_MAX_MS: u64 = 3_600_000;
    if limits.connections_max == 0 {
        bail!("limits.connections_max must be at least 1");
    }
    if limits.shutdown_grace_ms > GRACE_MAX_MS {
        bail!("limits.shutdown_grace_ms must be at most {GRACE_MAX_MS}");
    }
    Ok(())
}

/// Where data is kept: as a flag says, else the file, else the state directory of the service that this is, else here.
fn storage(
    mut section: toml::Table,
    flag: Option<PathBuf>,
) -> anyhow::Result<(PathBuf, StorageConfig)> {
    let in_file = section.remove("data_dir").map(toml::Value::try_into);
    let in_file: Option<PathBuf> = in_file.transpose().context("storage.data_dir")?;
    let data_dir = flag
        .or(in_file)
        .or_else(|| std::env::var_os("STATE_DIRECTORY").map(PathBuf::from))
        .unwrap_or_else(|| DATA_DIR.into());
    let settings: StorageConfig = section.try_into().context("section [storage]")?;
    if settings.disk_free_min_bytes > settings.disk_free_low_bytes {
        bail!("storage.disk_free_min_bytes must not be above storage.disk_free_low_bytes");
    }
    Ok((data_dir, settings))
}

fn protocol<T: DeserializeOwned>(
    name: &str,
    mut section: toml::Table,
    flags: Vec<String>,
    default: &str,
) -> anyhow::Result<Protocol<T>> {
    let listen = match section.remove("listen") {
        _ if !flags.is_empty() => flags,
        Some(listen) => listen
            .try_into()
            .with_context(|| format!("{name}.listen"))?,
        None => vec![default.to_owned()],
    };
    if listen.len() > LISTENERS_MAX {
        bail!("{name}.listen has more than {LISTENERS_MAX} addresses");
    }
    let listen = listen
        .iter()
        .map(|addr| resolve(name, addr))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let settings = section
        .try_into()
        .with_context(|| format!("section [{name}]"))?;
    Ok(Protocol {
        listen: listen.concat(),
        settings,
    })
}

/// All addresses a listen entry stands for: a host name may have several, unless the port is left to the system.
fn resolve(protocol: &str, addr: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let wrong =
        || format!("{protocol}: {addr:?} is no address to listen on, such as 127.0.0.1:5672");
    let mut all: Vec<_> = addr.to_socket_addrs().with_context(wrong)?.collect();
    if all.is_empty() {
        bail!(wrong());
    }
    if all[0].port() == 0 {
        all.truncate(1);
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
