//! All objects behind their lock, and what goes with them: compiled permissions, and who is connected.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use hashbrown::HashMap;
use parking_lot::Mutex;
use ternmq_core::access::{
    HashAlgorithm, ObjectKey, Objects, PasswordHash, ScramVerifier, UserLimit, VhostLimit,
};
use ternmq_core::id::{Lsn, Timestamp};

use super::login::{Attempt, LoginStep};
use super::password::{hash_password, is_password};
use super::rights::{Authority, Grants, Rights, Scene};
use crate::config::BrokerConfig;
use crate::connect::ConnectRefusal;
use crate::users::{LoginRefusal, User};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) state: Mutex<State>,
    /// Grows with every change of what anybody may do.
    version: AtomicU64,
    /// Users who may log in from this machine only.
    loopback: Vec<Box<str>>,
    default_user: Box<str>,
    /// Who is asked for users; nobody but this registry if nothing is set.
    pub(super) steps: OnceLock<Box<[LoginStep]>>,
}

/// What [`Registry::state`] guards.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) objects: Objects,
    /// Records of objects below this one are in.
    pub(crate) position: Lsn,
    /// Permissions that connections use, by user and vhost.
    grants: HashMap<(Box<str>, Box<str>), Weak<Grants>>,
    /// Connections and channels by user, connections by vhost; those that have none are not there.
    of_user: HashMap<Box<str>, Tally>,
    of_vhost: HashMap<Box<str>, u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Tally {
    connections: u64,
    channels: u64,
}

impl Registry {
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        Self {
            state: Mutex::default(),
            version: AtomicU64::new(1),
            loopback: config.loopback_names(),
            default_user: config.first_user().into(),
            steps: OnceLock::new(),
        }
    }

    /// Grows with every change of what anybody may do: rights that were asked for before may have changed.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// To be called behind every change of what somebody may do, before anybody is told of it.
    pub(crate) fn rights_changed(&self, state: &mut State, key: &ObjectKey) {
        match key {
            ObjectKey::Permission { vhost, user }
            | ObjectKey::TopicPermission { vhost, user, .. } => {
                state.grants.remove(&(user.clone(), vhost.clone()));
            }
            ObjectKey::User(name) => state.grants.retain(|(user, _), _| user != name),
            ObjectKey::Vhost(name) => state.grants.retain(|(_, vhost), _| vhost != name),
            _ => return,
        }
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// A user of this broker, by password or, without one, because something else vouches for the user.
    pub(crate) fn login(self: &Arc<Self>, attempt: &Attempt<'_>) -> Result<User, LoginRefusal> {
        let found = {
            let state = self.state.lock();
            let user = state.objects.user(attempt.user);
            user.map(|user| (user.password.clone(), user.tags.clone()))
        };
        let (hash, tags) = match found {
            Some((hash, tags)) => (hash, Some(tags)),
            None => (None, None),
        };
        let is_known = attempt.password.is_none_or(|password| {
            // Where there is nothing to compare with it takes as long.
            let matches = is_password(hash.as_ref().unwrap_or_else(|| nobodys_hash()), password);
            matches && hash.is_some() && !password.is_empty()
        });
        let tags = tags.filter(|_| is_known);
        let tags = tags.ok_or(LoginRefusal::BadCredentials)?;
        Ok(User::new(attempt.user, &tags, self.clone()))
    }

    pub(crate) fn check_loopback(&self, name: &str, peer: IpAddr) -> Result<(), LoginRefusal> {
        if !is_loopback(peer) && self.loopback.iter().any(|user| **user == *name) {
            return Err(LoginRefusal::LoopbackOnly);
        }
        Ok(())
    }

    pub(crate) fn scram(&self, name: &str) -> Option<ScramVerifier> {
        self.state.lock().objects.user(name)?.scram.clone()
    }

    /// The user of clients that are let in without credentials; without rights if there is no such user any more.
    pub(crate) fn default_user(self: &Arc<Self>) -> User {
        let name = &*self.default_user;
        let tags = {
            let state = self.state.lock();
            state.objects.user(name).map(|user| user.tags.clone())
        };
        User::new(name, &tags.unwrap_or_default(), self.clone())
    }

    /// Counts a connection in, unless a limit is reached. [`Registry::leave`] counts it out.
    pub(crate) fn enter(&self, user: &str, vhost: &str) -> Result<(), ConnectRefusal> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let max = state.objects.vhost(vhost);
        let max = max.and_then(|of| of.limit(VhostLimit::Connections));
        let in_vhost = state.of_vhost.get(vhost).copied().unwrap_or_default();
        if let Some(max) = max.filter(|max| in_vhost >= *max) {
            return Err(ConnectRefusal::VhostLimit { max });
        }
        let max = state.user_limit(user, UserLimit::Connections);
        let tally = state.of_user.get(user).copied().unwrap_or_default();
        if let Some(max) = max.filter(|max| tally.connections >= *max) {
            return Err(ConnectRefusal::UserLimit { max });
        }
        *state.of_vhost.entry(vhost.into()).or_default() += 1;
        state.of_user.entry(user.into()).or_default().connections += 1;
        Ok(())
    }

    /// Counts a connection out, with the channels that it had open.
    pub(crate) fn leave(&self, user: &str, vhost: &str, channels: u64) {
        let mut state = self.state.lock();
        if let Some(count) = state.of_vhost.get_mut(vhost) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.of_vhost.remove(vhost);
            }
        }
        if let Some(tally) = state.of_user.get_mut(user) {
            tally.connections = tally.connections.saturating_sub(1);
            tally.channels = tally.channels.saturating_sub(channels);
            if *tally == Tally::default() {
                state.of_user.remove(user);
            }
        }
    }

    /// Counts a channel in.
    ///
    /// # Errors
    /// The user has as many as allowed; how many that is.
    pub(crate) fn open_channel(&self, user: &str) -> Result<(), u64> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let max = state.user_limit(user, UserLimit::Channels);
        let channels = state.of_user.get(user).map_or(0, |tally| tally.channels);
        if let Some(max) = max.filter(|max| channels >= *max) {
            return Err(max);
        }
        state.of_user.entry(user.into()).or_default().channels += 1;
        Ok(())
    }

    /// Counts a channel out.
    pub(crate) fn close_channel(&self, user: &str) {
        if let Some(tally) = self.state.lock().of_user.get_mut(user) {
            tally.channels = tally.channels.saturating_sub(1);
        }
    }
}

