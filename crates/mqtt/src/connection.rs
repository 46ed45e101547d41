//! One network connection: greeting, liveness, packets in, deliveries out, the end.
//!
//! ```text
//!           CONNECT accepted                fault, DISCONNECT, take-over, shutdown
//! Greeting ──────────────────► Online ─────────────────────────────────────────────► Closing
//!   │  ▲ └── refused, malformed, too late ──────────────────────────────────────────────┘
//!   ▼  └── the session is free, or 1 s is over
//! Waiting for the session's former connection
//! ```
//!
//! A client that disconnects and at once connects again has said all it had to say on its former connection before;
//! but that is another task's to read. So a CONNECT for a session that is somebody's tells that one to go, and waits:
//! the former connection reads what has arrived, a DISCONNECT or the last publishes, then goes, and wakes us. That
//! something arrived, its task may hear a moment after it hears that it has to go; so it goes by a timer.
//!
//! In `Closing` the last packet is written at most, and nothing more is read (MQTT-3.14.4-1, -2). What the connection
//! holds is released by [`Machine::handle_disconnect`], or, should the machine panic, by `Drop`.

mod assembly;
mod greeting;
pub(crate) mod introduction;
mod login;
mod packets;

use std::sync::Arc;

use ternmq_broker::Client;
use ternmq_broker::inspect::ConnectionStats;
use ternmq_broker::mailbox::{CloseReason, Mailbox, Notice};
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_net::machine::{Flow, Machine, Output, Peer};

use crate::auth::Authenticator;
use crate::codec::{self, Limits, Sender};
use crate::error::Fault;
use crate::frame::{Disconnect, Packet, ProtocolVersion};
use crate::listener::Node;
use crate::properties::Properties;
use crate::registry::{Hold, VhostSessions};
use crate::session::attach::WillFate;
use assembly::Assembly;
use login::Login;
use packets::Parts;

/// See the module's documentation.
pub(crate) struct Connection {
    node: Arc<Node>,
    peer: Peer,
    mailbox: Arc<Mailbox>,
    phase: Phase,
    /// From CONNACK to the release, so also while closing.
    online: Option<Box<Online>>,
    /// From a CONNECT with an authentication method to the end of its exchange.
    login: Option<Box<Login>>,
    /// From a CONNECT that has to wait to the one that is let in.
    pending: Option<Box<Pending>>,
    /// Reused by drains of the mailbox.
    notices: Vec<Notice>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nothing but a CONNECT is accepted, until then.
    Greeting {
        until: Timestamp,
    },
    /// For the session of a CONNECT that stays unread meanwhile. Longer than that nobody is waited for.
    Waiting {
        until: Timestamp,
    },
    Online,
    Closing,
}

/// What a connection has that waits for its session.
struct Pending {
    client: Client,
    sessions: Arc<VhostSessions>,
    /// See [`Online::is_blocked`].
    is_blocked: bool,
    /// It waited long enough: the session is taken from whoever has it.
    insists: bool,
}

/// What a connection has once it is let in.
struct Online {
    hold: Hold,
    sessions: Arc<VhostSessions>,
    client_id: Box<str>,
    version: ProtocolVersion,
    /// Milliseconds without a packet after which the client counts as gone; 0 is never.
    silence_ms_max: u64,
    last_packet_at: Timestamp,
    /// A large PUBLISH whose payload is on its way.
    assembly: Option<Box<Assembly>>,
    /// For who was authenticated by an exchange (§4.12).
    authenticator: Option<Box<Authenticator>>,
    /// There is something to deliver for which no notice will come.
    has_work: bool,
    /// Memory pressure: publishers are not read from.
    is_blocked: bool,
    /// The last read asked for much: others have their turn before the rest of it is handled.
    is_resting: bool,
    has_published: bool,
    /// The CONNACK, until what it promises is safe. Before that nothing else is read or sent.
    connack: Option<Box<HeldConnack>>,
    /// So many answers wait for the journal that nothing more is read.
    owes_much: bool,
    /// Another connection wants the session: when to go, at the latest.
    leaves_at: Option<Timestamp>,
    will: WillFate,
    /// As others see the connection.
    stats: Arc<ConnectionStats>,
}

