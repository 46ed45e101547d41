//! Publishing: content in, returns and confirms out.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, confirm};
use bytes::Bytes;
use ternmq_broker::{Client, Route, Turn};
use ternmq_core::confirms::{Confirm, Confirms};
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::message::{BODY_INLINE_MAX, Body, Message, NewMessage, PropertyFormat as _};
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;
use ternmq_net::machine::Output;

use super::content::Whole;
use super::counting::{count_unroutable, fate_of};
use super::{Answer, Context, Mode, Session, reply_to};
use crate::codec::{self, Return};
use crate::error::{BASIC_PUBLISH, Fault, from_mapping_error, precondition_failed};
use crate::frame::{Ack, ContentHeader, Nack, Publish};
use crate::mapping::{self, Incoming};
use crate::table;

/// Reply code of a mandatory message that reached no queue (§1.2).
const NO_ROUTE: u16 = 312;

/// The properties of a message that has none: no flag is set (§4.2.6.1).
const NO_PROPERTIES: &[u8] = &[0, 0];

/// Publishes of one channel in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    channel: u16,
    /// Number of the first one; 0 on a channel without confirms.
    first_number: u64,
    count: u64,
    /// Whether they are in the turn, or reached no queue.
    routed: bool,
}

/// What one read brought to be published, of all channels, in order.
#[derive(Default)]
pub(crate) struct Publishes {
    turn: Turn,
    runs: Vec<Run>,
    rejected: Vec<usize>,
    slow_down: bool,
}

/// Publishes of one channel that are to be confirmed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owed<'a> {
    pub(crate) channel: u16,
    first_number: u64,
    count: u64,
    /// What has to be committed before.
    lsn: Lsn,
    /// Which of them were refused, counted from `index`, ascending.
    rejected: &'a [usize],
    /// Index of the first in the turn.
    index: usize,
}

/// A channel's publisher confirms.
#[derive(Default)]
pub(super) struct Confirming {
    /// Number of the last publish; the first is 1.
    last_number: u64,
    owed: Confirms,
}

