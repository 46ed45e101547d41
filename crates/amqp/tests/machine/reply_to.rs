//! Direct reply-to: requests whose answers come without a queue of one's own.

use amq_protocol::protocol::{AMQPClass, basic, channel, queue};

use crate::harness::*;

const NAME: &str = "amq.rabbitmq.reply-to";

fn consume(tag: &str, no_ack: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Consume(basic::Consume {
        queue: short(NAME),
        consumer_tag: short(tag),
        no_ack,
        ..basic::Consume::default()
    }))
}

fn request(key: &str, properties: basic::AMQPProperties) -> Vec<u8> {
    let mut bytes = method_bytes(1, publish_method("", key, false));
    bytes.extend(content_bytes(1, properties, b"request"));
    bytes
}

fn asking() -> basic::AMQPProperties {
    basic::AMQPProperties::default()
        .with_correlation_id(short("c1"))
        .with_reply_to(short(NAME))
}

/// A requester, a responder, and the address that the request carried.
fn requested(node: &Node) -> (Peer, Peer, String) {
    let (mut requester, mut responder) = (node.channel(), node.channel());
    responder.declare("requests");
    requester.consume(NAME, "replies", true);
    requester.send_bytes(&request("requests", asking()));
    responder.send(1, get("requests", true));
    let content = responder.expect_content(1);
    let address = content.properties.reply_to().clone().unwrap().to_string();
    assert_eq!(
        content.properties,
        asking().with_reply_to(short(&address)),
        "nothing else changed"
    );
    (requester, responder, address)
}

fn mandatory(key: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = method_bytes(1, publish_method("", key, true));
    bytes.extend(content_bytes(1, basic::AMQPProperties::default(), body));
    bytes
}

fn cancel(peer: &mut Peer, tag: &str) {
    let cancel = basic::Cancel {
        consumer_tag: short(tag),
        nowait: false,
    };
    let ok = basic::CancelOk {
        consumer_tag: short(tag),
    };
    assert_eq!(
        peer.call(1, basic(basic::AMQPMethod::Cancel(cancel))),
        basic(basic::AMQPMethod::CancelOk(ok))
    );
}

fn no_queue(name: &str, id: (u16, u16)) -> Closed {
    let text = format!("NOT_FOUND - no queue '{name}' in vhost 'probe'");
    (404, text, id.0, id.1)
}

fn precondition(text: &str, (class, method): (u16, u16)) -> Closed {
    let text = format!("PRECONDITION_FAILED - {text}");
    (406, text, class, method)
}

#[test]
fn reply_comes_straight_to_the_requester_from_the_default_exchange() {
    let node = Node::new();
    let (mut requester, mut responder, address) = requested(&node);
    assert!(address.starts_with("amq.rabbitmq.reply-to.") && address.len() == 44);
    responder.send_bytes(&mandatory(&address, b"reply"));
    responder.expect_silence();
    let (deliver, content) = requester.expect_delivery(1);
    assert_eq!(
        (
            deliver.consumer_tag.as_str(),
            deliver.delivery_tag,
            deliver.redelivered,
            deliver.exchange.as_str(),
            deliver.routing_key.as_str()
        ),
        ("replies", 1, false, "", &*address)
    );
    assert_eq!(content.body, b"reply");
    // As often as one likes, and to oneself as well.
    requester.publish(&address, b"again");
    assert_eq!(requester.expect_delivery(1).1.body, b"again");
}

#[test]
fn every_channel_has_an_address_of_its_own() {
    let node = Node::new();
    let (_first, _, one) = requested(&node);
    let (_second, _, other) = requested(&node);
    assert_ne!(one, other);
}

#[test]
fn reply_consumer_cannot_acknowledge_and_is_set_once() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.send(1, consume("a", false));
    let closed = precondition("reply consumer cannot acknowledge", (60, 20));
    assert_eq!(peer.expect_channel_close(1), closed);
    peer.reopen_channel(1);
    peer.consume(NAME, "a", true);
    peer.send(1, consume("b", true));
    let closed = precondition("reply consumer already set", (60, 20));
    assert_eq!(peer.expect_channel_close(1), closed);
    peer.reopen_channel(1);
    peer.consume(NAME, "a", true);
    cancel(&mut peer, "a");
    peer.consume(NAME, "b", true);
    peer.send(1, consume("b", true));
    assert_eq!(peer.expect_close().0, 530, "the tag is checked first");
}

#[test]
fn request_without_a_reply_consumer_is_refused() {
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("requests");
    let closed = precondition("fast reply consumer does not exist", (60, 40));
    peer.send_bytes(&request("requests", asking()));
    assert_eq!(peer.expect_channel_close(1), closed);
    peer.reopen_channel(1);
    peer.consume(NAME, "a", true);
    cancel(&mut peer, "a");
    peer.send_bytes(&request("requests", asking()));
    assert_eq!(peer.expect_channel_close(1), closed);
    peer.reopen_channel(1);
    // Any other address is the client's own business.
    let elsewhere = asking().with_reply_to(short("amq.rabbitmq.reply-to.made-up"));
    peer.send_bytes(&request("requests", elsewhere.clone()));
    peer.send(1, get("requests", true));
    assert_eq!(peer.expect_content(1).properties, elsewhere);
}

