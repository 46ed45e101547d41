//! Connections and sessions by scripts of packets: one test per behaviour, named by it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod access;
mod auth;
mod certificate;
mod connect;
mod delayed;
mod deliver;
mod disconnect;
mod elsewhere;
mod ended;
mod exactly_once;
mod expiry;
mod harness;
mod inspect;
mod interop;
mod keep_alive;
mod limits;
mod log;
mod malformed;
mod publish;
mod queue;
mod restart;
mod retained;
mod sessions;
mod shared;
mod subscribe;
mod sys;
mod topic_alias;
mod waits;
mod will;
