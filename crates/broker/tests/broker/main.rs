//! The broker without sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod dead_letters;
mod fanout;
mod node;
mod topology;
mod verbs;
