//! Exchanges, queues and bindings.

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, ExchangeKind, Queue};

use crate::support::amqp::{
    bind, channel, connect, counts, declare, drain, number, open, persistent, publish, refusal,
    send, table, text,
};
use crate::support::node::{ENDS, Node};
use crate::support::soon;

const KINDS: [(&str, ExchangeKind); 4] = [
    ("x-direct", ExchangeKind::Direct),
    ("x-fanout", ExchangeKind::Fanout),
    ("x-topic", ExchangeKind::Topic),
    ("x-headers", ExchangeKind::Headers),
];

const DURABLE: ExchangeDeclareOptions = ExchangeDeclareOptions {
    durable: true,
    passive: false,
    auto_delete: false,
    internal: false,
    nowait: false,
};

async fn exchange(
    channel: &Channel,
    name: &str,
    kind: ExchangeKind,
    options: ExchangeDeclareOptions,
    arguments: FieldTable,
) -> lapin::Result<()> {
    soon(channel.exchange_declare(name.into(), kind, options, arguments)).await
}

fn alternate() -> FieldTable {
    table([("alternate-exchange", text("lost"))])
}

async fn exists(channel: &Channel, name: &str) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions {
        passive: true,
        ..Default::default()
    };
    exchange(
        channel,
        name,
        ExchangeKind::Direct,
        options,
        FieldTable::default(),
    )
    .await
}

async fn declare_exchanges(channel: &Channel) {
    exchange(
        channel,
        "lost",
        ExchangeKind::Fanout,
        DURABLE,
        FieldTable::default(),
    )
    .await
    .unwrap();
    for (name, kind) in KINDS {
        exchange(channel, name, kind, DURABLE, alternate())
            .await
            .unwrap();
    }
    let internal = ExchangeDeclareOptions {
        internal: true,
        ..DURABLE
    };
    exchange(
        channel,
        "inner",
        ExchangeKind::Topic,
        internal,
        FieldTable::default(),
    )
    .await
    .unwrap();
    let transient = ExchangeDeclareOptions::default();
    exchange(
        channel,
        "transient",
        ExchangeKind::Direct,
        transient,
        FieldTable::default(),
    )
    .await
    .unwrap();
}

/// Every kind of exchange to a queue of its own; a topic pattern, a headers table, an exchange behind another.
async fn bind_all(channel: &Channel) {
    for queue in ["direct", "fanout", "topic", "headers", "lost", "behind"] {
        declare(channel, queue, FieldTable::default()).await;
    }
    bind(channel, "direct", "x-direct", "key").await;
    bind(channel, "fanout", "x-fanout", "").await;
    bind(channel, "topic", "x-topic", "a.*.#").await;
    bind(channel, "lost", "lost", "").await;
    bind(channel, "behind", "inner", "a.#").await;
    let matching = table([("x-match", text("any")), ("colour", text("red"))]);
    soon(channel.queue_bind(
        "headers".into(),
        "x-headers".into(),
        "".into(),
        QueueBindOptions::default(),
        matching,
    ))
    .await
    .unwrap();
    soon(channel.exchange_bind(
        "inner".into(),
        "x-topic".into(),
        "a.b.c".into(),
        ExchangeBindOptions::default(),
        FieldTable::default(),
    ))
    .await
    .unwrap();
}

