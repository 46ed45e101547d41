//! Load: how much of something happens in a minute, averaged over the last 1, 5 and 15 minutes.
//!
//! As of a machine's load, the averages are exponential: each measure counts for the share of the span that it covers,
//! and what was before for the rest.

use ternmq_core::id::Timestamp;

use super::traffic::Counted;

/// The spans, in minutes, and their names.
const SPANS: [(f64, &str); 3] = [(1.0, "1min"), (5.0, "5min"), (15.0, "15min")];

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measured {
    pub(super) of: Counted,
    pub(super) sockets: u64,
    pub(super) connects: u64,
    pub(super) dropped: u64,
}

impl Measured {
    const NAMES: [&'static str; 9] = [
        "messages/received",
        "messages/sent",
        "publish/received",
        "publish/sent",
        "publish/dropped",
        "bytes/received",
        "bytes/sent",
        "sockets",
        "connections",
    ];

    /// In the order of the names.
    fn each(&self) -> [u64; 9] {
        [
            self.of.packets_received,
            self.of.packets_sent,
            self.of.publishes_received,
            self.of.publishes_sent,
            self.dropped,
            self.of.bytes_received,
            self.of.bytes_sent,
            self.sockets,
            self.connects,
        ]
    }
}

/// All averages.
pub(super) struct Loads {
    measured: Measured,
    measured_at: Timestamp,
    /// In the order of the names, and then of the spans.
    averages: [[f64; 3]; 9],
}

impl Loads {
    pub(super) fn beginning_at(now: Timestamp) -> Self {
        Self {
            measured: Measured::default(),
            measured_at: now,
            averages: [[0.0; 3]; 9],
        }
    }

    /// A new measure was taken.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of one interval, shown with two digits behind the point"
    )]
    pub(super) fn advance(&mut self, measured: Measured, now: Timestamp) {
        let minutes = now.since(self.measured_at) as f64 / 60_000.0;
        if minutes <= 0.0 {
            return;
        }
        let counts = measured.each().into_iter().zip(self.measured.each());
        for ((after, before), averages) in counts.zip(&mut self.averages) {
            let rate = after.saturating_sub(before) as f64 / minutes;
            for (average, (span, _)) in averages.iter_mut().zip(SPANS) {
                let kept = (-minutes / span).exp();
                *average = rate + kept * (*average - rate);
            }
        }
        (self.measured, self.measured_at) = (measured, now);
    }

    /// Tells every average by its name.
    pub(super) fn describe(&self, mut tell: impl FnMut(&str, String)) {
        for (name, averages) in Measured::NAMES.iter().zip(&self.averages) {
            for (average, (_, span)) in averages.iter().zip(SPANS) {
                tell(&format!("load/{name}/{span}"), format!("{average:.2}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn described(loads: &Loads) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        loads.describe(|name, text| drop(all.insert(name.into(), text)));
        all
    }

    #[test]
    fn averages_come_near_a_steady_rate_sooner_over_shorter_spans() {
        let mut loads = Loads::beginning_at(Timestamp(0));
        // One socket a second for a minute.
        for second in 1..=60 {
            let measured = Measured {
                sockets: second,
                ..Measured::default()
            };
            loads.advance(measured, Timestamp(second * 1000));
        }
        let all = described(&loads);
        assert_eq!(all.len(), 27);
        // 60 a minute, times 1 - 1/e to the power of one over the span.
        assert_eq!(all["load/sockets/1min"], "37.93");
        assert_eq!(all["load/sockets/5min"], "10.88");
        assert_eq!(all["load/sockets/15min"], "3.87");
        assert_eq!(all["load/connections/1min"], "0.00");
    }

    #[test]
    fn averages_fall_when_nothing_happens_any_more() {
        let mut loads = Loads::beginning_at(Timestamp(0));
        let measured = Measured {
            connects: 100,
            ..Measured::default()
        };
        loads.advance(measured, Timestamp(10_000));
        let before: f64 = described(&loads)["load/connections/1min"].parse().unwrap();
        loads.advance(measured, Timestamp(70_000));
        let after: f64 = described(&loads)["load/connections/1min"].parse().unwrap();
        assert!(
            (after - before / std::f64::consts::E).abs() < 0.02,
            "{before} {after}"
        );
        loads.advance(measured, Timestamp(70_000));
        assert_eq!(
            described(&loads)["load/connections/1min"],
            format!("{after:.2}")
        );
    }
}
