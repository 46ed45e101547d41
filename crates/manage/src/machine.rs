//! One HTTP connection as the socket loop sees it: a machine that polls an HTTP server by itself.
//!
//! ```text
//! socket loop ──bytes──► pipe ──► hyper ──► router ──► handler ──► broker
//!      ▲                   ▲                             │
//!      └──── output ◄──────┘          waits for the journal, wakes by a notice in the mailbox
//! ```
//!
//! So the API has the listeners, TLS, limits and shutdown of every other protocol, and needs no task of its own.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use ternmq_broker::mailbox::{Mailbox, Notice};
use ternmq_core::id::Timestamp;
use ternmq_net::machine::{Flow, Machine, Output};

use crate::aside::Desk;
use crate::pipe::Pipe;

/// Bytes of a request's line and headers.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 100;
/// Time for the first request, in milliseconds: who connects and says nothing keeps a place from others.
const FIRST_REQUEST_MS_MAX: u64 = 10_000;

/// Where a request comes from; every request has it as an extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From(pub(crate) IpAddr);

/// The extension of requests that came over TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encrypted;

/// See the module's documentation.
pub(crate) struct HttpMachine {
    pipe: Pipe,
    /// None once it has ended.
    server: Option<http1::Connection<Pipe, Handler>>,
    waker: Waker,
    /// Where the server is polled.
    desk: Arc<Desk>,
    mailbox: Arc<Mailbox>,
    notices: Vec<Notice>,
    handling: Arc<AtomicUsize>,
    idle_timeout_ms: u64,
    /// When it was opened, or the last answer left.
    quiet_since: Timestamp,
    has_answered: bool,
    _place: Place,
}

