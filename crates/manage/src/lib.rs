//! TernMQ's management API: what RabbitMQ's tools ask over HTTP, answered in the same words.
//!
//! It knows HTTP, JSON and RabbitMQ's names for things. It decides nothing: rights are checked and objects are changed
//! by the broker, and a change is answered once its record is durable. It has no socket and no task: a connection is a
//! [`ternmq_net::machine::Machine`] like that of any other protocol.
//!
//! | what | where |
//! |---|---|
//! | a connection, from bytes to a router | `machine.rs`, `pipe.rs`, `listener.rs`, `aside.rs` |
//! | which path is answered by whom | `router.rs` |
//! | who asks, and what they may | `auth.rs` |
//! | whether an answer in JSON is wanted | `accept.rs` |
//! | reading requests, writing answers and faults | `request.rs`, `reply.rs`, `fault.rs` |
//! | lists: pages, order, columns | `listing` |
//! | AMQP's values as JSON and back | `table.rs`, `properties.rs` |
//! | one kind of object each | `resources` |
//! | all objects as one document | `definitions` |
//! | counters over time | `rates` |
//! | metrics for Prometheus over HTTP | `metrics.rs` |
//! | what RabbitMQ does not have | `extra`, `redrive` |
//!
//! Where to start: `router.rs`, then any file of `resources`.

pub mod aside;
pub mod config;
pub mod listener;
pub mod node;

mod accept;
mod auth;
mod definitions;
mod extra;
mod fault;
mod listing;
mod machine;
mod metrics;
mod pipe;
mod properties;
mod rates;
mod redrive;
mod reply;
mod request;
mod resources;
mod router;
mod table;
mod time;

use std::sync::Arc;
use std::task::Waker;

use axum::response::Response;
use parking_lot::Mutex;
use ternmq_broker::Broker;
use ternmq_broker::admin::{AdminRefusal, Changed};
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_mqtt::MqttAcceptor;
use ternmq_net::timers::Ticker;

pub use config::{ManageConfig, PrometheusConfig};
pub use definitions::{ImportError, Outcome, Report};
pub use listener::ManageAcceptor;
pub use node::{Certificate, Listening, NodeFacts};
pub use router::Api;

use aside::{Aside, Desk};
use rates::Sampler;
use redrive::Redrives;
use reply::Answer;

/// What all connections of the API share.
pub struct Manage {
    pub(crate) broker: Broker,
    pub(crate) config: ManageConfig,
    pub(crate) node: NodeFacts,
    pub(crate) sampler: Sampler,
    pub(crate) redrives: Redrives,
    pub(crate) desk: Arc<Desk>,
    outside: Mutex<Outside>,
    wakers: Mutex<Option<Waker>>,
}

/// What others know and the API shows.
#[derive(Default)]
struct Outside {
    listening: Arc<[Listening]>,
    certificates: Arc<[Certificate]>,
    mqtt: Option<Arc<MqttAcceptor>>,
}

impl Manage {
    /// An API for a broker on a node, whose work is done `aside`. A broker without an identity gets one.
    pub fn new(broker: Broker, config: ManageConfig, node: NodeFacts, aside: Aside) -> Arc<Self> {
        let manage = Self {
            sampler: Sampler::new(&config, node.data_dir.clone()),
            redrives: Redrives::default(),
            desk: Arc::new(Desk::new(aside)),
            broker,
            config,
            node,
            outside: Mutex::default(),
            wakers: Mutex::default(),
        };
        resources::parameters::identify_cluster(&manage);
        Arc::new(manage)
    }

    /// Where the node listens, once that is known.
    pub fn set_listening(&self, listening: Vec<Listening>) {
        self.outside.lock().listening = listening.into();
    }

    /// The certificates that are in use now.
    pub fn set_certificates(&self, certificates: Vec<Certificate>) {
        self.outside.lock().certificates = certificates.into();
    }

    /// Who keeps MQTT sessions, to show them.
    pub fn set_mqtt(&self, mqtt: Arc<MqttAcceptor>) {
        self.outside.lock().mqtt = Some(mqtt);
    }

    pub(crate) fn mqtt(&self) -> Option<Arc<MqttAcceptor>> {
        self.outside.lock().mqtt.clone()
    }

    pub(crate) fn listening(&self) -> Arc<[Listening]> {
        self.outside.lock().listening.clone()
    }

    pub(crate) fn certificates(&self) -> Arc<[Certificate]> {
        self.outside.lock().certificates.clone()
    }

    /// The version that is announced.
    pub(crate) fn version(&self) -> Box<str> {
        self.broker.announced().version.clone()
    }

    /// There is something to do earlier than before.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.wakers.lock() {
            waker.wake_by_ref();
        }
    }

    /// Waits until a record is durable, so that nobody hears of a change that could be lost.
    pub(crate) async fn durable(&self, lsn: Lsn) {
        self.broker.committed_when(lsn).await;
    }

    /// What setting an object answers once it is durable: 201 for what is new, 204 otherwise.
    pub(crate) async fn set(&self, changed: Changed) -> Response {
        self.durable(changed.lsn).await;
        reply::put(changed.created)
    }

    /// What any other change of an object answers once it is durable.
    pub(crate) async fn done(&self, changed: Changed) -> Response {
        self.durable(changed.lsn).await;
        reply::done()
    }

    /// The same for what need not be there any more.
    pub(crate) async fn gone(&self, changed: Result<Changed, AdminRefusal>) -> Answer {
        match changed {
            Ok(changed) => Ok(self.done(changed).await),
            Err(AdminRefusal::NotFound) => Ok(reply::done()),
            Err(refusal) => Err(refusal.into()),
        }
    }
}

/// What is done now and then: looking at counters, sending dead letters back.
impl Ticker for Manage {
    fn next_deadline(&self) -> Option<Timestamp> {
        let redrive = self.redrives.due_at();
        let sample = self.sampler.due_at();
        Some(redrive.map_or(sample, |at| at.min(sample)))
    }

    fn wake_on_earlier_deadline(&self, waker: &Waker) {
        let mut kept = self.wakers.lock();
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }

    fn tick(&self, now: Timestamp) {
        if self.sampler.due_at() <= now {
            self.desk
                .work_alone(|| self.sampler.sample(&self.broker, now));
        }
        self.redrives.run(&self.broker, now);
    }
}
