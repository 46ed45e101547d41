//! `/vhosts`

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;
use ternmq_broker::admin::VhostInfo;
use ternmq_core::access::{Permission, VhostSpec};

use super::{Shared, users};
use crate::Manage;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::rates::{Details, Measures, Numbers as _, Past, Ranges, VhostNumbers};
use crate::reply::{self, Answer};
use crate::request::{Fields, Names, Payload, Query};

/// The type of queues that are declared without one, where nothing else is set.
pub(crate) const DEFAULT_QUEUE_TYPE: &str = "classic";

/// What is set about a vhost, for those who look for it in one place.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Metadata {
    description: Box<str>,
    tags: Vec<Box<str>>,
    default_queue_type: Box<str>,
}

impl Metadata {
    pub(crate) fn of(spec: &VhostSpec) -> Self {
        Self {
            description: spec.description.clone(),
            tags: spec.tags.clone(),
            default_queue_type: spec
                .default_queue_type
                .clone()
                .unwrap_or(DEFAULT_QUEUE_TYPE.into()),
        }
    }
}

/// A vhost as it is shown.
#[derive(Serialize)]
struct Shown {
    name: Box<str>,
    description: Box<str>,
    tags: Vec<Box<str>>,
    default_queue_type: Box<str>,
    metadata: Metadata,
    tracing: bool,
    protected_from_deletion: bool,
    cluster_state: BTreeMap<String, &'static str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    sampled: Option<Sampled>,
}

/// What is known of it once it was looked at.
#[derive(Serialize)]
struct Sampled {
    messages: u64,
    messages_details: Details,
    messages_ready: u64,
    messages_ready_details: Details,
    messages_unacknowledged: u64,
    messages_unacknowledged_details: Details,
    recv_oct: u64,
    recv_oct_details: Details,
    send_oct: u64,
    send_oct_details: Details,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<Measures>,
}

impl Row for Shown {
    fn name(&self) -> &str {
        &self.name
    }
}

fn show(manage: &Manage, info: VhostInfo, past: &Past, ranges: Ranges) -> Shown {
    let metadata = Metadata::of(&info.spec);
    Shown {
        sampled: past.vhost(&info.name).map(|of_vhost| {
            let numbers = &of_vhost.numbers;
            let history = Some(&of_vhost.history);
            let length = |index: usize| Details::of(history, ranges.lengths, move |n| n[index]);
            let octets = |index: usize| Details::of(history, ranges.data, move |n| n[index]);
            Sampled {
                messages: numbers[VhostNumbers::MESSAGES],
                messages_details: length(VhostNumbers::MESSAGES),
                messages_ready: numbers[VhostNumbers::READY],
                messages_ready_details: length(VhostNumbers::READY),
                messages_unacknowledged: numbers[VhostNumbers::UNACKNOWLEDGED],
                messages_unacknowledged_details: length(VhostNumbers::UNACKNOWLEDGED),
                recv_oct: numbers[VhostNumbers::RECEIVED],
                recv_oct_details: octets(VhostNumbers::RECEIVED),
                send_oct: numbers[VhostNumbers::SENT],
                send_oct_details: octets(VhostNumbers::SENT),
                message_stats: VhostNumbers::measures(numbers, history, ranges.messages)
                    .unless_zero(),
            }
        }),
        name: info.name,
        description: metadata.description.clone(),
        tags: metadata.tags.clone(),
        default_queue_type: metadata.default_queue_type.clone(),
        metadata,
        tracing: info.spec.tracing,
        protected_from_deletion: info.spec.protected,
        cluster_state: BTreeMap::from([(manage.node.name.clone(), "running")]),
    }
}

