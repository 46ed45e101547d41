//! The broker as its operators see it: the command line over the management API, and metrics over HTTP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Output;

use support::{DEADLINE, Ternmq, command};

/// Runs a command of the operator against the broker.
fn ask(broker: &Ternmq, arguments: &[&str]) -> Output {
    let mut command = command();
    command.env("TERNMQ_URL", format!("http://{}", broker.management));
    command.args(arguments).output().unwrap()
}

/// Runs a command that has to succeed, and returns what it wrote.
fn told(broker: &Ternmq, arguments: &[&str]) -> String {
    let output = ask(broker, arguments);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Head and body of the answer to a GET. The connection is closed behind it.
fn get(addr: SocketAddr, path: &str, header: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect_timeout(&addr, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).unwrap(), body)
}

#[test]
fn operator_declares_publishes_looks_and_deletes() {
    let broker = Ternmq::start(&[]);
    told(
        &broker,
        &[
            "queues",
            "declare",
            "orders",
            "--argument",
            "x-max-length=10",
        ],
    );
    told(
        &broker,
        &["bindings", "add", "amq.topic", "orders", "--key", "order.#"],
    );
    let published = [
        "exchanges",
        "publish",
        "amq.topic",
        "order.new",
        "hello",
        "--header",
        "n=1",
    ];
    assert_eq!(told(&broker, &published), "published\n");
    let list = told(
        &broker,
        &["queues", "list", "--columns", "name,messages_ready"],
    );
    assert_eq!(list, "name    messages_ready\norders               1\n");
    let message = told(&broker, &["queues", "get", "orders", "--then", "ack"]);
    assert!(
        message.contains("key        order.new") && message.contains("\n  hello\n"),
        "{message}"
    );
    assert_eq!(
        told(&broker, &["queues", "delete", "orders"]),
        "deleted queue orders\n"
    );
    let gone = ask(&broker, &["queues", "show", "orders"]);
    assert_eq!(gone.status.code(), Some(3));
    assert_eq!(
        gone.stderr,
        b"ternmq: queue \"orders\" in vhost \"/\" does not exist\n"
    );
}

#[test]
fn users_log_in_with_the_password_they_were_given() {
    let broker = Ternmq::start(&[]);
    let tags = ["--tags", "administrator"];
    told(
        &broker,
        &[
            &["users", "add", "alice", "--new-password", "first"],
            &tags[..],
        ]
        .concat(),
    );
    let as_alice = |password: &str| {
        let login = ["status", "--user", "alice", "--password", password];
        ask(&broker, &login).status.code()
    };
    assert_eq!((as_alice("first"), as_alice("wrong")), (Some(0), Some(77)));
    told(
        &broker,
        &["users", "passwd", "alice", "--new-password", "second"],
    );
    assert_eq!((as_alice("first"), as_alice("second")), (Some(77), Some(0)));
    told(&broker, &["users", "tags", "alice", "management"]);
    assert_eq!(as_alice("second"), Some(0), "new tags keep the password");
    told(&broker, &["users", "delete", "alice"]);
    assert_eq!(as_alice("second"), Some(77));
}

#[test]
fn definitions_move_to_another_broker() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("definitions.json");
    let file = file.to_str().unwrap();
    let one = Ternmq::start(&[]);
    told(&one, &["vhosts", "add", "shop"]);
    told(
        &one,
        &[
            "queues", "declare", "orders", "--vhost", "shop", "--type", "quorum",
        ],
    );
    told(
        &one,
        &[
            "policies",
            "set",
            "short",
            "^o",
            "{\"max-length\":5}",
            "--vhost",
            "shop",
        ],
    );
    told(&one, &["definitions", "export", file]);
    let other = Ternmq::start(&[]);
    told(&other, &["definitions", "import", file]);
    for kind in ["queues", "policies"] {
        let list = [kind, "list", "--vhost", "shop", "--columns", "name"];
        assert_eq!(told(&other, &list), told(&one, &list));
    }
}

#[test]
fn health_is_asked_for() {
    let broker = Ternmq::start(&[]);
    let port = broker.amqp.port().to_string();
    told(&broker, &["health", "--port", &port, "--protocol", "mqtt"]);
    let failed = ask(&broker, &["health", "--port", "1"]);
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8(failed.stdout).unwrap();
    assert!(said.contains("port-listener/1"), "{said}");
}

