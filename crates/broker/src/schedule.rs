//! Messages that are published later: delayed wills.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use ternmq_core::error::Refusal;
use ternmq_core::id::Timestamp;
use ternmq_core::message::Message;
use ternmq_core::routing::RouteRequest;

use crate::broker::{Broker, Inner};
use crate::client::Client;
use crate::publish::Turn;
use crate::vhost::Vhost;
use crate::work::Work;

/// Messages that one tick publishes, at most; what is left is due at once.
const SCHEDULED_PER_TICK_MAX: usize = 256;

/// Names a scheduled message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ScheduleId(u64);

/// A message that waits for its time.
struct Scheduled {
    at: Timestamp,
    vhost: Arc<Vhost>,
    message: Message,
    retain: bool,
}

/// All of them, by time and by id.
pub(crate) struct Schedule {
    messages_max: usize,
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_id: u64,
    by_id: HashMap<ScheduleId, Scheduled, FixedState>,
    by_time: BTreeSet<(Timestamp, ScheduleId)>,
    bytes: usize,
}

impl State {
    fn take(&mut self, id: ScheduleId) -> Option<Scheduled> {
        let scheduled = self.by_id.remove(&id)?;
        self.by_time.remove(&(scheduled.at, id));
        self.bytes -= scheduled.message.resident_bytes();
        Some(scheduled)
    }
}

impl Schedule {
    pub(crate) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            messages_max,
            bytes_max,
            state: Mutex::default(),
        }
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.state.lock().by_time.first().map(|(at, _)| *at)
    }

    fn add(&self, scheduled: Scheduled) -> Result<ScheduleId, Refusal> {
        let mut state = self.state.lock();
        if state.by_id.len() >= self.messages_max {
            return Err(Refusal::LimitReached {
                limit: "scheduled_max",
                max: self.messages_max as u64,
            });
        }
        let bytes = state.bytes + scheduled.message.resident_bytes();
        if bytes > self.bytes_max {
            return Err(Refusal::LimitReached {
                limit: "scheduled_bytes_max",
                max: self.bytes_max as u64,
            });
        }
        state.bytes = bytes;
        state.last_id += 1;
        let id = ScheduleId(state.last_id);
        state.by_time.insert((scheduled.at, id));
        state.by_id.insert(id, scheduled);
        Ok(id)
    }

    fn pop(&self, now: Timestamp) -> Option<Scheduled> {
        let mut state = self.state.lock();
        let (_, id) = *state.by_time.first().filter(|(at, _)| *at <= now)?;
        state.take(id)
    }
}

impl Client {
    /// Publishes `message` at `at`, wherever its exchange and routing key lead then, whether or not this connection
    /// still lives. With `retain`, it is retained as well; one without a body makes its topic forgotten.
    ///
    /// # Errors
    /// [`Refusal::LimitReached`].
    pub fn schedule(
        &mut self,
        at: Timestamp,
        message: Message,
        retain: bool,
    ) -> Result<ScheduleId, Refusal> {
        let id = self.broker.schedule.add(Scheduled {
            at,
            vhost: self.vhost.clone(),
            message,
            retain,
        })?;
        self.broker.timers.wake();
        Ok(id)
    }
}

impl Broker {
    /// Forgets a scheduled message. Returns whether it was still waiting.
    pub fn cancel_scheduled(&self, id: ScheduleId) -> bool {
        self.0.schedule.state.lock().take(id).is_some()
    }

    /// Publishes a scheduled message now. Returns whether it was still waiting.
    pub fn fire_scheduled(&self, id: ScheduleId) -> bool {
        let _inside = self.0.gate.enter();
        let scheduled = self.0.schedule.state.lock().take(id);
        let Some(scheduled) = scheduled else {
            return false;
        };
        self.0
            .publish_scheduled(scheduled, &mut Work::default(), self.now());
        true
    }
}

impl Inner {
    pub(crate) fn publish_due(&self, work: &mut Work, now: Timestamp) {
        for _ in 0..SCHEDULED_PER_TICK_MAX {
            let Some(scheduled) = self.schedule.pop(now) else {
                break;
            };
            self.publish_scheduled(scheduled, work, now);
        }
    }

    fn publish_scheduled(&self, scheduled: Scheduled, work: &mut Work, now: Timestamp) {
        let Scheduled {
            vhost,
            message,
            retain,
            ..
        } = scheduled;
        // Its time to live counts from now on.
        let mut parts = message.to_new();
        parts.received_at = now;
        let message = parts.build(&mut work.scratch);
        let headers = || message.properties().headers;
        let request = RouteRequest {
            exchange: message.exchange(),
            routing_key: message.routing_key(),
            key_syntax: message.key_syntax(),
            extra_keys: &[],
            headers: &headers,
            properties: &|| message.properties(),
            publisher: message.publisher(),
            from_client: true,
        };
        let routes = &mut work.routes;
        let route = vhost.read(|space| {
            space.topology.route(&request, routes)?;
            Ok::<_, Refusal>(Arc::new(space.resolve(routes)))
        });
        if retain {
            let kept = (!message.body().is_empty()).then(|| message.clone());
            if let Err(refusal) = self.retain(&vhost, message.routing_key(), kept, work) {
                tracing::warn!(%refusal, "scheduled message not retained");
            }
        }
        match route {
            Ok(route) => {
                let mut turn = Turn::new();
                turn.push(message, route);
                self.publish(&mut turn, None, (work, &mut Vec::new()), now);
            }
            Err(refusal) => tracing::debug!(%refusal, "scheduled message dropped"),
        }
    }
}
