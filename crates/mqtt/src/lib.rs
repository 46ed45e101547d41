//! MQTT 3.1, 3.1.1 and 5 over the routing core.
//!
//! It turns packets into the broker's four verbs and back. It does not know sockets (see `ternmq-net`), other
//! protocols, or how messages are stored. One codec and one session serve all three versions: the version is data.
//!
//! - [`codec`], [`frame`], [`properties`], [`topic`], [`reason_code`]: bytes ↔ packets, pure;
//! - [`mapping`]: PUBLISH ↔ the core's message;
//! - `connection`: one network connection, a `ternmq_net` machine; `connection/greeting` is CONNECT;
//! - `session`: one client's conversation, and what of it outlives the connection;
//! - `registry`: client identifiers, take-over, expiry;
//! - `error`: one table from what went wrong to reason codes; [`config`]; [`listener`].
//!
//! Where to start: `connection.rs`, then `session/mod.rs`.
//!
//! # Left out
//! - Enhanced authentication (§4.12): every method is refused with 0x8C; AUTH on a connection is a protocol error.
//! - Retain unavailable, a maximum QoS below 2, subscription identifiers, wildcard or shared subscriptions switched
//!   off: all of them are always there.
//! - Response information (§3.1.2.11.6) and server references: never sent.
//! - Reason strings and user properties in acknowledgements: never sent, so request problem information has no effect.
//! - Permissions on topics and exchanges are not checked; access to a vhost is.
//! - `$SYS` topics: publishes to them go nowhere, and nobody publishes there yet.
//! - Payload format is passed on and not checked (MQTT-3.3.2-4 lets a server choose).

pub mod codec;
pub mod config;
mod connection;
mod error;
pub mod frame;
pub mod listener;
pub mod mapping;
pub mod properties;
pub mod reason_code;
mod registry;
mod session;
pub mod topic;

pub use config::MqttConfig;
pub use listener::MqttAcceptor;
