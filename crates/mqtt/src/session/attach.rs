//! How connections come to a session and leave it, and how a session ends.

use std::mem;
use std::sync::Arc;

use ternmq_broker::mailbox::{CloseReason, Mailbox, Notice, Token};
use ternmq_broker::{Client, DeleteIf, LogError, Turn};
use ternmq_core::id::{Lsn, Position, Timestamp};
use ternmq_core::queue::Outcome;

use super::awaited::settle_found;
use super::declare::{consumer_label, consumer_spec, expires_ms, own_binding, own_queue_name};
use super::documents::user_name;
use super::record::{session_document, will_document};
use super::source::Source;
use super::will::Will;
use super::window::{Outgoing, Step};
use super::{Active, Identity, Kept, Live, PeerLimits, Session};
use crate::sys::Counted;

/// A connection that wants a session.
pub(crate) struct Arrival {
    pub(crate) client: Client,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) limits: PeerLimits,
    pub(crate) will: Option<Box<Will>>,
    pub(crate) clean_start: bool,
    pub(crate) expiry_s: u32,
}

/// What a session was before a connection took it.
struct Before {
    expiry_s: u32,
    expires_at: Option<Timestamp>,
    user: Option<Box<str>>,
}

/// What becomes of the will of a connection that leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WillFate {
    /// A graceful DISCONNECT: it is dropped.
    Dropped,
    /// Everything else: it is published.
    Published,
}

/// How a connection got its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Attached {
    /// Whether there was state to go on with.
    pub(crate) is_present: bool,
    /// What has to be committed before the client is told.
    pub(crate) record: Lsn,
}

/// What becomes of the session of a connection that left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It ended.
    Ended,
    /// It is kept until then.
    Kept(Timestamp),
}

impl Session {
    /// The session's own queue, or what it would be called, if there is anything to inherit: its time is not over, it has
    /// subscriptions, and this is not the user who had it last.
    pub(crate) fn estate(&self, heir: &str, now: Timestamp) -> Option<Arc<str>> {
        let is_over = !self.kept.exists || self.is_expired(now);
        if is_over || self.kept.user.as_deref() == Some(heir) {
            return None;
        }
        let own = self.kept.sources.get(usize::from(Source::OWN));
        let own = own.and_then(|own| own.name.clone());
        own.or_else(|| (self.kept.subscriptions.len() > 0).then(|| own_queue_name(&self.identity)))
    }

    /// Tells the connection that has the session to go (MQTT-3.1.4-3). Returns whether there is one; then the newcomer
    /// gets a notice when it left.
    pub(crate) fn make_way(&mut self, newcomer: &Arc<Mailbox>) -> bool {
        let Some(live) = &self.live else {
            return false;
        };
        live.mailbox.push(Notice::Close(CloseReason::Replaced));
        if !self
            .newcomers
            .iter()
            .any(|waiting| Arc::ptr_eq(waiting, newcomer))
        {
            self.newcomers.push(Arc::clone(newcomer));
        }
        true
    }

    /// A connection takes the session; the one that had it is told.
    ///
    /// # Errors
    /// It can't be recorded. What becomes of the session then is said.
    pub(crate) fn attach(
        &mut self,
        arrival: Arrival,
        epoch: u64,
        now: Timestamp,
    ) -> Result<Attached, (LogError, Fate)> {
        let Arrival {
            mut client,
            mailbox,
            limits,
            will,
            clean_start,
            expiry_s,
        } = arrival;
        if let Some(live) = &self.live {
            // MQTT-3.1.4-3.
            live.mailbox.push(Notice::Close(CloseReason::Replaced));
            self.detach(WillFate::Published, now);
        }
        let resumes = self.kept.exists && !clean_start && !self.is_expired(now);
        if !resumes {
            let ended = self.end(&mut client, now);
            self.kept.last_record = ended;
        }
        // Cancelled once the client has its session.
        let scheduled_will = self.kept.scheduled_will.take();
        let user = user_name(client.user().name());
        self.epoch = epoch;
        self.live = Some(Box::new(Live::new(client, mailbox, limits, will)));
        self.identity.node.sys.connected();
        let is_present = resumes && self.resume(now);
        let before = Before {
            expiry_s: mem::replace(&mut self.kept.expiry_s, expiry_s),
            expires_at: self.kept.expires_at.take(),
            user: mem::replace(&mut self.kept.user, user),
        };
        self.kept.exists = true;
        let mut live = self.live.take();
        let recorded = match live.as_deref_mut() {
            Some(live) => {
                let recorded = self.record_attach(&mut live.client, scheduled_will);
                live.client.rest();
                recorded
            }
            None => Ok(Lsn::NONE),
        };
        self.live = live;
        let record = match recorded {
            Ok(record) => record,
            Err(error) => {
                self.kept.scheduled_will = scheduled_will;
                return Err((error, self.turn_away(before, now)));
            }
        };
        if let Some(will) = scheduled_will {
            self.identity.node.broker.cancel_scheduled(will);
        }
        if let Some(mut active) = self.active(epoch).filter(|_| is_present) {
            active.set_expiry(expiry_s);
        }
        Ok(Attached { is_present, record })
    }

