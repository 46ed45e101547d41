//! One AMQP 0.9.1 connection as a machine: handshake, liveness, channels, end.
//!
//! ```text
//! Header ── "AMQP" 0 0 9 1 ──► StartOk ── login ──► TuneOk ──► Open ── vhost ──► Running
//!    │                            │                   │          │                 │
//!    │ other header:              └───── a fault ─────┴──────────┴─── a fault ─────┤ close from the client:
//!    │ ours, then                                                                  │ close-ok, then
//!    ▼                                                                             ▼
//!  Closed ◄──── close-ok, time limit ──── Closing (connection.close sent) ◄──── Closed
//! ```
//! Everything a connection holds is given back as soon as it leaves `Running`.

mod auth;
mod channels;
mod handshake;
mod liveness;
mod opening;
mod partial;
mod running;

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, connection as method};
use amq_protocol::types::ShortString;
use ternmq_broker::mailbox::{CloseReason, Mailbox, Notice};
use ternmq_broker::{Broker, User};
use ternmq_core::id::Timestamp;
use ternmq_core::value::Headers;
use ternmq_net::machine::{Flow, Machine, Output, Peer};

use crate::codec::{self, Decoded, ProtocolHeader};
use crate::config::AmqpConfig;
use crate::error::{Fault, Reply, forced, from_frame_error, shutdown};
use crate::frame::{Frame, HANDSHAKE_FRAME_MAX, Limits};
use crate::session::write_method;
use handshake::Capabilities;
use liveness::{Due, Liveness};
use running::{End, Running};

/// Where the connection stands.
enum Phase {
    /// The protocol header is awaited.
    Header,
    /// `connection.start-ok` is awaited.
    StartOk,
    /// `connection.tune-ok` is awaited.
    TuneOk(Arc<User>),
    /// `connection.open` is awaited.
    Open(Arc<User>, method::TuneOk),
    Running(Box<Running>),
    /// `connection.close` is sent, `connection.close-ok` awaited.
    Closing,
    /// What is in the output is all there will be.
    Closed,
}

impl Phase {
    const fn name(&self) -> &'static str {
        match self {
            Self::Header => "pre_init",
            Self::StartOk => "starting",
            Self::TuneOk(_) => "tuning",
            Self::Open(..) => "opening",
            Self::Running(_) => "running",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }
}

/// What a client says about itself, and how it proved who it is.
#[derive(Default)]
struct Introduction {
    client_properties: Headers,
    mechanism: Box<str>,
}

/// See the module's documentation.
pub(crate) struct Connection {
    broker: Broker,
    config: Arc<AmqpConfig>,
    peer: Peer,
    mailbox: Arc<Mailbox>,
    phase: Phase,
    liveness: Liveness,
    capabilities: Capabilities,
    /// What the client said about itself, until others are told.
    introduction: Option<Box<Introduction>>,
    /// Whether the client may log in, or use its vhost, is being asked for: its frame is read again when that is known.
    is_waiting: bool,
    notices: Vec<Notice>,
}

impl Connection {
    pub(crate) fn new(
        (broker, config): (Broker, Arc<AmqpConfig>),
        peer: Peer,
        mailbox: Arc<Mailbox>,
        now: Timestamp,
    ) -> Self {
        let limit = now.plus_ms(config.handshake_timeout_ms);
        Self {
            broker,
            config,
            peer,
            mailbox,
            phase: Phase::Header,
            liveness: Liveness::new(now, limit),
            capabilities: Capabilities::default(),
            introduction: None,
            is_waiting: false,
            notices: Vec::new(),
        }
    }

    /// Takes what can be taken in the present phase. Returns how many bytes that were; 0 ends the turn.
    fn read(&mut self, input: &[u8], now: Timestamp, out: &mut Output) -> usize {
        match &mut self.phase {
            Phase::Header => self.read_header(input, out),
            Phase::StartOk | Phase::TuneOk(_) | Phase::Open(..) => {
                self.read_handshake(input, now, out)
            }
            Phase::Running(running) => {
                let read = running.read(input, now, out);
                if running.is_deaf() {
                    self.liveness.set_deaf(true, now);
                }
                match read.end {
                    None => {}
                    Some(End::Fault(fault)) => self.fail(&fault, now, out),
                    Some(End::OutOfStep(fault)) => self.fail_out_of_step(&fault, now, out),
                    Some(End::ClosedByPeer) => self.close_for_peer(now, out),
                }
                read.taken
            }
            Phase::Closing => self.read_closing(input, now, out),
            Phase::Closed => input.len(),
        }
    }

