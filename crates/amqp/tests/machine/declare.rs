//! Exchanges, queues and bindings: what is refused, in which words.

use amq_protocol::protocol::{AMQPClass, basic, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};

use crate::harness::*;

/// The class and method ids of methods refused here.
const EXCHANGE_DECLARE: (u16, u16) = (40, 10);
const QUEUE_DECLARE: (u16, u16) = (50, 10);

fn arguments(entries: &[(&str, AMQPValue)]) -> queue::Declare {
    queue::Declare {
        queue: short("Q"),
        arguments: table(entries),
        ..queue::Declare::default()
    }
}

#[track_caller]
fn refused(peer: &mut Peer, method: AMQPClass, code: u16, text: &str, id: (u16, u16)) {
    peer.send(1, method);
    assert_eq!(
        peer.expect_channel_close(1),
        (code, text.to_owned(), id.0, id.1)
    );
    peer.reopen_channel(1);
}

#[track_caller]
fn accepted(peer: &mut Peer, method: AMQPClass) {
    let answer = peer.call(1, method);
    assert!(
        !matches!(answer, AMQPClass::Channel(_) | AMQPClass::Connection(_)),
        "{answer:?}"
    );
}

fn int(value: i32) -> AMQPValue {
    AMQPValue::LongInt(value)
}

#[test]
fn passive_declare_of_what_is_missing_is_not_found() {
    let node = Node::new();
    let mut peer = node.channel();
    let text = "NOT_FOUND - no queue 'nope' in vhost 'probe'";
    refused(&mut peer, passive_queue("nope"), 404, text, QUEUE_DECLARE);
    let text = "NOT_FOUND - no queue 'amq.foo' in vhost 'probe'";
    refused(
        &mut peer,
        passive_queue("amq.foo"),
        404,
        text,
        QUEUE_DECLARE,
    );
    let passive = |name: &str| {
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: short(name),
            kind: short("direct"),
            passive: true,
            ..exchange::Declare::default()
        }))
    };
    let text = "NOT_FOUND - no exchange 'nope' in vhost 'probe'";
    refused(&mut peer, passive("nope"), 404, text, EXCHANGE_DECLARE);
    let text = "ACCESS_REFUSED - operation not permitted on the default exchange";
    refused(&mut peer, passive(""), 403, text, EXCHANGE_DECLARE);
    accepted(&mut peer, passive("amq.direct"));
}

#[test]
fn redeclared_queue_must_be_the_same() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    let again = |change: fn(&mut queue::Declare)| {
        let mut declare = queue::Declare {
            queue: short("q"),
            ..queue::Declare::default()
        };
        change(&mut declare);
        declare_with(declare)
    };
    let start = "PRECONDITION_FAILED - inequivalent arg";
    for (method, text) in [
        (
            again(|d| d.durable = true),
            "'durable' for queue 'q' in vhost 'probe': received 'true' but current is 'false'",
        ),
        (
            again(|d| d.auto_delete = true),
            "'auto_delete' for queue 'q' in vhost 'probe': received 'true' but current is 'false'",
        ),
        (
            again(|d| d.arguments = table(&[("x-max-length", int(5))])),
            "'x-max-length' for queue 'q' in vhost 'probe': received the value '5' of type 'signedint' but current is none",
        ),
    ] {
        refused(
            &mut peer,
            method,
            406,
            &format!("{start} {text}"),
            QUEUE_DECLARE,
        );
    }
    let text = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost 'probe'. \
                It could be originally declared on another connection or the exclusive property value \
                does not match that of the original declaration.";
    refused(
        &mut peer,
        again(|d| d.exclusive = true),
        405,
        text,
        QUEUE_DECLARE,
    );
    accepted(
        &mut peer,
        again(|d| d.arguments = table(&[("x-unknown", int(1))])),
    );
}

