//! One change: checked, recorded, applied.

use ternmq_core::access::{
    HashAlgorithm, Object, ObjectKey, Orphan, PolicyScope, PolicySpec, UserEntry,
};
use ternmq_core::id::Lsn;
use ternmq_core::policy::check_definition;
use ternmq_core::record;
use ternmq_journal::Batch;

use super::password::{hash_password, scram_verifier};
use super::pattern::Pattern;
use super::registry::State;
use super::{
    AdminRefusal, Changed, NAME_BYTES_MAX, OBJECTS_MAX, PASSWORD_BYTES_MAX, TAGS_MAX,
    TEXT_BYTES_MAX,
};
use crate::broker::{Inner, Weight};

impl From<Orphan> for AdminRefusal {
    fn from(orphan: Orphan) -> Self {
        match orphan {
            Orphan::Vhost => Self::NoSuchVhost,
            Orphan::User => Self::NoSuchUser,
        }
    }
}

impl Inner {
    /// Sets an object that is no vhost.
    pub(super) fn put_object(&self, object: Object) -> Result<Changed, AdminRefusal> {
        let _inside = self.gate.enter();
        let key = object.key();
        let mut state = self.registry.state.lock();
        let replaces = state.objects.contains(&key);
        let changed = self.put_recorded(&mut state, object)?;
        self.registry.rights_changed(&mut state, &key);
        drop(state);
        // Without the permission before nobody was connected, and nothing is cached.
        self.took_effect(&key, replaces);
        Ok(changed)
    }

    /// Records and applies. Under the lock: the journal has changes in the order in which they took effect.
    pub(super) fn put_recorded(
        &self,
        state: &mut State,
        object: Object,
    ) -> Result<Changed, AdminRefusal> {
        let key = object.key();
        state.objects.check_owner(&key)?;
        if state.objects.len() >= OBJECTS_MAX && !state.objects.contains(&key) {
            return Err(AdminRefusal::TooMany);
        }
        let lsn = self.record_object(Weight::Refusable, |out| record::object_put(&object, out))?;
        state.position = Lsn(lsn.0 + 1);
        let created = state.objects.put(object)?;
        Ok(Changed { created, lsn })
    }

    /// Removes an object that is no vhost, and what belongs to it.
    pub(super) fn remove_object(&self, key: &ObjectKey) -> Result<Changed, AdminRefusal> {
        let _inside = self.gate.enter();
        let mut state = self.registry.state.lock();
        let changed = self.remove_recorded(&mut state, key)?;
        self.registry.rights_changed(&mut state, key);
        drop(state);
        self.took_effect(key, true);
        Ok(changed)
    }

    /// As [`Inner::put_recorded`].
    pub(super) fn remove_recorded(
        &self,
        state: &mut State,
        key: &ObjectKey,
    ) -> Result<Changed, AdminRefusal> {
        if !state.objects.contains(key) {
            state.objects.check_owner(key)?;
            return Err(AdminRefusal::NotFound);
        }
        let lsn = self.record_object(Weight::Essential, |out| record::object_removed(key, out))?;
        state.position = Lsn(lsn.0 + 1);
        state.objects.remove(key);
        Ok(Changed {
            created: false,
            lsn,
        })
    }

    fn record_object(
        &self,
        weight: Weight,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Lsn, AdminRefusal> {
        let mut batch = Batch::new();
        batch.record(write);
        Ok(self.try_append(&batch, weight)?)
    }

    /// What follows from a change, once the lock is released.
    pub(super) fn took_effect(&self, key: &ObjectKey, replaced: bool) {
        match key {
            // Routes are kept as long as the topology stays the same: so they end with what they were allowed by.
            ObjectKey::Permission { vhost, .. } if replaced => self.forget_routes(vhost),
            ObjectKey::TopicPermission { vhost, .. } => self.forget_routes(vhost),
            ObjectKey::User(_) => {
                for vhost in self.all_vhosts() {
                    vhost.forget_routes();
                }
            }
            ObjectKey::VhostLimit(vhost, _) => self.limit_vhost(vhost),
            ObjectKey::Policy { vhost, .. } => self.apply_policies(vhost),
            _ => {}
        }
    }

    fn forget_routes(&self, vhost: &str) {
        if let Some(vhost) = self.vhost(vhost) {
            vhost.forget_routes();
        }
    }
}

pub(super) fn check_password(password: &[u8]) -> Result<(), AdminRefusal> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(AdminRefusal::Invalid(format!(
            "password is longer than {PASSWORD_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

/// Sets a password that is not hashed yet.
pub(super) fn set_password(entry: &mut UserEntry, password: &[u8]) {
    entry.password = Some(hash_password(HashAlgorithm::Sha256, password));
    entry.scram = Some(scram_verifier(password));
}

/// Names are not empty and not endless.
pub(super) fn check_name(kind: &str, name: &str) -> Result<(), AdminRefusal> {
    if name.is_empty() {
        return Err(AdminRefusal::Invalid(format!(
            "{kind} name must not be empty"
        )));
    }
    check_length(kind, name.len())
}

pub(super) fn check_length(kind: &str, bytes: usize) -> Result<(), AdminRefusal> {
    if bytes > NAME_BYTES_MAX {
        return Err(AdminRefusal::Invalid(format!(
            "{kind} is longer than {NAME_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

pub(super) fn check_text(kind: &str, text: &str) -> Result<(), AdminRefusal> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(AdminRefusal::Invalid(format!(
            "{kind} is longer than {TEXT_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

pub(super) fn check_tags(tags: &[Box<str>]) -> Result<(), AdminRefusal> {
    if tags.len() > TAGS_MAX {
        return Err(AdminRefusal::Invalid(format!("more than {TAGS_MAX} tags")));
    }
    tags.iter()
        .try_for_each(|tag| check_length("tag", tag.len()))
}

/// What is wrong with a policy, in RabbitMQ's words.
pub(super) fn check_policy(scope: PolicyScope, policy: &PolicySpec) -> Result<(), AdminRefusal> {
    let pattern = Pattern::parse(&policy.pattern)
        .map(drop)
        .map_err(|error| format!("pattern should be regular expression but is invalid: {error}"));
    let definition =
        || check_definition(scope, &policy.definition).map_err(|fault| fault.to_string());
    pattern
        .and_then(|()| definition())
        .map_err(AdminRefusal::Invalid)
}

pub(super) fn check_pattern(pattern: &str) -> Result<(), AdminRefusal> {
    Pattern::parse(pattern)
        .map(drop)
        .map_err(|error| AdminRefusal::Invalid(format!("invalid regexp '{pattern}': {error}")))
}
