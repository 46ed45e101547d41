//! Whole packets from a client that is let in, one after the other.

use ternmq_core::id::Timestamp;
use ternmq_net::machine::{Output, Peer};

use super::assembly::Assembly;
use crate::auth::Authenticator;
use crate::codec::{self, Decoded, Limits};
use crate::error::Fault;
use crate::frame::{Disconnect, Packet, ProtocolVersion};
use crate::properties::Property;
use crate::reason_code::ReasonCode;
use crate::session::attach::WillFate;
use crate::session::{Active, Payload};

/// How a packet leaves the connection.
enum Next {
    GoOn,
    /// The client said goodbye.
    Close(WillFate),
}

/// What the start of the input was.
enum Step {
    /// Handled; so many bytes.
    Used(usize),
    /// Not a whole packet.
    Incomplete,
    /// A DISCONNECT.
    Close(WillFate),
}

/// What of a connection packets change, beside its session.
pub(super) struct Parts<'a> {
    pub(super) assembly: &'a mut Option<Box<Assembly>>,
    pub(super) authenticator: &'a mut Option<Box<Authenticator>>,
    pub(super) peer: &'a Peer,
}

/// Handles what is there, as long as it is not too much at a time. Returns how many bytes it took, and how the connection
/// ends, if it does.
pub(super) fn steps(
    active: &mut Active<'_>,
    parts: &mut Parts<'_>,
    input: &[u8],
    speaks: (ProtocolVersion, Limits),
    now: Timestamp,
    out: &mut Output,
) -> (usize, Option<Result<WillFate, Fault>>) {
    let mut used = 0;
    loop {
        match step(active, parts, &input[used..], speaks, now, out) {
            Ok(Step::Used(len)) => used += len,
            Ok(Step::Incomplete) => return (used, None),
            Ok(Step::Close(will)) => return (used, Some(Ok(will))),
            Err(fault) => return (used, Some(Err(fault))),
        }
        if used == input.len() || active.live.is_heavy() {
            return (used, None);
        }
    }
}

/// Handles one packet, or a part of a large one.
fn step(
    active: &mut Active<'_>,
    parts: &mut Parts<'_>,
    input: &[u8],
    (version, limits): (ProtocolVersion, Limits),
    now: Timestamp,
    out: &mut Output,
) -> Result<Step, Fault> {
    if let Some(unfinished) = parts.assembly {
        let len = unfinished.take(input);
        if unfinished.is_complete()
            && let Some(complete) = parts.assembly.take()
        {
            let (publish, payload) = complete.finish();
            active.live.counted.packets_received += 1;
            active.on_publish(&publish.as_frame(), Payload::Assembled(payload), now)?;
        }
        return Ok(Step::Used(len));
    }
    match codec::decode(input, Some(version), limits)? {
        Decoded::Incomplete => Ok(Step::Incomplete),
        Decoded::Packet { packet, len } => match handle_packet(active, parts, &packet, now, out)? {
            Next::GoOn => Ok(Step::Used(len)),
            Next::Close(will) => Ok(Step::Close(will)),
        },
        Decoded::PublishHead {
            head,
            payload_len,
            consumed,
        } => {
            *parts.assembly = Some(Box::new(Assembly::new(&head, payload_len)));
            Ok(Step::Used(consumed))
        }
    }
}

fn handle_packet(
    active: &mut Active<'_>,
    parts: &mut Parts<'_>,
    packet: &Packet<'_>,
    now: Timestamp,
    out: &mut Output,
) -> Result<Next, Fault> {
    active.live.counted.packets_received += 1;
    match packet {
        Packet::Publish(publish) => active.on_publish(publish, Payload::InPacket, now)?,
        Packet::PubAck(ack) => active.on_puback(ack, now)?,
        Packet::PubRec(ack) => active.on_pubrec(ack, now, out.buf())?,
        Packet::PubRel(ack) => active.on_pubrel(ack, now, out.buf()),
        Packet::PubComp(ack) => active.on_pubcomp(ack)?,
        Packet::Subscribe(subscribe) => active.on_subscribe(subscribe, now, out.buf())?,
        Packet::Unsubscribe(unsubscribe) => active.on_unsubscribe(unsubscribe, now, out.buf())?,
        Packet::PingReq => {
            active.live.counted.packets_sent += 1;
            codec::pingresp(out.buf());
        }
        Packet::Disconnect(disconnect) => {
            return on_disconnect(active, disconnect).map(Next::Close);
        }
        Packet::Auth(auth) => {
            let authenticator = parts.authenticator.as_deref_mut();
            let authenticator = authenticator.ok_or(Fault::UnexpectedAuth)?;
            let from = (&*active.identity.node, parts.peer);
            active.live.counted.packets_sent += 1;
            if let Some(user) = authenticator.on_auth(auth, from, out.buf())? {
                active.live.client.renew_user(user);
            }
        }
        Packet::Connect(_)
        | Packet::ConnAck(_)
        | Packet::SubAck(_)
        | Packet::UnsubAck(_)
        | Packet::PingResp => {
            debug_assert!(false, "the codec refuses what a client must not send here");
        }
    }
    Ok(Next::GoOn)
}

/// DISCONNECT from the client (§3.14).
fn on_disconnect(active: &mut Active<'_>, disconnect: &Disconnect<'_>) -> Result<WillFate, Fault> {
    let expiry = disconnect
        .properties
        .iter()
        .find_map(|property| match property {
            Property::SessionExpiryInterval(seconds) => Some(seconds),
            _ => None,
        });
    if let Some(expiry_s) = expiry {
        if active.kept.expiry_s == 0 && expiry_s > 0 {
            return Err(Fault::SessionExpiryRaised);
        }
        active.set_expiry(expiry_s.min(active.identity.node.config.session_expiry_s_max));
    }
    Ok(match disconnect.reason {
        ReasonCode::NORMAL_DISCONNECTION => WillFate::Dropped,
        _ => WillFate::Published,
    })
}
