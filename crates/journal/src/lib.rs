//! TernMQ's journal: opaque records, in one order, with a watermark that says how far they are safe.
//!
//! It does not know what a record means; messages, queues and protocols are none of its business.
//!
//! Promises, of every [`Log`]:
//! 1. Records of one batch get consecutive indexes, in order. Batches are appended whole.
//! 2. Appending never waits for the disk. [`Log::committed`] is the only promise: every record up to it
//!    survives whatever the log's durability covers.
//! 3. The watermark never moves backwards, and covers no gap.
//! 4. A watcher is called after each move of the watermark, from any thread, with no lock of the log held.
//!
//! [`memory::MemoryLog`] is the log of a node that keeps its data in memory: it commits at once.
//!
//! Where to start: [`log`] is the contract, [`batch`] is what is appended.

pub mod batch;
pub mod log;
pub mod memory;

pub use batch::Batch;
pub use log::{Index, Log, LogError, Watcher};
pub use memory::MemoryLog;
