//! `/api/x/...`

use serde_json::{Value, json};
use ternmq_core::message::NewMessage;

use crate::harness::Node;

fn publish(node: &Node, queue: &str, payload: &str) {
    let message = json!({
        "properties": {"headers": {"kind": payload}}, "routing_key": queue, "payload": payload, "payload_encoding": "string",
    });
    let routed = node
        .post("/exchanges/%2F/amq.default/publish", &message)
        .expect(200);
    assert_eq!(routed, json!({"routed": true}));
}

fn payloads(messages: &Value) -> Vec<&str> {
    let messages = messages.as_array().unwrap().iter();
    messages
        .map(|message| message["payload"].as_str().unwrap())
        .collect()
}

#[test]
fn messages_are_looked_at_where_they_are() {
    let node = Node::new();
    node.put(
        "/queues/%2F/q",
        &json!({"arguments": {"x-message-ttl": 60_000}}),
    )
    .expect(201);
    for payload in ["a", "b", "c"] {
        publish(&node, "q", payload);
    }
    let all = node.get("/x/queues/%2F/q/messages").expect(200);
    assert_eq!(payloads(&all), ["a", "b", "c"]);
    assert!(all[0]["expires_at"].is_string() && all[0]["held_by"].is_null());
    let some = node
        .get("/x/queues/%2F/q/messages?from=1&count=1")
        .expect(200);
    assert_eq!(payloads(&some), ["b"]);
    let mut client = node.client();
    let got = client.get("q", false).unwrap().unwrap();
    node.clock.advance_ms(5);
    let held = node.get("/x/queues/%2F/q/in-flight").expect(200);
    assert_eq!(
        (payloads(&held), &held[0]["held_ms"]),
        (vec!["a"], &json!(5))
    );
    assert_eq!(
        payloads(&node.get("/x/queues/%2F/q/messages").expect(200)),
        ["b", "c"]
    );
    let queue = node.get("/queues/%2F/q").expect(200);
    assert_eq!(
        (&queue["messages_ready"], &queue["messages_unacknowledged"]),
        (&json!(2), &json!(1))
    );
    drop(got);
    node.get("/x/queues/%2F/nope/messages").expect_not_found();
    node.get("/x/queues/nope/q/messages").expect_not_found();
}

#[test]
fn queue_is_paused_and_goes_on() {
    let node = Node::new();
    node.put("/queues/%2F/q", &json!({})).expect(201);
    node.post("/x/queues/%2F/q/pause", &json!({})).expect(204);
    assert_eq!(node.get("/queues/%2F/q").expect(200)["state"], "paused");
    node.post("/x/queues/%2F/q/resume", &json!({})).expect(204);
    assert_eq!(node.get("/queues/%2F/q").expect(200)["state"], "running");
    node.post("/x/queues/%2F/nope/pause", &json!({}))
        .expect_not_found();
}

#[test]
fn what_rights_do_not_allow_is_refused() {
    let node = Node::new();
    node.user("m", "management");
    node.put(
        "/permissions/%2F/m",
        &json!({"configure": "^m", "write": "^m", "read": "^m"}),
    )
    .expect(201);
    node.put("/queues/%2F/q", &json!({})).expect(201);
    for (method, path) in [
        ("GET", "/x/queues/%2F/q/messages"),
        ("GET", "/x/queues/%2F/q/in-flight"),
        ("POST", "/x/queues/%2F/q/pause"),
        ("POST", "/x/queues/%2F/q/redrive"),
    ] {
        node.ask_as("m", method, path, "")
            .expect_not_authorised("Access refused.");
    }
    assert_eq!(node.get("/queues/%2F/q").expect(200)["state"], "running");
}

/// A queue whose messages died by being refused, or by their time.
fn with_dead_letters() -> Node {
    let node = Node::new();
    let dies_into =
        json!({"arguments": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}});
    node.put("/queues/%2F/work", &dies_into).expect(201);
    node.put("/queues/%2F/dead", &json!({})).expect(201);
    for payload in ["a", "b", "c"] {
        publish(&node, "work", payload);
    }
    let reject = json!({"count": 3, "ackmode": "reject_requeue_false", "encoding": "auto"});
    node.post("/queues/%2F/work/get", &reject).expect(200);
    publish(&node, "dead", "never died");
    assert_eq!(node.get("/queues/%2F/dead").expect(200)["messages"], 4);
    node
}

/// Lets tasks go on until one has ended.
fn finished(node: &Node, task: &Value) -> Value {
    for _ in 0..1000 {
        node.pass_s(1);
        let progress = node.get(&format!("/x/tasks/{}", task["id"])).expect(200);
        if progress["state"] != "running" {
            return progress;
        }
    }
    panic!("the task does not end");
}

