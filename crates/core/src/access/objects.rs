//! All objects there are.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use super::{
    Object, ObjectKey, Permission, PolicyScope, PolicySpec, TopicPermission, UserEntry, UserLimit,
    VhostLimit, VhostSpec,
};

/// The vhost or user that an object belongs to is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Orphan {
    /// No such vhost.
    #[error("no such vhost")]
    Vhost,
    /// No such user.
    #[error("no such user")]
    User,
}

/// Every object of a node. What belongs to a vhost or a user goes with it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Objects {
    vhosts: BTreeMap<Box<str>, OfVhost>,
    users: BTreeMap<Box<str>, OfUser>,
    globals: BTreeMap<Box<str>, Box<str>>,
    count: usize,
}

/// A user and what belongs to it.
#[derive(Clone, PartialEq, Debug, Default)]
struct OfUser {
    entry: UserEntry,
    limits: BTreeMap<UserLimit, u64>,
}

/// A vhost and what belongs to it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OfVhost {
    spec: VhostSpec,
    permissions: BTreeMap<Box<str>, Permission>,
    /// By user, then by exchange.
    topic_permissions: BTreeMap<Box<str>, BTreeMap<Box<str>, TopicPermission>>,
    policies: BTreeMap<(PolicyScope, Box<str>), PolicySpec>,
    /// By component and name.
    parameters: BTreeMap<(Box<str>, Box<str>), Box<str>>,
    limits: BTreeMap<VhostLimit, u64>,
}

impl OfVhost {
    /// What is set about the vhost itself.
    pub fn spec(&self) -> &VhostSpec {
        &self.spec
    }

    /// What each user may do, by the user's name.
    pub fn permissions(&self) -> impl Iterator<Item = (&str, &Permission)> {
        self.permissions.iter().map(|(user, p)| (&**user, p))
    }

    /// What a user may do.
    pub fn permission(&self, user: &str) -> Option<&Permission> {
        self.permissions.get(user)
    }

    /// Topic permissions: user, exchange, keys.
    pub fn topic_permissions(&self) -> impl Iterator<Item = (&str, &str, &TopicPermission)> {
        self.topic_permissions
            .iter()
            .flat_map(|(user, by_exchange)| {
                by_exchange
                    .iter()
                    .map(move |(exchange, keys)| (&**user, &**exchange, keys))
            })
    }

    /// A user's topic permissions, by exchange.
    pub fn topic_permissions_of(
        &self,
        user: &str,
    ) -> impl Iterator<Item = (&str, &TopicPermission)> {
        let of_user = self.topic_permissions.get(user);
        of_user.into_iter().flatten().map(|(x, keys)| (&**x, keys))
    }

    /// Policies of one scope, by name.
    pub fn policies(&self, scope: PolicyScope) -> impl Iterator<Item = (&str, &PolicySpec)> {
        let all = self.policies.iter();
        all.filter(move |((s, _), _)| *s == scope)
            .map(|((_, name), policy)| (&**name, policy))
    }

    /// Parameters: component, name, value.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let all = self.parameters.iter();
        all.map(|((component, name), value)| (&**component, &**name, &**value))
    }

    /// The limits that are set.
    pub fn limits(&self) -> impl Iterator<Item = (VhostLimit, u64)> {
        self.limits.iter().map(|(limit, max)| (*limit, *max))
    }

    /// One limit.
    pub fn limit(&self, limit: VhostLimit) -> Option<u64> {
        self.limits.get(&limit).copied()
    }

    fn count(&self) -> usize {
        let topics = self.topic_permissions.values().map(BTreeMap::len);
        1 + self.permissions.len()
            + topics.sum::<usize>()
            + self.policies.len()
            + self.parameters.len()
            + self.limits.len()
    }

    /// Forgets what a user may do. Returns how many objects that were.
    fn forget(&mut self, user: &str) -> usize {
        let topics = self.topic_permissions.remove(user);
        usize::from(self.permissions.remove(user).is_some()) + topics.map_or(0, |t| t.len())
    }
}

impl Objects {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none: nobody has set anything yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Vhosts by name, with what belongs to them.
    pub fn vhosts(&self) -> impl Iterator<Item = (&str, &OfVhost)> {
        self.vhosts.iter().map(|(name, of)| (&**name, of))
    }

    /// A vhost with what belongs to it.
    pub fn vhost(&self, name: &str) -> Option<&OfVhost> {
        self.vhosts.get(name)
    }

    /// Users by name.
    pub fn users(&self) -> impl Iterator<Item = (&str, &UserEntry)> {
        self.users.iter().map(|(name, of)| (&**name, &of.entry))
    }

    /// A user.
    pub fn user(&self, name: &str) -> Option<&UserEntry> {
        self.users.get(name).map(|of| &of.entry)
    }

