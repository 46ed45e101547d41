//! The node itself, paths, browsers.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use ternmq_manage::ManageConfig;

use crate::harness::{NODE, Node};

#[test]
fn overview_has_what_strict_clients_want_even_when_idle() {
    let node = Node::new();
    let overview = node.get("/overview").expect(200);
    for field in [
        "rabbitmq_version",
        "product_name",
        "product_version",
        "management_version",
        "erlang_version",
        "erlang_full_version",
        "cluster_name",
        "node",
        "rates_mode",
        "exchange_types",
        "listeners",
        "contexts",
        "message_stats",
        "churn_rates",
        "queue_totals",
        "object_totals",
        "statistics_db_event_queue",
        "default_queue_type",
        "disable_stats",
        "enable_queue_totals",
        "is_op_policy_updating_enabled",
        "cluster_tags",
        "node_tags",
    ] {
        assert!(!overview[field].is_null(), "{field}");
    }
    assert_eq!(overview["message_stats"], json!({}));
    assert_eq!(overview["queue_totals"]["messages"], 0);
    assert_eq!(
        overview["queue_totals"]["messages_details"],
        json!({"rate": 0.0})
    );
    assert_eq!(overview["object_totals"]["exchanges"], 7);
    assert_eq!(overview["listeners"][0]["protocol"], "amqp");
    assert_eq!(
        node.get("/version").expect(200),
        overview["rabbitmq_version"]
    );
}

#[test]
fn node_has_what_strict_clients_want() {
    let node = Node::new();
    node.pass_s(5);
    let nodes = node.get("/nodes").expect(200);
    let shown = &nodes[0];
    for field in [
        "name",
        "type",
        "running",
        "os_pid",
        "uptime",
        "processors",
        "run_queue",
        "mem_used",
        "mem_limit",
        "mem_alarm",
        "disk_free",
        "disk_free_limit",
        "disk_free_alarm",
        "fd_used",
        "fd_total",
        "sockets_used",
        "sockets_total",
        "proc_used",
        "proc_total",
        "rates_mode",
        "enabled_plugins",
        "being_drained",
        "partitions",
        "applications",
        "config_files",
        "log_files",
        "db_dir",
        "exchange_types",
        "auth_mechanisms",
        "rabbitmq_version",
    ] {
        assert!(!shown[field].is_null(), "{field}");
    }
    assert!(shown["os_pid"].is_string());
    assert_eq!(
        (&shown["name"], &shown["uptime"]),
        (&json!(NODE), &json!(5000))
    );
    assert!(shown["mem_used"].as_u64().unwrap() > 0 && shown["fd_used"].as_u64().unwrap() > 0);
    assert_eq!(
        node.get(&format!("/nodes/{NODE}")).expect(200)["name"],
        NODE
    );
    node.get("/nodes/other@host").expect_not_found();
    let memory = node.get(&format!("/nodes/{NODE}/memory")).expect(200)["memory"].clone();
    assert!(memory["total"]["rss"].as_u64().unwrap() > 0);
    assert_eq!(memory["strategy"], "rss");
    node.put("/queues/%2F/q", &json!({})).expect(201);
    node.put(
        "/queues/%2F/r",
        &json!({"durable": true, "arguments": {"x-queue-type": "quorum"}}),
    )
    .expect(201);
    for queue in ["q", "r"] {
        let message = json!({
            "properties": {}, "routing_key": queue, "payload": "x".repeat(100_000), "payload_encoding": "string",
        });
        node.post("/exchanges/%2F/amq.default/publish", &message)
            .expect(200);
    }
    let memory = node.get(&format!("/nodes/{NODE}/memory")).expect(200)["memory"].clone();
    let of = |name: &str| memory[name].as_u64().unwrap();
    assert!((200_000..300_000).contains(&of("binary")), "{memory}");
    assert!((1..10_000).contains(&of("queue_procs")), "{memory}");
    assert!((1..10_000).contains(&of("quorum_queue_procs")), "{memory}");
    assert!(of("code") > 0 && of("other_system") > 0);
    let categories = memory.as_object().unwrap().values();
    let sum: u64 = categories.filter_map(Value::as_u64).sum();
    assert_eq!(sum, memory["total"]["rss"]);
    let relative = node
        .get(&format!("/nodes/{NODE}/memory/relative"))
        .expect(200);
    assert_eq!(relative["memory"]["total"], 100);
}

#[test]
fn unknown_paths_and_methods() {
    let node = Node::new();
    node.get("/nope").expect_not_found();
    node.get("/queues/%2F/q/nope").expect_not_found();
    for (method, path) in [
        ("POST", "/whoami"),
        ("DELETE", "/overview"),
        ("PATCH", "/queues/%2F/q"),
    ] {
        let answer = node.ask_as("guest", method, path, "");
        assert_eq!(answer.status, 405, "{method} {path}");
        let allow = answer.headers.get(header::ALLOW).unwrap().to_str().unwrap();
        assert!(allow.contains("GET"), "{allow}");
    }
    let options = node.ask_as("guest", "OPTIONS", "/queues", "");
    assert_eq!(options.status, 200);
    assert!(options.headers.contains_key(header::ALLOW));
    let head = node.ask_as("guest", "HEAD", "/definitions", "");
    assert_eq!((head.status.as_u16(), head.body), (200, Value::Null));
}

#[test]
fn answers_are_json() {
    let node = Node::new();
    for path in ["/whoami", "/nope"] {
        let answer = node.get(path);
        assert_eq!(
            answer.headers.get(header::CONTENT_TYPE).unwrap(),
            "application/json"
        );
    }
}

