//! The shell around TernMQ's core: locks, journal, mailboxes, timers, pressure.
//!
//! Adapters call down through [`Broker`] and [`Client`] (four verbs: declare, publish, deliver, settle) and hear back
//! by [`mailbox::Notice`]s, never by a callback. It knows no protocol, no socket and no task: it runs in whatever
//! thread calls it, and never waits for anything but a short lock.
//!
//! # Every lock
//! | lock | around | held for |
//! |---|---|---|
//! | `Vhost::space` (`RwLock`) | topology, cells by id | a declaration, or a route that is not cached |
//! | `QueueCell::state` | one queue and its subscribers | one step of the queue: memory work only |
//! | `Vhost::retained` | retained messages of a vhost | one change or look-up |
//! | `Mailbox::inner` | one connection's notices | one push or drain |
//! | `Timers::due`, `Timers::retained` | queues and vhosts by deadline | one change |
//! | `Schedule::state` | delayed messages | one change |
//! | `Hold::state` | dead letters whose target is full | one change |
//! | `CommitWatch::waiting` | connections that wait for the journal | one change |
//! | shards of `Inner::vhosts`, `Inner::clients` | registries | one look-up |
//!
//! At most one is held at a time, with these exceptions: declaring makes a queue's cell while the vhost is locked, when
//! nobody else can know that cell yet; a declaration, and a retained message, is appended to the journal (whose own lock
//! is a leaf) before `Vhost::space` or `Vhost::retained` is released, so that the journal has changes in the order they
//! took effect; and telling all connections something pushes into their mailboxes (leaves, too) while a shard is read.
//! What a step leaves to do (`work.rs`) is done after its lock is released.
//!
//! # Every task and thread
//! None. Connections and the timer that calls [`Broker::tick`] are tasks of `ternmq-net` and the binary.
//!
//! Where to start: `Inner::publish` in `publish.rs` fits on a screen and meets everything else.

pub mod clock;
pub mod config;
pub mod mailbox;

mod apply;
#[cfg(test)]
mod bed;
mod broker;
mod cell;
mod checkpoint;
mod client;
mod commit;
mod dead_letter;
mod declare;
mod deliver;
mod documents;
mod gate;
mod hold;
mod inbox;
mod loader;
mod metrics;
mod pressure;
mod publish;
mod reclaim;
mod recovery;
mod residency;
mod retained;
mod route_cache;
mod route_sets;
mod schedule;
mod settle;
mod store;
#[cfg(test)]
mod stress;
mod timer;
mod transaction;
mod users;
mod vhost;
mod work;

pub use apply::ReplayError;
pub use broker::{Broker, ConnectRefusal};
pub use cell::QueueHandle;
pub use client::Client;
pub use config::{BrokerConfig, Durability, MemoryConfig, StorageConfig, Tuning, UserConfig};
pub use declare::{DeleteIf, QueueInfo};
pub use deliver::{Consumer, Got};
pub use documents::{Document, DocumentChange};
pub use metrics::Totals;
pub use publish::{Published, Route, TURN_COPIES_MAX, Turn};
pub use route_cache::ROUTES_MAX;
pub use schedule::ScheduleId;
pub use store::{Halt, RecoveryError, StoreParts};
pub use ternmq_journal::{Batch, Index, Log, LogError, MemoryLog, Watcher};
pub use transaction::Settlement;
pub use users::{LoginRefusal, User};
