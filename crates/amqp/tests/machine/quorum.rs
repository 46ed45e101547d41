//! Quorum queues: what they do not take.

use amq_protocol::protocol::{AMQPClass, basic, queue};
use amq_protocol::types::AMQPValue;

use ternmq_core::access::VhostSpec;

use crate::harness::*;

fn declare(change: impl FnOnce(&mut queue::Declare), further: &[(&str, AMQPValue)]) -> AMQPClass {
    let mut arguments = vec![("x-queue-type", text("quorum"))];
    arguments.extend_from_slice(further);
    let mut declare = queue::Declare {
        queue: short("Q"),
        arguments: table(&arguments),
        ..queue::Declare::default()
    };
    change(&mut declare);
    declare_with(declare)
}

fn durable(further: &[(&str, AMQPValue)]) -> AMQPClass {
    declare(|d| d.durable = true, further)
}

#[track_caller]
fn accepted(peer: &mut Peer, method: AMQPClass) {
    let answer = peer.call(1, method);
    assert!(
        matches!(answer, AMQPClass::Queue(_) | AMQPClass::Basic(_)),
        "{answer:?}"
    );
}

#[track_caller]
fn refused(peer: &mut Peer, method: AMQPClass, text: &str) {
    peer.send(1, method);
    let text = format!("PRECONDITION_FAILED - {text}");
    assert_eq!(peer.expect_channel_close(1), (406, text, 50, 10));
    peer.reopen_channel(1);
}

#[track_caller]
fn not_implemented(peer: &mut Peer, method: AMQPClass, text: &str, (class, id): (u16, u16)) {
    peer.send(1, method);
    let text = format!("NOT_IMPLEMENTED - {text}");
    assert_eq!(peer.expect_close(), (540, text, class, id));
}

fn delete(if_unused: bool, if_empty: bool) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete {
        queue: short("Q"),
        if_unused,
        if_empty,
        nowait: false,
    }))
}

#[test]
fn properties_are_looked_at_in_rabbitmqs_order() {
    let node = Node::new();
    let mut peer = node.channel();
    for (change, property) in [
        ((|_| {}) as fn(&mut queue::Declare), "non-durable"),
        (|d| d.exclusive = true, "exclusive-owner"),
        (|d| d.auto_delete = true, "auto-delete"),
    ] {
        let text = format!("invalid property '{property}' for queue 'Q' in vhost 'probe'");
        refused(&mut peer, declare(change, &[]), &text);
    }
}

#[test]
fn arguments_are_those_that_quorum_queues_know() {
    let node = Node::new();
    let mut peer = node.channel();
    for (arg, value) in [
        ("x-max-priority", AMQPValue::LongInt(3)),
        ("x-queue-mode", text("lazy")),
    ] {
        let text = format!(
            "invalid arg '{arg}' for queue 'Q' in vhost 'probe' of queue type rabbit_quorum_queue"
        );
        refused(&mut peer, durable(&[(arg, value)]), &text);
    }
    for (arg, value) in [
        ("x-overflow", text("reject-publish-dlx")),
        ("x-delivery-limit", AMQPValue::LongInt(-1)),
        ("x-message-ttl", AMQPValue::LongInt(5)),
        ("x-quorum-initial-group-size", AMQPValue::LongInt(1)),
        ("x-expires", AMQPValue::LongInt(60_000)),
    ] {
        accepted(&mut peer, durable(&[(arg, value)]));
        accepted(&mut peer, delete(false, false));
    }
}

#[test]
fn redeclaring_it_as_classic_names_the_type() {
    let node = Node::new();
    let mut peer = node.channel();
    accepted(&mut peer, durable(&[]));
    let place = "inequivalent arg 'x-queue-type' for queue 'Q' in vhost 'probe': received";
    let classic = durable(&[("x-queue-type", text("classic"))]);
    let text = format!("{place} 'classic' but current is 'quorum'");
    refused(&mut peer, classic, &text);
    // Without a type it is declared as what the vhost's queues are by default.
    let untyped = queue::Declare {
        queue: short("Q"),
        durable: true,
        ..queue::Declare::default()
    };
    refused(&mut peer, declare_with(untyped.clone()), &text);
    let spec = VhostSpec {
        default_queue_type: Some("quorum".into()),
        ..VhostSpec::default()
    };
    node.broker.admin().put_vhost("probe", spec).unwrap();
    accepted(&mut peer, declare_with(untyped));
}

#[test]
fn message_cannot_be_fetched_from_a_queue_with_a_single_active_consumer() {
    let node = Node::new();
    let mut peer = node.channel();
    accepted(
        &mut peer,
        durable(&[("x-single-active-consumer", AMQPValue::Boolean(true))]),
    );
    let text = "RESOURCE_LOCKED - cannot obtain access to locked queue 'Q' in vhost 'probe'. basic.get operations are \
                not supported by quorum queues with single active consumer";
    peer.send(1, get("Q", false));
    let closed = peer.expect_channel_close(1);
    assert_eq!(closed, (405, text.to_owned(), 60, 70));
}

#[test]
fn channel_with_a_shared_limit_has_no_consumer_of_it() {
    let consume = || {
        basic(basic::AMQPMethod::Consume(basic::Consume {
            queue: short("Q"),
            ..basic::Consume::default()
        }))
    };
    let qos = |prefetch_count| {
        basic(basic::AMQPMethod::Qos(basic::Qos {
            prefetch_count,
            global: true,
        }))
    };
    let node = Node::new();
    let mut peer = node.channel();
    accepted(&mut peer, durable(&[]));
    accepted(&mut peer, qos(10));
    let text = "queue 'Q' in vhost 'probe' does not support global qos";
    not_implemented(&mut peer, consume(), text, (60, 20));

    // A limit of zero is none.
    let mut peer = node.channel();
    accepted(&mut peer, qos(10));
    accepted(&mut peer, qos(0));
    accepted(&mut peer, consume());
}

#[test]
fn it_is_not_deleted_conditionally() {
    let node = Node::new();
    accepted(&mut node.channel(), durable(&[]));
    for (if_unused, if_empty, flag) in [
        (true, false, "if-unused"),
        (false, true, "if-empty"),
        (true, true, "if-unused"),
    ] {
        let text = format!(
            "cannot delete queue 'Q' in vhost 'probe'. queue.delete operations with {flag} flag set are not \
             supported by quorum queues"
        );
        not_implemented(
            &mut node.channel(),
            delete(if_unused, if_empty),
            &text,
            (50, 40),
        );
    }
}
