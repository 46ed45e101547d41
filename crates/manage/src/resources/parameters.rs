//! `/parameters`, `/global-parameters`, `/cluster-name`

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};
use ternmq_broker::admin::ParameterInfo;
use ternmq_core::access::PolicyScope;

use super::{Shared, limits, parameter_rules, policies};
use crate::Manage;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::reply::{self, Answer};
use crate::request::{Names, Payload, Query};

/// Operator policies are shown as parameters of this component.
pub(crate) const OPERATOR_POLICY: &str = "operator_policy";
/// The parameter that is the cluster's name.
const CLUSTER_NAME: &str = "cluster_name";
const CLUSTER_ID: &str = "internal_cluster_id";

/// A parameter as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ParameterRow {
    pub(crate) value: Value,
    pub(crate) vhost: Box<str>,
    pub(crate) component: Box<str>,
    pub(crate) name: Box<str>,
}

impl Row for ParameterRow {
    fn name(&self) -> &str {
        &self.name
    }

    fn group(&self) -> &str {
        &self.component
    }
}

impl ParameterRow {
    pub(crate) fn of(info: ParameterInfo) -> Self {
        Self {
            value: parse(&info.value),
            vhost: info.vhost,
            component: info.component,
            name: info.name,
        }
    }
}

/// What is kept is JSON.
pub(crate) fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// A parameter of the node as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GlobalRow {
    pub(crate) name: Box<str>,
    pub(crate) value: Value,
}

impl Row for GlobalRow {
    fn name(&self) -> &str {
        &self.name
    }
}

fn all(manage: &Manage, caller: &Caller) -> Vec<ParameterRow> {
    let admin = manage.broker.admin();
    let mut rows: Vec<ParameterRow> = admin
        .parameters()
        .into_iter()
        .map(ParameterRow::of)
        .collect();
    let operators = admin.policies(PolicyScope::Operator);
    rows.extend(
        operators
            .into_iter()
            .map(|info| policies::as_parameter(info, OPERATOR_POLICY)),
    );
    rows.extend(limits::as_parameters(admin));
    let seen = caller.seen_vhosts();
    rows.retain(|row| seen.contains(&*row.vhost));
    rows
}

pub(crate) async fn list(State(manage): State<Shared>, caller: Caller, query: Query) -> Answer {
    caller.policymaker()?;
    listing::whole(all(&manage, &caller), &query)
}

pub(crate) async fn list_component(
    State(manage): State<Shared>,
    caller: Caller,
    Names(component): Names<String>,
    query: Query,
) -> Answer {
    caller.policymaker()?;
    let mut rows = all(&manage, &caller);
    rows.retain(|row| *row.component == *component);
    listing::whole(rows, &query)
}

pub(crate) async fn list_component_in_vhost(
    State(manage): State<Shared>,
    caller: Caller,
    Names((component, vhost)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.policymaker_of(&vhost, Fault::not_found)?;
    let mut rows = all(&manage, &caller);
    rows.retain(|row| *row.component == *component && *row.vhost == *vhost);
    listing::whole(rows, &query)
}

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names((component, vhost, name)): Names<(String, String, String)>,
    query: Query,
) -> Answer {
    caller.policymaker_of(&vhost, Fault::not_found)?;
    let mut rows = all(&manage, &caller).into_iter();
    let is_it =
        |r: &ParameterRow| *r.component == *component && *r.vhost == *vhost && *r.name == *name;
    let row = rows.find(is_it).ok_or_else(Fault::not_found)?;
    Ok(listing::object(&row, &query))
}

/// Refuses a parameter of a component that nobody knows, and one that says what its component does not understand.
pub(crate) fn check(component: &str, name: &str, value: &Value) -> Result<(), Fault> {
    let faults = parameter_rules::faults(component, name, value);
    if faults.is_empty() {
        return Ok(());
    }
    Err(Fault::invalid(&faults.join("\n")))
}

pub(crate) async fn put(
    State(manage): State<Shared>,
    caller: Caller,
    Names((component, vhost, name)): Names<(String, String, String)>,
    payload: Payload,
) -> Answer {
    caller.policymaker_of(&vhost, Fault::no_vhost)?;
    let fields = payload.object()?;
    let value = fields.required("value")?;
    match &*component {
        OPERATOR_POLICY => {
            caller.administrator()?;
            return policies::put_parameter(&manage, (&vhost, &name), value).await;
        }
        limits::COMPONENT => {
            caller.administrator()?;
            return limits::put_parameter(&manage, (&vhost, &name), value).await;
        }
        _ => check(&component, &name, value)?,
    }
    let changed = manage
        .broker
        .admin()
        .put_parameter((&component, &vhost, &name), &value.to_string());
    Ok(manage.set(changed?).await)
}

