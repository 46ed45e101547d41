//! MQTT 3.1, 3.1.1 and 5 over the routing core.
//!
//! It turns packets into the broker's four verbs and back. It does not know sockets (see `ternmq-net`), other
//! protocols, or how messages are stored. One codec and one session serve all three versions: the version is data.
//!
//! - [`codec`], [`frame`], [`properties`], [`topic`], [`reason_code`]: bytes ↔ packets, pure;
//! - [`mapping`]: PUBLISH ↔ the core's message;
//! - `connection`: one network connection, a `ternmq_net` machine; `connection/greeting` is CONNECT;
//! - `session`: one client's conversation, and what of it outlives the connection;
//! - `registry`: client identifiers, take-over, expiry, groups of shared subscriptions;
//! - `auth`, `account`: enhanced authentication; whom a login is about and which vhost it leads to;
//! - `sys`: `$SYS` topics, and what is counted for them;
//! - `error`: one table from what went wrong to reason codes; [`config`]; [`listener`].
//!
//! Where to start: `connection.rs`, then `session/mod.rs`.
//!
//! # What outlives the process
//! A session with an expiry above 0 is in the broker's journal: its queue and bindings by themselves, the rest of it as
//! documents (`session/documents.rs` has the layout, `session/record.rs` says which answer waits for what,
//! `session/restore.rs` brings it back). So QoS 2 is exactly once over a crash, in both directions. A session that ends
//! with its connection has a queue that does too, is recorded nowhere and waits for nothing of its own.
//!
//! The queue of a shared subscription is durable whoever its members are: one that outlives the process may join at any
//! time. If no member came back, it goes by its expiry.
//!
//! Packet identifiers of QoS 1 towards the client are not recorded: that would be a record for every message. After a
//! restart such a message is sent again with a new identifier and without DUP (MQTT-4.4.0-1 holds for QoS 2); the
//! client has no state by which it could mistake it.
//!
//! # Left out
//! What clients may rely on, and the test that holds it, is listed in `tests/checklist.md`.
//!
//! - Methods of enhanced authentication (§4.12) other than SCRAM-SHA-256, channel binding, and `SASLprep` of names and
//!   passwords.
//! - Retain unavailable, a maximum QoS below 2, subscription identifiers, wildcard or shared subscriptions switched
//!   off: all of them are always there.
//! - Response information (§3.1.2.11.6) and server references: never sent.
//! - Reason strings and user properties in acknowledgements: never sent, so request problem information has no effect.
//! - A permission that is withdrawn ends no subscription that stands: the right to read is asked for when a subscription
//!   is made, as of AMQP bindings.
//! - `$SYS`: sizes of the heap and bridges, which there are none of.
//! - Attempts to log in are not counted per client; a wrong password costs a hash, and ends the connection.
//! - Over a restart are lost: a will of QoS 0 that waits for its delay, and retained messages that wait for a client
//!   which subscribed. A retained message that was sent with QoS 2 and not answered is not sent again, but ended by PUBREL.
//! - QoS 2 of a shared subscription that was in flight when the node stopped waits for its member (MQTT-4.8.2-4), but
//!   not from consumers of other protocols on the group's queue; and once that member's session has ended
//!   (MQTT-4.8.2-5), not over a second restart.
//! - Payload format is passed on and not checked (MQTT-3.3.2-4 lets a server choose).

mod account;
mod auth;
pub mod codec;
pub mod config;
mod connection;
mod error;
pub mod frame;
pub mod listener;
pub mod look;
pub mod mapping;
pub mod properties;
pub mod reason_code;
mod registry;
mod session;
mod sys;
pub mod topic;

pub use config::MqttConfig;
pub use listener::MqttAcceptor;
