//! Metrics for Prometheus over HTTP: which path has which, and how they are sent.
//!
//! | path | |
//! |---|---|
//! | `/metrics` | sums over all objects, or with `return_per_object_metrics` each object |
//! | `/metrics/per-object` | each object |
//! | `/metrics/detailed?family=..&vhost=..&queue=..` | chosen families of each object |
//! | `/metrics/memory-breakdown` | where the memory is |

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::FromRequestParts as _;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use hyper::body::Frame;
use ternmq_broker::mailbox::DiskRoom;
use ternmq_prometheus::{CONTENT_TYPE, Endpoint, Facts, Gzip, Machine, Scrape, Selection, Source};

use crate::auth::Caller;
use crate::fault::Fault;
use crate::machine::{Answering, From, Site};
use crate::node::Usage;
use crate::request::Query;
use crate::resources::parameters;
use crate::{Manage, PrometheusConfig};

/// The product's own name and version.
const PRODUCT: (&str, &str) = ("TernMQ", env!("CARGO_PKG_VERSION"));

/// Answers those who collect metrics.
pub(crate) struct Metrics(Arc<Shared>);

struct Shared {
    manage: Arc<Manage>,
    facts: Arc<Facts>,
    path: String,
    per_object: bool,
    authentication: bool,
}

impl Metrics {
    pub(crate) fn new(manage: &Arc<Manage>, config: &PrometheusConfig) -> Self {
        let facts = Facts {
            node: manage.node.name.clone(),
            rabbitmq_version: manage.version().into(),
            product: PRODUCT.0.to_owned(),
            version: PRODUCT.1.to_owned(),
        };
        Self(Arc::new(Shared {
            manage: Arc::clone(manage),
            facts: Arc::new(facts),
            path: config.path.trim_end_matches('/').to_owned(),
            per_object: config.return_per_object_metrics,
            authentication: config.authentication,
        }))
    }
}

impl Site for Metrics {
    fn respond(&self, request: Request<Body>, from: IpAddr) -> Answering {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { Ok(shared.answer(request, from).await) })
    }
}

impl Shared {
    async fn answer(&self, request: Request<Body>, from: IpAddr) -> Response<Body> {
        let (mut parts, _) = request.into_parts();
        parts.extensions.insert(From(from));
        if let Err(fault) = self.admit(&mut parts).await {
            return fault.into_response();
        }
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        let path = parts.uri.path().trim_end_matches('/');
        let Some(below) = path.strip_prefix(self.path.as_str()) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let endpoint = match below {
            "" if self.per_object => Endpoint::PerObject,
            "" => Endpoint::Aggregated,
            "/per-object" => Endpoint::PerObject,
            "/memory-breakdown" => Endpoint::MemoryBreakdown,
            "/detailed" => match selection(&query) {
                Ok(selection) => Endpoint::Detailed(Box::new(selection)),
                Err(reason) => return (StatusCode::BAD_REQUEST, reason).into_response(),
            },
            _ => return (StatusCode::NOT_FOUND, "Unknown Registry").into_response(),
        };
        send(Scrape::new(self.source(), &endpoint), &parts.headers)
    }

    /// Refuses who has to log in and does not.
    async fn admit(&self, parts: &mut Parts) -> Result<(), Fault> {
        if !self.authentication {
            return Ok(());
        }
        let caller = Caller::from_request_parts(parts, &self.manage).await?;
        caller.monitor()
    }

    fn source(&self) -> Source {
        let Manage { broker, node, .. } = &*self.manage;
        let usage = Usage::now(&node.data_dir);
        let cluster = parameters::cluster_name(&self.manage);
        let machine = Machine {
            cluster_id: parameters::cluster_id(&self.manage).unwrap_or_else(|| cluster.clone()),
            cluster,
            resident_bytes: usage.resident_bytes,
            program_bytes: usage.program_bytes,
            memory_high_bytes: node.memory_high_bytes,
            memory_alarm: broker.is_blocked(),
            disk_free_bytes: usage.disk_free_bytes,
            disk_free_low_bytes: node.disk_free_low_bytes,
            disk_alarm: broker.disk_room() != DiskRoom::Enough,
            files: usage.files,
            files_max: usage.files_max,
            connections_max: node.connections_max as u64,
            threads: usage.threads,
            uptime_ms: broker.now().since(node.started_at),
            started_at_ms: node.started_at.0,
            cpu_ms: usage.cpu_ms,
        };
        Source {
            broker: broker.clone(),
            facts: Arc::clone(&self.facts),
            machine,
        }
    }
}

/// What the query asks for; each of `family` and `vhost` may stand there several times.
fn selection(query: &Query) -> Result<Selection, String> {
    let mut selection = Selection::default();
    for family in query.all("family") {
        selection.add_family(family);
    }
    for vhost in query.all("vhost") {
        selection.add_vhost(vhost);
    }
    selection.match_queues(query.get("queue").unwrap_or_default())?;
    Ok(selection)
}

fn send(scrape: Scrape, headers: &HeaderMap) -> Response<Body> {
    let gzip = takes_gzip(headers);
    let body = if gzip {
        Body::new(Streamed(Gzip::new(scrape)))
    } else {
        Body::new(Streamed(scrape))
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Whether the client takes gzip (RFC 9110 §12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    let codings = values.filter_map(|value| value.to_str().ok());
    codings.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        let refused = weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0);
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// A body whose next part is made when the one before is on its way.
struct Streamed<I>(I);

impl<I: Iterator<Item = Vec<u8>> + Unpin> HttpBody for Streamed<I> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.0.next();
        Poll::Ready(part.map(|part| Ok(Frame::data(part.into()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let takes = |accepted: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            takes_gzip(&headers)
        };
        assert!(takes("gzip") && takes("br, GZIP;q=0.5") && takes("deflate,gzip"));
        assert!(!takes("identity") && !takes("gzip;q=0") && !takes("gzip;q=0.0, br"));
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn selection_takes_every_family_and_vhost() {
        let query = Query::parse("family=queue_metrics&family=x&vhost=%2F&queue=%5Ea");
        assert!(selection(&query).is_ok());
        let query = Query::parse("queue=%28");
        assert!(
            selection(&query)
                .unwrap_err()
                .starts_with("Invalid 'queue' regex")
        );
    }
}
