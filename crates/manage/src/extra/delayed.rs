//! `/x/delayed/:vhost`, `/x/delayed/:vhost/:id`

use std::collections::HashMap;

use axum::extract::State;
use serde::Serialize;
use ternmq_broker::{ScheduleId, ScheduledInfo};
use ternmq_core::access::Right;
use ternmq_core::error::Kind;

use super::number;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::reply::{self, Answer};
use crate::request::{Names, Query};
use crate::resources::Shared;
use crate::time;

/// Messages that one answer holds, at most, and unless the request says otherwise.
const COUNT_MAX: u64 = 1_000;
const COUNT: u64 = 100;

#[derive(Serialize)]
struct Shown {
    id: u64,
    exchange: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_key: Option<String>,
    due_at: String,
    due_in_ms: u64,
    payload_bytes: usize,
    durable: bool,
}

/// In the order in which they are due; `after` names the last one of the answer before. Where they go is not shown to
/// those who may not read from the exchange.
pub(crate) async fn list(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let after = match query.get("after") {
        None => None,
        Some(id) => {
            let info = find(&manage, &vhost, id)?;
            Some((info.at, info.id))
        }
    };
    let count = number(&query, "count", COUNT).min(COUNT_MAX);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let now = manage.broker.now();
    let mut known: HashMap<Box<str>, bool> = HashMap::new();
    let mut may_read = |exchange: &str| {
        let may = || caller.may(&vhost, Right::Read, (Kind::Exchange, exchange));
        *known
            .entry(exchange.into())
            .or_insert_with(|| may().is_ok())
    };
    let shown = manage
        .broker
        .scheduled(&vhost, after, count)
        .into_iter()
        .map(|info| Shown {
            id: info.id.0,
            routing_key: may_read(&info.exchange)
                .then(|| String::from_utf8_lossy(&info.routing_key).into_owned()),
            due_at: time::rfc3339(info.at),
            due_in_ms: info.at.since(now),
            payload_bytes: info.body_bytes,
            durable: info.durable,
            exchange: info.exchange,
        });
    Ok(reply::json(&shown.collect::<Vec<_>>()))
}

pub(crate) async fn cancel(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, id)): Names<(String, String)>,
) -> Answer {
    caller.vhost(&vhost)?;
    let info = find(&manage, &vhost, &id)?;
    caller.may(&vhost, Right::Configure, (Kind::Exchange, &info.exchange))?;
    let lsn = manage
        .broker
        .cancel_scheduled(info.id)
        .ok_or_else(Fault::not_found)?;
    manage.durable(lsn).await;
    Ok(reply::done())
}

fn find(manage: &Shared, vhost: &str, id: &str) -> Result<ScheduledInfo, Fault> {
    let id = id.parse().map_err(|_| Fault::not_found())?;
    let info = manage.broker.scheduled_message(ScheduleId(id));
    info.filter(|info| *info.vhost == *vhost)
        .ok_or_else(Fault::not_found)
}