pub(crate) async fn delete(
    State(manage): State<Shared>,
    caller: Caller,
    Names((component, vhost, name)): Names<(String, String, String)>,
) -> Answer {
    caller.policymaker_of(&vhost, Fault::not_found)?;
    match &*component {
        OPERATOR_POLICY => {
            let scope = PolicyScope::Operator;
            return policies::remove(&manage, &caller, scope, (&vhost, &name)).await;
        }
        limits::COMPONENT => {
            caller.administrator()?;
            return limits::delete_parameter(&manage, (&vhost, &name)).await;
        }
        _ => {}
    }
    let changed = manage
        .broker
        .admin()
        .delete_parameter(&component, &vhost, &name);
    Ok(manage.done(changed?).await)
}

/// The parameters of the node, as they are shown.
pub(crate) fn globals(manage: &Manage) -> Vec<GlobalRow> {
    let globals = manage.broker.admin().global_parameters().into_iter();
    let row = |(name, value): (Box<str>, Box<str>)| GlobalRow {
        name,
        value: parse(&value),
    };
    globals.map(row).collect()
}

pub(crate) async fn list_global(
    State(manage): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer {
    caller.policymaker()?;
    listing::whole(globals(&manage), &query)
}

pub(crate) async fn get_global(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    caller.policymaker()?;
    let row = globals(&manage).into_iter().find(|row| *row.name == *name);
    Ok(listing::object(&row.ok_or_else(Fault::not_found)?, &query))
}

pub(crate) async fn put_global(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
    payload: Payload,
) -> Answer {
    caller.policymaker()?;
    let fields = payload.object()?;
    let value = fields.required("value")?.to_string();
    let changed = manage.broker.admin().put_global_parameter(&name, &value);
    Ok(manage.set(changed?).await)
}

pub(crate) async fn delete_global(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer {
    caller.policymaker()?;
    let changed = manage.broker.admin().delete_global_parameter(&name);
    Ok(manage.done(changed?).await)
}

/// The cluster's name: as it was set, else as the configuration has it.
pub(crate) fn cluster_name(manage: &Manage) -> String {
    let globals = manage.broker.admin().global_parameters();
    let set = globals.iter().find(|(name, _)| &**name == CLUSTER_NAME);
    let set = set.and_then(|(_, value)| parse(value).as_str().map(str::to_owned));
    set.unwrap_or_else(|| manage.broker.announced().cluster_name.to_string())
}

/// The cluster's identity, once it has one.
pub(crate) fn cluster_id(manage: &Manage) -> Option<String> {
    let globals = manage.broker.admin().global_parameters();
    let set = globals.iter().find(|(name, _)| &**name == CLUSTER_ID);
    set.and_then(|(_, value)| parse(value).as_str().map(str::to_owned))
}

/// Gives the cluster an identity unless it has one: it stays the same, whatever else is renamed.
pub(crate) fn identify_cluster(manage: &Manage) {
    if cluster_id(manage).is_some() {
        return;
    }
    let mut random = [0; 16];
    if let Err(error) = getrandom::fill(&mut random) {
        tracing::error!(%error, "the system has no random bytes: the cluster stays without an identity");
        return;
    }
    let id = format!("rabbitmq-cluster-id-{}", URL_SAFE_NO_PAD.encode(random));
    let admin = manage.broker.admin();
    if let Err(error) = admin.put_global_parameter(CLUSTER_ID, &Value::from(id).to_string()) {
        tracing::error!(%error, "the cluster's identity cannot be kept");
    }
}

pub(crate) async fn get_cluster_name(State(manage): State<Shared>, _: Caller) -> Answer {
    Ok(reply::json(&json!({"name": cluster_name(&manage)})))
}

pub(crate) async fn put_cluster_name(
    State(manage): State<Shared>,
    caller: Caller,
    payload: Payload,
) -> Answer {
    caller.administrator()?;
    let fields = payload.object()?;
    let value = Value::from(fields.text("name")?).to_string();
    let changed = manage
        .broker
        .admin()
        .put_global_parameter(CLUSTER_NAME, &value);
    Ok(manage.done(changed?).await)
}
