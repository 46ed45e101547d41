//! Users whom an HTTP server knows, asked as RabbitMQ's plugin `rabbitmq_auth_backend_http` asks, with its answers kept for
//! a while as `rabbitmq_auth_backend_cache` keeps them.
//!
//! Logins and vhosts are asked for while the connection waits without a thread. What a user may do with queues, exchanges
//! and topics is asked for in the middle of a verb: then the connection's own thread waits, aside from the others
//! ([`Aside`]), no longer than the server may take, and few at once; the answers are kept.

mod clerk;
pub mod config;
mod desk;
mod question;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use ternmq_broker::aside::Aside;
use ternmq_broker::clock::Clock;
use ternmq_broker::{Attempt, Authority, Backend, LoginRefusal, Rights, Scene, User};
use ternmq_core::access::Right;
use ternmq_core::error::Kind;
use ternmq_core::id::Timestamp;

use crate::aside::{Bell, Waiting};
use crate::client::AuthoritiesError;
use clerk::Clerk;
use config::{CacheConfig, HttpConfig};
use desk::Desk;
use question::{Question, Verdict};

/// Time limits, in milliseconds, at most.
const TIMEOUT_MS_MAX: u64 = 60_000;

/// Clerks, at most.
const CLERKS_MAX: usize = 256;

