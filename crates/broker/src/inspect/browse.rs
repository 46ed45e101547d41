//! Messages, looked at without being taken.

use std::sync::Arc;

use ternmq_core::error::Refusal;
use ternmq_core::id::{ConnectionId, Lsn, Timestamp};
use ternmq_core::message::Message;
use ternmq_core::queue::{Browsed, Holder, Stretch};
use ternmq_core::routing::{Miss, RouteRequest};

use super::topology::BindingSnapshot;
use super::{ConsumerLabel, Inspect};
use crate::cell::{Labels, QueueCell};
use crate::loader::read_chunk;

/// Messages that are looked at once, at most.
pub const BROWSE_MAX: usize = 1_000;

/// Bindings of each exchange that [`Inspect::explain`] names although they are not followed, at most.
pub const MISSED_MAX: usize = 1_000;

/// Who has a message.
#[derive(Clone, PartialEq, Debug)]
pub enum HeldBy {
    /// Nobody: it waits.
    Nobody,
    /// A consumer, or one to be: it is drained soon.
    Consumer {
        /// Its connection.
        connection: ConnectionId,
        /// What its client says about it.
        label: ConsumerLabel,
    },
    /// Somebody who got it without being a consumer, or was one and is not any more.
    Other,
}

/// A message as it stands in a queue.
#[derive(Clone, Debug)]
pub struct MessageSnapshot {
    /// The message.
    pub message: Message,
    /// Its journal record; [`Lsn::NONE`] if it has none.
    pub lsn: Lsn,
    /// When it came.
    pub enqueued_at: Timestamp,
    /// When its time is over, if ever.
    pub expires_at: Option<Timestamp>,
    /// How often it was taken before.
    pub attempts: u32,
    /// How often of those that failed.
    pub failures: u32,
    /// Who has it.
    pub held_by: HeldBy,
    /// Since when, if it was delivered.
    pub held_since: Option<Timestamp>,
}

impl MessageSnapshot {
    fn of(browsed: Browsed, labels: &Labels<'_>) -> Self {
        Self {
            held_by: match browsed.holder {
                Holder::Nobody => HeldBy::Nobody,
                Holder::Getter => HeldBy::Other,
                Holder::Assigned(key) | Holder::Consumer(key) => {
                    labels
                        .subscriber(key)
                        .map_or(HeldBy::Other, |subscriber| HeldBy::Consumer {
                            connection: subscriber.connection,
                            label: subscriber.label.clone(),
                        })
                }
            },
            ..Self::waiting(browsed)
        }
    }

    fn waiting(browsed: Browsed) -> Self {
        let Browsed {
            message,
            lsn,
            enqueued_at,
            expires_at,
            attempts,
            failures,
            held_since,
            ..
        } = browsed;
        Self {
            message,
            lsn,
            enqueued_at,
            expires_at,
            attempts,
            failures,
            held_by: HeldBy::Nobody,
            held_since,
        }
    }
}

/// One exchange on a message's way.
#[derive(Clone, PartialEq, Debug)]
pub struct VisitSnapshot {
    /// The exchange's name; empty for the default exchange.
    pub exchange: Box<str>,
    /// The name of its kind.
    pub kind: &'static str,
    /// Bindings that are followed.
    pub followed: Vec<BindingSnapshot>,
    /// Those that are not, and why.
    pub missed: Vec<(BindingSnapshot, Miss)>,
    /// How many more there are that are not.
    pub left_out: usize,
    /// It holds the message back for so many milliseconds, and looks at its bindings then.
    pub delayed_ms: Option<u64>,
    /// The exchange that gets what nothing here matched.
    pub alternate: Option<Box<str>>,
}

impl Inspect<'_> {
    /// Ready messages of a queue in the order in which they would be delivered, from the `from`th on: up to `count`, and
    /// up to [`BROWSE_MAX`]. Those that left memory are read, and do not come back for that. None if there is no such
    /// queue.
    ///
    /// The disk is read in the caller's thread.
    pub fn browse(
        self,
        vhost: &str,
        queue: &str,
        from: u64,
        count: usize,
    ) -> Option<Vec<MessageSnapshot>> {
        let cell = self.cell(vhost, queue)?;
        // What is cold now stays where it is until it is read.
        let _loading = cell.loading.lock();
        let mut stretches = Vec::new();
        let queue_ttl_ms = cell.look(|queue| {
            queue.browse_ready(from, count.min(BROWSE_MAX), &mut stretches);
            queue.settings().message_ttl_ms
        });
        let mut messages = Vec::new();
        for stretch in stretches {
            match stretch {
                Stretch::One(one) => messages.push(MessageSnapshot::waiting(one)),
                Stretch::Cold { chunk, skip, take } => {
                    let Some(store) = &self.0.store else { continue };
                    let entries = read_chunk(store, &cell, &chunk, self.0.clock.now());
                    let wanted = entries.into_iter().skip(skip).take(take);
                    let read = wanted.filter_map(|entry| Browsed::of_cold(entry, queue_ttl_ms));
                    messages.extend(read.map(MessageSnapshot::waiting));
                }
            }
        }
        Some(messages)
    }

    /// Messages of a queue that were delivered and are not settled, or are about to be delivered: up to `count`, and up to
    /// [`BROWSE_MAX`], oldest first within a priority. None if there is no such queue.
    pub fn in_flight(self, vhost: &str, queue: &str, count: usize) -> Option<Vec<MessageSnapshot>> {
        let cell: Arc<QueueCell> = self.cell(vhost, queue)?;
        Some(cell.look_with_labels(|queue, labels| {
            let mut browsed = Vec::new();
            queue.browse_in_flight(count.min(BROWSE_MAX), &mut browsed);
            let messages = browsed.into_iter();
            messages
                .map(|one| MessageSnapshot::of(one, labels))
                .collect()
        }))
    }

    /// Where a message would go, exchange by exchange, and why not elsewhere. Nothing is published.
    ///
    /// # Errors
    /// As for a publish: the exchange is not found, or is internal and a client publishes. None if there is no such vhost.
    pub fn explain(
        self,
        vhost: &str,
        request: &RouteRequest<'_>,
    ) -> Option<Result<Vec<VisitSnapshot>, Refusal>> {
        let vhost = self.0.vhost(vhost)?;
        Some(vhost.read(|space| {
            let visits = space.topology.explain(request, MISSED_MAX)?;
            let visit = |visit: ternmq_core::routing::Visit<'_>| {
                let named = visit.named.iter();
                let named = named.map(|queue| BindingSnapshot::implicit(&vhost.name, queue));
                let followed = visit.followed.iter();
                let followed = followed.map(|binding| BindingSnapshot::of(&vhost.name, binding));
                VisitSnapshot {
                    exchange: visit.exchange.name.clone(),
                    kind: visit.exchange.kind.name(),
                    followed: named.chain(followed).collect(),
                    missed: visit
                        .missed
                        .iter()
                        .map(|(binding, miss)| {
                            (BindingSnapshot::of(&vhost.name, binding), miss.clone())
                        })
                        .collect(),
                    left_out: visit.left_out,
                    delayed_ms: visit.delayed_ms,
                    alternate: visit.alternate.map(Box::from),
                }
            };
            Ok(visits.into_iter().map(visit).collect())
        }))
    }
}
