//! QoS 2 messages that were at the client when the node stopped: recognised by their records when their queues give
//! them out again.
//!
//! The session's own queue gives its messages to the session alone. The queue of a group may give one to another member:
//! that one keeps it for the session it belongs to (MQTT-4.8.2-4), in [`crate::registry::reserved`].

use ternmq_core::queue::{Credit, Outcome};
use ternmq_core::tags::Tags;

use super::Active;
use super::source::Source;
use super::window::{Lease, Outgoing};
use crate::registry::reserved::{Claim, Found};

impl Active<'_> {
    /// A message came out of a queue. Returns it if it is a new one for this client.
    pub(super) fn recognise(&mut self, outgoing: Outgoing) -> Option<Outgoing> {
        let Some(lease) = outgoing.lease else {
            return Some(outgoing);
        };
        if lease.source != Source::OWN {
            return self.recognise_shared(lease, outgoing);
        }
        if !self.kept.window.is_awaiting() || !outgoing.lsn.is_some() {
            return Some(outgoing);
        }
        if let Some(serial) = self.kept.window.arrive(None, outgoing.lsn) {
            self.kept.window.insert(serial, Some(outgoing));
            return None;
        }
        if outgoing.lsn > self.kept.restored_until {
            // It came in since the restart, so all that were in the queue before have come out.
            self.kept.window.give_up_own();
        }
        Some(outgoing)
    }

    fn recognise_shared(&mut self, lease: Lease, outgoing: Outgoing) -> Option<Outgoing> {
        let reserved = &self.identity.sessions.reserved;
        if reserved.is_empty() || !outgoing.lsn.is_some() {
            return Some(outgoing);
        }
        let source = self.kept.sources.get_mut(usize::from(lease.source))?;
        let (Some(name), Some(queue)) = (source.name.clone(), source.queue.clone()) else {
            return Some(outgoing);
        };
        let lsn = outgoing.lsn;
        match reserved.claim(&name, Found { queue, outgoing }, &self.identity.client_id) {
            Claim::Nobodys(outgoing) => return Some(outgoing),
            Claim::Own(outgoing) => {
                if let Some(serial) = self.kept.window.arrive(Some(&name), lsn) {
                    self.kept.window.insert(serial, Some(outgoing));
                } else {
                    return Some(outgoing);
                }
            }
            Claim::Kept => {
                // It must not count against this client.
                source.held_for_others += 1;
                if let Some(consumer) = &source.consumer {
                    let quota = u32::try_from(self.live.limits.quota).unwrap_or(u32::MAX);
                    let credit = Credit::Limited(quota.saturating_add(source.held_for_others));
                    self.live.client.set_credit(consumer, credit);
                }
            }
            // MQTT-4.8.2-5: nobody else gets what a session that ended had.
            Claim::Ended => source.done.push(lease.position),
        }
        None
    }

    /// Takes up what other members of a group came upon.
    pub(super) fn collect_awaited(&mut self) {
        let reserved = &self.identity.sessions.reserved;
        if !self.kept.window.is_awaiting() || reserved.is_empty() {
            return;
        }
        for (name, found) in reserved.collect(&self.identity.client_id, &self.live.mailbox) {
            let Found {
                queue,
                mut outgoing,
            } = found;
            let Some(serial) = self.kept.window.arrive(Some(&name), outgoing.lsn) else {
                continue;
            };
            let at = |source: &Source| source.queue.as_ref() == Some(&queue);
            let number = match self.kept.sources.iter().skip(1).position(at) {
                Some(at) => at + 1,
                None => self.add_source(Source {
                    name: Some(name),
                    queue: Some(queue),
                    ..Source::default()
                }),
            };
            let share = self.kept.sources[number].share;
            outgoing.tags = share.map_or(Tags::None, Tags::One);
            let position = outgoing.lease.map(|lease| lease.position);
            outgoing.lease = position
                .zip(u16::try_from(number).ok())
                .map(|(position, source)| Lease { source, position });
            self.kept.window.insert(serial, Some(outgoing));
        }
    }

    /// Puts a source into a free place. Returns its number.
    fn add_source(&mut self, source: Source) -> usize {
        if self.kept.sources.is_empty() {
            self.kept.sources.push(Source::default());
        }
        let number = self.free_source();
        match self.kept.sources.get_mut(number) {
            Some(place) => *place = source,
            None => self.kept.sources.push(source),
        }
        number
    }
}

/// What was found of a session that ended is settled.
pub(super) fn settle_found(
    found: Vec<Found>,
    client: &mut ternmq_broker::Client,
    now: ternmq_core::id::Timestamp,
) {
    for Found { queue, outgoing } in found {
        if let Some(lease) = outgoing.lease {
            client.settle(&queue, &[lease.position], Outcome::Ack, now);
        }
    }
}
