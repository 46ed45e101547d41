use ternmq_core::message::NewMessage;

use super::*;
use crate::bed::{START, broker, client, queue, request};

#[test]
fn idle_connection_keeps_little_of_a_large_turn() {
    let broker = broker();
    let mut client = client(&broker);
    let mut decl = queue("q", &[]);
    decl.durable = true;
    client.declare_queue(decl).unwrap();
    let body = vec![0; 8_000];
    let mut turn = Turn::new();
    for _ in 0..1_000 {
        let route = client.route(&request(b"", b"q")).unwrap();
        let mut new = NewMessage::plain(b"", b"q", &body);
        new.durable = true;
        turn.push(new.build(client.scratch()), route);
    }
    let lsn = client.publish(&mut turn, START).lsn;
    assert!(lsn.is_some() && turn.is_empty());
    assert!(turn.messages.capacity() <= TURN_KEPT_MAX);
    assert!(client.work.get().scratch.capacity() < body.len());
    assert!(client.work.get().batch.byte_len() < body.len());
    assert!(RECORDS.with_borrow(Batch::is_empty));
}
