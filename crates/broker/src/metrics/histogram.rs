//! Histograms with fixed buckets.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets of message sizes.
pub(crate) const SIZES: usize = SIZE_BOUNDS.len() + 1;

/// The largest size of each bucket but the last, in bytes.
pub const SIZE_BOUNDS: [u64; 8] = [
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
];

/// The bucket of a size.
#[inline]
pub(crate) fn size_bucket(bytes: u64) -> usize {
    if bytes <= SIZE_BOUNDS[0] {
        return 0;
    }
    SIZE_BOUNDS.partition_point(|bound| *bound < bytes)
}

/// How many messages had which size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SizeHistogram {
    /// Messages by bucket, not cumulative; the bounds are [`SIZE_BOUNDS`], and the last bucket has none.
    pub counts: [u64; SIZES],
    /// All sizes together, in bytes.
    pub sum: u64,
}

/// Buckets of latencies.
pub const LATENCY_BUCKETS: usize = 22;

/// How many events took how long.
///
/// Time is read in whole milliseconds. Bucket `n` holds what took less than 2^n milliseconds and has no place in an
/// earlier one; the last has no bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Latency {
    /// Events by bucket, not cumulative.
    pub counts: [u64; LATENCY_BUCKETS],
    /// All times together, in milliseconds.
    pub sum_ms: u64,
}

impl Latency {
    /// The bound of a bucket, in milliseconds; none for the last.
    pub const fn bound_ms(bucket: usize) -> Option<u64> {
        if bucket + 1 < LATENCY_BUCKETS {
            Some(1 << bucket)
        } else {
            None
        }
    }

    /// How many events there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// A [`Latency`] that is written to.
#[derive(Default)]
pub(crate) struct LatencyHistogram {
    counts: [AtomicU64; LATENCY_BUCKETS],
    sum_ms: AtomicU64,
}

impl LatencyHistogram {
    #[inline]
    pub(crate) fn record(&self, ms: u64) {
        let bucket = (u64::BITS - ms.leading_zeros()) as usize;
        self.counts[bucket.min(LATENCY_BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        if ms > 0 {
            self.sum_ms.fetch_add(ms, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_to(&self, sum: &mut Latency) {
        for (sum, count) in sum.counts.iter_mut().zip(&self.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        sum.sum_ms += self.sum_ms.load(Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_at_a_bound_is_in_its_bucket_and_one_above_in_the_next() {
        for (bucket, bound) in SIZE_BOUNDS.into_iter().enumerate() {
            assert_eq!(size_bucket(bound), bucket);
            assert_eq!(size_bucket(bound + 1), bucket + 1);
        }
        assert_eq!(size_bucket(0), 0);
        assert_eq!(size_bucket(u64::MAX), SIZES - 1);
    }

    #[test]
    fn latency_is_in_the_first_bucket_whose_bound_is_above() {
        for ms in [0, 1, 2, 3, 4, 1023, 1024, u64::MAX] {
            let histogram = LatencyHistogram::default();
            histogram.record(ms);
            let mut seen = Latency::default();
            histogram.add_to(&mut seen);
            let fits = |bucket: &usize| Latency::bound_ms(*bucket).is_none_or(|bound| ms < bound);
            let expected = (0..LATENCY_BUCKETS).find(fits).unwrap();
            assert_eq!(seen.counts[expected], 1, "{ms}");
            assert_eq!((seen.count(), seen.sum_ms), (1, ms));
        }
    }
}
