//! Who puts questions to the server: an HTTP client with limits on everything, in a few threads of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ternmq_broker::clock::Clock;
use ureq::Agent;

use super::HttpError;
use super::config::{HttpConfig, Method};
use super::desk::Desk;
use super::question::{Question, Verdict, read};
use crate::client::{self, Limits};

/// Bytes of an answer, at most.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// See the module's documentation.
pub(super) struct Clerk {
    agent: Agent,
    method: Method,
    /// The last question was not answered: it is said once, not for each.
    is_failing: AtomicBool,
}

impl Clerk {
    pub(super) fn new(config: &HttpConfig) -> Result<Self, HttpError> {
        let limits = Limits {
            request: Duration::from_millis(config.request_timeout),
            connection: Duration::from_millis(config.connection_timeout),
            idle_connections: config.questions_max,
            redirects: 0,
        };
        Ok(Self {
            agent: client::agent(&limits, config.cacertfile.as_deref())?,
            method: config.http_method,
            is_failing: AtomicBool::new(false),
        })
    }

    /// Puts questions until the desk is closed.
    pub(super) fn work(&self, desk: &Desk, clock: &dyn Clock) {
        while let Some((key, question)) = desk.next() {
            let verdict = self.put(&question);
            desk.answered(key, verdict, clock.now());
        }
    }

    /// Whatever goes wrong means no.
    fn put(&self, question: &Question) -> Verdict {
        let address = &question.address;
        match self.answer(question) {
            Ok(verdict) => {
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(address, "the server that is asked for users answers again");
                }
                verdict
            }
            Err(error) => {
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        address,
                        error,
                        "the server that is asked for users does not answer; nobody is let in by it"
                    );
                }
                Verdict::Deny
            }
        }
    }

    fn answer(&self, question: &Question) -> Result<Verdict, String> {
        let Question { address, form, .. } = question;
        let answer = match self.method {
            Method::Get => {
                let separator = if address.contains('?') { '&' } else { '?' };
                self.agent.get(format!("{address}{separator}{form}")).call()
            }
            Method::Post => {
                let request = self.agent.post(address);
                let kind = "application/x-www-form-urlencoded";
                request.header("content-type", kind).send(form)
            }
        };
        // An error names what failed, never the question.
        let mut answer = answer.map_err(|error| failure(&error))?;
        let status = answer.status().as_u16();
        if status != 200 && status != 201 {
            return Err(format!("status {status}"));
        }
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let body = body.read_to_string().map_err(|error| failure(&error))?;
        read(&body).ok_or_else(|| "neither allow nor deny".to_owned())
    }
}

fn failure(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "the address is wrong".to_owned(),
        other => other.to_string(),
    }
}
