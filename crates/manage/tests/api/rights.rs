//! Who may ask for what.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;
use ternmq_manage::ManageConfig;

use crate::harness::Node;

#[test]
fn nobody_is_let_in_without_a_name_and_the_right_password() {
    let node = Node::new();
    let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let with = |authorization: &str| {
        let request = Request::get("/api/whoami");
        let request = request.header(header::AUTHORIZATION, authorization);
        node.send(request.body(Body::empty()).unwrap(), home)
    };
    let nobody = Request::get("/api/whoami").body(Body::empty()).unwrap();
    let answers = [
        node.send(nobody, home),
        // guest:wrong
        with("Basic Z3Vlc3Q6d3Jvbmc="),
        with("Basic ***"),
        with("Basic"),
        with("Bearer Z3Vlc3Q6Z3Vlc3Q="),
        // guest, without a colon
        with("Basic Z3Vlc3Q="),
    ];
    for answer in answers {
        let challenge = answer.headers.get(header::WWW_AUTHENTICATE).unwrap();
        assert_eq!(challenge, "Basic realm=\"RabbitMQ Management\"");
        answer.expect_login_failed();
    }
    let welcome = with("basic Z3Vlc3Q6Z3Vlc3Q=").expect(200);
    assert_eq!(welcome, json!({"name": "guest", "tags": ["administrator"]}));
}

#[test]
fn guest_is_let_in_from_this_machine_only() {
    let node = Node::new();
    let request = || {
        let request = Request::get("/api/whoami");
        let request = request.header(header::AUTHORIZATION, "Basic Z3Vlc3Q6Z3Vlc3Q=");
        request.body(Body::empty()).unwrap()
    };
    node.send(request(), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)))
        .expect_not_authorised("User can only log in via localhost");
    node.send(request(), "::ffff:127.0.0.1".parse().unwrap())
        .expect(200);
}

#[test]
fn user_without_a_tag_of_the_api_is_turned_away() {
    let node = Node::new();
    node.user("none", "");
    node.user("other", "something,else");
    for user in ["none", "other"] {
        let answer = node.ask_as(user, "GET", "/whoami", "");
        answer.expect_not_authorised("Not management user");
    }
}

