//! Messages that are published later: what delayed exchanges hold back, what clients publish with a time, delayed
//! wills.
//!
//! ```text
//! Turn::push with a route that delays ──┐
//! Turn::push_later                      ├─► scheduled record ─► Schedule ─► due ─► released record ─► queues
//! Client::schedule                      ┘                          └─► cancelled: released record without targets
//! ```
//! A durable message waits in the journal: after a restart it waits for the same time. Where it goes is found out when
//! its time has come; then one record says that it is not scheduled any more and in which queues it is, so it is never
//! published twice. The bodies of all scheduled messages are in memory, see the limits in [`crate::BrokerConfig`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use ternmq_core::error::Refusal;
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::message::Message;
use ternmq_core::record::{self, ScheduledRecord};
use ternmq_core::routing::RouteRequest;
use ternmq_core::topology::{X_DELAY, delay_over};

use crate::broker::{Broker, Inner, Weight};
use crate::client::Client;
use crate::publish::{Route, Turn, further_keys};
use crate::vhost::Vhost;
use crate::work::Work;

/// Messages that one tick publishes, at most; what is left is due at once.
const SCHEDULED_PER_TICK_MAX: usize = 256;

/// Names a scheduled message, as long as it waits and over restarts. Never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ScheduleId(pub u64);

/// Whether a message is retained as well when it is published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Retain {
    /// It is not.
    #[default]
    No,
    /// It is; one without a body makes its topic forgotten.
    Yes,
}

/// When and how a message is to be published.
pub(crate) struct Later {
    pub(crate) at: Timestamp,
    pub(crate) vhost: Arc<Vhost>,
    /// The delayed exchange that holds it back, where it starts again; else it is published to its own exchange.
    pub(crate) via: Option<Box<str>>,
    pub(crate) retain: Retain,
    /// Whether a durable message survives a restart meanwhile.
    pub(crate) durable: bool,
}

impl Later {
    /// Whether that message has a record while it waits.
    pub(crate) fn has_record(&self, message: &Message) -> bool {
        self.durable && message.durable()
    }

    pub(crate) fn write_record(&self, id: ScheduleId, message: &Message, out: &mut Vec<u8>) {
        record::scheduled(&self.record(id), message, out);
    }

    pub(crate) fn record(&self, id: ScheduleId) -> ScheduledRecord {
        ScheduledRecord {
            id: id.0,
            vhost: self.vhost.name.clone(),
            at: self.at,
            via: self.via.clone(),
            retain: self.retain == Retain::Yes,
        }
    }

    pub(crate) fn of_record(record: ScheduledRecord, vhost: Arc<Vhost>) -> Self {
        Self {
            at: record.at,
            vhost,
            via: record.via,
            retain: if record.retain {
                Retain::Yes
            } else {
                Retain::No
            },
            durable: true,
        }
    }
}

/// A message that waits for its time.
pub(crate) struct Scheduled {
    pub(crate) later: Arc<Later>,
    pub(crate) message: Message,
    /// Its record; [`Lsn::NONE`] if it has none.
    pub(crate) lsn: Lsn,
}

/// A scheduled message, as one look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScheduledInfo {
    /// Which.
    pub id: ScheduleId,
    /// The vhost it is published in.
    pub vhost: Box<str>,
    /// The delayed exchange that holds it back, or the exchange it is published to.
    pub exchange: Box<str>,
    /// Its routing key, as it is written.
    pub routing_key: Box<[u8]>,
    /// When it is due.
    pub at: Timestamp,
    /// Bytes of its body.
    pub body_bytes: usize,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it is retained as well.
    pub retain: Retain,
}

/// All of them, by time, by id and by the exchange that holds them back.
pub(crate) struct Schedule {
    messages_max: usize,
    bytes_max: usize,
    next_id: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    by_id: HashMap<ScheduleId, Scheduled, FixedState>,
    by_time: BTreeSet<(Timestamp, ScheduleId)>,
    /// Vhost and exchange of those that a delayed exchange holds back.
    by_exchange: BTreeMap<(Box<str>, Box<str>), BTreeSet<ScheduleId>>,
    bytes: usize,
}

impl State {
    /// Returns whether it is the one that is due first.
    fn put(&mut self, id: ScheduleId, scheduled: Scheduled) -> bool {
        let Later { at, vhost, via, .. } = &*scheduled.later;
        self.bytes += scheduled.message.resident_bytes();
        self.by_time.insert((*at, id));
        if let Some(exchange) = via {
            let of = (vhost.name.clone(), exchange.clone());
            self.by_exchange.entry(of).or_default().insert(id);
        }
        self.by_id.insert(id, scheduled);
        self.by_time.first().is_some_and(|(_, first)| *first == id)
    }

