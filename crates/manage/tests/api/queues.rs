//! Queues and exchanges.

use serde_json::json;

use crate::harness::{NODE, Node};

#[test]
fn queue_is_made_once_and_again_only_as_it_is() {
    let node = Node::new();
    let path = "/queues/%2F/orders";
    let queue = json!({"durable": true, "arguments": {"x-max-length": 10}});
    node.put(path, &queue).expect(201);
    node.put(path, &queue).expect(204);
    node.put(path, &json!({"durable": false})).expect_bad_request(
        "inequivalent arg 'durable' for queue 'orders' in vhost '/': received 'false' but current is 'true'",
    );
    let shown = node.get(path).expect(200);
    assert_eq!(shown["arguments"], json!({"x-max-length": 10}));
    assert_eq!(
        (&shown["name"], &shown["vhost"], &shown["type"]),
        (&json!("orders"), &json!("/"), &json!("classic"))
    );
    assert_eq!(
        (&shown["node"], &shown["state"]),
        (&json!(NODE), &json!("running"))
    );
    assert_eq!(
        (
            &shown["durable"],
            &shown["auto_delete"],
            &shown["exclusive"]
        ),
        (&json!(true), &json!(false), &json!(false))
    );
    node.delete(path).expect(204);
    node.delete(path).expect_not_found();
    node.get(path).expect_not_found();
}

#[test]
fn queue_has_every_field_that_strict_clients_want() {
    let node = Node::new();
    node.put(
        "/queues/%2F/q",
        &json!({"arguments": {"x-queue-type": "quorum"}, "durable": true}),
    )
    .expect(201);
    let shown = node.get("/queues/%2F/q").expect(200);
    for field in [
        "name",
        "vhost",
        "type",
        "durable",
        "auto_delete",
        "exclusive",
        "arguments",
        "node",
        "state",
        "consumers",
        "consumer_utilisation",
        "consumer_capacity",
        "idle_since",
        "memory",
        "messages",
        "messages_details",
        "messages_ready",
        "messages_ready_details",
        "messages_unacknowledged",
        "messages_unacknowledged_details",
        "messages_ram",
        "messages_persistent",
        "message_bytes",
        "message_bytes_ready",
        "message_bytes_unacknowledged",
        "message_bytes_ram",
        "message_bytes_persistent",
        "leader",
        "members",
        "online",
        "delivery_limit",
        "consumer_details",
        "incoming",
        "deliveries",
        "effective_policy_definition",
    ] {
        assert!(!shown[field].is_null(), "{field} in {shown}");
    }
    assert_eq!(shown["leader"], NODE);
}

#[test]
fn queue_whose_type_is_left_open_is_classic() {
    let node = Node::new();
    for kind in ["", "undefined"] {
        let queue = json!({"durable": true, "arguments": {"x-queue-type": kind}});
        let path = format!("/queues/%2F/of-type-{kind}");
        node.put(&path, &queue).expect(201);
        node.put(&path, &json!({"durable": true})).expect(204);
        assert_eq!(node.get(&path).expect(200)["type"], "classic");
    }
}