#[test]
fn redeclared_ttl_must_be_the_same_in_value_and_kind() {
    let node = Node::new();
    let mut peer = node.channel();
    let ttl = |entries: &[(&str, AMQPValue)]| {
        let declare = queue::Declare {
            queue: short("qttl"),
            arguments: table(entries),
            ..queue::Declare::default()
        };
        declare_with(declare)
    };
    accepted(&mut peer, ttl(&[("x-message-ttl", int(1000))]));
    accepted(
        &mut peer,
        ttl(&[("x-message-ttl", AMQPValue::LongLongInt(1000))]),
    );
    let start =
        "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'qttl' in vhost 'probe':";
    let text = format!("{start} received none but current is the value '1000' of type 'signedint'");
    refused(&mut peer, ttl(&[]), 406, &text, QUEUE_DECLARE);
    let text = format!("{start} received '2000' but current is '1000'");
    refused(
        &mut peer,
        ttl(&[("x-message-ttl", int(2000))]),
        406,
        &text,
        QUEUE_DECLARE,
    );
    // A number is another value than its digits.
    let text_ = format!("{start} received '1000' but current is '1000'");
    let method = ttl(&[("x-message-ttl", self::text("1000"))]);
    refused(&mut peer, method, 406, &text_, QUEUE_DECLARE);
}

#[test]
fn arguments_that_cannot_be_used_are_refused_in_rabbitmqs_words() {
    let node = Node::new();
    let mut peer = node.channel();
    let not_an_integer = "\"expected integer, got longstr\"";
    for (arg, value, detail) in [
        ("x-message-ttl", int(-1), "{value_negative,-1}"),
        ("x-message-ttl", text("a"), not_an_integer),
        ("x-expires", int(0), "{value_zero,0}"),
        ("x-expires", text("a"), not_an_integer),
        ("x-expires", int(-1), "{value_negative,-1}"),
        ("x-max-length", int(-1), "{value_negative,-1}"),
        ("x-max-length", text("a"), not_an_integer),
        ("x-max-length-bytes", int(-1), "{value_negative,-1}"),
        ("x-max-priority", int(-1), "{value_negative,-1}"),
        ("x-max-priority", int(256), "{max_value_exceeded,256}"),
        ("x-max-priority", text("a"), not_an_integer),
        ("x-overflow", text("bad"), "invalid_overflow"),
        ("x-overflow", int(1), "{unacceptable_type,signedint}"),
        (
            "x-dead-letter-routing-key",
            text("k"),
            "routing_key_but_no_dlx_defined",
        ),
        (
            "x-queue-mode",
            text("bad"),
            "\"unsupported queue mode 'bad'\"",
        ),
        (
            "x-queue-type",
            text("bad"),
            "\"unsupported queue type 'bad'\"",
        ),
        ("x-queue-type", int(1), "{unacceptable_type,signedint}"),
        (
            "x-single-active-consumer",
            text("a"),
            "{unacceptable_type,longstr}",
        ),
        (
            "x-queue-version",
            int(3),
            "\"unsupported queue version '3'\"",
        ),
    ] {
        let said = format!(
            "PRECONDITION_FAILED - invalid arg '{arg}' for queue 'Q' in vhost 'probe': {detail}"
        );
        let method = declare_with(arguments(&[(arg, value)]));
        refused(&mut peer, method, 406, &said, QUEUE_DECLARE);
    }
    let said = "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'Q' in vhost 'probe'";
    let method = declare_with(arguments(&[("x-dead-letter-exchange", int(1))]));
    refused(&mut peer, method, 406, said, QUEUE_DECLARE);
    let said = "PRECONDITION_FAILED - invalid arg 'x-dead-letter-routing-key' for queue 'Q' in vhost 'probe': {unacceptable_type,signedint}";
    let method = declare_with(arguments(&[
        ("x-dead-letter-exchange", text("a")),
        ("x-dead-letter-routing-key", int(1)),
    ]));
    refused(&mut peer, method, 406, said, QUEUE_DECLARE);
    for (arg, value) in [
        ("x-message-ttl", int(0)),
        ("x-message-ttl", AMQPValue::LongLongInt(4_294_967_296)),
        ("x-max-length", int(0)),
        ("x-max-priority", int(255)),
        ("x-max-priority", int(0)),
        ("x-overflow", text("reject-publish-dlx")),
        ("x-queue-mode", text("lazy")),
        ("x-queue-type", text("classic")),
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
    ] {
        accepted(&mut peer, declare_with(arguments(&[(arg, value)])));
        let delete = queue::Delete {
            queue: short("Q"),
            ..queue::Delete::default()
        };
        accepted(
            &mut peer,
            AMQPClass::Queue(queue::AMQPMethod::Delete(delete)),
        );
    }
}

