//! The AMQP machine by script: frames or bytes in, frames out, virtual time, a broker in memory. Frames are built
//! and read by `amq-protocol`, which shares no code with the codec under test.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod access;
mod channels;
mod consume;
mod consumer_timeout;
mod content;
mod declare;
mod durable;
mod elsewhere;
mod exchanges;
mod frames;
mod garbage;
mod handshake;
mod harness;
mod inspect;
mod lifetimes;
mod liveness;
mod publish;
mod quorum;
mod reply_to;
mod settle;
mod transaction;
