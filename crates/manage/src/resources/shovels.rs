//! `/shovels`: shovels are kept as parameters and not run here, which is what their status says.

use axum::extract::State;
use serde::Serialize;
use serde_json::Value;

use super::Shared;
use super::parameters::ParameterRow;
use crate::Manage;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::reply::Answer;
use crate::request::{Names, Query};
use crate::time;

const COMPONENT: &str = "shovel";
/// Why none is running.
const NOT_RUN: &str = "this broker keeps shovels and does not run them";

/// How a shovel is doing, as it is shown.
#[derive(Serialize)]
struct Status {
    node: Box<str>,
    timestamp: String,
    name: Box<str>,
    vhost: Box<str>,
    r#type: &'static str,
    state: &'static str,
    reason: &'static str,
}

impl Row for Status {
    fn name(&self) -> &str {
        &self.name
    }

    fn group(&self) -> &str {
        &self.vhost
    }
}

/// The shovels of a vhost, or of all.
fn kept(manage: &Manage, vhost: Option<&str>) -> impl Iterator<Item = ParameterRow> {
    let parameters = manage.broker.admin().parameters().into_iter();
    let shovels = parameters.filter(move |parameter| {
        *parameter.component == *COMPONENT && vhost.is_none_or(|vhost| *parameter.vhost == *vhost)
    });
    shovels.map(ParameterRow::of)
}

fn answer(manage: &Manage, caller: &Caller, vhost: Option<&str>, query: &Query) -> Answer {
    caller.monitor()?;
    let timestamp = time::plain(manage.node.started_at);
    let status = |shovel: ParameterRow| Status {
        node: manage.node.name.as_str().into(),
        timestamp: timestamp.clone(),
        name: shovel.name,
        vhost: shovel.vhost,
        r#type: "dynamic",
        state: "terminated",
        reason: NOT_RUN,
    };
    listing::whole(kept(manage, vhost).map(status).collect(), query)
}

pub(crate) async fn list(State(manage): State<Shared>, caller: Caller, query: Query) -> Answer {
    answer(&manage, &caller, None, &query)
}

pub(crate) async fn list_in_vhost(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    answer(&manage, &caller, Some(&vhost), &query)
}

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.monitor()?;
    let mut found = kept(&manage, Some(&vhost)).filter(|shovel| *shovel.name == *name);
    let mut shovel = found.next().ok_or_else(Fault::not_found)?;
    for end in ["src-uri", "dest-uri"] {
        if let Some(uris) = shovel.value.get_mut(end) {
            hide_credentials(uris);
        }
    }
    Ok(listing::object(&shovel, &query))
}

/// A shovel that is not there is deleted already.
pub(crate) async fn delete(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Answer {
    caller.policymaker_of(&vhost, Fault::not_found)?;
    let admin = manage.broker.admin();
    manage
        .gone(admin.delete_parameter(COMPONENT, &vhost, &name))
        .await
}

/// Takes names and passwords out of an address, or out of each of a list.
fn hide_credentials(uris: &mut Value) {
    match uris {
        Value::String(uri) => {
            let authority = uri.find("://").map_or(0, |at| at + 3);
            let rest = uri[authority..]
                .find(['/', '?'])
                .map_or(uri.len(), |at| authority + at);
            if let Some(at) = uri[authority..rest].rfind('@') {
                uri.replace_range(authority..=authority + at, "");
            }
        }
        Value::Array(uris) => uris.iter_mut().for_each(hide_credentials),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_lose_their_credentials() {
        let mut uris = json!([
            "amqp://user:p@ss@host:5672/%2f?x=a@b",
            "amqps://host/v",
            "amqp://",
            "amqp://user:secret@host",
            "amqp://host?cacertfile=a@b",
            5
        ]);
        hide_credentials(&mut uris);
        assert_eq!(
            uris,
            json!([
                "amqp://host:5672/%2f?x=a@b",
                "amqps://host/v",
                "amqp://",
                "amqp://host",
                "amqp://host?cacertfile=a@b",
                5
            ])
        );
    }
}
