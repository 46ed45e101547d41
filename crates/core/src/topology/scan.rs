//! Looking at what is declared in parts, so that nobody holds the lock for as long as all of it takes; and what is
//! counted of exchanges.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use super::index::Slab;
use super::{BindingDecl, ExchangeDecl, QueueEntry, Topology};

/// What went through an exchange. It is counted while the topology is read only, so these are atomics; whoever
/// publishes counts once per turn and exchange.
#[derive(Debug, Default)]
pub struct ExchangeTraffic {
    published: AtomicU64,
    routed: AtomicU64,
}

impl ExchangeTraffic {
    /// Counts messages that were published here, and the copies that went into queues.
    pub fn count(&self, published: u64, routed: u64) {
        if published > 0 {
            self.published.fetch_add(published, Ordering::Relaxed);
        }
        if routed > 0 {
            self.routed.fetch_add(routed, Ordering::Relaxed);
        }
    }

    /// Messages published to this exchange.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Copies of them that went into queues.
    pub fn routed(&self) -> u64 {
        self.routed.load(Ordering::Relaxed)
    }
}

/// Where to go on looking. What is there all the time is seen once; what comes or goes meanwhile may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place(u32);

fn scan<T>(slab: &Slab<T>, from: Place, count: usize, mut each: impl FnMut(&T)) -> Option<Place> {
    let mut left = count;
    for (slot, value) in slab.iter_from(from.0) {
        if left == 0 {
            return Some(Place(slot));
        }
        left -= 1;
        each(value);
    }
    None
}

impl Topology {
    /// Looks at up to `count` exchanges from a place on, the predeclared ones first. Returns where to go on.
    pub fn scan_exchanges(
        &self,
        from: Place,
        count: usize,
        mut each: impl FnMut(&ExchangeDecl, &Arc<ExchangeTraffic>),
    ) -> Option<Place> {
        scan(&self.exchanges, from, count, |exchange| {
            each(&exchange.decl, &exchange.traffic);
        })
    }

    /// The same for queues.
    pub fn scan_queues(
        &self,
        from: Place,
        count: usize,
        each: impl FnMut(&QueueEntry),
    ) -> Option<Place> {
        let mut each = each;
        scan(&self.queues, from, count, |queue| each(&queue.entry))
    }

    /// The same for bindings, those of queues to the default exchange left out.
    pub fn scan_bindings(
        &self,
        from: Place,
        count: usize,
        mut each: impl FnMut(BindingDecl<'_>),
    ) -> Option<Place> {
        scan(&self.bindings, from, count, |binding| {
            each(self.declaration(binding));
        })
    }

    /// What went through the exchange of that name.
    pub fn exchange_traffic(&self, name: &str) -> Option<&Arc<ExchangeTraffic>> {
        self.exchange_slot(name.as_bytes())
            .map(|slot| &self.exchanges[slot].traffic)
    }

    /// The queue of that name, whoever owns it.
    pub fn queue_named(&self, name: &str) -> Option<&QueueEntry> {
        self.queue_slot(name.as_bytes())
            .map(|slot| &self.queues[slot].entry)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn scan_sees_each_exchange_once_however_few_it_looks_at() {
        let topology = Topology::new();
        let all: Vec<_> = topology.exchanges().map(|x| x.name.clone()).collect();
        for count in 1..=all.len() + 1 {
            let (mut seen, mut next) = (Vec::new(), Some(Place::default()));
            while let Some(from) = next {
                let before = seen.len();
                next = topology.scan_exchanges(from, count, |x, _| seen.push(x.name.clone()));
                assert!(seen.len() - before <= count);
            }
            assert_eq!(seen, all);
        }
    }
}
