//! Users whom an HTTP server knows, by clients of every protocol.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests have tasks of their own")]

mod support;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use parking_lot::{Condvar, Mutex};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use support::amqp::refusal;
use support::oracle::{Oracle, Question};
use support::{DEADLINE, Ternmq, command, soon, write_config};

/// Knows bob, with the password `p w&d`; he may do what begins with `mine`, and use keys that begin with `open`.
fn knows_bob(question: &Question) -> String {
    let is_bob = question.field("username") == "bob";
    let name = question.field("name");
    let own = name.starts_with("mine") || name.starts_with("amq.") || name.starts_with("mqtt-");
    let allowed = match question.path.as_str() {
        "/auth/user" => question.field("password") == "p w&d",
        "/auth/vhost" => question.field("vhost") == "/",
        "/auth/resource" => own,
        "/auth/topic" => question.field("routing_key").starts_with("open"),
        _ => false,
    };
    match (is_bob && allowed, question.path.as_str()) {
        (true, "/auth/user") => "200 OK\nallow management other".to_owned(),
        (true, _) => "200 OK\nAllow\n".to_owned(),
        (false, _) => "200 OK\ndeny not bob's".to_owned(),
    }
}

fn asking(backends: &str, oracle: &Oracle, method: &str) -> Ternmq {
    let config = format!("[auth]\nbackends = {backends}\n{}", oracle.config(method));
    Ternmq::start_with_config(&config, &[])
}

async fn connect(broker: &Ternmq, user: &str, password: &str) -> lapin::Result<Connection> {
    let uri = format!("amqp://{user}:{password}@{}/%2f", broker.amqp);
    soon(Connection::connect(&uri, ConnectionProperties::default())).await
}

async fn declare(channel: &Channel, name: &str) -> lapin::Result<lapin::Queue> {
    let options = QueueDeclareOptions::default();
    soon(channel.queue_declare(name.into(), options, FieldTable::default())).await
}

fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn server_is_asked_as_rabbitmq_asks() {
    for method in ["get", "post"] {
        let oracle = Oracle::start(knows_bob);
        let broker = asking("[\"http\"]", &oracle, method);
        let connection = connect(&broker, "bob", "p%20w%26d").await.unwrap();
        let channel = soon(connection.create_channel()).await.unwrap();
        declare(&channel, "mine").await.unwrap();
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        let sent = channel.basic_publish(
            "amq.topic".into(),
            "open.x".into(),
            options,
            b"x",
            properties,
        );
        soon(sent).await.unwrap();
        let (code, text) = refusal(declare(&channel, "yours").await);
        assert_eq!(code, 403);
        assert!(text.contains("refused for user 'bob'"), "{text}");

        let asked = |path: &str| oracle.asked(path).into_iter().next().unwrap();
        let user = asked("/auth/user");
        assert_eq!(user.method, method.to_uppercase());
        assert_eq!(
            user.fields,
            fields(&[("username", "bob"), ("password", "p w&d")])
        );
        let tags = ("tags", "management other");
        let bob = ("username", "bob");
        let vhost = fields(&[bob, ("vhost", "/"), ("ip", "127.0.0.1"), tags]);
        assert_eq!(asked("/auth/vhost").fields, vhost);
        let common = [bob, ("vhost", "/"), tags];
        let queue = [
            ("resource", "queue"),
            ("name", "mine"),
            ("permission", "configure"),
        ];
        let resource = fields(&[&common[..], &queue].concat());
        assert_eq!(asked("/auth/resource").fields, resource);
        let topic = [
            ("resource", "topic"),
            ("name", "amq.topic"),
            ("permission", "write"),
            ("routing_key", "open.x"),
            ("variable_map.username", "bob"),
            ("variable_map.vhost", "/"),
        ];
        assert_eq!(
            asked("/auth/topic").fields,
            fields(&[&common[..], &topic].concat())
        );
    }
}

