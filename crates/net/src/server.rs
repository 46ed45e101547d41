//! The server: owner of listeners, connections and the timer task. The only place besides the binary that starts tasks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ternmq_broker::clock::Clock;
use tokio::task::AbortHandle;

use crate::entrance::Entrance;
use crate::limits::{HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, connections_max_default};
use crate::listener::{self, Door, ListenError};
use crate::machine::Acceptor;
use crate::registry::Registry;
use crate::shutdown::{self, Farewell};
use crate::timers::{Ticker, run_timers};

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Most connections at once, over all listeners. One more is accepted and closed at once.
    pub connections_max: usize,
    /// How long a connection may take to get through its listener's entrance: the proxy's header, TLS, WebSocket.
    pub handshake_timeout: Duration,
    /// Most connections of one listener that are on their way through its entrance. Others wait to be accepted.
    pub handshakes_max: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connections_max: connections_max_default(),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            handshakes_max: HANDSHAKES_MAX,
        }
    }
}

/// Listeners and the connections they accepted. To be made and used inside a tokio runtime. Dropping it closes the
/// listeners; connections then live until their runtime goes.
pub struct Server {
    registry: Arc<Registry>,
    config: ServerConfig,
    tasks: Vec<AbortHandle>,
}

impl Server {
    /// A server without listeners.
    pub fn new(config: &ServerConfig, clock: Arc<dyn Clock>) -> Self {
        let registry = Arc::new(Registry::new(clock, config.connections_max));
        Self {
            registry,
            config: config.clone(),
            tasks: Vec::new(),
        }
    }

    /// Listens for one protocol at one address and accepts from now on. Returns the address bound: with port 0 the system
    /// chose one.
    pub fn listen(
        &mut self,
        acceptor: Arc<dyn Acceptor>,
        addr: SocketAddr,
    ) -> Result<SocketAddr, ListenError> {
        self.listen_through(Entrance::default(), acceptor, addr)
    }

    /// The same behind TLS, WebSocket, a proxy.
    #[allow(clippy::disallowed_methods, reason = "listeners are tasks of net")]
    pub fn listen_through(
        &mut self,
        entrance: Entrance,
        acceptor: Arc<dyn Acceptor>,
        addr: SocketAddr,
    ) -> Result<SocketAddr, ListenError> {
        let protocol = acceptor.protocol();
        let listener = listener::bind(protocol, addr)?;
        let bound = listener.local_addr().map_err(|cause| ListenError {
            protocol,
            addr,
            cause,
        })?;
        let door = Door {
            acceptor,
            entrance,
            registry: Arc::clone(&self.registry),
            handshake_timeout: self.config.handshake_timeout,
            handshakes_max: self.config.handshakes_max.max(1),
        };
        let accepting = listener::accept_loop(listener, door);
        self.tasks.push(tokio::spawn(accepting).abort_handle());
        Ok(bound)
    }

    /// Lets one task of this server call `ticker` at its deadlines.
    #[allow(clippy::disallowed_methods, reason = "the timer task is one of net")]
    pub fn tick(&mut self, ticker: Arc<dyn Ticker>) {
        let ticking = run_timers(ticker, Arc::clone(self.registry.clock()));
        self.tasks.push(tokio::spawn(ticking).abort_handle());
    }

    /// Connections that are open now.
    pub fn connection_count(&self) -> usize {
        self.registry.connection_count()
    }

    /// Most connections at once.
    pub fn connections_max(&self) -> usize {
        self.registry.connections_max()
    }

    /// Changes that limit. Connections that are there stay, however many they are.
    pub fn set_connections_max(&self, connections_max: usize) {
        self.registry.set_connections_max(connections_max);
    }

    /// Stops accepting, lets every connection say goodbye in its protocol's words, and returns when all are gone. Those
    /// that are left after `grace` are cut off.
    pub async fn shutdown(mut self, grace: Duration) -> Farewell {
        self.stop_tasks();
        shutdown::drain(&self.registry, grace).await
    }

    fn stop_tasks(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop_tasks();
    }
}
