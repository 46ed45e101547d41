//! The broker: what all connections share, and what follows a step once its lock is released.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;
use ternmq_core::access::Right;
use ternmq_core::error::Kind;
use ternmq_core::id::{ConnectionId, Lsn, QueueId, Timestamp};
use ternmq_core::queue::DeleteReason;
use ternmq_core::record;
use ternmq_core::retained::RetainedLimits;
use ternmq_journal::{Batch, Index, Log, LogError, Pressure as JournalPressure};

use crate::admin::{Registry, Scene, Seed};
use crate::announced::Announced;
use crate::apply::Replaying;
use crate::cell::QueueCell;
use crate::clock::Clock;
use crate::commit::CommitWatch;
use crate::config::{BrokerConfig, CLUSTER_NAME, MEMORY_HIGH_BYTES};
use crate::expiries::Expiries;
use crate::gate::Gate;
use crate::history::Budget;
use crate::hold::Hold;
use crate::inspect::Connections;
use crate::mailbox::{CloseReason, DiskRoom, Mailbox, Notice};
use crate::metrics::Metrics;
use crate::pressure::Pressure;
use crate::route_sets::RouteSets;
use crate::schedule::Schedule;
use crate::store::Store;
use crate::timer::Timers;
use crate::users::User;
use crate::vhost::Vhost;
use crate::work::Work;

/// The broker of one node. Cheap to clone; every adapter holds one.
#[derive(Clone)]
pub struct Broker(pub(crate) Arc<Inner>);

/// What all connections share.
pub(crate) struct Inner {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) registry: Arc<Registry>,
    announced: Announced,
    pub(crate) vhosts: DashMap<Box<str>, Arc<Vhost>>,
    pub(crate) clients: DashMap<ConnectionId, ClientEntry>,
    pub(crate) connections: Connections,
    pub(crate) limits: Limits,
    pub(crate) next_connection: AtomicU64,
    pub(crate) next_queue: AtomicU64,
    pub(crate) timers: Timers,
    pub(crate) expiries: Expiries,
    pub(crate) schedule: Schedule,
    pub(crate) histories: Arc<Budget>,
    pub(crate) hold: Hold,
    pub(crate) commits: Arc<CommitWatch>,
    pub(crate) pressure: Pressure,
    pub(crate) metrics: Metrics,
    pub(crate) gate: Gate,
    pub(crate) route_sets: RouteSets,
    pub(crate) replaying: Mutex<Replaying>,
    /// None if nothing is kept on disk.
    pub(crate) store: Option<Store>,
}

/// How much there may be of what clients can make.
pub(crate) struct Limits {
    pub(crate) connections_max: u64,
    /// Of each vhost, as the rest.
    pub(crate) queues_max: usize,
    pub(crate) exchanges_max: usize,
    pub(crate) bindings_max: usize,
    pub(crate) consumer_timeout_ms: u64,
    pub(crate) retained: RetainedLimits,
}

pub(crate) struct ClientEntry {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) user: Arc<User>,
    pub(crate) vhost: Arc<Vhost>,
}

/// Whether records may be refused because room is short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Weight {
    /// New messages may.
    Refusable,
    /// What settles, moves and deletes makes room, and may not.
    Essential,
}

impl Broker {
    /// A broker without queues. `log` takes its records, and nobody reads them back: see [`Broker::open`].
    pub fn new(config: &BrokerConfig, clock: Arc<dyn Clock>, log: Arc<dyn Log>) -> Self {
        Self::with_store(config, clock, log, None)
    }

