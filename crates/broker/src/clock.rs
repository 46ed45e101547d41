//! Time: the node's clock, and the alarm that wakes the timer task.
//!
//! Only this module reads the operating system's clocks. Everything else takes `now` as an argument.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

use atomic_waker::AtomicWaker;
use ternmq_core::id::Timestamp;

/// Where `now` comes from.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch. Never steps backwards.
    fn now(&self) -> Timestamp;
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
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            started: Instant::now(),
            epoch_ms: whole_ms(since_epoch),
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

/// Something that has to act at deadlines of its own: the broker's timers. One task drives it.
pub trait Ticker: Send + Sync {
    /// The earliest moment at which [`Ticker::tick`] has something to do; `None` while there is nothing to wait for.
    fn next_deadline(&self) -> Option<Timestamp>;

    /// Does what is due at `now`. May be called early and with nothing due.
    fn tick(&self, now: Timestamp);
}

/// Wakes the timer task when a deadline appears that is earlier than the one it sleeps for.
///
/// ```text
/// any thread: make the deadline visible to `next_deadline`, then alarm.wake_by(deadline)
/// timer task: arm(waker, || next_deadline()) -> sleep until that moment or until woken -> tick -> again
/// ```
#[derive(Debug)]
pub struct Alarm {
    armed_ms: AtomicU64,
    waker: AtomicWaker,
}

impl Alarm {
    /// An alarm nobody sleeps on yet.
    pub fn new() -> Self {
        Self {
            armed_ms: AtomicU64::new(u64::MAX),
            waker: AtomicWaker::new(),
        }
    }

    /// Makes sure that the timer task is awake at `deadline`. Costs one load when it will be anyway.
    pub fn wake_by(&self, deadline: Timestamp) {
        if deadline.0 < self.armed_ms.load(Ordering::SeqCst) {
            self.waker.wake();
        }
    }

    /// Called by the timer task before it sleeps. From here on `waker` is woken by every deadline earlier than the one
    /// `next_deadline` returned; one that appears during the call wakes it too.
    pub fn arm(
        &self,
        waker: &Waker,
        next_deadline: impl FnOnce() -> Option<Timestamp>,
    ) -> Option<Timestamp> {
        self.waker.register(waker);
        // Until the new deadline is known, every deadline counts as earlier.
        self.armed_ms.store(u64::MAX, Ordering::SeqCst);
        let next = next_deadline();
        self.armed_ms
            .store(next.map_or(u64::MAX, |at| at.0), Ordering::SeqCst);
        next
    }
}

impl Default for Alarm {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

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

    #[test]
    fn alarm_wakes_only_for_an_earlier_deadline() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let alarm = Alarm::new();
        alarm.arm(&waker, || Some(Timestamp(100)));
        alarm.wake_by(Timestamp(100));
        alarm.wake_by(Timestamp(500));
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        alarm.wake_by(Timestamp(99));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn alarm_wakes_for_a_deadline_that_appears_while_it_is_armed() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let alarm = Alarm::new();
        alarm.arm(&waker, || Some(Timestamp(10)));
        alarm.arm(&waker, || {
            alarm.wake_by(Timestamp(50));
            Some(Timestamp(100))
        });
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn alarm_without_a_deadline_wakes_for_any() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let alarm = Alarm::new();
        assert_eq!(alarm.arm(&Waker::from(Arc::clone(&count)), || None), None);
        alarm.wake_by(Timestamp(u64::MAX - 1));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }
}
