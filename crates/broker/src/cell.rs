//! One queue behind its lock, and who is to be told of what happens in it.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use parking_lot::Mutex;
use ternmq_core::error::{Kind, Refusal};
use ternmq_core::id::{ConnectionId, Lsn, Position, QueueId, Timestamp};
use ternmq_core::policy::{DeadLetterStrategy, DeadLetterTarget, QueueKind};
use ternmq_core::queue::{
    ConsumeRefusal, ConsumerKey, ConsumerSpec, Counts, Dead, Effects, Outcome, PartKey, Queue,
};
use ternmq_core::topology::QueueDecl;

mod policy;

use crate::inspect::ConsumerLabel;
use crate::mailbox::{Mailbox, Notice, Token};
use crate::timer::Rearm;
use crate::vhost::Vhost;
use crate::work::Work;

/// The right to move the dead messages of a queue; see [`QueueCell::move_dead`].
pub(crate) struct MovingDead<'a> {
    cell: &'a QueueCell,
    is_over: bool,
}

impl Iterator for MovingDead<'_> {
    type Item = VecDeque<Dead>;

    /// All that wait. None ends it: whoever dies later is moved by others.
    fn next(&mut self) -> Option<VecDeque<Dead>> {
        if self.is_over {
            return None;
        }
        let mut state = self.cell.state.lock();
        if state.dead.is_empty() {
            state.moves_dead = false;
            self.is_over = true;
            return None;
        }
        Some(std::mem::take(&mut state.dead))
    }
}

impl Drop for MovingDead<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.cell.state.lock().moves_dead = false;
        }
    }
}

/// A queue of this node. Everything that happens to it goes through [`QueueCell::update`].
pub(crate) struct QueueCell {
    pub(crate) id: QueueId,
    pub(crate) name: Box<str>,
    pub(crate) decl: Arc<QueueDecl>,
    pub(crate) durable: bool,
    pub(crate) kind: QueueKind,
    /// Messages that are not durable are at-most-once here.
    pub(crate) transient_at_most_once: bool,
    /// Deliveries tell how often they were taken and failed before.
    exposes_counters: bool,
    pub(crate) vhost: Arc<Vhost>,
    /// It stands in the loader's inbox.
    pub(crate) is_awaited: AtomicBool,
    /// Held by whoever loads it, while the disk is read.
    pub(crate) loading: Mutex<()>,
    state: Mutex<State>,
}

struct State {
    queue: Queue,
    /// By the index of the consumer's key.
    subscribers: Vec<Option<Subscriber>>,
    /// Dead messages that did not leave yet, in the order of their deaths.
    dead: VecDeque<Dead>,
    /// Somebody moves them.
    moves_dead: bool,
    /// The earliest deadline that the timers know of.
    armed: Option<Timestamp>,
    /// It is looked at when it takes so much memory, in bytes.
    freeze_at: usize,
    /// None where policies say nothing.
    policy: Option<Box<policy::UnderPolicy>>,
    /// Policies up to this record are in force.
    policies_version: Lsn,
}

/// Who consumes.
pub(crate) struct Subscriber {
    key: ConsumerKey,
    mailbox: Arc<Mailbox>,
    token: Token,
    pub(crate) connection: ConnectionId,
    pub(crate) label: ConsumerLabel,
}

/// A consumer to be: where its notices go, and who it is.
pub(crate) struct NewSubscriber {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) token: Token,
    pub(crate) connection: ConnectionId,
    pub(crate) label: ConsumerLabel,
}

/// The consumers of a queue, by key.
pub(crate) struct Labels<'a>(&'a [Option<Subscriber>]);

impl<'a> Labels<'a> {
    pub(crate) fn subscriber(&self, key: ConsumerKey) -> Option<&'a Subscriber> {
        let subscriber = self.0.get(key.index())?.as_ref();
        subscriber.filter(|subscriber| subscriber.key == key)
    }

    pub(crate) fn get(&self, key: ConsumerKey) -> Option<&'a ConsumerLabel> {
        self.subscriber(key).map(|subscriber| &subscriber.label)
    }
}

