//! Dead letters whose target is full: they wait here, in order, until it has room.
//!
//! In the journal such a message is in its target already, so a restart puts it there, limit or not. One that is given
//! up leaves the target by a record of its own.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use ternmq_core::id::{QueueId, Timestamp};
use ternmq_core::queue::{Admission, Incoming};

use crate::broker::Inner;
use crate::cell::{QueueCell, signed};
use crate::work::Work;

/// Most messages held, and most bytes of them; what dies beyond is dropped.
const MESSAGES_MAX: usize = 100_000;
const BYTES_MAX: usize = 64 << 20;
/// How long one is held before it is dropped, in milliseconds.
pub(crate) const HOLD_MS: u64 = 3_600_000;
/// How long a target is left alone after it refused: at first, and at most, in milliseconds.
const RETRY_MIN_MS: u64 = 100;
const RETRY_MAX_MS: u64 = 10_000;
/// Targets, and messages of each, that one tick tries, at most; what is left is due at once.
const TARGETS_PER_TICK_MAX: usize = 16;
const MESSAGES_PER_TICK_MAX: usize = 256;

/// A dead letter on its way into a full queue.
#[derive(Clone)]
pub(crate) struct HeldLetter {
    pub(crate) incoming: Incoming,
    pub(crate) since: Timestamp,
    /// Nobody else took it or holds it: if it is given up, it is lost.
    pub(crate) is_last: bool,
}

impl HeldLetter {
    fn bytes(&self) -> usize {
        self.incoming.message.resident_bytes()
    }
}

/// What waits for one queue.
struct Target {
    cell: Weak<QueueCell>,
    letters: VecDeque<HeldLetter>,
    retry_at: Timestamp,
    retry_ms: u64,
}

#[derive(Default)]
struct State {
    targets: HashMap<QueueId, Target, FixedState>,
    due: BTreeSet<(Timestamp, QueueId)>,
    bytes: usize,
}

/// All held dead letters of a node.
pub(crate) struct Hold {
    messages_max: usize,
    bytes_max: usize,
    /// How many there are: changed under the lock, read without it.
    messages: AtomicUsize,
    state: Mutex<State>,
}

impl Default for Hold {
    fn default() -> Self {
        Self::new(MESSAGES_MAX, BYTES_MAX)
    }
}

impl Hold {
    fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            messages_max,
            bytes_max,
            messages: AtomicUsize::new(0),
            state: Mutex::default(),
        }
    }

    /// How many messages are held.
    pub(crate) fn len(&self) -> usize {
        self.messages.load(Ordering::Relaxed)
    }

    /// Every letter, with its queue.
    pub(crate) fn for_each(&self, mut found: impl FnMut(QueueId, &HeldLetter)) {
        for (queue, target) in &self.state.lock().targets {
            target
                .letters
                .iter()
                .for_each(|letter| found(*queue, letter));
        }
    }

    /// Whether messages wait for that queue: then others wait behind them.
    pub(crate) fn is_awaited(&self, queue: QueueId) -> bool {
        self.len() > 0 && self.state.lock().targets.contains_key(&queue)
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        if self.len() == 0 {
            return None;
        }
        self.state.lock().due.first().map(|&(at, _)| at)
    }

    /// Holds a letter. Returns whether there is room for it.
    fn add(&self, cell: &Arc<QueueCell>, letter: HeldLetter) -> bool {
        let mut state = self.state.lock();
        let State {
            targets,
            due,
            bytes,
        } = &mut *state;
        if self.len() >= self.messages_max || *bytes + letter.bytes() > self.bytes_max {
            return false;
        }
        *bytes += letter.bytes();
        self.messages.fetch_add(1, Ordering::Relaxed);
        let target = targets.entry(cell.id).or_insert_with(|| {
            let retry_at = letter.since.plus_ms(RETRY_MIN_MS);
            due.insert((retry_at, cell.id));
            Target {
                cell: Arc::downgrade(cell),
                letters: VecDeque::new(),
                retry_at,
                retry_ms: RETRY_MIN_MS,
            }
        });
        target.letters.push_back(letter);
        true
    }

    /// A queue that it is time to try again. Only the ticker asks, so the first letter stays the first.
    fn due(&self, now: Timestamp) -> Option<(QueueId, Weak<QueueCell>)> {
        let state = self.state.lock();
        let &(_, id) = state.due.first().filter(|(at, _)| *at <= now)?;
        Some((id, state.targets.get(&id)?.cell.clone()))
    }

    fn first(&self, id: QueueId) -> Option<HeldLetter> {
        let state = self.state.lock();
        state.targets.get(&id)?.letters.front().cloned()
    }

    fn remove_first(&self, id: QueueId) {
        let mut state = self.state.lock();
        let Some(letter) = state
            .targets
            .get_mut(&id)
            .and_then(|target| target.letters.pop_front())
        else {
            return;
        };
        state.bytes -= letter.bytes();
        self.messages.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether anything is lost if the letter that came last for that queue is.
    pub(crate) fn mark_last(&self, id: QueueId) {
        let mut state = self.state.lock();
        let letters = state.targets.get_mut(&id).map(|target| &mut target.letters);
        if let Some(letter) = letters.and_then(VecDeque::back_mut) {
            letter.is_last = true;
        }
    }

    /// Puts the queue's next try off, or forgets it if nothing waits any more.
    fn tried(&self, id: QueueId, now: Timestamp, tried: Tried) {
        let mut state = self.state.lock();
        let State { targets, due, .. } = &mut *state;
        let Some(target) = targets.get_mut(&id) else {
            return;
        };
        due.remove(&(target.retry_at, id));
        if target.letters.is_empty() {
            targets.remove(&id);
            return;
        }
        target.retry_ms = match tried {
            Tried::Unfinished => 0,
            Tried::Refused { any: true } => RETRY_MIN_MS,
            Tried::Refused { any: false } => {
                (target.retry_ms * 2).clamp(RETRY_MIN_MS, RETRY_MAX_MS)
            }
        };
        target.retry_at = now.plus_ms(target.retry_ms);
        due.insert((target.retry_at, id));
    }
}

