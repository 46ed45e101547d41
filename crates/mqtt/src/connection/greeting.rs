//! CONNECT to CONNACK (§3.1, §3.2): who it is, what it may, which session it gets.

use std::num::NonZeroU16;
use std::sync::Arc;

use ternmq_broker::inspect::{ConnectionStats, Door};
use ternmq_broker::{Client, User};
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_net::machine::Output;

use super::{Connection, HeldConnack, Online, Pending, Phase};
use crate::account::Account;
use crate::auth::{self, Authenticator};
use crate::codec::{self, DecodeError, Decoded, Limits, Sender, Violation};
use crate::config::MqttConfig;
use crate::error::ConnectFault;
use crate::frame::{ConnAck, Connect, Packet, PacketType, ProtocolVersion};
use crate::properties::{Properties, Property, PropertyBuf};
use crate::reason_code::ReasonCode;
use crate::registry::{Hold, VhostSessions};
use crate::session::attach::{Arrival, Attached, WillFate};
use crate::session::will::Will;
use crate::session::{Identity, PeerLimits, Session};

/// What the client asks for, by the properties of MQTT 5 or what stands for them in MQTT 3.
struct Wishes {
    expiry_s: u32,
    receive_max: u16,
    packet_bytes_max: u32,
    topic_alias_max: u16,
}

impl Wishes {
    fn of(connect: &Connect<'_>) -> Self {
        let v5 = connect.version.is_v5();
        let mut wishes = Self {
            // A session of MQTT 3 that is not clean has no end of its own (§3.1.2.4 there).
            expiry_s: if v5 || connect.clean_start {
                0
            } else {
                u32::MAX
            },
            receive_max: u16::MAX,
            packet_bytes_max: u32::MAX,
            topic_alias_max: 0,
        };
        for property in connect.properties {
            match property {
                Property::SessionExpiryInterval(seconds) => wishes.expiry_s = seconds,
                Property::ReceiveMaximum(max) => wishes.receive_max = max.get(),
                Property::MaximumPacketSize(max) => wishes.packet_bytes_max = max,
                Property::TopicAliasMaximum(max) => wishes.topic_alias_max = max,
                _ => {}
            }
        }
        wishes
    }

    fn limits(&self, version: ProtocolVersion, config: &MqttConfig) -> PeerLimits {
        PeerLimits {
            version,
            quota: self.receive_max.min(config.in_flight_max).into(),
            packet_bytes_max: self.packet_bytes_max,
            topic_alias_max: self.topic_alias_max.min(config.topic_alias_max),
        }
    }
}

/// What the server grants, as far as it differs from what was asked for.
struct Grants {
    expiry_s: Option<u32>,
    keep_alive_s: Option<u16>,
    assigned_client_id: Option<Box<str>>,
    /// The last word of the exchange by which the client was authenticated.
    proof: Option<Box<str>>,
}

/// Who a client is.
pub(super) struct Identified {
    pub(super) user: Arc<User>,
    pub(super) account: Account,
    /// For the client, if there was an exchange: that we know it, too.
    pub(super) proof: Option<Box<str>>,
}

/// What became of a CONNECT.
pub(super) enum Answer {
    /// It was answered.
    Given,
    /// Its session is another connection's, which is on its way out.
    Waits,
}

/// Milliseconds that the former connection of a session has to read what arrived for it, and to go. It is one turn of
/// a task that was woken: more than this is a broker that can't keep up.
const FORMER_CONNECTION_MS: u64 = 1_000;

impl Connection {
    /// Waits for a CONNECT and answers it. Returns how many bytes it took.
    pub(super) fn greet(&mut self, input: &[u8], now: Timestamp, out: &mut Output) -> usize {
        let packet_max = self.node.config.packet_bytes_max_before_login;
        let limits = Limits {
            packet_max,
            sender: Sender::Client,
        };
        match codec::decode(input, None, limits) {
            Ok(Decoded::Incomplete) => 0,
            Ok(Decoded::Packet {
                packet: Packet::Connect(connect),
                len,
            }) => {
                match self.on_greeting((&connect, &input[..len]), now, out) {
                    Ok(Answer::Given) => {}
                    Ok(Answer::Waits) => return 0,
                    Err(fault) if fault.is_undecided() => {
                        self.wait_for_answer(now);
                        return 0;
                    }
                    Err(fault) => {
                        self.count_refused(&fault);
                        let user = self.claimed_user(&connect);
                        tracing::info!(peer = %self.peer.addr, user = &*user, error = %fault, "MQTT login refused");
                        let reason = fault.reason_code(connect.version);
                        self.refuse(connect.version, reason, out);
                    }
                }
                len
            }
            Ok(_) => {
                debug_assert!(false, "without a version, the codec accepts CONNECT only");
                self.phase = Phase::Closing;
                input.len()
            }
            // Whoever can be told has said which version it speaks by then.
            Err(error) if is_untold(&error, input) => 0,
            Err(mut error) => {
                if let Violation::PacketTooLarge { .. } = error.violation {
                    error.version = codec::version_at_start(input);
                }
                tracing::info!(peer = %self.peer.addr, %error, "MQTT CONNECT refused");
                self.refuse_malformed(error, out);
                input.len()
            }
        }
    }

