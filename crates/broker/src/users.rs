//! Who is logged in.

use std::sync::Arc;

use crate::admin::{Authority, Everything};

/// Somebody who is logged in: a name, tags as of the login, and who says what this user may do.
#[derive(Clone, Debug)]
pub struct User {
    name: Box<str>,
    tags: Arc<[Box<str>]>,
    pub(crate) authority: Arc<dyn Authority>,
}

impl User {
    /// A user whom some authority vouches for.
    pub fn new(name: &str, tags: &[Box<str>], authority: Arc<dyn Authority>) -> Self {
        Self {
            name: name.into(),
            tags: tags.into(),
            authority,
        }
    }

    /// An adapter's own hold on a vhost, which may do everything and is no login.
    pub(crate) fn system() -> Self {
        Self::new("none", &[], Arc::new(Everything))
    }

    /// The login name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the user may do beyond working in vhosts.
    pub fn tags(&self) -> &[Box<str>] {
        &self.tags
    }

    /// Whether the user has that tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|t| **t == *tag)
    }
}

/// Why a login is refused. Peers are told the same in both cases.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoginRefusal {
    /// No such user, or another password.
    #[error("unknown user or wrong password")]
    BadCredentials,
    /// This user may log in from this machine only.
    #[error("user can only log in via loopback")]
    LoopbackOnly,
}
