//! Commands against a server that answers as told and remembers what it was asked.

mod commands;
mod server;

use clap::{CommandFactory, Parser};
use serde_json::Value;

use self::server::{Answer, Asked, FakeServer};
use super::*;

#[derive(Debug, Parser)]
#[command(name = "ternmq")]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// What a command line came to.
struct Done {
    outcome: Outcome,
    written: String,
    asked: Vec<Asked>,
}

/// Runs a command line against a server with these answers, one after the other.
fn run_line(line: &[&str], answers: Vec<Answer>) -> Done {
    let server = FakeServer::start(answers);
    let url = server.url();
    let start = ["ternmq"].into_iter().chain(line.iter().copied());
    let words = start.chain(["--url", &url]);
    let line = Line::try_parse_from(words).unwrap();
    let mut out = Vec::new();
    let outcome = perform(&line.command, |form| Output::plain(&mut out, form));
    Done {
        outcome,
        written: String::from_utf8(out).unwrap(),
        asked: server.stop(),
    }
}

#[test]
fn command_line_is_consistent() {
    Line::command().debug_assert();
}

#[test]
fn url_may_end_in_a_slash_or_in_api_and_has_a_scheme() {
    for ending in ["/", "/api", "/api/"] {
        let server = FakeServer::start(vec![Answer::json(200, "[]")]);
        let url = format!("{}{ending}", server.url());
        let line = Line::parse_from(["ternmq", "users", "list", "--url", &url]);
        let mut out = Vec::new();
        perform(&line.command, |form| Output::plain(&mut out, form)).unwrap();
        assert_eq!(server.stop()[0].path, "/api/users");
    }
    for (url, why) in [
        ("localhost:15672", "does not begin with http://"),
        ("http://", "names no host"),
        ("http:///api", "names no host"),
        ("http://me:secret@localhost:15672", "has a login in it"),
    ] {
        let line = Line::parse_from(["ternmq", "status", "--url", url]);
        let mut out = Vec::new();
        let failure = perform(&line.command, |form| Output::plain(&mut out, form)).unwrap_err();
        assert!(matches!(failure, Failure::Usage(_)), "{failure}");
        assert!(failure.to_string().contains(why), "{failure}");
    }
}

#[test]
fn script_gets_one_value_whatever_was_done() {
    let answers = vec![Answer::json(204, ""), Answer::json(204, "")];
    let done = run_line(&["users", "delete", "a", "b", "--json"], answers);
    done.outcome.unwrap();
    let written: Value = serde_json::from_str(&done.written).unwrap();
    assert_eq!(
        written,
        serde_json::json!({"done": ["deleted user a", "deleted user b"]})
    );
}

#[test]
fn what_the_server_says_cannot_command_the_terminal() {
    let refusal = r#"{"reason":"Validation failed\n\nno \u001b[31m\u202e\n"}"#;
    let done = run_line(&["queues", "purge", "q"], vec![Answer::json(400, refusal)]);
    assert_eq!(
        done.outcome.unwrap_err().to_string(),
        "refused: no \\u{1b}[31m\\u{202e}"
    );
}

