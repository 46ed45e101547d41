//! Where protocols are spoken, and what comes before them.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ternmq_net::tls::TlsSettings;
use ternmq_net::websocket::WebSocketConfig;

use super::effective::object;

/// Most listeners of one key.
pub(super) const LISTENERS_MAX: usize = 64;

/// A protocol's section, and where it is spoken if nobody says.
#[derive(Clone, Copy)]
pub(super) struct Spoken {
    pub(super) section: &'static str,
    pub(super) listen: &'static str,
    /// Where it is spoken with TLS once there is a certificate, if nobody says.
    pub(super) tls_port: Option<u16>,
}

pub(super) const AMQP: Spoken = Spoken {
    section: "amqp",
    listen: "0.0.0.0:5672",
    tls_port: Some(5671),
};

pub(super) const MQTT: Spoken = Spoken {
    section: "mqtt",
    listen: "0.0.0.0:1883",
    tls_port: Some(8883),
};

pub(super) const MANAGEMENT: Spoken = Spoken {
    section: "management",
    listen: "0.0.0.0:15672",
    tls_port: Some(15_671),
};

pub(super) const PROMETHEUS: Spoken = Spoken {
    section: "prometheus",
    listen: "0.0.0.0:15692",
    tls_port: None,
};

/// The port of MQTT over WebSocket.
const WEBSOCKET_PORT: u16 = 15_675;
/// The same with TLS.
const WEBSOCKET_TLS_PORT: u16 = 15_676;

/// Paths that lead to MQTT: RabbitMQ's, and the one most other brokers have.
const WEBSOCKET_PATHS: [&str; 2] = ["/ws", "/mqtt"];

/// Payload of one WebSocket frame at most.
const WEBSOCKET_FRAME_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A protocol's section: where it is spoken, and its adapter's settings.
#[derive(Debug)]
#[allow(clippy::struct_field_names, reason = "PROXY protocol is a name")]
pub(crate) struct Protocol<T> {
    /// Empty: not spoken at all, or with TLS only.
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) tls_listen: Vec<SocketAddr>,
    /// Whether connections to all of these begin with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    pub(crate) tls: TlsSettings,
    pub(crate) settings: T,
}

/// MQTT over WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    pub(crate) listen: Vec<SocketAddr>,
    /// Whether somebody asked for these, rather than got them by default.
    pub(crate) is_asked_for: bool,
    pub(crate) tls_listen: Vec<SocketAddr>,
    pub(crate) config: WebSocketConfig,
}

/// The keys of a protocol's section that are not its adapter's.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct ListenerKeys {
    listen: Option<Vec<String>>,
    tls_listen: Option<Vec<String>>,
    proxy_protocol: bool,
    tls: toml::Table,
}

/// The keys of `[mqtt]` about WebSocket.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_field_names, reason = "named as in the file")]
pub(super) struct WebSocketKeys {
    websocket_listen: Option<Vec<String>>,
    websocket_tls_listen: Option<Vec<String>>,
    websocket_paths: Option<Vec<String>>,
    websocket_origins: Vec<String>,
    websocket_frame_bytes_max: Option<u64>,
}

/// Takes keys out of a section that are not its adapter's.
fn take<K: Default + Serialize + DeserializeOwned>(
    section: &mut toml::Table,
    name: &str,
) -> anyhow::Result<K> {
    let mut taken = toml::Table::new();
    for (key, _) in object(&K::default()) {
        if let Some(value) = section.remove(&key) {
            taken.insert(key, value);
        }
    }
    taken
        .try_into()
        .with_context(|| format!("section [{name}]"))
}

/// Reads a protocol's section. `flags` are addresses of the command line, which override those of the file; `tls` is the
/// section `[tls]`, which the protocol's own overrides key by key.
pub(super) fn protocol<T: DeserializeOwned>(
    spoken: Spoken,
    mut section: toml::Table,
    flags: Vec<String>,
    tls: &toml::Table,
) -> anyhow::Result<Protocol<T>> {
    let name = spoken.section;
    let keys: ListenerKeys = take(&mut section, name)?;
    let listen = match keys.listen {
        _ if !flags.is_empty() => flags,
        Some(listen) => listen,
        None => vec![spoken.listen.to_owned()],
    };
    let listen = addresses(name, "listen", &listen)?;
    let mut all = tls.clone();
    all.extend(keys.tls);
    let tls: TlsSettings = all
        .try_into()
        .with_context(|| format!("section [{name}.tls]"))?;
    let by_default = spoken.tls_port.filter(|_| tls.is_configured());
    let tls_listen = match (keys.tls_listen, by_default) {
        (Some(tls_listen), _) => addresses(name, "tls_listen", &tls_listen)?,
        (None, Some(port)) => at_port(&listen, port),
        (None, None) => Vec::new(),
    };
    if !tls_listen.is_empty() && !tls.is_configured() {
        bail!("{name}.tls_listen: there is no tls.certfile");
    }
    let settings = section
        .try_into()
        .with_context(|| format!("section [{name}]"))?;
    Ok(Protocol {
        listen,
        tls_listen,
        proxy_protocol: keys.proxy_protocol,
        tls,
        settings,
    })
}

