//! What others see of AMQP connections and channels.

use amq_protocol::protocol::{AMQPClass, basic, channel, tx};
use amq_protocol::types::FieldTable;
use ternmq_broker::clock::Clock as _;
use ternmq_broker::inspect::{
    ActivityStatus, ChannelMode, ChannelSnapshot, ConnectionState, Protocol,
};
use ternmq_broker::mailbox::Notice;
use ternmq_broker::{Churn, ProtocolTotals};
use ternmq_core::value::Value;

use crate::harness::*;

fn only_channel(node: &Node) -> ChannelSnapshot {
    let channels = node.broker.inspect().channels(None);
    assert_eq!(channels.len(), 1);
    channels.into_iter().next().unwrap()
}

fn totals(node: &Node) -> ProtocolTotals {
    node.broker.inspect().protocol_totals(Protocol::Amqp091)
}

#[test]
fn open_connection_says_what_was_agreed_on_and_what_the_client_is() {
    let node = Node::new();
    let before = node.dial();
    assert!(node.broker.inspect().connections(None).is_empty());
    drop(before);
    let peer = node.connect();
    let all = node.broker.inspect().connections(None);
    assert_eq!(all.len(), 1);
    let seen = &all[0];
    assert_eq!(seen.info.protocol.text(), "AMQP 0-9-1");
    assert_eq!(
        (&*seen.user, seen.state),
        ("guest", ConnectionState::Running)
    );
    assert_eq!(&*seen.info.auth_mechanism, "PLAIN");
    assert_eq!(seen.info.user_provided_name(), Some("script"));
    let capabilities = seen.info.client_properties.get("capabilities");
    assert!(matches!(capabilities, Some(Value::Map(_))));
    assert!(seen.info.frame_max > 0 && seen.info.channel_max > 0);
    assert_eq!(seen.info.connected_at, node.clock.now());
    let by_name = node.broker.inspect().connection_named(&seen.name);
    assert_eq!(by_name.map(|found| found.id), Some(seen.id));
    drop(peer);
    assert!(node.broker.inspect().connections(None).is_empty());
    let churn = node.broker.inspect().churn();
    assert_eq!((churn.connections_opened, churn.connections_closed), (1, 1));
}

#[test]
fn channels_are_there_until_they_close_for_whatever_reason() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.open_channel(7);
    let numbers = |node: &Node| -> Vec<u16> {
        let channels = node.broker.inspect().channels(None);
        channels.iter().map(|channel| channel.number).collect()
    };
    assert_eq!(numbers(&node), [1, 7]);
    peer.send(7, passive_queue("nowhere"));
    peer.expect_channel_close(7);
    assert_eq!(numbers(&node), [1]);
    let close = channel::AMQPMethod::Close(channel::Close::default());
    peer.call(1, AMQPClass::Channel(close));
    assert!(numbers(&node).is_empty());
    peer.open_channel(2);
    drop(peer);
    let churn = node.broker.inspect().churn();
    let expected = Churn {
        connections_opened: 1,
        connections_closed: 1,
        channels_opened: 3,
        channels_closed: 3,
        ..Churn::default()
    };
    assert_eq!(churn, expected);
}

#[test]
fn publishes_are_counted_by_channel_exchange_and_protocol() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.publish("q", b"1");
    peer.select_confirms();
    peer.publish("q", &[0; 101]);
    peer.expect(1);
    // Nobody there: dropped, and confirmed.
    peer.publish("nowhere", b"3");
    peer.expect(1);
    // Sent back, and confirmed.
    let mut bytes = method_bytes(1, publish_method("", "nowhere", true));
    bytes.extend(content_bytes(1, basic::AMQPProperties::default(), b"4"));
    peer.send_bytes(&bytes);
    let seen = only_channel(&node);
    let stats = &seen.stats;
    assert_eq!(seen.mode, ChannelMode::Confirm);
    assert_eq!(stats.published.get(), 4);
    assert_eq!(stats.confirmed.get(), 3);
    assert_eq!((stats.returned.get(), stats.unroutable.get()), (1, 1));
    assert_eq!(stats.unconfirmed.get(), 0);
    let exchange = node.broker.inspect().exchange(VHOST, "").unwrap();
    assert_eq!((exchange.published, exchange.routed), (4, 2));
    let totals = totals(&node);
    assert_eq!((totals.received, totals.received_confirm), (4, 1));
    assert_eq!((totals.routed, totals.confirmed), (2, 3));
    assert_eq!(
        (totals.unroutable_dropped, totals.unroutable_returned),
        (1, 1)
    );
    assert_eq!(totals.sizes.counts[..2], [3, 1]);
    assert_eq!(totals.sizes.sum, 1 + 101 + 1 + 1);
}

