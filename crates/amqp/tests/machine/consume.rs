//! Consuming and getting: consumers, credit, order, the end of a queue.

use amq_protocol::protocol::{AMQPClass, basic, channel, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use ternmq_amqp::AmqpConfig;
use ternmq_broker::Turn;
use ternmq_broker::clock::Clock;
use ternmq_broker::mailbox::Mailbox;
use ternmq_core::message::{NewMessage, Properties};
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::value::Headers;

use crate::harness::*;

fn qos(prefetch_count: u16, global: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Qos(basic::Qos {
        prefetch_count,
        global,
    }))
}

fn consume(queue: &str, tag: &str, change: impl FnOnce(&mut basic::Consume)) -> AMQPClass {
    let mut consume = basic::Consume {
        queue: short(queue),
        consumer_tag: short(tag),
        ..basic::Consume::default()
    };
    change(&mut consume);
    basic(basic::AMQPMethod::Consume(consume))
}

fn cancel(tag: &str, nowait: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Cancel(basic::Cancel {
        consumer_tag: short(tag),
        nowait,
    }))
}

/// Bodies delivered now, with their consumers' tags.
fn delivered(peer: &mut Peer) -> Vec<(String, Vec<u8>, u64)> {
    let mut all = Vec::new();
    while let Some(frame) = peer.next_frame() {
        let amq_protocol::frame::AMQPFrame::Method(
            _,
            AMQPClass::Basic(basic::AMQPMethod::Deliver(d)),
        ) = frame
        else {
            panic!("basic.deliver was expected, not {frame:?}");
        };
        let header = peer.next_frame();
        assert!(matches!(
            header,
            Some(amq_protocol::frame::AMQPFrame::Header(..))
        ));
        let Some(amq_protocol::frame::AMQPFrame::Body(_, body)) = peer.next_frame() else {
            panic!("a body was expected");
        };
        all.push((d.consumer_tag.to_string(), body, d.delivery_tag));
    }
    all
}

#[track_caller]
fn refused(method: AMQPClass, code: u16, text: &str, id: (u16, u16)) {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("qd");
    peer.send(1, method);
    assert_eq!(
        peer.expect_channel_close(1),
        (code, text.to_owned(), id.0, id.1)
    );
}

#[test]
fn get_yields_messages_in_order_and_how_many_are_left() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.publish("q", b"1");
    peer.publish("q", b"2");
    for (tag, body, left) in [(1, b"1", 1), (2, b"2", 0)] {
        peer.send(1, get("q", false));
        let content = peer.expect_content(1);
        let expected = basic::GetOk {
            delivery_tag: tag,
            redelivered: false,
            exchange: short(""),
            routing_key: short("q"),
            message_count: left,
        };
        assert_eq!(content.method, basic(basic::AMQPMethod::GetOk(expected)));
        assert_eq!(content.body, body);
    }
    let empty = basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {}));
    assert_eq!(peer.call(1, get("q", false)), empty);
}

#[test]
fn get_and_consume_of_what_is_missing_are_not_found() {
    let text = "NOT_FOUND - no queue 'nope' in vhost 'probe'";
    refused(get("nope", true), 404, text, (60, 70));
    refused(consume("nope", "c", |_| {}), 404, text, (60, 20));
}

#[test]
fn consumer_gets_what_waits_and_what_comes_with_tags_that_count_up() {
    let node = Node::new();
    let (mut peer, mut publisher) = (node.channel(), node.channel());
    peer.declare("q");
    publisher.publish("q", b"1");
    peer.consume("q", "c", false);
    publisher.publish("q", b"2");
    let (first, content) = peer.expect_delivery(1);
    assert_eq!(content.body, b"1");
    let expected = basic::Deliver {
        consumer_tag: short("c"),
        delivery_tag: 1,
        redelivered: false,
        exchange: short(""),
        routing_key: short("q"),
    };
    assert_eq!(first, expected);
    let (second, content) = peer.expect_delivery(1);
    assert_eq!((second.delivery_tag, content.body), (2, b"2".to_vec()));
    publisher.publish("q", b"3");
    assert_eq!(peer.expect_delivery(1).0.delivery_tag, 3);
    peer.expect_silence();
}

