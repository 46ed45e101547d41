//! A work queue that survives bad jobs: some fail once, one is poison, one comes too late. What cannot be done ends
//! in a dead-letter queue with its history.
//!
//! ```sh
//! cargo run --release                               # the broker, in one terminal
//! cargo run --example work_queue_dead_letters       # this, in another
//! ```
//! `TERNMQ_AMQP` names another address than 127.0.0.1:5672.
#![allow(clippy::print_stdout, reason = "an example says what it shows")]

use std::env;

use anyhow::{Context, ensure};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicRejectOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use tokio_stream::StreamExt;

const JOBS: &str = "example.jobs";
const DEAD: &str = "example.jobs.dead";

/// Times a job may fail; one more, and it is dead.
const FAILURES_MAX: i32 = 2;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let addr = env::var("TERNMQ_AMQP").unwrap_or_else(|_| "127.0.0.1:5672".into());
    let uri = format!("amqp://guest:guest@{addr}/%2f");
    let connection = Connection::connect(&uri, ConnectionProperties::default())
        .await
        .with_context(|| format!("no broker at {addr}"))?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    declare(&channel).await?;
    println!("{JOBS} gives up on a job after {FAILURES_MAX} failures; dead jobs go to {DEAD}");

    publish(
        &channel,
        "too late",
        BasicProperties::default().with_expiration("1".into()),
    )
    .await?;
    let mut dead = consume(&channel, DEAD).await?;
    bury(&mut dead).await?;

    for job in ["easy", "flaky", "malformed", "poison"] {
        publish(
            &channel,
            job,
            BasicProperties::default().with_delivery_mode(2),
        )
        .await?;
    }
    let mut jobs = consume(&channel, JOBS).await?;
    // One easy, one flaky twice, one malformed, and poison as often as it is handed out.
    let deliveries = 1 + 2 + 1 + usize::try_from(FAILURES_MAX + 1)?;
    for _ in 0..deliveries {
        let delivery = jobs.next().await.context("the consumer was cancelled")??;
        work(&delivery).await?;
    }
    for _ in ["malformed", "poison"] {
        bury(&mut dead).await?;
    }

    for queue in [JOBS, DEAD] {
        channel
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await?;
    }
    connection.close(200, "done".into()).await?;
    println!("done");
    Ok(())
}

async fn declare(channel: &Channel) -> anyhow::Result<()> {
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .queue_declare(DEAD.into(), durable, FieldTable::default())
        .await?;
    let mut arguments = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(text.into());
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(FAILURES_MAX));
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text(DEAD));
    channel
        .queue_declare(JOBS.into(), durable, arguments)
        .await?;
    Ok(())
}

async fn publish(channel: &Channel, job: &str, properties: BasicProperties) -> anyhow::Result<()> {
    let options = BasicPublishOptions::default();
    let confirm = channel
        .basic_publish("".into(), JOBS.into(), options, job.as_bytes(), properties)
        .await?;
    ensure!(confirm.await?.is_ack(), "the broker refused a job");
    Ok(())
}

async fn consume(channel: &Channel, queue: &str) -> anyhow::Result<Consumer> {
    let options = BasicConsumeOptions::default();
    Ok(channel
        .basic_consume(queue.into(), "".into(), options, FieldTable::default())
        .await?)
}

async fn work(delivery: &Delivery) -> anyhow::Result<()> {
    let job = String::from_utf8_lossy(&delivery.data);
    match (job.as_ref(), delivery.redelivered) {
        ("easy", _) | ("flaky", true) => {
            println!("  {job}: done");
            delivery.ack(BasicAckOptions::default()).await?;
        }
        ("flaky", false) | ("poison", _) => {
            println!("  {job}: failed, to be tried again");
            delivery
                .reject(BasicRejectOptions { requeue: true })
                .await?;
        }
        _ => {
            println!("  {job}: makes no sense, rejected");
            delivery
                .reject(BasicRejectOptions { requeue: false })
                .await?;
        }
    }
    Ok(())
}

/// Takes one message from the dead-letter queue and reads its history.
async fn bury(dead: &mut Consumer) -> anyhow::Result<()> {
    let delivery = dead.next().await.context("the consumer was cancelled")??;
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    let header = |name: &str| {
        let value = headers
            .inner()
            .get(name)
            .and_then(AMQPValue::as_long_string);
        value.map(ToString::to_string).unwrap_or_default()
    };
    println!(
        "  dead: {:?}, {} in {}",
        String::from_utf8_lossy(&delivery.data),
        header("x-first-death-reason"),
        header("x-first-death-queue"),
    );
    delivery.ack(BasicAckOptions::default()).await?;
    Ok(())
}
