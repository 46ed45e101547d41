//! Who lets users in: the broker's own users, and whoever else knows some ([`Backend`]), asked one after the other.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;

use ternmq_core::id::Timestamp;

use super::registry::Registry;
use crate::broker::Broker;
use crate::users::{LoginRefusal, User};

/// What somebody says who wants to be let in.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// The user's name. Who knows users by their credentials ignores it.
    pub user: &'a str,
    /// The password, or whatever stands in its place; none if something else vouches for the user: a client certificate,
    /// a proof by [`Broker::scram`].
    pub password: Option<&'a [u8]>,
    /// Whether what vouches for the user is a proof of the password that this broker keeps ([`Broker::scram`]): nobody else
    /// is asked who it is then, who may know another user of that name.
    pub is_proved: bool,
    /// Where the attempt comes from: some users may log in from loopback only.
    pub peer: IpAddr,
    /// The vhost that the login leads to, where the protocol says so before.
    pub vhost: Option<&'a str>,
    /// The client identifier, where the protocol has one.
    pub client_id: Option<&'a str>,
    /// Who is called when it is known whether the user is let in, if that is not known at once. Who has none waits for it.
    pub waker: Option<&'a Waker>,
}

impl<'a> Attempt<'a> {
    /// By name and password.
    pub fn new(user: &'a str, password: &'a [u8], peer: IpAddr) -> Self {
        Self {
            user,
            password: Some(password),
            is_proved: false,
            peer,
            vhost: None,
            client_id: None,
            waker: None,
        }
    }

    /// By something else that vouches for the user, whoever knows it: a client certificate.
    pub fn vouched(user: &'a str, peer: IpAddr) -> Self {
        Self {
            password: None,
            ..Self::new(user, &[], peer)
        }
    }

    /// By a proof that was checked with what [`Broker::scram`] says.
    pub fn proved(user: &'a str, peer: IpAddr) -> Self {
        Self {
            is_proved: true,
            ..Self::vouched(user, peer)
        }
    }
}

/// Without the password, and without the name, which may be one.
impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("peer", &self.peer)
            .field("vhost", &self.vhost)
            .finish_non_exhaustive()
    }
}

/// Who knows users beside the broker.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Lets somebody in. Logs why not, where the refusal does not say it.
    ///
    /// # Errors
    /// [`LoginRefusal::BadCredentials`]: the next one is asked. [`LoginRefusal::Undecided`], if there is a waker.
    fn login(&self, attempt: &Attempt<'_>, now: Timestamp) -> Result<User, LoginRefusal>;
}

/// One place to ask.
#[derive(Clone, Debug)]
pub enum Place {
    /// The users of this broker.
    Internal,
    /// Somebody else.
    External(Arc<dyn Backend>),
}

/// Who says whether a user is who it claims to be, and who says what that user may do.
#[derive(Clone, Debug)]
pub struct LoginStep {
    /// The former.
    pub authn: Place,
    /// The latter, if that is another one.
    pub authz: Option<Place>,
}

impl Broker {
    /// Has others asked for users, in this order, instead of this broker's own users alone. Called once, before anybody
    /// connects; a second call changes nothing.
    pub fn ask_for_users(&self, steps: Vec<LoginStep>) {
        let set = self.0.registry.steps.set(steps.into());
        debug_assert!(set.is_ok(), "set once, before anybody connects");
    }

    /// Lets somebody in, if any of those that are asked for users does.
    ///
    /// # Errors
    /// The refusal of the last one that was asked. [`LoginRefusal::Undecided`] if the attempt has a waker, and has to be
    /// made again when that is called.
    pub fn log_in(&self, attempt: &Attempt<'_>) -> Result<Arc<User>, LoginRefusal> {
        let registry = &self.0.registry;
        let user = registry.ask_steps(attempt, self.now())?;
        registry.check_loopback(user.name(), attempt.peer)?;
        Ok(Arc::new(user))
    }

    /// Checks a password. `peer` is where the attempt comes from: some users may log in from loopback only.
    pub fn login(
        &self,
        user: &str,
        password: &[u8],
        peer: IpAddr,
    ) -> Result<Arc<User>, LoginRefusal> {
        self.log_in(&Attempt::new(user, password, peer))
    }

    /// Lets a user in whom something else vouches for: a client certificate.
    pub fn login_external(&self, user: &str, peer: IpAddr) -> Result<Arc<User>, LoginRefusal> {
        self.log_in(&Attempt::vouched(user, peer))
    }

    /// A user who is logged in has a new secret: the user as of now, whose rights may be others.
    ///
    /// # Errors
    /// The secret does not let that user in.
    pub fn renew(
        &self,
        user: &User,
        secret: &[u8],
        peer: IpAddr,
    ) -> Result<Arc<User>, LoginRefusal> {
        let renewed = user.renewed(secret, self.now())?;
        if renewed.name() != user.name() {
            return Err(LoginRefusal::BadCredentials);
        }
        self.0.registry.check_loopback(user.name(), peer)?;
        Ok(Arc::new(renewed))
    }
}

impl Registry {
    fn ask_steps(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        now: Timestamp,
    ) -> Result<User, LoginRefusal> {
        let Some(steps) = self.steps.get() else {
            return self.login(attempt);
        };
        let mut refusal = LoginRefusal::BadCredentials;
        let knows = |step: &&LoginStep| !attempt.is_proved || matches!(step.authn, Place::Internal);
        for step in steps.iter().filter(knows) {
            match self.ask_step(step, attempt, now) {
                Ok(user) => return Ok(user),
                Err(LoginRefusal::Undecided) => return Err(LoginRefusal::Undecided),
                Err(refused) => refusal = refused,
            }
        }
        Err(refusal)
    }

    fn ask_step(
        self: &Arc<Self>,
        step: &LoginStep,
        attempt: &Attempt<'_>,
        now: Timestamp,
    ) -> Result<User, LoginRefusal> {
        let user = match &step.authn {
            Place::Internal => self.login(attempt)?,
            Place::External(backend) => backend.login(attempt, now)?,
        };
        let allowed = match &step.authz {
            None => return Ok(user),
            // Who it is, is known by now.
            Some(Place::Internal) => self.login(&Attempt {
                user: user.name(),
                password: None,
                ..*attempt
            })?,
            Some(Place::External(backend)) => backend.login(
                &Attempt {
                    user: user.name(),
                    ..*attempt
                },
                now,
            )?,
        };
        Ok(user.with_rights_of(&allowed))
    }

    /// Whether passwords of this broker's own users are asked for at all.
    pub(crate) fn is_asked(&self) -> bool {
        self.steps.get().is_none_or(|steps| {
            let mut authn = steps.iter().map(|step| &step.authn);
            authn.any(|place| matches!(place, Place::Internal))
        })
    }
}
