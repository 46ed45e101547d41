//! One task: looks at the messages of a queue one by one, and sends back those it is for.

use serde::Serialize;
use ternmq_broker::{Broker, Client, Got, Turn};
use ternmq_core::id::{Position, Timestamp};
use ternmq_core::message::Message;
use ternmq_core::queue::Outcome;
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;

use super::TaskId;
use super::order::{Order, Place};
use crate::listing::Row;
use crate::time;

/// Messages that a task looks at in one go.
const STEP_MAX: u64 = 512;
/// Messages that a task leaves alone and holds until it ends, so that it does not meet them again.
const HELD_MAX: usize = 100_000;

/// How far a task is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Progress {
    id: TaskId,
    pub(crate) vhost: Box<str>,
    pub(crate) queue: Box<str>,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    total: u64,
    seen: u64,
    moved: u64,
    /// Not what the task is for.
    skipped: u64,
    /// Nobody took them.
    failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u64>,
    started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
}

impl Row for Progress {
    fn name(&self) -> &str {
        &self.queue
    }

    fn group(&self) -> &str {
        &self.vhost
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Running,
    Done,
    Stopped,
    Failed,
}

/// See the module's documentation.
pub(super) struct Task {
    progress: Progress,
    order: Order,
    /// None once it has ended.
    client: Option<Client>,
    held: Vec<Got>,
    ran_at: Timestamp,
}

/// What became of a message.
enum Fate {
    Moved,
    Skipped,
    Refused,
}

impl Task {
    pub(super) fn new(
        id: TaskId,
        order: Order,
        client: Client,
        (total, now): (u64, Timestamp),
    ) -> Self {
        let progress = Progress {
            id,
            vhost: order.vhost.clone(),
            queue: order.queue.clone(),
            state: State::Running,
            reason: None,
            total,
            seen: 0,
            moved: 0,
            skipped: 0,
            failed: 0,
            rate: order.rate,
            started_at: time::rfc3339(now),
            ended_at: None,
        };
        Self {
            progress,
            order,
            client: Some(client),
            held: Vec::new(),
            ran_at: now,
        }
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    pub(super) fn is_running(&self) -> bool {
        self.client.is_some()
    }

    pub(super) fn due_at(&self, step_ms: u64) -> Option<Timestamp> {
        self.is_running().then(|| self.ran_at.plus_ms(step_ms))
    }

    pub(super) fn stop(&mut self, now: Timestamp) -> bool {
        let ran = self.is_running();
        if ran {
            self.end(State::Stopped, None, now);
        }
        ran
    }

    /// Looks at as many messages as the rate allows for the time since it did last.
    pub(super) fn run(&mut self, broker: &Broker, now: Timestamp) {
        if broker.is_blocked() {
            self.ran_at = now;
            return;
        }
        let ms = now.since(self.ran_at);
        let allowed = self
            .order
            .rate
            .map_or(STEP_MAX, |rate| rate.saturating_mul(ms) / 1000);
        if allowed == 0 {
            return;
        }
        self.ran_at = now;
        for _ in 0..allowed.min(STEP_MAX) {
            let is_enough = self.order.max.is_some_and(|max| self.progress.moved >= max);
            if is_enough || self.progress.seen >= self.progress.total {
                self.end(State::Done, None, now);
                return;
            }
            if self.held.len() >= HELD_MAX {
                let reason = format!("{HELD_MAX} messages are left alone already");
                self.end(State::Failed, Some(reason), now);
                return;
            }
            match self.next(now) {
                Ok(true) => {}
                Ok(false) => {
                    self.end(State::Done, None, now);
                    return;
                }
                Err(reason) => {
                    self.end(State::Failed, Some(reason), now);
                    return;
                }
            }
        }
    }

    /// The next message. False if there is none.
    fn next(&mut self, now: Timestamp) -> Result<bool, String> {
        let Some(client) = &mut self.client else {
            return Ok(false);
        };
        let got = client
            .get(&self.order.queue, false)
            .map_err(|refusal| refusal.to_string())?;
        let Some(got) = got else { return Ok(false) };
        self.progress.seen += 1;
        let fate = match self.order.place(&got.delivery.message) {
            None => Fate::Skipped,
            Some(place) => send(client, &got.delivery.message, &place, now)?,
        };
        match fate {
            Fate::Moved => {
                self.progress.moved += 1;
                client.settle(&got.queue, &[got.delivery.position], Outcome::Ack, now);
                return Ok(true);
            }
            Fate::Skipped => self.progress.skipped += 1,
            Fate::Refused => self.progress.failed += 1,
        }
        self.held.push(got);
        Ok(true)
    }

    /// What was left alone goes back to its place.
    fn end(&mut self, state: State, reason: Option<String>, now: Timestamp) {
        if let Some(mut client) = self.client.take() {
            for got in self.held.drain(..) {
                let position: [Position; 1] = [got.delivery.position];
                client.settle(&got.queue, &position, Outcome::Untouched, now);
            }
        }
        self.held = Vec::new();
        self.progress.state = state;
        self.progress.reason = reason;
        self.progress.ended_at = Some(time::rfc3339(now));
        let Progress { seen, moved, .. } = self.progress;
        let (vhost, queue) = (&*self.order.vhost, &*self.order.queue);
        tracing::info!(vhost, queue, seen, moved, ?state, "redrive ended");
    }
}

/// Publishes a copy that has never died.
fn send(
    client: &mut Client,
    message: &Message,
    place: &Place,
    now: Timestamp,
) -> Result<Fate, String> {
    let request = RouteRequest {
        exchange: place.exchange.as_bytes(),
        routing_key: place.routing_key.as_bytes(),
        key_syntax: KeySyntax::Dotted,
        extra_keys: &[],
        headers: &|| message.properties().headers,
        properties: &|| message.properties(),
        publisher: None,
        from_client: true,
    };
    let route = client
        .route(&request)
        .map_err(|refusal| refusal.to_string())?;
    if route.is_unroutable() {
        return Ok(Fate::Refused);
    }
    let mut new = message.to_new();
    new.exchange = place.exchange.as_bytes();
    new.routing_key = place.routing_key.as_bytes();
    new.key_syntax = KeySyntax::Dotted;
    new.received_at = now;
    new.extras = None;
    let copy = new.build(client.scratch());
    let mut turn = Turn::new();
    turn.push(copy, route);
    let published = client.publish(&mut turn, now);
    Ok(if published.rejected.is_empty() {
        Fate::Moved
    } else {
        Fate::Refused
    })
}
