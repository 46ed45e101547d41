//! What operators set: vhosts, users, permissions, policies, parameters, limits.

use serde_json::{Value, json};

use crate::harness::{NODE, Node};

#[test]
fn vhost_is_made_changed_and_deleted() {
    let node = Node::new();
    node.put(
        "/vhosts/v",
        &json!({"description": "d", "tags": "a, b", "default_queue_type": "quorum"}),
    )
    .expect(201);
    let shown = node.get("/vhosts/v").expect(200);
    let metadata = json!({"description": "d", "tags": ["a", "b"], "default_queue_type": "quorum"});
    assert_eq!(
        shown,
        json!({
            "name": "v", "description": "d", "tags": ["a", "b"], "default_queue_type": "quorum",
            "metadata": metadata, "tracing": false, "protected_from_deletion": false,
            "cluster_state": {NODE: "running"},
        })
    );
    // Whoever makes a vhost may work in it.
    let all =
        json!([{"user": "guest", "vhost": "v", "configure": ".*", "write": ".*", "read": ".*"}]);
    assert_eq!(node.get("/vhosts/v/permissions").expect(200), all);
    node.put("/vhosts/v", &json!({"description": "e", "tracing": true}))
        .expect(204);
    let shown = node.get("/vhosts/v").expect(200);
    assert_eq!(
        (&shown["description"], &shown["tracing"]),
        (&json!("e"), &json!(true))
    );
    assert_eq!(
        shown["default_queue_type"], "quorum",
        "it stays unless it is set"
    );
    node.delete("/vhosts/v").expect(204);
    node.delete("/vhosts/v").expect_not_found();
    node.get("/vhosts/v").expect_not_found();
    node.get("/vhosts/v/permissions").expect_not_found();
    node.get("/vhosts/v/connections").expect_not_found();
    node.ask_as("guest", "PUT", "/vhosts/w", "{")
        .expect_bad_request("not_json");
    node.get("/vhosts/w").expect_not_found();
}

#[test]
fn protected_vhost_is_not_deleted() {
    let node = Node::new();
    node.ask_as("guest", "PUT", "/vhosts/v", "").expect(201);
    node.post("/vhosts/v/deletion/protection", &json!({}))
        .expect(204);
    node.delete("/vhosts/v").expect(412);
    assert_eq!(
        node.get("/vhosts/v").expect(200)["protected_from_deletion"],
        true
    );
    node.delete("/vhosts/v/deletion/protection").expect(204);
    node.delete("/vhosts/v").expect(204);
    node.post("/vhosts/nope/deletion/protection", &json!({}))
        .expect_not_found();
}

#[test]
fn user_is_made_changed_and_deleted() {
    let node = Node::new();
    node.put(
        "/users/u",
        &json!({"password": "secret", "tags": "management"}),
    )
    .expect(201);
    let shown = node.get("/users/u").expect(200);
    assert_eq!(
        (&shown["tags"], &shown["limits"]),
        (&json!(["management"]), &json!({}))
    );
    assert_eq!(shown["hashing_algorithm"], "rabbit_password_hashing_sha256");
    node.ask_as("u", "GET", "/whoami", "").expect(200);
    // The hash of one user is the password of another.
    let hash =
        json!({"password_hash": shown["password_hash"], "tags": ["monitoring", "management"]});
    node.put("/users/v", &hash).expect(201);
    node.ask_as("v", "GET", "/nodes", "").expect(200);
    node.put("/users/u", &json!({"tags": ""})).expect(204);
    node.ask_as("u", "GET", "/whoami", "")
        .expect_not_authorized("Login failed");
    assert_eq!(node.get("/users/u").expect(200)["password_hash"], "");
    node.delete("/users/u").expect(204);
    node.delete("/users/u").expect_not_found();
    node.get("/users/u").expect_not_found();
    node.get("/users/u/permissions").expect_not_found();
}

