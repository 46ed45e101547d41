//! Administration: vhosts, users, permissions, limits, policies and parameters, set and read while the node runs.
//!
//! [`Admin`] is the interface of whoever drives that: the management API, definitions, the command line. What is set is
//! durable: each change is one batch of the journal, and [`Changed::lsn`] says which one has to be committed before anybody is told
//! ([`Broker::committed_when`]). Reading gives copies.
//!
//! What clients may do is decided here too: [`Rights`], which every verb of a [`crate::Client`] asks.

mod change;
mod check;
mod info;
mod login;
mod password;
mod pattern;
mod registry;
mod rights;
mod seed;
mod steps;
mod vhosts;

pub(crate) use pattern::Pattern;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ternmq_core::access::{
    Object, ObjectKey, Permission, PolicyScope, PolicySpec, ScramVerifier, TopicPermission,
    UserEntry, UserLimit, VhostLimit, VhostSpec,
};
use ternmq_core::id::Lsn;
use ternmq_journal::LogError;

use crate::broker::{Broker, Inner};
use crate::mailbox::CloseReason;
use crate::policies::warn_without_effect;
use crate::users::User;

pub use info::{
    LimitInfo, ParameterInfo, PermissionInfo, PolicyInfo, TopicPermissionInfo, UserInfo, VhostInfo,
};
pub use login::{Attempt, Backend, LoginStep, Place};
pub use password::hash_password;
pub(crate) use registry::Registry;
pub use rights::{Authority, Rights, Scene};
pub(crate) use rights::{Everything, Nothing};
pub(crate) use seed::Seed;
use steps::Step;
pub(crate) use vhosts::vhost_deleted;

/// Longest name of anything that is set, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Longest password that is set, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 4096;

/// Longest text of anything that is set, in bytes: a description, a parameter's value.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Tags of a user or a vhost, at most.
pub const TAGS_MAX: usize = 64;

/// Objects of a node, at most: each takes memory, and a place in every checkpoint.
pub const OBJECTS_MAX: usize = 2_000_000;

/// What was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Changed {
    /// Whether it is new.
    pub created: bool,
    /// The record that has to be committed before anybody is told.
    pub lsn: Lsn,
}

/// Why something is not changed. Nothing has changed when one is returned.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdminRefusal {
    /// It is not there.
    #[error("not found")]
    NotFound,
    /// There is no such vhost.
    #[error("vhost not found")]
    NoSuchVhost,
    /// There is no such user.
    #[error("user not found")]
    NoSuchUser,
    /// It cannot be set to that.
    #[error("{0}")]
    Invalid(String),
    /// It is protected from deletion.
    #[error("protected from deletion")]
    Protected,
    /// There are as many objects as there may be.
    #[error("there are {OBJECTS_MAX} objects already")]
    TooMany,
    /// The journal does not take it.
    #[error("not recorded: {0}")]
    Journal(#[from] LogError),
}

/// A user's password as it is to be.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// None: the user does not log in with one.
    None,
    /// As it is now.
    Keep,
    /// This one, which is kept hashed.
    Plain(Box<[u8]>),
    /// The one with this hash.
    Hash(ternmq_core::access::PasswordHash),
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Keep => "Keep",
            Self::Plain(_) => "Plain",
            Self::Hash(_) => "Hash",
        })
    }
}

/// A user as it is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserSpec {
    /// The password.
    pub password: Password,
    /// The tags.
    pub tags: Vec<Box<str>>,
}

/// See the module's documentation.
#[derive(Clone, Copy)]
pub struct Admin<'a> {
    inner: &'a Arc<Inner>,
}

impl Broker {
    /// Administration of this node.
    pub fn admin(&self) -> Admin<'_> {
        Admin { inner: &self.0 }
    }

    /// What SCRAM-SHA-256 needs to check a user's password, if there is such a user and it is known.
    pub fn scram(&self, user: &str) -> Option<ScramVerifier> {
        let registry = &self.0.registry;
        registry.scram(user).filter(|_| registry.is_asked())
    }

    /// The user of clients that are let in without credentials.
    pub fn default_user(&self) -> Arc<User> {
        Arc::new(self.0.registry.default_user())
    }

    /// Who an adapter is when it works on its own account: may do everything, and is nobody's login.
    pub fn system_user(&self) -> Arc<User> {
        Arc::new(User::system())
    }
}

