//! `$SYS` topics: how the node is, for MQTT clients, under the names that Mosquitto has given them.
//!
//! They are messages of an exchange of their own, [`EXCHANGE`], which only the node publishes to and only filters below
//! `$SYS/` are bound to: so nobody can forge them, and nobody else is woken by them. What a subscriber finds retained is
//! looked up here; the journal never sees any of it. Values are of the whole node, in every vhost alike.
//!
//! What is counted on the way of messages is collected per read or drain, and added to one of several sets of counters
//! then.

mod load;
mod traffic;

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use ternmq_broker::mailbox::Mailbox;
use ternmq_broker::{Broker, Turn};
use ternmq_core::error::Refusal;
use ternmq_core::id::Timestamp;
use ternmq_core::message::{Message, Properties as CoreProperties};
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::{ExchangeDecl, ExchangeKind};
use ternmq_core::value::Headers;

use crate::frame::{Publish, QoS};
use crate::listener::Node;
use crate::mapping::{self, Origin};
use crate::properties::Properties;
use crate::topic::{self, TopicFilter};
use load::Loads;
pub(crate) use traffic::Counted;
use traffic::Traffic;

/// Where they are published.
pub(crate) const EXCHANGE: &str = "mqtt.sys";

/// Values that were asked for less than so many milliseconds ago are not made again.
const FRESH_MS: u64 = 1_000;

/// See the module's documentation.
pub(crate) struct Sys {
    started_at: Timestamp,
    interval_ms: u64,
    traffic: Traffic,
    accepted: AtomicU64,
    connected: AtomicU64,
    connected_max: AtomicU64,
    connects: AtomicU64,
    expired: AtomicU64,
    subscriptions: AtomicU64,
    /// Those of these topics.
    subscriptions_here: AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// When they are published next.
    next_at: Timestamp,
    loads: Loads,
    /// The last values, and when they were made.
    values: Values,
    made_at: Option<Timestamp>,
}

/// Topics with their values, always the same topics in the same order.
type Values = Vec<(String, String)>;

impl Sys {
    pub(crate) fn new(interval_s: u32, now: Timestamp) -> Self {
        let interval_ms = u64::from(interval_s) * 1000;
        Self {
            started_at: now,
            interval_ms,
            traffic: Traffic::default(),
            accepted: AtomicU64::new(0),
            connected: AtomicU64::new(0),
            connected_max: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            subscriptions: AtomicU64::new(0),
            subscriptions_here: AtomicU64::new(0),
            state: Mutex::new(State {
                next_at: now.plus_ms(interval_ms),
                loads: Loads::beginning_at(now),
                values: Values::new(),
                made_at: None,
            }),
        }
    }

    /// A transport was accepted.
    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// A client has its session.
    pub(crate) fn connected(&self) {
        self.connects.fetch_add(1, Ordering::Relaxed);
        let connected = self.connected.fetch_add(1, Ordering::Relaxed) + 1;
        self.connected_max.fetch_max(connected, Ordering::Relaxed);
    }

    /// It has left it.
    pub(crate) fn disconnected(&self) {
        self.connected.fetch_sub(1, Ordering::Relaxed);
    }

    /// A session's time was over.
    pub(crate) fn expired(&self) {
        self.expired.fetch_add(1, Ordering::Relaxed);
    }