#[test]
fn users_that_make_no_sense_are_refused_and_not_made() {
    let node = Node::new();
    let refused = |body: Value| node.put("/users/u", &body).expect(400)["reason"].clone();
    assert_eq!(refused(json!({"password": "m"})), "tags_not_present");
    assert_eq!(refused(json!({})), "tags_not_present");
    assert_eq!(
        refused(json!({"tags": "", "password_hash": "zz*"})),
        json!(["not_base64", "zz*"])
    );
    assert_eq!(
        refused(json!({"tags": "", "password": "a", "password_hash": "kI3GCqW5"})),
        "both_password_and_password_hash_are_provided"
    );
    assert_eq!(
        refused(json!({"tags": "", "password_hash": "kI3GCqW5", "hashing_algorithm": "rot13"})),
        json!(["unsupported_hashing_algorithm", "rot13"])
    );
    assert_eq!(refused(json!({"tags": 5})), json!(["not_tags", 5]));
    node.get("/users/u").expect_not_found();
}

#[test]
fn users_are_deleted_together_or_not_at_all() {
    let node = Node::new();
    node.user("a", "");
    node.user("b", "");
    let refused = node
        .post("/users/bulk-delete", &json!({"users": ["a", "nope"]}))
        .expect(400);
    assert_eq!(refused["reason"], json!(["no_such_user", "nope"]));
    node.get("/users/a").expect(200);
    node.post("/users/bulk-delete", &json!({"foo": 1}))
        .expect_bad_request("[{key_missing,users}]");
    let without = node.get("/users/without-permissions").expect(200);
    let names: Vec<&Value> = without
        .as_array()
        .unwrap()
        .iter()
        .map(|user| &user["name"])
        .collect();
    assert_eq!(names, ["a", "b"]);
    node.post("/users/bulk-delete", &json!({"users": ["a", "b"]}))
        .expect(204);
    assert_eq!(node.get("/users/").expect(200).as_array().unwrap().len(), 1);
}

#[test]
fn permission_is_set_shown_and_taken_away() {
    let node = Node::new();
    node.user("u", "");
    let path = "/permissions/%2F/u";
    let permission = json!({"configure": "^a", "write": "^b", "read": "^c"});
    node.put(path, &permission).expect(201);
    node.put(path, &permission).expect(204);
    let shown = json!({"user": "u", "vhost": "/", "configure": "^a", "write": "^b", "read": "^c"});
    assert_eq!(node.get(path).expect(200), shown);
    assert_eq!(node.get("/users/u/permissions").expect(200), json!([shown]));
    assert_eq!(
        node.get("/permissions/")
            .expect(200)
            .as_array()
            .unwrap()
            .len(),
        2
    );
    node.put(path, &json!({"configure": "", "write": ""}))
        .expect_bad_request("[{key_missing,read}]");
    let invalid = json!({"configure": "*", "write": "", "read": ""});
    let reason = node.put(path, &invalid).expect(400)["reason"].clone();
    assert!(
        reason.as_str().unwrap().contains("invalid regexp '*'"),
        "{reason}"
    );
    for path in ["/permissions/nope/u", "/permissions/%2F/nope"] {
        node.put(path, &permission)
            .expect_bad_request("vhost_or_user_not_found");
        node.get(path).expect_not_found();
        node.delete(path).expect_not_found();
    }
    assert_eq!(node.get(path).expect(200), shown, "nothing was changed");
    node.delete(path).expect(204);
    node.get(path).expect_not_found();
}

#[test]
fn topic_permissions_are_set_for_each_exchange() {
    let node = Node::new();
    node.user("u", "");
    let path = "/topic-permissions/%2F/u";
    node.get(path).expect_not_found();
    node.put(
        path,
        &json!({"exchange": "amq.topic", "write": "a", "read": "b"}),
    )
    .expect(201);
    node.put(path, &json!({"exchange": "x", "write": "c", "read": "d"}))
        .expect(201);
    node.put(path, &json!({"exchange": "x", "write": "e", "read": "d"}))
        .expect(204);
    let first =
        json!({"user": "u", "vhost": "/", "exchange": "amq.topic", "write": "a", "read": "b"});
    let second = json!({"user": "u", "vhost": "/", "exchange": "x", "write": "e", "read": "d"});
    for list in [
        path,
        "/topic-permissions",
        "/users/u/topic-permissions",
        "/vhosts/%2F/topic-permissions",
    ] {
        assert_eq!(node.get(list).expect(200), json!([first, second]), "{list}");
    }
    assert_eq!(node.get("/topic-permissions/%2F/u/x").expect(200), second);
    node.put(path, &json!({"exchange": "x"}))
        .expect_bad_request("[{key_missing,write},{key_missing,read}]");
    node.delete("/topic-permissions/%2F/u/x").expect(204);
    node.delete("/topic-permissions/%2F/u/x").expect_not_found();
    node.delete(path).expect(204);
    node.delete(path).expect_not_found();
}