#[tokio::test]
async fn answers_are_kept_for_a_while() {
    let oracle = Oracle::start(knows_bob);
    let broker = asking("[\"http\"]", &oracle, "post");
    for _ in 0..3 {
        let connection = connect(&broker, "bob", "p%20w%26d").await.unwrap();
        let channel = soon(connection.create_channel()).await.unwrap();
        declare(&channel, "mine").await.unwrap();
    }
    for path in ["/auth/user", "/auth/vhost", "/auth/resource"] {
        assert_eq!(oracle.asked(path).len(), 1, "{path}");
    }
    assert_eq!(refusal(connect(&broker, "bob", "other").await).0, 403);
    assert_eq!(
        oracle.asked("/auth/user").len(),
        2,
        "another password is another question"
    );
}

#[tokio::test]
async fn whatever_is_no_answer_means_no_and_is_said_once() {
    for answer in ["500 Oops\nallow", "200 OK\nperhaps", "302 Found\nallow"] {
        let oracle = Oracle::start(move |_| answer.to_owned());
        let mut broker = asking("[\"http\"]", &oracle, "get");
        for user in ["bob", "ann"] {
            assert_eq!(refusal(connect(&broker, user, "x").await).0, 403);
        }
        let says = |line: &&String| line.contains("does not answer");
        assert_eq!(broker.log().iter().filter(says).count(), 1);
        assert!(!broker.log().concat().contains("password="));
    }
}

#[tokio::test]
async fn vhosts_that_the_server_denies_are_closed() {
    let oracle = Oracle::start(|question| match question.path.as_str() {
        "/auth/user" => "200 OK\nallow".to_owned(),
        _ => "200 OK\ndeny".to_owned(),
    });
    let broker = asking("[\"http\"]", &oracle, "get");
    let (code, text) = refusal(connect(&broker, "bob", "x").await);
    assert_eq!(code, 530);
    assert!(
        text.contains("access to vhost '/' refused for user 'bob'"),
        "{text}"
    );
}

/// A server that takes connections and says nothing.
fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

#[tokio::test]
async fn silent_server_holds_up_nobody_who_does_not_need_it() {
    let (_listener, addr) = silent();
    let config = format!(
        "[auth]\nbackends = [\"internal\", \"http\"]\n[auth.http]\nrequest_timeout = 1000\n\
         user_path = \"http://{addr}/\""
    );
    let mut broker = Ternmq::start_with_config(&config, &[]);
    let waiting: Vec<_> = (0..64)
        .map(|n| {
            let uri = format!("amqp://u{n}:x@{}/%2f", broker.amqp);
            tokio::spawn(
                async move { Connection::connect(&uri, ConnectionProperties::default()).await },
            )
        })
        .collect();
    for _ in 0..20 {
        let guest = support::amqp::connect(&broker).await;
        let channel = soon(guest.create_channel()).await.unwrap();
        declare(&channel, "q").await.unwrap();
    }
    broker.wait_for_log("does not answer");
    for one in waiting {
        assert!(soon(one).await.unwrap().is_err());
    }
}

#[tokio::test]
async fn question_in_the_middle_of_a_verb_holds_up_its_own_connection_only() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let opened = Arc::clone(&gate);
    let oracle = Oracle::start(move |question| {
        if question.path == "/auth/resource" {
            let mut open = opened.0.lock();
            opened.1.wait_while(&mut open, |open| !*open);
        }
        "200 OK\nallow".to_owned()
    });
    let broker = asking("[\"internal\", \"http\"]", &oracle, "get");
    let mut waiting = Vec::new();
    for n in 0..8 {
        let connection = connect(&broker, "bob", "x").await.unwrap();
        let channel = soon(connection.create_channel()).await.unwrap();
        waiting.push(tokio::spawn(async move {
            let declared = declare(&channel, &format!("q{n}")).await.map(|_| ());
            drop((channel, connection));
            declared
        }));
    }
    while oracle.asked("/auth/resource").len() < 8 {
        tokio::task::yield_now().await;
    }
    let guest = support::amqp::connect(&broker).await;
    let channel = soon(guest.create_channel()).await.unwrap();
    declare(&channel, "guests").await.unwrap();
    *gate.0.lock() = true;
    gate.1.notify_all();
    for one in waiting {
        soon(one).await.unwrap().unwrap();
    }
}

fn device(broker: &Ternmq, name: &str, password: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new("lamp", broker.mqtt.ip().to_string(), broker.mqtt.port());
    options.set_credentials(name, password);
    AsyncClient::new(options, 10)
}

