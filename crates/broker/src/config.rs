//! What the operator can set.

/// See [`BrokerConfig::memory_high_bytes`].
pub(crate) const MEMORY_HIGH_BYTES: u64 = 1 << 30;

/// See [`BrokerConfig::product`] and [`BrokerConfig::product_version`].
const PRODUCT: &str = "RabbitMQ";
const PRODUCT_VERSION: &str = "4.1.0";

/// See [`BrokerConfig::cluster_name`].
pub(crate) const CLUSTER_NAME: &str = "ternmq";

/// Settings of the broker, apart from those of its protocols.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrokerConfig {
    /// Virtual hosts that a new node begins with. Default: `/`.
    pub vhosts: Vec<String>,
    /// Users that a new node begins with. Default: `guest`, password `guest`, administrator. The first one is also the user
    /// of clients that are let in without credentials.
    pub users: Vec<UserConfig>,
    /// Whether a new node begins without `vhosts` and `users` after all: definitions bring others.
    #[serde(skip)]
    pub begins_bare: bool,
    /// Users who may log in from this machine only. Absent: those of `users` that say so, and `guest` unless it is one of
    /// them.
    pub loopback_users: Option<Vec<String>>,
    /// What the node says it is, to clients and to tools that choose by it what they do. Default: `RabbitMQ`.
    pub product: String,
    /// The version of that product whose behaviour is followed. Default: `4.1.0`.
    pub product_version: String,
    /// Name of the cluster that the node is one of. Absent: `ternmq`, or what the binary makes of the machine's name.
    pub cluster_name: Option<String>,
    /// Connections that are logged in at once. Default: 100,000.
    pub connections_max: u64,
    /// Queues of a vhost. Default: 1,000,000.
    pub queues_max: usize,
    /// Exchanges of a vhost, the predeclared ones included. Default: 1,000,000.
    pub exchanges_max: usize,
    /// Bindings of a vhost. Default: 10,000,000.
    pub bindings_max: usize,
    /// A consumer that does not settle a delivery within so many milliseconds is told, and an AMQP channel closed; 0
    /// switches that off. Queues and consumers may say otherwise (`x-consumer-timeout`, policies). Default: 1,800,000.
    pub consumer_timeout_ms: u64,
    /// Publishers pause while messages hold more memory than this, in bytes. Absent: 1 GiB, or what the
    /// binary makes of the machine's memory.
    pub memory_high_bytes: Option<u64>,
    /// Retained messages per vhost. Default: 1,000,000.
    pub retained_messages_max: usize,
    /// Bytes of retained messages per vhost. Default: 256 MiB.
    pub retained_bytes_max: usize,
    /// Messages that wait for their time: those of delayed exchanges, delayed wills. Default: 1,000,000.
    pub scheduled_max: usize,
    /// Their bytes. Default: 256 MiB.
    pub scheduled_bytes_max: usize,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            vhosts: vec!["/".to_owned()],
            users: vec![UserConfig::default()],
            begins_bare: false,
            loopback_users: None,
            product: PRODUCT.to_owned(),
            product_version: PRODUCT_VERSION.to_owned(),
            cluster_name: None,
            connections_max: 100_000,
            queues_max: 1_000_000,
            exchanges_max: 1_000_000,
            bindings_max: 10_000_000,
            consumer_timeout_ms: 1_800_000,
            memory_high_bytes: None,
            retained_messages_max: 1_000_000,
            retained_bytes_max: 256 << 20,
            scheduled_max: 1_000_000,
            scheduled_bytes_max: 256 << 20,
        }
    }
}

/// What a confirmed message survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The loss of power: it is on the disk, synced, before it is confirmed.
    #[default]
    Fsync,
    /// The end of the process, but not of the machine: the operating system has it.
    Os,
}

/// How a node keeps its data.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// What a confirmed message survives. Default: `fsync`.
    pub durability: Durability,
    /// Bytes of one file of the journal. Default: 128 MiB.
    pub segment_bytes: u64,
    /// Bytes written to the journal after which a checkpoint is due; a start reads about as much. Default: 128 MiB.
    pub checkpoint_bytes: u64,
    /// Publishers are asked to pause while the disk has less free than this, in bytes. Default: 512 MiB.
    pub disk_free_low_bytes: u64,
    /// Durable messages are refused while the disk has less free than this, in bytes. Default: 128 MiB.
    pub disk_free_min_bytes: u64,
    /// What nobody has to set.
    #[doc(hidden)]
    #[serde(skip)]
    pub tuning: Tuning,
}

/// From which sizes on it is worth the effort. Other values are for tests, which reach everything with little.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Kept segments are not looked at closely while they have less, in bytes.
    pub kept_floor_bytes: u64,
    /// A queue is not looked at before it takes this much memory, nor again before it has grown by half of that.
    pub freeze_floor_bytes: usize,
    /// Ready messages that stay resident at the head of a queue that grows or is consumed.
    pub keep_messages: u64,
    /// Their bytes.
    pub keep_bytes: u64,
    /// Queues that take less are passed over when memory is short, in bytes.
    pub sweep_floor_bytes: usize,
    /// Bytes of one page file.
    pub page_file_bytes: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            kept_floor_bytes: 512 << 20,
            freeze_floor_bytes: 128 << 10,
            keep_messages: 512,
            keep_bytes: 256 << 10,
            sweep_floor_bytes: 2 << 10,
            page_file_bytes: 64 << 20,
        }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            segment_bytes: 128 << 20,
            checkpoint_bytes: 128 << 20,
            disk_free_low_bytes: 512 << 20,
            disk_free_min_bytes: 128 << 20,
            tuning: Tuning::default(),
        }
    }
}

/// How much memory messages may take.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Waiting messages leave memory when all together take more than this, in bytes. Default: 64 MiB.
    pub resident_bodies: u64,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            resident_bodies: 64 << 20,
        }
    }
}

/// Somebody who may log in from the first start on, with all rights in some vhosts.
#[derive(Clone, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// Login name.
    pub name: String,
    /// Password.
    pub password: String,
    /// Vhosts the user may work in; absent: all of the configuration.
    #[serde(default)]
    pub vhosts: Option<Vec<String>>,
    /// What the user may do beyond that, such as `administrator`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether the user may log in from this machine only.
    #[serde(default)]
    pub loopback_only: bool,
}

impl Default for UserConfig {
    fn default() -> Self {
        Self {
            name: "guest".to_owned(),
            password: "guest".to_owned(),
            vhosts: None,
            tags: vec!["administrator".to_owned()],
            loopback_only: true,
        }
    }
}

impl std::fmt::Debug for UserConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserConfig")
            .field("name", &self.name)
            .field("vhosts", &self.vhosts)
            .finish_non_exhaustive()
    }
}
