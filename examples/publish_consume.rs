//! Publishes ten messages over AMQP 0.9.1 and consumes them: confirms, prefetch, acknowledgements.
//!
//! ```sh
//! cargo run --release                       # the broker, in one terminal
//! cargo run --example publish_consume       # this, in another
//! ```
//! `TERNMQ_AMQP` names another address than 127.0.0.1:5672.
#![allow(clippy::print_stdout, reason = "an example says what it shows")]

use std::env;

use anyhow::{Context, ensure};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use tokio_stream::StreamExt;

const QUEUE: &str = "example.publish-consume";
const MESSAGES: usize = 10;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let addr = env::var("TERNMQ_AMQP").unwrap_or_else(|_| "127.0.0.1:5672".into());
    let uri = format!("amqp://guest:guest@{addr}/%2f");
    let connection = Connection::connect(&uri, ConnectionProperties::default())
        .await
        .with_context(|| format!("no broker at {addr}"))?;
    println!("connected to {addr} as guest");

    let publisher = connection.create_channel().await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    publisher
        .queue_declare(QUEUE.into(), durable, FieldTable::default())
        .await?;
    publisher
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mut confirms = Vec::new();
    for number in 1..=MESSAGES {
        let body = format!("message {number}");
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let sent = publisher.basic_publish(
            "".into(),
            QUEUE.into(),
            options,
            body.as_bytes(),
            persistent,
        );
        confirms.push(sent.await?);
    }
    for confirm in confirms {
        ensure!(confirm.await?.is_ack(), "the broker refused a message");
    }
    println!("published {MESSAGES} persistent messages, all confirmed");

    let worker = connection.create_channel().await?;
    worker.basic_qos(3, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut deliveries = worker
        .basic_consume(QUEUE.into(), "".into(), options, FieldTable::default())
        .await?;
    println!("consuming, with no more than 3 messages in hand");
    for _ in 0..MESSAGES {
        let delivery = deliveries
            .next()
            .await
            .context("the consumer was cancelled")??;
        println!(
            "  {}: {}",
            delivery.delivery_tag,
            String::from_utf8_lossy(&delivery.data)
        );
        delivery.ack(BasicAckOptions::default()).await?;
    }

    worker
        .queue_delete(QUEUE.into(), QueueDeleteOptions::default())
        .await?;
    connection.close(200, "done".into()).await?;
    println!("done");
    Ok(())
}
