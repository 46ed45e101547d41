//! What each command asks the server, and what it makes of the answer.

use serde_json::json;

use super::*;

#[test]
fn lists_are_of_all_vhosts_or_of_one() {
    let done = run_line(&["queues", "list"], fine(&["[]"]));
    assert_eq!(done.asked[0].line(), "GET /api/queues");
    let done = run_line(&["queues", "list", "--vhost", "a/b"], fine(&["[]"]));
    assert_eq!(done.asked[0].line(), "GET /api/queues/a%2Fb");
    let done = run_line(&["permissions", "list", "--vhost", "/"], fine(&["[]"]));
    assert_eq!(done.asked[0].line(), "GET /api/vhosts/%2F/permissions");
    done.outcome.unwrap();
}

#[test]
fn queues_are_listed_as_a_table_and_as_json() {
    let queues = json!([{
        "name": "orders", "vhost": "/", "type": "classic", "messages_ready": 12_345,
        "messages": 12_345, "message_bytes": 2048,
        "message_stats": {"publish_details": {"rate": 250.0}},
    }]);
    let done = run_line(&["queues", "list"], fine(&[&queues.to_string()]));
    let expected = "\
NAME    VHOST  TYPE      READY   TOTAL    BYTES     IN
orders  /      classic  12,345  12,345  2.0 KiB  250/s
";
    assert_eq!(done.written, expected);
    let done = run_line(&["queues", "list", "--json"], fine(&[&queues.to_string()]));
    let written: Value = serde_json::from_str(&done.written).unwrap();
    assert_eq!(written, queues);
}

#[test]
fn queue_is_declared_with_its_arguments() {
    let line = [
        "queues",
        "declare",
        "q",
        "--type",
        "quorum",
        "--argument",
        "x-max-length=10",
        "--argument",
        "x-overflow=reject-publish",
    ];
    let done = run_line(&line, vec![Answer::json(201, "")]);
    done.outcome.unwrap();
    assert_eq!(done.written, "declared queue q\n");
    assert_eq!(done.asked[0].line(), "PUT /api/queues/%2F/q");
    let arguments = json!({
        "x-queue-type": "quorum", "x-max-length": 10, "x-overflow": "reject-publish",
    });
    let expected = json!({"durable": true, "auto_delete": false, "arguments": arguments});
    assert_eq!(body(&done.asked[0]), expected);
}

#[test]
fn queue_is_deleted_on_conditions() {
    let line = ["queues", "delete", "q", "--if-empty", "--if-unused"];
    let done = run_line(&line, vec![Answer::json(204, "")]);
    done.outcome.unwrap();
    let expected = "DELETE /api/queues/%2F/q?if-empty=true&if-unused=true";
    assert_eq!(done.asked[0].line(), expected);
}

