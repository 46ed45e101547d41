//! What survives the end of the process, and how much room it takes: the real binary, ended and started again on the
//! same data directory.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "tests"
)]

mod access;
mod cold;
mod damage;
mod delayed;
mod devices;
mod messages;
mod room;
#[path = "../support/mod.rs"]
mod support;
mod topology;
mod watermarks;
