//! What others see of a channel: numbers of its own, and what it says to the broker's counters.

use ternmq_broker::inspect::{ChannelMode, ChannelStats};
use ternmq_broker::{Route, Turn, Unroutable};
use ternmq_core::id::Timestamp;
use ternmq_core::message::Body;
use ternmq_core::queue::{Delivery, Outcome};

use super::{Mode, Session};
use crate::frame::Publish;

/// Deliveries of one turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivered {
    manual: u64,
    auto: u64,
    redelivered: u64,
}

impl Delivered {
    #[inline]
    pub(super) fn add(&mut self, delivery: &Delivery) {
        self.auto += u64::from(delivery.settled);
        self.manual += u64::from(!delivery.settled);
        self.redelivered += u64::from(delivery.redelivered);
    }
}

/// What becomes of a publish that reaches no queue.
pub(super) const fn fate_of(publish: &Publish<'_>) -> Unroutable {
    if publish.mandatory {
        Unroutable::Returned
    } else {
        Unroutable::Dropped
    }
}

/// A message reached no queue.
#[cold]
pub(super) fn count_unroutable(
    stats: &ChannelStats,
    turn: &mut Turn,
    (route, body): (&Route, &Body<'_>),
    fate: Unroutable,
) {
    let body_bytes = match body {
        Body::Inline(body) => body.len(),
        Body::Shared(body) => body.len(),
    };
    turn.push_unroutable(route, body_bytes, fate);
    match fate {
        Unroutable::Dropped => stats.unroutable.add(1),
        Unroutable::Returned => stats.returned.add(1),
    }
}

impl Session {
    pub(super) fn count_consumed(&self, delivered: Delivered) {
        self.stats.delivered.add(delivered.manual);
        self.stats.delivered_auto.add(delivered.auto);
        self.stats.redelivered.add(delivered.redelivered);
    }

    pub(super) fn count_got(&self, delivery: Option<&Delivery>) {
        let Some(delivery) = delivery else {
            return self.stats.got_empty.add(1);
        };
        if delivery.settled {
            self.stats.got_auto.add(1);
        } else {
            self.stats.got.add(1);
        }
        self.stats.redelivered.add(delivery.redelivered.into());
    }

    pub(super) fn count_settled(&self, outcome: Outcome, deliveries: u64) {
        if outcome == Outcome::Ack {
            self.stats.acked.add(deliveries);
        }
    }

    /// Shows how things stand: called once a turn in which anything happened.
    pub(crate) fn show(&self, now: Timestamp) {
        let stats = &*self.stats;
        stats.set_active(now);
        stats.unacknowledged.set(self.unacked.len() as u64);
        match &self.mode {
            Mode::Plain => {}
            Mode::Confirming(confirming) => stats.unconfirmed.set(confirming.owed()),
            Mode::Transacted(transactions) => {
                let (publishes, acks) = transactions.held();
                stats.uncommitted.set(publishes);
                stats.acks_uncommitted.set(acks);
            }
        }
    }

    /// Shows what only methods change.
    pub(super) fn show_settings(&self) {
        let stats = &*self.stats;
        stats.set_mode(match &self.mode {
            Mode::Plain => ChannelMode::Plain,
            Mode::Confirming(_) => ChannelMode::Confirm,
            Mode::Transacted(_) => ChannelMode::Transactional,
        });
        stats.prefetch.set(self.prefetch.into());
        let shared = self.shared_credit.as_ref().map(|shared| shared.limit());
        let shared = shared.filter(|limit| *limit != u32::MAX);
        stats.global_prefetch.set(shared.unwrap_or(0).into());
        stats.consumers.set(self.consumers.len() as u64);
    }
}
