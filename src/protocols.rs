//! Which adapter listens where.

use std::net::SocketAddr;
use std::sync::Arc;

use ternmq_amqp::listener::AmqpAcceptor;
use ternmq_broker::Broker;
use ternmq_manage::{Listening, Manage, ManageAcceptor};
use ternmq_mqtt::listener::MqttAcceptor;
use ternmq_net::machine::Acceptor;
use ternmq_net::server::Server;

use crate::config::Config;

/// Opens every listener. Returns what is spoken where; with port 0 the system chose.
pub(crate) fn listen(
    config: &Config,
    broker: &Broker,
    manage: &Arc<Manage>,
    server: &mut Server,
) -> anyhow::Result<Vec<(&'static str, SocketAddr)>> {
    let amqp = AmqpAcceptor::new(config.amqp.settings.clone(), broker.clone())?;
    let mqtt = Arc::new(MqttAcceptor::new(
        config.mqtt.settings.clone(),
        broker.clone(),
    ));
    server.tick(mqtt.clone());
    manage.set_mqtt(mqtt.clone());
    let http = ManageAcceptor::new(manage);
    let metrics = ManageAcceptor::metrics(manage, &config.prometheus.settings);
    let spoken: [(Arc<dyn Acceptor>, &[SocketAddr]); 4] = [
        (Arc::new(amqp), &config.amqp.listen),
        (mqtt, &config.mqtt.listen),
        (Arc::new(http), &config.management.listen),
        (Arc::new(metrics), &config.prometheus.listen),
    ];
    let mut listening = Vec::new();
    for (acceptor, addrs) in spoken {
        for addr in addrs {
            listening.push((
                acceptor.protocol(),
                server.listen(Arc::clone(&acceptor), *addr)?,
            ));
        }
    }
    let shown = listening.iter().map(|(protocol, addr)| Listening {
        protocol,
        addr: *addr,
        tls: false,
    });
    manage.set_listening(shown.collect());
    Ok(listening)
}
