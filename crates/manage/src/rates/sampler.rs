//! Looks at all counters every few seconds.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use ternmq_broker::inspect::Protocol;
use ternmq_broker::{Broker, KindTotals};
use ternmq_core::id::{ConnectionId, QueueId, Timestamp};

use super::details::Ranges;
use super::history::History;
use super::numbers::{
    NodeNumbers, QueueNumbers, VhostNumbers, channel_numbers, connection_numbers, exchange_numbers,
    queue_numbers,
};
use super::objects::{Look, Objects};
use crate::ManageConfig;
use crate::node::Usage;
use crate::request::Query;

/// Shortest time between two looks, in milliseconds.
const INTERVAL_MS_MIN: u64 = 1_000;

/// Keeps the past of everything that has counters. Others than the management API may read it.
pub(crate) struct Sampler {
    interval_ms: u64,
    keep_ms: u64,
    keep_totals_ms: u64,
    data_dir: PathBuf,
    past: Mutex<Past>,
    /// When to look again; beside the past, which is held while a list is written.
    due_at: AtomicU64,
}

/// The past of everything.
#[derive(Default)]
pub(crate) struct Past {
    round: u64,
    /// When everything was looked at last.
    at: Option<Timestamp>,
    pub(crate) queues: Objects<QueueId, 11>,
    /// By vhost and name.
    pub(crate) exchanges: Objects<(Box<str>, Box<str>), 2>,
    pub(crate) connections: Objects<ConnectionId, 2>,
    pub(crate) channels: Objects<(ConnectionId, u16), 11>,
    vhosts: HashMap<Box<str>, VhostPast>,
    /// All vhosts together, those that are gone included.
    pub(crate) all: VhostPast,
    pub(crate) node: History<12>,
    pub(crate) usage: Usage,
}

/// The past of a vhost, with what its objects that are gone had counted.
#[derive(Default)]
pub(crate) struct VhostPast {
    pub(crate) numbers: [u64; 16],
    pub(crate) history: History<16>,
    round: u64,
}

impl VhostPast {
    fn gauges(&mut self) -> &mut [u64] {
        &mut self.numbers[VhostNumbers::MESSAGES..=VhostNumbers::UNACKNOWLEDGED]
    }
}

impl Past {
    /// What samples a query asks for.
    pub(crate) fn ranges(&self, query: &Query) -> Ranges {
        Ranges::of(query, self.at.unwrap_or(Timestamp(0)))
    }

    /// The past of a vhost.
    pub(crate) fn vhost(&self, name: &str) -> Option<&VhostPast> {
        self.vhosts.get(name)
    }

    fn count(&mut self, vhost: &str, round: u64, count: impl Fn(&mut [u64; 16])) {
        if !self.vhosts.contains_key(vhost) {
            self.vhosts.insert(vhost.into(), VhostPast::default());
        }
        if let Some(past) = self.vhosts.get_mut(vhost) {
            past.round = round;
            count(&mut past.numbers);
        }
        count(&mut self.all.numbers);
    }
}

impl Sampler {
    pub(crate) fn new(config: &ManageConfig, data_dir: PathBuf) -> Self {
        Self {
            interval_ms: config.sample_interval_ms.max(INTERVAL_MS_MIN),
            keep_ms: config.sample_retention_s.saturating_mul(1000),
            keep_totals_ms: config.sample_retention_totals_s.saturating_mul(1000),
            data_dir,
            past: Mutex::default(),
            due_at: AtomicU64::new(0),
        }
    }

    /// What is known of the past; nothing is sampled while it is held.
    pub(crate) fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock()
    }

    /// When to look again.
    pub(crate) fn due_at(&self) -> Timestamp {
        Timestamp(self.due_at.load(Ordering::Relaxed))
    }

    /// Looks at everything.
    pub(crate) fn sample(&self, broker: &Broker, now: Timestamp) {
        let next = now.plus_ms(self.interval_ms);
        self.due_at.store(next.0, Ordering::Relaxed);
        let usage = Usage::now(&self.data_dir);
        let mut past = self.past();
        let past = &mut *past;
        past.round += 1;
        past.at = Some(now);
        past.usage = usage;
        let look = Look {
            now,
            round: past.round,
            keep_ms: self.keep_ms,
        };
        past.all.gauges().fill(0);
        for vhost in past.vhosts.values_mut() {
            vhost.gauges().fill(0);
        }
        past.look_at_queues(broker, look);
        past.look_at_exchanges(broker, look);
        past.look_at_connections(broker, look);
        past.look_at_channels(broker, look);
        past.look_at_node(broker, usage, look, self.keep_totals_ms);
        let keep = self.keep_totals_ms;
        past.all.history.add(now, past.all.numbers, keep);
        for vhost in past.vhosts.values_mut() {
            vhost.history.add(now, vhost.numbers, keep);
        }
        let there: Vec<Box<str>> = broker
            .admin()
            .vhosts()
            .into_iter()
            .map(|vhost| vhost.name)
            .collect();
        past.vhosts.retain(|name, _| there.contains(name));
    }
}