/// A CONNACK that waits.
struct HeldConnack {
    /// For this record.
    lsn: Lsn,
    packet: Vec<u8>,
}

/// Milliseconds that a connection goes on reading when its session is wanted by another. What had arrived before is
/// known to the socket loop before a timer of the same or a later moment fires.
const LEAVE_MS: u64 = 5;

impl Connection {
    pub(crate) fn new(node: Arc<Node>, peer: Peer, mailbox: Arc<Mailbox>, now: Timestamp) -> Self {
        let until = now.plus_ms(node.config.connect_timeout_ms);
        let phase = Phase::Greeting { until };
        Self {
            node,
            peer,
            mailbox,
            phase,
            online: None,
            login: None,
            pending: None,
            notices: Vec::new(),
        }
    }

    /// Handles whole packets. Returns how many bytes they took.
    fn handle_packets(&mut self, input: &[u8], now: Timestamp, out: &mut Output) -> usize {
        let Some(online) = self.online.as_deref_mut() else {
            return input.len();
        };
        let Online {
            hold,
            version,
            assembly,
            authenticator,
            has_work,
            is_resting,
            has_published,
            owes_much,
            last_packet_at,
            stats,
            ..
        } = online;
        let limits = Limits {
            packet_max: self.node.config.packet_bytes_max,
            sender: Sender::Client,
        };
        let mut session = hold.lock();
        let Some(mut active) = hold.active(&mut session) else {
            drop(session);
            self.fail(&Fault::SessionTakenOver, out);
            return input.len();
        };
        active.live.work = 0;
        let before = out.len();
        let mut parts = Parts {
            assembly,
            authenticator,
            peer: &self.peer,
        };
        let (used, ended) =
            packets::steps(&mut active, &mut parts, input, (*version, limits), now, out);
        *is_resting = active.live.is_heavy();
        active.flush(now, out.buf());
        *has_work = active.has_work();
        *has_published = active.live.has_published;
        *owes_much = active.live.owes_much();
        active.live.client.rest();
        self.node
            .sys
            .count(&mut active.live.counted, used, out.len() - before);
        stats.subscriptions.set(active.subscriptions());
        drop(session);
        if used > 0 {
            *last_packet_at = now;
        }
        online.show_state();
        match ended {
            None => return used,
            Some(Ok(will)) => {
                online.will = will;
                self.phase = Phase::Closing;
            }
            Some(Err(fault)) => self.fail(&fault, out),
        }
        input.len()
    }

    /// Ends the connection from our side: the last packet, then nothing.
    fn fail(&mut self, fault: &Fault, out: &mut Output) {
        let Some(online) = self.online.as_deref() else {
            self.phase = Phase::Closing;
            return;
        };
        let (peer, client_id) = (self.peer.addr, &*online.client_id);
        if fault.is_violation() {
            tracing::info!(%peer, client_id, error = %fault, "MQTT connection ended");
        } else {
            tracing::debug!(%peer, client_id, error = %fault, "MQTT connection ended");
        }
        // Before its CONNACK a client is sent nothing.
        if online.version.is_v5() && online.connack.is_none() {
            let packet = Packet::Disconnect(Disconnect {
                reason: fault.reason_code(),
                properties: Properties::EMPTY,
            });
            let encoded = codec::encode(&packet, online.version, out.buf());
            debug_assert!(encoded.is_ok(), "a reason code alone always fits");
        }
        self.phase = Phase::Closing;
    }

