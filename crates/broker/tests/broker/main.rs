//! The broker without sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod node;
mod verbs;
