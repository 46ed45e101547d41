//! The API without sockets: requests in, answers out, over a broker in memory.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod bindings;
mod clients;
mod definitions;
mod devices;
mod extra;
mod harness;
mod health;
mod messages;
mod node;
mod operators;
mod queues;
mod rates;
mod refusals;
mod rights;
