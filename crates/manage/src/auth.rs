//! Who asks, and what they may.
//!
//! Users are told apart by their tags, as in RabbitMQ:
//!
//! | tag | may |
//! |---|---|
//! | `management` | use the API, within the vhosts and permissions the user has |
//! | `policymaker` | besides, set policies and parameters in those vhosts |
//! | `monitoring` | besides what `management` may, see that all vhosts are there, nodes and connections |
//! | `administrator` | everything |

use std::collections::HashSet;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ternmq_broker::inspect::Door;
use ternmq_broker::mailbox::Mailbox;
use ternmq_broker::{Attempt, Client, ConnectRefusal, LoginRefusal, User};
use ternmq_core::access::Right;
use ternmq_core::error::Kind;

use crate::Manage;
use crate::accept;
use crate::fault::{Challenge, Fault};
use crate::machine;

const NOT_ADMINISTRATOR: &str = "Not administrator user";
const NOT_MONITOR: &str = "Not monitor user";
const NO_ACCESS: &str = "User not authorised to access object";
const ACCESS_REFUSED: &str = "Access refused.";
const NO_VHOST_ACCESS: &str = "User not authorised to access virtual host";

/// Whoever asks, logged in and with a tag that lets them use the API.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) user: Arc<User>,
    manage: Arc<Manage>,
}

impl FromRequestParts<Arc<Manage>> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, manage: &Arc<Manage>) -> Result<Self, Fault> {
        let failed = || Fault::not_authenticated(challenge(manage), "Login failed");
        let shown = Credentials::of(parts).ok_or_else(failed)?;
        let Some(machine::From(from)) = parts.extensions.get().copied() else {
            return Err(failed());
        };
        let caller = Self::let_in(manage, &shown, from).await?;
        // Only whoever is let in hears more than that.
        accept::check(&parts.headers)?;
        Ok(caller)
    }
}

/// What a request is to show that shows nothing: with tokens only, a browser shall not ask for a password.
fn challenge(manage: &Manage) -> Challenge {
    let config = &manage.config;
    if config.oauth_enabled && config.oauth_disable_basic_auth {
        Challenge::None
    } else {
        Challenge::Basic
    }
}

/// What a request shows about who asks.
pub(crate) enum Credentials {
    /// Basic authentication (RFC 7617), or a form.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: Vec<u8>,
    },
    /// A token (RFC 6750).
    Bearer(String),
}

impl Credentials {
    /// A name and a password.
    pub(crate) fn password(user: &str, password: &str) -> Self {
        Self::Password {
            user: user.to_owned(),
            password: password.into(),
        }
    }

    /// Those in the header.
    fn of(parts: &Parts) -> Option<Self> {
        let header = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, rest) = header.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Bearer(rest.trim().to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = STANDARD.decode(rest.trim()).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let user = String::from_utf8(decoded[..colon].to_vec()).ok()?;
        let password = decoded[colon + 1..].to_vec();
        Some(Self::Password { user, password })
    }
}

impl Caller {
    /// Logs in whom the credentials show, if that user has a tag for the API. With tokens only, no password does.
    pub(crate) async fn let_in(
        manage: &Arc<Manage>,
        shown: &Credentials,
        from: IpAddr,
    ) -> Result<Self, Fault> {
        let scheme = challenge(manage);
        if matches!(shown, Credentials::Password { .. }) && scheme == Challenge::None {
            return Err(Fault::not_authenticated(scheme, "Login failed"));
        }
        let (name, password) = match shown {
            Credentials::Password { user, password } => (user.as_str(), password.as_slice()),
            // A token says who it is about.
            Credentials::Bearer(token) => (&*manage.config.oauth_client_id, token.as_bytes()),
        };
        let user = poll_fn(|context| {
            let attempt = Attempt {
                waker: Some(context.waker()),
                ..Attempt::new(name, password, from)
            };
            match manage.broker.log_in(&attempt) {
                Err(LoginRefusal::Undecided) => Poll::Pending,
                known => Poll::Ready(known),
            }
        });
        let login = user.await;
        manage.broker.count_login(Door::Http, login.is_ok());
        let user = login.map_err(|refusal| {
            tracing::debug!(user = name, peer = %from, error = %refusal, "HTTP access denied");
            match refusal {
                LoginRefusal::LoopbackOnly => {
                    Fault::not_authorised("User can only log in via localhost")
                }
                LoginRefusal::BadCredentials | LoginRefusal::Undecided => {
                    Fault::not_authenticated(scheme, "Login failed")
                }
            }
        })?;
        let caller = Self {
            user,
            manage: manage.clone(),
        };
        if !caller.has_any(&["administrator", "monitoring", "policymaker", "management"]) {
            return Err(Fault::not_authorised("Not management user"));
        }
        Ok(caller)
    }
}

impl Caller {
    pub(crate) fn name(&self) -> &str {
        self.user.name()
    }

    fn has_any(&self, tags: &[&str]) -> bool {
        self.user.tags().iter().any(|tag| tags.contains(&&**tag))
    }

    pub(crate) fn is_administrator(&self) -> bool {
        self.has_any(&["administrator"])
    }

    pub(crate) fn is_monitor(&self) -> bool {
        self.has_any(&["administrator", "monitoring"])
    }

    /// Whether messages may carry other users' names.
    pub(crate) fn may_impersonate(&self) -> bool {
        self.has_any(&["impersonator"])
    }

