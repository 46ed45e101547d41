//! Client identifiers and the sessions behind them, per vhost (§3.1.4, §4.1).
//!
//! A session lives in a cell that outlasts its connections. Whoever connects with its client identifier takes the cell's
//! lock and from then on owns the session: the number of its connection is the session's *epoch*. If there is a former
//! connection, that one is told to go first, so that it can read what its client had sent before; if it does not go in
//! time, what it had is ended in its place, and it finds out when it next takes the lock and sees another epoch. So
//! there is no moment at which two connections act for one session.
//!
//! # Locks
//! | lock | around | held for |
//! |---|---|---|
//! | `SessionCell::session` | one session | one read, one drain of notices, or a take-over |
//! | shards of `VhostSessions::cells`, `Registry::vhosts` | registries | one look-up or change |
//! | `VhostSessions::shares` | groups of shared subscriptions | one joining or leaving, with its declarations |
//! | `VhostSessions::expiries` | when sessions end | one change |
//! | `Reserved::by_record` | messages that are another session's | one look-up or change |
//!
//! Order: cell, then the maps here, then anything of the broker. Nothing is locked while a cell is waited for.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use parking_lot::{Mutex, MutexGuard};
use ternmq_broker::Client;
use ternmq_broker::mailbox::Mailbox;
use ternmq_core::access::Right;
use ternmq_core::error::{Kind, Refusal};
use ternmq_core::id::{PublisherId, Timestamp};

use crate::look::ShareInfo;
use crate::session::attach::Fate;
use crate::session::{Active, Session};
use reserved::Reserved;

/// Sessions of one node.
#[derive(Default)]
pub(crate) struct Registry {
    vhosts: DashMap<Box<str>, Arc<VhostSessions>>,
    epochs: AtomicU64,
    publishers: AtomicU64,
}

/// Set in the identity of every MQTT publisher, so that it is no other protocol's.
const PUBLISHER_BIT: u64 = 1 << 63;
/// So many bits of it count within a millisecond.
const PUBLISHERS_PER_MS_BITS: u32 = 10;

impl Registry {
    /// The sessions of a vhost that exists.
    pub(crate) fn vhost(&self, name: &str) -> Arc<VhostSessions> {
        if let Some(sessions) = self.vhosts.get(name) {
            return Arc::clone(&sessions);
        }
        Arc::clone(&self.vhosts.entry(name.into()).or_default())
    }

    /// All vhosts that have or had sessions.
    pub(crate) fn vhosts(&self) -> Vec<(Box<str>, Arc<VhostSessions>)> {
        let vhosts = self.vhosts.iter();
        vhosts
            .map(|entry| (entry.key().clone(), Arc::clone(entry.value())))
            .collect()
    }

    /// A registry of a node that starts at that moment. Identities of publishers outlive it, in bindings and in
    /// messages, so those of an earlier start must not come again: each start begins behind what the one before can
    /// have given, at a million sessions a second.
    pub(crate) fn beginning_at(now: Timestamp) -> Self {
        Self {
            publishers: AtomicU64::new(now.0 << PUBLISHERS_PER_MS_BITS),
            ..Self::default()
        }
    }

    /// That identity was given before the start, whatever the clock said then.
    pub(crate) fn know_publisher(&self, publisher: PublisherId) {
        let behind = (publisher.0 & !PUBLISHER_BIT).saturating_add(1);
        self.publishers.fetch_max(behind, Ordering::Relaxed);
    }

    /// A number for a connection, never given twice.
    pub(crate) fn next_epoch(&self) -> u64 {
        self.epochs.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// An identity for a session as a publisher, never given twice.
    pub(crate) fn next_publisher(&self) -> PublisherId {
        PublisherId(self.publishers.fetch_add(1, Ordering::Relaxed) | PUBLISHER_BIT)
    }
}

/// Where a session is kept.
pub(crate) struct SessionCell {
    session: Mutex<Session>,
}

impl SessionCell {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Session> {
        self.session.lock()
    }
}

/// Sessions of one vhost.
#[derive(Default)]
pub(crate) struct VhostSessions {
    cells: DashMap<Box<str>, Arc<SessionCell>>,
    /// Groups of shared subscriptions, by `$share/NAME/FILTER`.
    shares: Mutex<Shares>,
    expiries: Mutex<BinaryHeap<Reverse<Expiry>>>,
    /// What belongs to members of groups since before a restart.
    pub(crate) reserved: Reserved,
}

/// The groups of a vhost.
#[derive(Default)]
struct Shares {
    by_text: HashMap<Box<str>, Share>,
    /// The names of their queues.
    queues: HashSet<Arc<str>>,
}

/// A group of a shared subscription.
struct Share {
    queue: Arc<str>,
    /// Sessions subscribed to it, connected or not.
    members: usize,
}

/// When to look whether a session has ended.
struct Expiry {
    at: Timestamp,
    cell: Weak<SessionCell>,
}

impl PartialEq for Expiry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Expiry {}

impl PartialOrd for Expiry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Expiry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl VhostSessions {
    /// The cell of a client identifier, made by `new` if there is none. It may be removed before it is locked: see
    /// [`Session::is_removed`].
    pub(crate) fn cell(&self, client_id: &str, new: impl FnOnce() -> Session) -> Arc<SessionCell> {
        if let Some(cell) = self.cells.get(client_id) {
            return Arc::clone(&cell);
        }
        let entry = self.cells.entry(client_id.into());
        Arc::clone(&entry.or_insert_with(|| {
            Arc::new(SessionCell {
                session: Mutex::new(new()),
            })
        }))
    }