#[test]
fn reply_to_a_requester_that_is_gone_is_returned_if_mandatory_and_dropped_otherwise() {
    let node = Node::new();
    for end in ["cancel", "channel", "connection"] {
        let (mut requester, mut responder, address) = requested(&node);
        match end {
            "cancel" => cancel(&mut requester, "replies"),
            "channel" => {
                let close = channel::AMQPMethod::Close(channel::Close::default());
                requester.call(1, AMQPClass::Channel(close));
            }
            _ => requester.lose(),
        }
        responder.publish(&address, b"dropped");
        responder.expect_silence();
        responder.send_bytes(&mandatory(&address, b"back"));
        let returned = responder.expect_content(1);
        let AMQPClass::Basic(basic::AMQPMethod::Return(method)) = returned.method else {
            panic!("basic.return was expected");
        };
        assert_eq!((method.reply_code, &*returned.body), (312, &b"back"[..]));
        responder.send(1, passive_queue(&address));
        assert_eq!(
            responder.expect_channel_close(1),
            no_queue(&address, (50, 10))
        );
    }
}

#[test]
fn declaring_tells_whether_a_requester_waits() {
    let node = Node::new();
    let (_requester, mut responder, address) = requested(&node);
    for declare in [declare_queue, passive_queue] {
        for name in [NAME, &address] {
            let ok = queue::DeclareOk {
                queue: short(name),
                message_count: 0,
                consumer_count: 1,
            };
            assert_eq!(
                responder.call(1, declare(name)),
                AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok))
            );
        }
        for name in ["amq.rabbitmq.reply-to.made-up", "amq.rabbitmq.reply-too"] {
            responder.send(1, declare(name));
            assert_eq!(responder.expect_channel_close(1), no_queue(name, (50, 10)));
            responder.reopen_channel(1);
        }
    }
}

#[test]
fn it_is_no_queue_to_work_with() {
    let node = Node::new();
    let (mut requester, _, address) = requested(&node);
    requester.publish(&address, b"kept");
    for name in [NAME, &address] {
        let bind = queue::AMQPMethod::Bind(queue::Bind {
            queue: short(name),
            exchange: short("amq.fanout"),
            ..queue::Bind::default()
        });
        let purge = queue::AMQPMethod::Purge(queue::Purge {
            queue: short(name),
            nowait: false,
        });
        let mut peer = node.channel();
        for (method, id) in [
            (get(name, true), (60, 70)),
            (AMQPClass::Queue(bind), (50, 20)),
            (AMQPClass::Queue(purge), (50, 30)),
        ] {
            peer.send(1, method);
            assert_eq!(peer.expect_channel_close(1), no_queue(name, id));
            peer.reopen_channel(1);
        }
        let delete = queue::AMQPMethod::Delete(queue::Delete {
            queue: short(name),
            ..queue::Delete::default()
        });
        let ok = queue::AMQPMethod::DeleteOk(queue::DeleteOk { message_count: 0 });
        assert_eq!(peer.call(1, AMQPClass::Queue(delete)), AMQPClass::Queue(ok));
        let unbind = queue::AMQPMethod::Unbind(queue::Unbind {
            queue: short(name),
            exchange: short("amq.fanout"),
            ..queue::Unbind::default()
        });
        let ok = queue::AMQPMethod::UnbindOk(queue::UnbindOk {});
        assert_eq!(peer.call(1, AMQPClass::Queue(unbind)), AMQPClass::Queue(ok));
    }
    let mut peer = node.channel();
    let consume = basic::Consume {
        queue: short(&address),
        no_ack: true,
        ..basic::Consume::default()
    };
    peer.send(1, basic(basic::AMQPMethod::Consume(consume)));
    assert_eq!(peer.expect_channel_close(1), no_queue(&address, (60, 20)));
    assert_eq!(requester.expect_delivery(1).1.body, b"kept");
}

#[test]
fn request_in_a_transaction_goes_out_with_its_commit() {
    use amq_protocol::protocol::tx;
    let node = Node::new();
    let mut peer = node.channel();
    peer.declare("requests");
    peer.consume(NAME, "replies", true);
    peer.call(1, AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})));
    peer.send_bytes(&request("requests", asking()));
    assert_eq!(peer.ready(1, "requests"), 0);
    peer.call(1, AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})));
    peer.send(1, get("requests", true));
    let content = peer.expect_content(1);
    let address = content.properties.reply_to().clone().unwrap();
    assert!(address.as_str().starts_with("amq.rabbitmq.reply-to."));
}
