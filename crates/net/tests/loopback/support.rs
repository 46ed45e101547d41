//! A machine for tests: frames of a 4-byte length and a payload, echoed unless the payload is a command.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ternmq_broker::clock::{Clock, SystemClock};
use ternmq_broker::mailbox::{Mailbox, Notice};
use ternmq_core::id::Timestamp;
use ternmq_net::entrance::Entrance;
use ternmq_net::machine::{Acceptor, Flow, Machine, Output, Peer, Refused};
use ternmq_net::server::{Server, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const GENERATED_BYTES: usize = 1024;
pub const BODY_BYTES: usize = 700_000;

/// What all machines of a test did.
#[derive(Default)]
pub struct Seen {
    pub accepted: AtomicUsize,
    pub disconnects: AtomicUsize,
    pub drops: AtomicUsize,
    pub input_bytes_max: AtomicUsize,
    pub output_bytes_max: AtomicUsize,
    pub full: AtomicUsize,
    pub paused: AtomicUsize,
    pub mailboxes: parking_lot::Mutex<Vec<Arc<Mailbox>>>,
    pub peers: parking_lot::Mutex<Vec<Peer>>,
}

impl Seen {
    pub fn get(count: &AtomicUsize) -> usize {
        count.load(Ordering::SeqCst)
    }
}

pub struct EchoAcceptor {
    pub seen: Arc<Seen>,
    pub pending_bytes_max: usize,
    pub idle_ms: Option<u64>,
    pub stubborn: bool,
}

impl Default for EchoAcceptor {
    fn default() -> Self {
        Self {
            seen: Arc::default(),
            pending_bytes_max: 8 * 1024 * 1024,
            idle_ms: None,
            stubborn: false,
        }
    }
}

impl Acceptor for EchoAcceptor {
    fn protocol(&self) -> &'static str {
        "echo"
    }

    fn accept(
        &self,
        peer: Peer,
        mailbox: Arc<Mailbox>,
        now: Timestamp,
    ) -> Result<Box<dyn Machine>, Refused> {
        self.seen.accepted.fetch_add(1, Ordering::SeqCst);
        self.seen.mailboxes.lock().push(Arc::clone(&mailbox));
        self.seen.peers.lock().push(peer);
        Ok(Box::new(Echo {
            seen: Arc::clone(&self.seen),
            mailbox,
            notices: Vec::new(),
            to_generate: 0,
            idle_ms: self.idle_ms,
            deadline: self.idle_ms.map(|ms| now.plus_ms(ms)),
            flow: Flow::Open { read: true },
            stubborn: self.stubborn,
        }))
    }

    fn pending_bytes_max(&self) -> usize {
        self.pending_bytes_max
    }

    fn token_max(&self) -> usize {
        16
    }
}

struct Echo {
    seen: Arc<Seen>,
    mailbox: Arc<Mailbox>,
    notices: Vec<Notice>,
    to_generate: usize,
    idle_ms: Option<u64>,
    deadline: Option<Timestamp>,
    flow: Flow,
    stubborn: bool,
}

impl Echo {
    fn on_frame(&mut self, payload: &[u8], now: Timestamp, out: &mut Output) {
        self.deadline = self.idle_ms.map(|ms| now.plus_ms(ms));
        match payload {
            b"panic" => panic!("told to"),
            b"close" => {
                let body = Bytes::from(vec![7; BODY_BYTES]);
                out.buf()
                    .extend_from_slice(&u32::try_from(BODY_BYTES).unwrap().to_be_bytes());
                out.put_shared(body);
                put_frame(out, b"bye");
                self.flow = Flow::Close;
            }
            b"pause" => {
                self.flow = Flow::Open { read: false };
                self.seen.paused.fetch_add(1, Ordering::SeqCst);
            }
            b"soon" => self.deadline = Some(now.plus_ms(5_000)),
            b"generate" => self.to_generate = 100_000,
            payload => put_frame(out, payload),
        }
    }

