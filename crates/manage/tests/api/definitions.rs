//! Export and import.

use serde_json::{Value, json};
use ternmq_core::topology::QueueDecl;
use ternmq_core::value::Headers;

use crate::harness::Node;

/// A node with something of everything.
fn full() -> Node {
    let node = Node::new();
    node.put(
        "/vhosts/v",
        &json!({"description": "d", "tags": ["t"], "default_queue_type": "quorum"}),
    )
    .expect(201);
    node.user("u", "management,monitoring");
    node.put(
        "/permissions/v/u",
        &json!({"configure": "a", "write": "b", "read": "c"}),
    )
    .expect(201);
    node.put(
        "/topic-permissions/v/u",
        &json!({"exchange": "amq.topic", "write": "b", "read": "c"}),
    )
    .expect(201);
    node.put("/user-limits/u/max-channels", &json!({"value": 5}))
        .expect(204);
    node.put("/vhost-limits/v/max-queues", &json!({"value": 50}))
        .expect(204);
    node.put("/policies/v/p", &json!({"pattern": "^q", "definition": {"max-length": 9}, "priority": 2, "apply-to": "queues"})).expect(201);
    node.put(
        "/operator-policies/v/o",
        &json!({"pattern": "^q", "definition": {"max-length": 7}}),
    )
    .expect(201);
    node.put(
        "/parameters/shovel/v/s",
        &json!({"value": {"src-uri": "amqp://", "src-queue": "a", "dest-uri": "amqp://", "dest-queue": "b"}}),
    )
    .expect(201);
    node.put("/global-parameters/g", &json!({"value": [1, 2]}))
        .expect(201);
    node.put(
        "/queues/v/q",
        &json!({"durable": true, "arguments": {"x-max-length": 10}}),
    )
    .expect(201);
    node.put("/exchanges/v/x", &json!({"type": "topic", "durable": true}))
        .expect(201);
    node.put(
        "/exchanges/v/y",
        &json!({"type": "fanout", "arguments": {"alternate-exchange": "x"}}),
    )
    .expect(201);
    node.post(
        "/bindings/v/e/x/q/q",
        &json!({"routing_key": "a.*", "arguments": {"n": 1}}),
    )
    .expect(201);
    node.post("/bindings/v/e/y/e/x", &json!({})).expect(201);
    node
}

fn sorted(mut document: Value) -> Value {
    for section in document.as_object_mut().unwrap().values_mut() {
        if let Value::Array(items) = section {
            items.sort_by_key(Value::to_string);
        }
    }
    document
}

#[test]
fn export_imported_into_an_empty_node_is_exported_the_same() {
    let document = full().get("/definitions").expect(200);
    for section in [
        "rabbit_version",
        "rabbitmq_version",
        "product_name",
        "product_version",
        "rabbitmq_definition_format",
        "original_cluster_name",
        "explanation",
        "users",
        "vhosts",
        "permissions",
        "topic_permissions",
        "parameters",
        "global_parameters",
        "policies",
        "queues",
        "exchanges",
        "bindings",
    ] {
        assert!(!document[section].is_null(), "{section}");
    }
    let other = Node::new();
    other.post("/definitions", &document).expect(204);
    assert_eq!(
        sorted(other.get("/definitions").expect(200)),
        sorted(document.clone())
    );
    other.ask_as("u", "GET", "/nodes", "").expect(200);
    let report = other
        .post("/definitions?report=true", &document)
        .expect(200);
    let created = report["sections"]
        .as_object()
        .unwrap()
        .values()
        .map(|s| s["created"].as_u64().unwrap());
    assert_eq!(created.sum::<u64>(), 0, "again nothing is new");
    assert_eq!(
        sorted(other.get("/definitions").expect(200)),
        sorted(document)
    );
}

#[test]
fn import_does_not_depend_on_order() {
    let mut document = full().get("/definitions").expect(200);
    for section in document.as_object_mut().unwrap().values_mut() {
        if let Value::Array(items) = section {
            items.reverse();
        }
    }
    let other = Node::new();
    other.post("/definitions", &document).expect(204);
    assert_eq!(
        sorted(other.get("/definitions").expect(200)),
        sorted(document)
    );
}