#[test]
fn dead_letters_go_back_to_where_they_died() {
    let node = with_dead_letters();
    let task = node
        .post("/x/queues/%2F/dead/redrive", &json!({}))
        .expect(202);
    assert_eq!(
        (&task["state"], &task["total"]),
        (&json!("running"), &json!(4))
    );
    let done = finished(&node, &task);
    assert_eq!(done["state"], "done");
    assert_eq!(
        (&done["seen"], &done["moved"], &done["skipped"]),
        (&json!(4), &json!(3), &json!(1))
    );
    let back = node.get("/x/queues/%2F/work/messages").expect(200);
    assert_eq!(payloads(&back), ["a", "b", "c"]);
    assert!(
        back[0]["properties"]["headers"]["x-death"].is_null(),
        "it begins anew"
    );
    let left = node.get("/x/queues/%2F/dead/messages").expect(200);
    assert_eq!(payloads(&left), ["never died"]);
    assert_eq!(
        node.get("/queues/%2F/dead").expect(200)["messages_unacknowledged"],
        0
    );
    assert_eq!(
        node.get("/x/tasks").expect(200).as_array().unwrap().len(),
        1
    );
    node.delete(&format!("/x/tasks/{}", task["id"])).expect(400);
    node.get("/x/tasks/99").expect_not_found();
}

#[test]
fn dead_letters_are_chosen_and_sent_elsewhere() {
    let node = with_dead_letters();
    node.put("/queues/%2F/other", &json!({})).expect(201);
    let order = json!({
        "filter": {"reason": "rejected", "queue": "work", "headers": {"kind": "b"}}, "to": {"routing_key": "other"},
    });
    let mut dry = order.clone();
    dry["dry_run"] = json!(true);
    let would = node.post("/x/queues/%2F/dead/redrive", &dry).expect(200);
    assert_eq!(
        would,
        json!({"dry_run": true, "seen": 4, "matching": 1, "targets": {"other": 1}})
    );
    assert_eq!(node.get("/queues/%2F/other").expect(200)["messages"], 0);
    let task = node.post("/x/queues/%2F/dead/redrive", &order).expect(202);
    assert_eq!(finished(&node, &task)["moved"], 1);
    assert_eq!(
        payloads(&node.get("/x/queues/%2F/other/messages").expect(200)),
        ["b"]
    );
    assert_eq!(
        payloads(&node.get("/x/queues/%2F/dead/messages").expect(200)),
        ["a", "c", "never died"]
    );
}

#[test]
fn redrive_keeps_to_its_rate_and_can_be_stopped() {
    let node = with_dead_letters();
    let task = node
        .post("/x/queues/%2F/dead/redrive", &json!({"rate": 1}))
        .expect(202);
    let path = format!("/x/tasks/{}", task["id"]);
    node.pass_s(1);
    assert_eq!(node.get(&path).expect(200)["moved"], 1);
    node.pass_s(1);
    assert_eq!(node.get(&path).expect(200)["moved"], 2);
    node.delete(&path).expect(204);
    node.pass_s(10);
    let stopped = node.get(&path).expect(200);
    assert_eq!(
        (&stopped["state"], &stopped["moved"]),
        (&json!("stopped"), &json!(2))
    );
    assert_eq!(
        node.get("/queues/%2F/dead").expect(200)["messages_ready"],
        2
    );
}

#[test]
fn dead_letters_that_nobody_takes_stay() {
    let node = with_dead_letters();
    let order = json!({"to": {"routing_key": "nowhere"}});
    let task = node.post("/x/queues/%2F/dead/redrive", &order).expect(202);
    let done = finished(&node, &task);
    assert_eq!((&done["moved"], &done["failed"]), (&json!(0), &json!(4)));
    assert_eq!(
        node.get("/queues/%2F/dead").expect(200)["messages_ready"],
        4
    );
    for wrong in [
        json!({"rate": 0}),
        json!({"to": 5}),
        json!({"filter": {"headers": 1}}),
        json!({"to": {}}),
    ] {
        node.post("/x/queues/%2F/dead/redrive", &wrong).expect(400);
    }
    node.post("/x/queues/%2F/nope/redrive", &json!({}))
        .expect_not_found();
}