    /// Refuses everybody but administrators.
    pub(crate) fn administrator(&self) -> Result<(), Fault> {
        allow(self.is_administrator(), NOT_ADMINISTRATOR)
    }

    /// Refuses those who may not see nodes and all vhosts.
    pub(crate) fn monitor(&self) -> Result<(), Fault> {
        allow(self.is_monitor(), NOT_MONITOR)
    }

    /// Refuses those who may not set policies and parameters anywhere.
    pub(crate) fn policymaker(&self) -> Result<(), Fault> {
        allow(self.has_any(&["administrator", "policymaker"]), NO_ACCESS)
    }

    /// Refuses those who may not set policies and parameters of that vhost: to see all vhosts is not enough. `missing` is
    /// what a vhost that is not there means.
    pub(crate) fn policymaker_of(&self, vhost: &str, missing: fn() -> Fault) -> Result<(), Fault> {
        self.policymaker()?;
        if self.manage.broker.admin().vhost(vhost).is_none() {
            return Err(missing());
        }
        allow(self.sees(vhost), NO_ACCESS)
    }

    /// Refuses everybody but this user and administrators.
    pub(crate) fn themselves(&self, name: &str) -> Result<(), Fault> {
        allow(self.name() == name || self.is_administrator(), NO_ACCESS)
    }

    /// Whether what belongs to that user's connections is shown: others' is to those who see everybody's.
    pub(crate) fn sees_those_of(&self, name: Option<&str>) -> bool {
        self.is_monitor() || name == Some(self.name())
    }

    /// Whether the user may know that the vhost is there, with its totals.
    pub(crate) fn knows(&self, vhost: &str) -> bool {
        self.is_monitor() || self.sees(vhost)
    }

    /// Whether what is in the vhost may be listed.
    pub(crate) fn sees(&self, vhost: &str) -> bool {
        self.is_administrator() || self.manage.broker.may_use(&self.user, vhost)
    }

    /// The vhosts that the user may know of.
    pub(crate) fn known_vhosts(&self) -> HashSet<Box<str>> {
        self.vhosts_that(Self::knows)
    }

    /// The vhosts whose contents may be listed.
    pub(crate) fn seen_vhosts(&self) -> HashSet<Box<str>> {
        self.vhosts_that(Self::sees)
    }

    fn vhosts_that(&self, are: fn(&Self, &str) -> bool) -> HashSet<Box<str>> {
        let vhosts = self.manage.broker.admin().vhosts().into_iter();
        let names = vhosts.map(|vhost| vhost.name);
        names.filter(|name| are(self, name)).collect()
    }

    /// As [`Caller::vhost`], with another fault for a vhost that is not there.
    pub(crate) fn vhost_or(&self, vhost: &str, missing: fn() -> Fault) -> Result<(), Fault> {
        self.vhost_that(Self::sees, vhost, missing)
    }

    /// Refuses a vhost that is not there, and one of which the user may not know.
    pub(crate) fn known_vhost(&self, vhost: &str) -> Result<(), Fault> {
        self.vhost_that(Self::knows, vhost, Fault::not_found)
    }

    fn vhost_that(
        &self,
        is: fn(&Self, &str) -> bool,
        vhost: &str,
        missing: fn() -> Fault,
    ) -> Result<(), Fault> {
        if self.manage.broker.admin().vhost(vhost).is_none() {
            return Err(missing());
        }
        allow(is(self, vhost), NO_VHOST_ACCESS)
    }

    /// Refuses those who may not do that with the queue or exchange of that name.
    pub(crate) fn may(&self, vhost: &str, right: Right, object: (Kind, &str)) -> Result<(), Fault> {
        if self.manage.broker.admin().vhost(vhost).is_none() {
            return Err(Fault::not_found());
        }
        let broker = &self.manage.broker;
        allow(broker.may_use(&self.user, vhost), self.no_vhost_access())?;
        allow(broker.may(&self.user, vhost, right, object), ACCESS_REFUSED)
    }

    /// Refuses a vhost that is not there, and one whose contents the user may not list.
    pub(crate) fn vhost(&self, vhost: &str) -> Result<(), Fault> {
        self.vhost_or(vhost, Fault::not_found)
    }

    /// What is said to whoever may not work in a vhost: administrators are known to see it.
    fn no_vhost_access(&self) -> &'static str {
        if self.is_administrator() {
            ACCESS_REFUSED
        } else {
            NO_VHOST_ACCESS
        }
    }

    /// What does with the vhost what its user may. It is no connection. `missing` is what a vhost that is not there means.
    pub(crate) fn client(&self, vhost: &str, missing: Fault) -> Result<Client, Fault> {
        // Waits, if that has to be asked for; behind it, connecting does not.
        self.manage.broker.may_use(&self.user, vhost);
        let mailbox = Mailbox::new(1);
        let connected = self.manage.broker.operate(&self.user, vhost, mailbox);
        connected.map_err(|refusal| match refusal {
            ConnectRefusal::NoSuchVhost => missing,
            ConnectRefusal::NotAllowed => Fault::not_authorised(self.no_vhost_access()),
            other => Fault::bad_request(other.to_string()),
        })
    }
}

fn allow(allowed: bool, otherwise: &str) -> Result<(), Fault> {
    if allowed {
        Ok(())
    } else {
        Err(Fault::not_authorised(otherwise))
    }
}