    /// The connection can't have the session, which is as it was before.
    fn turn_away(&mut self, before: Before, now: Timestamp) -> Fate {
        self.kept.expiry_s = before.expiry_s;
        self.kept.user = before.user;
        if let Some(live) = self.live.as_deref_mut() {
            live.will = None;
        }
        let fate = self.detach(WillFate::Dropped, now);
        match (fate, before.expires_at) {
            (Fate::Kept(_), Some(at)) => {
                self.kept.expires_at = Some(at);
                Fate::Kept(at)
            }
            (fate, _) => fate,
        }
    }

    /// Consumes again from the session's queues. If its own is gone, so is the session, and a new one begins.
    fn resume(&mut self, now: Timestamp) -> bool {
        self.kept.window.rewind();
        let Some(live) = self.live.as_deref_mut() else {
            return false;
        };
        let spec = consumer_spec(&live.limits);
        let label = consumer_label(&live.limits);
        let mut is_whole = true;
        for (number, source) in self.kept.sources.iter_mut().enumerate() {
            let Some(name) = source.name.clone() else {
                continue;
            };
            if number != usize::from(Source::OWN) && source.share.is_none() {
                continue;
            }
            let consumer = live
                .client
                .consume_as(&name, spec.clone(), Token(number as u64), label.clone())
                .ok();
            // A queue that was deleted meanwhile may be there again, but is another one.
            let same = consumer.as_ref().is_some_and(|consumer| {
                let known = source.queue.get_or_insert_with(|| consumer.queue().clone());
                *known == *consumer.queue()
            });
            is_whole &= same;
            source.held_for_others = 0;
            source.consumer = consumer;
        }
        if is_whole {
            return true;
        }
        let mut live = self.live.take();
        if let Some(live) = live.as_deref_mut() {
            cancel_consumers(&mut self.kept.sources, &mut live.client);
            let ended = self.end(&mut live.client, now);
            self.kept.last_record = ended;
        }
        self.live = live;
        false
    }

    /// The connection leaves. What it had in hand goes back where it belongs, its will is executed, and the session
    /// is kept or ends.
    pub(crate) fn detach(&mut self, will: WillFate, now: Timestamp) -> Fate {
        let Some(mut live) = self.live.take() else {
            return Fate::Ended;
        };
        self.identity.node.sys.disconnected();
        for newcomer in mem::take(&mut self.newcomers) {
            // Any notice makes it look again. It has to wait for our lock, so it sees the session as we leave it.
            newcomer.push(Notice::Committed);
        }
        let mut active = Active {
            identity: &self.identity,
            kept: &mut self.kept,
            live: &mut live,
        };
        // Nobody is there to hear the answers.
        active.flush(now, &mut Vec::new());
        match will {
            WillFate::Published => active.execute_will(now),
            WillFate::Dropped => active.live.will = None,
        }
        active.give_back(now);
        cancel_consumers(&mut self.kept.sources, &mut live.client);
        if self.kept.expiry_s == 0 {
            self.end(&mut live.client, now);
            return Fate::Ended;
        }
        let at = now.plus_ms(u64::from(self.kept.expiry_s) * 1000);
        self.kept.expires_at = Some(at);
        let mut changes = mem::take(&mut live.documents);
        changes.push(session_document(&self.identity, &self.kept, Some(at)));
        changes.extend(
            self.kept
                .scheduled_will
                .map(|will| will_document(&self.identity, will)),
        );
        if let Err(error) = live.client.put_documents(changes) {
            // Then after a restart its time counts from there.
            tracing::warn!(%error, client_id = &*self.identity.client_id, "end of a connection not recorded");
        }
        Fate::Kept(at)
    }

