//! QoS 2 from end to end with clients that follow the specification to the letter (§4.3.3, §4.4), connections that
//! break, and a node that dies after any batch that is not safe yet.

use std::collections::{BTreeSet, VecDeque};
use std::mem;

use ternmq_mqtt::MqttConfig;
use ternmq_mqtt::frame::PacketType::{PubAck, PubComp, PubRec, PubRel};
use ternmq_mqtt::frame::{Ack, Packet, PacketType, ProtocolVersion};
use ternmq_mqtt::properties::Property;
use ternmq_mqtt::reason_code::ReasonCode;

use crate::harness::{Device, Hello, Post, V5, V311, World, id, nobody_logs_in};
use crate::log::TestLog;

/// Numbers that look random, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

/// Every third message has QoS 1.
fn qos_of(payload: usize) -> u8 {
    if payload % 3 == 2 { 1 } else { 2 }
}

/// How far a message of the client is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sending {
    /// PUBLISH of QoS 1 was sent.
    AtLeastOnce,
    /// PUBLISH of QoS 2 was sent.
    Publish,
    /// PUBREL was sent.
    Release,
}

/// A client, as the specification wants it.
struct Model {
    name: &'static str,
    version: ProtocolVersion,
    device: Option<Device>,
    /// Packets that came and were not looked at.
    inbox: VecDeque<String>,
    /// Messages on their way to the server: payload and step by packet identifier, in the order of sending.
    sending: Vec<(u16, usize, Sending)>,
    next_id: u16,
    /// Packet identifiers of QoS 2 from the server that are not released.
    unreleased: BTreeSet<u16>,
    /// Every message that was taken: QoS 2 exactly once, by payload.
    taken: Vec<usize>,
    /// Messages of QoS 1, by payload.
    taken_at_least_once: BTreeSet<usize>,
    /// QoS 2 messages that came on this connection.
    in_flight: BTreeSet<u16>,
    receive_max: u16,
    /// CONNACK came, so what was in flight was sent again.
    is_online: bool,
}

impl Model {
    fn new(name: &'static str, version: ProtocolVersion) -> Self {
        Self {
            name,
            version,
            device: None,
            inbox: VecDeque::new(),
            sending: Vec::new(),
            next_id: 1,
            unreleased: BTreeSet::new(),
            taken: Vec::new(),
            taken_at_least_once: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            receive_max: 8,
            is_online: true,
        }
    }

