//! Publishing: where messages go, what comes back, what is refused.

use amq_protocol::protocol::{AMQPClass, basic, confirm, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldArray, FieldTable};
use ternmq_amqp::AmqpConfig;
use ternmq_broker::{MemoryLog, TURN_COPIES_MAX};

use crate::harness::*;

fn properties() -> basic::AMQPProperties {
    basic::AMQPProperties::default()
}

fn publish_with(
    exchange: &str,
    key: &str,
    properties: basic::AMQPProperties,
    body: &[u8],
) -> Vec<u8> {
    let mut bytes = method_bytes(1, publish_method(exchange, key, false));
    bytes.extend(content_bytes(1, properties, body));
    bytes
}

fn mandatory(key: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = method_bytes(1, publish_method("", key, true));
    bytes.extend(content_bytes(
        1,
        properties().with_message_id(short("m1")),
        body,
    ));
    bytes
}

#[track_caller]
fn expect_confirm(peer: &mut Peer, delivery_tag: u64, multiple: bool) {
    let ack = basic::AMQPMethod::Ack(basic::Ack {
        delivery_tag,
        multiple,
    });
    assert_eq!(peer.expect(1), AMQPClass::Basic(ack));
}

#[track_caller]
fn refused(bytes: &[u8], code: u16, text: &str) {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.send_bytes(bytes);
    assert_eq!(
        peer.expect_channel_close(1),
        (code, text.to_owned(), 60, 40)
    );
    peer.reopen_channel(1);
    assert_eq!(peer.ready(1, "q"), 0);
    let mut slow = node.channel();
    slow.trickle(bytes);
    assert_eq!(slow.expect_channel_close(1).1, text);
}

#[test]
fn publish_to_nowhere_is_refused() {
    let text = "NOT_FOUND - no exchange 'nope' in vhost 'probe'";
    refused(&publish_bytes(1, "nope", "q", b"m"), 404, text);
}

#[test]
fn publish_to_an_internal_exchange_is_refused() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.call(
        1,
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: short("xi"),
            kind: short("direct"),
            internal: true,
            ..exchange::Declare::default()
        })),
    );
    peer.send_bytes(&publish_bytes(1, "xi", "k", b"m"));
    let text = "ACCESS_REFUSED - cannot publish to internal exchange 'xi' in vhost 'probe'";
    assert_eq!(peer.expect_channel_close(1), (403, text.to_owned(), 60, 40));
}

#[test]
fn user_id_must_be_who_logged_in() {
    let text =
        "PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'";
    refused(
        &publish_with("", "q", properties().with_user_id(short("other")), b"m"),
        406,
        text,
    );
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.send_bytes(&publish_with(
        "",
        "q",
        properties().with_user_id(short("guest")),
        b"m",
    ));
    assert_eq!(peer.ready(1, "q"), 1);
}

#[test]
fn expiration_is_a_number_of_milliseconds() {
    for (expiration, detail) in [
        ("-1", "{value_negative,-1}"),
        ("abc", "no_integer"),
        ("1.5", "{leftover_string,\".5\"}"),
        ("", "no_integer"),
        ("1000 ", "{leftover_string,\" \"}"),
    ] {
        let text = format!("PRECONDITION_FAILED - invalid expiration '{expiration}': {detail}");
        let properties = properties().with_expiration(short(expiration));
        refused(&publish_with("", "q", properties, b"m"), 406, &text);
    }
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.send_bytes(&publish_with(
        "",
        "q",
        properties().with_expiration(short("4294967296")),
        b"m",
    ));
    assert_eq!(peer.ready(1, "q"), 1);
}

#[test]
fn cc_must_be_a_list() {
    let headers = table(&[("CC", text("other"))]);
    let text =
        "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}";
    refused(
        &publish_with("", "q", properties().with_headers(headers), b"m"),
        406,
        text,
    );
}

#[test]
fn that_the_exchange_takes_nothing_is_said_before_what_is_wrong_with_the_properties() {
    let text = "NOT_FOUND - no exchange 'nope' in vhost 'probe'";
    let cc = table(&[("CC", self::text("other"))]);
    for properties in [
        properties().with_expiration(short("x")),
        properties().with_user_id(short("other")),
        properties().with_headers(cc),
        properties().with_reply_to(short("amq.rabbitmq.reply-to")),
    ] {
        refused(&publish_with("nope", "q", properties, b"m"), 404, text);
    }
}