    pub(crate) fn with_store(
        config: &BrokerConfig,
        clock: Arc<dyn Clock>,
        log: Arc<dyn Log>,
        store: Option<Store>,
    ) -> Self {
        let commits = Arc::new(CommitWatch::default());
        log.watch(commits.clone());
        let retained = RetainedLimits {
            messages_max: config.retained_messages_max,
            bytes_max: config.retained_bytes_max,
        };
        let inner = Inner {
            clock,
            log,
            registry: Arc::new(Registry::new(config)),
            vhosts: DashMap::new(),
            announced: Announced {
                product: config.product.as_str().into(),
                version: config.product_version.as_str().into(),
                cluster_name: config
                    .cluster_name
                    .as_deref()
                    .unwrap_or(CLUSTER_NAME)
                    .into(),
            },
            clients: DashMap::new(),
            connections: Connections::default(),
            limits: Limits {
                connections_max: config.connections_max,
                queues_max: config.queues_max,
                exchanges_max: config.exchanges_max,
                bindings_max: config.bindings_max,
                consumer_timeout_ms: config.consumer_timeout_ms,
                retained,
            },
            next_connection: AtomicU64::new(1),
            next_queue: AtomicU64::new(1),
            timers: Timers::default(),
            expiries: Expiries::default(),
            schedule: Schedule::new(config.scheduled_max, config.scheduled_bytes_max),
            histories: Arc::default(),
            hold: Hold::default(),
            commits,
            pressure: Pressure::new(config.memory_high_bytes.unwrap_or(MEMORY_HIGH_BYTES)),
            metrics: Metrics::default(),
            gate: Gate::default(),
            route_sets: RouteSets::new(Lsn(1)),
            replaying: Mutex::default(),
            store,
        };
        if inner.store.is_none() {
            inner.seed(config, Seed::Unrecorded);
        }
        Self(Arc::new(inner))
    }

    /// The node's time.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// What the node tells clients and tools about itself.
    pub fn announced(&self) -> &Announced {
        &self.0.announced
    }

    /// What the journal survives, in words.
    pub fn durability(&self) -> &'static str {
        self.0.log.durability()
    }

    /// Asks every connection to close.
    pub fn close_all(&self, reason: &CloseReason) {
        for client in &self.0.clients {
            client.mailbox.push(Notice::Close(reason.clone()));
        }
    }

    /// Whether publishers are to pause: memory is short.
    pub fn is_blocked(&self) -> bool {
        self.0.pressure.is_blocked()
    }

    /// Whether a user may work in a vhost.
    pub fn may_use(&self, user: &User, vhost: &str) -> bool {
        let scene = Scene {
            user: user.name(),
            vhost,
            client_id: None,
        };
        user.authority.rights(&scene).is_some()
    }

    /// Whether a user may do that with the queue or exchange of that name.
    pub fn may(&self, user: &User, vhost: &str, right: Right, (kind, name): (Kind, &str)) -> bool {
        let scene = Scene {
            user: user.name(),
            vhost,
            client_id: None,
        };
        let rights = user.authority.rights(&scene);
        rights.is_some_and(|rights| rights.may(right, kind, name))
    }

    /// How much room the disk has for durable messages.
    pub fn disk_room(&self) -> DiskRoom {
        self.0.pressure.disk()
    }

    /// 22 characters that nobody can guess, safe in names and URLs.
    pub fn random_name(&self) -> String {
        self.0.random_name()
    }
}

