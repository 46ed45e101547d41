//! The queue as a value.
//!
//! ```text
//!                     a consumer has room                 drain
//! enqueue ─► READY ─────────────────────► ASSIGNED ──────────────► LEASED ─► gone or dead
//!              ▲ │         get                 │                     │  settle
//!              │ └─────────────────────────────┼────────────────────►│
//!              └───────────────────────────────┴─────────────────────┘
//!                 the consumer goes                  returned: to its old place
//! ```
//!
//! A message is assigned as soon as a consumer has room for it, so nothing is ready while somebody waits. The
//! consumer hears of it once and drains as much as it likes. Nothing here reads a clock or waits; what must happen
//! elsewhere is in [`Effects`].
//!
//! `ready` and `lane` keep the entries, `consumers` chooses who is served, `leases` hands over and settles, `limits` and
//! `expiry` let entries die, `replay` builds a queue from its journal.
//!
//! Ready messages can leave memory: `freeze` packs them, `thaw` brings them back when the queue wants them, `snapshot`
//! writes down what is in the queue. What the shell does for that, in order:
//!
//! ```text
//! memory is short     freeze, take_parts ─► write pages ─► part_written or part_failed
//! fx.wants_cold       wanted_cold ─► read the parts, decode_part, read messages by lsn
//!                     ─► thaw or expire_cold, or thaw_failed
//! purge               purge until it returns 0; wanted_for_purge ─► read, decode_part ─► purge_cold; again
//! fx.freed, Remains::pages   forget these pages
//! ```

mod browse;
mod cold;
mod consumers;
mod counters;
mod credit;
mod effects;
mod expiry;
mod freeze;
mod frozen;
mod held;
mod lane;
mod leases;
mod limits;
mod part;
mod pause;
mod ready;
mod replay;
mod rings;
mod single;
mod snapshot;
#[cfg(test)]
mod tests;
mod thaw;

pub use browse::{Browsed, Holder, Stretch};
pub use cold::{
    COLD_CHUNK_BYTES, ChunkKey, ColdChunk, PART_BYTES, PagePlace, PartKey, PartSource, Purpose,
};
pub use consumers::{
    AckMode, ConsumeRefusal, ConsumerKey, ConsumerSpec, ConsumerView, WINDOW_BYTES_MAX,
    WINDOW_MESSAGES_MAX,
};
pub use counters::{Holdings, QueueCounters};
pub use credit::{Credit, SharedCredit};
pub use effects::{
    Admission, Dead, DeleteReason, Delivery, EFFECTS_KEPT_MAX, Effects, Incoming, Outcome, Remains,
    Returned,
};
pub use expiry::EXPIRE_BATCH_MAX;
pub use held::LeaseTimeout;
pub use leases::Budget;
pub use part::{ColdEntry, PART_VERSION, decode_part};
pub use pause::Service;
pub use snapshot::SNAPSHOT_VERSION;
pub use thaw::READ_AHEAD_ENTRIES;

use alloc::boxed::Box;

use consumers::Consumers;
use expiry::Expiry;
use ready::{Class, Entry, LaneId, Lanes, NEVER, State};
use replay::Replay;
use thaw::Stalled;

use crate::id::Timestamp;
use crate::message::DeathReason;
use crate::policy::{QueueKind, QueueSettings};

/// How many messages and consumers a queue has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Messages that wait for a consumer with room.
    pub ready: u64,
    /// Their body bytes, which length limits count.
    pub ready_bytes: u64,
    /// Messages in consumers' lists, not drained.
    pub assigned: u64,
    /// Messages drained or got, and not settled.
    pub leased: u64,
    /// Consumers.
    pub consumers: u64,
}

impl Counts {
    /// All that no client has yet. Clients are told `ready` alone: who is assigned a message has it in all but wire.
    pub const fn visible(&self) -> u64 {
        self.ready + self.assigned
    }
}

