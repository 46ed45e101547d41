//! The reading half.

use amq_protocol::frame::parsing::traits::Needed;
use amq_protocol::protocol::parse_class;

use super::{
    FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_HEADER_LEN, FRAME_HEARTBEAT, FRAME_METHOD,
    METHOD_ACK, METHOD_NACK, METHOD_PUBLISH, METHOD_REJECT, PROTOCOL_HEADER,
};
use crate::frame::{
    Ack, CLASS_BASIC, ContentHeader, FRAME_HARD_MAX, FRAME_OVERHEAD, FRAME_SIZE_TOLERANCE, Frame,
    FrameError, Limits, Method, MethodFault, Nack, Publish, Reject,
};
use crate::table::{self, TableError};

/// What the front of the input holds.
#[derive(Debug, PartialEq)]
pub enum Decoded<'a> {
    /// Not a whole frame yet; nothing wrong so far.
    Incomplete,
    /// A frame; the next one begins `len` bytes on.
    Frame {
        /// Its channel; 0 is the connection itself.
        channel: u16,
        /// The frame.
        frame: Frame<'a>,
        /// Bytes of input it took.
        len: usize,
    },
}

/// What a client's first bytes are (§4.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolHeader {
    /// Fewer than eight bytes, and no contradiction yet.
    Incomplete,
    /// AMQP 0.9.1; eight bytes taken.
    Amqp091,
    /// Something else: answer with [`PROTOCOL_HEADER`] and close.
    Mismatch,
}

/// The older header of 0-9, which RabbitMQ and therefore old clients treat as 0-9-1.
const PROTOCOL_HEADER_0_9: [u8; 8] = *b"AMQP\x01\x01\x00\x09";

/// Judges the first bytes of a connection. A mismatch is seen at the first byte that differs.
pub fn decode_protocol_header(input: &[u8]) -> ProtocolHeader {
    let start = &input[..input.len().min(PROTOCOL_HEADER.len())];
    if PROTOCOL_HEADER.starts_with(start) || PROTOCOL_HEADER_0_9.starts_with(start) {
        if start.len() < PROTOCOL_HEADER.len() {
            ProtocolHeader::Incomplete
        } else {
            ProtocolHeader::Amqp091
        }
    } else {
        ProtocolHeader::Mismatch
    }
}

/// Decodes the frame at the front of `input`.
///
/// The size is judged as soon as the frame's header is there, before any of its payload.
#[inline]
pub fn decode<'a>(input: &'a [u8], limits: &Limits) -> Result<Decoded<'a>, FrameError> {
    let Some((&[frame_type, c0, c1, s0, s1, s2, s3], rest)) =
        input.split_first_chunk::<FRAME_HEADER_LEN>()
    else {
        return Ok(Decoded::Incomplete);
    };
    let channel = u16::from_be_bytes([c0, c1]);
    let size = u32::from_be_bytes([s0, s1, s2, s3]);
    check_frame_header(frame_type, channel, size, *limits)?;
    let payload_len = size as usize;
    let Some(&end) = rest.get(payload_len) else {
        return Ok(Decoded::Incomplete);
    };
    if end != FRAME_END {
        return Err(FrameError::BadFrameEnd {
            channel,
            found: end,
        });
    }
    let payload = &rest[..payload_len];
    let len = payload_len + FRAME_OVERHEAD;
    match frame_type {
        FRAME_METHOD => decode_method(channel, payload, len),
        FRAME_HEADER => decode_header(channel, payload, len),
        FRAME_BODY => Ok(Decoded::Frame {
            channel,
            frame: Frame::Body(payload),
            len,
        }),
        _ if payload.is_empty() => Ok(Decoded::Frame {
            channel,
            frame: Frame::Heartbeat,
            len,
        }),
        _ => Err(FrameError::BadPayloadSize {
            channel,
            frame_type,
            size,
        }),
    }
}

#[inline]
fn check_frame_header(
    frame_type: u8,
    channel: u16,
    size: u32,
    limits: Limits,
) -> Result<(), FrameError> {
    if !matches!(
        frame_type,
        FRAME_METHOD | FRAME_HEADER | FRAME_BODY | FRAME_HEARTBEAT
    ) {
        return Err(FrameError::UnknownFrameType {
            channel,
            frame_type,
        });
    }
    let max = match limits.frame_max {
        0 => FRAME_HARD_MAX,
        max => max.saturating_add(FRAME_SIZE_TOLERANCE).min(FRAME_HARD_MAX),
    };
    let frame_size = u64::from(size) + FRAME_OVERHEAD as u64;
    if frame_size > u64::from(max) {
        return Err(FrameError::FrameTooLarge {
            channel,
            size: frame_size,
            max,
        });
    }
    Ok(())
}