#[test]
fn where_attempts_to_log_in_came_from_is_an_empty_list() {
    let node = Node::new();
    let path = format!("/auth/attempts/{NODE}/source");
    assert_eq!(node.get(&path).expect(200), json!([]));
    node.get("/auth/attempts/nope/source").expect_not_found();
}

#[test]
fn definitions_have_their_old_name_too() {
    let node = Node::new();
    let old = node.get("/all-configuration").expect(200);
    assert_eq!(old["users"], node.get("/definitions").expect(200)["users"]);
}

#[test]
fn nobody_needs_to_log_in_to_ask_how() {
    let node = Node::new();
    let request = Request::get("/api/auth").body(Body::empty()).unwrap();
    let answer = node
        .send(request, IpAddr::V4(Ipv4Addr::LOCALHOST))
        .expect(200);
    assert_eq!(answer["oauth_enabled"], false);
}

#[test]
fn api_can_lie_behind_a_prefix() {
    let node = Node::with_config(ManageConfig {
        path_prefix: "/rabbit/".into(),
        ..ManageConfig::default()
    });
    let ask = |path: &str| {
        let request = Request::get(path);
        let request = request.header(header::AUTHORIZATION, "Basic Z3Vlc3Q6Z3Vlc3Q=");
        node.send(
            request.body(Body::empty()).unwrap(),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
        )
    };
    ask("/rabbit/api/queues/?page=1").expect(200);
    ask("/api/queues").expect_not_found();
}

#[test]
fn pages_of_configured_origins_may_read_answers() {
    let node = Node::with_config(ManageConfig {
        cors_origins: vec!["https://ops.example".into()],
        ..ManageConfig::default()
    });
    let ask = |method: &str, origin: &str| {
        let request = Request::builder().method(method).uri("/api/whoami");
        let request = request.header(header::AUTHORIZATION, "Basic Z3Vlc3Q6Z3Vlc3Q=");
        let request = request
            .header(header::ORIGIN, origin)
            .body(Body::empty())
            .unwrap();
        node.send(request, IpAddr::V4(Ipv4Addr::LOCALHOST)).headers
    };
    let allowed = ask("GET", "https://ops.example");
    let origin = allowed.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).unwrap();
    assert_eq!(origin, "https://ops.example");
    let preflight = ask("OPTIONS", "https://ops.example");
    let methods = preflight.get(header::ACCESS_CONTROL_ALLOW_METHODS).unwrap();
    assert!(methods.to_str().unwrap().contains("GET"));
    let other = ask("GET", "https://evil.example");
    assert!(!other.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
}

#[test]
fn logins_are_counted_by_protocol() {
    let node = Node::new();
    node.get("/whoami").expect(200);
    node.ask_as("nobody", "GET", "/whoami", "").expect(401);
    let attempts = node.get(&format!("/auth/attempts/{NODE}")).expect(200);
    let attempts = attempts.as_array().unwrap();
    let of = |protocol: &str| {
        let mut found = attempts.iter().filter(|a| a["protocol"] == protocol);
        found.next().unwrap().clone()
    };
    assert_eq!(
        of("http"),
        json!({"protocol": "http", "auth_attempts": 3, "auth_attempts_failed": 1, "auth_attempts_succeeded": 2})
    );
    assert_eq!(of("amqp091")["auth_attempts"], 0);
    assert_eq!(of("mqtt")["auth_attempts"], 0);
    node.get("/auth/attempts/other@host").expect_not_found();
}

#[test]
fn deprecated_features_are_listed_and_those_in_use_too() {
    let node = Node::new();
    let names = |path: &str| -> Vec<String> {
        let features = node.get(path).expect(200);
        let features = features.as_array().unwrap().iter();
        features
            .map(|f| f["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = node.get("/deprecated-features").expect(200)[0].clone();
    assert_eq!(
        (
            &first["name"],
            &first["deprecation_phase"],
            &first["state"],
            &first["provided_by"]
        ),
        (
            &json!("classic_queue_mirroring"),
            &json!("removed"),
            &json!("denied"),
            &json!("rabbit")
        )
    );
    let all = names("/deprecated-features");
    assert!(all.iter().any(|name| name == "global_qos"), "{all:?}");
    assert!(names("/deprecated-features/used").is_empty());
    node.put("/queues/%2F/kept", &json!({"durable": true}))
        .expect(201);
    assert!(names("/deprecated-features/used").is_empty());
    node.put("/queues/%2F/lost", &json!({})).expect(201);
    node.put(
        "/queues/%2F/placed",
        &json!({"durable": true, "arguments": {"x-queue-master-locator": "min-masters"}}),
    )
    .expect(201);
    assert_eq!(
        names("/deprecated-features/used"),
        ["queue_master_locator", "transient_nonexcl_queues"]
    );
}

#[test]
fn what_only_rabbitmq_has_is_an_empty_list() {
    let node = Node::new();
    for path in [
        "/federation-links",
        "/federation-links/%2F",
        "/federation-links/state/down/",
        "/stream/connections",
        "/traces",
        "/extensions",
    ] {
        assert_eq!(node.get(path).expect(200), json!([]), "{path}");
    }
    let flags = node.get("/feature-flags").expect(200);
    let quorum = flags
        .as_array()
        .unwrap()
        .iter()
        .find(|flag| flag["name"] == "quorum_queue")
        .unwrap();
    assert_eq!(quorum["state"], "enabled");
    node.put("/feature-flags/quorum_queue/enable", &json!({}))
        .expect(204);
    node.delete("/reset").expect(204);
    node.post("/rebalance/queues", &json!({})).expect(204);
    assert!(node.get("/auth/hash_password/secret").expect(200)["ok"].is_string());
}
