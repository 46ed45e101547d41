//! The contract between the socket loop and a protocol adapter: a machine without sockets, tasks or clocks.
//!
//! ```text
//!            bytes in            notices of the broker          time
//!               │                        │                        │
//!         handle_input            handle_notices           handle_deadline       handle_shutdown
//!               └────────────┬───────────┴───────────┬────────────┴──────────────────┘
//!                            ▼                       ▼
//!                      Output (bytes)        flow(), deadline()
//! ```
//!
//! The driver calls in turns: what was read goes to [`Machine::handle_input`], then always
//! [`Machine::handle_notices`], then what is in the [`Output`] is written at once. All calls of one machine come from
//! one task, one at a time.

use std::net::SocketAddr;
use std::sync::Arc;

use ternmq_broker::inspect::{CertificateInfo, TlsInfo};
use ternmq_broker::mailbox::Mailbox;
use ternmq_core::id::Timestamp;

pub use crate::output::{OUTPUT_BUDGET_BYTES, Output};
use crate::tls::TlsPeer;

/// One connection of one protocol.
///
/// A machine that panics ends its own connection only; [`Machine::handle_disconnect`] is not called then, so `Drop` has
/// to release what it would have released.
pub trait Machine: Send + 'static {
    /// Bytes arrived. `input` is contiguous and begins with what was not consumed last time. Returns how many bytes were
    /// consumed; the rest must be a partial frame of at most [`Acceptor::pending_bytes_max`] bytes: a peer that sends a
    /// longer one is cut off without a word, so refuse it in the protocol's words before.
    ///
    /// Once [`Machine::flow`] says `Open { read: false }` the rest may be anything, whole frames included: it is kept, and
    /// handed in again when reading goes on. So a machine that cannot go on before its output has room says
    /// `read: false`, returns true from the next [`Machine::handle_notices`], and takes it back when called with room.
    fn handle_input(&mut self, input: &[u8], now: Timestamp, out: &mut Output) -> usize;

    /// Called after every other call but [`Machine::handle_disconnect`], when the mailbox has notices, and when the
    /// output has room again after `true` was returned. Empties the mailbox, also when the output is full already, then
    /// drains the deliveries it announced until `out.is_full()`. Returns true if there is more to do as soon as the output
    /// has room.
    fn handle_notices(&mut self, now: Timestamp, out: &mut Output) -> bool;

    /// The moment [`Machine::deadline`] named has come. Never called early. Moves the deadline, or it comes again at once.
    fn handle_deadline(&mut self, now: Timestamp, out: &mut Output);

    /// When [`Machine::handle_deadline`] wants to be called next. Asked after every turn, so it must be cheap. A deadline
    /// that moves later costs nothing.
    fn deadline(&self) -> Option<Timestamp>;

    /// The node stops: begin a graceful close in the protocol's words. Called at most once.
    fn handle_shutdown(&mut self, now: Timestamp, out: &mut Output);

    /// The transport is gone, or [`Machine::flow`] said `Close`: release everything held. Called exactly once, last; after
    /// `Close` it is called *before* the last bytes are written, so that a peer that sees them can rely on the release.
    fn handle_disconnect(&mut self, now: Timestamp);

    /// What the driver may do. Asked after every turn, so it must be cheap.
    fn flow(&self) -> Flow;
}

/// What the driver may do with a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// The connection lives. With `read: false` nothing is read until a notice or a deadline changes it.
    Open {
        /// Whether to read from the peer.
        read: bool,
    },
    /// Write what is in the output, then close the socket. Final.
    Close,
}

/// Who connected, to where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The peer's address; behind a proxy that says so, the address the proxy saw.
    pub addr: SocketAddr,
    /// The address it connected to.
    pub local_addr: SocketAddr,
    /// What carries the protocol's bytes, with or without TLS below.
    pub carrier: Carrier,
    /// What the handshake said, if the connection speaks TLS.
    pub tls: Option<Arc<TlsPeer>>,
}

impl Peer {
    /// A peer over TCP alone.
    pub fn tcp(addr: SocketAddr, local_addr: SocketAddr) -> Self {
        Self {
            addr,
            local_addr,
            carrier: Carrier::Tcp,
            tls: None,
        }
    }

    /// What others may see of the handshake.
    pub fn tls_info(&self) -> Option<Arc<TlsInfo>> {
        let tls = self.tls.as_deref()?;
        Some(Arc::new(TlsInfo {
            suite: tls.suite,
            certificate: tls.certificate.as_ref().map(|shown| CertificateInfo {
                subject: shown.subject.as_str().into(),
                issuer: shown.issuer.as_str().into(),
                validity: shown.validity.as_str().into(),
            }),
        }))
    }
}

/// What carries a protocol's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// The stream itself.
    Tcp,
    /// Binary messages of a WebSocket (RFC 6455).
    WebSocket,
}

/// A protocol adapter: makes a machine for every connection its listeners accept.
pub trait Acceptor: Send + Sync + 'static {
    /// The protocol's name for logs and the ready file: `amqp`, `mqtt`.
    fn protocol(&self) -> &'static str;

    /// A peer connected. A refused connection is closed without a word; whoever wants to say something accepts, and
    /// closes in the protocol's words. Time limits of the handshake are the machine's own deadline.
    fn accept(
        &self,
        peer: Peer,
        mailbox: Arc<Mailbox>,
        now: Timestamp,
    ) -> Result<Box<dyn Machine>, Refused>;

    /// The longest partial frame a machine of this protocol leaves unconsumed, in bytes. The driver closes a connection
    /// that leaves more.
    fn pending_bytes_max(&self) -> usize;

    /// The most consumers and conversations one connection has; see [`Mailbox::new`].
    fn token_max(&self) -> usize;
}

/// Why a connection was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// In words, for the log.
    pub reason: &'static str,
}
