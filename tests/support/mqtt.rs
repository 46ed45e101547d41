//! rumqttc in fewer words, with one face for MQTT 3.1.1 and 5.

use std::collections::VecDeque;

use rumqttc::v5::mqttbytes::v5 as five;
use rumqttc::{self as v311, v5};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::{Ternmq, soon};

pub use rumqttc::v5::mqttbytes::v5::PublishProperties;

/// Largest packet of a device, in bytes.
pub const PACKET_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Packets that may wait for a test to look at them.
const EVENTS_MAX: usize = 100_000;

/// The version a device speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

/// Both versions, for tests of what they have in common.
pub const BOTH: [Version; 2] = [Version::V311, Version::V5];

/// How a device connects.
#[derive(Clone, Debug)]
pub struct Options {
    version: Version,
    id: String,
    addr: std::net::SocketAddr,
    clean: bool,
    session_expiry_s: u32,
    manual_acks: bool,
    will: Option<(String, Vec<u8>, u8, bool)>,
}

/// What came from the broker.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// CONNACK; whether a session was there.
    Connected(bool),
    /// SUBACK with its codes, 0x80 and above for refusals.
    Subscribed(Vec<u8>),
    /// UNSUBACK.
    Unsubscribed,
    /// PUBACK or PUBCOMP: an own publish is done. The reason code.
    Published(u8),
    /// A message.
    Message(Message),
    /// The connection is gone, and why.
    Lost(String),
}

/// A message for the device.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Quality of service, 0 to 2.
    pub qos: u8,
    /// Whether it was retained.
    pub retain: bool,
    /// Whether it may have come before.
    pub dup: bool,
    /// Properties, in MQTT 5.
    pub properties: PublishProperties,
    /// Packet identifier.
    pub packet_id: u16,
}

enum Client {
    V311(v311::AsyncClient),
    V5(v5::AsyncClient),
}

/// A connected client.
pub struct Device {
    client: Client,
    events: mpsc::Receiver<Event>,
    messages: VecDeque<Message>,
    task: AbortHandle,
    /// Whether the broker had kept a session.
    pub session_present: bool,
}

impl Options {
    /// A clean session as guest.
    pub fn new(broker: &Ternmq, version: Version, id: &str) -> Self {
        Self {
            version,
            id: id.into(),
            addr: broker.mqtt,
            clean: true,
            session_expiry_s: 0,
            manual_acks: false,
            will: None,
        }
    }

    /// A session that outlives its connection and is resumed.
    pub fn persistent(mut self) -> Self {
        self.clean = false;
        self.session_expiry_s = 3600;
        self
    }

    /// Acknowledges nothing by itself.
    pub fn manual_acks(mut self) -> Self {
        self.manual_acks = true;
        self
    }

    /// A last will.
    pub fn will(mut self, topic: &str, payload: &[u8], qos: u8, retain: bool) -> Self {
        self.will = Some((topic.into(), payload.into(), qos, retain));
        self
    }

    /// Connects, and waits until the broker has said yes.
    pub async fn connect(self) -> Device {
        let (client, mut events, task) = match self.version {
            Version::V311 => self.start_v311(),
            Version::V5 => self.start_v5(),
        };
        match soon(events.recv()).await {
            Some(Event::Connected(session_present)) => Device {
                client,
                events,
                messages: VecDeque::new(),
                task,
                session_present,
            },
            other => panic!("not connected but {other:?}"),
        }
    }

    fn start_v311(self) -> (Client, mpsc::Receiver<Event>, AbortHandle) {
        let mut options =
            v311::MqttOptions::new(self.id, self.addr.ip().to_string(), self.addr.port());
        options
            .set_credentials("guest", "guest")
            .set_clean_session(self.clean);
        options.set_max_packet_size(PACKET_BYTES_MAX as usize, PACKET_BYTES_MAX as usize);
        options.set_manual_acks(self.manual_acks).set_inflight(1000);
        if let Some((topic, payload, level, retain)) = self.will {
            options.set_last_will(v311::LastWill::new(topic, payload, qos_v311(level), retain));
        }
        let (client, mut event_loop) = v311::AsyncClient::new(options, 100);
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        let task = run(async move {
            loop {
                let event = match event_loop.poll().await {
                    Ok(v311::Event::Incoming(packet)) => event_v311(packet),
                    Ok(v311::Event::Outgoing(_)) => None,
                    Err(error) => {
                        let _ = sender.send(Event::Lost(error.to_string())).await;
                        return;
                    }
                };
                if let Some(event) = event
                    && sender.send(event).await.is_err()
                {
                    return;
                }
            }
        });
        (Client::V311(client), receiver, task)
    }

