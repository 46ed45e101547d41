//! The one socket loop: listeners, the driver of every TCP adapter, graceful shutdown.
//!
//! It does not know any protocol: an adapter is an [`machine::Acceptor`] that makes one [`machine::Machine`] per
//! connection, and a machine turns bytes into bytes. It does not know messages or queues either.
//!
//! Where to start: [`machine`] is the contract, [`server`] what the binary uses, `driver` the loop.

mod driver;
mod input;
pub mod limits;
pub mod listener;
pub mod machine;
pub mod output;
mod registry;
mod scratch;
pub mod server;
pub mod shutdown;
pub mod timers;
