//! The past of some numbers, as far back as it is kept.

use std::collections::VecDeque;

use ternmq_core::id::Timestamp;

/// `N` numbers at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample<const N: usize> {
    at: Timestamp,
    values: [u64; N],
}

/// `N` numbers over time. A sample is kept only if it differs from the one before it: so the numbers at any moment are
/// those of the last sample before it, and zeros before the first.
#[derive(Clone, Debug)]
pub(crate) struct History<const N: usize> {
    samples: VecDeque<Sample<N>>,
    /// When it was looked at last, and the time before.
    looked_at: Timestamp,
    looked_before: Timestamp,
}

impl<const N: usize> Default for History<N> {
    fn default() -> Self {
        Self {
            samples: VecDeque::new(),
            looked_at: Timestamp(0),
            looked_before: Timestamp(0),
        }
    }
}

impl<const N: usize> History<N> {
    /// Adds what the numbers are now, and forgets what is older than `keep_ms` and needed no more.
    pub(crate) fn add(&mut self, now: Timestamp, values: [u64; N], keep_ms: u64) {
        self.looked_before = self.looked_at;
        self.looked_at = now;
        if self.last() != values {
            if self.samples.is_empty() {
                // Most objects rest most of the time.
                self.samples.reserve_exact(1);
            }
            self.samples.push_back(Sample { at: now, values });
        }
        let oldest = Timestamp(now.0.saturating_sub(keep_ms));
        while self
            .samples
            .get(1)
            .is_some_and(|second| second.at <= oldest)
        {
            self.samples.pop_front();
        }
    }

    /// The numbers when they were looked at last.
    pub(crate) fn last(&self) -> [u64; N] {
        self.samples.back().map_or([0; N], |sample| sample.values)
    }

    /// Whether the numbers were zero all the time.
    pub(crate) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Since when nothing changes: the moment of the last change, unless that was the last look.
    pub(crate) fn still_since(&self) -> Option<Timestamp> {
        let changed_at = self.samples.back()?.at;
        (changed_at != self.looked_at).then_some(changed_at)
    }

    /// The numbers at a moment; zeros before the first sample.
    pub(crate) fn at(&self, moment: Timestamp) -> [u64; N] {
        let behind = self.samples.partition_point(|sample| sample.at <= moment);
        let sample = behind
            .checked_sub(1)
            .and_then(|index| self.samples.get(index));
        sample.map_or([0; N], |sample| sample.values)
    }

    /// How a number made of these changed per second between the last two looks.
    pub(crate) fn rate(&self, number: impl Fn(&[u64; N]) -> u64) -> f64 {
        if self.looked_before.0 == 0 {
            return 0.0;
        }
        let changes = self
            .samples
            .back()
            .is_some_and(|last| last.at == self.looked_at);
        let ms = self.looked_at.since(self.looked_before);
        if !changes || ms == 0 {
            return 0.0;
        }
        per_second(
            number(&self.at(self.looked_before)),
            number(&self.last()),
            ms,
        )
    }
}

/// The change from one number to another, per second.
#[allow(
    clippy::cast_precision_loss,
    reason = "rates are for people and graphs"
)]
pub(super) fn per_second(from: u64, to: u64, ms: u64) -> f64 {
    let change = if to >= from {
        (to - from) as f64
    } else {
        -((from - to) as f64)
    };
    change * 1000.0 / ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_MS: u64 = 60_000;

    fn at(s: u64) -> Timestamp {
        Timestamp(1_000_000 + s * 1000)
    }

    #[test]
    fn rate_is_the_change_between_the_last_two_looks() {
        let mut history = History::<1>::default();
        history.add(at(0), [100], KEEP_MS);
        assert_eq!(history.rate(|v| v[0]).to_bits(), 0.0_f64.to_bits());
        history.add(at(5), [110], KEEP_MS);
        assert!((history.rate(|v| v[0]) - 2.0).abs() < 1e-9);
        assert_eq!(history.still_since(), None);
        history.add(at(10), [110], KEEP_MS);
        assert!(history.rate(|v| v[0]).abs() < 1e-9);
        assert_eq!(history.still_since(), Some(at(5)));
        history.add(at(20), [90], KEEP_MS);
        assert!((history.rate(|v| v[0]) + 2.0).abs() < 1e-9);
    }

    #[test]
    fn numbers_at_a_moment_are_those_of_the_sample_before() {
        let mut history = History::<2>::default();
        history.add(at(0), [1, 2], KEEP_MS);
        history.add(at(5), [1, 2], KEEP_MS);
        history.add(at(10), [3, 4], KEEP_MS);
        assert_eq!(history.samples.len(), 2);
        assert_eq!(history.at(Timestamp(5)), [0, 0]);
        assert_eq!(history.at(at(9)), [1, 2]);
        assert_eq!(history.at(at(10)), [3, 4]);
        assert_eq!(history.at(at(99)), [3, 4]);
    }

    #[test]
    fn past_is_forgotten_but_for_what_the_oldest_kept_moment_needs() {
        let mut history = History::<1>::default();
        for s in 0..1000 {
            history.add(at(s), [s], KEEP_MS);
        }
        assert_eq!(history.samples.len(), 61);
        assert_eq!(history.at(at(939)), [939]);
        history.add(at(5000), [7], KEEP_MS);
        assert_eq!(history.samples.len(), 2);
        assert_eq!(history.at(at(4999)), [999]);
    }
}