#[test]
fn every_status_has_its_failure() {
    let failure = |status, body: &str| {
        let answers = vec![Answer::json(status, body)];
        run_line(&["queues", "purge", "q"], answers)
            .outcome
            .unwrap_err()
    };
    let body = r#"{"error":"bad_request","reason":"no\n  way"}"#;
    assert_eq!(failure(400, body).to_string(), "refused: no way");
    assert!(matches!(failure(405, body), Failure::Refused(_)));
    assert!(matches!(failure(401, body), Failure::NotAllowed(_)));
    assert!(matches!(failure(403, body), Failure::NotAllowed(_)));
    let missing = failure(404, r#"{"error":"Object Not Found","reason":"Not Found"}"#);
    assert_eq!(
        missing.to_string(),
        "queue \"q\" in vhost \"/\" does not exist"
    );
    assert_eq!(
        failure(404, r#"{"error":"not_found","reason":"vhost_not_found"}"#).to_string(),
        "vhost \"/\" does not exist"
    );
    assert!(matches!(
        failure(400, r#"{"reason":"vhost_or_user_not_found"}"#),
        Failure::NotFound(_)
    ));
    assert!(matches!(
        failure(400, r#"{"reason":["no_such_user","u"]}"#),
        Failure::NotFound(_)
    ));
    assert!(matches!(failure(500, "<html>"), Failure::Failed(_)));
    assert!(matches!(failure(302, ""), Failure::Failed(_)));
    let of_channel = |code: &str| failure(400, &format!(r#"{{"reason":"{code} - no"}}"#));
    assert!(matches!(of_channel("404 NOT_FOUND"), Failure::NotFound(_)));
    let refused = of_channel("403 ACCESS_REFUSED");
    assert!(matches!(refused, Failure::NotAllowed(_)));
    for code in ["406 PRECONDITION_FAILED", "404 queues", "404"] {
        assert!(matches!(of_channel(code), Failure::Refused(_)), "{code}");
    }
}

#[test]
fn server_that_is_not_there_is_unreachable() {
    let server = FakeServer::start(Vec::new());
    let url = server.url();
    drop(server.stop());
    let line = Line::parse_from(["ternmq", "status", "--url", &url]);
    let mut out = Vec::new();
    let failure = perform(&line.command, |form| Output::plain(&mut out, form)).unwrap_err();
    assert!(matches!(failure, Failure::Unreachable { .. }), "{failure}");
}

#[test]
fn answer_that_is_no_json_is_a_failure_that_says_so() {
    let done = run_line(&["queues", "list"], vec![Answer::json(200, "<html>")]);
    let failure = done.outcome.unwrap_err();
    assert!(failure.to_string().contains("is no JSON"), "{failure}");
}

#[test]
fn requests_carry_the_login() {
    let line = ["users", "list", "--user", "jürgen", "--password", "p:q"];
    let done = run_line(&line, vec![Answer::json(200, "[]")]);
    // base64 of "jürgen:p:q"
    let expected = "Basic asO8cmdlbjpwOnE=";
    assert_eq!(done.asked[0].header("authorization"), Some(expected));
}

#[test]
fn exit_codes_stay_what_scripts_know() {
    let io = io::Error::from(io::ErrorKind::NotFound);
    let codes = [
        (Failure::Failed(String::new()), 1),
        (Failure::Unhealthy(String::new()), 1),
        (Failure::Usage(String::new()), 2),
        (Failure::NotFound(String::new()), 3),
        (Failure::Refused(String::new()), 4),
        (
            Failure::Unreachable {
                url: String::new(),
                reason: String::new(),
            },
            69,
        ),
        (Failure::io("x")(io), 74),
        (Failure::NotAllowed(String::new()), 77),
    ];
    for (failure, code) in codes {
        // Exit codes cannot be compared.
        let expected = format!("{:?}", std::process::ExitCode::from(code));
        assert_eq!(format!("{:?}", failure.exit_code()), expected);
    }
}

#[test]
fn completions_exist_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        #[derive(Parser)]
        struct Only {
            #[command(flatten)]
            completions: Completions,
        }
        let only = Only::parse_from(["x", shell]);
        let script = only.completions.script(Line::command());
        let script = String::from_utf8(script).unwrap();
        assert!(script.contains("topic-permissions"), "{shell}");
    }
}

#[test]
fn every_command_gets_a_page() {
    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        pages: Pages,
    }
    let directory = tempfile::tempdir().unwrap();
    let only = Only::parse_from(["x", "--dir", directory.path().to_str().unwrap()]);
    only.pages.write(Line::command()).unwrap();
    let page = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert!(page("ternmq.1").contains("queues"));
    assert!(page("ternmq-queues-list.1").contains("filter"));
}

fn body(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.body).unwrap()
}

/// The answers of a server on which everything works.
fn fine(bodies: &[&str]) -> Vec<Answer> {
    bodies.iter().map(|body| Answer::json(200, body)).collect()
}
