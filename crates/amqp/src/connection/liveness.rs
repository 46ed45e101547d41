//! Heartbeats (§4.2.7) and the time limits of opening and closing.

use ternmq_core::id::Timestamp;

/// When something was heard and said last, and what follows from silence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Liveness {
    /// Heartbeat interval in milliseconds; 0 for none.
    interval_ms: u64,
    heard: Timestamp,
    said: Timestamp,
    /// The connection ends then: the time limit of the handshake or of closing.
    limit: Option<Timestamp>,
    /// Nothing is read on purpose, so silence means nothing.
    deaf: bool,
}

/// What a deadline means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// The peer was told nothing for half an interval.
    SendHeartbeat,
    /// The peer was silent for two intervals.
    PeerSilent,
    /// The time limit is over.
    LimitReached,
}

impl Liveness {
    pub(super) const fn new(now: Timestamp, limit: Timestamp) -> Self {
        Self {
            interval_ms: 0,
            heard: now,
            said: now,
            limit: Some(limit),
            deaf: false,
        }
    }

    /// Heartbeats begin.
    pub(super) fn set_interval_s(&mut self, seconds: u16) {
        self.interval_ms = u64::from(seconds) * 1000;
    }

    pub(super) fn set_limit(&mut self, limit: Option<Timestamp>) {
        self.limit = limit;
    }

    pub(super) fn set_deaf(&mut self, deaf: bool, now: Timestamp) {
        if self.deaf != deaf {
            self.deaf = deaf;
            self.heard = now;
        }
    }

    #[inline]
    pub(super) fn heard(&mut self, now: Timestamp) {
        self.heard = now;
    }

    #[inline]
    pub(super) fn said(&mut self, now: Timestamp) {
        self.said = now;
    }

    #[inline]
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        if self.interval_ms == 0 {
            return self.limit;
        }
        let next = if self.deaf {
            self.say_at()
        } else {
            self.say_at().min(self.lost_at())
        };
        Some(self.limit.map_or(next, |limit| limit.min(next)))
    }

    pub(super) fn due(&self, now: Timestamp) -> Due {
        if self.limit.is_some_and(|limit| limit <= now) {
            Due::LimitReached
        } else if self.interval_ms == 0 {
            Due::Nothing
        } else if !self.deaf && self.lost_at() <= now {
            Due::PeerSilent
        } else if self.say_at() <= now {
            Due::SendHeartbeat
        } else {
            Due::Nothing
        }
    }

    fn say_at(&self) -> Timestamp {
        self.said.plus_ms(self.interval_ms / 2)
    }

    fn lost_at(&self) -> Timestamp {
        self.heard.plus_ms(self.interval_ms * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn beating() -> Liveness {
        let mut liveness = Liveness::new(NOW, Timestamp(5_000));
        liveness.set_interval_s(10);
        liveness.set_limit(None);
        liveness
    }

    #[test]
    fn limit_stands_until_it_is_lifted() {
        let mut liveness = Liveness::new(NOW, Timestamp(5_000));
        assert_eq!(liveness.deadline(), Some(Timestamp(5_000)));
        assert_eq!(liveness.due(Timestamp(4_999)), Due::Nothing);
        assert_eq!(liveness.due(Timestamp(5_000)), Due::LimitReached);
        liveness.set_limit(None);
        assert_eq!(liveness.deadline(), None);
    }

    #[test]
    fn heartbeat_is_sent_after_half_an_interval_of_saying_nothing() {
        let mut liveness = beating();
        assert_eq!(liveness.deadline(), Some(Timestamp(6_000)));
        assert_eq!(liveness.due(Timestamp(5_999)), Due::Nothing);
        assert_eq!(liveness.due(Timestamp(6_000)), Due::SendHeartbeat);
        liveness.said(Timestamp(6_000));
        assert_eq!(liveness.deadline(), Some(Timestamp(11_000)));
    }

    #[test]
    fn peer_is_given_up_after_two_silent_intervals() {
        let mut liveness = beating();
        liveness.said(Timestamp(20_999));
        assert_eq!(liveness.due(Timestamp(20_999)), Due::Nothing);
        assert_eq!(liveness.due(Timestamp(21_000)), Due::PeerSilent);
        liveness.heard(Timestamp(20_000));
        assert_eq!(liveness.due(Timestamp(21_000)), Due::Nothing);
    }

    #[test]
    fn silence_means_nothing_while_nothing_is_read() {
        let mut liveness = beating();
        liveness.set_deaf(true, NOW);
        liveness.said(Timestamp(100_000));
        assert_eq!(liveness.due(Timestamp(100_001)), Due::Nothing);
        liveness.set_deaf(false, Timestamp(100_001));
        assert_eq!(liveness.due(Timestamp(120_000)), Due::SendHeartbeat);
        assert_eq!(liveness.due(Timestamp(120_001)), Due::PeerSilent);
    }

    #[test]
    fn interval_of_zero_switches_heartbeats_off() {
        let mut liveness = beating();
        liveness.set_interval_s(0);
        assert_eq!(liveness.deadline(), None);
        assert_eq!(liveness.due(Timestamp(u64::MAX)), Due::Nothing);
    }
}
