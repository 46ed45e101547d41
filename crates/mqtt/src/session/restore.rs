//! Sessions after a restart, from their documents.
//!
//! A session comes back as one whose client is away: with its subscriptions, the packet identifiers of both directions,
//! and its membership in groups. The queues are there already, and their messages with them. One that was connected
//! when the node stopped is kept from the restart on. Documents that make no sense are reported once and let go.

use std::collections::BTreeMap;
use std::sync::Arc;

use ternmq_broker::mailbox::{Mailbox, Token};
use ternmq_broker::{Client, DocumentChange, ScheduleId};
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::queue::{AckMode, ConsumerSpec, Credit, LeaseTimeout};

use super::declare::expires_ms;
use super::documents::{
    self, OutgoingDocument, OutgoingStep, SessionDocument, Subject, SubscriptionDocument,
};
use super::source::Source;
use super::subscriptions::Subscription;
use super::window::{Awaited, packet_id};
use super::{Identity, Kept, Session};
use crate::frame::PacketId;
use crate::listener::Node;
use crate::registry::VhostSessions;
use crate::session::attach::Fate;
use crate::topic::{QUEUE_PREFIX, TopicFilter};

type Key = Box<[u8]>;
/// Key and value.
type Document = (Key, Box<[u8]>);

/// The documents of one session.
#[derive(Default)]
struct Documents {
    session: Option<SessionDocument>,
    subscriptions: Vec<(Box<str>, SubscriptionDocument)>,
    received: Vec<u16>,
    outgoing: Vec<(PacketId, OutgoingDocument)>,
    will: Option<ScheduleId>,
    keys: Vec<Key>,
}

/// Brings back the sessions of all vhosts, and ends those whose time is over.
pub(crate) fn restore(node: &Arc<Node>) {
    for vhost in node.broker.vhosts() {
        let all = node.broker.documents(&vhost, documents::PREFIX);
        if all.is_empty() {
            continue;
        }
        let now = node.broker.now();
        let sessions = node.registry.vhost(&vhost);
        let mut client = own_client(node, &vhost);
        let (by_client, mut useless) = sort(all);
        let mut restored = 0_usize;
        for (client_id, documents) in by_client {
            let keys = restore_session((node, &sessions), &client_id, documents, now);
            if keys.is_empty() {
                restored += 1;
                if let Some(client) = &mut client {
                    adjust_expiry(&sessions, &client_id, client);
                }
            }
            useless.extend(keys);
        }
        if !useless.is_empty() {
            tracing::warn!(
                vhost = &*vhost,
                documents = useless.len(),
                "documents of no MQTT session dropped"
            );
        }
        tracing::info!(
            vhost = &*vhost,
            sessions = restored,
            "MQTT sessions restored"
        );
        if let Some(client) = &mut client {
            drop_documents(useless, client);
            sessions.sweep(client, now);
        }
    }
}

/// The adapter's own hold on a vhost, while nobody is connected. Without one, what is over ends when the first client
/// connects.
pub(crate) fn own_client(node: &Node, vhost: &str) -> Option<Client> {
    let user = node.broker.system_user();
    let client = node.broker.operate(&user, vhost, Mailbox::new(1));
    client
        .map_err(|error| tracing::warn!(%error, vhost, "MQTT sessions cannot be ended now"))
        .ok()
}

/// Documents by client identifier, and the keys of those that can't be read.
fn sort(all: Vec<Document>) -> (BTreeMap<Box<str>, Documents>, Vec<Key>) {
    let mut by_client: BTreeMap<Box<str>, Documents> = BTreeMap::new();
    let mut useless = Vec::new();
    for (key, value) in all {
        let added = documents::read_key(&key).and_then(|(client_id, subject)| {
            let entry = by_client.entry(client_id.into()).or_default();
            entry.add(subject, &value)?;
            Some(entry)
        });
        match added {
            Some(entry) => entry.keys.push(key),
            None => useless.push(key),
        }
    }
    (by_client, useless)
}

fn drop_documents(keys: Vec<Key>, client: &mut Client) {
    let changes = keys
        .into_iter()
        .map(|key| DocumentChange { key, value: None });
    if let Err(error) = client.put_documents(changes.collect()) {
        tracing::debug!(%error, "useless documents stay");
    }
}

impl Documents {
    fn add(&mut self, subject: Subject<'_>, value: &[u8]) -> Option<()> {
        match subject {
            Subject::Session => self.session = Some(SessionDocument::decode(value)?),
            Subject::Subscription(filter) => {
                let document = SubscriptionDocument::decode(value)?;
                let parsed = TopicFilter::parse(filter).ok()?;
                let consumes = parsed.share_name().is_some() || parsed.queue_name().is_some();
                if consumes != document.share_queue.is_some() {
                    return None;
                }
                self.subscriptions.push((filter.into(), document));
            }
            // They come in the order of their keys, so ascending.
            Subject::Received(id) if documents::is_received(value) => self.received.push(id.get()),
            Subject::Received(_) => return None,
            Subject::ScheduledWill => self.will = Some(documents::read_scheduled_will(value)?),
            Subject::Outgoing(id) => {
                let document = OutgoingDocument::decode(value)?;
                if packet_id(document.serial) != id {
                    return None;
                }
                self.outgoing.push((id, document));
            }
        }
        Some(())
    }
}

