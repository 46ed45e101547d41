//! Keys that are fetched from the authorization server: at the start, when a token names a key that is not known, and when
//! they are an hour old and somebody logs in by one. One thread fetches; who logs in meanwhile waits for it.
//!
//! ```text
//! idle ─ want (not within REST_MS of the last) ─► wanted ─ the thread takes it ─► wanted ─ fetched, or not ─► idle
//!          └ no: who asks is told so                └ further ones wait beside       └ all are woken
//! ```
//!
//! While the server does not answer, the keys that are known stay.

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::thread;

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use ternmq_core::id::Timestamp;

use super::OAuth2Error;
use super::config::KeysConfig;
use super::fetch::{FetchError, Source};
use super::keys::{Key, KeyRing};

/// Between the beginnings of two fetches, in milliseconds, at least: tokens with keys that do not exist cost nobody much.
pub(super) const REST_MS: u64 = 10_000;

/// How old keys may be, in milliseconds, before they are fetched again: some may have been withdrawn.
pub(super) const AGE_MS_MAX: u64 = 3_600_000;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Remote {
    source: Source,
    ring: ArcSwap<KeyRing>,
    state: Mutex<State>,
    /// Keys are wanted, or the thread is to end.
    work: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The thread is there.
    is_running: bool,
    /// From when keys are wanted until they have been fetched.
    is_wanted: bool,
    /// When they were wanted last.
    asked_at: Option<Timestamp>,
    /// As of when the keys are.
    fetched_at: Option<Timestamp>,
    /// The last fetch failed: it is said once, not for each.
    is_failing: bool,
    wakers: Vec<Waker>,
}

impl Remote {
    /// None if nothing says where keys are.
    pub(super) fn new(config: &KeysConfig) -> Result<Option<Self>, OAuth2Error> {
        let source = Source::new(config)?;
        Ok(source.map(|source| Self {
            source,
            ring: ArcSwap::from_pointee(KeyRing::default()),
            state: Mutex::default(),
            work: Condvar::new(),
        }))
    }

    /// Starts the thread, and fetches.
    pub(super) fn start(self: &Arc<Self>, now: Timestamp) -> io::Result<()> {
        self.state.lock().is_running = true;
        let remote = Arc::clone(self);
        let thread = thread::Builder::new().name("ternmq-keys".to_owned());
        thread.spawn(move || remote.work())?;
        self.want(now, Waker::noop());
        Ok(())
    }

    /// Ends the thread once it has fetched what it fetches.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.is_running = false;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.work.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn key(&self, id: &str) -> Option<Key> {
        self.ring.load().get(id).cloned()
    }

    /// Has keys fetched, and then the waker called. False if that is not done now.
    pub(super) fn want(&self, now: Timestamp, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if !state.is_running {
            return false;
        }
        if !state.is_wanted {
            if state.asked_at.is_some_and(|at| now < at.plus_ms(REST_MS)) {
                return false;
            }
            state.asked_at = Some(now);
            state.is_wanted = true;
        }
        if !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        drop(state);
        self.work.notify_one();
        true
    }

    /// Has keys fetched if they are old. Nobody waits for that.
    pub(super) fn look_at_age(&self, now: Timestamp) {
        let fetched_at = self.state.lock().fetched_at;
        if fetched_at.is_some_and(|at| at.plus_ms(AGE_MS_MAX) <= now) {
            self.want(now, Waker::noop());
        }
    }

    /// Has keys fetched at once, whenever that was done last.
    pub(super) fn fetch_again(&self) {
        let mut state = self.state.lock();
        state.is_wanted = state.is_running;
        drop(state);
        self.work.notify_one();
    }

    fn work(&self) {
        while self.next() {
            let outcome = self.source.fetch();
            self.fetched(outcome);
        }
    }

    /// Waits until keys are wanted; false if they never will be.
    fn next(&self) -> bool {
        let mut state = self.state.lock();
        let waits = |state: &mut State| state.is_running && !state.is_wanted;
        self.work.wait_while(&mut state, waits);
        state.is_running
    }

    /// Keeps what was fetched, if anything was, and wakes who waits.
    fn fetched(&self, outcome: Result<KeyRing, FetchError>) {
        let from = &self.source;
        let outcome = outcome.map(|ring| {
            let keys = ring.len();
            self.ring.store(Arc::new(ring));
            keys
        });
        let mut state = self.state.lock();
        state.is_wanted = false;
        let was_good = state.fetched_at.is_some() && !state.is_failing;
        let was_bad = state.is_failing;
        state.is_failing = outcome.is_err();
        if outcome.is_ok() {
            state.fetched_at = state.asked_at;
        }
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        match outcome {
            Ok(keys) if was_good => tracing::debug!(%from, keys, "keys of tokens fetched"),
            Ok(keys) => tracing::info!(%from, keys, "keys of tokens fetched"),
            Err(error) if was_bad => {
                tracing::debug!(%from, %error, "keys of tokens can still not be fetched");
            }
            Err(error) => {
                tracing::error!(%from, %error, "keys of tokens cannot be fetched; those that are known stay");
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}