#[test]
fn names_with_the_brokers_prefix_are_reserved() {
    let node = Node::new();
    let mut peer = node.channel();
    let text = "ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*'";
    refused(
        &mut peer,
        declare_queue("amq.foo"),
        403,
        text,
        QUEUE_DECLARE,
    );
    let text = "ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'";
    refused(
        &mut peer,
        declare_exchange("amq.foo", "direct"),
        403,
        text,
        EXCHANGE_DECLARE,
    );
}

#[test]
fn empty_name_lets_the_server_choose_one() {
    let node = Node::new();
    let mut peer = node.channel();
    let AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) = peer.call(1, declare_queue("")) else {
        panic!("queue.declare-ok was expected");
    };
    assert!(ok.queue.as_str().starts_with("amq.gen-"));
    assert_eq!(peer.ready(1, ok.queue.as_str()), 0);
}

#[test]
fn exclusive_queue_is_locked_for_other_connections_and_goes_with_its_own() {
    let node = Node::new();
    let (mut owner, mut other) = (node.channel(), node.channel());
    let declare = queue::Declare {
        queue: short("excl"),
        exclusive: true,
        ..queue::Declare::default()
    };
    accepted(&mut owner, declare_with(declare));
    let text = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'excl' in vhost \
                'probe'. It could be originally declared on another connection or the exclusive \
                property value does not match that of the original declaration.";
    let bind = queue::Bind {
        queue: short("excl"),
        exchange: short("amq.direct"),
        ..queue::Bind::default()
    };
    let delete = queue::Delete {
        queue: short("excl"),
        ..queue::Delete::default()
    };
    let purge = queue::Purge {
        queue: short("excl"),
        nowait: false,
    };
    let consume = basic::Consume {
        queue: short("excl"),
        ..basic::Consume::default()
    };
    for (method, id) in [
        (declare_queue("excl"), (50, 10)),
        (passive_queue("excl"), (50, 10)),
        (AMQPClass::Queue(queue::AMQPMethod::Bind(bind)), (50, 20)),
        (AMQPClass::Queue(queue::AMQPMethod::Purge(purge)), (50, 30)),
        (
            AMQPClass::Queue(queue::AMQPMethod::Delete(delete)),
            (50, 40),
        ),
        (basic(basic::AMQPMethod::Consume(consume)), (60, 20)),
        (get("excl", true), (60, 70)),
    ] {
        refused(&mut other, method, 405, text, id);
    }
    owner.lose();
    refused(
        &mut other,
        passive_queue("excl"),
        404,
        "NOT_FOUND - no queue 'excl' in vhost 'probe'",
        QUEUE_DECLARE,
    );
}

