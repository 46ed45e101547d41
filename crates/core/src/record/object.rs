//! Objects that operators set, in records: a class, the names, then the value.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::read::{Reader, RecordError};
use super::{bytes, flag, number, option, value};
use crate::access::{
    ApplyTo, HashAlgorithm, Object, ObjectKey, PasswordHash, Permission, PolicyScope, PolicySpec,
    ScramVerifier, TopicPermission, UserEntry, UserLimit, VhostLimit, VhostSpec,
};

mod class {
    pub(super) const VHOST: u8 = 1;
    pub(super) const USER: u8 = 2;
    pub(super) const PERMISSION: u8 = 3;
    pub(super) const TOPIC_PERMISSION: u8 = 4;
    pub(super) const POLICY: u8 = 5;
    pub(super) const PARAMETER: u8 = 6;
    pub(super) const GLOBAL_PARAMETER: u8 = 7;
    pub(super) const VHOST_LIMIT: u8 = 8;
    pub(super) const USER_LIMIT: u8 = 9;
}

/// Which policy a value is for.
const fn scope_number(scope: PolicyScope) -> u8 {
    match scope {
        PolicyScope::User => 0,
        PolicyScope::Operator => 1,
    }
}

const fn algorithm_number(algorithm: HashAlgorithm) -> u8 {
    match algorithm {
        HashAlgorithm::Sha256 => 1,
        HashAlgorithm::Sha512 => 2,
        HashAlgorithm::Md5 => 3,
    }
}

fn text(t: &str, out: &mut Vec<u8>) {
    bytes(t.as_bytes(), out);
}

fn texts(list: &[Box<str>], out: &mut Vec<u8>) {
    number(list.len() as u64, out);
    for t in list {
        text(t, out);
    }
}

/// The class and the names.
pub(super) fn key(k: &ObjectKey, out: &mut Vec<u8>) {
    let mut begin = |class: u8, names: &[&str]| {
        out.push(class);
        for name in names {
            text(name, out);
        }
    };
    match k {
        ObjectKey::Vhost(name) => begin(class::VHOST, &[name]),
        ObjectKey::User(name) => begin(class::USER, &[name]),
        ObjectKey::Permission { vhost, user } => begin(class::PERMISSION, &[vhost, user]),
        ObjectKey::TopicPermission {
            vhost,
            user,
            exchange,
        } => begin(class::TOPIC_PERMISSION, &[vhost, user, exchange]),
        ObjectKey::Policy { scope, vhost, name } => {
            begin(class::POLICY, &[vhost, name]);
            out.push(scope_number(*scope));
        }
        ObjectKey::Parameter {
            vhost,
            component,
            name,
        } => begin(class::PARAMETER, &[vhost, component, name]),
        ObjectKey::GlobalParameter(name) => begin(class::GLOBAL_PARAMETER, &[name]),
        ObjectKey::VhostLimit(vhost, limit) => {
            begin(class::VHOST_LIMIT, &[vhost]);
            out.push(match limit {
                VhostLimit::Connections => 0,
                VhostLimit::Queues => 1,
            });
        }
        ObjectKey::UserLimit(user, limit) => {
            begin(class::USER_LIMIT, &[user]);
            out.push(match limit {
                UserLimit::Connections => 0,
                UserLimit::Channels => 1,
            });
        }
    }
}

/// The value that stands behind the key.
pub(super) fn object(o: &Object, out: &mut Vec<u8>) {
    key(&o.key(), out);
    match o {
        Object::Vhost(_, spec) => {
            text(&spec.description, out);
            texts(&spec.tags, out);
            option(spec.default_queue_type.as_deref(), out, text);
            flag(spec.tracing, out);
            flag(spec.protected, out);
        }
        Object::User(_, entry) => {
            option(entry.password.as_ref(), out, |hash, out| {
                out.push(algorithm_number(hash.algorithm));
                bytes(&hash.bytes, out);
            });
            option(entry.scram.as_ref(), out, |scram, out| {
                bytes(&scram.salt, out);
                number(scram.iterations.into(), out);
                out.extend_from_slice(&scram.stored_key);
                out.extend_from_slice(&scram.server_key);
            });
            texts(&entry.tags, out);
        }
        Object::Permission { permission, .. } => {
            text(&permission.configure, out);
            text(&permission.write, out);
            text(&permission.read, out);
        }
        Object::TopicPermission { permission, .. } => {
            text(&permission.write, out);
            text(&permission.read, out);
        }
        Object::Policy { policy, .. } => {
            text(&policy.pattern, out);
            text(policy.apply_to.name(), out);
            out.extend_from_slice(&policy.priority.to_le_bytes());
            value::table(&policy.definition, out);
        }
        Object::Parameter { value, .. } | Object::GlobalParameter(_, value) => text(value, out),
        Object::VhostLimit(.., max) | Object::UserLimit(.., max) => number(*max, out),
    }
}

