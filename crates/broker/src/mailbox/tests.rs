use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn drained(mailbox: &Mailbox) -> Vec<Notice> {
    let mut out = Vec::new();
    mailbox.drain(&mut out);
    out
}

#[test]
fn ready_is_kept_once_per_consumer_until_drained() {
    let mailbox = Mailbox::new(10);
    for _ in 0..3 {
        mailbox.push(Notice::Ready(Token(1)));
        mailbox.push(Notice::Ready(Token(2)));
    }
    assert_eq!(
        drained(&mailbox),
        [Notice::Ready(Token(1)), Notice::Ready(Token(2))]
    );
    mailbox.push(Notice::Ready(Token(1)));
    assert_eq!(drained(&mailbox), [Notice::Ready(Token(1))]);
    assert_eq!(drained(&mailbox), []);
}

#[test]
fn order_of_ready_and_cancelled_is_kept() {
    let mailbox = Mailbox::new(10);
    mailbox.push(Notice::Ready(Token(1)));
    mailbox.push(Notice::Cancelled(Token(1)));
    mailbox.push(Notice::Ready(Token(2)));
    assert_eq!(
        drained(&mailbox),
        [
            Notice::Ready(Token(1)),
            Notice::Cancelled(Token(1)),
            Notice::Ready(Token(2))
        ]
    );
}

#[test]
fn flags_coalesce_and_close_comes_last() {
    let mailbox = Mailbox::new(10);
    mailbox.push(Notice::Close(CloseReason::Replaced));
    mailbox.push(Notice::Close(CloseReason::Shutdown));
    mailbox.push(Notice::Blocked);
    mailbox.push(Notice::Committed);
    mailbox.push(Notice::Unblocked);
    mailbox.push(Notice::Committed);
    mailbox.push(Notice::Ready(Token(7)));
    assert_eq!(
        drained(&mailbox),
        [
            Notice::Unblocked,
            Notice::Committed,
            Notice::Ready(Token(7)),
            Notice::Close(CloseReason::Replaced)
        ]
    );
}

#[test]
fn many_consumers_are_deduplicated_too() {
    const TOKENS: u64 = 5_000;
    let mailbox = Mailbox::new(usize::try_from(TOKENS).unwrap());
    for _ in 0..2 {
        for token in 0..TOKENS {
            mailbox.push(Notice::Ready(Token(token)));
        }
    }
    let expected: Vec<_> = (0..TOKENS)
        .map(|token| Notice::Ready(Token(token)))
        .collect();
    assert_eq!(drained(&mailbox), expected);
    mailbox.push(Notice::Ready(Token(3)));
    mailbox.push(Notice::Ready(Token(3)));
    assert_eq!(drained(&mailbox), [Notice::Ready(Token(3))]);
}

#[test]
fn at_the_token_limit_all_is_kept_and_one_above_closes_the_connection() {
    let mailbox = Mailbox::new(20);
    for token in 0..20 {
        mailbox.push(Notice::Ready(Token(token)));
        mailbox.push(Notice::Cancelled(Token(token)));
        mailbox.push(Notice::TimedOut(Token(token)));
    }
    assert_eq!(drained(&mailbox).len(), 60);
    for token in 0..61 {
        mailbox.push(Notice::Ready(Token(token)));
    }
    let notices = drained(&mailbox);
    assert_eq!(notices.len(), 61);
    assert!(matches!(
        notices[60],
        Notice::Close(CloseReason::Administrative(_))
    ));
}

#[test]
fn task_is_woken_only_on_the_edge_from_empty() {
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    let mailbox = Mailbox::new(10);
    assert!(mailbox.poll_notified(&mut cx).is_pending());
    mailbox.push(Notice::Committed);
    mailbox.push(Notice::Ready(Token(1)));
    assert_eq!(count.get(), 1);
    assert!(mailbox.poll_notified(&mut cx).is_ready());
    drained(&mailbox);
    assert!(mailbox.poll_notified(&mut cx).is_pending());
    mailbox.push(Notice::Ready(Token(1)));
    assert_eq!(count.get(), 2);
}

#[test]
fn attending_task_is_not_woken_but_finds_the_notice() {
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    let mailbox = Mailbox::new(10);
    assert!(mailbox.poll_notified(&mut cx).is_pending());
    mailbox.attend();
    mailbox.push(Notice::Committed);
    assert_eq!(count.get(), 0);
    assert!(mailbox.poll_notified(&mut cx).is_ready());
}

#[test]
fn wake_without_a_notice_reaches_the_task() {
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mailbox = Mailbox::new(10);
    assert!(
        mailbox
            .poll_notified(&mut Context::from_waker(&waker))
            .is_pending()
    );
    mailbox.wake();
    assert_eq!(count.get(), 1);
    assert!(!mailbox.has_notices());
}

#[test]
fn closed_mailbox_ignores_pushes_and_wakes_nobody() {
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mailbox = Mailbox::new(10);
    mailbox.push(Notice::Ready(Token(1)));
    mailbox.close();
    assert!(
        mailbox
            .poll_notified(&mut Context::from_waker(&waker))
            .is_pending()
    );
    mailbox.push(Notice::Ready(Token(1)));
    mailbox.push(Notice::Close(CloseReason::Shutdown));
    assert_eq!(count.get(), 0);
    assert_eq!(drained(&mailbox), []);
}

#[test]
fn notices_pushed_from_many_threads_all_arrive() {
    const THREADS: u64 = 4;
    const TOKENS: u64 = 500;
    let mailbox = Mailbox::new(usize::try_from(THREADS * TOKENS).unwrap());
    let mut seen = Vec::new();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let mailbox = &mailbox;
            scope.spawn(move || {
                for token in 0..TOKENS {
                    mailbox.push(Notice::Ready(Token(thread * TOKENS + token)));
                }
            });
        }
        for _ in 0..100 {
            mailbox.drain(&mut seen);
        }
    });
    mailbox.drain(&mut seen);
    assert_eq!(seen.len(), usize::try_from(THREADS * TOKENS).unwrap());
}
