//! Deadlines in virtual time: the runtime's clock is paused and moves on whenever everybody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use super::support::{Client, EchoAcceptor, Lab, Seen, eventually};
use atomic_waker::AtomicWaker;
use parking_lot::Mutex;
use socket2::SockRef;
use ternmq_broker::clock::Clock;
use ternmq_broker::mailbox::Notice;
use ternmq_core::id::Timestamp;
use ternmq_net::limits::{CLOSE_FLUSH_MS, PAUSED_PROBE_MS};
use ternmq_net::server::{Server, ServerConfig};
use ternmq_net::timers::Ticker;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

const EPOCH_MS: u64 = 1_000_000;

/// Shows the runtime's time.
struct RuntimeClock(Instant);

impl RuntimeClock {
    fn start() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        Timestamp(EPOCH_MS + u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}

fn lab(idle_ms: Option<u64>) -> Lab {
    let acceptor = EchoAcceptor {
        idle_ms,
        ..EchoAcceptor::default()
    };
    Lab::start_with(acceptor, &ServerConfig::default(), RuntimeClock::start())
}

#[tokio::test(start_paused = true)]
async fn deadline_fires_when_it_has_come() {
    let lab = lab(Some(30_000));
    let start = Instant::now();
    let mut client = lab.connect().await;
    assert_eq!(client.receive().await, b"tick");
    let elapsed = start.elapsed();
    assert!(
        elapsed >= Duration::from_secs(30) && elapsed < Duration::from_secs(31),
        "{elapsed:?}"
    );
    client.echo(b"still there").await;
}

#[tokio::test(start_paused = true)]
async fn deadline_that_moved_later_fires_later() {
    let lab = lab(Some(30_000));
    let mut client = lab.connect().await;
    for _ in 0..5 {
        sleep(Duration::from_secs(20)).await;
        client.echo(b"alive").await;
    }
    let start = Instant::now();
    assert_eq!(client.receive().await, b"tick");
    let elapsed = start.elapsed();
    assert!(
        elapsed >= Duration::from_secs(29) && elapsed < Duration::from_secs(31),
        "{elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn deadline_that_moved_earlier_fires_earlier() {
    let lab = lab(Some(30_000));
    let mut client = lab.connect().await;
    client.echo(b"hello").await;
    let start = Instant::now();
    client.send(b"soon").await;
    assert_eq!(client.receive().await, b"tick");
    let elapsed = start.elapsed();
    assert!(
        elapsed >= Duration::from_secs(5) && elapsed < Duration::from_secs(6),
        "{elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn closing_a_peer_that_does_not_read_takes_bounded_time() {
    let lab = lab(None);
    let mut client = lab.connect().await;
    // Far more than the socket buffers hold, and nobody reads it.
    client.send(b"generate").await;
    while Seen::get(&lab.seen.full) == 0 {
        tokio::task::yield_now().await;
    }
    client.send(b"close").await;
    while Seen::get(&lab.seen.disconnects) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lab.server.connection_count(), 1, "still flushing");
    sleep(Duration::from_millis(CLOSE_FLUSH_MS + 100)).await;
    assert_eq!(lab.server.connection_count(), 0);
    assert_eq!(Seen::get(&lab.seen.disconnects), 1);
}

/// A client whose machine reads no more, in time that stands still until everybody waits.
async fn paused() -> (Lab, Client) {
    let lab = lab(None);
    let mut client = lab.connect().await;
    client.echo(b"hello").await;
    client.send(b"pause").await;
    client.send(b"later").await;
    eventually("it is paused", || Seen::get(&lab.seen.paused) > 0).await;
    (lab, client)
}

#[tokio::test(start_paused = true)]
async fn lost_peer_is_noticed_though_nothing_is_read_from_it() {
    let (lab, client) = paused().await;
    // Reset instead of closed.
    SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    sleep(Duration::from_millis(2 * PAUSED_PROBE_MS)).await;
    assert_eq!(Seen::get(&lab.seen.disconnects), 1);
    assert_eq!(lab.server.connection_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn peer_that_said_all_it_had_to_say_is_heard_after_the_pause() {
    let (lab, mut client) = paused().await;
    client.stream.shutdown().await.unwrap();
    sleep(Duration::from_millis(10 * PAUSED_PROBE_MS)).await;
    assert_eq!(lab.server.connection_count(), 1);
    lab.seen.mailboxes.lock()[0].push(Notice::Unblocked);
    assert_eq!(client.receive().await, b"later");
    client.closed().await;
}

#[derive(Default)]
struct Timetable {
    deadlines: Mutex<Vec<u64>>,
    ticked: Mutex<Vec<u64>>,
    panics: AtomicU64,
    sleeper: AtomicWaker,
}

impl Ticker for Timetable {
    fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.lock().iter().min().copied().map(Timestamp)
    }

    fn wake_on_earlier_deadline(&self, waker: &Waker) {
        self.sleeper.register(waker);
    }

    fn tick(&self, now: Timestamp) {
        self.deadlines.lock().retain(|deadline| *deadline > now.0);
        self.ticked.lock().push(now.0 - EPOCH_MS);
        assert!(self.panics.swap(0, Ordering::SeqCst) == 0, "told to");
    }
}

#[tokio::test(start_paused = true)]
async fn ticker_is_called_at_its_deadlines_and_an_earlier_one_wakes_it() {
    let clock = RuntimeClock::start();
    let mut server = Server::new(&ServerConfig::default(), clock);
    let timetable = Arc::new(Timetable::default());
    let add = |at: u64| {
        timetable.deadlines.lock().push(EPOCH_MS + at);
        timetable.sleeper.wake();
    };
    server.tick(Arc::<Timetable>::clone(&timetable));
    sleep(Duration::from_millis(10)).await;
    add(60_000);
    sleep(Duration::from_secs(1)).await;
    add(5_000);
    add(90_000);
    timetable.panics.store(1, Ordering::SeqCst);
    sleep(Duration::from_secs(100)).await;
    let ticked = timetable.ticked.lock().clone();
    assert_eq!(ticked.len(), 3, "{ticked:?}");
    for (at, due) in ticked.iter().zip([5_000, 60_000, 90_000]) {
        assert!((due..due + 20).contains(at), "{ticked:?}");
    }
}
