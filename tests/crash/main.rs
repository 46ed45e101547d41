//! Kills the broker again and again while it works, and looks what is left.
//!
//! ```text
//!   start ──► load: publishers, consumers, declarations ──► SIGKILL at a random moment ──┐
//!     ▲                                                                                  │
//!     └────────────────────────── the same data directory ◄──────────────────────────────┘
//!   at last: start, empty every queue, compare with what the clients were promised
//! ```
//! What the clients were promised: what was confirmed arrives, what was settled for good stays away, nothing comes
//! that nobody sent, transactions are whole, order is kept, QoS 2 comes once, what was declared is there.
//!
//! `TERNMQ_CRASH_CYCLES` kills more often, or with 0 not at all; `TERNMQ_CRASH_SEED` repeats the moments of a run,
//! `TERNMQ_CRASH_CONFIG` is another configuration (TOML), `TERNMQ_CRASH_KEEP` leaves the data where it is,
//! and what it was before the last two starts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stderr,
    unreachable_pub,
    reason = "tests"
)]

mod amqp;
mod devices;
mod ledger;
#[path = "../support/mod.rs"]
mod support;
mod topology;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use amqp::{Consumer, Declarer, Publisher};
use devices::{Device, Subscriber};
use ledger::{Ledger, Sent};
use rustix::process::Signal;
use support::{Ternmq, soon};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Kills, unless the environment says otherwise.
const CYCLES: u64 = 50;

/// How long after all publishers had their first confirm the broker is killed at most, in milliseconds.
const KILL_MS_MAX: u64 = 250;

/// In one of so many lives that time begins with the life, so that the broker dies while clients connect.
const EARLY_ONE_IN: u64 = 5;

/// See [`Scene::forgotten`].
const FORGOTTEN_AFTER: Duration = Duration::from_millis(500);

/// Faults in a report.
const FAULTS_SHOWN_MAX: usize = 40;

/// Where the parties of one life of the broker find it.
#[derive(Clone)]
pub struct Scene {
    amqp_uri: String,
    mqtt: SocketAddr,
    over: watch::Receiver<bool>,
    /// Publishers with a confirm in this life of the broker.
    begun: watch::Sender<usize>,
    killed: watch::Sender<bool>,
}

impl Scene {
    fn of(broker: &Ternmq, over: &watch::Sender<bool>) -> Self {
        Self {
            amqp_uri: broker.amqp_uri(),
            mqtt: broker.mqtt,
            over: over.subscribe(),
            begun: watch::Sender::new(0),
            killed: watch::Sender::new(false),
        }
    }

    /// A publisher had its first confirm.
    pub fn begin(&self) {
        self.begun.send_modify(|count| *count += 1);
    }

    /// Returns when the broker has been gone for so long that whoever still waits for an answer waits for ever: lapin
    /// forgets calls that are made just when it loses the connection.
    async fn forgotten(&self) {
        let mut killed = self.killed.subscribe();
        if killed.wait_for(|killed| *killed).await.is_ok() {
            tokio::time::sleep(FORGOTTEN_AFTER).await;
        }
    }

    /// Waits until all publishers work; not for ever, as some may have met a fault.
    async fn load(&self) {
        let mut begun = self.begun.subscribe();
        let all = begun.wait_for(|count| *count == topology::PUBLISHERS.count());
        let _ = tokio::time::timeout(support::DEADLINE / 3, all).await;
    }

    /// Whether everybody is to finish what is begun.
    pub fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    pub fn over(&self) -> watch::Receiver<bool> {
        self.over.clone()
    }
}

/// Somebody who puts load on the broker, and knows over all its lives what it was promised.
enum Party {
    Publisher(Publisher),
    Consumer(Consumer),
    Declarer(Declarer),
    Device(Box<Device>),
    Subscriber(Subscriber),
}

impl Party {
    async fn work(mut self, scene: Scene) -> Self {
        let work = async {
            match &mut self {
                Self::Publisher(publisher) => publisher.work(&scene).await,
                Self::Consumer(consumer) => consumer.work(&scene).await,
                Self::Declarer(declarer) => declarer.work(&scene).await,
                Self::Device(device) => device.work(&scene).await,
                Self::Subscriber(subscriber) => subscriber.work(&scene).await,
            }
        };
        tokio::select! {
            () = work => {}
            () = scene.forgotten() => {}
        }
        self
    }