#[inline]
fn decode_header(channel: u16, payload: &[u8], len: usize) -> Result<Decoded<'_>, FrameError> {
    let Some((&[c0, c1, w0, w1, b0, b1, b2, b3, b4, b5, b6, b7], properties)) =
        payload.split_first_chunk::<12>()
    else {
        return Err(bad_payload_size(channel, FRAME_HEADER, payload));
    };
    let weight = u16::from_be_bytes([w0, w1]);
    if weight != 0 {
        return Err(FrameError::HeaderWeight { channel, weight });
    }
    let class_id = u16::from_be_bytes([c0, c1]);
    let body_size = u64::from_be_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
    let frame = Frame::Header(ContentHeader {
        class_id,
        body_size,
        properties,
    });
    Ok(Decoded::Frame {
        channel,
        frame,
        len,
    })
}

/// Each reader builds the whole result at once: a frame handed from function to function is copied in pieces that the
/// processor has to wait for, which costs more than all the decoding.
#[inline]
fn decode_method(channel: u16, payload: &[u8], len: usize) -> Result<Decoded<'_>, FrameError> {
    let Some((&[c0, c1, m0, m1], arguments)) = payload.split_first_chunk::<4>() else {
        return Err(bad_payload_size(channel, FRAME_METHOD, payload));
    };
    let class_id = u16::from_be_bytes([c0, c1]);
    let method_id = u16::from_be_bytes([m0, m1]);
    let other = || {
        let frame = decode_other(channel, class_id, method_id, payload)?;
        Ok(Decoded::Frame {
            channel,
            frame,
            len,
        })
    };
    if class_id != CLASS_BASIC {
        return other();
    }
    match method_id {
        METHOD_PUBLISH => decode_publish(channel, arguments, len),
        METHOD_ACK | METHOD_REJECT | METHOD_NACK => {
            decode_settlement(channel, method_id, arguments, len)
        }
        _ => other(),
    }
}

#[inline]
fn decode_settlement(
    channel: u16,
    method_id: u16,
    arguments: &[u8],
    len: usize,
) -> Result<Decoded<'_>, FrameError> {
    let (delivery_tag, bits) = match tag_and_bits(arguments) {
        Ok(read) => read,
        Err(fault) => {
            return Err(FrameError::MalformedMethod {
                channel,
                class_id: CLASS_BASIC,
                method_id,
                fault,
            });
        }
    };
    let (first, second) = (bits & 1 != 0, bits & 2 != 0);
    let frame = match method_id {
        METHOD_ACK => Frame::Ack(Ack {
            delivery_tag,
            multiple: first,
        }),
        METHOD_REJECT => Frame::Reject(Reject {
            delivery_tag,
            requeue: first,
        }),
        _ => Frame::Nack(Nack {
            delivery_tag,
            multiple: first,
            requeue: second,
        }),
    };
    Ok(Decoded::Frame {
        channel,
        frame,
        len,
    })
}

#[inline]
fn decode_publish(channel: u16, arguments: &[u8], len: usize) -> Result<Decoded<'_>, FrameError> {
    let malformed = |fault| FrameError::MalformedMethod {
        channel,
        class_id: CLASS_BASIC,
        method_id: METHOD_PUBLISH,
        fault,
    };
    // reserved-1:u16 exchange:shortstr routing-key:shortstr bits:mandatory,immediate
    let names = arguments
        .get(2..)
        .ok_or_else(|| malformed(MethodFault::Truncated))?;
    let (exchange, rest) = short_string(names).map_err(malformed)?;
    let (routing_key, rest) = short_string(rest).map_err(malformed)?;
    let bits = match *rest {
        [bits] => bits,
        [] => return Err(malformed(MethodFault::Truncated)),
        _ => return Err(malformed(MethodFault::TrailingBytes)),
    };
    // Both names and the octets around them at once: nearly always ASCII, and far quicker to see.
    let ascii = names.is_ascii();
    if !ascii
        && (std::str::from_utf8(exchange).is_err() || std::str::from_utf8(routing_key).is_err())
    {
        return Err(malformed(MethodFault::NotUtf8));
    }
    let frame = Frame::Publish(Publish {
        exchange,
        routing_key,
        mandatory: bits & 1 != 0,
        immediate: bits & 2 != 0,
    });
    Ok(Decoded::Frame {
        channel,
        frame,
        len,
    })
}

#[cold]
fn bad_payload_size(channel: u16, frame_type: u8, payload: &[u8]) -> FrameError {
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    FrameError::BadPayloadSize {
        channel,
        frame_type,
        size,
    }
}

#[inline]
fn short_string(input: &[u8]) -> Result<(&[u8], &[u8]), MethodFault> {
    let (&len, rest) = input.split_first().ok_or(MethodFault::Truncated)?;
    rest.split_at_checked(len.into())
        .ok_or(MethodFault::Truncated)
}

