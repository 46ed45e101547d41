//! Connections are served in the order in which their sockets became readable.
//!
//! A runtime's thread learns of many readable sockets at once, in the order in which they became so, and then runs the
//! task that it woke *last* first. Clients can see that: who subscribes on one connection and then publishes on another
//! one would miss the message. So a connection's reads are woken by a waker of its own, which draws a ticket; a task that
//! is run before an earlier ticket of its thread goes to the end of the line, once.
//!
//! It goes for one thread. Two threads that read at the same time are in no order, as two clients are.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

thread_local! {
    static LINE: Line = Line::new();
}

/// So many bits of a ticket are its number, the others its thread's.
const NUMBER_BITS: u32 = 48;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;

/// The tickets of one thread.
struct Line {
    thread: u64,
    drawn: Cell<u64>,
    /// The highest that was served.
    served: Cell<u64>,
}

impl Line {
    fn new() -> Self {
        static THREADS: AtomicU32 = AtomicU32::new(0);
        Self {
            thread: u64::from(THREADS.fetch_add(1, Ordering::Relaxed)) << NUMBER_BITS,
            drawn: Cell::new(0),
            served: Cell::new(0),
        }
    }

    fn draw(&self) -> u64 {
        let number = (self.drawn.get() + 1) & NUMBER_MASK;
        self.drawn.set(number);
        self.thread | number
    }

    /// Whether the ticket is of this thread, and one before it was not served.
    fn is_early(&self, ticket: u64) -> bool {
        let is_own = ticket & !NUMBER_MASK == self.thread;
        is_own && (ticket & NUMBER_MASK) > self.served.get() + 1
    }

    fn serve(&self, ticket: u64) {
        if ticket & !NUMBER_MASK == self.thread {
            let number = ticket & NUMBER_MASK;
            self.served.set(self.served.get().max(number));
        }
    }
}

/// What is woken when the socket is readable.
struct Bell {
    /// 0 while there is nothing to serve.
    ticket: AtomicU64,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        LINE.with(|line| self.ticket.store(line.draw(), Ordering::Relaxed));
        self.task.wake_by_ref();
    }
}

/// A connection's place in the order of arrivals.
#[derive(Default)]
pub(crate) struct Arrival {
    /// Made when the task runs for the first time.
    bell: Option<(Arc<Bell>, Waker)>,
    /// It went to the end of the line with this ticket; 0 if with none.
    has_yielded: u64,
}

impl Arrival {
    /// Whether others come first: then the task was woken again, and is to wait for that.
    pub(crate) fn yields(&mut self, cx: &Context<'_>) -> bool {
        let Some((bell, _)) = &self.bell else {
            return false;
        };
        let ticket = bell.ticket.load(Ordering::Relaxed);
        if ticket == 0 {
            return false;
        }
        LINE.with(|line| {
            if line.is_early(ticket) && self.has_yielded != ticket {
                self.has_yielded = ticket;
                cx.waker().wake_by_ref();
                return true;
            }
            line.serve(ticket);
            // One that is drawn right now brings its own wake; it is only not waited for.
            bell.ticket.store(0, Ordering::Relaxed);
            false
        })
    }

    /// The waker for reads.
    pub(crate) fn waker(&mut self, cx: &Context<'_>) -> &Waker {
        let is_known = |(bell, _): &(Arc<Bell>, Waker)| bell.task.will_wake(cx.waker());
        if !self.bell.as_ref().is_some_and(is_known) {
            self.bell = None;
        }
        let (_, waker) = self.bell.get_or_insert_with(|| {
            let bell = Arc::new(Bell {
                ticket: AtomicU64::new(0),
                task: cx.waker().clone(),
            });
            (Arc::clone(&bell), Waker::from(bell))
        });
        waker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn task() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count(AtomicU32::new(0)));
        (Arc::clone(&count), Waker::from(count))
    }

    /// Two connections on a thread of their own, so that no other test draws tickets.
    fn on_a_thread(
        test: impl FnOnce(&mut Arrival, &mut Arrival, &Arc<Count>, &Context<'_>) + Send,
    ) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (woken, waker) = task();
                let cx = Context::from_waker(&waker);
                let (mut first, mut second) = (Arrival::default(), Arrival::default());
                first.waker(&cx);
                second.waker(&cx);
                test(&mut first, &mut second, &woken, &cx);
            });
        });
    }

    fn ring(arrival: &mut Arrival, cx: &Context<'_>) {
        arrival.waker(cx).wake_by_ref();
    }

    #[test]
    fn who_is_run_before_an_earlier_one_goes_behind_it() {
        on_a_thread(|first, second, woken, cx| {
            ring(first, cx);
            ring(second, cx);
            assert!(second.yields(cx), "the first comes first");
            assert_eq!(woken.0.load(Ordering::Relaxed), 3, "and it is run again");
            assert!(!first.yields(cx));
            assert!(!second.yields(cx));
        });
    }

    #[test]
    fn nobody_waits_twice_for_one_that_does_not_come() {
        on_a_thread(|first, second, _, cx| {
            ring(first, cx);
            ring(second, cx);
            assert!(second.yields(cx));
            assert!(!second.yields(cx));
            assert!(!first.yields(cx));
            ring(second, cx);
            assert!(!second.yields(cx));
        });
    }

    #[test]
    fn in_order_and_without_a_ticket_nobody_waits() {
        on_a_thread(|first, second, _, cx| {
            assert!(!first.yields(cx));
            for _ in 0..3 {
                ring(first, cx);
                ring(second, cx);
                assert!(!first.yields(cx));
                assert!(!second.yields(cx));
            }
        });
    }

    #[test]
    fn tickets_of_another_thread_are_not_waited_for() {
        on_a_thread(|first, second, _, cx| {
            let (first_waker, second_waker) = (first.waker(cx).clone(), second.waker(cx).clone());
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    first_waker.wake_by_ref();
                    second_waker.wake_by_ref();
                });
            });
            assert!(!second.yields(cx));
            assert!(!first.yields(cx));
        });
    }
}