impl Inner {
    pub(crate) fn next_queue_id(&self) -> QueueId {
        QueueId(self.next_queue.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn remember_client(&self, id: ConnectionId, entry: ClientEntry) {
        let expires_at = entry.user.expires_at();
        self.clients.insert(id, entry);
        // Behind it: whoever is told has to be there.
        self.move_expiry(id, None, expires_at);
    }

    pub(crate) fn forget_client(&self, id: ConnectionId) {
        self.clients.remove(&id);
        self.connections.forget(id);
    }

    /// Tells one connection, if it is still there.
    pub(crate) fn tell(&self, id: ConnectionId, notice: Notice) {
        if let Some(client) = self.clients.get(&id) {
            client.mailbox.push(notice);
        }
    }

    /// Asks those connections to close that a user has in a vhost for which that is so. Returns how many.
    pub(crate) fn tell_all(
        &self,
        reason: &CloseReason,
        of: &mut dyn FnMut(&str, &str) -> bool,
    ) -> usize {
        let mut count = 0;
        for client in &self.clients {
            if of(client.user.name(), &client.vhost.name) {
                client.mailbox.push(Notice::Close(reason.clone()));
                count += 1;
            }
        }
        count
    }

    pub(crate) fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        self.vhosts.get(name).map(|v| v.clone())
    }

    pub(crate) fn committed(&self) -> Lsn {
        Lsn(self.log.committed().0)
    }

    pub(crate) fn random_name(&self) -> String {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut bytes = [0_u8; 22];
        if getrandom::fill(&mut bytes).is_err() {
            // No entropy from the system: still unique within the node, no longer unguessable.
            let unique = self.next_connection.fetch_add(1, Ordering::Relaxed)
                ^ self.clock.now().0.rotate_left(32);
            bytes[..8].copy_from_slice(&unique.to_le_bytes());
        }
        bytes
            .iter()
            .map(|b| char::from(ALPHABET[usize::from(b & 63)]))
            .collect()
    }

    /// The last record that anybody has appended.
    pub(crate) fn last_appended(&self) -> Lsn {
        let next = self.log.append(&Batch::new());
        Lsn(next.map_or(0, |next| next.0.saturating_sub(1)))
    }

    /// Appends records. [`Lsn::NONE`] if there were none; an error is the log's refusal.
    pub(crate) fn try_append(&self, batch: &Batch, weight: Weight) -> Result<Lsn, LogError> {
        if batch.is_empty() {
            return Ok(Lsn::NONE);
        }
        self.append_waiting(batch, weight).map(|index| Lsn(index.0))
    }

    /// If the disk only lags behind, whoever appends has to wait: neither an accepted message nor what happened already
    /// is dropped for that. If it is full, a publisher hears of it; for the rest there is a reserve, which is made up
    /// again as what waits is written.
    ///
    /// That may be under a vhost's lock. The journal gets on without those, and so does whoever it calls.
    fn append_waiting(&self, batch: &Batch, weight: Weight) -> Result<Index, LogError> {
        let mut in_vain = 0;
        loop {
            let appended = match weight {
                Weight::Refusable => self.log.append(batch),
                Weight::Essential => self.log.append_essential(batch),
            };
            let is_full = self.log.pressure() == JournalPressure::NoRoom;
            let (Err(LogError::Full), Some(store)) = (appended, &self.store) else {
                return appended;
            };
            if is_full && weight == Weight::Refusable {
                return appended;
            }
            let last = Index(self.next_record().0 - 1);
            // Nothing waits: what did may have been written just now, or there is really no room.
            in_vain += u32::from(is_full && store.log.committed() >= last);
            if in_vain > 1 {
                return appended;
            }
            store.log.wait_committed(last)?;
        }
    }

    /// Appends records of what has happened already, and returns where the first one lies.
    pub(crate) fn append(&self, batch: &Batch) -> Lsn {
        match self.try_append(batch, Weight::Essential) {
            Ok(first) => first,
            // Nobody is connected any more, and nothing was promised.
            Err(LogError::Closed) => Lsn::NONE,
            Err(error) => {
                // What happened would be forgotten: rather end, as after any failure of the disk.
                tracing::error!(%error, records = batch.len(), "the journal refused what had happened already");
                if let Some(store) = &self.store {
                    (store.halt)(&error);
                }
                Lsn::NONE
            }
        }
    }

    /// Appends one record of what has happened already.
    pub(crate) fn append_one(&self, write: impl FnOnce(&mut Vec<u8>)) -> Lsn {
        let mut batch = Batch::new();
        batch.record(write);
        self.append(&batch)
    }

    /// Does what a step left to be done, once its lock is released: notices, timers, records, dead letters, the end
    /// of queues. Every [`QueueCell::update`] is followed by one of these.
    pub(crate) fn follow_up(&self, cell: &Arc<QueueCell>, work: &mut Work, now: Timestamp) {
        self.collect(cell, work);
        if work.dead.is_empty() && work.ended.is_empty() {
            return;
        }
        loop {
            if let Some(source) = work.dead.pop_front() {
                for dead in source.move_dead().into_iter().flatten().flatten() {
                    self.dead_letter(&source, &dead, work, now);
                }
            } else if let Some(ended) = work.ended.pop() {
                self.delete_queue(&ended.vhost, ended.id, work);
            } else {
                break;
            }
        }
    }

    /// Takes up one step's leftovers; what may touch other queues is put off to [`Inner::follow_up`]'s loop.
    pub(crate) fn collect(&self, cell: &Arc<QueueCell>, work: &mut Work) {
        for (mailbox, notice) in work.notices.drain(..) {
            mailbox.push(notice);
        }
        if let Some(moved) = work.rearm.take() {
            self.timers.rearm(moved, cell);
        }
        self.account(std::mem::take(&mut work.resident_delta));
        let effects = &mut work.effects;
        if !effects.settled.is_empty() || !effects.returned.is_empty() {
            work.batch.clear();
            if !effects.settled.is_empty() {
                work.batch
                    .record(|out| record::settled(cell.id, &effects.settled, out));
            }
            if !effects.returned.is_empty() {
                work.batch
                    .record(|out| record::returned(cell.id, &effects.returned, out));
            }
            self.append(&work.batch);
        }
        if effects.dropped > 0 {
            self.metrics.dropped(effects.dropped);
            self.metrics.died(cell.kind, &effects.died);
        }
        if effects.unreadable > 0 {
            self.metrics.unreadable(effects.unreadable);
        }
        if effects.wants_cold {
            self.want_cold(cell);
        }
        if !effects.freed.is_empty() {
            self.free_pages(cell, effects.freed.drain(..));
        }
        if std::mem::take(&mut work.has_dead) {
            work.dead.push_back(cell.clone());
        }
        match effects.delete.take() {
            None => {}
            Some(reason @ (DeleteReason::Unused | DeleteReason::Expired)) => {
                tracing::debug!(queue = %cell.name, vhost = %cell.vhost.name, ?reason, "queue deleted itself");
                work.ended.push(cell.clone());
            }
        }
        self.free_pages(cell, effects.remains.pages());
        effects.clear();
        if std::mem::take(&mut work.freeze) {
            self.relieve(cell, work);
        }
    }

    /// Accounts a change of the memory that messages hold.
    pub(crate) fn account(&self, delta: i64) {
        if delta == 0 {
            return;
        }
        if self.pressure.add(delta) {
            self.tell_pressure();
        }
        if let Some(store) = &self.store {
            store.residency.look(self.pressure.resident());
        }
    }

    /// Whether the journal takes more than the disk.
    pub(crate) fn is_behind(&self) -> bool {
        self.log.pressure() == JournalPressure::Behind
    }

    /// The journal says how much room it has.
    pub(crate) fn look_at_disk(&self) {
        let room = match self.log.pressure() {
            JournalPressure::None | JournalPressure::Behind => DiskRoom::Enough,
            JournalPressure::Low => DiskRoom::Low,
            JournalPressure::NoRoom => DiskRoom::Full,
        };
        if self.pressure.set_disk(room) {
            tracing::warn!(?room, "room on the disk changed");
            // It is asked for again sooner now.
            self.timers.wake();
            for client in &self.clients {
                self.pressure.tell_disk(&client.mailbox);
            }
            if let Some(store) = self.store.as_ref().filter(|_| room != DiskRoom::Enough) {
                // Whatever it can give back is needed now.
                store.checkpointing.wish();
            }
        }
    }

    fn tell_pressure(&self) {
        tracing::warn!(
            blocked = self.pressure.is_blocked(),
            bytes = self.pressure.resident(),
            "memory pressure changed"
        );
        for client in &self.clients {
            self.pressure.tell_memory(&client.mailbox);
        }
    }
}
