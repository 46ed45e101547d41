//! `/policies`, `/operator-policies`

use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use ternmq_broker::admin::PolicyInfo;
use ternmq_core::access::{ApplyTo, PolicyScope, PolicySpec};

use super::Shared;
use super::parameters::ParameterRow;
use crate::Manage;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::reply::Answer;
use crate::request::{Fields, Names, Payload, Query};
use crate::table::{self, Table};

/// A policy as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PolicyRow {
    vhost: Box<str>,
    name: Box<str>,
    pattern: Box<str>,
    #[serde(rename = "apply-to")]
    apply_to: &'static str,
    definition: Table,
    priority: i64,
}

impl Row for PolicyRow {
    fn name(&self) -> &str {
        &self.name
    }

    fn group(&self) -> &str {
        &self.vhost
    }
}

impl PolicyRow {
    pub(crate) fn of(info: PolicyInfo) -> Self {
        Self {
            vhost: info.vhost,
            name: info.name,
            pattern: info.policy.pattern,
            apply_to: info.policy.apply_to.name(),
            definition: Table(info.policy.definition),
            priority: info.policy.priority,
        }
    }
}

/// A policy as a parameter of a component, which is how definitions have those of operators.
pub(crate) fn as_parameter(info: PolicyInfo, component: &str) -> ParameterRow {
    let value = json!({
        "pattern": info.policy.pattern,
        "definition": Table(info.policy.definition),
        "priority": info.policy.priority,
        "apply-to": info.policy.apply_to.name(),
    });
    ParameterRow {
        value,
        vhost: info.vhost,
        component: component.into(),
        name: info.name,
    }
}

/// A policy as the fields describe it.
pub(crate) fn spec(fields: &Fields) -> Result<PolicySpec, Fault> {
    fields.require(&["pattern", "definition"])?;
    let apply_to = match fields.optional_text("apply-to")? {
        None => ApplyTo::All,
        Some(name) => ApplyTo::parse(name).ok_or_else(|| {
            Fault::invalid(&format!(
                "apply-to '{name}' unrecognised; should be one of: 'queues', 'classic_queues', 'quorum_queues', \
                 'streams', 'exchanges', or 'all'"
            ))
        })?,
    };
    let priority = match fields.get("priority") {
        None => 0,
        Some(value) => value.as_i64().ok_or_else(|| {
            Fault::invalid(&format!(
                "priority should be a number, actually was {value}"
            ))
        })?,
    };
    Ok(PolicySpec {
        pattern: fields.text("pattern")?.into(),
        apply_to,
        priority,
        definition: table::from_json(fields.get("definition"))?,
    })
}

/// Who may look at one policy of that scope, and set it. `missing` is what a vhost that is not there means.
fn check(
    scope: PolicyScope,
    caller: &Caller,
    vhost: &str,
    missing: fn() -> Fault,
) -> Result<(), Fault> {
    match scope {
        PolicyScope::User => caller.policymaker_of(vhost, missing),
        PolicyScope::Operator => {
            caller.administrator()?;
            caller.vhost_or(vhost, missing)
        }
    }
}

/// A kind of policies, each with paths of its own.
pub(crate) trait Scope: Send + 'static {
    /// Which.
    const SCOPE: PolicyScope;
}

/// `/policies`
pub(crate) struct OfUsers;

impl Scope for OfUsers {
    const SCOPE: PolicyScope = PolicyScope::User;
}

/// `/operator-policies`
pub(crate) struct OfOperators;

impl Scope for OfOperators {
    const SCOPE: PolicyScope = PolicyScope::Operator;
}

/// The policies of one scope in the vhosts that the user may look into.
fn seen(manage: &Manage, caller: &Caller, scope: PolicyScope) -> Vec<PolicyRow> {
    let vhosts = caller.seen_vhosts();
    let policies = manage.broker.admin().policies(scope).into_iter();
    let policies = policies.filter(|info| vhosts.contains(&*info.vhost));
    policies.map(PolicyRow::of).collect()
}

pub(crate) async fn list<S: Scope>(
    State(manage): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer {
    listing::whole(seen(&manage, &caller, S::SCOPE), &query)
}

pub(crate) async fn list_in_vhost<S: Scope>(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let mut policies = seen(&manage, &caller, S::SCOPE);
    policies.retain(|policy| *policy.vhost == *vhost);
    listing::whole(policies, &query)
}

pub(crate) async fn get<S: Scope>(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    check(S::SCOPE, &caller, &vhost, Fault::not_found)?;
    let mut policies = manage.broker.admin().policies(S::SCOPE).into_iter();
    let found = policies.find(|info| *info.vhost == *vhost && *info.name == *name);
    let row = PolicyRow::of(found.ok_or_else(Fault::not_found)?);
    Ok(listing::object(&row, &query))
}

pub(crate) async fn put<S: Scope>(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    payload: Payload,
) -> Answer {
    check(S::SCOPE, &caller, &vhost, Fault::no_vhost)?;
    let spec = spec(&payload.object()?)?;
    set(&manage, S::SCOPE, (&vhost, &name), spec).await
}

pub(crate) async fn delete<S: Scope>(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Answer {
    remove(&manage, &caller, S::SCOPE, (&vhost, &name)).await
}

/// Sets a policy of operators by its parameter.
pub(super) async fn put_parameter(manage: &Manage, place: (&str, &str), value: &Value) -> Answer {
    let not_an_object = || Fault::invalid(&format!("{} not a list {value}", place.1));
    let fields = value.as_object().ok_or_else(not_an_object)?;
    let spec = spec(&Fields(fields.clone()))?;
    set(manage, PolicyScope::Operator, place, spec).await
}

async fn set(
    manage: &Manage,
    scope: PolicyScope,
    (vhost, name): (&str, &str),
    spec: PolicySpec,
) -> Answer {
    let changed = manage.broker.admin().put_policy(scope, vhost, name, spec);
    let changed = changed.map_err(|refusal| Fault::of_validated(&refusal))?;
    Ok(manage.set(changed).await)
}

/// Deletes a policy, if the user may.
pub(super) async fn remove(
    manage: &Manage,
    caller: &Caller,
    scope: PolicyScope,
    (vhost, name): (&str, &str),
) -> Answer {
    check(scope, caller, vhost, Fault::not_found)?;
    let changed = manage.broker.admin().delete_policy(scope, vhost, name);
    Ok(manage.done(changed?).await)
}
