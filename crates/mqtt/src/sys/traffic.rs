//! What is counted on the way of messages.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Sets of counters: threads that have one each do not wait for each other's caches.
const SETS: usize = 16;

thread_local! {
    static SET: usize = {
        static THREADS: AtomicU32 = AtomicU32::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) as usize % SETS
    };
}

/// What one turn of a connection brought, or all of them together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    /// Packets of every kind.
    pub(crate) packets_received: u64,
    pub(crate) packets_sent: u64,
    pub(crate) publishes_received: u64,
    pub(crate) publishes_sent: u64,
    /// Bytes of payload in them.
    pub(crate) payload_received: u64,
    pub(crate) payload_sent: u64,
}

impl Counted {
    /// A client published.
    pub(crate) fn published_by(&mut self, payload_len: usize) {
        self.publishes_received += 1;
        self.payload_received += payload_len as u64;
    }

    /// A message went to a client.
    pub(crate) fn published_to(&mut self, payload_len: usize) {
        self.packets_sent += 1;
        self.publishes_sent += 1;
        self.payload_sent += payload_len as u64;
    }

    fn each(&self) -> [u64; 8] {
        [
            self.bytes_received,
            self.bytes_sent,
            self.packets_received,
            self.packets_sent,
            self.publishes_received,
            self.publishes_sent,
            self.payload_received,
            self.payload_sent,
        ]
    }
}

/// One set of counters, in cache lines of its own, in the order of [`Counted::each`].
#[derive(Default)]
#[repr(align(128))]
struct Set([AtomicU64; 8]);

/// What all connections brought.
#[derive(Default)]
pub(crate) struct Traffic([Set; SETS]);

impl Traffic {
    /// Adds what a turn brought, which begins anew.
    pub(crate) fn add(&self, counted: &mut Counted) {
        let set = SET.with(|set| &self.0[*set]);
        for (counter, count) in set.0.iter().zip(counted.each()) {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
        *counted = Counted::default();
    }

    /// All of it.
    pub(crate) fn sum(&self) -> Counted {
        let of = |at: usize| {
            let each = self.0.iter().map(|set| set.0[at].load(Ordering::Relaxed));
            each.sum()
        };
        Counted {
            bytes_received: of(0),
            bytes_sent: of(1),
            packets_received: of(2),
            packets_sent: of(3),
            publishes_received: of(4),
            publishes_sent: of(5),
            payload_received: of(6),
            payload_sent: of(7),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_is_what_all_threads_added() {
        let traffic = Traffic::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * SETS {
                scope.spawn(|| {
                    let mut counted = Counted {
                        bytes_received: 3,
                        ..Counted::default()
                    };
                    counted.published_by(5);
                    counted.published_to(7);
                    traffic.add(&mut counted);
                    assert_eq!(counted, Counted::default());
                });
            }
        });
        let threads = 2 * SETS as u64;
        let sum = traffic.sum();
        assert_eq!(sum.bytes_received, 3 * threads);
        assert_eq!(
            (sum.publishes_received, sum.payload_received),
            (threads, 5 * threads)
        );
        assert_eq!(
            (sum.publishes_sent, sum.payload_sent),
            (threads, 7 * threads)
        );
        assert_eq!((sum.packets_received, sum.packets_sent), (0, threads));
    }
}
