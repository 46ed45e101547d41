//! Rates and samples as they are shown.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use ternmq_core::id::Timestamp;

use super::history::History;
use super::history::per_second;
use crate::request::Query;

/// Samples in one answer of one number, at most.
const SAMPLES_MAX: u64 = 1_000;

/// The moments of which samples are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    age_ms: u64,
    incr_ms: u64,
    /// The end of it: when everything was looked at last.
    until: Timestamp,
}

impl Range {
    /// The options of these names, if both are there and make sense together.
    fn of(query: &Query, age: &str, incr: &str, until: Timestamp) -> Option<Self> {
        let seconds = |name| query.get(name)?.parse::<u64>().ok().filter(|s| *s > 0);
        let (age, incr) = (seconds(age)?, seconds(incr)?);
        (age / incr < SAMPLES_MAX).then_some(Self {
            age_ms: age.saturating_mul(1000),
            incr_ms: incr.saturating_mul(1000),
            until,
        })
    }

    /// The newest first.
    fn moments(self) -> impl Iterator<Item = Timestamp> {
        let last = self.until.0 - self.until.0 % self.incr_ms;
        let count = self.age_ms / self.incr_ms;
        (0..=count).map(move |back| Timestamp(last.saturating_sub(back * self.incr_ms)))
    }
}

/// What samples are asked for, by what is sampled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ranges {
    /// Counters of messages.
    pub(crate) messages: Option<Range>,
    /// How many messages there are.
    pub(crate) lengths: Option<Range>,
    /// Bytes of connections.
    pub(crate) data: Option<Range>,
    /// What nodes take.
    pub(crate) nodes: Option<Range>,
}

impl Ranges {
    /// What a query asks for, back from a moment.
    pub(super) fn of(query: &Query, until: Timestamp) -> Self {
        let range = |age, incr| Range::of(query, age, incr, until);
        Self {
            messages: range("msg_rates_age", "msg_rates_incr"),
            lengths: range("lengths_age", "lengths_incr"),
            data: range("data_rates_age", "data_rates_incr"),
            nodes: range("node_stats_age", "node_stats_incr"),
        }
    }
}

/// A number at a moment.
#[derive(Clone, Debug, Serialize)]
struct Shown {
    sample: u64,
    timestamp: u64,
}

/// What is shown besides a number.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Details {
    rate: f64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    past: Option<Past>,
}

#[derive(Clone, Debug, Serialize)]
struct Past {
    samples: Vec<Shown>,
    avg_rate: f64,
    avg: f64,
}

impl Details {
    /// The details of a number that is made of those in a history. What has no history yet was zero all the time.
    pub(crate) fn of<const N: usize>(
        history: Option<&History<N>>,
        range: Option<Range>,
        number: impl Fn(&[u64; N]) -> u64,
    ) -> Self {
        Self {
            rate: history.map_or(0.0, |history| history.rate(&number)),
            past: range.map(|range| Past::of(history, range, number)),
        }
    }
}

impl Past {
    #[allow(
        clippy::cast_precision_loss,
        reason = "averages are for people and graphs"
    )]
    fn of<const N: usize>(
        history: Option<&History<N>>,
        range: Range,
        number: impl Fn(&[u64; N]) -> u64,
    ) -> Self {
        let samples: Vec<Shown> = range
            .moments()
            .map(|moment| Shown {
                sample: history.map_or(0, |history| number(&history.at(moment))),
                timestamp: moment.0,
            })
            .collect();
        let (newest, oldest) = match &samples[..] {
            [newest, .., oldest] => (newest.sample, oldest.sample),
            _ => (0, 0),
        };
        let sum: f64 = samples.iter().map(|shown| shown.sample as f64).sum();
        Self {
            avg_rate: per_second(oldest, newest, range.age_ms),
            avg: sum / samples.len().max(1) as f64,
            samples,
        }
    }
}

/// How a number and its details are called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Names {
    pub(crate) value: &'static str,
    pub(crate) details: &'static str,
}

/// A number with its details.
#[derive(Clone, Debug)]
pub(crate) struct Measure {
    pub(crate) names: Names,
    pub(crate) value: u64,
    pub(crate) details: Details,
}

/// Numbers with their details, written as the fields of one object: `"ack":1,"ack_details":{"rate":0.2}`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measures(pub(crate) Vec<Measure>);

impl Measures {
    /// Whether nothing was ever counted.
    pub(crate) fn are_zero(&self) -> bool {
        self.0.iter().all(|measure| measure.value == 0)
    }

    /// None where nothing was ever counted.
    pub(crate) fn unless_zero(self) -> Option<Self> {
        (!self.are_zero()).then_some(self)
    }
}

impl Serialize for Measures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len() * 2))?;
        for measure in &self.0 {
            map.serialize_entry(measure.names.value, &measure.value)?;
            map.serialize_entry(measure.names.details, &measure.details)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn samples_are_shown_newest_first_with_their_averages() {
        let mut history = History::<1>::default();
        history.add(Timestamp(1_795_756_758_000), [0], 60_000);
        history.add(Timestamp(1_795_756_763_000), [3], 60_000);
        history.add(Timestamp(1_795_756_768_000), [3], 60_000);
        let query = Query::parse("msg_rates_age=20&msg_rates_incr=5");
        let ranges = Ranges::of(&query, Timestamp(1_795_756_768_000));
        let details = Details::of(Some(&history), ranges.messages, |v| v[0]);
        assert_eq!(
            serde_json::to_value(details).unwrap(),
            json!({
                "rate": 0.0,
                "samples": [
                    {"sample": 3, "timestamp": 1_795_756_765_000_u64},
                    {"sample": 0, "timestamp": 1_795_756_760_000_u64},
                    {"sample": 0, "timestamp": 1_795_756_755_000_u64},
                    {"sample": 0, "timestamp": 1_795_756_750_000_u64},
                    {"sample": 0, "timestamp": 1_795_756_745_000_u64},
                ],
                "avg_rate": 0.15,
                "avg": 0.6,
            })
        );
    }

    #[test]
    fn what_is_new_was_zero() {
        let query = Query::parse("lengths_age=60&lengths_incr=30");
        let ranges = Ranges::of(&query, Timestamp(90_001));
        let details = Details::of(None::<&History<1>>, ranges.lengths, |v| v[0]);
        let samples = [90_000, 60_000, 30_000].map(|at| json!({"sample": 0, "timestamp": at}));
        assert_eq!(
            serde_json::to_value(details).unwrap(),
            json!({"rate": 0.0, "samples": samples, "avg_rate": 0.0, "avg": 0.0})
        );
    }

    #[test]
    fn ranges_that_make_no_sense_are_none() {
        for query in [
            "",
            "lengths_age=60",
            "lengths_age=60&lengths_incr=0",
            "lengths_age=9999&lengths_incr=1",
        ] {
            let ranges = Ranges::of(&Query::parse(query), Timestamp(1));
            assert_eq!(ranges, Ranges::default());
        }
    }
}
