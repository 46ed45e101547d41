//! Which adapter listens where.

use std::net::SocketAddr;
use std::sync::Arc;

use ternmq_amqp::listener::AmqpAcceptor;
use ternmq_broker::Broker;
use ternmq_manage::{Listening as Shown, Manage, ManageAcceptor};
use ternmq_mqtt::listener::MqttAcceptor;
use ternmq_net::entrance::Entrance;
use ternmq_net::machine::Acceptor;
use ternmq_net::server::Server;
use ternmq_net::tls::{Alpn, TlsServer};
use tracing::warn;

use crate::config::{Config, Protocol};
use crate::tls::Certificates;

/// What is spoken where.
pub(crate) type Listening = Vec<(&'static str, SocketAddr)>;

/// Opens every listener. Returns what is spoken where, in RabbitMQ's words; with port 0 the system chose.
pub(crate) fn listen(
    config: &Config,
    broker: &Broker,
    manage: &Arc<Manage>,
    certificates: &mut Certificates,
    server: &mut Server,
) -> anyhow::Result<Listening> {
    let amqp = AmqpAcceptor::new(config.amqp.settings.clone(), broker.clone())?;
    let mqtt = Arc::new(MqttAcceptor::new(
        config.mqtt.settings.clone(),
        broker.clone(),
    ));
    server.tick(mqtt.clone());
    manage.set_mqtt(mqtt.clone());
    let mqtt: Arc<dyn Acceptor> = mqtt;
    let http = ManageAcceptor::new(manage);
    let metrics = ManageAcceptor::metrics(manage, &config.prometheus.settings);
    let mut doors = Doors {
        server,
        certificates,
        listening: Vec::new(),
    };
    let names = ["amqp", "amqp/ssl"];
    doors.open("amqp", names, &(Arc::new(amqp) as _), &config.amqp)?;
    let names = ["mqtt", "mqtt/ssl"];
    let tls = doors.open("mqtt", names, &mqtt, &config.mqtt)?;
    doors.open_websocket(config, &mqtt, tls)?;
    let names = ["http", "https"];
    doors.open(
        "management",
        names,
        &(Arc::new(http) as _),
        &config.management,
    )?;
    let names = ["http/prometheus", "https/prometheus"];
    doors.open(
        "prometheus",
        names,
        &(Arc::new(metrics) as _),
        &config.prometheus,
    )?;
    let listening = doors.listening;
    manage.set_listening(listening.iter().map(shown).collect());
    Ok(listening)
}

/// A listener in the words of the management API.
fn shown((protocol, addr): &(&'static str, SocketAddr)) -> Shown {
    Shown {
        protocol,
        addr: *addr,
        tls: protocol.ends_with("/ssl") || protocol.starts_with("https"),
    }
}

/// Opens listeners.
struct Doors<'a> {
    server: &'a mut Server,
    certificates: &'a mut Certificates,
    listening: Listening,
}

impl Doors<'_> {
    /// Opens a protocol's listeners, plain and with TLS. Returns what the latter speak TLS with.
    fn open<T>(
        &mut self,
        section: &'static str,
        [plain, secure]: [&'static str; 2],
        acceptor: &Arc<dyn Acceptor>,
        protocol: &Protocol<T>,
    ) -> anyhow::Result<Option<Arc<TlsServer>>> {
        let entrance = Entrance {
            proxy_protocol: protocol.proxy_protocol,
            ..Entrance::default()
        };
        self.open_all(plain, &entrance, acceptor, &protocol.listen)?;
        if !protocol.tls.is_configured() {
            return Ok(None);
        }
        let tls = self.certificates.load(section, &protocol.tls, Alpn::None)?;
        let entrance = Entrance {
            tls: Some(Arc::clone(&tls)),
            ..entrance
        };
        self.open_all(secure, &entrance, acceptor, &protocol.tls_listen)?;
        Ok(Some(tls))
    }

    fn open_websocket(
        &mut self,
        config: &Config,
        acceptor: &Arc<dyn Acceptor>,
        tls: Option<Arc<TlsServer>>,
    ) -> anyhow::Result<()> {
        let websocket = &config.websocket;
        let entrance = Entrance {
            proxy_protocol: config.mqtt.proxy_protocol,
            tls: None,
            websocket: Some(Arc::new(websocket.config.clone())),
        };
        let opened = self.open_all("http/web-mqtt", &entrance, acceptor, &websocket.listen);
        match opened {
            Err(error) if !websocket.is_asked_for => {
                warn!(%error, "MQTT over WebSocket is not spoken");
            }
            opened => opened?,
        }
        let entrance = Entrance { tls, ..entrance };
        self.open_all("https/web-mqtt", &entrance, acceptor, &websocket.tls_listen)
    }

    fn open_all(
        &mut self,
        name: &'static str,
        entrance: &Entrance,
        acceptor: &Arc<dyn Acceptor>,
        addrs: &[SocketAddr],
    ) -> anyhow::Result<()> {
        for addr in addrs {
            let (entrance, acceptor) = (entrance.clone(), Arc::clone(acceptor));
            let bound = self.server.listen_through(entrance, acceptor, *addr)?;
            self.listening.push((name, bound));
        }
        Ok(())
    }
}
