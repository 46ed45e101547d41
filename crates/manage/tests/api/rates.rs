//! Counters over time.

use serde_json::json;

use crate::harness::Node;

fn publish(node: &Node, times: usize) {
    let message =
        json!({"properties": {}, "routing_key": "q", "payload": "x", "payload_encoding": "string"});
    for _ in 0..times {
        node.post("/exchanges/%2F/amq.default/publish", &message)
            .expect(200);
    }
}

#[test]
fn rates_are_made_from_two_looks_and_end_when_nothing_happens() {
    let node = Node::new();
    node.put("/queues/%2F/q", &json!({})).expect(201);
    node.pass_s(5);
    assert!(node.get("/queues/%2F/q").expect(200)["message_stats"].is_null());
    publish(&node, 10);
    node.pass_s(5);
    let queue = node.get("/queues/%2F/q").expect(200);
    assert_eq!(queue["message_stats"]["publish"], 10);
    assert_eq!(queue["message_stats"]["publish_details"]["rate"], 2.0);
    assert_eq!(queue["message_stats"]["deliver_get_details"]["rate"], 0.0);
    assert_eq!(
        (&queue["messages"], &queue["messages_details"]["rate"]),
        (&json!(10), &json!(2.0))
    );
    let overview = node.get("/overview").expect(200);
    assert_eq!(overview["message_stats"]["publish_details"]["rate"], 2.0);
    assert_eq!(overview["queue_totals"]["messages_ready"], 10);
    let vhost = node.get("/vhosts/%2F").expect(200);
    assert_eq!(
        (&vhost["messages"], &vhost["message_stats"]["publish"]),
        (&json!(10), &json!(10))
    );
    let exchange = node.get("/exchanges/%2F/amq.default").expect(200);
    assert_eq!(exchange["message_stats"]["publish_in"], 10);
    assert_eq!(
        exchange["message_stats"]["publish_out_details"]["rate"],
        2.0
    );
    let get = json!({"count": 10, "ackmode": "ack_requeue_false", "encoding": "auto"});
    node.post("/queues/%2F/q/get", &get).expect(200);
    node.pass_s(5);
    let queue = node.get("/queues/%2F/q").expect(200);
    assert_eq!(queue["message_stats"]["publish_details"]["rate"], 0.0);
    assert_eq!(queue["message_stats"]["deliver_get_details"]["rate"], 2.0);
    assert_eq!(queue["messages_details"]["rate"], -2.0);
    assert!(queue["idle_since"].is_null(), "{queue}");
    node.pass_s(5);
    let queue = node.get("/queues/%2F/q").expect(200);
    assert!(queue["idle_since"].is_string(), "{queue}");
}

#[test]
fn samples_are_shown_if_asked_for() {
    let node = Node::new();
    node.put("/queues/%2F/q", &json!({})).expect(201);
    node.pass_s(5);
    publish(&node, 5);
    node.pass_s(5);
    let path = "/queues/%2F/q?msg_rates_age=10&msg_rates_incr=5&lengths_age=10&lengths_incr=5";
    let queue = node.get(path).expect(200);
    let samples = |details: &serde_json::Value| -> Vec<u64> {
        details["samples"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["sample"].as_u64().unwrap())
            .collect()
    };
    let details = &queue["message_stats"]["publish_details"];
    assert_eq!(samples(details), [5, 0, 0]);
    assert_eq!(
        (&details["avg_rate"], &details["rate"]),
        (&json!(0.5), &json!(1.0))
    );
    assert_eq!(samples(&queue["messages_ready_details"]), [5, 0, 0]);
    assert!(queue["message_stats"]["publish_details"]["samples"][0]["timestamp"].is_u64());
}

#[test]
fn what_queues_counted_stays_in_the_totals_when_they_are_gone() {
    let node = Node::new();
    node.put("/queues/%2F/q", &json!({})).expect(201);
    publish(&node, 3);
    let get = json!({"count": 3, "ackmode": "ack_requeue_false", "encoding": "auto"});
    node.post("/queues/%2F/q/get", &get).expect(200);
    node.pass_s(5);
    node.delete("/queues/%2F/q").expect(204);
    node.pass_s(5);
    let vhost = node.get("/vhosts/%2F").expect(200);
    let stats = &vhost["message_stats"];
    assert_eq!(
        (&stats["publish"], &stats["get_no_ack"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(
        node.get("/overview").expect(200)["message_stats"]["get_no_ack"],
        3
    );
}
