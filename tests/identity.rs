//! Users who come from elsewhere, by clients of every protocol: tokens of an authorization server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use support::amqp::refusal;
use support::http::GUEST;
use support::token::{Issuer, now_s};
use support::{DEADLINE, Ternmq, command, soon, write_config};
use tempfile::TempDir;

const EVERYTHING: [&str; 3] = ["configure:*/*", "write:*/*/*", "read:*/*/*"];

/// A broker that takes tokens, and passwords besides.
struct World {
    broker: Ternmq,
    issuer: Issuer,
    _directory: TempDir,
}

impl World {
    fn start(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let issuer = Issuer::new();
        let keys = issuer.write_keys(directory.path());
        let config = format!(
            "[auth]\nbackends = [\"oauth2\", \"internal\"]\n\
             [auth.oauth2]\nresource_server_id = \"rabbitmq\"\njwks_file = \"{}\"\n{more}",
            keys.display()
        );
        Self {
            broker: Ternmq::start_with_config(&config, &[]),
            issuer,
            _directory: directory,
        }
    }

    async fn connect(&self, password: &str) -> lapin::Result<Connection> {
        let uri = format!("amqp://whoever:{password}@{}/%2f", self.broker.amqp);
        soon(Connection::connect(&uri, ConnectionProperties::default())).await
    }

    /// Status, head and body of an answer of the management API.
    fn ask(&self, head: &str, authorization: &str, body: &str) -> (u16, String, Value) {
        let mut stream = TcpStream::connect(self.broker.management).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\
             {authorization}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (
            status,
            head.to_owned(),
            serde_json::from_str(body).unwrap_or_default(),
        )
    }
}

async fn declare(channel: &Channel, name: &str) -> lapin::Result<lapin::Queue> {
    let options = QueueDeclareOptions::default();
    soon(channel.queue_declare(name.into(), options, FieldTable::default())).await
}

#[tokio::test]
async fn token_lets_in_and_its_scopes_decide() {
    let world = World::start("");
    let scopes = ["configure:%2F/mine-*", "write:%2F/amq.default"];
    let token = world.issuer.token(&scopes, json!({}));
    let connection = world.connect(&token).await.unwrap();
    let channel = soon(connection.create_channel()).await.unwrap();
    declare(&channel, "mine-1").await.unwrap();
    let (code, text) = refusal(declare(&channel, "yours").await);
    assert_eq!(code, 403);
    assert!(
        text.contains("access to queue 'yours' in vhost '/' refused for user 'ann'"),
        "{text}"
    );

    let other = world.issuer.token(&["read:other/*"], json!({}));
    let (code, text) = refusal(world.connect(&other).await);
    assert_eq!(
        (code, text.contains("vhost '/' refused")),
        (530, true),
        "{text}"
    );
    let guest = soon(support::amqp::connect(&world.broker)).await;
    assert!(
        guest.status().connected(),
        "passwords are as good as before"
    );
}

#[tokio::test]
async fn keys_come_from_where_the_issuer_says() {
    let issuer = Issuer::new();
    let config = format!(
        "[auth]\nbackends = [\"oauth2\"]\n\
         [auth.oauth2]\nresource_server_id = \"rabbitmq\"\nissuer = \"{}/realm\"\n",
        issuer.serve()
    );
    let world = World {
        broker: Ternmq::start_with_config(&config, &[]),
        issuer,
        _directory: tempfile::tempdir().unwrap(),
    };
    let token = world.issuer.token(&EVERYTHING, json!({}));
    drop(world.connect(&token).await.unwrap());
    let foreign = Issuer::new().token(&EVERYTHING, json!({}));
    assert!(world.connect(&foreign).await.is_err());
}