/// How far a try came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tried {
    /// To the limit of one tick.
    Unfinished,
    /// To a letter that is still refused, or to the end.
    Refused {
        /// Whether others before it went.
        any: bool,
    },
}

/// What a try did with a letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Retried {
    Taken,
    Refused,
    GivenUp,
}

impl Inner {
    /// Holds a dead letter for a queue. Returns whether there is room for it.
    pub(crate) fn hold_letter(&self, cell: &Arc<QueueCell>, letter: HeldLetter) -> bool {
        let bytes = letter.bytes();
        let held = self.hold.add(cell, letter);
        if held {
            self.account(signed(bytes));
            self.timers.wake();
        }
        held
    }

    /// Tries the queues again that it is time for.
    pub(crate) fn retry_held(&self, work: &mut Work, now: Timestamp) {
        for _ in 0..TARGETS_PER_TICK_MAX {
            let Some((id, cell)) = self.hold.due(now) else {
                break;
            };
            let tried = self.retry_target(id, cell.upgrade().as_ref(), work, now);
            self.hold.tried(id, now, tried);
        }
    }

    fn retry_target(
        &self,
        id: QueueId,
        cell: Option<&Arc<QueueCell>>,
        work: &mut Work,
        now: Timestamp,
    ) -> Tried {
        for tries in 0..MESSAGES_PER_TICK_MAX {
            let any = tries > 0;
            let Some(letter) = self.hold.first(id) else {
                return Tried::Refused { any };
            };
            let retried = cell.map_or(Retried::GivenUp, |cell| {
                self.retry(cell, &letter, work, now)
            });
            if retried == Retried::Refused {
                return Tried::Refused { any };
            }
            if retried == Retried::GivenUp && letter.is_last {
                self.metrics.dead_dropped();
            }
            self.hold.remove_first(id);
            self.account(-signed(letter.bytes()));
        }
        Tried::Unfinished
    }

    fn retry(
        &self,
        cell: &Arc<QueueCell>,
        letter: &HeldLetter,
        work: &mut Work,
        now: Timestamp,
    ) -> Retried {
        let incoming = letter.incoming.clone();
        let admission = cell.update(work, |queue, effects| {
            (!queue.is_closed()).then(|| queue.enqueue(now, incoming, effects))
        });
        let retried = match admission {
            None => Retried::GivenUp,
            Some(Admission::Rejected) if !work.has_dead => {
                if now.since(letter.since) < HOLD_MS {
                    // The journal still has it there.
                    work.effects.settled.clear();
                    Retried::Refused
                } else {
                    Retried::GivenUp
                }
            }
            Some(_) => Retried::Taken,
        };
        self.follow_up(cell, work, now);
        retried
    }
}

#[cfg(test)]
mod tests {
    use ternmq_core::id::Lsn;
    use ternmq_core::message::NewMessage;
    use ternmq_core::tags::Tags;

    use super::*;
    use crate::bed::{START, broker, client, queue};

    #[test]
    fn hold_is_bounded_in_messages_and_in_bytes() {
        let broker = broker();
        let mut client = client(&broker);
        client.declare_queue(queue("q", &[])).unwrap();
        let cell = client.cell("q").unwrap();
        let letter = HeldLetter {
            incoming: Incoming {
                message: NewMessage::plain(b"", b"q", b"body").build(&mut Vec::new()),
                lsn: Lsn::NONE,
                tags: Tags::None,
                at_most_once: false,
            },
            since: START,
            is_last: true,
        };
        let bytes = letter.bytes();
        for hold in [Hold::new(2, usize::MAX), Hold::new(usize::MAX, 2 * bytes)] {
            let add = || hold.add(&cell, letter.clone());
            assert!(add() && add() && !add());
            assert!(hold.is_awaited(cell.id) && hold.len() == 2);
            assert_eq!(hold.next(), Some(START.plus_ms(RETRY_MIN_MS)));
            hold.remove_first(cell.id);
            assert!(add() && !add());
            hold.remove_first(cell.id);
            hold.remove_first(cell.id);
            hold.tried(cell.id, START, Tried::Refused { any: true });
            assert!(!hold.is_awaited(cell.id) && hold.next().is_none());
            assert_eq!(hold.state.lock().bytes, 0);
        }
    }
}