impl Confirming {
    /// How many publishes wait to be confirmed.
    pub(super) fn owed(&self) -> u64 {
        self.owed.owed()
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

impl Publishes {
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.turn.is_empty()
    }

    /// See [`Turn::is_heavy`].
    pub(crate) fn is_heavy(&self) -> bool {
        self.turn.is_heavy()
    }

    /// Whether the disk does not keep up with what was flushed last.
    pub(crate) fn slows_down(&self) -> bool {
        self.slow_down
    }

    fn note(&mut self, channel: u16, number: u64, routed: bool) {
        if let Some(run) = self.runs.last_mut()
            && run.channel == channel
            && run.routed == routed
            && (number == 0 && run.first_number == 0
                || number != 0 && run.first_number != 0 && number == run.first_number + run.count)
        {
            run.count += 1;
            return;
        }
        if routed || number != 0 {
            self.runs.push(Run {
                channel,
                first_number: number,
                count: 1,
                routed,
            });
        }
    }

    /// Publishes everything. `owe` hears, in order, of what is to be confirmed. Returns the record that has to be
    /// committed before, if there is one.
    pub(crate) fn flush(
        &mut self,
        client: &mut Client,
        now: Timestamp,
        mut owe: impl FnMut(Owed<'_>),
    ) -> Lsn {
        let published = client.publish(&mut self.turn, now);
        let lsn = published.lsn;
        self.slow_down = published.slow_down;
        self.rejected.clear();
        self.rejected.extend_from_slice(published.rejected);
        let mut rejected = &self.rejected[..];
        let mut start = 0;
        for run in self.runs.drain(..) {
            let Run {
                channel,
                first_number,
                count,
                routed,
            } = run;
            let mut of_run: &[usize] = &[];
            let index = start;
            if routed {
                // As many as were pushed into the turn, whose indexes are `usize`.
                start += usize::try_from(count).unwrap_or(usize::MAX);
                let split = rejected.partition_point(|index| *index < start);
                (of_run, rejected) = rejected.split_at(split);
            }
            if first_number != 0 {
                let lsn = if routed { lsn } else { Lsn::NONE };
                owe(Owed {
                    channel,
                    first_number,
                    count,
                    lsn,
                    rejected: of_run,
                    index,
                });
            }
        }
        lsn
    }
}

impl Session {
    pub(super) fn on_confirm_select(
        &mut self,
        answer: Answer,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        match self.mode {
            Mode::Plain => self.mode = Mode::Confirming(Confirming::default()),
            Mode::Confirming(_) => {}
            Mode::Transacted(_) => {
                return Err(precondition_failed("cannot switch from tx to confirm mode"));
            }
        }
        if answer == Answer::Wanted {
            let ok = confirm::AMQPMethod::SelectOk(confirm::SelectOk {});
            self.reply(&AMQPClass::Confirm(ok), cx);
        }
        Ok(())
    }

    /// `basic.publish` came; its content is still to come.
    pub(crate) fn on_publish(&mut self, publish: &Publish<'_>) -> Result<(), Fault> {
        self.content.expect_method()?;
        self.content.begin(publish);
        Ok(())
    }

    /// Whether a method may come now.
    pub(crate) fn expects_method(&self) -> Result<(), Fault> {
        self.content.expect_method()
    }

    /// Whether a body frame of that size may come; false if something else is awaited.
    pub(crate) fn expects_body(&self, size: usize) -> Result<bool, Fault> {
        self.content.expects_body(size)
    }

    pub(crate) fn on_header(
        &mut self,
        header: &ContentHeader<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        if self.content.header(header, cx.wire.message_bytes_max)? {
            self.finish_publish(cx)?;
        }
        Ok(())
    }

    /// A piece of a body; pieces need not be whole frames.
    pub(crate) fn on_body(&mut self, piece: &[u8], cx: &mut Context<'_>) -> Result<(), Fault> {
        if self.content.body(piece)? {
            self.finish_publish(cx)?;
        }
        Ok(())
    }

    fn finish_publish(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let mut whole = self.content.finish();
        let Whole {
            exchange,
            routing_key,
            mandatory,
            properties,
            body,
        } = &mut whole;
        let publish = Publish {
            exchange,
            routing_key,
            mandatory: *mandatory,
            immediate: false,
        };
        let body = if body.len() > BODY_INLINE_MAX {
            Body::Shared(Bytes::from(std::mem::take(body)))
        } else {
            Body::Inline(body)
        };
        let published = self.publish(&publish, properties, body, cx);
        self.content.recycle(whole);
        published.map_err(|fault| fault.in_method(BASIC_PUBLISH))
    }

    /// A whole publish.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        publish: &Publish<'_>,
        properties: &[u8],
        body: Body<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let incoming = match self.incoming(properties, cx) {
            Ok(incoming) => incoming,
            Err(fault) => return Err(refusing_exchange(publish, cx).unwrap_or(fault)),
        };
        let route = route(publish, &incoming, cx)?;
        self.stats.published.add(1);
        let number = match &mut self.mode {
            Mode::Plain => 0,
            Mode::Confirming(confirming) => confirming.next_number(),
            Mode::Transacted(_) => return self.hold(publish, incoming, body, route, cx),
        };
        if publish.mandatory && route.is_unroutable() {
            let wire = (self.id, cx.wire.frame_max);
            put_return(wire, publish, &incoming.native, &body, cx.out.buf());
        }
        if route.is_empty() {
            let turn = &mut cx.publishes.turn;
            count_unroutable(&self.stats, turn, (&route, &body), fate_of(publish));
            cx.publishes.note(self.id, number, false);
            return Ok(());
        }
        let message = message(publish, incoming, body, cx);
        cx.publishes.turn.push(message, route);
        if number != 0 {
            cx.publishes.turn.expect_confirm();
        }
        cx.publishes.note(self.id, number, true);
        Ok(())
    }

    /// Reads the properties of a publish and holds them to what clients may say.
    #[inline]
    fn incoming<'a>(&self, properties: &'a [u8], cx: &Context<'_>) -> Result<Incoming<'a>, Fault> {
        let mut incoming =
            mapping::to_core(properties).map_err(|error| from_mapping_error(&error))?;
        if let Some(user) = incoming.user_id {
            check_user_id(user, cx)?;
        }
        if let Some(reply_to) = incoming.reply_to
            && reply_to == reply_to::NAME.as_bytes()
        {
            self.address_replies(&mut incoming)?;
        }
        Ok(incoming)
    }

    /// Takes note of what is to be confirmed, and what of it is refused.
    pub(crate) fn on_owed(&mut self, owed: Owed<'_>) {
        let Mode::Confirming(confirming) = &mut self.mode else {
            return;
        };
        let mut rejected = owed.rejected.iter().copied().peekable();
        for (index, number) in (owed.index..).zip(owed.first_number..owed.first_number + owed.count)
        {
            if rejected.next_if_eq(&index).is_some() {
                confirming.owed.reject(number);
            } else {
                confirming.owed.owe(number, owed.lsn);
            }
        }
    }

    /// Whether publishes wait to be confirmed, or transactions to be reported as committed.
    pub(crate) fn owes_confirms(&self) -> bool {
        match &self.mode {
            Mode::Plain => false,
            Mode::Confirming(confirming) => !confirming.owed.is_empty(),
            Mode::Transacted(transactions) => transactions.owes_answers(),
        }
    }

    /// Whether a transaction waits to be reported as committed.
    pub(crate) fn awaits_commit(&self) -> bool {
        matches!(&self.mode, Mode::Transacted(transactions) if transactions.owes_answers())
    }

    /// Whether its publisher is told if a publish is refused.
    pub(crate) fn hears_of_refusals(&self) -> bool {
        !matches!(self.mode, Mode::Plain)
    }

    /// Confirms what the journal's watermark allows, and returns how many publishes those were. `due` is a buffer.
    pub(crate) fn confirm(
        &mut self,
        committed: Lsn,
        due: &mut Vec<Confirm>,
        out: &mut Output,
    ) -> u64 {
        match &mut self.mode {
            Mode::Plain => 0,
            Mode::Confirming(confirming) => {
                let owed = confirming.owed();
                confirming.owed.poll(committed, due);
                let mut confirmed = owed - confirming.owed();
                for confirm in due.drain(..) {
                    confirmed -= u64::from(matches!(confirm, Confirm::Nack { .. }));
                    put_confirm(self.id, confirm, out);
                }
                self.stats.confirmed.add(confirmed);
                self.stats.unconfirmed.set(confirming.owed());
                confirmed
            }
            Mode::Transacted(transactions) => {
                transactions.answer(self.id, committed, due, out);
                0
            }
        }
    }
}

fn put_confirm(channel: u16, confirm: Confirm, out: &mut Output) {
    match confirm {
        Confirm::Ack { up_to, multiple } => {
            let ack = Ack {
                delivery_tag: up_to,
                multiple,
            };
            codec::ack(out.buf(), channel, ack);
        }
        Confirm::Nack {
            sequence: delivery_tag,
        } => {
            let nack = Nack {
                delivery_tag,
                multiple: false,
                requeue: false,
            };
            codec::nack(out.buf(), channel, nack);
        }
    }
}

/// The tag of users whose messages may name others.
const IMPERSONATOR: &str = "impersonator";

fn check_user_id(claimed: &[u8], cx: &Context<'_>) -> Result<(), Fault> {
    let user = cx.client.user();
    if claimed == user.name().as_bytes() || user.has_tag(IMPERSONATOR) {
        return Ok(());
    }
    let (claimed, user) = (String::from_utf8_lossy(claimed), user.name());
    Err(precondition_failed(format!(
        "user_id property set to '{claimed}' but authenticated user was '{user}'"
    )))
}

/// Why the exchange takes no publish whatever its properties are, which is said before what is wrong with those.
#[cold]
fn refusing_exchange(publish: &Publish<'_>, cx: &mut Context<'_>) -> Option<Fault> {
    let without_properties = mapping::to_core(NO_PROPERTIES).ok()?;
    route(publish, &without_properties, cx).err()
}

#[inline]
fn route(
    publish: &Publish<'_>,
    incoming: &Incoming<'_>,
    cx: &mut Context<'_>,
) -> Result<Arc<Route>, Fault> {
    let further: Vec<&[u8]> = incoming.extras.as_ref().map_or_else(Vec::new, |extras| {
        extras
            .cc
            .iter()
            .chain(&extras.bcc)
            .map(|key| &key[..])
            .collect()
    });
    let headers = || {
        incoming
            .headers
            .map(table::to_headers_lossy)
            .unwrap_or_default()
    };
    let properties = || mapping::FORMAT.decode(&incoming.native);
    let request = RouteRequest {
        exchange: publish.exchange,
        routing_key: publish.routing_key,
        key_syntax: KeySyntax::Dotted,
        extra_keys: &further,
        headers: &headers,
        properties: &properties,
        publisher: None,
        from_client: true,
    };
    cx.client
        .route(&request)
        .map_err(|refusal| cx.refused(&refusal))
}

#[inline]
pub(super) fn message(
    publish: &Publish<'_>,
    incoming: Incoming<'_>,
    body: Body<'_>,
    cx: &mut Context<'_>,
) -> Message {
    let new = NewMessage {
        exchange: publish.exchange,
        routing_key: publish.routing_key,
        key_syntax: KeySyntax::Dotted,
        format: &mapping::FORMAT,
        native: &incoming.native,
        body,
        durable: incoming.durable,
        priority: incoming.priority,
        ttl_ms: incoming.ttl_ms,
        received_at: cx.now,
        publisher: None,
        extras: incoming.extras,
    };
    new.build(cx.client.scratch())
}

/// Sends a mandatory message back, as it came but for its blind copies.
pub(super) fn put_return(
    (channel, frame_max): (u16, u32),
    publish: &Publish<'_>,
    properties: &[u8],
    body: &Body<'_>,
    buf: &mut Vec<u8>,
) {
    let body: &[u8] = match body {
        Body::Inline(body) => body,
        Body::Shared(body) => body,
    };
    let returned = Return {
        reply_code: NO_ROUTE,
        reply_text: b"NO_ROUTE",
        exchange: publish.exchange,
        routing_key: publish.routing_key,
    };
    let start = buf.len();
    let written = codec::return_(buf, channel, &returned)
        .and_then(|()| codec::header(buf, channel, body.len() as u64, properties));
    match written {
        Ok(()) => codec::body(buf, channel, body, frame_max),
        Err(error) => {
            buf.truncate(start);
            tracing::error!(%error, channel, "message not returned");
        }
    }
}
