//! Families of connections and channels.

use ternmq_broker::inspect::{ChannelSnapshot, ConnectionSnapshot, Protocol};

use crate::Source;
use crate::family::{Family, counter, gauge};
use crate::text::Labels;

/// Numbers of one connection, or of all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Connection {
    received_bytes: u64,
    sent_bytes: u64,
    reads: u64,
    writes: u64,
    channels: u64,
}

pub(crate) const CONNECTION_COARSE: &[Family<Connection>] = &[
    counter!(
        "connection_incoming_bytes_total",
        "Bytes read from the client",
        |connection| connection.received_bytes
    ),
    counter!(
        "connection_outgoing_bytes_total",
        "Bytes written to the client",
        |connection| connection.sent_bytes
    ),
];

pub(crate) const CONNECTION_METRICS: &[Family<Connection>] = &[
    counter!(
        "connection_incoming_packets_total",
        "Reads that brought bytes",
        |connection| connection.reads
    ),
    counter!(
        "connection_outgoing_packets_total",
        "Writes that took bytes",
        |connection| connection.writes
    ),
    gauge!(
        "connection_channels",
        "Channels open on the connection",
        |connection| connection.channels
    ),
];

/// All connections that are open now, together.
pub(crate) fn all_connections(source: &Source) -> Vec<(Labels, Connection)> {
    let mut all = Connection::default();
    source.broker.inspect().each_connection(|connection| {
        let octets = connection.octets();
        all.received_bytes += octets.received_bytes.get();
        all.sent_bytes += octets.sent_bytes.get();
        all.reads += octets.reads.get();
        all.writes += octets.writes.get();
        all.channels += connection.channel_count() as u64;
    });
    vec![(Labels::default(), all)]
}

/// Each connection. RabbitMQ labels connections as it labels channels, with a process; ours have names.
pub(crate) fn each_connection(source: &Source) -> Vec<(Labels, Connection)> {
    let connections = source.broker.inspect().connections(None).into_iter();
    connections
        .map(|connection| (labels(&connection), Connection::of(&connection)))
        .collect()
}

fn labels(connection: &ConnectionSnapshot) -> Labels {
    let mut labels = Labels::default();
    labels
        .add("channel", &connection.name)
        .add("vhost", &connection.vhost)
        .add("user", &connection.user)
        .add("protocol", connection.info.protocol.label());
    labels
}

impl Connection {
    fn of(snapshot: &ConnectionSnapshot) -> Self {
        Self {
            received_bytes: snapshot.received_bytes,
            sent_bytes: snapshot.sent_bytes,
            reads: snapshot.reads,
            writes: snapshot.writes,
            channels: snapshot.channels,
        }
    }
}

/// Numbers of one channel, or of all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Channel {
    consumers: u64,
    unacknowledged: u64,
    unconfirmed: u64,
    uncommitted: u64,
    acks_uncommitted: u64,
    prefetch: u64,
    global_prefetch: u64,
    published: u64,
    confirmed: u64,
    returned: u64,
    dropped: u64,
    got: u64,
    got_auto: u64,
    got_empty: u64,
    delivered: u64,
    delivered_auto: u64,
    redelivered: u64,
    acked: u64,
}

pub(crate) const CHANNEL_METRICS: &[Family<Channel>] = &[
    gauge!("channel_consumers", "Consumers of the channel", |channel| {
        channel.consumers
    }),
    gauge!(
        "channel_messages_unacked",
        "Deliveries that are not settled",
        |channel| channel.unacknowledged
    ),
    gauge!(
        "channel_messages_unconfirmed",
        "Publishes that are not confirmed",
        |channel| channel.unconfirmed
    ),
    gauge!(
        "channel_messages_uncommitted",
        "Publishes that wait for a commit",
        |channel| channel.uncommitted
    ),
    gauge!(
        "channel_acks_uncommitted",
        "Acknowledgements that wait for a commit",
        |channel| channel.acks_uncommitted
    ),
    gauge!(
        "consumer_prefetch",
        "Deliveries that a new consumer may hold",
        |channel| channel.prefetch
    ),
    gauge!(
        "channel_prefetch",
        "Deliveries that all consumers together may hold",
        |channel| channel.global_prefetch
    ),
];

