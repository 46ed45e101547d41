//! The publish verb: from a turn of messages to the queues they reach.

use std::cell::RefCell;
use std::sync::Arc;

use ternmq_core::error::Refusal;
use ternmq_core::id::{Lsn, QueueId, Timestamp};
use ternmq_core::message::Message;
use ternmq_core::queue::{Admission, Incoming};
use ternmq_core::record;
use ternmq_core::routing::RouteRequest;
use ternmq_core::tags::Tags;
use ternmq_core::topology::ExchangeTraffic;
use ternmq_journal::{Batch, LogError};

use crate::broker::{Inner, Weight};
use crate::cell::QueueCell;
use crate::client::Client;
use crate::documents::DocumentChange;
use crate::history::History;
use crate::metrics::TurnTally;
use crate::route_sets::{INLINE_TARGETS_MAX, RouteSet};
use crate::schedule::{Later, Schedule, ScheduleId, Scheduled};
use crate::vhost::Vhost;
use crate::work::Work;

mod counting;

thread_local! {
    /// Where the records of a turn are laid out: one per thread, as a turn's records are as large as its messages.
    static RECORDS: RefCell<Batch> = const { RefCell::new(Batch::new()) };
}

/// Where messages of one exchange and key go, as of one version of the topology.
#[derive(Default)]
pub struct Route {
    version: u64,
    targets: Box<[Target]>,
    durable: bool,
    /// How records name the durable ones, if there are many.
    set: Option<Box<RouteSet>>,
    /// Counters of the exchange it starts from.
    traffic: Option<Arc<ExchangeTraffic>>,
    /// What keeps the messages for destinations that are bound later.
    histories: Box<[Arc<History>]>,
    /// What holds the messages back.
    delays: Box<[Arc<Later>]>,
}

/// One queue on a route.
pub(crate) struct Target {
    pub(crate) cell: Arc<QueueCell>,
    pub(crate) tags: Tags,
    pub(crate) at_most_once: bool,
}

impl Route {
    pub(crate) fn new(version: u64, targets: Box<[Target]>) -> Self {
        let durable = targets.iter().filter(|target| target.durable()).count();
        Self {
            version,
            targets,
            durable: durable > 0,
            set: (durable > INLINE_TARGETS_MAX).then(Box::default),
            traffic: None,
            histories: Box::default(),
            delays: Box::default(),
        }
    }

    /// A route to nowhere, until the time has come.
    pub(crate) fn later(later: Arc<Later>) -> Self {
        Self {
            delays: Box::new([later]),
            ..Self::new(0, Box::default())
        }
    }

    pub(crate) fn with_traffic(mut self, traffic: Option<Arc<ExchangeTraffic>>) -> Self {
        self.traffic = traffic;
        self
    }

    pub(crate) fn with_histories(mut self, histories: Box<[Arc<History>]>) -> Self {
        self.histories = histories;
        self
    }

    pub(crate) fn with_delays(mut self, delays: Box<[Arc<Later>]>) -> Self {
        self.delays = delays;
        self
    }

    pub(crate) fn histories(&self) -> &[Arc<History>] {
        &self.histories
    }

    pub(crate) fn delays(&self) -> &[Arc<Later>] {
        &self.delays
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    fn durable_targets(&self) -> impl Iterator<Item = (QueueId, &[u32])> + Clone {
        let durable = self.targets.iter().filter(|target| target.durable());
        durable.map(|target| (target.cell.id, target.tags.as_slice()))
    }

    /// The queues in which a record of that message puts it.
    pub(crate) fn targets_of(
        &self,
        message: &Message,
    ) -> impl Iterator<Item = (QueueId, &[u32])> + Clone {
        let durable = message.durable();
        self.durable_targets().filter(move |_| durable)
    }

    /// Whether messages need a record.
    fn has_records(&self, message: &Message) -> bool {
        message.durable() && (self.durable || self.delays.iter().any(|later| later.durable))
    }

    /// Whether nothing becomes of messages: no queue gets them, no exchange keeps them or holds them back.
    pub fn is_empty(&self) -> bool {
        self.is_unroutable() && self.histories.is_empty()
    }

    /// Whether no queue gets the messages, now or later.
    pub fn is_unroutable(&self) -> bool {
        self.targets.is_empty() && self.delays.is_empty()
    }
}

impl Target {
    /// Whether a durable message must be journalled for this queue.
    pub(crate) fn durable(&self) -> bool {
        self.cell.durable && !self.at_most_once
    }

