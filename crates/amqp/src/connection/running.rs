//! A connection between `connection.open-ok` and its end: frames to channels, deliveries back.

mod held;
mod outgoing;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, channel, connection};
use amq_protocol::types::ShortString;
use ternmq_broker::inspect::ConnectionStats;
use ternmq_broker::mailbox::{DiskRoom, Token};
use ternmq_broker::{Broker, Client};
use ternmq_core::confirms::Confirm;
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::message::Body;
use ternmq_net::machine::Output;

use super::channels::{Came, Channels};
use super::handshake::Capabilities;
use super::partial::Partial;
use crate::codec::{self, Decoded};
use crate::error::{
    BASIC_PUBLISH, Fault, MethodId, Reply, Scope, from_frame_error, misplaced_frame, not_allowed,
    not_implemented,
};
use crate::frame::{CLASS_BASIC, FRAME_OVERHEAD, Frame, Limits, Method, Publish};
use crate::session::{Context, Publishes, Scratch, Session, Wire, whole_content, write_method};
use held::{Committing, Held};

const BASIC_GET: MethodId = (CLASS_BASIC, 70);
const BASIC_ACK: MethodId = (CLASS_BASIC, 80);
const BASIC_REJECT: MethodId = (CLASS_BASIC, 90);
const BASIC_NACK: MethodId = (CLASS_BASIC, 120);

/// What channels share.
struct Shared {
    broker: Broker,
    client: Client,
    publishes: Publishes,
    consumers: usize,
    /// When to look for deliveries without a consumer that are held for too long.
    overdue_at: Option<Timestamp>,
    wire: Wire,
    /// As others see the connection.
    stats: Arc<ConnectionStats>,
}

impl Shared {
    #[inline]
    fn context<'a>(&'a mut self, now: Timestamp, out: &'a mut Output) -> Context<'a> {
        Context {
            broker: &self.broker,
            client: &mut self.client,
            publishes: &mut self.publishes,
            consumers: &mut self.consumers,
            overdue_at: &mut self.overdue_at,
            wire: self.wire,
            now,
            out,
        }
    }
}

/// What the node is short of, as far as this connection is concerned.
#[derive(Clone, Copy, Debug, Default)]
struct Pressure {
    /// Memory.
    node_blocked: bool,
    /// Room on the disk.
    disk: DiskRoom,
    /// The client was sent `connection.blocked`.
    told: bool,
    /// Nothing is read until the shortage is over.
    paused: bool,
}

impl Pressure {
    fn is_short(self) -> bool {
        self.node_blocked || self.disk != DiskRoom::Enough
    }
}

/// See the module's documentation.
pub(super) struct Running {
    /// For the log.
    peer: SocketAddr,
    shared: Shared,
    limits: Limits,
    capabilities: Capabilities,
    channels: Channels,
    /// Channels with something to settle, each once.
    unsettled: Vec<u16>,
    /// Channels with publishes to confirm, each once.
    owing: Vec<u16>,
    /// Consumers for which messages wait.
    ready: VecDeque<Token>,
    partial: Option<Partial>,
    pressure: Pressure,
    /// The disk does not keep up: nothing is read before this record is committed.
    behind: Option<Lsn>,
    held: Held,
    committing: Committing,
    /// What was asked is much work, or has filled the output: nothing is read until the next turn with room.
    is_resting: bool,
    scratch: Scratch,
    confirms: Vec<Confirm>,
}

/// What ends a connection.
#[derive(Debug)]
pub(super) enum End {
    /// It is told why.
    Fault(Fault),
    /// The same, and its bytes cannot be told apart any more.
    OutOfStep(Fault),
    /// It said so itself.
    ClosedByPeer,
}

