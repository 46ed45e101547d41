//! What a user may do: who is refused what, in which words.

use amq_protocol::protocol::{AMQPClass, basic, channel, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use ternmq_broker::admin::{Password, UserSpec};
use ternmq_core::access::{Permission, UserLimit, VhostLimit};

use crate::harness::*;

/// A node on which `lim` may do everything in [`VHOST`] with names that begin with `lim`, and nothing else.
fn node() -> Node {
    let node = Node::new();
    let permission = Permission {
        configure: "^lim".into(),
        write: "^lim".into(),
        read: "^lim".into(),
    };
    node.broker
        .admin()
        .put_permission(VHOST, "lim", permission)
        .unwrap();
    node
}

/// `lim` with channel 1 open.
fn lim(node: &Node) -> Peer {
    let mut peer = node.dial();
    peer.log_in_as(("lim", "lim"), VHOST);
    peer.open_channel(1);
    peer
}

/// Expects that the right is missing.
#[track_caller]
fn refused(peer: &mut Peer, right: &str, to: &str, id: (u16, u16)) {
    let text =
        format!("ACCESS_REFUSED - {right} access to {to} in vhost 'probe' refused for user 'lim'");
    assert_eq!(peer.expect_channel_close(1), (403, text, id.0, id.1));
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
    basic(basic::AMQPMethod::Consume(basic::Consume {
        queue: short(queue),
        ..basic::Consume::default()
    }))
}

fn bind(queue: &str, exchange: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short("k"),
        nowait: false,
        arguments: FieldTable::default(),
    }))
}

fn bind_exchange(destination: &str, source: &str) -> AMQPClass {
    AMQPClass::Exchange(exchange::AMQPMethod::Bind(exchange::Bind {
        destination: short(destination),
        source: short(source),
        ..exchange::Bind::default()
    }))
}

fn with_arguments(entries: &[(&str, AMQPValue)]) -> AMQPClass {
    declare_with(queue::Declare {
        queue: short("lim.q"),
        arguments: table(entries),
        ..queue::Declare::default()
    })
}

#[test]
fn declaring_and_deleting_need_configure() {
    let node = node();
    node.channel().declare("q");
    let mut peer = lim(&node);
    accepted(&mut peer, declare_queue("lim.q"));
    accepted(&mut peer, declare_exchange("lim.x", "direct"));
    peer.send(1, declare_queue("other"));
    refused(&mut peer, "configure", "queue 'other'", (50, 10));
    peer.send(1, declare_exchange("other", "direct"));
    refused(&mut peer, "configure", "exchange 'other'", (40, 10));
    peer.send(1, delete("q"));
    refused(&mut peer, "configure", "queue 'q'", (50, 40));
    accepted(&mut peer, delete("lim.q"));

    // The name that the server chose is in the text.
    peer.send(1, declare_queue(""));
    let (code, text, ..) = peer.expect_channel_close(1);
    let start = "ACCESS_REFUSED - configure access to queue 'amq.gen-";
    assert!(code == 403 && text.starts_with(start), "{text}");
}

#[test]
fn asking_whether_a_queue_is_there_needs_any_right_to_it() {
    let node = node();
    node.channel().declare("q");
    let mut peer = lim(&node);
    peer.send(1, passive_queue("q"));
    refused(&mut peer, "configure", "queue 'q'", (50, 10));
    let none = || Box::<str>::from("");
    for (configure, write, read) in [
        ("^q$".into(), none(), none()),
        (none(), "^q$".into(), none()),
        (none(), none(), "^q$".into()),
    ] {
        let permission = Permission {
            configure,
            write,
            read,
        };
        let admin = node.broker.admin();
        admin.put_permission(VHOST, "lim", permission).unwrap();
        assert_eq!(peer.ready(1, "q"), 0);
    }
}

#[test]
fn publishing_needs_write_and_the_default_exchange_has_a_name_for_it() {
    let node = node();
    let mut peer = lim(&node);
    for (exchange, name) in [("", "amq.default"), ("amq.direct", "amq.direct")] {
        peer.send_bytes(&publish_bytes(1, exchange, "lim.q", b"m"));
        refused(&mut peer, "write", &format!("exchange '{name}'"), (60, 40));
    }
    accepted(&mut peer, declare_exchange("lim.x", "fanout"));
    accepted(&mut peer, declare_queue("lim.q"));
    accepted(&mut peer, bind("lim.q", "lim.x"));
    peer.send_bytes(&publish_bytes(1, "lim.x", "", b"m"));
    assert_eq!(peer.ready(1, "lim.q"), 1);
}

#[test]
fn getting_consuming_and_purging_need_read() {
    let node = node();
    node.channel().declare("q");
    let mut peer = lim(&node);
    for (method, id) in [
        (get("q", true), (60, 70)),
        (consume("q"), (60, 20)),
        (purge("q"), (50, 30)),
    ] {
        peer.send(1, method);
        refused(&mut peer, "read", "queue 'q'", id);
    }
}

