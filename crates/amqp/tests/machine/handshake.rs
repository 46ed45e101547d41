//! From the protocol header to `connection.open-ok`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::{AMQPValue, FieldTable};
use ternmq_amqp::AmqpConfig;
use ternmq_amqp::config::Mechanism;
use ternmq_broker::inspect::TlsSuite;
use ternmq_net::tls::{ClientCertificate, NameFrom, TlsPeer};

use crate::harness::*;

fn start(peer: &mut Peer) -> connection::Start {
    peer.send_bytes(HEADER);
    match peer.expect(0) {
        AMQPClass::Connection(connection::AMQPMethod::Start(start)) => start,
        other => panic!("connection.start was expected, not {other:?}"),
    }
}

fn tuned(node: &Node) -> Peer {
    let mut peer = node.dial();
    start(&mut peer);
    peer.call(
        0,
        start_ok(&client_properties(), "PLAIN", b"\0guest\0guest"),
    );
    peer
}

#[test]
fn both_headers_of_0_9_1_are_answered_by_start() {
    for header in [HEADER, b"AMQP\x01\x01\x00\x09"] {
        let node = Node::new();
        let mut peer = node.dial();
        peer.trickle(header);
        let AMQPClass::Connection(connection::AMQPMethod::Start(start)) = peer.expect(0) else {
            panic!("connection.start was expected");
        };
        assert_eq!((start.version_major, start.version_minor), (0, 9));
        assert_eq!(start.mechanisms.as_bytes(), b"PLAIN AMQPLAIN");
        assert_eq!(start.locales.as_bytes(), b"en_US");
    }
}

#[test]
fn server_says_what_it_is_and_what_it_can() {
    let node = Node::new();
    let start = start(&mut node.dial());
    let properties = start.server_properties.inner();
    assert_eq!(properties.get("product"), Some(&text("RabbitMQ")));
    let platform = concat!("TernMQ ", env!("CARGO_PKG_VERSION"));
    assert_eq!(properties.get("platform"), Some(&text(platform)));
    assert_eq!(properties.get("version"), Some(&text("4.1.0")));
    assert_eq!(properties.get("cluster_name"), Some(&text("ternmq")));
    assert!(properties.contains_key("copyright") && properties.contains_key("information"));
    let Some(AMQPValue::FieldTable(capabilities)) = properties.get("capabilities") else {
        panic!("capabilities are a table");
    };
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        assert_eq!(
            capabilities.inner().get(name),
            Some(&AMQPValue::Boolean(true)),
            "{name}"
        );
    }
}

#[test]
fn any_other_header_is_answered_by_ours_and_the_end() {
    for header in [
        &b"AMQP\0\x01\0\0"[..],
        b"AMQP\x03\x01\0\0",
        b"AMQP\0\0\x09\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0",
    ] {
        let node = Node::new();
        let mut peer = node.dial();
        peer.send_bytes(header);
        assert!(peer.is_gone());
        assert_eq!(
            peer.next_frame(),
            Some(amq_protocol::frame::AMQPFrame::ProtocolHeader(
                amq_protocol::frame::ProtocolVersion::amqp_0_9_1()
            ))
        );
        assert_eq!(peer.raw(), b"");
    }
}

#[test]
fn tune_proposes_what_is_configured() {
    let node = Node::new();
    let mut peer = node.dial();
    start(&mut peer);
    let tune = peer.call(
        0,
        start_ok(&client_properties(), "PLAIN", b"\0guest\0guest"),
    );
    let expected = connection::Tune {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 60,
    };
    assert_eq!(
        tune,
        AMQPClass::Connection(connection::AMQPMethod::Tune(expected))
    );
}

#[test]
fn amqplain_logs_in() {
    let node = Node::new();
    let mut peer = node.dial();
    start(&mut peer);
    let mut response = Vec::new();
    for (name, value) in [("LOGIN", "guest"), ("PASSWORD", "guest")] {
        response.push(u8::try_from(name.len()).unwrap());
        response.extend(name.bytes());
        response.push(b'S');
        response.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        response.extend(value.bytes());
    }
    let answer = peer.call(0, start_ok(&client_properties(), "AMQPLAIN", &response));
    assert!(matches!(
        answer,
        AMQPClass::Connection(connection::AMQPMethod::Tune(_))
    ));
}