    fn take(&mut self, id: ScheduleId) -> Option<Scheduled> {
        let scheduled = self.by_id.remove(&id)?;
        let Later { at, vhost, via, .. } = &*scheduled.later;
        self.by_time.remove(&(*at, id));
        if let Some(exchange) = via {
            let of = (vhost.name.clone(), exchange.clone());
            if let Some(ids) = self.by_exchange.get_mut(&of) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_exchange.remove(&of);
                }
            }
        }
        self.bytes -= scheduled.message.resident_bytes();
        Some(scheduled)
    }
}

impl Schedule {
    pub(crate) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            messages_max,
            bytes_max,
            next_id: AtomicU64::new(1),
            state: Mutex::default(),
        }
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.state.lock().by_time.first().map(|(at, _)| *at)
    }

    /// The first of so many ids that are new.
    pub(crate) fn reserve_ids(&self, count: usize) -> ScheduleId {
        ScheduleId(self.next_id.fetch_add(count as u64, Ordering::Relaxed))
    }

    /// Ids below this one may be in use.
    pub(crate) fn next_id(&self) -> ScheduleId {
        ScheduleId(self.next_id.load(Ordering::Relaxed))
    }

    /// From now on ids are this one and those behind it.
    pub(crate) fn ids_begin_at(&self, next: ScheduleId) {
        self.next_id.fetch_max(next.0, Ordering::Relaxed);
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().by_id.len()
    }

    /// About how much memory all of them take, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.state.lock().bytes as u64
    }

    /// How many an exchange holds back.
    pub(crate) fn held_by(&self, vhost: &str, exchange: &str) -> u64 {
        let of = (Box::from(vhost), Box::from(exchange));
        let state = self.state.lock();
        state.by_exchange.get(&of).map_or(0, |ids| ids.len() as u64)
    }

    fn check_room(&self, state: &State, message: &Message) -> Result<(), Refusal> {
        if state.by_id.len() >= self.messages_max {
            return Err(Refusal::LimitReached {
                limit: "scheduled_max",
                max: self.messages_max as u64,
            });
        }
        if state.bytes + message.resident_bytes() > self.bytes_max {
            return Err(Refusal::LimitReached {
                limit: "scheduled_bytes_max",
                max: self.bytes_max as u64,
            });
        }
        Ok(())
    }

    /// Returns whether it is the one that is due first.
    fn add(&self, id: ScheduleId, scheduled: Scheduled) -> Result<bool, Refusal> {
        let mut state = self.state.lock();
        self.check_room(&state, &scheduled.message)?;
        Ok(state.put(id, scheduled))
    }

    /// Adds one that was there before a restart, whatever the limits are now. One that is there already stays.
    pub(crate) fn restore(&self, id: ScheduleId, scheduled: Scheduled) {
        self.ids_begin_at(ScheduleId(id.0 + 1));
        let mut state = self.state.lock();
        if !state.by_id.contains_key(&id) {
            state.put(id, scheduled);
        }
    }

    pub(crate) fn take(&self, id: ScheduleId) -> Option<Scheduled> {
        self.state.lock().take(id)
    }

    fn pop(&self, now: Timestamp) -> Option<(ScheduleId, Scheduled)> {
        let mut state = self.state.lock();
        let (_, id) = *state.by_time.first().filter(|(at, _)| *at <= now)?;
        Some((id, state.take(id)?))
    }

    /// Takes out what an exchange that is gone held back: those of `which`.
    pub(crate) fn take_of_exchange(
        &self,
        vhost: &str,
        exchange: &str,
        which: impl Fn(ScheduleId, &Scheduled) -> bool,
    ) -> Vec<Scheduled> {
        let mut state = self.state.lock();
        let of = (Box::from(vhost), Box::from(exchange));
        let Some(ids) = state.by_exchange.get(&of) else {
            return Vec::new();
        };
        let is_meant = |id: &ScheduleId| state.by_id.get(id).is_some_and(|s| which(*id, s));
        let ids: Vec<ScheduleId> = ids.iter().copied().filter(is_meant).collect();
        ids.into_iter().filter_map(|id| state.take(id)).collect()
    }

    /// Forgets what waits in a vhost that is gone.
    pub(crate) fn forget_vhost(&self, vhost: &Arc<Vhost>) {
        let mut state = self.state.lock();
        let of_vhost = state
            .by_id
            .iter()
            .filter(|(_, s)| Arc::ptr_eq(&s.later.vhost, vhost));
        let ids: Vec<ScheduleId> = of_vhost.map(|(id, _)| *id).collect();
        for id in ids {
            state.take(id);
        }
    }

    /// Every message that has a record.
    pub(crate) fn for_each_durable(&self, mut found: impl FnMut(ScheduleId, &Scheduled)) {
        let state = self.state.lock();
        let durable = state.by_id.iter().filter(|(_, s)| s.lsn.is_some());
        durable.for_each(|(id, scheduled)| found(*id, scheduled));
    }
}

