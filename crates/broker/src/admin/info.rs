//! What is set, as copies.

use ternmq_core::access::{
    Objects, PasswordHash, Permission, PolicyScope, PolicySpec, TopicPermission, UserEntry,
    UserLimit, VhostLimit, VhostSpec,
};

use super::Admin;

/// A vhost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VhostInfo {
    /// Its name.
    pub name: Box<str>,
    /// What is set about it.
    pub spec: VhostSpec,
}

/// A user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserInfo {
    /// The login name.
    pub name: Box<str>,
    /// None if no password lets this user in.
    pub password: Option<PasswordHash>,
    /// What the user may do beyond working in vhosts.
    pub tags: Vec<Box<str>>,
    /// What the user is limited in.
    pub limits: Vec<(UserLimit, u64)>,
}

/// What a user may do in a vhost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PermissionInfo {
    /// Where.
    pub vhost: Box<str>,
    /// Who.
    pub user: Box<str>,
    /// What.
    pub permission: Permission,
}

/// Which keys a user may use on an exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicPermissionInfo {
    /// Where.
    pub vhost: Box<str>,
    /// Who.
    pub user: Box<str>,
    /// On which exchange.
    pub exchange: Box<str>,
    /// Which keys.
    pub permission: TopicPermission,
}

/// A policy.
#[derive(Clone, PartialEq, Debug)]
pub struct PolicyInfo {
    /// Where.
    pub vhost: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// What it says.
    pub policy: PolicySpec,
}

/// A parameter of a component of a vhost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParameterInfo {
    /// Of what.
    pub component: Box<str>,
    /// Where.
    pub vhost: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// What it is set to: JSON.
    pub value: Box<str>,
}

/// The limits of a vhost or a user that has any.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LimitInfo<L> {
    /// Whose.
    pub name: Box<str>,
    /// Which, and how much.
    pub limits: Vec<(L, u64)>,
}

impl Admin<'_> {
    fn read<R>(self, f: impl FnOnce(&Objects) -> R) -> R {
        f(&self.inner.registry.state.lock().objects)
    }

    /// All vhosts, by name.
    pub fn vhosts(&self) -> Vec<VhostInfo> {
        let info = |(name, of): (&str, &ternmq_core::access::OfVhost)| VhostInfo {
            name: name.into(),
            spec: of.spec().clone(),
        };
        self.read(|objects| objects.vhosts().map(info).collect())
    }

    /// A vhost.
    pub fn vhost(&self, name: &str) -> Option<VhostInfo> {
        self.read(|objects| {
            let spec = objects.vhost(name)?.spec().clone();
            let name = name.into();
            Some(VhostInfo { name, spec })
        })
    }

    /// All users, by name.
    pub fn users(&self) -> Vec<UserInfo> {
        self.read(|objects| {
            let users = objects.users();
            users
                .map(|(name, entry)| user_info(objects, name, entry))
                .collect()
        })
    }

    /// A user.
    pub fn user(&self, name: &str) -> Option<UserInfo> {
        self.read(|objects| Some(user_info(objects, name, objects.user(name)?)))
    }

    /// All permissions, by vhost and user.
    pub fn permissions(&self) -> Vec<PermissionInfo> {
        self.read(|objects| {
            let mut all = Vec::new();
            for (vhost, of) in objects.vhosts() {
                all.extend(of.permissions().map(|(user, permission)| PermissionInfo {
                    vhost: vhost.into(),
                    user: user.into(),
                    permission: permission.clone(),
                }));
            }
            all
        })
    }

    /// What a user may do in a vhost.
    pub fn permission(&self, vhost: &str, user: &str) -> Option<Permission> {
        self.read(|objects| objects.vhost(vhost)?.permission(user).cloned())
    }

    /// All topic permissions, by vhost, user and exchange.
    pub fn topic_permissions(&self) -> Vec<TopicPermissionInfo> {
        self.read(|objects| {
            let mut all = Vec::new();
            for (vhost, of) in objects.vhosts() {
                let topics = of.topic_permissions();
                all.extend(topics.map(|(user, exchange, keys)| TopicPermissionInfo {
                    vhost: vhost.into(),
                    user: user.into(),
                    exchange: exchange.into(),
                    permission: keys.clone(),
                }));
            }
            all
        })
    }

    /// All policies of one scope, by vhost and name.
    pub fn policies(&self, scope: PolicyScope) -> Vec<PolicyInfo> {
        self.read(|objects| {
            let mut all = Vec::new();
            for (vhost, of) in objects.vhosts() {
                all.extend(of.policies(scope).map(|(name, policy)| PolicyInfo {
                    vhost: vhost.into(),
                    name: name.into(),
                    policy: policy.clone(),
                }));
            }
            all
        })
    }

    /// All parameters of vhosts' components, by vhost, component and name.
    pub fn parameters(&self) -> Vec<ParameterInfo> {
        self.read(|objects| {
            let mut all = Vec::new();
            for (vhost, of) in objects.vhosts() {
                let parameters = of.parameters();
                all.extend(parameters.map(|(component, name, value)| ParameterInfo {
                    component: component.into(),
                    vhost: vhost.into(),
                    name: name.into(),
                    value: value.into(),
                }));
            }
            all
        })
    }

    /// All parameters of the node: name and JSON value.
    pub fn global_parameters(&self) -> Vec<(Box<str>, Box<str>)> {
        self.read(|objects| {
            let globals = objects.globals();
            globals
                .map(|(name, value)| (name.into(), value.into()))
                .collect()
        })
    }

    /// The JSON value of a parameter of the node.
    pub fn global_parameter(&self, name: &str) -> Option<Box<str>> {
        self.read(|objects| objects.global(name).map(Into::into))
    }

    /// The limits of all vhosts that have any.
    pub fn vhost_limits(&self) -> Vec<LimitInfo<VhostLimit>> {
        self.read(|objects| {
            let limits = objects.vhosts().map(|(name, of)| LimitInfo {
                name: name.into(),
                limits: of.limits().collect(),
            });
            limits.filter(|info| !info.limits.is_empty()).collect()
        })
    }

    /// The limits of all users that have any.
    pub fn user_limits(&self) -> Vec<LimitInfo<UserLimit>> {
        self.read(|objects| {
            let limits = objects.users().map(|(name, _)| LimitInfo {
                name: name.into(),
                limits: objects.user_limits(name).collect(),
            });
            limits.filter(|info| !info.limits.is_empty()).collect()
        })
    }

    /// Whether a user may work in a vhost.
    pub fn may_use(&self, user: &str, vhost: &str) -> bool {
        self.permission(vhost, user).is_some()
    }
}

fn user_info(objects: &Objects, name: &str, entry: &UserEntry) -> UserInfo {
    UserInfo {
        name: name.into(),
        password: entry.password.clone(),
        tags: entry.tags.clone(),
        limits: objects.user_limits(name).collect(),
    }
}