#[test]
fn exchange_is_redeclared_as_it_is_or_refused() {
    let node = Node::new();
    let mut peer = node.channel();
    accepted(&mut peer, declare_exchange("x", "direct"));
    let again = |change: fn(&mut exchange::Declare)| {
        let mut declare = exchange::Declare {
            exchange: short("x"),
            kind: short("direct"),
            ..exchange::Declare::default()
        };
        change(&mut declare);
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare))
    };
    let place = "for exchange 'x' in vhost 'probe': received";
    let start = "PRECONDITION_FAILED - inequivalent arg";
    for (method, text) in [
        (
            again(|d| d.kind = short("fanout")),
            format!("{start} 'type' {place} 'fanout' but current is 'direct'"),
        ),
        (
            again(|d| d.durable = true),
            format!("{start} 'durable' {place} 'true' but current is 'false'"),
        ),
        (
            again(|d| d.auto_delete = true),
            format!("{start} 'auto_delete' {place} 'true' but current is 'false'"),
        ),
        (
            again(|d| d.internal = true),
            format!("{start} 'internal' {place} 'true' but current is 'false'"),
        ),
        (
            again(|d| d.arguments = table(&[("alternate-exchange", text("a"))])),
            format!(
                "{start} 'alternate-exchange' {place} the value 'a' of type 'longstr' but current is none"
            ),
        ),
    ] {
        refused(&mut peer, method, 406, &text, EXCHANGE_DECLARE);
    }
    accepted(
        &mut peer,
        again(|d| d.arguments = table(&[("x-unknown", int(1))])),
    );
    let text = "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'zz' in vhost 'probe'";
    let numbered = again(|d| {
        d.exchange = short("zz");
        d.arguments = table(&[("alternate-exchange", int(1))]);
    });
    refused(&mut peer, numbered, 406, text, EXCHANGE_DECLARE);
    accepted(
        &mut peer,
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: short("amq.direct"),
            kind: short("direct"),
            durable: true,
            ..exchange::Declare::default()
        })),
    );
}

#[test]
fn unknown_exchange_type_closes_the_channel() {
    let node = Node::new();
    let mut peer = node.channel();
    let text = "PRECONDITION_FAILED - invalid exchange type 'bad'";
    refused(
        &mut peer,
        declare_exchange("zz", "bad"),
        406,
        text,
        EXCHANGE_DECLARE,
    );
}

#[test]
fn default_and_system_exchanges_stay_as_they_are() {
    let node = Node::new();
    let mut peer = node.channel();
    let delete = |name: &str| {
        AMQPClass::Exchange(exchange::AMQPMethod::Delete(exchange::Delete {
            exchange: short(name),
            ..exchange::Delete::default()
        }))
    };
    let text = "ACCESS_REFUSED - operation not permitted on the default exchange";
    refused(
        &mut peer,
        declare_exchange("", "direct"),
        403,
        text,
        EXCHANGE_DECLARE,
    );
    refused(&mut peer, delete(""), 403, text, (40, 20));
    let text =
        "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost 'probe' not allowed";
    refused(&mut peer, delete("amq.direct"), 403, text, (40, 20));
    accepted(&mut peer, delete("nope"));
}

fn bind(queue: &str, exchange: &str, arguments: FieldTable) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short("k"),
        nowait: false,
        arguments,
    }))
}

fn unbind(queue: &str, exchange: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Unbind(queue::Unbind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short("k"),
        arguments: FieldTable::default(),
    }))
}