    /// What went wrong already.
    fn faults(&self) -> &[String] {
        match self {
            Self::Publisher(publisher) => &publisher.faults,
            Self::Consumer(consumer) => consumer.received.faults(),
            Self::Declarer(declarer) => &declarer.faults,
            Self::Device(device) => &device.faults,
            Self::Subscriber(subscriber) => subscriber.received.faults(),
        }
    }

    /// Takes everything that is left.
    async fn drain(&mut self, scene: &Scene) {
        match self {
            Self::Consumer(consumer) => consumer.drain(scene).await,
            Self::Subscriber(subscriber) => subscriber.drain(scene).await,
            Self::Declarer(declarer) => declarer.check(scene).await,
            Self::Publisher(_) | Self::Device(_) => {}
        }
    }
}

/// Everybody, before the broker is killed for the first time.
async fn set_up(scene: &Scene) -> Vec<Party> {
    use topology::{DEVICES_QOS_1, DEVICES_QOS_2};
    let properties = lapin::ConnectionProperties::default();
    let connection = soon(lapin::Connection::connect(&scene.amqp_uri, properties))
        .await
        .unwrap();
    topology::set_up(&support::amqp::channel(&connection).await).await;
    let mut subscriber = Subscriber::new();
    subscriber.subscribe(scene).await;
    let devices = DEVICES_QOS_1.into_iter().chain(DEVICES_QOS_2);
    let consumers = (0..).zip(topology::CONSUMED);
    topology::PUBLISHERS
        .map(|publisher| Party::Publisher(Publisher::new(publisher)))
        .chain(devices.map(|device| Party::Device(Box::new(Device::new(device, scene)))))
        .chain(consumers.map(|(index, queue)| Party::Consumer(Consumer::new(index, queue))))
        .chain([
            Party::Declarer(Declarer::default()),
            Party::Subscriber(subscriber),
        ])
        .collect()
}

/// Lets everybody work until `end` is done and they have noticed.
async fn work(parties: Vec<Party>, scene: &Scene, end: impl Future<Output = ()>) -> Vec<Party> {
    let mut working = JoinSet::new();
    for party in parties {
        working.spawn(party.work(scene.clone()));
    }
    end.await;
    let mut parties = Vec::new();
    while let Some(party) = soon(working.join_next()).await {
        parties.push(party.unwrap());
    }
    parties
}

/// Moments to kill at, the same for the same seed.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> Duration {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let random = z ^ (z >> 31);
        Duration::from_micros(random % (KILL_MS_MAX * 1000))
    }
}

fn number_from_environment(name: &str, default: impl FnOnce() -> u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().expect("a number"),
        Err(_) => default(),
    }
}

/// Where the data lies: what was at fault can be looked at afterwards, if somebody wants to.
fn data_directory() -> TempDir {
    let mut data = tempfile::tempdir().unwrap();
    if std::env::var_os("TERNMQ_CRASH_KEEP").is_some() {
        data.disable_cleanup(true);
        eprintln!("TERNMQ_CRASH_KEEP: {}", data.path().display());
    }
    data
}

/// So small that in every life segments are filled and recycled, checkpoints written and messages leave memory.
const CONFIG: &str = "
[storage]
segment_bytes = 1048576
checkpoint_bytes = 1048576
[memory]
resident_bodies = 262144
";

fn start(data: &TempDir) -> Ternmq {
    let path = data.path().join("data");
    if std::env::var_os("TERNMQ_CRASH_KEEP").is_some() {
        keep_last(data.path());
    }
    let config = std::env::var("TERNMQ_CRASH_CONFIG").unwrap_or_else(|_| CONFIG.to_owned());
    Ternmq::start_with_config(&config, &["--data-dir", path.to_str().unwrap()])
}

/// Copies the data as it is before this start; what was before the start before it stays as well.
fn keep_last(directory: &std::path::Path) {
    let script = "rm -rf before-2; mv before-1 before-2; cp -r data before-1";
    let mut shell = std::process::Command::new("sh");
    let copied = shell.args(["-c", script]).current_dir(directory).output();
    assert!(copied.is_ok());
}

