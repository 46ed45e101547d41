//! `/whoami`, `/auth`, `/login`, `/version`, `/extensions`: what a client asks before anything else.

use axum::extract::{Extension, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::Shared;
use crate::auth::{Caller, Credentials};
use crate::fault::Fault;
use crate::machine::{Encrypted, From};
use crate::reply::{self, Answer};
use crate::request::{Query, ShortPayload};

/// How long a browser keeps a token for the page that it is sent to, in seconds.
const TOKEN_COOKIE_S: u64 = 30;

pub(crate) async fn whoami(caller: Caller) -> Answer {
    Ok(reply::json(&shown(&caller)))
}

fn shown(caller: &Caller) -> Value {
    let tags: Vec<&str> = caller.user.tags().iter().map(|tag| &**tag).collect();
    json!({"name": caller.name(), "tags": tags})
}

/// How a browser is to log in. Nobody needs to be logged in to ask.
pub(crate) async fn auth(State(manage): State<Shared>) -> Answer {
    let config = &manage.config;
    if !config.oauth_enabled {
        return Ok(reply::json(&json!({
            "oauth_enabled": false,
            "oauth_client_id": "",
            "oauth_provider_url": "",
        })));
    }
    Ok(reply::json(&json!({
        "oauth_enabled": true,
        "oauth_client_id": config.oauth_client_id,
        "oauth_provider_url": config.oauth_provider_url,
        "oauth_scopes": config.oauth_scopes,
        "oauth_disable_basic_auth": config.oauth_disable_basic_auth,
    })))
}

/// A form with `username` and `password`, or with `access_token`. The answer has a cookie that pages of a user interface
/// read; the API itself takes no cookies, which other sites' pages could have sent.
pub(crate) async fn login(
    State(manage): State<Shared>,
    Extension(From(from)): Extension<From>,
    encrypted: Option<Extension<Encrypted>>,
    ShortPayload(payload): ShortPayload,
) -> Answer {
    let text = std::str::from_utf8(&payload.bytes);
    let form = Query::parse(text.map_err(|_| Fault::bad_request("not_utf8"))?);
    let prefix = manage.config.path_prefix.trim_end_matches('/');
    // What came over TLS is never to leave without.
    let secure = encrypted.map_or("", |_| "; Secure");
    if let Some(token) = form.get("access_token") {
        let shown = Credentials::Bearer(token.to_owned());
        let home = match Caller::let_in(&manage, &shown, from).await {
            Ok(_) => format!("{prefix}/"),
            Err(fault) => {
                let reason = fault.reason();
                let reason = utf8_percent_encode(&reason, NON_ALPHANUMERIC);
                return redirect(&format!("{prefix}/?error={reason}"), None);
            }
        };
        let token = utf8_percent_encode(token, NON_ALPHANUMERIC);
        let path = format!("{prefix}/js/oidc-oauth/bootstrap.js");
        let cookie = format!(
            "access_token={token}; Path={path}; Max-Age={TOKEN_COOKIE_S}; HttpOnly; SameSite=Strict{secure}"
        );
        return redirect(&home, Some(&cookie));
    }
    let user = form.get("username").unwrap_or_default();
    let password = form.get("password").unwrap_or_default();
    let caller = Caller::let_in(&manage, &Credentials::password(user, password), from).await?;
    let shown_value = shown(&caller);
    let secret = STANDARD.encode(format!("{user}:{password}"));
    let secret = utf8_percent_encode(&secret, NON_ALPHANUMERIC);
    let age_s = manage.config.login_session_timeout.saturating_mul(60);
    let cookie = format!("auth={secret}; Path={prefix}/; Max-Age={age_s}; SameSite=Strict{secure}");
    let mut response = reply::json(&shown_value);
    set_cookie(&mut response, &cookie)?;
    Ok(response)
}

fn redirect(location: &str, cookie: Option<&str>) -> Answer {
    let mut response = StatusCode::FOUND.into_response();
    let location = HeaderValue::from_str(location);
    let location = location.map_err(|_| Fault::bad_request("bad_location"))?;
    response.headers_mut().insert(header::LOCATION, location);
    if let Some(cookie) = cookie {
        set_cookie(&mut response, cookie)?;
    }
    Ok(response)
}

fn set_cookie(response: &mut Response, cookie: &str) -> Result<(), Fault> {
    let value = HeaderValue::from_str(cookie);
    let mut value = value.map_err(|_| Fault::bad_request("bad_cookie"))?;
    value.set_sensitive(true);
    response.headers_mut().insert(header::SET_COOKIE, value);
    Ok(())
}

pub(crate) async fn version(State(manage): State<Shared>, _: Caller) -> Answer {
    Ok(reply::json(&manage.version()))
}

/// Pages of plugins in RabbitMQ's user interface; there are none.
pub(crate) async fn extensions(_: Caller) -> Answer {
    Ok(reply::json(&json!([])))
}