#[test]
fn vhost_is_exported_without_its_name_and_imported_into_another() {
    let node = full();
    let document = node.get("/definitions/v").expect(200);
    assert_eq!(
        document["rabbitmq_definition_format"],
        "single_virtual_host"
    );
    assert_eq!(document["original_vhost_name"], "v");
    assert_eq!(document["limits"], json!({"max-queues": 50}));
    assert!(document["queues"][0]["vhost"].is_null() && document["users"].is_null());
    node.ask_as("guest", "PUT", "/vhosts/w", "").expect(201);
    node.post("/definitions/w", &document).expect(204);
    let mut copy = node.get("/definitions/w").expect(200);
    for field in [
        "original_vhost_name",
        "explanation",
        "metadata",
        "description",
        "default_queue_type",
    ] {
        copy[field] = document[field].clone();
    }
    assert_eq!(sorted(copy), sorted(document.clone()));
    node.get("/definitions/nope")
        .expect_bad_request("vhost_not_found");
    node.post("/definitions/nope", &document)
        .expect_fault(404, "not_found", "vhost_not_found");
}

#[test]
fn nothing_changes_if_anything_is_wrong() {
    let node = Node::new();
    let before = node.get("/definitions").expect(200);
    let user = json!({"name": "new", "password_hash": "", "tags": ""});
    let long = format!(
        "exchange '{}' in vhost '/': exchange should be less than 255 bytes, actually was 256",
        "x".repeat(256)
    );
    let wrong = [
        (
            json!({"users": [user, {"name": "x"}]}),
            "users[1] 'x': tags_not_present",
        ),
        (
            json!({"users": [user], "queues": [{"name": "q", "vhost": "nope"}]}),
            "no_such_vhost 'nope'",
        ),
        (
            json!({"users": [user], "permissions": [{"vhost": "/", "user": "nope", "configure": "", "write": "", "read": ""}]}),
            "no_such_user 'nope'",
        ),
        (
            json!({"users": [user], "exchanges": [{"name": "x", "vhost": "/", "type": "bogus"}]}),
            "exchanges[0] 'x': unknown exchange type 'bogus'",
        ),
        (
            json!({"users": [user], "queues": [{"name": "q", "vhost": "/", "arguments": {"x-max-length": "a"}}]}),
            "invalid arg 'x-max-length' for queue 'q' in vhost '/': \"expected integer, got longstr\"",
        ),
        (
            json!({"users": [user], "bindings": [{"source": "nope", "vhost": "/", "destination": "amq.fanout", "destination_type": "exchange", "routing_key": ""}]}),
            "no exchange 'nope' in vhost '/'",
        ),
        (
            json!({"users": [user], "permissions": [{"vhost": "/", "user": "guest", "configure": "(", "write": "", "read": ""}]}),
            "permission of user 'guest' in vhost '/': invalid regexp '(': Parsing error at position 1: \
             Opening parenthesis without closing parenthesis",
        ),
        (
            json!({"queues": [{"name": "q", "vhost": "/"}, {"name": "", "vhost": "/"}]}),
            "queue without a name in vhost '/'",
        ),
        (
            json!({"users": [user], "bindings": [{"source": "amq.headers", "vhost": "/", "destination": "amq.fanout", "destination_type": "exchange", "arguments": {"x-match": "some"}}]}),
            "binding of 'amq.headers' and 'amq.fanout' in vhost '/': Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x",
        ),
        (
            json!({"users": [user], "exchanges": [{"name": "x", "vhost": "/", "type": "direct", "arguments": {"alternate-exchange": 5}}]}),
            "invalid type 'long' for arg 'alternate-exchange' in exchange 'x' in vhost '/'",
        ),
        (json!({"users": [user], "queues": {}}), "queues is no list"),
        (
            json!({"users": [user], "exchanges": [{"name": "x".repeat(256), "vhost": "/", "type": "direct"}]}),
            &long,
        ),
        (
            json!({"users": [user], "policies": [{"name": "", "vhost": "/", "pattern": "", "definition": {"max-length": 1}}]}),
            "policy '' in vhost '/': policy name must not be empty",
        ),
        (
            json!({"users": [user, {"name": "", "tags": ""}]}),
            "user '': user name must not be empty",
        ),
        (
            json!({"users": [user], "parameters": [{"component": "vhost-limits", "vhost": "/", "name": "limits", "value": {"max-queues": 1}}],
                "queues": [{"name": "a", "vhost": "/"}, {"name": "b", "vhost": "/"}]}),
            "vhost '/' would have 2 queues, and may have 1",
        ),
        (
            json!({"users": [user], "queues": [5]}),
            "queues[0]: not an object",
        ),
    ];
    for (document, reason) in wrong {
        node.post("/definitions", &document)
            .expect_bad_request(reason);
    }
    for text in ["{bad", "[]", ""] {
        node.ask_as("guest", "POST", "/definitions", text)
            .expect_bad_request("failed_to_parse_json");
    }
    assert_eq!(node.get("/definitions").expect(200), before);
}