    fn read_header(&mut self, input: &[u8], out: &mut Output) -> usize {
        match codec::decode_protocol_header(input) {
            ProtocolHeader::Incomplete => 0,
            ProtocolHeader::Amqp091 => {
                let start = handshake::start(self.broker.announced(), self.offer());
                write_method(0, &start, out);
                self.phase = Phase::StartOk;
                codec::PROTOCOL_HEADER.len()
            }
            ProtocolHeader::Mismatch => {
                let peer = self.peer.addr;
                let header = input.get(..8).unwrap_or(input).escape_ascii();
                tracing::warn!(%peer, %header, "not AMQP 0.9.1");
                out.buf().extend_from_slice(&codec::PROTOCOL_HEADER);
                self.phase = Phase::Closed;
                input.len()
            }
        }
    }

    /// Takes one frame of the handshake.
    fn read_handshake(&mut self, input: &[u8], now: Timestamp, out: &mut Output) -> usize {
        let limits = Limits {
            frame_max: self.config.frame_max.min(HANDSHAKE_FRAME_MAX),
        };
        match codec::decode(input, &limits) {
            Ok(Decoded::Incomplete) => 0,
            Ok(Decoded::Frame {
                channel,
                frame,
                len,
            }) => {
                if let Err(fault) = self.on_handshake_frame(channel, frame, now, out) {
                    self.fail(&fault, now, out);
                }
                if self.is_waiting { 0 } else { len }
            }
            Err(error) => {
                self.fail_out_of_step(&from_frame_error(&error, input), now, out);
                input.len()
            }
        }
    }

    /// Takes one frame after `connection.close`.
    fn read_closing(&mut self, input: &[u8], now: Timestamp, out: &mut Output) -> usize {
        let limits = Limits {
            frame_max: self.config.frame_max,
        };
        match codec::decode(input, &limits) {
            Ok(Decoded::Incomplete) => 0,
            Ok(Decoded::Frame {
                channel,
                frame,
                len,
            }) => {
                self.on_closing_frame(channel, frame, now, out);
                len
            }
            Err(_) => {
                self.phase = Phase::Closed;
                input.len()
            }
        }
    }

    /// Only the peer's answer counts any more.
    fn on_closing_frame(
        &mut self,
        channel: u16,
        frame: Frame<'_>,
        now: Timestamp,
        out: &mut Output,
    ) {
        let Frame::Method(method) = frame else {
            return;
        };
        match *method.class {
            AMQPClass::Connection(method::AMQPMethod::CloseOk(_)) if channel == 0 => {
                self.phase = Phase::Closed;
            }
            AMQPClass::Connection(method::AMQPMethod::Close(_)) if channel == 0 => {
                self.close_for_peer(now, out);
            }
            _ => {}
        }
    }

    /// The peer closes: everything is given back before it is told so.
    fn close_for_peer(&mut self, now: Timestamp, out: &mut Output) {
        self.tell_end();
        self.release(now);
        let ok = method::AMQPMethod::CloseOk(method::CloseOk {});
        write_method(0, &AMQPClass::Connection(ok), out);
        self.phase = Phase::Closed;
    }

    /// Tells the peer why it is closed, and waits for its answer.
    fn fail(&mut self, fault: &Fault, now: Timestamp, out: &mut Output) {
        let peer = self.peer.addr;
        let (user, vhost) = self.who().unzip();
        if fault.reply == Reply::ConnectionForced {
            tracing::info!(%peer, user, vhost, reason = fault.reply_text(), "connection closed");
        } else {
            tracing::warn!(%peer, user, vhost, error = fault.reply_text(), "connection closed");
        }
        self.begin_close(fault, now, out);
        self.phase = Phase::Closing;
    }

    /// The same for a peer whose answer could not be read: the driver lets it read why.
    fn fail_out_of_step(&mut self, fault: &Fault, now: Timestamp, out: &mut Output) {
        self.fail(fault, now, out);
        self.phase = Phase::Closed;
    }

    fn begin_close(&mut self, fault: &Fault, now: Timestamp, out: &mut Output) {
        self.release(now);
        let (class_id, method_id) = fault.method;
        let close = method::Close {
            reply_code: fault.reply.code(),
            reply_text: ShortString::try_new(fault.reply_text()).unwrap_or_default(),
            class_id,
            method_id,
        };
        write_method(
            0,
            &AMQPClass::Connection(method::AMQPMethod::Close(close)),
            out,
        );
        self.liveness.set_deaf(false, now);
        self.liveness
            .set_limit(Some(now.plus_ms(self.config.close_timeout_ms)));
    }

    /// Gives back everything the connection holds. Does nothing the second time.
    fn release(&mut self, now: Timestamp) {
        if let Phase::Running(running) = &mut self.phase {
            running.release(now);
            self.phase = Phase::Closed;
        }
    }

