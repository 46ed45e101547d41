//! What goes wrong, and how clients read it: RabbitMQ's status codes and bodies, made here only.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use ternmq_amqp::refusal::{self, Explained};
use ternmq_broker::admin::AdminRefusal;
use ternmq_core::error::Refusal;

use crate::reply;

/// What RabbitMQ writes before what it found when it validated something.
const VALIDATION: &str = "Validation failed\n\n";

/// An answer that says no.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Fault {
    status: StatusCode,
    error: &'static str,
    reason: Value,
    challenge: Challenge,
}

/// Whether a browser that reads this asks for a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Challenge {
    /// It does.
    Basic,
    /// It does not.
    None,
}

impl Fault {
    fn new(status: StatusCode, error: &'static str, reason: impl Into<Value>) -> Self {
        Self {
            status,
            error,
            reason: reason.into(),
            challenge: Challenge::None,
        }
    }

    /// What the request asks for cannot be.
    pub(crate) fn bad_request(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    /// The same with another word than `bad_request`.
    pub(crate) fn bad(error: &'static str, reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, reason)
    }

    /// Fields that must be there and are not, in the words of RabbitMQ's tools.
    pub(crate) fn missing(fields: &[&str]) -> Self {
        let all: Vec<String> = fields
            .iter()
            .map(|field| format!("{{key_missing,{field}}}"))
            .collect();
        Self::bad_request(format!("[{}]", all.join(",")))
    }

    /// The user may not do this. RabbitMQ spells it differently from what it says to those who are not let in.
    pub(crate) fn not_authorised(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorised", reason)
    }

    /// Nobody said who asks, or what was said is wrong.
    pub(crate) fn not_authenticated(challenge: Challenge, reason: &str) -> Self {
        Self {
            challenge,
            ..Self::new(StatusCode::UNAUTHORIZED, "not_authorized", reason)
        }
    }

    /// Nothing of that name. Tools compare both words.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
    }

    /// Something that the request names beside its own object is not there.
    pub(crate) fn not_found_because(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", reason)
    }

    /// No such vhost, where an object is to be made in it.
    pub(crate) fn no_vhost() -> Self {
        Self::not_found_because("vhost_not_found")
    }

    /// Whether it is about something that is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// What a refused change of an object of the operator answers.
    pub(crate) fn of_admin(refusal: &AdminRefusal) -> Self {
        match refusal {
            AdminRefusal::NotFound | AdminRefusal::NoSuchUser => Self::not_found(),
            AdminRefusal::NoSuchVhost => Self::no_vhost(),
            AdminRefusal::Protected => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "precondition_failed",
                refusal.to_string(),
            ),
            AdminRefusal::Journal(_) => Self::unavailable(refusal.to_string()),
            other => Self::bad_request(other.to_string()),
        }
    }

    /// What was validated is wrong, in the words that RabbitMQ has for that.
    pub(crate) fn invalid(reason: &str) -> Self {
        Self::bad_request(format!("{VALIDATION}{reason}\n"))
    }

    /// The reason without what stands before and behind it where something was validated.
    pub(crate) fn bare_reason(&self) -> String {
        let reason = self.reason();
        let bare = reason.strip_prefix(VALIDATION).unwrap_or(&reason);
        bare.trim_end().replace('\n', ", ")
    }

    /// The same where RabbitMQ speaks of a validation.
    pub(crate) fn of_validated(refusal: &AdminRefusal) -> Self {
        match refusal {
            AdminRefusal::Invalid(reason) => Self::invalid(reason),
            other => Self::of_admin(other),
        }
    }

    /// The request's body is larger than it may be.
    pub(crate) fn too_large() -> Self {
        Self::bad_request("Exceeded HTTP request body size limit")
    }

    /// The answer would be JSON, which is not wanted.
    pub(crate) fn not_acceptable() -> Self {
        Self::new(
            StatusCode::NOT_ACCEPTABLE,
            "not_acceptable",
            "answers are application/json",
        )
    }

    /// The broker cannot do this now.
    pub(crate) fn unavailable(reason: impl Into<Value>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service_unavailable",
            reason,
        )
    }

    /// The reason as text.
    pub(crate) fn reason(&self) -> String {
        match &self.reason {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// What a refused declaration, deletion or binding answers.
    pub(crate) fn of_refusal(refusal: &Refusal, vhost: &str, user: &str) -> Self {
        let Explained { code, text, .. } = refusal::explain(refusal, vhost, user);
        match code {
            refusal::NOT_FOUND => Self::not_found_because(text),
            refusal::ACCESS_REFUSED => Self::not_authorised("Access refused."),
            _ => Self::bad_request(text),
        }
    }

    /// What a refused publish answers: the whole of the channel's error.
    pub(crate) fn of_publish(refusal: &Refusal, vhost: &str, user: &str) -> Self {
        let explained = refusal::explain(refusal, vhost, user);
        Self::bad_request(format!("{} {}", explained.code, explained.reply_text()))
    }

    /// What a refused `get` answers.
    pub(crate) fn of_get(refusal: &Refusal, vhost: &str, user: &str) -> Self {
        let explained = refusal::explain(refusal, vhost, user);
        match explained.code {
            refusal::NOT_FOUND => Self::not_found_because(explained.reply_text()),
            refusal::ACCESS_REFUSED => Self::not_authorised(explained.reply_text()),
            code => Self::bad_request(format!("{code} {}", explained.reply_text())),
        }
    }
}

impl From<AdminRefusal> for Fault {
    fn from(refusal: AdminRefusal) -> Self {
        Self::of_admin(&refusal)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = json!({"error": self.error, "reason": self.reason});
        let mut response = reply::json_with(self.status, &body);
        if self.challenge == Challenge::Basic {
            let challenge = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
