//! `/x/mqtt/sessions/:vhost`, `/x/mqtt/sessions/:vhost/:client`, `/x/mqtt/shares/:vhost`

use std::collections::HashSet;

use axum::extract::State;
use serde::Serialize;
use ternmq_mqtt::look::{SessionInfo, ShareInfo, SubscriptionInfo};

use crate::Manage;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::reply::{self, Answer};
use crate::request::{Names, Query};
use crate::resources::Shared;
use crate::time;

#[derive(Serialize)]
struct SessionRow {
    client_id: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Box<str>>,
    connected: bool,
    expiry_s: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    subscriptions: Vec<SubscriptionRow>,
    in_flight: usize,
    pending: usize,
    unreleased: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
}

#[derive(Serialize)]
struct SubscriptionRow {
    filter: String,
    qos: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    shared: bool,
}

#[derive(Serialize)]
struct ShareRow {
    filter: Box<str>,
    queue: String,
    members: usize,
}

impl Row for SessionRow {
    fn name(&self) -> &str {
        &self.client_id
    }
}

impl Row for ShareRow {
    fn name(&self) -> &str {
        &self.filter
    }
}

impl SessionRow {
    fn of(info: SessionInfo) -> Self {
        let subscription = |s: &SubscriptionInfo| SubscriptionRow {
            filter: s.filter.to_string(),
            qos: s.qos,
            id: s.id,
            shared: s.shared,
        };
        Self {
            client_id: info.client_id,
            user: info.user,
            connected: info.connected,
            expiry_s: info.expiry_s,
            expires_at: info.expires_at.map(time::rfc3339),
            subscriptions: info.subscriptions.iter().map(subscription).collect(),
            in_flight: info.in_flight,
            pending: info.pending,
            unreleased: info.unreleased,
            queue: info.queue.map(|queue| queue.to_string()),
        }
    }
}

pub(crate) async fn list(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let sessions = seen(&manage, &caller, &vhost).into_iter();
    listing::list(sessions.map(SessionRow::of).collect(), &query)
}

/// Whoever may not see all connections sees the sessions of their own.
fn seen(manage: &Manage, caller: &Caller, vhost: &str) -> Vec<SessionInfo> {
    let mqtt = manage.mqtt();
    let mut sessions = mqtt.map(|mqtt| mqtt.sessions(vhost)).unwrap_or_default();
    sessions.retain(|session| caller.sees_those_of(session.user.as_deref()));
    sessions
}

/// One of them.
fn find(
    manage: &Manage,
    caller: &Caller,
    (vhost, client_id): (&str, &str),
) -> Result<SessionInfo, Fault> {
    let session = manage
        .mqtt()
        .and_then(|mqtt| mqtt.session(vhost, client_id));
    let session = session.filter(|session| caller.sees_those_of(session.user.as_deref()));
    session.ok_or_else(Fault::not_found)
}

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, client_id)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let session = find(&manage, &caller, (&vhost, &client_id))?;
    Ok(listing::object(&SessionRow::of(session), &query))
}

/// Ends a session. Its client, if there is one, is told to go, and why only in the log.
pub(crate) async fn end(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, client_id)): Names<(String, String)>,
) -> Answer {
    caller.policymaker_of(&vhost, Fault::not_found)?;
    find(&manage, &caller, (&vhost, &client_id))?;
    let why = format!("session ended by {}", caller.name());
    let ended = manage
        .mqtt()
        .and_then(|mqtt| mqtt.end_session(&vhost, &client_id, &why));
    let lsn = ended.ok_or_else(Fault::not_found)?;
    tracing::info!(vhost, client_id, user = caller.name(), "MQTT session ended");
    manage.durable(lsn).await;
    Ok(reply::done())
}

/// Whoever may not see all sessions sees the groups that their own are in.
pub(crate) async fn shares(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let mqtt = manage.mqtt();
    let mut shares = mqtt.map(|mqtt| mqtt.shares(&vhost)).unwrap_or_default();
    if !caller.is_monitor() {
        let own = seen(&manage, &caller, &vhost);
        let own = own.iter().flat_map(|session| &session.subscriptions);
        let filters: HashSet<&str> = own.map(|subscription| &*subscription.filter).collect();
        shares.retain(|share| filters.contains(&*share.filter));
    }
    let row = |info: ShareInfo| ShareRow {
        filter: info.filter,
        queue: info.queue.to_string(),
        members: info.members,
    };
    listing::list(shares.into_iter().map(row).collect(), &query)
}