    pub(crate) fn incoming(&self, message: Message, lsn: Lsn) -> Incoming {
        let lsn = if self.durable() { lsn } else { Lsn::NONE };
        let at_most_once =
            self.at_most_once || self.cell.transient_at_most_once && !message.durable();
        Incoming {
            message,
            lsn,
            tags: self.tags.clone(),
            at_most_once,
        }
    }
}

/// A turn whose messages go to so many queues altogether is heavy, see [`Turn::is_heavy`].
pub const TURN_COPIES_MAX: usize = 16 * 1024;

/// An empty turn keeps memory for so many messages.
const TURN_KEPT_MAX: usize = 128;

/// The publishes that one read brought, in order.
#[derive(Default)]
pub struct Turn {
    messages: Vec<Message>,
    /// Consecutive messages of one route: the route, and the index behind the last one.
    runs: Vec<(Arc<Route>, usize)>,
    durable: bool,
    /// Queues that the messages go to, each counted per message.
    copies: usize,
    /// What changes together with the turn.
    documents: Vec<DocumentChange>,
    tally: TurnTally,
    /// Indexes of messages that are held back, and by what.
    later: Vec<(usize, Arc<Later>)>,
    /// The first of those has this id, the others those behind it.
    first_id: Option<ScheduleId>,
}

impl Turn {
    /// An empty turn.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message and returns its index in the turn.
    pub fn push(&mut self, message: Message, route: Arc<Route>) -> usize {
        self.durable |= route.has_records(&message);
        self.copies += route.targets.len();
        self.tally.add(message.body().len());
        for later in &route.delays {
            self.later.push((self.messages.len(), later.clone()));
        }
        self.messages.push(message);
        let end = self.messages.len();
        match self.runs.last_mut() {
            Some((last, run_end)) if Arc::ptr_eq(last, &route) => *run_end = end,
            _ => self.runs.push((route, end)),
        }
        end - 1
    }

    /// A document that changes if the turn is taken, and only then: both are one batch in the journal.
    pub fn push_document(&mut self, change: DocumentChange) {
        self.documents.push(change);
    }

    /// How many publishes.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there is nothing to do: neither publishes nor documents, and nothing to count.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.documents.is_empty() && self.tally.is_empty()
    }

    /// Whether publishing it takes so long that whoever collects it does that first, and lets other connections have
    /// their turn before it reads on: a few bytes that are published to very many queues are much work.
    pub fn is_heavy(&self) -> bool {
        self.copies >= TURN_COPIES_MAX
    }

    /// Adds the records of its durable messages to a batch, in order, behind those of route sets that they need and
    /// before those of messages that wait.
    pub(crate) fn write_records(&mut self, batch: &mut Batch, inner: &Inner) -> Written {
        let sets = &inner.route_sets;
        let epoch = sets.epoch();
        let mut leading = 0;
        if !self.durable {
            return Written { leading, epoch };
        }
        for (route, _) in &self.runs {
            if let Some(set) = route.set.as_ref().filter(|set| !set.is_written(epoch)) {
                let id = set.id(sets);
                batch.record(|out| record::route_set(id, route.durable_targets(), out));
                leading += 1;
            }
        }
        let mut start = 0;
        for (route, end) in &self.runs {
            let messages = self.messages[start..*end].iter();
            for message in messages.filter(|m| route.durable && m.durable()) {
                batch.record(|out| match &route.set {
                    None => record::published(message, route.durable_targets(), out),
                    Some(set) => record::published_by_set(message, set.id(sets), out),
                });
            }
            start = *end;
        }
        if !self.later.is_empty() {
            let first_id = self.reserve_ids(&inner.schedule);
            for (id, (index, later)) in (first_id.0..).zip(&self.later) {
                let message = &self.messages[*index];
                if later.has_record(message) {
                    batch.record(|out| later.write_record(ScheduleId(id), message, out));
                }
            }
        }
        Written { leading, epoch }
    }

    /// The id of the first message that waits.
    fn reserve_ids(&mut self, schedule: &Schedule) -> ScheduleId {
        let count = self.later.len();
        *self
            .first_id
            .get_or_insert_with(|| schedule.reserve_ids(count))
    }

    /// Its records, from `first` on, were appended. Returns where the first message's record lies.
    pub(crate) fn appended(&self, written: Written, first: Lsn) -> Lsn {
        if written.leading > 0 {
            for (route, _) in &self.runs {
                if let Some(set) = &route.set {
                    set.set_written(written.epoch);
                }
            }
        }
        Lsn(first.0 + written.leading)
    }

    /// Takes out the messages that would need a record, and the documents. Fills `refused` with the indexes of those, and
    /// returns the indexes of those that are left.
    fn take_transient(&mut self, refused: &mut Vec<usize>) -> Vec<usize> {
        let tally = std::mem::take(&mut self.tally);
        let mut rest = Self::new();
        let mut indexes = Vec::new();
        let mut start = 0;
        let mut messages = self.messages.drain(..);
        for (route, end) in self.runs.drain(..) {
            for (index, message) in (start..end).zip(messages.by_ref()) {
                if route.has_records(&message) {
                    refused.push(index);
                } else {
                    rest.push(message, route.clone());
                    indexes.push(index);
                }
            }
            start = end;
        }
        drop(messages);
        *self = rest;
        // All of them came.
        self.tally = tally;
        indexes
    }