/// A queue.
pub struct Queue {
    settings: QueueSettings,
    lanes: Lanes,
    consumers: Consumers,
    expiry: Expiry,
    ready: u64,
    ready_bytes: u64,
    assigned: u64,
    leased: u64,
    last_used: Timestamp,
    /// A message last came, was taken or was settled.
    last_active: Timestamp,
    counters: QueueCounters,
    closed: bool,
    /// What waits for cold entries.
    stalled: Stalled,
    /// The next cold entries were wanted, and nobody asked yet which those are.
    wants_head: bool,
    /// Cold entries are due.
    expires_cold: bool,
    /// Before this no consumer has held a message for too long.
    leases_due: Timestamp,
    replay: Option<Box<Replay>>,
}

impl Queue {
    /// An empty queue.
    pub fn new(settings: QueueSettings, now: Timestamp) -> Self {
        let mut consumers = Consumers::new(settings.single_active_consumer);
        consumers.set_preempting(settings.kind == QueueKind::Quorum);
        Self {
            consumers,
            settings,
            lanes: Lanes::default(),
            expiry: Expiry::default(),
            ready: 0,
            ready_bytes: 0,
            assigned: 0,
            leased: 0,
            last_used: now,
            last_active: now,
            counters: QueueCounters::default(),
            closed: false,
            stalled: Stalled::No,
            wants_head: false,
            expires_cold: false,
            leases_due: NEVER,
            replay: None,
        }
    }

    /// About how many bytes of memory the messages hold, those shared with other queues counted in full; of cold ones
    /// what is left of them in memory.
    pub fn resident_bytes(&self) -> usize {
        self.lanes.held_bytes()
    }

    /// The settings in force.
    pub fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    /// Puts other settings in force, for what is in the queue too: deadlines are computed anew from the time of
    /// entering, and lower length limits drop at once.
    pub fn set_settings(&mut self, settings: QueueSettings, now: Timestamp, fx: &mut Effects) {
        let old = core::mem::replace(&mut self.settings, settings);
        if self.closed {
            return;
        }
        if old.message_ttl_ms != self.settings.message_ttl_ms {
            self.recompute_deadlines();
        }
        if old.consumer_timeout_ms != self.settings.consumer_timeout_ms {
            // Looked at soon: whoever holds something may have held it for too long now.
            self.leases_due = now;
        }
        self.drop_overflow(fx);
        if old.single_active_consumer != self.settings.single_active_consumer {
            self.consumers
                .set_single(self.settings.single_active_consumer);
            self.assign(now, fx);
        }
    }

    /// Puts other settings in force at a time when nothing follows from them: nobody uses the queue yet.
    pub fn adopt_settings(&mut self, settings: QueueSettings) {
        let old = core::mem::replace(&mut self.settings, settings);
        if old.message_ttl_ms != self.settings.message_ttl_ms {
            self.recompute_deadlines();
        }
        if old.single_active_consumer != self.settings.single_active_consumer {
            self.consumers
                .set_single(self.settings.single_active_consumer);
        }
    }

    /// Adds a message, and assigns it if a consumer has room.
    pub fn enqueue(&mut self, now: Timestamp, incoming: Incoming, fx: &mut Effects) -> Admission {
        self.counters.published += 1;
        self.last_active = now;
        let class = if incoming.at_most_once {
            Class::AtMostOnce
        } else {
            Class::Kept
        };
        // There may be room, but what waits is cold: then this one waits behind it.
        let stalled = self.lanes.cold.chunks > 0 && self.consumers.could_pick(Class::Kept);
        let picked = if stalled {
            None
        } else {
            self.consumers.pick(class)
        };
        let Some(key) = picked else {
            let admission = self.enqueue_waiting(now, incoming, class, fx);
            if stalled {
                self.assign(now, fx);
            }
            return admission;
        };
        let entry = self.entry(now, incoming, State::Assigned(key));
        let body_bytes = entry.body_bytes;
        let position = self.lanes.append(self.lane_for(class, &entry), entry);
        self.assigned += 1;
        if self.consumers.hand(key, class, position, body_bytes) {
            fx.ready.push(key);
        }
        Admission::Accepted
    }

