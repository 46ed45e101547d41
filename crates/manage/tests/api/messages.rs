//! Publishing and getting.

use serde_json::{Value, json};

use crate::harness::Node;

fn node() -> Node {
    let node = Node::new();
    node.put("/queues/%2F/q", &json!({"durable": true}))
        .expect(201);
    node
}

fn publish(node: &Node, payload: &str) {
    let message = json!({"properties": {"delivery_mode": 2}, "routing_key": "q", "payload": payload, "payload_encoding": "string"});
    let routed = node
        .post("/exchanges/%2F/amq.default/publish", &message)
        .expect(200);
    assert_eq!(routed, json!({"routed": true}));
}

fn get(node: &Node, mode: &str, count: u64) -> Vec<Value> {
    let body = json!({"count": count, "ackmode": mode, "encoding": "auto"});
    let got = node.post("/queues/%2F/q/get", &body).expect(200);
    got.as_array().unwrap().clone()
}

#[test]
fn message_comes_out_as_it_went_in() {
    let node = node();
    let properties = json!({
        "delivery_mode": 2, "headers": {"h": "v", "n": 1, "list": [1, "a"]}, "content_type": "text/plain",
        "timestamp": 123, "priority": 3, "expiration": "60000", "message_id": "m", "correlation_id": "c",
        "reply_to": "r", "type": "t", "app_id": "a", "user_id": "guest",
    });
    let message = json!({"properties": properties, "routing_key": "q", "payload": "hello", "payload_encoding": "string"});
    node.post("/exchanges/%2F/amq.default/publish", &message)
        .expect(200);
    let got = get(&node, "ack_requeue_false", 5);
    let expected = json!({
        "payload_bytes": 5, "redelivered": false, "exchange": "", "routing_key": "q", "message_count": 0,
        "properties": properties, "payload": "hello", "payload_encoding": "string",
    });
    assert_eq!(got, [expected]);
}

#[test]
fn bytes_go_in_and_out_as_base64() {
    let node = node();
    let message = json!({"properties": [], "routing_key": "q", "payload": "//4=", "payload_encoding": "base64"});
    node.post("/exchanges/%2F/amq.default/publish", &message)
        .expect(200);
    let got = &get(&node, "ack_requeue_false", 1)[0];
    assert_eq!(
        (&got["payload"], &got["payload_encoding"]),
        (&json!("//4="), &json!("base64"))
    );
    publish(&node, "hello");
    let body =
        json!({"count": 1, "ackmode": "ack_requeue_false", "encoding": "base64", "truncate": 2});
    let got = node.post("/queues/%2F/q/get", &body).expect(200);
    assert_eq!(
        (&got[0]["payload"], &got[0]["payload_bytes"]),
        (&json!("aGU="), &json!(5))
    );
}

