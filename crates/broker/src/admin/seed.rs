//! What a node begins with: the vhosts and users of its configuration, where nobody has set anything yet.

use ternmq_core::access::{Object, Permission, UserEntry, VhostSpec};
use ternmq_core::id::Lsn;
use ternmq_core::record;
use ternmq_journal::Batch;

use super::change::{check_password, set_password};
use crate::broker::Inner;
use crate::config::{BrokerConfig, UserConfig};

impl BrokerConfig {
    /// Users who may log in from this machine only.
    pub(crate) fn loopback_names(&self) -> Vec<Box<str>> {
        if let Some(names) = &self.loopback_users {
            return names.iter().map(|name| name.as_str().into()).collect();
        }
        let mut names: Vec<Box<str>> = Vec::new();
        if self.users.iter().all(|user| user.name != "guest") {
            names.push("guest".into());
        }
        let only = self.users.iter().filter(|user| user.loopback_only);
        names.extend(only.map(|user| Box::from(user.name.as_str())));
        names
    }

    /// Whom clients without credentials are taken for.
    pub(crate) fn first_user(&self) -> &str {
        self.users.first().map_or("guest", |user| &user.name)
    }

    /// The objects of a node that is new.
    fn first_objects(&self) -> Vec<Object> {
        let mut objects: Vec<Object> = Vec::new();
        if self.begins_bare {
            return objects;
        }
        for vhost in &self.vhosts {
            let description = if vhost == "/" {
                "Default virtual host"
            } else {
                ""
            };
            let spec = VhostSpec {
                description: description.into(),
                ..VhostSpec::default()
            };
            objects.push(Object::Vhost(vhost.as_str().into(), spec));
        }
        for user in &self.users {
            objects.push(Object::User(user.name.as_str().into(), user_entry(user)));
            let may_use = |vhost: &&String| {
                let only = user.vhosts.as_ref();
                only.is_none_or(|only| only.contains(vhost))
            };
            for vhost in self.vhosts.iter().filter(may_use) {
                objects.push(Object::Permission {
                    vhost: vhost.as_str().into(),
                    user: user.name.as_str().into(),
                    permission: Permission::everything(),
                });
            }
        }
        objects
    }
}

fn user_entry(user: &UserConfig) -> UserEntry {
    let mut entry = UserEntry {
        tags: user.tags.iter().map(|tag| tag.as_str().into()).collect(),
        ..UserEntry::default()
    };
    let password = user.password.as_bytes();
    if let Err(error) = check_password(password) {
        tracing::error!(user = user.name, %error, "password of the configuration cannot be used");
    } else if !password.is_empty() {
        set_password(&mut entry, password);
    }
    entry
}

/// Whether a node writes down what it begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seed {
    /// Its journal is read back, and then the configuration counts no more.
    Recorded,
    /// It keeps nothing.
    Unrecorded,
}

impl Inner {
    /// Makes the vhosts and users of the configuration.
    pub(crate) fn seed(&self, config: &BrokerConfig, seed: Seed) {
        let _inside = self.gate.enter();
        let objects = config.first_objects();
        let mut state = self.registry.state.lock();
        if seed == Seed::Recorded {
            let mut batch = Batch::new();
            for object in &objects {
                batch.record(|out| record::object_put(object, out));
            }
            let first = self.append(&batch);
            state.position = Lsn(first.0 + batch.len() as u64);
        }
        for object in objects {
            if let Object::Vhost(name, _) = &object
                && self.vhost(name).is_none()
            {
                self.add_vhost(name, state.position);
            }
            if let Err(error) = state.objects.put(object) {
                tracing::error!(%error, "configuration contradicts itself");
            }
        }
    }
}