impl QueueCell {
    pub(crate) fn new(id: QueueId, decl: &Arc<QueueDecl>, vhost: Arc<Vhost>, queue: Queue) -> Self {
        let kind = queue.settings().kind;
        let transient_at_most_once = queue.settings().at_most_once.transient;
        let exposes_counters = queue.settings().expose_counters;
        let state = State {
            queue,
            subscribers: Vec::new(),
            dead: VecDeque::new(),
            moves_dead: false,
            armed: None,
            // The first look finds out how much it should be.
            freeze_at: 1,
            policy: None,
            policies_version: Lsn::NONE,
        };
        // An exclusive queue ends with its connection, so nothing of it outlives the process.
        let durable = decl.durable && decl.exclusive.is_none();
        Self {
            id,
            name: decl.name.clone(),
            decl: decl.clone(),
            durable,
            kind,
            transient_at_most_once,
            exposes_counters,
            vhost,
            is_awaited: AtomicBool::new(false),
            loading: Mutex::new(()),
            state: Mutex::new(state),
        }
    }

    /// Runs one step of the queue under its lock and gathers in `work` what has to follow once it is released.
    /// The step does memory work only.
    pub(crate) fn update<R>(
        &self,
        work: &mut Work,
        step: impl FnOnce(&mut Queue, &mut Effects) -> R,
    ) -> R {
        let mut state = self.state.lock();
        let before = state.queue.resident_bytes();
        let result = step(&mut state.queue, &mut work.effects);
        state.gather(work, before);
        result
    }

    /// See [`Queue::ending`].
    pub(crate) fn ending(&self, positions: &[Position], outcome: Outcome) -> Vec<Lsn> {
        self.state.lock().queue.ending(positions, outcome)
    }

    /// Adds a consumer and remembers where its notices go.
    pub(crate) fn subscribe(
        &self,
        work: &mut Work,
        now: Timestamp,
        spec: ConsumerSpec,
        new: NewSubscriber,
    ) -> Result<ConsumerKey, Refusal> {
        let mut state = self.state.lock();
        let before = state.queue.resident_bytes();
        let key = state
            .queue
            .add_consumer(now, spec, &mut work.effects)
            .map_err(|refusal| match refusal {
                ConsumeRefusal::ExclusiveUse => Refusal::ExclusiveUse(self.name.clone()),
                // It was deleted after it had been looked up.
                ConsumeRefusal::Closed => self.not_found(),
            })?;
        if state.subscribers.len() <= key.index() {
            if state.subscribers.is_empty() {
                // Most queues have one.
                state.subscribers.reserve_exact(key.index() + 1);
            }
            state.subscribers.resize_with(key.index() + 1, || None);
        }
        let NewSubscriber {
            mailbox,
            token,
            connection,
            label,
        } = new;
        state.subscribers[key.index()] = Some(Subscriber {
            key,
            mailbox,
            token,
            connection,
            label,
        });
        state.gather(work, before);
        Ok(key)
    }

    /// Removes a consumer; nobody hears of it any more.
    pub(crate) fn unsubscribe(&self, work: &mut Work, now: Timestamp, key: ConsumerKey) {
        let mut state = self.state.lock();
        let before = state.queue.resident_bytes();
        if state.subscriber(key).is_some() {
            state.subscribers[key.index()] = None;
        }
        state.queue.remove_consumer(now, key, &mut work.effects);
        state.gather(work, before);
    }

    /// What a closed queue answers.
    pub(crate) fn not_found(&self) -> Refusal {
        Refusal::NotFound {
            kind: Kind::Queue,
            name: self.name.clone(),
        }
    }

    /// Lets the queue act on what is due.
    pub(crate) fn expire(&self, work: &mut Work, now: Timestamp) {
        let mut state = self.state.lock();
        let before = state.queue.resident_bytes();
        state.armed = None;
        state.queue.expire(now, &mut work.effects);
        state.gather(work, before);
    }