#[test]
fn server_chooses_a_consumer_tag_if_there_is_none() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    let AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)) = peer.call(1, consume("q", "", |_| {}))
    else {
        panic!("basic.consume-ok was expected");
    };
    assert!(ok.consumer_tag.as_str().starts_with("amq.ctag-"));
}

#[test]
fn consumer_tag_in_use_on_the_channel_is_not_allowed() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.consume("q", "t", false);
    peer.open_channel(2);
    peer.send(2, consume("q", "t", |_| {}));
    assert!(matches!(
        peer.expect(2),
        AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(_))
    ));
    peer.send(1, consume("q", "t", |_| {}));
    let text = "NOT_ALLOWED - attempt to reuse consumer tag 't'";
    assert_eq!(peer.expect_close(), (530, text.to_owned(), 60, 20));
}

#[test]
fn exclusive_consumer_is_alone() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("qd");
    peer.consume("qd", "a", false);
    peer.open_channel(2);
    peer.send(2, consume("qd", "b", |c| c.exclusive = true));
    let text = "ACCESS_REFUSED - queue 'qd' in vhost 'probe' in exclusive use";
    assert_eq!(peer.expect_channel_close(2), (403, text.to_owned(), 60, 20));
    peer.reopen_channel(2);
    peer.call(1, cancel("a", false));
    assert!(matches!(
        peer.call(1, consume("qd", "a", |c| c.exclusive = true)),
        AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(_))
    ));
    peer.send(2, consume("qd", "b", |_| {}));
    assert_eq!(peer.expect_channel_close(2), (403, text.to_owned(), 60, 20));
}

#[test]
fn priority_must_be_an_integer_and_the_higher_one_is_served_first() {
    let with = |value: AMQPValue| -> FieldTable { table(&[("x-priority", value)]) };
    let arguments = with(text("high"));
    let said = "PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'qd' in vhost 'probe': \
                \"expected integer, got longstr\"";
    refused(
        consume("qd", "c", |c| c.arguments = arguments),
        406,
        said,
        (60, 20),
    );
    let arguments = with(text("high"));
    let said = "NOT_FOUND - no queue 'nope' in vhost 'probe'";
    refused(
        consume("nope", "c", |c| c.arguments = arguments),
        404,
        said,
        (60, 20),
    );

    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.call(1, qos(1, false));
    let low = with(AMQPValue::LongInt(-1));
    peer.call(1, consume("q", "low", |c| c.arguments = low));
    let high = with(AMQPValue::ShortShortInt(5));
    peer.call(1, consume("q", "high", |c| c.arguments = high));
    peer.publish("q", b"1");
    assert_eq!(delivered(&mut peer)[0].0, "high");
    peer.publish("q", b"2");
    assert_eq!(delivered(&mut peer)[0].0, "low");
}

#[test]
fn lower_priority_gets_only_what_the_higher_one_has_no_room_for() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    for (tag, priority, prefetch) in [("low", -3, 0), ("none", 0, 2), ("high", 7, 3)] {
        peer.call(1, qos(prefetch, false));
        let arguments = table(&[("x-priority", AMQPValue::LongInt(priority))]);
        let arguments = if tag == "none" {
            FieldTable::default()
        } else {
            arguments
        };
        peer.call(1, consume("q", tag, |c| c.arguments = arguments));
    }
    for _ in 0..7 {
        peer.publish("q", b"m");
    }
    let tags: Vec<_> = delivered(&mut peer).into_iter().map(|d| d.0).collect();
    assert_eq!(tags, ["high", "high", "high", "none", "none", "low", "low"]);
}

#[test]
fn message_returned_by_one_consumer_is_redelivered_to_another() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.publish("q", b"m");
    peer.call(1, consume("q", "a", |_| {}));
    assert!(!peer.expect_delivery(1).0.redelivered);
    let mut other = node.channel();
    other.call(1, consume("q", "b", |_| {}));
    peer.call(1, cancel("a", false));
    let requeue = basic::AMQPMethod::Reject(basic::Reject {
        delivery_tag: 1,
        requeue: true,
    });
    peer.send(1, basic(requeue));
    let (deliver, _) = other.expect_delivery(1);
    assert!(deliver.redelivered);
    assert_eq!(
        (deliver.consumer_tag.as_str(), deliver.delivery_tag),
        ("b", 1)
    );
}

