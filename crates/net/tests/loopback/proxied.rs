//! Listeners behind a proxy that says who connects.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::certificates::{Authority, Dialer, Files};
use super::support::{Client, Lab, Seen, eventually, frame, receive};
use rustls::version::TLS13;
use tempfile::tempdir;
use ternmq_net::entrance::Entrance;
use ternmq_net::server::ServerConfig;
use ternmq_net::tls::{Alpn, TlsServer};
use tokio::io::AsyncWriteExt;

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 5672\r\n";

/// The same in version 2, with a further field.
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\x16\x28\x04\0\x01\0";

/// The proxy itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn entrance() -> Entrance {
    Entrance {
        proxy_protocol: true,
        ..Entrance::default()
    }
}

fn lab(config: &ServerConfig) -> Lab {
    Lab::start_through(entrance(), config)
}

fn peer(lab: &Lab) -> (SocketAddr, SocketAddr) {
    let peers = lab.seen.peers.lock();
    let peer = peers.last().unwrap();
    (peer.addr, peer.local_addr)
}

fn announced() -> (SocketAddr, SocketAddr) {
    (
        "192.0.2.1:56324".parse().unwrap(),
        "198.51.100.2:5672".parse().unwrap(),
    )
}

async fn begin(lab: &Lab, header: &[u8]) -> Client {
    let mut client = lab.connect().await;
    client.stream.write_all(header).await.unwrap();
    client
}

#[tokio::test]
async fn the_peer_is_whom_the_header_names() {
    let lab = lab(&ServerConfig::default());
    for header in [V1, V2] {
        let mut client = begin(&lab, header).await;
        client.echo(b"hello").await;
        assert_eq!(peer(&lab), announced());
    }
    let mut client = begin(&lab, LOCAL).await;
    client.echo(b"hello").await;
    assert_eq!(peer(&lab), (client.stream.local_addr().unwrap(), lab.addr));
}

#[tokio::test]
async fn headers_may_come_byte_by_byte_and_together_with_the_first_frame() {
    let lab = lab(&ServerConfig::default());
    for header in [V1, V2, LOCAL] {
        let mut client = lab.connect().await;
        client.stream.set_nodelay(true).unwrap();
        for byte in header {
            client.stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.echo(b"hello").await;
        let mut client = begin(&lab, &[header, &frame(b"at once")].concat()).await;
        assert_eq!(client.receive().await, b"at once");
    }
}

#[tokio::test]
async fn connections_without_a_header_or_with_a_wrong_one_are_closed() {
    let lab = lab(&ServerConfig::default());
    for bytes in [
        &frame(b"hello")[..],
        b"PROXY TCP4 nonsense\r\n",
        &[b'x'; 200],
    ] {
        begin(&lab, bytes).await.closed().await;
    }
    assert_eq!(Seen::get(&lab.seen.accepted), 0);
}

#[tokio::test]
async fn headers_that_do_not_end_are_not_waited_for() {
    let lab = lab(&ServerConfig {
        handshake_timeout: Duration::from_millis(300),
        ..ServerConfig::default()
    });
    begin(&lab, &V1[..20]).await.closed().await;
    eventually("the place is free", || lab.server.connection_count() == 0).await;
}

#[tokio::test]
async fn tls_begins_after_the_header() {
    let directory = tempdir().unwrap();
    let authority = Authority::root("authority");
    let settings = Files(directory.path()).identity(&authority.server("server"));
    let entrance = Entrance {
        tls: Some(Arc::new(TlsServer::load(settings, Alpn::None).unwrap())),
        ..entrance()
    };
    let lab = Lab::start_through(entrance, &ServerConfig::default());
    let client = begin(&lab, V2).await;
    let dialer = Dialer {
        trusts: &authority,
        identity: None,
        versions: &[&TLS13],
    };
    let mut stream = dialer.connect(client.stream).await.unwrap();
    stream.write_all(&frame(b"hello")).await.unwrap();
    assert_eq!(receive(&mut stream).await, b"hello");
    assert_eq!(peer(&lab), announced());
}
