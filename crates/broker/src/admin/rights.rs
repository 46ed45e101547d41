//! What a user may do in a vhost: permissions with their patterns compiled.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use ternmq_core::access::{OfVhost, Right};
use ternmq_core::error::Kind;
use ternmq_core::id::Timestamp;

use super::pattern::{Pattern, escape};
use crate::users::{LoginRefusal, User};

/// Where somebody works, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The vhost.
    pub vhost: &'a str,
    /// The client identifier, where the protocol has one.
    pub client_id: Option<&'a str>,
}

/// What a user may do in a vhost.
pub trait Rights: fmt::Debug + Send + Sync {
    /// Whether the user may do that with the queue or exchange of that name.
    fn may(&self, right: Right, kind: Kind, name: &str) -> bool;

    /// Whether the user may use that routing key, written with dots, on that topic exchange.
    fn may_on_topic(&self, right: Right, exchange: &str, key: &str) -> bool;
}

/// Where users come from: who says what they may do. The broker's own users are one such place.
pub trait Authority: fmt::Debug + Send + Sync {
    /// The user's rights in a vhost; none if the user may not work in it at all. Asked for when a connection opens, and
    /// again when permissions have changed.
    fn rights(&self, scene: &Scene<'_>) -> Option<Arc<dyn Rights>>;

    /// Whether the authority can say at once whether the user may work in that vhost. If not, it finds out, and calls the
    /// waker when it knows; who does not wait for that waits in [`Authority::rights`].
    fn is_ready(&self, _scene: &Scene<'_>, _waker: &Waker) -> bool {
        true
    }

    /// The user as of a new secret, which a connection was given while it goes on.
    ///
    /// # Errors
    /// The secret does not let that user in.
    fn renew(
        self: Arc<Self>,
        user: &User,
        secret: &[u8],
        now: Timestamp,
    ) -> Result<User, LoginRefusal>;
}

/// Everything is allowed.
#[derive(Debug)]
pub(crate) struct Everything;

impl Rights for Everything {
    fn may(&self, _: Right, _: Kind, _: &str) -> bool {
        true
    }

    fn may_on_topic(&self, _: Right, _: &str, _: &str) -> bool {
        true
    }
}

impl Authority for Everything {
    fn rights(&self, _: &Scene<'_>) -> Option<Arc<dyn Rights>> {
        Some(Arc::new(Self))
    }

    fn renew(self: Arc<Self>, user: &User, _: &[u8], _: Timestamp) -> Result<User, LoginRefusal> {
        Ok(user.clone())
    }
}

/// Nothing is allowed any more.
#[derive(Debug)]
pub(crate) struct Nothing;

impl Rights for Nothing {
    fn may(&self, _: Right, _: Kind, _: &str) -> bool {
        false
    }

    fn may_on_topic(&self, _: Right, _: &str, _: &str) -> bool {
        false
    }
}

/// Permissions of a user of this broker in one vhost, shared by the user's connections.
#[derive(Debug)]
pub(crate) struct Grants {
    /// In the order of [`Right::ALL`].
    patterns: [Pattern; 3],
    /// By topic exchange.
    topics: HashMap<Box<str>, TopicGrant>,
}

/// Which keys of one exchange may be used.
#[derive(Clone, Debug)]
struct TopicGrant {
    write: TopicPattern,
    read: TopicPattern,
}

#[derive(Clone, Debug)]
enum TopicPattern {
    Same(Pattern),
    /// It names the client.
    PerClient(Box<str>),
}

impl Grants {
    /// Compiles what a vhost says of a user; none if it says nothing.
    pub(crate) fn of(of: &OfVhost, scene: &Scene<'_>) -> Option<Self> {
        let permission = of.permission(scene.user)?;
        let topics = of.topic_permissions_of(scene.user);
        let topics = topics.map(|(exchange, keys)| {
            let grant = TopicGrant {
                write: TopicPattern::of(&keys.write, scene),
                read: TopicPattern::of(&keys.read, scene),
            };
            (exchange.into(), grant)
        });
        Some(Self {
            patterns: Right::ALL.map(|right| compile(permission.pattern(right))),
            topics: topics.collect(),
        })
    }

    /// The rights of one connection.
    pub(crate) fn for_client(self: &Arc<Self>, client_id: Option<&str>) -> Arc<dyn Rights> {
        let names_client =
            |grant: &TopicGrant| grant.write.names_client() || grant.read.names_client();
        if !self.topics.values().any(names_client) {
            return self.clone();
        }
        let expanded = |pattern: &TopicPattern| TopicPattern::Same(pattern.expand(client_id));
        let topics = self.topics.iter().map(|(exchange, grant)| {
            let own = TopicGrant {
                write: expanded(&grant.write),
                read: expanded(&grant.read),
            };
            (exchange.clone(), own)
        });
        Arc::new(Self {
            patterns: self.patterns.clone(),
            topics: topics.collect(),
        })
    }
}

impl Rights for Grants {
    fn may(&self, right: Right, _: Kind, name: &str) -> bool {
        let [configure, write, read] = &self.patterns;
        let pattern = match right {
            Right::Configure => configure,
            Right::Write => write,
            Right::Read => read,
        };
        pattern.matches(name)
    }

    /// An exchange about which nothing is said takes every key.
    fn may_on_topic(&self, right: Right, exchange: &str, key: &str) -> bool {
        let Some(grant) = self.topics.get(exchange) else {
            return true;
        };
        match right {
            Right::Write => grant.write.matches(key),
            Right::Read => grant.read.matches(key),
            Right::Configure => true,
        }
    }
}

impl TopicPattern {
    /// Names in a pattern stand for themselves only: somebody called `.*` gets no more than others.
    fn of(pattern: &str, scene: &Scene<'_>) -> Self {
        let pattern = pattern
            .replace("{username}", &escape(scene.user))
            .replace("{vhost}", &escape(scene.vhost));
        if pattern.contains("{client_id}") {
            Self::PerClient(pattern.into())
        } else {
            Self::Same(compile(&pattern))
        }
    }

    fn names_client(&self) -> bool {
        matches!(self, Self::PerClient(_))
    }

    /// Without a client identifier nothing stands for it, and such a pattern matches what it spells.
    fn expand(&self, client_id: Option<&str>) -> Pattern {
        match (self, client_id) {
            (Self::Same(pattern), _) => pattern.clone(),
            (Self::PerClient(pattern), Some(id)) => {
                compile(&pattern.replace("{client_id}", &escape(id)))
            }
            (Self::PerClient(pattern), None) => {
                compile(&pattern.replace("{client_id}", &escape("{client_id}")))
            }
        }
    }

    fn matches(&self, key: &str) -> bool {
        match self {
            Self::Same(pattern) => pattern.matches(key),
            Self::PerClient(_) => self.expand(None).matches(key),
        }
    }
}

/// Patterns are checked when they are set. One that does not compile all the same allows nothing.
fn compile(pattern: &str) -> Pattern {
    Pattern::parse(pattern).unwrap_or_else(|error| {
        tracing::error!(pattern, error, "pattern of a permission cannot be used");
        Pattern::Nothing
    })
}
