//! What the process asks of the operating system.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit on open files to what an administrator allows at most: every connection is one, and the usual
/// default of 1,024 is meant for programs that use `select`. Leaves it as it is if the system refuses; the connection
/// limit follows whatever it is then.
pub(crate) fn raise_open_files_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Refused: nothing is lost, see above.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