/// Why the server cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A path is no address.
    #[error("`{0}` begins with neither http:// nor https://")]
    Address(&'static str),
    /// A limit that makes no sense.
    #[error("`{0}` is not from 1 to {1}")]
    Limit(&'static str, u64),
    /// The authorities.
    #[error(transparent)]
    Certificates(#[from] AuthoritiesError),
    /// A thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// Asks the server.
pub struct Http {
    shared: Arc<Shared>,
}

struct Shared {
    config: HttpConfig,
    desk: Arc<Desk>,
    clock: Arc<dyn Clock>,
    waiting: Waiting,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The desk closes with the last who could ask; its clerks end.
impl Drop for Shared {
    fn drop(&mut self) {
        self.desk.close();
    }
}

/// Looks whether a server could be asked like that.
///
/// # Errors
/// What of the configuration cannot be used.
pub fn check(config: &HttpConfig, cache: &CacheConfig) -> Result<(), HttpError> {
    let addresses = [
        ("user_path", &config.user_path),
        ("vhost_path", &config.vhost_path),
        ("resource_path", &config.resource_path),
        ("topic_path", &config.topic_path),
    ];
    for (key, address) in addresses {
        if !address.starts_with("http://") && !address.starts_with("https://") {
            return Err(HttpError::Address(key));
        }
    }
    let limits = [
        ("request_timeout", config.request_timeout, TIMEOUT_MS_MAX),
        (
            "connection_timeout",
            config.connection_timeout,
            TIMEOUT_MS_MAX,
        ),
        (
            "questions_max",
            config.questions_max as u64,
            CLERKS_MAX as u64,
        ),
        ("entries_max", cache.entries_max as u64, 100_000_000),
        ("cache_ttl", cache.cache_ttl, u64::from(u32::MAX)),
    ];
    for (key, value, max) in limits {
        if !(1..=max).contains(&value) {
            return Err(HttpError::Limit(key, max));
        }
    }
    Clerk::new(config).map(|_| ())
}

impl Http {
    /// Starts those who ask: `questions_max` threads, until the last user is gone who was let in.
    ///
    /// # Errors
    /// What of the configuration cannot be used.
    pub fn start(
        config: HttpConfig,
        cache: CacheConfig,
        clock: &Arc<dyn Clock>,
        aside: Aside,
    ) -> Result<Self, HttpError> {
        check(&config, &cache)?;
        let clerk = Arc::new(Clerk::new(&config)?);
        let desk = Arc::new(Desk::new(cache));
        let shared = Arc::new(Shared {
            desk: desk.clone(),
            clock: clock.clone(),
            waiting: Waiting::new(aside),
            config,
        });
        for _ in 0..shared.config.questions_max {
            let (clerk, desk, clock) = (clerk.clone(), desk.clone(), clock.clone());
            thread::Builder::new()
                .name("ternmq-asks".to_owned())
                .spawn(move || clerk.work(&desk, &*clock))
                .map_err(HttpError::Thread)?;
        }
        Ok(Self { shared })
    }
}

impl Backend for Http {
    fn login(&self, attempt: &Attempt<'_>, now: Timestamp) -> Result<User, LoginRefusal> {
        let mut question = Question::at(&self.shared.config.user_path).of_login();
        question = question.with("username", attempt.user.as_bytes());
        if let Some(password) = attempt.password {
            question = question.with("password", password);
        }
        if let Some(vhost) = attempt.vhost {
            question = question.with("vhost", vhost.as_bytes());
        }
        if let Some(client_id) = attempt.client_id {
            question = question.with("client_id", client_id.as_bytes());
        }
        let verdict = match attempt.waker {
            Some(waker) => self.shared.desk.ask(question, now, waker),
            None => Some(self.shared.wait_for(&question)),
        };
        match verdict {
            None => Err(LoginRefusal::Undecided),
            Some(Verdict::Deny) => Err(LoginRefusal::BadCredentials),
            Some(Verdict::Allow(tags)) => {
                let guest = Guest {
                    shared: self.shared.clone(),
                    ip: attempt.peer.to_string(),
                    tags: tags.join(" "),
                    vhosts: Mutex::default(),
                };
                Ok(User::new(attempt.user, &tags, Arc::new(guest)))
            }
        }
    }
}

impl Shared {
    /// The answer; a no if it does not come in time, or too many wait already.
    fn wait_for(&self, question: &Question) -> Verdict {
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        if let Some(known) = self.desk.ask(question.clone(), self.clock.now(), &waker) {
            return known;
        }
        // Before a question is put, others may be put that nobody answers.
        let limit = Duration::from_millis(self.config.request_timeout.saturating_mul(2));
        if !self.waiting.wait(&bell, limit) {
            tracing::warn!("too many wait to hear what users may do, one is told no");
            return Verdict::Deny;
        }
        let answer = self
            .desk
            .ask(question.clone(), self.clock.now(), Waker::noop());
        answer.unwrap_or(Verdict::Deny)
    }

    fn is_allowed(&self, question: &Question) -> bool {
        self.wait_for(question) != Verdict::Deny
    }
}

/// Somebody whom the server let in.
#[derive(Debug)]
struct Guest {
    shared: Arc<Shared>,
    ip: String,
    tags: String,
    /// Vhosts that this login may use: asked once, so that nobody loses them while the server does not answer.
    vhosts: Mutex<HashSet<Box<str>>>,
}

impl Guest {
    fn about_vhost(&self, scene: &Scene<'_>) -> Question {
        Question::at(&self.shared.config.vhost_path)
            .with("username", scene.user.as_bytes())
            .with("vhost", scene.vhost.as_bytes())
            .with("ip", self.ip.as_bytes())
            .with("tags", self.tags.as_bytes())
    }

    fn is_known(&self, vhost: &str) -> bool {
        self.vhosts.lock().contains(vhost)
    }
}

impl Authority for Guest {
    fn rights(&self, scene: &Scene<'_>) -> Option<Arc<dyn Rights>> {
        if !self.is_known(scene.vhost) {
            if !self.shared.is_allowed(&self.about_vhost(scene)) {
                return None;
            }
            self.vhosts.lock().insert(scene.vhost.into());
        }
        Some(Arc::new(Asked {
            shared: self.shared.clone(),
            user: scene.user.into(),
            vhost: scene.vhost.into(),
            client_id: scene.client_id.map(Into::into),
            tags: self.tags.as_str().into(),
        }))
    }

    fn is_ready(&self, scene: &Scene<'_>, waker: &Waker) -> bool {
        let desk = &self.shared.desk;
        let asks = || desk.ask(self.about_vhost(scene), self.shared.clock.now(), waker);
        self.is_known(scene.vhost) || asks().is_some()
    }

    /// A password that let a user in does not expire.
    fn renew(self: Arc<Self>, user: &User, _: &[u8], _: Timestamp) -> Result<User, LoginRefusal> {
        let tags: Vec<Box<str>> = self.tags.split_whitespace().map(Into::into).collect();
        Ok(User::new(user.name(), &tags, self))
    }
}

/// What the server says about a user in a vhost, asked each time.
struct Asked {
    shared: Arc<Shared>,
    user: Box<str>,
    vhost: Box<str>,
    client_id: Option<Box<str>>,
    tags: Box<str>,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("user", &self.user)
            .field("vhost", &self.vhost)
            .finish_non_exhaustive()
    }
}

impl Asked {
    fn about(&self, address: &str, resource: &str, right: Right, name: &str) -> Question {
        let permission = match right {
            Right::Configure => "configure",
            Right::Write => "write",
            Right::Read => "read",
        };
        Question::at(address)
            .with("username", self.user.as_bytes())
            .with("vhost", self.vhost.as_bytes())
            .with("resource", resource.as_bytes())
            .with("name", name.as_bytes())
            .with("permission", permission.as_bytes())
            .with("tags", self.tags.as_bytes())
    }
}

impl Rights for Asked {
    fn may(&self, right: Right, kind: Kind, name: &str) -> bool {
        let resource = match kind {
            Kind::Queue => "queue",
            Kind::Exchange => "exchange",
        };
        let address = &self.shared.config.resource_path;
        let mut question = self.about(address, resource, right, name);
        if let Some(id) = &self.client_id {
            question = question.with("client_id", id.as_bytes());
        }
        self.shared.is_allowed(&question)
    }

    fn may_on_topic(&self, right: Right, exchange: &str, key: &str) -> bool {
        let address = &self.shared.config.topic_path;
        let mut question = self
            .about(address, "topic", right, exchange)
            .with("routing_key", key.as_bytes())
            .with("variable_map.username", self.user.as_bytes())
            .with("variable_map.vhost", self.vhost.as_bytes());
        if let Some(id) = &self.client_id {
            question = question.with("variable_map.client_id", id.as_bytes());
        }
        self.shared.is_allowed(&question)
    }
}