    /// The limits of a user.
    pub fn user_limits(&self, name: &str) -> impl Iterator<Item = (UserLimit, u64)> {
        let of = self.users.get(name);
        let limits = of.into_iter().flat_map(|of| &of.limits);
        limits.map(|(limit, max)| (*limit, *max))
    }

    /// Parameters of the node: name, value.
    pub fn globals(&self) -> impl Iterator<Item = (&str, &str)> {
        self.globals.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of a parameter of the node.
    pub fn global(&self, name: &str) -> Option<&str> {
        self.globals.get(name).map(|value| &**value)
    }

    /// Whether there is such an object.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        let of = |vhost: &str| self.vhosts.get(vhost);
        match key {
            ObjectKey::Vhost(name) => of(name).is_some(),
            ObjectKey::User(name) => self.users.contains_key(name),
            ObjectKey::Permission { vhost, user } => {
                of(vhost).is_some_and(|of| of.permissions.contains_key(user))
            }
            ObjectKey::TopicPermission {
                vhost,
                user,
                exchange,
            } => of(vhost)
                .and_then(|of| of.topic_permissions.get(user))
                .is_some_and(|topics| topics.contains_key(exchange)),
            ObjectKey::Policy { scope, vhost, name } => {
                let key = (*scope, name.clone());
                of(vhost).is_some_and(|of| of.policies.contains_key(&key))
            }
            ObjectKey::Parameter {
                vhost,
                component,
                name,
            } => {
                let key = (component.clone(), name.clone());
                of(vhost).is_some_and(|of| of.parameters.contains_key(&key))
            }
            ObjectKey::GlobalParameter(name) => self.globals.contains_key(name),
            ObjectKey::VhostLimit(vhost, limit) => {
                of(vhost).is_some_and(|of| of.limits.contains_key(limit))
            }
            ObjectKey::UserLimit(user, limit) => self
                .users
                .get(user)
                .is_some_and(|of| of.limits.contains_key(limit)),
        }
    }

    /// Whether what an object belongs to is there.
    ///
    /// # Errors
    /// What is missing.
    pub fn check_owner(&self, key: &ObjectKey) -> Result<(), Orphan> {
        let (vhost, user) = match key {
            ObjectKey::Vhost(_) | ObjectKey::User(_) | ObjectKey::GlobalParameter(_) => {
                (None, None)
            }
            ObjectKey::Permission { vhost, user }
            | ObjectKey::TopicPermission { vhost, user, .. } => (Some(vhost), Some(user)),
            ObjectKey::Policy { vhost, .. }
            | ObjectKey::Parameter { vhost, .. }
            | ObjectKey::VhostLimit(vhost, _) => (Some(vhost), None),
            ObjectKey::UserLimit(user, _) => (None, Some(user)),
        };
        if vhost.is_some_and(|vhost| !self.vhosts.contains_key(vhost)) {
            return Err(Orphan::Vhost);
        }
        if user.is_some_and(|user| !self.users.contains_key(user)) {
            return Err(Orphan::User);
        }
        Ok(())
    }

    /// Adds an object, or replaces the one of the same names. Returns whether it is new.
    ///
    /// # Errors
    /// What it belongs to is missing; then nothing has changed.
    pub fn put(&mut self, object: Object) -> Result<bool, Orphan> {
        self.check_owner(&object.key())?;
        let created = match object {
            Object::Vhost(name, spec) => {
                let created = !self.vhosts.contains_key(&name);
                self.vhosts.entry(name).or_default().spec = spec;
                created
            }
            Object::User(name, entry) => {
                let created = !self.users.contains_key(&name);
                self.users.entry(name).or_default().entry = entry;
                created
            }
            Object::GlobalParameter(name, value) => self.globals.insert(name, value).is_none(),
            Object::UserLimit(user, limit, max) => {
                let of = self.users.get_mut(&user).ok_or(Orphan::User)?;
                of.limits.insert(limit, max).is_none()
            }
            object => self.put_in_vhost(object)?,
        };
        self.count += usize::from(created);
        Ok(created)
    }

    fn put_in_vhost(&mut self, object: Object) -> Result<bool, Orphan> {
        let vhosts = &mut self.vhosts;
        Ok(match object {
            Object::Permission {
                vhost,
                user,
                permission,
            } => of(vhosts, &vhost)?
                .permissions
                .insert(user, permission)
                .is_none(),
            Object::TopicPermission {
                vhost,
                user,
                exchange,
                permission,
            } => {
                let of_user = of(vhosts, &vhost)?
                    .topic_permissions
                    .entry(user)
                    .or_default();
                of_user.insert(exchange, permission).is_none()
            }
            Object::Policy {
                scope,
                vhost,
                name,
                policy,
            } => of(vhosts, &vhost)?
                .policies
                .insert((scope, name), policy)
                .is_none(),
            Object::Parameter {
                vhost,
                component,
                name,
                value,
            } => {
                let parameters = &mut of(vhosts, &vhost)?.parameters;
                parameters.insert((component, name), value).is_none()
            }
            Object::VhostLimit(vhost, limit, max) => {
                of(vhosts, &vhost)?.limits.insert(limit, max).is_none()
            }
            Object::Vhost(..)
            | Object::User(..)
            | Object::GlobalParameter(..)
            | Object::UserLimit(..) => false,
        })
    }

