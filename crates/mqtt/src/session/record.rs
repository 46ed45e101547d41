//! Writing a session's documents, for one that outlives its connection: what changes is collected, and handed over
//! with the turn's publishes or with a drain's messages, in one batch.
//!
//! | answer | waits for |
//! |---|---|
//! | CONNACK | the session's document, and the removal of a former session's |
//! | SUBACK, UNSUBACK | queue and bindings, the subscriptions' documents |
//! | PUBREC | the message, its packet identifier |
//! | PUBCOMP | the removal of the packet identifier |
//! | PUBLISH of QoS 2 to the client | its packet identifier and the message's record |
//! | PUBREL | the message leaving its queue, its release |
//!
//! Nothing waits for the removal of an exchange that PUBCOMP ended, nor for when a connection was lost.

use std::mem;

use ternmq_broker::{Client, DocumentChange, LogError, ScheduleId};
use ternmq_core::id::{Lsn, Timestamp};

use super::documents::{
    self, OutgoingDocument, OutgoingStep, SessionDocument, Subject, SubscriptionDocument,
};
use super::source::Source;
use super::subscriptions::Subscription;
use super::window::InFlight;
use super::{Active, Identity, Kept, Session};
use crate::error::Fault;
use crate::frame::PacketId;

impl Kept {
    /// Whether the session is kept behind its connection, so that it has to outlive the broker's process too.
    pub(crate) fn is_durable(&self) -> bool {
        self.expiry_s > 0
    }

    /// The name of a source's queue in a document: none for the session's own.
    fn document_queue(&self, entry: &InFlight) -> Option<Box<str>> {
        let lease = entry.outgoing.as_ref()?.lease?;
        if lease.source == Source::OWN {
            return None;
        }
        let source = self.sources.get(usize::from(lease.source))?;
        source.name.as_deref().map(Box::from)
    }

    fn outgoing_document(&self, entry: &InFlight, step: OutgoingStep) -> Vec<u8> {
        let lsn = entry.outgoing.as_ref().map(|outgoing| outgoing.lsn);
        let document = OutgoingDocument {
            step,
            serial: entry.serial,
            lsn: lsn.unwrap_or(Lsn::NONE),
            queue: self.document_queue(entry),
        };
        document.encode()
    }
}

/// The document of the session as a whole.
pub(super) fn session_document(
    identity: &Identity,
    kept: &Kept,
    expires_at: Option<Timestamp>,
) -> DocumentChange {
    let own = kept.sources.get(usize::from(Source::OWN));
    let own_queue = own.and_then(|own| Some((Box::from(&**own.name.as_ref()?), own.created)));
    let document = SessionDocument {
        expiry_s: kept.expiry_s,
        expires_at,
        publisher: identity.publisher,
        next_tag: kept.subscriptions.next_tag(),
        own_queue,
        user: kept.user.clone(),
    };
    documents::put(&identity.client_id, Subject::Session, document.encode())
}

/// The document of a will that waits for its delay.
pub(super) fn will_document(identity: &Identity, will: ScheduleId) -> DocumentChange {
    let value = documents::scheduled_will(will);
    documents::put(&identity.client_id, Subject::ScheduledWill, value)
}

impl Session {
    /// Records that the session is connected, and that the will of an earlier connection does not wait any more. Returns what has to be committed before the client may rely on it.
    ///
    /// # Errors
    /// The journal takes no more records.
    pub(super) fn record_attach(
        &mut self,
        client: &mut Client,
        cancelled: Option<ScheduleId>,
    ) -> Result<Lsn, LogError> {
        if !self.kept.is_durable() && !self.kept.is_recorded {
            return Ok(self.kept.last_record);
        }
        let mut changes = vec![session_document(&self.identity, &self.kept, None)];
        if cancelled.is_some() {
            let client_id = &self.identity.client_id;
            changes.push(documents::remove(client_id, Subject::ScheduledWill));
        }
        let lsn = client.put_documents(changes)?;
        self.kept.is_recorded = true;
        self.kept.last_record = self.kept.last_record.max(lsn);
        if self.kept.window.is_awaiting() && self.kept.restored_until == Lsn::NONE {
            self.kept.restored_until = lsn;
        }
        Ok(self.kept.last_record)
    }