    /// Ends a session whose time is over.
    pub(crate) fn expire(&mut self, client: &mut Client, now: Timestamp) {
        self.end(client, now);
        self.identity.node.sys.expired();
    }

    /// Ends the session: everything of it goes. A will that waits is published now, as the session is over. Returns
    /// what has to be committed before anybody is told.
    ///
    /// That is the adapter's to do: the client at hand may be anybody's, and its user may have lost the right.
    pub(crate) fn end(&mut self, client: &mut Client, now: Timestamp) -> Lsn {
        client.on_own_account(|client| self.end_with(client, now))
    }

    fn end_with(&mut self, client: &mut Client, now: Timestamp) -> Lsn {
        let kept = mem::take(&mut self.kept);
        if let Some(will) = kept.scheduled_will {
            self.identity.node.broker.fire_scheduled(will);
        }
        for subscription in kept.subscriptions.iter() {
            self.identity.node.sys.unsubscribed(&subscription.filter);
        }
        settle_leases(&kept, client, now);
        let found = self
            .identity
            .sessions
            .reserved
            .abandon(&self.identity.client_id);
        settle_found(found, client, now);
        for subscription in kept
            .subscriptions
            .iter()
            .filter(|subscription| subscription.source.is_some())
        {
            let text = &*subscription.filter;
            self.identity
                .sessions
                .leave_share(text, |queue| delete_share(client, queue));
        }
        let own = kept.sources.get(usize::from(Source::OWN));
        if let Some((own, queue)) = own.and_then(|own| Some((own, own.name.as_deref()?))) {
            leave_own_queue(&self.identity, &kept, own.created, queue, client);
        }
        if kept.is_recorded {
            // Behind its queue: a session without one is found out, a queue without a session would not be.
            self.remove_documents(client)
        } else {
            Lsn::NONE
        }
    }
}

/// Handling what was read stops after so many retained messages were looked through, and goes on behind other tasks.
const WORK_MAX: usize = 4096;
/// Nothing more is read while so many answers wait for the journal.
const OWED_MAX: usize = 16 * 1024;

impl Live {
    /// Whether so many answers wait for the journal, or the journal lags so far behind, that the client has to wait with
    /// more.
    pub(crate) fn owes_much(&self) -> bool {
        self.owed.len() >= OWED_MAX || self.client.committed() < self.read_on_at
    }

    /// Whether what was read so far is so much work that other tasks come first.
    pub(crate) fn is_heavy(&self) -> bool {
        self.work > WORK_MAX || self.turn.is_heavy()
    }

    fn new(
        client: Client,
        mailbox: Arc<Mailbox>,
        limits: PeerLimits,
        will: Option<Box<Will>>,
    ) -> Self {
        Self {
            client,
            mailbox,
            limits,
            will,
            aliases_in: Vec::new(),
            aliases_out: Vec::new(),
            turn: Turn::new(),
            turn_acks: Vec::new(),
            turn_retains: Vec::new(),
            documents: Vec::new(),
            releases: Vec::new(),
            owed: std::collections::VecDeque::new(),
            pubacks_owed: 0,
            deliveries: Vec::new(),
            rejected: Vec::new(),
            ids: Vec::new(),
            properties: crate::properties::PropertyBuf::new(),
            native: Vec::new(),
            read_on_at: Lsn::NONE,
            counted: Counted::default(),
            has_published: false,
            work: 0,
        }
    }
}

