//! Bytes to frames and back; pure, no IO, no state.
//!
//! ```text
//! frame = type:u8 channel:u16 size:u32 payload[size] 0xCE            (§2.3.5)
//!   1 method  = class:u16 method:u16 arguments
//!   2 header  = class:u16 weight:u16 body_size:u64 property_flags:u16 property_list
//!   3 body    = bytes
//!   8 heartbeat
//! ```
//!
//! [`decode`] takes what has been read so far and borrows from it; the caller keeps what is left over and puts it
//! before the next read. The encoders append to the caller's buffer.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{Decoded, ProtocolHeader, decode, decode_protocol_header};
pub use encode::{
    Deliver, EncodeError, GetOk, Return, ack, body, body_frame_end, body_frame_start,
    body_payload_max, deliver, get_ok, header, heartbeat, method, nack, return_,
};

const FRAME_METHOD: u8 = 1;
const FRAME_HEADER: u8 = 2;
const FRAME_BODY: u8 = 3;
const FRAME_HEARTBEAT: u8 = 8;
const FRAME_END: u8 = 0xCE;

/// Bytes before the payload: type, channel, size.
const FRAME_HEADER_LEN: usize = 7;

const METHOD_PUBLISH: u16 = 40;
const METHOD_RETURN: u16 = 50;
const METHOD_DELIVER: u16 = 60;
const METHOD_GET_OK: u16 = 71;
const METHOD_ACK: u16 = 80;
const METHOD_REJECT: u16 = 90;
const METHOD_NACK: u16 = 120;

/// The protocol header a server answers a wrong one with (§4.2.2).
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";