    fn note(&self, input: &[u8], out: &Output) {
        self.seen
            .input_bytes_max
            .fetch_max(input.len(), Ordering::SeqCst);
        self.seen
            .output_bytes_max
            .fetch_max(out.len(), Ordering::SeqCst);
        if out.is_full() {
            self.seen.full.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Machine for Echo {
    fn handle_input(&mut self, input: &[u8], now: Timestamp, out: &mut Output) -> usize {
        let mut rest = input;
        while self.flow == (Flow::Open { read: true }) {
            let Some((head, body)) = rest.split_first_chunk::<4>() else {
                break;
            };
            let length = usize::try_from(u32::from_be_bytes(*head)).unwrap();
            let Some(payload) = body.get(..length) else {
                break;
            };
            self.on_frame(payload, now, out);
            rest = &body[length..];
        }
        self.note(input, out);
        input.len() - rest.len()
    }

    fn handle_notices(&mut self, _now: Timestamp, out: &mut Output) -> bool {
        self.mailbox.drain(&mut self.notices);
        for notice in std::mem::take(&mut self.notices) {
            match notice {
                Notice::Unblocked => self.flow = Flow::Open { read: true },
                Notice::Ready(token) => put_frame(out, format!("ready {}", token.0).as_bytes()),
                _ => {}
            }
        }
        while self.to_generate > 0 && !out.is_full() {
            put_frame(out, &[1; GENERATED_BYTES]);
            self.to_generate -= 1;
        }
        self.note(&[], out);
        self.to_generate > 0
    }

    fn handle_deadline(&mut self, now: Timestamp, out: &mut Output) {
        assert!(
            self.deadline.is_some_and(|deadline| deadline <= now),
            "never early"
        );
        self.deadline = None;
        put_frame(out, b"tick");
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    fn handle_shutdown(&mut self, _now: Timestamp, out: &mut Output) {
        if !self.stubborn {
            put_frame(out, b"bye");
            self.flow = Flow::Close;
        }
    }

    fn handle_disconnect(&mut self, _now: Timestamp) {
        self.seen.disconnects.fetch_add(1, Ordering::SeqCst);
    }

    fn flow(&self) -> Flow {
        self.flow
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.seen.drops.fetch_add(1, Ordering::SeqCst);
    }
}

fn put_frame(out: &mut Output, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap();
    out.buf().extend_from_slice(&length.to_be_bytes());
    out.buf().extend_from_slice(payload);
}

/// A server with one echo listener.
pub struct Lab {
    pub server: Server,
    pub addr: SocketAddr,
    pub seen: Arc<Seen>,
}

impl Lab {
    pub fn start(acceptor: EchoAcceptor) -> Self {
        Self::start_with(
            acceptor,
            &ServerConfig::default(),
            Arc::new(SystemClock::new()),
        )
    }

    pub fn start_with(
        acceptor: EchoAcceptor,
        config: &ServerConfig,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let seen = Arc::clone(&acceptor.seen);
        let mut server = Server::new(config, clock);
        let addr = server
            .listen(Arc::new(acceptor), SocketAddr::from(([127, 0, 0, 1], 0)))
            .unwrap();
        Self { server, addr, seen }
    }

    /// Starts with something before the protocol.
    pub fn start_through(entrance: Entrance, config: &ServerConfig) -> Self {
        let acceptor = EchoAcceptor::default();
        let seen = Arc::clone(&acceptor.seen);
        let mut server = Server::new(config, Arc::new(SystemClock::new()));
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let addr = server
            .listen_through(entrance, Arc::new(acceptor), addr)
            .unwrap();
        Self { server, addr, seen }
    }

    pub async fn connect(&self) -> Client {
        Client {
            stream: TcpStream::connect(self.addr).await.unwrap(),
        }
    }
}

pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub async fn send(&mut self, payload: &[u8]) {
        self.stream.write_all(&frame(payload)).await.unwrap();
    }

    pub async fn receive(&mut self) -> Vec<u8> {
        receive(&mut self.stream).await
    }

    pub async fn echo(&mut self, payload: &[u8]) {
        self.send(payload).await;
        assert_eq!(self.receive().await, payload);
    }

    /// Reads until the peer closes; a reset counts as closed.
    pub async fn closed(&mut self) {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        assert_eq!(rest, b"", "nothing comes before the end");
    }
}

pub async fn receive(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let length = usize::try_from(stream.read_u32().await.unwrap()).unwrap();
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.unwrap();
    payload
}

pub fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

/// Waits for something another task is about to do.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .is_ok(),
        "{what}"
    );
}
