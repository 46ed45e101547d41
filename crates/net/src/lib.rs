//! The one socket loop: listeners, the driver of every TCP adapter, graceful shutdown.
//!
//! It does not know any protocol: an adapter is an [`machine::Acceptor`] that makes one [`machine::Machine`] per
//! connection, and a machine turns bytes into bytes. It does not know messages or queues either.
//!
//! Where to start: [`machine`] is the contract.

pub mod machine;
pub mod output;