#[test]
fn names_that_only_the_broker_gives_come_with_documents() {
    let node = Node::new();
    let exchange =
        |name: &str, kind: &str| json!({"name": name, "vhost": "v", "type": kind, "durable": true});
    let document = json!({
        "vhosts": [{"name": "v"}],
        "queues": [{"name": "amq.gen-1", "vhost": "v", "durable": true}],
        "exchanges": [exchange("amq.direct", "direct"), exchange("amq.rabbitmq.log", "topic")],
        "bindings": [{"source": "amq.direct", "vhost": "v", "destination": "amq.gen-1", "destination_type": "queue", "routing_key": "k"}],
    });
    node.post("/definitions", &document).expect(204);
    let bindings = node.get("/queues/v/amq.gen-1/bindings").expect(200);
    assert!(
        bindings
            .as_array()
            .unwrap()
            .iter()
            .any(|b| b["source"] == "amq.direct")
    );
    let log = node.get("/exchanges/v/amq.rabbitmq.log").expect(200);
    assert_eq!(log["type"], "topic");
    // Which is not to say that clients may choose such names.
    node.put("/exchanges/%2F/amq.other", &json!({"type": "topic"}))
        .expect_not_authorised("Access refused.");
}

#[test]
fn what_is_declared_stays_as_it_is() {
    let node = Node::new();
    node.put("/queues/%2F/q", &json!({"durable": true}))
        .expect(201);
    let document = json!({
        "queues": [{"name": "q", "vhost": "/", "durable": false, "auto_delete": true, "arguments": {}}],
        "unknown section": [1],
    });
    node.post("/definitions", &document).expect(204);
    assert_eq!(node.get("/queues/%2F/q").expect(200)["durable"], true);
}

#[test]
fn what_rabbitmq_3_had_is_kept_with_a_warning() {
    let node = Node::new();
    let policy = |name: &str, definition: Value| json!({"vhost": "/", "name": name, "pattern": ".*", "definition": definition});
    let document = json!({
        "rabbit_version": "3.8.0",
        "policies": [
            policy("mirror", json!({"ha-mode": "all", "ha-sync-mode": "automatic"})),
            policy("both", json!({"ha-mode": "all", "max-length": 5})),
        ],
        "users": [{"name": "old", "password_hash": "", "tags": "administrator,other", "limits": []}],
    });
    let report = node.post("/definitions?report=true", &document).expect(200);
    assert_eq!(report["warnings"].as_array().unwrap().len(), 2);
    let definition = |name: &str| {
        let policy = node.get(&format!("/policies/%2F/{name}")).expect(200);
        policy["definition"].clone()
    };
    assert_eq!(
        definition("mirror"),
        json!({"ha-mode": "all", "ha-sync-mode": "automatic"})
    );
    assert_eq!(
        definition("both"),
        json!({"ha-mode": "all", "max-length": 5})
    );
    assert_eq!(
        node.get("/users/old").expect(200)["tags"],
        json!(["administrator", "other"])
    );
}

#[test]
fn queues_that_go_with_a_connection_are_not_exported() {
    let node = Node::new();
    let mut client = node.client();
    let decl = QueueDecl {
        name: "mine".into(),
        durable: false,
        exclusive: Some(client.id()),
        auto_delete: false,
        arguments: Headers::new(),
    };
    client.declare_queue(decl).unwrap();
    assert_eq!(node.get("/queues").expect(200).as_array().unwrap().len(), 1);
    assert_eq!(node.get("/definitions").expect(200)["queues"], json!([]));
}

#[test]
fn files_are_imported_in_the_order_of_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, document: &Value| {
        std::fs::write(directory.path().join(name), document.to_string()).unwrap();
    };
    write(
        "2.json",
        &json!({"queues": [{"name": "q", "vhost": "v", "durable": true, "auto_delete": false}]}),
    );
    write("1.json", &json!({"vhosts": [{"name": "v"}]}));
    write("note.txt", &json!("not a document"));
    let node = Node::new();
    let reports = node.manage.import_files(directory.path()).unwrap();
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[1].1.sections["queues"].created, 1);
    node.get("/vhosts/v").expect(200);
    let again = node
        .manage
        .import_files(&directory.path().join("2.json"))
        .unwrap();
    assert_eq!(again[0].1.sections["queues"].existing, 1);
    let missing = node.manage.import_files(&directory.path().join("3.json"));
    assert!(missing.unwrap_err().to_string().contains("3.json"));
    write("3.json", &json!([]));
    assert!(
        node.manage
            .import_files(directory.path())
            .unwrap_err()
            .to_string()
            .contains("3.json")
    );
}

