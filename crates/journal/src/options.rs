//! How a journal on disk is opened.

use std::fmt;

use crate::error::{Failure, OpenError};
use crate::log::Index;
use crate::segment::{HEADER_BYTES, KeptSegment};

/// Who a store is, so that files of two stores are never mixed: random bytes, given when it is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreId({self})")
    }
}

/// What a committed record survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// The loss of power: a group is synced before it is committed.
    #[default]
    Fsync,
    /// The end of the process, but not of the machine: a group is committed when the system has it. Segments are synced
    /// when they are left, and at a clean end.
    Os,
}

/// Called once, on the committer's thread, when the log has failed.
pub type FailureHook = Box<dyn FnOnce(&Failure) + Send>;

/// How to open a journal.
pub struct Options {
    /// The identity of the store, if this makes one; one that is there keeps its own.
    pub new_store_id: StoreId,
    /// Bytes of a segment file, header included; rounded up to a multiple of 4,096. At least
    /// [`SEGMENT_BYTES_MIN`], at most [`SEGMENT_BYTES_MAX`]. Default 128 MiB.
    pub segment_bytes: u64,
    /// What a committed record survives.
    pub durability: Durability,
    /// The first record that [`crate::Recovered`] returns. None: the first there is.
    pub replay_from: Option<Index>,
    /// Segments outside the chain that hold records the owner still needs, from its checkpoint. Others are recycled or
    /// deleted when the log is opened. Segments of the chain may be among them.
    pub kept: Vec<KeptSegment>,
    /// Bytes that wait for the disk from which on [`crate::Log::pressure`] is [`crate::Pressure::Behind`]. Default 16 MiB.
    pub unsynced_high_bytes: usize,
    /// Bytes that wait for the disk above which `append` refuses. At most half a segment is used. `append_essential`
    /// refuses above four times as many. Default 32 MiB.
    pub unsynced_bytes_max: usize,
    /// Files of dropped segments that are kept for later, beside the one that is always ready; at least
    /// `reserve_segments`. Default 2.
    pub spares_max: usize,
    /// Files held back, beside the one that is always ready, for [`crate::Log::append_essential`] on a full disk.
    /// Default 2.
    pub reserve_segments: usize,
    /// Free bytes of the file system below which [`crate::Log::pressure`] is [`crate::Pressure::Low`]. Default 512 MiB.
    pub free_low_bytes: u64,
    /// Free bytes of the file system below which it is [`crate::Pressure::NoRoom`]. Default 128 MiB.
    pub free_min_bytes: u64,
    /// Called once if the log fails; after that it takes nothing more.
    pub on_failure: Option<FailureHook>,
}

/// The smallest segment: the header and as much again.
pub const SEGMENT_BYTES_MIN: u64 = 8 * 1024;
/// The largest segment.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

impl Options {
    /// The defaults.
    pub fn new(new_store_id: StoreId) -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            new_store_id,
            segment_bytes: 128 * MIB as u64,
            durability: Durability::default(),
            replay_from: None,
            kept: Vec::new(),
            unsynced_high_bytes: 16 * MIB,
            unsynced_bytes_max: 32 * MIB,
            spares_max: 2,
            reserve_segments: 2,
            free_low_bytes: 512 * MIB as u64,
            free_min_bytes: 128 * MIB as u64,
            on_failure: None,
        }
    }

    pub(crate) fn checked_segment_bytes(&self) -> Result<u64, OpenError> {
        let bytes = self.segment_bytes;
        if (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) {
            Ok(bytes.next_multiple_of(HEADER_BYTES as u64))
        } else {
            Err(OpenError::SegmentSize { bytes })
        }
    }
}
