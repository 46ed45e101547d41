//! One mailbox per connection: how the broker tells a connection's task that something waits for it.
//!
//! A notice says *that* there is something, never *what*: messages stay in the broker until the connection drains them.
//! So a mailbox is small and bounded by construction:
//!
//! - [`Notice::Ready`], [`Notice::Cancelled`] and [`Notice::TimedOut`] are kept at most once per token until drained, so
//!   there are never more than three entries per token the adapter has handed out;
//! - everything else is a flag: `Committed` coalesces, of `Blocked` and `Unblocked` the last one stands and so it does of
//!   `Disk`, of several `Close` the first one stands.
//!
//! The connection's task is woken on the edge from empty to not empty only, and not at all while it runs a turn
//! ([`Mailbox::attend`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use atomic_waker::AtomicWaker;
use hashbrown::HashSet;
use parking_lot::Mutex;

use crate::inspect::Octets;

/// A consumer or conversation inside one connection. Chosen by the adapter, never interpreted by the broker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// What a connection is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// Messages are assigned to this consumer: drain it.
    Ready(Token),
    /// This consumer's queue is gone.
    Cancelled(Token),
    /// This consumer holds a message for longer than it may ([`crate::Client::lease_timeout_ms`]).
    TimedOut(Token),
    /// The journal's watermark moved, and this connection asked to hear of it.
    Committed,
    /// Memory is short: stop reading publishes.
    Blocked,
    /// There is enough again.
    Unblocked,
    /// The room on the disk for durable messages changed.
    Disk(DiskRoom),
    /// Close the connection.
    Close(CloseReason),
}

/// How much room there is on the disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum DiskRoom {
    /// Enough.
    #[default]
    Enough,
    /// Not much: whoever publishes durable messages should pause.
    Low,
    /// Too little: durable messages are refused, and what settles and deletes goes on.
    Full,
}

/// Why a connection is to close.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The node stops.
    Shutdown,
    /// The same client id connected elsewhere.
    Replaced,
    /// What let the user in, a token, has ended.
    CredentialExpired,
    /// Somebody closed it, for this reason.
    Administrative(Box<str>),
}

/// Notices about one consumer, of each kind one.
const ENTRIES_PER_TOKEN: usize = 3;

/// Up to this many waiting notices are searched one by one; beyond it a hash set is kept beside them.
const SCAN_MAX: usize = 16;

/// A drained buffer of more entries than this is given back to the allocator.
const KEEP_MAX: usize = 64;

