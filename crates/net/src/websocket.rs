//! WebSocket (RFC 6455) below a protocol that does not know of it: the payload of binary messages is the stream of
//! bytes, however it is cut into messages and frames.
//!
//! ```text
//! GET /ws ──upgrade──► 101 ──► frames: [head | masked payload] ──decode──► payload ──► machine
//!                                        ping ──► pong, close ──► close       machine ──encode──► frames
//! ```
//!
//! [`decode`] and [`upgrade`] are pure; `stream` feeds them from a socket.

pub mod decode;
mod encode;
pub(crate) mod stream;
pub mod upgrade;

pub use upgrade::WebSocketConfig;
