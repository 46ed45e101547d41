//! An MQTT device and an AMQP application meet, both ways: a topic `a/b/c` is the routing key `a.b.c` of `amq.topic`.
//!
//! ```sh
//! cargo run --release                       # the broker, in one terminal
//! cargo run --example bridge                # this, in another
//! ```
//! `TERNMQ_AMQP` and `TERNMQ_MQTT` name other addresses than 127.0.0.1:5672 and 127.0.0.1:1883.
#![allow(clippy::print_stdout, reason = "an example says what it shows")]

use std::env;
use std::net::ToSocketAddrs;

use anyhow::{Context, ensure};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio_stream::StreamExt;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let amqp = env::var("TERNMQ_AMQP").unwrap_or_else(|_| "127.0.0.1:5672".into());
    let uri = format!("amqp://guest:guest@{amqp}/%2f");
    let application = Connection::connect(&uri, ConnectionProperties::default())
        .await
        .with_context(|| format!("no broker at {amqp}"))?;
    let channel = application.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;

    let mqtt = env::var("TERNMQ_MQTT").unwrap_or_else(|_| "127.0.0.1:1883".into());
    let addr = mqtt.to_socket_addrs()?.next().context("no such address")?;
    let mut options = MqttOptions::new("example-device", addr.ip().to_string(), addr.port());
    options.set_credentials("guest", "guest");
    let (device, mut events) = AsyncClient::new(options, 10);
    println!("an application speaks AMQP to {amqp}, a device speaks MQTT 5 to {mqtt}");

    from_device_to_application(&channel, &device, &mut events).await?;
    from_application_to_device(&channel, &device, &mut events).await?;

    device.disconnect().await?;
    while events.poll().await.is_ok() {}
    application.close(200, "done".into()).await?;
    println!("done");
    Ok(())
}

async fn from_device_to_application(
    channel: &Channel,
    device: &AsyncClient,
    events: &mut EventLoop,
) -> anyhow::Result<()> {
    let temporary = QueueDeclareOptions {
        exclusive: true,
        ..Default::default()
    };
    let queue = channel
        .queue_declare("".into(), temporary, FieldTable::default())
        .await?;
    let pattern = "example.*.temperature";
    let (exchange, options) = ("amq.topic".into(), QueueBindOptions::default());
    channel
        .queue_bind(
            queue.name().clone(),
            exchange,
            pattern.into(),
            options,
            FieldTable::default(),
        )
        .await?;
    let options = BasicConsumeOptions::default();
    let mut deliveries = channel
        .basic_consume(
            queue.name().clone(),
            "".into(),
            options,
            FieldTable::default(),
        )
        .await?;

    let properties = PublishProperties {
        user_properties: vec![("unit".into(), "celsius".into())],
        ..Default::default()
    };
    let topic = "example/kitchen/temperature";
    device
        .publish_with_properties(topic, QoS::AtLeastOnce, false, "21.5", properties)
        .await?;
    println!("the device publishes to {topic}");
    loop {
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await? {
            break;
        }
    }
    let delivery = deliveries
        .next()
        .await
        .context("the consumer was cancelled")??;
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    let unit = headers
        .inner()
        .get("unit")
        .and_then(|unit| unit.as_long_string());
    println!(
        "  the application, bound by {pattern}, gets {} = {} {}",
        delivery.routing_key,
        String::from_utf8_lossy(&delivery.data),
        unit.map(ToString::to_string).unwrap_or_default(),
    );
    delivery.ack(BasicAckOptions::default()).await?;
    Ok(())
}

async fn from_application_to_device(
    channel: &Channel,
    device: &AsyncClient,
    events: &mut EventLoop,
) -> anyhow::Result<()> {
    device
        .subscribe("example/commands/#", QoS::AtLeastOnce)
        .await?;
    loop {
        if let Event::Incoming(Packet::SubAck(_)) = events.poll().await? {
            break;
        }
    }
    let key = "example.commands.attic.fan";
    // Only persistent messages reach a device at QoS 1.
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let confirm = channel
        .basic_publish("amq.topic".into(), key.into(), options, b"on", persistent)
        .await?;
    ensure!(confirm.await?.take_message().is_none(), "nobody listens");
    println!("the application publishes to amq.topic with key {key}");
    loop {
        if let Event::Incoming(Packet::Publish(publish)) = events.poll().await? {
            println!(
                "  the device, subscribed to example/commands/#, gets {} = {} at QoS {}",
                String::from_utf8_lossy(&publish.topic),
                String::from_utf8_lossy(&publish.payload),
                publish.qos as u8,
            );
            return Ok(());
        }
    }
}