#[test]
fn no_local_means_nothing() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.call(1, consume("q", "c", |c| c.no_local = true));
    peer.publish("q", b"m");
    assert_eq!(delivered(&mut peer).len(), 1);
}

#[test]
fn cancelled_consumer_gets_no_more_and_its_deliveries_can_still_be_acknowledged() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.consume("q", "c", false);
    peer.publish("q", b"1");
    peer.expect_delivery(1);
    let ok = |tag: &str| {
        basic(basic::AMQPMethod::CancelOk(basic::CancelOk {
            consumer_tag: short(tag),
        }))
    };
    assert_eq!(peer.call(1, cancel("c", false)), ok("c"));
    assert_eq!(peer.call(1, cancel("unknown", false)), ok("unknown"));
    peer.publish("q", b"2");
    peer.expect_silence();
    assert_eq!(peer.ready(1, "q"), 1);
    peer.send(1, ack(1, false));
    peer.expect_silence();
    peer.send(1, cancel("c", true));
    peer.expect_silence();
}

#[test]
fn cancel_of_a_tag_that_nobody_knows_is_answered() {
    let node = Node::new();
    let mut peer = node.channel();
    let ok = basic::AMQPMethod::CancelOk(basic::CancelOk {
        consumer_tag: short("nobody"),
    });
    assert_eq!(peer.call(1, cancel("nobody", false)), basic(ok));
    peer.send(1, cancel("nobody", true));
    peer.expect_silence();
}

#[test]
fn consumer_without_wait_is_not_answered() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.send(1, consume("q", "c", |c| c.nowait = true));
    peer.expect_silence();
    peer.publish("q", b"1");
    assert_eq!(delivered(&mut peer).len(), 1);
}

#[test]
fn prefetch_size_is_not_implemented() {
    let node = Node::new();
    let mut peer = node.channel();
    // basic.qos with prefetch-size 10
    peer.send_bytes(&[
        1, 0, 1, 0, 0, 0, 11, 0, 60, 0, 10, 0, 0, 0, 10, 0, 1, 0, 0xCE,
    ]);
    let text = "NOT_IMPLEMENTED - prefetch_size!=0 (10)";
    assert_eq!(peer.expect_close(), (540, text.to_owned(), 60, 10));
}

fn with_five_messages(node: &Node) -> Peer {
    let mut peer = node.channel();
    peer.declare("q");
    peer.declare("r");
    for queue in ["q", "q", "q", "q", "q", "r", "r", "r", "r", "r"] {
        peer.publish(queue, b"m");
    }
    peer
}

#[test]
fn prefetch_counts_for_each_consumer_made_after_it() {
    let node = Node::new();
    let mut peer = with_five_messages(&node);
    peer.call(1, qos(3, false));
    peer.send(1, consume("q", "a", |c| c.nowait = true));
    peer.send(1, consume("r", "b", |c| c.nowait = true));
    let first = delivered(&mut peer);
    assert_eq!(first.iter().filter(|d| d.0 == "a").count(), 3);
    assert_eq!(first.iter().filter(|d| d.0 == "b").count(), 3);
    let tag = first.iter().find(|d| d.0 == "a").unwrap().2;
    peer.send(1, ack(tag, false));
    let next = delivered(&mut peer);
    assert_eq!((next.len(), next[0].0.as_str()), (1, "a"));
    peer.call(1, qos(1, false));
    peer.send(1, ack(0, true));
    assert_eq!(
        delivered(&mut peer).len(),
        3,
        "one of a, two of b: what is left"
    );
}

