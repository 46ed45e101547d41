//! Changes of several objects at once: all of them, or none.

use ternmq_core::access::{Object, ObjectKey, Objects};
use ternmq_core::id::Lsn;
use ternmq_core::record;
use ternmq_journal::Batch;

use super::registry::State;
use super::{AdminRefusal, Changed, OBJECTS_MAX};
use crate::broker::{Inner, Weight};

/// One of several changes. None is of a vhost.
pub(super) enum Step {
    /// Sets an object.
    Put(Object),
    /// Removes one that is there.
    Remove(ObjectKey),
}

impl Step {
    fn key(&self) -> ObjectKey {
        match self {
            Self::Put(object) => object.key(),
            Self::Remove(key) => key.clone(),
        }
    }

    fn record(&self, batch: &mut Batch) {
        match self {
            Self::Put(object) => batch.record(|out| record::object_put(object, out)),
            Self::Remove(key) => batch.record(|out| record::object_removed(key, out)),
        }
    }
}

impl Inner {
    /// Takes steps in one batch of the journal, of which a start finds all or none. Which steps is decided under the lock.
    /// What is returned says whether any object is new, and names the last record; without steps there is none.
    pub(super) fn change_objects(
        &self,
        decide: impl FnOnce(&Objects) -> Result<Vec<Step>, AdminRefusal>,
    ) -> Result<Changed, AdminRefusal> {
        let _inside = self.gate.enter();
        let mut state = self.registry.state.lock();
        let steps = decide(&state.objects)?;
        let lsn = self.record_steps(&mut state, &steps)?;
        let mut created = false;
        let mut changed = Vec::with_capacity(steps.len());
        for step in steps {
            let key = step.key();
            let replaced = state.objects.contains(&key);
            match step {
                Step::Put(object) => created |= state.objects.put(object)?,
                Step::Remove(key) => {
                    state.objects.remove(&key);
                }
            }
            self.registry.rights_changed(&mut state, &key);
            changed.push((key, replaced));
        }
        drop(state);
        for (key, replaced) in changed {
            self.took_effect(&key, replaced);
        }
        Ok(Changed { created, lsn })
    }

    /// Checks that every step can be taken, and records them.
    fn record_steps(&self, state: &mut State, steps: &[Step]) -> Result<Lsn, AdminRefusal> {
        let mut batch = Batch::new();
        let mut more = 0;
        let mut weight = Weight::Essential;
        for step in steps {
            let key = step.key();
            state.objects.check_owner(&key)?;
            let is_there = state.objects.contains(&key);
            match step {
                Step::Put(_) => {
                    more += usize::from(!is_there);
                    weight = Weight::Refusable;
                }
                Step::Remove(_) if !is_there => return Err(AdminRefusal::NotFound),
                Step::Remove(_) => {}
            }
            step.record(&mut batch);
        }
        if more > 0 && state.objects.len() + more > OBJECTS_MAX {
            return Err(AdminRefusal::TooMany);
        }
        if batch.is_empty() {
            return Ok(Lsn::NONE);
        }
        let first = self.try_append(&batch, weight)?;
        state.position = Lsn(first.0 + batch.len() as u64);
        Ok(Lsn(state.position.0 - 1))
    }
}
