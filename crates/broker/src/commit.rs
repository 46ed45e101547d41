//! From the journal's watermark to the connections that wait for it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use ternmq_core::id::{ConnectionId, Lsn};
use ternmq_journal::{Index, Watcher};

use crate::broker::Inner;
use crate::client::Client;
use crate::mailbox::{Mailbox, Notice};

/// Connections by the record they wait for.
#[derive(Default)]
pub(crate) struct CommitWatch {
    /// Who sees to the journal's length and to the room on the disk; none where nothing is kept.
    pub(crate) owner: OnceLock<Weak<Inner>>,
    waiting: Mutex<BTreeMap<(Lsn, ConnectionId), Arc<Mailbox>>>,
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
