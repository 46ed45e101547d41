//! Transactions: publishes and acknowledgements that take effect together (class tx).
//!
//! ```text
//! tx.select ──► Transacted:  [ held ] ── tx.commit ────► one step of the broker, returns, tx.commit-ok when it is safe
//!                 ▲             └── tx.rollback ──► publishes dropped, deliveries outstanding again, tx.rollback-ok
//!                 └── the next transaction begins at once
//! ```
//! Publishes are checked and routed as they come. A channel that closes rolls back.

use amq_protocol::protocol::{AMQPClass, tx};
use ternmq_broker::{Route, Settlement, Turn};
use ternmq_core::confirms::{Confirm, Confirms};
use ternmq_core::id::{Lsn, Position};
use ternmq_core::message::Body;
use ternmq_core::queue::Outcome;
use ternmq_net::machine::Output;

use std::sync::Arc;

use super::counting::{count_unroutable, fate_of};
use super::publish::{message, put_return};
use super::queues::Queues;
use super::unacked::{Delivered, Unacked};
use super::{Context, Mode, Session, unimplemented_method, write_method};
use crate::error::{Fault, precondition_failed};
use crate::frame::Publish;
use crate::mapping::Incoming;

/// What a held publish takes beside its message: its places in the turn.
const PUBLISH_BYTES: usize = 64;

/// The transactions of a channel, one after the other.
pub(super) struct Transactions {
    held: Held,
    held_bytes_max: usize,
    /// Number of the last commit; the first is 1.
    last_commit: u64,
    /// Number of the last commit that was answered.
    last_answered: u64,
    /// Commits that wait for the journal.
    owed: Confirms,
}

/// What one transaction holds back.
#[derive(Default)]
struct Held {
    turn: Turn,
    /// Mandatory messages without a queue, as they will be sent back.
    returns: Vec<u8>,
    settled: Vec<Settled>,
    /// Bytes of the turn.
    turn_bytes: usize,
}

/// What the client said about a delivery.
#[derive(Clone, Copy)]
struct Settled {
    tag: u64,
    delivered: Delivered,
    outcome: Outcome,
}

const _: () = assert!(
    size_of::<Settled>() <= 64,
    "the configuration's documentation says so"
);

impl Held {
    fn bytes(&self) -> usize {
        self.turn_bytes + self.returns.len() + self.settled.len() * size_of::<Settled>()
    }
}

impl Transactions {
    fn new(held_bytes_max: usize) -> Self {
        Self {
            held: Held::default(),
            held_bytes_max,
            last_commit: 0,
            last_answered: 0,
            owed: Confirms::new(),
        }
    }

    /// Holds back what the client said of one delivery, or of all up to that tag. Returns whether it is known.
    pub(super) fn settle(
        &mut self,
        (tag, multiple): (u64, bool),
        outcome: Outcome,
        unacked: &mut Unacked,
    ) -> Result<bool, Fault> {
        let settled = &mut self.held.settled;
        let mut hold = |tag, delivered| {
            settled.push(Settled {
                tag,
                delivered,
                outcome,
            });
        };
        let known = if multiple {
            unacked.take_up_to(tag, hold)
        } else {
            unacked.take(tag).map(|d| hold(tag, d)).is_some()
        };
        self.check_size()?;
        Ok(known)
    }

    fn check_size(&self) -> Result<(), Fault> {
        let max = self.held_bytes_max;
        if self.held.bytes() <= max {
            return Ok(());
        }
        Err(precondition_failed(format!(
            "transaction is larger than transaction_bytes_max ({max})"
        )))
    }

    /// How many publishes and acknowledgements wait for a commit.
    pub(super) fn held(&self) -> (u64, u64) {
        (self.held.turn.len() as u64, self.held.settled.len() as u64)
    }

    /// Drops publishes and makes deliveries outstanding again.
    fn roll_back(&mut self, unacked: &mut Unacked) {
        let held = std::mem::take(&mut self.held);
        if !held.settled.is_empty() {
            unacked.put_back(held.settled.iter().map(|s| (s.tag, s.delivered)));
        }
    }