/// A place among the connections there may be, given up by dropping it.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Place {
    /// A place, if there are fewer than `max`.
    pub(crate) fn take(taken: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let more = |count: usize| (count < max).then_some(count + 1);
        let got = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        got.ok().map(|_| Self(taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who answers requests.
pub(crate) trait Site: Send + Sync {
    /// Answers one that comes from there.
    fn respond(&self, request: Request<Body>, from: IpAddr) -> Answering;
}

/// An answer to be.
pub(crate) type Answering =
    Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// What a new connection is made of.
pub(crate) struct Opened {
    pub(crate) site: Arc<dyn Site>,
    pub(crate) from: IpAddr,
    /// Whether it speaks TLS.
    pub(crate) is_encrypted: bool,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) place: Place,
    pub(crate) desk: Arc<Desk>,
    pub(crate) idle_timeout_ms: u64,
}

impl HttpMachine {
    pub(crate) fn new(opened: Opened, now: Timestamp) -> Self {
        let pipe = Pipe::default();
        let handling = Arc::new(AtomicUsize::new(0));
        let handler = Handler {
            site: opened.site,
            from: opened.from,
            is_encrypted: opened.is_encrypted,
            handling: handling.clone(),
        };
        let server = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            // The machine's own deadline sees to connections that send nothing.
            .header_read_timeout(None)
            .serve_connection(pipe.clone(), handler);
        Self {
            pipe,
            server: Some(server),
            waker: Waker::from(Arc::new(Nudge(opened.mailbox.clone()))),
            desk: opened.desk,
            mailbox: opened.mailbox,
            notices: Vec::new(),
            handling,
            idle_timeout_ms: opened.idle_timeout_ms,
            quiet_since: now,
            has_answered: false,
            _place: opened.place,
        }
    }

    /// Lets the server go on until it waits for something. Returns whether it has more to write than there is room for.
    fn run(&mut self, now: Timestamp, out: &mut Output) -> bool {
        loop {
            if let Some(server) = &mut self.server {
                let mut cx = Context::from_waker(&self.waker);
                let polled = self
                    .desk
                    .work(&self.waker, || Pin::new(server).poll(&mut cx));
                match polled {
                    // There was no place for it: the waker has the server polled again.
                    None | Some(std::task::Poll::Pending) => {}
                    Some(std::task::Poll::Ready(ended)) => {
                        if let Err(error) = ended {
                            tracing::debug!(%error, "HTTP connection ended");
                        }
                        self.server = None;
                    }
                }
            }
            if !self.pipe.take_into(out) {
                return !self.pipe.is_drained();
            }
            self.quiet_since = now;
            self.has_answered = true;
        }
    }

    fn is_handling(&self) -> bool {
        self.handling.load(Ordering::Relaxed) > 0
    }
}

impl Machine for HttpMachine {
    fn handle_input(&mut self, input: &[u8], now: Timestamp, out: &mut Output) -> usize {
        let mut taken = 0;
        loop {
            let more = self.pipe.put(&input[taken..]);
            self.run(now, out);
            taken += more;
            if more == 0 || taken == input.len() {
                return taken;
            }
        }
    }

    fn handle_notices(&mut self, now: Timestamp, out: &mut Output) -> bool {
        self.mailbox.drain(&mut self.notices);
        let closed = self
            .notices
            .drain(..)
            .any(|notice| matches!(notice, Notice::Close(_)));
        if closed {
            self.handle_shutdown(now, out);
        }
        self.run(now, out)
    }

    fn handle_deadline(&mut self, now: Timestamp, _out: &mut Output) {
        if self.is_handling() {
            self.quiet_since = now;
        } else {
            self.server = None;
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let timeout_ms = if self.has_answered || self.is_handling() {
            self.idle_timeout_ms
        } else {
            self.idle_timeout_ms.min(FIRST_REQUEST_MS_MAX)
        };
        Some(self.quiet_since.plus_ms(timeout_ms))
    }

    fn handle_shutdown(&mut self, now: Timestamp, out: &mut Output) {
        if let Some(server) = &mut self.server {
            Pin::new(server).graceful_shutdown();
        }
        self.run(now, out);
    }

    fn handle_disconnect(&mut self, _now: Timestamp) {
        self.server = None;
    }

    fn flow(&self) -> Flow {
        if self.server.is_none() && self.pipe.is_drained() {
            return Flow::Close;
        }
        Flow::Open {
            read: self.server.is_some() && self.pipe.has_room(),
        }
    }
}

/// Wakes the connection's task so that it polls the server: a notice does, and this one means nothing else here.
struct Nudge(Arc<Mailbox>);

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.0.push(Notice::Committed);
    }
}

/// What the HTTP server asks for answers.
struct Handler {
    site: Arc<dyn Site>,
    from: IpAddr,
    is_encrypted: bool,
    handling: Arc<AtomicUsize>,
}

/// A request is being answered.
struct Handling(Arc<AtomicUsize>);

impl Drop for Handling {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl hyper::service::Service<Request<Incoming>> for Handler {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.handling.fetch_add(1, Ordering::Relaxed);
        let handling = Handling(self.handling.clone());
        let mut request = request.map(Body::new);
        if self.is_encrypted {
            request.extensions_mut().insert(Encrypted);
        }
        let answer = self.site.respond(request, self.from);
        Box::pin(async move {
            let answer = answer.await;
            drop(handling);
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    /// Answers at once, or never.
    struct Speaking(bool);

    impl Site for Speaking {
        fn respond(&self, _: Request<Body>, _: IpAddr) -> Answering {
            if self.0 {
                Box::pin(async { Ok(Response::new(Body::empty())) })
            } else {
                Box::pin(std::future::pending())
            }
        }
    }

    fn machine(site: Speaking) -> HttpMachine {
        let opened = Opened {
            site: Arc::new(site),
            from: IpAddr::from([127, 0, 0, 1]),
            is_encrypted: false,
            mailbox: Mailbox::new(10),
            place: Place::take(&Arc::default(), 1).unwrap(),
            desk: Arc::new(Desk::new(crate::aside::in_place)),
            idle_timeout_ms: 60_000,
        };
        HttpMachine::new(opened, START)
    }

    /// Lets the deadline pass; says whether the connection ends by that.
    fn wait(machine: &mut HttpMachine) -> bool {
        let at = machine.deadline().unwrap();
        machine.handle_deadline(at, &mut Output::new());
        matches!(machine.flow(), Flow::Close)
    }

    #[test]
    fn first_request_has_to_come_soon_also_bit_by_bit() {
        for begun in [&b""[..], &REQUEST[..20]] {
            let mut machine = machine(Speaking(true));
            machine.handle_input(begun, START.plus_ms(9_999), &mut Output::new());
            assert_eq!(machine.deadline(), Some(START.plus_ms(10_000)));
            assert!(wait(&mut machine));
        }
    }

    #[test]
    fn connection_stays_open_between_requests_for_as_long_as_configured() {
        let mut machine = machine(Speaking(true));
        let now = START.plus_ms(5_000);
        machine.handle_input(REQUEST, now, &mut Output::new());
        assert_eq!(machine.deadline(), Some(now.plus_ms(60_000)));
        assert!(wait(&mut machine));
    }

    #[test]
    fn who_waits_for_an_answer_is_not_idle() {
        let mut machine = machine(Speaking(false));
        machine.handle_input(REQUEST, START, &mut Output::new());
        for _ in 0..3 {
            assert!(!wait(&mut machine));
        }
    }
}
