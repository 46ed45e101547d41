//! Deliveries of a channel that wait for the client's word.
//!
//! ```text
//! entries, ascending by tag:  [ 4 ][ 5 settled ][ 6 ][ 9 ]        7 and 8 were delivered without acknowledgement
//! ```
//!
//! Where the tag would stand if none were missing is looked at first, so acknowledging one delivery costs the same
//! whatever is outstanding. Settled entries in the middle go when they outnumber the others.

use std::collections::VecDeque;

use ternmq_core::id::Position;

/// Settled entries up to this many stay without a look at how many others there are.
const SETTLED_KEPT_MIN: usize = 64;

/// One delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Delivered {
    /// Which queue, as the channel numbers them.
    pub(crate) queue: u32,
    /// Which message of it.
    pub(crate) position: Position,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u64,
    position: Position,
    queue: u32,
    settled: bool,
}

impl Entry {
    const fn delivered(&self) -> Delivered {
        Delivered {
            queue: self.queue,
            position: self.position,
        }
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Unacked {
    entries: VecDeque<Entry>,
    settled: usize,
}

impl Unacked {
    /// How many are outstanding.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.settled
    }

    /// Adds a delivery. Tags only grow.
    pub(crate) fn push(&mut self, tag: u64, delivered: Delivered) {
        debug_assert!(
            self.entries.back().is_none_or(|last| last.tag < tag),
            "tags only grow"
        );
        let Delivered { queue, position } = delivered;
        self.entries.push_back(Entry {
            tag,
            position,
            queue,
            settled: false,
        });
    }

    /// Takes the delivery of that tag out, if it is outstanding.
    pub(crate) fn take(&mut self, tag: u64) -> Option<Delivered> {
        let at = self.find(tag)?;
        let entry = &mut self.entries[at];
        entry.settled = true;
        let delivered = entry.delivered();
        self.settled += 1;
        self.trim();
        Some(delivered)
    }

    /// Takes every outstanding delivery up to that tag out, in order, and hands it to `each`, with
    /// its tag. Nothing happens and
    /// false is returned if the tag itself is not outstanding. Tag 0 stands for all there are.
    pub(crate) fn take_up_to(&mut self, tag: u64, mut each: impl FnMut(u64, Delivered)) -> bool {
        let count = if tag == 0 {
            self.entries.len()
        } else {
            match self.find(tag) {
                Some(at) => at + 1,
                None => return false,
            }
        };
        for entry in self.entries.drain(..count) {
            if entry.settled {
                self.settled -= 1;
            } else {
                each(entry.tag, entry.delivered());
            }
        }
        self.trim();
        true
    }

    /// Makes deliveries outstanding again that were taken out.
    pub(crate) fn put_back(&mut self, taken: impl Iterator<Item = (u64, Delivered)>) {
        let taken = taken.map(|(tag, Delivered { queue, position })| Entry {
            tag,
            position,
            queue,
            settled: false,
        });
        self.entries.retain(|entry| !entry.settled);
        self.settled = 0;
        self.entries.extend(taken);
        self.entries
            .make_contiguous()
            .sort_unstable_by_key(|entry| entry.tag);
        debug_assert!(
            self.entries.iter().is_sorted_by(|a, b| a.tag < b.tag),
            "nothing is outstanding twice"
        );
    }

    /// Whether a delivery of that queue is outstanding, with a tag from the first to the last of those.
    pub(crate) fn holds(&self, queue: u32, (first, last): (u64, u64)) -> bool {
        let start = self.entries.partition_point(|entry| entry.tag < first);
        self.entries
            .range(start..)
            .take_while(|entry| entry.tag <= last)
            .any(|entry| entry.queue == queue && !entry.settled)
    }

    fn find(&self, tag: u64) -> Option<usize> {
        let first = self.entries.front()?.tag;
        // Tags are unique and ascending: an entry is never further back than its distance from the first.
        let distance = usize::try_from(tag.checked_sub(first)?).unwrap_or(usize::MAX);
        let at = match self.entries.get(distance) {
            Some(entry) if entry.tag == tag => distance,
            _ => self
                .entries
                .binary_search_by_key(&tag, |entry| entry.tag)
                .ok()?,
        };
        (!self.entries[at].settled).then_some(at)
    }

    /// Drops settled entries: those in front always, those between when they are the most.
    fn trim(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.settled) {
            self.entries.pop_front();
            self.settled -= 1;
        }
        if self.settled > SETTLED_KEPT_MIN && self.settled > self.entries.len() / 2 {
            self.entries.retain(|entry| !entry.settled);
            self.settled = 0;
        }
        debug_assert!(self.settled <= self.entries.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(n: u64) -> Delivered {
        Delivered {
            queue: 7,
            position: Position(n),
        }
    }

    fn filled(tags: impl IntoIterator<Item = u64>) -> Unacked {
        let mut unacked = Unacked::default();
        for tag in tags {
            unacked.push(tag, delivered(tag));
        }
        unacked
    }

    fn up_to(unacked: &mut Unacked, tag: u64) -> Option<Vec<u64>> {
        let mut taken = Vec::new();
        unacked
            .take_up_to(tag, |_, d| taken.push(d.position.0))
            .then_some(taken)
    }

    #[test]
    fn tag_is_taken_once() {
        let mut unacked = filled(1..=3);
        assert_eq!(unacked.take(2), Some(delivered(2)));
        assert_eq!(unacked.take(2), None);
        assert_eq!(unacked.take(4), None);
        assert_eq!(unacked.take(0), None);
        assert_eq!(unacked.len(), 2);
        assert_eq!(up_to(&mut unacked, 3), Some(vec![1, 3]));
        assert_eq!(unacked.len(), 0);
        assert_eq!(unacked.take(1), None);
    }

    #[test]
    fn multiple_needs_its_own_tag_outstanding() {
        let mut unacked = filled([1, 2, 5]);
        assert_eq!(up_to(&mut unacked, 3), None);
        assert_eq!(up_to(&mut unacked, 9), None);
        assert_eq!(up_to(&mut unacked, 2), Some(vec![1, 2]));
        assert_eq!(up_to(&mut unacked, 2), None);
        assert_eq!(up_to(&mut unacked, 5), Some(vec![5]));
    }

    #[test]
    fn what_was_taken_can_be_put_back_to_its_place() {
        let mut unacked = filled(1..=5);
        let taken = [4, 2].map(|tag| (tag, unacked.take(tag).unwrap()));
        unacked.take(3);
        unacked.put_back(taken.into_iter());
        assert_eq!(unacked.len(), 4);
        unacked.push(6, delivered(6));
        assert_eq!(unacked.take(3), None);
        assert_eq!(up_to(&mut unacked, 5), Some(vec![1, 2, 4, 5]));
        unacked.put_back(std::iter::empty());
        assert_eq!(up_to(&mut unacked, 0), Some(vec![6]));
    }

    #[test]
    fn zero_takes_all_and_is_fine_with_none() {
        let mut unacked = filled([3, 4, 8]);
        unacked.take(4);
        assert_eq!(up_to(&mut unacked, 0), Some(vec![3, 8]));
        assert_eq!(up_to(&mut unacked, 0), Some(vec![]));
    }

    #[test]
    fn one_outstanding_delivery_does_not_keep_the_settled_ones_behind_it() {
        let mut unacked = filled([1]);
        for tag in 2..100_000 {
            unacked.push(tag, delivered(tag));
            assert_eq!(unacked.take(tag), Some(delivered(tag)));
        }
        assert!(unacked.entries.len() <= 2 * SETTLED_KEPT_MIN);
        assert_eq!(unacked.take(1), Some(delivered(1)));
        assert_eq!(unacked.len(), 0);
    }

    proptest::proptest! {
        #[test]
        fn any_sequence_agrees_with_an_ordered_map(
            steps in proptest::collection::vec((0u8..4, 0u64..40), 1..200)
        ) {
            let mut unacked = Unacked::default();
            let mut model = std::collections::BTreeMap::new();
            let mut next = 1;
            for (what, tag) in steps {
                match what {
                    0 | 1 => {
                        next += tag % 3;
                        unacked.push(next, delivered(next));
                        model.insert(next, delivered(next));
                        next += 1;
                    }
                    2 => proptest::prop_assert_eq!(unacked.take(tag), model.remove(&tag)),
                    _ => {
                        let expected = if tag == 0 {
                            Some(std::mem::take(&mut model))
                        } else if model.contains_key(&tag) {
                            let behind = model.split_off(&(tag + 1));
                            Some(std::mem::replace(&mut model, behind))
                        } else {
                            None
                        };
                        let expected = expected.map(|taken| taken.into_keys().collect::<Vec<_>>());
                        proptest::prop_assert_eq!(up_to(&mut unacked, tag), expected);
                    }
                }
                proptest::prop_assert_eq!(unacked.len(), model.len());
            }
        }
    }
}
