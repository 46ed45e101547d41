//! Two MQTT devices: readings at QoS 1, a retained state that greets whoever comes later, a last will.
//!
//! ```sh
//! cargo run --release                       # the broker, in one terminal
//! cargo run --example mqtt_device           # this, in another
//! ```
//! `TERNMQ_MQTT` names another address than 127.0.0.1:1883.
#![allow(clippy::print_stdout, reason = "an example says what it shows")]

use std::env;
use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail};
use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet, Publish, QoS};

const READINGS: usize = 3;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let addr = env::var("TERNMQ_MQTT").unwrap_or_else(|_| "127.0.0.1:1883".into());
    let addr = addr.to_socket_addrs()?.next().context("no such address")?;

    let mut options = options(addr, "example-sensor");
    let will = LastWill::new("example/sensor/status", "lost", QoS::AtLeastOnce, false);
    options.set_last_will(will);
    let (sensor, mut sensor_events) = AsyncClient::new(options, 10);
    connected(&mut sensor_events)
        .await
        .with_context(|| format!("no broker at {addr}"))?;
    println!("the sensor is connected to {addr}, with a last will");

    sensor
        .publish("example/sensor/status", QoS::AtLeastOnce, true, "online")
        .await?;
    acknowledged(&mut sensor_events).await?;
    println!("its state is retained");

    let (display, mut display_events) =
        AsyncClient::new(self::options(addr, "example-display"), 10);
    connected(&mut display_events).await?;
    display
        .subscribe("example/sensor/#", QoS::AtLeastOnce)
        .await?;
    let state = message(&mut display_events).await?;
    println!("the display comes later and is told: {}", describe(&state));

    for number in 0..READINGS {
        let reading = format!("{}.5", 20 + number);
        sensor
            .publish(
                "example/sensor/temperature",
                QoS::AtLeastOnce,
                false,
                reading,
            )
            .await?;
        acknowledged(&mut sensor_events).await?;
        println!("  {}", describe(&message(&mut display_events).await?));
    }

    // Dropping the connection without DISCONNECT is what a dead battery looks like.
    drop(sensor_events);
    let will = message(&mut display_events).await?;
    println!(
        "the sensor is gone without a word; its will: {}",
        describe(&will)
    );

    display
        .publish("example/sensor/status", QoS::AtLeastOnce, true, "")
        .await?;
    acknowledged(&mut display_events).await?;
    display.disconnect().await?;
    while display_events.poll().await.is_ok() {}
    println!("done");
    Ok(())
}

fn options(addr: SocketAddr, id: &str) -> MqttOptions {
    let mut options = MqttOptions::new(id, addr.ip().to_string(), addr.port());
    options.set_credentials("guest", "guest");
    options
}

async fn connected(events: &mut EventLoop) -> anyhow::Result<()> {
    loop {
        if let Event::Incoming(Packet::ConnAck(_)) = events.poll().await? {
            return Ok(());
        }
    }
}

async fn acknowledged(events: &mut EventLoop) -> anyhow::Result<()> {
    loop {
        match events.poll().await? {
            Event::Incoming(Packet::PubAck(_)) => return Ok(()),
            Event::Incoming(Packet::Disconnect) => bail!("the broker closed the connection"),
            _ => {}
        }
    }
}

async fn message(events: &mut EventLoop) -> anyhow::Result<Publish> {
    loop {
        if let Event::Incoming(Packet::Publish(publish)) = events.poll().await? {
            return Ok(publish);
        }
    }
}

fn describe(publish: &Publish) -> String {
    let retained = if publish.retain { " (retained)" } else { "" };
    format!(
        "{} = {}{retained}",
        publish.topic,
        String::from_utf8_lossy(&publish.payload)
    )
}
