//! Who there is and what they may do: vhosts, users, permissions, limits, and what else an operator sets while a node
//! runs (policies, parameters).
//!
//! All of these are *objects*: small, named, changed one at a time and kept whole. [`Object`] is one of them with its
//! value, [`ObjectKey`] names one, [`Objects`] holds them all. What they mean (checking a password, matching a pattern)
//! is the shell's: patterns are regular expressions, and hashing wants random salts.

mod objects;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::value::Headers;

pub use objects::{Objects, OfVhost, Orphan};

/// What somebody wants to do with a queue or an exchange.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Right {
    /// Declare and delete it.
    Configure,
    /// Publish to it; bind it as a destination.
    Write,
    /// Consume, get and purge it; bind it as a source.
    Read,
}

impl Right {
    /// All of them, in the order in which permissions are written down.
    pub const ALL: [Self; 3] = [Self::Configure, Self::Write, Self::Read];

    /// Its name in permissions and refusals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// What a user may do in a vhost: a pattern of names for each right. A user without any may not enter the vhost.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Permission {
    /// Names that may be declared and deleted.
    pub configure: Box<str>,
    /// Names that may be written to.
    pub write: Box<str>,
    /// Names that may be read from.
    pub read: Box<str>,
}

impl Permission {
    /// Everything is allowed.
    pub fn everything() -> Self {
        Self {
            configure: ".*".into(),
            write: ".*".into(),
            read: ".*".into(),
        }
    }

    /// The pattern of a right.
    pub fn pattern(&self, right: Right) -> &str {
        match right {
            Right::Configure => &self.configure,
            Right::Write => &self.write,
            Right::Read => &self.read,
        }
    }
}

/// Which routing keys a user may use on one topic exchange. `{username}`, `{vhost}` and `{client_id}` in a pattern stand
/// for what they say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicPermission {
    /// Keys that may be published with.
    pub write: Box<str>,
    /// Keys that may be bound with.
    pub read: Box<str>,
}

/// What is set about a vhost.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VhostSpec {
    /// For people.
    pub description: Box<str>,
    /// For people.
    pub tags: Vec<Box<str>>,
    /// The type of queues that are declared without one.
    pub default_queue_type: Option<Box<str>>,
    /// Whether its messages are to be traced.
    pub tracing: bool,
    /// Whether it is not to be deleted.
    pub protected: bool,
}

/// How a password was hashed: always over a salt of four bytes, which stands before the hash, and the password.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HashAlgorithm {
    /// What new passwords are hashed with.
    Sha256,
    /// Read from definitions only.
    Sha512,
    /// Read from definitions only: broken, and found in old ones.
    Md5,
}

impl HashAlgorithm {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha512, Self::Md5];

    /// Its name in definitions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "rabbit_password_hashing_sha256",
            Self::Sha512 => "rabbit_password_hashing_sha512",
            Self::Md5 => "rabbit_password_hashing_md5",
        }
    }

    /// The algorithm of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// Bytes of salt and hash together.
    pub const fn hash_bytes(self) -> usize {
        4 + match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
            Self::Md5 => 16,
        }
    }
}

/// A hashed password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    /// How it was hashed.
    pub algorithm: HashAlgorithm,
    /// Salt and hash; see [`HashAlgorithm::hash_bytes`].
    pub bytes: Box<[u8]>,
}

/// What SCRAM-SHA-256 needs to know of a password (RFC 5802 §3): enough to check a proof of it, not to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// The salt that clients are told.
    pub salt: Box<[u8]>,
    /// How often the password is hashed.
    pub iterations: u32,
    /// `H(HMAC(SaltedPassword, "Client Key"))`.
    pub stored_key: [u8; 32],
    /// `HMAC(SaltedPassword, "Server Key")`.
    pub server_key: [u8; 32],
}

// Neither belongs into a log.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramVerifier")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// Somebody who can log in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UserEntry {
    /// None if no password lets this user in.
    pub password: Option<PasswordHash>,
    /// None if the password came hashed, or there is none.
    pub scram: Option<ScramVerifier>,
    /// What the user may do beyond working in vhosts: `administrator`, `monitoring`, `policymaker`, `management`,
    /// `impersonator`, or whatever somebody gave a meaning.
    pub tags: Vec<Box<str>>,
}

/// Who sets a policy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PolicyScope {
    /// Whoever may make policies in the vhost.
    User,
    /// The operator: limits what users set.
    Operator,
}

/// What a policy is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ApplyTo {
    /// Queues and exchanges.
    #[default]
    All,
    /// Exchanges.
    Exchanges,
    /// Queues of every kind.
    Queues,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams.
    Streams,
}

impl ApplyTo {
    const ALL: [Self; 6] = [
        Self::All,
        Self::Exchanges,
        Self::Queues,
        Self::ClassicQueues,
        Self::QuorumQueues,
        Self::Streams,
    ];

    /// Its name in definitions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Exchanges => "exchanges",
            Self::Queues => "queues",
            Self::ClassicQueues => "classic_queues",
            Self::QuorumQueues => "quorum_queues",
            Self::Streams => "streams",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|to| to.name() == name)
    }
}

