//! Listeners: binding, accepting, and the limit on connections.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use ternmq_broker::mailbox::Mailbox;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::driver::{Accepted, Connection};
use crate::entrance::{Complaints, Entrance, EntranceError};
use crate::limits::{ACCEPT_PAUSE, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, LISTEN_BACKLOG};
use crate::machine::{Acceptor, Peer};
use crate::places::{Places, Turn};
use crate::registry::{NoPlace, Registered, Registry, Stage};
use crate::stream::Stream;

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for {protocol} on {addr}: {}", words(cause))]
pub struct ListenError {
    /// The protocol that was to be spoken there.
    pub protocol: &'static str,
    /// The address asked for.
    pub addr: SocketAddr,
    /// What the system said; part of the message.
    pub cause: io::Error,
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use".into(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

/// A bound socket that does not accept yet.
pub(crate) fn bind(protocol: &'static str, addr: SocketAddr) -> Result<TcpListener, ListenError> {
    open(addr).map_err(|cause| ListenError {
        protocol,
        addr,
        cause,
    })
}

fn open(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it.
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.bind(&addr.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A listener: what is spoken there, and what comes before.
pub(crate) struct Door {
    pub(crate) acceptor: Arc<dyn Acceptor>,
    pub(crate) entrance: Entrance,
    pub(crate) registry: Arc<Registry>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) handshakes_max: usize,
}

/// Accepts for ever: what is wrong with one connection, or with the system for a while, ends nothing.
pub(crate) async fn accept_loop(listener: TcpListener, door: Door) {
    let protocol = door.acceptor.protocol();
    let places = Arc::new(Places::new(door.handshakes_max));
    let complaints = Arc::new(Mutex::new(Complaints::default()));
    let door = Arc::new(door);
    let mut exhausted = Episode::default();
    let mut crowded = Episode::default();
    loop {
        let (stream, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_peer(&error) => {
                debug!(protocol, %error, "a connection was lost before it was accepted");
                continue;
            }
            Err(error) => {
                if exhausted.begins() {
                    error!(protocol, %error, "cannot accept connections");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if exhausted.ends() {
            info!(protocol, "accepting connections again");
        }
        match Arrived::register(stream, addr, &door) {
            Ok(arrived) => {
                if crowded.ends() {
                    info!(protocol, "below the connection limit again");
                }
                if door.entrance.is_open() {
                    admit_or_say(arrived, door.acceptor.as_ref());
                    continue;
                }
                let handshake = Handshake {
                    door: Arc::clone(&door),
                    complaints: Arc::clone(&complaints),
                    // Behind who waits for a place, others wait in the kernel's queue.
                    turn: places.take().await,
                };
                spawn(handshake.run(arrived));
            }
            Err(NotAdmitted::NoPlace(NoPlace::Crowded)) => {
                if crowded.begins() {
                    let limit = door.registry.connections_max();
                    warn!(
                        protocol,
                        limit, "connection limit reached, refusing connections"
                    );
                }
            }
            Err(not_admitted) => debug!(peer = %addr, protocol, error = %not_admitted, "refused"),
        }
    }
}

/// Errors that say nothing about the next connection.
fn is_of_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted,
        NetworkDown, NetworkUnreachable, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | TimedOut
    )
}

/// A state that is logged when it begins and when it ends, not at every event in between.
#[derive(Default)]
struct Episode {
    under_way: bool,
}

impl Episode {
    fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.under_way, true)
    }

    fn ends(&mut self) -> bool {
        std::mem::replace(&mut self.under_way, false)
    }
}

#[derive(Debug, thiserror::Error)]
enum NotAdmitted {
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    #[error(transparent)]
    Refused(#[from] crate::machine::Refused),
    #[error(transparent)]
    Lost(#[from] io::Error),
    #[error("the protocol's acceptor panicked")]
    Panicked,
}

/// A connection with a place among all connections, and nothing else yet.
struct Arrived {
    stream: TcpStream,
    peer: Peer,
    registered: Registered,
}

impl Arrived {
    fn register(stream: TcpStream, addr: SocketAddr, door: &Door) -> Result<Self, NotAdmitted> {
        let mailbox = Mailbox::new(door.acceptor.token_max());
        let registered = door.registry.register(mailbox)?;
        stream.set_nodelay(true)?;
        let peer = Peer::tcp(addr, stream.local_addr()?);
        Ok(Self {
            stream,
            peer,
            registered,
        })
    }
}

/// Lets the protocol begin on a connection without handshakes.
fn admit_or_say(arrived: Arrived, acceptor: &dyn Acceptor) {
    let (addr, protocol) = (arrived.peer.addr, acceptor.protocol());
    let stream = Stream::Plain(arrived.stream);
    match admit(stream, arrived.peer, acceptor, arrived.registered) {
        Ok(connection) => spawn(connection),
        Err(not_admitted) => debug!(peer = %addr, protocol, error = %not_admitted, "refused"),
    }
}

fn admit(
    stream: Stream,
    peer: Peer,
    acceptor: &dyn Acceptor,
    registered: Registered,
) -> Result<Connection, NotAdmitted> {
    let addr = peer.addr;
    let mailbox = Arc::clone(registered.mailbox());
    let now = registered.now();
    let machine = catch_unwind(AssertUnwindSafe(|| acceptor.accept(peer, mailbox, now)))
        .map_err(|_| NotAdmitted::Panicked)??;
    let accepted = Accepted {
        stream,
        addr,
        protocol: acceptor.protocol(),
        pending_bytes_max: acceptor.pending_bytes_max(),
        machine,
    };
    Ok(Connection::new(accepted, registered))
}

/// The task of one connection until its protocol begins; what comes then is a task of its own, and a smaller one.
struct Handshake {
    door: Arc<Door>,
    complaints: Arc<Mutex<Complaints>>,
    turn: Turn,
}

impl Handshake {
    async fn run(self, arrived: Arrived) {
        let Arrived {
            stream,
            peer,
            registered,
        } = arrived;
        let (addr, protocol) = (peer.addr, self.door.acceptor.protocol());
        let passing = timeout(
            self.door.handshake_timeout,
            self.door.entrance.pass(stream, peer),
        );
        let passed = tokio::select! {
            passed = passing => passed.unwrap_or(Err(EntranceError::TooSlow)),
            () = self.turn.is_over() => Err(EntranceError::TooSlow),
            () = stops(&registered) => return,
        };
        match passed {
            Ok((stream, peer)) => {
                match admit(stream, peer, self.door.acceptor.as_ref(), registered) {
                    Ok(connection) => spawn(connection),
                    Err(error) => debug!(peer = %addr, protocol, %error, "refused"),
                }
            }
            Err(error) => {
                let is_first = error.is_worth_a_line()
                    && self.complaints.lock().is_first(addr.ip(), registered.now());
                if is_first {
                    warn!(peer = %addr, protocol, %error, "no connection");
                } else {
                    debug!(peer = %addr, protocol, %error, "no connection");
                }
            }
        }
    }
}

/// Returns when the node stops: who has not begun needs no goodbye.
async fn stops(registered: &Registered) {
    poll_fn(|cx| {
        let _ = registered.mailbox().poll_notified(cx);
        if registered.stage() == Stage::Serving {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

/// Detached: the registry knows the connection as long as it lives, and a panic ends in the connection itself.
#[allow(clippy::disallowed_methods, reason = "connections are tasks of net")]
fn spawn(connection: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(connection));
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[tokio::test]
    async fn silent_peers_of_accepted_connections_are_asked_for() {
        let listener = open(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        let (accepted, client) = tokio::join!(listener.accept(), TcpStream::connect(addr));
        let (accepted, _) = accepted.unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        drop(client);
    }
}
