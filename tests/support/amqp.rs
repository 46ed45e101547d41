//! lapin in fewer words: what the end-to-end tests say over and over again.

use lapin::message::{BasicGetMessage, Delivery};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions,
    ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind,
    Queue,
};
use tokio_stream::StreamExt;

use super::{Ternmq, soon};

/// `delivery_mode` of messages that survive a restart.
pub const PERSISTENT: u8 = 2;

/// A connection as guest.
pub async fn connect(broker: &Ternmq) -> Connection {
    let properties = ConnectionProperties::default();
    soon(Connection::connect(&broker.amqp_uri(), properties))
        .await
        .unwrap()
}

/// A connection and a channel of it that confirms.
pub async fn open(broker: &Ternmq) -> (Connection, Channel) {
    let connection = connect(broker).await;
    let channel = channel(&connection).await;
    (connection, channel)
}

/// A channel that confirms.
pub async fn channel(connection: &Connection) -> Channel {
    let channel = soon(connection.create_channel()).await.unwrap();
    soon(channel.confirm_select(ConfirmSelectOptions::default()))
        .await
        .unwrap();
    channel
}

/// A table of these fields.
pub fn table<const N: usize>(fields: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert(name.into(), value);
    }
    table
}

/// Text as a field value.
pub fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// A number as a field value.
pub fn number(number: i32) -> AMQPValue {
    AMQPValue::LongInt(number)
}

/// Declares a durable queue with these arguments.
pub async fn declare(channel: &Channel, queue: &str, arguments: FieldTable) -> Queue {
    let options = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    soon(channel.queue_declare(queue.into(), options, arguments))
        .await
        .unwrap()
}

/// Messages ready and consumers of a queue, by passive declare.
pub async fn counts(channel: &Channel, queue: &str) -> (u32, u32) {
    let options = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let found = soon(channel.queue_declare(queue.into(), options, FieldTable::default()))
        .await
        .unwrap();
    (found.message_count(), found.consumer_count())
}

/// Binds a queue.
pub async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) {
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    soon(channel.queue_bind(
        queue.into(),
        exchange.into(),
        key.into(),
        options,
        arguments,
    ))
    .await
    .unwrap();
}

/// Publishes through the default exchange and waits for the confirm, which must be an ack.
pub async fn send(channel: &Channel, queue: &str, body: &[u8]) {
    let confirmation = publish(channel, "", queue, body, persistent()).await;
    assert_eq!(confirmation, Confirmation::Ack(None));
}

/// Publishes and waits for the confirm.
pub async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Confirmation {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let confirm = channel.basic_publish(exchange.into(), key.into(), options, body, properties);
    soon(soon(confirm).await.unwrap()).await.unwrap()
}

/// Properties of a persistent message.
pub fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(PERSISTENT)
}

/// Gets one message, to be acknowledged.
pub async fn get(channel: &Channel, queue: &str) -> Option<BasicGetMessage> {
    soon(channel.basic_get(queue.into(), BasicGetOptions::default()))
        .await
        .unwrap()
}

/// Gets and acknowledges everything that is ready.
pub async fn drain(channel: &Channel, queue: &str) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    while let Some(message) = get(channel, queue).await {
        soon(message.ack(BasicAckOptions::default())).await.unwrap();
        bodies.push(message.delivery.data);
    }
    bodies
}

/// Consumes with acknowledgements under the queue's name as consumer tag.
pub async fn consume(channel: &Channel, queue: &str) -> Consumer {
    consume_with(channel, queue, BasicConsumeOptions::default()).await
}

/// Consumes under the queue's name as consumer tag.
pub async fn consume_with(
    channel: &Channel,
    queue: &str,
    options: BasicConsumeOptions,
) -> Consumer {
    let arguments = FieldTable::default();
    soon(channel.basic_consume(queue.into(), queue.into(), options, arguments))
        .await
        .unwrap()
}

/// The next delivery.
pub async fn next(consumer: &mut Consumer) -> Delivery {
    soon(consumer.next())
        .await
        .expect("the consumer was cancelled")
        .unwrap()
}

/// The next delivery, acknowledged.
pub async fn next_acked(consumer: &mut Consumer) -> Delivery {
    let delivery = next(consumer).await;
    soon(delivery.ack(BasicAckOptions::default()))
        .await
        .unwrap();
    delivery
}

/// Code and text of the protocol error that something ended with.
pub fn refusal<T>(result: lapin::Result<T>) -> (u16, String) {
    let Err(error) = result else {
        panic!("it was not refused")
    };
    let ErrorKind::ProtocolError(refusal) = error.kind() else {
        panic!("no protocol error but {error}")
    };
    (refusal.get_id(), refusal.get_message().to_string())
}

/// A message's header as text.
pub fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    let value = properties.headers().as_ref()?.inner().get(name)?;
    value.as_long_string().map(ToString::to_string)
}

/// One entry of a message's `x-death` header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Death {
    /// Why it died.
    pub reason: String,
    /// In which queue.
    pub queue: String,
    /// How often.
    pub count: i64,
    /// Exchange it had been published to.
    pub exchange: String,
    /// Routing keys it had been published with.
    pub routing_keys: Vec<String>,
}

impl Death {
    /// A death that happened once.
    pub fn once(reason: &str, queue: &str, exchange: &str, routing_key: &str) -> Self {
        Self {
            reason: reason.into(),
            queue: queue.into(),
            count: 1,
            exchange: exchange.into(),
            routing_keys: vec![routing_key.into()],
        }
    }
}

/// The deaths of a message, the latest first.
pub fn deaths(properties: &BasicProperties) -> Vec<Death> {
    let headers = properties.headers().as_ref().expect("headers");
    let deaths = headers
        .inner()
        .get("x-death")
        .expect("x-death")
        .as_array()
        .expect("an array");
    deaths.as_slice().iter().map(death).collect()
}

fn death(entry: &AMQPValue) -> Death {
    let fields = entry.as_field_table().expect("a table").inner();
    assert!(
        fields["time"]
            .as_timestamp()
            .is_some_and(|time| time > 1_700_000_000),
        "seconds"
    );
    let string = |name: &str| fields[name].as_long_string().expect("text").to_string();
    let routing_keys = fields["routing-keys"]
        .as_array()
        .expect("an array")
        .as_slice();
    Death {
        reason: string("reason"),
        queue: string("queue"),
        count: fields["count"].as_long_long_int().expect("64 bits"),
        exchange: string("exchange"),
        routing_keys: routing_keys
            .iter()
            .map(|key| key.as_long_string().expect("text").to_string())
            .collect(),
    }
}