impl Admin<'_> {
    /// Makes a vhost, or changes what is set about it.
    pub fn put_vhost(&self, name: &str, spec: VhostSpec) -> Result<Changed, AdminRefusal> {
        Self::check_vhost(name, &spec)?;
        self.inner.put_vhost(Object::Vhost(name.into(), spec))
    }

    /// Deletes a vhost with everything in it, and closes its connections.
    pub fn delete_vhost(&self, name: &str) -> Result<Changed, AdminRefusal> {
        self.inner.delete_vhost(name)
    }

    /// Makes a user, or changes one.
    pub fn put_user(&self, name: &str, spec: UserSpec) -> Result<Changed, AdminRefusal> {
        Self::check_user(name, &spec)?;
        let mut entry = UserEntry {
            tags: spec.tags,
            ..UserEntry::default()
        };
        match spec.password {
            Password::None => {}
            Password::Keep => {
                let state = self.inner.registry.state.lock();
                if let Some(now) = state.objects.user(name) {
                    entry.password.clone_from(&now.password);
                    entry.scram.clone_from(&now.scram);
                }
            }
            Password::Plain(password) if password.is_empty() => {}
            Password::Plain(password) => change::set_password(&mut entry, &password),
            Password::Hash(hash) => {
                entry.password = Some(hash).filter(|hash| !hash.bytes.is_empty());
            }
        }
        self.inner.put_object(Object::User(name.into(), entry))
    }

    /// Deletes a user with the user's permissions, and closes the user's connections.
    pub fn delete_user(&self, name: &str) -> Result<Changed, AdminRefusal> {
        let changed = self.inner.remove_object(&ObjectKey::User(name.into()))?;
        let reason = CloseReason::Administrative(format!("user '{name}' is deleted").into());
        self.inner
            .close_connections(&reason, |user, _| user == name);
        Ok(changed)
    }

    /// Sets what a user may do in a vhost.
    pub fn put_permission(
        &self,
        vhost: &str,
        user: &str,
        permission: Permission,
    ) -> Result<Changed, AdminRefusal> {
        Self::check_permission(&permission)?;
        self.inner.put_object(Object::Permission {
            vhost: vhost.into(),
            user: user.into(),
            permission,
        })
    }

    /// Takes everything from a user that a vhost allowed, and closes the user's connections to it.
    pub fn delete_permission(&self, vhost: &str, user: &str) -> Result<Changed, AdminRefusal> {
        let changed = self.inner.remove_object(&ObjectKey::Permission {
            vhost: vhost.into(),
            user: user.into(),
        })?;
        let reason = access_revoked(vhost, user);
        self.inner
            .close_connections(&reason, |u, v| u == user && v == vhost);
        Ok(changed)
    }

    /// Sets which keys a user may use on a topic exchange.
    pub fn put_topic_permission(
        &self,
        (vhost, user, exchange): (&str, &str, &str),
        permission: TopicPermission,
    ) -> Result<Changed, AdminRefusal> {
        Self::check_topic_permission(exchange, &permission)?;
        self.inner.put_object(Object::TopicPermission {
            vhost: vhost.into(),
            user: user.into(),
            exchange: exchange.into(),
            permission,
        })
    }

    /// Lets a user use every key again, on one exchange or, without one, on all of the vhost.
    pub fn delete_topic_permission(
        &self,
        vhost: &str,
        user: &str,
        exchange: Option<&str>,
    ) -> Result<Changed, AdminRefusal> {
        let key = |exchange: &str| ObjectKey::TopicPermission {
            vhost: vhost.into(),
            user: user.into(),
            exchange: exchange.into(),
        };
        if let Some(exchange) = exchange {
            return self.inner.remove_object(&key(exchange));
        }
        self.inner.change_objects(|objects| {
            let of = objects.vhost(vhost).ok_or(AdminRefusal::NoSuchVhost)?;
            let topics = of.topic_permissions_of(user);
            let steps: Vec<Step> = topics.map(|(name, _)| Step::Remove(key(name))).collect();
            if steps.is_empty() {
                return Err(AdminRefusal::NotFound);
            }
            Ok(steps)
        })
    }

    /// Sets a policy.
    pub fn put_policy(
        &self,
        scope: PolicyScope,
        vhost: &str,
        name: &str,
        policy: PolicySpec,
    ) -> Result<Changed, AdminRefusal> {
        Self::check_policy(scope, name, &policy)?;
        warn_without_effect(name, &policy.definition);
        self.inner.put_object(Object::Policy {
            scope,
            vhost: vhost.into(),
            name: name.into(),
            policy,
        })
    }

    /// Deletes a policy.
    pub fn delete_policy(
        &self,
        scope: PolicyScope,
        vhost: &str,
        name: &str,
    ) -> Result<Changed, AdminRefusal> {
        self.inner.remove_object(&ObjectKey::Policy {
            scope,
            vhost: vhost.into(),
            name: name.into(),
        })
    }

    /// Sets a parameter of a component of a vhost. Its value is a JSON text, which is kept as it is.
    pub fn put_parameter(
        &self,
        (component, vhost, name): (&str, &str, &str),
        value: &str,
    ) -> Result<Changed, AdminRefusal> {
        Self::check_parameter(component, name, value)?;
        self.inner.put_object(Object::Parameter {
            vhost: vhost.into(),
            component: component.into(),
            name: name.into(),
            value: value.into(),
        })
    }

    /// Deletes a parameter of a component of a vhost.
    pub fn delete_parameter(
        &self,
        component: &str,
        vhost: &str,
        name: &str,
    ) -> Result<Changed, AdminRefusal> {
        self.inner.remove_object(&ObjectKey::Parameter {
            vhost: vhost.into(),
            component: component.into(),
            name: name.into(),
        })
    }

    /// Sets a parameter of the node. Its value is a JSON text, which is kept as it is.
    pub fn put_global_parameter(&self, name: &str, value: &str) -> Result<Changed, AdminRefusal> {
        Self::check_global_parameter(name, value)?;
        self.inner
            .put_object(Object::GlobalParameter(name.into(), value.into()))
    }

    /// Deletes a parameter of the node.
    pub fn delete_global_parameter(&self, name: &str) -> Result<Changed, AdminRefusal> {
        self.inner
            .remove_object(&ObjectKey::GlobalParameter(name.into()))
    }

    /// Limits a vhost. What is there beyond the limit stays.
    pub fn put_vhost_limit(
        &self,
        vhost: &str,
        limit: VhostLimit,
        max: u64,
    ) -> Result<Changed, AdminRefusal> {
        self.inner
            .put_object(Object::VhostLimit(vhost.into(), limit, max))
    }

    /// Sets all limits of a vhost at once, and lifts those that are not among them.
    pub fn set_vhost_limits(
        &self,
        vhost: &str,
        limits: &[(VhostLimit, u64)],
    ) -> Result<Changed, AdminRefusal> {
        self.inner.change_objects(|objects| {
            let of = objects.vhost(vhost).ok_or(AdminRefusal::NoSuchVhost)?;
            let is_set = |limit| limits.iter().any(|(set, _)| *set == limit);
            let lifted = of.limits().filter(|(limit, _)| !is_set(*limit));
            let lifted =
                lifted.map(|(limit, _)| Step::Remove(ObjectKey::VhostLimit(vhost.into(), limit)));
            let set = limits.iter().map(|(limit, max)| {
                let limit = Object::VhostLimit(vhost.into(), *limit, *max);
                Step::Put(limit)
            });
            Ok(lifted.chain(set).collect())
        })
    }

    /// Lifts a limit of a vhost.
    pub fn delete_vhost_limit(
        &self,
        vhost: &str,
        limit: VhostLimit,
    ) -> Result<Changed, AdminRefusal> {
        self.inner
            .remove_object(&ObjectKey::VhostLimit(vhost.into(), limit))
    }

    /// Limits a user. What is there beyond the limit stays.
    pub fn put_user_limit(
        &self,
        user: &str,
        limit: UserLimit,
        max: u64,
    ) -> Result<Changed, AdminRefusal> {
        self.inner
            .put_object(Object::UserLimit(user.into(), limit, max))
    }

    /// Lifts a limit of a user.
    pub fn delete_user_limit(&self, user: &str, limit: UserLimit) -> Result<Changed, AdminRefusal> {
        self.inner
            .remove_object(&ObjectKey::UserLimit(user.into(), limit))
    }
}

/// What connections are told whose user may not use their vhost any more.
pub(crate) fn access_revoked(vhost: &str, user: &str) -> CloseReason {
    let text = format!("access to vhost '{vhost}' is revoked for user '{user}'");
    CloseReason::Administrative(text.into())
}

impl Inner {
    /// Asks those connections to close that a user has in a vhost for which that is so.
    fn close_connections(&self, reason: &CloseReason, mut of: impl FnMut(&str, &str) -> bool) {
        let count = self.tell_all(reason, &mut of);
        if count > 0 {
            tracing::info!(connections = count, ?reason, "connections asked to close");
        }
    }
}
