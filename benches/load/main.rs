//! Load on the real binary over loopback: what a message costs the broker, in CPU time.
//!
//! ```sh
//! cargo bench --bench load                  # all scenarios, about half a minute
//! cargo bench --bench load -- mqtt          # those with this in their name
//! cargo bench --bench load -- backlog       # a million messages that wait, over a kill
//! cargo bench --bench load -- objects       # ten thousand queues, thousands of connections
//! cargo bench --bench load -- lists         # lists of ten thousand queues, and a publisher beside them
//! ```
//! Environment, all optional:
//!
//! | variable | meaning |
//! |---|---|
//! | `TERNMQ_BENCH_SECONDS` | length of one measurement, 1 to 20; 3 if not set |
//! | `TERNMQ_BENCH_PEER_AMQP=HOST:PORT,PID` | another broker's AMQP listener on loopback, measured beside |
//! | `TERNMQ_BENCH_PEER_MQTT=HOST:PORT,PID` | another broker's MQTT listener on loopback, measured beside |
//!
//! Where to start: [`scenario::ALL`] is what is measured, [`run::measure`] is how.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a bench prints, measures time, and ends when something is wrong"
)]

mod backlog;
mod lists;
mod objects;
mod process;
mod run;
mod scenario;
#[path = "../../tests/support/mod.rs"]
mod support;
mod wire;

use std::env;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::process::{Peer, Target};
use crate::run::Measured;
use crate::scenario::Scenario;

const SECONDS_DEFAULT: u64 = 3;
const SECONDS_MAX: u64 = 20;

fn main() -> anyhow::Result<()> {
    // `cargo test --benches` starts it without this argument, and wants no load.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let filter = env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let filter = filter.unwrap_or_default();
    let duration = duration()?;
    let peer = Peer::from_env()?;
    print_head();
    for scenario in scenario::ALL
        .iter()
        .filter(|scenario| scenario.name.contains(&filter))
    {
        // A broker of its own for each: its memory is that of this scenario.
        let broker = support::Ternmq::start(&[]);
        report("ternmq", scenario, &Target::of(&broker), duration)?;
        drop(broker);
        if let Some(target) = peer.target(scenario) {
            report("peer", scenario, &target, duration)?;
        }
    }
    if "backlog".contains(&filter) {
        backlog::run()?;
    }
    if "objects".contains(&filter) {
        objects::run()?;
    }
    if "lists".contains(&filter) {
        lists::run()?;
    }
    Ok(())
}

fn duration() -> anyhow::Result<Duration> {
    let Ok(text) = env::var("TERNMQ_BENCH_SECONDS") else {
        return Ok(Duration::from_secs(SECONDS_DEFAULT));
    };
    let seconds = text.parse().context("TERNMQ_BENCH_SECONDS")?;
    ensure!(
        (1..=SECONDS_MAX).contains(&seconds),
        "TERNMQ_BENCH_SECONDS must be 1 to {SECONDS_MAX}"
    );
    Ok(Duration::from_secs(seconds))
}

fn print_head() {
    println!(
        "CPU time of the broker (user and system) from the first publish until the last delivery,"
    );
    println!("per message delivered; the load generator's beside it; memory under load.");
    println!();
    println!(
        "{:<36} {:<7} {:>11} {:>11} {:>11} {:>9} {:>11}",
        "scenario", "broker", "CPU us/msg", "client us", "msgs/s", "RSS MiB", "messages"
    );
}

fn report(
    name: &str,
    scenario: &Scenario,
    target: &Target,
    duration: Duration,
) -> anyhow::Result<()> {
    let measured = run::measure(scenario, target, duration)
        .with_context(|| format!("{} against {name}", scenario.name))?;
    let Measured {
        broker_cpu,
        client_cpu,
        elapsed,
        messages,
        resident_mib,
    } = measured;
    println!(
        "{:<36} {:<7} {:>11.3} {:>11.3} {:>11.0} {:>9.1} {:>11}",
        scenario.name,
        name,
        per_message_us(broker_cpu, messages),
        per_message_us(client_cpu, messages),
        as_f64(messages) / elapsed.as_secs_f64(),
        resident_mib,
        messages,
    );
    Ok(())
}

fn per_message_us(time: Duration, messages: u64) -> f64 {
    time.as_secs_f64() * 1e6 / as_f64(messages)
}

#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
