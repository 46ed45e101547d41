//! A node without sockets, and peers that talk to its machines.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable, LongString, ShortString};
use ternmq_amqp::{AmqpAcceptor, AmqpConfig};
use ternmq_broker::clock::{Clock, ManualClock};
use ternmq_broker::mailbox::{Mailbox, Notice};
use ternmq_broker::{Broker, BrokerConfig, Log, MemoryLog, UserConfig};
use ternmq_core::id::Timestamp;
use ternmq_net::machine::{Acceptor, Flow, Machine, Output};

pub(crate) const VHOST: &str = "probe";
pub(crate) const HEADER: &[u8] = b"AMQP\0\0\x09\x01";

/// Everything a connection says when it is closed: code, text, class id, method id.
pub(crate) type Closed = (u16, String, u16, u16);

pub(crate) struct Node {
    pub(crate) broker: Broker,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) log: Arc<MemoryLog>,
    acceptor: AmqpAcceptor,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with(AmqpConfig::default())
    }

    pub(crate) fn with(config: AmqpConfig) -> Self {
        Self::with_log(config, MemoryLog::new())
    }

    pub(crate) fn with_log(config: AmqpConfig, log: MemoryLog) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
        let log = Arc::new(log);
        let broker_config = BrokerConfig {
            vhosts: vec!["/".to_owned(), VHOST.to_owned()],
            users: vec![
                UserConfig::default(),
                UserConfig {
                    name: "lim".to_owned(),
                    password: "lim".to_owned(),
                    vhosts: Some(vec!["/".to_owned()]),
                    tags: Vec::new(),
                    loopback_only: false,
                },
            ],
            ..BrokerConfig::default()
        };
        let clock_of_broker: Arc<dyn Clock> = clock.clone();
        let log_of_broker: Arc<dyn Log> = log.clone();
        let broker = Broker::new(&broker_config, clock_of_broker, log_of_broker);
        let acceptor = AmqpAcceptor::new(config, broker.clone()).unwrap();
        Self {
            broker,
            clock,
            log,
            acceptor,
        }
    }

    /// A peer that has not said anything.
    pub(crate) fn dial(&self) -> Peer {
        self.dial_from(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    pub(crate) fn dial_from(&self, ip: IpAddr) -> Peer {
        let addr = |port| SocketAddr::new(ip, port);
        self.dial_as(ternmq_net::machine::Peer::tcp(addr(40_000), addr(5672)))
    }

    pub(crate) fn dial_as(&self, peer: ternmq_net::machine::Peer) -> Peer {
        let mailbox = Mailbox::new(self.acceptor.token_max());
        let machine = self
            .acceptor
            .accept(peer, Arc::clone(&mailbox), self.clock.now())
            .unwrap();
        Peer {
            machine,
            mailbox,
            clock: Arc::clone(&self.clock),
            pending_bytes_max: self.acceptor.pending_bytes_max(),
            pending: Vec::new(),
            out: Output::new(),
            arrived: Vec::new(),
            frames: VecDeque::new(),
            gone: false,
        }
    }

    /// A peer that is logged in and works in [`VHOST`].
    pub(crate) fn connect(&self) -> Peer {
        let mut peer = self.dial();
        peer.log_in(&client_properties(), VHOST);
        peer
    }

    /// The same with channel 1 open.
    pub(crate) fn channel(&self) -> Peer {
        let mut peer = self.connect();
        peer.open_channel(1);
        peer
    }
}

pub(crate) struct Peer {
    machine: Box<dyn Machine>,
    pub(crate) mailbox: Arc<Mailbox>,
    clock: Arc<ManualClock>,
    pending_bytes_max: usize,
    pending: Vec<u8>,
    out: Output,
    arrived: Vec<u8>,
    frames: VecDeque<AMQPFrame>,
    gone: bool,
}

impl Peer {
    /// What the driver does with bytes that arrive.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        if self.reads() && !self.pending.is_empty() {
            let now = self.clock.now();
            let taken = self.machine.handle_input(&self.pending, now, &mut self.out);
            self.pending.drain(..taken);
            if self.reads() {
                assert!(
                    self.pending.len() <= self.pending_bytes_max,
                    "a partial frame is left"
                );
            }
        }
        self.pump();
    }

    /// One byte at a time.
    pub(crate) fn trickle(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send_bytes(std::slice::from_ref(byte));
        }
    }

    pub(crate) fn send(&mut self, channel: u16, class: AMQPClass) {
        self.send_bytes(&method_bytes(channel, class));
    }

    /// Lets the machine deliver, and closes it if it says so.
    pub(crate) fn pump(&mut self) {
        if self.gone {
            return;
        }
        let now = self.clock.now();
        loop {
            let more = self.machine.handle_notices(now, &mut self.out);
            self.arrived.extend(self.out.take());
            if !more {
                break;
            }
        }
        if self.machine.flow() == Flow::Close {
            self.machine.handle_disconnect(now);
            self.gone = true;
        }
        while !self.arrived.is_empty() {
            let (left, frame) = match parse_frame(&self.arrived[..]) {
                Ok((rest, frame)) => (rest.len(), frame),
                Err(_) => break,
            };
            self.arrived.drain(..self.arrived.len() - left);
            self.frames.push_back(frame);
        }
    }

    /// Time passes; deadlines that come are acted on.
    pub(crate) fn wait_ms(&mut self, ms: u64) {
        let until = self.clock.now().plus_ms(ms);
        while let Some(deadline) = self.machine.deadline().filter(|at| *at <= until) {
            self.clock.advance_to(deadline);
            self.machine
                .handle_deadline(self.clock.now(), &mut self.out);
            self.pump();
            assert!(
                self.machine.deadline().is_none_or(|next| next > deadline) || self.gone,
                "a deadline that came is over"
            );
            if self.gone {
                break;
            }
        }
        self.clock.advance_to(until);
    }

    pub(crate) fn notify(&mut self, notice: Notice) {
        self.mailbox.push(notice);
        self.pump();
    }

    pub(crate) fn shut_down(&mut self) {
        self.machine
            .handle_shutdown(self.clock.now(), &mut self.out);
        self.pump();
    }

    /// The transport is lost.
    pub(crate) fn lose(mut self) {
        self.machine.handle_disconnect(self.clock.now());
        self.gone = true;
    }

    pub(crate) fn reads(&self) -> bool {
        !self.gone && self.machine.flow() == Flow::Open { read: true }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Bytes that make no frame.
    pub(crate) fn raw(&mut self) -> Vec<u8> {
        self.pump();
        std::mem::take(&mut self.arrived)
    }

    pub(crate) fn next_frame(&mut self) -> Option<AMQPFrame> {
        self.pump();
        self.frames.pop_front()
    }

    pub(crate) fn has_frame(&self) -> bool {
        !self.frames.is_empty()
    }

    #[track_caller]
    pub(crate) fn expect_silence(&mut self) {
        assert_eq!(self.next_frame(), None);
    }

    /// The next method; heartbeats may stand before it.
    #[track_caller]
    pub(crate) fn expect(&mut self, channel: u16) -> AMQPClass {
        self.pump();
        while self.frames.front() == Some(&AMQPFrame::Heartbeat) {
            self.frames.pop_front();
        }
        match self.next_frame() {
            Some(AMQPFrame::Method(on, class)) => {
                assert_eq!(on, channel, "{class:?}");
                class
            }
            other => panic!("a method was expected, not {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn call(&mut self, channel: u16, class: AMQPClass) -> AMQPClass {
        self.send(channel, class);
        self.expect(channel)
    }

    #[track_caller]
    pub(crate) fn expect_channel_close(&mut self, channel: u16) -> Closed {
        match self.expect(channel) {
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => (
                close.reply_code,
                close.reply_text.to_string(),
                close.class_id,
                close.method_id,
            ),
            other => panic!("channel.close was expected, not {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn expect_close(&mut self) -> Closed {
        match self.expect(0) {
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => (
                close.reply_code,
                close.reply_text.to_string(),
                close.class_id,
                close.method_id,
            ),
            other => panic!("connection.close was expected, not {other:?}"),
        }
    }

    /// A message with the method before it.
    #[track_caller]
    pub(crate) fn expect_content(&mut self, channel: u16) -> Content {
        let method = self.expect(channel);
        let Some(AMQPFrame::Header(on, header)) = self.next_frame() else {
            panic!("a header was expected");
        };
        assert_eq!((on, header.class_id), (channel, 60));
        let mut body = Vec::new();
        let mut body_frames = 0;
        while (body.len() as u64) < header.body_size {
            let Some(AMQPFrame::Body(on, piece)) = self.next_frame() else {
                panic!("a body was expected");
            };
            assert_eq!(on, channel);
            body.extend(piece);
            body_frames += 1;
        }
        assert_eq!(body.len() as u64, header.body_size);
        Content {
            method,
            properties: header.properties,
            body,
            body_frames,
        }
    }

    #[track_caller]
    pub(crate) fn expect_delivery(&mut self, channel: u16) -> (basic::Deliver, Content) {
        let content = self.expect_content(channel);
        match &content.method {
            AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)) => (deliver.clone(), content),
            other => panic!("basic.deliver was expected, not {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn log_in(&mut self, properties: &FieldTable, vhost: &str) {
        self.send_bytes(HEADER);
        let AMQPClass::Connection(connection::AMQPMethod::Start(_)) = self.expect(0) else {
            panic!("connection.start was expected");
        };
        let AMQPClass::Connection(connection::AMQPMethod::Tune(tune)) =
            self.call(0, start_ok(properties, "PLAIN", b"\0guest\0guest"))
        else {
            panic!("connection.tune was expected");
        };
        self.send(0, tune_ok(tune.channel_max, tune.frame_max, tune.heartbeat));
        let AMQPClass::Connection(connection::AMQPMethod::OpenOk(_)) = self.call(0, open(vhost))
        else {
            panic!("connection.open-ok was expected");
        };
    }

    #[track_caller]
    pub(crate) fn open_channel(&mut self, channel: u16) {
        let AMQPClass::Channel(channel::AMQPMethod::OpenOk(_)) = self.call(channel, channel_open())
        else {
            panic!("channel.open-ok was expected");
        };
    }

    /// Answers `channel.close` and opens the channel again.
    pub(crate) fn reopen_channel(&mut self, channel: u16) {
        self.send(
            channel,
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})),
        );
        self.open_channel(channel);
    }

    #[track_caller]
    pub(crate) fn declare(&mut self, queue: &str) {
        let answer = self.call(1, declare_queue(queue));
        assert!(
            matches!(answer, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(_))),
            "{answer:?}"
        );
    }

    pub(crate) fn publish(&mut self, queue: &str, body: &[u8]) {
        self.send_bytes(&publish_bytes(1, "", queue, body));
    }

    #[track_caller]
    pub(crate) fn consume(&mut self, queue: &str, tag: &str, no_ack: bool) {
        let consume = basic::Consume {
            queue: short(queue),
            consumer_tag: short(tag),
            no_ack,
            ..basic::Consume::default()
        };
        let answer = self.call(1, AMQPClass::Basic(basic::AMQPMethod::Consume(consume)));
        assert!(
            matches!(answer, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(_))),
            "{answer:?}"
        );
    }

    /// Ready messages of a queue, by a passive declare.
    #[track_caller]
    pub(crate) fn ready(&mut self, channel: u16, queue: &str) -> u32 {
        match self.call(channel, passive_queue(queue)) {
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => ok.message_count,
            other => panic!("queue.declare-ok was expected, not {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn select_confirms(&mut self) {
        let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
        let answer = self.call(1, AMQPClass::Confirm(select));
        assert!(matches!(
            answer,
            AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_))
        ));
    }
}

