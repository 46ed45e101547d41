//! A backlog: what it costs to take in, how much memory it needs, how long a start with it takes, how fast it is read.

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use rustix::process::Signal;

use crate::process::Target;
use crate::scenario::{Consume, Publish, Scenario};
use crate::support::Ternmq;
use crate::wire::{declare_queue, open_consumer, open_publisher};

/// How many messages, of 1 KiB, persistent and confirmed.
const MESSAGES: u32 = 1_000_000;
/// Unconfirmed ones, at most.
const WINDOW: u64 = 1_000;
/// Published at once.
const STEP: u64 = 50;

static SCENARIO: Scenario = Scenario {
    name: "backlog",
    publish: Publish::AmqpConfirmed { window: WINDOW },
    consume: Consume::AmqpAcks {
        every: 50,
        prefetch: 500,
    },
    body_bytes: 1024,
};

/// Builds the backlog, kills the broker, starts it again and reads everything.
pub(crate) fn run() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let broker = start(&data);
    let target = Target::of(&broker);
    declare_queue(&target);
    let (began, cpu) = (Instant::now(), target.cpu()?);
    take_in(&target)?;
    let cpu = target.cpu()?.saturating_sub(cpu);
    let per_message = cpu.as_secs_f64() * 1e6 / f64::from(MESSAGES);
    println!();
    println!(
        "backlog of {MESSAGES} x 1 KiB, confirmed: {:.1} s, {per_message:.2} us of CPU each, at most {:.0} MiB resident",
        began.elapsed().as_secs_f64(),
        target.peak_mib()?
    );
    broker.signal(Signal::KILL);
    drop(broker);
    let began = Instant::now();
    let broker = start(&data);
    println!(
        "killed and started again: {} ms",
        began.elapsed().as_millis()
    );
    let target = Target::of(&broker);
    let mut reader = open_consumer(&SCENARIO, &target)?;
    let began = Instant::now();
    while reader.counts.messages < u64::from(MESSAGES) {
        reader.turn()?;
    }
    ensure!(
        reader.counts.messages == u64::from(MESSAGES),
        "more came than was sent"
    );
    println!(
        "read and acknowledged: {:.1} s, at most {:.0} MiB resident",
        began.elapsed().as_secs_f64(),
        target.peak_mib()?
    );
    Ok(())
}

fn start(data: &Path) -> Ternmq {
    Ternmq::start(&["--data-dir", data.to_str().unwrap()])
}

fn take_in(target: &Target) -> anyhow::Result<()> {
    let (mut writer, mut reader) = open_publisher(&SCENARIO, target)?;
    let (all, mut sent) = (u64::from(MESSAGES), 0);
    while reader.counts.confirmed < all {
        while sent < all && sent - reader.counts.confirmed <= WINDOW - STEP {
            writer.publish(STEP)?;
            sent += STEP;
        }
        reader.turn()?;
    }
    Ok(())
}