#[test]
fn messages_are_settled_as_asked_and_none_comes_twice() {
    let node = node();
    for payload in ["a", "b"] {
        publish(&node, payload);
    }
    let payloads = |got: &[Value]| -> Vec<String> {
        got.iter()
            .map(|m| m["payload"].as_str().unwrap().to_owned())
            .collect()
    };
    for mode in ["ack_requeue_true", "reject_requeue_true"] {
        assert_eq!(payloads(&get(&node, mode, 5)), ["a", "b"], "{mode}");
    }
    let again = get(&node, "ack_requeue_true", 1);
    assert_eq!(
        (&again[0]["redelivered"], &again[0]["message_count"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(payloads(&get(&node, "reject_requeue_false", 1)), ["a"]);
    assert_eq!(payloads(&get(&node, "ack_requeue_false", 5)), ["b"]);
    assert!(get(&node, "ack_requeue_true", 5).is_empty());
    assert!(get(&node, "ack_requeue_true", 0).is_empty());
}

#[test]
fn old_way_to_say_what_becomes_of_messages_is_understood() {
    let node = node();
    publish(&node, "a");
    let with = |requeue: Value| json!({"count": 1, "requeue": requeue, "encoding": "auto"});
    for _ in 0..2 {
        let got = node
            .post("/queues/%2F/q/get", &with(json!(true)))
            .expect(200);
        assert_eq!(got[0]["payload"], "a");
    }
    node.post("/queues/%2F/q/get", &with(json!(false)))
        .expect(200);
    assert!(get(&node, "ack_requeue_true", 1).is_empty());
}

#[test]
fn requests_to_get_that_make_no_sense_are_refused() {
    let node = node();
    publish(&node, "a");
    let refused = |body: Value| node.post("/queues/%2F/q/get", &body).expect(400)["reason"].clone();
    assert_eq!(
        refused(json!({"count": 1})),
        "[{key_missing,ackmode},{key_missing,encoding}]"
    );
    let with = |count: Value, mode: &str, encoding: &str| json!({"count": count, "ackmode": mode, "encoding": encoding});
    assert_eq!(
        refused(with(json!("x"), "ack_requeue_true", "auto")),
        json!(["not_integer", "x"])
    );
    assert_eq!(
        refused(with(json!(1), "bogus", "auto")),
        json!(["unsupported_ackmode", "bogus"])
    );
    let encoding = "Unsupported encoding. Please use auto or base64.";
    assert_eq!(refused(with(json!(1), "ack_requeue_true", "foo")), encoding);
    let body = with(json!(1), "ack_requeue_true", "auto");
    node.post("/queues/%2F/nope/get", &body).expect_fault(
        404,
        "not_found",
        "NOT_FOUND - no queue 'nope' in vhost '/'",
    );
    assert_eq!(
        get(&node, "ack_requeue_true", 1)[0]["redelivered"],
        false,
        "nothing was taken"
    );
}

#[test]
fn publishes_that_make_no_sense_are_refused() {
    let node = node();
    let good =
        json!({"properties": {}, "routing_key": "q", "payload": "x", "payload_encoding": "string"});
    let refused = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        node.post("/exchanges/%2F/amq.default/publish", &body)
            .expect(400)["reason"]
            .clone()
    };
    assert_eq!(
        refused("properties", Value::Null),
        "[{key_missing,properties}]"
    );
    assert_eq!(refused("payload", json!(5)), "payload_not_string");
    assert_eq!(
        refused("payload_encoding", json!("bogus")),
        json!(["unsupported_encoding", "bogus"])
    );
    assert_eq!(
        refused("properties", json!({"delivery_mode": "2"})),
        json!(["not_int", "delivery_mode"])
    );
    assert_eq!(
        refused("properties", json!({"headers": {"a": null}})),
        "null_not_allowed"
    );
    assert_eq!(
        refused("properties", json!({"expiration": "abc"})),
        "406 PRECONDITION_FAILED - invalid expiration 'abc': no_integer"
    );
    assert_eq!(
        refused("properties", json!({"user_id": "bob"})),
        "406 PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'"
    );
    let mut bad = good.clone();
    (bad["payload"], bad["payload_encoding"]) = (json!("***"), json!("base64"));
    let answer = node
        .post("/exchanges/%2F/amq.default/publish", &bad)
        .expect(400);
    assert_eq!(answer["reason"], json!(["not_base64", "***"]));
    let nowhere = node.post("/exchanges/%2F/nope/publish", &good);
    nowhere.expect_bad_request("404 NOT_FOUND - no exchange 'nope' in vhost '/'");
    node.post("/exchanges/nowhere/x/publish", &good)
        .expect_not_found();
    assert!(get(&node, "ack_requeue_true", 1).is_empty());
}

#[test]
fn message_that_reaches_no_queue_is_said_to_be_not_routed() {
    let node = node();
    let message = json!({"properties": {}, "routing_key": "nope", "payload": "x", "payload_encoding": "string"});
    let answer = node
        .post("/exchanges/%2F/amq.default/publish", &message)
        .expect(200);
    assert_eq!(answer, json!({"routed": false}));
}

#[test]
fn message_that_a_full_queue_refuses_is_an_error() {
    let node = node();
    let full = json!({"arguments": {"x-max-length": 1, "x-overflow": "reject-publish"}});
    node.put("/queues/%2F/full", &full).expect(201);
    let message = json!({"properties": {}, "routing_key": "full", "payload": "x", "payload_encoding": "string"});
    node.post("/exchanges/%2F/amq.default/publish", &message)
        .expect(200);
    node.post("/exchanges/%2F/amq.default/publish", &message)
        .expect_bad_request("rejected");
}

#[test]
fn body_beyond_the_limit_is_refused() {
    let config = ternmq_manage::ManageConfig {
        body_bytes_max: 100,
        ..ternmq_manage::ManageConfig::default()
    };
    let node = Node::with_config(config);
    let body = |bytes: usize| format!("{{\"durable\":true{}}}", " ".repeat(bytes - 16));
    assert_eq!(body(100).len(), 100);
    node.ask_as("guest", "PUT", "/queues/%2F/q", body(100))
        .expect(201);
    let refused = node.ask_as("guest", "PUT", "/queues/%2F/r", body(101));
    refused.expect_bad_request("Exceeded HTTP request body size limit");
    node.get("/queues/%2F/r").expect_not_found();
}
