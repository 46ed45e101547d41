//! Somebody else who publishes and takes at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use ternmq_broker::{Broker, Client, Turn};
use ternmq_core::id::Timestamp;
use ternmq_core::queue::Outcome;
use ternmq_journal::simulated::Random;

use crate::node::{Letter, connect, id_of, request};

/// Its queue.
pub(crate) const NAME: &str = "n0";

/// What happened, in its order.
pub(crate) enum Event {
    /// A message, and the record that it waits for.
    Published(u64, u64),
    Acked(u64),
}

pub(crate) struct Noise {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Event>>,
}

impl Noise {
    pub(crate) fn begin(broker: &Broker, seed: u64, now: Timestamp) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut client = connect(broker);
        let flag = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut random, mut events) = (Random(seed), Vec::new());
            // Behind those of others before.
            let mut next = (seed >> 24) << 24;
            while !flag.load(Ordering::SeqCst)
                && publish(&mut client, &mut random, &mut next, now, &mut events)
            {
                take(&mut client, &mut random, now, &mut events);
            }
            client.close();
            events
        });
        Self { stop, thread }
    }

    pub(crate) fn end(self) -> Vec<Event> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// False if the journal takes no more.
fn publish(
    client: &mut Client,
    random: &mut Random,
    next: &mut u64,
    now: Timestamp,
    events: &mut Vec<Event>,
) -> bool {
    let route = client.route(&request("", NAME)).unwrap();
    let (mut turn, first) = (Turn::new(), *next);
    for _ in 0..=random.below(30) {
        let letter = Letter {
            id: *next,
            bytes: random.below(200),
            durable: true,
            priority: None,
        };
        turn.push(letter.build("", NAME, now), route.clone());
        *next += 1;
    }
    let published = client.publish(&mut turn, now);
    let lsn = published.lsn.0;
    if !published.rejected.is_empty() {
        return false;
    }
    events.extend((first..*next).map(|id| Event::Published(id, lsn)));
    true
}

fn take(client: &mut Client, random: &mut Random, now: Timestamp, events: &mut Vec<Event>) {
    for _ in 0..random.below(50) {
        let Some(got) = client.get(NAME, false).unwrap() else {
            break;
        };
        let position = [got.delivery.position];
        if random.one_in(5) {
            let outcome = Outcome::Return { failed: false };
            client.settle(&got.queue, &position, outcome, now);
            break;
        }
        client.settle(&got.queue, &position, Outcome::Ack, now);
        events.push(Event::Acked(id_of(&got.delivery.message)));
    }
}