    #[allow(clippy::inline_always, reason = "measured: saves copies of the entry")]
    #[inline(always)]
    fn entry(&self, now: Timestamp, incoming: Incoming, state: State) -> Entry {
        let Incoming {
            message,
            lsn,
            tags,
            at_most_once: _,
        } = incoming;
        Entry {
            body_bytes: u32::try_from(message.body().len()).unwrap_or(u32::MAX),
            expire_at: self.deadline(now, &message),
            enqueued_at: now,
            message,
            lsn,
            tags,
            attempts: 0,
            failures: 0,
            waited_ms: 0,
            epoch: 0,
            state,
            indexed: false,
        }
    }

    #[inline]
    fn lane_for(&self, class: Class, entry: &Entry) -> LaneId {
        match class {
            Class::AtMostOnce => LaneId::AtMostOnce,
            Class::Kept => LaneId::Priority(self.settings.max_priority.map_or(0, |max| {
                let priority = entry.message.priority();
                priority.unwrap_or(self.settings.default_priority).min(max)
            })),
        }
    }

    /// Adds a message that has to wait.
    fn enqueue_waiting(
        &mut self,
        now: Timestamp,
        incoming: Incoming,
        class: Class,
        fx: &mut Effects,
    ) -> Admission {
        if self.closed || class == Class::AtMostOnce && !self.keeps_at_most_once() {
            self.counters.dropped += 1;
            fx.dropped += 1;
            fx.settle(incoming.lsn);
            return Admission::Dropped;
        }
        let entry = self.entry(now, incoming, State::Ready);
        // What expires on arrival takes no room.
        if entry.expire_at > now && self.refuses_overflow() && self.would_overflow(entry.body_bytes)
        {
            self.refuse(entry.message, entry.lsn, fx);
            return Admission::Rejected;
        }
        let expired = entry.expire_at <= now;
        self.ready += 1;
        self.ready_bytes += u64::from(entry.body_bytes);
        let position = self.lanes.append(self.lane_for(class, &entry), entry);
        if expired {
            self.die(position, DeathReason::Expired, fx);
            return Admission::Dropped;
        }
        self.index_deadline(position);
        self.drop_overflow(fx);
        if self.lanes.entry(position).is_some() {
            Admission::Accepted
        } else {
            Admission::Dropped
        }
    }

    fn keeps_at_most_once(&self) -> bool {
        let rule = self.settings.at_most_once;
        (rule.keep_without_consumer || !self.consumers.is_empty())
            && self.lanes.at_most_once_ready() < u64::from(rule.messages_max)
            && self.lanes.at_most_once_bytes() < rule.bytes_max
    }

    /// Gives ready messages to consumers with room until one side runs out, or a cold message is next. At-most-once messages come after the
    /// others, so they never hold those back, and pass them where credit is used up.
    fn assign(&mut self, now: Timestamp, fx: &mut Effects) {
        match self.stalled {
            Stalled::No => {}
            // Looked at anew.
            Stalled::Assigning => self.stalled = Stalled::No,
            Stalled::Dropping | Stalled::DroppingFirst => {
                self.stalled = Stalled::DroppingFirst;
                return;
            }
        }
        for class in [Class::Kept, Class::AtMostOnce] {
            while self.consumers.has_open(class) {
                let Some(position) = self.first_unexpired(now, class, fx) else {
                    if self.lanes.cold.chunks > 0 && self.stalls(now, class, fx) {
                        return;
                    }
                    break;
                };
                let Some(key) = self.consumers.pick(class) else {
                    break;
                };
                let body_bytes = self
                    .lanes
                    .entry(position)
                    .map_or(0, |entry| entry.body_bytes);
                self.take_from_ready(position, State::Assigned(key));
                self.assigned += 1;
                if self.consumers.hand(key, class, position, body_bytes) {
                    fx.ready.push(key);
                }
            }
        }
        if self.lanes.cold.chunks > 0 {
            self.read_ahead(fx);
        }
    }