    /// How many sessions there are, connected or not.
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The cell of a client identifier, if there is one.
    pub(crate) fn find(&self, client_id: &str) -> Option<Arc<SessionCell>> {
        self.cells.get(client_id).map(|cell| Arc::clone(&cell))
    }

    /// Every cell there is.
    pub(crate) fn all(&self) -> Vec<Arc<SessionCell>> {
        self.cells.iter().map(|cell| Arc::clone(&cell)).collect()
    }

    /// The groups of shared subscriptions, in no order.
    pub(crate) fn share_infos(&self) -> Vec<ShareInfo> {
        let shares = self.shares.lock();
        let all = shares.by_text.iter();
        all.map(|(filter, share)| ShareInfo {
            filter: filter.clone(),
            queue: Arc::clone(&share.queue),
            members: share.members,
        })
        .collect()
    }

    /// Whether another connection has the session of that client identifier. If so, it is told to go, and `newcomer` gets
    /// a notice once it did.
    pub(crate) fn is_taken(&self, client_id: &str, newcomer: &Arc<Mailbox>) -> bool {
        let cell = self.find(client_id);
        cell.is_some_and(|cell| cell.lock().make_way(newcomer))
    }

    /// Whether a client may have the session of its identifier, if there is one: to know that is not enough to take from
    /// another user what waits in the session's queue, or to delete it.
    ///
    /// # Errors
    /// [`Refusal::AccessRefused`].
    pub(crate) fn check_heir(
        &self,
        client_id: &str,
        client: &mut Client,
        clean_start: bool,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let cell = self.find(client_id);
        // Who knows what a user may do may take time to say it: the session is not locked meanwhile.
        let Some(queue) = cell.and_then(|cell| cell.lock().estate(client.user().name(), now))
        else {
            return Ok(());
        };
        let right = if clean_start {
            Right::Configure
        } else {
            Right::Read
        };
        client.check_right(right, Kind::Queue, &queue)
    }

    /// Forgets a session. Its cell is locked, and marked as removed.
    pub(crate) fn remove(&self, session: &Session) {
        debug_assert!(session.is_removed());
        let client_id = session.client_id();
        // A cell in the map is never a removed one, so there is no other to be taken for it.
        self.cells.remove(client_id);
    }

    /// A session has no connection any more: it is kept for its time, or gone.
    pub(crate) fn let_go(&self, fate: Fate, session: &mut Session, cell: &Arc<SessionCell>) {
        match fate {
            Fate::Ended => {
                session.mark_removed();
                self.remove(session);
            }
            Fate::Kept(until) => self.expire_at(until, session, cell),
        }
    }

    /// The session, which lost its connection, ends at `at` unless another connection takes it before. A session that
    /// is to be looked at earlier anyway is not entered again: however often its client comes and goes, it has one entry.
    pub(crate) fn expire_at(&self, at: Timestamp, session: &mut Session, cell: &Arc<SessionCell>) {
        if session.looked_at_by(at) {
            self.expiries.lock().push(Reverse(Expiry {
                at,
                cell: Arc::downgrade(cell),
            }));
        }
    }

    /// Ends the sessions whose time is over. Called at each connect, so no task of its own is needed: what expired
    /// sessions hold until then is their entry here; their queues expire by themselves.
    pub(crate) fn sweep(&self, client: &mut Client, now: Timestamp) {
        while let Some(Expiry { at, cell }) = self.pop_due(now) {
            let Some(cell) = cell.upgrade() else {
                continue;
            };
            let mut session = cell.lock();
            if session.is_removed() || !session.is_looked_at(at) {
                continue;
            }
            if session.is_expired(now) {
                session.expire(client, now);
                session.mark_removed();
                self.remove(&session);
            } else if let Some(at) = session.expires_at() {
                self.expire_at(at, &mut session, &cell);
            }
        }
    }

