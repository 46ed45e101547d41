//! Changes of queues: `PUT` and `DELETE /queues/:vhost/:name`, `/contents`, `/actions`.

use axum::extract::State;
use ternmq_broker::DeleteIf;
use ternmq_core::error::Refusal;
use ternmq_core::topology::QueueDecl;
use ternmq_core::value::Value;

use super::Shared;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::reply::{self, Answer};
use crate::request::{Names, Payload, Query, declared_name};
use crate::table;

const QUEUE_TYPE: &str = "x-queue-type";

pub(crate) async fn put(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    payload: Payload,
) -> Answer {
    let fields = payload.object()?;
    let name = declared_name("queue", &name)?;
    let mut client = caller.client(&vhost, Fault::no_vhost())?;
    if let Some(node) = fields.optional_text("node")?
        && node != manage.node.name
    {
        return Err(Fault::bad_request(format!(
            "Node {node} could not be contacted"
        )));
    }
    let mut arguments = table::from_json(fields.get("arguments"))?;
    if let Some(kind) = fields.optional_text("type")?
        && arguments.get(QUEUE_TYPE).is_none()
    {
        arguments.push(QUEUE_TYPE, Value::text(kind));
    }
    let decl = QueueDecl {
        name,
        durable: fields.flag("durable")?,
        exclusive: None,
        auto_delete: fields.flag("auto_delete")?,
        arguments,
    };
    let declared = client
        .declare_queue(decl)
        .map_err(|refusal| Fault::of_refusal(&refusal, &vhost, caller.name()))?;
    manage.durable(client.declared()).await;
    Ok(reply::put(declared.created))
}

pub(crate) async fn delete(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    let mut client = caller.client(&vhost, Fault::not_found())?;
    let only = DeleteIf {
        unused: query.is_true("if-unused"),
        empty: query.is_true("if-empty"),
    };
    client
        .delete_queue(&name, only)
        .map_err(|refusal| gone_or_refused(&refusal, &vhost, &caller))?;
    manage.durable(client.declared()).await;
    Ok(reply::done())
}

pub(crate) async fn purge(caller: Caller, Names((vhost, name)): Names<(String, String)>) -> Answer {
    let mut client = caller.client(&vhost, Fault::not_found())?;
    client
        .purge_queue(&name)
        .map_err(|refusal| gone_or_refused(&refusal, &vhost, &caller))?;
    Ok(reply::done())
}

/// Mirrors that could be synchronised are not there, so there is nothing to do; scripts expect that it can be asked for.
pub(crate) async fn action(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    payload: Payload,
) -> Answer {
    caller.administrator()?;
    let queue = manage.broker.inspect().queue(&vhost, &name);
    queue.ok_or_else(Fault::not_found)?;
    let fields = payload.object()?;
    match fields.text("action")? {
        "sync" | "cancel_sync" => Ok(reply::done()),
        other => Err(Fault::bad_request(serde_json::json!(["unknown", other]))),
    }
}

/// The queue is what the path names, so its absence is that of the object.
fn gone_or_refused(refusal: &Refusal, vhost: &str, caller: &Caller) -> Fault {
    match refusal {
        Refusal::NotFound { .. } => Fault::not_found(),
        refusal => Fault::of_refusal(refusal, vhost, caller.name()),
    }
}
