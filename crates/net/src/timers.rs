//! The one task that waits for the broker's deadlines.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ternmq_broker::Broker;
use ternmq_broker::clock::Clock;
use ternmq_core::id::Timestamp;
use tokio::time::{Instant, sleep};

/// Ticks in a row, each due at once, before other tasks get their turn.
const TICKS_PER_POLL_MAX: usize = 16;

/// Something that acts at deadlines of its own: the broker.
pub trait Ticker: Send + Sync + 'static {
    /// The earliest moment at which [`Ticker::tick`] has something to do; `None` while there is nothing to wait for.
    fn next_deadline(&self) -> Option<Timestamp>;

    /// Registers who is woken whenever [`Ticker::next_deadline`] moves earlier. Called before it is asked.
    fn wake_on_earlier_deadline(&self, waker: &Waker);

    /// Does what is due at `now`. May be called early and with nothing due.
    fn tick(&self, now: Timestamp);
}

impl Ticker for Broker {
    fn next_deadline(&self) -> Option<Timestamp> {
        Self::next_deadline(self)
    }

    fn wake_on_earlier_deadline(&self, waker: &Waker) {
        Self::wake_on_earlier_deadline(self, waker);
    }

    fn tick(&self, now: Timestamp) {
        Self::tick(self, now);
    }
}

/// Calls [`Ticker::tick`] whenever a deadline has come. Never returns. A tick that panics is logged, and the next one
/// takes place.
pub(crate) async fn run_timers(ticker: Arc<dyn Ticker>, clock: Arc<dyn Clock>) {
    let mut sleep = pin!(sleep(Duration::ZERO));
    poll_fn(|cx: &mut Context<'_>| -> Poll<()> {
        for _ in 0..TICKS_PER_POLL_MAX {
            ticker.wake_on_earlier_deadline(cx.waker());
            let Some(deadline) = ticker.next_deadline() else {
                return Poll::Pending;
            };
            let now = clock.now();
            if deadline <= now {
                if catch_unwind(AssertUnwindSafe(|| ticker.tick(now))).is_err() {
                    tracing::error!("a timer of the broker panicked");
                }
                continue;
            }
            sleep.as_mut().reset(instant_at(deadline, now));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The runtime's idea of a deadline that is later than `now`.
#[allow(
    clippy::disallowed_methods,
    reason = "the runtime's timers are set in its own time"
)]
pub(crate) fn instant_at(deadline: Timestamp, now: Timestamp) -> Instant {
    /// Far enough, and no overflow.
    const DELAY_MAX_MS: u64 = 365 * 24 * 3_600 * 1_000;
    Instant::now() + Duration::from_millis(deadline.since(now).clamp(1, DELAY_MAX_MS))
}
