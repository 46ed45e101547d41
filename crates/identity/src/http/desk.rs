//! Where questions wait for those who put them, and answers for those who asked. Nobody waits here who does not want to.
//!
//! ```text
//! ask ─► known? ─► answer
//!          │ no: asked already? ─► waker beside the others
//!          ▼
//!        queue ─► next (a clerk's thread) ─► answered ─► kept for a while; all wakers
//! ```

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use parking_lot::{Condvar, Mutex};
use ternmq_core::id::Timestamp;

use super::config::CacheConfig;
use super::question::{Key, Question, Verdict};

/// Questions that may wait to be put, of either kind; more are not asked.
const QUEUE_MAX: usize = 10_000;

/// How long an answer is kept at least, in milliseconds: until those who asked have fetched it.
pub(super) const HAND_OVER_MS: u64 = 1_000;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Desk {
    config: CacheConfig,
    state: Mutex<State>,
    /// There is something in the queue, or the desk is closed.
    work: Condvar,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// Questions about users who are let in.
    rights: VecDeque<(Key, Question)>,
    /// Questions about those who want to be. Anybody can have many of them asked, so they come behind the others.
    logins: VecDeque<(Key, Question)>,
    closed: bool,
}

/// Without what is asked.
impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("entries", &self.entries.len())
            .field("rights", &self.rights.len())
            .field("logins", &self.logins.len())
            .finish_non_exhaustive()
    }
}

enum Entry {
    Asked(Vec<Waker>),
    Known { verdict: Verdict, until: Timestamp },
}

impl Desk {
    pub(super) fn new(config: CacheConfig) -> Self {
        Self {
            config,
            state: Mutex::default(),
            work: Condvar::new(),
        }
    }

    /// The answer, if it is known. If not, the waker is called when it is. More questions than anybody can put are answered
    /// with a no.
    pub(super) fn ask(&self, question: Question, now: Timestamp, waker: &Waker) -> Option<Verdict> {
        let key = question.key();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        match state.entries.get_mut(&key) {
            Some(Entry::Known { verdict, until }) if *until > now => return Some(verdict.clone()),
            Some(Entry::Asked(wakers)) => {
                if !wakers.iter().any(|known| known.will_wake(waker)) {
                    wakers.push(waker.clone());
                }
                return None;
            }
            _ => {}
        }
        if state.queue_of(&question).len() >= QUEUE_MAX || state.closed {
            drop(guard);
            tracing::warn!("too many questions about users, one is answered with no");
            return Some(Verdict::Deny);
        }
        state.make_room(self.config.entries_max, now);
        state.entries.insert(key, Entry::Asked(vec![waker.clone()]));
        state.queue_of(&question).push_back((key, question));
        drop(guard);
        self.work.notify_one();
        None
    }

    /// The next question to put; none once the desk is closed.
    pub(super) fn next(&self) -> Option<(Key, Question)> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(next) = state.rights.pop_front() {
                return Some(next);
            }
            if let Some(next) = state.logins.pop_front() {
                return Some(next);
            }
            self.work.wait(&mut state);
        }
    }

    /// Keeps an answer, and calls those who wait for it.
    pub(super) fn answered(&self, key: Key, verdict: Verdict, now: Timestamp) {
        let lasts = verdict != Verdict::Deny || self.config.cache_refusals;
        let kept_ms = if lasts {
            self.config.cache_ttl.max(HAND_OVER_MS)
        } else {
            HAND_OVER_MS
        };
        let until = now.plus_ms(kept_ms);
        let entry = Entry::Known { verdict, until };
        let before = self.state.lock().entries.insert(key, entry);
        if let Some(Entry::Asked(wakers)) = before {
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Nothing is asked any more.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
    }
}

impl State {
    /// Where a question waits.
    fn queue_of(&mut self, question: &Question) -> &mut VecDeque<(Key, Question)> {
        if question.is_login {
            &mut self.logins
        } else {
            &mut self.rights
        }
    }