/// Reads what [`key`] wrote.
pub(super) fn read_key(r: &mut Reader<'_>) -> Result<ObjectKey, RecordError> {
    Ok(match r.byte()? {
        class::VHOST => ObjectKey::Vhost(r.text()?),
        class::USER => ObjectKey::User(r.text()?),
        class::PERMISSION => ObjectKey::Permission {
            vhost: r.text()?,
            user: r.text()?,
        },
        class::TOPIC_PERMISSION => ObjectKey::TopicPermission {
            vhost: r.text()?,
            user: r.text()?,
            exchange: r.text()?,
        },
        class::POLICY => ObjectKey::Policy {
            vhost: r.text()?,
            name: r.text()?,
            scope: if r.flag()? {
                PolicyScope::Operator
            } else {
                PolicyScope::User
            },
        },
        class::PARAMETER => ObjectKey::Parameter {
            vhost: r.text()?,
            component: r.text()?,
            name: r.text()?,
        },
        class::GLOBAL_PARAMETER => ObjectKey::GlobalParameter(r.text()?),
        class::VHOST_LIMIT => {
            let vhost = r.text()?;
            let limit = *VhostLimit::ALL
                .get(usize::from(r.byte()?))
                .ok_or(RecordError::Malformed)?;
            ObjectKey::VhostLimit(vhost, limit)
        }
        class::USER_LIMIT => {
            let user = r.text()?;
            let limit = *UserLimit::ALL
                .get(usize::from(r.byte()?))
                .ok_or(RecordError::Malformed)?;
            ObjectKey::UserLimit(user, limit)
        }
        _ => return Err(RecordError::Malformed),
    })
}

/// Reads what [`object`] wrote.
pub(super) fn read_object(r: &mut Reader<'_>) -> Result<Object, RecordError> {
    Ok(match read_key(r)? {
        ObjectKey::Vhost(name) => Object::Vhost(name, read_vhost(r)?),
        ObjectKey::User(name) => Object::User(name, read_user(r)?),
        ObjectKey::Permission { vhost, user } => Object::Permission {
            vhost,
            user,
            permission: Permission {
                configure: r.text()?,
                write: r.text()?,
                read: r.text()?,
            },
        },
        ObjectKey::TopicPermission {
            vhost,
            user,
            exchange,
        } => Object::TopicPermission {
            vhost,
            user,
            exchange,
            permission: TopicPermission {
                write: r.text()?,
                read: r.text()?,
            },
        },
        ObjectKey::Policy { scope, vhost, name } => Object::Policy {
            scope,
            vhost,
            name,
            policy: PolicySpec {
                pattern: r.text()?,
                apply_to: ApplyTo::parse(&r.text()?).ok_or(RecordError::Malformed)?,
                priority: i64::from_le_bytes(r.array()?),
                definition: value::read_table(r)?,
            },
        },
        ObjectKey::Parameter {
            vhost,
            component,
            name,
        } => Object::Parameter {
            vhost,
            component,
            name,
            value: r.text()?,
        },
        ObjectKey::GlobalParameter(name) => Object::GlobalParameter(name, r.text()?),
        ObjectKey::VhostLimit(vhost, limit) => Object::VhostLimit(vhost, limit, r.number()?),
        ObjectKey::UserLimit(user, limit) => Object::UserLimit(user, limit, r.number()?),
    })
}

fn read_vhost(r: &mut Reader<'_>) -> Result<VhostSpec, RecordError> {
    Ok(VhostSpec {
        description: r.text()?,
        tags: r.list(Reader::text)?,
        default_queue_type: r.option(Reader::text)?,
        tracing: r.flag()?,
        protected: r.flag()?,
    })
}

fn read_user(r: &mut Reader<'_>) -> Result<UserEntry, RecordError> {
    let password = r.option(|r| {
        let algorithm = match r.byte()? {
            1 => HashAlgorithm::Sha256,
            2 => HashAlgorithm::Sha512,
            3 => HashAlgorithm::Md5,
            _ => return Err(RecordError::Malformed),
        };
        let bytes = Box::from(r.bytes()?);
        Ok(PasswordHash { algorithm, bytes })
    })?;
    let scram = r.option(|r| {
        Ok(ScramVerifier {
            salt: Box::from(r.bytes()?),
            iterations: r.number_u32()?,
            stored_key: r.array()?,
            server_key: r.array()?,
        })
    })?;
    Ok(UserEntry {
        password,
        scram,
        tags: r.list(Reader::text)?,
    })
}
