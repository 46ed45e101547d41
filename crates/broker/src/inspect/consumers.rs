//! Consumers.

use std::borrow::Cow;
use std::sync::Arc;

use ternmq_core::id::ConnectionId;
use ternmq_core::queue::AckMode;
use ternmq_core::value::Headers;

use super::Inspect;
use crate::cell::{QueueCell, QueueHandle};

/// What a consumer's client says about it. Part of nothing that the queue decides.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ConsumerLabel {
    /// The tag that the client knows it by.
    pub tag: Cow<'static, str>,
    /// The channel it is on; 0 where there are none.
    pub channel: u16,
    /// Deliveries it may hold, as asked for; 0 for no limit.
    pub prefetch: u32,
    /// Arguments, if there were any.
    pub arguments: Option<Box<Headers>>,
}

/// Whether a consumer is served, and if not, why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ActivityStatus {
    /// It is.
    Up,
    /// It is the one that is.
    SingleActive,
    /// Another one is, and it comes after that.
    Waiting,
}

impl ActivityStatus {
    /// The name that tools know.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::SingleActive => "single_active",
            Self::Waiting => "waiting",
        }
    }
}

/// A consumer at one moment.
#[derive(Clone, Debug)]
pub struct ConsumerSnapshot {
    queue: QueueHandle,
    /// The connection it belongs to.
    pub connection: ConnectionId,
    /// What the client says about it.
    pub label: ConsumerLabel,
    /// When its messages leave the queue.
    pub mode: AckMode,
    /// Its priority.
    pub priority: i32,
    /// Whether it is alone by its own wish.
    pub exclusive: bool,
    /// For how long it may hold a delivery, in milliseconds; none for ever.
    pub timeout_ms: Option<u64>,
    /// Whether it is served.
    pub status: ActivityStatus,
    /// Messages in its list, not drained.
    pub assigned: u64,
    /// Messages drained and not settled.
    pub leased: u64,
}

impl ConsumerSnapshot {
    /// The queue's name.
    pub fn queue(&self) -> &str {
        self.queue.name()
    }

    /// The vhost it is in.
    pub fn vhost(&self) -> &str {
        &self.queue.0.vhost.name
    }

    /// Whether its deliveries have to be settled.
    pub fn ack_required(&self) -> bool {
        self.mode != AckMode::Auto
    }

    /// Whether it is served.
    pub fn is_active(&self) -> bool {
        self.status != ActivityStatus::Waiting
    }
}

impl Inspect<'_> {
    /// The consumers of one vhost, or of all, queue by queue.
    pub fn consumers(self, vhost: Option<&str>) -> Vec<ConsumerSnapshot> {
        let of_queues = self.each_cell(vhost, consumers_of);
        of_queues.into_iter().flatten().collect()
    }
}

pub(super) fn consumers_of(cell: &Arc<QueueCell>) -> Vec<ConsumerSnapshot> {
    cell.look_with_labels(|queue, labels| {
        let single = queue.settings().single_active_consumer;
        let consumer = |view: ternmq_core::queue::ConsumerView| {
            let subscriber = labels.subscriber(view.key)?;
            Some(ConsumerSnapshot {
                queue: QueueHandle(cell.clone()),
                connection: subscriber.connection,
                label: subscriber.label.clone(),
                mode: view.mode,
                priority: view.priority,
                exclusive: view.exclusive,
                timeout_ms: queue.lease_timeout_ms(view.key),
                status: match (single, view.active) {
                    (false, _) => ActivityStatus::Up,
                    (true, true) => ActivityStatus::SingleActive,
                    (true, false) => ActivityStatus::Waiting,
                },
                assigned: view.assigned,
                leased: view.leased,
            })
        };
        queue.consumers().filter_map(consumer).collect()
    })
}
