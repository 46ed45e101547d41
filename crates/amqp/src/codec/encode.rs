//! The writing half. Every encoder either appends whole frames or leaves the buffer as it was.

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::{AMQPClass, gen_class};
use thiserror::Error;

use super::{
    FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_HEADER_LEN, FRAME_HEARTBEAT, FRAME_METHOD,
    METHOD_ACK, METHOD_DELIVER, METHOD_GET_OK, METHOD_NACK, METHOD_RETURN,
};
use crate::frame::{Ack, CLASS_BASIC, FRAME_HARD_MAX, FRAME_MIN_SIZE, FRAME_OVERHEAD, Nack};
use crate::table::TableError;

/// What cannot be said on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum EncodeError {
    /// A short string has 255 bytes at most.
    #[error("short string of {0} bytes")]
    ShortStringTooLong(usize),
    /// A frame's payload has less than 4 GiB.
    #[error("frame payload of {0} bytes")]
    FrameTooLarge(usize),
    /// A field table cannot be written.
    #[error("field table: {0}")]
    Table(#[from] TableError),
    /// `amq-protocol` refused to write the method.
    #[error("method cannot be written")]
    Method,
}

/// `basic.deliver` (§1.8.3.9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deliver<'a> {
    /// The consumer it is for.
    pub consumer_tag: &'a [u8],
    /// Number of the delivery on its channel, from 1.
    pub delivery_tag: u64,
    /// Whether it has been taken before.
    pub redelivered: bool,
    /// Where it was published.
    pub exchange: &'a [u8],
    /// As it was published.
    pub routing_key: &'a [u8],
}

/// `basic.get-ok` (§1.8.3.11).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GetOk<'a> {
    /// Number of the delivery on its channel, from 1.
    pub delivery_tag: u64,
    /// Whether it has been taken before.
    pub redelivered: bool,
    /// Where it was published.
    pub exchange: &'a [u8],
    /// As it was published.
    pub routing_key: &'a [u8],
    /// Messages left ready in the queue.
    pub message_count: u32,
}

/// `basic.return` (§1.8.3.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Return<'a> {
    /// Why, such as 312.
    pub reply_code: u16,
    /// Why, in RabbitMQ's words, such as `NO_ROUTE`.
    pub reply_text: &'a [u8],
    /// Where it was published.
    pub exchange: &'a [u8],
    /// As it was published.
    pub routing_key: &'a [u8],
}

/// Appends `basic.deliver`; a [`header`] and [`body`] must follow.
#[inline]
pub fn deliver(out: &mut Vec<u8>, channel: u16, deliver: &Deliver<'_>) -> Result<(), EncodeError> {
    let tag = short(deliver.consumer_tag)?;
    let exchange = short(deliver.exchange)?;
    let key = short(deliver.routing_key)?;
    let lens = u32::from(tag) + u32::from(exchange) + u32::from(key);
    // consumer-tag:shortstr delivery-tag:u64 redelivered:bit exchange:shortstr routing-key:shortstr
    start_basic(out, channel, METHOD_DELIVER, lens + 12);
    out.push(tag);
    out.extend_from_slice(deliver.consumer_tag);
    let [t0, t1, t2, t3, t4, t5, t6, t7] = deliver.delivery_tag.to_be_bytes();
    out.extend_from_slice(&[
        t0,
        t1,
        t2,
        t3,
        t4,
        t5,
        t6,
        t7,
        deliver.redelivered.into(),
        exchange,
    ]);
    out.extend_from_slice(deliver.exchange);
    out.push(key);
    out.extend_from_slice(deliver.routing_key);
    out.push(FRAME_END);
    Ok(())
}

