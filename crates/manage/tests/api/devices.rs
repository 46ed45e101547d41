//! `/api/x/mqtt/...`: whose sessions are shown to whom.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::{Value, json};
use ternmq_broker::mailbox::Mailbox;
use ternmq_mqtt::config::MqttConfig;
use ternmq_mqtt::listener::MqttAcceptor;
use ternmq_net::machine::{Acceptor as _, Machine, Output, Peer};

use crate::harness::{Node, START};

/// A node that speaks MQTT, too.
fn node() -> (Node, Arc<MqttAcceptor>) {
    let node = Node::new();
    let mqtt = Arc::new(MqttAcceptor::new(
        MqttConfig::default(),
        node.broker.clone(),
    ));
    node.manage.set_mqtt(mqtt.clone());
    let everything = json!({"configure": ".*", "write": ".*", "read": ".*"});
    for (name, tags) in [
        ("ann", "management"),
        ("bob", "management"),
        ("eve", "monitoring"),
        ("pol", "policymaker"),
    ] {
        node.user(name, tags);
        node.put(&format!("/permissions/%2F/{name}"), &everything)
            .expect(201);
    }
    (node, mqtt)
}

fn text(text: &str) -> Vec<u8> {
    let mut out = vec![0, u8::try_from(text.len()).unwrap()];
    out.extend_from_slice(text.as_bytes());
    out
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first, u8::try_from(body.len()).unwrap()];
    out.extend_from_slice(body);
    out
}

/// A client of MQTT 5 that the session outlives, subscribed to a filter.
fn connect(mqtt: &MqttAcceptor, user: &str, filter: &str) -> Box<dyn Machine> {
    let expires_in_s = [5, 0x11, 0, 0, 0, 100];
    let head = [
        &[0, 4][..],
        b"MQTT",
        &[5, 0b1100_0000, 0, 60],
        &expires_in_s,
    ]
    .concat();
    let id = format!("{user}s");
    let who = [text(&id), text(user), text("secret")].concat();
    let connect = packet(0x10, &[head, who].concat());
    let subscribe = packet(0x82, &[&[0, 1, 0][..], &text(filter), &[1]].concat());
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 1883));
    let mut machine = mqtt
        .accept(Peer::tcp(here, here), Mailbox::new(10), START)
        .unwrap();
    let out = &mut Output::new();
    for packet in [connect, subscribe] {
        assert_eq!(machine.handle_input(&packet, START, out), packet.len());
        machine.handle_notices(START, out);
    }
    machine
}

fn names(list: &Value, field: &str) -> Vec<String> {
    let rows = list.as_array().unwrap().iter();
    rows.map(|row| row[field].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn sessions_of_others_are_shown_to_those_who_see_all_connections() {
    let (node, mqtt) = node();
    let _ann = connect(&mqtt, "ann", "$share/g/a");
    let mut bob = connect(&mqtt, "bob", "$share/h/b");
    bob.handle_disconnect(START);
    let sessions = |user: &str| {
        let list = node.ask_as(user, "GET", "/x/mqtt/sessions/%2F", "");
        names(&list.expect(200), "client_id")
    };
    assert_eq!(sessions("ann"), ["anns"]);
    assert_eq!(sessions("bob"), ["bobs"], "of one who is away, too");
    assert_eq!(sessions("eve"), ["anns", "bobs"]);
    assert_eq!(sessions("guest"), ["anns", "bobs"]);
    assert!(sessions("pol").is_empty());
    let shares = |user: &str| {
        let list = node.ask_as(user, "GET", "/x/mqtt/shares/%2F", "");
        names(&list.expect(200), "filter")
    };
    assert_eq!(shares("ann"), ["$share/g/a"]);
    assert_eq!(shares("eve"), ["$share/g/a", "$share/h/b"]);
    assert!(shares("pol").is_empty());
    let of_bob = "/x/mqtt/sessions/%2F/bobs";
    assert_eq!(
        node.ask_as("bob", "GET", of_bob, "").expect(200)["user"],
        "bob"
    );
    node.ask_as("ann", "GET", of_bob, "").expect_not_found();
    node.ask_as("pol", "DELETE", of_bob, "").expect_not_found();
    node.delete(of_bob).expect(204);
    assert_eq!(sessions("eve"), ["anns"]);
}