/// Kills the broker and waits until it is gone. It must not have complained: crashes are no damage.
fn kill(mut broker: Ternmq) {
    broker.signal(Signal::KILL);
    broker.wait();
    for line in broker.log() {
        assert!(!line.contains("ERROR"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_break_no_promise() {
    let seed = number_from_environment("TERNMQ_CRASH_SEED", || RandomState::new().hash_one(0));
    let cycles = number_from_environment("TERNMQ_CRASH_CYCLES", || CYCLES);
    eprintln!("TERNMQ_CRASH_SEED={seed} TERNMQ_CRASH_CYCLES={cycles}");
    let mut moments = Moments(seed);
    let data = data_directory();
    let (over, _) = watch::channel(false);

    let mut broker = start(&data);
    let mut parties = set_up(&Scene::of(&broker, &over)).await;
    for cycle in 1..=cycles {
        let scene = Scene::of(&broker, &over);
        let moment = moments.next();
        let end = async {
            if !cycle.is_multiple_of(EARLY_ONE_IN) {
                scene.load().await;
            }
            tokio::time::sleep(moment).await;
            kill(broker);
            scene.killed.send_replace(true);
        };
        parties = work(parties, &scene, end).await;
        let faults: Vec<String> = parties.iter().flat_map(Party::faults).cloned().collect();
        report(&faults, &format!("seed {seed}, life {cycle}"));
        broker = start(&data);
    }
    // Once more, to the end: so that there is something to compare even without a crash.
    let scene = Scene::of(&broker, &over);
    let end = async {
        scene.load().await;
        tokio::time::sleep(moments.next()).await;
        over.send_replace(true);
    };
    parties = work(parties, &scene, end).await;
    // Nobody consumed them until now: they went through every crash.
    let barriers = Consumer::new(topology::BARRIERS_INDEX, topology::BARRIERS);
    parties.push(Party::Consumer(barriers));
    drain(&mut parties, &scene).await;
    judge(parties, seed);
}

/// Empties every queue, those first whose messages go on to others.
async fn drain(parties: &mut [Party], scene: &Scene) {
    amqp::settle_hops(scene).await;
    let place = |party: &Party| match party {
        Party::Consumer(consumer) => {
            let queue = consumer.received.queue();
            let place = topology::CONSUMED.iter().position(|other| *other == queue);
            place.unwrap_or(usize::MAX)
        }
        _ => 0,
    };
    parties.sort_by_key(place);
    for party in parties {
        party.drain(scene).await;
    }
}

/// Compares what was promised with what came.
fn judge(parties: Vec<Party>, seed: u64) {
    let (mut sent, mut received, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    let mut declared = 0;
    for party in parties {
        match party {
            Party::Publisher(publisher) => {
                faults.extend(publisher.faults);
                sent.push(publisher.sent);
            }
            Party::Device(device) => {
                faults.extend(device.faults);
                sent.push(device.sent);
            }
            Party::Consumer(consumer) => {
                // Its own barriers are behind the end of the queue.
                if consumer.received.queue() != topology::BARRIERS {
                    sent.push(consumer.barriers);
                }
                received.push(consumer.received);
            }
            Party::Declarer(declarer) => {
                declared += declarer.declared();
                faults.extend(declarer.faults);
            }
            Party::Subscriber(subscriber) => received.push(subscriber.received),
        }
    }
    let idle: Vec<u16> = sent
        .iter()
        .filter(|sent| sent.confirmed().len() == 0)
        .map(Sent::publisher)
        .filter(|publisher| *publisher < topology::BARRIER_FROM)
        .collect();
    let mut ledger = Ledger::new(sent, received);
    ledger.check(topology::queues, topology::unit);
    faults.append(&mut ledger.faults);
    let summary = ledger.summary();
    eprintln!("{summary}, {declared} queues declared");
    report(&faults, &format!("seed {seed}: {summary}"));
    assert!(idle.is_empty(), "nothing was confirmed to {idle:?}");
}

fn report(faults: &[String], place: &str) {
    let first = &faults[..faults.len().min(FAULTS_SHOWN_MAX)];
    let count = faults.len();
    assert!(count == 0, "{place}: {count} faults\n{}", first.join("\n"));
}