impl Active<'_> {
    /// The session is to be kept so long behind its connection, and so is its queue.
    pub(crate) fn set_expiry(&mut self, expiry_s: u32) {
        self.kept.expiry_s = expiry_s;
        let own = self
            .kept
            .sources
            .get(usize::from(Source::OWN))
            .filter(|own| own.created && expiry_s > 0);
        if let Some(queue) = own.and_then(|own| own.queue.as_ref()) {
            self.live.client.adjust_queue(queue, |settings| {
                settings.expires_ms = Some(expires_ms(expiry_s));
            });
        }
    }

    /// The connection leaves, the session may stay: what the client never saw goes back to its queue, and what it saw
    /// of a shared subscription with QoS 1 goes to the other members (MQTT-4.8.2-4 lets QoS 2 wait for its return).
    fn give_back(&mut self, now: Timestamp) {
        for unseen in self.kept.window.take_unseen().into_iter().rev() {
            if unseen.step == Step::AwaitPubRec {
                self.forget_outgoing(unseen.packet_id());
            }
            if let Some(outgoing) = unseen.outgoing {
                self.kept.pending.push_front(outgoing);
            }
        }
        for outgoing in mem::take(&mut self.kept.pending) {
            self.settle_now(outgoing.lease, Outcome::Untouched, now);
            if outgoing.retained && outgoing.message.durable() {
                self.kept.pending.push_back(outgoing);
            }
        }
        let mut returned = Vec::new();
        self.kept.window.retain(|entry| {
            let lease = entry.outgoing.as_ref().and_then(|outgoing| outgoing.lease);
            let shared = lease
                .filter(|lease| lease.source != Source::OWN && entry.step == Step::AwaitPubAck);
            returned.extend(shared);
            shared.is_none()
        });
        for lease in returned {
            self.settle_now(Some(lease), Outcome::Return { failed: false }, now);
        }
    }
}

fn cancel_consumers(sources: &mut [Source], client: &mut Client) {
    for source in sources {
        source.ready = false;
        if let Some(consumer) = source.consumer.take() {
            client.cancel(consumer);
        }
    }
}

/// The session ends with messages at the client. They go back to queues that stay, but for QoS 2 of a shared
/// subscription, which must not reach anybody else (MQTT-4.8.2-5).
fn settle_leases(kept: &Kept, client: &mut Client, now: Timestamp) {
    for (number, source) in kept.sources.iter().enumerate() {
        let Some(queue) = &source.queue else { continue };
        if number == usize::from(Source::OWN) && source.created {
            // It goes with everything in it.
            continue;
        }
        let position = |outgoing: &Outgoing| {
            outgoing
                .lease
                .filter(|lease| usize::from(lease.source) == number)
                .map(|lease| lease.position)
        };
        let of_step = |wanted: fn(Step) -> bool| -> Vec<Position> {
            let entries = kept.window.iter().filter(|entry| wanted(entry.step));
            entries
                .filter_map(|entry| entry.outgoing.as_ref().and_then(position))
                .collect()
        };
        let is_shared = number != usize::from(Source::OWN);
        let exactly_once = of_step(|step| step == Step::AwaitPubRec);
        let outcome = if is_shared {
            Outcome::Ack
        } else {
            Outcome::Return { failed: false }
        };
        client.settle(queue, &exactly_once, outcome, now);
        let at_least_once = of_step(|step| step == Step::AwaitPubAck);
        client.settle(
            queue,
            &at_least_once,
            Outcome::Return { failed: false },
            now,
        );
    }
}

/// Deletes the session's queue, or unbinds from it where it was there before the session.
fn leave_own_queue(
    identity: &Identity,
    kept: &Kept,
    created: bool,
    queue: &str,
    client: &mut Client,
) {
    if created {
        if let Err(refusal) = client.delete_queue(queue, DeleteIf::default()) {
            // An exclusive one went with its connection.
            tracing::trace!(%refusal, queue, "session queue not deleted");
        }
        return;
    }
    for subscription in kept
        .subscriptions
        .iter()
        .filter(|subscription| subscription.source.is_none())
    {
        if let Err(refusal) = client.unbind(&own_binding(identity, queue, &subscription.filter)) {
            tracing::debug!(%refusal, queue, "session not unbound");
        }
    }
}

/// The last member of a group left: its queue goes, unless somebody else consumes it.
pub(super) fn delete_share(client: &mut Client, queue: &str) {
    if let Err(refusal) = client.delete_queue(
        queue,
        DeleteIf {
            unused: true,
            empty: false,
        },
    ) {
        tracing::debug!(%refusal, queue, "queue of a shared subscription stays");
    }
}