    /// The dead messages are the caller's to move, and those that die meanwhile: none if there are none, or if somebody
    /// does already. So they leave in the order of their deaths, whichever threads they are due to.
    pub(crate) fn move_dead(&self) -> Option<MovingDead<'_>> {
        let mut state = self.state.lock();
        if state.moves_dead || state.dead.is_empty() {
            return None;
        }
        state.moves_dead = true;
        Some(MovingDead {
            cell: self,
            is_over: false,
        })
    }

    /// Where the queue's dead messages go, and what happens if they are refused there.
    pub(crate) fn dead_letter_target(&self) -> Option<(DeadLetterTarget, DeadLetterStrategy)> {
        let state = self.state.lock();
        let settings = state.queue.settings();
        let target = settings.dead_letter.clone()?;
        Some((target, settings.dead_letter_strategy))
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state.lock().queue.counts()
    }

    /// About how much memory its messages take.
    pub(crate) fn resident_bytes(&self) -> usize {
        self.state.lock().queue.resident_bytes()
    }

    /// Looks at the queue under its lock. Nothing has to follow.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&mut Queue) -> R) -> R {
        look(&mut self.state.lock().queue)
    }

    /// The same, with its consumers.
    pub(crate) fn look_with_labels<R>(&self, look: impl FnOnce(&mut Queue, &Labels<'_>) -> R) -> R {
        let state = &mut *self.state.lock();
        look(&mut state.queue, &Labels(&state.subscribers))
    }

    /// Parts of the queue that are to be written.
    pub(crate) fn take_parts(&self, out: &mut Vec<(PartKey, Bytes)>) {
        self.state.lock().queue.take_parts(out);
    }

    /// The queue is looked at again when it takes so many bytes more, and `floor` bytes at least.
    pub(crate) fn freeze_later(&self, bytes: usize, floor: usize) {
        let mut state = self.state.lock();
        let next = state.queue.resident_bytes().saturating_add(bytes);
        state.freeze_at = next.max(floor);
    }
}

impl State {
    fn subscriber(&self, key: ConsumerKey) -> Option<&Subscriber> {
        self.subscribers
            .get(key.index())?
            .as_ref()
            .filter(|s| s.key == key)
    }

    /// Notices, timer and memory account of the step just done. `before` is what the queue held in memory.
    fn gather(&mut self, work: &mut Work, before: usize) {
        let Work {
            effects,
            notices,
            rearm,
            resident_delta,
            freeze,
            has_dead,
            ..
        } = work;
        if !effects.dead.is_empty() {
            self.dead.extend(effects.dead.drain(..));
            *has_dead = true;
        }
        if effects.delete.is_some() {
            // Closed in the same step, so that nobody comes to use it before it is gone.
            self.queue.close(effects);
        }
        for key in effects.ready.drain(..) {
            if let Some(s) = self.subscriber(key) {
                notices.push((s.mailbox.clone(), Notice::Ready(s.token)));
            }
        }
        for key in effects.cancelled.drain(..) {
            if let Some(s) = self.subscriber(key) {
                notices.push((s.mailbox.clone(), Notice::Cancelled(s.token)));
                self.subscribers[key.index()] = None;
            }
        }
        for key in effects.timed_out.drain(..) {
            if let Some(s) = self.subscriber(key) {
                notices.push((s.mailbox.clone(), Notice::TimedOut(s.token)));
            }
        }
        let resident = self.queue.resident_bytes();
        *resident_delta += signed(resident) - signed(before);
        *freeze |= resident >= self.freeze_at;
        let (from, to) = (self.armed, self.queue.next_deadline());
        let moves = match (from, to) {
            (Some(from), Some(to)) => to < from,
            // One that has nothing to do for now is asked once in vain.
            (Some(_), None) => self.queue.is_closed(),
            (None, to) => to.is_some(),
        };
        if moves {
            self.armed = to;
            *rearm = Some(Rearm { from, to });
        }
    }
}

pub(crate) fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A queue as an adapter holds it: to settle what it was delivered. Equal if the queue is the same.
#[derive(Clone)]
pub struct QueueHandle(pub(crate) Arc<QueueCell>);

impl QueueHandle {
    /// The queue's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Of which kind it was declared.
    pub fn kind(&self) -> QueueKind {
        self.0.kind
    }

    /// Whether deliveries shall tell how often they were taken and failed before.
    pub fn exposes_counters(&self) -> bool {
        self.0.exposes_counters
    }
}

impl PartialEq for QueueHandle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for QueueHandle {}

impl Hash for QueueHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl std::fmt::Debug for QueueHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("QueueHandle").field(&self.0.name).finish()
    }
}

#[cfg(test)]
mod tests;