pub(crate) async fn list(State(manage): State<Shared>, caller: Caller, query: Query) -> Answer {
    let seen = caller.known_vhosts();
    let vhosts = manage.broker.admin().vhosts().into_iter();
    let past = manage.sampler.past();
    let ranges = past.ranges(&query);
    let shown = vhosts.filter(|info| seen.contains(&*info.name));
    let shown = shown
        .map(|info| show(&manage, info, &past, ranges))
        .collect();
    listing::list(shown, &query)
}

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    caller.known_vhost(&name)?;
    let info = manage
        .broker
        .admin()
        .vhost(&name)
        .ok_or_else(Fault::not_found)?;
    let past = manage.sampler.past();
    let shown = show(&manage, info, &past, past.ranges(&query));
    Ok(listing::object(&shown, &query))
}

/// A vhost as the fields describe it; what they leave out stays as it is.
pub(crate) fn spec(fields: &Fields, now: Option<&VhostSpec>) -> Result<VhostSpec, Fault> {
    let metadata = match fields.get("metadata") {
        Some(serde_json::Value::Object(metadata)) => Fields(metadata.clone()),
        _ => Fields::default(),
    };
    let text = |name: &str| match fields.optional_text(name)? {
        Some(text) => Ok(Some(text)),
        None => metadata.optional_text(name),
    };
    let tags = fields.get("tags").or_else(|| metadata.get("tags"));
    let default_queue_type = match text("default_queue_type")? {
        None => now.and_then(|spec| spec.default_queue_type.clone()),
        Some("undefined" | "") => None,
        Some(name) => Some(name.into()),
    };
    let kept_flag = |name: &str, now: Option<bool>| match fields.get(name) {
        None => Ok(now.unwrap_or(false)),
        Some(_) => fields.flag(name),
    };
    Ok(VhostSpec {
        description: match text("description")? {
            None => now.map(|spec| spec.description.clone()).unwrap_or_default(),
            Some(text) => text.into(),
        },
        tags: match tags {
            None => now.map(|spec| spec.tags.clone()).unwrap_or_default(),
            Some(tags) => users::tags_of(tags)?,
        },
        default_queue_type,
        tracing: kept_flag("tracing", now.map(|spec| spec.tracing))?,
        protected: kept_flag("protected_from_deletion", now.map(|spec| spec.protected))?,
    })
}

/// Whoever makes a vhost may do everything in it.
pub(crate) async fn put(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
    payload: Payload,
) -> Answer {
    caller.administrator()?;
    let admin = manage.broker.admin();
    let now = admin.vhost(&name).map(|info| info.spec);
    let spec = spec(&payload.object()?, now.as_ref())?;
    let changed = admin.put_vhost(&name, spec);
    let mut changed = changed?;
    if changed.created && admin.user(caller.name()).is_some() {
        let granted = admin.put_permission(&name, caller.name(), Permission::everything());
        changed.lsn = granted?.lsn;
    }
    Ok(manage.set(changed).await)
}

pub(crate) async fn delete(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer {
    caller.administrator()?;
    let changed = manage.broker.admin().delete_vhost(&name);
    let changed = changed.map_err(|refusal| match Fault::of_admin(&refusal) {
        fault if fault.is_not_found() => Fault::not_found(),
        fault => fault,
    })?;
    Ok(manage.done(changed).await)
}

pub(crate) async fn protect(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer {
    set_protection(&manage, &caller, &name, Protection::On).await
}

pub(crate) async fn unprotect(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer {
    set_protection(&manage, &caller, &name, Protection::Off).await
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Protection {
    On,
    Off,
}

async fn set_protection(
    manage: &Manage,
    caller: &Caller,
    name: &str,
    protection: Protection,
) -> Answer {
    caller.administrator()?;
    let admin = manage.broker.admin();
    let mut spec = admin.vhost(name).ok_or_else(Fault::not_found)?.spec;
    spec.protected = protection == Protection::On;
    let changed = admin.put_vhost(name, spec);
    Ok(manage.done(changed?).await)
}

/// Every vhost runs as long as the node does.
pub(crate) async fn start(
    State(manage): State<Shared>,
    caller: Caller,
    Names((name, node)): Names<(String, String)>,
) -> Answer {
    caller.administrator()?;
    caller.vhost(&name)?;
    if node != manage.node.name {
        return Err(Fault::not_found());
    }
    Ok(reply::done())
}