    /// Acts on what the broker told. Returns why the connection ends, if it does.
    fn take_notices(&mut self, now: Timestamp, out: &mut Output) -> Option<Fault> {
        let online = self.online.as_deref_mut()?;
        let mut session = online.hold.lock();
        let Some(mut active) = online.hold.active(&mut session) else {
            // Another connection has the session, or an operator ended it.
            let ended = |notice| match notice {
                Notice::Close(reason @ CloseReason::Administrative(_)) => Some(close_fault(reason)),
                _ => None,
            };
            let ended = self.notices.drain(..).find_map(ended);
            return Some(ended.unwrap_or(Fault::SessionTakenOver));
        };
        let mut fault = None;
        let before = out.len();
        if let Some(held) = online.connack.take_if(|held| active.is_committed(held.lsn)) {
            out.buf().extend_from_slice(&held.packet);
        }
        for notice in self.notices.drain(..) {
            match notice {
                Notice::Ready(token) => active.on_ready(token.0),
                Notice::Cancelled(token) => {
                    if active.on_cancelled(token.0) {
                        fault = Some(Fault::QueueDeleted);
                    }
                }
                Notice::Committed => active.acknowledge(out.buf()),
                // Publishes are answered one by one; sessions hold their messages as long as they like.
                Notice::Disk(_) | Notice::TimedOut(_) => {}
                Notice::Blocked => online.is_blocked = true,
                Notice::Unblocked => {
                    online.is_blocked = false;
                    // It was not listened to.
                    online.last_packet_at = now;
                }
                Notice::Close(CloseReason::Replaced) => {
                    online.leaves_at.get_or_insert(now.plus_ms(LEAVE_MS));
                }
                Notice::Close(reason) => fault = Some(close_fault(reason)),
            }
        }
        online.owes_much = active.live.owes_much();
        online.stats.subscriptions.set(active.subscriptions());
        if fault.is_some() || online.connack.is_some() {
            online.has_work = false;
            return fault;
        }
        match active.deliver(now, out) {
            Ok(has_work) => online.has_work = has_work,
            Err(refused) => fault = Some(refused),
        }
        active.live.client.rest();
        self.node
            .sys
            .count(&mut active.live.counted, 0, out.len() - before);
        fault
    }

    /// Not let in yet: most that concerns it is an end. Whatever comes while it waits makes it look again.
    fn take_early_notices(&mut self, now: Timestamp) {
        for notice in self.notices.drain(..) {
            match (notice, &mut self.pending) {
                (Notice::Close(_), _) => self.phase = Phase::Closing,
                (Notice::Blocked, Some(pending)) => pending.is_blocked = true,
                (Notice::Unblocked, Some(pending)) => pending.is_blocked = false,
                _ => {}
            }
        }
        if let Phase::Waiting { .. } = self.phase {
            self.read_again(now);
        }
    }

    /// The CONNECT that waited is read again.
    fn read_again(&mut self, now: Timestamp) {
        let until = now.plus_ms(self.node.config.connect_timeout_ms);
        self.phase = Phase::Greeting { until };
    }

    fn release(&mut self, now: Timestamp) {
        self.pending = None;
        let Some(online) = self.online.take() else {
            return;
        };
        let Online {
            hold,
            sessions,
            will,
            client_id,
            ..
        } = *online;
        let mut session = hold.lock();
        if !hold.owns(&session) {
            return;
        }
        if let Some(active) = hold.active(&mut session) {
            let client = &active.live.client;
            let (user, vhost) = (client.user().name(), client.vhost());
            tracing::info!(peer = %self.peer.addr, client_id = &*client_id, user, vhost, "MQTT connection closed");
        }
        let fate = session.detach(will, now);
        sessions.let_go(fate, &mut session, hold.cell());
    }

    fn is_waiting_for_connack(&self) -> bool {
        let online = self.online.as_deref();
        online.is_some_and(|online| online.connack.is_some())
    }

    fn reads(&self) -> bool {
        self.online.as_deref().is_none_or(|online| {
            let is_paused = online.is_blocked && online.has_published;
            !(is_paused || online.owes_much || online.connack.is_some())
        })
    }
}