    /// A session has one subscription more.
    pub(crate) fn subscribed(&self, filter: &str) {
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
        if is_here(filter) {
            self.subscriptions_here.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A session has one subscription less.
    pub(crate) fn unsubscribed(&self, filter: &str) {
        self.subscriptions.fetch_sub(1, Ordering::Relaxed);
        if is_here(filter) {
            self.subscriptions_here.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A client that has no session yet sent a packet.
    pub(crate) fn greeted(&self, bytes: usize) {
        let mut counted = Counted {
            packets_received: 1,
            ..Counted::default()
        };
        self.count(&mut counted, bytes, 0);
    }

    /// It was answered.
    pub(crate) fn welcomed(&self, bytes: usize) {
        let mut counted = Counted {
            packets_sent: 1,
            ..Counted::default()
        };
        self.count(&mut counted, 0, bytes);
    }

    /// Adds what a turn brought, which begins anew, with the bytes of it.
    pub(crate) fn count(&self, counted: &mut Counted, received: usize, sent: usize) {
        counted.bytes_received += received as u64;
        counted.bytes_sent += sent as u64;
        self.traffic.add(counted);
    }

    /// When [`tick`] is due.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        (self.interval_ms > 0).then(|| self.state.lock().next_at)
    }

    /// What a new subscription finds retained.
    pub(crate) fn retained(
        &self,
        node: &Node,
        filter: TopicFilter<'_>,
        now: Timestamp,
        out: &mut Vec<Message>,
    ) {
        if self.interval_ms == 0 {
            return;
        }
        let is_fresh = |state: &State| state.made_at.is_some_and(|at| now.since(at) < FRESH_MS);
        if !is_fresh(&self.state.lock()) {
            // Others are looked at for that, so without the lock.
            let values = self.values(node, now);
            let mut state = self.state.lock();
            (state.values, state.made_at) = (values, Some(now));
        }
        let state = self.state.lock();
        let matching = state
            .values
            .iter()
            .filter(|(topic, _)| filter.matches(topic));
        out.extend(matching.map(|(topic, text)| message(topic, text, now)));
    }

    fn values(&self, node: &Node, now: Timestamp) -> Values {
        let sum = self.traffic.sum();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let connected = of(&self.connected);
        let sessions = node.registry.vhosts();
        let total = sessions
            .iter()
            .map(|(_, vhost)| vhost.len() as u64)
            .sum::<u64>();
        let total = total.max(connected);
        let stored = node.broker.inspect().totals().holdings;
        let waiting = stored.ready + stored.assigned + stored.leased;
        let retained = node.broker.retained_count() as u64;
        let dropped = node.broker.totals().dropped;
        let numbers = [
            ("clients/active", connected),
            ("clients/connected", connected),
            ("clients/disconnected", total - connected),
            ("clients/inactive", total - connected),
            ("clients/expired", of(&self.expired)),
            ("clients/maximum", of(&self.connected_max)),
            ("clients/total", total),
            ("bytes/received", sum.bytes_received),
            ("bytes/sent", sum.bytes_sent),
            ("messages/received", sum.packets_received),
            ("messages/sent", sum.packets_sent),
            ("messages/stored", waiting + retained),
            ("publish/bytes/received", sum.payload_received),
            ("publish/bytes/sent", sum.payload_sent),
            ("publish/messages/dropped", dropped),
            ("publish/messages/received", sum.publishes_received),
            ("publish/messages/sent", sum.publishes_sent),
            ("retained messages/count", retained),
            (
                "store/messages/bytes",
                stored.ready_bytes + stored.in_flight_bytes,
            ),
            ("store/messages/count", waiting),
            ("subscriptions/count", of(&self.subscriptions)),
        ];
        let mut values: Values = numbers
            .into_iter()
            .map(|(name, number)| (below_broker(name), number.to_string()))
            .collect();
        self.state
            .lock()
            .loads
            .describe(|name, text| values.push((below_broker(name), text)));
        let uptime_s = now.since(self.started_at) / 1000;
        values.push((below_broker("uptime"), format!("{uptime_s} seconds")));
        let version = concat!("ternmq version ", env!("CARGO_PKG_VERSION"));
        values.push((below_broker("version"), version.into()));
        values
    }

    /// Takes the measure of the last interval. Returns what has changed since the last values, if anybody wants to know.
    fn advance(&self, node: &Node, now: Timestamp) -> Values {
        let measured = load::Measured {
            of: self.traffic.sum(),
            sockets: self.accepted.load(Ordering::Relaxed),
            connects: self.connects.load(Ordering::Relaxed),
            dropped: node.broker.totals().dropped,
        };
        {
            let mut state = self.state.lock();
            state.next_at = now.plus_ms(self.interval_ms);
            state.loads.advance(measured, now);
        }
        if self.subscriptions_here.load(Ordering::Relaxed) == 0 {
            return Values::new();
        }
        let values = self.values(node, now);
        let mut state = self.state.lock();
        let changed = values
            .iter()
            .enumerate()
            .filter(|(at, value)| state.values.get(*at) != Some(value));
        let changed = changed.map(|(_, value)| value.clone()).collect();
        (state.values, state.made_at) = (values, Some(now));
        changed
    }
}

/// Publishes what has changed, in the vhosts where there are sessions. Called when it is due.
pub(crate) fn tick(node: &Node, now: Timestamp) {
    if node.sys.next_deadline().is_none_or(|due| now < due) {
        return;
    }
    let changed = node.sys.advance(node, now);
    if changed.is_empty() {
        return;
    }
    for (vhost, _) in node.registry.vhosts() {
        publish(node, &vhost, &changed, now);
    }
}

fn publish(node: &Node, vhost: &str, values: &Values, now: Timestamp) {
    let Ok(mut client) = own_client(&node.broker, vhost) else {
        // It was deleted meanwhile.
        return;
    };
    let mut turn = Turn::new();
    for (topic, text) in values {
        let request = RouteRequest {
            exchange: EXCHANGE.as_bytes(),
            routing_key: topic.as_bytes(),
            key_syntax: KeySyntax::Slashed,
            extra_keys: &[],
            headers: &Headers::new,
            properties: &CoreProperties::default,
            publisher: None,
            // The exchange is internal.
            from_client: false,
        };
        match client.route(&request) {
            Ok(route) if !route.is_empty() => {
                turn.push(message(topic, text, now), route);
            }
            Ok(_) => {}
            // Nobody has subscribed here yet.
            Err(_) => return,
        }
    }
    client.publish(&mut turn, now);
}

/// Declares the exchange, in the node's own name.
pub(crate) fn declare_exchange(broker: &Broker, vhost: &str) -> Result<(), Refusal> {
    let mut client = own_client(broker, vhost)?;
    client.declare_exchange(ExchangeDecl {
        name: EXCHANGE.into(),
        kind: ExchangeKind::Topic,
        durable: true,
        auto_delete: false,
        internal: true,
        arguments: Headers::new(),
        declared_by: Box::default(),
    })?;
    Ok(())
}

fn own_client(broker: &Broker, vhost: &str) -> Result<ternmq_broker::Client, Refusal> {
    let user = broker.system_user();
    broker
        .operate(&user, vhost, Mailbox::new(1))
        .map_err(|error| {
            tracing::debug!(%error, vhost, "no vhost for $SYS topics");
            Refusal::ShuttingDown
        })
}

/// QoS 0, so that nothing is kept for those who are away.
fn message(topic: &str, text: &str, now: Timestamp) -> Message {
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: true,
        topic,
        packet_id: None,
        topic_alias: None,
        message_expiry_s: None,
        properties: Properties::EMPTY,
        payload: text.as_bytes(),
    };
    let origin = Origin {
        exchange: EXCHANGE.as_bytes(),
        received_at: now,
        publisher: None,
    };
    mapping::to_core(&publish, topic, origin, &mut Vec::new()).build(&mut Vec::new())
}

fn below_broker(name: &str) -> String {
    format!("{}broker/{name}", topic::SYS_PREFIX)
}

fn is_here(filter: &str) -> bool {
    TopicFilter::parse(filter).is_ok_and(|filter| topic::is_of_server(filter.filter()))
}
