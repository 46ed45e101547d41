//! Users whom somebody else knows, who takes time to say so, and says until when.

use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;
use ternmq_broker::inspect::Door;
use ternmq_broker::{
    Attempt, Authority, Backend, LoginRefusal, LoginStep, Place, Rights, Scene, User,
};
use ternmq_core::access::Right;
use ternmq_core::error::Kind;
use ternmq_core::id::Timestamp;
use ternmq_mqtt::MqttConfig;

use crate::certificate::certificate;
use crate::harness::{Hello, V5, V311, World};

/// Says nothing before it is told what.
#[derive(Clone, Debug, Default)]
struct Slow(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    login: Option<bool>,
    vhost: Option<bool>,
    until: Option<Timestamp>,
    wakers: Vec<Waker>,
    /// Vhost and client identifier that came with the last attempt.
    asked: Option<(String, String)>,
}

impl Slow {
    fn says(&self, learn: impl FnOnce(&mut State)) {
        let wakers = {
            let mut state = self.0.lock();
            learn(&mut state);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Backend for Slow {
    fn login(&self, attempt: &Attempt<'_>, _: Timestamp) -> Result<User, LoginRefusal> {
        let mut state = self.0.lock();
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        state.asked = Some((text(attempt.vhost), text(attempt.client_id)));
        match state.login {
            None => {
                state.wakers.extend(attempt.waker.cloned());
                Err(LoginRefusal::Undecided)
            }
            Some(false) => Err(LoginRefusal::BadCredentials),
            Some(true) => {
                let user = User::new(attempt.user, &[], Arc::new(self.clone()));
                Ok(match state.until {
                    Some(until) => user.until(until),
                    None => user,
                })
            }
        }
    }
}

impl Authority for Slow {
    fn rights(&self, _: &Scene<'_>) -> Option<Arc<dyn Rights>> {
        let allowed = self.0.lock().vhost == Some(true);
        allowed.then(|| Arc::new(Everything) as Arc<dyn Rights>)
    }

    fn is_ready(&self, _: &Scene<'_>, waker: &Waker) -> bool {
        let mut state = self.0.lock();
        if state.vhost.is_none() {
            state.wakers.push(waker.clone());
        }
        state.vhost.is_some()
    }

    fn renew(self: Arc<Self>, _: &User, _: &[u8], _: Timestamp) -> Result<User, LoginRefusal> {
        Err(LoginRefusal::BadCredentials)
    }
}

#[derive(Debug)]
struct Everything;

impl Rights for Everything {
    fn may(&self, _: Right, _: Kind, _: &str) -> bool {
        true
    }

    fn may_on_topic(&self, _: Right, _: &str, _: &str) -> bool {
        true
    }
}

fn world() -> (World, Slow) {
    world_with(MqttConfig::default())
}

fn world_with(config: MqttConfig) -> (World, Slow) {
    let world = World::with(config);
    let slow = Slow::default();
    world.broker.ask_for_users(vec![LoginStep {
        authn: Place::External(Arc::new(slow.clone())),
        authz: None,
    }]);
    (world, slow)
}

#[test]
fn connect_waits_for_who_knows_the_user_and_the_vhost() {
    for version in [V5, V311] {
        let (world, slow) = world();
        let mut device = world.dial();
        let hello = Hello::new("lamp").version(version).login("/:ann", b"x");
        assert!(device.greet(&hello).is_empty());
        assert!(!device.reads());
        let asked = slow.0.lock().asked.clone();
        assert_eq!(asked, Some(("/".to_owned(), "lamp".to_owned())));
        slow.says(|state| state.login = Some(true));
        assert!(device.recv().is_empty());
        assert!(!device.reads(), "for the vhost");
        slow.says(|state| state.vhost = Some(true));
        assert_eq!(device.recv(), ["CONNACK 00"]);
        assert!(device.reads());
        let logins = world.broker.inspect().logins(Door::Mqtt);
        assert_eq!((logins.succeeded, logins.failed), (1, 0));
    }
}

#[test]
fn refusals_after_a_while_are_those_at_once() {
    let (world, slow) = world();
    let hello = Hello::new("a").login("ann", b"x");
    let mut device = world.dial();
    device.greet(&hello);
    slow.says(|state| state.login = Some(false));
    assert_eq!(device.recv(), ["CONNACK 86"]);
    slow.says(|state| state.login = Some(true));
    let mut device = world.dial();
    device.greet(&hello);
    slow.says(|state| state.vhost = Some(false));
    assert_eq!(device.recv(), ["CONNACK 87"]);
}

#[test]
fn connection_is_closed_when_its_login_ends() {
    for (version, expected) in [(V5, &["DISCONNECT A0"][..]), (V311, &[])] {
        let (world, slow) = world();
        let until = world.broker.now().plus_ms(5_000);
        slow.says(|state| {
            state.login = Some(true);
            state.vhost = Some(true);
            state.until = Some(until);
        });
        let hello = Hello::new("a").version(version).login("ann", b"x");
        let mut device = world.connect(&hello);
        world.broker.tick(until);
        assert_eq!(device.recv(), expected);
        assert!(device.is_closed());
    }
}

#[test]
fn holder_of_a_certificate_is_asked_for_like_others() {
    let (world, slow) = world_with(MqttConfig {
        ssl_cert_login: true,
        ..MqttConfig::default()
    });
    let mut device = world.dial_with(certificate("lamp"));
    assert!(device.greet(&Hello::new("a")).is_empty());
    assert!(!device.reads(), "nobody waits for it in a thread");
    let asked = slow.0.lock().asked.clone();
    assert_eq!(asked, Some(("/".to_owned(), "a".to_owned())));
    slow.says(|state| {
        state.login = Some(true);
        state.vhost = Some(true);
    });
    assert_eq!(device.recv(), ["CONNACK 00"]);
}