#[test]
fn immediate_is_not_implemented() {
    let node = Node::new();
    let mut peer = node.channel();
    let publish = basic::Publish {
        immediate: true,
        ..basic::Publish::default()
    };
    peer.send(1, basic(basic::AMQPMethod::Publish(publish)));
    let text = "NOT_IMPLEMENTED - immediate=true";
    assert_eq!(peer.expect_close(), (540, text.to_owned(), 60, 40));
}

#[test]
fn copies_go_to_further_queues_and_blind_ones_are_not_shown() {
    let node = Node::new();
    let mut peer = node.channel();
    for queue in ["q", "cc", "bcc"] {
        peer.declare(queue);
    }
    let list = |keys: &[&str]| {
        AMQPValue::FieldArray(FieldArray::from(
            keys.iter().map(|k| text(k)).collect::<Vec<_>>(),
        ))
    };
    let headers = table(&[
        ("CC", list(&["cc", "q"])),
        ("BCC", list(&["bcc"])),
        ("a", text("b")),
    ]);
    peer.send_bytes(&publish_with(
        "",
        "q",
        properties().with_headers(headers),
        b"m",
    ));
    for queue in ["q", "cc", "bcc"] {
        peer.send(1, get(queue, true));
        let content = peer.expect_content(1);
        let AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)) = content.method else {
            panic!("basic.get-ok was expected");
        };
        assert_eq!((ok.routing_key.as_str(), ok.message_count), ("q", 0));
        let headers = content.properties.headers().clone().unwrap();
        assert!(headers.contains_key("CC") && headers.contains_key("a"));
        assert!(!headers.contains_key("BCC"));
    }
}

#[test]
fn all_properties_come_back_as_sent() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    let nested = table(&[("void", AMQPValue::Void), ("n", AMQPValue::LongLongInt(-7))]);
    let sent = properties()
        .with_content_type(short("text/plain"))
        .with_content_encoding(short("gzip"))
        .with_headers(table(&[
            ("z", AMQPValue::Boolean(true)),
            ("a", AMQPValue::FieldTable(nested)),
            ("t", AMQPValue::Timestamp(77)),
        ]))
        .with_delivery_mode(2)
        .with_priority(3)
        .with_correlation_id(short("c"))
        .with_reply_to(short("r"))
        .with_expiration(short("60000"))
        .with_message_id(short("m"))
        .with_timestamp(1234)
        .with_type(short("t"))
        .with_user_id(short("guest"))
        .with_app_id(short("app"))
        .with_cluster_id(short("cl"));
    peer.send_bytes(&publish_with("", "q", sent.clone(), b"m"));
    peer.send_bytes(&publish_with("", "q", properties(), b""));
    peer.consume("q", "c", true);
    let (_, content) = peer.expect_delivery(1);
    assert_eq!(
        (content.properties, content.body.as_slice()),
        (sent, &b"m"[..])
    );
    let (_, content) = peer.expect_delivery(1);
    assert_eq!((content.properties, content.body_frames), (properties(), 0));
}

#[test]
fn mandatory_message_that_reaches_no_queue_is_returned_before_its_confirm() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.select_confirms();
    peer.send_bytes(&mandatory("nope", b"body"));
    let content = peer.expect_content(1);
    let expected = basic::Return {
        reply_code: 312,
        reply_text: short("NO_ROUTE"),
        exchange: short(""),
        routing_key: short("nope"),
    };
    assert_eq!(
        content.method,
        AMQPClass::Basic(basic::AMQPMethod::Return(expected))
    );
    assert_eq!(content.body, b"body");
    assert_eq!(content.properties.message_id(), &Some(short("m1")));
    expect_confirm(&mut peer, 1, false);
    peer.declare("nope");
    peer.send_bytes(&mandatory("nope", b"body"));
    expect_confirm(&mut peer, 2, false);
    peer.expect_silence();
}