#[test]
fn refused_login_is_told_to_clients_that_announced_it() {
    let node = Node::new();
    let mut peer = node.dial();
    start(&mut peer);
    peer.send(
        0,
        start_ok(&client_properties(), "PLAIN", b"\0guest\0wrong"),
    );
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For \
                details see the broker logfile.";
    assert_eq!(peer.expect_close(), (403, text.to_owned(), 0, 0));
    peer.send(
        0,
        AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {})),
    );
    assert!(peer.is_gone());
}

#[test]
fn refused_login_ends_the_connection_of_other_clients_without_a_word() {
    let node = Node::new();
    let mut peer = node.dial();
    start(&mut peer);
    peer.send(
        0,
        start_ok(&FieldTable::default(), "PLAIN", b"\0nobody\0guest"),
    );
    assert!(peer.is_gone());
    peer.expect_silence();
}

#[test]
fn guest_may_log_in_from_loopback_only() {
    let node = Node::new();
    let mut peer = node.dial_from(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    start(&mut peer);
    peer.send(
        0,
        start_ok(&client_properties(), "PLAIN", b"\0guest\0guest"),
    );
    assert_eq!(peer.expect_close().0, 403);
}

#[test]
fn mechanism_that_was_not_offered_is_a_connection_error() {
    let node = Node::new();
    let mut peer = node.dial();
    start(&mut peer);
    peer.send(0, start_ok(&client_properties(), "EXTERNAL", b""));
    let text = "COMMAND_INVALID - invalid authentication mechanism 'EXTERNAL'";
    assert_eq!(peer.expect_close(), (503, text.to_owned(), 10, 11));
}

/// A peer with a certificate of that subject, which the listener verified.
pub(crate) fn dial_with_certificate(node: &Node, subject: &str, common_name: &str) -> Peer {
    let certificate = ClientCertificate {
        subject: subject.to_owned(),
        issuer: "CN=authority".to_owned(),
        validity: "2026-01-01T00:00:00Z - 2027-01-01T00:00:00Z".to_owned(),
        common_name: Some(common_name.to_owned()),
        alt_names: Vec::new(),
    };
    let tls = TlsPeer {
        suite: TlsSuite {
            version: "tlsv1.3",
            key_exchange: "any",
            cipher: "aes_256_gcm",
            hash: "aead",
        },
        certificate: Some(certificate),
    };
    let addr = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    node.dial_as(ternmq_net::machine::Peer {
        tls: Some(Arc::new(tls)),
        ..ternmq_net::machine::Peer::tcp(addr(40_000), addr(5671))
    })
}

#[test]
fn certificate_logs_in_whom_it_names_as_configured() {
    let by_common_name = AmqpConfig {
        ssl_cert_login_from: NameFrom::CommonName,
        ..AmqpConfig::default()
    };
    for (config, subject, common_name) in [
        (AmqpConfig::default(), "lim", "nobody"),
        (by_common_name, "CN=lim,O=example", "lim"),
    ] {
        let node = Node::with(config);
        let mut peer = dial_with_certificate(&node, subject, common_name);
        let offered = start(&mut peer).mechanisms;
        assert_eq!(offered.as_bytes(), b"PLAIN AMQPLAIN EXTERNAL");
        peer.call(0, start_ok(&client_properties(), "EXTERNAL", b""));
        peer.send(0, tune_ok(2047, 131_072, 0));
        let answer = peer.call(0, open("/"));
        assert!(
            matches!(
                answer,
                AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))
            ),
            "{answer:?}"
        );
    }
}

#[test]
fn only_those_mechanisms_are_taken_that_are_configured() {
    let node = Node::with(AmqpConfig {
        mechanisms: vec![Mechanism::External],
        ..AmqpConfig::default()
    });
    for (mechanism, response) in [("PLAIN", &b"\0guest\0guest"[..]), ("AMQPLAIN", b"")] {
        let mut peer = dial_with_certificate(&node, "CN=lim", "lim");
        assert_eq!(start(&mut peer).mechanisms.as_bytes(), b"EXTERNAL");
        peer.send(0, start_ok(&client_properties(), mechanism, response));
        let text = format!("COMMAND_INVALID - invalid authentication mechanism '{mechanism}'");
        assert_eq!(peer.expect_close(), (503, text, 10, 11));
    }
    let mut peer = node.dial();
    assert_eq!(start(&mut peer).mechanisms.as_bytes(), b"");
}

