//! What users may do, and what they read when they may not: in RabbitMQ's words.

use amq_protocol::protocol::{AMQPClass, basic, exchange, queue};
use amq_protocol::types::FieldTable;
use ternmq_broker::admin::{Password, UserSpec};
use ternmq_core::access::{Permission, TopicPermission, UserLimit, VhostLimit, VhostSpec};

use crate::harness::*;

const QUEUE_DECLARE: (u16, u16) = (50, 10);
const QUEUE_BIND: (u16, u16) = (50, 20);
const QUEUE_PURGE: (u16, u16) = (50, 30);
const QUEUE_DELETE: (u16, u16) = (50, 40);
const QUEUE_UNBIND: (u16, u16) = (50, 50);
const EXCHANGE_DECLARE: (u16, u16) = (40, 10);
const EXCHANGE_DELETE: (u16, u16) = (40, 20);
const EXCHANGE_BIND: (u16, u16) = (40, 30);
const BASIC_CONSUME: (u16, u16) = (60, 20);
const BASIC_PUBLISH: (u16, u16) = (60, 40);
const BASIC_GET: (u16, u16) = (60, 70);

/// Lets `lim` do that in [`VHOST`].
fn permit(node: &Node, configure: &str, write: &str, read: &str) {
    let permission = Permission {
        configure: configure.into(),
        write: write.into(),
        read: read.into(),
    };
    let admin = node.broker.admin();
    admin.put_permission(VHOST, "lim", permission).unwrap();
}

/// As far as tuning.
fn tuned(node: &Node, name: &str, password: &str) -> Peer {
    let mut peer = node.dial();
    peer.send_bytes(HEADER);
    peer.expect(0);
    let response = format!("\0{name}\0{password}");
    peer.call(
        0,
        start_ok(&client_properties(), "PLAIN", response.as_bytes()),
    );
    peer.send(0, tune_ok(2047, 131_072, 60));
    peer
}

/// Channel 1 of `lim` in [`VHOST`].
fn channel_of_lim(node: &Node) -> Peer {
    let mut peer = tuned(node, "lim", "lim");
    peer.call(0, open(VHOST));
    peer.open_channel(1);
    peer
}

#[track_caller]
fn refused(peer: &mut Peer, method: AMQPClass, text: &str, (class, id): (u16, u16)) {
    peer.send(1, method);
    closed(peer, text, (class, id));
}

#[track_caller]
fn closed(peer: &mut Peer, text: &str, (class, id): (u16, u16)) {
    let text = format!("ACCESS_REFUSED - {text} refused for user 'lim'");
    assert_eq!(peer.expect_channel_close(1), (403, text, class, id));
    peer.reopen_channel(1);
}

#[track_caller]
fn accepted(peer: &mut Peer, method: AMQPClass) {
    let answer = peer.call(1, method);
    assert!(!matches!(answer, AMQPClass::Channel(_)), "{answer:?}");
}

fn declare_dead(queue: &str, exchange: &str) -> AMQPClass {
    declare_with(queue::Declare {
        queue: short(queue),
        arguments: table(&[("x-dead-letter-exchange", text(exchange))]),
        ..queue::Declare::default()
    })
}

fn delete(queue: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete {
        queue: short(queue),
        ..queue::Delete::default()
    }))
}

fn purge(queue: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Purge(queue::Purge {
        queue: short(queue),
        nowait: false,
    }))
}

fn consume(queue: &str) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Consume(basic::Consume {
        queue: short(queue),
        no_ack: true,
        ..basic::Consume::default()
    }))
}

fn bind(queue: &str, exchange: &str, key: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short(key),
        ..queue::Bind::default()
    }))
}

fn unbind(queue: &str, exchange: &str, key: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Unbind(queue::Unbind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short(key),
        arguments: FieldTable::default(),
    }))
}

fn passive_exchange(name: &str) -> AMQPClass {
    AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
        exchange: short(name),
        kind: short("direct"),
        passive: true,
        ..exchange::Declare::default()
    }))
}