pub(crate) const CHANNEL_EXCHANGE: &[Family<Channel>] = &[
    counter!(
        "channel_messages_published_total",
        "Messages published",
        |channel| channel.published
    ),
    counter!(
        "channel_messages_confirmed_total",
        "Publishes confirmed",
        |channel| channel.confirmed
    ),
    counter!(
        "channel_messages_unroutable_returned_total",
        "Mandatory messages that reached no queue and went back",
        |channel| channel.returned
    ),
    counter!(
        "channel_messages_unroutable_dropped_total",
        "Messages that reached no queue and were dropped",
        |channel| channel.dropped
    ),
];

pub(crate) const CHANNEL_QUEUE: &[Family<Channel>] = &[
    counter!(
        "channel_get_ack_total",
        "Messages got one by one, to be acknowledged",
        |channel| channel.got
    ),
    counter!(
        "channel_get_total",
        "Messages got one by one, without acknowledgement",
        |channel| channel.got_auto
    ),
    counter!(
        "channel_messages_delivered_ack_total",
        "Messages sent to consumers, to be acknowledged",
        |channel| channel.delivered
    ),
    counter!(
        "channel_messages_delivered_total",
        "Messages sent to consumers, without acknowledgement",
        |channel| channel.delivered_auto
    ),
    counter!(
        "channel_messages_redelivered_total",
        "Messages sent again",
        |channel| channel.redelivered
    ),
    counter!(
        "channel_messages_acked_total",
        "Deliveries acknowledged",
        |channel| channel.acked
    ),
    counter!(
        "channel_get_empty_total",
        "Attempts to get a message of an empty queue",
        |channel| channel.got_empty
    ),
];

/// All channels together. What is counted goes on with AMQP's totals, so it does not shrink as channels close.
pub(crate) fn all_channels(source: &Source) -> Vec<(Labels, Channel)> {
    let inspect = source.broker.inspect();
    let totals = inspect.protocol_totals(Protocol::Amqp091);
    let mut all = Channel {
        published: totals.received,
        confirmed: totals.confirmed,
        returned: totals.unroutable_returned,
        dropped: totals.unroutable_dropped,
        ..Channel::default()
    };
    for kind in totals.kinds {
        all.got += kind.got_manual;
        all.got_auto += kind.got_auto;
        all.got_empty += kind.got_empty;
        all.delivered += kind.consumed_manual;
        all.delivered_auto += kind.consumed_auto;
        all.redelivered += kind.redelivered;
        all.acked += kind.acknowledged;
    }
    inspect.each_connection(|connection| {
        connection.each_channel(|channel| {
            all.consumers += channel.consumers.get();
            all.unacknowledged += channel.unacknowledged.get();
            all.unconfirmed += channel.unconfirmed.get();
            all.uncommitted += channel.uncommitted.get();
            all.acks_uncommitted += channel.acks_uncommitted.get();
            all.prefetch += channel.prefetch.get();
            all.global_prefetch += channel.global_prefetch.get();
        });
    });
    vec![(Labels::default(), all)]
}

/// Each channel.
pub(crate) fn each_channel(source: &Source) -> Vec<(Labels, Channel)> {
    let channels = source.broker.inspect().channels(None).into_iter();
    let labelled = channels.map(|channel| {
        let mut labels = Labels::default();
        labels
            .add("channel", &channel.name())
            .add("vhost", &channel.vhost)
            .add("user", &channel.user);
        (labels, Channel::of(&channel))
    });
    labelled.collect()
}

impl Channel {
    fn of(snapshot: &ChannelSnapshot) -> Self {
        let stats = &snapshot.stats;
        Self {
            consumers: stats.consumers.get(),
            unacknowledged: stats.unacknowledged.get(),
            unconfirmed: stats.unconfirmed.get(),
            uncommitted: stats.uncommitted.get(),
            acks_uncommitted: stats.acks_uncommitted.get(),
            prefetch: stats.prefetch.get(),
            global_prefetch: stats.global_prefetch.get(),
            published: stats.published.get(),
            confirmed: stats.confirmed.get(),
            returned: stats.returned.get(),
            dropped: stats.unroutable.get(),
            got: stats.got.get(),
            got_auto: stats.got_auto.get(),
            got_empty: stats.got_empty.get(),
            delivered: stats.delivered.get(),
            delivered_auto: stats.delivered_auto.get(),
            redelivered: stats.redelivered.get(),
            acked: stats.acked.get(),
        }
    }
}