#[test]
fn message_that_an_alternate_exchange_routes_is_not_returned() {
    let node = Node::new();
    let mut peer = node.channel();
    let declare = exchange::Declare {
        exchange: short("x"),
        kind: short("direct"),
        arguments: table(&[("alternate-exchange", text("amq.fanout"))]),
        ..exchange::Declare::default()
    };
    peer.call(
        1,
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)),
    );
    let unmatched = || {
        let mut bytes = method_bytes(1, publish_method("x", "k", true));
        bytes.extend(content_bytes(1, properties(), b"m"));
        bytes
    };
    peer.send_bytes(&unmatched());
    let AMQPClass::Basic(basic::AMQPMethod::Return(returned)) = peer.expect_content(1).method
    else {
        panic!("basic.return was expected");
    };
    assert_eq!(returned.exchange.as_str(), "x");
    peer.declare("q");
    let bind = queue::Bind {
        queue: short("q"),
        exchange: short("amq.fanout"),
        ..queue::Bind::default()
    };
    peer.call(1, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    peer.send_bytes(&unmatched());
    assert_eq!(peer.ready(1, "q"), 1);
}

#[test]
fn publish_is_confirmed_though_its_queue_is_deleted_meanwhile() {
    let node = Node::with_log(AmqpConfig::default(), MemoryLog::held_back());
    let mut peer = node.channel();
    let declare = queue::Declare {
        queue: short("q"),
        durable: true,
        nowait: true,
        ..queue::Declare::default()
    };
    peer.send(1, declare_with(declare));
    peer.select_confirms();
    let persistent = properties().with_delivery_mode(2);
    peer.send_bytes(&publish_with("", "q", persistent, b"m"));
    let delete = queue::Delete {
        queue: short("q"),
        nowait: true,
        ..queue::Delete::default()
    };
    peer.send(1, AMQPClass::Queue(queue::AMQPMethod::Delete(delete)));
    peer.expect_silence();
    node.log.commit();
    expect_confirm(&mut peer, 1, false);
}

#[test]
fn returned_message_tells_its_copies_and_hides_the_blind_ones() {
    let node = Node::new();
    let mut peer = node.channel();
    let keys = |key: &str| AMQPValue::FieldArray(vec![text(key)].into());
    let headers = table(&[("CC", keys("cc")), ("BCC", keys("bcc"))]);
    let properties = basic::AMQPProperties::default().with_headers(headers);
    let mut bytes = method_bytes(1, publish_method("", "nope", true));
    bytes.extend(content_bytes(1, properties, b"body"));
    peer.send_bytes(&bytes);
    let content = peer.expect_content(1);
    let shown = table(&[("CC", keys("cc"))]);
    assert_eq!(content.properties.headers(), &Some(shown));
    assert_eq!(content.body, b"body");
}

#[test]
fn message_without_mandatory_that_reaches_no_queue_is_dropped_and_confirmed() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.publish("nope", b"m");
    peer.expect_silence();
    peer.select_confirms();
    peer.publish("nope", b"m");
    expect_confirm(&mut peer, 1, false);
}

#[test]
fn publishes_of_one_read_are_confirmed_as_one() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.select_confirms();
    peer.select_confirms();
    let mut bytes = Vec::new();
    for key in ["q", "q", "nope", "q"] {
        bytes.extend(publish_bytes(1, "", key, b"m"));
    }
    peer.send_bytes(&bytes);
    expect_confirm(&mut peer, 4, true);
    peer.publish("q", b"m");
    expect_confirm(&mut peer, 5, false);
    peer.expect_silence();
}

#[test]
fn each_channel_numbers_its_own_publishes() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.select_confirms();
    peer.open_channel(2);
    peer.open_channel(3);
    let select = || {
        AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select {
            nowait: true,
        }))
    };
    peer.send(3, select());
    peer.expect_silence();
    let mut bytes = Vec::new();
    for channel in [1, 2, 3, 1, 3, 3] {
        bytes.extend(publish_bytes(channel, "", "q", b"m"));
    }
    peer.send_bytes(&bytes);
    expect_confirm(&mut peer, 2, true);
    let ack = basic::AMQPMethod::Ack(basic::Ack {
        delivery_tag: 3,
        multiple: true,
    });
    assert_eq!(peer.expect(3), AMQPClass::Basic(ack));
    peer.expect_silence();
    assert_eq!(peer.ready(1, "q"), 6);
}

