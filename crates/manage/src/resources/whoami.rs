//! `/whoami`, `/auth`, `/login`, `/version`, `/extensions`: what a client asks before anything else.

use axum::extract::State;
use serde_json::json;

use super::Shared;
use crate::auth::Caller;
use crate::reply::{self, Answer};

pub(crate) async fn whoami(caller: Caller) -> Answer {
    let tags: Vec<&str> = caller.user.tags().iter().map(|tag| &**tag).collect();
    Ok(reply::json(&json!({"name": caller.name(), "tags": tags})))
}

/// How a browser is to log in. Nobody needs to be logged in to ask.
pub(crate) async fn auth() -> Answer {
    Ok(reply::json(&json!({
        "oauth_enabled": false,
        "oauth_client_id": "",
        "oauth_provider_url": "",
    })))
}

pub(crate) async fn version(State(manage): State<Shared>, _: Caller) -> Answer {
    Ok(reply::json(&manage.version()))
}

/// Pages of plugins in RabbitMQ's user interface; there are none.
pub(crate) async fn extensions(_: Caller) -> Answer {
    Ok(reply::json(&json!([])))
}