    /// Before there are more than `max`, those go that are known no longer; if that is not enough, all that are known.
    fn make_room(&mut self, max: usize, now: Timestamp) {
        if self.entries.len() < max {
            return;
        }
        let waits = |entry: &Entry| matches!(entry, Entry::Asked(_));
        let lasts = |entry: &Entry| matches!(entry, Entry::Known { until, .. } if *until > now);
        self.entries.retain(|_, entry| waits(entry) || lasts(entry));
        if self.entries.len() >= max {
            self.entries.retain(|_, entry| waits(entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn desk(entries_max: usize, cache_refusals: bool) -> Desk {
        Desk::new(CacheConfig {
            cache_ttl: 15_000,
            cache_refusals,
            entries_max,
        })
    }

    fn question(name: &str) -> Question {
        Question::at("http://x").with("username", name.as_bytes())
    }

    fn allow() -> Verdict {
        Verdict::Allow(Vec::new())
    }

    #[test]
    fn question_is_put_once_and_all_who_asked_are_called() {
        let desk = desk(10, false);
        let counter = Arc::new(Counter::default());
        let (one, two) = (Waker::from(counter.clone()), Waker::from(counter.clone()));
        assert_eq!(desk.ask(question("a"), NOW, &one), None);
        assert_eq!(desk.ask(question("a"), NOW, &one), None);
        assert_eq!(desk.ask(question("a"), NOW, &two), None);
        let (key, put) = desk.next().unwrap();
        assert_eq!(put.form, "username=a");
        assert!(desk.state.lock().rights.is_empty());
        desk.answered(key, allow(), NOW);
        assert!(counter.0.load(Ordering::SeqCst) >= 1);
        assert_eq!(desk.ask(question("a"), NOW, &one), Some(allow()));
    }

    #[test]
    fn answers_are_kept_as_long_as_they_are_good_for() {
        let waker = Waker::noop();
        for (refusals, verdict, kept_ms) in [
            (false, allow(), 15_000),
            (false, Verdict::Deny, HAND_OVER_MS),
            (true, Verdict::Deny, 15_000),
        ] {
            let desk = desk(10, refusals);
            assert_eq!(desk.ask(question("a"), NOW, waker), None);
            let (key, _) = desk.next().unwrap();
            desk.answered(key, verdict.clone(), NOW);
            let ask = |after_ms| desk.ask(question("a"), NOW.plus_ms(after_ms), waker);
            assert_eq!(ask(kept_ms - 1), Some(verdict));
            assert_eq!(ask(kept_ms), None, "it is asked again");
        }
    }

    #[test]
    fn there_are_no_more_answers_than_there_may_be() {
        let desk = desk(3, false);
        for name in ["a", "b", "c", "d", "e", "f", "g"] {
            assert_eq!(desk.ask(question(name), NOW, Waker::noop()), None);
            let (key, _) = desk.next().unwrap();
            desk.answered(key, allow(), NOW);
            assert!(desk.state.lock().entries.len() <= 3);
        }
        assert_eq!(desk.ask(question("g"), NOW, Waker::noop()), Some(allow()));
    }

    #[test]
    fn more_questions_than_fit_the_queue_are_answered_with_no() {
        let desk = desk(usize::MAX, false);
        let ask = |n: usize| desk.ask(question(&n.to_string()), NOW, Waker::noop());
        assert!((0..QUEUE_MAX).all(|n| ask(n).is_none()));
        assert_eq!(ask(QUEUE_MAX), Some(Verdict::Deny));
        desk.close();
        assert!(desk.next().is_none());
    }

    #[test]
    fn logins_come_behind_the_questions_of_those_who_are_let_in() {
        let desk = desk(usize::MAX, false);
        let login = |n: usize| question(&n.to_string()).of_login();
        let ask = |question: Question| desk.ask(question, NOW, Waker::noop());
        assert!((0..QUEUE_MAX).all(|n| ask(login(n)).is_none()));
        assert_eq!(ask(login(QUEUE_MAX)), Some(Verdict::Deny));
        assert_eq!(ask(question("a")), None, "and are no less for it");
        let next = || desk.next().unwrap().1.form;
        assert_eq!(next(), "username=a");
        assert_eq!(next(), "username=0");
        assert_eq!(ask(question("b")), None);
        assert_eq!(desk.next().unwrap().1.form, "username=b");
    }
}