#[test]
fn binding_needs_both_ends_and_unbinding_neither() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    let id = (50, 20);
    let none = FieldTable::default;
    refused(
        &mut peer,
        bind("nope", "amq.direct", none()),
        404,
        "NOT_FOUND - no queue 'nope' in vhost 'probe'",
        id,
    );
    refused(
        &mut peer,
        bind("q", "nope", none()),
        404,
        "NOT_FOUND - no exchange 'nope' in vhost 'probe'",
        id,
    );
    refused(
        &mut peer,
        bind("nope", "nope2", none()),
        404,
        "NOT_FOUND - no exchange 'nope2' in vhost 'probe'",
        id,
    );
    let text = "ACCESS_REFUSED - operation not permitted on the default exchange";
    refused(&mut peer, bind("q", "", none()), 403, text, id);
    refused(&mut peer, unbind("q", ""), 403, text, (50, 50));
    accepted(&mut peer, unbind("q", "amq.direct"));
    accepted(&mut peer, unbind("nope", "amq.direct"));
    accepted(&mut peer, unbind("q", "nope"));
    let e2e = |source: &str, destination: &str| {
        AMQPClass::Exchange(exchange::AMQPMethod::Bind(exchange::Bind {
            source: short(source),
            destination: short(destination),
            ..exchange::Bind::default()
        }))
    };
    let text = "ACCESS_REFUSED - operation not permitted on the default exchange";
    refused(&mut peer, e2e("", "amq.direct"), 403, text, (40, 30));
    refused(&mut peer, e2e("amq.direct", ""), 403, text, (40, 30));
    let text = "NOT_FOUND - no exchange 'nope' in vhost 'probe'";
    refused(&mut peer, e2e("nope", "amq.direct"), 404, text, (40, 30));
    refused(&mut peer, e2e("amq.direct", "nope"), 404, text, (40, 30));
    accepted(&mut peer, e2e("amq.fanout", "amq.direct"));
}

#[test]
fn headers_binding_has_one_of_four_modes() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    let with = |value| bind("q", "amq.headers", table(&[("x-match", value)]));
    let text = "PRECONDITION_FAILED - Invalid x-match field value <<\"bad\">>; expected all, any, all-with-x, or any-with-x";
    refused(&mut peer, with(self::text("bad")), 406, text, (50, 20));
    let text =
        "PRECONDITION_FAILED - Invalid x-match field type signedint (value 1); expected longstr";
    refused(&mut peer, with(int(1)), 406, text, (50, 20));
    accepted(&mut peer, with(self::text("any-with-x")));
    accepted(&mut peer, bind("q", "amq.headers", FieldTable::default()));
}

#[test]
fn deleting_conditionally_or_what_is_missing() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.publish("q", b"m");
    let delete = |queue: &str, if_unused: bool, if_empty: bool| {
        let queue = short(queue);
        AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete {
            queue,
            if_unused,
            if_empty,
            nowait: false,
        }))
    };
    let text = "PRECONDITION_FAILED - queue 'q' in vhost 'probe' not empty";
    refused(&mut peer, delete("q", false, true), 406, text, (50, 40));
    peer.declare("qd");
    peer.consume("qd", "c", false);
    peer.open_channel(2);
    peer.send(2, delete("qd", true, false));
    let text = "PRECONDITION_FAILED - queue 'qd' in vhost 'probe' in use";
    assert_eq!(peer.expect_channel_close(2), (406, text.to_owned(), 50, 40));
    let ok = |message_count| {
        AMQPClass::Queue(queue::AMQPMethod::DeleteOk(queue::DeleteOk {
            message_count,
        }))
    };
    assert_eq!(peer.call(1, delete("q", false, false)), ok(1));
    assert_eq!(peer.call(1, delete("nope", false, false)), ok(0));
    let purge = queue::AMQPMethod::Purge(queue::Purge {
        queue: short("nope"),
        nowait: false,
    });
    let text = "NOT_FOUND - no queue 'nope' in vhost 'probe'";
    refused(&mut peer, AMQPClass::Queue(purge), 404, text, (50, 30));

    accepted(&mut peer, declare_exchange("x", "direct"));
    peer.declare("bound");
    accepted(&mut peer, bind("bound", "x", FieldTable::default()));
    let delete = exchange::Delete {
        exchange: short("x"),
        if_unused: true,
        nowait: false,
    };
    let text = "PRECONDITION_FAILED - exchange 'x' in vhost 'probe' in use";
    refused(
        &mut peer,
        AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete)),
        406,
        text,
        (40, 20),
    );
}

