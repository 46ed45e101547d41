//! What the process knows of itself and of its machine.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ternmq_core::id::Timestamp;

/// Where a protocol is spoken.
#[derive(Clone, Debug)]
pub struct Listening {
    /// The protocol's name as tools know it: `amqp`, `mqtt`, `http`.
    pub protocol: &'static str,
    /// Address and port.
    pub addr: SocketAddr,
    /// Whether it is spoken inside TLS.
    pub tls: bool,
}

/// A certificate that is shown to clients.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Where it was read from.
    pub file: PathBuf,
    /// When it is no longer valid.
    pub expires_at: Timestamp,
}

/// What does not change while the process runs.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// The node's name, as `rabbit@host`.
    pub name: String,
    /// When the process started.
    pub started_at: Timestamp,
    /// Where durable data is kept.
    pub data_dir: PathBuf,
    /// The configuration files that were read.
    pub config_files: Vec<PathBuf>,
    /// Publishers pause when messages hold more memory than this.
    pub memory_high_bytes: u64,
    /// Publishers are told to pause while the disk has less free than this.
    pub disk_free_low_bytes: u64,
    /// Connections at once, over all listeners.
    pub connections_max: usize,
    /// Threads the machine allows.
    pub threads_max: u64,
}

impl NodeFacts {
    /// The name of a node on this machine, unless somebody named it: as a node of RabbitMQ is called.
    pub fn default_name() -> String {
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let short = host.split('.').next().filter(|name| !name.is_empty());
        format!("rabbit@{}", short.unwrap_or("localhost"))
    }

    /// Threads that the machine allows; zero where it does not say.
    pub fn machine_threads_max() -> u64 {
        let text = fs::read_to_string("/proc/sys/kernel/threads-max").unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

/// What the process takes now. Zero where the system does not say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Memory, in bytes.
    pub(crate) resident_bytes: u64,
    /// How much of that is the program itself: pages of files, in bytes.
    pub(crate) program_bytes: u64,
    /// Open files.
    pub(crate) files: u64,
    /// Open files there may be.
    pub(crate) files_max: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// Room on the disk of the data, in bytes.
    pub(crate) disk_free_bytes: u64,
    /// Processor time so far, in milliseconds.
    pub(crate) cpu_ms: u64,
    /// Tasks of the machine that could run now.
    pub(crate) runnable: u64,
}

impl Usage {
    /// Looks at what the system says of this process, and of the disk that holds `data_dir`.
    pub(crate) fn now(data_dir: &Path) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number_of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
        };
        let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let disk = rustix::fs::statvfs(data_dir);
        Self {
            resident_bytes: number_of("VmRSS:") * 1024,
            program_bytes: number_of("RssFile:") * 1024,
            files: files as u64,
            files_max: limit.current.unwrap_or(u64::MAX),
            threads: number_of("Threads:"),
            cpu_ms: cpu_ms(),
            disk_free_bytes: disk.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            runnable: runnable(&fs::read_to_string("/proc/loadavg").unwrap_or_default()),
        }
    }
}

/// Processor time that all threads took.
fn cpu_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let ms = time.tv_sec.saturating_mul(1000) + time.tv_nsec / 1_000_000;
    u64::try_from(ms).unwrap_or(0)
}

/// The fourth field of `/proc/loadavg` is `runnable/all`.
fn runnable(loadavg: &str) -> u64 {
    let field = loadavg.split_whitespace().nth(3).unwrap_or_default();
    let runnable = field.split('/').next().unwrap_or_default();
    runnable.parse().unwrap_or(0)
}

/// Processors that the process may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_knows_what_it_takes() {
        let usage = Usage::now(Path::new("/"));
        assert!(usage.resident_bytes > 0 && usage.files > 0 && usage.threads > 0);
        assert!(usage.files_max >= usage.files && usage.disk_free_bytes > 0);
    }

    #[test]
    fn load_that_is_not_there_is_none() {
        assert_eq!(runnable("0.20 0.18 0.12 3/80 11206"), 3);
        assert_eq!(runnable(""), 0);
    }
}
