//! A broker in memory, a clock that stands still, and clients made of packets: no sockets, no tasks, no waiting.

use std::cell::{Ref, RefCell, RefMut};
use std::num::NonZeroU16;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use ternmq_broker::clock::{Clock as _, ManualClock};
use ternmq_broker::mailbox::Mailbox;
use ternmq_broker::{Broker, BrokerConfig, Client, UserConfig};
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::message::{FormatId, NewMessage, NoProperties, PropertyFormat};
use ternmq_core::record::Formats;
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::value::Headers;

use ternmq_broker::inspect::TlsSuite;
use ternmq_mqtt::codec::{self, Decoded, Limits, Sender};
use ternmq_mqtt::frame::{
    Ack, Auth, Connect, Disconnect, Packet, PacketId, PacketType, ProtocolVersion, Publish, QoS,
    Subscribe, SubscribeOptions, Unsubscribe, Will,
};
use ternmq_mqtt::frame::{SubscribeFilters, UnsubscribeFilters};
use ternmq_mqtt::properties::{Properties, Property, PropertyBuf};
use ternmq_mqtt::reason_code::ReasonCode;
use ternmq_mqtt::{MqttAcceptor, MqttConfig};
use ternmq_net::machine::{Acceptor, Flow, Machine, Output, Peer};
use ternmq_net::timers::Ticker;
use ternmq_net::tls::{ClientCertificate, TlsPeer};

use crate::log::TestLog;

pub(crate) use ProtocolVersion::{V5, V31, V311};

/// One node.
pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) broker: Broker,
    pub(crate) log: Arc<TestLog>,
    config: MqttConfig,
    broker_config: BrokerConfig,
    pub(crate) acceptor: MqttAcceptor,
    lines: Lines,
}

/// Users without passwords: hashing one takes longer than most of these tests.
pub(crate) fn nobody_logs_in() -> BrokerConfig {
    let user = UserConfig {
        password: String::new(),
        ..UserConfig::default()
    };
    BrokerConfig {
        users: vec![user],
        ..BrokerConfig::default()
    }
}

struct Forms;

impl Formats for Forms {
    fn format(&self, id: FormatId) -> Option<&'static dyn PropertyFormat> {
        match id {
            FormatId(0) => Some(&NoProperties),
            ternmq_mqtt::mapping::FORMAT_ID => Some(&ternmq_mqtt::mapping::FORMAT),
            _ => None,
        }
    }
}

/// All connections, for what needs the one to move before the other can.
type Lines = Rc<RefCell<Vec<Weak<RefCell<Line>>>>>;

impl World {
    pub(crate) fn new() -> Self {
        Self::with(MqttConfig::default())
    }

    /// As configured, but with anonymous login.
    pub(crate) fn with(config: MqttConfig) -> Self {
        let config = MqttConfig {
            anonymous: true,
            ..config
        };
        Self::on(config, &nobody_logs_in(), TestLog::new())
    }

