//! What can go wrong, and the exit code of each.

use std::io;
use std::process::ExitCode;

use thiserror::Error;

/// Why a command did not do what it was asked to.
///
/// Each has its exit code, so that scripts can tell them apart; clap ends with 2 for a command line it cannot read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Failure {
    /// Everything else: the server failed, or answered in a way that makes no sense. Exit code 1.
    #[error("{0}")]
    Failed(String),

    /// Arguments that only together, or only with what the server has, are wrong. Exit code 2.
    #[error("{0}")]
    Usage(String),

    /// What the command is about does not exist. Exit code 3.
    #[error("{0} does not exist")]
    NotFound(String),

    /// The server understood and does not do it: a wrong value, a queue that is in use. Exit code 4.
    #[error("refused: {0}")]
    Refused(String),

    /// A check says no; what it says has been written out. Exit code 1.
    #[error("{0}")]
    Unhealthy(String),

    /// Nobody answers there, or not in HTTP, or the certificate is not to be trusted. Exit code 69.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// Where.
        url: String,
        /// What was tried last and failed.
        reason: String,
    },

    /// The login is wrong, or its user may not do this. Exit code 77.
    #[error("not allowed: {0}")]
    NotAllowed(String),

    /// A file, the terminal or a pipe. Exit code 74.
    #[error("{what}: {error}")]
    Io {
        /// What was read or written.
        what: String,
        /// What the system says.
        error: io::Error,
    },
}

impl Failure {
    /// The process ends with this code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// The numbers above 63 are those of `sysexits.h`.
    fn code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Unhealthy(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Refused(_) => 4,
            Self::Unreachable { .. } => 69,
            Self::Io { .. } => 74,
            Self::NotAllowed(_) => 77,
        }
    }

    /// Names the file, or whatever else was read or written.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |error| Self::Io { what, error }
    }

    /// Whoever read the output has seen enough.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Io { error, .. } if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What every command returns.
pub type Outcome<T = ()> = Result<T, Failure>;
