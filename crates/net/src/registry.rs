//! Which connections there are, and how far the node's shutdown has come.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use ternmq_broker::clock::Clock;
use ternmq_broker::mailbox::Mailbox;
use ternmq_core::id::Timestamp;
use tokio::sync::Notify;

/// How far a shutdown has come, as every connection sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Stage {
    /// None is under way.
    Serving,
    /// Connections say goodbye.
    Draining,
    /// Whoever is left is cut off.
    Cutting,
}

/// All connections of a server.
pub(crate) struct Registry {
    clock: Arc<dyn Clock>,
    connections_max: AtomicUsize,
    stage: AtomicU8,
    next: AtomicU64,
    mailboxes: Mutex<HashMap<u64, Arc<Mailbox>>>,
    /// Told whenever the last connection goes.
    empty: Notify,
}

impl Registry {
    pub(crate) fn new(clock: Arc<dyn Clock>, connections_max: usize) -> Self {
        Self {
            clock,
            connections_max: AtomicUsize::new(connections_max),
            stage: AtomicU8::new(Stage::Serving as u8),
            next: AtomicU64::new(1),
            mailboxes: Mutex::default(),
            empty: Notify::new(),
        }
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn connections_max(&self) -> usize {
        self.connections_max.load(Ordering::Relaxed)
    }

    /// Those that are there stay, however many.
    pub(crate) fn set_connections_max(&self, connections_max: usize) {
        self.connections_max
            .store(connections_max, Ordering::Relaxed);
    }

    pub(crate) fn connection_count(&self) -> usize {
        self.mailboxes.lock().len()
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::SeqCst) {
            0 => Stage::Serving,
            1 => Stage::Draining,
            _ => Stage::Cutting,
        }
    }

    /// Moves on to a later stage and wakes every connection to see it. None registers any more.
    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::SeqCst);
        for mailbox in self.mailboxes.lock().values() {
            mailbox.wake();
        }
    }

    /// Returns when no connection is left.
    pub(crate) async fn wait_until_empty(&self) {
        loop {
            let mut told = std::pin::pin!(self.empty.notified());
            told.as_mut().enable();
            if self.connection_count() == 0 {
                return;
            }
            told.await;
        }
    }

    /// A place for one more connection.
    pub(crate) fn register(self: &Arc<Self>, mailbox: Arc<Mailbox>) -> Result<Registered, NoPlace> {
        let mut mailboxes = self.mailboxes.lock();
        // Looked at under the lock: whoever saw that no connection is left gets no new one.
        if self.stage() != Stage::Serving {
            return Err(NoPlace::Stopping);
        }
        if mailboxes.len() >= self.connections_max() {
            return Err(NoPlace::Crowded);
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let before = mailboxes.insert(id, Arc::clone(&mailbox));
        debug_assert!(before.is_none(), "connection numbers are never used again");
        drop(mailboxes);
        Ok(Registered {
            registry: Arc::clone(self),
            id,
            mailbox,
        })
    }
}

/// Why there is no place for one more connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NoPlace {
    #[error("too many connections")]
    Crowded,
    #[error("the server stops")]
    Stopping,
}

/// A connection's place in the registry, given up by dropping it.
pub(crate) struct Registered {
    registry: Arc<Registry>,
    id: u64,
    mailbox: Arc<Mailbox>,
}

impl Registered {
    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    pub(crate) fn stage(&self) -> Stage {
        self.registry.stage()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.registry.clock.now()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut mailboxes = self.registry.mailboxes.lock();
        mailboxes.remove(&self.id);
        let is_empty = mailboxes.is_empty();
        drop(mailboxes);
        if is_empty {
            self.registry.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use ternmq_broker::clock::ManualClock;

    use super::*;

    #[test]
    fn nobody_gets_a_place_once_a_shutdown_is_under_way() {
        let registry = Arc::new(Registry::new(Arc::new(ManualClock::default()), 1));
        let register = || registry.register(Mailbox::new(1));
        let first = register().unwrap();
        assert_eq!(register().err(), Some(NoPlace::Crowded));
        drop(first);
        registry.enter(Stage::Draining);
        assert_eq!(register().err(), Some(NoPlace::Stopping));
        assert_eq!(registry.connection_count(), 0);
    }
}
