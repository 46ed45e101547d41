//! Answers are put together beside the threads that carry messages.
//!
//! A list of 10,000 queues is a tenth of a second of work. In a worker's thread every connection of that thread would
//! wait for it, so a machine polls its server here: the worker's other tasks go on in another thread, and the operating
//! system shares out processors between the two. Few do that at once; whoever finds no place is woken when there is one.

use std::task::Waker;

use parking_lot::Mutex;
pub use ternmq_broker::aside::{Aside, in_place};

/// Machines that may work at once. Below what a runtime has for that, with room for others who need the same.
const AT_ONCE_MAX: usize = 16;

/// Where work is done aside.
pub(crate) struct Desk {
    aside: Aside,
    places: Mutex<Places>,
}

struct Places {
    free: usize,
    /// Who found none. One machine waits once.
    waiting: Vec<Waker>,
}

/// A place that is taken, until it is dropped.
struct Taken<'a>(&'a Desk);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let waiting = {
            let mut places = self.0.places.lock();
            places.free += 1;
            std::mem::take(&mut places.waiting)
        };
        // All of them: a machine that has ended meanwhile would keep the place from the others.
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Desk {
    pub(crate) fn new(aside: Aside) -> Self {
        Self {
            aside,
            places: Mutex::new(Places {
                free: AT_ONCE_MAX,
                waiting: Vec::new(),
            }),
        }
    }

    /// Does the work aside. None if too many do: `waker` is woken when it is worth another try.
    pub(crate) fn work<T>(&self, waker: &Waker, work: impl FnOnce() -> T) -> Option<T> {
        let _taken = self.take(waker)?;
        let (mut work, mut done) = (Some(work), None);
        (self.aside)(&mut || done = work.take().map(|work| work()));
        done
    }

    fn take(&self, waker: &Waker) -> Option<Taken<'_>> {
        let mut places = self.places.lock();
        if places.free == 0 {
            if !places
                .waiting
                .iter()
                .any(|waiting| waiting.will_wake(waker))
            {
                places.waiting.push(waker.clone());
            }
            return None;
        }
        places.free -= 1;
        Some(Taken(self))
    }

    /// Does the work aside, whoever else does: for the one task that has nobody to wake it.
    pub(crate) fn work_alone(&self, work: impl FnOnce()) {
        let mut work = Some(work);
        (self.aside)(&mut || {
            if let Some(work) = work.take() {
                work();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Works within work until there is no place, and returns how many had one.
    fn nest(desk: &Desk, waker: &Waker) -> usize {
        desk.work(waker, || 1 + nest(desk, waker)).unwrap_or(0)
    }

    #[test]
    fn whoever_finds_no_place_is_woken_once_when_there_is_one() {
        let desk = Desk::new(in_place);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        assert_eq!(nest(&desk, &waker), AT_ONCE_MAX);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(
            nest(&desk, &waker),
            AT_ONCE_MAX,
            "all places are free again"
        );
    }

    #[test]
    fn machine_waits_once_however_often_it_tries() {
        let desk = Desk::new(in_place);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let taken: Vec<_> = (0..AT_ONCE_MAX).map(|_| desk.take(&waker)).collect();
        assert!(desk.take(&waker).is_none() && desk.take(&waker).is_none());
        drop(taken);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn panic_gives_the_place_back() {
        let desk = Desk::new(in_place);
        for _ in 0..=AT_ONCE_MAX {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                desk.work(Waker::noop(), || panic!("a handler's"))
            }));
            assert!(panicked.is_err());
        }
        assert_eq!(desk.work(Waker::noop(), || 7), Some(7));
    }
}