    fn clear(&mut self) {
        self.tally.clear();
        self.messages.clear();
        self.runs.clear();
        self.documents.clear();
        self.later.clear();
        self.first_id = None;
        self.durable = false;
        self.copies = 0;
        if self.messages.capacity() > TURN_KEPT_MAX {
            (self.messages, self.runs) = Default::default();
        }
    }
}

/// What became of a turn.
pub struct Published<'a> {
    /// When this record is committed, every message of the turn is safe that had to be; [`Lsn::NONE`] if none had.
    pub lsn: Lsn,
    /// Messages that some queue or the journal refused, by their index in the turn, ascending. All others are taken.
    pub rejected: &'a [usize],
    /// The disk does not keep up: read nothing more from this publisher until [`Published::lsn`] is committed.
    pub slow_down: bool,
}

impl Client {
    /// Where a publish goes now, if the user may send it there. Cached by exchange and key as long as topology and
    /// permissions stay the same.
    ///
    /// # Errors
    /// [`Refusal::AccessRefused`], [`Refusal::NotFound`], [`Refusal::InternalExchange`] and [`Refusal::TopicRefused`], at
    /// the publish that they belong to.
    pub fn route(&mut self, request: &RouteRequest<'_>) -> Result<Arc<Route>, Refusal> {
        let version = self.vhost.version();
        if let Some(route) = self.route_cache.get(request, version) {
            return Ok(route.clone());
        }
        self.check_publish(request)?;
        let routes = &mut self.work.get().routes;
        let (vhost, clock) = (&self.vhost, &self.broker.clock);
        let (route, by_topic) = vhost.read(|space| {
            space.topology.route(request, routes)?;
            let route = space.resolve(routes);
            let route = Arc::new(space.delay(route, routes, vhost, clock));
            Ok::<_, Refusal>((route, space.is_topic(request.exchange)))
        })?;
        let is_cacheable = routes.cacheable;
        if by_topic {
            self.check_publish_keys(request)?;
        }
        // Permissions that changed since made the version grow, or will.
        if is_cacheable && route.version() == version && !self.is_trusted {
            self.route_cache.put(request, route.clone());
        }
        Ok(route)
    }

    /// Publishes a turn and clears it: one journal append, then each queue is locked once per run of messages
    /// that go the same way.
    pub fn publish(&mut self, turn: &mut Turn, now: Timestamp) -> Published<'_> {
        let _inside = self.broker.gate.enter();
        self.count_turn(turn);
        let vhost = Some(&*self.vhost);
        let to = (self.work.get(), &mut self.rejected);
        let lsn = self.broker.publish(turn, vhost, to, now);
        self.watch_storing(lsn, now);
        Published {
            lsn,
            rejected: &self.rejected,
            slow_down: lsn.is_some() && self.broker.is_behind(),
        }
    }
}

impl Inner {
    /// See [`Client::publish`]. `rejected` is filled with the indexes of refused messages.
    pub(crate) fn publish(
        &self,
        turn: &mut Turn,
        vhost: Option<&Vhost>,
        (work, rejected): (&mut Work, &mut Vec<usize>),
        now: Timestamp,
    ) -> Lsn {
        rejected.clear();
        let (count, written, appended) = RECORDS.with_borrow_mut(|batch| {
            let written = turn.write_records(batch, self);
            let first = self.append_turn(turn, vhost, batch);
            let appended = (batch.len() as u64, written, first);
            batch.clear();
            appended
        });
        match appended {
            Ok(first) => {
                let first_message = turn.appended(written, first);
                self.enqueue_turn(turn, first_message, work, rejected, now);
                work.release();
                last_of(first, count)
            }
            Err(error) => {
                tracing::debug!(%error, messages = count, "journal refused publishes");
                let transient = turn.take_transient(rejected);
                self.enqueue_rest(turn, &transient, (work, rejected), now);
                work.release();
                Lsn::NONE
            }
        }
    }

    /// Appends a turn's records, which are in the batch, and what changes with it.
    pub(crate) fn append_turn(
        &self,
        turn: &mut Turn,
        vhost: Option<&Vhost>,
        batch: &mut Batch,
    ) -> Result<Lsn, LogError> {
        let weight = if turn.durable {
            Weight::Refusable
        } else {
            Weight::Essential
        };
        match vhost {
            Some(vhost) if !turn.documents.is_empty() => {
                let documents = turn.documents.clone();
                self.append_with_documents((batch, weight), vhost, documents)
            }
            _ => self.try_append(batch, weight),
        }
    }