    fn hello(&self) -> Hello<'static> {
        let hello = Hello::new(self.name).version(self.version).resume();
        if self.version == V5 {
            let receive_max = self.receive_max.try_into().unwrap();
            hello
                .expiry(600)
                .with(Property::ReceiveMaximum(receive_max))
        } else {
            hello
        }
    }

    fn begin(&mut self, world: &World, filter: Option<&str>) {
        let mut device = world.connect(&self.hello());
        if let Some(filter) = filter {
            device.subscribe(filter, 2);
            world.log.commit();
            device.recv();
        }
        self.device = Some(device);
    }

    /// CONNECT; the CONNACK comes with the rest.
    fn connect(&mut self, world: &World, dice: &mut Dice) {
        self.inbox.clear();
        self.in_flight.clear();
        self.is_online = false;
        self.receive_max = u16::try_from(1 + dice.roll(8)).unwrap();
        let mut device = world.dial();
        let received = device.greet(&self.hello());
        self.device = Some(device);
        self.inbox.extend(received);
    }

    fn send(&mut self, bytes: &[u8]) {
        if let Some(device) = &mut self.device {
            device.send(bytes);
        }
    }

    fn post(&self, packet_id: u16, payload: usize, dup: bool) -> Vec<u8> {
        let text = payload.to_string();
        let post = Post::new("t", &text);
        let post = match qos_of(payload) {
            1 => post.qos1(packet_id),
            _ => post.qos2(packet_id),
        };
        let post = if dup { post.dup() } else { post };
        post.encode(self.version)
    }

    fn ack(&self, packet: PacketType, packet_id: u16) -> Vec<u8> {
        let ack = Ack::new(id(packet_id), ReasonCode::Success);
        let packet = match packet {
            PubAck => Packet::PubAck(ack),
            PubRec => Packet::PubRec(ack),
            PubRel => Packet::PubRel(ack),
            _ => Packet::PubComp(ack),
        };
        let mut bytes = Vec::new();
        ternmq_mqtt::codec::encode(&packet, self.version, &mut bytes).unwrap();
        bytes
    }

    /// A new message, in flight until PUBCOMP.
    fn publish(&mut self, payload: usize) -> Vec<u8> {
        let packet_id = self.next_id;
        self.next_id = self.next_id % 9 + 1;
        if !self.is_online || self.sending.iter().any(|(used, ..)| *used == packet_id) {
            return Vec::new();
        }
        let step = match qos_of(payload) {
            1 => Sending::AtLeastOnce,
            _ => Sending::Publish,
        };
        self.sending.push((packet_id, payload, step));
        self.post(packet_id, payload, false)
    }

    fn is_idle(&self) -> bool {
        self.sending.is_empty() && self.inbox.is_empty() && self.unreleased.is_empty()
    }

    /// Takes what the server wrote.
    fn listen(&mut self) {
        if let Some(device) = &mut self.device {
            self.inbox.extend(device.recv());
        }
    }

    /// Acts on so many packets, and answers them in one piece.
    fn act(&mut self, count: usize) {
        let mut answer = Vec::new();
        for _ in 0..count {
            let Some(packet) = self.inbox.pop_front() else {
                break;
            };
            answer.extend(self.answer(&packet));
        }
        self.send(&answer);
    }

    fn answer(&mut self, packet: &str) -> Vec<u8> {
        let words: Vec<&str> = packet.split(' ').collect();
        match words[..] {
            ["CONNACK", "00", ..] => {
                assert!(
                    words.get(2) == Some(&"present"),
                    "{}: no session",
                    self.name
                );
                self.is_online = true;
                self.again()
            }
            ["PUBLISH", topic, "q1", packet_id, ..] => {
                let payload = topic.strip_prefix("t=").unwrap().parse().unwrap();
                self.taken_at_least_once.insert(payload);
                self.ack(
                    PubAck,
                    packet_id.strip_prefix("id").unwrap().parse().unwrap(),
                )
            }
            ["PUBLISH", topic, "q2", packet_id, ..] => {
                let packet_id = packet_id.strip_prefix("id").unwrap().parse().unwrap();
                self.in_flight.insert(packet_id);
                assert!(
                    self.in_flight.len() <= usize::from(self.receive_max) || self.version != V5
                );
                if self.unreleased.insert(packet_id) {
                    let payload = topic.strip_prefix("t=").unwrap().parse().unwrap();
                    self.taken.push(payload);
                }
                self.ack(PubRec, packet_id)
            }
            ["PUBREL", packet_id, ..] => {
                let packet_id = packet_id.parse().unwrap();
                self.unreleased.remove(&packet_id);
                self.in_flight.remove(&packet_id);
                self.ack(PubComp, packet_id)
            }
            ["PUBREC", packet_id] | ["PUBREC", packet_id, "10"] => {
                let packet_id = packet_id.parse().unwrap();
                let at = self
                    .sending
                    .iter()
                    .position(|(sent, ..)| *sent == packet_id);
                self.sending[at.unwrap()].2 = Sending::Release;
                self.ack(PubRel, packet_id)
            }
            ["PUBCOMP" | "PUBACK", packet_id, ..] => {
                let packet_id: u16 = packet_id.parse().unwrap();
                self.sending.retain(|(sent, ..)| *sent != packet_id);
                Vec::new()
            }
            _ => panic!("{}: {packet}", self.name),
        }
    }

    /// What is sent again on a new connection (MQTT-4.4.0-1), in its order (MQTT-4.6.0-1).
    fn again(&self) -> Vec<u8> {
        let again = self.sending.iter();
        again
            .flat_map(|(packet_id, payload, step)| match step {
                Sending::Publish | Sending::AtLeastOnce => self.post(*packet_id, *payload, true),
                Sending::Release => self.ack(PubRel, *packet_id),
            })
            .collect()
    }

    /// The connection is lost, with or without what was written last.
    fn lose(&mut self, dice: &mut Dice, crash: bool) {
        let Some(mut device) = self.device.take() else {
            return;
        };
        if dice.roll(2) == 0 {
            self.inbox.extend(device.recv_late());
            let connack = self
                .inbox
                .iter()
                .any(|packet| packet.starts_with("CONNACK"));
            if connack {
                self.inbox.clear();
            }
            // Taken, but the answers do not get through.
            while let Some(packet) = self.inbox.pop_front() {
                self.answer(&packet);
            }
        }
        if crash {
            mem::forget(device);
        } else {
            device.drop_line();
        }
    }
}

