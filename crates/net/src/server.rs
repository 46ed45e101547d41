//! The server: owner of listeners, connections and the timer task. The only place besides the binary that starts tasks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ternmq_broker::clock::Clock;
use tokio::task::AbortHandle;

use crate::limits::connections_max_default;
use crate::listener::{self, ListenError};
use crate::machine::Acceptor;
use crate::registry::Registry;
use crate::shutdown::{self, Farewell};
use crate::timers::{Ticker, run_timers};

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Most connections at once, over all listeners. One more is accepted and closed at once.
    pub connections_max: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connections_max: connections_max_default(),
        }
    }
}

/// Listeners and the connections they accepted. To be made and used inside a tokio runtime. Dropping it closes the
/// listeners; connections then live until their runtime goes.
pub struct Server {
    registry: Arc<Registry>,
    tasks: Vec<AbortHandle>,
}

impl Server {
    /// A server without listeners.
    pub fn new(config: &ServerConfig, clock: Arc<dyn Clock>) -> Self {
        let registry = Arc::new(Registry::new(clock, config.connections_max));
        Self {
            registry,
            tasks: Vec::new(),
        }
    }

    /// Listens for one protocol at one address and accepts from now on. Returns the address bound: with port 0 the system
    /// chose one.
    #[allow(clippy::disallowed_methods, reason = "listeners are tasks of net")]
    pub fn listen(
        &mut self,
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
        let accepting = listener::accept_loop(listener, acceptor, Arc::clone(&self.registry));
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
