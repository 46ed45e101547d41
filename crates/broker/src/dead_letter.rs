//! From a death in one queue to the queues that its dead-letter exchange leads to.

use std::sync::Arc;

use ternmq_core::dead_letter::{closes_cycle, dead_letter};
use ternmq_core::error::Refusal;
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::message::{DeathReason, Message};
use ternmq_core::policy::{DeadLetterStrategy, DeadLetterTarget};
use ternmq_core::queue::{Admission, Dead};
use ternmq_core::record;
use ternmq_core::routing::RouteRequest;
use ternmq_core::value::Headers;

use crate::broker::Inner;
use crate::cell::QueueCell;
use crate::hold::HeldLetter;
use crate::metrics::LetterFate;
use crate::publish::{Route, further_keys};
use crate::schedule::{ScheduleId, Scheduled};
use crate::work::Work;

/// What became of a dead letter at one of its targets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Arrival {
    /// It was taken, or goes on from there.
    Taken,
    /// It waits until the target has room.
    Held,
    /// The target dropped it.
    Lost,
}

impl Inner {
    /// Moves a dead message: it leaves its queue and enters the targets in one record, or is dropped if there is no
    /// target. Deaths that this causes in turn wait in `work`.
    pub(crate) fn dead_letter(
        &self,
        source: &Arc<QueueCell>,
        dead: &Dead,
        work: &mut Work,
        now: Timestamp,
    ) {
        let Some((target, strategy)) = source.dead_letter_target() else {
            self.drop_dead(source, (dead, LetterFate::Disabled), work);
            return;
        };
        let message = dead_letter(
            &dead.message,
            dead.reason,
            &source.name,
            &target,
            now,
            &mut work.scratch,
        );
        let route = match self.dead_letter_route(source, &message, (&target, dead.reason), work) {
            Ok(route) if !route.is_unroutable() => route,
            unroutable => {
                if let Ok(route) = unroutable {
                    route.histories().iter().for_each(|h| h.record(&message));
                }
                self.drop_dead(source, (dead, strategy.into()), work);
                return;
            }
        };
        let first_id = self.schedule.reserve_ids(route.delays().len());
        let lsn = self.journal_move((source, dead), (&message, first_id), &route, (work, now));
        route.histories().iter().for_each(|h| h.record(&message));
        let (mut taken, mut held) = (self.hold_back(&message, first_id, &route, lsn), None);
        let of_durable = if message.durable() { lsn } else { Lsn::NONE };
        for target in route.targets() {
            let letter = HeldLetter {
                incoming: target.incoming(message.clone(), of_durable),
                since: now,
                is_last: false,
            };
            match self.arrive(&target.cell, letter, strategy, work) {
                Arrival::Taken => taken = true,
                Arrival::Held => held = Some(target.cell.id),
                Arrival::Lost => {}
            }
        }
        if let Some(target) = held.filter(|_| !taken) {
            self.hold.mark_last(target);
        }
        let of = (source.kind, strategy.into());
        self.metrics
            .dead_lettered(of, dead.reason, taken || held.is_some());
    }

    /// Puts a dead letter into a queue, or holds it until the queue has room.
    fn arrive(
        &self,
        cell: &Arc<QueueCell>,
        letter: HeldLetter,
        strategy: DeadLetterStrategy,
        work: &mut Work,
    ) -> Arrival {
        let may_wait = strategy == DeadLetterStrategy::AtLeastOnce;
        // Behind those that wait already.
        if may_wait && self.hold.is_awaited(cell.id) && self.hold_letter(cell, letter.clone()) {
            return Arrival::Held;
        }
        let incoming = letter.incoming.clone();
        let admission = cell.update(work, |queue, effects| {
            queue.enqueue(letter.since, incoming, effects)
        });
        let arrival = match admission {
            Admission::Accepted => Arrival::Taken,
            // It goes on to the queue's own dead-letter exchange.
            Admission::Rejected if work.has_dead => Arrival::Taken,
            Admission::Rejected if may_wait && self.hold_letter(cell, letter) => {
                // The journal has it there.
                work.effects.settled.clear();
                Arrival::Held
            }
            Admission::Rejected | Admission::Dropped => Arrival::Lost,
        };
        self.collect(cell, work);
        arrival
    }

