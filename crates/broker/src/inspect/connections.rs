//! Connections: what they are, kept from the moment they are let into a vhost until they go.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;
use ternmq_core::id::{ConnectionId, Timestamp};
use ternmq_core::value::Headers;

use super::channels::ChannelStats;
use super::{Count, Gauge, Inspect, Octets};
use crate::broker::Broker;
use crate::client::Client;
use crate::mailbox::{CloseReason, Mailbox, Notice};
use crate::metrics::{ChurnCounters, count};
use crate::users::User;
use crate::vhost::Vhost;

/// What a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Protocol {
    /// AMQP 0-9-1.
    Amqp091,
    /// MQTT 3.1.
    Mqtt310,
    /// MQTT 3.1.1.
    Mqtt311,
    /// MQTT 5.0.
    Mqtt50,
    /// The management interface, and whoever says nothing.
    #[default]
    Http,
}

impl Protocol {
    /// How many there are.
    pub const COUNT: usize = 5;

    /// All of them, in the order of [`Self::index`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::Amqp091,
        Self::Mqtt310,
        Self::Mqtt311,
        Self::Mqtt50,
        Self::Http,
    ];

    /// Its number, from 0 on.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// As lists of connections have it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Amqp091 => "AMQP 0-9-1",
            Self::Mqtt310 => "MQTT 3-1-0",
            Self::Mqtt311 => "MQTT 3-1-1",
            Self::Mqtt50 => "MQTT 5-0",
            Self::Http => "HTTP",
        }
    }

    /// As a metric's label has it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Amqp091 => "amqp091",
            Self::Mqtt310 => "mqtt310",
            Self::Mqtt311 => "mqtt311",
            Self::Mqtt50 => "mqtt50",
            Self::Http => "http",
        }
    }
}

/// What is known of an MQTT client beyond that it is one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MqttInfo {
    /// Client identifier.
    pub client_id: Box<str>,
    /// Whether it began without an earlier session's state.
    pub clean_start: bool,
    /// Seconds its session is kept behind the connection; `u32::MAX` for ever.
    pub session_expiry_s: u32,
    /// Whether it left a will.
    pub has_will: bool,
}

/// What was agreed on about encryption, in the words of RabbitMQ's management API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TlsSuite {
    /// `tlsv1.2` or `tlsv1.3`.
    pub version: &'static str,
    /// `ecdhe_rsa`, `ecdhe_ecdsa`; `any` where the suite does not say (TLS 1.3).
    pub key_exchange: &'static str,
    /// `aes_256_gcm` and such.
    pub cipher: &'static str,
    /// How records are authenticated; always `aead`.
    pub hash: &'static str,
}

/// How a connection is encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsInfo {
    /// What was agreed on.
    pub suite: TlsSuite,
    /// What the client showed and the listener verified.
    pub certificate: Option<CertificateInfo>,
}

/// A client's certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateInfo {
    /// Whose it is, as RFC 4514 writes names.
    pub subject: Box<str>,
    /// Who issued it.
    pub issuer: Box<str>,
    /// From when until when it is valid.
    pub validity: Box<str>,
}

/// What an adapter knows of a connection once it is let in.
#[derive(Clone, PartialEq, Debug)]
pub struct ConnectionInfo {
    /// What it speaks.
    pub protocol: Protocol,
    /// The peer's address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// How it is encrypted, if it is.
    pub tls: Option<Arc<TlsInfo>>,
    /// How it proved who it is: `PLAIN` and the like.
    pub auth_mechanism: Box<str>,
    /// What the client says about itself.
    pub client_properties: Arc<Headers>,
    /// Largest frame in bytes, 0 where there is no such limit.
    pub frame_max: u32,
    /// Highest channel number, 0 where there are none.
    pub channel_max: u16,
    /// Seconds of silence that are allowed (heartbeat, keep alive); 0 for any.
    pub timeout_s: u16,
    /// When it was let in.
    pub connected_at: Timestamp,
    /// Of MQTT clients.
    pub mqtt: Option<Box<MqttInfo>>,
}

