//! Answers of a broker with something in it, read by a parser that accepts nothing but the format.

mod dashboards;
mod parser;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ternmq_broker::clock::ManualClock;
use ternmq_broker::inspect::{ConnectionInfo, Protocol};
use ternmq_broker::mailbox::Mailbox;
use ternmq_broker::{BrokerConfig, Client, MemoryLog, Turn};
use ternmq_core::id::Timestamp;
use ternmq_core::message::{NewMessage, Properties};
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::QueueDecl;
use ternmq_core::value::{Headers, Value};

use self::parser::{Exposition, parse};
use super::*;

const START: Timestamp = Timestamp(1_000);

fn source() -> Source {
    let clock = Arc::new(ManualClock::new(START));
    let log = Arc::new(MemoryLog::new());
    Source {
        broker: Broker::new(&BrokerConfig::default(), clock, log),
        facts: Arc::new(Facts {
            node: "ternmq@host".into(),
            rabbitmq_version: "4.1.0".into(),
            product: "TernMQ".into(),
            version: "0.1.0".into(),
        }),
        machine: Machine {
            cluster: "the cluster".into(),
            cluster_id: "id".into(),
            resident_bytes: 100_000_000,
            program_bytes: 1_000_000,
            memory_high_bytes: 1_000_000_000,
            disk_free_bytes: 5,
            disk_free_low_bytes: 10,
            disk_alarm: true,
            files: 20,
            files_max: 1024,
            connections_max: 100,
            uptime_ms: 90_500,
            ..Machine::default()
        },
    }
}

fn client(source: &Source) -> Client {
    let broker = &source.broker;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let user = broker.login("guest", b"guest", loopback).unwrap();
    let mut client = broker.connect(&user, "/", Mailbox::new(10)).unwrap();
    client.introduce(ConnectionInfo {
        protocol: Protocol::Amqp091,
        peer: SocketAddr::from(([127, 0, 0, 1], 5001)),
        local: SocketAddr::from(([127, 0, 0, 1], 5672)),
        tls: None,
        auth_mechanism: "PLAIN".into(),
        client_properties: Arc::default(),
        frame_max: 131_072,
        channel_max: 2047,
        timeout_s: 60,
        connected_at: START,
        mqtt: None,
    });
    client
}

fn declare(client: &mut Client, name: &str, kind: &str) {
    let kind = ("x-queue-type".into(), Value::text(kind));
    client
        .declare_queue(QueueDecl {
            name: name.into(),
            durable: true,
            exclusive: None,
            auto_delete: false,
            arguments: [kind].into_iter().collect(),
        })
        .unwrap();
}

fn publish(client: &mut Client, queue: &str, body: &[u8]) {
    let request = RouteRequest {
        exchange: b"",
        routing_key: queue.as_bytes(),
        key_syntax: KeySyntax::Dotted,
        extra_keys: &[],
        headers: &Headers::new,
        properties: &Properties::default,
        publisher: None,
        from_client: true,
    };
    let route = client.route(&request).unwrap();
    let new = NewMessage::plain(b"", queue.as_bytes(), body);
    let mut turn = Turn::new();
    turn.push(new.build(&mut Vec::new()), route);
    client.publish(&mut turn, START);
}

fn ask(source: &Source, endpoint: &Endpoint) -> Exposition {
    let text: Vec<u8> = Scrape::new(source.clone(), endpoint).flatten().collect();
    parse(&String::from_utf8(text).unwrap())
}

fn detailed(source: &Source, families: &[&str], narrow: impl FnOnce(&mut Selection)) -> Exposition {
    let mut selection = Selection::default();
    for family in families {
        selection.add_family(*family);
    }
    narrow(&mut selection);
    ask(source, &Endpoint::Detailed(Box::new(selection)))
}

/// Every family that `/metrics/detailed` knows in RabbitMQ.
const FAMILIES: [&str; 25] = [
    "connection_churn_metrics",
    "node_coarse_metrics",
    "node_metrics",
    "node_persister_metrics",
    "auth_attempt_metrics",
    "auth_attempt_detailed_metrics",
    "queue_coarse_metrics",
    "queue_consumer_count",
    "queue_metrics",
    "queue_delivery_metrics",
    "queue_exchange_metrics",
    "channel_metrics",
    "channel_exchange_metrics",
    "channel_queue_metrics",
    "channel_queue_exchange_metrics",
    "channel_process_metrics",
    "connection_coarse_metrics",
    "connection_metrics",
    "exchange_metrics",
    "stream_consumer_metrics",
    "ra_metrics",
    "vhost_status",
    "exchange_names",
    "exchange_bindings",
    "node_memory",
];

