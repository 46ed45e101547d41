//! Which numbers are kept of what, and under which names they are shown.

use ternmq_broker::inspect::{ChannelStats, ConnectionStats, ExchangeSnapshot};
use ternmq_core::queue::{Holdings, QueueCounters};

use super::details::{Details, Measure, Measures, Names, Range};
use super::history::History;

macro_rules! names {
    ($($name:literal),* $(,)?) => {
        [$(Names { value: $name, details: concat!($name, "_details") }),*]
    };
}

/// Numbers of an object of some kind, in the order of their names.
pub(crate) trait Numbers<const N: usize> {
    /// The names of those that are counted, which stand first.
    const COUNTED: &'static [Names];
    /// Numbers that are sums of others: their names, and what they are made of.
    const SUMS: &'static [(Names, &'static [usize])];

    /// All of them with rates, as they are shown.
    fn measures(now: &[u64; N], past: Option<&History<N>>, range: Option<Range>) -> Measures {
        let counted = Self::COUNTED
            .iter()
            .enumerate()
            .map(|(index, names)| Measure {
                names: *names,
                value: now[index],
                details: Details::of(past, range, |values| values[index]),
            });
        let sums = Self::SUMS.iter().map(|(names, parts)| {
            let sum = |values: &[u64; N]| parts.iter().map(|index| values[*index]).sum();
            Measure {
                names: *names,
                value: sum(now),
                details: Details::of(past, range, sum),
            }
        });
        Measures(counted.chain(sums).collect())
    }
}

const DELIVER_GET: Names = Names {
    value: "deliver_get",
    details: "deliver_get_details",
};

/// Of a queue.
pub(crate) struct QueueNumbers;

impl QueueNumbers {
    pub(crate) const MESSAGES: usize = 8;
    pub(crate) const READY: usize = 9;
    pub(crate) const UNACKNOWLEDGED: usize = 10;
}

impl Numbers<11> for QueueNumbers {
    const COUNTED: &'static [Names] = &names![
        "ack",
        "deliver",
        "deliver_no_ack",
        "get",
        "get_no_ack",
        "get_empty",
        "publish",
        "redeliver",
    ];
    const SUMS: &'static [(Names, &'static [usize])] = &[(DELIVER_GET, &[1, 2, 3, 4])];
}

/// The numbers of a queue as they are.
pub(crate) fn queue_numbers(counters: &QueueCounters, holdings: &Holdings) -> [u64; 11] {
    [
        counters.acked,
        counters.delivered,
        counters.delivered_auto,
        counters.got,
        counters.got_auto,
        counters.got_empty,
        counters.published,
        counters.redelivered,
        holdings.messages(),
        holdings.ready,
        holdings.in_flight(),
    ]
}

/// Of an exchange.
pub(crate) struct ExchangeNumbers;

impl Numbers<2> for ExchangeNumbers {
    const COUNTED: &'static [Names] = &names!["publish_in", "publish_out"];
    const SUMS: &'static [(Names, &'static [usize])] = &[];
}

/// The numbers of an exchange as they are.
pub(crate) fn exchange_numbers(exchange: &ExchangeSnapshot) -> [u64; 2] {
    [exchange.published, exchange.routed]
}

/// Of a connection.
pub(crate) struct ConnectionNumbers;

impl ConnectionNumbers {
    pub(crate) const RECEIVED: usize = 0;
    pub(crate) const SENT: usize = 1;
}

/// The numbers of a connection as they are.
pub(crate) fn connection_numbers(connection: &ConnectionStats) -> [u64; 2] {
    let octets = connection.octets();
    [octets.received_bytes.get(), octets.sent_bytes.get()]
}

/// Of a channel.
pub(crate) struct ChannelNumbers;

impl Numbers<11> for ChannelNumbers {
    const COUNTED: &'static [Names] = &names![
        "ack",
        "deliver",
        "deliver_no_ack",
        "get",
        "get_no_ack",
        "get_empty",
        "publish",
        "redeliver",
        "confirm",
        "return_unroutable",
        "drop_unroutable",
    ];
    const SUMS: &'static [(Names, &'static [usize])] = &[(DELIVER_GET, &[1, 2, 3, 4])];
}

/// The numbers of a channel as they are.
pub(crate) fn channel_numbers(channel: &ChannelStats) -> [u64; 11] {
    [
        channel.acked.get(),
        channel.delivered.get(),
        channel.delivered_auto.get(),
        channel.got.get(),
        channel.got_auto.get(),
        channel.got_empty.get(),
        channel.published.get(),
        channel.redelivered.get(),
        channel.confirmed.get(),
        channel.returned.get(),
        channel.unroutable.get(),
    ]
}

/// Of a vhost: messages as channels count them, lengths of queues, bytes of connections.
pub(crate) struct VhostNumbers;

impl VhostNumbers {
    pub(crate) const PUBLISH: usize = 6;
    pub(crate) const CONFIRM: usize = 8;
    pub(crate) const RETURNED: usize = 9;
    pub(crate) const UNROUTABLE: usize = 10;
    pub(crate) const MESSAGES: usize = 11;
    pub(crate) const READY: usize = 12;
    pub(crate) const UNACKNOWLEDGED: usize = 13;
    pub(crate) const RECEIVED: usize = 14;
    pub(crate) const SENT: usize = 15;
}

impl Numbers<16> for VhostNumbers {
    const COUNTED: &'static [Names] = <ChannelNumbers as Numbers<11>>::COUNTED;
    const SUMS: &'static [(Names, &'static [usize])] = &[(DELIVER_GET, &[1, 2, 3, 4])];
}

/// Of the node, besides what all its vhosts have together: what came and went, and what the process takes.
pub(crate) struct NodeNumbers;

impl NodeNumbers {
    pub(crate) const MEMORY: usize = 7;
    pub(crate) const FILES: usize = 8;
    pub(crate) const SOCKETS: usize = 9;
    pub(crate) const TASKS: usize = 10;
    pub(crate) const DISK_FREE: usize = 11;
}

impl Numbers<12> for NodeNumbers {
    const COUNTED: &'static [Names] = &names![
        "connection_created",
        "connection_closed",
        "channel_created",
        "channel_closed",
        "queue_declared",
        "queue_created",
        "queue_deleted",
    ];
    const SUMS: &'static [(Names, &'static [usize])] = &[];
}
