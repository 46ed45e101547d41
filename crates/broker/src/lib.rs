//! The shell around TernMQ's core: locks, journal, mailboxes, timers, pressure.
//!
//! Adapters call down through [`Broker`] and [`Client`] (four verbs: declare, publish, deliver, settle) and hear back
//! by [`mailbox::Notice`]s, never by a callback. It knows no protocol, no socket and no task: it runs in whatever
//! thread calls it. Verbs wait for short locks, and for the disk in three cases only: a publisher when the journal lags
//! far behind, a `get` of a message that left memory, and a purge of such.
//!
//! # Every lock
//! | lock | around | held for |
//! |---|---|---|
//! | `Gate::slots` (`RwLock`s) | nothing: who is inside a verb | a verb; a checkpoint waits for each in turn |
//! | `QueueCell::loading` | reading a queue's cold messages | reading and taking back what one look wants |
//! | `Registry::state` | vhosts, users, permissions and whatever else is set | one change with its record, or one look |
//! | `Vhost::space` (`RwLock`) | topology, cells by id | a declaration, or a route that is not cached |
//! | `QueueCell::state` | one queue and its subscribers | one step of the queue: memory work only |
//! | `Vhost::retained` | retained messages of a vhost | one change or look-up |
//! | `Vhost::documents` | documents of a vhost | one change or look-up |
//! | `Mailbox::inner` | one connection's notices | one push or drain |
//! | `Timers::due`, `retained`, `room` | queues and vhosts by deadline | one change |
//! | `Expiries::due` | connections by the end of their login | one change |
//! | `Schedule::state` | scheduled messages | one change or look, or writing them into a checkpoint |
//! | `History::kept` | one exchange's last messages | one change or look |
//! | `Hold::state` | dead letters whose target is full | one change, or writing them into a checkpoint |
//! | `CommitWatch::waiting`, `tasks` | connections and tasks that wait for the journal | one change |
//! | `Inbox::state` | what a thread has to do | one push or pop |
//! | `Store::space` | the journal's room; one checkpoint at a time | a whole checkpoint |
//! | `Store::threads` | handles of threads | starting and ending |
//! | `Store::kept` | what the last checkpoint found | one change or look |
//! | `Inner::replaying` | replay without a store | one record |
//! | shards of `Inner::vhosts`, `Inner::clients`, `Inner::connections` | registries | one look-up, or a look at all |
//! | `ConnectionStats::channels` | a connection's channels | one change or look |
//! | the journal's, the page stores' | theirs (see `ternmq_journal`) | theirs: leaves here |
//!
//! The order is from top to bottom: `Store::space`, then `QueueCell::loading`, then the gate, then one of the others.
//! A thread may go into the gate again while it is inside, so a `get` takes `loading` inside the gate as well; that is
//! no circle, because a checkpoint neither holds `loading` nor is inside when it waits at the gate, and others only
//! wait there for a checkpoint that has its turn at once.
//!
//! Of the others at most one is held at a time, with these exceptions: declaring makes a queue's cell, and
//! tells it what policies say, while the vhost is locked, when nobody else can know that cell yet; a declaration, a retained message and documents are appended to the
//! journal before `Vhost::space`, `Vhost::retained` or `Vhost::documents` is released, so that the journal has changes
//! in the order they took effect, and that may wait until it has written more, which needs none of these locks; so is a
//! change of an object before `Registry::state` is, and a vhost comes and goes meanwhile: its own three locks, one after
//! the other, and the shard it stands in are taken under `Registry::state`, which nobody asks for who holds one of them; a
//! new binding looks at what the exchange's history keeps (a leaf) while the vhost is locked; and telling all connections
//! something pushes into their mailboxes (leaves, too) while a shard is read.
//! What a step leaves to do (`work.rs`) is done after its lock is released.
//!
//! # Every task and thread
//! Where nothing is kept: none. Connections and the timer that calls [`Broker::tick`] are tasks of `ternmq-net` and the
//! binary. A node with a store has these besides, from [`Broker::open`] to [`Broker::close`] or the last handle:
//!
//! | thread | does | waits for |
//! |---|---|---|
//! | `ternmq-keeper` | packs idle queues, writes their parts to pages | its inbox, the disk |
//! | `ternmq-loader` | reads back what consumers, expiry and limits want | its inbox, the disk, `loading` |
//! | `ternmq-checkpoint` | checkpoints, gives space back | its inbox, the disk, the gate, `loading` |
//! | `journal-commit` | the journal's own; calls `CommitWatch` | appends, the disk |
//!
//! `journal-commit` must not wait for any of the others: what it calls pushes into mailboxes and inboxes.
//!
//! Where to start: `Inner::publish` in `publish.rs` fits on a screen and meets everything else.

pub mod admin;
pub mod aside;
pub mod clock;
pub mod config;
pub mod inspect;
pub mod mailbox;

mod access;
mod announced;
mod apply;
#[cfg(test)]
mod bed;
mod bind;
mod broker;
mod cell;
mod checkpoint;
mod client;
mod commit;
mod connect;
mod dead_letter;
mod declare;
mod deliver;
mod documents;
mod expiries;
mod gate;
mod history;
mod hold;
mod inbox;
mod loader;
mod metrics;
mod pause;
mod policies;
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

pub use admin::{
    Admin, AdminRefusal, Attempt, Authority, Backend, Changed, LoginStep, Password, Place, Rights,
    Scene, UserSpec,
};
pub use announced::Announced;
pub use apply::ReplayError;
pub use broker::Broker;
pub use cell::QueueHandle;
pub use client::Client;
pub use commit::Committed;
pub use config::{BrokerConfig, Durability, MemoryConfig, StorageConfig, Tuning, UserConfig};
pub use connect::ConnectRefusal;
pub use declare::{DeleteIf, QueueInfo};
pub use deliver::{Consumer, Got};
pub use documents::{Document, DocumentChange};
pub use inspect::Inspect;
pub use metrics::{
    Churn, KindTotals, LATENCY_BUCKETS, Latency, LetterFate, ProtocolTotals, SIZE_BOUNDS,
    SizeHistogram, Totals, Unroutable,
};
pub use policies::PolicyStatus;
pub use publish::{Published, Route, TURN_COPIES_MAX, Turn};
pub use reclaim::KeptRecords;
pub use route_cache::ROUTES_MAX;
pub use schedule::{Retain, ScheduleId, ScheduledInfo};
pub use store::{Halt, RecoveryError, StoreParts};
pub use ternmq_journal::{Batch, Index, Log, LogError, MemoryLog, Pressure, Syncs, Watcher};
pub use transaction::Settlement;
pub use users::{LoginRefusal, User};