impl Client {
    /// Publishes `message` at `at`, wherever its exchange and routing key lead then, whether or not this connection
    /// still lives. Returns the record that has to be committed before anybody is promised that; a message that is not
    /// durable has none, and is forgotten with the process.
    ///
    /// # Errors
    /// [`Refusal::LimitReached`], [`Refusal::DiskFull`].
    pub fn schedule(
        &mut self,
        at: Timestamp,
        message: Message,
        retain: Retain,
    ) -> Result<(ScheduleId, Lsn), Refusal> {
        let _inside = self.broker.gate.enter();
        let later = Arc::new(self.later(at, retain));
        let inner = &self.broker;
        inner
            .schedule
            .check_room(&inner.schedule.state.lock(), &message)?;
        let id = inner.schedule.reserve_ids(1);
        let mut lsn = Lsn::NONE;
        if later.has_record(&message) {
            let batch = &mut self.work.get().batch;
            batch.clear();
            batch.record(|out| later.write_record(id, &message, out));
            lsn = inner
                .try_append(batch, Weight::Refusable)
                .map_err(|error| {
                    tracing::debug!(%error, "journal refused a scheduled message");
                    Refusal::DiskFull
                })?;
        }
        let scheduled = Scheduled {
            later,
            message,
            lsn,
        };
        inner.schedule_now(id, scheduled)?;
        Ok((id, lsn))
    }

    fn later(&self, at: Timestamp, retain: Retain) -> Later {
        Later {
            at,
            vhost: self.vhost.clone(),
            via: None,
            retain,
            durable: true,
        }
    }

    /// A route for [`Turn::push`] on which a message is published at `at`, and not before, as [`Client::schedule`]
    /// does: for publishers that are to hear of it as of other publishes.
    pub fn route_later(&self, at: Timestamp, retain: Retain) -> Arc<Route> {
        Arc::new(Route::later(Arc::new(self.later(at, retain))))
    }
}

impl Broker {
    /// Forgets a scheduled message. Returns the record of that, or [`Lsn::NONE`] if it had none; nothing if it was not
    /// waiting any more.
    pub fn cancel_scheduled(&self, id: ScheduleId) -> Option<Lsn> {
        let _inside = self.0.gate.enter();
        let scheduled = self.0.schedule.take(id)?;
        Some(self.0.forget_scheduled(id, &scheduled))
    }

    /// Publishes a scheduled message now. Returns whether it was still waiting.
    pub fn fire_scheduled(&self, id: ScheduleId) -> bool {
        let _inside = self.0.gate.enter();
        let Some(scheduled) = self.0.schedule.take(id) else {
            return false;
        };
        self.0
            .release((id, scheduled), &mut Work::default(), self.now());
        true
    }

    /// Scheduled messages of a vhost in the order in which they are due, up to a number: those behind `after`.
    pub fn scheduled(
        &self,
        vhost: &str,
        after: Option<(Timestamp, ScheduleId)>,
        max: usize,
    ) -> Vec<ScheduledInfo> {
        let state = self.0.schedule.state.lock();
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let due = state.by_time.range((from, std::ops::Bound::Unbounded));
        let known = due.filter_map(|(_, id)| Some((*id, state.by_id.get(id)?)));
        known
            .filter(|(_, scheduled)| *scheduled.later.vhost.name == *vhost)
            .take(max)
            .map(|(id, scheduled)| scheduled.info(id))
            .collect()
    }

    /// A scheduled message.
    pub fn scheduled_message(&self, id: ScheduleId) -> Option<ScheduledInfo> {
        let state = self.0.schedule.state.lock();
        state.by_id.get(&id).map(|scheduled| scheduled.info(id))
    }

    /// How many messages a delayed exchange holds back.
    pub fn messages_delayed(&self, vhost: &str, exchange: &str) -> u64 {
        self.0.schedule.held_by(vhost, exchange)
    }
}

impl Scheduled {
    fn info(&self, id: ScheduleId) -> ScheduledInfo {
        let later = &*self.later;
        let own = || String::from_utf8_lossy(self.message.exchange()).into();
        ScheduledInfo {
            id,
            vhost: later.vhost.name.clone(),
            exchange: later.via.clone().unwrap_or_else(own),
            routing_key: self.message.routing_key().into(),
            at: later.at,
            body_bytes: self.message.body().len(),
            durable: self.lsn.is_some(),
            retain: later.retain,
        }
    }
}

impl Inner {
    /// Lets a message wait whose record is appended already, if it has one.
    pub(crate) fn schedule_now(&self, id: ScheduleId, scheduled: Scheduled) -> Result<(), Refusal> {
        let lsn = scheduled.lsn;
        match self.schedule.add(id, scheduled) {
            Ok(is_first) => {
                if is_first {
                    self.timers.wake();
                }
                Ok(())
            }
            Err(refusal) => {
                if lsn.is_some() {
                    self.append_one(|out| record::cancelled(id.0, out));
                }
                Err(refusal)
            }
        }
    }