    /// Removes every document of the session. Returns what has to be committed before that is sure.
    pub(super) fn remove_documents(&self, client: &mut Client) -> Lsn {
        let prefix = documents::session_prefix(&self.identity.client_id);
        let all = self.identity.node.broker.documents(client.vhost(), &prefix);
        let changes = all
            .into_iter()
            .map(|(key, _)| DocumentChange { key, value: None });
        match client.put_documents(changes.collect()) {
            Ok(lsn) => lsn,
            Err(error) => {
                let client_id = &*self.identity.client_id;
                tracing::warn!(%error, client_id, "session that ended may come back");
                Lsn::NONE
            }
        }
    }
}

impl Active<'_> {
    /// Whether `lsn` is safe.
    pub(crate) fn is_committed(&self, lsn: Lsn) -> bool {
        lsn == Lsn::NONE || lsn <= self.live.client.committed()
    }

    /// Asks for a notice once `lsn` is safe.
    pub(crate) fn wait_for(&mut self, lsn: Lsn) {
        if !self.is_committed(lsn) {
            self.live.client.notify_commit(lsn);
        }
    }

    /// A change goes with the next batch.
    pub(super) fn change(&mut self, change: DocumentChange) {
        debug_assert!(self.kept.is_durable());
        self.live.documents.push(change);
    }

    /// A QoS 2 packet of the client is to be known from now on, if the session is to be.
    pub(super) fn record_received(&mut self, packet_id: PacketId) {
        if self.kept.is_durable() {
            let subject = Subject::Received(packet_id);
            let id = &self.identity.client_id;
            self.change(documents::put(id, subject, documents::received()));
        }
    }

    /// It is released.
    pub(super) fn forget_received(&mut self, packet_id: PacketId) {
        if self.kept.is_durable() {
            let subject = Subject::Received(packet_id);
            self.change(documents::remove(&self.identity.client_id, subject));
        }
    }

    /// The client has that QoS 2 message, as its PUBREC says.
    pub(super) fn record_released(&mut self, packet_id: PacketId) {
        let Some(entry) = self.kept.window.get(packet_id) else {
            return;
        };
        let document = self.kept.outgoing_document(entry, OutgoingStep::Released);
        let subject = Subject::Outgoing(packet_id);
        self.change(documents::put(&self.identity.client_id, subject, document));
    }

    /// The exchange of a QoS 2 message to the client is over.
    pub(super) fn forget_outgoing(&mut self, packet_id: PacketId) {
        if self.kept.is_durable() {
            let subject = Subject::Outgoing(packet_id);
            self.change(documents::remove(&self.identity.client_id, subject));
        }
    }

    /// The document of a subscription.
    pub(super) fn subscription_document(&self, subscription: &Subscription) -> DocumentChange {
        let share_queue = subscription
            .source
            .and_then(|number| self.kept.sources.get(usize::from(number)))
            .and_then(|source| source.name.as_deref().map(Box::from));
        let document = SubscriptionDocument {
            tag: subscription.tag,
            options: subscription.options,
            id: subscription.id,
            share_queue,
        };
        let subject = Subject::Subscription(&subscription.filter);
        documents::put(&self.identity.client_id, subject, document.encode())
    }

    /// Hands over what was collected apart from any publish. Returns what has to be committed for it to be safe.
    pub(super) fn put_documents(&mut self) -> Result<Lsn, LogError> {
        let changes = mem::take(&mut self.live.documents);
        if changes.is_empty() {
            return Ok(Lsn::NONE);
        }
        let lsn = self.live.client.put_documents(changes)?;
        self.kept.last_record = self.kept.last_record.max(lsn);
        Ok(lsn)
    }

    /// Records the QoS 2 messages that are to be sent, with their packet identifiers.
    ///
    /// # Errors
    /// The journal takes no more records. Then they must not be sent, and the connection ends.
    pub(super) fn record_outgoing(&mut self) -> Result<(), Fault> {
        let kept = &*self.kept;
        let id = &self.identity.client_id;
        let unrecorded = kept.window.unrecorded().map(|entry| {
            let document = kept.outgoing_document(entry, OutgoingStep::Sent);
            documents::put(id, Subject::Outgoing(entry.packet_id()), document)
        });
        let before = self.live.documents.len();
        self.live.documents.extend(unrecorded);
        let is_any = self.live.documents.len() > before;
        let lsn = self.put_documents()?;
        if is_any {
            self.kept.window.recorded(lsn);
            self.wait_for(lsn);
        }
        Ok(())
    }
}