#[test]
fn global_prefetch_is_shared_by_the_channel() {
    let node = Node::new();
    let mut peer = with_five_messages(&node);
    peer.call(1, qos(3, true));
    peer.send(1, consume("q", "a", |c| c.nowait = true));
    peer.send(1, consume("r", "b", |c| c.nowait = true));
    let first = delivered(&mut peer);
    assert_eq!(first.len(), 3);
    for delivery in &first {
        peer.send(1, ack(delivery.2, false));
    }
    let next = delivered(&mut peer);
    assert_eq!(next.len(), 3);
    peer.call(1, qos(0, true));
    assert_eq!(delivered(&mut peer).len(), 4, "0 ends the limit");
}

/// How many deliveries have come.
fn deliveries(peer: &mut Peer) -> usize {
    peer.pump();
    let mut count = 0;
    while peer.has_frame() {
        peer.expect_delivery(1);
        count += 1;
    }
    count
}

#[test]
fn prefetch_of_a_consumer_and_of_its_channel_hold_both() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    for body in 0..20 {
        peer.publish("q", &[body]);
    }
    peer.call(1, qos(2, false));
    peer.call(1, qos(5, true));
    for (tag, more) in [("a", 2), ("b", 2), ("c", 1), ("d", 0)] {
        peer.consume("q", tag, false);
        assert_eq!(deliveries(&mut peer), more, "{tag}");
    }
    // The channel's limit ends; the consumers' stay.
    peer.call(1, qos(0, true));
    assert_eq!(deliveries(&mut peer), 3);
}

#[test]
fn global_prefetch_holds_for_consumers_made_while_there_was_none() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.call(1, qos(5, true));
    peer.call(1, qos(0, true));
    peer.consume("q", "a", false);
    peer.call(1, qos(3, true));
    for body in 0..20 {
        peer.publish("q", &[body]);
    }
    assert_eq!(deliveries(&mut peer), 3);
}

#[test]
fn global_prefetch_holds_for_consumers_made_before_it() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.consume("q", "a", false);
    peer.call(1, qos(2, true));
    for _ in 0..5 {
        peer.publish("q", b"m");
    }
    assert_eq!(delivered(&mut peer).len(), 2);
}

#[test]
fn global_prefetch_given_back_by_one_queue_serves_another() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.declare("r");
    peer.call(1, qos(1, true));
    peer.consume("q", "a", false);
    peer.consume("r", "b", false);
    peer.publish("q", b"1");
    peer.publish("r", b"2");
    let first = delivered(&mut peer);
    assert_eq!(first.len(), 1);
    peer.send(1, ack(first[0].2, false));
    let second = delivered(&mut peer);
    assert_eq!(second.len(), 1);
    assert_ne!(second[0].0, first[0].0);
}

#[test]
fn prefetch_limits_neither_automatic_consumers_nor_get() {
    let node = Node::new();
    let mut peer = with_five_messages(&node);
    peer.call(1, qos(1, false));
    peer.consume("q", "a", true);
    assert_eq!(delivered(&mut peer).len(), 5);
    for _ in 0..5 {
        peer.send(1, get("r", false));
        peer.expect_content(1);
    }
}

#[test]
fn consumers_take_turns() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.consume("q", "a", true);
    peer.consume("q", "b", true);
    for _ in 0..6 {
        peer.publish("q", b"m");
    }
    let tags: Vec<String> = delivered(&mut peer).into_iter().map(|d| d.0).collect();
    assert_eq!(tags.iter().filter(|tag| *tag == "a").count(), 3);
}

#[test]
fn consumer_of_a_deleted_queue_is_told() {
    let node = Node::new();
    let (mut peer, mut other) = (node.channel(), node.channel());
    peer.declare("q");
    peer.consume("q", "c", false);
    peer.publish("q", b"1");
    peer.expect_delivery(1);
    let delete = || {
        AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete {
            queue: short("q"),
            ..queue::Delete::default()
        }))
    };
    other.call(1, delete());
    assert_eq!(peer.expect(1), cancel("c", true));
    peer.send(1, ack(1, false));
    peer.expect_silence();
    peer.declare("q");
    peer.consume("q", "c", false);

    let mut old = node.dial();
    old.log_in(&FieldTable::default(), VHOST);
    old.open_channel(1);
    old.consume("q", "c", false);
    other.call(1, delete());
    assert_eq!(peer.expect(1), cancel("c", true));
    old.expect_silence();
}