    /// Lets a message wait that did so before a restart.
    pub(crate) fn restore_scheduled(&self, lsn: Lsn, record: ScheduledRecord, message: Message) {
        let id = ScheduleId(record.id);
        let Some(vhost) = self.vhost(&record.vhost) else {
            // It went by a later record, and what waited in it with it.
            return;
        };
        let scheduled = Scheduled {
            later: Arc::new(Later::of_record(record, vhost)),
            message,
            lsn,
        };
        self.schedule.restore(id, scheduled);
    }

    /// Exchanges are gone: what they held back goes as well, but for what came behind their end. Their own records say
    /// that for all of it.
    pub(crate) fn forget_delayed(&self, vhost: &str, exchanges: &[Box<str>], before: ScheduleId) {
        for exchange in exchanges {
            let is_older = |id, _: &Scheduled| id < before;
            let gone = self.schedule.take_of_exchange(vhost, exchange, is_older);
            self.metrics.dropped(gone.len() as u64);
        }
    }

    fn forget_scheduled(&self, id: ScheduleId, scheduled: &Scheduled) -> Lsn {
        if scheduled.lsn.is_some() {
            self.append_one(|out| record::cancelled(id.0, out))
        } else {
            Lsn::NONE
        }
    }

    pub(crate) fn publish_due(&self, work: &mut Work, now: Timestamp) {
        for _ in 0..SCHEDULED_PER_TICK_MAX {
            let Some(due) = self.schedule.pop(now) else {
                break;
            };
            self.release(due, work, now);
        }
    }

    /// Publishes a message that was taken out of the schedule.
    fn release(&self, (id, scheduled): (ScheduleId, Scheduled), work: &mut Work, now: Timestamp) {
        let Later {
            vhost, via, retain, ..
        } = &*scheduled.later;
        let message = due_message(&scheduled, work, now);
        if *retain == Retain::Yes {
            let kept = (!message.body().is_empty()).then(|| message.clone());
            if let Err(refusal) = self.retain(vhost, message.routing_key(), kept, work) {
                tracing::warn!(%refusal, "scheduled message not retained");
            }
        }
        let route = match due_route(vhost, via.as_deref(), &message, work) {
            Ok(route) if !route.is_empty() => route,
            refused => {
                if let Err(refusal) = refused {
                    tracing::debug!(%refusal, "scheduled message dropped");
                }
                self.metrics.dropped(1);
                self.forget_scheduled(id, &scheduled);
                return;
            }
        };
        let mut turn = Turn::new();
        if !scheduled.lsn.is_some() {
            turn.push(message, Arc::new(route));
            self.publish(&mut turn, None, (work, &mut Vec::new()), now);
            return;
        }
        work.batch.clear();
        work.batch.record(|out| {
            record::released(id.0, now, &message, route.targets_of(&message), out);
        });
        // It leaves by the same record by which it enters its queues.
        let lsn = self.append(&work.batch);
        turn.push(message, Arc::new(route));
        self.enqueue_turn(&mut turn, lsn, work, &mut Vec::new(), now);
        work.release();
    }
}

/// The message as it is published: its time to live counts from now on, and what it says about its delay is negated.
fn due_message(scheduled: &Scheduled, work: &mut Work, now: Timestamp) -> Message {
    let message = &scheduled.message;
    let mut parts = message.to_new();
    parts.received_at = now;
    let delay = scheduled.later.via.as_ref().and_then(|_| {
        let headers = message.properties().headers;
        headers.get(X_DELAY).map(delay_over)
    });
    let native = delay.and_then(|over| parts.format.with_header(message.native(), X_DELAY, &over));
    if let Some(native) = &native {
        parts.native = native;
    }
    parts.build(&mut work.scratch)
}

/// Where the message goes now.
fn due_route(
    vhost: &Arc<Vhost>,
    via: Option<&str>,
    message: &Message,
    work: &mut Work,
) -> Result<Route, Refusal> {
    let headers = || message.properties().headers;
    let extra_keys = further_keys(message);
    let request = RouteRequest {
        exchange: via.map_or(message.exchange(), str::as_bytes),
        routing_key: message.routing_key(),
        key_syntax: message.key_syntax(),
        extra_keys: &extra_keys,
        headers: &headers,
        properties: &|| message.properties(),
        publisher: message.publisher(),
        // What an exchange held back was let in before.
        from_client: via.is_none(),
    };
    let routes = &mut work.routes;
    vhost.read(|space| {
        space.topology.route_due(&request, routes)?;
        Ok(space.resolve(routes))
    })
}