/// Appends `basic.get-ok`; a [`header`] and [`body`] must follow.
pub fn get_ok(out: &mut Vec<u8>, channel: u16, get_ok: &GetOk<'_>) -> Result<(), EncodeError> {
    let exchange = short(get_ok.exchange)?;
    let key = short(get_ok.routing_key)?;
    // delivery-tag:u64 redelivered:bit exchange:shortstr routing-key:shortstr message-count:u32
    start_basic(
        out,
        channel,
        METHOD_GET_OK,
        u32::from(exchange) + u32::from(key) + 15,
    );
    out.extend_from_slice(&get_ok.delivery_tag.to_be_bytes());
    out.extend_from_slice(&[get_ok.redelivered.into(), exchange]);
    out.extend_from_slice(get_ok.exchange);
    out.push(key);
    out.extend_from_slice(get_ok.routing_key);
    out.extend_from_slice(&get_ok.message_count.to_be_bytes());
    out.push(FRAME_END);
    Ok(())
}

/// Appends `basic.return`; a [`header`] and [`body`] must follow.
pub fn return_(out: &mut Vec<u8>, channel: u16, returned: &Return<'_>) -> Result<(), EncodeError> {
    let text = short(returned.reply_text)?;
    let exchange = short(returned.exchange)?;
    let key = short(returned.routing_key)?;
    // reply-code:u16 reply-text:shortstr exchange:shortstr routing-key:shortstr
    start_basic(
        out,
        channel,
        METHOD_RETURN,
        u32::from(text) + u32::from(exchange) + u32::from(key) + 5,
    );
    out.extend_from_slice(&returned.reply_code.to_be_bytes());
    out.push(text);
    out.extend_from_slice(returned.reply_text);
    out.push(exchange);
    out.extend_from_slice(returned.exchange);
    out.push(key);
    out.extend_from_slice(returned.routing_key);
    out.push(FRAME_END);
    Ok(())
}

/// Appends `basic.ack`.
#[inline]
pub fn ack(out: &mut Vec<u8>, channel: u16, ack: Ack) {
    tag_and_bits(
        out,
        channel,
        METHOD_ACK,
        (ack.delivery_tag, ack.multiple.into()),
    );
}

/// Appends `basic.nack`.
#[inline]
pub fn nack(out: &mut Vec<u8>, channel: u16, nack: Nack) {
    let bits = u8::from(nack.multiple) | u8::from(nack.requeue) << 1;
    tag_and_bits(out, channel, METHOD_NACK, (nack.delivery_tag, bits));
}

/// Appends a content header with raw property flags and list; empty `properties_raw` stands for none.
#[inline]
pub fn header(
    out: &mut Vec<u8>,
    channel: u16,
    body_size: u64,
    properties_raw: &[u8],
) -> Result<(), EncodeError> {
    let properties: &[u8] = if properties_raw.is_empty() {
        &[0, 0]
    } else {
        properties_raw
    };
    let size = u32::try_from(properties.len() + 12)
        .map_err(|_| EncodeError::FrameTooLarge(properties.len()))?;
    out.reserve(FRAME_OVERHEAD + 12 + properties.len());
    start_frame(out, FRAME_HEADER, channel, size);
    let [c0, c1] = CLASS_BASIC.to_be_bytes();
    let [b0, b1, b2, b3, b4, b5, b6, b7] = body_size.to_be_bytes();
    out.extend_from_slice(&[c0, c1, 0, 0, b0, b1, b2, b3, b4, b5, b6, b7]);
    out.extend_from_slice(properties);
    out.push(FRAME_END);
    Ok(())
}

/// Largest piece of a body in one frame, in bytes.
#[inline]
pub const fn body_payload_max(frame_max: u32) -> usize {
    let max = if frame_max == 0 || frame_max > FRAME_HARD_MAX {
        FRAME_HARD_MAX
    } else if frame_max < FRAME_MIN_SIZE {
        FRAME_MIN_SIZE
    } else {
        frame_max
    };
    max as usize - FRAME_OVERHEAD
}

