//! The management API of the real binary, over sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use support::http::{GUEST, ask, ask_as, get};
use support::node::{End, Node};
use support::{DEADLINE, Ternmq, soon};

#[test]
fn message_published_over_http_comes_out_over_amqp() {
    let broker = Ternmq::start(&[]);
    let addr = broker.management;
    assert_eq!(ask(addr, "PUT", "/queues/%2F/q", "{}").0, 201);
    let message = json!({
        "properties": {"headers": {"n": 5}}, "routing_key": "q", "payload": "hello", "payload_encoding": "string",
    });
    let published = ask(
        addr,
        "POST",
        "/exchanges/%2F/amq.default/publish",
        &message.to_string(),
    );
    assert_eq!(published, (200, json!({"routed": true})));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let uri = broker.amqp_uri();
        let connection = lapin::Connection::connect(&uri, lapin::ConnectionProperties::default());
        let connection = soon(connection).await.unwrap();
        let channel = soon(connection.create_channel()).await.unwrap();
        let got = soon(channel.basic_get("q".into(), lapin::options::BasicGetOptions::default()))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(got.data, b"hello");
        let connections = get(addr, "/connections");
        let name = connections[0]["name"].as_str().unwrap();
        assert_eq!(
            (&connections[0]["user"], &connections[0]["channels"]),
            (&json!("guest"), &json!(1))
        );
        // Whoever is closed by an operator hears of it.
        let path = format!(
            "/connections/{}",
            name.replace(' ', "%20").replace('>', "%3E")
        );
        assert_eq!(ask(addr, "DELETE", &path, "").0, 204);
        let closed =
            soon(channel.basic_get("q".into(), lapin::options::BasicGetOptions::default())).await;
        assert!(closed.is_err());
    });
}

#[test]
fn what_was_answered_is_there_after_a_crash() {
    let config = "[amqp]\nlisten = [\"127.0.0.1:0\"]\n[mqtt]\nlisten = [\"127.0.0.1:0\"]\n";
    let mut node = Node::start(config);
    let addr = node.broker().management;
    for (method, path, body) in [
        ("PUT", "/vhosts/v", "{}"),
        ("PUT", "/users/u", r#"{"password":"p","tags":"management"}"#),
        (
            "PUT",
            "/permissions/v/u",
            r#"{"configure":"","write":"","read":".*"}"#,
        ),
        ("PUT", "/queues/v/q", r#"{"durable":true}"#),
        (
            "PUT",
            "/exchanges/v/x",
            r#"{"durable":true,"type":"fanout"}"#,
        ),
        ("POST", "/bindings/v/e/x/q/q", "{}"),
    ] {
        assert_eq!(ask(addr, method, path, body).0, 201, "{path}");
    }
    let message = r#"{"properties":{"delivery_mode":2},"routing_key":"","payload":"m","payload_encoding":"string"}"#;
    assert_eq!(ask(addr, "POST", "/exchanges/v/x/publish", message).0, 200);
    node.restart(End::Killed);
    let addr = node.broker().management;
    assert_eq!(get(addr, "/queues/v/q")["messages"], 1);
    assert_eq!(get(addr, "/permissions/v/u")["read"], ".*");
    assert_eq!(
        get(addr, "/queues/v/q/bindings").as_array().unwrap().len(),
        2
    );
}

#[test]
fn definitions_are_imported_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("definitions.json");
    let document = json!({
        "vhosts": [{"name": "v"}],
        "queues": [{"name": "q", "vhost": "v", "durable": true, "auto_delete": false, "arguments": {}}],
    });
    std::fs::write(&file, document.to_string()).unwrap();
    let config = format!("load_definitions = {file:?}\n");
    let broker = Ternmq::start_with_config(&config, &[]);
    assert_eq!(get(broker.management, "/queues/v/q")["durable"], true);
    let users = json!({
        "vhosts": [{"name": "v"}],
        "users": [{"name": "u", "password": "secret", "tags": "administrator"}],
        "permissions": [{"user": "u", "vhost": "v", "configure": ".*", "write": ".*", "read": ".*"}],
    });
    std::fs::write(&file, users.to_string()).unwrap();
    let broker = Ternmq::start_with_config(&config, &[]);
    let status = |user, path| ask_as(user, broker.management, "GET", path, "").0;
    assert_eq!(status(GUEST, "/whoami"), 401, "there is no default user");
    assert_eq!(status("Basic dTpzZWNyZXQ=", "/vhosts/v"), 200);
    assert_eq!(status("Basic dTpzZWNyZXQ=", "/vhosts/%2F"), 404);
    std::fs::write(&file, "[]").unwrap();
    let path = support::write_config(directory.path(), &config);
    let data = directory.path().join("data");
    let arguments = [
        "--config",
        path.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
    ];
    let output = support::command().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("definitions.json"));
}

#[test]
fn requests_follow_each_other_on_one_connection_until_it_is_idle() {
    let config = "[management]\nidle_timeout_ms = 300\n";
    let broker = Ternmq::start_with_config(config, &[]);
    let mut stream = TcpStream::connect(broker.management).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!("GET /api/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: {GUEST}\r\n\r\n");
    // Both at once: the second is answered behind the first.
    stream.write_all(request.repeat(2).as_bytes()).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    let answers = String::from_utf8(answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert_eq!(answers.matches("\"administrator\"").count(), 2);
}

#[test]
fn what_is_no_request_is_refused_or_cut_off() {
    let broker = Ternmq::start_with_config("[management]\nidle_timeout_ms = 300\n", &[]);
    let answer = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(broker.management).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // It may be reset, as not all of what was sent is read.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    };
    assert!(answer(b"nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    let endless = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let refused = answer(endless.as_bytes());
    assert!(
        refused.is_empty() || refused.starts_with("HTTP/1.1 4"),
        "{refused}"
    );
    assert_eq!(
        answer(b"GET /api/whoami HT"),
        "",
        "half a request is cut off in time"
    );
    get(broker.management, "/whoami");
}

#[test]
fn large_lists_are_written_whole() {
    let broker = Ternmq::start(&[]);
    let queues: Vec<Value> = (0..3_000)
        .map(|n| json!({"name": format!("q{n:05}"), "vhost": "/", "durable": false, "auto_delete": false}))
        .collect();
    let document = json!({"queues": queues}).to_string();
    assert_eq!(
        ask(broker.management, "POST", "/definitions", &document).0,
        204
    );
    let listed = get(broker.management, "/queues");
    assert_eq!(listed.as_array().unwrap().len(), 3_000);
    let page = get(
        broker.management,
        "/queues?page=30&page_size=100&columns=name",
    );
    assert_eq!(page["items"][99]["name"], "q02999");
}

#[test]
fn shutdown_does_not_wait_for_idle_connections() {
    let broker = Ternmq::start(&[]);
    let stream = TcpStream::connect(broker.management).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    assert!(broker.terminate().success());
    drop(stream);
}
