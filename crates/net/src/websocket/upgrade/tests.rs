use super::*;

fn config() -> WebSocketConfig {
    WebSocketConfig {
        paths: vec!["/ws".into(), "/mqtt".into()],
        subprotocols: vec!["mqtt", "mqttv3.1"],
        origins: Vec::new(),
        frame_bytes_max: 1024,
    }
}

/// The request of RFC 6455 §1.3, for our sub-protocol, with one line changed.
fn request(instead_of: &str, line: &str) -> String {
    let lines = [
        "GET /ws HTTP/1.1",
        "Host: server.example.com",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: chat, mqtt",
        "Sec-WebSocket-Version: 13",
    ];
    let mut text = String::new();
    for known in lines {
        let line = if known.starts_with(instead_of) && !instead_of.is_empty() {
            line
        } else {
            known
        };
        if !line.is_empty() {
            text.push_str(line);
            text.push_str("\r\n");
        }
    }
    text.push_str("\r\n");
    text
}

fn refused(instead_of: &str, line: &str) -> Refusal {
    match read(request(instead_of, line).as_bytes(), &config()) {
        Request::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_rfcs_own_request_gets_the_rfcs_answer() {
    let request = request("", "");
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    let accepted = Request::Accepted {
        head_bytes: request.len(),
        answer: expected.into(),
    };
    assert_eq!(read(request.as_bytes(), &config()), accepted);
    let early = format!("{request}\u{2}frames");
    assert_eq!(read(early.as_bytes(), &config()), accepted);
}

#[test]
fn a_request_is_partial_until_its_last_byte() {
    let request = request("", "");
    for cut in 0..request.len() {
        assert_eq!(
            read(&request.as_bytes()[..cut], &config()),
            Request::Partial
        );
    }
}

#[test]
fn every_path_of_the_listener_leads_in_with_and_without_a_query() {
    for path in ["/ws", "/mqtt", "/ws?token=x"] {
        let request = request("GET", &format!("GET {path} HTTP/1.1"));
        let read = read(request.as_bytes(), &config());
        assert!(matches!(read, Request::Accepted { .. }), "{path}");
    }
    assert_eq!(refused("GET", "GET / HTTP/1.1"), Refusal::NotFound);
    assert_eq!(refused("GET", "GET /wss HTTP/1.1"), Refusal::NotFound);
}

#[test]
fn subprotocol_is_the_first_of_ours_that_is_offered() {
    for (offered, agreed) in [
        ("mqttv3.1", "mqttv3.1"),
        ("mqttv3.1,mqtt", "mqtt"),
        ("x\r\nSec-WebSocket-Protocol: mqtt", "mqtt"),
    ] {
        let line = format!("Sec-WebSocket-Protocol: {offered}");
        let request = request("Sec-WebSocket-Protocol", &line);
        let Request::Accepted { answer, .. } = read(request.as_bytes(), &config()) else {
            panic!("{offered}");
        };
        assert!(answer.contains(&format!("\r\nSec-WebSocket-Protocol: {agreed}\r\n")));
    }
}

/// MQTT 5.0 §6.0: "The Client MUST include "mqtt" in the list of WebSocket Sub Protocols it offers".
#[test]
fn client_that_does_not_offer_mqtt_is_refused() {
    for line in [
        "",
        "Sec-WebSocket-Protocol: amqp",
        "Sec-WebSocket-Protocol: MQTT",
    ] {
        let refusal = refused("Sec-WebSocket-Protocol", line);
        assert!(refusal.answer().starts_with("HTTP/1.1 400 "), "{line}");
    }
}

#[test]
fn requests_that_are_no_upgrade_are_told_what_is_spoken() {
    for (instead_of, line) in [
        ("Upgrade", ""),
        ("Upgrade", "Upgrade: h2c"),
        ("Connection", ""),
        ("Connection", "Connection: close"),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"),
        ("Sec-WebSocket-Version", ""),
    ] {
        let answer = refused(instead_of, line).answer();
        assert!(answer.starts_with("HTTP/1.1 426 "), "{line}: {answer}");
        assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"));
    }
}

#[test]
fn malformed_requests_are_refused() {
    for (instead_of, line, status) in [
        ("GET", "POST /ws HTTP/1.1", "405"),
        ("GET", "GET /ws HTTP/1.0", "400"),
        ("GET", "GET /ws", "400"),
        ("Host", "Host server", "400"),
        ("Sec-WebSocket-Key", "", "400"),
        ("Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ=", "400"),
        ("Sec-WebSocket-Key", "Sec-WebSocket-Key: ???", "400"),
        (
            "Sec-WebSocket-Version",
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13",
            "400",
        ),
    ] {
        let answer = refused(instead_of, line).answer();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}

#[test]
fn origins_matter_only_where_a_list_is_set() {
    let from = |origin: &str| request("Host", &format!("Host: x\r\nOrigin: {origin}"));
    let any = config();
    let some = WebSocketConfig {
        origins: vec!["https://example.com".into()],
        ..config()
    };
    let accepts = |request: &str, config: &WebSocketConfig| {
        !matches!(read(request.as_bytes(), config), Request::Refused(_))
    };
    assert!(accepts(&from("https://elsewhere.example"), &any));
    assert!(accepts(&from("https://EXAMPLE.com"), &some));
    assert!(accepts(&request("", ""), &some), "no page at all");
    let elsewhere = from("https://elsewhere.example");
    assert_eq!(
        read(elsewhere.as_bytes(), &some),
        Request::Refused(Refusal::Origin)
    );
}

#[test]
fn requests_at_the_limit_are_taken_and_longer_ones_are_not() {
    let with = |bytes: usize| {
        let padding = "x".repeat(bytes - request("Host", "Host: ").len());
        request("Host", &format!("Host: {padding}"))
    };
    let longest = with(HEAD_BYTES_MAX);
    assert_eq!(longest.len(), HEAD_BYTES_MAX);
    assert!(matches!(
        read(longest.as_bytes(), &config()),
        Request::Accepted { .. }
    ));
    let too_long = Request::Refused(Refusal::TooLong);
    assert_eq!(
        read(with(HEAD_BYTES_MAX + 1).as_bytes(), &config()),
        too_long
    );
    let endless = "GET /ws HTTP/1.1\r\nHost: ".to_owned() + &"x".repeat(HEAD_BYTES_MAX);
    assert_eq!(read(endless.as_bytes(), &config()), too_long);
    let many = "X: y\r\n".repeat(FIELDS_MAX);
    let many = request("Host", many.trim_end());
    assert_eq!(read(many.as_bytes(), &config()), too_long);
}

#[test]
fn answers_say_how_long_they_are() {
    let answer = Refusal::NotFound.answer();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
}