#[test]
fn queues_are_declared_and_deleted_by_who_may_configure_them() {
    let node = Node::new();
    permit(&node, "^(mine|amq\\.gen-)", "^mine|^dead$", "^mine");
    let mut peer = channel_of_lim(&node);
    let other = "configure access to queue 'other' in vhost 'probe'";
    refused(&mut peer, declare_queue("other"), other, QUEUE_DECLARE);
    refused(&mut peer, delete("other"), other, QUEUE_DELETE);
    accepted(&mut peer, declare_queue("mine"));
    accepted(&mut peer, declare_queue(""));
    accepted(&mut peer, declare_dead("mine-too", "dead"));
    let gone = "write access to exchange 'gone' in vhost 'probe'";
    refused(
        &mut peer,
        declare_dead("mine-3", "gone"),
        gone,
        QUEUE_DECLARE,
    );
    accepted(&mut peer, delete("mine"));

    permit(&node, "^mine", ".*", "^nothing$");
    let read = "read access to queue 'mine-4' in vhost 'probe'";
    refused(
        &mut peer,
        declare_dead("mine-4", "dead"),
        read,
        QUEUE_DECLARE,
    );
    let generated = peer.call(1, declare_queue(""));
    let AMQPClass::Channel(_) = generated else {
        panic!("a name of the broker's is to be allowed as any other: {generated:?}");
    };
}

#[test]
fn passive_declaration_needs_any_right() {
    let node = Node::new();
    let mut owner = node.channel();
    owner.declare("q");
    permit(&node, "", "", "^(q|amq\\.direct)$");
    let mut peer = channel_of_lim(&node);
    accepted(&mut peer, passive_queue("q"));
    accepted(&mut peer, passive_exchange("amq.direct"));
    permit(&node, "", "^(q|amq\\.direct)$", "");
    accepted(&mut peer, passive_queue("q"));
    accepted(&mut peer, passive_exchange("amq.direct"));
    permit(&node, "^nothing$", "", "");
    let queue = "configure access to queue 'q' in vhost 'probe'";
    refused(&mut peer, passive_queue("q"), queue, QUEUE_DECLARE);
    let exchange = "configure access to exchange 'amq.direct' in vhost 'probe'";
    refused(
        &mut peer,
        passive_exchange("amq.direct"),
        exchange,
        EXCHANGE_DECLARE,
    );
}

#[test]
fn exchanges_are_declared_and_deleted_by_who_may_configure_them() {
    let node = Node::new();
    permit(&node, "^x", "^alt$", "^x-read");
    let mut peer = channel_of_lim(&node);
    accepted(&mut peer, declare_exchange("x", "direct"));
    let other = "configure access to exchange 'other' in vhost 'probe'";
    refused(
        &mut peer,
        declare_exchange("other", "direct"),
        other,
        EXCHANGE_DECLARE,
    );
    let delete = |name| {
        AMQPClass::Exchange(exchange::AMQPMethod::Delete(exchange::Delete {
            exchange: short(name),
            ..exchange::Delete::default()
        }))
    };
    refused(&mut peer, delete("other"), other, EXCHANGE_DELETE);
    let with_alternate = |name, alternate| {
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: short(name),
            kind: short("direct"),
            arguments: table(&[("alternate-exchange", text(alternate))]),
            ..exchange::Declare::default()
        }))
    };
    accepted(&mut peer, with_alternate("x-read", "alt"));
    let read = "read access to exchange 'x-2' in vhost 'probe'";
    refused(
        &mut peer,
        with_alternate("x-2", "alt"),
        read,
        EXCHANGE_DECLARE,
    );
    let write = "write access to exchange 'gone' in vhost 'probe'";
    refused(
        &mut peer,
        with_alternate("x-read-2", "gone"),
        write,
        EXCHANGE_DECLARE,
    );
    accepted(&mut peer, delete("x"));
}

#[test]
fn messages_are_taken_by_who_may_read_the_queue() {
    let node = Node::new();
    let mut owner = node.channel();
    owner.declare("q");
    permit(&node, ".*", ".*", "^other$");
    let mut peer = channel_of_lim(&node);
    let read = "read access to queue 'q' in vhost 'probe'";
    refused(&mut peer, get("q", true), read, BASIC_GET);
    refused(&mut peer, consume("q"), read, BASIC_CONSUME);
    refused(&mut peer, purge("q"), read, QUEUE_PURGE);
    // Nobody learns whether there is such a queue.
    let missing = "read access to queue 'missing' in vhost 'probe'";
    refused(&mut peer, get("missing", true), missing, BASIC_GET);
    permit(&node, "", "", "^q$");
    accepted(&mut peer, get("q", true));
    accepted(&mut peer, purge("q"));
    accepted(&mut peer, consume("q"));
}