    /// Puts what is left of a turn whose durable messages were refused into its queues, and clears it. `indexes` are those
    /// that its messages had before.
    fn enqueue_rest(
        &self,
        turn: &mut Turn,
        indexes: &[usize],
        (work, rejected): (&mut Work, &mut Vec<usize>),
        now: Timestamp,
    ) {
        let mut of_rest = Vec::new();
        self.enqueue_turn(turn, Lsn::NONE, work, &mut of_rest, now);
        rejected.extend(of_rest.into_iter().filter_map(|at| indexes.get(at)));
        rejected.sort_unstable();
    }

    /// Puts a turn into its queues and clears it. Its durable messages lie in the journal from `first` on.
    pub(crate) fn enqueue_turn(
        &self,
        turn: &mut Turn,
        first: Lsn,
        work: &mut Work,
        rejected: &mut Vec<usize>,
        now: Timestamp,
    ) {
        turn.count_exchanges();
        let mut next_lsn = first.0;
        let mut start = 0;
        let later = self.take_later(turn);
        let mut messages = turn.messages.drain(..);
        for (route, end) in turn.runs.drain(..) {
            let count = end - start;
            for message in &messages.as_slice()[..count] {
                route.histories.iter().for_each(|h| h.record(message));
            }
            let run = Run {
                route: &route,
                start,
                first_lsn: next_lsn,
                now,
            };
            start = end;
            let Some((last, others)) = route.targets.split_last() else {
                messages.by_ref().take(count).for_each(drop);
                continue;
            };
            for target in others {
                let copies = messages.as_slice()[..count].iter().cloned();
                run.enqueue(target, copies, work, rejected);
                self.follow_up(&target.cell, work, now);
            }
            next_lsn = run.enqueue(last, messages.by_ref().take(count), work, rejected);
            self.follow_up(&last.cell, work, now);
        }
        drop(messages);
        turn.clear();
        for (index, id, mut scheduled) in later {
            if scheduled.later.has_record(&scheduled.message) && first.is_some() {
                scheduled.lsn = Lsn(next_lsn);
                next_lsn += 1;
            }
            if let Err(refusal) = self.schedule_now(id, scheduled) {
                tracing::debug!(%refusal, "message refused that was to be delayed");
                rejected.push(index);
            }
        }
        rejected.sort_unstable();
        rejected.dedup();
    }

    /// The messages that wait, with their indexes in the turn.
    fn take_later(&self, turn: &mut Turn) -> Vec<(usize, ScheduleId, Scheduled)> {
        if turn.later.is_empty() {
            return Vec::new();
        }
        let first_id = turn.reserve_ids(&self.schedule);
        let later = (first_id.0..).zip(turn.later.drain(..));
        let scheduled = later.map(|(id, (index, later))| {
            let message = turn.messages[index].clone();
            let scheduled = Scheduled {
                later,
                message,
                lsn: Lsn::NONE,
            };
            (index, ScheduleId(id), scheduled)
        });
        scheduled.collect()
    }
}

/// The further routing keys of a message, hidden ones included.
pub(crate) fn further_keys(message: &Message) -> Vec<&[u8]> {
    let extras = message.extras().into_iter();
    let keys = extras.flat_map(|extras| extras.cc.iter().chain(&extras.bcc));
    keys.map(|key| &**key).collect()
}

/// What [`Turn::write_records`] wrote.
#[derive(Clone, Copy)]
pub(crate) struct Written {
    /// Records of route sets, before those of messages.
    leading: u64,
    epoch: u64,
}

/// The last of `count` records that lie from `first` on; [`Lsn::NONE`] if there are none.
pub(crate) fn last_of(first: Lsn, count: u64) -> Lsn {
    if first.is_some() && count > 0 {
        Lsn(first.0 + count - 1)
    } else {
        Lsn::NONE
    }
}

/// A run of messages that go the same way.
struct Run<'a> {
    route: &'a Route,
    start: usize,
    /// Where the run's first durable message lies in the journal.
    first_lsn: u64,
    now: Timestamp,
}

impl Run<'_> {
    /// Puts the run into one queue. Returns where the next run's first durable message lies.
    fn enqueue(
        &self,
        target: &Target,
        messages: impl Iterator<Item = Message>,
        work: &mut Work,
        rejected: &mut Vec<usize>,
    ) -> u64 {
        let mut next_lsn = self.first_lsn;
        target.cell.update(work, |queue, effects| {
            for (index, message) in (self.start..).zip(messages) {
                let lsn = if self.route.durable && message.durable() {
                    next_lsn += 1;
                    Lsn(next_lsn - 1)
                } else {
                    Lsn::NONE
                };
                if queue.enqueue(self.now, target.incoming(message, lsn), effects)
                    == Admission::Rejected
                {
                    rejected.push(index);
                }
            }
        });
        next_lsn
    }
}

#[cfg(test)]
mod tests;
