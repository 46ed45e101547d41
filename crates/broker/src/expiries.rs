//! When which connection's login ends: tokens expire, and so do the connections that came by them.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use ternmq_core::id::{ConnectionId, Timestamp};

use crate::broker::Inner;
use crate::mailbox::{CloseReason, Notice};

/// Connections that one tick tells, at most; what is left is due at once.
const CONNECTIONS_PER_TICK_MAX: usize = 256;

/// Connections by the moment at which they are closed.
#[derive(Debug, Default)]
pub(crate) struct Expiries {
    due: Mutex<BTreeSet<(Timestamp, ConnectionId)>>,
}

impl Expiries {
    /// The next moment at which a connection is to be closed.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.due.lock().first().map(|(at, _)| *at)
    }

    fn pop(&self, now: Timestamp) -> Option<ConnectionId> {
        let mut due = self.due.lock();
        let first = due.first().copied().filter(|(at, _)| *at <= now)?;
        due.remove(&first);
        Some(first.1)
    }
}

impl Inner {
    /// Moves the end of a connection's login; none is never, or that the connection is gone.
    pub(crate) fn move_expiry(
        &self,
        id: ConnectionId,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) {
        if from == to {
            return;
        }
        let mut due = self.expiries.due.lock();
        if let Some(from) = from {
            due.remove(&(from, id));
        }
        let Some(to) = to else { return };
        due.insert((to, id));
        drop(due);
        self.timers.wake();
    }

    /// Asks those connections to close whose login has ended.
    pub(crate) fn close_expired(&self, now: Timestamp) {
        for _ in 0..CONNECTIONS_PER_TICK_MAX {
            let Some(id) = self.expiries.pop(now) else {
                return;
            };
            self.tell(id, Notice::Close(CloseReason::CredentialExpired));
        }
    }
}