#[test]
fn policy_is_set_shown_and_deleted() {
    let node = Node::new();
    for kind in ["policies", "operator-policies"] {
        let path = format!("/{kind}/%2F/p");
        let policy = json!({"pattern": "^(?!amq\\.).*", "definition": {"max-length": 100}, "priority": 1, "apply-to": "queues"});
        node.put(&path, &policy).expect(201);
        node.put(&path, &policy).expect(204);
        let shown = node.get(&path).expect(200);
        let expected = json!({
            "vhost": "/", "name": "p", "pattern": "^(?!amq\\.).*", "apply-to": "queues",
            "definition": {"max-length": 100}, "priority": 1,
        });
        assert_eq!(shown, expected);
        assert_eq!(node.get(&format!("/{kind}")).expect(200), json!([expected]));
        assert_eq!(
            node.get(&format!("/{kind}/%2F")).expect(200),
            json!([expected])
        );
        node.get(&format!("/{kind}/nowhere")).expect_not_found();
        node.put(&format!("/{kind}/nowhere/p"), &policy)
            .expect_fault(404, "not_found", "vhost_not_found");
    }
    let as_parameter = node.get("/parameters/operator_policy/%2F/p").expect(200);
    assert_eq!(
        as_parameter["value"]["definition"],
        json!({"max-length": 100})
    );
    for kind in ["policies", "operator-policies"] {
        node.delete(&format!("/{kind}/%2F/p")).expect(204);
        node.delete(&format!("/{kind}/%2F/p")).expect_not_found();
        node.get(&format!("/{kind}/%2F/p")).expect_not_found();
    }
}

