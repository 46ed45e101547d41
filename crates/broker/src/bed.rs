//! A broker over a log that keeps nothing, with a clock that stands still, for tests that look inside.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ternmq_core::id::Timestamp;
use ternmq_core::message::{NewMessage, Properties};
use ternmq_core::queue::{AckMode, ConsumerSpec, Credit, LeaseTimeout};
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::QueueDecl;
use ternmq_core::value::{Headers, Value};
use ternmq_journal::MemoryLog;

use crate::clock::ManualClock;
use crate::config::BrokerConfig;
use crate::mailbox::Mailbox;
use crate::{Broker, Client, Turn};

pub(crate) const START: Timestamp = Timestamp(1_000);

pub(crate) fn broker() -> Broker {
    let clock = Arc::new(ManualClock::new(START));
    Broker::new(&BrokerConfig::default(), clock, Arc::new(MemoryLog::new()))
}

pub(crate) fn client(broker: &Broker) -> Client {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let user = broker.login("guest", b"guest", loopback).unwrap();
    broker.connect(&user, "/", Mailbox::new(10)).unwrap()
}

pub(crate) fn queue(name: &str, arguments: &[(&str, Value)]) -> QueueDecl {
    QueueDecl {
        name: name.into(),
        durable: false,
        exclusive: None,
        auto_delete: false,
        arguments: arguments
            .iter()
            .map(|(n, v)| ((*n).into(), v.clone()))
            .collect(),
    }
}

pub(crate) fn spec() -> ConsumerSpec {
    ConsumerSpec {
        mode: AckMode::Auto,
        credit: Credit::Unlimited,
        priority: 0,
        exclusive: false,
        lease_timeout: LeaseTimeout::Never,
    }
}

/// Publishes one message, without an exchange.
pub(crate) fn publish(client: &mut Client, queue: &str, ttl_ms: Option<u64>) {
    let request = request(b"", queue.as_bytes());
    let route = client.route(&request).unwrap();
    let mut new = NewMessage::plain(b"", queue.as_bytes(), b"body");
    new.ttl_ms = ttl_ms;
    let mut turn = Turn::new();
    turn.push(new.build(&mut Vec::new()), route);
    client.publish(&mut turn, START);
}

pub(crate) fn request<'a>(exchange: &'a [u8], routing_key: &'a [u8]) -> RouteRequest<'a> {
    RouteRequest {
        exchange,
        routing_key,
        key_syntax: KeySyntax::Dotted,
        extra_keys: &[],
        headers: &Headers::new,
        properties: &Properties::default,
        publisher: None,
        from_client: true,
    }
}