    fn pop_due(&self, now: Timestamp) -> Option<Expiry> {
        let mut expiries = self.expiries.lock();
        let due = expiries
            .peek()
            .is_some_and(|Reverse(expiry)| expiry.at <= now);
        if due {
            expiries.pop().map(|Reverse(expiry)| expiry)
        } else {
            None
        }
    }

    /// A session subscribes to `$share/GROUP/FILTER`. `declare` makes sure that the queue it is given exists and is
    /// bound; if it fails, nothing has changed. The groups stay locked, so that the last member does not leave
    /// meanwhile and take the queue along.
    pub(crate) fn join_share<T, E>(
        &self,
        group: &str,
        filter: &str,
        declare: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<(T, Arc<str>), E> {
        let text = format!("$share/{group}/{filter}");
        let mut shares = self.shares.lock();
        let (queue, members) = match shares.by_text.get(&*text) {
            Some(share) => (Arc::clone(&share.queue), share.members),
            None => (unused_share_queue(&shares.queues, group, filter), 0),
        };
        let declared = declare(&queue)?;
        shares.queues.insert(Arc::clone(&queue));
        shares.by_text.insert(
            text.into(),
            Share {
                queue: Arc::clone(&queue),
                members: members + 1,
            },
        );
        Ok((declared, queue))
    }

    /// After a restart: a session is a member of `$share/GROUP/FILTER`, whose queue has that name.
    pub(crate) fn restore_share(&self, text: &str, queue: &str) -> Arc<str> {
        let mut shares = self.shares.lock();
        let Shares { by_text, queues } = &mut *shares;
        let share = by_text.entry(text.into()).or_insert_with(|| Share {
            queue: queue.into(),
            members: 0,
        });
        share.members += 1;
        queues.insert(Arc::clone(&share.queue));
        Arc::clone(&share.queue)
    }

    /// A session leaves `$share/GROUP/FILTER`; with the last one `delete` is called with the queue's name.
    pub(crate) fn leave_share(&self, text: &str, delete: impl FnOnce(&str)) {
        let mut shares = self.shares.lock();
        let Shares { by_text, queues } = &mut *shares;
        let Some(share) = by_text.get_mut(text) else {
            return;
        };
        share.members -= 1;
        if share.members == 0 {
            delete(&share.queue);
            queues.remove(&share.queue);
            by_text.remove(text);
        }
    }
}

/// The name of a group's queue: `mqtt-share-GROUP-HASH`, made different from that of a filter with the same hash.
fn unused_share_queue(taken: &HashSet<Arc<str>>, group: &str, filter: &str) -> Arc<str> {
    let mut hash = fnv1a(filter.as_bytes());
    // A queue's name has 255 bytes.
    let group = &group[..group.floor_char_boundary(SHARE_GROUP_BYTES_MAX)];
    loop {
        let name = format!("mqtt-share-{group}-{hash:016x}");
        if !taken.contains(&*name) {
            return name.into();
        }
        hash = hash.wrapping_add(1);
    }
}

/// More of a group's name does not go into its queue's name.
const SHARE_GROUP_BYTES_MAX: usize = 200;

/// FNV-1a: the same on every node and after every restart.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A connection's hold on its session.
pub(crate) struct Hold {
    cell: Arc<SessionCell>,
    epoch: u64,
}

impl Hold {
    pub(crate) fn new(cell: Arc<SessionCell>, epoch: u64) -> Self {
        Self { cell, epoch }
    }

    /// The session, locked. Whether it is still ours is told by [`Hold::active`].
    pub(crate) fn lock(&self) -> MutexGuard<'_, Session> {
        self.cell.lock()
    }

    /// The session as this connection may use it; none once another connection has taken it.
    pub(crate) fn active<'a>(&self, session: &'a mut Session) -> Option<Active<'a>> {
        session.active(self.epoch)
    }

    /// Whether the session is still this connection's.
    pub(crate) fn owns(&self, session: &Session) -> bool {
        session.epoch() == self.epoch
    }

    /// The session's place.
    pub(crate) fn cell(&self) -> &Arc<SessionCell> {
        &self.cell
    }
}

pub(crate) mod reserved;
#[cfg(test)]
mod tests;