    /// Removes an object and what belongs to it. Returns whether it was there.
    pub fn remove(&mut self, key: &ObjectKey) -> bool {
        let gone = match key {
            ObjectKey::Vhost(name) => self.vhosts.remove(name).map_or(0, |of| of.count()),
            ObjectKey::User(name) => self.remove_user(name),
            ObjectKey::GlobalParameter(name) => usize::from(self.globals.remove(name).is_some()),
            ObjectKey::UserLimit(user, limit) => {
                let of = self.users.get_mut(user);
                usize::from(of.is_some_and(|of| of.limits.remove(limit).is_some()))
            }
            ObjectKey::Permission { vhost, .. }
            | ObjectKey::TopicPermission { vhost, .. }
            | ObjectKey::Policy { vhost, .. }
            | ObjectKey::Parameter { vhost, .. }
            | ObjectKey::VhostLimit(vhost, _) => {
                let of = self.vhosts.get_mut(vhost);
                usize::from(of.is_some_and(|of| of.remove(key)))
            }
        };
        self.count -= gone;
        gone > 0
    }

    fn remove_user(&mut self, name: &str) -> usize {
        let Some(of) = self.users.remove(name) else {
            return 0;
        };
        let forgotten = self.vhosts.values_mut().map(|of| of.forget(name));
        1 + of.limits.len() + forgotten.sum::<usize>()
    }

    /// Every object, each behind what it belongs to.
    pub fn for_each(&self, mut see: impl FnMut(Object)) {
        for (name, of) in &self.vhosts {
            see(Object::Vhost(name.clone(), of.spec.clone()));
        }
        for (name, of) in &self.users {
            see(Object::User(name.clone(), of.entry.clone()));
            for (limit, max) in &of.limits {
                see(Object::UserLimit(name.clone(), *limit, *max));
            }
        }
        for (name, value) in &self.globals {
            see(Object::GlobalParameter(name.clone(), value.clone()));
        }
        for (vhost, of) in &self.vhosts {
            of.for_each(vhost, &mut see);
        }
    }
}

impl OfVhost {
    fn remove(&mut self, key: &ObjectKey) -> bool {
        match key {
            ObjectKey::Permission { user, .. } => self.permissions.remove(user).is_some(),
            ObjectKey::TopicPermission { user, exchange, .. } => {
                let Some(topics) = self.topic_permissions.get_mut(user) else {
                    return false;
                };
                let gone = topics.remove(exchange).is_some();
                if topics.is_empty() {
                    self.topic_permissions.remove(user);
                }
                gone
            }
            ObjectKey::Policy { scope, name, .. } => {
                self.policies.remove(&(*scope, name.clone())).is_some()
            }
            ObjectKey::Parameter {
                component, name, ..
            } => {
                let key = (component.clone(), name.clone());
                self.parameters.remove(&key).is_some()
            }
            ObjectKey::VhostLimit(_, limit) => self.limits.remove(limit).is_some(),
            ObjectKey::Vhost(_)
            | ObjectKey::User(_)
            | ObjectKey::GlobalParameter(_)
            | ObjectKey::UserLimit(..) => false,
        }
    }

    fn for_each(&self, vhost: &str, see: &mut impl FnMut(Object)) {
        let vhost = || vhost.to_owned().into_boxed_str();
        for (user, permission) in &self.permissions {
            see(Object::Permission {
                vhost: vhost(),
                user: user.clone(),
                permission: permission.clone(),
            });
        }
        for (user, exchange, permission) in self.topic_permissions() {
            see(Object::TopicPermission {
                vhost: vhost(),
                user: user.into(),
                exchange: exchange.into(),
                permission: permission.clone(),
            });
        }
        for ((scope, name), policy) in &self.policies {
            see(Object::Policy {
                scope: *scope,
                vhost: vhost(),
                name: name.clone(),
                policy: policy.clone(),
            });
        }
        for (component, name, value) in self.parameters() {
            see(Object::Parameter {
                vhost: vhost(),
                component: component.into(),
                name: name.into(),
                value: value.into(),
            });
        }
        for (limit, max) in &self.limits {
            see(Object::VhostLimit(vhost(), *limit, *max));
        }
    }
}

fn of<'a>(
    vhosts: &'a mut BTreeMap<Box<str>, OfVhost>,
    name: &str,
) -> Result<&'a mut OfVhost, Orphan> {
    vhosts.get_mut(name).ok_or(Orphan::Vhost)
}