#[tokio::test]
async fn tokens_that_are_wrong_let_nobody_in() {
    let mut world = World::start("");
    let issuer = &world.issuer;
    let mut forged = issuer.token(&EVERYTHING, json!({}));
    let end = forged.len() - 10;
    let other = if &forged[end..=end] == "A" { "B" } else { "A" };
    forged.replace_range(end..=end, other);
    for (token, why) in [
        (forged, "signature is wrong"),
        (
            Issuer::new().token(&EVERYTHING, json!({})),
            "signature is wrong",
        ),
        (
            issuer.token(&EVERYTHING, json!({"exp": now_s() - 1})),
            "expired",
        ),
        (
            issuer.token(&EVERYTHING, json!({"nbf": now_s() + 600})),
            "not valid yet",
        ),
        (
            issuer.token(&EVERYTHING, json!({"aud": "another"})),
            "not for this broker",
        ),
    ] {
        assert_eq!(refusal(world.connect(&token).await).0, 403);
        let line = world.broker.wait_for_log("token refused");
        assert!(line.contains(why), "{line}");
        assert!(!line.contains(&token), "{line}");
    }
}

#[tokio::test]
async fn connection_ends_with_its_token_unless_that_is_renewed() {
    let mut world = World::start("");
    let short = world.issuer.token(&EVERYTHING, json!({"exp": now_s() + 3}));
    let renewed = world.connect(&short).await.unwrap();
    let _ended = world.connect(&short).await.unwrap();
    let secret = world.issuer.token(&EVERYTHING, json!({}));
    soon(renewed.update_secret(secret.into(), "expires".into()))
        .await
        .unwrap();
    let line = world.broker.wait_for_log("connection closed");
    assert!(line.contains("credential expired"), "{line}");
    let channel = soon(renewed.create_channel()).await.unwrap();
    declare(&channel, "q").await.unwrap();

    let others = world.issuer.token(&EVERYTHING, json!({"sub": "bob"}));
    let refused = soon(renewed.update_secret(others.into(), "other".into())).await;
    assert!(refused.is_err());
    world.broker.wait_for_log("New secret was refused");
}

#[tokio::test]
async fn topics_are_closed_without_a_scope_that_names_keys() {
    let world = World::start("");
    let scopes = ["write:*/amq.topic", "write:*/amq.topic/open.*"];
    let token = world.issuer.token(&scopes, json!({}));
    let connection = world.connect(&token).await.unwrap();
    let publish = async |key: &str| {
        let channel = support::amqp::channel(&connection).await;
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        let sent = channel.basic_publish("amq.topic".into(), key.into(), options, b"x", properties);
        soon(soon(sent).await.unwrap()).await
    };
    publish("open.door").await.unwrap();
    assert_eq!(refusal(publish("shut").await).0, 403);
}

#[tokio::test]
async fn mqtt_clients_come_with_tokens() {
    use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
    let world = World::start("");
    let scopes = [
        "configure:*/*",
        "write:*/*",
        "read:*/*",
        "write:*/*/open.*",
        "read:*/*/open.*",
    ];
    let connect = |password: String| {
        let addr = world.broker.mqtt;
        let mut options = MqttOptions::new("lamp", addr.ip().to_string(), addr.port());
        options.set_credentials("whoever", password);
        AsyncClient::new(options, 10)
    };
    let (client, mut events) = connect(world.issuer.token(&scopes, json!({})));
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
    let (_client, mut events) = connect(world.issuer.token(&scopes, json!({"aud": "x"})));
    assert!(soon(events.poll()).await.is_err());
}

