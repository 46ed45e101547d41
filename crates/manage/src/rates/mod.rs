//! Counters over time: what rates are made from.
//!
//! The broker counts and knows no rates. Here its counters are looked at every few seconds ([`Sampler`]) and kept for a
//! bounded time ([`History`]), of each object only the moments at which something had changed: what is idle costs one
//! sample. What is shown of it are [`Measures`] with [`Details`].

mod details;
mod history;
mod numbers;
mod objects;
mod sampler;

pub(crate) use details::{Details, Measures, Ranges};
pub(crate) use history::History;
pub(crate) use numbers::{
    ChannelNumbers, ConnectionNumbers, ExchangeNumbers, NodeNumbers, Numbers, QueueNumbers,
    VhostNumbers, channel_numbers, exchange_numbers, queue_numbers,
};
pub(crate) use sampler::{Past, Sampler};
