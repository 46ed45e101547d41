//! Messages in records.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::read::{Formats, Reader, RecordError};
use super::{bytes, flag, number, option, syntax};
use crate::id::{PublisherId, Timestamp};
use crate::message::{
    BODY_INLINE_MAX, Body, Death, DeathPlace, DeathReason, Extras, FormatId, History, Message,
    NewMessage,
};
use crate::routing::key::KeySyntax;

const DURABLE: u8 = 1;
const SLASHED: u8 = 2;
const PRIORITY: u8 = 4;
const TTL: u8 = 8;
const PUBLISHER: u8 = 16;
const EXTRAS: u8 = 32;

pub(crate) fn write(m: &Message, out: &mut Vec<u8>) {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    out.push(
        bit(m.durable(), DURABLE)
            | bit(m.key_syntax() == KeySyntax::Slashed, SLASHED)
            | bit(m.priority().is_some(), PRIORITY)
            | bit(m.ttl_ms().is_some(), TTL)
            | bit(m.publisher().is_some(), PUBLISHER)
            | bit(m.extras().is_some(), EXTRAS),
    );
    out.push(m.format().0);
    number(m.received_at().0, out);
    bytes(m.exchange(), out);
    bytes(m.routing_key(), out);
    bytes(m.native(), out);
    bytes(m.body(), out);
    out.extend(m.priority());
    if let Some(ttl) = m.ttl_ms() {
        number(ttl, out);
    }
    if let Some(publisher) = m.publisher() {
        number(publisher.0, out);
    }
    if let Some(e) = m.extras() {
        extras(e, out);
    }
}

fn extras(e: &Extras, out: &mut Vec<u8>) {
    list(&e.cc, out);
    list(&e.bcc, out);
    flag(e.hide_cc, out);
    option(e.history.as_ref(), out, |h, out| {
        number(h.deaths.len() as u64, out);
        for d in &h.deaths {
            out.push(reason(d.reason));
            bytes(d.queue.as_bytes(), out);
            bytes(&d.exchange, out);
            list(&d.routing_keys, out);
            syntax(d.key_syntax, out);
            number(d.count, out);
            number(d.first_time.0, out);
            number(d.last_time.0, out);
            option(d.original_ttl_ms, out, number);
        }
        place(&h.first, out);
        place(&h.last, out);
    });
}

fn place(p: &DeathPlace, out: &mut Vec<u8>) {
    out.push(reason(p.reason));
    bytes(p.queue.as_bytes(), out);
    bytes(&p.exchange, out);
}

fn list(items: &[Bytes], out: &mut Vec<u8>) {
    number(items.len() as u64, out);
    for item in items {
        bytes(item, out);
    }
}

fn reason(r: DeathReason) -> u8 {
    match r {
        DeathReason::Rejected => 1,
        DeathReason::Expired => 2,
        DeathReason::MaxLength => 3,
        DeathReason::DeliveryLimit => 4,
    }
}

pub(crate) fn read(r: &mut Reader<'_>, formats: &dyn Formats) -> Result<Message, RecordError> {
    let flags = r.byte()?;
    let format = FormatId(r.byte()?);
    let format = formats
        .format(format)
        .ok_or(RecordError::UnknownFormat(format.0))?;
    let received_at = Timestamp(r.number()?);
    let (exchange, routing_key, native, body) = (r.bytes()?, r.bytes()?, r.bytes()?, r.bytes()?);
    let has = |bit: u8| flags & bit != 0;
    let new = NewMessage {
        exchange,
        routing_key,
        key_syntax: if has(SLASHED) {
            KeySyntax::Slashed
        } else {
            KeySyntax::Dotted
        },
        format,
        native,
        body: if body.len() <= BODY_INLINE_MAX {
            Body::Inline(body)
        } else {
            Body::Shared(Bytes::copy_from_slice(body))
        },
        durable: has(DURABLE),
        priority: if has(PRIORITY) { Some(r.byte()?) } else { None },
        ttl_ms: if has(TTL) { Some(r.number()?) } else { None },
        received_at,
        publisher: if has(PUBLISHER) {
            Some(PublisherId(r.number()?))
        } else {
            None
        },
        extras: if has(EXTRAS) {
            Some(Box::new(read_extras(r)?))
        } else {
            None
        },
    };
    Ok(new.build(&mut Vec::new()))
}

fn read_extras(r: &mut Reader<'_>) -> Result<Extras, RecordError> {
    Ok(Extras {
        cc: read_list(r)?,
        bcc: read_list(r)?,
        hide_cc: r.flag()?,
        history: r.option(read_history)?,
    })
}

fn read_history(r: &mut Reader<'_>) -> Result<History, RecordError> {
    Ok(History {
        deaths: r.list(read_death)?,
        first: read_place(r)?,
        last: read_place(r)?,
    })
}

fn read_death(r: &mut Reader<'_>) -> Result<Death, RecordError> {
    Ok(Death {
        reason: read_reason(r)?,
        queue: r.text()?,
        exchange: r.owned()?,
        routing_keys: read_list(r)?,
        key_syntax: r.syntax()?,
        count: r.number()?,
        first_time: Timestamp(r.number()?),
        last_time: Timestamp(r.number()?),
        original_ttl_ms: r.option(Reader::number)?,
    })
}

fn read_place(r: &mut Reader<'_>) -> Result<DeathPlace, RecordError> {
    Ok(DeathPlace {
        reason: read_reason(r)?,
        queue: r.text()?,
        exchange: r.owned()?,
    })
}

fn read_list(r: &mut Reader<'_>) -> Result<Vec<Bytes>, RecordError> {
    r.list(Reader::owned)
}

fn read_reason(r: &mut Reader<'_>) -> Result<DeathReason, RecordError> {
    match r.byte()? {
        1 => Ok(DeathReason::Rejected),
        2 => Ok(DeathReason::Expired),
        3 => Ok(DeathReason::MaxLength),
        4 => Ok(DeathReason::DeliveryLimit),
        _ => Err(RecordError::Malformed),
    }
}
