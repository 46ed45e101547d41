//! The management API over HTTP: one blocking request at a time.

use std::fs;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use ureq::http::request::Builder;
use ureq::http::{Method, Request, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, Body, SendBody};

use crate::failure::{Failure, Outcome};
use crate::options::Server;
use crate::path::Path;
use crate::table::printable;

/// Longest answer read. A list of 10,000 queues with everything known about them is about 20 MB.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// How long a server may take to accept the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects, logs in and understands answers.
pub(crate) struct Api {
    agent: Agent,
    base: String,
    authorization: String,
}

/// What a change was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// It was not there before.
    Created,
    /// It was there, or there is nothing to tell apart.
    Done,
}

impl Api {
    /// Prepares requests with this password; nothing is sent yet.
    pub(crate) fn new(server: &Server, password: &str) -> Outcome<Self> {
        let base = server.url.trim_end_matches('/');
        let base = base.strip_suffix("/api").unwrap_or(base);
        check_url(base).map_err(|why| Failure::Usage(format!("--url {:?} {why}", server.url)))?;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(server.timeout()))
            .user_agent(concat!("ternmq/", env!("CARGO_PKG_VERSION")));
        if base.starts_with("https://") {
            config = config.tls_config(tls(server)?);
        }
        let login = STANDARD.encode(format!("{}:{password}", server.user));
        Ok(Self {
            agent: config.build().into(),
            base: base.to_owned(),
            authorization: format!("Basic {login}"),
        })
    }

    /// Reads.
    pub(crate) fn get(&self, path: &Path) -> Outcome<Value> {
        let answer = self.request(Method::GET, path, &[], &[])?;
        parse(path, &answer.read()?)
    }

    /// Reads the answer whatever its status says; only a server that does not answer is a failure.
    pub(crate) fn probe(&self, path: &Path) -> Outcome<(u16, Value)> {
        let answer = self.send(Method::GET, path, &[], &[])?;
        let status = answer.response.status().as_u16();
        if status == 401 {
            return Err(answer.into_failure(path));
        }
        let bytes = answer.read()?;
        Ok((
            status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        ))
    }

    /// Reads without looking inside: what is exported goes to a file as it is.
    pub(crate) fn download(
        &self,
        path: &Path,
        into: &mut dyn io::Write,
        what: &str,
    ) -> Outcome<u64> {
        let mut answer = self.request(Method::GET, path, &[], &[])?;
        let mut reader = answer.reader();
        io::copy(&mut reader, into).map_err(Failure::io(what))
    }

    /// Creates or changes.
    pub(crate) fn put(&self, path: &Path, body: &Value) -> Outcome<Change> {
        let answer = self.request(Method::PUT, path, &[JSON], body.to_string().as_bytes())?;
        Ok(match answer.response.status().as_u16() {
            201 => Change::Created,
            _ => Change::Done,
        })
    }

    /// Does something, and returns what the server says about it.
    pub(crate) fn post(&self, path: &Path, body: &Value) -> Outcome<Value> {
        let body = body.to_string();
        let answer = self.request(Method::POST, path, &[JSON], body.as_bytes())?;
        answer.into_value(path)
    }

    /// Sends a document while it is read, so that whoever reads it may count.
    pub(crate) fn post_reader(
        &self,
        path: &Path,
        mut body: impl Read,
        length: usize,
    ) -> Outcome<Value> {
        path.check()?;
        let request = self
            .prepare(Method::POST, path, &[JSON])
            .header("content-length", length);
        let request = request.body(SendBody::from_reader(&mut body));
        let sent = self.agent.run(request.map_err(invalid)?);
        let response = sent.map_err(|error| self.unreachable(&error))?;
        Answer { response }.succeeded(path)?.into_value(path)
    }

    /// Deletes.
    pub(crate) fn delete(&self, path: &Path) -> Outcome {
        self.request(Method::DELETE, path, &[], &[]).map(drop)
    }

    /// Deletes, and tells the one concerned why.
    pub(crate) fn delete_because(&self, path: &Path, reason: &str) -> Outcome {
        let why = [("x-reason", reason)];
        self.request(Method::DELETE, path, &why, &[]).map(drop)
    }

    /// Sends, and turns every status but success into a failure.
    fn request(
        &self,
        method: Method,
        path: &Path,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Outcome<Answer> {
        self.send(method, path, headers, body)?.succeeded(path)
    }

    fn send(
        &self,
        method: Method,
        path: &Path,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Outcome<Answer> {
        path.check()?;
        let has_body = method == Method::PUT || method == Method::POST;
        let request = self.prepare(method, path, headers);
        let sent = if has_body {
            self.agent.run(request.body(body).map_err(invalid)?)
        } else {
            self.agent.run(request.body(()).map_err(invalid)?)
        };
        match sent {
            Ok(response) => Ok(Answer { response }),
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    fn prepare(&self, method: Method, path: &Path, headers: &[(&str, &str)]) -> Builder {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{}", self.base, path.as_str()))
            .header("authorization", &self.authorization)
            // RabbitMQ refuses 406 to be asked for JSON where it answers with nothing.
            .header("accept", "application/json, */*;q=0.5");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let reason = match error {
            ureq::Error::Io(error) if is_no_tls(error) => {
                format!("{error} (is it http:// there?)")
            }
            ureq::Error::Io(error) => error.to_string(),
            ureq::Error::Protocol(error) if self.base.starts_with("http://") => {
                format!("{error} (is it https:// there?)")
            }
            other => other.to_string(),
        };
        Failure::Unreachable {
            url: self.base.clone(),
            reason,
        }
    }
}

/// What is wrong with an address, in words that stand behind it.
fn check_url(base: &str) -> Result<(), &'static str> {
    let schemes = ["http://", "https://"];
    let rest = schemes.iter().find_map(|scheme| base.strip_prefix(scheme));
    let rest = rest.ok_or("does not begin with http:// or https://, or names no host")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err("names no host");
    }
    // It would be in the list of processes, and in messages like this one.
    if authority.contains('@') {
        return Err("has a login in it; that belongs into --user and TERNMQ_PASSWORD");
    }
    Ok(())
}

/// Whether what came is nothing that TLS begins with.
fn is_no_tls(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidMessage(_)))
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn invalid(error: ureq::http::Error) -> Failure {
    Failure::Usage(format!("no valid request: {error}"))
}

