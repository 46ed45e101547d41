//! Load over MQTT: devices that publish with rumqttc, and a subscriber that remembers what the protocol wants it to.

use std::collections::{HashMap, VecDeque};

use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Packet, QoS, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Scene;
use crate::amqp::END;
use crate::ledger::{Flag, Id, Received, Sent};
use crate::support::soon;
use crate::topology::{DEVICE, DEVICES_QOS_2};

/// QoS 1 publishes that may wait for their acknowledgements. Of QoS 2 it is one: rumqttc sends several again in any
/// order.
const WINDOW: usize = 8;

/// Requests that may wait for rumqttc's event loop.
const REQUESTS_MAX: usize = 16;

/// Largest packet, in bytes.
const PACKET_BYTES_MAX: usize = 64 * 1024;

/// A publisher whose session goes on after a crash: it sends again what was not acknowledged.
pub struct Device {
    pub sent: Sent,
    pub faults: Vec<String>,
    qos: QoS,
    /// Not acknowledged yet, oldest first.
    waiting: VecDeque<Id>,
    /// Whether the broker has kept a session for it.
    has_session: bool,
    client: AsyncClient,
    event_loop: EventLoop,
}

fn options(publisher: u16, scene: &Scene) -> MqttOptions {
    let (ip, port) = (scene.mqtt.ip().to_string(), scene.mqtt.port());
    let mut options = MqttOptions::new(format!("device-{publisher}"), ip, port);
    options
        .set_credentials("guest", "guest")
        .set_clean_session(false)
        .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    options
}

impl Device {
    pub fn new(publisher: u16, scene: &Scene) -> Self {
        let is_exact = DEVICES_QOS_2.contains(&publisher);
        let (client, event_loop) = AsyncClient::new(options(publisher, scene), REQUESTS_MAX);
        Self {
            sent: Sent::new(publisher),
            faults: Vec::new(),
            qos: if is_exact {
                QoS::ExactlyOnce
            } else {
                QoS::AtLeastOnce
            },
            waiting: VecDeque::new(),
            has_session: false,
            client,
            event_loop,
        }
    }

    fn window(&self) -> usize {
        match self.qos {
            QoS::ExactlyOnce => 1,
            _ => WINDOW,
        }
    }

    /// Publishes until the connection is lost.
    pub async fn work(&mut self, scene: &Scene) {
        self.sent.begin_life();
        self.event_loop.mqtt_options = options(self.sent.publisher(), scene);
        self.put_in_order();
        loop {
            let is_over = scene.is_over();
            while !is_over && self.waiting.len() < self.window() {
                let id = self.sent.next();
                self.waiting.push_back(id);
                let topic = format!("crash/{}", id.publisher);
                self.client
                    .try_publish(topic, self.qos, false, id.body())
                    .unwrap();
            }
            if is_over && self.waiting.is_empty() {
                return;
            }
            match soon(self.event_loop.poll()).await {
                Ok(event) => self.on_event(&event),
                Err(error) => {
                    self.note(&error);
                    return;
                }
            }
        }
    }

    /// What is sent again goes in the order in which it was sent at first (§4.6). A connection that is lost while
    /// rumqttc sends again leaves that behind what it had not come to yet.
    fn put_in_order(&mut self) {
        if self.event_loop.network.is_some() {
            self.event_loop.clean();
        }
        let number = |request: &Request| match request {
            Request::Publish(publish) => Id::of(&publish.payload).map(|id| id.number),
            _ => None,
        };
        let pending = &mut self.event_loop.pending;
        pending.make_contiguous().sort_by_key(number);
    }

    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Incoming(Packet::ConnAck(connack)) => {
                if self.has_session && !connack.session_present {
                    let device = self.sent.publisher();
                    self.faults
                        .push(format!("the session of device {device} is gone"));
                    self.waiting.clear();
                }
                self.has_session = true;
            }
            Event::Incoming(Packet::PubAck(_)) if self.qos == QoS::AtLeastOnce => {
                self.on_acknowledged();
            }
            Event::Incoming(Packet::PubRec(_)) => {
                // From here on the broker has it, though the exchange goes on.
                if let Some(&id) = self.waiting.front() {
                    self.sent.confirm(id);
                }
            }
            Event::Incoming(Packet::PubComp(_)) => self.on_acknowledged(),
            _ => {}
        }
    }

    fn on_acknowledged(&mut self) {
        match self.waiting.pop_front() {
            Some(id) => self.sent.confirm(id),
            None => self.faults.push("an acknowledgement of nothing".into()),
        }
    }

    /// That the broker says what it must not is a fault; that the connection is lost is not.
    fn note(&mut self, error: &ConnectionError) {
        use rumqttc::StateError as Said;
        if let ConnectionError::ConnectionRefused(_)
        | ConnectionError::NotConnAck(_)
        | ConnectionError::MqttState(Said::Unsolicited(_) | Said::WrongPacket) = error
        {
            let device = self.sent.publisher();
            self.faults.push(format!("device {device}: {error}"));
        }
    }
}

/// A session that gets everything the devices publish. It speaks MQTT 3.1.1 by itself: rumqttc forgets with the
/// connection which messages of QoS 2 it has, and would take them twice.
pub struct Subscriber {
    pub received: Received,
    /// Messages of QoS 2 that the broker has not released yet, by packet identifier.
    unreleased: HashMap<u16, Id>,
    is_subscribed: bool,
    buffer: Vec<u8>,
}

/// What a subscriber reads up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Until {
    Subscribed,
    Lost,
    End,
}