#[test]
fn policies_that_make_no_sense_are_refused_and_not_set() {
    let node = Node::new();
    let refused = |body: Value| -> String {
        node.put("/policies/%2F/p", &body).expect(400)["reason"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        refused(json!({"pattern": "^q"})),
        "[{key_missing,definition}]"
    );
    assert_eq!(
        refused(json!({"definition": {}})),
        "[{key_missing,pattern}]"
    );
    let with = |pattern: &str| json!({"pattern": pattern, "definition": {"max-length": 1}});
    assert!(refused(with("^q(")).starts_with("Validation failed\n\n"));
    let mut policy = with("^q");
    policy["apply-to"] = json!("bogus");
    assert!(refused(policy).starts_with("Validation failed\n\napply-to 'bogus' unrecognised"));
    let mut policy = with("^q");
    policy["priority"] = json!("a");
    assert_eq!(
        refused(policy),
        "Validation failed\n\npriority should be a number, actually was \"a\"\n"
    );
    node.get("/policies/%2F/p").expect_not_found();
}

#[test]
fn parameters_are_kept_as_they_are() {
    let node = Node::new();
    let path = "/parameters/federation-upstream/%2F/up";
    let value = json!({"uri": "amqp://localhost", "max-hops": 1});
    node.put(path, &json!({"value": value})).expect(201);
    node.put(path, &json!({"value": value})).expect(204);
    let shown =
        json!({"value": value, "vhost": "/", "component": "federation-upstream", "name": "up"});
    assert_eq!(node.get(path).expect(200), shown);
    for list in [
        "/parameters",
        "/parameters/federation-upstream",
        "/parameters/federation-upstream/%2F",
    ] {
        assert_eq!(node.get(list).expect(200), json!([shown]), "{list}");
    }
    assert_eq!(node.get("/parameters/shovel").expect(200), json!([]));
    node.put("/parameters/bogus/%2F/up", &json!({"value": 1}))
        .expect_bad_request("Validation failed\n\ncomponent bogus not found\n");
    node.put(path, &json!({"value": {"uri": null, "max-hops": "x"}}))
        .expect_bad_request(
            "Validation failed\n\nuri should be list, actually was null\n\
             max-hops should be a number, actually was \"x\"\n",
        );
    assert_eq!(node.get(path).expect(200), shown);
    node.put(path, &json!({"foo": 1}))
        .expect_bad_request("[{key_missing,value}]");
    node.put("/parameters/shovel/nowhere/s", &json!({"value": 1}))
        .expect_fault(404, "not_found", "vhost_not_found");
    node.delete(path).expect(204);
    node.delete(path).expect_not_found();
    node.get(path).expect_not_found();
}

#[test]
fn shovels_are_kept_and_said_not_to_run() {
    let node = Node::new();
    assert_eq!(node.get("/shovels").expect(200), json!([]));
    let shovel = json!({"src-uri": "amqp://u:secret@h/%2f", "src-queue": "a", "dest-uri": ["amqp://"], "dest-queue": "b"});
    node.put("/parameters/shovel/%2F/s", &json!({"value": shovel}))
        .expect(201);
    for list in ["/shovels", "/shovels/%2F"] {
        let shown = node.get(list).expect(200);
        assert_eq!(shown[0]["name"], "s");
        assert_eq!(shown[0]["state"], "terminated");
        assert!(shown[0]["reason"].is_string());
    }
    let one = node.get("/shovels/vhost/%2F/s").expect(200);
    assert_eq!(one["value"]["src-uri"], "amqp://h/%2f");
    node.get("/shovels/vhost/%2F/other").expect_not_found();
    node.delete("/shovels/vhost/%2F/s/restart")
        .expect_not_found();
    node.ask_as("monitoring", "DELETE", "/shovels/vhost/%2F/s", "")
        .expect(401);
    node.ask_as("management", "GET", "/shovels", "").expect(401);
    node.delete("/shovels/vhost/%2F/s").expect(204);
    node.get("/parameters/shovel/%2F/s").expect_not_found();
    node.delete("/shovels/vhost/%2F/s").expect(204);
}

#[test]
fn limits_and_operator_policies_are_parameters_too() {
    let node = Node::new();
    let limits = "/parameters/vhost-limits/%2F/limits";
    node.get(limits).expect_not_found();
    node.put(
        limits,
        &json!({"value": {"max-connections": 5, "max-queues": -1}}),
    )
    .expect(201);
    node.put(limits, &json!({"value": {"max-connections": 7}}))
        .expect(204);
    let shown = json!({"value": {"max-connections": 7}, "vhost": "/", "component": "vhost-limits", "name": "limits"});
    assert_eq!(node.get(limits).expect(200), shown);
    assert_eq!(
        node.get("/vhost-limits/%2F").expect(200),
        json!([{"vhost": "/", "value": {"max-connections": 7}}])
    );
    let policy = json!({"pattern": "^q", "definition": {"max-length": 3}, "priority": 1, "apply-to": "queues"});
    let of_operators = "/parameters/operator_policy/%2F/p";
    node.put(of_operators, &json!({"value": policy}))
        .expect(201);
    node.put(of_operators, &json!({"value": policy}))
        .expect(204);
    assert_eq!(
        node.get("/operator-policies/%2F/p").expect(200)["priority"],
        1
    );
    let all = node.get("/parameters").expect(200);
    assert_eq!(all.as_array().unwrap().len(), 2, "{all}");
    assert_eq!(
        node.get("/parameters/vhost-limits/%2F").expect(200),
        json!([shown])
    );

    for (path, value, reason) in [
        (limits, json!(5), "limits not a list 5"),
        (
            limits,
            json!({"max-connections": "x"}),
            "max-connections should be a number, actually was \"x\"",
        ),
        (
            limits,
            json!({"max-queues": 1, "max": 1}),
            "Unrecognised terms [max] in limits",
        ),
        (
            "/parameters/vhost-limits/%2F/other",
            json!({}),
            "name not recognised: other",
        ),
        (of_operators, json!("x"), "p not a list \"x\""),
    ] {
        node.put(path, &json!({"value": value}))
            .expect_bad_request(&format!("Validation failed\n\n{reason}\n"));
    }
    let body = json!({"value": {"max-connections": 1}}).to_string();
    for path in [limits, of_operators] {
        node.ask_as("policymaker", "PUT", path, body.clone())
            .expect(401);
        node.ask_as("policymaker", "DELETE", path, "").expect(401);
    }
    assert_eq!(node.get(limits).expect(200), shown);
    node.delete(limits).expect(204);
    node.delete(limits).expect_not_found();
    assert_eq!(node.get("/vhost-limits/%2F").expect(200), json!([]));
    node.delete(of_operators).expect(204);
    node.get("/operator-policies/%2F/p").expect_not_found();
    assert_eq!(node.get("/parameters").expect(200), json!([]));
}

#[test]
fn global_parameters_and_the_cluster_name() {
    let node = Node::new();
    node.put(
        "/global-parameters/g",
        &json!({"name": "g", "value": {"a": 1}}),
    )
    .expect(201);
    node.put("/global-parameters/g", &json!({"value": "x"}))
        .expect(204);
    assert_eq!(
        node.get("/global-parameters/g").expect(200),
        json!({"name": "g", "value": "x"})
    );
    let identity = node
        .get("/global-parameters/internal_cluster_id")
        .expect(200);
    let identity = identity["value"].as_str().unwrap();
    assert!(identity.starts_with("rabbitmq-cluster-id-"), "{identity}");
    let all = node.get("/global-parameters").expect(200);
    let names: Vec<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["g", "internal_cluster_id"]);
    node.delete("/global-parameters/g").expect(204);
    node.delete("/global-parameters/g").expect_not_found();
    node.get("/global-parameters/g").expect_not_found();
    node.put("/cluster-name", &json!({"nm": "foo"}))
        .expect_bad_request("[{key_missing,name}]");
    node.put("/cluster-name", &json!({"name": "foo"}))
        .expect(204);
    assert_eq!(
        node.get("/cluster-name").expect(200),
        json!({"name": "foo"})
    );
    assert_eq!(node.get("/overview").expect(200)["cluster_name"], "foo");
}

