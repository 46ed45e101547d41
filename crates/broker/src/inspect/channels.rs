//! Channels: conversations within a connection, where the protocol has them.

use std::sync::Arc;

use ternmq_core::id::{ConnectionId, Timestamp};

use super::connections::ConnectionStats;
use super::{Count, Gauge, Inspect};

/// What becomes of a channel's publishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ChannelMode {
    /// They take effect, and nobody hears of it.
    #[default]
    Plain,
    /// They are confirmed.
    Confirm,
    /// They wait for a commit.
    Transactional,
}

impl ChannelMode {
    const fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Confirm,
            2 => Self::Transactional,
            _ => Self::Plain,
        }
    }
}

/// A channel as others see it. Its connection's task writes, anybody reads.
#[derive(Debug)]
pub struct ChannelStats {
    number: u16,
    mode: Gauge,
    active_at: Gauge,
    /// Deliveries that each new consumer may hold; 0 for no limit.
    pub prefetch: Gauge,
    /// Deliveries that all consumers together may hold; 0 for no limit.
    pub global_prefetch: Gauge,
    /// Consumers.
    pub consumers: Gauge,
    /// Deliveries that are not settled.
    pub unacknowledged: Gauge,
    /// Publishes that are not confirmed.
    pub unconfirmed: Gauge,
    /// Publishes that wait for a commit.
    pub uncommitted: Gauge,
    /// Acknowledgements that wait for a commit.
    pub acks_uncommitted: Gauge,
    /// Messages published.
    pub published: Count,
    /// Publishes confirmed.
    pub confirmed: Count,
    /// Messages sent back, as they reached no queue.
    pub returned: Count,
    /// Messages dropped, as they reached no queue.
    pub unroutable: Count,
    /// Messages delivered, to be settled.
    pub delivered: Count,
    /// Messages delivered, and gone with that.
    pub delivered_auto: Count,
    /// Messages got one by one, to be settled.
    pub got: Count,
    /// Messages got one by one, and gone with that.
    pub got_auto: Count,
    /// Attempts to get one that found nothing.
    pub got_empty: Count,
    /// Deliveries acknowledged.
    pub acked: Count,
    /// Those of the deliveries that may have been delivered before.
    pub redelivered: Count,
}

impl ChannelStats {
    pub(super) fn new(number: u16, now: Timestamp) -> Self {
        let stats = Self {
            number,
            mode: Gauge::default(),
            active_at: Gauge::default(),
            prefetch: Gauge::default(),
            global_prefetch: Gauge::default(),
            consumers: Gauge::default(),
            unacknowledged: Gauge::default(),
            unconfirmed: Gauge::default(),
            uncommitted: Gauge::default(),
            acks_uncommitted: Gauge::default(),
            published: Count::default(),
            confirmed: Count::default(),
            returned: Count::default(),
            unroutable: Count::default(),
            delivered: Count::default(),
            delivered_auto: Count::default(),
            got: Count::default(),
            got_auto: Count::default(),
            got_empty: Count::default(),
            acked: Count::default(),
            redelivered: Count::default(),
        };
        stats.set_active(now);
        stats
    }

    /// Its number in its connection.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Says what becomes of its publishes.
    pub fn set_mode(&self, mode: ChannelMode) {
        self.mode.set(mode as u64);
    }

    /// It did something.
    #[inline]
    pub fn set_active(&self, now: Timestamp) {
        self.active_at.set(now.0);
    }
}

/// A channel at one moment.
#[derive(Clone, Debug)]
pub struct ChannelSnapshot {
    /// The connection it belongs to.
    pub connection: ConnectionId,
    /// The connection's name.
    pub connection_name: Box<str>,
    /// Its number.
    pub number: u16,
    /// The connection's user.
    pub user: Box<str>,
    /// The connection's vhost.
    pub vhost: Box<str>,
    /// What becomes of its publishes.
    pub mode: ChannelMode,
    /// When it last did something.
    pub active_at: Timestamp,
    /// Its numbers, as they are read.
    pub stats: Arc<ChannelStats>,
}

impl ChannelSnapshot {
    fn of(connection: &ConnectionStats, connection_name: &str, stats: Arc<ChannelStats>) -> Self {
        Self {
            connection: connection.id(),
            connection_name: connection_name.into(),
            number: stats.number,
            user: connection.user().into(),
            vhost: connection.vhost().into(),
            mode: ChannelMode::from_number(stats.mode.get()),
            active_at: Timestamp(stats.active_at.get()),
            stats,
        }
    }

    /// Its name: its connection's, and its number in brackets.
    pub fn name(&self) -> String {
        format!("{} ({})", self.connection_name, self.number)
    }
}

impl Inspect<'_> {
    /// The channels of the connections of one vhost, or of all: connection by connection, by number.
    pub fn channels(self, vhost: Option<&str>) -> Vec<ChannelSnapshot> {
        let mut all = Vec::new();
        for connection in self.0.connections.all() {
            if vhost.is_none_or(|name| *name == *connection.vhost()) {
                add_channels(&connection, &mut all);
            }
        }
        all
    }

    /// The channels of one connection, by number.
    pub fn channels_of(self, connection: ConnectionId) -> Vec<ChannelSnapshot> {
        let mut all = Vec::new();
        if let Some(connection) = self.0.connections.get(connection) {
            add_channels(&connection, &mut all);
        }
        all
    }

    /// One channel, by its name.
    pub fn channel_named(self, name: &str) -> Option<ChannelSnapshot> {
        let (connection_name, number) = name.strip_suffix(')')?.rsplit_once(" (")?;
        let number: u16 = number.parse().ok()?;
        let connection = self.stats_named(connection_name)?;
        let mut channels = connection.channels().into_iter();
        let stats = channels.find(|channel| channel.number == number)?;
        let connection_name = connection.info().name();
        Some(ChannelSnapshot::of(&connection, &connection_name, stats))
    }
}

fn add_channels(connection: &ConnectionStats, all: &mut Vec<ChannelSnapshot>) {
    let name = connection.info().name();
    let channels = connection.channels().into_iter();
    all.extend(channels.map(|stats| ChannelSnapshot::of(connection, &name, stats)));
}

#[cfg(test)]
mod tests {
    use super::super::connections::tests::info;
    use super::*;
    use crate::bed::{START, broker, client};

    #[test]
    fn channel_is_found_by_its_name_and_shows_what_its_connection_counts() {
        let broker = broker();
        let mut client = client(&broker);
        let stats = client.introduce(info(5001));
        let second = stats.open_channel(2);
        stats.open_channel(1);
        second.set_mode(ChannelMode::Confirm);
        second.published.add(3);
        second.unconfirmed.set(2);
        second.set_active(START.plus_ms(5));
        let numbers = |channels: Vec<ChannelSnapshot>| -> Vec<u16> {
            channels.iter().map(|channel| channel.number).collect()
        };
        assert_eq!(numbers(broker.inspect().channels(Some("/"))), [1, 2]);
        assert!(broker.inspect().channels(Some("other")).is_empty());
        let name = "127.0.0.1:5001 -> 127.0.0.1:5672 (2)";
        let found = broker.inspect().channel_named(name).unwrap();
        assert_eq!(found.name(), name);
        assert_eq!(found.mode, ChannelMode::Confirm);
        assert_eq!(found.active_at, START.plus_ms(5));
        assert_eq!(
            (found.stats.published.get(), found.stats.unconfirmed.get()),
            (3, 2)
        );
        stats.close_channel(2);
        assert!(broker.inspect().channel_named(name).is_none());
        assert_eq!(numbers(broker.inspect().channels_of(client.id())), [1]);
    }
}