    pub(crate) fn on(config: MqttConfig, broker: &BrokerConfig, log: TestLog) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
        let log = Arc::new(log);
        Self::start(config, broker, log, clock)
    }

    /// A node on a journal: what is in it is replayed.
    fn start(
        config: MqttConfig,
        broker_config: &BrokerConfig,
        log: Arc<TestLog>,
        clock: Arc<ManualClock>,
    ) -> Self {
        let broker = Broker::new(broker_config, clock.clone(), log.clone());
        for (lsn, record) in (1..).zip(log.records()) {
            broker.replay(Lsn(lsn), &record, &Forms).unwrap();
        }
        broker.finish_replay(clock.now());
        let acceptor = MqttAcceptor::new(config.clone(), broker.clone());
        Self {
            clock,
            broker,
            log,
            config,
            broker_config: broker_config.clone(),
            acceptor,
            lines: Lines::default(),
        }
    }

    /// The node dies, and another one starts from what was safe.
    pub(crate) fn crash(&self) -> Self {
        self.crash_with(self.log.safe())
    }

    /// The node dies, and another one starts from so many records.
    pub(crate) fn crash_with(&self, records: usize) -> Self {
        assert!(records >= self.log.safe(), "what is safe is not lost");
        let log = Arc::new(TestLog::of(&self.log.records()[..records]));
        let clock = Arc::new(ManualClock::new(self.clock.now()));
        Self::start(self.config.clone(), &self.broker_config, log, clock)
    }

    /// Time passes, and the broker does what is due.
    pub(crate) fn pass(&self, ms: u64) {
        let now = self.clock.advance_ms(ms);
        self.broker.tick(now);
        self.acceptor.tick(now);
    }

    /// A transport that has sent nothing yet.
    pub(crate) fn dial(&self) -> Device {
        self.dial_from("127.0.0.1:50000")
    }

    pub(crate) fn dial_from(&self, addr: &str) -> Device {
        self.dial_between(addr, "127.0.0.1:1883")
    }

    /// From where to where.
    pub(crate) fn dial_between(&self, addr: &str, local_addr: &str) -> Device {
        self.dial_as(Peer::tcp(
            addr.parse().unwrap(),
            local_addr.parse().unwrap(),
        ))
    }

    /// Over TLS, with a certificate.
    pub(crate) fn dial_with(&self, certificate: ClientCertificate) -> Device {
        let mut peer = Peer::tcp(
            "127.0.0.1:50000".parse().unwrap(),
            "127.0.0.1:8883".parse().unwrap(),
        );
        peer.tls = Some(Arc::new(TlsPeer {
            suite: TlsSuite {
                version: "tlsv1.3",
                key_exchange: "any",
                cipher: "aes_256_gcm",
                hash: "aead",
            },
            certificate: Some(certificate),
        }));
        self.dial_as(peer)
    }

    fn dial_as(&self, peer: Peer) -> Device {
        let mailbox = Mailbox::new(self.acceptor.token_max());
        let machine = self
            .acceptor
            .accept(peer, mailbox, self.clock.now())
            .unwrap();
        let line = Rc::new(RefCell::new(Line {
            machine,
            clock: self.clock.clone(),
            out: Output::new(),
            unconsumed: Vec::new(),
            is_held: false,
            received: Vec::new(),
            is_closed: false,
        }));
        self.lines.borrow_mut().push(Rc::downgrade(&line));
        Device {
            line,
            lines: Rc::clone(&self.lines),
            behind_connack: Vec::new(),
            version: V5,
        }
    }

    /// Connects and takes the CONNACK, which must be a success.
    pub(crate) fn connect(&self, hello: &Hello<'_>) -> Device {
        let mut device = self.dial();
        let mut received = device.greet(hello);
        if received.is_empty() {
            // It waits for the journal.
            self.log.commit();
            received = device.recv();
        }
        let connack = received.remove(0);
        assert!(connack.starts_with("CONNACK 00"), "{connack}");
        device.put_back(received);
        device
    }

    /// Connects cleanly, with MQTT 5.
    pub(crate) fn v5(&self, id: &str) -> Device {
        self.connect(&Hello::new(id))
    }

    /// Connects cleanly, with MQTT 3.1.1.
    pub(crate) fn v3(&self, id: &str) -> Device {
        self.connect(&Hello::new(id).version(V311))
    }

    /// A client of the broker itself, as other protocols have one.
    pub(crate) fn native(&self) -> Client {
        let user = self.broker.default_user();
        self.broker.connect(&user, "/", Mailbox::new(16)).unwrap()
    }

    /// Publishes as another protocol does, with a dotted key.
    pub(crate) fn publish_dotted(
        &self,
        key: &str,
        body: &[u8],
        change: impl FnOnce(&mut NewMessage<'_>),
    ) {
        let mut client = self.native();
        let request = RouteRequest {
            exchange: b"amq.topic",
            routing_key: key.as_bytes(),
            key_syntax: KeySyntax::Dotted,
            extra_keys: &[],
            headers: &Headers::new,
            properties: &ternmq_core::message::Properties::default,
            publisher: None,
            from_client: true,
        };
        let route = client.route(&request).unwrap();
        let mut parts = NewMessage::plain(b"amq.topic", key.as_bytes(), body);
        parts.received_at = self.clock.now();
        change(&mut parts);
        let mut turn = ternmq_broker::Turn::new();
        turn.push(parts.build(&mut Vec::new()), route);
        client.publish(&mut turn, self.clock.now());
    }
}

/// A CONNECT in the making.
#[derive(Clone)]
pub(crate) struct Hello<'a> {
    version: ProtocolVersion,
    id: &'a str,
    clean: bool,
    keep_alive_s: u16,
    user: Option<&'a str>,
    password: Option<&'a [u8]>,
    will: Option<(Will<'a>, PropertyBuf)>,
    properties: PropertyBuf,
}