impl WebSocket {
    /// Keys and values of the section.
    pub(super) fn effective(&self) -> Map<String, Value> {
        object(&WebSocketKeys {
            websocket_listen: Some(texts(&self.listen)),
            websocket_tls_listen: Some(texts(&self.tls_listen)),
            websocket_paths: Some(self.config.paths.clone()),
            websocket_origins: self.config.origins.clone(),
            websocket_frame_bytes_max: Some(self.config.frame_bytes_max),
        })
    }
}

impl WebSocketKeys {
    /// Takes these keys out of the section of the protocol that is spoken over WebSocket. `flags` are addresses of the
    /// command line.
    pub(super) fn take(section: &mut toml::Table, flags: Vec<String>) -> anyhow::Result<Self> {
        let mut keys: Self = take(section, MQTT.section)?;
        if !flags.is_empty() {
            keys.websocket_listen = Some(flags);
        }
        Ok(keys)
    }

    /// What they mean beside the protocol's own listeners and certificates.
    pub(super) fn resolve(
        self,
        listen: &[SocketAddr],
        tls: &TlsSettings,
    ) -> anyhow::Result<WebSocket> {
        let resolve = |key, texts: &[String]| addresses(MQTT.section, key, texts);
        let is_asked_for = self.websocket_listen.is_some();
        let websocket_listen = match &self.websocket_listen {
            Some(texts) => resolve("websocket_listen", texts)?,
            None => at_port(listen, WEBSOCKET_PORT),
        };
        let tls_listen = match &self.websocket_tls_listen {
            Some(texts) => resolve("websocket_tls_listen", texts)?,
            None if tls.is_configured() => at_port(&websocket_listen, WEBSOCKET_TLS_PORT),
            None => Vec::new(),
        };
        if !tls_listen.is_empty() && !tls.is_configured() {
            bail!("mqtt.websocket_tls_listen: there is no tls.certfile");
        }
        let paths = self
            .websocket_paths
            .unwrap_or_else(|| WEBSOCKET_PATHS.map(str::to_owned).into());
        if let Some(path) = paths.iter().find(|path| !path.starts_with('/')) {
            bail!("mqtt.websocket_paths: {path:?} does not begin with a slash");
        }
        let frame_bytes_max = self.websocket_frame_bytes_max;
        Ok(WebSocket {
            listen: websocket_listen,
            is_asked_for,
            tls_listen,
            config: WebSocketConfig {
                paths,
                subprotocols: vec!["mqtt", "mqttv3.1"],
                origins: self.websocket_origins,
                frame_bytes_max: frame_bytes_max.unwrap_or(WEBSOCKET_FRAME_BYTES_MAX),
            },
        })
    }
}

impl<T> Protocol<T> {
    /// Whether it is spoken nowhere.
    pub(super) fn is_silent(&self) -> bool {
        self.listen.is_empty() && self.tls_listen.is_empty()
    }
}

impl<T: Serialize> Protocol<T> {
    /// Keys and values of the section.
    pub(super) fn effective(&self) -> Map<String, Value> {
        let mut all = object(&ListenerKeys {
            listen: Some(texts(&self.listen)),
            tls_listen: Some(texts(&self.tls_listen)),
            proxy_protocol: self.proxy_protocol,
            tls: toml::Table::new(),
        });
        all.insert("tls".into(), object(&self.tls).into());
        all.extend(object(&self.settings));
        all
    }
}

fn texts(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

/// The same addresses at another port, each once. Where the system chooses a port it chooses this one too.
fn at_port(listen: &[SocketAddr], port: u16) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for addr in listen {
        let port = if addr.port() == 0 { 0 } else { port };
        let addr = SocketAddr::new(addr.ip(), port);
        if !all.contains(&addr) {
            all.push(addr);
        }
    }
    all
}

fn addresses(section: &str, key: &str, texts: &[String]) -> anyhow::Result<Vec<SocketAddr>> {
    if texts.len() > LISTENERS_MAX {
        bail!("{section}.{key} has more than {LISTENERS_MAX} addresses");
    }
    let resolved = texts.iter().map(|text| resolve(section, text));
    Ok(resolved.collect::<anyhow::Result<Vec<_>>>()?.concat())
}

/// All addresses a listen entry stands for: a host name may have several, unless the port is left to the system.
fn resolve(section: &str, text: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let wrong =
        || format!("{section}: {text:?} is no address to listen on, such as 127.0.0.1:5672");
    let mut all: Vec<_> = text.to_socket_addrs().with_context(wrong)?.collect();
    if all.is_empty() {
        bail!(wrong());
    }
    if all[0].port() == 0 {
        all.truncate(1);
    }
    Ok(all)
}