#[test]
fn auto_delete_queue_goes_with_its_last_consumer() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.call(
        1,
        declare_with(queue::Declare {
            queue: short("q"),
            auto_delete: true,
            ..queue::Declare::default()
        }),
    );
    peer.consume("q", "a", false);
    peer.consume("q", "b", false);
    peer.call(1, cancel("a", false));
    assert_eq!(peer.ready(1, "q"), 0);
    peer.call(1, cancel("b", false));
    peer.send(1, passive_queue("q"));
    assert_eq!(peer.expect_channel_close(1).0, 404);
}

#[test]
fn as_many_consumers_as_configured_and_not_one_more() {
    let node = Node::with(AmqpConfig {
        consumers_max: 2,
        ..AmqpConfig::default()
    });
    let mut peer = node.channel();
    peer.declare("q");
    peer.consume("q", "a", false);
    peer.open_channel(2);
    peer.call(2, consume("q", "b", |_| {}));
    peer.call(1, cancel("a", false));
    peer.consume("q", "a", false);
    peer.send(1, consume("q", "c", |_| {}));
    let text = "NOT_ALLOWED - reached maximum (2) of consumers per connection";
    assert_eq!(peer.expect_close(), (530, text.to_owned(), 60, 20));
}

#[test]
fn notice_to_a_consumer_that_is_gone_reaches_nobody() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.declare("r");
    let mut bytes = Vec::new();
    // The queue's end and the next consumer in one read: the notice is about the one before.
    bytes.extend(method_bytes(1, consume("q", "c", |c| c.nowait = true)));
    let delete = queue::Delete {
        queue: short("q"),
        nowait: true,
        ..queue::Delete::default()
    };
    bytes.extend(method_bytes(
        1,
        AMQPClass::Queue(queue::AMQPMethod::Delete(delete)),
    ));
    bytes.extend(method_bytes(1, cancel("c", true)));
    bytes.extend(method_bytes(1, consume("r", "c", |c| c.nowait = true)));
    peer.send_bytes(&bytes);
    peer.expect_silence();
    peer.publish("r", b"m");
    assert_eq!(delivered(&mut peer).len(), 1);
}

#[test]
fn backlog_larger_than_the_output_is_delivered_completely_and_in_order() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    let body = |n: u32| [&n.to_be_bytes()[..], &[0; 996]].concat();
    for n in 0..2_000 {
        peer.publish("q", &body(n));
    }
    peer.consume("q", "c", true);
    let all = delivered(&mut peer);
    assert_eq!(all.len(), 2_000);
    for (n, (_, got, tag)) in (0..).zip(&all) {
        assert_eq!((got, *tag), (&body(n), u64::from(n) + 1));
    }
}

#[test]
fn consumers_that_come_and_go_within_one_read_leave_nothing_behind() {
    let node = Node::with(AmqpConfig {
        consumers_max: 1,
        ..AmqpConfig::default()
    });
    let mut peer = node.channel();
    peer.declare("q");
    peer.publish("q", b"m");
    let mut bytes = Vec::new();
    for _ in 0..3_000 {
        bytes.extend(method_bytes(1, consume("q", "c", |c| c.nowait = true)));
        bytes.extend(method_bytes(1, cancel("c", true)));
    }
    peer.send_bytes(&bytes);
    peer.expect_silence();
    assert_eq!(peer.ready(1, "q"), 1);
    peer.consume("q", "c", true);
    assert_eq!(delivered(&mut peer).len(), 1);
}

#[test]
fn no_consumer_waits_for_the_whole_backlog_of_another() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.declare("r");
    for queue in ["q", "r"] {
        for _ in 0..1_500 {
            peer.publish(queue, b"m");
        }
    }
    peer.send_bytes(
        &[
            method_bytes(
                1,
                consume("q", "a", |c| (c.nowait, c.no_ack) = (true, true)),
            ),
            method_bytes(
                1,
                consume("r", "b", |c| (c.nowait, c.no_ack) = (true, true)),
            ),
        ]
        .concat(),
    );
    let all = delivered(&mut peer);
    assert_eq!(all.len(), 3_000);
    let longest = all.chunk_by(|x, y| x.0 == y.0).map(<[_]>::len).max();
    assert_eq!(longest, Some(512), "turns of at most so many messages");
}