impl<'a> Hello<'a> {
    /// MQTT 5, clean start, no keep alive.
    pub(crate) fn new(id: &'a str) -> Self {
        Self {
            version: V5,
            id,
            clean: true,
            keep_alive_s: 0,
            user: None,
            password: None,
            will: None,
            properties: PropertyBuf::new(),
        }
    }

    pub(crate) fn version(mut self, version: ProtocolVersion) -> Self {
        self.version = version;
        self
    }

    /// Goes on with a session: clean start 0.
    pub(crate) fn resume(mut self) -> Self {
        self.clean = false;
        self
    }

    pub(crate) fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive_s = seconds;
        self
    }

    pub(crate) fn login(mut self, user: &'a str, password: &'a [u8]) -> Self {
        (self.user, self.password) = (Some(user), Some(password));
        self
    }

    pub(crate) fn password(mut self, password: &'a [u8]) -> Self {
        self.password = Some(password);
        self
    }

    pub(crate) fn with(mut self, property: Property<'_>) -> Self {
        self.properties.push(property).unwrap();
        self
    }

    pub(crate) fn expiry(self, seconds: u32) -> Self {
        self.with(Property::SessionExpiryInterval(seconds))
    }

    pub(crate) fn will(self, topic: &'a str, payload: &'a str) -> Self {
        self.will_of(topic, payload, QoS::AtLeastOnce, false)
    }

    pub(crate) fn will_of(
        mut self,
        topic: &'a str,
        payload: &'a str,
        qos: QoS,
        retain: bool,
    ) -> Self {
        let properties = Properties::EMPTY;
        let will = Will {
            qos,
            retain,
            topic,
            payload: payload.as_bytes(),
            properties,
        };
        self.will = Some((will, PropertyBuf::new()));
        self
    }

    pub(crate) fn will_with(mut self, property: Property<'_>) -> Self {
        self.will.as_mut().unwrap().1.push(property).unwrap();
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let will = self.will.as_ref().map(|(will, properties)| Will {
            properties: properties.as_properties(),
            ..*will
        });
        let connect = Connect {
            version: self.version,
            clean_start: self.clean,
            keep_alive_s: self.keep_alive_s,
            client_id: self.id,
            will,
            user_name: self.user,
            password: self.password,
            properties: self.properties.as_properties(),
        };
        let mut bytes = Vec::new();
        codec::encode(&Packet::Connect(connect), self.version, &mut bytes).unwrap();
        bytes
    }
}

/// A PUBLISH in the making.
#[derive(Clone)]
pub(crate) struct Post<'a> {
    topic: &'a str,
    payload: &'a [u8],
    qos: QoS,
    id: u16,
    retain: bool,
    dup: bool,
    properties: PropertyBuf,
}

impl<'a> Post<'a> {
    /// QoS 0.
    pub(crate) fn new(topic: &'a str, payload: &'a str) -> Self {
        Self {
            topic,
            payload: payload.as_bytes(),
            qos: QoS::AtMostOnce,
            id: 0,
            retain: false,
            dup: false,
            properties: PropertyBuf::new(),
        }
    }

    pub(crate) fn bytes(mut self, payload: &'a [u8]) -> Self {
        self.payload = payload;
        self
    }

    pub(crate) fn qos1(mut self, id: u16) -> Self {
        (self.qos, self.id) = (QoS::AtLeastOnce, id);
        self
    }

    pub(crate) fn qos2(mut self, id: u16) -> Self {
        (self.qos, self.id) = (QoS::ExactlyOnce, id);
        self
    }

    pub(crate) fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    pub(crate) fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    pub(crate) fn with(mut self, property: Property<'_>) -> Self {
        self.properties.push(property).unwrap();
        self
    }

    pub(crate) fn encode(&self, version: ProtocolVersion) -> Vec<u8> {
        let publish = Publish {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic,
            packet_id: NonZeroU16::new(self.id),
            topic_alias: None,
            message_expiry_s: None,
            properties: self.properties.as_properties(),
            payload: self.payload,
        };
        let mut bytes = Vec::new();
        codec::encode(&Packet::Publish(publish), version, &mut bytes).unwrap();
        bytes
    }
}

pub(crate) fn options(qos: u8) -> SubscribeOptions {
    SubscribeOptions {
        qos: QoS::from_u8(qos).unwrap(),
        ..SubscribeOptions::default()
    }
}

