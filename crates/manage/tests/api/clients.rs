//! Connections, channels, consumers.

use std::sync::Arc;

use serde_json::json;
use ternmq_broker::Client;
use ternmq_broker::inspect::{ConnectionInfo, ConsumerLabel, Protocol};
use ternmq_broker::mailbox::{CloseReason, Notice, Token};
use ternmq_core::queue::{AckMode, ConsumerSpec, Credit, LeaseTimeout};
use ternmq_core::value::{Headers, Value};

use crate::harness::{NODE, Node, START};

const NAME: &str = "127.0.0.1:50000 -> 127.0.0.1:5672";
const PATH: &str = "/connections/127.0.0.1%3A50000%20-%3E%20127.0.0.1%3A5672";

fn introduce(client: &mut Client) -> Arc<ternmq_broker::inspect::ConnectionStats> {
    let properties: Headers = [("product", "pika"), ("connection_name", "mine")]
        .into_iter()
        .map(|(name, value)| (name.into(), Value::text(value)))
        .collect();
    client.introduce(ConnectionInfo {
        protocol: Protocol::Amqp091,
        peer: "127.0.0.1:50000".parse().unwrap(),
        local: "127.0.0.1:5672".parse().unwrap(),
        tls: None,
        auth_mechanism: "PLAIN".into(),
        client_properties: Arc::new(properties),
        frame_max: 131_072,
        channel_max: 2047,
        timeout_s: 60,
        connected_at: START,
        mqtt: None,
    })
}

#[test]
fn connection_is_shown_with_what_strict_clients_want() {
    let node = Node::new();
    let mut client = node.client();
    introduce(&mut client);
    let shown = node.get(PATH).expect(200);
    for field in [
        "name",
        "node",
        "vhost",
        "user",
        "protocol",
        "state",
        "connected_at",
        "host",
        "port",
        "peer_host",
        "peer_port",
        "channels",
        "channel_max",
        "frame_max",
        "timeout",
        "ssl",
        "auth_mechanism",
        "client_properties",
        "user_provided_name",
        "recv_oct",
        "send_oct",
        "recv_cnt",
        "send_cnt",
        "send_pend",
        "recv_oct_details",
        "send_oct_details",
    ] {
        assert!(!shown[field].is_null(), "{field}");
    }
    assert_eq!(
        (&shown["name"], &shown["node"]),
        (&json!(NAME), &json!(NODE))
    );
    assert_eq!(shown["client_properties"]["product"], "pika");
    for field in ["ssl_protocol", "ssl_cipher", "peer_cert_subject"] {
        assert_eq!(shown.get(field), Some(&json!(null)), "{field}");
    }
    assert_eq!(
        (&shown["protocol"], &shown["peer_port"]),
        (&json!("AMQP 0-9-1"), &json!(50000))
    );
    for list in [
        "/connections",
        "/vhosts/%2F/connections",
        "/connections/username/guest",
    ] {
        assert_eq!(node.get(list).expect(200)[0]["name"], NAME, "{list}");
    }
    assert_eq!(
        node.get("/connections/username/other").expect(200),
        json!([])
    );
    assert_eq!(
        node.get("/overview").expect(200)["object_totals"]["connections"],
        1
    );
    node.get("/connections/nope").expect_not_found();
}

#[test]
fn only_connections_of_amqp_1_have_sessions() {
    let node = Node::new();
    let mut client = node.client();
    introduce(&mut client);
    let refused = node.get(&format!("{PATH}/sessions")).expect(400);
    assert_eq!(refused["reason"], "connection does not use AMQP 1.0");
    node.get("/connections/nope/sessions").expect_not_found();
}

#[test]
fn connection_is_closed_for_the_reason_that_is_given() {
    let node = Node::new();
    let mut client = node.client();
    introduce(&mut client);
    node.delete(PATH).expect(204);
    let mut notices = Vec::new();
    client.mailbox().drain(&mut notices);
    let reason = CloseReason::Administrative("Closed via management plugin".into());
    assert_eq!(notices, [Notice::Close(reason)]);
    node.delete("/connections/nope").expect_not_found();
    node.delete("/connections/username/guest").expect(204);
    client.mailbox().drain(&mut notices);
    assert_eq!(notices.len(), 2);
}

#[test]
fn connections_of_others_are_hidden_from_those_who_do_not_monitor() {
    let node = Node::new();
    node.user("m", "management");
    node.put(
        "/permissions/%2F/m",
        &json!({"configure": "", "write": "", "read": ""}),
    )
    .expect(201);
    let mut client = node.client();
    introduce(&mut client).open_channel(1);
    for list in [
        "/connections",
        "/channels",
        "/vhosts/%2F/connections",
        "/vhosts/%2F/channels",
    ] {
        assert_eq!(
            node.ask_as("m", "GET", list, "").expect(200),
            json!([]),
            "{list}"
        );
    }
    for method in ["GET", "DELETE"] {
        let refused = node.ask_as("m", method, PATH, "");
        refused.expect_not_authorised("User not authorised to access object");
    }
    assert!(!client.mailbox().has_notices());
}

#[test]
fn channel_is_shown_with_its_consumers() {
    let node = Node::new();
    node.put("/queues/%2F/q", &json!({})).expect(201);
    let mut client = node.client();
    let stats = introduce(&mut client);
    stats.open_channel(1).prefetch.set(7);
    let spec = ConsumerSpec {
        mode: AckMode::Manual,
        credit: Credit::Unlimited,
        priority: 0,
        exclusive: false,
        lease_timeout: LeaseTimeout::Own(60_000),
    };
    let label = ConsumerLabel {
        tag: "ctag".into(),
        channel: 1,
        prefetch: 7,
        arguments: None,
    };
    let _consumer = client.consume_as("q", spec, Token(1), label).unwrap();
    let channels = node.get("/channels").expect(200);
    let name = format!("{NAME} (1)");
    assert_eq!(
        (&channels[0]["name"], &channels[0]["prefetch_count"]),
        (&json!(name), &json!(7))
    );
    let channel = node
        .get(&format!("/channels/{}%20(1)", &PATH[13..]))
        .expect(200);
    for field in [
        "number",
        "name",
        "connection_details",
        "vhost",
        "state",
        "consumer_count",
        "confirm",
        "prefetch_count",
        "messages_unacknowledged",
        "messages_unconfirmed",
        "transactional",
        "global_prefetch_count",
        "idle_since",
    ] {
        assert!(!channel[field].is_null(), "{field}");
    }
    let consumer = json!({
        "ack_required": true, "active": true, "activity_status": "up", "arguments": {}, "consumer_tag": "ctag",
        "consumer_timeout": 60_000, "exclusive": false, "prefetch_count": 7, "queue": {"name": "q", "vhost": "/"},
        "channel_details": {
            "connection_name": NAME, "name": name, "node": NODE, "number": 1, "peer_host": "127.0.0.1",
            "peer_port": 50000, "user": "guest",
        },
    });
    assert_eq!(channel["consumer_details"], json!([consumer]));
    for list in ["/consumers", "/consumers/%2F"] {
        assert_eq!(node.get(list).expect(200), json!([consumer]), "{list}");
    }
    let queue = node.get("/queues/%2F/q").expect(200);
    assert_eq!(
        (&queue["consumers"], &queue["consumer_details"]),
        (&json!(1), &json!([consumer]))
    );
    assert_eq!(
        node.get(&format!("{PATH}/channels")).expect(200)[0]["number"],
        1
    );
    node.get("/channels/nope").expect_not_found();
}
