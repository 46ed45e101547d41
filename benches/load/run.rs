//! One measurement: a publisher thread and a consumer thread, bounded by time and by how far the one may be ahead.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use crate::process::{Target, own_cpu};
use crate::scenario::{Publish, Scenario};
use crate::wire::{self, Reader, Writer};

/// Messages that may be published and not yet consumed: load, and not the building of an endless queue.
const LAG_MAX: u64 = 20_000;

/// How long a publisher waits at a time before it looks whether the consumer still lives.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a measurement found.
#[derive(Debug)]
pub(crate) struct Measured {
    /// CPU time of the broker.
    pub(crate) broker_cpu: Duration,
    /// CPU time of the load generator.
    pub(crate) client_cpu: Duration,
    /// From the first publish until the last delivery.
    pub(crate) elapsed: Duration,
    /// Messages published and delivered.
    pub(crate) messages: u64,
    /// Resident memory of the broker at the end of publishing, in MiB.
    pub(crate) resident_mib: f64,
}

/// What the two threads know of each other.
struct Shared {
    delivered: AtomicU64,
    /// Messages in all; `u64::MAX` until it is known.
    total: AtomicU64,
    /// Whether the publisher waits for the consumer.
    is_waiting: AtomicBool,
    /// Whether the consumer ended before its time.
    has_failed: AtomicBool,
}

/// Runs a scenario against a broker.
pub(crate) fn measure(
    scenario: &Scenario,
    target: &Target,
    duration: Duration,
) -> anyhow::Result<Measured> {
    let consumer = wire::open_consumer(scenario, target)?;
    let (writer, confirms) = wire::open_publisher(scenario, target)?;
    let shared = Shared {
        delivered: AtomicU64::new(0),
        total: AtomicU64::new(u64::MAX),
        is_waiting: AtomicBool::new(false),
        has_failed: AtomicBool::new(false),
    };
    let window = match scenario.publish {
        Publish::AmqpConfirmed { window } | Publish::MqttQos1 { window } => Some(window),
        Publish::Amqp(_) | Publish::MqttQos0 => None,
    };
    let mut publisher = Publisher {
        writer,
        confirms,
        window,
        sent: 0,
        shared: &shared,
    };

    let (broker_before, client_before) = (target.cpu()?, own_cpu()?);
    let start = Instant::now();
    let publishing = thread::current();
    let resident_mib = thread::scope(|scope| {
        let consuming = scope.spawn(|| {
            let result = consume(consumer, &shared, &publishing);
            shared.has_failed.store(result.is_err(), Ordering::SeqCst);
            publishing.unpark();
            result
        });
        let published = publisher.run(start + duration);
        let resident_mib = target.resident_mib();
        let consumed = consuming
            .join()
            .map_err(|_| anyhow!("the consumer panicked"))?;
        consumed.context("consuming")?;
        published.context("publishing")?;
        resident_mib
    })?;
    Ok(Measured {
        elapsed: start.elapsed(),
        broker_cpu: target.cpu()?.saturating_sub(broker_before),
        client_cpu: own_cpu()?.saturating_sub(client_before),
        messages: shared.delivered.load(Ordering::SeqCst),
        resident_mib,
    })
}

fn consume(mut reader: Reader, shared: &Shared, publishing: &Thread) -> anyhow::Result<()> {
    loop {
        reader.turn()?;
        shared
            .delivered
            .store(reader.counts.messages, Ordering::SeqCst);
        if shared.is_waiting.load(Ordering::SeqCst) {
            publishing.unpark();
        }
        if reader.counts.messages >= shared.total.load(Ordering::SeqCst) {
            return Ok(());
        }
    }
}

struct Publisher<'a> {
    writer: Writer,
    confirms: Reader,
    window: Option<u64>,
    sent: u64,
    shared: &'a Shared,
}

impl Publisher<'_> {
    fn run(&mut self, until: Instant) -> anyhow::Result<()> {
        while Instant::now() < until {
            self.wait_for_consumer()?;
            let room = self.wait_for_confirms()?.min(self.writer.batch_messages);
            self.writer.publish(room)?;
            self.sent += room;
        }
        // The consumer looks at the total whenever something comes: so it is known before the last message leaves.
        self.shared.total.store(self.sent + 1, Ordering::SeqCst);
        self.wait_for_confirms()?;
        self.writer.publish(1)?;
        self.sent += 1;
        while self.window.is_some() && self.confirms.counts.confirmed < self.sent {
            self.confirms.turn()?;
        }
        Ok(())
    }

    /// Waits until a whole batch may be sent without getting too far ahead.
    fn wait_for_consumer(&self) -> anyhow::Result<()> {
        let is_ahead = || {
            let lag = self.sent - self.shared.delivered.load(Ordering::SeqCst);
            lag + self.writer.batch_messages > LAG_MAX
        };
        if !is_ahead() {
            return Ok(());
        }
        self.shared.is_waiting.store(true, Ordering::SeqCst);
        while is_ahead() {
            anyhow::ensure!(
                !self.shared.has_failed.load(Ordering::SeqCst),
                "no consumer"
            );
            thread::park_timeout(PATIENCE);
        }
        self.shared.is_waiting.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Waits until something may be sent within the window. Returns how much.
    fn wait_for_confirms(&mut self) -> anyhow::Result<u64> {
        let Some(window) = self.window else {
            return Ok(u64::MAX);
        };
        loop {
            let unconfirmed = self.sent.saturating_sub(self.confirms.counts.confirmed);
            if unconfirmed < window {
                return Ok(window - unconfirmed);
            }
            self.confirms.turn()?;
        }
    }
}