#[test]
fn binding_writes_its_destination_and_reads_its_source() {
    let node = Node::new();
    let mut owner = node.channel();
    owner.declare("q");
    permit(&node, "", "^q$", "^amq\\.topic$");
    let mut peer = channel_of_lim(&node);
    accepted(&mut peer, bind("q", "amq.topic", "a.*"));
    accepted(&mut peer, unbind("q", "amq.topic", "a.*"));
    let source = "read access to exchange 'amq.direct' in vhost 'probe'";
    refused(&mut peer, bind("q", "amq.direct", "a"), source, QUEUE_BIND);
    refused(
        &mut peer,
        unbind("q", "amq.direct", "a"),
        source,
        QUEUE_UNBIND,
    );
    let destination = "write access to queue 'other' in vhost 'probe'";
    refused(
        &mut peer,
        bind("other", "amq.topic", "a"),
        destination,
        QUEUE_BIND,
    );
    let to_exchange = AMQPClass::Exchange(exchange::AMQPMethod::Bind(exchange::Bind {
        source: short("amq.topic"),
        destination: short("amq.fanout"),
        ..exchange::Bind::default()
    }));
    let destination = "write access to exchange 'amq.fanout' in vhost 'probe'";
    refused(&mut peer, to_exchange, destination, EXCHANGE_BIND);
}

#[test]
fn publishing_needs_the_exchange_and_the_default_one_has_a_name() {
    let node = Node::new();
    let mut owner = node.channel();
    owner.declare("q");
    permit(&node, "", "^amq\\.direct$", "");
    let mut peer = channel_of_lim(&node);
    peer.send_bytes(&publish_bytes(1, "amq.direct", "q", b"x"));
    peer.expect_silence();
    peer.publish("q", b"x");
    let default = "write access to exchange 'amq.default' in vhost 'probe'";
    closed(&mut peer, default, BASIC_PUBLISH);
    // Nobody learns whether there is such an exchange.
    peer.send_bytes(&publish_bytes(1, "missing", "q", b"x"));
    let missing = "write access to exchange 'missing' in vhost 'probe'";
    closed(&mut peer, missing, BASIC_PUBLISH);
    permit(&node, "", "^amq\\.default$", "");
    peer.publish("q", b"x");
    assert_eq!(owner.ready(1, "q"), 1);
}

#[test]
fn permission_that_is_withdrawn_is_missed_by_the_next_publish() {
    let node = Node::new();
    let mut owner = node.channel();
    owner.declare("q");
    permit(&node, "", ".*", "");
    let mut peer = channel_of_lim(&node);
    for _ in 0..3 {
        peer.publish("q", b"x");
    }
    assert_eq!(owner.ready(1, "q"), 3);
    permit(&node, "", "^other$", "");
    peer.publish("q", b"x");
    let default = "write access to exchange 'amq.default' in vhost 'probe'";
    closed(&mut peer, default, BASIC_PUBLISH);
    assert_eq!(owner.ready(1, "q"), 3);
}

#[test]
fn topic_permissions_are_about_keys_of_topic_exchanges() {
    let node = Node::new();
    let mut owner = node.channel();
    owner.declare("q");
    permit(&node, "", ".*", ".*");
    let mut peer = channel_of_lim(&node);
    for key in ["a.b", "lim.a"] {
        peer.send_bytes(&publish_bytes(1, "amq.topic", key, b"x"));
    }
    peer.expect_silence();
    let keys = TopicPermission {
        write: "^{username}\\.".into(),
        read: "^(a|{vhost})".into(),
    };
    let admin = node.broker.admin();
    admin
        .put_topic_permission((VHOST, "lim", "amq.topic"), keys)
        .unwrap();
    peer.send_bytes(&publish_bytes(1, "amq.topic", "lim.a", b"x"));
    peer.expect_silence();
    peer.send_bytes(&publish_bytes(1, "amq.topic", "a.b", b"x"));
    let write = "write access to topic 'a.b' in exchange 'amq.topic' in vhost 'probe'";
    closed(&mut peer, write, BASIC_PUBLISH);
    // Further keys are keys.
    let cc = table(&[(
        "CC",
        amq_protocol::types::AMQPValue::FieldArray(vec![text("b.c")].into()),
    )]);
    let properties = basic::AMQPProperties::default().with_headers(cc);
    let mut bytes = method_bytes(1, publish_method("amq.topic", "lim.a", false));
    bytes.extend(content_bytes(1, properties, b"x"));
    peer.send_bytes(&bytes);
    let write = "write access to topic 'b.c' in exchange 'amq.topic' in vhost 'probe'";
    closed(&mut peer, write, BASIC_PUBLISH);

    accepted(&mut peer, bind("q", "amq.topic", "a.#"));
    accepted(&mut peer, bind("q", "amq.topic", "probe.#"));
    let read = "read access to topic 'b.#' in exchange 'amq.topic' in vhost 'probe'";
    refused(&mut peer, bind("q", "amq.topic", "b.#"), read, QUEUE_BIND);
    // Others have no keys that matter.
    accepted(&mut peer, bind("q", "amq.direct", "b.#"));
    peer.send_bytes(&publish_bytes(1, "amq.direct", "a.b", b"x"));
    peer.expect_silence();

    admin.delete_topic_permission(VHOST, "lim", None).unwrap();
    accepted(&mut peer, bind("q", "amq.topic", "b.#"));
}

