//! Definitions: everything that is set or declared, as one JSON document. `/definitions`, `/definitions/:vhost`, and
//! files that are read at start.
//!
//! ```text
//! document ──read──► Plan ──check──► Plan, or every problem there is ──apply──► Report
//! ```
//!
//! An import is read and checked as a whole before the first change, does not depend on the order of what is in it, and
//! changes nothing when it is done again. What is declared already stays as it is.

mod apply;
mod check;
mod export;
mod files;
mod form;
mod read;
mod rehearse;

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use serde::Serialize;
use serde_json::Value;
use ternmq_broker::admin::{
    LimitInfo, ParameterInfo, PermissionInfo, PolicyInfo, TopicPermissionInfo, UserSpec,
};
use ternmq_broker::inspect::BindingSnapshot;
use ternmq_core::access::{UserLimit, VhostLimit, VhostSpec};
use ternmq_core::topology::{ExchangeDecl, QueueDecl};

use crate::auth::Caller;
use crate::fault::Fault;
use crate::reply::{self, Answer};
use crate::request::{Names, Payload, Query};
use crate::resources::Shared;

pub use files::ImportError;

/// What an import is to set and declare.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    users: Vec<(Box<str>, UserSpec)>,
    user_limits: Vec<(Box<str>, UserLimit, u64)>,
    vhosts: Vec<(Box<str>, VhostSpec)>,
    /// All limits of each vhost of which the document has any.
    vhost_limits: Vec<LimitInfo<VhostLimit>>,
    permissions: Vec<PermissionInfo>,
    topic_permissions: Vec<TopicPermissionInfo>,
    parameters: Vec<ParameterInfo>,
    global_parameters: Vec<(Box<str>, Box<str>)>,
    policies: Vec<PolicyInfo>,
    operator_policies: Vec<PolicyInfo>,
    queues: Vec<(Box<str>, QueueDecl)>,
    exchanges: Vec<(Box<str>, ExchangeDecl)>,
    bindings: Vec<BindingSnapshot>,
    /// What has no effect here, and why.
    warnings: Vec<String>,
}

/// What became of an import.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// By section of the document.
    pub sections: BTreeMap<&'static str, Outcome>,
    /// What has no effect here, and why.
    pub warnings: Vec<String>,
}

/// What became of the objects of one section.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Outcome {
    /// They are new.
    pub created: u64,
    /// They were there and are set again, or are declared already and stay.
    pub existing: u64,
}

pub(crate) async fn export(State(manage): State<Shared>, caller: Caller, query: Query) -> Answer {
    caller.administrator()?;
    Ok(download(reply::json(&export::all(&manage)), &query))
}

pub(crate) async fn export_vhost(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.administrator()?;
    let missing = || Fault::bad_request("vhost_not_found");
    let exported = export::vhost(&manage, &vhost).ok_or_else(missing)?;
    Ok(download(reply::json(&exported), &query))
}

/// A browser saves the answer as a file, if it is asked to.
fn download(mut response: axum::response::Response, query: &Query) -> axum::response::Response {
    let name = query.get("download").filter(|name| !name.is_empty());
    let value = name.and_then(|name| {
        let name = name.replace(['"', '\\'], "");
        HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")).ok()
    });
    let headers = response.headers_mut();
    headers.extend(value.map(|value| (header::CONTENT_DISPOSITION, value)));
    response
}

pub(crate) async fn import(
    State(manage): State<Shared>,
    caller: Caller,
    query: Query,
    payload: Payload,
) -> Answer {
    caller.administrator()?;
    import_payload(&manage, &payload, None, &query).await
}

pub(crate) async fn import_vhost(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
    payload: Payload,
) -> Answer {
    caller.administrator()?;
    manage
        .broker
        .admin()
        .vhost(&vhost)
        .ok_or_else(Fault::no_vhost)?;
    import_payload(&manage, &payload, Some(&vhost), &query).await
}

/// Whoever asks for `report=true` reads what became of it.
async fn import_payload(
    manage: &Shared,
    payload: &Payload,
    vhost: Option<&str>,
    query: &Query,
) -> Answer {
    let document = form::document(payload)?;
    let Ok(Value::Object(document)) = serde_json::from_slice(&document) else {
        return Err(Fault::bad_request("failed_to_parse_json"));
    };
    let plan = read::plan(manage, &document, vhost).and_then(|plan| check::check(manage, plan));
    let plan = plan.map_err(|problems| Fault::bad_request(problems.to_string()))?;
    let (report, lsn) = apply::apply(manage, &plan)?;
    manage.durable(lsn).await;
    tracing::info!(?report, "definitions imported");
    if query.is_true("report") {
        return Ok(reply::json(&report));
    }
    Ok(reply::done())
}