#[test]
fn every_answer_is_in_the_format() {
    let source = source();
    let mut client = client(&source);
    declare(&mut client, "a \"quoted\"\\\nname", "classic");
    declare(&mut client, "quorum", "quorum");
    publish(&mut client, "quorum", b"hello");
    for endpoint in [
        Endpoint::Aggregated,
        Endpoint::PerObject,
        Endpoint::MemoryBreakdown,
    ] {
        let exposition = ask(&source, &endpoint);
        assert!(exposition.families.len() > 10, "{endpoint:?}");
    }
    let exposition = detailed(&source, &FAMILIES, |_| {});
    assert!(exposition.families.len() > 60);
}

#[test]
fn dashboards_and_alerts_find_what_they_ask_for() {
    let source = source();
    let client = client(&source);
    let exposition = ask(&source, &Endpoint::Aggregated);
    let missing: Vec<_> = dashboards::AGGREGATED
        .iter()
        .filter(|name| !exposition.has_sample(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    drop(client);
}

#[test]
fn sockets_are_connections() {
    let source = source();
    let client = client(&source);
    let exposition = ask(&source, &Endpoint::Aggregated);
    let open = exposition.value("rabbitmq_process_open_tcp_sockets", &[]);
    assert_eq!(open, Some(1.0));
    let most = exposition.value("rabbitmq_process_max_tcp_sockets", &[]);
    assert_eq!(most, Some(100.0));
    drop(client);
}

#[test]
fn messages_in_memory_are_waiting_or_not_settled() {
    let source = source();
    let mut client = client(&source);
    declare(&mut client, "q", "classic");
    publish(&mut client, "q", b"hello");
    let exposition = detailed(&source, &["queue_metrics"], |_| {});
    let labels = [("vhost", "/"), ("queue", "q")];
    let value = |name: &str| exposition.value(name, &labels);
    let ready = value("rabbitmq_detailed_queue_messages_ready_ram");
    assert_eq!(ready, Some(1.0));
    let unacked = value("rabbitmq_detailed_queue_messages_unacked_ram");
    assert_eq!(unacked, Some(0.0));
}

#[test]
fn alerts_find_each_queue() {
    let source = source();
    let mut client = client(&source);
    declare(&mut client, "q", "classic");
    let families = ["queue_coarse_metrics", "queue_consumer_count"];
    let exposition = detailed(&source, &families, |_| {});
    let labels = [("vhost", "/"), ("queue", "q")];
    for name in dashboards::DETAILED {
        assert_eq!(exposition.value(name, &labels), Some(0.0), "{name}");
    }
}

#[test]
fn every_answer_says_who_gives_it() {
    let source = source();
    let endpoints = [
        (Endpoint::Aggregated, "aggregated"),
        (Endpoint::PerObject, "per-object"),
        (Endpoint::Detailed(Box::default()), "detailed"),
        (Endpoint::MemoryBreakdown, "memory-breakdown"),
    ];
    for (endpoint, name) in endpoints {
        let exposition = ask(&source, &endpoint);
        let identity = [
            ("rabbitmq_node", "ternmq@host"),
            ("rabbitmq_cluster", "the cluster"),
            ("rabbitmq_cluster_permanent_id", "id"),
            ("rabbitmq_endpoint", name),
        ];
        let value = exposition.value("rabbitmq_identity_info", &identity);
        assert_eq!(value, Some(1.0), "{name}");
        let labels = exposition.labels_of("rabbitmq_build_info");
        for label in dashboards::BUILD_LABELS {
            assert!(labels.contains(&label.to_owned()), "{label}");
        }
    }
}

#[test]
fn sums_are_those_of_the_objects() {
    let source = source();
    let mut client = client(&source);
    declare(&mut client, "a", "classic");
    declare(&mut client, "b", "quorum");
    publish(&mut client, "a", b"12345");
    publish(&mut client, "a", b"12345");
    publish(&mut client, "b", b"1");
    publish(&mut client, "nowhere", b"1");
    let all = ask(&source, &Endpoint::Aggregated);
    assert_eq!(all.value("rabbitmq_queue_messages_ready", &[]), Some(3.0));
    assert_eq!(all.value("rabbitmq_queue_messages_bytes", &[]), Some(11.0));
    assert_eq!(all.value("rabbitmq_queues", &[]), Some(2.0));
    let amqp = [("protocol", "amqp091")];
    assert_eq!(
        all.value("rabbitmq_global_messages_received_total", &amqp),
        Some(4.0)
    );
    assert_eq!(
        all.value("rabbitmq_global_messages_routed_total", &amqp),
        Some(3.0)
    );
    let each = ask(&source, &Endpoint::PerObject);
    let ready = |queue| {
        let labels = [("vhost", "/"), ("queue", queue)];
        each.value("rabbitmq_queue_messages_ready", &labels)
    };
    assert_eq!((ready("a"), ready("b")), (Some(2.0), Some(1.0)));
    let info = [
        ("vhost", "/"),
        ("queue", "b"),
        ("queue_type", "rabbit_quorum_queue"),
        ("membership", "leader"),
    ];
    assert_eq!(each.value("rabbitmq_queue_info", &info), Some(1.0));
}

#[test]
fn bounds_of_sizes_are_written_as_dashboards_do() {
    let source = source();
    let mut client = client(&source);
    declare(&mut client, "q", "classic");
    publish(&mut client, "q", &[0; 100]);
    publish(&mut client, "q", &[0; 101]);
    publish(&mut client, "q", &vec![0; 2_000_000]);
    let exposition = ask(&source, &Endpoint::Aggregated);
    let below = |bound| {
        let labels = [("protocol", "amqp091"), ("le", bound)];
        exposition.value("rabbitmq_message_size_bytes_bucket", &labels)
    };
    let counts = dashboards::SIZE_BOUNDS.map(|bound| below(bound).unwrap());
    let expected = [1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0];
    assert_eq!(counts.as_slice(), expected.as_slice());
    let amqp = [("protocol", "amqp091")];
    let sum = exposition.value("rabbitmq_message_size_bytes_sum", &amqp);
    assert_eq!(sum, Some(2_000_201.0));
}

#[test]
fn alarms_are_raised_one_by_one() {
    let exposition = ask(&source(), &Endpoint::Aggregated);
    let alarm = |name: &str| exposition.value(&format!("rabbitmq_alarms_{name}"), &[]);
    assert_eq!(alarm("free_disk_space_watermark"), Some(1.0));
    assert_eq!(alarm("memory_used_watermark"), Some(0.0));
    assert_eq!(alarm("file_descriptor_limit"), Some(0.0));
}

#[test]
fn families_and_queues_are_chosen() {
    let source = source();
    let mut client = client(&source);
    for name in ["orders", "orders.dead", "other"] {
        declare(&mut client, name, "classic");
    }
    let none = detailed(&source, &[], |_| {});
    assert_eq!(none.families.len(), 2, "who answers, and nothing else");
    let families = ["queue_coarse_metrics", "no_such_family"];
    let chosen = detailed(&source, &families, |selection| {
        selection.match_queues("^orders").unwrap();
    });
    let ready = "rabbitmq_detailed_queue_messages_ready";
    assert_eq!(chosen.count(ready), 2);
    assert!(!chosen.has_sample("rabbitmq_detailed_queue_consumers"));
    let elsewhere = detailed(&source, &families, |selection| selection.add_vhost("v"));
    assert_eq!(elsewhere.count(ready), 0);
}

#[test]
fn many_queues_come_in_parts_and_are_all_there() {
    const QUEUES: usize = 2_000;
    let source = source();
    let mut client = client(&source);
    for number in 0..QUEUES {
        declare(&mut client, &format!("queue.{number}"), "classic");
    }
    let parts: Vec<_> = Scrape::new(source.clone(), &Endpoint::PerObject).collect();
    assert!(parts.len() > 10);
    let largest = parts.iter().map(Vec::len).max().unwrap();
    assert!(largest < 2 * family::PAGE_BYTES, "{largest}");
    let exposition = parse(&String::from_utf8(parts.concat()).unwrap());
    assert_eq!(exposition.count("rabbitmq_queue_messages_ready"), QUEUES);
    assert_eq!(exposition.count("rabbitmq_queue_get_empty_total"), QUEUES);
}
