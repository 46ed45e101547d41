//! A publish on its way in: method, header, body (§4.2.6).

use ternmq_core::message::BODY_INLINE_MAX;

use crate::codec::{self, Decoded};
use crate::error::{BASIC_PUBLISH, Fault, not_a_method, precondition_failed, unexpected_frame};
use crate::frame::{CLASS_BASIC, ContentHeader, Frame, Limits, Publish};

/// Memory set aside for a body before any of it has arrived.
const BODY_CAPACITY_FIRST: usize = BODY_INLINE_MAX;

/// Buffers that grew beyond this are given back after the message.
const BUFFER_KEPT_MAX: usize = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Expected {
    #[default]
    Method,
    Header,
    Body,
}

/// The publish of which not everything has arrived. Its parts are copied, because the input goes.
#[derive(Debug, Default)]
pub(super) struct Content {
    expected: Expected,
    mandatory: bool,
    exchange: Vec<u8>,
    routing_key: Vec<u8>,
    properties: Vec<u8>,
    body_size: u64,
    body: Vec<u8>,
}

/// A publish that has arrived as a whole.
pub(super) struct Whole {
    pub(super) exchange: Vec<u8>,
    pub(super) routing_key: Vec<u8>,
    pub(super) mandatory: bool,
    pub(super) properties: Vec<u8>,
    pub(super) body: Vec<u8>,
}

impl Content {
    /// A method may stand here only between publishes.
    pub(super) fn expect_method(&self) -> Result<(), Fault> {
        match self.expected {
            Expected::Method => Ok(()),
            Expected::Header => Err(header_expected()),
            Expected::Body => Err(body_expected()),
        }
    }

    /// Whether a body frame of that size may come; false if something else is awaited.
    pub(super) fn expects_body(&self, size: usize) -> Result<bool, Fault> {
        if self.expected != Expected::Body {
            return Ok(false);
        }
        if size > self.missing() {
            Err(body_too_long())
        } else {
            Ok(true)
        }
    }

    /// `basic.publish` came.
    pub(super) fn begin(&mut self, publish: &Publish<'_>) {
        debug_assert_eq!(self.expected, Expected::Method);
        self.expected = Expected::Header;
        self.mandatory = publish.mandatory;
        replace(&mut self.exchange, publish.exchange);
        replace(&mut self.routing_key, publish.routing_key);
    }

    /// The header came. Returns whether that was all.
    pub(super) fn header(
        &mut self,
        header: &ContentHeader<'_>,
        body_max: u64,
    ) -> Result<bool, Fault> {
        match self.expected {
            Expected::Method => return Err(not_a_method()),
            Expected::Body => return Err(body_expected()),
            Expected::Header => {}
        }
        check_header(header, body_max).map_err(|fault| fault.in_method(BASIC_PUBLISH))?;
        replace(&mut self.properties, header.properties);
        self.body_size = header.body_size;
        self.body.clear();
        self.expected = Expected::Body;
        Ok(header.body_size == 0)
    }

    /// A piece of the body came. Returns whether that was all.
    pub(super) fn body(&mut self, piece: &[u8]) -> Result<bool, Fault> {
        match self.expected {
            Expected::Method => return Err(not_a_method()),
            Expected::Header => return Err(header_expected()),
            Expected::Body => {}
        }
        let missing = self.missing();
        if piece.len() > missing {
            return Err(body_too_long());
        }
        if self.body.capacity() - self.body.len() < piece.len() {
            // Doubling, but never beyond what was announced: the buffer ends as large as the body.
            let room = self.body.len().max(BODY_CAPACITY_FIRST).max(piece.len());
            self.body.reserve_exact(room.min(missing));
        }
        self.body.extend_from_slice(piece);
        Ok(piece.len() == missing)
    }

    /// Body bytes still to come.
    fn missing(&self) -> usize {
        usize::try_from(self.body_size)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.body.len())
    }

    /// Takes the publish out, once all of it has come. The buffers come back by [`Content::recycle`].
    pub(super) fn finish(&mut self) -> Whole {
        self.expected = Expected::Method;
        Whole {
            exchange: std::mem::take(&mut self.exchange),
            routing_key: std::mem::take(&mut self.routing_key),
            mandatory: self.mandatory,
            properties: std::mem::take(&mut self.properties),
            body: std::mem::take(&mut self.body),
        }
    }

    /// Keeps buffers for the next publish.
    pub(super) fn recycle(&mut self, whole: Whole) {
        self.exchange = whole.exchange;
        self.routing_key = whole.routing_key;
        self.properties = whole.properties;
        if whole.body.capacity() <= BUFFER_KEPT_MAX {
            self.body = whole.body;
        }
    }
}

/// Header and body of a publish, if they stand whole and in one body frame at the front of `input`. Returns the
/// header, the body and the bytes they take. Whatever is unusual is left to the frame by frame way.
#[inline]
pub(crate) fn whole_content(
    input: &[u8],
    channel: u16,
    limits: Limits,
    body_max: u64,
) -> Option<(ContentHeader<'_>, &[u8], usize)> {
    let Ok(Decoded::Frame {
        channel: on,
        frame: Frame::Header(header),
        len: header_len,
    }) = codec::decode(input, &limits)
    else {
        return None;
    };
    if on != channel || header.class_id != CLASS_BASIC || header.body_size > body_max {
        return None;
    }
    if header.body_size == 0 {
        return Some((header, &[], header_len));
    }
    let Ok(Decoded::Frame {
        channel: on,
        frame: Frame::Body(body),
        len: body_len,
    }) = codec::decode(input.get(header_len..)?, &limits)
    else {
        return None;
    };
    let whole = on == channel && body.len() as u64 == header.body_size;
    whole.then_some((header, body, header_len + body_len))
}

fn check_header(header: &ContentHeader<'_>, body_max: u64) -> Result<(), Fault> {
    if header.class_id != CLASS_BASIC {
        let found = header.class_id;
        return Err(unexpected_frame(format!(
            "expected content header for class {CLASS_BASIC}, got one for class {found} instead"
        )));
    }
    if header.body_size > body_max {
        let size = header.body_size;
        return Err(precondition_failed(format!(
            "message size {size} is larger than configured max size {body_max}"
        )));
    }
    Ok(())
}

fn header_expected() -> Fault {
    unexpected_frame(format!(
        "expected content header for class {CLASS_BASIC}, got non content header frame instead"
    ))
    .in_method(BASIC_PUBLISH)
}

fn body_expected() -> Fault {
    unexpected_frame("expected content body, got non content body frame instead")
        .in_method(BASIC_PUBLISH)
}

fn body_too_long() -> Fault {
    unexpected_frame("content body larger than its header announced").in_method(BASIC_PUBLISH)
}

fn replace(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.clear();
    if buffer.capacity() > BUFFER_KEPT_MAX {
        buffer.shrink_to(bytes.len());
    }
    buffer.extend_from_slice(bytes);
}
