//! `/vhost-limits`, `/user-limits`

use axum::extract::State;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Value, json};
use ternmq_broker::admin::{Admin, AdminRefusal, LimitInfo};
use ternmq_core::access::{UserLimit, VhostLimit};

use super::Shared;
use super::parameters::ParameterRow;
use crate::Manage;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::reply::{self, Answer};
use crate::request::{Names, Payload, Query};

/// The component under which the limits of a vhost are one parameter, and its name.
pub(crate) const COMPONENT: &str = "vhost-limits";
pub(crate) const PARAMETER: &str = "limits";

/// Stands for a limit that is set to a negative number, which means none; such limits are kept and shown as they are.
const UNLIMITED: u64 = u64::MAX;

/// Limits by name, as an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits(Vec<(&'static str, u64)>);

impl Limits {
    pub(crate) fn of_user(limits: &[(UserLimit, u64)]) -> Self {
        Self(
            limits
                .iter()
                .map(|(limit, max)| (limit.name(), *max))
                .collect(),
        )
    }

    pub(crate) fn of_vhost(limits: &[(VhostLimit, u64)]) -> Self {
        Self(
            limits
                .iter()
                .map(|(limit, max)| (limit.name(), *max))
                .collect(),
        )
    }
}

impl Serialize for Limits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, max) in &self.0 {
            if *max == UNLIMITED {
                map.serialize_entry(name, &-1)?;
            } else {
                map.serialize_entry(name, max)?;
            }
        }
        map.end()
    }
}

/// A limit's value from JSON: a whole number, or what is wrong with it.
fn read_max(name: &str, value: &Value) -> Result<u64, String> {
    match (value.as_u64(), value.as_i64()) {
        (Some(max), _) => Ok(max),
        (None, Some(_)) => Ok(UNLIMITED),
        (None, None) => Err(format!("{name} should be a number, actually was {value}")),
    }
}

/// The same of a vhost's limit.
pub(crate) fn max(name: &str, value: &Value) -> Result<u64, Fault> {
    read_max(name, value).map_err(|wrong| Fault::invalid(&wrong))
}

/// The same of a user's limit, which RabbitMQ does not call a validation.
pub(crate) fn user_max(name: &str, value: &Value) -> Result<u64, Fault> {
    read_max(name, value).map_err(Fault::bad_request)
}

/// The limit of that name of a vhost.
pub(crate) fn vhost_limit(name: &str) -> Result<VhostLimit, Fault> {
    let unknown = || Fault::invalid(&format!("Unrecognised terms [{name}] in limits"));
    VhostLimit::parse(name).ok_or_else(unknown)
}

/// The limit of that name of a user.
pub(crate) fn user_limit(name: &str) -> Result<UserLimit, Fault> {
    let unknown = || Fault::bad_request(format!("Unrecognised terms [{name}] in user-limits"));
    UserLimit::parse(name).ok_or_else(unknown)
}

#[derive(Serialize)]
struct OfVhost {
    vhost: Box<str>,
    value: Limits,
}

impl Row for OfVhost {
    fn name(&self) -> &str {
        &self.vhost
    }
}

/// The limits of each vhost as a parameter.
pub(crate) fn as_parameters(admin: Admin<'_>) -> impl Iterator<Item = ParameterRow> {
    admin.vhost_limits().into_iter().map(|info| ParameterRow {
        value: json!(Limits::of_vhost(&info.limits)),
        vhost: info.name,
        component: COMPONENT.into(),
        name: PARAMETER.into(),
    })
}

/// Sets all limits of a vhost by its parameter: those that it does not name are lifted.
pub(super) async fn put_parameter(
    manage: &Manage,
    (vhost, name): (&str, &str),
    value: &Value,
) -> Answer {
    if name != PARAMETER {
        return Err(Fault::invalid(&format!("name not recognised: {name}")));
    }
    let not_an_object = || Fault::invalid(&format!("{PARAMETER} not a list {value}"));
    let given = value.as_object().ok_or_else(not_an_object)?;
    let mut limits = Vec::with_capacity(given.len());
    for (name, value) in given {
        limits.push((vhost_limit(name)?, max(name, value)?));
    }
    let is_new = !has_limits(manage, vhost);
    set_all(manage, vhost, &limits).await?;
    Ok(reply::put(is_new))
}