#[test]
fn certificate_of_somebody_unknown_is_refused() {
    let node = Node::new();
    let mut peer = dial_with_certificate(&node, "CN=stranger", "stranger");
    start(&mut peer);
    peer.send(0, start_ok(&client_properties(), "EXTERNAL", b""));
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL. For details see \
                the broker logfile.";
    assert_eq!(peer.expect_close(), (403, text.to_owned(), 0, 0));
}

#[test]
fn anonymous_is_off_unless_an_operator_lets_anybody_in_as_the_first_user() {
    let node = Node::new();
    let mut peer = node.dial();
    start(&mut peer);
    peer.send(0, start_ok(&client_properties(), "ANONYMOUS", b"me"));
    let text = "COMMAND_INVALID - invalid authentication mechanism 'ANONYMOUS'";
    assert_eq!(peer.expect_close(), (503, text.to_owned(), 10, 11));

    let node = Node::with(AmqpConfig {
        anonymous: true,
        ..AmqpConfig::default()
    });
    let mut peer = node.dial();
    let offered = start(&mut peer).mechanisms;
    assert_eq!(offered.as_bytes(), b"PLAIN AMQPLAIN ANONYMOUS");
    let answer = peer.call(0, start_ok(&client_properties(), "ANONYMOUS", b"me"));
    assert!(
        matches!(
            answer,
            AMQPClass::Connection(connection::AMQPMethod::Tune(_))
        ),
        "{answer:?}"
    );

    // The first user is guest, who may come from this machine only.
    let mut peer = node.dial_from(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    start(&mut peer);
    peer.send(0, start_ok(&client_properties(), "ANONYMOUS", b""));
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism ANONYMOUS. For details see \
                the broker logfile.";
    assert_eq!(peer.expect_close(), (403, text.to_owned(), 0, 0));
}

#[test]
fn response_that_makes_no_sense_is_a_syntax_error() {
    let node = Node::new();
    for (mechanism, response) in [("PLAIN", &b"guest"[..]), ("AMQPLAIN", b"\x05LOGIN")] {
        let mut peer = node.dial();
        start(&mut peer);
        peer.send(0, start_ok(&client_properties(), mechanism, response));
        assert_eq!(peer.expect_close().0, 502);
    }
}

#[test]
fn client_may_agree_on_less_but_not_on_more() {
    let node = Node::new();
    for (channel_max, frame_max, text) in [
        (
            0,
            131_072,
            "negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
        ),
        (
            2048,
            131_072,
            "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)",
        ),
        (
            2047,
            131_073,
            "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)",
        ),
        (
            2047,
            0,
            "negotiated frame_max = 0 (no limit) is higher than the maximum allowed value (131072)",
        ),
        (
            2047,
            4095,
            "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)",
        ),
    ] {
        let mut peer = tuned(&node);
        peer.send(0, tune_ok(channel_max, frame_max, 0));
        assert_eq!(
            peer.expect_close(),
            (530, format!("NOT_ALLOWED - {text}"), 10, 31)
        );
    }
    for (channel_max, frame_max) in [(1, 4096), (2047, 131_072)] {
        let mut peer = tuned(&node);
        peer.send(0, tune_ok(channel_max, frame_max, 0));
        let answer = peer.call(0, open(VHOST));
        assert!(matches!(
            answer,
            AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))
        ));
    }
}

#[test]
fn vhost_that_is_not_there_is_named() {
    let node = Node::new();
    let mut peer = tuned(&node);
    peer.send(0, tune_ok(2047, 131_072, 0));
    peer.send(0, open("nope"));
    assert_eq!(
        peer.expect_close(),
        (530, "NOT_ALLOWED - vhost nope not found".to_owned(), 10, 40)
    );
}