#[test]
fn replies_come_whatever_the_user_may_do() {
    let node = Node::new();
    permit(&node, "", "^amq\\.default$", "");
    let mut peer = channel_of_lim(&node);
    accepted(&mut peer, consume("amq.rabbitmq.reply-to"));
    let mut server = node.channel();
    server.declare("requests");
    let properties = basic::AMQPProperties::default().with_reply_to(short("amq.rabbitmq.reply-to"));
    let mut bytes = method_bytes(1, publish_method("", "requests", false));
    bytes.extend(content_bytes(1, properties, b"ask"));
    peer.send_bytes(&bytes);
    server.send(1, get("requests", true));
    let asked = server.expect_content(1);
    let reply_to = asked.properties.reply_to().clone().unwrap();
    server.publish(reply_to.as_str(), b"answer");
    let (_, answer) = peer.expect_delivery(1);
    assert_eq!(answer.body, b"answer");
}

#[test]
fn impersonator_may_claim_to_be_another() {
    let node = Node::new();
    let claim = |peer: &mut Peer| {
        let properties = basic::AMQPProperties::default().with_user_id(short("somebody"));
        let mut bytes = method_bytes(1, publish_method("", "q", false));
        bytes.extend(content_bytes(1, properties, b"x"));
        peer.send_bytes(&bytes);
    };
    let mut owner = node.channel();
    owner.declare("q");
    permit(&node, "", ".*", "");
    let mut peer = channel_of_lim(&node);
    claim(&mut peer);
    let text =
        "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'lim'";
    let (class, method) = BASIC_PUBLISH;
    assert_eq!(
        peer.expect_channel_close(1),
        (406, text.to_owned(), class, method)
    );
    let spec = UserSpec {
        password: Password::Keep,
        tags: vec!["impersonator".into()],
    };
    node.broker.admin().put_user("lim", spec).unwrap();
    let mut peer = channel_of_lim(&node);
    claim(&mut peer);
    assert_eq!(owner.ready(1, "q"), 1);
}

#[track_caller]
fn open_refused(mut peer: Peer, vhost: &str, text: &str) {
    peer.send(0, open(vhost));
    let text = format!("NOT_ALLOWED - {text}");
    assert_eq!(peer.expect_close(), (530, text, 10, 40));
}

#[test]
fn vhost_opens_for_who_has_a_permission_in_it() {
    let node = Node::new();
    let text = "access to vhost 'probe' refused for user 'lim'";
    open_refused(tuned(&node, "lim", "lim"), VHOST, text);
    // Even one that allows nothing.
    permit(&node, "", "", "");
    let mut peer = channel_of_lim(&node);
    refused(
        &mut peer,
        declare_queue("q"),
        "configure access to queue 'q' in vhost 'probe'",
        QUEUE_DECLARE,
    );
    open_refused(
        tuned(&node, "lim", "lim"),
        "nowhere",
        "vhost nowhere not found",
    );
}