#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) method: AMQPClass,
    pub(crate) properties: basic::AMQPProperties,
    pub(crate) body: Vec<u8>,
    pub(crate) body_frames: usize,
}

pub(crate) fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap()
}

pub(crate) fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(short(name), value.clone());
    }
    table
}

pub(crate) fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

/// What a client of today announces.
pub(crate) fn client_properties() -> FieldTable {
    let capabilities = table(&[
        ("authentication_failure_close", AMQPValue::Boolean(true)),
        ("connection.blocked", AMQPValue::Boolean(true)),
        ("consumer_cancel_notify", AMQPValue::Boolean(true)),
        ("basic.nack", AMQPValue::Boolean(true)),
    ]);
    table(&[
        ("capabilities", AMQPValue::FieldTable(capabilities)),
        ("connection_name", text("script")),
    ])
}

pub(crate) fn frame_bytes(frame: &AMQPFrame) -> Vec<u8> {
    gen_frame::<Vec<u8>>(frame)(WriteContext::from(Vec::new()))
        .unwrap()
        .write
}

pub(crate) fn method_bytes(channel: u16, class: AMQPClass) -> Vec<u8> {
    frame_bytes(&AMQPFrame::Method(channel, class))
}

pub(crate) fn publish_method(exchange: &str, routing_key: &str, mandatory: bool) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish {
        exchange: short(exchange),
        routing_key: short(routing_key),
        mandatory,
        immediate: false,
    }))
}

