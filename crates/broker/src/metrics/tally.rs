//! What is counted of the publishes of one turn, while they are collected.

use std::sync::Arc;

use ternmq_core::topology::ExchangeTraffic;

use super::histogram::{SIZES, size_bucket};

/// An empty turn keeps memory for the counters of so many exchanges.
const UNROUTED_KEPT_MAX: usize = 4;

/// What becomes of a message that reaches no queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unroutable {
    /// It is dropped.
    Dropped,
    /// It goes back to its publisher.
    Returned,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct TurnTally {
    sizes: [u32; SIZES],
    messages: u32,
    to_confirm: u32,
    dropped: u32,
    returned: u32,
    bytes: u64,
    /// Messages that reached no queue, by the exchange they were published to; those of one exchange in a row together.
    unrouted: Vec<(Arc<ExchangeTraffic>, u64)>,
}

impl TurnTally {
    #[inline]
    pub(crate) fn add(&mut self, body_bytes: usize) {
        let bytes = body_bytes as u64;
        self.sizes[size_bucket(bytes)] += 1;
        self.messages += 1;
        self.bytes += bytes;
    }

    #[inline]
    pub(crate) fn add_to_confirm(&mut self) {
        self.to_confirm += 1;
    }

    pub(crate) fn add_unroutable(
        &mut self,
        exchange: Option<&Arc<ExchangeTraffic>>,
        body_bytes: usize,
        fate: Unroutable,
    ) {
        self.add(body_bytes);
        match fate {
            Unroutable::Dropped => self.dropped += 1,
            Unroutable::Returned => self.returned += 1,
        }
        let Some(exchange) = exchange else { return };
        match self.unrouted.last_mut() {
            Some((last, count)) if Arc::ptr_eq(last, exchange) => *count += 1,
            _ => self.unrouted.push((exchange.clone(), 1)),
        }
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages.into()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    pub(crate) fn to_confirm(&self) -> u64 {
        self.to_confirm.into()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.into()
    }

    pub(crate) fn returned(&self) -> u64 {
        self.returned.into()
    }

    pub(crate) fn sizes(&self) -> &[u32; SIZES] {
        &self.sizes
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn unrouted(&self) -> &[(Arc<ExchangeTraffic>, u64)] {
        &self.unrouted
    }

    pub(crate) fn clear(&mut self) {
        let mut unrouted = std::mem::take(&mut self.unrouted);
        unrouted.clear();
        if unrouted.capacity() > UNROUTED_KEPT_MAX {
            unrouted = Vec::new();
        }
        *self = Self {
            unrouted,
            ..Self::default()
        };
    }
}
