//! TernMQ's core: messages, routing, queues. Pure values and state machines.
//!
//! It does not know: sockets, clocks, files, tasks, locks, or any protocol. Time comes in as an argument
//! ([`id::Timestamp`]); everything it decides goes out as a value or through a caller's effects buffer.
//! `#![no_std]` makes the compiler hold this.
//!
//! Where to start: [`message`] is what travels, [`topology`] says where it goes, [`queue`] is where it waits.
#![no_std]

extern crate alloc;

pub mod access;
pub mod confirms;
pub mod dead_letter;
pub mod error;
pub mod id;
pub mod message;
pub mod policy;
pub mod queue;
pub mod record;
pub mod retained;
pub mod routing;
pub mod tags;
pub mod topology;
pub mod value;
