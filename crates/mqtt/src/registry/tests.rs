//! When sessions of clients that went are looked at.

use ternmq_broker::clock::ManualClock;
use ternmq_broker::{Broker, BrokerConfig, MemoryLog};

use super::*;
use crate::config::MqttConfig;
use crate::listener::Node;
use crate::session::attach::{Arrival, Fate, WillFate};
use crate::session::{Identity, PeerLimits};

struct Bed {
    node: Arc<Node>,
    sessions: Arc<VhostSessions>,
}

impl Bed {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp(0)));
        let broker = Broker::new(&BrokerConfig::default(), clock, Arc::new(MemoryLog::new()));
        let node = Arc::new(Node {
            config: MqttConfig::default(),
            broker,
            registry: Registry::default(),
            secret: String::new(),
            sys: crate::sys::Sys::new(0, Timestamp(0)),
            client_properties: Arc::default(),
        });
        let sessions = node.registry.vhost("/");
        Self { node, sessions }
    }

    fn client(&self) -> (Client, Arc<Mailbox>) {
        let mailbox = Mailbox::new(4);
        let user = self.node.broker.default_user();
        let client = self.node.broker.connect(&user, "/", Arc::clone(&mailbox));
        (client.unwrap(), mailbox)
    }

    fn cell(&self) -> Arc<SessionCell> {
        self.sessions.cell("s", || {
            Session::new(Identity {
                node: Arc::clone(&self.node),
                sessions: Arc::clone(&self.sessions),
                client_id: "s".into(),
                publisher: self.node.registry.next_publisher(),
            })
        })
    }

    /// A client comes at `now_s` and goes at once. Returns whether its session was there.
    fn come_and_go(&self, now_s: u64, expiry_s: u32) -> bool {
        let now = Timestamp(now_s * 1000);
        let (mut client, mailbox) = self.client();
        self.sessions.sweep(&mut client, now);
        let cell = self.cell();
        let mut session = cell.lock();
        let arrival = Arrival {
            client,
            mailbox,
            limits: PeerLimits {
                version: crate::frame::ProtocolVersion::V5,
                quota: 1,
                packet_bytes_max: 1000,
                topic_alias_max: 0,
            },
            will: None,
            clean_start: false,
            expiry_s,
        };
        let attached = session.attach(arrival, self.node.registry.next_epoch(), now);
        let present = attached.unwrap().is_present;
        match session.detach(WillFate::Dropped, now) {
            Fate::Kept(until) => self.sessions.expire_at(until, &mut session, &cell),
            Fate::Ended => {
                session.mark_removed();
                self.sessions.remove(&session);
            }
        }
        present
    }

    fn sweep(&self, now_s: u64) {
        let (mut client, _) = self.client();
        self.sessions.sweep(&mut client, Timestamp(now_s * 1000));
    }

    fn counts(&self) -> (usize, usize) {
        let entries = self.sessions.expiries.lock().len();
        (self.sessions.cells.len(), entries)
    }
}

#[test]
fn client_that_comes_and_goes_often_has_one_entry_and_its_session_ends_in_time() {
    let bed = Bed::new();
    for now_s in 0..500 {
        assert_eq!(bed.come_and_go(now_s, 1000), now_s > 0);
        assert_eq!(bed.counts(), (1, 1));
    }
    bed.sweep(1000);
    assert_eq!(bed.counts(), (1, 1), "it is kept until 1499");
    bed.sweep(1498);
    assert_eq!(bed.counts(), (1, 1));
    bed.sweep(1499);
    assert_eq!(bed.counts(), (0, 0));
}

#[test]
fn shorter_expiry_counts_and_leaves_nothing_behind() {
    let bed = Bed::new();
    bed.come_and_go(0, 1000);
    bed.come_and_go(1, 10);
    bed.sweep(11);
    assert_eq!(bed.counts(), (0, 1), "the entry of a session that is gone");
    assert!(!bed.come_and_go(12, 2000));
    bed.sweep(1001);
    assert_eq!(bed.counts(), (1, 1));
    assert!(bed.come_and_go(1002, 0), "until now it was kept");
    bed.sweep(5000);
    assert_eq!(bed.counts(), (0, 0));
}
