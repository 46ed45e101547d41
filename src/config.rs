//! The configuration file and what the flags make of it.
//!
//! ```toml
//! [amqp]
//! listen = ["0.0.0.0:5672"]      # what listeners need, and every field of AmqpConfig
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
//! [tls]                          # every field of TlsSettings; so have [amqp.tls] and [mqtt.tls], which override it
//!
//! [auth]                         # every field of AuthConfig
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
//! Everything is optional. A key nobody knows is an error that names it and the one that was meant. The environment
//! overrides the file ([`environment`]), flags override both. A file named `*.conf` is in RabbitMQ's form ([`rabbitmq`]).

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use ternmq_amqp::config::AmqpConfig;
use ternmq_broker::{BrokerConfig, MemoryConfig, StorageConfig};
use ternmq_identity::AuthConfig;
use ternmq_manage::{ManageConfig, PrometheusConfig};
use ternmq_mqtt::config::MqttConfig;
use ternmq_net::limits::{
    HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, SHUTDOWN_GRACE, connections_max_default,
};
use ternmq_net::tls::{Alpn, TlsServer, TlsSettings};
use tracing::warn;

use crate::cli::Cli;
use crate::system;

mod effective;
mod environment;
mod keys;
mod listeners;
mod rabbitmq;

use listeners::WebSocketKeys;
pub(crate) use listeners::{Protocol, WebSocket};

const DATA_DIR: &str = "data";

/// Publishers pause when messages hold this share of the machine's memory, unless the configuration says otherwise.
const MEMORY_HIGH_PERCENT: u64 = 40;

/// Everything the process is told.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) amqp: Protocol<AmqpConfig>,
    pub(crate) mqtt: Protocol<MqttConfig>,
    pub(crate) websocket: WebSocket,
    pub(crate) management: Protocol<ManageConfig>,
    pub(crate) prometheus: Protocol<PrometheusConfig>,
    /// What the sections of protocols begin with.
    pub(crate) tls: TlsSettings,
    pub(crate) auth: AuthConfig,
    pub(crate) broker: BrokerConfig,
    pub(crate) storage: StorageConfig,
    pub(crate) memory: MemoryConfig,
    pub(crate) limits: Limits,
    pub(crate) log: Log,
    pub(crate) data_dir: PathBuf,
    pub(crate) ready_file: Option<PathBuf>,
    /// The file this was read from.
    pub(crate) source: Option<PathBuf>,
    /// What of the file has no effect.
    pub(crate) remarks: Vec<Remark>,
}

/// Something in the configuration file that has no effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Remark {
    file: PathBuf,
    line: usize,
    text: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}: {}",
            self.file.display(),
            self.line,
            self.text
        )
    }
}

