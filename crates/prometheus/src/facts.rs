//! What the exposition is told, because the broker does not know it.

/// What does not change while the process runs.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The node's name, as `rabbit@host`.
    pub node: String,
    /// The version of RabbitMQ that is announced to tools.
    pub rabbitmq_version: String,
    /// The product's name.
    pub product: String,
    /// The product's own version.
    pub version: String,
}

/// What the process takes now, and what it may. Zero where the system does not say.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's identity.
    pub cluster_id: String,
    /// Memory of the process, in bytes.
    pub resident_bytes: u64,
    /// How much of that is the program itself: pages of files.
    pub program_bytes: u64,
    /// Publishers pause when messages hold more memory than this.
    pub memory_high_bytes: u64,
    /// Publishers are paused for that reason.
    pub memory_alarm: bool,
    /// Room on the disk of the data, in bytes.
    pub disk_free_bytes: u64,
    /// Publishers are paused while there is less.
    pub disk_free_low_bytes: u64,
    /// Publishers are paused for that reason.
    pub disk_alarm: bool,
    /// Open files.
    pub files: u64,
    /// Open files there may be.
    pub files_max: u64,
    /// Connections of clients there may be.
    pub connections_max: u64,
    /// Threads.
    pub threads: u64,
    /// Since the process started, in milliseconds.
    pub uptime_ms: u64,
    /// When that was, in milliseconds since 1970.
    pub started_at_ms: u64,
    /// Processor time, in milliseconds.
    pub cpu_ms: u64,
}
