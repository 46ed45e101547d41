//! Listeners that speak WebSocket, with raw frames.

use std::sync::Arc;
use std::time::Duration;

use super::certificates::{Authority, Dialer, Files};
use super::support::{BODY_BYTES, Lab, Seen, eventually, frame};
use rustls::version::TLS13;
use tempfile::tempdir;
use ternmq_net::entrance::Entrance;
use ternmq_net::machine::Carrier;
use ternmq_net::server::ServerConfig;
use ternmq_net::tls::{Alpn, TlsServer};
use ternmq_net::websocket::WebSocketConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

const BINARY: u8 = 0x82;
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: echo\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn entrance() -> Entrance {
    Entrance {
        websocket: Some(Arc::new(WebSocketConfig {
            paths: vec!["/ws".into()],
            subprotocols: vec!["echo"],
            origins: Vec::new(),
            frame_bytes_max: 1 << 20,
        })),
        ..Entrance::default()
    }
}

fn lab() -> Lab {
    Lab::start_through(entrance(), &ServerConfig::default())
}

/// A client's side of a WebSocket.
struct Socket<S> {
    stream: S,
    payload: Vec<u8>,
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let mut all = vec![first];
    if let Ok(short @ 0..126) = u8::try_from(payload.len()) {
        all.push(0x80 | short);
    } else {
        all.push(0x80 | 127);
        all.extend(u64::try_from(payload.len()).unwrap().to_be_bytes());
    }
    all.extend(MASK);
    all.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    all
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Upgrades, with these bytes right behind the request.
    async fn open(mut stream: S, early: &[u8]) -> Self {
        let request = [REQUEST.as_bytes(), early].concat();
        stream.write_all(&request).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
        let payload = Vec::new();
        Self { stream, payload }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next frame: its first byte and its payload.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let first = self.stream.read_u8().await.unwrap();
        let length = match self.stream.read_u8().await.unwrap() {
            126 => usize::from(self.stream.read_u16().await.unwrap()),
            short @ 0..126 => usize::from(short),
            other => panic!("a frame from the server with {other:#x}"),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.unwrap();
        (first, payload)
    }

    /// The next payload of this length, out of binary frames.
    async fn receive(&mut self, length: usize) -> Vec<u8> {
        while self.payload.len() < length {
            let (first, payload) = self.frame().await;
            assert_eq!(first, BINARY);
            self.payload.extend(payload);
        }
        let rest = self.payload.split_off(length);
        std::mem::replace(&mut self.payload, rest)
    }

    async fn echo(&mut self, payload: &[u8]) {
        let framed = frame(payload);
        self.send(&masked(BINARY, &framed)).await;
        assert_eq!(self.receive(framed.len()).await, framed);
    }

    /// The close frame with this code, and then the end.
    async fn closes(mut self, code: &[u8]) {
        assert_eq!(self.frame().await, (CLOSE, code.to_vec()));
        assert_eq!(self.stream.read(&mut [0; 1]).await.unwrap(), 0);
    }
}

async fn connect(lab: &Lab) -> Socket<TcpStream> {
    let stream = TcpStream::connect(lab.addr).await.unwrap();
    Socket::open(stream, b"").await
}

#[tokio::test]
async fn frames_of_the_protocol_do_not_care_how_they_are_framed() {
    let lab = lab();
    let mut socket = connect(&lab).await;
    for size in [0, 1, 121, 122, 300, 100_000] {
        socket.echo(&vec![7; size]).await;
    }
    // One protocol frame in a message of four fragments, and a ping between them.
    let framed = frame(b"in pieces");
    let bytes = [
        masked(0x02, &framed[..3]),
        masked(PING, b"?"),
        masked(0x00, b""),
        masked(0x00, &framed[3..5]),
        masked(0x80, &framed[5..]),
    ]
    .concat();
    for byte in bytes {
        socket.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(socket.frame().await, (PONG, b"?".to_vec()));
    assert_eq!(socket.receive(framed.len()).await, framed);
    // Two and a half protocol frames in one message, the rest in the next.
    let three = [frame(b"one"), frame(b"two"), frame(b"three")].concat();
    socket.send(&masked(BINARY, &three[..16])).await;
    assert_eq!(socket.receive(14).await, three[..14]);
    socket.send(&masked(BINARY, &three[16..])).await;
    assert_eq!(socket.receive(9).await, three[14..]);
    assert_eq!(lab.seen.peers.lock()[0].carrier, Carrier::WebSocket);
}

#[tokio::test]
async fn frames_right_behind_the_request_are_not_lost() {
    let lab = lab();
    let stream = TcpStream::connect(lab.addr).await.unwrap();
    let early = frame(b"early");
    let mut socket = Socket::open(stream, &masked(BINARY, &early)).await;
    assert_eq!(socket.receive(early.len()).await, early);
    socket.echo(b"later").await;
}

#[tokio::test]
async fn client_that_closes_is_answered_with_its_code() {
    let lab = lab();
    for code in [&[0x03, 0xe8][..], &[0x0f, 0xa0], &[]] {
        let mut socket = connect(&lab).await;
        socket.echo(b"hello").await;
        socket.send(&masked(CLOSE, code)).await;
        socket.closes(code).await;
    }
    let seen = Arc::clone(&lab.seen);
    eventually("machines are told", || Seen::get(&seen.disconnects) == 3).await;
}

#[tokio::test]
async fn answers_come_before_the_close_frame() {
    let lab = lab();
    let mut socket = connect(&lab).await;
    let framed = frame(b"last");
    let both = [masked(BINARY, &framed), masked(CLOSE, &[0x03, 0xe8])].concat();
    socket.send(&both).await;
    assert_eq!(socket.receive(framed.len()).await, framed);
    socket.closes(&[0x03, 0xe8]).await;
}

#[tokio::test]
async fn protocols_end_is_a_normal_closure() {
    let lab = lab();
    let mut socket = connect(&lab).await;
    socket.send(&masked(BINARY, &frame(b"close"))).await;
    let body = socket.receive(4 + BODY_BYTES).await;
    assert_eq!(body[4..], vec![7; BODY_BYTES]);
    assert_eq!(socket.receive(7).await, frame(b"bye"));
    socket.closes(&1000_u16.to_be_bytes()).await;
}

#[tokio::test]
async fn broken_rules_are_answered_with_their_code() {
    let lab = lab();
    for (bytes, code) in [
        (masked(TEXT, b"x"), 1003_u16),
        (vec![BINARY, 1, 0], 1002),
        (
            vec![BINARY, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0],
            1009,
        ),
        (masked(CLOSE, &[0x03, 0xe8, 0xff]), 1007),
    ] {
        let mut socket = connect(&lab).await;
        socket.send(&bytes).await;
        socket.closes(&code.to_be_bytes()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_are_answered_between_the_frames_of_a_slow_delivery() {
    let lab = lab();
    let mut socket = connect(&lab).await;
    socket.send(&masked(BINARY, &frame(b"generate"))).await;
    let seen = Arc::clone(&lab.seen);
    eventually("the output is full", || Seen::get(&seen.full) > 0).await;
    for n in 0..100_u8 {
        socket.send(&masked(PING, &[n])).await;
    }
    let (mut payload_bytes, mut pongs) = (0, Vec::new());
    while payload_bytes < 100_000 * (super::support::GENERATED_BYTES + 4) {
        match socket.frame().await {
            (BINARY, payload) => payload_bytes += payload.len(),
            (PONG, payload) => pongs.extend(payload),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pongs.last(), Some(&99));
    assert!(pongs.is_sorted());
}

#[tokio::test]
async fn requests_that_lead_nowhere_are_answered() {
    let lab = lab();
    for (from, to, status) in [
        ("/ws", "/elsewhere", "404"),
        ("Upgrade: websocket", "X: y", "426"),
        ("Protocol: echo", "Protocol: other", "400"),
        ("GET", "POST", "405"),
        ("GET /ws HTTP/1.1", "\u{10}\u{0c}\0\u{4}MQTT", "400"),
    ] {
        let mut stream = TcpStream::connect(lab.addr).await.unwrap();
        stream
            .write_all(REQUEST.replace(from, to).as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    assert_eq!(Seen::get(&lab.seen.accepted), 0);
}

#[tokio::test]
async fn requests_that_do_not_end_are_not_waited_for() {
    let config = ServerConfig {
        handshake_timeout: Duration::from_millis(300),
        ..ServerConfig::default()
    };
    let lab = Lab::start_through(entrance(), &config);
    let mut stream = TcpStream::connect(lab.addr).await.unwrap();
    stream.write_all(&REQUEST.as_bytes()[..50]).await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
    eventually("the place is free", || lab.server.connection_count() == 0).await;
}

#[tokio::test]
async fn tls_may_lie_below() {
    let directory = tempdir().unwrap();
    let authority = Authority::root("authority");
    let settings = Files(directory.path()).identity(&authority.server("server"));
    let entrance = Entrance {
        tls: Some(Arc::new(TlsServer::load(settings, Alpn::None).unwrap())),
        ..entrance()
    };
    let lab = Lab::start_through(entrance, &ServerConfig::default());
    let dialer = Dialer {
        trusts: &authority,
        identity: None,
        versions: &[&TLS13],
    };
    let stream = TcpStream::connect(lab.addr).await.unwrap();
    let stream = dialer.connect(stream).await.unwrap();
    let mut socket = Socket::open(stream, b"").await;
    for size in [0, 1, 1000, 50_000] {
        socket.echo(&vec![7; size]).await;
    }
    socket.send(&masked(TEXT, b"x")).await;
    socket.closes(&1003_u16.to_be_bytes()).await;
    assert!(lab.seen.peers.lock()[0].tls.is_some());
}