impl State {
    fn user_limit(&self, user: &str, limit: UserLimit) -> Option<u64> {
        let mut limits = self.objects.user_limits(user);
        limits.find(|(l, _)| *l == limit).map(|(_, max)| max)
    }
}

impl Authority for Registry {
    fn rights(&self, scene: &Scene<'_>) -> Option<Arc<dyn Rights>> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let key = (scene.user.into(), scene.vhost.into());
        let known = state.grants.get(&key).and_then(Weak::upgrade);
        let grants = if let Some(grants) = known {
            grants
        } else {
            let grants = Arc::new(Grants::of(state.objects.vhost(scene.vhost)?, scene)?);
            if state.grants.len() == state.grants.capacity() {
                // Before it grows, those go that nobody uses any more.
                state.grants.retain(|_, grants| grants.strong_count() > 0);
            }
            state.grants.insert(key, Arc::downgrade(&grants));
            grants
        };
        drop(guard);
        Some(grants.for_client(scene.client_id))
    }

    /// A password that let a user in does not expire, so whatever the new secret is, it is as good as the old one, as in
    /// RabbitMQ.
    fn renew(
        self: Arc<Self>,
        user: &User,
        _secret: &[u8],
        _now: Timestamp,
    ) -> Result<User, LoginRefusal> {
        let tags = {
            let state = self.state.lock();
            let entry = state.objects.user(user.name());
            entry.ok_or(LoginRefusal::BadCredentials)?.tags.clone()
        };
        Ok(User::new(user.name(), &tags, self))
    }
}

/// What a password is compared with when nobody has it.
fn nobodys_hash() -> &'static PasswordHash {
    static HASH: OnceLock<PasswordHash> = OnceLock::new();
    HASH.get_or_init(|| hash_password(HashAlgorithm::Sha256, b""))
}

fn is_loopback(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}