fn close_fault(reason: CloseReason) -> Fault {
    match reason {
        CloseReason::Replaced => Fault::SessionTakenOver,
        CloseReason::Shutdown => Fault::ShuttingDown,
        CloseReason::CredentialExpired => Fault::CredentialExpired,
        CloseReason::Administrative(reason) => Fault::Administrative(reason),
    }
}

impl Machine for Connection {
    fn handle_input(&mut self, input: &[u8], now: Timestamp, out: &mut Output) -> usize {
        let mut used = 0;
        if let Phase::Greeting { .. } = self.phase {
            used = if self.login.is_some() {
                self.go_on(input, now, out)
            } else {
                self.greet(input, now, out)
            };
            if used > 0 {
                self.node.sys.greeted(used);
            }
        }
        match self.phase {
            Phase::Greeting { .. } | Phase::Waiting { .. } => used,
            Phase::Online if used == input.len() || self.is_waiting_for_connack() => used,
            Phase::Online => used + self.handle_packets(&input[used..], now, out),
            Phase::Closing => input.len(),
        }
    }

    fn handle_notices(&mut self, now: Timestamp, out: &mut Output) -> bool {
        if self.phase == Phase::Closing {
            return false;
        }
        if let Some(online) = &mut self.online {
            online.is_resting = false;
        }
        let has_work = self.online.as_deref().is_some_and(|online| online.has_work);
        if !has_work && !self.mailbox.has_notices() {
            return false;
        }
        self.mailbox.drain(&mut self.notices);
        if self.online.is_none() {
            self.take_early_notices(now);
            return false;
        }
        let fault = self.take_notices(now, out);
        self.notices.clear();
        if let Some(fault) = fault {
            self.fail(&fault, out);
            return false;
        }
        self.online.as_deref().is_some_and(|online| online.has_work)
    }

    fn handle_deadline(&mut self, now: Timestamp, out: &mut Output) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.phase {
            Phase::Greeting { .. } => {
                tracing::debug!(peer = %self.peer.addr, "no CONNECT in time");
                self.phase = Phase::Closing;
            }
            Phase::Waiting { .. } => {
                if let Some(pending) = &mut self.pending {
                    pending.insists = true;
                }
                self.read_again(now);
            }
            Phase::Online | Phase::Closing => {
                let is_wanted = |online: &Online| online.leaves_at.is_some_and(|at| at <= now);
                let fault = if self.online.as_deref().is_some_and(is_wanted) {
                    Fault::SessionTakenOver
                } else {
                    Fault::KeepAliveTimeout
                };
                self.fail(&fault, out);
            }
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Greeting { until } | Phase::Waiting { until } => Some(until),
            Phase::Closing => None,
            Phase::Online => {
                let online = self.online.as_deref()?;
                let is_watched = online.silence_ms_max > 0 && self.reads();
                let silent_at =
                    is_watched.then(|| online.last_packet_at.plus_ms(online.silence_ms_max));
                silent_at.into_iter().chain(online.leaves_at).min()
            }
        }
    }

    fn handle_shutdown(&mut self, _now: Timestamp, out: &mut Output) {
        if self.phase != Phase::Closing {
            self.fail(&Fault::ShuttingDown, out);
        }
    }

    fn handle_disconnect(&mut self, now: Timestamp) {
        self.release(now);
    }

    fn flow(&self) -> Flow {
        match self.phase {
            Phase::Closing => Flow::Close,
            Phase::Waiting { .. } => Flow::Open { read: false },
            Phase::Greeting { .. } | Phase::Online => {
                let is_resting = |online: &Online| online.is_resting;
                let rests = self.online.as_deref().is_some_and(is_resting);
                Flow::Open {
                    read: self.reads() && !rests,
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.online.is_some() {
            let now = self.node.broker.now();
            self.release(now);
        }
    }
}
