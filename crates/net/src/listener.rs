//! Listeners: binding, accepting, and the limit on connections.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use ternmq_broker::mailbox::Mailbox;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use crate::driver::{Accepted, Connection};
use crate::limits::{ACCEPT_PAUSE, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, LISTEN_BACKLOG};
use crate::machine::{Acceptor, Peer};
use crate::registry::{NoPlace, Registry};

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

/// Accepts for ever: what is wrong with one connection, or with the system for a while, ends nothing.
pub(crate) async fn accept_loop(
    listener: TcpListener,
    acceptor: Arc<dyn Acceptor>,
    registry: Arc<Registry>,
) {
    let protocol = acceptor.protocol();
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
        match admit(stream, addr, acceptor.as_ref(), &registry) {
            Ok(connection) => {
                if crowded.ends() {
                    info!(protocol, "below the connection limit again");
                }
                spawn(connection);
            }
            Err(NotAdmitted::NoPlace(NoPlace::Crowded)) => {
                if crowded.begins() {
                    let limit = registry.connections_max();
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

fn admit(
    stream: TcpStream,
    addr: SocketAddr,
    acceptor: &dyn Acceptor,
    registry: &Arc<Registry>,
) -> Result<Connection, NotAdmitted> {
    let mailbox = Mailbox::new(acceptor.token_max());
    let registered = registry.register(Arc::clone(&mailbox))?;
    stream.set_nodelay(true)?;
    let peer = Peer {
        addr,
        local_addr: stream.local_addr()?,
    };
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

/// Detached: the registry knows the connection as long as it lives, and a panic ends in the connection itself.
#[allow(clippy::disallowed_methods, reason = "connections are tasks of net")]
fn spawn(connection: Connection) {
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
