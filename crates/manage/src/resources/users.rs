//! `/users`

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};
use ternmq_broker::admin::{Password, UserInfo, UserSpec};
use ternmq_core::access::{HashAlgorithm, PasswordHash};

use super::Shared;
use super::limits::Limits;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::reply::{self, Answer};
use crate::request::{Fields, Names, Payload, Query};

/// A user as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct UserRow {
    name: Box<str>,
    password_hash: String,
    hashing_algorithm: &'static str,
    tags: Vec<Box<str>>,
    limits: Limits,
}

impl Row for UserRow {
    fn name(&self) -> &str {
        &self.name
    }
}

impl UserRow {
    pub(crate) fn of(user: UserInfo) -> Self {
        let hash = user.password.as_ref();
        Self {
            name: user.name,
            password_hash: hash
                .map(|hash| STANDARD.encode(&hash.bytes))
                .unwrap_or_default(),
            hashing_algorithm: hash
                .map_or(HashAlgorithm::Sha256, |hash| hash.algorithm)
                .name(),
            tags: user.tags,
            limits: Limits::of_user(&user.limits),
        }
    }
}

pub(crate) async fn list(State(manage): State<Shared>, caller: Caller, query: Query) -> Answer {
    caller.administrator()?;
    let users = manage.broker.admin().users().into_iter();
    listing::list(users.map(UserRow::of).collect(), &query)
}

/// Users who may work in no vhost.
pub(crate) async fn without_permissions(
    State(manage): State<Shared>,
    caller: Caller,
    query: Query,
) -> Answer {
    caller.administrator()?;
    let admin = manage.broker.admin();
    let permissions = admin.permissions();
    let has_none = |user: &UserInfo| permissions.iter().all(|p| p.user != user.name);
    let users = admin.users().into_iter().filter(has_none);
    listing::list(users.map(UserRow::of).collect(), &query)
}

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    caller.administrator()?;
    let user = manage
        .broker
        .admin()
        .user(&name)
        .ok_or_else(Fault::not_found)?;
    Ok(listing::object(&UserRow::of(user), &query))
}

pub(crate) async fn put(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
    payload: Payload,
) -> Answer {
    caller.administrator()?;
    let spec = spec(&payload.object()?)?;
    let changed = manage.broker.admin().put_user(&name, spec);
    Ok(manage.set(changed?).await)
}

pub(crate) async fn delete(
    State(manage): State<Shared>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer {
    caller.administrator()?;
    let changed = manage.broker.admin().delete_user(&name);
    Ok(manage.done(changed?).await)
}

/// Deletes all of them, or none if one is not there.
pub(crate) async fn bulk_delete(
    State(manage): State<Shared>,
    caller: Caller,
    payload: Payload,
) -> Answer {
    caller.administrator()?;
    let fields = payload.object()?;
    let Value::Array(names) = fields.required("users")? else {
        return Err(Fault::bad_request(json!(["not_list", "users"])));
    };
    let admin = manage.broker.admin();
    let name = |name: &Value| {
        let name = name
            .as_str()
            .ok_or_else(|| Fault::bad_request(json!(["not_string", "users"])))?;
        match admin.user(name) {
            Some(_) => Ok(name.to_owned()),
            None => Err(Fault::bad_request(json!(["no_such_user", name]))),
        }
    };
    let names: Vec<String> = names.iter().map(name).collect::<Result<_, _>>()?;
    let mut last = None;
    for name in names {
        // Somebody else may have deleted it since.
        last = admin.delete_user(&name).ok().or(last);
    }
    if let Some(changed) = last {
        manage.durable(changed.lsn).await;
    }
    Ok(reply::done())
}

/// A user as the fields describe it.
pub(crate) fn spec(fields: &Fields) -> Result<UserSpec, Fault> {
    let tags = fields
        .get("tags")
        .ok_or_else(|| Fault::bad_request("tags_not_present"))?;
    let tags = tags_of(tags)?;
    let password = match (
        fields.optional_text("password")?,
        fields.optional_text("password_hash")?,
    ) {
        (Some(_), Some(_)) => {
            return Err(Fault::bad_request(
                "both_password_and_password_hash_are_provided",
            ));
        }
        (None, None | Some("")) => Password::None,
        (Some(password), None) => Password::Plain(password.as_bytes().into()),
        (None, Some(hash)) => {
            let bytes = STANDARD.decode(hash);
            let bytes = bytes.map_err(|_| Fault::bad_request(json!(["not_base64", hash])))?;
            let algorithm = fields.optional_text("hashing_algorithm")?.map(algorithm);
            Password::Hash(PasswordHash {
                algorithm: algorithm.transpose()?.unwrap_or(HashAlgorithm::Sha256),
                bytes: bytes.into(),
            })
        }
    };
    Ok(UserSpec { password, tags })
}

fn algorithm(name: &str) -> Result<HashAlgorithm, Fault> {
    let unknown = || Fault::bad_request(json!(["unsupported_hashing_algorithm", name]));
    HashAlgorithm::parse(name).ok_or_else(unknown)
}

/// Tags as a list, or as one text with commas between them.
pub(crate) fn tags_of(value: &Value) -> Result<Vec<Box<str>>, Fault> {
    let wrong = || Fault::bad_request(json!(["not_tags", value]));
    match value {
        Value::String(text) => {
            let tags = text.split(',').map(str::trim).filter(|tag| !tag.is_empty());
            Ok(tags.map(Into::into).collect())
        }
        Value::Array(tags) => {
            let tags = tags.iter().map(|tag| tag.as_str().map(Into::into));
            tags.collect::<Option<_>>().ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}
