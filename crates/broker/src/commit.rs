//! From the journal's watermark to the connections that wait for it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use ternmq_core::id::{ConnectionId, Lsn};
use ternmq_journal::{Index, Watcher};

use crate::broker::{Broker, Inner};
use crate::client::Client;
use crate::mailbox::{Mailbox, Notice};

/// Connections by the record they wait for.
#[derive(Default)]
pub(crate) struct CommitWatch {
    /// Who sees to the journal's length and to the room on the disk; none where nothing is kept.
    pub(crate) owner: OnceLock<Weak<Inner>>,
    waiting: Mutex<BTreeMap<(Lsn, ConnectionId), Arc<Mailbox>>>,
    /// Tasks that are no connection's, by record and a number of their own.
    tasks: Mutex<BTreeMap<(Lsn, u64), Waker>>,
    next_task: AtomicU64,
}

impl Watcher for CommitWatch {
    fn on_commit(&self, committed: Index) {
        let done = {
            let mut waiting = self.waiting.lock();
            let later = waiting.split_off(&(Lsn(committed.0 + 1), ConnectionId(0)));
            std::mem::replace(&mut *waiting, later)
        };
        for mailbox in done.into_values() {
            mailbox.push(Notice::Committed);
        }
        let done = {
            let mut tasks = self.tasks.lock();
            let later = tasks.split_off(&(Lsn(committed.0 + 1), 0));
            std::mem::replace(&mut *tasks, later)
        };
        done.into_values().for_each(Waker::wake);
        if let Some(inner) = self.owner.get().and_then(Weak::upgrade)
            && let Some(store) = &inner.store
        {
            store.checkpointing.look(store.log.written_bytes());
        }
    }

    fn on_pressure(&self) {
        if let Some(inner) = self.owner.get().and_then(Weak::upgrade) {
            inner.look_at_disk();
        }
    }
}

/// Resolves once a record is committed. See [`Broker::committed_when`].
pub struct Committed {
    inner: Arc<Inner>,
    lsn: Lsn,
    task: u64,
}

impl Broker {
    /// A future that resolves once that record is committed, at once if there is none to wait for. If the journal fails it
    /// never does: the process ends.
    pub fn committed_when(&self, lsn: Lsn) -> Committed {
        Committed {
            inner: self.0.clone(),
            lsn,
            task: self.0.commits.next_task.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl Future for Committed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.inner.committed() >= self.lsn {
            return Poll::Ready(());
        }
        let key = (self.lsn, self.task);
        let waker = context.waker().clone();
        self.inner.commits.tasks.lock().insert(key, waker);
        // As in `notify_commit`.
        if self.inner.committed() < self.lsn {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Drop for Committed {
    fn drop(&mut self) {
        let key = (self.lsn, self.task);
        self.inner.commits.tasks.lock().remove(&key);
    }
}

impl Client {
    /// Every record up to this one is safe: what was published up to it may be confirmed.
    pub fn committed(&self) -> Lsn {
        self.broker.committed()
    }

    /// Asks for [`Notice::Committed`] once `lsn` is committed.
    pub fn notify_commit(&mut self, lsn: Lsn) {
        if self.committed() < lsn {
            self.broker
                .commits
                .waiting
                .lock()
                .insert((lsn, self.id), self.mailbox.clone());
            // The watermark may have passed between the look and the insertion: then nobody else would tell.
            if self.committed() < lsn {
                return;
            }
            self.broker.commits.waiting.lock().remove(&(lsn, self.id));
        }
        self.mailbox.push(Notice::Committed);
    }
}