struct Run {
    world: World,
    dice: Dice,
    clients: Vec<Model>,
    published: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let config = MqttConfig {
            anonymous: true,
            ..MqttConfig::default()
        };
        let world = World::on(config, &nobody_logs_in(), TestLog::held_back());
        let version = if seed.is_multiple_of(2) { V5 } else { V311 };
        let mut clients = vec![
            Model::new("publisher", version),
            Model::new("own", version),
            Model::new("member-1", V5),
            Model::new("member-2", V311),
        ];
        let filters = [None, Some("t"), Some("$share/g/t"), Some("$share/g/t")];
        for (client, filter) in clients.iter_mut().zip(filters) {
            client.begin(&world, filter);
        }
        world.log.commit();
        Self {
            world,
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            clients,
            published: 0,
        }
    }

    fn step(&mut self) {
        let dice = &mut self.dice;
        let which = dice.roll(self.clients.len());
        match dice.roll(100) {
            0..25 => {
                let mut bytes = Vec::new();
                for _ in 0..=dice.roll(3) {
                    let publish = self.clients[0].publish(self.published);
                    self.published += usize::from(!publish.is_empty());
                    bytes.extend(publish);
                }
                self.clients[0].send(&bytes);
            }
            25..45 => self.clients[which].listen(),
            45..75 => {
                let count = 1 + dice.roll(5);
                self.clients[which].act(count);
            }
            75..90 => {
                let ends = self.world.log.ends();
                self.world.log.commit_up_to(ends[dice.roll(ends.len())]);
            }
            90..93 => {
                self.clients[which].lose(dice, false);
                self.clients[which].connect(&self.world, dice);
            }
            93..96 => self.crash(),
            _ => self.world.log.commit(),
        }
    }

    fn crash(&mut self) {
        let ends = self.world.log.ends();
        let records = ends[self.dice.roll(ends.len())];
        self.crash_with(records);
    }

    fn crash_with(&mut self, records: usize) {
        let dice = &mut self.dice;
        for client in &mut self.clients {
            client.lose(dice, true);
        }
        self.world = self.world.crash_with(records);
        self.world.log.hold_back();
        let first = dice.roll(self.clients.len());
        for n in 0..self.clients.len() {
            let which = (first + n) % self.clients.len();
            self.clients[which].connect(&self.world, dice);
        }
    }

    /// Until nobody has anything to say.
    fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 4 {
            self.world.log.commit();
            quiet += 1;
            for client in &mut self.clients {
                client.listen();
                quiet = if client.inbox.is_empty() { quiet } else { 0 };
                client.act(usize::MAX);
            }
        }
    }

    fn check(&self, seed: u64) {
        let of_qos = |qos| (0..self.published).filter(move |payload| qos_of(*payload) == qos);
        let all: Vec<usize> = of_qos(2).collect();
        for client in &self.clients {
            assert!(
                client.is_idle(),
                "seed {seed}: {} {:?} {:?}",
                client.name,
                client.sending,
                client.unreleased
            );
        }
        assert_eq!(
            self.clients[1].taken, all,
            "seed {seed}: each once, in order"
        );
        let at_least_once = &self.clients[1].taken_at_least_once;
        assert!(
            at_least_once.iter().copied().eq(of_qos(1)),
            "seed {seed}: {at_least_once:?}"
        );
        let (one, other) = (&self.clients[2], &self.clients[3]);
        let at_least_once = one.taken_at_least_once.union(&other.taken_at_least_once);
        assert!(
            at_least_once.copied().eq(of_qos(1)),
            "seed {seed}: QoS 1 in the group"
        );
        let mut group = [&self.clients[2].taken[..], &self.clients[3].taken[..]].concat();
        group.sort_unstable();
        assert_eq!(group, all, "seed {seed}: each once in the group");
        let documents = self.world.broker.documents("/", b"mqtt");
        assert_eq!(
            documents.len(),
            4 + 3,
            "seed {seed}: sessions and subscriptions"
        );
    }
}

#[test]
fn every_message_of_qos_2_arrives_exactly_once_whatever_breaks() {
    let mut published = 0;
    for seed in 1..=300 {
        let mut run = Run::new(seed);
        for _ in 0..300 {
            run.step();
        }
        run.settle();
        run.check(seed);
        published += run.published;
    }
    assert!(published > 300 * 10, "{published} messages");
}

#[test]
fn every_message_of_qos_2_arrives_exactly_once_wherever_the_journal_is_cut() {
    const STEPS: usize = 50;
    let mut cuts = 0;
    for seed in 1..=4 {
        for steps in 0..STEPS {
            let mut later = 0;
            loop {
                let mut run = Run::new(seed);
                for _ in 0..steps {
                    run.step();
                }
                let ends = run.world.log.ends();
                run.crash_with(ends[later]);
                run.settle();
                run.check(seed);
                cuts += 1;
                later += 1;
                if later == ends.len() {
                    break;
                }
            }
        }
    }
    assert!(cuts > 2 * 4 * STEPS, "{cuts} cuts");
}
