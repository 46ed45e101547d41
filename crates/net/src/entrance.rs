//! From an accepted socket to a stream of the protocol's bytes: the proxy's header, TLS, the upgrade to WebSocket, in
//! this order, as the listener has them.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut;
use ternmq_core::id::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::machine::{Carrier as CarriedBy, Peer};
use crate::proxy::{self, Progress, ProxyError, Source};
use crate::stream::{Carrier, Stream};
use crate::tls::TlsServer;
use crate::websocket::stream::WebSocketStream;
use crate::websocket::upgrade::{self, HEAD_BYTES_MAX, Refusal, Request, WebSocketConfig};

/// How long a client whose upgrade was refused may take to go, so that it sees the answer rather than a reset.
const REFUSED_LINGER: Duration = Duration::from_secs(1);

/// What connections of a listener go through before their protocol begins. By default nothing.
#[derive(Clone, Default)]
pub struct Entrance {
    /// They begin with a header of the PROXY protocol: only proxies may reach the listener, since whoever connects says
    /// who it is.
    pub proxy_protocol: bool,
    /// They speak TLS.
    pub tls: Option<Arc<TlsServer>>,
    /// They upgrade to WebSocket.
    pub websocket: Option<Arc<WebSocketConfig>>,
}

impl Entrance {
    /// Whether there is nothing to go through.
    pub(crate) fn is_open(&self) -> bool {
        !self.proxy_protocol && self.tls.is_none() && self.websocket.is_none()
    }

    /// Goes through all of it. Takes as long as the peer takes: the caller sets the limit.
    pub(crate) async fn pass(
        &self,
        mut socket: TcpStream,
        mut peer: Peer,
    ) -> Result<(Stream, Peer), EntranceError> {
        if self.proxy_protocol
            && let Source::Client { from, to } = read_proxy_header(&mut socket).await?
        {
            (peer.addr, peer.local_addr) = (from, to);
        }
        let carrier = match &self.tls {
            None => Carrier::Plain(socket),
            Some(tls) => {
                let (stream, said) = tls.accept(socket).await.map_err(EntranceError::Tls)?;
                peer.tls = Some(Arc::new(said));
                Carrier::Tls(Box::new(stream))
            }
        };
        let Some(config) = &self.websocket else {
            return Ok((carrier.into_stream(), peer));
        };
        peer.carrier = CarriedBy::WebSocket;
        let stream = match carrier {
            Carrier::Plain(mut socket) => {
                let early = upgrade_to_websocket(&mut socket, config).await?;
                WebSocketStream::new(Carrier::Plain(socket), config.frame_bytes_max, early)
            }
            Carrier::Tls(mut stream) => {
                let early = upgrade_to_websocket(&mut *stream, config).await?;
                WebSocketStream::new(Carrier::Tls(stream), config.frame_bytes_max, early)
            }
        };
        Ok((Stream::WebSocket(Box::new(stream)), peer))
    }
}

/// Why a connection got no further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntranceError {
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("TLS handshake: {0}")]
    Tls(io::Error),
    #[error(transparent)]
    Upgrade(#[from] Refusal),
    #[error(transparent)]
    Lost(#[from] io::Error),
    #[error("the handshake took too long")]
    TooSlow,
}

impl EntranceError {
    /// Whether an administrator can do something about it: not if somebody looked in and went away again, as monitors
    /// and port scanners do.
    pub(crate) fn is_worth_a_line(&self) -> bool {
        let is_gone = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
            )
        };
        match self {
            Self::Lost(_) => false,
            Self::Tls(error) => !is_gone(error),
            Self::Proxy(_) | Self::Upgrade(_) | Self::TooSlow => true,
        }
    }
}

/// Takes the header and nothing behind it from the socket.
async fn read_proxy_header(socket: &mut TcpStream) -> Result<Source, EntranceError> {
    let mut bytes = vec![0; proxy::HEADER_BYTES_MAX];
    let mut len = 0;
    loop {
        let count = socket.peek(&mut bytes[len..]).await?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let peeked = len + count;
        match proxy::read(&bytes[..peeked])? {
            Progress::Partial => {
                socket.read_exact(&mut bytes[len..peeked]).await?;
                len = peeked;
            }
            Progress::Done {
                header_bytes,
                source,
            } => {
                socket.read_exact(&mut bytes[len..header_bytes]).await?;
                return Ok(source);
            }
        }
    }
}

/// Answers the request. Returns what came after it.
async fn upgrade_to_websocket(
    stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin),
    config: &WebSocketConfig,
) -> Result<Vec<u8>, EntranceError> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if stream
            .read_buf(&mut (&mut bytes).limit(HEAD_BYTES_MAX))
            .await?
            == 0
        {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match upgrade::read(&bytes, config) {
            Request::Partial => {}
            Request::Accepted { head_bytes, answer } => {
                stream.write_all(answer.as_bytes()).await?;
                stream.flush().await?;
                return Ok(bytes.split_off(head_bytes));
            }
            Request::Refused(refusal) => {
                stream.write_all(refusal.answer().as_bytes()).await?;
                stream.shutdown().await?;
                // Whatever it comes to, the client had its chance.
                let _ = timeout(REFUSED_LINGER, discard(stream)).await;
                return Err(refusal.into());
            }
        }
    }
}

async fn discard(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<()> {
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}

/// Peers whose failures were logged lately, so that one that tries again and again gets one line, not thousands.
#[derive(Default)]
pub(crate) struct Complaints {
    peers: VecDeque<(IpAddr, Timestamp)>,
}

/// Peers remembered at most; the oldest are forgotten first.
const COMPLAINTS_MAX: usize = 256;

/// After this time a peer gets another line.
const COMPLAINT_MS: u64 = 60_000;

impl Complaints {
    /// Whether this peer has had no line lately. Then it has one now.
    pub(crate) fn is_first(&mut self, ip: IpAddr, now: Timestamp) -> bool {
        while let Some((_, at)) = self.peers.front()
            && now.since(*at) >= COMPLAINT_MS
        {
            self.peers.pop_front();
        }
        if self.peers.iter().any(|(known, _)| *known == ip) {
            return false;
        }
        if self.peers.len() == COMPLAINTS_MAX {
            self.peers.pop_front();
        }
        self.peers.push_back((ip, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_complained_about_once_a_minute() {
        let mut complaints = Complaints::default();
        let ip = |n: u32| IpAddr::from(n.to_be_bytes());
        assert!(complaints.is_first(ip(1), Timestamp(0)));
        assert!(!complaints.is_first(ip(1), Timestamp(COMPLAINT_MS - 1)));
        assert!(complaints.is_first(ip(2), Timestamp(COMPLAINT_MS - 1)));
        assert!(complaints.is_first(ip(1), Timestamp(COMPLAINT_MS)));
    }

    #[test]
    fn no_more_peers_are_remembered_than_the_limit() {
        let mut complaints = Complaints::default();
        for n in 0..=u32::try_from(COMPLAINTS_MAX).unwrap() {
            assert!(complaints.is_first(IpAddr::from(n.to_be_bytes()), Timestamp(0)));
        }
        assert_eq!(complaints.peers.len(), COMPLAINTS_MAX);
        assert!(
            complaints.is_first(IpAddr::from([0; 4]), Timestamp(0)),
            "the oldest was forgotten"
        );
    }
}