#[test]
fn management_takes_bearers_of_tokens_with_a_tag() {
    let world = World::start("");
    let bearer = |scopes: &[&str]| {
        let token = world.issuer.token(scopes, json!({}));
        format!("Authorization: Bearer {token}\r\n")
    };
    let monitor = bearer(&["tag:monitoring"]);
    let (status, _, body) = world.ask("GET /api/whoami", &monitor, "");
    assert_eq!(
        (status, body),
        (200, json!({"name": "ann", "tags": ["monitoring"]}))
    );
    assert_eq!(world.ask("GET /api/nodes", &monitor, "").0, 200);
    assert_eq!(world.ask("GET /api/users", &monitor, "").0, 401);
    let administrator = bearer(&["tag:administrator"]);
    assert_eq!(world.ask("GET /api/users", &administrator, "").0, 200);
    let (status, _, body) = world.ask("GET /api/whoami", &bearer(&EVERYTHING), "");
    assert_eq!(status, 401);
    assert_eq!(
        body,
        json!({"error": "not_authorized", "reason": "Not management user"})
    );
    let (status, head, _) = world.ask("GET /api/whoami", "Authorization: Bearer x.y.z\r\n", "");
    assert_eq!(status, 401);
    assert!(
        head.to_lowercase().contains("www-authenticate: basic"),
        "{head}"
    );
    let basic = format!("Authorization: {GUEST}\r\n");
    assert_eq!(world.ask("GET /api/whoami", &basic, "").0, 200);
}

#[test]
fn browsers_are_told_how_to_log_in() {
    let world = World::start(
        "[management]\noauth_enabled = true\noauth_client_id = \"ui\"\n\
         oauth_provider_url = \"https://idp\"\noauth_scopes = \"openid\"\n",
    );
    let (status, _, body) = world.ask("GET /api/auth", "", "");
    assert_eq!(status, 200);
    let expected = json!({
        "oauth_enabled": true,
        "oauth_client_id": "ui",
        "oauth_provider_url": "https://idp",
        "oauth_scopes": "openid",
        "oauth_disable_basic_auth": true,
    });
    assert_eq!(body, expected);
    let basic = format!("Authorization: {GUEST}\r\n");
    let (status, head, _) = world.ask("GET /api/whoami", &basic, "");
    assert_eq!(status, 401, "only tokens are taken");
    assert!(!head.to_lowercase().contains("www-authenticate"), "{head}");

    let token = world.issuer.token(&["tag:management"], json!({}));
    let (status, head, _) = world.ask("POST /api/login", "", &format!("access_token={token}"));
    assert_eq!(status, 302);
    assert!(
        head.contains(&"location: /\r\n".to_owned()) && head.contains("access_token="),
        "{head}"
    );
    let (status, head, _) = world.ask("POST /api/login", "", "access_token=x");
    assert_eq!(status, 302);
    assert!(
        head.contains("location: /?error=") && !head.contains("set-cookie"),
        "{head}"
    );
}

#[test]
fn login_by_a_form_sets_a_cookie() {
    let world = World::start("");
    let disabled = json!({"oauth_enabled": false, "oauth_client_id": "", "oauth_provider_url": ""});
    assert_eq!(world.ask("GET /api/auth", "", "").2, disabled);
    let (status, head, body) = world.ask("POST /api/login", "", "username=guest&password=guest");
    assert_eq!((status, &body["name"]), (200, &json!("guest")));
    assert!(
        head.contains("set-cookie: auth=Z3Vlc3Q6Z3Vlc3Q%3D; Path=/;"),
        "{head}"
    );
    let (status, head, _) = world.ask("POST /api/login", "", "username=guest&password=x");
    assert_eq!(status, 401);
    assert!(!head.contains("set-cookie"), "{head}");
}

#[test]
fn configuration_without_a_key_is_refused_before_the_broker_starts() {
    let directory = tempfile::tempdir().unwrap();
    for (config, expected) in [
        ("", "neither `resource_server_id` nor"),
        ("resource_server_id = \"r\"", "there is no key"),
        (
            "resource_server_id = \"r\"\njwks_file = \"/nowhere.json\"",
            "/nowhere.json",
        ),
    ] {
        let config = format!("[auth]\nbackends = [\"oauth2\"]\n[auth.oauth2]\n{config}");
        let path = write_config(directory.path(), &config);
        let path = path.to_str().unwrap();
        let output = command()
            .args(["config", "check", "--config", path])
            .output()
            .unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains("section [auth.oauth2]") && text.contains(expected),
            "{text}"
        );
    }
}
