//! Acknowledging: what the client says about its deliveries.

use amq_protocol::protocol::{AMQPClass, basic};
use ternmq_broker::Client;
use ternmq_core::id::Timestamp;
use ternmq_core::queue::Outcome;

use super::{Answer, Context, Mode, Session};
use crate::error::{Fault, not_implemented, precondition_failed};
use crate::frame::{Ack, Nack, Reject};

impl Session {
    #[inline]
    pub(crate) fn on_ack(&mut self, ack: Ack) -> Result<(), Fault> {
        self.content.expect_method()?;
        self.settle_tags(ack.delivery_tag, ack.multiple, Outcome::Ack)
    }

    pub(crate) fn on_nack(&mut self, nack: Nack) -> Result<(), Fault> {
        self.content.expect_method()?;
        let outcome = if nack.requeue {
            Outcome::Return { failed: false }
        } else {
            Outcome::Reject { failed: false }
        };
        self.settle_tags(nack.delivery_tag, nack.multiple, outcome)
    }

    pub(crate) fn on_reject(&mut self, reject: Reject) -> Result<(), Fault> {
        self.content.expect_method()?;
        let outcome = if reject.requeue {
            Outcome::Return { failed: true }
        } else {
            Outcome::Reject { failed: true }
        };
        self.settle_tags(reject.delivery_tag, false, outcome)
    }

    #[inline]
    fn settle_tags(&mut self, tag: u64, multiple: bool, outcome: Outcome) -> Result<(), Fault> {
        let Self {
            unacked,
            queues,
            mode,
            ..
        } = self;
        let before = unacked.len();
        let known = if let Mode::Transacted(transactions) = mode {
            transactions.settle((tag, multiple), outcome, unacked)?
        } else if multiple {
            unacked.take_up_to(tag, |_, d| queues.settle(d.queue, d.position, outcome))
        } else {
            unacked
                .take(tag)
                .map(|d| queues.settle(d.queue, d.position, outcome))
                .is_some()
        };
        let settled = (before - unacked.len()) as u64;
        self.count_settled(outcome, settled);
        if known {
            Ok(())
        } else {
            Err(precondition_failed(format!("unknown delivery tag {tag}")))
        }
    }

    pub(super) fn on_recover(
        &mut self,
        requeue: bool,
        answer: Answer,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        if !requeue {
            return Err(not_implemented("requeue=false"));
        }
        self.return_all(Outcome::Return { failed: false });
        self.settle(cx.client, cx.now);
        if answer == Answer::Wanted {
            let ok = basic::AMQPMethod::RecoverOk(basic::RecoverOk {});
            self.reply(&AMQPClass::Basic(ok), cx);
        }
        Ok(())
    }

    /// Settles everything outstanding.
    pub(super) fn return_all(&mut self, outcome: Outcome) {
        let Self {
            unacked, queues, ..
        } = self;
        unacked.take_up_to(0, |_, d| queues.settle(d.queue, d.position, outcome));
    }

    /// Whether nothing waits to be settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.queues.is_clean()
    }

    /// Carries out what was said since the last time.
    pub(crate) fn settle(&mut self, client: &mut Client, now: Timestamp) {
        if self.queues.is_clean() {
            return;
        }
        self.hold_shared();
        self.queues.flush(client, now);
        self.replenish(client);
        self.show(now);
    }

    /// Deliveries are about to be settled; [`Self::replenish`] must follow.
    pub(super) fn hold_shared(&self) {
        if let Some(shared) = &self.shared_credit {
            shared.hold();
        }
    }

    /// Deliveries were settled: what they gave back of a shared credit goes to the channel's consumers in turns,
    /// whichever of them and of their queues gave it.
    pub(super) fn replenish(&mut self, client: &mut Client) {
        let Some(shared) = &self.shared_credit else {
            return;
        };
        shared.resume();
        let consumers = self.consumers.len();
        if consumers > 0 {
            self.first_served = (self.first_served + 1) % consumers;
        }
        for consumer in self.consumers.iter().skip(self.first_served) {
            client.replenish(&consumer.broker);
        }
        for consumer in self.consumers.iter().take(self.first_served) {
            client.replenish(&consumer.broker);
        }
    }
}
