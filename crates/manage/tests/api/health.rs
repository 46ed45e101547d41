//! Health checks.

use serde_json::json;

use crate::harness::Node;

#[test]
fn all_is_well_with_a_node_that_has_just_started() {
    let node = Node::new();
    for check in [
        "alarms",
        "local-alarms",
        "certificate-expiration/1/days",
        "port-listener/5672",
        "protocol-listener/amqp",
        "protocol-listener/http1.1,AMQP",
        "protocol-listener/amqp0-9-1",
        "virtual-hosts",
        "node-is-quorum-critical",
        "quorum-queues-without-elected-leaders/all-vhosts/",
        "quorum-queues-without-elected-leaders/vhost/%2F/",
        "is-in-service",
        "below-node-connection-limit",
        "ready-to-serve-clients",
        "reached-target-cluster-size",
        "metadata-store/initialized",
        "metadata-store/initialized/with-data",
    ] {
        assert_eq!(
            node.get(&format!("/health/checks/{check}")).expect(200)["status"],
            "ok",
            "{check}"
        );
    }
    assert_eq!(
        node.get("/health/checks/port-listener/5672").expect(200)["port"],
        5672
    );
}

#[test]
fn listeners_that_are_missing_are_named() {
    let node = Node::new();
    let failed = node.get("/health/checks/port-listener/1").expect(503);
    let expected = json!({"status": "failed", "reason": "No active listener", "missing": 1, "ports": [5672, 15672]});
    assert_eq!(failed, expected);
    let failed = node
        .get("/health/checks/protocol-listener/mqtt")
        .expect(503);
    let expected = json!({
        "status": "failed", "reason": "No active listener", "missing": "mqtt", "protocols": ["amqp", "http"],
    });
    assert_eq!(failed, expected);
    let failed = node
        .get("/health/checks/protocol-listener/amqp,mqtt+tls,mqtt3.1.1")
        .expect(503);
    assert_eq!(failed["missing"], json!(["mqtt", "mqtt/ssl"]));
    let both = node
        .get("/health/checks/protocol-listener/http,amqp091")
        .expect(200);
    assert_eq!(both["protocols"], json!(["amqp", "http"]));
    node.get("/health/checks/port-listener/abc")
        .expect_bad_request("Invalid port");
    node.get("/health/checks/certificate-expiration/1/bogus")
        .expect_bad_request(
            "Time unit not recognised. Supported units: days, weeks, months, years.",
        );
}

#[test]
fn certificates_that_end_soon_are_named() {
    let node = Node::new();
    let certificate = ternmq_manage::Certificate {
        file: "/etc/cert.pem".into(),
        expires_at: crate::harness::START.plus_ms(10 * 86_400_000),
    };
    node.manage.set_certificates(vec![certificate]);
    node.get("/health/checks/certificate-expiration/9/days")
        .expect(200);
    let failed = node
        .get("/health/checks/certificate-expiration/2/weeks")
        .expect(503);
    assert_eq!(failed["expired"][0]["file"], "/etc/cert.pem");
}

#[test]
fn aliveness_is_tested_with_a_message() {
    let node = Node::new();
    for _ in 0..2 {
        assert_eq!(
            node.get("/aliveness-test/%2F").expect(200),
            json!({"status": "ok"})
        );
    }
    let queue = node.get("/queues/%2F/aliveness-test").expect(200);
    assert_eq!(queue["messages"], 0);
    node.get("/aliveness-test/nope").expect_not_found();
}

#[test]
fn a_node_is_asked_by_its_name() {
    let node = Node::new();
    let overview = node.get("/overview").expect(200);
    let name = overview["node"].as_str().unwrap();
    let well = json!({"status": "ok"});
    assert_eq!(node.get("/healthchecks/node").expect(200), well);
    assert_eq!(
        node.get(&format!("/healthchecks/node/{name}")).expect(200),
        well
    );
    node.get("/healthchecks/node/other@host").expect_not_found();
}