#[tokio::test]
async fn mqtt_clients_are_asked_for_with_their_identifiers() {
    let oracle = Oracle::start(knows_bob);
    let broker = asking("[\"http\"]", &oracle, "post");
    let (client, mut events) = device(&broker, "bob", "p w&d");
    client.subscribe("open/#", QoS::AtMostOnce).await.unwrap();
    client
        .publish("open/door", QoS::AtMostOnce, false, "x")
        .await
        .unwrap();
    loop {
        if let Event::Incoming(Packet::Publish(publish)) = soon(events.poll()).await.unwrap() {
            assert_eq!(publish.topic, "open/door");
            break;
        }
    }
    let user = &oracle.asked("/auth/user")[0];
    let expected = [
        ("username", "bob"),
        ("password", "p w&d"),
        ("vhost", "/"),
        ("client_id", "lamp"),
    ];
    assert_eq!(user.fields, fields(&expected));
    let topic = &oracle.asked("/auth/topic")[0];
    assert_eq!(topic.field("variable_map.client_id"), "lamp");

    let (_client, mut events) = device(&broker, "bob", "wrong");
    assert!(soon(events.poll()).await.is_err());
    assert_eq!(oracle.asked("/auth/user").len(), 2);
}

#[tokio::test]
async fn one_server_says_who_and_the_broker_what() {
    let oracle = Oracle::start(knows_bob);
    let split = "[{ authn = \"http\", authz = \"internal\" }, \"internal\"]";
    let broker = asking(split, &oracle, "get");
    assert!(
        connect(&broker, "bob", "p%20w%26d").await.is_err(),
        "not known here"
    );
    let user = json!({"password": "", "tags": "monitoring"}).to_string();
    assert_eq!(
        support::http::ask(broker.management, "PUT", "/users/bob", &user).0,
        201
    );
    let rights = json!({"configure": "^q", "write": "", "read": ""}).to_string();
    let path = "/permissions/%2f/bob";
    assert_eq!(
        support::http::ask(broker.management, "PUT", path, &rights).0,
        201
    );
    let connection = connect(&broker, "bob", "p%20w%26d").await.unwrap();
    let channel = soon(connection.create_channel()).await.unwrap();
    declare(&channel, "q").await.unwrap();
    assert_eq!(refusal(declare(&channel, "mine").await).0, 403);
    assert!(oracle.asked("/auth/vhost").is_empty());
    let (status, body) = whoami(broker.management, "bob:p w&d");
    assert_eq!(
        (status, &body["tags"]),
        (200, &json!(["management", "monitoring", "other"]))
    );
}

fn whoami(addr: SocketAddr, credentials: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let credentials = STANDARD.encode(credentials);
    let request = format!(
        "GET /api/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: Basic {credentials}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[test]
fn management_asks_the_server_as_well() {
    let oracle = Oracle::start(knows_bob);
    let broker = asking("[\"http\"]", &oracle, "get");
    let (status, body) = whoami(broker.management, "bob:p w&d");
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({"name": "bob", "tags": ["management", "other"]})
    );
    assert_eq!(whoami(broker.management, "bob:x").0, 401);
    assert_eq!(
        whoami(broker.management, "guest:guest").0,
        401,
        "nobody asks the broker"
    );
}

#[test]
fn server_that_cannot_be_asked_is_refused_before_the_broker_starts() {
    let directory = tempfile::tempdir().unwrap();
    for (config, expected) in [
        ("[auth.http]\nuser_path = \"/user\"", "user_path"),
        ("[auth.http]\nrequest_timeout = 0", "request_timeout"),
        ("[auth.http]\nquestions_max = 257", "questions_max"),
        ("[auth.http]\ncacertfile = \"/nowhere.pem\"", "/nowhere.pem"),
        ("[auth.cache]\nentries_max = 0", "entries_max"),
    ] {
        let config = format!("[auth]\nbackends = [\"http\"]\n{config}");
        let path = write_config(directory.path(), &config);
        let path = path.to_str().unwrap();
        let output = command()
            .args(["config", "check", "--config", path])
            .output()
            .unwrap();
        assert!(!output.status.success(), "{config}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains("section [auth.http]") && text.contains(expected),
            "{text}"
        );
    }
}
