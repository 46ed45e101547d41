//! The one socket loop: listeners, the driver of every TCP adapter, graceful shutdown.
//!
//! Below a protocol there may be TLS, WebSocket, a proxy's header: [`entrance`] is what a listener lets connections go
//! through before, and `stream` what the driver reads and writes then.
//!
//! It does not know any protocol: an adapter is an [`machine::Acceptor`] that makes one [`machine::Machine`] per
//! connection, and a machine turns bytes into bytes. It does not know messages or queues either.
//!
//! # Every task
//! | task | number | started by | ends |
//! |---|---|---|---|
//! | connection | one per connection | `listener` | with its connection, or cut at the end of a shutdown |
//! | handshake | one per connection on its way through an entrance | `listener` | when the connection's own begins, or after a time limit |
//! | accept loop | one per listener | [`server::Server::listen`] | at the shutdown, or with the server |
//! | timer | one | [`server::Server::tick`] | likewise |
//!
//! # Every lock
//! `Registry::mailboxes`: which connections there are; held for one change or to wake all of them. Buffers of a turn lie
//! in thread-local storage, so nothing else is shared. `Complaints`: peers whose failed handshakes were logged, one table
//! for each listener. `TlsServer::watched`: how certificates' files looked.
//!
//! # Order
//! Connections whose sockets became readable one after the other are served in that order, as far as one thread can say
//! (`arrival`).
//!
//! Where to start: [`machine`] is the contract, [`server`] what the binary uses, `driver` the loop.

mod arrival;
mod driver;
pub mod entrance;
mod input;
pub mod limits;
pub mod listener;
pub mod machine;
pub mod output;
mod places;
pub mod proxy;
mod registry;
mod scratch;
pub mod server;
pub mod shutdown;
mod stream;
pub mod timers;
pub mod tls;
pub mod websocket;