#[test]
fn returned_messages_tell_their_counters_where_the_queue_counts() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("plain");
    let quorum = queue::Declare {
        queue: short("counting"),
        durable: true,
        arguments: table(&[("x-queue-type", text("quorum"))]),
        ..queue::Declare::default()
    };
    peer.call(1, declare_with(quorum));
    let counters = |peer: &mut Peer, queue: &str| {
        peer.send(1, get(queue, false));
        let headers = peer.expect_content(1).properties.headers().clone();
        let headers = headers.unwrap_or_default();
        let of = |name: &str| match headers.inner().get(name) {
            Some(AMQPValue::LongLongInt(count)) => Some(*count),
            None => None,
            other => panic!("a count is a long, not {other:?}"),
        };
        (of("x-acquired-count"), of("x-delivery-count"))
    };
    for queue in ["plain", "counting"] {
        peer.publish(queue, b"m");
    }
    assert_eq!(counters(&mut peer, "counting"), (None, None));
    let nack = |delivery_tag| {
        basic(basic::AMQPMethod::Nack(basic::Nack {
            delivery_tag,
            multiple: false,
            requeue: true,
        }))
    };
    peer.send(1, nack(1));
    assert_eq!(counters(&mut peer, "counting"), (Some(1), None));
    let reject = basic::Reject {
        delivery_tag: 2,
        requeue: true,
    };
    peer.send(1, basic(basic::AMQPMethod::Reject(reject)));
    assert_eq!(counters(&mut peer, "counting"), (Some(2), Some(1)));
    assert_eq!(counters(&mut peer, "plain"), (None, None));
    peer.send(1, nack(4));
    assert_eq!(counters(&mut peer, "plain"), (None, None));
}

/// Publishes over the broker as another protocol would: with a topic as key.
fn publish_topic(node: &Node, topic: &[u8], body: &[u8]) {
    let loopback = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    let user = node.broker.login("guest", b"guest", loopback).unwrap();
    let mut client = node.broker.connect(&user, VHOST, Mailbox::new(1)).unwrap();
    let request = RouteRequest {
        exchange: b"amq.topic",
        routing_key: topic,
        key_syntax: KeySyntax::Slashed,
        extra_keys: &[],
        headers: &Headers::new,
        properties: &Properties::default,
        publisher: None,
        from_client: true,
    };
    let route = client.route(&request).unwrap();
    let mut new = NewMessage::plain(b"amq.topic", topic, body);
    new.key_syntax = KeySyntax::Slashed;
    let mut turn = Turn::new();
    turn.push(new.build(&mut Vec::new()), route);
    client.publish(&mut turn, node.clock.now());
}

#[test]
fn message_that_amqp_has_no_words_for_dies_and_the_others_are_delivered() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("dead");
    let arguments = table(&[
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ]);
    for queue in ["q", "r"] {
        peer.call(
            1,
            declare_with(queue::Declare {
                queue: short(queue),
                arguments: arguments.clone(),
                ..queue::Declare::default()
            }),
        );
        let bind = queue::Bind {
            queue: short(queue),
            exchange: short("amq.topic"),
            routing_key: short("#"),
            ..queue::Bind::default()
        };
        peer.call(1, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    }
    let longest = vec![b'x'; 255];
    publish_topic(&node, &[&longest[..], b"y"].concat(), b"unspeakable");
    publish_topic(&node, &longest, b"long");
    publish_topic(&node, b"a/b", b"short");
    peer.consume("q", "c", false);
    let (first, content) = peer.expect_delivery(1);
    assert_eq!((first.delivery_tag, content.body), (1, b"long".to_vec()));
    let (second, _) = peer.expect_delivery(1);
    assert_eq!(
        (second.delivery_tag, second.routing_key.as_str()),
        (2, "a.b")
    );
    peer.expect_silence();
    assert_eq!(peer.ready(1, "dead"), 1);
    let empty = basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {}));
    assert_eq!(peer.call(1, get("r", false)), empty);
    assert_eq!(peer.ready(1, "dead"), 2);
    assert_eq!(peer.ready(1, "r"), 2);
}