    /// Lets a dead letter wait whose way leads over a delayed exchange; `lsn` is that of the record before those that say
    /// so. Returns whether it does.
    fn hold_back(&self, message: &Message, first: ScheduleId, route: &Route, lsn: Lsn) -> bool {
        let (mut held, mut last) = (false, lsn);
        for (id, later) in (first.0..).zip(route.delays()) {
            let mut scheduled = Scheduled {
                later: later.clone(),
                message: message.clone(),
                lsn: Lsn::NONE,
            };
            if later.has_record(message) && lsn.is_some() {
                last = Lsn(last.0 + 1);
                scheduled.lsn = last;
            }
            match self.schedule_now(ScheduleId(id), scheduled) {
                Ok(()) => held = true,
                Err(refusal) => tracing::warn!(%refusal, "dead letter not delayed"),
            }
        }
        held
    }

    /// One record for leaving the source and entering the targets, and those of waiting for the time to do so, together.
    /// Returns the place of the first one: it is the message's where it is durable.
    fn journal_move(
        &self,
        (source, dead): (&QueueCell, &Dead),
        (message, first_id): (&Message, ScheduleId),
        route: &Route,
        (work, now): (&mut Work, Timestamp),
    ) -> Lsn {
        let into_durable = route.targets_of(message).next().is_some();
        let delays = || {
            route
                .delays()
                .iter()
                .filter(|later| later.has_record(message))
        };
        if !into_durable && !dead.lsn.is_some() && delays().next().is_none() {
            return Lsn::NONE;
        }
        work.batch.clear();
        work.batch.record(|out| {
            let targets = route.targets_of(message);
            record::moved((source.id, dead.lsn), now, message, targets, out);
        });
        for (id, later) in (first_id.0..).zip(route.delays()) {
            if later.has_record(message) {
                work.batch
                    .record(|out| later.write_record(ScheduleId(id), message, out));
            }
        }
        self.append(&work.batch)
    }

    fn drop_dead(&self, source: &QueueCell, (dead, fate): (&Dead, LetterFate), work: &mut Work) {
        self.metrics
            .dead_lettered((source.kind, fate), dead.reason, false);
        if dead.lsn.is_some() {
            work.batch.clear();
            work.batch
                .record(|out| record::settled(source.id, &[dead.lsn], out));
            self.append(&work.batch);
        }
    }

    /// Where a dead message goes, queues left out that it would only circle back to.
    fn dead_letter_route(
        &self,
        source: &QueueCell,
        message: &Message,
        (target, reason): (&DeadLetterTarget, DeathReason),
        work: &mut Work,
    ) -> Result<Route, Refusal> {
        let extra_keys = further_keys(message);
        let headers = || -> Headers { message.properties().headers };
        let request = RouteRequest {
            exchange: target.exchange.as_bytes(),
            routing_key: message.routing_key(),
            key_syntax: message.key_syntax(),
            extra_keys: &extra_keys,
            headers: &headers,
            properties: &|| message.properties(),
            publisher: None,
            from_client: false,
        };
        let routes = &mut work.routes;
        source.vhost.read(|space| {
            space.topology.route(&request, routes)?;
            if let Some(history) = message.history() {
                routes.targets.retain(|t| {
                    let name = space
                        .topology
                        .queue_by_id(t.queue)
                        .map_or("", |entry| &*entry.decl.name);
                    let cycle = closes_cycle(history, name, reason);
                    if cycle {
                        tracing::debug!(
                            queue = name,
                            reason = reason.name(),
                            "dead-letter cycle: message dropped"
                        );
                    }
                    !cycle
                });
            }
            let route = space.resolve(routes);
            Ok(space.delay(route, routes, &source.vhost, &self.clock))
        })
    }
}
