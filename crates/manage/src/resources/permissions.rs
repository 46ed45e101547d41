//! `/permissions`, `/topic-permissions`, and those of one user or one vhost.

use axum::extract::State;
use serde::Serialize;
use ternmq_broker::admin::{Admin, AdminRefusal, PermissionInfo, TopicPermissionInfo};
use ternmq_core::access::{Permission, TopicPermission};

use super::Shared;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::reply::Answer;
use crate::request::{Fields, Names, Payload, Query};

/// A permission as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PermissionRow {
    user: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost: Option<Box<str>>,
    configure: Box<str>,
    write: Box<str>,
    read: Box<str>,
}

impl Row for PermissionRow {
    fn name(&self) -> &str {
        &self.user
    }

    fn group(&self) -> &str {
        self.vhost.as_deref().unwrap_or_default()
    }
}

impl PermissionRow {
    pub(crate) fn of(info: PermissionInfo) -> Self {
        Self {
            user: info.user,
            vhost: Some(info.vhost),
            configure: info.permission.configure,
            write: info.permission.write,
            read: info.permission.read,
        }
    }
}

/// A topic permission as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TopicRow {
    user: Box<str>,
    vhost: Box<str>,
    exchange: Box<str>,
    write: Box<str>,
    read: Box<str>,
}

impl Row for TopicRow {
    fn name(&self) -> &str {
        &self.user
    }

    fn group(&self) -> &str {
        &self.vhost
    }
}

impl TopicRow {
    pub(crate) fn of(info: TopicPermissionInfo) -> Self {
        Self {
            user: info.user,
            vhost: info.vhost,
            exchange: info.exchange,
            write: info.permission.write,
            read: info.permission.read,
        }
    }
}

/// What users may do in vhosts, of one kind.
pub(crate) trait Grant: Row + Serialize {
    /// All there are.
    fn all(admin: Admin<'_>) -> Vec<Self>
    where
        Self: Sized;

    /// Whose it is.
    fn user(&self) -> &str {
        self.name()
    }

    /// Where.
    fn vhost(&self) -> &str {
        self.group()
    }
}

impl Grant for PermissionRow {
    fn all(admin: Admin<'_>) -> Vec<Self> {
        admin.permissions().into_iter().map(Self::of).collect()
    }
}

impl Grant for TopicRow {
    fn all(admin: Admin<'_>) -> Vec<Self> {
        admin
            .topic_permissions()
            .into_iter()
            .map(Self::of)
            .collect()
    }
}

/// What the fields say.
pub(crate) fn permission(fields: &Fields) -> Result<Permission, Fault> {
    fields.require(&["configure", "write", "read"])?;
    Ok(Permission {
        configure: fields.text("configure")?.into(),
        write: fields.text("write")?.into(),
        read: fields.text("read")?.into(),
    })
}

/// What the fields say: exchange and keys.
pub(crate) fn topic_permission(fields: &Fields) -> Result<(&str, TopicPermission), Fault> {
    fields.require(&["exchange", "write", "read"])?;
    let permission = TopicPermission {
        write: fields.text("write")?.into(),
        read: fields.text("read")?.into(),
    };
    Ok((fields.text("exchange")?, permission))
}

/// Whoever sets a permission for nobody, or nowhere, has written a wrong request; whoever asks for one finds nothing.
fn refused(refusal: &AdminRefusal) -> Fault {
    match refusal {
        AdminRefusal::NoSuchVhost | AdminRefusal::NoSuchUser => {
            Fault::bad_request("vhost_or_user_not_found")
        }
        refusal => Fault::of_admin(refusal),
    }
}

fn not_found(refusal: &AdminRefusal) -> Fault {
    match refusal {
        AdminRefusal::NoSuchVhost | AdminRefusal::NoSuchUser => Fault::not_found(),
        refusal => Fault::of_admin(refusal),
    }
}

pub(crate) async fn list<G: Grant>(
    State(manage): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer {
    caller.administrator()?;
    listing::whole(G::all(manage.broker.admin()), &query)
}

pub(crate) async fn list_of_user<G: Grant>(
    State(manage): State<Shared>,
    caller: Caller,
    Names(user): Names<String>,
    query: Query,
) -> Answer {
    caller.administrator()?;
    let admin = manage.broker.admin();
    admin.user(&user).ok_or_else(Fault::not_found)?;
    let mut granted = G::all(admin);
    granted.retain(|grant| grant.user() == user);
    listing::whole(granted, &query)
}

pub(crate) async fn list_of_vhost<G: Grant>(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.administrator()?;
    let admin = manage.broker.admin();
    admin.vhost(&vhost).ok_or_else(Fault::not_found)?;
    let mut granted = G::all(admin);
    granted.retain(|grant| grant.vhost() == vhost);
    listing::whole(granted, &query)
}

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, user)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.administrator()?;
    let permission = manage.broker.admin().permission(&vhost, &user);
    let row = PermissionRow::of(PermissionInfo {
        permission: permission.ok_or_else(Fault::not_found)?,
        vhost: vhost.into(),
        user: user.into(),
    });
    Ok(listing::object(&row, &query))
}

