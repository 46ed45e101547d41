//! Where one of the broker's own threads finds its work.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

/// Work for one thread, in order. Bounded by those who put it there: a queue stands in an inbox once, and what waits to
/// be written counts as memory that publishers are held back for.
pub(crate) struct Inbox<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
}

struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                closed: false,
            }),
            arrived: Condvar::new(),
        }
    }
}

impl<T> Inbox<T> {
    /// Puts work in. Ignored once closed.
    pub(crate) fn push(&self, work: T) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        state.waiting.push_back(work);
        drop(state);
        self.arrived.notify_one();
    }

    /// Waits for work. None once closed; what waits then is left.
    pub(crate) fn pop(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(work) = state.waiting.pop_front() {
                return Some(work);
            }
            self.arrived.wait(&mut state);
        }
    }

    /// Lets the thread end.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.waiting = VecDeque::new();
        drop(state);
        self.arrived.notify_all();
    }
}