#[test]
fn nowait_has_no_answer_and_takes_effect_and_errors_still_close() {
    let node = Node::new();
    let mut peer = node.channel();
    let exchange = exchange::Declare {
        exchange: short("x"),
        kind: short("fanout"),
        nowait: true,
        ..exchange::Declare::default()
    };
    peer.send(
        1,
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange)),
    );
    peer.send(
        1,
        declare_with(queue::Declare {
            queue: short("q"),
            nowait: true,
            ..queue::Declare::default()
        }),
    );
    let bind = queue::Bind {
        exchange: short("x"),
        queue: short("q"),
        nowait: true,
        ..queue::Bind::default()
    };
    peer.send(1, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    peer.expect_silence();
    peer.send_bytes(&publish_bytes(1, "x", "", b"m"));
    assert_eq!(peer.ready(1, "q"), 1);
    let purge = queue::Purge {
        queue: short("q"),
        nowait: true,
    };
    peer.send(1, AMQPClass::Queue(queue::AMQPMethod::Purge(purge)));
    peer.expect_silence();
    assert_eq!(peer.ready(1, "q"), 0);
    let delete = queue::Delete {
        queue: short("q"),
        nowait: true,
        ..queue::Delete::default()
    };
    peer.send(1, AMQPClass::Queue(queue::AMQPMethod::Delete(delete)));
    let delete = exchange::Delete {
        exchange: short("x"),
        nowait: true,
        ..exchange::Delete::default()
    };
    peer.send(1, AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete)));
    peer.expect_silence();
    let wrong = queue::Declare {
        queue: short("amq.q"),
        nowait: true,
        ..queue::Declare::default()
    };
    peer.send(1, declare_with(wrong));
    assert_eq!(peer.expect_channel_close(1).0, 403);
}

#[test]
fn message_on_its_way_to_a_consumer_is_not_counted_as_ready() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.open_channel(2);
    peer.declare("q");
    peer.consume("q", "t", true);
    let mut bytes = publish_bytes(2, "", "q", b"m");
    bytes.extend(method_bytes(2, passive_queue("q")));
    bytes.extend(method_bytes(
        2,
        AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete {
            queue: short("q"),
            if_empty: true,
            ..queue::Delete::default()
        })),
    ));
    peer.send_bytes(&bytes);
    let AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) = peer.expect(2) else {
        panic!("queue.declare-ok was expected");
    };
    assert_eq!((ok.message_count, ok.consumer_count), (0, 1));
    let deleted = queue::AMQPMethod::DeleteOk(queue::DeleteOk { message_count: 0 });
    assert_eq!(peer.expect(2), AMQPClass::Queue(deleted));
}

#[test]
fn names_have_no_line_ends() {
    let node = Node::new();
    let mut peer = node.channel();
    accepted(&mut peer, declare_exchange("e\r\nx", "direct"));
    accepted(&mut peer, declare_queue("\nq\r"));
    let bind = queue::Bind {
        queue: short("q\n\n"),
        exchange: short("ex\r"),
        ..queue::Bind::default()
    };
    accepted(&mut peer, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    accepted(&mut peer, declare_exchange("ex", "direct"));
    accepted(&mut peer, passive_queue("q"));
    peer.send_bytes(&publish_bytes(1, "ex", "", b"m"));
    assert_eq!(peer.ready(1, "q"), 1);
    let delete = queue::Delete {
        queue: short("q\n"),
        ..queue::Delete::default()
    };
    accepted(
        &mut peer,
        AMQPClass::Queue(queue::AMQPMethod::Delete(delete)),
    );
    let text = "NOT_FOUND - no queue 'q' in vhost 'probe'";
    refused(&mut peer, passive_queue("q"), 404, text, QUEUE_DECLARE);
}

#[test]
fn exclusive_queue_is_the_same_queue_declared_durable_or_not() {
    let node = Node::new();
    let mut peer = node.channel();
    for durable in [true, false, true] {
        let declare = queue::Declare {
            queue: short("q"),
            exclusive: true,
            durable,
            ..queue::Declare::default()
        };
        accepted(&mut peer, declare_with(declare));
    }
}
