//! Damaged conversations: whatever arrives, nothing panics, nothing stays behind, nobody else suffers.

use amq_protocol::protocol::{AMQPClass, basic, queue};
use proptest::prelude::*;

use crate::harness::*;

/// A conversation that uses most of what there is.
fn conversation() -> Vec<u8> {
    let mut bytes = method_bytes(1, declare_queue("q"));
    let bind = queue::Bind {
        queue: short("q"),
        exchange: short("amq.topic"),
        routing_key: short("a.#"),
        arguments: table(&[("x", text("y"))]),
        ..queue::Bind::default()
    };
    bytes.extend(method_bytes(
        1,
        AMQPClass::Queue(queue::AMQPMethod::Bind(bind)),
    ));
    let consume = basic::Consume {
        queue: short("q"),
        consumer_tag: short("c"),
        ..basic::Consume::default()
    };
    bytes.extend(method_bytes(1, basic(basic::AMQPMethod::Consume(consume))));
    for n in 0..4 {
        bytes.extend(publish_bytes(1, "amq.topic", "a.b", &[n; 20]));
    }
    bytes.extend(method_bytes(1, ack(1, false)));
    let nack = basic::Nack {
        delivery_tag: 2,
        multiple: true,
        requeue: true,
    };
    bytes.extend(method_bytes(1, basic(basic::AMQPMethod::Nack(nack))));
    let properties = basic::AMQPProperties::default()
        .with_headers(table(&[("h", text("v"))]))
        .with_expiration(short("1000"));
    bytes.extend(method_bytes(1, publish_method("", "q", true)));
    bytes.extend(content_bytes(1, properties, &[9; 300]));
    bytes.extend(method_bytes(1, get("q", false)));
    bytes
}

fn survives(bytes: &[u8], read: usize) {
    let node = Node::new();
    let mut peer = node.channel();
    for part in bytes.chunks(read) {
        if peer.is_gone() {
            break;
        }
        peer.send_bytes(part);
    }
    peer.lose();
    // Everything was given back: whatever is in the queue is ready, and the queue has no consumer.
    let mut other = node.channel();
    let AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) = other.call(1, declare_queue("q"))
    else {
        panic!("the queue is as the conversation declares it");
    };
    assert_eq!(ok.consumer_count, 0);
    let delete = queue::Delete {
        queue: short("q"),
        ..queue::Delete::default()
    };
    let deleted = other.call(1, AMQPClass::Queue(queue::AMQPMethod::Delete(delete)));
    let all = queue::DeleteOk {
        message_count: ok.message_count,
    };
    assert_eq!(deleted, AMQPClass::Queue(queue::AMQPMethod::DeleteOk(all)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_conversation_ends_its_own_connection_at_most(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        read in 1usize..2_000,
    ) {
        let mut bytes = conversation();
        // The declaration stays whole: what the queue is must not change.
        let start = method_bytes(1, declare_queue("q")).len();
        for (place, value) in places {
            let at = start + place.index(bytes.len() - start);
            bytes[at] = value;
        }
        survives(&bytes, read);
    }

    #[test]
    fn cut_or_repeated_conversation_ends_its_own_connection_at_most(
        cut in any::<prop::sample::Index>(),
        again in any::<prop::sample::Index>(),
        read in 1usize..2_000,
    ) {
        let whole = conversation();
        let mut bytes = whole[..cut.index(whole.len())].to_vec();
        bytes.extend(&whole[again.index(whole.len())..]);
        survives(&bytes, read);
    }
}