async fn publish_everywhere(channel: &Channel) {
    let red = persistent().with_headers(table([("colour", text("red"))]));
    for (exchange, key, properties) in [
        ("x-direct", "key", persistent()),
        ("x-direct", "nowhere", persistent()),
        ("x-fanout", "whatever", persistent()),
        ("x-topic", "a.b.c", persistent()),
        ("x-topic", "a.x", persistent()),
        ("x-topic", "b", persistent()),
        ("x-headers", "", red),
    ] {
        let confirm = publish(channel, exchange, key, key.as_bytes(), properties).await;
        assert_eq!(confirm, Confirmation::Ack(None), "{exchange} {key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durable_exchanges_and_bindings_route_as_before() {
    for end in ENDS {
        let mut node = Node::start("");
        let (_connection, channel) = open(node.broker()).await;
        declare_exchanges(&channel).await;
        bind_all(&channel).await;
        for _ in 0..2 {
            node.restart(end);
        }
        let (connection, channel) = open(node.broker()).await;
        publish_everywhere(&channel).await;
        let expected: [(&str, &[&str]); 6] = [
            ("direct", &["key"]),
            ("fanout", &["whatever"]),
            ("topic", &["a.b.c", "a.x"]),
            ("headers", &[""]),
            ("lost", &["nowhere", "b"]),
            ("behind", &["a.b.c"]),
        ];
        for (queue, bodies) in expected {
            let bodies: Vec<_> = bodies.iter().map(|body| body.as_bytes()).collect();
            assert_eq!(drain(&channel, queue).await, bodies, "{queue}, {end:?}");
        }
        for (name, kind) in KINDS {
            exchange(&channel, name, kind.clone(), DURABLE, alternate())
                .await
                .unwrap();
            let other = self::channel(&connection).await;
            let without = FieldTable::default();
            let refused = exchange(&other, name, kind, DURABLE, without).await;
            assert_eq!(refusal(refused).0, 406);
        }
        assert_eq!(refusal(exists(&channel, "transient").await).0, 404);
        connection.close(200, "done".into()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_and_unbound_stays_so() {
    for end in ENDS {
        let mut node = Node::start("");
        let (_connection, channel) = open(node.broker()).await;
        declare_exchanges(&channel).await;
        bind_all(&channel).await;
        send(&channel, "direct", b"gone with its queue").await;
        soon(channel.queue_delete("direct".into(), QueueDeleteOptions::default()))
            .await
            .unwrap();
        soon(channel.exchange_delete("x-fanout".into(), ExchangeDeleteOptions::default()))
            .await
            .unwrap();
        soon(channel.queue_unbind(
            "topic".into(),
            "x-topic".into(),
            "a.*.#".into(),
            FieldTable::default(),
        ))
        .await
        .unwrap();
        node.restart(end);
        let (connection, channel) = open(node.broker()).await;
        declare(&channel, "direct", FieldTable::default()).await;
        publish(&channel, "x-direct", "key", b"lost", persistent()).await;
        publish(&channel, "x-topic", "a.x", b"lost", persistent()).await;
        assert_eq!(counts(&channel, "direct").await.0, 0);
        assert_eq!(counts(&channel, "topic").await.0, 0);
        assert_eq!(counts(&channel, "lost").await.0, 2);
        assert_eq!(refusal(exists(&channel, "x-fanout").await).0, 404);
        drop(connection);
    }
}

fn every_argument() -> FieldTable {
    table([
        ("x-message-ttl", number(3_600_000)),
        ("x-expires", number(3_600_000)),
        ("x-max-length", number(100)),
        ("x-max-length-bytes", number(1_000_000)),
        ("x-overflow", text("reject-publish")),
        ("x-dead-letter-exchange", text("lost")),
        ("x-dead-letter-routing-key", text("dead")),
        ("x-dead-letter-strategy", text("at-most-once")),
        ("x-max-priority", number(5)),
        ("x-queue-mode", text("lazy")),
        ("x-queue-version", number(2)),
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ("x-delivery-limit", number(7)),
        ("x-queue-type", text("classic")),
        ("x-unknown", text("kept")),
    ])
}

async fn redeclare(channel: &Channel, queue: &str, arguments: FieldTable) -> lapin::Result<Queue> {
    let options = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    soon(channel.queue_declare(queue.into(), options, arguments)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_keep_every_argument() {
    for end in ENDS {
        let mut node = Node::start("");
        let (_connection, channel) = open(node.broker()).await;
        declare(&channel, "q", every_argument()).await;
        let quorum = || table([("x-queue-type", text("quorum"))]);
        declare(&channel, "quorum", quorum()).await;
        for _ in 0..2 {
            node.restart(end);
        }
        let connection = connect(node.broker()).await;
        let channel = self::channel(&connection).await;
        redeclare(&channel, "q", every_argument()).await.unwrap();
        redeclare(&channel, "quorum", quorum()).await.unwrap();
        let all = every_argument();
        for left_out in all
            .inner()
            .keys()
            .filter(|name| name.as_str() != "x-unknown")
        {
            if ["x-queue-mode", "x-queue-version", "x-queue-type"].contains(&left_out.as_str()) {
                continue;
            }
            let mut others = FieldTable::default();
            for (name, value) in all.inner().iter().filter(|(name, _)| *name != left_out) {
                others.insert(name.clone(), value.clone());
            }
            let channel = self::channel(&connection).await;
            let refused = redeclare(&channel, "q", others).await;
            assert!(refused.is_err(), "without {left_out}, {end:?}");
            assert_eq!(refusal(refused).0, 406, "without {left_out}, {end:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_that_are_not_durable_or_are_exclusive_are_gone() {
    for end in ENDS {
        let mut node = Node::start("");
        let (connection, channel) = open(node.broker()).await;
        let transient = QueueDeclareOptions::default();
        let exclusive = QueueDeclareOptions {
            durable: true,
            exclusive: true,
            ..Default::default()
        };
        for (queue, options) in [("transient", transient), ("exclusive", exclusive)] {
            soon(channel.queue_declare(queue.into(), options, FieldTable::default()))
                .await
                .unwrap();
            bind(&channel, queue, "amq.fanout", "").await;
        }
        declare(&channel, "durable", FieldTable::default()).await;
        bind(&channel, "durable", "amq.fanout", "").await;
        publish(&channel, "amq.fanout", "", b"kept", persistent()).await;
        publish(
            &channel,
            "amq.fanout",
            "",
            b"transient",
            BasicProperties::default(),
        )
        .await;
        node.restart(end);
        drop(connection);
        let connection = connect(node.broker()).await;
        for queue in ["transient", "exclusive"] {
            let channel = self::channel(&connection).await;
            let options = QueueDeclareOptions {
                passive: true,
                ..Default::default()
            };
            let found =
                soon(channel.queue_declare(queue.into(), options, FieldTable::default())).await;
            assert_eq!(refusal(found).0, 404, "{queue}, {end:?}");
        }
        let channel = self::channel(&connection).await;
        assert_eq!(drain(&channel, "durable").await, [b"kept"], "{end:?}");
    }
}
