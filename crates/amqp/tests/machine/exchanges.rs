//! Exchanges that choose one destination: what is refused, in RabbitMQ's words.

use amq_protocol::protocol::{AMQPClass, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};

use crate::harness::*;

const EXCHANGE_DECLARE: (u16, u16) = (40, 10);
const EXCHANGE_BIND: (u16, u16) = (40, 30);
const QUEUE_BIND: (u16, u16) = (50, 20);

#[track_caller]
fn refused(peer: &mut Peer, method: AMQPClass, text: &str, (class, id): (u16, u16)) {
    peer.send(1, method);
    let text = format!("PRECONDITION_FAILED - {text}");
    assert_eq!(peer.expect_channel_close(1), (406, text, class, id));
    peer.reopen_channel(1);
}

#[track_caller]
fn accepted(peer: &mut Peer, method: AMQPClass) {
    let answer = peer.call(1, method);
    assert!(!matches!(answer, AMQPClass::Channel(_)), "{answer:?}");
}

fn declare(kind: &str, arguments: FieldTable) -> AMQPClass {
    AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
        exchange: short("x"),
        kind: short(kind),
        arguments,
        ..exchange::Declare::default()
    }))
}

fn bind(queue: &str, key: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue: short(queue),
        exchange: short("x"),
        routing_key: short(key),
        ..queue::Bind::default()
    }))
}

fn bind_exchange(key: &str) -> AMQPClass {
    AMQPClass::Exchange(exchange::AMQPMethod::Bind(exchange::Bind {
        source: short("x"),
        destination: short("amq.fanout"),
        routing_key: short(key),
        ..exchange::Bind::default()
    }))
}

#[test]
fn consistent_hash_exchange_hashes_one_thing_that_there_is() {
    let node = Node::new();
    let mut peer = node.channel();
    let kind = "x-consistent-hash";
    let both = table(&[
        ("hash-header", text("id")),
        ("hash-property", text("message_id")),
    ]);
    let words = "hash-header and hash-property are mutually exclusive";
    refused(&mut peer, declare(kind, both), words, EXCHANGE_DECLARE);
    let property = |name| table(&[("hash-property", text(name))]);
    for name in ["app_id", "message-id", ""] {
        let words = format!("Unsupported property: {name}");
        refused(
            &mut peer,
            declare(kind, property(name)),
            &words,
            EXCHANGE_DECLARE,
        );
    }
    let number = table(&[("hash-header", AMQPValue::LongInt(1))]);
    let words = "invalid type 'signedint' for arg 'hash-header' in exchange 'x' in vhost 'probe'";
    refused(&mut peer, declare(kind, number), words, EXCHANGE_DECLARE);
    for name in ["message_id", "correlation_id", "timestamp"] {
        accepted(&mut peer, declare(kind, property(name)));
    }
    accepted(&mut peer, declare(kind, FieldTable::default()));
    let words = "inequivalent arg 'type' for exchange 'x' in vhost 'probe': received 'x-random' but \
                 current is 'x-consistent-hash'";
    let other = declare("x-random", FieldTable::default());
    refused(&mut peer, other, words, EXCHANGE_DECLARE);
}

#[test]
fn key_of_a_binding_to_a_consistent_hash_exchange_is_its_weight() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    accepted(
        &mut peer,
        declare("x-consistent-hash", FieldTable::default()),
    );
    for (key, words) in [
        ("abc", "The binding key must be an integer: <<\"abc\">>"),
        ("", "The binding key must be an integer: <<>>"),
        ("1.5", "The binding key must be an integer: <<\"1.5\">>"),
        (
            "\"\\",
            "The binding key must be an integer: <<\"\\\"\\\\\">>",
        ),
        ("é", "The binding key must be an integer: <<\"é\"/utf8>>"),
        ("\u{1}2", "The binding key must be an integer: <<1,50>>"),
        ("0", "The binding key must be greater than 0"),
        ("-3", "The binding key must be greater than 0"),
        ("10001", "The binding key must not exceed 10000"),
    ] {
        refused(&mut peer, bind("q", key), words, QUEUE_BIND);
        refused(&mut peer, bind_exchange(key), words, EXCHANGE_BIND);
    }
    for key in ["1", "10000"] {
        accepted(&mut peer, bind("q", key));
        accepted(&mut peer, bind_exchange(key));
    }
}

#[test]
fn local_random_exchange_takes_empty_keys_and_classic_queues() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.call(
        1,
        declare_with(queue::Declare {
            queue: short("quorum"),
            durable: true,
            arguments: table(&[("x-queue-type", text("quorum"))]),
            ..queue::Declare::default()
        }),
    );
    accepted(&mut peer, declare("x-local-random", FieldTable::default()));
    let words = "Non empty binding 'k' key not permitted";
    refused(&mut peer, bind("q", "k"), words, QUEUE_BIND);
    let words = "Queue type rabbit_quorum_queue not valid for this exchange type";
    refused(&mut peer, bind("quorum", ""), words, QUEUE_BIND);
    accepted(&mut peer, bind("q", ""));
    accepted(&mut peer, bind_exchange(""));
}

#[test]
fn modulus_and_random_exchanges_take_any_key() {
    for kind in ["x-modulus-hash", "x-random"] {
        let node = Node::new();
        let mut peer = node.channel();
        peer.declare("q");
        accepted(&mut peer, declare(kind, FieldTable::default()));
        for key in ["", "k", "1"] {
            accepted(&mut peer, bind("q", key));
            accepted(&mut peer, bind_exchange(key));
        }
    }
}

#[test]
fn length_of_a_recent_history_is_a_positive_integer() {
    let node = Node::new();
    let mut peer = node.channel();
    let length = |value| table(&[("x-recent-history-length", value)]);
    for (value, shown) in [
        (AMQPValue::LongInt(0), "0"),
        (AMQPValue::LongInt(-3), "-3"),
        (text("5"), "<<\"5\">>"),
    ] {
        let words = format!(
            "Invalid argument {shown}, 'x-recent-history-length' must be a positive integer"
        );
        let method = declare("x-recent-history", length(value));
        refused(&mut peer, method, &words, EXCHANGE_DECLARE);
    }
    accepted(
        &mut peer,
        declare("x-recent-history", length(AMQPValue::LongInt(5))),
    );
}

#[test]
fn delayed_exchange_has_a_type_that_there_is() {
    let node = Node::new();
    let mut peer = node.channel();
    let of = |value| table(&[("x-delayed-type", value)]);
    let words = "Invalid argument, 'x-delayed-type' must be an existing exchange type";
    for arguments in [FieldTable::default(), of(AMQPValue::LongInt(1))] {
        let method = declare("x-delayed-message", arguments);
        refused(&mut peer, method, words, EXCHANGE_DECLARE);
    }
    let method = declare("x-delayed-message", of(text("x-nope")));
    let words = "invalid exchange type 'x-nope'";
    refused(&mut peer, method, words, EXCHANGE_DECLARE);
    accepted(&mut peer, declare("x-delayed-message", of(text("topic"))));
}
