//! The broker without sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod dead_letters;
mod delayed;
mod fanout;
mod headed;
mod history;
mod node;
mod policies;
mod topology;
mod verbs;
