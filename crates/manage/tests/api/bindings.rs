//! Bindings.

use axum::http::header;
use serde_json::json;

use crate::harness::Node;

fn node() -> Node {
    let node = Node::new();
    node.put("/exchanges/%2F/x", &json!({"type": "topic"}))
        .expect(201);
    for (name, who) in [("x", "guest"), ("amq.topic", "rmq-internal")] {
        let shown = node.get(&format!("/exchanges/%2F/{name}")).expect(200);
        assert_eq!(shown["user_who_performed_action"], who);
    }
    node.put("/queues/%2F/q", &json!({})).expect(201);
    node
}

#[test]
fn binding_has_a_place_of_its_own_until_it_is_deleted() {
    let node = node();
    for (body, key, place) in [
        (json!({}), "~", "q/~"),
        (json!({"routing_key": "a.b"}), "a.b", "q/a.b"),
        (
            json!({"routing_key": "a b/c~d"}),
            "a+b%2Fc%7Ed",
            "q/a%2Bb%252Fc%257Ed",
        ),
    ] {
        let made = node.post("/bindings/%2F/e/x/q/q", &body);
        let location = made
            .headers
            .get(header::LOCATION)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        made.expect(201);
        assert_eq!(location, place);
        let binding = node
            .get(&format!("/bindings/%2F/e/x/q/{location}"))
            .expect(200);
        assert_eq!(binding["properties_key"], key);
        assert_eq!(binding["destination_type"], "queue");
        node.delete(&format!("/bindings/%2F/e/x/q/{location}"))
            .expect(204);
        node.delete(&format!("/bindings/%2F/e/x/q/{location}"))
            .expect_not_found();
        node.get(&format!("/bindings/%2F/e/x/q/{location}"))
            .expect_not_found();
    }
}

#[test]
fn bindings_that_differ_in_arguments_are_told_apart() {
    let node = node();
    let with = |arguments| json!({"routing_key": "k", "arguments": arguments});
    node.post("/bindings/%2F/e/x/q/q", &with(json!({})))
        .expect(201);
    node.post("/bindings/%2F/e/x/q/q", &with(json!({"a": 1})))
        .expect(201);
    node.post("/bindings/%2F/e/x/q/q", &with(json!({"a": 1})))
        .expect(201);
    let bindings = node.get("/bindings/%2F/e/x/q/q").expect(200);
    let bindings = bindings.as_array().unwrap();
    assert_eq!(bindings.len(), 2);
    let with_arguments = bindings
        .iter()
        .find(|b| b["arguments"] == json!({"a": 1}))
        .unwrap();
    let key = with_arguments["properties_key"].as_str().unwrap();
    assert!(key.starts_with("k~"), "{key}");
    node.delete(&format!("/bindings/%2F/e/x/q/q/{key}"))
        .expect(204);
    let left = node.get("/bindings/%2F/e/x/q/q").expect(200);
    assert_eq!(left[0]["properties_key"], "k");
}

#[test]
fn bindings_are_listed_from_both_ends() {
    let node = node();
    node.post(
        "/bindings/%2F/e/x/e/amq.fanout",
        &json!({"routing_key": "z"}),
    )
    .expect(201);
    node.post("/bindings/%2F/e/x/q/q", &json!({"routing_key": "k"}))
        .expect(201);
    let count = |path: &str| node.get(path).expect(200).as_array().unwrap().len();
    assert_eq!(count("/bindings"), 3);
    assert_eq!(count("/bindings/%2F"), 3);
    assert_eq!(count("/bindings/"), 3, "a slash at the end is tolerated");
    assert_eq!(count("/exchanges/%2F/x/bindings/source"), 2);
    assert_eq!(count("/exchanges/%2F/amq.fanout/bindings/destination"), 1);
    assert_eq!(count("/bindings/%2F/e/x/e/amq.fanout"), 1);
    let of_queue = node.get("/queues/%2F/q/bindings").expect(200);
    let default = json!({
        "source": "", "vhost": "/", "destination": "q", "destination_type": "queue", "routing_key": "q",
        "arguments": {}, "properties_key": "q",
    });
    assert_eq!(of_queue[0], default);
    assert_eq!(of_queue[1]["source"], "x");
    assert_eq!(count("/exchanges/%2F/amq.default/bindings/source"), 1);
    assert_eq!(count("/bindings/%2F/e/nope/q/q"), 0);
    node.get("/bindings/%2F/e/x/other/q").expect_not_found();
    node.get("/bindings/nowhere").expect_not_found();
}

#[test]
fn bindings_of_what_is_not_there_are_refused() {
    let node = node();
    let key = json!({"routing_key": "z"});
    node.post("/bindings/%2F/e/nope/q/q", &key).expect_fault(
        404,
        "not_found",
        "no exchange 'nope' in vhost '/'",
    );
    node.post("/bindings/%2F/e/x/q/nope", &key).expect_fault(
        404,
        "not_found",
        "no queue 'nope' in vhost '/'",
    );
    node.post("/bindings/%2F/e/amq.default/q/q", &key)
        .expect_not_authorised("Access refused.");
    node.post("/bindings/%2F/e/x/z/q", &key).expect_not_found();
    node.ask_as("guest", "POST", "/bindings/%2F/e/x/q/q", "{")
        .expect_bad_request("not_json");
    assert_eq!(node.get("/bindings/%2F/e/x/q/q").expect(200), json!([]));
}