pub(crate) fn header_bytes(
    channel: u16,
    body_size: u64,
    properties: basic::AMQPProperties,
) -> Vec<u8> {
    let header = amq_protocol::frame::AMQPContentHeader {
        class_id: 60,
        body_size,
        properties,
    };
    frame_bytes(&AMQPFrame::Header(channel, header))
}

pub(crate) fn content_bytes(
    channel: u16,
    properties: basic::AMQPProperties,
    body: &[u8],
) -> Vec<u8> {
    let mut bytes = header_bytes(channel, body.len() as u64, properties);
    if !body.is_empty() {
        bytes.extend(frame_bytes(&AMQPFrame::Body(channel, body.to_vec())));
    }
    bytes
}

pub(crate) fn publish_bytes(
    channel: u16,
    exchange: &str,
    routing_key: &str,
    body: &[u8],
) -> Vec<u8> {
    let mut bytes = method_bytes(channel, publish_method(exchange, routing_key, false));
    bytes.extend(content_bytes(
        channel,
        basic::AMQPProperties::default(),
        body,
    ));
    bytes
}

pub(crate) fn start_ok(properties: &FieldTable, mechanism: &str, response: &[u8]) -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::StartOk(connection::StartOk {
        client_properties: properties.clone(),
        mechanism: short(mechanism),
        response: LongString::from(response),
        locale: short("en_US"),
    }))
}