    /// User and vhost of an open connection.
    fn who(&self) -> Option<(&str, &str)> {
        match &self.phase {
            Phase::Running(running) => {
                let client = running.client();
                Some((client.user().name(), client.vhost()))
            }
            _ => None,
        }
    }

    /// Says that a connection ends for no fault.
    fn tell_end(&self) {
        if let Some((user, vhost)) = self.who() {
            tracing::info!(peer = %self.peer.addr, user, vhost, "connection ended");
        }
    }

    fn on_notice(&mut self, notice: Notice, now: Timestamp, out: &mut Output) {
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        match notice {
            Notice::Ready(token) => running.on_ready(token),
            Notice::Cancelled(token) => running.on_cancelled(token, now, out),
            Notice::TimedOut(token) => running.on_timed_out(token, now, out),
            Notice::Committed => {
                running.confirm(out);
                running.answer_declarations(out);
                running.unstall();
                running.catch_up();
                self.liveness.set_deaf(running.is_deaf(), now);
            }
            Notice::Disk(room) => {
                running.on_disk(room, out);
                self.liveness.set_deaf(running.is_deaf(), now);
            }
            Notice::Blocked => running.on_pressure(true, out),
            Notice::Unblocked => {
                running.on_pressure(false, out);
                self.liveness.set_deaf(running.is_deaf(), now);
            }
            Notice::Close(CloseReason::Shutdown) => self.fail(&shutdown(), now, out),
            Notice::Close(CloseReason::Replaced) => self.fail(&forced("replaced"), now, out),
            Notice::Close(CloseReason::CredentialExpired) => {
                self.fail(&forced("credential expired"), now, out);
            }
            Notice::Close(CloseReason::Administrative(reason)) => {
                self.fail(&Fault::new(Reply::ConnectionForced, reason), now, out);
            }
        }
    }
}

impl Machine for Connection {
    fn handle_input(&mut self, input: &[u8], now: Timestamp, out: &mut Output) -> usize {
        self.liveness.heard(now);
        let mut taken = 0;
        while taken < input.len() {
            match self.read(&input[taken..], now, out) {
                0 => break,
                more => taken += more,
            }
        }
        taken
    }

    fn handle_notices(&mut self, now: Timestamp, out: &mut Output) -> bool {
        if let Phase::Running(running) = &mut self.phase {
            running.resume(out);
        }
        self.is_waiting &= !self.mailbox.has_notices();
        self.mailbox.drain(&mut self.notices);
        let mut notices = std::mem::take(&mut self.notices);
        for notice in notices.drain(..) {
            self.on_notice(notice, now, out);
        }
        self.notices = notices;
        let more = match &mut self.phase {
            Phase::Running(running) => running.deliver(now, out),
            _ => false,
        };
        if !out.is_empty() {
            self.liveness.said(now);
        }
        more
    }

    fn handle_deadline(&mut self, now: Timestamp, out: &mut Output) {
        if let Phase::Running(running) = &mut self.phase {
            running.close_overdue(now, out);
        }
        let peer = self.peer.addr;
        match self.liveness.due(now) {
            Due::Nothing => {}
            Due::SendHeartbeat => {
                self.liveness.said(now);
                // Whatever is unsent says as much, and a peer that reads nothing shall not pile up heartbeats.
                if out.is_empty() && matches!(self.phase, Phase::Running(_)) {
                    codec::heartbeat(out.buf());
                }
            }
            Due::PeerSilent => {
                tracing::debug!(%peer, "no heartbeats from the peer");
                self.release(now);
                self.phase = Phase::Closed;
            }
            Due::LimitReached => {
                if matches!(self.phase, Phase::Closing) {
                    tracing::debug!(%peer, "no answer to connection.close");
                } else {
                    tracing::warn!(%peer, state = self.phase.name(), "handshake took too long");
                }
                self.release(now);
                self.phase = Phase::Closed;
            }
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let of_channels = match &self.phase {
            Phase::Closed => return None,
            Phase::Running(running) => running.deadline(),
            _ => None,
        };
        [self.liveness.deadline(), of_channels]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_shutdown(&mut self, now: Timestamp, out: &mut Output) {
        match self.phase {
            Phase::Running(_) => self.fail(&shutdown(), now, out),
            Phase::Closing | Phase::Closed => {}
            _ => self.phase = Phase::Closed,
        }
    }

    fn handle_disconnect(&mut self, now: Timestamp) {
        self.tell_end();
        self.release(now);
    }

    fn flow(&self) -> Flow {
        match &self.phase {
            Phase::Closed => Flow::Close,
            Phase::Running(running) => Flow::Open {
                read: running.reads(),
            },
            _ => Flow::Open {
                read: !self.is_waiting,
            },
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let now = self.broker.now();
        self.release(now);
    }
}