    /// Whether commits wait to be answered.
    pub(super) fn owes_answers(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Answers the commits that the journal's watermark allows. `due` is a buffer.
    pub(super) fn answer(
        &mut self,
        channel: u16,
        committed: Lsn,
        due: &mut Vec<Confirm>,
        out: &mut Output,
    ) {
        self.owed.poll(committed, due);
        for confirm in due.drain(..) {
            let (Confirm::Ack { up_to, .. } | Confirm::Nack { sequence: up_to }) = confirm;
            debug_assert!(
                matches!(confirm, Confirm::Ack { .. }),
                "a commit that fails closes its channel"
            );
            while self.last_answered < up_to {
                self.last_answered += 1;
                let ok = tx::AMQPMethod::CommitOk(tx::CommitOk {});
                write_method(channel, &AMQPClass::Tx(ok), out);
            }
        }
    }
}

/// Deliveries of one queue that end in the same way.
struct Group {
    queue: u32,
    outcome: Outcome,
    positions: Vec<Position>,
}

/// Groups what ends in the same way, each queue's in the order it was said.
fn groups(settled: &mut [Settled]) -> Vec<Group> {
    settled.sort_by_key(|s| s.delivered.queue);
    settled
        .chunk_by(|a, b| a.delivered.queue == b.delivered.queue && a.outcome == b.outcome)
        .map(|chunk| Group {
            queue: chunk[0].delivered.queue,
            outcome: chunk[0].outcome,
            positions: chunk.iter().map(|s| s.delivered.position).collect(),
        })
        .collect()
}

/// What the broker is to settle.
fn settlements<'a>(groups: &'a [Group], queues: &'a Queues) -> Vec<Settlement<'a>> {
    let settlement = |group: &'a Group| {
        Some(Settlement {
            queue: queues.handle(group.queue)?,
            positions: &group.positions,
            outcome: group.outcome,
        })
    };
    groups.iter().filter_map(settlement).collect()
}

impl Session {
    pub(super) fn on_tx(
        &mut self,
        method: &tx::AMQPMethod,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        match method {
            tx::AMQPMethod::Select(_) => self.on_tx_select(cx),
            tx::AMQPMethod::Commit(_) => self.on_commit(cx),
            tx::AMQPMethod::Rollback(_) => self.on_rollback(cx),
            _ => Err(unimplemented_method()),
        }
    }

    fn on_tx_select(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        match self.mode {
            Mode::Plain => {
                let transactions = Transactions::new(cx.wire.transaction_bytes_max);
                self.mode = Mode::Transacted(Box::new(transactions));
            }
            Mode::Transacted(_) => {}
            Mode::Confirming(_) => {
                return Err(precondition_failed("cannot switch from confirm to tx mode"));
            }
        }
        let ok = tx::AMQPMethod::SelectOk(tx::SelectOk {});
        self.reply(&AMQPClass::Tx(ok), cx);
        Ok(())
    }

    fn on_rollback(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        if !matches!(self.mode, Mode::Transacted(_)) {
            return Err(not_transactional());
        }
        self.roll_back();
        let ok = tx::AMQPMethod::RollbackOk(tx::RollbackOk {});
        self.reply(&AMQPClass::Tx(ok), cx);
        Ok(())
    }

    /// Undoes an open transaction, if there is one.
    pub(super) fn roll_back(&mut self) {
        if let Mode::Transacted(transactions) = &mut self.mode {
            transactions.roll_back(&mut self.unacked);
        }
    }

    /// Holds a publish back.
    #[cold]
    pub(super) fn hold(
        &mut self,
        publish: &Publish<'_>,
        incoming: Incoming<'_>,
        body: Body<'_>,
        route: Arc<Route>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Mode::Transacted(transactions) = &mut self.mode else {
            return Err(not_transactional());
        };
        let held = &mut transactions.held;
        if publish.mandatory && route.is_unroutable() {
            let wire = (self.id, cx.wire.frame_max);
            put_return(wire, publish, &incoming.native, &body, &mut held.returns);
        }
        if route.is_empty() {
            let fate = fate_of(publish);
            count_unroutable(&self.stats, &mut held.turn, (&route, &body), fate);
        } else {
            let message = message(publish, incoming, body, cx);
            held.turn_bytes += message.resident_bytes() + PUBLISH_BYTES;
            held.turn.push(message, route);
        }
        transactions.check_size()
    }

    fn on_commit(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Mode::Transacted(transactions) = &mut self.mode else {
            return Err(not_transactional());
        };
        let held = &mut transactions.held;
        let groups = groups(&mut held.settled);
        let settlements = settlements(&groups, &self.queues);
        if let Some(shared) = self
            .shared_credit
            .as_ref()
            .filter(|_| !settlements.is_empty())
        {
            // Until it is shared out anew.
            shared.hold();
        }
        let (lsn, all_taken) = match cx.client.commit(&mut held.turn, &settlements, cx.now) {
            Ok(published) => (published.lsn, published.rejected.is_empty()),
            Err(error) => {
                let channel = self.id;
                tracing::warn!(%error, channel, "transaction rolled back");
                return Err(precondition_failed(format!(
                    "transaction rolled back: {error}"
                )));
            }
        };
        let held = std::mem::take(held);
        cx.out.buf().extend_from_slice(&held.returns);
        transactions.last_commit += 1;
        transactions.owed.owe(transactions.last_commit, lsn);
        for settled in &held.settled {
            self.queues.release(settled.delivered.queue);
        }
        if !held.settled.is_empty() {
            self.replenish(cx.client);
        }
        if !all_taken {
            return Err(precondition_failed("partial tx completion"));
        }
        if cx.client.committed() < lsn {
            cx.client.notify_commit(lsn);
        }
        Ok(())
    }
}

fn not_transactional() -> Fault {
    precondition_failed("channel is not transactional")
}
