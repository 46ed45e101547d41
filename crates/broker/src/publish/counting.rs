//! What is counted of a turn, see [`TurnTally`].

use std::sync::Arc;

use ternmq_core::topology::ExchangeTraffic;

use super::{Route, Turn};
use crate::metrics::{TurnTally, Unroutable};

impl Turn {
    /// The publish that came last is to be confirmed: only for those who count.
    #[inline]
    pub fn expect_confirm(&mut self) {
        self.tally.add_to_confirm();
    }

    /// A publish came that reached no queue, by that route: only for those who count.
    #[cold]
    pub fn push_unroutable(&mut self, route: &Route, body_bytes: usize, fate: Unroutable) {
        self.tally
            .add_unroutable(route.traffic.as_ref(), body_bytes, fate);
    }

    pub(crate) fn tally(&self) -> &TurnTally {
        &self.tally
    }

    /// Queues that its messages go to, each counted per message.
    pub(crate) fn copies(&self) -> u64 {
        self.copies as u64
    }

    /// Counts, at the exchanges, what was published to them. Messages to one exchange in a row are counted at once.
    pub(super) fn count_exchanges(&self) {
        for (traffic, count) in self.tally.unrouted() {
            traffic.count(*count, 0);
        }
        let mut current: Option<(&Arc<ExchangeTraffic>, u64, u64)> = None;
        let mut start = 0;
        for (route, end) in &self.runs {
            let published = (end - start) as u64;
            let routed = published * route.targets.len() as u64;
            start = *end;
            let Some(traffic) = &route.traffic else {
                continue;
            };
            match &mut current {
                Some((last, ins, outs)) if Arc::ptr_eq(last, traffic) => {
                    *ins += published;
                    *outs += routed;
                }
                _ => {
                    if let Some((last, ins, outs)) = current.replace((traffic, published, routed)) {
                        last.count(ins, outs);
                    }
                }
            }
        }
        if let Some((last, ins, outs)) = current {
            last.count(ins, outs);
        }
    }
}