    /// Adds a consumer and assigns it what waits.
    pub fn add_consumer(
        &mut self,
        now: Timestamp,
        spec: ConsumerSpec,
        fx: &mut Effects,
    ) -> Result<ConsumerKey, ConsumeRefusal> {
        if self.closed {
            return Err(ConsumeRefusal::Closed);
        }
        let key = self.consumers.add(spec)?;
        self.assign(now, fx);
        Ok(key)
    }

    /// Takes a consumer out. What it was assigned and did not drain goes back to its place as if never taken; what
    /// it drained stays leased until it is settled.
    pub fn remove_consumer(&mut self, now: Timestamp, key: ConsumerKey, fx: &mut Effects) {
        if self.consumers.get_mut(key).is_none() {
            return;
        }
        let assigned = self.consumers.take_assigned(key);
        self.consumers.remove(key);
        self.assigned -= assigned.len() as u64;
        // Backwards, because then each one just moves the lane's cursor.
        for position in assigned.into_iter().rev() {
            self.make_ready(now, position, fx);
        }
        self.assign(now, fx);
        self.drop_overflow(fx);
        if self.consumers.is_empty() {
            self.last_used = now;
            if self.settings.auto_delete {
                fx.delete = Some(DeleteReason::Unused);
            }
        }
    }

    /// Changes a consumer's credit; what it holds stays counted.
    pub fn set_credit(
        &mut self,
        now: Timestamp,
        key: ConsumerKey,
        credit: Credit,
        fx: &mut Effects,
    ) {
        self.consumers.set_credit(key, credit);
        self.assign(now, fx);
    }

    /// To be called when a consumer's shared credit may have come back by another queue or consumer.
    pub fn replenish(&mut self, now: Timestamp, key: ConsumerKey, fx: &mut Effects) {
        self.consumers.refresh_key(key);
        self.assign(now, fx);
    }

    /// Removes ready messages, up to a number, and returns how many. What consumers were assigned is theirs, and
    /// messages whose time is over die of that; those count against the number only. Cold messages stay, see
    /// [`Self::wanted_for_purge`], and so do those behind them.
    pub fn purge(&mut self, now: Timestamp, messages_max: u64, fx: &mut Effects) -> u64 {
        let mut purged = 0;
        for _ in 0..messages_max {
            let Some(position) = self.lanes.least_ready() else {
                break;
            };
            if self
                .lanes
                .entry(position)
                .is_some_and(|entry| entry.expire_at <= now)
            {
                self.die(position, DeathReason::Expired, fx);
                continue;
            }
            let Some(entry) = self.lanes.remove(position) else {
                break;
            };
            self.ready -= 1;
            self.ready_bytes -= u64::from(entry.body_bytes);
            fx.settle(entry.lsn);
            self.unindex(&entry);
            purged += 1;
        }
        self.counters.purged += purged;
        purged
    }

    /// All messages that are here now are delivered as redelivered: who had them before the restart is not known.
    pub fn mark_recovered(&mut self) {
        self.lanes.mark_recovered();
    }

    /// Counts as use of the queue: it was declared again.
    pub fn touch(&mut self, now: Timestamp) {
        self.last_used = now;
    }

    /// How many messages and consumers it has.
    pub fn counts(&self) -> Counts {
        Counts {
            ready: self.ready,
            ready_bytes: self.ready_bytes,
            assigned: self.assigned,
            leased: self.leased,
            consumers: self.consumers.len() as u64,
        }
    }

    /// The consumers: highest priority first, then in order of arrival.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerView> {
        self.consumers.views()
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Ends the queue: its consumers are cancelled, its messages gone, dead-lettered nowhere and settled by the end of
    /// the queue. Whatever comes later finds it empty and deaf. The pages of cold messages are in
    /// [`Remains::pages`].
    pub fn close(&mut self, fx: &mut Effects) {
        self.closed = true;
        fx.cancelled.extend(self.consumers.keys());
        self.consumers.close();
        fx.remains = Remains(core::mem::take(&mut self.lanes));
        self.expiry = Expiry::default();
        self.replay = None;
        self.stalled = Stalled::No;
        (self.wants_head, self.expires_cold) = (false, false);
        (self.ready, self.ready_bytes, self.assigned, self.leased) = (0, 0, 0, 0);
    }
}