/// Packet types (MQTT 3.1.1 §2.2.1), and the flags that are fixed.
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBLISH_QOS_1: u8 = 0x32;
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 0x70;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 9;
const DISCONNECT: u8 = 0xE0;

impl Subscriber {
    pub fn new() -> Self {
        Self {
            received: Received::new(DEVICE),
            unreleased: HashMap::new(),
            is_subscribed: false,
            buffer: Vec::new(),
        }
    }

    /// Makes the session and its subscription.
    pub async fn subscribe(&mut self, scene: &Scene) {
        let mut stream = self.connect(scene).await.unwrap();
        let filter = [&[0, 1][..], &string("crash/#"), &[2]].concat();
        soon(stream.write_all(&packet(SUBSCRIBE, &filter)))
            .await
            .unwrap();
        self.read(&mut stream, scene, Until::Subscribed)
            .await
            .unwrap();
        self.is_subscribed = true;
        soon(stream.write_all(&packet(DISCONNECT, &[])))
            .await
            .unwrap();
    }

    /// Receives until the connection is lost.
    pub async fn work(&mut self, scene: &Scene) {
        self.received.begin_life();
        if let Ok(mut stream) = self.connect(scene).await {
            // However it ends: what is missing in the end is missed then.
            let _ = self.read(&mut stream, scene, Until::Lost).await;
        }
    }

    /// Receives everything that is there, up to a message that is published for that.
    pub async fn drain(&mut self, scene: &Scene) {
        let mut stream = self.connect(scene).await.unwrap();
        let end = [&string("crash/end")[..], &[0, 1], END].concat();
        soon(stream.write_all(&packet(PUBLISH_QOS_1, &end)))
            .await
            .unwrap();
        self.read(&mut stream, scene, Until::End).await.unwrap();
    }

    async fn connect(&mut self, scene: &Scene) -> std::io::Result<TcpStream> {
        self.buffer.clear();
        let mut stream = soon(TcpStream::connect(scene.mqtt)).await?;
        // Protocol level 4, user name and password, session kept, no keep-alive (§3.1.2).
        let head = [&string("MQTT")[..], &[4, 0xC0, 0, 0]].concat();
        let said = [head, string("subscriber"), string("guest"), string("guest")].concat();
        soon(stream.write_all(&packet(CONNECT, &said))).await?;
        Ok(stream)
    }

    async fn read(
        &mut self,
        stream: &mut TcpStream,
        scene: &Scene,
        until: Until,
    ) -> std::io::Result<()> {
        let mut over = scene.over();
        let mut answers = Vec::new();
        loop {
            while let Some((first, body)) = self.take_packet() {
                if self.on_packet(first, &body, &mut answers) == Some(until) {
                    return soon(stream.write_all(&answers)).await;
                }
            }
            soon(stream.write_all(&answers)).await?;
            answers.clear();
            let read = tokio::select! {
                biased;
                read = stream.read_buf(&mut self.buffer) => read?,
                _ = over.wait_for(|over| *over && until == Until::Lost) => 0,
            };
            if read == 0 {
                return match until {
                    Until::Lost => Ok(()),
                    _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    /// The next whole packet: its first byte and what is behind the length.
    fn take_packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let &first = self.buffer.first()?;
        let (mut length, mut at) = (0, 1);
        loop {
            let byte = *self.buffer.get(at)?;
            length |= usize::from(byte & 0x7F) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let body = self.buffer.get(at..at + length)?.to_vec();
        self.buffer.drain(..at + length);
        Some((first, body))
    }

    /// Acts on a packet. Returns what it is the end of.
    fn on_packet(&mut self, first: u8, body: &[u8], answers: &mut Vec<u8>) -> Option<Until> {
        match first >> 4 {
            CONNACK => {
                if body[1] != 0 || self.is_subscribed && body[0] & 1 == 0 {
                    self.received
                        .fault(format!("the session is gone: CONNACK {body:?}"));
                }
                None
            }
            SUBACK => Some(Until::Subscribed),
            PUBLISH => self.on_publish(first, body, answers),
            PUBREL => {
                let packet_id = [body[0], body[1]];
                self.unreleased.remove(&u16::from_be_bytes(packet_id));
                answers.extend(packet(PUBCOMP, &packet_id));
                None
            }
            _ => None,
        }
    }

    fn on_publish(&mut self, first: u8, body: &[u8], answers: &mut Vec<u8>) -> Option<Until> {
        let topic_len = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let (packet_id, payload) = body[2 + topic_len..].split_first_chunk().unwrap();
        let is_exact = first & 0x06 == 0x04;
        answers.extend(packet(if is_exact { PUBREC } else { PUBACK }, packet_id));
        if payload == END {
            return Some(Until::End);
        }
        if !is_exact {
            let dup = Flag::of(first & 0x08 != 0);
            self.received.deliver(payload, dup);
            return None;
        }
        let packet_id = u16::from_be_bytes(*packet_id);
        match (self.unreleased.get(&packet_id), Id::of(payload)) {
            // The same again, as it may be before it is released.
            (Some(had), Some(id)) if *had == id => {}
            (Some(had), id) => {
                let what =
                    format!("packet {packet_id} was {had:?} and is {id:?} before its release");
                self.received.fault(what);
            }
            (None, _) => {
                if let Some(id) = self.received.deliver_once(payload) {
                    self.unreleased.insert(packet_id, id);
                }
            }
        }
        None
    }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    // Everything said here is short; the length takes one byte (§2.2.3).
    let length = u8::try_from(body.len()).unwrap();
    assert!(length < 0x80);
    [&[first, length][..], body].concat()
}

fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}