/// The section `[limits]`: what bounds the process as a whole.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Connections at once, over all listeners; at least 1. Default: what the limit on open files allows, at most
    /// 100,000.
    pub(crate) connections_max: usize,
    /// How long connections may take to say goodbye when the process stops, in milliseconds; at most an hour.
    pub(crate) shutdown_grace_ms: u64,
    /// Time of a connection for the PROXY header, TLS and WebSocket, all together, in milliseconds; at least 1.
    pub(crate) handshake_timeout_ms: u64,
    /// Connections of one listener that are on their way through these at once; at least 1. Others wait to be accepted.
    pub(crate) handshakes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: connections_max_default(),
            shutdown_grace_ms: millis(SHUTDOWN_GRACE),
            handshake_timeout_ms: millis(HANDSHAKE_TIMEOUT),
            handshakes_max: HANDSHAKES_MAX,
        }
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The section `[log]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The file's sections. Those whose fields belong to other crates stay tables until the keys that do not are taken out.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    amqp: toml::Table,
    mqtt: toml::Table,
    management: toml::Table,
    prometheus: toml::Table,
    tls: toml::Table,
    auth: AuthConfig,
    broker: BrokerConfig,
    storage: toml::Table,
    memory: MemoryConfig,
    limits: Limits,
    log: Log,
    /// The same as in `[management]`.
    load_definitions: Option<PathBuf>,
}

impl Config {
    /// Reads the file the command line names, if it names one; lets the environment override it, and the other flags
    /// override both.
    pub(crate) fn load(cli: Cli) -> anyhow::Result<Self> {
        let Some(path) = cli.config.clone() else {
            return Self::compose(toml::Table::new(), std::env::vars_os(), cli);
        };
        let in_file = || format!("configuration file {}", path.display());
        let (table, remarks) = read(&path).with_context(in_file)?;
        let config = Self::compose(table, std::env::vars_os(), cli).with_context(in_file)?;
        Ok(Self { remarks, ..config })
    }

    /// Puts the sources together.
    fn compose(
        mut table: toml::Table,
        variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
        cli: Cli,
    ) -> anyhow::Result<Self> {
        let known = Self::build(File::default(), Cli::default())?.effective();
        environment::apply(&mut table, variables, &known)?;
        keys::check(&table, &known)?;
        let mut config = Self::build(table.try_into()?, cli)?;
        config.ask_machine();
        Ok(config)
    }

    fn build(mut file: File, cli: Cli) -> anyhow::Result<Self> {
        let amqp =
            listeners::protocol::<AmqpConfig>(listeners::AMQP, file.amqp, cli.amqp, &file.tls)?;
        let websocket = WebSocketKeys::take(&mut file.mqtt, cli.mqtt_websocket)?;
        let mut mqtt =
            listeners::protocol::<MqttConfig>(listeners::MQTT, file.mqtt, cli.mqtt, &file.tls)?;
        let websocket = websocket.resolve(&mqtt.listen, &mqtt.tls)?;
        mqtt.settings.anonymous |= cli.mqtt_anonymous;
        let mut management = listeners::protocol::<ManageConfig>(
            listeners::MANAGEMENT,
            file.management,
            cli.management,
            &file.tls,
        )?;
        let definitions = &mut management.settings.load_definitions;
        *definitions = definitions.take().or(file.load_definitions);
        let prometheus = listeners::protocol::<PrometheusConfig>(
            listeners::PROMETHEUS,
            file.prometheus,
            cli.prometheus,
            &file.tls,
        )?;
        let tls = file.tls.try_into().context("section [tls]")?;
        check_limits(&file.limits)?;
        let (data_dir, storage) = storage(file.storage, cli.data_dir)?;
        let config = Self {
            amqp,
            mqtt,
            websocket,
            management,
            prometheus,
            tls,
            auth: file.auth,
            broker: file.broker,
            storage,
            memory: file.memory,
            limits: file.limits,
            log: file.log,
            data_dir,
            ready_file: cli.ready_file,
            source: cli.config,
            remarks: Vec::new(),
        };
        if config.amqp.is_silent() && config.mqtt.is_silent() {
            bail!("nothing to listen on: amqp.listen and mqtt.listen are both empty");
        }
        Ok(config)
    }

    /// What depends on the machine, where nobody said.
    fn ask_machine(&mut self) {
        let share = |bytes: u64| bytes / 100 * MEMORY_HIGH_PERCENT;
        let memory_high = self.broker.memory_high_bytes;
        self.broker.memory_high_bytes = memory_high.or_else(|| system::memory_bytes().map(share));
        let cluster = self.broker.cluster_name.take();
        self.broker.cluster_name =
            cluster.or_else(|| Some(format!("rabbit@{}", system::host_name()?)));
    }

    /// What a protocol's listeners speak TLS with.
    pub(crate) fn tls_of(&self, section: &str) -> Option<&TlsSettings> {
        match section {
            "amqp" => Some(&self.amqp.tls),
            "mqtt" => Some(&self.mqtt.tls),
            "management" => Some(&self.management.tls),
            "prometheus" => Some(&self.prometheus.tls),
            _ => None,
        }
    }

    /// Tries whether the certificates of all sections can be used.
    pub(crate) fn check_certificates(&self) -> anyhow::Result<()> {
        for section in ["amqp", "mqtt", "management", "prometheus"] {
            let settings = self.tls_of(section).filter(|tls| tls.is_configured());
            if let Some(settings) = settings {
                TlsServer::load(settings.clone(), Alpn::None)
                    .with_context(|| format!("section [{section}.tls]"))?;
            }
        }
        Ok(())
    }

    /// Takes over what changes while the process runs.
    pub(crate) fn adopt(&mut self, new: Self) {
        self.limits.connections_max = new.limits.connections_max;
        self.limits.shutdown_grace_ms = new.limits.shutdown_grace_ms;
        self.log.level = new.log.level;
        self.tls = new.tls;
        self.amqp.tls = new.amqp.tls;
        self.mqtt.tls = new.mqtt.tls;
        self.management.tls = new.management.tls;
        self.prometheus.tls = new.prometheus.tls;
    }

    /// Says what of the file has no effect.
    pub(crate) fn log_remarks(&self) {
        for remark in &self.remarks {
            warn!("{remark}");
        }
    }
}

/// Reads a file: RabbitMQ's form if it is named like one of RabbitMQ's, else TOML.
fn read(path: &Path) -> anyhow::Result<(toml::Table, Vec<Remark>)> {
    let text = std::fs::read_to_string(path)?;
    if path.extension().is_none_or(|extension| extension != "conf") {
        return Ok((toml::from_str(&text)?, Vec::new()));
    }
    let (table, remarks) = rabbitmq::translate(&text, system::memory_bytes());
    let remarks = remarks.into_iter().map(|remark| Remark {
        file: path.to_owned(),
        line: remark.line,
        text: remark.text,
    });
    Ok((table, remarks.collect()))
}

fn check_limits(limits: &Limits) -> anyhow::Result<()> {
    const GRACE_MAX_MS: u64 = 3_600_000;
    let at_least_one = [
        ("connections_max", limits.connections_max as u64),
        ("handshake_timeout_ms", limits.handshake_timeout_ms),
        ("handshakes_max", limits.handshakes_max as u64),
    ];
    for (key, value) in at_least_one {
        if value == 0 {
            bail!("limits.{key} must be at least 1");
        }
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

#[cfg(test)]
mod tests;
