//! `GET /queues`, `/queues/:vhost`, `/queues/:vhost/:name`

use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use ternmq_broker::inspect::{QueueSnapshot, QueueState};
use ternmq_core::id::Timestamp;
use ternmq_core::policy::QueueKind;

use super::consumers::ConsumerRow;
use super::{Empty, Shared, connections};
use crate::Manage;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::rates::{
    Details, History, Measures, Numbers as _, Past, QueueNumbers, Ranges, queue_numbers,
};
use crate::reply::{self, Answer};
use crate::request::{Names, Query};
use crate::table::Table;
use crate::time;

impl Row for QueueSnapshot {
    fn name(&self) -> &str {
        Self::name(self)
    }

    fn group(&self) -> &str {
        self.vhost()
    }
}

/// A queue as it is shown, as much of it as is asked for.
#[derive(Serialize)]
struct Shown {
    name: Box<str>,
    vhost: Box<str>,
    r#type: &'static str,
    durable: bool,
    auto_delete: bool,
    exclusive: bool,
    arguments: Table,
    node: Box<str>,
    state: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    members: Option<Members>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    lengths: Option<Lengths>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    more: Option<Box<More>>,
}

/// Who keeps a replicated queue.
#[derive(Serialize)]
struct Members {
    leader: Box<str>,
    #[serde(rename = "members")]
    all: [Box<str>; 1],
    online: [Box<str>; 1],
}

/// How many messages there are.
#[derive(Serialize)]
struct Lengths {
    messages: u64,
    messages_ready: u64,
    messages_unacknowledged: u64,
}

/// What `disable_stats` leaves out.
#[derive(Serialize)]
struct More {
    policy: Option<Box<str>>,
    operator_policy: Option<Box<str>>,
    effective_policy_definition: Table,
    consumers: u64,
    consumer_capacity: f64,
    consumer_utilisation: f64,
    exclusive_consumer_tag: Option<Box<str>>,
    single_active_consumer_tag: Option<Box<str>>,
    head_message_timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_pid_details: Option<connections::Ends>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_limit: Option<u32>,
    memory: u64,
    message_bytes: u64,
    message_bytes_paged_out: u64,
    message_bytes_persistent: u64,
    message_bytes_ram: u64,
    message_bytes_ready: u64,
    message_bytes_unacknowledged: u64,
    messages_paged_out: u64,
    messages_persistent: u64,
    messages_ram: u64,
    messages_ready_ram: u64,
    messages_unacknowledged_ram: u64,
    messages_details: Details,
    messages_ready_details: Details,
    messages_unacknowledged_details: Details,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<Measures>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    detail: Option<Detail>,
}

/// What only the queue itself shows, not lists.
#[derive(Serialize)]
struct Detail {
    consumer_details: Vec<ConsumerRow>,
    /// Rates by exchange and by channel, which nobody counts.
    incoming: [Empty; 0],
    deliveries: [Empty; 0],
}

/// How much of a queue is to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Extent {
    /// Its declaration.
    Brief,
    /// Besides, how many messages there are.
    Lengths,
    /// Everything.
    Whole,
}

impl Extent {
    fn of(query: &Query) -> Self {
        match (
            query.is_true("disable_stats"),
            query.is_true("enable_queue_totals"),
        ) {
            (false, _) => Self::Whole,
            (true, true) => Self::Lengths,
            (true, false) => Self::Brief,
        }
    }
}

/// What is needed to show queues.
struct View<'a> {
    manage: &'a Manage,
    past: &'a Past,
    ranges: Ranges,
    extent: Extent,
}

pub(crate) async fn list(State(manage): State<Shared>, caller: Caller, query: Query) -> Answer {
    let mut queues = manage.broker.inspect().queues(None);
    let seen = caller.seen_vhosts();
    queues.retain(|queue| seen.contains(queue.vhost()));
    answer(&manage, queues, &query)
}

pub(crate) async fn list_in_vhost(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    answer(
        &manage,
        manage.broker.inspect().queues(Some(&vhost)),
        &query,
    )
}

fn answer(manage: &Manage, queues: Vec<QueueSnapshot>, query: &Query) -> Answer {
    let past = manage.sampler.past();
    let view = View {
        manage,
        past: &past,
        ranges: past.ranges(query),
        extent: Extent::of(query),
    };
    listing::list_with(queues, query, |queue| view.show(&queue, None))
}

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let inspect = manage.broker.inspect();
    let queue = inspect.queue(&vhost, &name).ok_or_else(Fault::not_found)?;
    let detail = Detail {
        consumer_details: super::consumers::of_queue(&manage, &vhost, &name),
        incoming: [],
        deliveries: [],
    };
    let past = manage.sampler.past();
    let view = View {
        manage: &manage,
        past: &past,
        ranges: past.ranges(&query),
        extent: Extent::of(&query),
    };
    Ok(listing::object(&view.show(&queue, Some(detail)), &query))
}