impl End {
    fn into_out_of_step(self) -> Self {
        match self {
            Self::Fault(fault) => Self::OutOfStep(fault),
            other => other,
        }
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// How much of the input was taken, and whether that was the end.
pub(super) struct Read {
    pub(super) taken: usize,
    pub(super) end: Option<End>,
}

impl Running {
    pub(super) fn new(
        (peer, broker, client): (SocketAddr, Broker, Client),
        stats: Arc<ConnectionStats>,
        wire: Wire,
        capabilities: Capabilities,
    ) -> Self {
        let channel_max = stats.info().channel_max;
        let shared = Shared {
            broker,
            client,
            publishes: Publishes::default(),
            consumers: 0,
            overdue_at: None,
            wire,
            stats,
        };
        Self {
            peer,
            shared,
            limits: Limits {
                frame_max: wire.frame_max,
            },
            capabilities,
            channels: Channels::new(channel_max),
            unsettled: Vec::new(),
            owing: Vec::new(),
            ready: VecDeque::new(),
            partial: None,
            pressure: Pressure::default(),
            behind: None,
            held: Held::default(),
            committing: Committing::default(),
            is_resting: false,
            scratch: Scratch::default(),
            confirms: Vec::new(),
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Whether nothing is to be read for as long as it takes: for want of memory, or until the disk has written.
    pub(super) fn is_deaf(&self) -> bool {
        self.pressure.paused
            || !self.held.is_empty()
            || self.committing.stalls()
            || self.behind.is_some()
    }

    /// Whether anything is to be read.
    pub(super) fn reads(&self) -> bool {
        !self.is_deaf() && !self.is_resting
    }

    /// Takes every frame there is, then publishes and settles what they said.
    pub(super) fn read(&mut self, input: &[u8], now: Timestamp, out: &mut Output) -> Read {
        let mut taken = 0;
        let end = loop {
            self.is_resting |= self.shared.publishes.is_heavy();
            if self.is_resting || self.has_to_wait(&input[taken..]) {
                break None;
            }
            match self.read_one(&input[taken..], now, out) {
                Ok(0) => break None,
                Ok(more) => taken += more,
                Err(end) => {
                    taken += self.frame_len(&input[taken..], &end);
                    break Some(end);
                }
            }
        };
        self.flush(now, out);
        self.await_commit();
        Read { taken, end }
    }

    /// How long the frame is that ended the connection; nothing behind a broken one can be read.
    fn frame_len(&self, input: &[u8], end: &End) -> usize {
        match (end, codec::decode(input, &self.limits)) {
            (End::Fault(_) | End::ClosedByPeer, Ok(Decoded::Frame { len, .. })) => len,
            _ => input.len(),
        }
    }

    /// Takes one frame, or a publish with all that belongs to it, or a piece of a body. Returns how many bytes that
    /// were; 0 if the input has none of these.
    #[inline]
    fn read_one(&mut self, input: &[u8], now: Timestamp, out: &mut Output) -> Result<usize, End> {
        if self.partial.is_some() {
            return self.read_partial(input, now, out);
        }
        match codec::decode(input, &self.limits) {
            Ok(Decoded::Incomplete) => self.begin_partial(input, now, out),
            Ok(Decoded::Frame {
                channel,
                frame: Frame::Publish(publish),
                len,
            }) => {
                if self.pressure.is_short() && !self.admit_publish(channel, out) {
                    return Ok(0);
                }
                let behind = &input[len..];
                match self.on_publish((channel, &publish), behind, now, out) {
                    Ok(more) => Ok(len + more),
                    Err(fault) => {
                        self.on_fault(channel, fault.in_method(BASIC_PUBLISH), now, out)?;
                        Ok(len)
                    }
                }
            }
            Ok(Decoded::Frame {
                channel,
                frame,
                len,
            }) => {
                let raw = &input[..len];
                if let Err(end) = self.on_frame(channel, frame, raw, now, out) {
                    match end {
                        End::Fault(fault) => self.on_fault(channel, fault, now, out)?,
                        other => return Err(other),
                    }
                }
                Ok(len)
            }
            Err(error) => Err(End::OutOfStep(from_frame_error(&error, input))),
        }
    }

    /// `basic.publish`; its content too if all of it is in `behind`. Returns how many of those bytes were taken.
    #[inline]
    fn on_publish(
        &mut self,
        (channel, publish): (u16, &Publish<'_>),
        behind: &[u8],
        now: Timestamp,
        out: &mut Output,
    ) -> Result<usize, Fault> {
        let Some(session) = self.channels.session(channel, Came::Method)? else {
            return Ok(0);
        };
        if publish.immediate {
            return Err(not_implemented("immediate=true"));
        }
        let body_max = self.shared.wire.message_bytes_max;
        let Some((header, body, taken)) = whole_content(behind, channel, self.limits, body_max)
        else {
            session.on_publish(publish)?;
            return Ok(0);
        };
        session.expects_method()?;
        let mut cx = self.shared.context(now, out);
        session.publish(publish, header.properties, Body::copy_from(body), &mut cx)?;
        Ok(taken)
    }

    fn on_frame(
        &mut self,
        channel: u16,
        frame: Frame<'_>,
        raw: &[u8],
        now: Timestamp,
        out: &mut Output,
    ) -> Result<(), End> {
        match frame {
            Frame::Heartbeat if channel == 0 => Ok(()),
            Frame::Heartbeat => Err(End::Fault(misplaced_frame(raw[0], &[]))),
            Frame::Method(method) => self.on_method(channel, method, raw, now, out),
            _ if channel == 0 => Err(End::Fault(on_channel_zero(&frame, raw))),
            Frame::Header(header) => {
                let Some(session) = self.channels.session(channel, Came::Content)? else {
                    return Ok(());
                };
                let mut cx = self.shared.context(now, out);
                Ok(session.on_header(&header, &mut cx)?)
            }
            Frame::Body(body) => Ok(self.on_body(channel, body, now, out)?),
            Frame::Ack(ack) => {
                let acked = self.settling(channel, |session| session.on_ack(ack));
                Ok(acked.map_err(|fault| fault.in_method(BASIC_ACK))?)
            }
            Frame::Nack(nack) => {
                let nacked = self.settling(channel, |session| session.on_nack(nack));
                Ok(nacked.map_err(|fault| fault.in_method(BASIC_NACK))?)
            }
            Frame::Reject(reject) => {
                let rejected = self.settling(channel, |session| session.on_reject(reject));
                Ok(rejected.map_err(|fault| fault.in_method(BASIC_REJECT))?)
            }
            // Taken by `read_one`.
            Frame::Publish(_) => Ok(()),
        }
    }

    fn on_body(
        &mut self,
        channel: u16,
        piece: &[u8],
        now: Timestamp,
        out: &mut Output,
    ) -> Result<(), Fault> {
        match self.channels.session(channel, Came::Content)? {
            Some(session) => session.on_body(piece, &mut self.shared.context(now, out)),
            None => Ok(()),
        }
    }

    #[inline]
    fn settling(
        &mut self,
        channel: u16,
        settle: impl FnOnce(&mut Session) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Some(session) = self.channels.session(channel, Came::Method)? else {
            return Ok(());
        };
        let was_settled = session.is_settled();
        settle(session)?;
        if was_settled && !session.is_settled() {
            self.unsettled.push(channel);
        }
        Ok(())
    }

    fn on_method(
        &mut self,
        channel: u16,
        method: Method,
        raw: &[u8],
        now: Timestamp,
        out: &mut Output,
    ) -> Result<(), End> {
        let id = (method.class_id, method.method_id);
        // Whatever it asks, it asks after what came before it.
        self.flush(now, out);
        let answer_at = out.buf().len();
        let handled = if channel == 0 {
            self.on_connection_method(&method, out)
        } else {
            self.on_channel_method(channel, method, raw, now, out)
                .map_err(End::Fault)
        };
        if held::is_declaring(id.0) {
            self.hold_uncommitted(answer_at, out);
        }
        // A few bytes ask for a large answer, and a read may bring thousands of them.
        self.is_resting = id == BASIC_GET && out.is_full();
        handled.map_err(|end| match end {
            End::Fault(fault) => End::Fault(fault.in_method(id)),
            other => other,
        })
    }

    /// Methods on channel 0 (§1.4).
    fn on_connection_method(&mut self, method: &Method, out: &mut Output) -> Result<(), End> {
        match &*method.class {
            AMQPClass::Connection(connection::AMQPMethod::Close(_)) => Err(End::ClosedByPeer),
            AMQPClass::Connection(connection::AMQPMethod::UpdateSecret(update)) => {
                self.renew_user(update.new_secret.as_bytes())?;
                let ok = connection::AMQPMethod::UpdateSecretOk(connection::UpdateSecretOk {});
                write_method(0, &AMQPClass::Connection(ok), out);
                Ok(())
            }
            _ => Err(End::Fault(unexpected_method("running"))),
        }
    }

    /// The client has a new secret: it goes on as the user is now, for as long as that secret is good.
    fn renew_user(&mut self, secret: &[u8]) -> Result<(), Fault> {
        let user = self.shared.client.user();
        match self.shared.broker.renew(user, secret, self.peer.ip()) {
            Ok(user) => {
                self.shared.client.renew_user(user);
                Ok(())
            }
            Err(refusal) => {
                let (peer, user) = (self.peer, self.shared.client.user().name());
                tracing::warn!(%peer, user, error = %refusal, "new secret refused");
                Err(not_allowed("New secret was refused by one of the backends"))
            }
        }
    }

    fn on_channel_method(
        &mut self,
        channel: u16,
        method: Method,
        raw: &[u8],
        now: Timestamp,
        out: &mut Output,
    ) -> Result<(), Fault> {
        match *method.class {
            AMQPClass::Channel(channel::AMQPMethod::Open(_)) if self.channels.is_free(channel) => {
                let stats = &self.shared.stats;
                self.channels
                    .open(channel, || stats.open_channel(channel))?;
                if let Err(max) = self.shared.client.open_channel() {
                    self.channels.free(channel);
                    self.shared.stats.close_channel(channel);
                    return Err(too_many_channels(self.shared.client.user().name(), max));
                }
                let ok = channel::AMQPMethod::OpenOk(channel::OpenOk {});
                write_method(channel, &AMQPClass::Channel(ok), out);
                Ok(())
            }
            AMQPClass::Channel(channel::AMQPMethod::Close(_))
                if !self.channels.is_free(channel) =>
            {
                if let Some(mut session) = self.channels.free(channel) {
                    session.release(&mut self.shared.client, &mut self.shared.consumers, now);
                    self.shared.stats.close_channel(channel);
                    self.owing.retain(|owing| *owing != channel);
                }
                let ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
                write_method(channel, &AMQPClass::Channel(ok), out);
                Ok(())
            }
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(_))
                if self.channels.open_session(channel).is_none() =>
            {
                // Free already if both sides closed it at once: each answers the other's close.
                self.channels.free(channel);
                Ok(())
            }
            _ => {
                let Some(session) = self.channels.session(channel, Came::Method)? else {
                    return Ok(());
                };
                // Frame header, class and method id are in front, the end marker behind.
                let arguments = raw
                    .get(FRAME_OVERHEAD + 3..raw.len() - 1)
                    .unwrap_or_default();
                session.on_method(method, arguments, &mut self.shared.context(now, out))?;
                session.settle(&mut self.shared.client, now);
                if session.owes_confirms() && !self.owing.contains(&channel) {
                    self.owing.push(channel);
                    self.confirm(out);
                }
                Ok(())
            }
        }
    }

    /// Closes the channel, if that is all it takes.
    fn on_fault(
        &mut self,
        channel: u16,
        fault: Fault,
        now: Timestamp,
        out: &mut Output,
    ) -> Result<(), End> {
        if fault.scope() == Scope::Connection {
            return Err(End::Fault(fault));
        }
        self.flush(now, out);
        let Some(mut session) = self.channels.begin_close(channel) else {
            return Ok(());
        };
        session.release(&mut self.shared.client, &mut self.shared.consumers, now);
        self.shared.stats.close_channel(channel);
        self.owing.retain(|owing| *owing != channel);
        let reply_text = fault.reply_text();
        let peer = self.peer;
        tracing::debug!(%peer, channel, error = reply_text, "channel closed");
        let (class_id, method_id) = fault.method;
        let close_at = out.buf().len();
        let close = channel::Close {
            reply_code: fault.reply.code(),
            reply_text: ShortString::try_new(reply_text).unwrap_or_default(),
            class_id,
            method_id,
        };
        write_method(
            channel,
            &AMQPClass::Channel(channel::AMQPMethod::Close(close)),
            out,
        );
        self.hold_behind(close_at, out);
        Ok(())
    }

    /// Takes the first part of a body frame that has not arrived as a whole, so that little is left over.
    #[cold]
    fn begin_partial(
        &mut self,
        input: &[u8],
        now: Timestamp,
        out: &mut Output,
    ) -> Result<usize, End> {
        let Some((partial, len)) = Partial::begin(input) else {
            return Ok(0);
        };
        let Some(session) = self.channels.open_session(partial.channel()) else {
            return Ok(0);
        };
        let expects_body = session
            .expects_body(partial.remaining())
            .map_err(End::OutOfStep)?;
        if !expects_body {
            return Ok(0);
        }
        self.partial = Some(partial);
        Ok(len + self.read_partial(&input[len..], now, out)?)
    }

    fn read_partial(
        &mut self,
        input: &[u8],
        now: Timestamp,
        out: &mut Output,
    ) -> Result<usize, End> {
        let Some(partial) = &mut self.partial else {
            return Ok(0);
        };
        let channel = partial.channel();
        let (piece, taken, is_whole) = partial.take(input).map_err(End::OutOfStep)?;
        if is_whole {
            self.partial = None;
        }
        if !piece.is_empty()
            && let Err(fault) = self.on_body(channel, piece, now, out)
        {
            // The rest of the frame can no longer be told from what follows.
            self.on_fault(channel, fault, now, out)
                .map_err(End::into_out_of_step)?;
        }
        Ok(taken)
    }
}

/// Hot frames, all of which belong to a channel.
fn on_channel_zero(frame: &Frame<'_>, raw: &[u8]) -> Fault {
    match frame {
        Frame::Header(_) | Frame::Body(_) => {
            let payload = raw
                .get(FRAME_OVERHEAD - 1..raw.len() - 1)
                .unwrap_or_default();
            misplaced_frame(raw[0], payload)
        }
        _ => unexpected_method("running"),
    }
}

/// The user has as many channels as allowed, on all connections together.
fn too_many_channels(user: &str, max: u64) -> Fault {
    not_allowed(format!(
        "number of channels opened for user '{user}' has reached the maximum allowed user limit of ({max})"
    ))
}

/// A method that has no meaning now.
pub(super) fn unexpected_method(state: &str) -> Fault {
    Fault::new(
        Reply::ChannelError,
        format!("unexpected method in connection state {state}"),
    )
}
