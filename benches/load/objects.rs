//! Many objects: queues that come and go one after the other, and connections that hold channels.

use std::time::Instant;

use anyhow::ensure;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::process::Target;
use crate::support::Ternmq;
use crate::support::raw::{Raw, method, mqtt_subscribe, short};
use crate::wire::amqp_publish;

/// Queues, each declared, published to, got from and deleted over one connection that waits for every answer.
const QUEUES: u32 = 10_000;
/// Connections that are open at once.
const CONNECTIONS: usize = 2_000;
/// Channels of each.
const CHANNELS: u16 = 10;
/// MQTT clients that are there at once, each with a subscription of its own.
const DEVICES: u32 = 10_000;
/// Files that this process has open besides its sockets, at most.
const OTHER_FILES: u64 = 100;

/// Measures all.
pub(crate) fn run() -> anyhow::Result<()> {
    println!();
    for (kind, flags, delivery_mode) in [("transient", 0, 1), ("durable", 2, 2)] {
        let directory = tempfile::tempdir()?;
        let broker = Ternmq::start(&["--data-dir", directory.path().to_str().unwrap()]);
        let began = Instant::now();
        use_queues(&Target::of(&broker), flags, delivery_mode);
        println!(
            "{QUEUES} {kind} queues declared, published to with a confirm, got from and deleted, one answer after the \
             other: {:.1} s",
            began.elapsed().as_secs_f64()
        );
    }
    raise_open_files_limit()?;
    hold_connections()?;
    hold_devices()
}

fn use_queues(target: &Target, flags: u8, delivery_mode: u8) {
    let mut raw = Raw::amqp(target.amqp);
    raw.send(&method(1, 85, 10, &[0]));
    raw.expect(85, 11);
    let names: Vec<_> = (0..QUEUES).map(|n| format!("object-{n}")).collect();
    for name in &names {
        let arguments = [&[0, 0], &short(name)[..], &[flags, 0, 0, 0, 0]].concat();
        raw.send(&method(1, 50, 10, &arguments));
        raw.expect(50, 11);
    }
    for name in &names {
        raw.send(&amqp_publish("", name, delivery_mode, b"body"));
        raw.expect(60, 80);
    }
    for name in &names {
        let arguments = [&[0, 0], &short(name)[..], &[1]].concat();
        raw.send(&method(1, 60, 70, &arguments));
        raw.expect(60, 71);
        // The header and the body.
        raw.frame();
        raw.frame();
    }
    for name in &names {
        let arguments = [&[0, 0], &short(name)[..], &[0]].concat();
        raw.send(&method(1, 50, 40, &arguments));
        raw.expect(50, 41);
    }
}

fn hold_connections() -> anyhow::Result<()> {
    let broker = Ternmq::start(&[]);
    let target = Target::of(&broker);
    let before = target.resident_mib()?;
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        // Its first channel is open.
        let mut raw = Raw::amqp(target.amqp);
        for channel in 2..=CHANNELS {
            raw.send(&method(channel, 20, 10, &[0]));
            raw.expect(20, 11);
        }
        connections.push(raw);
    }
    println!(
        "{} connections with {CHANNELS} channels each: {:.0} MiB resident, {before:.0} MiB before",
        connections.len(),
        target.resident_mib()?
    );
    Ok(())
}

fn hold_devices() -> anyhow::Result<()> {
    let broker = Ternmq::start(&[]);
    let target = Target::of(&broker);
    let before = target.resident_mib()?;
    let began = Instant::now();
    let mut devices = Vec::with_capacity(DEVICES as usize);
    for number in 0..DEVICES {
        let mut raw = Raw::mqtt(target.mqtt, 4, &format!("device-{number}"));
        raw.send(&mqtt_subscribe(4, &format!("devices/{number}/#"), 0));
        raw.packet();
        devices.push(raw);
    }
    println!(
        "{} MQTT clients with a subscription each, one after the other: {:.0} a second, {:.1} KiB resident for each",
        devices.len(),
        f64::from(DEVICES) / began.elapsed().as_secs_f64(),
        (target.resident_mib()? - before) * 1024.0 / f64::from(DEVICES)
    );
    Ok(())
}

fn raise_open_files_limit() -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    let needed = (CONNECTIONS as u64).max(DEVICES.into()) + OTHER_FILES;
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= needed),
        "the limit on open files is below {needed}"
    );
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(())
}
