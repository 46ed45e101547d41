//! `/x/queues/:vhost/:name/redrive`, `/x/tasks`, `/x/tasks/:id`
//!
//! A message that died goes back to the queue it died in last, or to an exchange that is named. It is published first and
//! settled then, so a crash in between leaves two of it and never none.

use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;
use ternmq_core::access::Right;
use ternmq_core::error::Kind;

use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing;
use crate::redrive::{Order, TaskId};
use crate::reply::{self, Answer};
use crate::request::{Names, Payload, Query};
use crate::resources::Shared;

/// `{"filter": {"reason", "queue", "exchange", "headers"}, "to": {"exchange", "routing_key"}, "rate", "max", "dry_run"}`,
/// all optional. 202 and the task; with `dry_run` 200 and what would be moved.
pub(crate) async fn start(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    payload: Payload,
) -> Answer {
    caller.may(&vhost, Right::Read, (Kind::Queue, &name))?;
    let fields = payload.object()?;
    let order = Order::read(&vhost, &name, &fields)?;
    let queue = manage.broker.inspect().queue(&vhost, &name);
    let total = queue.ok_or_else(Fault::not_found)?.holdings.ready;
    if fields.flag("dry_run")? {
        return Ok(reply::json(&order.try_dry(&manage.broker, total)));
    }
    let client = caller.client(&vhost, Fault::not_found())?;
    let started = manage
        .redrives
        .start(order, client, (total, manage.broker.now()));
    let progress = started.ok_or_else(|| Fault::unavailable("too many tasks"))?;
    manage.wake();
    Ok(reply::json_with(StatusCode::ACCEPTED, &progress))
}

pub(crate) async fn list(State(manage): State<Shared>, caller: Caller, query: Query) -> Answer {
    let mut tasks = manage.redrives.all();
    tasks.retain(|task| caller.sees(&task.vhost));
    listing::list(tasks, &query)
}

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names(id): Names<u64>,
) -> Answer {
    let task = manage
        .redrives
        .get(TaskId(id))
        .ok_or_else(Fault::not_found)?;
    caller.vhost(&task.vhost)?;
    Ok(reply::json(&task))
}

/// What is moved stays moved.
pub(crate) async fn stop(
    State(manage): State<Shared>,
    caller: Caller,
    Names(id): Names<u64>,
) -> Answer {
    let task = manage
        .redrives
        .get(TaskId(id))
        .ok_or_else(Fault::not_found)?;
    caller.may(&task.vhost, Right::Read, (Kind::Queue, &task.queue))?;
    if !manage.redrives.stop(TaskId(id), manage.broker.now()) {
        return Err(Fault::bad_request(json!(["not_running", id])));
    }
    Ok(reply::done())
}