/// See the module's documentation.
#[derive(Debug)]
pub struct Mailbox {
    token_max: usize,
    /// Whether there is anything to drain: read without the lock.
    waiting: AtomicBool,
    waker: AtomicWaker,
    inner: Mutex<Inner>,
    octets: Octets,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Entry>,
    /// The same as `entries` once there are more than [`SCAN_MAX`], else empty.
    index: HashSet<Entry, foldhash::fast::FixedState>,
    committed: bool,
    pressure: Option<Pressure>,
    disk: Option<DiskRoom>,
    close: Option<CloseReason>,
    closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Entry {
    Ready(Token),
    Cancelled(Token),
    TimedOut(Token),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pressure {
    Blocked,
    Unblocked,
}

impl Mailbox {
    /// A mailbox for a connection that has at most `token_max` tokens in use between two drains, those included that it
    /// gave up since the last one.
    pub fn new(token_max: usize) -> Arc<Self> {
        Arc::new(Self {
            token_max,
            waiting: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            inner: Mutex::new(Inner::default()),
            octets: Octets::default(),
        })
    }

    /// What the connection's socket moved: counted here, as its task and whoever looks at it both have the mailbox.
    pub fn octets(&self) -> &Octets {
        &self.octets
    }

    /// Leaves a notice, from any thread. Ignored once the mailbox is closed.
    ///
    /// A connection that uses more tokens than it said is told to close instead: a `Ready` that was dropped silently
    /// would stall its consumer for ever.
    pub fn push(&self, notice: Notice) {
        let mut inner = self.inner.lock();
        if inner.closed {
            return;
        }
        let was_empty = inner.is_empty();
        inner.put(notice, self.token_max.saturating_mul(ENTRIES_PER_TOKEN));
        if was_empty {
            self.waiting.store(true, Ordering::SeqCst);
            drop(inner);
            self.waker.wake();
        }
    }

    /// Moves everything that waits to the end of `out`: first the flags, then what is about consumers in the order it
    /// came, at last `Close`. One load when nothing waits.
    pub fn drain(&self, out: &mut Vec<Notice>) {
        if !self.has_notices() {
            return;
        }
        let mut inner = self.inner.lock();
        self.waiting.store(false, Ordering::SeqCst);
        match inner.pressure.take() {
            Some(Pressure::Blocked) => out.push(Notice::Blocked),
            Some(Pressure::Unblocked) => out.push(Notice::Unblocked),
            None => {}
        }
        out.extend(inner.disk.take().map(Notice::Disk));
        if std::mem::take(&mut inner.committed) {
            out.push(Notice::Committed);
        }
        out.extend(inner.entries.drain(..).map(Notice::from));
        inner.shrink();
        out.extend(inner.close.take().map(Notice::Close));
        debug_assert!(inner.is_empty(), "a drained mailbox is empty");
    }

    /// Whether there is anything to drain.
    pub fn has_notices(&self) -> bool {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Ready while there is anything to drain; else the task is woken when there is, or by [`Mailbox::wake`].
    /// One task at a time may wait.
    pub fn poll_notified(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_notices() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        if self.has_notices() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// The waiting task runs: nobody needs to wake it before its next [`Mailbox::poll_notified`].
    pub fn attend(&self) {
        drop(self.waker.take());
    }

    /// Wakes the task without a notice, for what is told by other means.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Wakes the connection by a notice that means nothing in particular: for who waits for an answer from elsewhere.
    pub fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::new(Nudge(self.clone())))
    }

    /// The connection is gone: what waits is dropped, what comes is ignored.
    pub fn close(&self) {
        let mut inner = self.inner.lock();
        *inner = Inner {
            closed: true,
            ..Inner::default()
        };
        self.waiting.store(false, Ordering::SeqCst);
        drop(inner);
        self.attend();
    }
}

/// See [`Mailbox::waker`].
struct Nudge(Arc<Mailbox>);

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.0.push(Notice::Committed);
    }
}

impl Inner {
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && !self.committed
            && self.pressure.is_none()
            && self.disk.is_none()
            && self.close.is_none()
    }

    fn put(&mut self, notice: Notice, entries_max: usize) {
        match notice {
            Notice::Ready(token) => self.put_entry(Entry::Ready(token), entries_max),
            Notice::Cancelled(token) => self.put_entry(Entry::Cancelled(token), entries_max),
            Notice::TimedOut(token) => self.put_entry(Entry::TimedOut(token), entries_max),
            Notice::Committed => self.committed = true,
            Notice::Blocked => self.pressure = Some(Pressure::Blocked),
            Notice::Unblocked => self.pressure = Some(Pressure::Unblocked),
            Notice::Disk(room) => self.disk = Some(room),
            Notice::Close(reason) => {
                self.close.get_or_insert(reason);
            }
        }
        debug_assert!(self.entries.len() <= entries_max, "few entries per token");
    }

    fn put_entry(&mut self, entry: Entry, entries_max: usize) {
        if self.contains(entry) {
            return;
        }
        if self.entries.len() >= entries_max {
            self.close
                .get_or_insert_with(|| CloseReason::Administrative("too many consumers".into()));
            return;
        }
        self.entries.push(entry);
        if self.entries.len() == SCAN_MAX + 1 {
            self.index.extend(self.entries.iter().copied());
        } else if self.entries.len() > SCAN_MAX {
            self.index.insert(entry);
        }
        debug_assert!(self.index.is_empty() || self.index.len() == self.entries.len());
    }

    fn contains(&self, entry: Entry) -> bool {
        if self.entries.len() <= SCAN_MAX {
            self.entries.contains(&entry)
        } else {
            self.index.contains(&entry)
        }
    }

    /// Called with `entries` drained: keeps small buffers for the next time, gives large ones back.
    fn shrink(&mut self) {
        debug_assert!(self.entries.is_empty());
        if self.entries.capacity() > KEEP_MAX {
            self.entries = Vec::new();
            self.index = HashSet::default();
        } else if !self.index.is_empty() {
            self.index.clear();
        }
    }
}

impl From<Entry> for Notice {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Ready(token) => Self::Ready(token),
            Entry::Cancelled(token) => Self::Cancelled(token),
            Entry::TimedOut(token) => Self::TimedOut(token),
        }
    }
}

#[cfg(test)]
mod tests;