impl ConnectionInfo {
    /// Its name: peer and local address, as in `127.0.0.1:50000 -> 127.0.0.1:5672`.
    pub fn name(&self) -> String {
        Name(self).to_string()
    }

    /// The name that the client gave it.
    pub fn user_provided_name(&self) -> Option<&str> {
        self.client_properties.get("connection_name")?.as_str()
    }
}

struct Name<'a>(&'a ConnectionInfo);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An IPv4 address that came in over IPv6 is written as what it is.
        let plain = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        write!(f, "{} -> {}", plain(self.0.peer), plain(self.0.local))
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ConnectionState {
    /// It works.
    Running,
    /// It would be stopped if it published.
    Blocking,
    /// It published, and is not read from.
    Blocked,
    /// It is not read from until the disk has caught up.
    Flow,
    /// It says goodbye.
    Closing,
}

impl ConnectionState {
    const ALL: [Self; 5] = [
        Self::Running,
        Self::Blocking,
        Self::Blocked,
        Self::Flow,
        Self::Closing,
    ];

    /// The name that tools know.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Blocking => "blocking",
            Self::Blocked => "blocked",
            Self::Flow => "flow",
            Self::Closing => "closing",
        }
    }
}

/// A connection as others see it. Its adapter writes, anybody reads.
pub struct ConnectionStats {
    id: ConnectionId,
    info: ConnectionInfo,
    user: Arc<User>,
    vhost: Arc<Vhost>,
    mailbox: Arc<Mailbox>,
    state: AtomicU8,
    /// Messages it published.
    pub(crate) published: Count,
    /// Messages it was delivered.
    pub(crate) delivered: Count,
    /// Subscriptions of an MQTT session.
    pub subscriptions: Gauge,
    churn: Arc<ChurnCounters>,
    /// By number.
    channels: Mutex<Vec<Arc<ChannelStats>>>,
}

impl ConnectionStats {
    /// Its identity.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// What is known of it.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// The vhost it works in.
    pub fn vhost(&self) -> &str {
        &self.vhost.name
    }

    /// Who is logged in.
    pub fn user(&self) -> &str {
        self.user.name()
    }

    /// What its socket moved.
    pub fn octets(&self) -> &Octets {
        self.mailbox.octets()
    }

    /// What it is doing.
    pub fn state(&self) -> ConnectionState {
        let state = usize::from(self.state.load(Ordering::Relaxed));
        ConnectionState::ALL
            .get(state)
            .copied()
            .unwrap_or(ConnectionState::Closing)
    }

