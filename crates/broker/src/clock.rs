//! Time: the node's clock.
//!
//! Only this module reads the operating system's clocks. Everything else takes `now` as an argument.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ternmq_core::id::Timestamp;

/// Where `now` comes from.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch. Never steps backwards.
    fn now(&self) -> Timestamp;

    /// What others mean by now, who name moments in documents of theirs: the same as [`Clock::now`] as far as the machine
    /// knew the time when that began, and it never slept. May step.
    fn wall(&self) -> Timestamp {
        self.now()
    }
}

/// The machine's monotonic clock, anchored to the wall clock when it was made. A wall clock that is set back, or jumps,
/// while the process lives moves nothing here.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    epoch_ms: u64,
}

impl SystemClock {
    /// A clock that shows the wall clock's time now. A wall clock before 1970 counts as 1970.
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            epoch_ms: wall_ms(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(
            self.epoch_ms
                .saturating_add(whole_ms(self.started.elapsed())),
        )
    }

    fn wall(&self) -> Timestamp {
        Timestamp(wall_ms())
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the clock")]
fn wall_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    whole_ms(since_epoch.unwrap_or(Duration::ZERO))
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that stands still until told otherwise: for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            now_ms: AtomicU64::new(now.0),
        }
    }

    /// Moves on by `ms` milliseconds and returns the new time.
    pub fn advance_ms(&self, ms: u64) -> Timestamp {
        Timestamp(
            self.now_ms
                .fetch_add(ms, Ordering::SeqCst)
                .saturating_add(ms),
        )
    }

    /// Moves on to `now`; a moment in the past changes nothing.
    pub fn advance_to(&self, now: Timestamp) {
        self.now_ms.fetch_max(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now_ms.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_clock_shows_the_wall_clock_and_never_steps_back() {
        let clock = SystemClock::new();
        let first = clock.now();
        assert!(first > Timestamp(1_700_000_000_000));
        assert!(clock.now() >= first);
    }

    #[test]
    fn manual_clock_moves_only_forwards() {
        let clock = ManualClock::new(Timestamp(10));
        assert_eq!(clock.advance_ms(5), Timestamp(15));
        clock.advance_to(Timestamp(12));
        assert_eq!(clock.now(), Timestamp(15));
        clock.advance_to(Timestamp(20));
        assert_eq!(clock.now(), Timestamp(20));
    }
}