    fn start_v5(self) -> (Client, mpsc::Receiver<Event>, AbortHandle) {
        let mut options =
            v5::MqttOptions::new(self.id, self.addr.ip().to_string(), self.addr.port());
        options
            .set_credentials("guest", "guest")
            .set_clean_start(self.clean);
        options.set_session_expiry_interval(Some(self.session_expiry_s));
        options
            .set_max_packet_size(Some(PACKET_BYTES_MAX))
            .set_manual_acks(self.manual_acks);
        if let Some((topic, payload, level, retain)) = self.will {
            options.set_last_will(five::LastWill::new(
                topic,
                payload,
                qos_v5(level),
                retain,
                None,
            ));
        }
        let (client, mut event_loop) = v5::AsyncClient::new(options, 100);
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        let task = run(async move {
            loop {
                let event = match event_loop.poll().await {
                    Ok(v5::Event::Incoming(packet)) => event_v5(packet),
                    Ok(v5::Event::Outgoing(_)) => None,
                    Err(error) => {
                        let _ = sender.send(Event::Lost(error.to_string())).await;
                        return;
                    }
                };
                if let Some(event) = event
                    && sender.send(event).await.is_err()
                {
                    return;
                }
            }
        });
        (Client::V5(client), receiver, task)
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test's client is no task of the broker"
)]
fn run(future: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    tokio::spawn(future).abort_handle()
}

impl Device {
    /// A clean session as guest.
    pub async fn connect(broker: &Ternmq, version: Version, id: &str) -> Self {
        Options::new(broker, version, id).connect().await
    }

    /// Subscribes and returns the code granted.
    pub async fn subscribe(&mut self, filter: &str, level: u8) -> u8 {
        match &self.client {
            Client::V311(client) => soon(client.subscribe(filter, qos_v311(level)))
                .await
                .unwrap(),
            Client::V5(client) => soon(client.subscribe(filter, qos_v5(level))).await.unwrap(),
        }
        loop {
            if let Event::Subscribed(codes) = self.event().await {
                return codes[0];
            }
        }
    }

    /// Unsubscribes.
    pub async fn unsubscribe(&mut self, filter: &str) {
        match &self.client {
            Client::V311(client) => soon(client.unsubscribe(filter)).await.unwrap(),
            Client::V5(client) => soon(client.unsubscribe(filter)).await.unwrap(),
        }
        while self.event().await != Event::Unsubscribed {}
    }

    /// Publishes, and waits for the acknowledgement if there is one. Returns its reason code.
    pub async fn publish(&mut self, topic: &str, level: u8, payload: &[u8]) -> u8 {
        self.publish_raw(topic, level, false, payload, PublishProperties::default())
            .await
    }

    /// Publishes a retained message.
    pub async fn retain(&mut self, topic: &str, level: u8, payload: &[u8]) -> u8 {
        self.publish_raw(topic, level, true, payload, PublishProperties::default())
            .await
    }

    /// Publishes with properties.
    pub async fn publish_with(
        &mut self,
        topic: &str,
        level: u8,
        payload: &[u8],
        properties: PublishProperties,
    ) -> u8 {
        self.publish_raw(topic, level, false, payload, properties)
            .await
    }

    async fn publish_raw(
        &mut self,
        topic: &str,
        level: u8,
        retain: bool,
        payload: &[u8],
        properties: PublishProperties,
    ) -> u8 {
        let payload = payload.to_vec();
        match &self.client {
            Client::V311(client) => {
                soon(client.publish(topic, qos_v311(level), retain, payload))
                    .await
                    .unwrap();
            }
            Client::V5(client) => {
                let publish = client.publish_with_properties(
                    topic,
                    qos_v5(level),
                    retain,
                    payload,
                    properties,
                );
                soon(publish).await.unwrap();
            }
        }
        if level == 0 {
            return 0;
        }
        loop {
            if let Event::Published(code) = self.event().await {
                return code;
            }
        }
    }

