//! What AMQP clients hear when the journal has no room: a node in this process with a journal that refuses on demand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lapin::options::{BasicAckOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use support::amqp::{channel, counts, declare, get, persistent, publish, refusal, send};
use support::soon;
use ternmq_amqp::AmqpConfig;
use ternmq_amqp::listener::AmqpAcceptor;
use ternmq_broker::clock::{Clock, SystemClock};
use ternmq_broker::{Broker, BrokerConfig, Log};
use ternmq_journal::{Batch, Index, LogError, MemoryLog, Watcher};
use ternmq_net::server::{Server, ServerConfig};

/// A log in memory that is full when it is told so.
#[derive(Default)]
struct Fillable {
    log: MemoryLog,
    is_full: AtomicBool,
}

impl Log for Fillable {
    fn append(&self, batch: &Batch) -> Result<Index, LogError> {
        if self.is_full.load(Ordering::SeqCst) && !batch.is_empty() {
            return Err(LogError::Full);
        }
        self.log.append(batch)
    }

    fn committed(&self) -> Index {
        self.log.committed()
    }

    fn watch(&self, watcher: Arc<dyn Watcher>) {
        self.log.watch(watcher);
    }

    fn durability(&self) -> &'static str {
        self.log.durability()
    }
}

struct Node {
    log: Arc<Fillable>,
    uri: String,
    _server: Server,
}

impl Node {
    fn start() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let log = Arc::new(Fillable::default());
        let log_of_broker: Arc<dyn Log> = log.clone();
        let broker = Broker::new(&BrokerConfig::default(), clock.clone(), log_of_broker);
        let mut server = Server::new(&ServerConfig::default(), clock);
        let acceptor = AmqpAcceptor::new(AmqpConfig::default(), broker).unwrap();
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let addr = server.listen(Arc::new(acceptor), anywhere).unwrap();
        Self {
            log,
            uri: format!("amqp://guest:guest@{addr}/%2f"),
            _server: server,
        }
    }

    fn fill(&self) {
        self.log.is_full.store(true, Ordering::SeqCst);
    }

    fn make_room(&self) {
        self.log.is_full.store(false, Ordering::SeqCst);
    }

    async fn connect(&self) -> Connection {
        let properties = ConnectionProperties::default();
        soon(Connection::connect(&self.uri, properties))
            .await
            .unwrap()
    }
}

/// Publishes a persistent message without waiting for anything.
async fn publish_unconfirmed(channel: &Channel, queue: &str, body: &[u8]) {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    soon(channel.basic_publish("".into(), queue.into(), options, body, persistent()))
        .await
        .unwrap();
}

#[tokio::test]
async fn publishes_that_the_journal_refuses_are_nacked_and_not_returned() {
    let node = Node::start();
    let connection = node.connect().await;
    let channel = channel(&connection).await;
    declare(&channel, "q", FieldTable::default()).await;
    send(&channel, "q", b"before").await;
    node.fill();
    let refused = publish(&channel, "", "q", b"refused", persistent()).await;
    assert_eq!(
        refused,
        Confirmation::Nack(None),
        "there was a queue for it, so it does not come back as unroutable"
    );
    let transient = publish(&channel, "", "q", b"transient", BasicProperties::default()).await;
    assert_eq!(transient, Confirmation::Ack(None), "it needs no journal");
    node.make_room();
    send(&channel, "q", b"after").await;
    assert_eq!(counts(&channel, "q").await.0, 3);
}

#[tokio::test]
async fn without_confirms_nobody_hears_of_refused_publishes() {
    let node = Node::start();
    let connection = node.connect().await;
    let channel = soon(connection.create_channel()).await.unwrap();
    declare(&channel, "q", FieldTable::default()).await;
    node.fill();
    publish_unconfirmed(&channel, "q", b"refused").await;
    assert_eq!(counts(&channel, "q").await.0, 0);
    node.make_room();
    publish_unconfirmed(&channel, "q", b"taken").await;
    assert_eq!(counts(&channel, "q").await.0, 1, "the channel lives on");
}

#[tokio::test]
async fn transaction_that_the_journal_refuses_is_rolled_back_and_closes_its_channel() {
    let node = Node::start();
    let connection = node.connect().await;
    let watching = channel(&connection).await;
    declare(&watching, "q", FieldTable::default()).await;
    send(&watching, "q", b"kept").await;

    let transacted = soon(connection.create_channel()).await.unwrap();
    soon(transacted.tx_select()).await.unwrap();
    let message = get(&transacted, "q").await.unwrap();
    soon(message.ack(BasicAckOptions::default())).await.unwrap();
    publish_unconfirmed(&transacted, "q", b"refused").await;
    node.fill();
    let (code, text) = refusal(soon(transacted.tx_commit()).await);
    assert_eq!(code, 406);
    assert_eq!(
        text,
        "PRECONDITION_FAILED - transaction rolled back: the journal is full"
    );
    node.make_room();
    let kept = get(&watching, "q").await.unwrap();
    assert_eq!(kept.data, b"kept");
    assert!(get(&watching, "q").await.is_none());
}
