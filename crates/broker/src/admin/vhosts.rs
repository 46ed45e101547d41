//! Vhosts come and go.
//!
//! Deleting one is one record. Before it is written the vhost is sealed: nothing in it is declared, retained or noted any
//! more, so no record that names the vhost comes behind. Messages still may: they name queues, and those that are gone
//! are passed over at replay.

use std::sync::Arc;

use ternmq_core::access::{Object, ObjectKey, VhostLimit};
use ternmq_core::id::Lsn;
use ternmq_core::queue::Queue;
use ternmq_core::retained::RetainedStore;

use super::{AdminRefusal, Changed};
use crate::broker::Inner;
use crate::mailbox::CloseReason;
use crate::vhost::Vhost;
use crate::work::Work;

/// What connections of a deleted vhost are told.
pub(crate) fn vhost_deleted(name: &str) -> CloseReason {
    CloseReason::Administrative(format!("vhost '{name}' is deleted").into())
}

impl Inner {
    pub(super) fn put_vhost(&self, object: Object) -> Result<Changed, AdminRefusal> {
        let _inside = self.gate.enter();
        let ObjectKey::Vhost(name) = object.key() else {
            return Err(AdminRefusal::NotFound);
        };
        let mut state = self.registry.state.lock();
        let changed = self.put_recorded(&mut state, object)?;
        if changed.created {
            // Records that name an earlier vhost of this name lie before.
            self.add_vhost(&name, Lsn(changed.lsn.0 + 1));
            tracing::info!(vhost = &*name, "vhost created");
        }
        Ok(changed)
    }

    /// Makes room for what is declared in a vhost. Records that name it lie from `position` on.
    pub(crate) fn add_vhost(&self, name: &str, position: Lsn) {
        let vhost = Vhost::new(name, RetainedStore::new(self.limits.retained));
        vhost.begin_at(position);
        self.vhosts.insert(name.into(), Arc::new(vhost));
    }

    pub(super) fn delete_vhost(&self, name: &str) -> Result<Changed, AdminRefusal> {
        let inside = self.gate.enter();
        let key = ObjectKey::Vhost(name.into());
        let mut state = self.registry.state.lock();
        let of = state.objects.vhost(name);
        if of.is_some_and(|of| of.spec().protected) {
            return Err(AdminRefusal::Protected);
        }
        let vhost = self.vhost(name).ok_or(AdminRefusal::NotFound)?;
        vhost.seal(true);
        let changed = match self.remove_recorded(&mut state, &key) {
            Ok(changed) => changed,
            Err(refusal) => {
                vhost.seal(false);
                return Err(refusal);
            }
        };
        self.vhosts.remove(name);
        self.registry.rights_changed(&mut state, &key);
        drop(state);
        let count = self.tell_all(&vhost_deleted(name), &mut |_, vhost| vhost == name);
        tracing::info!(vhost = name, connections = count, "vhost deleted");
        self.empty_vhost(&vhost, Lsn(changed.lsn.0 + 1), &mut Work::default());
        drop(inside);
        Ok(changed)
    }

    /// Ends the queues of a vhost that is gone, and forgets what it had. A checkpoint that is under way may still look at
    /// it: what it says then is as of the record before `position`.
    pub(crate) fn empty_vhost(&self, vhost: &Arc<Vhost>, position: Lsn, work: &mut Work) {
        for cell in vhost.empty(position) {
            cell.update(work, Queue::close);
            self.collect(&cell, work);
        }
        self.schedule.forget_vhost(vhost);
    }

    /// Applies what is set about how many queues a vhost may have.
    pub(crate) fn limit_vhost(&self, name: &str) {
        let max = {
            let state = self.registry.state.lock();
            let of = state.objects.vhost(name);
            of.and_then(|of| of.limit(VhostLimit::Queues))
        };
        if let Some(vhost) = self.vhost(name) {
            vhost.limit_queues(max);
        }
    }
}