#[test]
fn full_queue_that_refuses_is_told_by_nack_for_exactly_those() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.call(
        1,
        declare_with(queue::Declare {
            queue: short("q"),
            arguments: table(&[
                ("x-max-length", AMQPValue::LongInt(2)),
                ("x-overflow", text("reject-publish")),
            ]),
            ..queue::Declare::default()
        }),
    );
    peer.select_confirms();
    let mut bytes = Vec::new();
    for key in ["q", "q", "q", "nope", "q"] {
        bytes.extend(publish_bytes(1, "", key, b"m"));
    }
    peer.send_bytes(&bytes);
    let nack = |delivery_tag| {
        AMQPClass::Basic(basic::AMQPMethod::Nack(basic::Nack {
            delivery_tag,
            multiple: false,
            requeue: false,
        }))
    };
    expect_confirm(&mut peer, 2, true);
    assert_eq!(peer.expect(1), nack(3));
    expect_confirm(&mut peer, 4, false);
    assert_eq!(peer.expect(1), nack(5));
    peer.expect_silence();
    assert_eq!(peer.ready(1, "q"), 2);
}

#[test]
fn persistent_messages_in_durable_queues_are_confirmed_when_committed() {
    let node = Node::with_log(AmqpConfig::default(), MemoryLog::held_back());
    let mut peer = node.channel();
    peer.send(
        1,
        declare_with(queue::Declare {
            queue: short("q"),
            durable: true,
            nowait: true,
            ..queue::Declare::default()
        }),
    );
    peer.select_confirms();
    let persistent = properties().with_delivery_mode(2);
    peer.send_bytes(&publish_with("", "q", persistent.clone(), b"m"));
    peer.send_bytes(&publish_with("", "q", properties(), b"m"));
    peer.expect_silence();
    node.log.commit();
    expect_confirm(&mut peer, 2, true);
    peer.publish("q", b"transient");
    expect_confirm(&mut peer, 3, false);
}

#[test]
fn refused_publish_is_not_confirmed_and_those_before_it_are() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.select_confirms();
    let mut bytes = publish_bytes(1, "", "q", b"m");
    bytes.extend(publish_bytes(1, "nope", "q", b"m"));
    bytes.extend(publish_bytes(1, "", "q", b"m"));
    peer.send_bytes(&bytes);
    expect_confirm(&mut peer, 1, false);
    assert_eq!(peer.expect_channel_close(1).0, 404);
    peer.expect_silence();
    peer.reopen_channel(1);
    assert_eq!(peer.ready(1, "q"), 1);
}

#[test]
fn headers_exchange_reads_the_headers() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.call(
        1,
        AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
            queue: short("q"),
            exchange: short("amq.headers"),
            arguments: table(&[("colour", text("red"))]),
            ..queue::Bind::default()
        })),
    );
    for (colour, expected) in [("blue", 0), ("red", 1)] {
        let headers: FieldTable = table(&[("colour", text(colour))]);
        peer.send_bytes(&publish_with(
            "amq.headers",
            "",
            properties().with_headers(headers),
            b"m",
        ));
        assert_eq!(peer.ready(1, "q"), expected);
    }
}

#[test]
fn publishes_to_very_many_queues_let_others_have_their_turn() {
    const QUEUES: usize = 64;
    let node = Node::new();
    let mut peer = node.channel();
    for n in 0..QUEUES {
        let name = format!("q{n}");
        peer.declare(&name);
        let bind = queue::AMQPMethod::Bind(queue::Bind {
            queue: short(&name),
            exchange: short("amq.fanout"),
            ..queue::Bind::default()
        });
        peer.call(1, AMQPClass::Queue(bind));
    }
    let at_once = TURN_COPIES_MAX / QUEUES;
    let mut watcher = node.channel();
    let mut ready = || usize::try_from(watcher.ready(1, "q0")).unwrap();
    peer.send_bytes(&publish_bytes(1, "amq.fanout", "", b"x").repeat(at_once + 10));
    assert_eq!(ready(), at_once, "the rest waits for the next turn");
    assert!(peer.reads());
    peer.send_bytes(b"");
    assert_eq!(ready(), at_once + 10);
}