const JSON: (&str, &str) = ("content-type", "application/json");

struct Answer {
    response: Response<Body>,
}

impl Answer {
    fn succeeded(self, path: &Path) -> Outcome<Self> {
        if self.response.status().is_success() {
            Ok(self)
        } else {
            Err(self.into_failure(path))
        }
    }

    /// What the body says; null if there is none.
    fn into_value(self, path: &Path) -> Outcome<Value> {
        let bytes = self.read()?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        parse(path, &bytes)
    }

    fn reader(&mut self) -> impl Read {
        let body = self.response.body_mut();
        body.with_config().limit(ANSWER_BYTES_MAX).reader()
    }

    fn read(mut self) -> Outcome<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader()
            .read_to_end(&mut bytes)
            .map_err(Failure::io("the server's answer"))?;
        Ok(bytes)
    }

    fn into_failure(self, path: &Path) -> Failure {
        let status = self.response.status();
        let said = self.read().map(|bytes| reason(&bytes)).unwrap_or_default();
        let said = said.unwrap_or_else(|| status.to_string());
        // Where messages are published or got, the status is 400 and the channel's own code begins the reason.
        match (status.as_u16(), channel_code(&said)) {
            (401 | 403, _) | (400, Some(403)) => Failure::NotAllowed(said),
            (404, _) if said == NO_VHOST => Failure::NotFound(path.vhost()),
            (404, _) | (400, Some(404)) => Failure::NotFound(path.what().to_owned()),
            (400, _) if said == NO_VHOST_OR_USER || said.starts_with(NO_USER) => {
                Failure::NotFound(path.what().to_owned())
            }
            (400..=499, _) => Failure::Refused(said),
            _ => Failure::Failed(format!("the server failed ({status}): {said}")),
        }
    }
}

/// What a server says that knows no such vhost, where something is to be made in it.
const NO_VHOST: &str = "vhost_not_found";
/// What it says of permissions for nobody, or nowhere.
const NO_VHOST_OR_USER: &str = "vhost_or_user_not_found";

/// How it begins to speak of limits of nobody.
const NO_USER: &str = r#"["no_such_user""#;

/// The code of AMQP that a reason begins with, as in `404 NOT_FOUND - no exchange 'x' in vhost '/'`.
fn channel_code(reason: &str) -> Option<u16> {
    let (code, name) = reason.split_once(' ')?;
    let is_name = |word: &str| word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let name = name.split(' ').next().filter(|name| is_name(name));
    name.and(code.parse().ok())
}

/// What an error's body says, in one line.
fn reason(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let reason = body.get("reason").or_else(|| body.get("error"))?;
    let text = match reason {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = text.strip_prefix("Validation failed").unwrap_or(&text);
    let line = printable(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    (!line.is_empty()).then_some(line)
}

fn parse(path: &Path, body: &[u8]) -> Outcome<Value> {
    serde_json::from_slice(body).map_err(|error| {
        Failure::Failed(format!(
            "the answer about {} is no JSON ({error}); is this the management API?",
            path.what()
        ))
    })
}

fn tls(server: &Server) -> Outcome<TlsConfig> {
    let mut config = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    if server.insecure {
        return Ok(config.disable_verification(true).build());
    }
    let roots = match &server.cacert {
        Some(file) => {
            let what = file.display().to_string();
            let pem = fs::read(file).map_err(Failure::io(&what))?;
            certificates(&pem, &what)?
        }
        None => rustls_native_certs::load_native_certs()
            .certs
            .into_iter()
            .map(|certificate| Certificate::from_der(&certificate).to_owned())
            .collect(),
    };
    config = config.root_certs(RootCerts::new_with_certs(&roots));
    Ok(config.build())
}

fn certificates(pem: &[u8], what: &str) -> Outcome<Vec<Certificate<'static>>> {
    let mut all = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => all.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(Failure::Usage(format!("{what}: {error}"))),
        }
    }
    if all.is_empty() {
        return Err(Failure::Usage(format!("{what} has no certificate in it")));
    }
    Ok(all)
}