#[test]
fn what_a_document_does_not_say_of_a_vhost_stays() {
    let node = Node::new();
    let vhost = json!({"description": "d", "tags": "a,b", "default_queue_type": "quorum", "protected_from_deletion": true});
    node.put("/vhosts/v", &vhost).expect(201);
    let before = node.get("/vhosts/v").expect(200);
    node.post("/definitions", &json!({"vhosts": [{"name": "v"}]}))
        .expect(204);
    assert_eq!(node.get("/vhosts/v").expect(200), before);
}

#[test]
fn classic_queue_stays_one_where_others_are_the_rule() {
    let node = Node::new();
    let document = json!({
        "vhosts": [{"name": "v", "default_queue_type": "quorum"}],
        "queues": [
            {"name": "c", "vhost": "v", "type": "classic", "durable": true},
            {"name": "q", "vhost": "v", "type": "quorum", "durable": true},
            {"name": "plain", "vhost": "/", "type": "classic", "durable": true},
        ],
    });
    node.post("/definitions", &document).expect(204);
    let kind = |path: &str| node.get(path).expect(200)["type"].clone();
    assert_eq!(kind("/queues/v/c"), "classic");
    assert_eq!(kind("/queues/v/q"), "quorum");
    let plain = node.get("/queues/%2F/plain").expect(200);
    assert_eq!(plain["arguments"], json!({}), "it is what it was");
}

#[test]
fn document_with_what_there_is_not_here_names_it_and_changes_nothing() {
    let node = Node::new();
    let queue = |name: &str, kind: &str| json!({"name": name, "vhost": "/", "durable": true, "arguments": {"x-queue-type": kind}});
    let parameter = json!({"component": "lvc", "vhost": "/", "name": "p", "value": {}});
    let refused = |document: &Value| {
        let refused = node.post("/definitions", document).expect(400);
        refused["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        refused(&json!({"queues": [queue("log", "stream"), queue("q", "quorum")]})),
        "queue 'log' in vhost '/' is a stream, and there are none here: leave it out, with its bindings"
    );
    assert_eq!(
        refused(&json!({"queues": [queue("q", "quorum")], "parameters": [parameter]})),
        "parameters[0] 'p': component lvc not found"
    );
    node.get("/queues/%2F/q").expect_not_found();
}

#[test]
fn files_are_read_before_the_first_is_imported() {
    let node = Node::new();
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("1.json", r#"{"vhosts": [{"name": "v"}]}"#);
    write("2.json", r#"{"vhosts": ["#);
    let import = || node.manage.import_files(directory.path());
    let error = import().unwrap_err().to_string();
    assert!(error.contains("2.json: not a JSON object"), "{error}");
    node.get("/vhosts/v").expect_not_found();
    write("2.json", r#"{"queues": [{"name": "q", "vhost": "v"}]}"#);
    assert_eq!(import().unwrap().len(), 2);
    node.get("/queues/v/q").expect(200);
}

#[test]
fn limits_of_a_document_replace_those_of_its_vhost() {
    let node = Node::new();
    for (limit, max) in [("max-queues", 1), ("max-connections", 5)] {
        let path = format!("/vhost-limits/%2F/{limit}");
        node.put(&path, &json!({"value": max})).expect(204);
    }
    let queue = |name: &str| json!({"name": name, "vhost": "/", "durable": true});
    let queues = json!([queue("a"), queue("b")]);
    node.post("/definitions", &json!({"queues": queues}))
        .expect_bad_request("vhost '/' would have 2 queues, and may have 1");
    let limits = json!({"component": "vhost-limits", "vhost": "/", "name": "limits", "value": {"max-connections": 7}});
    let document = json!({"queues": queues, "parameters": [limits]});
    node.post("/definitions", &document).expect(204);
    let shown = node.get("/vhost-limits/%2F").expect(200);
    assert_eq!(
        shown,
        json!([{"vhost": "/", "value": {"max-connections": 7}}])
    );
}
