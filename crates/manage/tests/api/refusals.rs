//! Requests that are refused: the words RabbitMQ has for it, and nothing changed.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;
use ternmq_core::message::NewMessage;
use ternmq_core::routing::key::KeySyntax;

use crate::harness::Node;

const EVERYTHING: &str = r#"{"configure":".*","write":".*","read":".*"}"#;

/// A node with a user who has these tags, and these permissions in `/`.
fn with_user(name: &str, tags: &str, permissions: &str) -> Node {
    let node = Node::new();
    node.user(name, tags);
    let path = format!("/permissions/%2F/{name}");
    node.ask_as("guest", "PUT", &path, permissions.to_owned())
        .expect(201);
    node
}

#[test]
fn vhost_that_takes_no_connections_is_still_looked_after() {
    let node = Node::new();
    node.put("/queues/%2F/q", &json!({})).expect(201);
    node.put("/vhost-limits/%2F/max-connections", &json!({"value": 0}))
        .expect(204);
    node.put("/user-limits/guest/max-connections", &json!({"value": 0}))
        .expect(204);
    node.put("/queues/%2F/r", &json!({})).expect(201);
    node.delete("/queues/%2F/q/contents").expect(204);
    node.delete("/queues/%2F/q").expect(204);
    let queue = json!({"name": "s", "vhost": "/", "durable": true});
    let limits = json!({"component": "vhost-limits", "vhost": "/", "name": "limits", "value": {"max-connections": 0}});
    let document = json!({"parameters": [limits], "queues": [queue]});
    node.post("/definitions", &document).expect(204);
    node.get("/queues/%2F/s").expect(200);
}

#[test]
fn what_is_allowed_on_a_path_is_told_with_options() {
    let node = Node::new();
    for (method, status) in [("OPTIONS", 200), ("PATCH", 405)] {
        let answer = node.ask_as("guest", method, "/queues/%2F/q", "");
        let allow = answer.headers.get(header::ALLOW).unwrap().to_str().unwrap();
        let mut allowed: Vec<&str> = allow.split(',').map(str::trim).collect();
        allowed.sort_unstable();
        assert_eq!(allowed, ["DELETE", "GET", "HEAD", "OPTIONS", "PUT"]);
        answer.expect(status);
    }
}

#[test]
fn addresses_that_say_no_text_are_refused() {
    let node = Node::new();
    let before = node.get("/queues").expect(200);
    for path in [
        "/queues/%2F/%zz",
        "/queues/%2F/50%",
        "/queues/%2F/%4",
        "/queues/%2F/%FF",
        "/queues?columns=%",
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let refused = node.ask_as("guest", method, path, "");
            refused.expect_bad_request("bad percent encoding in the address");
        }
    }
    assert_eq!(node.get("/queues").expect(200), before);
    node.put("/queues/%2F/50%25", &json!({})).expect(201);
    node.get("/queues/%2F/50%25").expect(200);
}

#[test]
fn names_of_queues_and_exchanges_are_those_that_amqp_can_say() {
    let node = Node::new();
    let (longest, longer) = ("x".repeat(255), "x".repeat(256));
    for (kind, path) in [("queue", "/queues/%2F"), ("exchange", "/exchanges/%2F")] {
        node.put(&format!("{path}/{longest}"), &json!({}))
            .expect(201);
        node.put(&format!("{path}/{longer}"), &json!({}))
            .expect_bad_request(&format!(
                "{kind} should be less than 255 bytes, actually was 256\n"
            ));
        node.put(&format!("{path}/a%0D%0Ab"), &json!({}))
            .expect(201);
        node.get(&format!("{path}/ab")).expect(200);
    }
}

#[test]
fn body_that_is_no_object_is_refused_but_null() {
    let node = Node::new();
    let put = |body: &'static str| node.ask_as("guest", "PUT", "/queues/%2F/q", body);
    for body in ["{", "[]", "1", "{}{}"] {
        put(body).expect_bad_request("not_json");
    }
    put("\"{}\"").expect_bad_request(
        "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?",
    );
    node.ask_as(
        "guest",
        "PUT",
        "/queues/%2F/q",
        Body::from(&b"{\"a\":\"\xff\"}"[..]),
    )
    .expect_bad_request("not_json");
    let nested = "{\"a\":".repeat(3_000) + "1" + &"}".repeat(3_000);
    node.ask_as("guest", "PUT", "/queues/%2F/q", nested)
        .expect_bad_request("not_json");
    node.get("/queues/%2F/q").expect_not_found();
    put("null").expect(201);
}