pub(crate) fn id(id: u16) -> PacketId {
    NonZeroU16::new(id).unwrap()
}

/// A connection whose session is wanted goes after so many milliseconds.
pub(crate) const LEAVE_MS: u64 = 5;

/// A machine, and what its driver would have.
struct Line {
    machine: Box<dyn Machine>,
    clock: Arc<ManualClock>,
    out: Output,
    unconsumed: Vec<u8>,
    /// What is unconsumed waits for the machine to read on.
    is_held: bool,
    received: Vec<u8>,
    is_closed: bool,
}

impl Line {
    fn hand_in(&mut self) {
        let now = self.clock.now();
        let used = self
            .machine
            .handle_input(&self.unconsumed, now, &mut self.out);
        self.unconsumed.drain(..used);
        self.is_held = self.machine.flow() == Flow::Open { read: false };
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        let deadline = self.machine.deadline();
        if !self.is_closed && deadline.is_some_and(|deadline| deadline <= now) {
            self.machine.handle_deadline(now, &mut self.out);
        }
        self.turn();
    }

    /// What the driver does behind every call.
    fn turn(&mut self) {
        while !self.is_closed {
            if self.is_held && self.machine.flow() == (Flow::Open { read: true }) {
                self.hand_in();
            }
            let more = self.machine.handle_notices(self.clock.now(), &mut self.out);
            if self.machine.flow() == Flow::Close {
                self.machine.handle_disconnect(self.clock.now());
                self.is_closed = true;
            }
            self.received.extend(self.out.take());
            let reads = self.machine.flow() == Flow::Open { read: true };
            if !(more || self.is_held && reads) {
                break;
            }
        }
    }
}

/// A client at the other end of a machine.
pub(crate) struct Device {
    line: Rc<RefCell<Line>>,
    lines: Lines,
    behind_connack: Vec<String>,
    pub(crate) version: ProtocolVersion,
}