impl Past {
    /// What queues count of deliveries; what was published is counted at exchanges, once for each message.
    fn look_at_queues(&mut self, broker: &Broker, look: Look) {
        broker
            .inspect()
            .each_queue(|vhost, id, counters, holdings| {
                let numbers = queue_numbers(counters, holdings);
                let grown = self.queues.note(id, numbers, look);
                self.count(vhost, look.round, |of_vhost| {
                    for index in (0..QueueNumbers::MESSAGES).filter(|i| *i != VhostNumbers::PUBLISH)
                    {
                        of_vhost[index] += grown[index];
                    }
                    of_vhost[VhostNumbers::MESSAGES] += numbers[QueueNumbers::MESSAGES];
                    of_vhost[VhostNumbers::READY] += numbers[QueueNumbers::READY];
                    of_vhost[VhostNumbers::UNACKNOWLEDGED] += numbers[QueueNumbers::UNACKNOWLEDGED];
                });
            });
        self.queues.forget_others(look);
    }

    fn look_at_exchanges(&mut self, broker: &Broker, look: Look) {
        for exchange in broker.inspect().exchanges(None) {
            let numbers = exchange_numbers(&exchange);
            let key = (exchange.vhost.clone(), exchange.decl.name);
            let [published, _] = self.exchanges.note(key, numbers, look);
            self.count(&exchange.vhost, look.round, |of_vhost| {
                of_vhost[VhostNumbers::PUBLISH] += published;
            });
        }
        self.exchanges.forget_others(look);
    }

    fn look_at_connections(&mut self, broker: &Broker, look: Look) {
        broker.inspect().each_connection(|connection| {
            let numbers = connection_numbers(connection);
            let [received, sent] = self.connections.note(connection.id(), numbers, look);
            self.count(connection.vhost(), look.round, |of_vhost| {
                of_vhost[VhostNumbers::RECEIVED] += received;
                of_vhost[VhostNumbers::SENT] += sent;
            });
        });
        self.connections.forget_others(look);
    }

    fn look_at_channels(&mut self, broker: &Broker, look: Look) {
        for channel in broker.inspect().channels(None) {
            let key = (channel.connection, channel.number);
            let numbers = channel_numbers(&channel.stats);
            let grown = self.channels.note(key, numbers, look);
            self.count(&channel.vhost, look.round, |of_vhost| {
                for index in [
                    VhostNumbers::CONFIRM,
                    VhostNumbers::RETURNED,
                    VhostNumbers::UNROUTABLE,
                ] {
                    of_vhost[index] += grown[index];
                }
            });
        }
        self.channels.forget_others(look);
    }

    fn look_at_node(&mut self, broker: &Broker, usage: Usage, look: Look, keep_ms: u64) {
        let churn = broker.inspect().churn();
        let mut numbers = [0; 12];
        numbers[..NodeNumbers::MEMORY].copy_from_slice(&[
            churn.connections_opened,
            churn.connections_closed,
            churn.channels_opened,
            churn.channels_closed,
            churn.queues_declared,
            churn.queues_created,
            churn.queues_deleted,
        ]);
        numbers[NodeNumbers::MEMORY] = usage.resident_bytes;
        numbers[NodeNumbers::FILES] = usage.files;
        numbers[NodeNumbers::SOCKETS] = churn
            .connections_opened
            .saturating_sub(churn.connections_closed);
        numbers[NodeNumbers::TASKS] = usage.threads;
        numbers[NodeNumbers::DISK_FREE] = usage.disk_free_bytes;
        self.node.add(look.now, numbers, keep_ms);
        let messages = node_messages(broker);
        self.all.numbers[..messages.len()].copy_from_slice(&messages);
    }
}

/// What happened to messages since the node started, whatever protocol their clients speak.
pub(crate) fn node_messages(broker: &Broker) -> [u64; 11] {
    let mut sum = [0; 11];
    for protocol in Protocol::ALL {
        let totals = broker.inspect().protocol_totals(protocol);
        let kinds = |number: fn(&KindTotals) -> u64| totals.kinds.iter().map(number).sum::<u64>();
        let numbers = [
            kinds(|kind| kind.acknowledged),
            kinds(|kind| kind.consumed_manual),
            kinds(|kind| kind.consumed_auto),
            kinds(|kind| kind.got_manual),
            kinds(|kind| kind.got_auto),
            kinds(|kind| kind.got_empty),
            totals.received,
            kinds(|kind| kind.redelivered),
            totals.confirmed,
            totals.unroutable_returned,
            totals.unroutable_dropped,
        ];
        for (sum, number) in sum.iter_mut().zip(numbers) {
            *sum += number;
        }
    }
    sum
}
