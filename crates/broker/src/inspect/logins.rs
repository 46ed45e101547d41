//! Who was let in and who was turned away, by protocol.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Inspect;
use crate::broker::Broker;

/// Where somebody logs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// AMQP 0-9-1.
    Amqp091,
    /// MQTT of any version.
    Mqtt,
    /// The management API and the metrics: every request logs in.
    Http,
}

impl Door {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Amqp091, Self::Mqtt, Self::Http];

    /// The name that tools know.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Amqp091 => "amqp091",
            Self::Mqtt => "mqtt",
            Self::Http => "http",
        }
    }
}

/// Attempts to log in since the node started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Logins {
    /// Those that were let in.
    pub succeeded: u64,
    /// Those that were not.
    pub failed: u64,
}

/// Counts them.
#[derive(Default)]
pub(crate) struct LoginCounters([Counters; Door::ALL.len()]);

#[derive(Default)]
struct Counters {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Broker {
    /// Somebody was let in, or was not.
    pub fn count_login(&self, door: Door, is_let_in: bool) {
        let counters = &self.0.metrics.logins.0[door as usize];
        let counter = if is_let_in {
            &counters.succeeded
        } else {
            &counters.failed
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Inspect<'_> {
    /// The attempts to log in by one protocol.
    pub fn logins(self, door: Door) -> Logins {
        let counters = &self.0.metrics.logins.0[door as usize];
        Logins {
            succeeded: counters.succeeded.load(Ordering::Relaxed),
            failed: counters.failed.load(Ordering::Relaxed),
        }
    }
}