#[test]
fn gets_are_answered_as_the_output_takes_their_messages() {
    const MESSAGES: usize = 100;
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    for _ in 0..MESSAGES {
        peer.publish("q", &[7; 10_000]);
    }
    let gets: Vec<u8> = (0..MESSAGES)
        .flat_map(|_| method_bytes(1, get("q", true)))
        .collect();
    peer.send_bytes(&gets);
    let mut answered = 0;
    let mut turns = 0;
    while answered < MESSAGES {
        let before = answered;
        while peer.has_frame() {
            assert_eq!(peer.expect_content(1).body.len(), 10_000);
            answered += 1;
        }
        // A budget of 128 KiB, and the message that reached it.
        assert!(
            (1..=14).contains(&(answered - before)),
            "{before}..{answered}"
        );
        turns += 1;
        peer.send_bytes(&[]);
    }
    assert_eq!(turns, 8);
    assert_eq!(peer.ready(1, "q"), 0);
}

#[test]
fn next_single_active_consumer_begins_with_what_the_last_one_gives_back() {
    fn consume(peer: &mut Peer) {
        peer.call(1, qos(3, false));
        peer.consume("q", "t", false);
    }
    let single = queue::Declare {
        queue: short("q"),
        arguments: table(&[("x-single-active-consumer", AMQPValue::Boolean(true))]),
        ..queue::Declare::default()
    };
    let node = Node::new();
    let [mut publisher, mut closes, mut breaks, mut last] = [(); 4].map(|()| node.channel());
    publisher.call(1, declare_with(single));
    for peer in [&mut closes, &mut breaks, &mut last] {
        consume(peer);
    }
    for body in 0..6 {
        publisher.publish("q", &[body]);
    }
    assert_eq!(deliveries(&mut closes), 3);
    closes.call(
        1,
        AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close::default())),
    );
    assert_eq!(deliveries(&mut breaks), 3);
    breaks.lose();
    for body in 0..6 {
        let (deliver, content) = last.expect_delivery(1);
        assert_eq!((content.body, deliver.redelivered), (vec![body], body < 3));
        last.send(1, ack(deliver.delivery_tag, false));
    }
}

#[test]
fn consumers_that_share_a_limit_take_turns() {
    let node = Node::new();
    for queues in [["q", "q", "q"], ["a", "b", "c"]] {
        let mut peer = node.channel();
        for queue in queues {
            peer.declare(queue);
        }
        peer.call(1, qos(1, true));
        for (queue, tag) in queues.iter().zip(["c0", "c1", "c2"]) {
            peer.consume(queue, tag, false);
        }
        for _ in 0..3 {
            for queue in queues {
                peer.publish(queue, b"m");
            }
        }
        let mut tags = Vec::new();
        for delivery_tag in 1..=6 {
            let (deliver, _) = peer.expect_delivery(1);
            tags.push(deliver.consumer_tag.as_str().to_owned());
            peer.expect_silence();
            peer.send(1, ack(delivery_tag, false));
        }
        for tag in ["c0", "c1", "c2"] {
            let turns = tags.iter().filter(|served| *served == tag).count();
            assert_eq!(turns, 2, "{queues:?}: {tags:?}");
        }
    }
}

#[test]
fn consumer_without_acknowledgements_waits_while_the_limit_of_its_channel_is_reached() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("q");
    peer.declare("automatic");
    peer.consume("automatic", "a", true);
    peer.call(1, qos(1, true));
    peer.consume("q", "c", false);
    peer.publish("q", b"m");
    peer.expect_delivery(1);
    peer.publish("automatic", b"waits");
    peer.expect_silence();
    peer.send(1, ack(1, false));
    for tag in [2, 3] {
        peer.expect_delivery(1);
        if tag == 2 {
            peer.publish("automatic", b"does not");
        }
    }
    peer.expect_silence();
}