#[test]
fn deliveries_are_counted_by_how_they_are_settled() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    for body in [b"1", b"2", b"3", b"4"] {
        peer.publish("q", body);
    }
    peer.send(1, get("q", false));
    peer.expect_content(1);
    peer.send(1, get("q", true));
    peer.expect_content(1);
    peer.consume("q", "me", false);
    peer.expect_delivery(1);
    peer.expect_delivery(1);
    let seen = only_channel(&node);
    assert_eq!(seen.stats.unacknowledged.get(), 3);
    assert_eq!((seen.stats.got.get(), seen.stats.got_auto.get()), (1, 1));
    assert_eq!(seen.stats.delivered.get(), 2);
    assert_eq!(seen.stats.consumers.get(), 1);
    peer.send(1, ack(4, true));
    let seen = only_channel(&node);
    assert_eq!(
        (seen.stats.acked.get(), seen.stats.unacknowledged.get()),
        (3, 0)
    );
    peer.send(1, get("q", false));
    peer.expect(1);
    assert_eq!(only_channel(&node).stats.got_empty.get(), 1);
    let kind = totals(&node).kinds[0];
    assert_eq!((kind.got_manual, kind.got_auto, kind.got_empty), (1, 1, 1));
    assert_eq!((kind.consumed_manual, kind.consumed_auto), (2, 0));
    assert_eq!((kind.acknowledged, kind.redelivered), (3, 0));
    assert_eq!(kind.delivered(), 4);
}

#[test]
fn what_comes_again_is_counted_as_redelivered() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.publish("q", b"1");
    peer.consume("q", "me", false);
    peer.expect_delivery(1);
    let reject = basic::AMQPMethod::Reject(basic::Reject {
        delivery_tag: 1,
        requeue: true,
    });
    peer.send(1, basic(reject));
    peer.expect_delivery(1);
    assert_eq!(only_channel(&node).stats.redelivered.get(), 1);
    assert_eq!(totals(&node).kinds[0].redelivered, 1);
}

#[test]
fn open_transaction_shows_what_waits_for_its_commit() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.publish("q", b"1");
    peer.send(1, get("q", false));
    peer.expect_content(1);
    let select = tx::AMQPMethod::Select(tx::Select {});
    peer.call(1, AMQPClass::Tx(select));
    peer.publish("q", b"2");
    peer.send(1, ack(1, false));
    // A method, after which everything is shown.
    peer.call(1, passive_queue("q"));
    let seen = only_channel(&node);
    assert_eq!(seen.mode, ChannelMode::Transactional);
    let stats = &seen.stats;
    assert_eq!(
        (stats.uncommitted.get(), stats.acks_uncommitted.get()),
        (1, 1)
    );
    let commit = tx::AMQPMethod::Commit(tx::Commit {});
    peer.call(1, AMQPClass::Tx(commit));
    assert_eq!(
        (stats.uncommitted.get(), stats.acks_uncommitted.get()),
        (0, 0)
    );
    assert_eq!(totals(&node).received, 2);
}

#[test]
fn consumer_says_its_tag_its_channel_and_its_arguments() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    let qos = basic::AMQPMethod::Qos(basic::Qos {
        prefetch_count: 9,
        global: false,
    });
    peer.call(1, basic(qos));
    let mut arguments = FieldTable::default();
    arguments.insert(
        short("x-priority"),
        amq_protocol::types::AMQPValue::LongInt(5),
    );
    let consume = basic::AMQPMethod::Consume(basic::Consume {
        queue: short("q"),
        consumer_tag: short("me"),
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
        arguments,
    });
    peer.call(1, basic(consume));
    let all = node.broker.inspect().consumers(Some(VHOST));
    assert_eq!(all.len(), 1);
    let seen = &all[0];
    assert_eq!((&*seen.label.tag, seen.label.channel), ("me", 1));
    assert_eq!((seen.label.prefetch, seen.priority), (9, 5));
    assert_eq!((seen.queue(), seen.status), ("q", ActivityStatus::Up));
    let arguments = seen.label.arguments.as_deref().unwrap();
    assert_eq!(arguments.get("x-priority"), Some(&Value::I32(5)));
    assert_eq!(only_channel(&node).stats.prefetch.get(), 9);
}

#[test]
fn publisher_is_blocked_from_its_first_publish_on() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    let state = |node: &Node| node.broker.inspect().connections(None)[0].state;
    peer.notify(Notice::Blocked);
    assert_eq!(state(&node), ConnectionState::Blocking);
    peer.publish("q", b"1");
    assert_eq!(state(&node), ConnectionState::Blocked);
    peer.notify(Notice::Unblocked);
    assert_eq!(state(&node), ConnectionState::Running);
}

#[test]
fn connection_is_closed_for_the_reason_that_somebody_gives() {
    let node = Node::new();
    let mut peer = node.channel();
    let id = node.broker.inspect().connections(None)[0].id;
    assert!(node.broker.close_connection(id, "too loud"));
    peer.pump();
    let (code, text, ..) = peer.expect_close();
    assert_eq!((code, &*text), (320, "CONNECTION_FORCED - too loud"));
    assert!(!node.broker.close_connection(id, "again"));
}
