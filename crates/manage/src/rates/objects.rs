//! The past of all objects of one kind.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use ternmq_core::id::Timestamp;

use super::history::History;

/// Objects of one kind whose past is kept, at most; the others show no rates.
const OBJECTS_MAX: usize = 100_000;

/// See the module's documentation.
pub(crate) struct Objects<K, const N: usize> {
    by_key: HashMap<K, Tracked<N>>,
}

struct Tracked<const N: usize> {
    history: History<N>,
    round: u64,
}

impl<K, const N: usize> Default for Objects<K, N> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash, const N: usize> Objects<K, N> {
    /// Notes what the numbers of an object are. Returns by how much each has grown since the last look.
    pub(crate) fn note(&mut self, key: K, values: [u64; N], look: Look) -> [u64; N] {
        if self.by_key.len() >= OBJECTS_MAX && !self.by_key.contains_key(&key) {
            return [0; N];
        }
        let tracked = self.by_key.entry(key).or_insert_with(|| Tracked {
            history: History::default(),
            round: look.round,
        });
        let before = tracked.history.last();
        tracked.history.add(look.now, values, look.keep_ms);
        tracked.round = look.round;
        std::array::from_fn(|index| values[index].saturating_sub(before[index]))
    }

    /// Forgets the objects that were not noted at this look.
    pub(crate) fn forget_others(&mut self, look: Look) {
        self.by_key.retain(|_, tracked| tracked.round == look.round);
    }

    /// The past of one.
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&History<N>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.by_key.get(key).map(|tracked| &tracked.history)
    }
}

/// One look at everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) now: Timestamp,
    /// Its number.
    pub(crate) round: u64,
    /// How far back the past is kept.
    pub(crate) keep_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_that_are_gone_are_forgotten_and_growth_is_counted_once() {
        let look = |round| Look {
            now: Timestamp(round * 5000),
            round,
            keep_ms: 60_000,
        };
        let mut objects = Objects::<&str, 1>::default();
        assert_eq!(objects.note("a", [3], look(1)), [3]);
        assert_eq!(objects.note("b", [1], look(1)), [1]);
        objects.forget_others(look(1));
        assert_eq!(objects.note("a", [5], look(2)), [2]);
        objects.forget_others(look(2));
        assert!(objects.get("a").is_some() && objects.get("b").is_none());
        assert_eq!(
            objects.note("a", [4], look(3)),
            [0],
            "what was counted anew is not taken away"
        );
    }
}