    fn on_greeting(
        &mut self,
        (connect, bytes): (&Connect<'_>, &[u8]),
        now: Timestamp,
        out: &mut Output,
    ) -> Result<Answer, ConnectFault> {
        if auth::method_and_data(connect.properties).0.is_some() {
            self.begin_exchange((connect, bytes), out)?;
            return Ok(Answer::Given);
        }
        let (user, account) = self.identify(connect)?;
        let identified = Identified {
            user,
            account,
            proof: None,
        };
        self.on_connect(connect, identified, now, out)
    }

    /// Counts a login that failed, if it was that.
    pub(super) fn count_refused(&self, fault: &ConnectFault) {
        if fault.is_about_credentials() {
            self.node.broker.count_login(Door::Mqtt, false);
        }
    }

    /// One CONNACK with an error, and the end. MQTT 3 gets one only where it has a return code.
    pub(super) fn refuse(
        &mut self,
        version: ProtocolVersion,
        reason: ReasonCode,
        out: &mut Output,
    ) {
        let connack = ConnAck {
            session_present: false,
            reason,
            properties: Properties::EMPTY,
        };
        if codec::connack(out.buf(), version, &connack).is_err() {
            tracing::trace!(?reason, "no return code in MQTT 3");
        }
        self.phase = Phase::Closing;
    }

    pub(super) fn refuse_malformed(&mut self, error: DecodeError, out: &mut Output) {
        let reason = error.reason_code();
        match (error.violation, error.version) {
            // MQTT-3.1.2-2: a later version is told in the form of MQTT 5, an earlier one in its own.
            (Violation::ProtocolLevel(level), _) => {
                let version = if level > 4 {
                    ProtocolVersion::V5
                } else {
                    ProtocolVersion::V311
                };
                self.refuse(version, reason, out);
            }
            (_, Some(version)) if reason.allowed_in(PacketType::ConnAck, Sender::Server) => {
                self.refuse(version, reason, out);
            }
            _ => self.phase = Phase::Closing,
        }
    }

    /// A CONNECT of somebody who is known.
    pub(super) fn on_connect(
        &mut self,
        connect: &Connect<'_>,
        identified: Identified,
        now: Timestamp,
        out: &mut Output,
    ) -> Result<Answer, ConnectFault> {
        let node = Arc::clone(&self.node);
        let config = &node.config;
        let wishes = Wishes::of(connect);
        let Identified {
            user,
            account,
            proof,
        } = identified;
        let certified = self.certified_client_id(connect.client_id)?;
        let assigned: Option<Box<str>> = connect
            .client_id
            .is_empty()
            .then(|| certified.unwrap_or_else(|| node.broker.random_name().into()));
        let client_id = assigned.as_deref().unwrap_or(connect.client_id);
        let mut pending = self.admit(&user, &account)?;
        pending.claim(client_id, connect.clean_start, now)?;
        if !pending.insists && pending.sessions.is_taken(client_id, &self.mailbox) {
            return Ok(self.wait_with(pending, now));
        }
        node.broker.count_login(Door::Mqtt, true);
        pending.sessions.sweep(&mut pending.client, now);
        let Pending {
            mut client,
            sessions,
            is_blocked,
            insists: _,
        } = pending;
        let expiry_s = wishes.expiry_s.min(config.session_expiry_s_max);
        let keep_alive_s = granted_keep_alive(connect.keep_alive_s, config.keep_alive_s_max);
        let granted = (client_id, keep_alive_s, expiry_s);
        let stats = self.introduce(&mut client, connect, granted, now);
        let user = client.user().name().to_owned();
        let arrival = self.arrival(client, connect, &wishes);
        let (hold, attached) = self.attach(&sessions, client_id, arrival, now)?;
        let Attached { is_present, record } = attached;
        let vhost = &*account.vhost;
        tracing::info!(peer = %self.peer.addr, client_id, user, vhost, version = ?connect.version, is_present, "MQTT connection open");
        let authenticator = || Box::new(Authenticator::new(account));
        self.online = Some(Box::new(Online {
            client_id: client_id.into(),
            silence_ms_max: u64::from(keep_alive_s) * 1500,
            is_blocked,
            authenticator: proof.is_some().then(authenticator),
            ..Online::new((hold, sessions), stats, connect.version, now)
        }));
        self.phase = Phase::Online;
        let grants = Grants {
            expiry_s: Some(expiry_s).filter(|granted| *granted != wishes.expiry_s),
            keep_alive_s: Some(keep_alive_s).filter(|granted| *granted != connect.keep_alive_s),
            assigned_client_id: assigned,
            proof,
        };
        // MQTT 3.1 has no such flag: the bit is reserved there.
        let session_present = is_present && connect.version != ProtocolVersion::V31;
        let start = out.buf().len();
        self.accept(&grants, session_present, wishes.packet_bytes_max, out);
        node.sys.welcomed(out.len() - start);
        self.hold_connack((record, start), out);
        Ok(Answer::Given)
    }

    fn arrival(&self, client: Client, connect: &Connect<'_>, wishes: &Wishes) -> Arrival {
        let config = &self.node.config;
        Arrival {
            client,
            mailbox: Arc::clone(&self.mailbox),
            limits: wishes.limits(connect.version, config),
            will: connect.will.as_ref().map(|will| Box::new(Will::new(will))),
            clean_start: connect.clean_start,
            expiry_s: wishes.expiry_s.min(config.session_expiry_s_max),
        }
    }

    /// Whether the client is let in is being asked for. The CONNECT is read again when that is known.
    pub(super) fn wait_for_answer(&mut self, now: Timestamp) {
        self.phase = Phase::Waiting {
            until: now.plus_ms(self.node.config.connect_timeout_ms),
        };
    }

    /// The session is another connection's, which was told to go.
    fn wait_with(&mut self, pending: Pending, now: Timestamp) -> Answer {
        self.pending = Some(Box::new(pending));
        self.phase = Phase::Waiting {
            until: now.plus_ms(FORMER_CONNECTION_MS),
        };
        Answer::Waits
    }

    /// Lets the client in, or goes on with what it was let in with before it had to wait.
    fn admit(&mut self, user: &Arc<User>, account: &Account) -> Result<Pending, ConnectFault> {
        if let Some(pending) = self.pending.take() {
            return Ok(*pending);
        }
        let node = &self.node;
        let vhost = &*account.vhost;
        Ok(Pending {
            client: node
                .broker
                .connect(user, vhost, Arc::clone(&self.mailbox))?,
            sessions: node.registry.vhost(vhost),
            is_blocked: false,
            insists: false,
        })
    }

    /// Takes the session of that client identifier, or makes one.
    fn attach(
        &self,
        sessions: &Arc<VhostSessions>,
        client_id: &str,
        arrival: Arrival,
        now: Timestamp,
    ) -> Result<(Hold, Attached), ConnectFault> {
        let registry = &self.node.registry;
        let epoch = registry.next_epoch();
        let new = || {
            Session::new(Identity {
                node: Arc::clone(&self.node),
                sessions: Arc::clone(sessions),
                client_id: client_id.into(),
                publisher: registry.next_publisher(),
            })
        };
        loop {
            let cell = sessions.cell(client_id, new);
            let mut session = cell.lock();
            // Else it ended between the look and the lock: there is another cell now, or none.
            if !session.is_removed() {
                let attached = session.attach(arrival, epoch, now);
                return match attached {
                    Ok(attached) => {
                        drop(session);
                        Ok((Hold::new(cell, epoch), attached))
                    }
                    Err((error, fate)) => {
                        sessions.let_go(fate, &mut session, &cell);
                        Err(error.into())
                    }
                };
            }
        }
    }

    /// CONNACK. A client that takes no packet of its size gets none, and is closed (MQTT-3.1.2-24).
    fn accept(
        &mut self,
        grants: &Grants,
        session_present: bool,
        packet_bytes_max: u32,
        out: &mut Output,
    ) {
        let Some(online) = self.online.as_deref() else {
            return;
        };
        let version = online.version;
        let mut properties = PropertyBuf::new();
        if version.is_v5() {
            connack_properties(&self.node.config, grants, &mut properties);
        }
        let connack = ConnAck {
            session_present,
            reason: ReasonCode::Success,
            properties: properties.as_properties(),
        };
        let start = out.buf().len();
        let encoded = codec::connack(out.buf(), version, &connack);
        debug_assert!(encoded.is_ok(), "success has a code in every version");
        if out.buf().len() - start > packet_bytes_max as usize {
            out.buf().truncate(start);
            self.phase = Phase::Closing;
        }
    }
}

impl Pending {
    /// Says which client it is. Its session, if it has one, may not be this user's to take.
    fn claim(
        &mut self,
        client_id: &str,
        clean_start: bool,
        now: Timestamp,
    ) -> Result<(), ConnectFault> {
        let client = &mut self.client;
        client.identify(client_id);
        let sessions = &self.sessions;
        let claimed = sessions.check_heir(client_id, client, clean_start, now);
        claimed.map_err(ConnectFault::Session)
    }
}

impl Online {
    fn new(
        (hold, sessions): (Hold, Arc<VhostSessions>),
        stats: Arc<ConnectionStats>,
        version: ProtocolVersion,
        now: Timestamp,
    ) -> Self {
        Self {
            hold,
            sessions,
            client_id: Box::default(),
            version,
            silence_ms_max: 0,
            last_packet_at: now,
            assembly: None,
            authenticator: None,
            has_work: true,
            is_blocked: false,
            is_resting: false,
            has_published: false,
            connack: None,
            owes_much: false,
            leaves_at: None,
            will: WillFate::Published,
            stats,
        }
    }
}

impl Connection {
    /// The CONNACK that was just written, from `start` on, waits if what it promises is not safe yet.
    fn hold_connack(&mut self, (lsn, start): (Lsn, usize), out: &mut Output) {
        let Some(online) = self.online.as_deref_mut() else {
            return;
        };
        if self.phase != Phase::Online {
            return;
        }
        let mut session = online.hold.lock();
        let Some(mut active) = online.hold.active(&mut session) else {
            return;
        };
        if !active.is_committed(lsn) {
            let packet = out.buf().split_off(start);
            online.connack = Some(Box::new(HeldConnack { lsn, packet }));
            active.wait_for(lsn);
        }
    }
}

/// Whether a CONNECT is refused for its size before it came to the version, in which it is to be told.
fn is_untold(error: &DecodeError, input: &[u8]) -> bool {
    let is_too_large = matches!(error.violation, Violation::PacketTooLarge { .. });
    is_too_large && input.len() < codec::CONNECT_START_BYTES_MAX
}

/// The keep alive that is enforced, in seconds.
fn granted_keep_alive(wished_s: u16, max_s: u16) -> u16 {
    match (wished_s, max_s) {
        (wished_s, 0) => wished_s,
        (0, max_s) => max_s,
        (wished_s, max_s) => wished_s.min(max_s),
    }
}

/// What differs from the defaults (§3.2.2.3).
fn connack_properties(config: &MqttConfig, grants: &Grants, out: &mut PropertyBuf) {
    let mut push = |property: Option<Property<'_>>| {
        if let Some(property) = property {
            let pushed = out.push(property);
            debug_assert!(pushed.is_ok(), "numbers and a short name");
        }
    };
    push(grants.expiry_s.map(Property::SessionExpiryInterval));
    push(
        NonZeroU16::new(config.receive_max)
            .filter(|max| max.get() < u16::MAX)
            .map(Property::ReceiveMaximum),
    );
    push(Some(Property::MaximumPacketSize(config.packet_bytes_max)));
    push(
        grants
            .assigned_client_id
            .as_deref()
            .map(Property::AssignedClientIdentifier),
    );
    push(
        Some(config.topic_alias_max)
            .filter(|max| *max > 0)
            .map(Property::TopicAliasMaximum),
    );
    push(grants.keep_alive_s.map(Property::ServerKeepAlive));
    if let Some(proof) = &grants.proof {
        // MQTT-4.12.0-5.
        let put = auth::put(proof, out);
        debug_assert!(put.is_ok(), "a method and a signature");
    }
}