pub(crate) async fn put(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, user)): Names<(String, String)>,
    payload: Payload,
) -> Answer {
    caller.administrator()?;
    let permission = permission(&payload.object()?)?;
    let changed = manage
        .broker
        .admin()
        .put_permission(&vhost, &user, permission);
    let changed = changed.map_err(|refusal| refused(&refusal))?;
    Ok(manage.set(changed).await)
}

pub(crate) async fn delete(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, user)): Names<(String, String)>,
) -> Answer {
    caller.administrator()?;
    let changed = manage.broker.admin().delete_permission(&vhost, &user);
    let changed = changed.map_err(|refusal| not_found(&refusal))?;
    Ok(manage.done(changed).await)
}

pub(crate) async fn get_topic(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, user)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.administrator()?;
    let mut granted = TopicRow::all(manage.broker.admin());
    granted.retain(|grant| grant.vhost() == vhost && grant.user() == user);
    if granted.is_empty() {
        return Err(Fault::not_found());
    }
    listing::whole(granted, &query)
}

pub(crate) async fn get_topic_of_exchange(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, user, exchange)): Names<(String, String, String)>,
    query: Query,
) -> Answer {
    caller.administrator()?;
    let mut all = TopicRow::all(manage.broker.admin()).into_iter();
    let found = all.find(|grant| {
        grant.vhost() == vhost && grant.user() == user && *grant.exchange == *exchange
    });
    Ok(listing::object(
        &found.ok_or_else(Fault::not_found)?,
        &query,
    ))
}

pub(crate) async fn put_topic(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, user)): Names<(String, String)>,
    payload: Payload,
) -> Answer {
    caller.administrator()?;
    let fields = payload.object()?;
    let (exchange, permission) = topic_permission(&fields)?;
    let changed = manage
        .broker
        .admin()
        .put_topic_permission((&vhost, &user, exchange), permission)
        .map_err(|refusal| refused(&refusal))?;
    Ok(manage.set(changed).await)
}

pub(crate) async fn delete_topic(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, user)): Names<(String, String)>,
) -> Answer {
    remove_topic(&manage, &caller, (&vhost, &user, None)).await
}

pub(crate) async fn delete_topic_of_exchange(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, user, exchange)): Names<(String, String, String)>,
) -> Answer {
    remove_topic(&manage, &caller, (&vhost, &user, Some(&exchange))).await
}

async fn remove_topic(
    manage: &Shared,
    caller: &Caller,
    (vhost, user, exchange): (&str, &str, Option<&str>),
) -> Answer {
    caller.administrator()?;
    let changed = manage
        .broker
        .admin()
        .delete_topic_permission(vhost, user, exchange);
    let changed = changed.map_err(|refusal| not_found(&refusal))?;
    Ok(manage.done(changed).await)
}
