//! The journal.

use ternmq_journal::Syncs;

use super::Inspect;
use crate::reclaim::KeptRecords;

/// A node's journal at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalSnapshot {
    /// Bytes written since the node started.
    pub written_bytes: u64,
    /// How often the disk was waited for, and how long.
    pub syncs: Syncs,
    /// Segments.
    pub segments: u64,
    /// Those of them that are there for messages only, and not for the next start.
    pub kept_segments: u64,
    /// Length of all segments, in bytes.
    pub segment_bytes: u64,
    /// How many of the records in kept segments are needed, as of the last checkpoint.
    pub kept: KeptRecords,
    /// The last record that was appended.
    pub appended: u64,
    /// The last one that is safe.
    pub committed: u64,
}

impl Inspect<'_> {
    /// The journal; none if nothing is kept on disk.
    pub fn journal(self) -> Option<JournalSnapshot> {
        let store = self.0.store.as_ref()?;
        let segments = store.log.segments();
        Some(JournalSnapshot {
            written_bytes: store.log.written_bytes(),
            syncs: store.log.syncs(),
            segments: segments.len() as u64,
            kept_segments: segments.iter().filter(|info| info.kept).count() as u64,
            segment_bytes: segments.iter().map(|info| info.bytes).sum(),
            kept: *store.kept.lock(),
            appended: self.0.next_record().0.saturating_sub(1),
            committed: self.0.committed().0,
        })
    }
}