/// Who keeps a replicated queue, in the words of RabbitMQ's tools: this node, which is its leader.
pub(crate) async fn quorum_status(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Answer {
    caller.vhost(&vhost)?;
    let queue = manage.broker.inspect().queue(&vhost, &name);
    let queue = queue.ok_or_else(Fault::not_found)?;
    if queue.settings.kind != QueueKind::Quorum {
        return Err(Fault::bad_request("not_quorum_queue"));
    }
    Ok(reply::json(&json!([{
        "Node Name": manage.node.name,
        "Raft State": "leader",
        "Membership": "voter",
        "Last Log Index": 0,
        "Last Written": 0,
        "Last Applied": 0,
        "Commit Index": 0,
        "Snapshot Index": 0,
        "Term": 1,
        "Machine Version": 0,
    }])))
}

impl View<'_> {
    fn show(&self, queue: &QueueSnapshot, detail: Option<Detail>) -> Shown {
        let decl = queue.decl();
        let node: Box<str> = self.manage.node.name.as_str().into();
        let holdings = &queue.holdings;
        Shown {
            name: decl.name.clone(),
            vhost: queue.vhost().into(),
            r#type: queue.settings.kind.name(),
            durable: decl.durable,
            auto_delete: decl.auto_delete,
            exclusive: decl.exclusive.is_some(),
            arguments: Table(decl.arguments.clone()),
            state: match queue.state {
                QueueState::Running => "running",
                QueueState::Paused => "paused",
                QueueState::Closed => "terminated",
            },
            members: (queue.settings.kind == QueueKind::Quorum).then(|| Members {
                leader: node.clone(),
                all: [node.clone()],
                online: [node.clone()],
            }),
            node,
            lengths: (self.extent != Extent::Brief).then_some(Lengths {
                messages: holdings.messages(),
                messages_ready: holdings.ready,
                messages_unacknowledged: holdings.in_flight(),
            }),
            more: (self.extent == Extent::Whole).then(|| Box::new(self.more(queue, detail))),
        }
    }

    fn more(&self, queue: &QueueSnapshot, detail: Option<Detail>) -> More {
        let holdings = &queue.holdings;
        let past = self.past.queues.get(&queue.id());
        let length =
            |index: usize| Details::of(past, self.ranges.lengths, move |numbers| numbers[index]);
        let numbers = queue_numbers(&queue.counters, holdings);
        let stats = QueueNumbers::measures(&numbers, past, self.ranges.messages);
        let capacity = capacity(holdings.consumers, holdings.ready);
        More {
            policy: queue.policy.policy.clone(),
            operator_policy: queue.policy.operator_policy.clone(),
            effective_policy_definition: Table(queue.policy.effective.clone()),
            consumers: holdings.consumers,
            consumer_capacity: capacity,
            consumer_utilisation: capacity,
            exclusive_consumer_tag: queue.exclusive_consumer.clone(),
            single_active_consumer_tag: queue.single_active_consumer.clone(),
            head_message_timestamp: queue.head_timestamp,
            idle_since: idle_since(queue, past).map(time::rfc3339),
            owner_pid_details: queue
                .owner()
                .and_then(|id| connections::ends(self.manage, id)),
            delivery_limit: queue.settings.delivery_limit,
            memory: holdings.memory_bytes,
            message_bytes: holdings.bytes(),
            message_bytes_paged_out: holdings.bytes()
                - holdings.resident_bytes.min(holdings.bytes()),
            message_bytes_persistent: holdings.durable_bytes,
            message_bytes_ram: holdings.resident_bytes,
            message_bytes_ready: holdings.ready_bytes,
            message_bytes_unacknowledged: holdings.in_flight_bytes,
            messages_paged_out: holdings.messages() - holdings.resident.min(holdings.messages()),
            messages_persistent: holdings.durable,
            messages_ram: holdings.resident,
            // Only messages that wait leave memory.
            messages_ready_ram: holdings.resident.saturating_sub(holdings.in_flight()),
            messages_unacknowledged_ram: holdings.in_flight(),
            messages_details: length(QueueNumbers::MESSAGES),
            messages_ready_details: length(QueueNumbers::READY),
            messages_unacknowledged_details: length(QueueNumbers::UNACKNOWLEDGED),
            message_stats: stats.unless_zero(),
            detail,
        }
    }
}

/// Since when the queue is idle; None while messages come or go.
fn idle_since(queue: &QueueSnapshot, past: Option<&History<11>>) -> Option<Timestamp> {
    let is_still = past.is_none_or(|past| past.is_empty() || past.still_since().is_some());
    let changed_at = past.and_then(History::still_since);
    changed_at.max(queue.idle_since).filter(|_| is_still)
}

/// The share of time in which consumers could take a message at once: whoever has messages waiting in front of consumers
/// has consumers that could not.
fn capacity(consumers: u64, ready: u64) -> f64 {
    if consumers > 0 && ready == 0 {
        1.0
    } else {
        0.0
    }
}
