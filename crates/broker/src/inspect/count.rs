//! Numbers that one task writes and anybody reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer, who therefore needs no locked instruction: adding costs what adding to a plain number
/// does. Two writers at once would lose counts, and nothing else.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds. Only for the one who owns what is counted.
    #[inline]
    pub fn add(&self, n: u64) {
        let now = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(now, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is replaced, by one writer.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// What it is from now on.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a connection's socket moved. The task that reads and writes the socket counts.
#[derive(Debug, Default)]
pub struct Octets {
    /// Bytes read.
    pub received_bytes: Count,
    /// Bytes written.
    pub sent_bytes: Count,
    /// Reads.
    pub reads: Count,
    /// Writes.
    pub writes: Count,
}

impl Octets {
    /// A read brought so much.
    #[inline]
    pub fn received(&self, bytes: usize) {
        self.received_bytes.add(bytes as u64);
        self.reads.add(1);
    }

    /// A write took so much.
    #[inline]
    pub fn sent(&self, bytes: usize) {
        self.sent_bytes.add(bytes as u64);
        self.writes.add(1);
    }
}
