//! Declaring, finding and deleting queues.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use super::{Declared, NONE, Queue, QueueDecl, QueueEntry, Removed, Topology, not_found};
use crate::error::{Inequivalence, Kind, Refusal};
use crate::id::{ConnectionId, QueueId};
use crate::policy::{QueueSettings, arguments};
use crate::value::Value;

/// Refuses names that a client must not choose for a new queue. The broker's own names, such as `amq.gen-…`, are
/// declared without this.
///
/// # Errors
/// [`Refusal::ReservedName`] for names that start with `amq.`.
pub fn check_client_queue_name(name: &str) -> Result<(), Refusal> {
    if name.starts_with("amq.") {
        return Err(Refusal::ReservedName {
            kind: Kind::Queue,
            name: name.into(),
        });
    }
    Ok(())
}

impl Topology {
    /// Declares a queue. `by` declares it; `id` is its identity if it is new.
    ///
    /// # Errors
    /// For a new queue, arguments that cannot be used ([`QueueSettings::from_decl`]). For an existing one:
    /// [`Refusal::Locked`] if another connection owns it or the declarations differ in exclusiveness, then the
    /// first other difference.
    pub fn declare_queue(
        &mut self,
        decl: QueueDecl,
        by: ConnectionId,
        id: QueueId,
    ) -> Result<Declared, Refusal> {
        if let Some(slot) = self.queue_slot(decl.name.as_bytes()) {
            let entry = &self.queues[slot].entry;
            check_equivalent(entry, &decl, by)?;
            return Ok(Declared {
                id: entry.id,
                created: false,
            });
        }
        let settings = QueueSettings::from_decl(&decl)?;
        debug_assert!(
            self.queue_by_id(id).is_none(),
            "queue ids are never used again"
        );
        if let Some(owner) = decl.exclusive {
            self.owned.insert((owner, id));
        }
        let hash = self.hash(decl.name.as_bytes());
        let slot = self.queues.insert(Queue {
            entry: QueueEntry {
                id,
                decl: Arc::new(decl),
                settings,
            },
            incoming: NONE,
        });
        self.queue_names.insert(hash, slot);
        self.queue_ids.insert(self.hasher.hash_one(id), slot);
        self.changed();
        Ok(Declared { id, created: true })
    }

    /// The queue of that name, as `by` may use it.
    ///
    /// # Errors
    /// Not found, or locked by another connection.
    pub fn queue(&self, name: &str, by: ConnectionId) -> Result<&QueueEntry, Refusal> {
        match self.queue_slot(name.as_bytes()) {
            None => Err(not_found(Kind::Queue, name.as_bytes())),
            Some(slot) => {
                let entry = &self.queues[slot].entry;
                check_owner(entry, by)?;
                Ok(entry)
            }
        }
    }

    /// The queue of that identity.
    pub fn queue_by_id(&self, id: QueueId) -> Option<&QueueEntry> {
        self.queue_slot_by_id(id)
            .map(|slot| &self.queues[slot].entry)
    }

    /// Deletes a queue and its bindings. Returns whether there was one.
    pub fn delete_queue(&mut self, id: QueueId, removed: &mut Removed) -> bool {
        let Some(slot) = self.queue_slot_by_id(id) else {
            return false;
        };
        let mut sources = Vec::new();
        while self.queues[slot].incoming != NONE {
            sources.push(self.remove_binding(self.queues[slot].incoming));
        }
        if let Some(Queue { entry, .. }) = self.queues.remove(slot) {
            self.queue_names
                .remove(self.hash(entry.decl.name.as_bytes()), slot);
            self.queue_ids.remove(self.hasher.hash_one(id), slot);
            if let Some(owner) = entry.decl.exclusive {
                self.owned.remove(&(owner, id));
            }
        }
        self.changed();
        removed.queues.push(id);
        self.auto_delete(sources, removed);
        true
    }

    /// The exclusive queues of a connection.
    pub fn owned_by(&self, connection: ConnectionId) -> Vec<QueueId> {
        let all = (connection, QueueId(0))..=(connection, QueueId(u64::MAX));
        self.owned.range(all).map(|&(_, id)| id).collect()
    }

    fn queue_slot_by_id(&self, id: QueueId) -> Option<u32> {
        self.queue_ids.find(self.hasher.hash_one(id), |slot| {
            self.queues[slot].entry.id == id
        })
    }

    pub(super) fn queue_list(&mut self, slot: u32) -> &mut u32 {
        &mut self.queues[slot].incoming
    }
}

/// Refuses connections that do not own an exclusive queue.
pub(super) fn check_owner(entry: &QueueEntry, by: ConnectionId) -> Result<(), Refusal> {
    match entry.decl.exclusive {
        Some(owner) if owner != by => Err(Refusal::Locked(entry.decl.name.clone())),
        _ => Ok(()),
    }
}

fn check_equivalent(
    entry: &QueueEntry,
    received: &QueueDecl,
    by: ConnectionId,
) -> Result<(), Refusal> {
    let current = &entry.decl;
    check_owner(entry, by)?;
    if current.exclusive != received.exclusive {
        return Err(Refusal::Locked(current.name.clone()));
    }
    let flag = |arg: &str, current: bool, received: bool| {
        (current != received).then(|| Inequivalence {
            arg: arg.into(),
            received: Some(Value::Bool(received)),
            current: Some(Value::Bool(current)),
        })
    };
    let difference = flag("durable", current.durable, received.durable)
        .or_else(|| flag("auto_delete", current.auto_delete, received.auto_delete))
        .or_else(|| {
            arguments::difference(entry.settings.kind, &current.arguments, &received.arguments)
        });
    match difference {
        None => Ok(()),
        Some(difference) => Err(Refusal::Inequivalent {
            kind: Kind::Queue,
            name: current.name.clone(),
            difference: Box::new(difference),
        }),
    }
}