#[test]
fn binding_needs_write_on_the_destination_and_read_on_the_source() {
    let node = node();
    node.channel().declare("q");
    let mut peer = lim(&node);
    accepted(&mut peer, declare_queue("lim.q"));
    accepted(&mut peer, declare_exchange("lim.x", "direct"));
    peer.send(1, bind("q", "lim.x"));
    refused(&mut peer, "write", "queue 'q'", (50, 20));
    peer.send(1, bind("lim.q", "amq.direct"));
    refused(&mut peer, "read", "exchange 'amq.direct'", (50, 20));
    peer.send(1, bind_exchange("amq.fanout", "lim.x"));
    refused(&mut peer, "write", "exchange 'amq.fanout'", (40, 30));
    accepted(&mut peer, bind("lim.q", "lim.x"));
}

#[test]
fn dead_letter_exchange_needs_write_and_read_on_the_queue() {
    let node = node();
    let mut peer = lim(&node);
    let dead_letters_to = |exchange: &str| {
        with_arguments(&[
            ("x-dead-letter-exchange", text(exchange)),
            ("x-dead-letter-routing-key", text("k")),
        ])
    };
    peer.send(1, dead_letters_to("amq.direct"));
    refused(&mut peer, "write", "exchange 'amq.direct'", (50, 10));
    accepted(&mut peer, dead_letters_to("lim.x"));
}

#[test]
fn permission_that_changes_holds_for_the_next_method() {
    let node = node();
    node.channel().declare("q");
    let mut peer = lim(&node);
    peer.send(1, get("q", true));
    refused(&mut peer, "read", "queue 'q'", (60, 70));
    let admin = node.broker.admin();
    admin
        .put_permission(VHOST, "lim", Permission::everything())
        .unwrap();
    accepted(&mut peer, get("q", true));
    peer.publish("q", b"1");
    assert_eq!(peer.ready(1, "q"), 1);
    let nothing = Permission {
        configure: "".into(),
        write: "".into(),
        read: "".into(),
    };
    admin.put_permission(VHOST, "lim", nothing).unwrap();
    peer.publish("q", b"2");
    refused(&mut peer, "write", "exchange 'amq.default'", (60, 40));
}

#[test]
fn user_whose_tag_says_so_may_publish_in_the_name_of_others() {
    let node = node();
    let admin = node.broker.admin();
    let spec = UserSpec {
        password: Password::Keep,
        tags: vec!["impersonator".into()],
    };
    admin.put_user("lim", spec).unwrap();
    admin
        .put_permission(VHOST, "lim", Permission::everything())
        .unwrap();
    node.channel().declare("q");
    let mut peer = lim(&node);
    let other = basic::AMQPProperties::default().with_user_id(short("other"));
    let mut bytes = method_bytes(1, publish_method("", "q", false));
    bytes.extend(content_bytes(1, other, b"m"));
    peer.send_bytes(&bytes);
    assert_eq!(peer.ready(1, "q"), 1);
}

#[test]
fn limits_of_a_vhost_refuse_one_more() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    let admin = node.broker.admin();
    admin.put_vhost_limit(VHOST, VhostLimit::Queues, 1).unwrap();
    peer.declare("q");
    peer.send(1, declare_queue("new"));
    let text = "PRECONDITION_FAILED - cannot declare queue 'new': queue limit in vhost 'probe' (1) is reached";
    assert_eq!(peer.expect_channel_close(1), (406, text.to_owned(), 50, 10));
    admin
        .put_vhost_limit(VHOST, VhostLimit::Connections, 0)
        .unwrap();
    let text = "NOT_ALLOWED - access to vhost 'probe' refused for user 'guest': connection limit (0) is reached";
    assert_eq!(refused_open(&node), (530, text.to_owned(), 10, 40));
}

/// Why a connection of guest does not get into [`VHOST`].
fn refused_open(node: &Node) -> Closed {
    let mut peer = node.dial();
    peer.send_bytes(HEADER);
    peer.expect(0);
    peer.call(
        0,
        start_ok(&client_properties(), "PLAIN", b"\0guest\0guest"),
    );
    peer.send(0, tune_ok(2047, 131_072, 0));
    peer.send(0, open(VHOST));
    peer.expect_close()
}

#[test]
fn limits_of_a_user_refuse_one_more() {
    let node = Node::new();
    let admin = node.broker.admin();
    let mut peer = node.channel();
    admin
        .put_user_limit("guest", UserLimit::Channels, 2)
        .unwrap();
    peer.open_channel(2);
    peer.send(3, channel_open());
    assert_eq!(peer.expect_close().0, 530);
    admin
        .put_user_limit("guest", UserLimit::Connections, 0)
        .unwrap();
    assert_eq!(refused_open(&node).0, 530);
}

#[test]
fn user_and_vhost_that_are_deleted_close_their_connections() {
    let node = node();
    let mut peer = lim(&node);
    node.broker.admin().delete_user("lim").unwrap();
    assert_eq!(peer.expect_close().0, 320);
    let mut peer = node.channel();
    node.broker.admin().delete_vhost(VHOST).unwrap();
    assert_eq!(peer.expect_close().0, 320);
}

#[test]
fn channels_come_and_go_at_the_limit() {
    let node = Node::new();
    let mut peer = node.channel();
    let admin = node.broker.admin();
    admin
        .put_user_limit("guest", UserLimit::Channels, 1)
        .unwrap();
    let close = channel::AMQPMethod::Close(channel::Close::default());
    peer.call(1, AMQPClass::Channel(close));
    peer.open_channel(1);
}
