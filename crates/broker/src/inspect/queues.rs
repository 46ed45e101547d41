//! Queues.

use std::sync::Arc;

use ternmq_core::id::{ConnectionId, QueueId, Timestamp};
use ternmq_core::message::Message;
use ternmq_core::policy::QueueSettings;
use ternmq_core::queue::{Holdings, QueueCounters, Service};
use ternmq_core::topology::{Place, QueueDecl};

use super::consumers::consumers_of;
use super::{ConsumerSnapshot, Inspect, SCAN_STEP};
use crate::cell::{QueueCell, QueueHandle};
use crate::policies::PolicyStatus;
use crate::vhost::Vhost;

/// What a queue is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueState {
    /// It takes and gives.
    Running,
    /// It takes, and gives nothing to consumers.
    Paused,
    /// It is being deleted.
    Closed,
}

/// A queue at one moment.
#[derive(Clone, Debug)]
pub struct QueueSnapshot {
    handle: QueueHandle,
    /// What it does.
    pub state: QueueState,
    /// Settings in force.
    pub settings: QueueSettings,
    /// What policies say about it.
    pub policy: PolicyStatus,
    /// What is in it.
    pub holdings: Holdings,
    /// What happened in it since it was made or the node started.
    pub counters: QueueCounters,
    /// When it last had something to do, if it holds no consumer.
    pub idle_since: Option<Timestamp>,
    /// The time that the next message's publisher gave, in seconds since the Unix epoch.
    pub head_timestamp: Option<u64>,
    /// When the next message came to this node, if it is in memory.
    pub head_received_at: Option<Timestamp>,
    /// Tag of the consumer that is served alone.
    pub single_active_consumer: Option<Box<str>>,
    /// Tag of the consumer that is alone by its wish.
    pub exclusive_consumer: Option<Box<str>>,
}

impl QueueSnapshot {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.decl().name
    }

    /// The vhost it is in.
    pub fn vhost(&self) -> &str {
        &self.handle.0.vhost.name
    }

    /// Its identity: another one once it is deleted and declared again.
    pub fn id(&self) -> QueueId {
        self.handle.0.id
    }

    /// As it was declared.
    pub fn decl(&self) -> &QueueDecl {
        &self.handle.0.decl
    }

    /// The connection it goes with, if it is exclusive.
    pub fn owner(&self) -> Option<ConnectionId> {
        self.decl().exclusive
    }

    /// The queue itself.
    pub fn handle(&self) -> &QueueHandle {
        &self.handle
    }

    pub(super) fn of(cell: &Arc<QueueCell>) -> Self {
        let (mut snapshot, head) = cell.look_with_labels(|queue, labels| {
            let tag = |key| labels.get(key).map(|label| (*label.tag).into());
            let snapshot = Self {
                handle: QueueHandle(cell.clone()),
                state: match queue.service() {
                    _ if queue.is_closed() => QueueState::Closed,
                    Service::Paused => QueueState::Paused,
                    Service::Running => QueueState::Running,
                },
                settings: queue.settings().clone(),
                policy: PolicyStatus::default(),
                holdings: queue.holdings(),
                counters: *queue.counters(),
                idle_since: Some(queue.last_active()).filter(|_| queue.counts().consumers == 0),
                head_timestamp: None,
                head_received_at: None,
                single_active_consumer: queue.single_active().and_then(tag),
                exclusive_consumer: queue.exclusive_consumer().and_then(tag),
            };
            (snapshot, queue.head())
        });
        snapshot.policy = cell.policy_status();
        // Read without the lock.
        snapshot.head_received_at = head.as_ref().map(Message::received_at);
        snapshot.head_timestamp = head.and_then(|message| message.properties().timestamp);
        snapshot
    }
}

impl Inspect<'_> {
    /// All queues of one vhost, or of all, in no order.
    pub fn queues(self, vhost: Option<&str>) -> Vec<QueueSnapshot> {
        self.each_cell(vhost, QueueSnapshot::of)
    }

    /// The numbers of every queue, without anything that would have to be copied: for whoever only counts.
    pub fn each_queue(self, mut each: impl FnMut(&str, QueueId, &QueueCounters, &Holdings)) {
        for vhost in self.0.all_vhosts() {
            for cell in cells_of(&vhost) {
                let (counters, holdings) = cell.look(|queue| (*queue.counters(), queue.holdings()));
                each(&vhost.name, cell.id, &counters, &holdings);
            }
        }
    }

    /// One queue.
    pub fn queue(self, vhost: &str, name: &str) -> Option<QueueSnapshot> {
        self.cell(vhost, name).map(|cell| QueueSnapshot::of(&cell))
    }

    /// The consumers of one queue: highest priority first, then in order of arrival.
    pub fn queue_consumers(self, vhost: &str, name: &str) -> Vec<ConsumerSnapshot> {
        self.cell(vhost, name)
            .map_or_else(Vec::new, |cell| consumers_of(&cell))
    }

    pub(crate) fn cell(self, vhost: &str, name: &str) -> Option<Arc<QueueCell>> {
        self.0.vhost(vhost)?.read(|space| {
            let id = space.topology.queue_named(name)?.id;
            space.cells.get(&id).cloned()
        })
    }

    pub(super) fn each_cell<T>(
        self,
        vhost: Option<&str>,
        mut of: impl FnMut(&Arc<QueueCell>) -> T,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for vhost in self.vhosts(vhost) {
            all.extend(cells_of(&vhost).iter().map(&mut of));
        }
        all
    }

    pub(super) fn vhosts(self, vhost: Option<&str>) -> Vec<Arc<Vhost>> {
        match vhost {
            Some(name) => self.0.vhost(name).into_iter().collect(),
            None => self.0.all_vhosts(),
        }
    }
}

/// The cells of a vhost, gathered in steps.
pub(super) fn cells_of(vhost: &Vhost) -> Vec<Arc<QueueCell>> {
    let mut cells = Vec::new();
    let mut next = Some(Place::default());
    while let Some(from) = next {
        next = vhost.read(|space| {
            space.topology.scan_queues(from, SCAN_STEP, |entry| {
                cells.extend(space.cells.get(&entry.id).cloned());
            })
        });
    }
    cells
}