impl Device {
    fn line(&self) -> Ref<'_, Line> {
        self.line.borrow()
    }

    fn line_mut(&mut self) -> RefMut<'_, Line> {
        self.line.borrow_mut()
    }

    /// Sends CONNECT and returns what comes back, once the session's former connection has gone.
    pub(crate) fn greet(&mut self, hello: &Hello<'_>) -> Vec<String> {
        self.version = hello.version;
        self.send(&hello.encode());
        if self.line().is_held {
            self.let_others_go();
        }
        self.recv()
    }

    /// The others hear that a session is wanted, and go when it is time.
    pub(crate) fn let_others_go(&mut self) {
        let clock = self.line().clock.clone();
        let others: Vec<_> = self
            .lines
            .borrow()
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|other| !Rc::ptr_eq(other, &self.line))
            .collect();
        for other in &others {
            other.borrow_mut().turn();
        }
        clock.advance_ms(LEAVE_MS);
        for other in &others {
            other.borrow_mut().tick();
        }
    }

    /// Bytes arrive, and nobody looks at them yet.
    pub(crate) fn arrive(&mut self, bytes: &[u8]) {
        self.line_mut().unconsumed.extend_from_slice(bytes);
        self.line_mut().is_held = true;
    }

    /// Bytes arrive at the machine, and nothing is done behind it yet.
    pub(crate) fn hand_in(&mut self, bytes: &[u8]) {
        let mut line = self.line_mut();
        line.unconsumed.extend_from_slice(bytes);
        line.hand_in();
    }

    /// Bytes that the machine left.
    pub(crate) fn unconsumed(&self) -> usize {
        self.line().unconsumed.len()
    }

    /// Bytes arrive at the machine.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let mut line = self.line_mut();
        if line.is_closed {
            return;
        }
        line.unconsumed.extend_from_slice(bytes);
        line.hand_in();
        line.turn();
    }

    pub(crate) fn packet(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        codec::encode(packet, self.version, &mut bytes).unwrap();
        self.send(&bytes);
    }

    fn turn(&mut self) {
        self.line_mut().turn();
    }

    /// Notices that came are handled; returns what was sent since the last call.
    pub(crate) fn recv(&mut self) -> Vec<String> {
        self.turn();
        self.recv_late()
    }

    /// The next [`Device::recv`] returns these as well.
    pub(crate) fn put_back(&mut self, received: Vec<String>) {
        self.behind_connack = received;
    }

    /// What was sent since the last call, without looking at notices.
    pub(crate) fn recv_late(&mut self) -> Vec<String> {
        let bytes = std::mem::take(&mut self.line_mut().received);
        let mut all = std::mem::take(&mut self.behind_connack);
        all.extend(packets(&bytes, self.version));
        all
    }

    /// The raw bytes that were sent since the last call.
    pub(crate) fn recv_bytes(&mut self) -> Vec<u8> {
        self.turn();
        std::mem::take(&mut self.line_mut().received)
    }

    /// The machine's deadline is looked at.
    pub(crate) fn tick(&mut self) {
        self.line_mut().tick();
    }

    pub(crate) fn shut_down(&mut self) {
        let mut line = self.line_mut();
        let Line {
            machine,
            clock,
            out,
            ..
        } = &mut *line;
        machine.handle_shutdown(clock.now(), out);
        line.turn();
    }

    pub(crate) fn is_closed(&mut self) -> bool {
        self.turn();
        self.line().is_closed
    }

    pub(crate) fn reads(&mut self) -> bool {
        self.turn();
        self.line().machine.flow() == Flow::Open { read: true }
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.line().machine.deadline()
    }

    /// The transport breaks.
    pub(crate) fn drop_line(mut self) {
        let mut line = self.line_mut();
        if !line.is_closed {
            let now = line.clock.now();
            line.machine.handle_disconnect(now);
        }
    }

    /// The machine goes without a word, as after a panic in it.
    pub(crate) fn vanish(self) {
        drop(self.line);
    }

    /// DISCONNECT, graceful.
    pub(crate) fn disconnect(mut self) {
        self.send(&[0xE0, 0]);
        assert!(self.line().is_closed);
    }

    pub(crate) fn disconnect_with(&mut self, reason: ReasonCode, properties: &[Property<'_>]) {
        let mut buf = PropertyBuf::new();
        for property in properties {
            buf.push(*property).unwrap();
        }
        self.packet(&Packet::Disconnect(Disconnect {
            reason,
            properties: buf.as_properties(),
        }));
    }

    pub(crate) fn publish(&mut self, post: &Post<'_>) {
        let bytes = post.encode(self.version);
        self.send(&bytes);
    }

    /// Subscribes with packet identifier 1 and returns everything that comes back.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) -> Vec<String> {
        self.subscribe_with(&[(filter, options(qos))], None)
    }

    pub(crate) fn subscribe_with(
        &mut self,
        filters: &[(&str, SubscribeOptions)],
        subscription_id: Option<u32>,
    ) -> Vec<String> {
        let mut payload = Vec::new();
        for (filter, options) in filters {
            SubscribeFilters::push(&mut payload, filter, *options).unwrap();
        }
        let mut properties = PropertyBuf::new();
        if let Some(id) = subscription_id {
            properties
                .push(Property::SubscriptionIdentifier(id))
                .unwrap();
        }
        let subscribe = Subscribe {
            packet_id: id(1),
            subscription_id,
            properties: properties.as_properties(),
            filters: SubscribeFilters::validate(&payload, self.version).unwrap(),
        };
        self.packet(&Packet::Subscribe(subscribe));
        self.recv()
    }

    pub(crate) fn unsubscribe(&mut self, filter: &str) -> Vec<String> {
        let mut payload = Vec::new();
        UnsubscribeFilters::push(&mut payload, filter).unwrap();
        let unsubscribe = Unsubscribe {
            packet_id: id(2),
            properties: Properties::EMPTY,
            filters: UnsubscribeFilters::validate(&payload).unwrap(),
        };
        self.packet(&Packet::Unsubscribe(unsubscribe));
        self.recv()
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub(crate) fn ack(&mut self, packet: PacketType, packet_id: u16) {
        self.ack_with(packet, packet_id, ReasonCode::Success);
    }

    pub(crate) fn ack_with(&mut self, packet: PacketType, packet_id: u16, reason: ReasonCode) {
        let ack = Ack::new(id(packet_id), reason);
        self.packet(&match packet {
            PacketType::PubAck => Packet::PubAck(ack),
            PacketType::PubRec => Packet::PubRec(ack),
            PacketType::PubRel => Packet::PubRel(ack),
            _ => Packet::PubComp(ack),
        });
    }

    /// AUTH with a method and data.
    pub(crate) fn auth(&mut self, reason: ReasonCode, method: &str, data: &str) {
        let mut properties = PropertyBuf::new();
        properties
            .push(Property::AuthenticationMethod(method))
            .unwrap();
        if !data.is_empty() {
            let data = Property::AuthenticationData(data.as_bytes());
            properties.push(data).unwrap();
        }
        self.packet(&Packet::Auth(Auth {
            reason,
            properties: properties.as_properties(),
        }));
    }

    pub(crate) fn puback(&mut self, packet_id: u16) {
        self.ack(PacketType::PubAck, packet_id);
    }
}

