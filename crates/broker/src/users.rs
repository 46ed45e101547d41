//! Who may log in, and into which vhosts.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::config::UserConfig;

/// Somebody who can log in.
#[derive(Debug)]
pub struct User {
    name: Box<str>,
    vhosts: Option<Vec<Box<str>>>,
    loopback_only: bool,
}

impl User {
    /// The login name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the user may work in that vhost.
    pub fn may_use(&self, vhost: &str) -> bool {
        self.vhosts
            .as_ref()
            .is_none_or(|list| list.iter().any(|v| **v == *vhost))
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

struct Entry {
    user: Arc<User>,
    password: Box<[u8]>,
}

/// All users.
pub(crate) struct Users {
    entries: HashMap<Box<str>, Entry>,
    default_user: Arc<User>,
}

impl Users {
    pub(crate) fn new(config: &[UserConfig]) -> Self {
        let entry = |c: &UserConfig| {
            let user = User {
                name: c.name.as_str().into(),
                vhosts: c
                    .vhosts
                    .as_ref()
                    .map(|list| list.iter().map(|v| v.as_str().into()).collect()),
                loopback_only: c.loopback_only,
            };
            (
                c.name.as_str().into(),
                Entry {
                    user: Arc::new(user),
                    password: c.password.as_bytes().into(),
                },
            )
        };
        let guest = User {
            name: "guest".into(),
            vhosts: None,
            loopback_only: true,
        };
        let entries: HashMap<Box<str>, Entry> = config.iter().map(entry).collect();
        let default_user = config
            .first()
            .and_then(|c| entries.get(c.name.as_str()))
            .map(|e| e.user.clone());
        Self {
            default_user: default_user.unwrap_or_else(|| Arc::new(guest)),
            entries,
        }
    }

    pub(crate) fn login(
        &self,
        name: &str,
        password: &[u8],
        peer: IpAddr,
    ) -> Result<Arc<User>, LoginRefusal> {
        let entry = self.entries.get(name).ok_or(LoginRefusal::BadCredentials)?;
        if !same(&entry.password, password) {
            return Err(LoginRefusal::BadCredentials);
        }
        self.login_vouched(name, peer)
    }

    pub(crate) fn login_vouched(
        &self,
        name: &str,
        peer: IpAddr,
    ) -> Result<Arc<User>, LoginRefusal> {
        let entry = self.entries.get(name).ok_or(LoginRefusal::BadCredentials)?;
        if entry.user.loopback_only && !is_loopback(peer) {
            return Err(LoginRefusal::LoopbackOnly);
        }
        Ok(entry.user.clone())
    }

    pub(crate) fn default_user(&self) -> Arc<User> {
        self.default_user.clone()
    }
}

/// Compares in a time that depends on the lengths only.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
}

fn is_loopback(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}