/// Lifts all limits of a vhost by its parameter.
pub(super) async fn delete_parameter(manage: &Manage, (vhost, name): (&str, &str)) -> Answer {
    if name != PARAMETER || !has_limits(manage, vhost) {
        return Err(Fault::not_found());
    }
    set_all(manage, vhost, &[]).await?;
    Ok(reply::done())
}

fn has_limits(manage: &Manage, vhost: &str) -> bool {
    let mut limits = manage.broker.admin().vhost_limits().into_iter();
    limits.any(|info| *info.name == *vhost)
}

async fn set_all(manage: &Manage, vhost: &str, limits: &[(VhostLimit, u64)]) -> Result<(), Fault> {
    let changed = manage.broker.admin().set_vhost_limits(vhost, limits);
    let changed = changed?;
    manage.durable(changed.lsn).await;
    Ok(())
}

#[derive(Serialize)]
struct OfUser {
    user: Box<str>,
    value: Limits,
}

impl Row for OfUser {
    fn name(&self) -> &str {
        &self.user
    }
}

fn of_vhost(info: LimitInfo<VhostLimit>) -> OfVhost {
    OfVhost {
        value: Limits::of_vhost(&info.limits),
        vhost: info.name,
    }
}

fn of_user(info: LimitInfo<UserLimit>) -> OfUser {
    OfUser {
        value: Limits::of_user(&info.limits),
        user: info.name,
    }
}

pub(crate) async fn list_vhosts(
    State(manage): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer {
    let seen = caller.known_vhosts();
    let limits = manage.broker.admin().vhost_limits().into_iter();
    let limits = limits.filter(|info| seen.contains(&*info.name));
    listing::whole(limits.map(of_vhost).collect(), &query)
}

pub(crate) async fn list_vhost(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.known_vhost(&vhost)?;
    let limits = manage.broker.admin().vhost_limits().into_iter();
    let limits = limits.filter(|info| *info.name == *vhost);
    listing::whole(limits.map(of_vhost).collect(), &query)
}

pub(crate) async fn put_vhost(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    payload: Payload,
) -> Answer {
    caller.administrator()?;
    let fields = payload.object()?;
    let max = max(&name, fields.required("value")?)?;
    let changed = manage
        .broker
        .admin()
        .put_vhost_limit(&vhost, vhost_limit(&name)?, max);
    Ok(manage.done(changed?).await)
}

/// A limit that is not set is lifted already.
pub(crate) async fn delete_vhost(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Answer {
    caller.administrator()?;
    let limit = vhost_limit(&name)?;
    manage
        .gone(manage.broker.admin().delete_vhost_limit(&vhost, limit))
        .await
}

pub(crate) async fn list_users(
    State(manage): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer {
    caller.administrator()?;
    let limits = manage.broker.admin().user_limits().into_iter();
    listing::whole(limits.map(of_user).collect(), &query)
}

pub(crate) async fn list_user(
    State(manage): State<Shared>,
    caller: Caller,
    Names(user): Names<String>,
    query: Query,
) -> Answer {
    if !caller.is_monitor() {
        caller.themselves(&user)?;
    }
    let admin = manage.broker.admin();
    admin.user(&user).ok_or_else(Fault::not_found)?;
    let limits = admin.user_limits().into_iter();
    let limits = limits.filter(|info| *info.name == *user);
    listing::whole(limits.map(of_user).collect(), &query)
}

pub(crate) async fn put_user(
    State(manage): State<Shared>,
    caller: Caller,
    Names((user, name)): Names<(String, String)>,
    payload: Payload,
) -> Answer {
    caller.administrator()?;
    let fields = payload.object()?;
    let max = user_max(&name, fields.required("value")?)?;
    let changed = manage
        .broker
        .admin()
        .put_user_limit(&user, user_limit(&name)?, max);
    let changed = changed.map_err(|refusal| match refusal {
        AdminRefusal::NoSuchUser => Fault::bad_request(serde_json::json!(["no_such_user", user])),
        refusal => Fault::of_admin(&refusal),
    })?;
    Ok(manage.done(changed).await)
}

/// A limit that is not set is lifted already.
pub(crate) async fn delete_user(
    State(manage): State<Shared>,
    caller: Caller,
    Names((user, name)): Names<(String, String)>,
) -> Answer {
    caller.administrator()?;
    let limit = user_limit(&name)?;
    manage
        .gone(manage.broker.admin().delete_user_limit(&user, limit))
        .await
}