#[test]
fn queues_that_cannot_be_are_refused_and_not_made() {
    let node = Node::new();
    let refused = [
        (json!({"durable": "yes"}), r#"["not_boolean","yes"]"#),
        (json!({"arguments": {"a": null}}), "null_not_allowed"),
        (json!({"arguments": 5}), r#"["not_object",5]"#),
        (
            json!({"arguments": {"x-max-length": "a"}}),
            "invalid arg 'x-max-length' for queue 'q' in vhost '/': \"expected integer, got longstr\"",
        ),
        (
            json!({"arguments": {"x-queue-type": "bogus"}}),
            "invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type 'bogus'\"",
        ),
        (
            json!({"node": "other@host"}),
            "Node other@host could not be contacted",
        ),
    ];
    for (queue, reason) in refused {
        let body = node.put("/queues/%2F/q", &queue).expect(400);
        let shown = body["reason"]
            .as_str()
            .map_or_else(|| body["reason"].to_string(), str::to_owned);
        assert_eq!(shown, reason);
    }
    for body in ["{", "[]", "5"] {
        node.ask_as("guest", "PUT", "/queues/%2F/q", body)
            .expect_bad_request("not_json");
    }
    node.get("/queues/%2F/q").expect_not_found();
    node.put("/queues/%2F/amq.q", &json!({}))
        .expect_not_authorised("Access refused.");
    node.put("/queues/nowhere/q", &json!({}))
        .expect_fault(404, "not_found", "vhost_not_found");
    assert_eq!(node.get("/queues").expect(200), json!([]));
}

#[test]
fn old_forms_of_declarations_are_understood() {
    let node = Node::new();
    node.ask_as("guest", "PUT", "/queues/%2F/empty", "")
        .expect(201);
    node.put("/queues/%2F/list", &json!({"arguments": []}))
        .expect(201);
    node.put(
        "/queues/%2F/text",
        &json!({"durable": "true", "auto_delete": "false"}),
    )
    .expect(201);
    assert_eq!(node.get("/queues/%2F/text").expect(200)["durable"], true);
    node.put(
        "/queues/%2F/typed",
        &json!({"type": "quorum", "durable": true}),
    )
    .expect(201);
    assert_eq!(node.get("/queues/%2F/typed").expect(200)["type"], "quorum");
    node.put("/exchanges/%2F/untyped", &json!({})).expect(201);
    assert_eq!(
        node.get("/exchanges/%2F/untyped").expect(200)["type"],
        "direct"
    );
}

#[test]
fn queue_is_deleted_under_conditions() {
    let node = Node::new();
    node.put("/queues/%2F/q", &json!({})).expect(201);
    let publish =
        json!({"properties": {}, "routing_key": "q", "payload": "x", "payload_encoding": "string"});
    node.post("/exchanges/%2F/amq.default/publish", &publish)
        .expect(200);
    node.delete("/queues/%2F/q?if-empty=true")
        .expect_bad_request("queue 'q' in vhost '/' not empty");
    node.delete("/queues/%2F/q/contents").expect(204);
    assert_eq!(node.get("/queues/%2F/q").expect(200)["messages"], 0);
    node.delete("/queues/%2F/q?if-empty=true&if-unused=true")
        .expect(204);
    node.delete("/queues/%2F/q/contents").expect_not_found();
}

#[test]
fn lists_of_queues_can_be_brief() {
    let node = Node::new();
    node.put("/queues/%2F/q", &json!({})).expect(201);
    let brief = node.get("/queues?disable_stats=true").expect(200);
    let expected = json!([{
        "name": "q", "vhost": "/", "type": "classic", "durable": false, "auto_delete": false,
        "exclusive": false, "arguments": {}, "node": NODE, "state": "running",
    }]);
    assert_eq!(brief, expected);
    let with_totals = node
        .get("/queues/%2F?disable_stats=true&enable_queue_totals=true")
        .expect(200);
    assert_eq!(with_totals[0]["messages"], 0);
    assert!(with_totals[0]["memory"].is_null());
    let columns = node
        .get("/queues?columns=name,arguments&page=1")
        .expect(200);
    assert_eq!(columns["items"], json!([{"name": "q", "arguments": {}}]));
}

#[test]
fn queries_of_well_known_tools_are_answered_in_their_form() {
    let node = Node::new();
    for name in ["celery", "other"] {
        node.put(&format!("/queues/%2F/{name}"), &json!({}))
            .expect(201);
    }
    // KEDA with a pattern wants a page, although it says it wants none.
    let path = "/queues/%2F?page=1&use_regex=true&pagination=false&name=^cel.*&page_size=100";
    let page = node.get(path).expect(200);
    assert_eq!(
        (&page["page_count"], &page["items"][0]["name"]),
        (&json!(1), &json!("celery"))
    );
    // Flower.
    let queues = node.get("/queues/%2F").expect(200);
    for field in [
        "name",
        "messages",
        "messages_unacknowledged",
        "messages_ready",
        "consumers",
        "idle_since",
    ] {
        assert!(!queues[0][field].is_null(), "{field}");
    }
}

#[test]
fn names_may_have_any_characters() {
    let node = Node::new();
    for (path, name) in [
        ("a%2Fb", "a/b"),
        ("a+b", "a+b"),
        ("a%20b%25", "a b%"),
        ("gr%C3%BC%C3%9F", "grüß"),
    ] {
        node.put(&format!("/queues/%2F/{path}"), &json!({}))
            .expect(201);
        assert_eq!(
            node.get(&format!("/queues/%2F/{path}")).expect(200)["name"],
            name
        );
    }
    node.get("/queues/%2F/%FF")
        .expect_bad_request("bad percent encoding in the address");
}

#[test]
fn exchange_is_made_once_and_again_only_as_it_is() {
    let node = Node::new();
    let path = "/exchanges/%2F/e";
    node.put(
        path,
        &json!({"type": "topic", "durable": true, "internal": true}),
    )
    .expect(201);
    node.put(
        path,
        &json!({"type": "topic", "durable": true, "internal": true}),
    )
    .expect(204);
    node.put(path, &json!({"type": "fanout", "durable": true, "internal": true})).expect_bad_request(
        "inequivalent arg 'type' for exchange 'e' in vhost '/': received 'fanout' but current is 'topic'",
    );
    let shown = node.get(path).expect(200);
    assert_eq!(
        shown,
        json!({
            "name": "e", "vhost": "/", "type": "topic", "durable": true, "auto_delete": false,
            "internal": true, "arguments": {}, "user_who_performed_action": "guest", "policy": null, "incoming": [], "outgoing": [],
        })
    );
    node.put("/exchanges/%2F/f", &json!({"type": "bogus"}))
        .expect_bad_request("unknown exchange type 'bogus'");
    node.put("/exchanges/nowhere/f", &json!({}))
        .expect_fault(404, "not_found", "vhost_not_found");
    node.delete(path).expect(204);
    node.delete(path).expect_not_found();
}

#[test]
fn predeclared_exchanges_stay() {
    let node = Node::new();
    node.delete("/exchanges/%2F/amq.direct")
        .expect_not_authorised("Access refused.");
    node.put("/exchanges/%2F/amq.new", &json!({}))
        .expect_not_authorised("Access refused.");
    assert_eq!(
        node.get("/exchanges/%2F/amq.default").expect(200)["name"],
        ""
    );
    let names: Vec<String> = node
        .get("/exchanges/%2F")
        .expect(200)
        .as_array()
        .unwrap()
        .iter()
        .map(|exchange| exchange["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "",
            "amq.direct",
            "amq.fanout",
            "amq.headers",
            "amq.match",
            "amq.rabbitmq.trace",
            "amq.topic"
        ]
    );
}

#[test]
fn exchange_in_use_stays_if_asked_to() {
    let node = Node::new();
    node.put("/exchanges/%2F/e", &json!({"type": "fanout"}))
        .expect(201);
    node.put("/queues/%2F/q", &json!({})).expect(201);
    node.post("/bindings/%2F/e/e/q/q", &json!({})).expect(201);
    node.delete("/exchanges/%2F/e?if-unused=true")
        .expect_bad_request("exchange 'e' in vhost '/' in use");
    node.delete("/exchanges/%2F/e").expect(204);
}

#[test]
fn actions_on_mirrors_are_accepted_and_others_are_not() {
    let node = Node::new();
    node.put("/queues/%2F/q", &json!({})).expect(201);
    node.post("/queues/%2F/q/actions", &json!({"action": "sync"}))
        .expect(204);
    let refused = node
        .post("/queues/%2F/q/actions", &json!({"action": "bogus"}))
        .expect(400);
    assert_eq!(refused["reason"], json!(["unknown", "bogus"]));
    node.post("/queues/%2F/nope/actions", &json!({"action": "sync"}))
        .expect_not_found();
}

#[test]
fn replicated_queue_tells_who_keeps_it() {
    let node = Node::new();
    node.put("/queues/%2F/q", &json!({"type": "quorum", "durable": true}))
        .expect(201);
    node.put("/queues/%2F/c", &json!({})).expect(201);
    let status = node.get("/queues/quorum/%2F/q/status").expect(200);
    assert_eq!(status[0]["Node Name"], NODE);
    assert_eq!(status[0]["Raft State"], "leader");
    node.get("/queues/quorum/%2F/c/status")
        .expect_bad_request("not_quorum_queue");
    node.get("/queues/quorum/%2F/nope/status")
        .expect_not_found();
    // A vhost may have that name too.
    node.put("/vhosts/quorum", &json!({})).expect(201);
    node.put("/queues/quorum/q", &json!({})).expect(201);
    assert_eq!(node.get("/queues/quorum/q").expect(200)["vhost"], "quorum");
    assert_eq!(
        node.get("/queues/quorum/q/bindings").expect(200)[0]["routing_key"],
        "q"
    );
}