    /// Says what it is doing.
    pub fn set_state(&self, state: ConnectionState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// A channel was opened.
    pub fn open_channel(&self, number: u16) -> Arc<ChannelStats> {
        let channel = Arc::new(ChannelStats::new(number, self.info.connected_at));
        let mut channels = self.channels.lock();
        channels.push(Arc::clone(&channel));
        count(&self.churn.channels_opened);
        channel
    }

    /// A channel is gone.
    pub fn close_channel(&self, number: u16) {
        let mut channels = self.channels.lock();
        let before = channels.len();
        channels.retain(|channel| channel.number() != number);
        let closed = (before - channels.len()) as u64;
        self.churn
            .channels_closed
            .fetch_add(closed, Ordering::Relaxed);
        if channels.is_empty() {
            *channels = Vec::new();
        }
    }

    /// How many channels it has.
    pub fn channel_count(&self) -> usize {
        self.channels.lock().len()
    }

    /// Looks at each of its channels, in no order.
    pub fn each_channel(&self, mut each: impl FnMut(&ChannelStats)) {
        for channel in &*self.channels.lock() {
            each(channel);
        }
    }

    /// Its channels, by number.
    pub(super) fn channels(&self) -> Vec<Arc<ChannelStats>> {
        let mut channels = self.channels.lock().clone();
        channels.sort_unstable_by_key(|channel| channel.number());
        channels
    }
}

/// A connection at one moment.
#[derive(Clone, Debug)]
pub struct ConnectionSnapshot {
    /// Its identity.
    pub id: ConnectionId,
    /// Its name.
    pub name: Box<str>,
    /// Who is logged in.
    pub user: Box<str>,
    /// The vhost it works in.
    pub vhost: Box<str>,
    /// What its adapter said about it.
    pub info: ConnectionInfo,
    /// What it is doing.
    pub state: ConnectionState,
    /// How many channels it has.
    pub channels: u64,
    /// Messages published.
    pub published: u64,
    /// Messages delivered.
    pub delivered: u64,
    /// Subscriptions of an MQTT session.
    pub subscriptions: u64,
    /// Bytes read.
    pub received_bytes: u64,
    /// Bytes written.
    pub sent_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

impl ConnectionSnapshot {
    fn of(stats: &ConnectionStats) -> Self {
        let octets = stats.octets();
        Self {
            id: stats.id,
            name: stats.info.name().into(),
            user: stats.user().into(),
            vhost: stats.vhost().into(),
            info: stats.info.clone(),
            state: stats.state(),
            channels: stats.channel_count() as u64,
            published: stats.published.get(),
            delivered: stats.delivered.get(),
            subscriptions: stats.subscriptions.get(),
            received_bytes: octets.received_bytes.get(),
            sent_bytes: octets.sent_bytes.get(),
            reads: octets.reads.get(),
            writes: octets.writes.get(),
        }
    }
}

/// All connections that an adapter introduced.
#[derive(Default)]
pub(crate) struct Connections {
    by_id: DashMap<ConnectionId, Arc<ConnectionStats>>,
}

impl Connections {
    pub(crate) fn forget(&self, id: ConnectionId) {
        let Some((_, stats)) = self.by_id.remove(&id) else {
            return;
        };
        let open = std::mem::take(&mut *stats.channels.lock()).len() as u64;
        stats
            .churn
            .channels_closed
            .fetch_add(open, Ordering::Relaxed);
        count(&stats.churn.connections_closed);
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<Arc<ConnectionStats>> {
        self.by_id.get(&id).map(|stats| Arc::clone(&stats))
    }

    pub(super) fn for_each(&self, mut each: impl FnMut(&Arc<ConnectionStats>)) {
        for stats in &self.by_id {
            each(&stats);
        }
    }

    /// All of them, in the order in which they came.
    pub(super) fn all(&self) -> Vec<Arc<ConnectionStats>> {
        let mut all = Vec::with_capacity(self.by_id.len());
        self.for_each(|stats| all.push(Arc::clone(stats)));
        all.sort_unstable_by_key(|stats| stats.id);
        all
    }
}

impl Client {
    /// Makes the connection known to those who look at connections. What is returned is for its adapter to write to.
    pub fn introduce(&mut self, info: ConnectionInfo) -> Arc<ConnectionStats> {
        let stats = Arc::new(ConnectionStats {
            id: self.id,
            info,
            user: self.user.clone(),
            vhost: self.vhost.clone(),
            mailbox: self.mailbox.clone(),
            state: AtomicU8::new(ConnectionState::Running as u8),
            published: Count::default(),
            delivered: Count::default(),
            subscriptions: Gauge::default(),
            churn: self.broker.metrics.churn.clone(),
            channels: Mutex::default(),
        });
        self.counting.protocol = stats.info.protocol;
        self.counting.stats = Some(stats.clone());
        let known = &self.broker.connections.by_id;
        if known.insert(self.id, stats.clone()).is_none() {
            count(&stats.churn.connections_opened);
        }
        stats
    }
}

impl Broker {
    /// Asks one connection to close, for a reason that it is told. Returns whether it is there.
    pub fn close_connection(&self, id: ConnectionId, reason: &str) -> bool {
        let Some(stats) = self.0.connections.get(id) else {
            return false;
        };
        let reason = CloseReason::Administrative(reason.into());
        stats.mailbox.push(Notice::Close(reason));
        true
    }
}

impl Inspect<'_> {
    /// The connections of one vhost, or all, in the order in which they came.
    pub fn connections(self, vhost: Option<&str>) -> Vec<ConnectionSnapshot> {
        let all = self.0.connections.all();
        all.iter()
            .filter(|stats| vhost.is_none_or(|name| *name == *stats.vhost()))
            .map(|stats| ConnectionSnapshot::of(stats))
            .collect()
    }

