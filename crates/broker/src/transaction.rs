//! Publishing and settling together: a transaction.

use ternmq_core::id::{Lsn, Position, Timestamp};
use ternmq_core::queue::Outcome;
use ternmq_core::record;
use ternmq_journal::LogError;

use crate::cell::QueueHandle;
use crate::client::Client;
use crate::publish::{Published, Turn, last_of};

/// How deliveries of one queue end with a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Settlement<'a> {
    /// The queue they came from.
    pub queue: &'a QueueHandle,
    /// Which ones, in the order they were delivered.
    pub positions: &'a [Position],
    /// How they end.
    pub outcome: Outcome,
}

impl Client {
    /// Publishes a turn, clears it, and settles deliveries: as [`Client::publish`] and [`Client::settle`], but with one
    /// journal append, so that after a crash all of it happened or nothing. It carries the turn's durable messages, the
    /// documents that change with it and every message that leaves its queue for good. What goes back to its place, and what dies into a dead-letter
    /// queue, has records of its own behind it: without them such a message is still where it was, and nothing is lost.
    ///
    /// [`Published::lsn`] covers those too.
    ///
    /// # Errors
    /// The journal takes no more records. Then nothing happened, and the turn is as it was.
    pub fn commit(
        &mut self,
        turn: &mut Turn,
        settlements: &[Settlement<'_>],
        now: Timestamp,
    ) -> Result<Published<'_>, LogError> {
        self.count_turn(turn);
        let lsn = self.commit_counted(turn, settlements, now)?;
        self.watch_storing(lsn, now);
        Ok(Published {
            lsn,
            rejected: &self.rejected,
            slow_down: lsn.is_some() && self.broker.is_behind(),
        })
    }

    fn commit_counted(
        &mut self,
        turn: &mut Turn,
        settlements: &[Settlement<'_>],
        now: Timestamp,
    ) -> Result<Lsn, LogError> {
        let Self {
            broker,
            vhost,
            work,
            rejected,
            counting,
            ..
        } = self;
        let work = work.get();
        let _inside = broker.gate.enter();
        rejected.clear();
        work.batch.clear();
        let written = turn.write_records(&mut work.batch, broker);
        let mut ending = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            let cell = &settlement.queue.0;
            // Whoever asks holds the leases, so only the queue's own end can come in between: then the record names
            // what is gone already.
            let lsns = cell.ending(settlement.positions, settlement.outcome);
            if !lsns.is_empty() {
                work.batch
                    .record(|out| record::settled(cell.id, &lsns, out));
            }
            ending.push(lsns);
        }
        let first = broker.append_turn(turn, Some(&**vhost), &mut work.batch)?;
        let count = work.batch.len() as u64;
        let mut lsn = last_of(first, count);
        let first_message = turn.appended(written, first);
        broker.enqueue_turn(turn, first_message, work, rejected, now);
        for (settlement, lsns) in settlements.iter().zip(ending) {
            let cell = &settlement.queue.0;
            let settled = cell.update(work, |queue, effects| {
                queue.settle(now, settlement.positions, settlement.outcome, effects)
            });
            let of = (counting.protocol, cell.kind, settlement.outcome);
            broker.metrics.settled(of, settled, &mut work.effects);
            let settled = &mut work.effects.settled;
            if settled.starts_with(&lsns) {
                settled.drain(..lsns.len());
            }
            broker.follow_up(cell, work, now);
            if settlement.outcome != Outcome::Ack {
                lsn = broker.last_appended();
            }
        }
        Ok(lsn)
    }
}