#[test]
fn delayed_messages_are_listed_and_cancelled() {
    let node = Node::new();
    let delayed = json!({"type": "x-delayed-message", "arguments": {"x-delayed-type": "fanout"}});
    node.put("/exchanges/%2F/later", &delayed).expect(201);
    node.put("/queues/%2F/q", &json!({})).expect(201);
    node.post("/bindings/%2F/e/later/q/q", &json!({}))
        .expect(201);
    let message = json!({
        "properties": {"headers": {"x-delay": 5000}}, "routing_key": "k", "payload": "m", "payload_encoding": "string",
    });
    for _ in 0..2 {
        node.post("/exchanges/%2F/later/publish", &message)
            .expect(200);
    }
    let waiting = node.get("/x/delayed/%2F").expect(200);
    assert_eq!(waiting.as_array().unwrap().len(), 2);
    assert_eq!(
        (
            &waiting[0]["exchange"],
            &waiting[0]["routing_key"],
            &waiting[0]["due_in_ms"]
        ),
        (&json!("later"), &json!("k"), &json!(5000))
    );
    let rest = node
        .get(&format!("/x/delayed/%2F?after={}", waiting[0]["id"]))
        .expect(200);
    assert_eq!(rest, json!([waiting[1]]));
    node.delete(&format!("/x/delayed/%2F/{}", waiting[0]["id"]))
        .expect(204);
    node.delete(&format!("/x/delayed/%2F/{}", waiting[0]["id"]))
        .expect_not_found();
    assert_eq!(node.get("/x/delayed/%2F").expect(200), rest);
    node.user("m", "management");
    let permission = json!({"configure": "", "write": ".*", "read": "^other$"});
    node.put("/permissions/%2F/m", &permission).expect(201);
    let seen = node.ask_as("m", "GET", "/x/delayed/%2F", "").expect(200);
    assert_eq!(
        (&seen[0]["exchange"], &seen[0]["routing_key"]),
        (&json!("later"), &Value::Null),
        "where it goes is told to those who may read it"
    );
}

#[test]
fn retained_messages_are_listed_and_forgotten() {
    let node = Node::new();
    let mut client = node.client();
    let mut message = NewMessage::plain(b"amq.topic", b"a/b", b"21");
    message.key_syntax = ternmq_core::routing::key::KeySyntax::Slashed;
    client
        .retain(b"a/b", Some(message.build(&mut Vec::new())))
        .unwrap();
    let retained = node.get("/x/retained/%2F").expect(200);
    assert_eq!(
        (&retained[0]["topic"], &retained[0]["payload"]),
        (&json!("a/b"), &json!("21"))
    );
    assert_eq!(
        node.get("/x/retained/%2F?filter=a/%2B").expect(200),
        retained
    );
    assert_eq!(node.get("/x/retained/%2F?filter=x").expect(200), json!([]));
    node.get("/x/retained/%2F?filter=%23/x").expect(400);
    node.delete("/x/retained/%2F/a%2Fb").expect(204);
    node.delete("/x/retained/%2F/a%2Fb").expect_not_found();
    assert_eq!(node.get("/x/retained/%2F").expect(200), json!([]));
}

#[test]
fn route_is_explained_without_a_message() {
    let node = Node::new();
    node.put("/exchanges/%2F/x", &json!({"type": "topic"}))
        .expect(201);
    for queue in ["yes", "no"] {
        node.put(&format!("/queues/%2F/{queue}"), &json!({}))
            .expect(201);
    }
    node.post("/bindings/%2F/e/x/q/yes", &json!({"routing_key": "a.*"}))
        .expect(201);
    node.post("/bindings/%2F/e/x/q/no", &json!({"routing_key": "b.*"}))
        .expect(201);
    let explained = node
        .post("/x/explain-route/%2F/x", &json!({"routing_key": "a.b"}))
        .expect(200);
    assert_eq!(
        (&explained["routed"], &explained["queues"]),
        (&json!(true), &json!(["yes"]))
    );
    let visit = &explained["visited"][0];
    assert_eq!(visit["followed"][0]["destination"], "yes");
    assert_eq!(visit["missed"][0]["destination"], "no");
    assert_eq!(
        visit["missed"][0]["why_not"],
        "its pattern does not match the routing key"
    );
    assert_eq!(node.get("/queues/%2F/yes").expect(200)["messages"], 0);
    let nowhere = node
        .post(
            "/x/explain-route/%2F/amq.default",
            &json!({"routing_key": "nope"}),
        )
        .expect(200);
    assert_eq!(
        (&nowhere["routed"], &nowhere["queues"]),
        (&json!(false), &json!([]))
    );
    node.post("/x/explain-route/%2F/nope", &json!({}))
        .expect_bad_request("404 NOT_FOUND - no exchange 'nope' in vhost '/'");
}
