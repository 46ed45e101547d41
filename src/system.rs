//! What the process asks of the operating system and of its runtime.

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

/// Waits or works in a worker's thread, while its other tasks go on in another one.
pub(crate) fn aside(work: &mut dyn FnMut()) {
    tokio::task::block_in_place(work);
}

/// What the machine calls itself. None where the system does not say.
pub(crate) fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.to_owned();
    Some(name).filter(|name| !name.is_empty())
}

/// Memory this process may use in bytes: the machine's, or its control group's if that allows less. None where the
/// system does not say.
pub(crate) fn memory_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_memory(&text));
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    [machine, group].into_iter().flatten().min()
}

/// `MemTotal` of `/proc/meminfo`, which counts in KiB.
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_memory_is_read_from_its_line() {
        let text = "MemFree:  5 kB\nMemTotal:       24593132 kB\n";
        assert_eq!(total_memory(text), Some(24_593_132 * 1024));
        assert_eq!(total_memory("MemTotal: lots"), None);
        assert_eq!(total_memory(""), None);
    }
}