pub(crate) fn tune_ok(channel_max: u16, frame_max: u32, heartbeat: u16) -> AMQPClass {
    let ok = connection::TuneOk {
        channel_max,
        frame_max,
        heartbeat,
    };
    AMQPClass::Connection(connection::AMQPMethod::TuneOk(ok))
}

pub(crate) fn open(vhost: &str) -> AMQPClass {
    let open = connection::Open {
        virtual_host: short(vhost),
    };
    AMQPClass::Connection(connection::AMQPMethod::Open(open))
}

pub(crate) fn channel_open() -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}))
}

pub(crate) fn declare_queue(queue: &str) -> AMQPClass {
    declare_with(queue::Declare {
        queue: short(queue),
        ..queue::Declare::default()
    })
}

pub(crate) fn declare_with(declare: queue::Declare) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(declare))
}

pub(crate) fn passive_queue(queue: &str) -> AMQPClass {
    declare_with(queue::Declare {
        queue: short(queue),
        passive: true,
        ..queue::Declare::default()
    })
}

pub(crate) fn declare_exchange(exchange: &str, kind: &str) -> AMQPClass {
    AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
        exchange: short(exchange),
        kind: short(kind),
        ..exchange::Declare::default()
    }))
}

pub(crate) fn basic(method: basic::AMQPMethod) -> AMQPClass {
    AMQPClass::Basic(method)
}

pub(crate) fn ack(delivery_tag: u64, multiple: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Ack(basic::Ack {
        delivery_tag,
        multiple,
    }))
}

pub(crate) fn get(queue: &str, no_ack: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Get(basic::Get {
        queue: short(queue),
        no_ack,
    }))
}