    /// Looks at each connection, in no order, without a copy: for sums.
    pub fn each_connection(self, mut each: impl FnMut(&ConnectionStats)) {
        self.0.connections.for_each(|stats| each(stats));
    }

    /// One connection.
    pub fn connection(self, id: ConnectionId) -> Option<ConnectionSnapshot> {
        let stats = self.0.connections.get(id)?;
        Some(ConnectionSnapshot::of(&stats))
    }

    /// One connection, by its name.
    pub fn connection_named(self, name: &str) -> Option<ConnectionSnapshot> {
        let stats = self.stats_named(name)?;
        Some(ConnectionSnapshot::of(&stats))
    }

    pub(super) fn stats_named(self, name: &str) -> Option<Arc<ConnectionStats>> {
        let (peer, local) = name.split_once(" -> ")?;
        let (peer, local): (SocketAddr, SocketAddr) = (peer.parse().ok()?, local.parse().ok()?);
        let is = |a: SocketAddr, b: SocketAddr| {
            a.port() == b.port() && a.ip().to_canonical() == b.ip().to_canonical()
        };
        let all = &self.0.connections.by_id;
        all.iter()
            .find(|stats| is(stats.info.peer, peer) && is(stats.info.local, local))
            .map(|stats| Arc::clone(&stats))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bed::{START, broker, client};

    pub(in crate::inspect) fn info(peer_port: u16) -> ConnectionInfo {
        ConnectionInfo {
            protocol: Protocol::Amqp091,
            peer: SocketAddr::from(([127, 0, 0, 1], peer_port)),
            local: SocketAddr::from(([127, 0, 0, 1], 5672)),
            tls: None,
            auth_mechanism: "PLAIN".into(),
            client_properties: Arc::default(),
            frame_max: 131_072,
            channel_max: 2047,
            timeout_s: 60,
            connected_at: START,
            mqtt: None,
        }
    }

    #[test]
    fn connection_is_found_by_its_name_until_it_closes() {
        let broker = broker();
        let mut one = client(&broker);
        let mut other = client(&broker);
        one.introduce(info(5001));
        other.introduce(info(5002));
        let inspect = broker.inspect();
        let name = "127.0.0.1:5002 -> 127.0.0.1:5672";
        let found = inspect.connection_named(name).unwrap();
        assert_eq!((found.id, &*found.name), (other.id(), name));
        assert_eq!((&*found.user, &*found.vhost), ("guest", "/"));
        assert_eq!(found.state, ConnectionState::Running);
        assert!(inspect.connection_named("127.0.0.1:5002").is_none());
        assert_eq!(inspect.connections(Some("/")).len(), 2);
        assert!(inspect.connections(Some("other")).is_empty());
        other.close();
        assert!(inspect.connection_named(name).is_none());
        assert_eq!(inspect.connections(None).len(), 1);
    }

    #[test]
    fn address_of_a_mapped_peer_is_written_as_the_one_it_maps() {
        let mapped = "[::ffff:10.0.0.1]:7".parse().unwrap();
        let info = ConnectionInfo {
            peer: mapped,
            local: "[::1]:5672".parse().unwrap(),
            ..info(1)
        };
        assert_eq!(info.name(), "10.0.0.1:7 -> [::1]:5672");
    }

    #[test]
    fn connection_is_asked_to_close_for_the_reason_given() {
        let broker = broker();
        let mut client = client(&broker);
        assert!(!broker.close_connection(client.id(), "why"));
        client.introduce(info(5001));
        assert!(broker.close_connection(client.id(), "why"));
        let mut notices = Vec::new();
        client.mailbox().drain(&mut notices);
        let reason = CloseReason::Administrative("why".into());
        assert_eq!(notices, [Notice::Close(reason)]);
    }
}