#[test]
fn limits_of_vhosts() {
    let node = Node::new();
    node.put("/vhost-limits/%2F/max-connections", &json!({"value": 10}))
        .expect(204);
    node.put("/vhost-limits/%2F/max-queues", &json!({"value": -1}))
        .expect(204);
    let limits = json!([{"vhost": "/", "value": {"max-connections": 10, "max-queues": -1}}]);
    assert_eq!(node.get("/vhost-limits").expect(200), limits);
    assert_eq!(node.get("/vhost-limits/%2F").expect(200), limits);
    node.put("/vhost-limits/%2F/bogus", &json!({"value": 1}))
        .expect_bad_request("Validation failed\n\nUnrecognised terms [bogus] in limits\n");
    node.put("/vhost-limits/%2F/max-queues", &json!({"value": "x"}))
        .expect_bad_request(
            "Validation failed\n\nmax-queues should be a number, actually was \"x\"\n",
        );
    node.put("/vhost-limits/nope/max-queues", &json!({"value": 1}))
        .expect_fault(404, "not_found", "vhost_not_found");
    node.get("/vhost-limits/nope").expect_not_found();
    node.delete("/vhost-limits/%2F/max-connections").expect(204);
    node.delete("/vhost-limits/%2F/max-connections").expect(204);
    node.put("/vhost-limits/%2F/max-queues", &json!({"value": 1}))
        .expect(204);
    node.put("/queues/%2F/one", &json!({})).expect(201);
    node.put("/queues/%2F/two", &json!({})).expect(400);
    node.get("/queues/%2F/two").expect_not_found();
}

#[test]
fn limits_of_users() {
    let node = Node::new();
    node.user("u", "management");
    node.put("/user-limits/u/max-connections", &json!({"value": 10}))
        .expect(204);
    let limits = json!([{"user": "u", "value": {"max-connections": 10}}]);
    assert_eq!(node.get("/user-limits").expect(200), limits);
    assert_eq!(node.get("/user-limits/u").expect(200), limits);
    assert_eq!(
        node.get("/users/u").expect(200)["limits"],
        json!({"max-connections": 10})
    );
    node.put("/user-limits/u/bogus", &json!({"value": 1}))
        .expect_bad_request("Unrecognised terms [bogus] in user-limits");
    let refused = node
        .put("/user-limits/nope/max-channels", &json!({"value": 1}))
        .expect(400);
    assert_eq!(refused["reason"], json!(["no_such_user", "nope"]));
    node.get("/user-limits/nope").expect_not_found();
    node.delete("/user-limits/u/max-connections").expect(204);
    assert_eq!(node.get("/user-limits/u").expect(200), json!([]));
}
