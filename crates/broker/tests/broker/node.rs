//! A broker over an in-memory log, with a clock that tests move, and short ways to its verbs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ternmq_broker::clock::ManualClock;
use ternmq_broker::mailbox::{Mailbox, Notice, Token};
use ternmq_broker::{Broker, BrokerConfig, Client, Consumer, Turn};
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::message::{Message, NewMessage, Properties};
use ternmq_core::queue::{AckMode, Budget, ConsumerSpec, Credit, Delivery, LeaseTimeout};
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::{BindingDecl, BindingOptions, Destination, QueueDecl};
use ternmq_core::value::{Headers, Value};
use ternmq_journal::MemoryLog;

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const START: Timestamp = Timestamp(1_000_000);

pub(crate) struct Node {
    pub(crate) broker: Broker,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) log: Arc<MemoryLog>,
}

impl Node {
    pub(crate) fn new(log: MemoryLog) -> Self {
        Self::with(&BrokerConfig::default(), log)
    }

    pub(crate) fn with(config: &BrokerConfig, log: MemoryLog) -> Self {
        let (clock, log) = (Arc::new(ManualClock::new(START)), Arc::new(log));
        let broker = Broker::new(config, clock.clone(), log.clone());
        Self { broker, clock, log }
    }

    pub(crate) fn client(&self) -> Client {
        let user = self.broker.login("guest", b"guest", LOOPBACK).unwrap();
        self.broker.connect(&user, "/", Mailbox::new(1000)).unwrap()
    }
}

pub(crate) fn queue(name: &str, arguments: &[(&str, Value)]) -> QueueDecl {
    QueueDecl {
        name: name.into(),
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments: arguments
            .iter()
            .map(|(n, v)| ((*n).into(), v.clone()))
            .collect(),
    }
}

pub(crate) fn request<'a>(
    exchange: &'a str,
    key: &'a str,
    headers: &'a dyn Fn() -> Headers,
) -> RouteRequest<'a> {
    RouteRequest {
        exchange: exchange.as_bytes(),
        routing_key: key.as_bytes(),
        key_syntax: KeySyntax::Dotted,
        extra_keys: &[],
        headers,
        properties: &Properties::default,
        publisher: None,
        from_client: true,
    }
}

pub(crate) fn message(
    exchange: &str,
    key: &str,
    body: &str,
    durable: bool,
    now: Timestamp,
) -> Message {
    let mut new = NewMessage::plain(exchange.as_bytes(), key.as_bytes(), body.as_bytes());
    new.durable = durable;
    new.received_at = now;
    new.build(&mut Vec::new())
}

pub(crate) fn publish(
    client: &mut Client,
    now: Timestamp,
    exchange: &str,
    key: &str,
    bodies: &[&str],
) -> (Lsn, Vec<usize>) {
    let mut turn = Turn::new();
    for body in bodies {
        let route = client
            .route(&request(exchange, key, &Headers::new))
            .unwrap();
        turn.push(message(exchange, key, body, true, now), route);
    }
    let published = client.publish(&mut turn, now);
    let result = (published.lsn, published.rejected.to_vec());
    assert!(turn.is_empty());
    result
}

pub(crate) fn consume(client: &mut Client, queue: &str, token: u64) -> Consumer {
    let spec = ConsumerSpec {
        mode: AckMode::Manual,
        credit: Credit::Unlimited,
        priority: 0,
        exclusive: false,
        lease_timeout: LeaseTimeout::Never,
    };
    client.consume(queue, spec, Token(token)).unwrap()
}

pub(crate) fn notices(client: &Client) -> Vec<Notice> {
    let mut out = Vec::new();
    client.mailbox().drain(&mut out);
    out
}

pub(crate) fn drain(client: &mut Client, consumer: &Consumer, now: Timestamp) -> Vec<Delivery> {
    let mut out = Vec::new();
    client.drain(
        consumer,
        Budget {
            messages: 1000,
            bytes: 1 << 20,
        },
        &mut out,
        now,
    );
    out
}

pub(crate) fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries
        .iter()
        .map(|d| std::str::from_utf8(d.message.body()).unwrap())
        .collect()
}

pub(crate) fn get(client: &mut Client, queue: &str) -> Option<Message> {
    client
        .get(queue, true)
        .unwrap()
        .map(|got| got.delivery.message)
}
pub(crate) fn bind(client: &mut Client, exchange: &str, queue: &str, key: &str) {
    let arguments = Headers::new();
    let binding = BindingDecl {
        source: exchange,
        destination: Destination::Queue(queue),
        key: key.as_bytes(),
        syntax: KeySyntax::Dotted,
        arguments: &arguments,
        options: BindingOptions::default(),
    };
    client.bind(&binding).unwrap();
}

pub(crate) fn with_dead_letters(client: &mut Client, arguments: &[(&str, Value)]) {
    client.declare_queue(queue("dead", &[])).unwrap();
    let mut all = vec![
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
    ];
    all.extend_from_slice(arguments);
    client.declare_queue(queue("q", &all)).unwrap();
}

pub(crate) struct Forms;

impl ternmq_core::record::Formats for Forms {
    fn format(
        &self,
        id: ternmq_core::message::FormatId,
    ) -> Option<&'static dyn ternmq_core::message::PropertyFormat> {
        (id == ternmq_core::message::FormatId(0)).then_some(&ternmq_core::message::NoProperties)
    }
}
