//! The data directory, and what happens when it cannot be used or fails.

use std::sync::Arc;

use anyhow::Context;
use ternmq_broker::clock::Clock;
use ternmq_broker::{Broker, Halt, RecoveryError, StoreParts};
use ternmq_core::message::{FormatId, PropertyFormat};
use ternmq_core::record::Formats;
use ternmq_journal::{FileStorage, OpenError};
use tracing::error;

use crate::config::Config;

/// The directory, in the data directory, of messages that left memory and need not survive.
const SPILL: &str = "spill";

/// The exit code when the disk fails while the broker runs. What was confirmed is safe; what was not is unknown until the
/// next start looks.
const EXIT_STORAGE_FAILED: i32 = 74;
/// The exit code when data is damaged or missing: the broker does not start with less than it had.
pub(crate) const EXIT_DAMAGED: u8 = 65;

/// The property forms of all adapters: a stored message is read by the protocol it came in with.
pub(crate) struct AllFormats;

impl Formats for AllFormats {
    fn format(&self, id: FormatId) -> Option<&'static dyn PropertyFormat> {
        let known: [&'static dyn PropertyFormat; 3] = [
            &ternmq_core::message::NoProperties,
            &ternmq_amqp::mapping::FORMAT,
            &ternmq_mqtt::mapping::FORMAT,
        ];
        known.into_iter().find(|format| format.id() == id)
    }
}

/// Opens the data directory and reads what is in it.
pub(crate) fn open(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Broker> {
    let shown = config.data_dir.display();
    let in_directory = || format!("data directory {shown}");
    let storage = FileStorage::open(&config.data_dir).with_context(in_directory)?;
    let spill = FileStorage::open(config.data_dir.join(SPILL)).with_context(in_directory)?;
    let halt: Halt = Arc::new(|reason| {
        error!(%reason, "the storage failed: the broker stops, and does not try again");
        std::process::exit(EXIT_STORAGE_FAILED);
    });
    let parts = StoreParts {
        storage: Arc::new(storage),
        spill: Arc::new(spill),
        config: config.storage.clone(),
        memory: config.memory.clone(),
        formats: Arc::new(AllFormats),
        halt,
    };
    Broker::open(&config.broker, clock, parts).with_context(in_directory)
}

/// Whether data is damaged or missing, rather than in use or out of reach.
pub(crate) fn is_damage(error: &anyhow::Error) -> bool {
    let is_damage =
        |error: &OpenError| !matches!(error, OpenError::Io(_) | OpenError::Locked { .. });
    match error.downcast_ref::<RecoveryError>() {
        Some(RecoveryError::Open(error)) => is_damage(error),
        Some(error) => error.is_damage(),
        None => error.downcast_ref::<OpenError>().is_some_and(is_damage),
    }
}
