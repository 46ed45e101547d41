//! What can be wrong with a journal on disk.

use std::io;
use std::sync::Arc;

use crate::log::Index;

/// What was done to a file when it went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Listing the directory.
    List,
    /// Making the file, or allocating its room.
    Create,
    /// Opening it.
    Open,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Waiting until it is on disk.
    Sync,
    /// Giving it another name.
    Rename,
    /// Deleting it.
    Delete,
    /// The committer's thread could not be started, or panicked.
    Run,
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Delete => "delete",
            Self::Run => "run",
        })
    }
}

/// An operation on a file that failed. For an open log it is the end: see the crate's ninth promise.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {action} {file}: {error}")]
pub struct Failure {
    /// What was tried.
    pub action: Action,
    /// With which file of the journal's directory.
    pub file: String,
    /// What the system said.
    #[source]
    pub error: Arc<io::Error>,
}

/// Gives an I/O error its place.
pub(crate) trait At<T> {
    fn at(self, action: Action, file: &str) -> Result<T, Failure>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: Action, file: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            action,
            file: file.to_owned(),
            error: Arc::new(error),
        })
    }
}

/// What is wrong with bytes that should be a header or a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Flaw {
    /// The file ends.
    #[error("the file ends here")]
    EndOfFile,
    /// There is no frame, or no header.
    #[error("nothing of the journal begins here")]
    Magic,
    /// The header is not what was written.
    #[error("the header does not match its checksum")]
    HeaderChecksum,
    /// The payload would lie outside the file.
    #[error("the payload reaches behind the end of the file")]
    Length,
    /// The payload is not what was written.
    #[error("the payload does not match its checksum")]
    PayloadChecksum,
    /// A valid frame, but of another place.
    #[error("the frame does not follow the one before it")]
    OutOfOrder,
    /// The checksums are right and the contents contradict themselves.
    #[error("the lengths of the records do not add up")]
    Records,
    /// The checksums are right, but flags, kind or shard have no meaning in this version.
    #[error("flags, kind or shard are of a later version")]
    Unknown,
    /// A segment that belongs to another store, or has another segment's name.
    #[error("the segment belongs to another store or place")]
    Foreign,
}

impl Flaw {
    /// Whether a write that was cut off can look like this. Valid checksums cannot come from a tear.
    pub(crate) fn may_be_torn(self) -> bool {
        !matches!(self, Self::Records | Self::Unknown | Self::Foreign)
    }
}

/// Why a record cannot be read. Others can.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadFlaw {
    /// No segment that is left holds it.
    #[error("no segment holds record {}", index.0)]
    Missing {
        /// The record.
        index: Index,
    },
    /// Its frame, or the one that leads to it, is damaged.
    #[error("{file} is damaged at byte {offset}: {flaw}")]
    Damaged {
        /// Which segment.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        flaw: Flaw,
    },
    /// The system cannot read that part of the file.
    #[error("{failure}, at byte {offset}")]
    Unreadable {
        /// Where in the file.
        offset: u64,
        /// What was tried, with which file.
        #[source]
        failure: Failure,
    },
}

/// Why a journal cannot be opened or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the journal in {directory} is in use by another process")]
    Locked {
        /// The journal's directory.
        directory: String,
    },
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] Failure),
    /// Segments without a manifest: something was deleted.
    #[error("there are {files} segments or spares but no manifest: the journal is incomplete")]
    ManifestMissing {
        /// How many files were found.
        files: usize,
    },
    /// No manifest can be read.
    #[error("{file} is damaged ({flaw}), and there is no other")]
    ManifestDamaged {
        /// Which one.
        file: String,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The two manifests are of different stores.
    #[error("manifest.a and manifest.b belong to different stores")]
    ManifestsDiffer,
    /// Written by a later version that this one must not read.
    #[error("{file} needs a reader of format version {needs} or later; this is version 1")]
    NewerFormat {
        /// Which file.
        file: String,
        /// The oldest version that may read it.
        needs: u16,
    },
    /// A segment is not there.
    #[error("{file} is missing")]
    SegmentMissing {
        /// Its name.
        file: String,
    },
    /// What was durable has changed.
    #[error("{file} is damaged at byte {offset}: {flaw}")]
    Damaged {
        /// Which segment.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        flaw: Flaw,
    },
    /// Replay should begin with a record that was released.
    #[error("record {} is wanted, but the journal begins with {}", wanted.0, first.0)]
    Released {
        /// [`crate::Options::replay_from`].
        wanted: Index,
        /// The first record there is.
        first: Index,
    },
    /// Replay should begin behind the end: the owner knows of records that the journal has lost.
    #[error("record {} is wanted, but the journal ends with {}", wanted.0, last.0)]
    TooShort {
        /// [`crate::Options::replay_from`].
        wanted: Index,
        /// The last record there is.
        last: Index,
    },
    /// [`crate::Options::segment_bytes`] is out of its range.
    #[error("segments of {bytes} bytes are not possible")]
    SegmentSize {
        /// What was asked for.
        bytes: u64,
    },
}
