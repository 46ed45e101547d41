//! TernMQ's AMQP 0.9.1 adapter: the specification of 13 November 2008 with RabbitMQ's extensions and answers.
//!
//! It knows AMQP 0.9.1 and the broker's four verbs, and nothing of other protocols, sockets, tasks or clocks.
//!
//! ```text
//! bytes ─► codec ─► connection (handshake, liveness, channels) ─► session (one channel) ─► broker
//! bytes ◄─ codec ◄──────────────────────────────────────────────── session ◄───────────── broker
//! ```
//!
//! Where to start: [`frame`] has the wire's units, `connection.rs` the states, `session/mod.rs` what a channel does.
//!
//! `tests/checklist.md` has what clients may rely on, each with the tests that hold it.
//!
//! # Extensions
//! `basic.nack`, `confirm.select`, `connection.blocked`, `connection.update-secret`, `basic.cancel` to clients,
//! exchange-to-exchange bindings, CC and BCC, per-consumer `basic.qos`, consumer priorities, direct reply-to.
//!
//! # Left out
//! - A transaction that a full queue (`reject-publish`) refuses a message of is partial, as in RabbitMQ: the others are
//!   in their queues, and the channel closes with 406 `partial tx completion`.
//! - `no-local` is ignored, as RabbitMQ does; `immediate` is refused with 540, as RabbitMQ does.
//!
//! # Where it differs from RabbitMQ 3.10, measured side by side
//! - An exchange type nobody knows is channel error 406, as in RabbitMQ 4, not connection error 503.
//! - `x-delivery-limit` is taken on classic queues too. A queue that is there is redeclared without `x-queue-type` as what
//!   it is, so that a vhost's default type can change under those who declare its queues; RabbitMQ answers 406.
//! - `x-queue-master-locator` means nothing here and its value is not looked at; RabbitMQ answers a bad one with 541.
//!   Streams are not there: `x-queue-type` `stream` is refused like any unknown type.
//! - Past its length limit a priority queue drops its lowest priorities first; RabbitMQ drops from the head, which is
//!   the highest.
//! - Whoever violates the handshake or sends tables that do not parse is told why (502, 503, 530), where RabbitMQ drops
//!   the connection or answers 541. A body longer than its header announced is 505; RabbitMQ takes it.
//! - Exchange names and routing keys are UTF-8 in publishes too, else 501; RabbitMQ looks at other methods only.
//! - While memory is short, a paused publisher that goes away is noticed within seconds: the driver looks at sockets it
//!   does not read from.

pub mod codec;
pub mod config;
pub mod frame;
pub mod listener;
pub mod mapping;
pub mod properties;
pub mod refusal;
pub mod table;

mod connection;
mod error;
mod session;

pub use config::AmqpConfig;
pub use listener::AmqpAcceptor;