#[test]
fn what_administrators_may_is_refused_to_all_others() {
    let node = Node::new();
    for tag in ["management", "policymaker", "monitoring"] {
        node.user(tag, tag);
        let asked = [
            ("GET", "/users", ""),
            ("PUT", "/users/x", r#"{"tags":""}"#),
            ("DELETE", "/users/guest", ""),
            ("POST", "/users/bulk-delete", r#"{"users":["guest"]}"#),
            ("PUT", "/vhosts/x", ""),
            ("DELETE", "/vhosts/%2F", ""),
            ("GET", "/permissions", ""),
            (
                "PUT",
                "/permissions/%2F/guest",
                r#"{"configure":"","write":"","read":""}"#,
            ),
            ("DELETE", "/permissions/%2F/guest", ""),
            (
                "PUT",
                "/topic-permissions/%2F/guest",
                r#"{"exchange":"x","write":"","read":""}"#,
            ),
            (
                "PUT",
                "/operator-policies/%2F/p",
                r#"{"pattern":"","definition":{"max-length":1}}"#,
            ),
            ("PUT", "/vhost-limits/%2F/max-queues", r#"{"value":1}"#),
            ("PUT", "/user-limits/guest/max-channels", r#"{"value":1}"#),
            ("PUT", "/cluster-name", r#"{"name":"x"}"#),
            ("GET", "/definitions", ""),
            ("POST", "/definitions", "{}"),
        ];
        for (method, path, body) in asked {
            let answer = node.ask_as(tag, method, path, body);
            answer.expect_not_authorised("Not administrator user");
        }
    }
    assert_eq!(node.get("/users/guest").status, 200, "nothing was changed");
    assert_eq!(node.get("/vhosts").expect(200).as_array().unwrap().len(), 1);
}

#[test]
fn nodes_are_shown_to_those_who_monitor() {
    let node = Node::new();
    node.user("m", "management");
    node.user("o", "monitoring");
    node.ask_as("m", "GET", "/nodes", "")
        .expect_not_authorised("Not monitor user");
    node.ask_as("o", "GET", "/nodes", "").expect(200);
}

#[test]
fn vhosts_are_shown_to_those_who_monitor_and_their_contents_to_those_who_may_work_there() {
    let node = Node::new();
    node.user("m", "management");
    node.user("o", "monitoring");
    node.put("/queues/%2F/q", &json!({})).expect(201);
    let none = json!([]);
    for path in [
        "/vhosts",
        "/queues",
        "/exchanges",
        "/bindings",
        "/connections",
        "/consumers",
    ] {
        for user in ["m", "o"] {
            let known = (user, path) == ("o", "/vhosts");
            let shown = node.ask_as(user, "GET", path, "").expect(200);
            assert_eq!(shown == none, !known, "{user} {path}");
        }
    }
    for path in [
        "/queues/%2F",
        "/queues/%2F/q",
        "/exchanges/%2F",
        "/bindings/%2F",
        "/vhosts/%2F",
    ] {
        for user in ["m", "o"] {
            let answer = node.ask_as(user, "GET", path, "");
            if (user, path) == ("o", "/vhosts/%2F") {
                answer.expect(200);
            } else {
                answer.expect_not_authorised("User not authorised to access virtual host");
            }
        }
    }
    let permission = json!({"configure": "", "write": "", "read": ""});
    node.put("/permissions/%2F/m", &permission).expect(201);
    node.ask_as("m", "GET", "/queues/%2F/q", "").expect(200);
    let refused = node.ask_as("o", "DELETE", "/queues/%2F/q", "");
    refused.expect_not_authorised("User not authorised to access virtual host");
}

#[test]
fn permissions_decide_what_may_be_done_in_a_vhost() {
    let node = Node::new();
    node.user("m", "management");
    let permission = json!({"configure": "^m", "write": "^m", "read": "^m"});
    node.put("/permissions/%2F/m", &permission).expect(201);
    node.put("/queues/%2F/q", &json!({})).expect(201);
    node.ask_as("m", "PUT", "/queues/%2F/zzz", "{}")
        .expect_not_authorised("Access refused.");
    node.ask_as("m", "PUT", "/queues/%2F/mine", "{}")
        .expect(201);
    node.ask_as("m", "DELETE", "/queues/%2F/q", "")
        .expect_not_authorised("Access refused.");
    let get = r#"{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}"#;
    let refused = node
        .ask_as("m", "POST", "/queues/%2F/q/get", get)
        .expect(401);
    assert_eq!(refused["error"], "not_authorised");
    assert!(
        refused["reason"]
            .as_str()
            .unwrap()
            .starts_with("ACCESS_REFUSED - ")
    );
    let publish =
        r#"{"properties":{},"routing_key":"q","payload":"x","payload_encoding":"string"}"#;
    let refused = node
        .ask_as("m", "POST", "/exchanges/%2F/amq.direct/publish", publish)
        .expect(400);
    assert!(
        refused["reason"]
            .as_str()
            .unwrap()
            .starts_with("403 ACCESS_REFUSED - ")
    );
    node.get("/queues/%2F/zzz").expect_not_found();
    node.get("/queues/%2F/q").expect(200);
}

#[test]
fn policies_are_set_by_policymakers() {
    let node = Node::new();
    let everything = json!({"configure": ".*", "write": ".*", "read": ".*"});
    for tag in ["management", "policymaker"] {
        node.user(tag, tag);
        node.put(&format!("/permissions/%2F/{tag}"), &everything)
            .expect(201);
    }
    let policy = r#"{"pattern":"^q","definition":{"max-length":1}}"#;
    let path = "/policies/%2F/p";
    let refused = node.ask_as("management", "PUT", path, policy);
    refused.expect_not_authorised("User not authorised to access object");
    node.ask_as("policymaker", "PUT", path, policy).expect(201);
    let policies = node.ask_as("management", "GET", "/policies/%2F", "");
    assert_eq!(policies.expect(200)[0]["name"], "p");
    let refused = node.ask_as("management", "GET", "/global-parameters", "");
    refused.expect_not_authorised("User not authorised to access object");
}

#[test]
fn who_has_not_logged_in_fills_no_memory() {
    let node = Node::new();
    let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ask = |bytes: usize| {
        let form = format!("username=guest&password={}", "x".repeat(bytes));
        node.send(Request::post("/api/login").body(form.into()).unwrap(), home)
    };
    ask(64 << 10).expect_bad_request("Exceeded HTTP request body size limit");
    assert_eq!(ask(60 << 10).status, 401);
}

#[test]
fn where_tokens_only_are_taken_no_form_takes_a_password() {
    let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for (disable_basic_auth, status) in [(true, 401), (false, 200)] {
        let node = Node::with_config(ManageConfig {
            oauth_enabled: true,
            oauth_disable_basic_auth: disable_basic_auth,
            ..ManageConfig::default()
        });
        let form = Request::post("/api/login").body("username=guest&password=guest".into());
        let answer = node.send(form.unwrap(), home);
        assert_eq!(answer.status, status);
        let is_let_in = !disable_basic_auth;
        assert_eq!(answer.headers.contains_key(header::SET_COOKIE), is_let_in);
        assert_eq!(node.get("/whoami").status, status);
    }
}