    /// The next message.
    pub async fn next(&mut self) -> Message {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return message;
            }
            match self.event().await {
                Event::Message(_) | Event::Published(_) => {}
                other => panic!("no message but {other:?}"),
            }
        }
    }

    /// The payloads of as many messages.
    pub async fn take(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut payloads = Vec::with_capacity(count);
        for _ in 0..count {
            payloads.push(self.next().await.payload);
        }
        payloads
    }

    /// The payloads that come before this one.
    pub async fn until(&mut self, last: &[u8]) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        loop {
            let payload = self.next().await.payload;
            if payload == last {
                return payloads;
            }
            payloads.push(payload);
        }
    }

    /// Acknowledges a message, of a device that does not do it by itself.
    pub async fn ack(&self, message: &Message) {
        let Message {
            topic, packet_id, ..
        } = message;
        match &self.client {
            Client::V311(client) => {
                let mut publish = v311::Publish::new(topic, qos_v311(message.qos), Vec::new());
                publish.pkid = *packet_id;
                soon(client.ack(&publish)).await.unwrap();
            }
            Client::V5(client) => {
                let mut publish = five::Publish::new(topic, qos_v5(message.qos), Vec::new(), None);
                publish.pkid = *packet_id;
                soon(client.ack(&publish)).await.unwrap();
            }
        }
    }

    /// Waits until the broker has ended the connection.
    pub async fn lost(&mut self) -> String {
        loop {
            if let Event::Lost(reason) = self.event().await {
                return reason;
            }
        }
    }

    /// Says goodbye, and waits until the broker has closed the connection.
    pub async fn disconnect(mut self) {
        match &self.client {
            Client::V311(client) => soon(client.disconnect()).await.unwrap(),
            Client::V5(client) => soon(client.disconnect()).await.unwrap(),
        }
        self.lost().await;
    }

    /// Drops the connection without a word.
    pub fn cut(self) {
        self.task.abort();
    }

    /// The next event; messages are kept for [`Device::next`] as well.
    async fn event(&mut self) -> Event {
        let event = soon(self.events.recv())
            .await
            .expect("the connection was lost before");
        if let Event::Message(message) = &event {
            self.messages.push_back(message.clone());
        }
        event
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn qos_v311(level: u8) -> v311::QoS {
    v311::qos(level).unwrap()
}

fn qos_v5(level: u8) -> v5::mqttbytes::QoS {
    v5::mqttbytes::qos(level).unwrap()
}

fn event_v311(packet: v311::Packet) -> Option<Event> {
    Some(match packet {
        v311::Packet::ConnAck(connack) => Event::Connected(connack.session_present),
        v311::Packet::SubAck(suback) => Event::Subscribed(
            suback
                .return_codes
                .iter()
                .map(|code| match code {
                    v311::SubscribeReasonCode::Success(qos) => *qos as u8,
                    v311::SubscribeReasonCode::Failure => 0x80,
                })
                .collect(),
        ),
        v311::Packet::UnsubAck(_) => Event::Unsubscribed,
        v311::Packet::PubAck(_) | v311::Packet::PubComp(_) => Event::Published(0),
        v311::Packet::Publish(publish) => Event::Message(Message {
            topic: publish.topic,
            payload: publish.payload.to_vec(),
            qos: publish.qos as u8,
            retain: publish.retain,
            dup: publish.dup,
            properties: PublishProperties::default(),
            packet_id: publish.pkid,
        }),
        _ => return None,
    })
}

fn event_v5(packet: five::Packet) -> Option<Event> {
    Some(match packet {
        five::Packet::ConnAck(connack) => Event::Connected(connack.session_present),
        five::Packet::SubAck(suback) => Event::Subscribed(
            suback
                .return_codes
                .iter()
                .map(|code| match code {
                    five::SubscribeReasonCode::Success(qos) => *qos as u8,
                    _ => 0x80,
                })
                .collect(),
        ),
        five::Packet::UnsubAck(_) => Event::Unsubscribed,
        five::Packet::PubAck(puback) => Event::Published(reason(puback.reason)),
        five::Packet::PubComp(_) => Event::Published(0),
        five::Packet::Publish(publish) => Event::Message(Message {
            topic: String::from_utf8(publish.topic.to_vec()).unwrap(),
            payload: publish.payload.to_vec(),
            qos: publish.qos as u8,
            retain: publish.retain,
            dup: publish.dup,
            properties: publish.properties.unwrap_or_default(),
            packet_id: publish.pkid,
        }),
        _ => return None,
    })
}

/// MQTT 5 §3.4.2.1, as far as the tests tell codes apart.
fn reason(reason: five::PubAckReason) -> u8 {
    match reason {
        five::PubAckReason::Success => 0,
        five::PubAckReason::NoMatchingSubscribers => 0x10,
        five::PubAckReason::QuotaExceeded => 0x97,
        _ => 0x80,
    }
}