/// Packets from the server, in words.
pub(crate) fn packets(mut bytes: &[u8], version: ProtocolVersion) -> Vec<String> {
    let limits = Limits {
        sender: Sender::Server,
        ..Limits::default()
    };
    let mut all = Vec::new();
    while !bytes.is_empty() {
        match codec::decode(bytes, Some(version), limits) {
            Ok(Decoded::Packet { packet, len }) => {
                all.push(words(&packet, version));
                bytes = &bytes[len..];
            }
            other => panic!("not a packet of the server: {other:?} {bytes:02x?}"),
        }
    }
    all
}

fn words(packet: &Packet<'_>, version: ProtocolVersion) -> String {
    match packet {
        Packet::ConnAck(p) => {
            let code = if version.is_v5() {
                p.reason.as_u8()
            } else {
                ternmq_mqtt::reason_code::ConnectReturnCode::from_reason(p.reason).unwrap() as u8
            };
            let present = if p.session_present { " present" } else { "" };
            format!(
                "CONNACK {code:02X}{present}{}",
                property_words(p.properties)
            )
        }
        Packet::Publish(p) => {
            let id = p.packet_id.map_or(String::new(), |id| format!(" id{id}"));
            let dup = if p.dup { " dup" } else { "" };
            let retain = if p.retain { " retain" } else { "" };
            let payload = String::from_utf8_lossy(p.payload);
            let payload = if payload.len() > 40 {
                format!("({} bytes)", payload.len())
            } else {
                payload.into_owned()
            };
            let qos = p.qos as u8;
            format!(
                "PUBLISH {}={payload} q{qos}{id}{dup}{retain}{}",
                p.topic,
                property_words(p.properties)
            )
        }
        Packet::PubAck(p) => ack_words("PUBACK", p),
        Packet::PubRec(p) => ack_words("PUBREC", p),
        Packet::PubRel(p) => ack_words("PUBREL", p),
        Packet::PubComp(p) => ack_words("PUBCOMP", p),
        Packet::SubAck(p) => format!("SUBACK {} {:02X?}", p.packet_id, p.reasons.as_bytes()),
        Packet::UnsubAck(p) => format!("UNSUBACK {} {:02X?}", p.packet_id, p.reasons.as_bytes()),
        Packet::PingResp => "PINGRESP".to_owned(),
        Packet::Auth(p) => format!(
            "AUTH {:02X}{}",
            p.reason.as_u8(),
            property_words(p.properties)
        ),
        Packet::Disconnect(p) => format!("DISCONNECT {:02X}", p.reason.as_u8()),
        other => panic!("not a packet of the server: {other:?}"),
    }
}

fn ack_words(name: &str, ack: &Ack<'_>) -> String {
    if ack.reason == ReasonCode::Success {
        format!("{name} {}", ack.packet_id)
    } else {
        format!("{name} {} {:02X}", ack.packet_id, ack.reason.as_u8())
    }
}

fn property_words(properties: Properties<'_>) -> String {
    properties
        .iter()
        // The same in every CONNACK.
        .filter(|p| match p {
            Property::MaximumPacketSize(max) => *max != 16_777_216,
            Property::TopicAliasMaximum(max) => *max != 16,
            Property::ReceiveMaximum(max) => max.get() != 4096,
            _ => true,
        })
        .map(|property| match property {
            Property::SubscriptionIdentifier(id) => format!(" sub{id}"),
            Property::MessageExpiryInterval(seconds) => format!(" expiry{seconds}"),
            Property::TopicAlias(alias) => format!(" alias{alias}"),
            Property::AuthenticationMethod(method) => format!(" {method}"),
            Property::AuthenticationData(data) => {
                format!(" [{}]", String::from_utf8_lossy(data))
            }
            Property::UserProperty(name, value) => format!(" {name}:{value}"),
            other => format!(" {other:?}"),
        })
        .collect()
}
