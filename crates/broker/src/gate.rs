//! Who is in the middle of changing something: how a checkpoint knows when all that was begun has ended.
//!
//! A verb changes a queue and writes records in two steps. Between them the state and the journal disagree. A checkpoint
//! must not stop anybody for that; it waits at [`Gate::pass`] until all verbs that were under way have ended, while new
//! ones begin as they like.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::lock_api::ArcRwLockReadGuard;
use parking_lot::{RawRwLock, RwLock};

/// Threads share a slot only if there are more of them.
pub(crate) const SLOTS: usize = 64;

/// See the module's documentation.
pub(crate) struct Gate {
    slots: Vec<Arc<RwLock<()>>>,
}

/// Somebody is inside as long as this lives.
pub(crate) type Inside = ArcRwLockReadGuard<RawRwLock, ()>;

thread_local! {
    static SLOT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The calling thread's slot: each thread has its own, so that entering costs no cache line of somebody else's.
pub(crate) fn slot() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    SLOT.get().unwrap_or_else(|| {
        let slot = THREADS.fetch_add(1, Ordering::Relaxed) % SLOTS;
        SLOT.set(Some(slot));
        slot
    })
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            slots: std::iter::repeat_with(Arc::default).take(SLOTS).collect(),
        }
    }
}

impl Gate {
    /// Goes in. A thread may go in again while it is inside.
    pub(crate) fn enter(&self) -> Inside {
        self.slots[slot()].read_arc_recursive()
    }

    /// Waits until everybody who is inside now has left. Not to be called from inside.
    pub(crate) fn pass(&self) {
        for slot in &self.slots {
            drop(slot.write());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn passing_waits_for_those_inside_and_not_for_those_who_come_later() {
        let gate = Gate::default();
        let left = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (entered, is_inside) = mpsc::sync_channel(1);
            let (leave, may_leave) = mpsc::sync_channel::<()>(1);
            scope.spawn({
                let (gate, left) = (&gate, &left);
                move || {
                    let outer = gate.enter();
                    let inner = gate.enter();
                    entered.send(()).unwrap();
                    may_leave.recv().unwrap();
                    left.store(true, Ordering::SeqCst);
                    drop((outer, inner));
                }
            });
            is_inside.recv().unwrap();
            let passing = scope.spawn(|| {
                gate.pass();
                assert!(left.load(Ordering::SeqCst));
            });
            // Another thread goes in and out while somebody passes.
            drop(gate.enter());
            leave.send(()).unwrap();
            passing.join().unwrap();
        });
    }
}
