//! Users whom somebody else knows, who takes time to say so, and says until when.

use std::sync::Arc;
use std::task::Waker;

use amq_protocol::protocol::{AMQPClass, connection};
use parking_lot::Mutex;
use ternmq_broker::inspect::Door;
use ternmq_broker::{
    Attempt, Authority, Backend, LoginRefusal, LoginStep, Place, Rights, Scene, User,
};
use ternmq_core::access::Right;
use ternmq_core::error::Kind;
use ternmq_core::id::Timestamp;

use crate::handshake::dial_with_certificate;
use crate::harness::*;

/// Says nothing before it is told what.
#[derive(Clone, Debug, Default)]
struct Slow(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    login: Option<bool>,
    vhost: Option<bool>,
    until: Option<Timestamp>,
    wakers: Vec<Waker>,
}

impl Slow {
    /// It knows more now, and tells those who wait.
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

    fn renew(
        self: Arc<Self>,
        user: &User,
        secret: &[u8],
        now: Timestamp,
    ) -> Result<User, LoginRefusal> {
        let known = secret == b"new";
        let renewed = known.then(|| user.clone().until(now.plus_ms(60_000)));
        renewed.ok_or(LoginRefusal::BadCredentials)
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

fn node() -> (Node, Slow) {
    let node = Node::new();
    let slow = Slow::default();
    node.broker.ask_for_users(vec![LoginStep {
        authn: Place::External(Arc::new(slow.clone())),
        authz: None,
    }]);
    (node, slow)
}

/// What the driver does when a notice came: what was left unread is handed in again.
fn go_on(peer: &mut Peer) {
    peer.pump();
    peer.send_bytes(&[]);
}

fn log_in(peer: &mut Peer) {
    peer.send_bytes(HEADER);
    peer.expect(0);
    peer.send(0, start_ok(&client_properties(), "PLAIN", b"\0ann\0x"));
}

fn is_open(answer: &AMQPClass) -> bool {
    matches!(
        answer,
        AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))
    )
}

#[test]
fn login_and_vhost_wait_for_who_knows() {
    let (node, slow) = node();
    let mut peer = node.dial();
    log_in(&mut peer);
    assert!(!peer.reads() && !peer.has_frame());
    go_on(&mut peer);
    assert!(!peer.reads(), "nothing was said yet");
    slow.says(|state| state.login = Some(true));
    go_on(&mut peer);
    peer.expect(0);
    peer.send(0, tune_ok(2047, 131_072, 60));
    peer.send(0, open(VHOST));
    assert!(!peer.reads() && !peer.has_frame());
    slow.says(|state| state.vhost = Some(true));
    go_on(&mut peer);
    assert!(is_open(&peer.expect(0)));
    peer.open_channel(1);
    peer.declare("q");
    assert_eq!(logins(&node), (1, 0), "waiting is no attempt");
}

#[test]
fn holder_of_a_certificate_is_asked_for_like_others() {
    let (node, slow) = node();
    let mut peer = dial_with_certificate(&node, "CN=ann", "ann");
    peer.send_bytes(HEADER);
    peer.expect(0);
    peer.send(0, start_ok(&client_properties(), "EXTERNAL", b""));
    assert!(!peer.reads() && !peer.has_frame(), "and no thread waits");
    slow.says(|state| state.login = Some(true));
    go_on(&mut peer);
    peer.expect(0);
    assert_eq!(logins(&node), (1, 0));
}

/// Those that were let in, and those that were not.
fn logins(node: &Node) -> (u64, u64) {
    let logins = node.broker.inspect().logins(Door::Amqp091);
    (logins.succeeded, logins.failed)
}

#[test]
fn refusals_after_a_while_are_those_at_once() {
    let (node, slow) = node();
    let mut peer = node.dial();
    log_in(&mut peer);
    slow.says(|state| state.login = Some(false));
    go_on(&mut peer);
    assert_eq!(peer.expect_close().0, 403);

    slow.says(|state| state.login = Some(true));
    let mut peer = node.dial();
    log_in(&mut peer);
    peer.expect(0);
    peer.send(0, tune_ok(2047, 131_072, 60));
    peer.send(0, open(VHOST));
    slow.says(|state| state.vhost = Some(false));
    go_on(&mut peer);
    assert_eq!(peer.expect_close().0, 530);
    assert_eq!(logins(&node), (1, 1));
}

#[test]
fn who_waits_too_long_has_taken_too_long() {
    let (node, _slow) = node();
    let mut peer = node.dial();
    log_in(&mut peer);
    peer.wait_ms(60_000);
    assert!(peer.is_gone());
}

#[test]
fn connection_is_closed_when_its_login_ends_unless_that_is_renewed() {
    let (node, slow) = node();
    let until = node.broker.now().plus_ms(5_000);
    slow.says(|state| {
        state.login = Some(true);
        state.vhost = Some(true);
        state.until = Some(until);
    });
    let open_one = || {
        let mut peer = node.dial();
        log_in(&mut peer);
        peer.expect(0);
        peer.send(0, tune_ok(2047, 131_072, 60));
        assert!(is_open(&peer.call(0, open(VHOST))));
        peer
    };
    let (mut ended, mut renewed) = (open_one(), open_one());
    let update = |secret: &str| {
        AMQPClass::Connection(connection::AMQPMethod::UpdateSecret(
            connection::UpdateSecret {
                new_secret: secret.into(),
                reason: short("soon"),
            },
        ))
    };
    let answer = renewed.call(0, update("new"));
    assert!(matches!(
        answer,
        AMQPClass::Connection(connection::AMQPMethod::UpdateSecretOk(_))
    ));
    node.broker.tick(until);
    ended.pump();
    let closed = ended.expect_close();
    assert_eq!(closed.0, 320);
    assert!(closed.1.contains("credential expired"), "{}", closed.1);
    renewed.pump();
    renewed.open_channel(1);
    renewed.send(0, update("old"));
    assert_eq!(renewed.expect_close().0, 530);
}