#[inline]
fn tag_and_bits(arguments: &[u8]) -> Result<(u64, u8), MethodFault> {
    let (tag, rest) = arguments
        .split_first_chunk::<8>()
        .ok_or(MethodFault::Truncated)?;
    match *rest {
        [bits] => Ok((u64::from_be_bytes(*tag), bits)),
        [] => Err(MethodFault::Truncated),
        _ => Err(MethodFault::TrailingBytes),
    }
}

/// Everything off the hot path goes through `amq-protocol`, after what its parser cannot take has been refused.
#[cold]
fn decode_other(
    channel: u16,
    class_id: u16,
    method_id: u16,
    payload: &[u8],
) -> Result<Frame<'_>, FrameError> {
    if !is_known(class_id, method_id) {
        return Err(FrameError::UnknownMethod {
            channel,
            class_id,
            method_id,
        });
    }
    let malformed = |fault| FrameError::MalformedMethod {
        channel,
        class_id,
        method_id,
        fault,
    };
    // Its table parser recurses without a limit: a small frame of nested tables would end the process.
    match check_table(class_id, method_id, payload.get(4..).unwrap_or_default()) {
        Ok(()) => {}
        Err(MethodFault::Table(TableError::TooDeep)) => {
            return Err(FrameError::TableTooDeep {
                channel,
                class_id,
                method_id,
            });
        }
        Err(fault) => return Err(malformed(fault)),
    }
    match parse_class(payload) {
        Ok(([], class)) => Ok(Frame::Method(Method {
            class_id,
            method_id,
            class: Box::new(class),
        })),
        Ok(_) => Err(malformed(MethodFault::TrailingBytes)),
        Err(error) => Err(malformed(if needs_more(&error) {
            MethodFault::Truncated
        } else {
            MethodFault::Syntax
        })),
    }
}

fn needs_more(error: &amq_protocol::frame::ParserError) -> bool {
    // The parser streams: an argument that ends early looks to it like one that has not arrived yet.
    matches!(
        error,
        amq_protocol::types::parsing::ParserError::Incomplete(Needed::Size(_) | Needed::Unknown)
    )
}

const fn is_known(class_id: u16, method_id: u16) -> bool {
    match class_id {
        10 => matches!(
            method_id,
            10 | 11 | 20 | 21 | 30 | 31 | 40 | 41 | 50 | 51 | 60 | 61 | 70 | 71
        ),
        20 => matches!(method_id, 10 | 11 | 20 | 21 | 40 | 41),
        30 | 85 => matches!(method_id, 10 | 11),
        40 => matches!(method_id, 10 | 11 | 20 | 21 | 30 | 31 | 40 | 51),
        50 => matches!(method_id, 10 | 11 | 20 | 21 | 30 | 31 | 40 | 41 | 50 | 51),
        CLASS_BASIC => matches!(
            method_id,
            10 | 11
                | 20
                | 21
                | 30
                | 31
                | 40
                | 50
                | 60
                | 70
                | 71
                | 72
                | 80
                | 90
                | 100
                | 110
                | 111
                | 120
        ),
        90 => matches!(method_id, 10 | 11 | 20 | 21 | 30 | 31),
        _ => false,
    }
}

/// Where a method's field table begins.
struct TablePlace {
    /// Bytes before the first short string.
    fixed: usize,
    /// Short strings before the table.
    short_strings: usize,
    /// Bytes of bits between the short strings and the table.
    bits: usize,
}

const fn table_place(class_id: u16, method_id: u16) -> Option<TablePlace> {
    let (fixed, short_strings, bits) = match (class_id, method_id) {
        (10, 10) => (2, 0, 0),                 // connection.start
        (10, 11) => (0, 0, 0),                 // connection.start-ok
        (40, 10) | (60, 20) => (2, 2, 1),      // exchange.declare, basic.consume
        (40, 30 | 40) | (50, 20) => (2, 3, 1), // exchange.bind, exchange.unbind, queue.bind
        (50, 10) => (2, 1, 1),                 // queue.declare
        (50, 50) => (2, 3, 0),                 // queue.unbind
        _ => return None,
    };
    Some(TablePlace {
        fixed,
        short_strings,
        bits,
    })
}

fn check_table(class_id: u16, method_id: u16, arguments: &[u8]) -> Result<(), MethodFault> {
    let Some(place) = table_place(class_id, method_id) else {
        return Ok(());
    };
    let mut rest = arguments.get(place.fixed..).ok_or(MethodFault::Truncated)?;
    for _ in 0..place.short_strings {
        let (text, behind) = short_string(rest)?;
        if std::str::from_utf8(text).is_err() {
            return Err(MethodFault::NotUtf8);
        }
        rest = behind;
    }
    let rest = rest.get(place.bits..).ok_or(MethodFault::Truncated)?;
    let (len, rest) = rest
        .split_first_chunk::<4>()
        .ok_or(MethodFault::Truncated)?;
    let raw = rest
        .get(..u32::from_be_bytes(*len) as usize)
        .ok_or(MethodFault::Truncated)?;
    table::validate(raw).map_err(MethodFault::Table)
}
