//! The socket loop with an echo machine over real loopback sockets.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests measure time, start tasks and fail by panicking"
)]

mod certificates;
mod driver;
mod proxied;
mod support;
mod time;
mod tls;
mod websocket;
