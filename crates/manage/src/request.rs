//! What handlers read of a request: names in its path, its body, its query.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Limited};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Manage;
use crate::fault::Fault;

/// The names in the path, decoded. A name that is no UTF-8 names nothing.
pub(crate) struct Names<T>(pub(crate) T);

impl<T, S> FromRequestParts<S> for Names<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(names)| Self(names))
            .map_err(|_| Fault::not_found())
    }
}

/// The body, within the limits on its size and its time, with the headers that say what it is.
pub(crate) struct Payload {
    pub(crate) bytes: Bytes,
    pub(crate) headers: HeaderMap,
}

/// The body of a request by somebody who has not logged in yet: nobody fills the memory with it.
pub(crate) struct ShortPayload(pub(crate) Payload);

/// Bytes of a [`ShortPayload`]: a name and a password, or a token.
const SHORT_BYTES_MAX: usize = 64 << 10;

impl FromRequest<Arc<Manage>> for Payload {
    type Rejection = Fault;

    async fn from_request(request: Request<Body>, manage: &Arc<Manage>) -> Result<Self, Fault> {
        Self::read(request, manage, manage.config.body_bytes_max).await
    }
}

impl FromRequest<Arc<Manage>> for ShortPayload {
    type Rejection = Fault;

    async fn from_request(request: Request<Body>, manage: &Arc<Manage>) -> Result<Self, Fault> {
        let bytes_max = manage.config.body_bytes_max.min(SHORT_BYTES_MAX);
        Payload::read(request, manage, bytes_max).await.map(Self)
    }
}

impl Payload {
    async fn read(
        request: Request<Body>,
        manage: &Manage,
        bytes_max: usize,
    ) -> Result<Self, Fault> {
        let (parts, body) = request.into_parts();
        // What says that it is too large is not waited for.
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(Fault::too_large());
        }
        let limit = Duration::from_millis(manage.config.body_timeout_ms);
        let body = Limited::new(body, bytes_max).collect();
        let collected = tokio::time::timeout(limit, body)
            .await
            .map_err(|_| Fault::bad_request("Timed out receiving the request body"))?;
        let collected = collected.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                Fault::too_large()
            } else {
                Fault::bad_request("The request body ended early")
            }
        })?;
        Ok(Self {
            bytes: collected.to_bytes(),
            headers: parts.headers,
        })
    }
}

impl Payload {
    /// The JSON object in the body; an empty body is an empty object, and so is `null`, which some clients send instead.
    pub(crate) fn object(&self) -> Result<Fields, Fault> {
        if self.bytes.is_empty() {
            return Ok(Fields(Map::new()));
        }
        match serde_json::from_slice(&self.bytes) {
            Ok(Value::Object(fields)) => Ok(Fields(fields)),
            Ok(Value::Null) => Ok(Fields(Map::new())),
            Ok(Value::String(_)) => Err(Fault::bad_request(
                "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?",
            )),
            _ => Err(Fault::bad_request("not_json")),
        }
    }
}

/// The fields of a JSON object, read with RabbitMQ's leniency and refused in its words.
#[derive(Clone, Default, Debug)]
pub(crate) struct Fields(pub(crate) Map<String, Value>);

impl Fields {
    /// The field, unless it is absent or null.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Refuses if one of these fields is absent; names all that are.
    pub(crate) fn require(&self, names: &[&str]) -> Result<(), Fault> {
        let missing: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| self.get(name).is_none())
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(Fault::missing(&missing))
        }
    }

    /// A field that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&Value, Fault> {
        self.get(name).ok_or_else(|| Fault::missing(&[name]))
    }

    /// A text that must be there.
    pub(crate) fn text(&self, name: &str) -> Result<&str, Fault> {
        self.required(name)?
            .as_str()
            .ok_or_else(|| Fault::bad_request(serde_json::json!(["not_string", name])))
    }

    /// A text, if it is there.
    pub(crate) fn optional_text(&self, name: &str) -> Result<Option<&str>, Fault> {
        self.get(name).map(|_| self.text(name)).transpose()
    }

    /// A truth value, false if absent. Forms send texts.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Fault> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(other) => Err(Fault::bad_request(serde_json::json!([
                "not_boolean",
                other
            ]))),
        }
    }

    /// A whole number, if it is there. Forms send texts.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => {
                let parsed = match value {
                    Value::String(text) => text.parse().ok(),
                    other => other.as_i64(),
                };
                let wrong = || Fault::bad_request(serde_json::json!(["not_integer", value]));
                parsed.map(Some).ok_or_else(wrong)
            }
        }
    }
}

/// Longest name of a queue or exchange in bytes: AMQP 0.9.1 knows no longer ones.
const DECLARED_NAME_BYTES_MAX: usize = 255;

/// The name under which a queue or exchange is declared: without line ends, which clients' names have none of either.
pub(crate) fn declared_name(kind: &str, name: &str) -> Result<Box<str>, Fault> {
    let bytes = name.len();
    if bytes > DECLARED_NAME_BYTES_MAX {
        return Err(Fault::bad_request(format!(
            "{kind} should be less than {DECLARED_NAME_BYTES_MAX} bytes, actually was {bytes}\n"
        )));
    }
    Ok(name.replace(['\r', '\n'], "").into())
}

/// The query of a request, decoded: the first value of each name counts.
#[derive(Clone, Default, Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the question mark. `+` is a space, as forms write it.
    pub(crate) fn parse(query: &str) -> Self {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// The value of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(found, _)| found == name);
        pair.map(|(_, value)| value.as_str())
    }

    /// All values of that name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let pairs = self.0.iter().filter(move |(found, _)| found == name);
        pairs.map(|(_, value)| value.as_str())
    }

    /// The same without what asks for pages.
    pub(crate) fn without_pages(&self) -> Self {
        let pairs = self.0.iter().filter(|(name, _)| name != "page");
        Self(pairs.cloned().collect())
    }

    /// Whether it says so.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}
