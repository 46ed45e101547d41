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
use crate::publish::Route;
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
        let route = match dead_letter_route(source, &message, &target, dead.reason, work) {
            Ok(route) if !route.is_empty() => route,
            _ => {
                self.drop_dead(source, (dead, strategy.into()), work);
                return;
            }
        };
        let lsn = self.journal_move(source, dead, &message, &route, (work, now));
        let (mut taken, mut held) = (false, None);
        for target in route.targets() {
            let letter = HeldLetter {
                incoming: target.incoming(message.clone(), lsn),
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
            Admission::Rejected if !work.effects.dead.is_empty() => Arrival::Taken,
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

    /// One record for leaving the source and entering the targets. Returns the message's place in the journal.
    fn journal_move(
        &self,
        source: &QueueCell,
        dead: &Dead,
        message: &Message,
        route: &Route,
        (work, now): (&mut Work, Timestamp),
    ) -> Lsn {
        let into_durable =
            message.durable() && route.targets().iter().any(crate::publish::Target::durable);
        if !into_durable && !dead.lsn.is_some() {
            return Lsn::NONE;
        }
        work.batch.clear();
        let targets = route
            .targets()
            .iter()
            .filter(|t| message.durable() && t.durable());
        let targets = targets.map(|t| (t.cell.id, t.tags.as_slice()));
        work.batch
            .record(|out| record::moved((source.id, dead.lsn), now, message, targets, out));
        let lsn = self.append(&work.batch);
        if into_durable { lsn } else { Lsn::NONE }
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
}

/// Where a dead message goes, queues left out that it would only circle back to.
fn dead_letter_route(
    source: &QueueCell,
    message: &Message,
    target: &DeadLetterTarget,
    reason: DeathReason,
    work: &mut Work,
) -> Result<Route, Refusal> {
    let extras = message.extras();
    let further = |f: fn(&ternmq_core::message::Extras) -> &Vec<bytes::Bytes>| {
        extras
            .into_iter()
            .flat_map(move |e| f(e).iter().map(|key| &**key))
    };
    let extra_keys: Vec<&[u8]> = further(|e| &e.cc).chain(further(|e| &e.bcc)).collect();
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
        Ok(space.resolve(routes))
    })
}
