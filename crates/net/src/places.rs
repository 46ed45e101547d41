//! Places of a listener for connections that are on their way through its entrance.
//!
//! Who finds none waits. Who waits long makes those hurry who have been inside for long: peers that connect and say nothing
//! would else keep everybody out for their whole time limit. While places become free, however many want one, nobody hurries.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::limits::HANDSHAKE_HURRY;

/// All places of a listener.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    /// Told to those who are inside.
    hurry: Arc<Notify>,
}

/// One of the places, given up by dropping it.
pub(crate) struct Turn {
    hurry: Arc<Notify>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(max)),
            hurry: Arc::default(),
        }
    }

    /// The next place that is free.
    pub(crate) async fn take(&self) -> Turn {
        let place = loop {
            let free = Arc::clone(&self.free).acquire_owned();
            match timeout(HANDSHAKE_HURRY, free).await {
                // It is never closed.
                Ok(place) => break place.ok(),
                Err(_) => self.hurry.notify_waiters(),
            }
        };
        Turn {
            hurry: Arc::clone(&self.hurry),
            _place: place,
        }
    }
}

impl Turn {
    /// Returns when this one has been here for long, and others have waited for long.
    pub(crate) async fn is_over(&self) {
        sleep(HANDSHAKE_HURRY).await;
        self.hurry.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    /// Takes a place, and keeps it for so long unless it is to be given up.
    async fn stay(places: &Places, time: Duration) -> &'static str {
        let turn = places.take().await;
        tokio::select! {
            () = turn.is_over() => "hurried",
            () = sleep(time) => "stayed",
        }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "time that does not pass by itself"
    )]
    #[tokio::test(start_paused = true)]
    async fn who_stays_long_hurries_once_others_have_waited_long() {
        let (places, begun) = (Places::new(1), Instant::now());
        let both = tokio::join!(
            stay(&places, HANDSHAKE_HURRY * 10),
            stay(&places, HANDSHAKE_HURRY / 2),
        );
        assert_eq!(both, ("hurried", "stayed"));
        assert!(begun.elapsed() < HANDSHAKE_HURRY * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_hurries_while_places_become_free_or_nobody_waits() {
        let places = Places::new(2);
        assert_eq!(stay(&places, HANDSHAKE_HURRY * 10).await, "stayed");
        let slow = stay(&places, HANDSHAKE_HURRY * 10);
        let quick = async {
            for _ in 0..20 {
                let both = tokio::join!(
                    stay(&places, HANDSHAKE_HURRY / 2),
                    stay(&places, HANDSHAKE_HURRY / 2)
                );
                assert_eq!(both, ("stayed", "stayed"));
            }
        };
        assert_eq!(tokio::join!(slow, quick).0, "stayed");
    }
}