/// Enters a session into the registry. Returns the keys of its documents if they are of none.
fn restore_session(
    (node, sessions): (&Arc<Node>, &Arc<VhostSessions>),
    client_id: &str,
    documents: Documents,
    now: Timestamp,
) -> Vec<Key> {
    let Some(document) = documents.session else {
        return documents.keys;
    };
    node.registry.know_publisher(document.publisher);
    let lasts_until = now.plus_ms(u64::from(document.expiry_s) * 1000);
    let expires_at = document.expires_at.unwrap_or(lasts_until);
    let cell = sessions.cell(client_id, || {
        Session::new(Identity {
            node: Arc::clone(node),
            sessions: Arc::clone(sessions),
            client_id: client_id.into(),
            publisher: document.publisher,
        })
    });
    let mut session = cell.lock();
    let kept = &mut session.kept;
    kept.exists = true;
    kept.is_recorded = true;
    kept.expiry_s = document.expiry_s;
    kept.expires_at = Some(expires_at);
    kept.user = document.user;
    kept.received = documents.received;
    kept.scheduled_will = documents.will;
    kept.restore_sources(document.own_queue);
    kept.restore_subscriptions(documents.subscriptions, document.next_tag, sessions);
    for subscription in kept.subscriptions.iter() {
        node.sys.subscribed(&subscription.filter);
    }
    kept.restore_window(documents.outgoing, client_id, sessions);
    sessions.let_go(Fate::Kept(expires_at), &mut session, &cell);
    Vec::new()
}

impl Kept {
    fn restore_sources(&mut self, own_queue: Option<(Box<str>, bool)>) {
        let (name, created) = own_queue.unzip();
        self.sources.push(Source {
            name: name.map(Arc::from),
            created: created.unwrap_or(false),
            ..Source::default()
        });
    }

    fn restore_subscriptions(
        &mut self,
        mut subscriptions: Vec<(Box<str>, SubscriptionDocument)>,
        next_tag: u32,
        sessions: &VhostSessions,
    ) {
        subscriptions.sort_by_key(|(_, document)| document.tag);
        // A tag given twice can't be told apart in a message.
        subscriptions.dedup_by_key(|(_, document)| document.tag);
        for (filter, document) in subscriptions {
            let SubscriptionDocument {
                tag,
                options,
                id,
                share_queue,
            } = document;
            let source = share_queue.and_then(|queue| {
                let number = u16::try_from(self.sources.len()).ok()?;
                self.sources.push(Source {
                    name: Some(if filter.starts_with(QUEUE_PREFIX) {
                        queue.into()
                    } else {
                        sessions.restore_share(&filter, &queue)
                    }),
                    share: Some(tag),
                    ..Source::default()
                });
                Some(number)
            });
            self.subscriptions.restore_next_tag(tag.saturating_add(1));
            self.subscriptions.push(Subscription {
                tag,
                filter: filter.into(),
                options,
                id,
                source,
            });
        }
        self.subscriptions.restore_next_tag(next_tag);
    }

    fn restore_window(
        &mut self,
        mut outgoing: Vec<(PacketId, OutgoingDocument)>,
        client_id: &str,
        sessions: &VhostSessions,
    ) {
        outgoing.sort_by_key(|(_, document)| document.serial);
        for (_, document) in outgoing {
            let OutgoingDocument {
                step,
                serial,
                lsn,
                queue,
            } = document;
            // A retained message that was sent for a SUBSCRIBE has no record of its own.
            let is_awaited = step == OutgoingStep::Sent && lsn != Lsn::NONE;
            let awaited = is_awaited.then(|| Awaited {
                queue: queue.map(Arc::from),
                lsn,
                serial,
            });
            let shared = awaited.as_ref().and_then(|awaited| awaited.queue.clone());
            if let Some(queue) = shared {
                sessions.reserved.reserve(queue, lsn, client_id);
            }
            self.window.restore(serial, awaited);
        }
    }
}

/// A queue was declared with the expiry that its session had first, and begins anew with it.
fn adjust_expiry(sessions: &VhostSessions, client_id: &str, client: &mut Client) {
    let Some(cell) = sessions.find(client_id) else {
        return;
    };
    let session = cell.lock();
    let own = session.kept.sources.get(usize::from(Source::OWN));
    let Some(own) = own.filter(|own| own.created && session.kept.is_durable()) else {
        return;
    };
    let Some(name) = &own.name else { return };
    let nothing = ConsumerSpec {
        mode: AckMode::Manual,
        credit: Credit::Limited(0),
        priority: 0,
        exclusive: false,
        lease_timeout: LeaseTimeout::Never,
    };
    // Missing, it is missed when the client comes.
    if let Ok(consumer) = client.consume(name, nothing, Token(0)) {
        client.adjust_queue(consumer.queue(), |settings| {
            settings.expires_ms = Some(expires_ms(session.kept.expiry_s));
        });
        client.cancel(consumer);
    }
}
