//! TernMQ's metrics for Prometheus, under the names and labels of RabbitMQ's plugin, so that its dashboards and alerts
//! work; what only TernMQ has begins with `ternmq_`.
//!
//! It does not know HTTP: an answer is an iterator over its parts, [`Scrape`], and only one part is in memory at a time,
//! besides the numbers of the objects that are being written. Nothing is counted here: all numbers are the broker's
//! ([`ternmq_broker::inspect`]) or the process's own ([`Machine`]).
//!
//! Where to start: [`Endpoint`] and [`Scrape::new`] say what is answered to whom; `queues.rs`, `clients.rs`,
//! `topology.rs`, `node.rs`, `global.rs` and `own.rs` have the families, `text.rs` the format.

mod clients;
mod facts;
mod family;
mod global;
mod gzip;
mod node;
mod own;
mod queues;
mod scrape;
mod selection;
mod text;
mod topology;

pub use crate::facts::{Facts, Machine};
pub use crate::gzip::Gzip;
pub use crate::scrape::{Endpoint, Scrape};
pub use crate::selection::Selection;

use std::sync::Arc;

use ternmq_broker::Broker;

/// The media type of an answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where numbers come from.
#[derive(Clone)]
pub struct Source {
    /// The broker.
    pub broker: Broker,
    /// What is known of the process.
    pub facts: Arc<Facts>,
    /// What it takes now.
    pub machine: Machine,
}

impl Source {
    fn vhosts(&self) -> Vec<Box<str>> {
        self.broker.vhosts()
    }
}

#[cfg(test)]
mod tests;