#[test]
fn user_that_exists_is_not_added_again() {
    let line = ["users", "add", "alice", "--new-password", "secret"];
    let done = run_line(&line, fine(&[r#"{"name":"alice"}"#]));
    assert!(matches!(done.outcome, Err(Failure::Refused(_))));
    assert_eq!(done.asked.len(), 1, "nothing was changed");
}

#[test]
fn user_is_added_with_tags() {
    let line = [
        "users",
        "add",
        "alice",
        "--new-password",
        "secret",
        "--tags",
        "monitoring,management",
    ];
    let answers = vec![Answer::json(404, "{}"), Answer::json(201, "")];
    let done = run_line(&line, answers);
    done.outcome.unwrap();
    assert_eq!(done.asked[1].line(), "PUT /api/users/alice");
    let expected = json!({"password": "secret", "tags": "monitoring,management"});
    assert_eq!(body(&done.asked[1]), expected);
}

#[test]
fn new_tags_keep_the_password() {
    let user = r#"{"name":"alice","password_hash":"aGFzaA==",
        "hashing_algorithm":"rabbit_password_hashing_sha512","tags":["management"]}"#;
    let answers = vec![Answer::json(200, user), Answer::json(204, "")];
    let done = run_line(&["users", "tags", "alice", "policymaker"], answers);
    done.outcome.unwrap();
    let expected = json!({
        "password_hash": "aGFzaA==",
        "hashing_algorithm": "rabbit_password_hashing_sha512",
        "tags": "policymaker",
    });
    assert_eq!(body(&done.asked[1]), expected);
}

#[test]
fn new_password_keeps_the_tags() {
    let user = r#"{"name":"alice","tags":["management"]}"#;
    let answers = vec![Answer::json(200, user), Answer::json(204, "")];
    let done = run_line(&["users", "passwd", "alice", "--no-password"], answers);
    done.outcome.unwrap();
    let expected = json!({"password_hash": "", "tags": ["management"]});
    assert_eq!(body(&done.asked[1]), expected);
}

#[test]
fn binding_is_found_by_key_and_arguments_before_it_is_deleted() {
    let bindings = r#"[
        {"routing_key":"k","arguments":{"x":1},"properties_key":"k~hash"},
        {"routing_key":"k","arguments":{},"properties_key":"k"}
    ]"#;
    let answers = vec![Answer::json(200, bindings), Answer::json(204, "")];
    let line = ["bindings", "delete", "e", "q", "--key", "k"];
    let done = run_line(&line, answers);
    done.outcome.unwrap();
    assert_eq!(done.asked[1].line(), "DELETE /api/bindings/%2F/e/e/q/q/k");
    let line = ["bindings", "delete", "e", "q", "--key", "other"];
    let done = run_line(&line, fine(&[bindings]));
    assert!(matches!(done.outcome, Err(Failure::NotFound(_))));
}

#[test]
fn message_that_goes_nowhere_is_a_failure() {
    let line = ["exchanges", "publish", "e", "k", "hello", "--header", "n=1"];
    let done = run_line(&line, fine(&[r#"{"routed":false}"#]));
    assert!(matches!(done.outcome, Err(Failure::Failed(_))));
    assert_eq!(done.asked[0].line(), "POST /api/exchanges/%2F/e/publish");
    let expected = json!({
        "properties": {"headers": {"n": 1}}, "routing_key": "k",
        "payload": "hello", "payload_encoding": "string",
    });
    assert_eq!(body(&done.asked[0]), expected);
}

#[test]
fn connection_is_closed_with_the_reason() {
    let line = [
        "connections",
        "close",
        "1.2.3.4:5 -> 6",
        "--reason",
        "too old",
    ];
    let done = run_line(&line, vec![Answer::json(204, "")]);
    done.outcome.unwrap();
    let expected = "DELETE /api/connections/1.2.3.4%3A5%20-%3E%206";
    assert_eq!(done.asked[0].line(), expected);
    assert_eq!(done.asked[0].header("x-reason"), Some("too old"));
}

#[test]
fn failed_check_is_a_failure_and_unknown_checks_are_not() {
    let mut answers = fine(&[r#"{"status":"ok"}"#; 9]);
    answers[3] = Answer::json(404, "{}");
    let done = run_line(&["health"], answers.clone());
    done.outcome.unwrap();
    assert!(done.written.contains("unknown"), "{}", done.written);
    answers[0] = Answer::json(503, r#"{"status":"failed","reason":"memory alarm"}"#);
    let done = run_line(&["health"], answers);
    assert!(matches!(done.outcome, Err(Failure::Unhealthy(_))));
    assert!(done.written.contains("memory alarm"), "{}", done.written);
}

#[test]
fn definitions_go_both_ways_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("definitions.json");
    let file = file.to_str().unwrap();
    let definitions = r#"{"users":[{"name":"a"}],"queues":[{"name":"q"},{"name":"r"}]}"#;
    let done = run_line(&["definitions", "export", file], fine(&[definitions]));
    done.outcome.unwrap();
    assert_eq!(done.asked[0].line(), "GET /api/definitions");
    let line = ["definitions", "import", file, "--vhost", "v"];
    let done = run_line(&line, vec![Answer::json(204, "")]);
    done.outcome.unwrap();
    assert_eq!(done.asked[0].line(), "POST /api/definitions/v?report=true");
    let sent = body(&done.asked[0]);
    assert_eq!(sent, serde_json::from_str::<Value>(definitions).unwrap());
    assert!(
        done.written.ends_with("users       1\nqueues      2\n"),
        "{}",
        done.written
    );
}

#[test]
fn server_says_what_became_of_an_import() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("definitions.json");
    std::fs::write(&file, "{}").unwrap();
    let report = r#"{"sections":{"queues":{"created":1000,"existing":2},"users":{"created":0,"existing":1}},
        "warnings":["a shovel"]}"#;
    let line = ["definitions", "import", file.to_str().unwrap()];
    let done = run_line(&line, fine(&[report]));
    done.outcome.unwrap();
    assert_eq!(done.asked[0].line(), "POST /api/definitions?report=true");
    let expected = "KIND      NEW  THERE BEFORE\nusers       0             1\n\
        queues  1,000             2\nnote: a shovel\n";
    assert!(done.written.ends_with(expected), "{}", done.written);
    let done = run_line(&[&line[..], &["--json"]].concat(), fine(&[report]));
    let written: Value = serde_json::from_str(&done.written).unwrap();
    assert_eq!(written, serde_json::from_str::<Value>(report).unwrap());
}

#[test]
fn file_without_definitions_is_not_sent() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("definitions.json");
    std::fs::write(&file, "[1]").unwrap();
    let line = ["definitions", "import", file.to_str().unwrap()];
    let done = run_line(&line, Vec::new());
    assert!(matches!(done.outcome, Err(Failure::Usage(_))));
    assert!(done.asked.is_empty());
}

#[test]
fn top_shows_what_is_busy() {
    let overview = r#"{"product_name":"RabbitMQ","product_version":"4","ternmq_version":"1","object_totals":{"queues":2},
        "message_stats":{"publish_details":{"rate":12.0},"ack_details":{"rate":0.0}}}"#;
    let nodes = r#"[{"name":"n","mem_used":2048,"mem_alarm":true}]"#;
    let queues = r#"{"items":[{"name":"busy","vhost":"/","messages_ready":3}]}"#;
    let answers = fine(&[overview, nodes, queues, r#"{"items":[]}"#]);
    let done = run_line(&["top", "--once", "--sort", "messages"], answers);
    done.outcome.unwrap();
    let expected = "/api/queues?page=1&page_size=100&sort=messages&sort_reverse=true";
    assert_eq!(done.asked[2].path, expected);
    let mut lines = done.written.lines();
    assert_eq!(lines.next(), Some("TernMQ 1"));
    assert_eq!(lines.next(), Some("node n   memory 2.0 KiB   MEMORY ALARM"));
    assert_eq!(lines.next(), Some("queues 2   in 12/s"));
    assert!(done.written.contains("\nbusy "), "{}", done.written);
}

#[test]
fn peek_asks_for_what_waits_or_for_what_is_held() {
    let messages = r#"[{"exchange":"e","routing_key":"k","payload":"hello","payload_bytes":5,
        "payload_encoding":"string","properties":{"headers":{"n":1}},"attempts":2,
        "held_by":{"connection":"c","channel":1,"consumer_tag":"t"},"held_ms":1500}]"#;
    let line = ["queues", "peek", "q", "--from", "5"];
    let done = run_line(&line, fine(&[messages]));
    let expected = "/api/x/queues/%2F/q/messages?from=5&count=10&truncate=50000";
    assert_eq!(done.asked[0].path, expected);
    for part in [
        "key       k\n",
        "held for  1 s\n",
        "header n: 1\n",
        "  hello\n",
    ] {
        assert!(done.written.contains(part), "{part:?} in {}", done.written);
    }
    let done = run_line(&["queues", "peek", "q", "--in-flight"], fine(&["[]"]));
    let expected = "/api/x/queues/%2F/q/in-flight?count=10&truncate=50000";
    assert_eq!(done.asked[0].path, expected);
    assert_eq!(done.written, "no messages\n");
}

#[test]
fn redrive_is_followed_until_it_ends() {
    let answers = vec![
        Answer::json(202, r#"{"id":7,"state":"running","total":3,"seen":0}"#),
        Answer::json(200, r#"{"id":7,"state":"running","total":3,"seen":1}"#),
        Answer::json(
            200,
            r#"{"id":7,"state":"done","moved":2,"skipped":1,"failed":0}"#,
        ),
    ];
    let line = [
        "queues", "redrive", "dead", "--reason", "expired", "--rate", "10",
    ];
    let done = run_line(&line, answers);
    done.outcome.unwrap();
    assert_eq!(done.asked[0].line(), "POST /api/x/queues/%2F/dead/redrive");
    let expected = json!({"dry_run": false, "filter": {"reason": "expired"}, "rate": 10});
    assert_eq!(body(&done.asked[0]), expected);
    assert_eq!(done.asked[2].line(), "GET /api/x/tasks/7");
    assert_eq!(done.written, "moved 2, left 1 alone, 0 found no queue\n");
}

#[test]
fn redrive_that_fails_is_a_failure() {
    let task = r#"{"id":7,"state":"failed","reason":"the queue is gone"}"#;
    let done = run_line(&["queues", "redrive", "dead"], fine(&[task]));
    let failure = done.outcome.unwrap_err();
    assert_eq!(failure.to_string(), "the task is failed: the queue is gone");
}

#[test]
fn dry_run_says_how_many_would_go_where() {
    let answer = r#"{"dry_run":true,"seen":9,"matching":4,"targets":{"orders":4}}"#;
    let line = ["queues", "redrive", "dead", "--dry-run"];
    let done = run_line(&line, fine(&[answer]));
    assert_eq!(
        done.written,
        "4 of 9 would go back\nTO      MESSAGES\norders         4\n"
    );
}

#[test]
fn explanation_names_what_matches_and_what_does_not() {
    let answer = r#"{"routed":true,"queues":["a"],"visited":[{"exchange":"e","type":"topic",
        "followed":[{"destination":"a","destination_type":"queue","routing_key":"x.#"}],
        "missed":[{"destination":"b","destination_type":"queue","routing_key":"y",
            "why_not":"its pattern does not match the routing key"}],"left_out":2}]}"#;
    let done = run_line(&["exchanges", "explain", "e", "x.1"], fine(&[answer]));
    done.outcome.unwrap();
    assert_eq!(done.asked[0].line(), "POST /api/x/explain-route/%2F/e");
    for part in [
        "goes to: a\n",
        "Exchange \"e\" (topic)\n",
        "does not match",
        "and 2 more",
    ] {
        assert!(done.written.contains(part), "{part:?} in {}", done.written);
    }
}

#[test]
fn session_is_ended_by_its_client_identifier() {
    let done = run_line(&["sessions", "delete", "a/b"], vec![Answer::json(204, "")]);
    done.outcome.unwrap();
    assert_eq!(
        done.asked[0].line(),
        "DELETE /api/x/mqtt/sessions/%2F/a%2Fb"
    );
    assert_eq!(done.written, "ended the session of a/b\n");
}

#[test]
fn sessions_are_listed_with_how_much_they_subscribe_to() {
    let sessions = r#"[{"client_id":"lamp","connected":true,"subscriptions":[{},{}]}]"#;
    let done = run_line(&["sessions", "list"], fine(&[sessions]));
    assert_eq!(done.asked[0].line(), "GET /api/x/mqtt/sessions/%2F");
    let expected = "\
CLIENT  CONNECTED  SUBSCRIPTIONS
lamp    yes                    2
";
    assert_eq!(done.written, expected);
}

#[test]
fn retained_and_delayed_messages_are_forgotten_one_by_one() {
    let line = ["retained", "delete", "a/b"];
    let done = run_line(&line, vec![Answer::json(204, "")]);
    assert_eq!(done.asked[0].line(), "DELETE /api/x/retained/%2F/a%2Fb");
    let done = run_line(&["delayed", "cancel", "7"], vec![Answer::json(404, "{}")]);
    assert_eq!(done.asked[0].line(), "DELETE /api/x/delayed/%2F/7");
    assert!(matches!(done.outcome, Err(Failure::NotFound(_))));
}