#[test]
fn broker_that_is_not_there_is_one_line_and_exit_code_69() {
    let mut command = command();
    command.args(["status", "--url", "http://127.0.0.1:1"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("ternmq: cannot reach http://127.0.0.1:1"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn metrics_are_scraped() {
    let broker = Ternmq::start(&[]);
    told(&broker, &["queues", "declare", "orders"]);
    told(
        &broker,
        &["exchanges", "publish", "amq.default", "orders", "hello"],
    );
    let (head, body) = get(broker.prometheus, "/metrics", "");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    let body = String::from_utf8(body).unwrap();
    for line in [
        "rabbitmq_queue_messages_ready 1\n",
        "rabbitmq_queues 1\n",
        "rabbitmq_endpoint=\"aggregated\"} 1\n",
    ] {
        assert!(body.contains(line), "{line} in {body}");
    }
    let queue = "{vhost=\"/\",queue=\"orders\"} 1\n";
    let path = "/metrics/detailed?family=queue_coarse_metrics&queue=%5Eo";
    let (_, body) = get(broker.prometheus, path, "");
    let body = String::from_utf8(body).unwrap();
    let line = format!("rabbitmq_detailed_queue_messages_ready{queue}");
    assert!(body.contains(&line), "{body}");
}

#[test]
fn metrics_are_compressed_for_those_who_ask() {
    let broker = Ternmq::start(&[]);
    let accept = "accept-encoding: gzip\r\n";
    let (head, plain) = get(broker.prometheus, "/metrics/per-object", "");
    assert!(!head.contains("content-encoding"), "{head}");
    let (head, compressed) = get(broker.prometheus, "/metrics/per-object", accept);
    assert!(head.contains("content-encoding: gzip"), "{head}");
    assert!(compressed.len() < plain.len() / 2);
}

#[test]
fn metrics_that_do_not_exist_are_not_found() {
    let broker = Ternmq::start(&[]);
    for (path, status) in [
        ("/metrics/nothing", "404"),
        ("/", "404"),
        ("/metrics/detailed?queue=%28", "400"),
        ("/metrics/memory-breakdown", "200"),
    ] {
        let (head, _) = get(broker.prometheus, path, "");
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{path}: {head}"
        );
    }
}

#[test]
fn metrics_ask_for_a_login_where_they_are_told_to() {
    let config = "[prometheus]\nauthentication = true\nreturn_per_object_metrics = true\n";
    let broker = Ternmq::start_with_config(config, &[]);
    let (head, _) = get(broker.prometheus, "/metrics", "");
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    // guest:guest
    let login = "authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n";
    let (head, body) = get(broker.prometheus, "/metrics", login);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("rabbitmq_endpoint=\"per-object\""), "{body}");
}

#[tokio::test]
async fn session_of_a_device_is_ended() {
    let broker = Ternmq::start(&[]);
    let options = support::mqtt::Options::new(&broker, support::mqtt::Version::V5, "lamp");
    let mut device = options.persistent().connect().await;
    device.subscribe("light/#", 1).await;
    let list = told(&broker, &["sessions", "list", "--columns", "client_id"]);
    assert_eq!(list, "client_id\nlamp\n");
    let ended = told(&broker, &["sessions", "delete", "lamp"]);
    assert_eq!(ended, "ended the session of lamp\n");
    device.lost().await;
    let gone = ask(&broker, &["sessions", "delete", "lamp"]);
    assert_eq!(gone.status.code(), Some(3));
    let queues = told(&broker, &["queues", "list", "--json"]);
    assert_eq!(queues.trim(), "[]");
}

#[test]
fn nobody_has_to_read_to_the_end() {
    for arguments in [&["completions", "bash"][..], &["man"], &["config", "print"]] {
        let mut child = command()
            .args(arguments)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{arguments:?}");
        assert_eq!(ended.stderr, b"", "{arguments:?}");
    }
}

#[tokio::test]
async fn log_says_who_came_and_who_went() {
    let mut broker = Ternmq::start_with_config("[log]\nformat = \"json\"\n", &[]);
    let connection = support::amqp::connect(&broker).await;
    connection.close(200, "bye".into()).await.unwrap();
    let device = support::mqtt::Options::new(&broker, support::mqtt::Version::V5, "lamp");
    device.connect().await.disconnect().await;
    for message in [
        "connection open",
        "connection ended",
        "MQTT connection open",
        "MQTT connection closed",
    ] {
        let line = broker.wait_for_log(&format!("\"message\":\"{message}\""));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let field = |name: &str| line["fields"][name].as_str().unwrap_or_default();
        assert_eq!(field("vhost"), "/", "{line}");
        assert!(field("peer").starts_with("127.0.0.1:"), "{line}");
        assert_eq!(field("user"), "guest", "{line}");
    }
}