/// Appends a body in as many frames as `frame_max` asks for; an empty body has none (§2.3.5.2).
#[inline]
pub fn body(out: &mut Vec<u8>, channel: u16, body: &[u8], frame_max: u32) {
    for piece in body.chunks(body_payload_max(frame_max)) {
        out.reserve(piece.len() + FRAME_OVERHEAD);
        // At most FRAME_HARD_MAX bytes.
        body_frame_start(out, channel, u32::try_from(piece.len()).unwrap_or(u32::MAX));
        out.extend_from_slice(piece);
        out.push(FRAME_END);
    }
}

/// Appends what stands before a body frame's payload of `len` bytes, which the caller sends itself, at most
/// [`body_payload_max`] at a time. [`body_frame_end`] closes the frame.
#[inline]
pub fn body_frame_start(out: &mut Vec<u8>, channel: u16, len: u32) {
    start_frame(out, FRAME_BODY, channel, len);
}

/// Appends what stands behind a body frame's payload.
#[inline]
pub fn body_frame_end(out: &mut Vec<u8>) {
    out.push(FRAME_END);
}

/// Appends any method off the hot path.
pub fn method(out: &mut Vec<u8>, channel: u16, class: &AMQPClass) -> Result<(), EncodeError> {
    // Its writer takes the buffer and loses it on error, so that the frames already in `out` must not be in it.
    let payload = gen_class(class)(WriteContext {
        write: Vec::new(),
        position: 0,
    })
    .map_err(|_| EncodeError::Method)?;
    let payload = payload.write;
    let size =
        u32::try_from(payload.len()).map_err(|_| EncodeError::FrameTooLarge(payload.len()))?;
    start_frame(out, FRAME_METHOD, channel, size);
    out.extend_from_slice(&payload);
    out.push(FRAME_END);
    Ok(())
}

/// Appends a heartbeat.
pub fn heartbeat(out: &mut Vec<u8>) {
    start_frame(out, FRAME_HEARTBEAT, 0, 0);
    out.push(FRAME_END);
}

#[inline]
fn short(text: &[u8]) -> Result<u8, EncodeError> {
    u8::try_from(text.len()).map_err(|_| EncodeError::ShortStringTooLong(text.len()))
}

#[inline]
fn start_frame(out: &mut Vec<u8>, frame_type: u8, channel: u16, size: u32) {
    let [c0, c1] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = size.to_be_bytes();
    out.extend_from_slice(&[frame_type, c0, c1, s0, s1, s2, s3]);
}

/// Starts a method of class basic whose arguments take `arguments` bytes, and makes room for all of it.
#[inline]
fn start_basic(out: &mut Vec<u8>, channel: u16, method_id: u16, arguments: u32) {
    let size = arguments + 4;
    out.reserve(size as usize + FRAME_OVERHEAD);
    let [c0, c1] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = size.to_be_bytes();
    let [k0, k1] = CLASS_BASIC.to_be_bytes();
    let [m0, m1] = method_id.to_be_bytes();
    out.extend_from_slice(&[FRAME_METHOD, c0, c1, s0, s1, s2, s3, k0, k1, m0, m1]);
}

#[inline]
fn tag_and_bits(out: &mut Vec<u8>, channel: u16, method_id: u16, (delivery_tag, bits): (u64, u8)) {
    const LEN: usize = FRAME_HEADER_LEN + 4 + 8 + 1 + 1;
    let mut frame = [
        FRAME_METHOD,
        0,
        0,
        0,
        0,
        0,
        13,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        bits,
        FRAME_END,
    ];
    const { assert!(LEN == 21, "the array below is one whole frame") };
    frame[1..3].copy_from_slice(&channel.to_be_bytes());
    frame[7..9].copy_from_slice(&CLASS_BASIC.to_be_bytes());
    frame[9..11].copy_from_slice(&method_id.to_be_bytes());
    frame[11..19].copy_from_slice(&delivery_tag.to_be_bytes());
    out.extend_from_slice(&frame);
}