#[test]
fn policy_that_is_wrong_is_refused_once() {
    let node = Node::new();
    let refused = |policy| {
        node.put("/policies/%2F/p", &policy)
            .expect_bad_request("Validation failed\n\nno policy provided\n");
    };
    refused(json!({"pattern": "", "definition": {}}));
    let limit = node.put("/user-limits/guest/max-channels", &json!({"value": "5"}));
    limit.expect_bad_request("max-channels should be a number, actually was \"5\"");
}

#[test]
fn administrators_do_in_a_vhost_only_what_they_have_permissions_for() {
    let node = Node::new();
    node.user("a", "administrator");
    node.put("/queues/%2F/q", &json!({})).expect(201);
    let get = r#"{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}"#;
    for (method, path, body) in [
        ("PUT", "/queues/%2F/r", "{}"),
        ("DELETE", "/queues/%2F/q", ""),
        ("DELETE", "/queues/%2F/q/contents", ""),
        ("POST", "/queues/%2F/q/get", get),
        ("GET", "/x/queues/%2F/q/messages", ""),
        ("POST", "/x/queues/%2F/q/pause", ""),
        ("GET", "/x/retained/%2F", ""),
    ] {
        node.ask_as("a", method, path, body)
            .expect_not_authorised("Access refused.");
    }
    node.ask_as("a", "POST", "/queues/%2F/q/actions", r#"{"action":"sync"}"#)
        .expect(204);
    let policy = r#"{"pattern":"^q","definition":{"max-length":1}}"#;
    node.ask_as("a", "PUT", "/policies/%2F/p", policy)
        .expect(201);
}

#[test]
fn to_see_all_vhosts_is_not_to_set_policies_there() {
    let node = Node::new();
    node.user("u", "monitoring,policymaker");
    node.put(
        "/policies/%2F/old",
        &json!({"pattern": "^q", "definition": {"max-length": 1}}),
    )
    .expect(201);
    node.put(
        "/parameters/federation-upstream/%2F/old",
        &json!({"value": {"uri": "amqp://"}}),
    )
    .expect(201);
    let before = node.get("/definitions").expect(200);
    let upstream = r#"{"value":{"uri":"amqp://"}}"#;
    let policy = r#"{"pattern":"^q","definition":{"max-length":1}}"#;
    let asked = [
        ("GET", "/policies/%2F/old", ""),
        ("PUT", "/policies/%2F/p", policy),
        ("DELETE", "/policies/%2F/old", ""),
        ("GET", "/parameters/federation-upstream/%2F/old", ""),
        ("PUT", "/parameters/federation-upstream/%2F/p", upstream),
        ("DELETE", "/parameters/federation-upstream/%2F/old", ""),
        ("DELETE", "/shovels/vhost/%2F/s", ""),
        ("DELETE", "/x/mqtt/sessions/%2F/c", ""),
    ];
    for (method, path, body) in asked {
        node.ask_as("u", method, path, body)
            .expect_not_authorised("User not authorised to access object");
    }
    assert_eq!(node.get("/definitions").expect(200), before);
    node.ask_as("guest", "PUT", "/permissions/%2F/u", EVERYTHING)
        .expect(201);
    node.ask_as("u", "PUT", "/policies/%2F/p", policy)
        .expect(201);
}

#[test]
fn retained_messages_are_for_those_who_may_read_their_topics() {
    let node = with_user(
        "u",
        "policymaker",
        r#"{"configure":"","write":"","read":"^amq\\.topic$"}"#,
    );
    let mut client = node.client();
    for topic in ["a/b", "c/d"] {
        let mut message = NewMessage::plain(b"amq.topic", topic.as_bytes(), b"21");
        message.key_syntax = KeySyntax::Slashed;
        let message = message.build(&mut Vec::new());
        client.retain(topic.as_bytes(), Some(message)).unwrap();
    }
    let topics = || {
        let shown = node.ask_as("u", "GET", "/x/retained/%2F", "").expect(200);
        let shown = shown.as_array().unwrap().iter();
        shown
            .map(|message| message["topic"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(topics(), ["a/b", "c/d"]);
    node.ask_as("u", "DELETE", "/x/retained/%2F/a%2Fb", "")
        .expect_not_authorised("Access refused.");
    let keys = json!({"exchange": "amq.topic", "write": "", "read": "^a\\.b$"});
    node.put("/topic-permissions/%2F/u", &keys).expect(201);
    assert_eq!(topics(), ["a/b"]);
    let nothing = r#"{"configure":"","write":"","read":""}"#;
    node.ask_as("guest", "PUT", "/permissions/%2F/u", nothing)
        .expect(204);
    assert_eq!(topics(), [""; 0]);
}

#[test]
fn limits_of_a_user_are_shown_to_that_user_and_to_those_who_monitor() {
    let node = Node::new();
    node.user("m", "management");
    node.user("o", "monitoring");
    node.put("/user-limits/m/max-channels", &json!({"value": 5}))
        .expect(204);
    let limits = json!([{"user": "m", "value": {"max-channels": 5}}]);
    for user in ["m", "o", "guest"] {
        let shown = node.ask_as(user, "GET", "/user-limits/m", "").expect(200);
        assert_eq!(shown, limits);
    }
    node.ask_as("m", "GET", "/user-limits/o", "")
        .expect_not_authorised("User not authorised to access object");
    for user in ["m", "o"] {
        node.ask_as(user, "GET", "/user-limits", "")
            .expect_not_authorised("Not administrator user");
    }
}

#[test]
fn one_policy_or_action_is_for_whom_rabbitmq_lets_have_it() {
    let node = with_user("m", "management", EVERYTHING);
    node.put("/queues/%2F/q", &json!({})).expect(201);
    for path in ["/operator-policies/%2F/p", "/policies/%2F/p"] {
        let policy = json!({"pattern": "^q", "definition": {"max-length": 1}});
        node.put(path, &policy).expect(201);
    }
    let refused = |path, reason| {
        node.ask_as("m", "GET", path, "")
            .expect_not_authorised(reason);
    };
    refused("/operator-policies/%2F/p", "Not administrator user");
    refused("/policies/%2F/p", "User not authorised to access object");
    node.ask_as("m", "POST", "/queues/%2F/q/actions", r#"{"action":"sync"}"#)
        .expect_not_authorised("Not administrator user");
    node.ask_as("m", "GET", "/feature-flags", "").expect(200);
}

#[test]
fn statistics_of_another_node_cannot_be_reset() {
    let node = Node::new();
    node.delete("/reset/nope").expect_not_found();
    node.delete(&format!("/reset/{}", crate::harness::NODE))
        .expect(204);
    let of = |node: &str| format!("/auth/attempts/{node}/source");
    let attempts = node.get(&of(crate::harness::NODE)).expect(200);
    assert_eq!(attempts, json!([]));
    node.get(&of("nope")).expect_not_found();
}

#[test]
fn who_takes_no_json_is_refused_before_anything_is_done() {
    let node = Node::new();
    let ask = |method: &str, path: &str, accept: &'static str| {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api{path}"))
            .header(header::AUTHORIZATION, "Basic Z3Vlc3Q6Z3Vlc3Q=")
            .header(header::ACCEPT, accept)
            .body(Body::from("{}"))
            .unwrap();
        node.send(request, IpAddr::V4(Ipv4Addr::LOCALHOST))
    };
    ask("PUT", "/queues/%2F/q", "text/html").expect_fault(
        406,
        "not_acceptable",
        "answers are application/json",
    );
    node.get("/queues/%2F/q").expect_not_found();
    ask("GET", "/whoami", "nonsense").expect(400);
    ask("PUT", "/queues/%2F/q", "text/html, */*;q=0.1").expect(201);
}

#[test]
fn exchange_that_is_not_there_is_not_found_whatever_its_name() {
    let node = Node::new();
    node.user("root", "administrator");
    for name in ["amq.x", "x"] {
        let path = format!("/exchanges/%2F/{name}");
        node.delete(&path).expect_not_found();
        node.ask_as("root", "DELETE", &path, "").expect_not_found();
    }
    node.delete("/exchanges/%2F/amq.direct")
        .expect_not_authorised("Access refused.");
}

#[test]
fn lists_that_rabbitmq_does_not_page_are_whole() {
    let node = Node::new();
    for path in [
        "/bindings",
        "/permissions",
        "/policies",
        "/parameters",
        "/global-parameters",
        "/consumers",
        "/nodes",
        "/feature-flags",
        "/vhosts/%2F/connections",
        "/vhosts/%2F/channels",
        "/vhost-limits",
    ] {
        let whole = node.get(path).expect(200);
        assert!(whole.is_array(), "{path}");
        let paged = node.get(&format!("{path}?page=2&page_size=x&name=nope"));
        assert!(paged.expect(200).is_array(), "{path}");
    }
    for path in [
        "/queues",
        "/exchanges/%2F",
        "/vhosts",
        "/users",
        "/connections",
        "/channels",
    ] {
        let paged = node.get(&format!("{path}?page=1")).expect(200);
        assert_eq!(paged["page"], 1, "{path}");
    }
}