#[test]
fn vhost_that_the_user_may_not_use_is_refused() {
    let node = Node::new();
    let mut peer = node.dial();
    start(&mut peer);
    peer.call(0, start_ok(&client_properties(), "PLAIN", b"\0lim\0lim"));
    peer.send(0, tune_ok(2047, 131_072, 0));
    peer.send(0, open(VHOST));
    let text = "NOT_ALLOWED - access to vhost 'probe' refused for user 'lim'";
    assert_eq!(peer.expect_close(), (530, text.to_owned(), 10, 40));
}

#[test]
fn handshake_out_of_order_is_a_channel_error_that_names_the_state() {
    let node = Node::new();
    let mut peer = node.dial();
    start(&mut peer);
    peer.send(0, open(VHOST));
    let text = "CHANNEL_ERROR - unexpected method in connection state starting";
    assert_eq!(peer.expect_close(), (504, text.to_owned(), 10, 40));

    let mut peer = tuned(&node);
    peer.send(
        0,
        start_ok(&client_properties(), "PLAIN", b"\0guest\0guest"),
    );
    let text = "CHANNEL_ERROR - unexpected method in connection state tuning";
    assert_eq!(peer.expect_close(), (504, text.to_owned(), 10, 11));
}

#[test]
fn method_of_a_channel_before_the_connection_is_open_is_an_error() {
    let node = Node::new();
    let mut peer = tuned(&node);
    peer.send(1, channel_open());
    assert_eq!(peer.expect_close().0, 504);
}

#[test]
fn handshake_in_single_bytes_is_the_same_handshake() {
    let node = Node::new();
    let mut peer = node.dial();
    peer.trickle(HEADER);
    peer.expect(0);
    peer.trickle(&method_bytes(
        0,
        start_ok(&client_properties(), "PLAIN", b"\0guest\0guest"),
    ));
    peer.expect(0);
    peer.trickle(&method_bytes(0, tune_ok(2047, 131_072, 0)));
    peer.trickle(&method_bytes(0, open(VHOST)));
    let answer = peer.expect(0);
    assert!(matches!(
        answer,
        AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))
    ));
}

#[test]
fn client_that_waits_for_nothing_gets_all_its_answers() {
    let mut bytes = HEADER.to_vec();
    bytes.extend(method_bytes(
        0,
        start_ok(&client_properties(), "PLAIN", b"\0guest\0guest"),
    ));
    bytes.extend(method_bytes(0, tune_ok(2047, 4096, 0)));
    bytes.extend(method_bytes(0, open(VHOST)));
    bytes.extend(method_bytes(1, channel_open()));
    bytes.extend(method_bytes(1, declare_queue("q")));
    bytes.extend(publish_bytes(1, "", "q", b"m"));
    bytes.extend(method_bytes(1, get("q", true)));
    let node = Node::new();
    let mut peer = node.dial();
    peer.send_bytes(&bytes);
    let ids: Vec<_> = [0, 0, 0, 1, 1]
        .map(|channel| peer.expect(channel))
        .iter()
        .map(|class| (class.get_amqp_class_id(), class.get_amqp_method_id()))
        .collect();
    assert_eq!(ids, [(10, 10), (10, 30), (10, 41), (20, 11), (50, 11)]);
    assert_eq!(peer.expect_content(1).body, b"m");
}

#[test]
fn client_may_close_during_the_handshake() {
    let node = Node::new();
    let mut peer = tuned(&node);
    let close = connection::Close {
        reply_code: 200,
        ..connection::Close::default()
    };
    let answer = peer.call(
        0,
        AMQPClass::Connection(connection::AMQPMethod::Close(close)),
    );
    assert!(matches!(
        answer,
        AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))
    ));
    assert!(peer.is_gone());
}

#[test]
fn frames_of_the_handshake_are_small() {
    for (bytes, is_taken) in [(7_000, true), (8_192, false)] {
        let node = Node::new();
        let mut peer = node.dial();
        start(&mut peer);
        let mut properties = client_properties();
        properties.insert(short("padding"), text(&"x".repeat(bytes)));
        peer.send(0, start_ok(&properties, "PLAIN", b"\0guest\0guest"));
        let is_tune = peer.has_frame()
            && matches!(
                peer.expect(0),
                AMQPClass::Connection(connection::AMQPMethod::Tune(_))
            );
        assert_eq!(is_tune, is_taken, "{bytes} bytes");
    }
}
