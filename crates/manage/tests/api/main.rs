//! The API without sockets: requests in, answers out, over a broker in memory.

mod bindings;
mod clients;
mod definitions;
mod extra;
mod harness;
mod health;
mod messages;
mod node;
mod operators;
mod queues;
mod rates;
mod rights;