/// A policy as it is set.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PolicySpec {
    /// Of the names it is about.
    pub pattern: Box<str>,
    /// Of the kinds it is about.
    pub apply_to: ApplyTo,
    /// Of several that are about an object the one with the highest counts.
    pub priority: i64,
    /// What it says.
    pub definition: Headers,
}

/// What a vhost may be limited in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum VhostLimit {
    /// Connections that work in it.
    Connections,
    /// Its queues.
    Queues,
}

impl VhostLimit {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Connections, Self::Queues];

    /// Its name in definitions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "max-connections",
            Self::Queues => "max-queues",
        }
    }

    /// The limit of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.name() == name)
    }
}

/// What a user may be limited in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum UserLimit {
    /// Connections.
    Connections,
    /// Channels of all connections together.
    Channels,
}

impl UserLimit {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Connections, Self::Channels];

    /// Its name in definitions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "max-connections",
            Self::Channels => "max-channels",
        }
    }

    /// The limit of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.name() == name)
    }
}

/// The names of an object.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ObjectKey {
    /// A vhost, with everything in it.
    Vhost(Box<str>),
    /// A user, with everything about that user.
    User(Box<str>),
    /// What a user may do in a vhost.
    Permission {
        /// Where.
        vhost: Box<str>,
        /// Who.
        user: Box<str>,
    },
    /// Which keys a user may use on an exchange.
    TopicPermission {
        /// Where.
        vhost: Box<str>,
        /// Who.
        user: Box<str>,
        /// On which exchange.
        exchange: Box<str>,
    },
    /// A policy.
    Policy {
        /// Whose.
        scope: PolicyScope,
        /// Where.
        vhost: Box<str>,
        /// Which.
        name: Box<str>,
    },
    /// A parameter of some component of a vhost.
    Parameter {
        /// Where.
        vhost: Box<str>,
        /// Of what.
        component: Box<str>,
        /// Which.
        name: Box<str>,
    },
    /// A parameter of the node.
    GlobalParameter(Box<str>),
    /// A limit of a vhost.
    VhostLimit(Box<str>, VhostLimit),
    /// A limit of a user.
    UserLimit(Box<str>, UserLimit),
}

/// An object: its names and its value.
#[derive(Clone, PartialEq, Debug)]
pub enum Object {
    /// A vhost.
    Vhost(Box<str>, VhostSpec),
    /// A user.
    User(Box<str>, UserEntry),
    /// What a user may do in a vhost.
    Permission {
        /// Where.
        vhost: Box<str>,
        /// Who.
        user: Box<str>,
        /// What.
        permission: Permission,
    },
    /// Which keys a user may use on an exchange.
    TopicPermission {
        /// Where.
        vhost: Box<str>,
        /// Who.
        user: Box<str>,
        /// On which exchange.
        exchange: Box<str>,
        /// Which keys.
        permission: TopicPermission,
    },
    /// A policy.
    Policy {
        /// Whose.
        scope: PolicyScope,
        /// Where.
        vhost: Box<str>,
        /// Which.
        name: Box<str>,
        /// What it says.
        policy: PolicySpec,
    },
    /// A parameter of some component of a vhost; its value is JSON.
    Parameter {
        /// Where.
        vhost: Box<str>,
        /// Of what.
        component: Box<str>,
        /// Which.
        name: Box<str>,
        /// What it is set to.
        value: Box<str>,
    },
    /// A parameter of the node; its value is JSON.
    GlobalParameter(Box<str>, Box<str>),
    /// A limit of a vhost.
    VhostLimit(Box<str>, VhostLimit, u64),
    /// A limit of a user.
    UserLimit(Box<str>, UserLimit, u64),
}

impl Object {
    /// Its names.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Vhost(name, _) => ObjectKey::Vhost(name.clone()),
            Self::User(name, _) => ObjectKey::User(name.clone()),
            Self::Permission { vhost, user, .. } => ObjectKey::Permission {
                vhost: vhost.clone(),
                user: user.clone(),
            },
            Self::TopicPermission {
                vhost,
                user,
                exchange,
                ..
            } => ObjectKey::TopicPermission {
                vhost: vhost.clone(),
                user: user.clone(),
                exchange: exchange.clone(),
            },
            Self::Policy {
                scope, vhost, name, ..
            } => ObjectKey::Policy {
                scope: *scope,
                vhost: vhost.clone(),
                name: name.clone(),
            },
            Self::Parameter {
                vhost,
                component,
                name,
                ..
            } => ObjectKey::Parameter {
                vhost: vhost.clone(),
                component: component.clone(),
                name: name.clone(),
            },
            Self::GlobalParameter(name, _) => ObjectKey::GlobalParameter(name.clone()),
            Self::VhostLimit(vhost, limit, _) => ObjectKey::VhostLimit(vhost.clone(), *limit),
            Self::UserLimit(user, limit, _) => ObjectKey::UserLimit(user.clone(), *limit),
        }
    }
}
