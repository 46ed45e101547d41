//! How much room the data takes.

use std::collections::VecDeque;

use lapin::options::{BasicAckOptions, BasicPublishOptions};
use lapin::types::FieldTable;

use crate::support::amqp::{consume, declare, get, next, open, persistent, send};
use crate::support::node::{ENDS, Node};
use crate::support::soon;

const CONFIG: &str = "
[storage]
segment_bytes = 1048576
checkpoint_bytes = 2097152
";

/// What passes through.
const MESSAGES: usize = 8_000;
const MESSAGE_BYTES: usize = 10_000;
/// Far less than that. A checkpoint that is overdue, spare segments and what the checkpoint before it needs.
const DATA_BYTES_MAX: u64 = 24 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_old_message_does_not_keep_what_came_after_it() {
    for end in ENDS {
        let mut node = Node::start(CONFIG);
        let (_connection, channel) = open(node.broker()).await;
        declare(&channel, "old", FieldTable::default()).await;
        declare(&channel, "busy", FieldTable::default()).await;
        send(&channel, "old", b"old").await;
        let held = get(&channel, "old").await.unwrap();
        let mut consumer = consume(&channel, "busy").await;
        let (body, mut waiting, mut most) = (vec![1; MESSAGE_BYTES], VecDeque::new(), 0);
        for number in 0..MESSAGES {
            let options = BasicPublishOptions::default();
            let publish =
                channel.basic_publish("".into(), "busy".into(), options, &body, persistent());
            waiting.push_back(soon(publish).await.unwrap());
            if waiting.len() >= 32 {
                soon(waiting.pop_front().unwrap()).await.unwrap();
                let delivery = next(&mut consumer).await;
                soon(delivery.ack(BasicAckOptions::default()))
                    .await
                    .unwrap();
            }
            if number % 500 == 0 {
                most = most.max(node.data_bytes());
            }
        }
        assert!(most < DATA_BYTES_MAX, "{most} bytes");
        drop(held);
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        let old = get(&channel, "old").await.unwrap();
        assert_eq!((&old.data[..], old.redelivered), (&b"old"[..], true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_may_be_larger_than_segments() {
    for end in ENDS {
        let mut node = Node::start(CONFIG);
        let (_connection, channel) = open(node.broker()).await;
        declare(&channel, "q", FieldTable::default()).await;
        let body: Vec<u8> = (0_u32..1_500_000).flat_map(u32::to_be_bytes).collect();
        send(&channel, "q", &body).await;
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        assert!(get(&channel, "q").await.unwrap().data == body);
    }
}