#[test]
fn vhost_and_user_have_as_many_connections_as_they_may() {
    let node = Node::new();
    permit(&node, ".*", ".*", ".*");
    let admin = node.broker.admin();
    admin
        .put_vhost_limit(VHOST, VhostLimit::Connections, 2)
        .unwrap();
    let first = node.connect();
    let second = channel_of_lim(&node);
    let text = "access to vhost 'probe' refused for user 'lim': connection limit (2) is reached";
    open_refused(tuned(&node, "lim", "lim"), VHOST, text);
    first.lose();
    let third = channel_of_lim(&node);
    admin
        .delete_vhost_limit(VHOST, VhostLimit::Connections)
        .unwrap();
    admin
        .put_user_limit("lim", UserLimit::Connections, 2)
        .unwrap();
    let text = "connection refused for user 'lim': user connection limit (2) is reached";
    open_refused(tuned(&node, "lim", "lim"), VHOST, text);
    // Others are not concerned.
    drop(node.connect());
    drop((second, third));
    drop(channel_of_lim(&node));
    admin
        .put_user_limit("lim", UserLimit::Connections, 0)
        .unwrap();
    let text = "connection refused for user 'lim': user connection limit (0) is reached";
    open_refused(tuned(&node, "lim", "lim"), VHOST, text);
}

#[test]
fn user_has_as_many_channels_as_allowed_on_all_connections() {
    let node = Node::new();
    permit(&node, ".*", ".*", ".*");
    let admin = node.broker.admin();
    admin.put_user_limit("lim", UserLimit::Channels, 2).unwrap();
    let mut first = channel_of_lim(&node);
    let mut second = channel_of_lim(&node);
    second.send(7, channel_open());
    let text = "NOT_ALLOWED - number of channels opened for user 'lim' has reached the maximum \
                allowed user limit of (2)";
    assert_eq!(second.expect_close(), (530, text.to_owned(), 20, 10));
    drop(second);
    // A channel that an error closed is one less, too.
    first.send(1, get("missing", true));
    first.expect_channel_close(1);
    first.reopen_channel(1);
    first.open_channel(2);
}

#[test]
fn vhost_has_as_many_queues_as_it_may() {
    let node = Node::new();
    let admin = node.broker.admin();
    admin.put_vhost_limit(VHOST, VhostLimit::Queues, 2).unwrap();
    let mut peer = node.channel();
    peer.declare("a");
    peer.declare("b");
    peer.declare("a");
    peer.send(1, declare_queue("c"));
    let text = "PRECONDITION_FAILED - cannot declare queue 'c': queue limit in vhost 'probe' (2) is reached";
    assert_eq!(peer.expect_channel_close(1), (406, text.to_owned(), 50, 10));
    peer.reopen_channel(1);
    accepted(&mut peer, delete("a"));
    peer.declare("c");
    admin.delete_vhost_limit(VHOST, VhostLimit::Queues).unwrap();
    peer.declare("d");
}

#[test]
fn connections_end_with_their_user_their_vhost_and_their_access() {
    let node = Node::new();
    permit(&node, ".*", ".*", ".*");
    let admin = node.broker.admin();
    let closed = |peer: &mut Peer, text: &str| {
        let text = format!("CONNECTION_FORCED - {text}");
        assert_eq!(peer.expect_close(), (320, text, 0, 0));
    };
    let mut guest = node.connect();
    let mut lim = channel_of_lim(&node);
    admin.delete_permission(VHOST, "lim").unwrap();
    closed(
        &mut lim,
        "access to vhost 'probe' is revoked for user 'lim'",
    );
    permit(&node, ".*", ".*", ".*");
    let mut lim = channel_of_lim(&node);
    admin.delete_user("lim").unwrap();
    closed(&mut lim, "user 'lim' is deleted");
    guest.expect_silence();
    admin.delete_vhost(VHOST).unwrap();
    closed(&mut guest, "vhost 'probe' is deleted");
    open_refused(
        tuned(&node, "guest", "guest"),
        VHOST,
        "vhost probe not found",
    );
}

#[test]
fn vhost_that_is_made_again_is_empty() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.publish("q", b"x");
    let admin = node.broker.admin();
    admin.delete_vhost(VHOST).unwrap();
    admin.put_vhost(VHOST, VhostSpec::default()).unwrap();
    open_refused(
        tuned(&node, "guest", "guest"),
        VHOST,
        "access to vhost 'probe' refused for user 'guest'",
    );
    admin
        .put_permission(VHOST, "guest", Permission::everything())
        .unwrap();
    let mut peer = node.channel();
    peer.send(1, passive_queue("q"));
    let text = "NOT_FOUND - no queue 'q' in vhost 'probe'";
    assert_eq!(peer.expect_channel_close(1), (404, text.to_owned(), 50, 10));
    peer.reopen_channel(1);
    for exchange in ["amq.direct", "amq.topic", "amq.headers", "amq.match"] {
        accepted(&mut peer, passive_exchange(exchange));
    }
    peer.declare("q");
    assert_eq!(peer.ready(1, "q"), 0);
}
