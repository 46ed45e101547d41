//! Who is logged in.

use std::sync::Arc;

use ternmq_core::id::Timestamp;

use crate::admin::{Authority, Everything};

/// Somebody who is logged in: a name, tags as of the login, and who says what this user may do.
#[derive(Clone, Debug)]
pub struct User {
    name: Box<str>,
    tags: Arc<[Box<str>]>,
    expires_at: Option<Timestamp>,
    pub(crate) authority: Arc<dyn Authority>,
    /// Who says that it is this user, if somebody else says what it may do.
    voucher: Option<Arc<dyn Authority>>,
}

impl User {
    /// A user whom some authority vouches for.
    pub fn new(name: &str, tags: &[Box<str>], authority: Arc<dyn Authority>) -> Self {
        Self {
            name: name.into(),
            tags: tags.into(),
            expires_at: None,
            authority,
            voucher: None,
        }
    }

    /// The same user until then: connections are closed at that moment, unless they have a new secret before.
    #[must_use]
    pub fn until(self, expires_at: Timestamp) -> Self {
        Self {
            expires_at: Some(expires_at),
            ..self
        }
    }

    /// The same user with what another login may do besides, or instead: its rights, and its tags as well.
    pub(crate) fn with_rights_of(self, other: &Self) -> Self {
        let mut tags: Vec<Box<str>> = self.tags.iter().chain(&*other.tags).cloned().collect();
        tags.sort();
        tags.dedup();
        Self {
            name: self.name,
            tags: tags.into(),
            expires_at: self.expires_at.into_iter().chain(other.expires_at).min(),
            authority: other.authority.clone(),
            voucher: Some(self.voucher.unwrap_or(self.authority)),
        }
    }

    /// The user as of a new secret: whoever says who it is has to take it, and whoever says what it may do as well.
    pub(crate) fn renewed(&self, secret: &[u8], now: Timestamp) -> Result<Self, LoginRefusal> {
        let of = |authority: &Arc<dyn Authority>| authority.clone().renew(self, secret, now);
        let Some(voucher) = &self.voucher else {
            return of(&self.authority);
        };
        let known = of(voucher)?;
        let renewed = known.with_rights_of(&of(&self.authority)?);
        Ok(Self {
            voucher: Some(voucher.clone()),
            ..renewed
        })
    }

    /// When what let the user in ends, if it does.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
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
    /// No such user, or credentials that let nobody in.
    #[error("unknown user or wrong password")]
    BadCredentials,
    /// It is not known yet; the attempt's waker is called when it is. Never told to peers.
    #[error("being asked for")]
    Undecided,
    /// This user may log in from this machine only.
    #[error("user can only log in via loopback")]
    LoopbackOnly,
}
