//! Messages that wait for their time.

use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use crate::support::amqp::{
    bind, consume, declare, next_acked, open, persistent, publish, table, text,
};
use crate::support::node::{ENDS, Node};
use crate::support::soon;

#[tokio::test]
async fn delayed_messages_survive_either_end_and_come_once() {
    for end in ENDS {
        let mut node = Node::start("");
        let (connection, channel) = open(node.broker()).await;
        let options = ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let kind = ExchangeKind::Custom("x-delayed-message".into());
        let arguments = table([("x-delayed-type", text("direct"))]);
        soon(channel.exchange_declare("later".into(), kind, options, arguments))
            .await
            .unwrap();
        declare(&channel, "q", FieldTable::default()).await;
        declare(&channel, "other", FieldTable::default()).await;
        bind(&channel, "q", "later", "k").await;
        for (body, ms) in [("third", 4_000), ("first", 1), ("second", 3_000)] {
            let headers = table([("x-delay", AMQPValue::LongInt(ms))]);
            let properties = persistent().with_headers(headers);
            publish(&channel, "later", "k", body.as_bytes(), properties).await;
        }
        let mut consumer = consume(&channel, "q").await;
        assert_eq!(next_acked(&mut consumer).await.data, b"first");
        // The confirm promises what came before it in the log, the acknowledgement too.
        publish(&channel, "", "other", b"", persistent()).await;
        drop((connection, channel));
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        let mut consumer = consume(&channel, "q").await;
        assert_eq!(next_acked(&mut consumer).await.data, b"second");
        assert_eq!(next_acked(&mut consumer).await.data, b"third");
        publish(&channel, "", "other", b"", persistent()).await;
        node.restart(end);
        let (_connection, channel) = open(node.broker()).await;
        let queue = declare(&channel, "q", FieldTable::default()).await;
        assert_eq!(queue.message_count(), 0, "each came once");
    }
}
