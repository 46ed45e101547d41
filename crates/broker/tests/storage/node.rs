//! A broker over a simulated disk, with settings so small that little reaches everything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ternmq_broker::clock::ManualClock;
use ternmq_broker::mailbox::Mailbox;
use ternmq_broker::{
    Broker, BrokerConfig, Client, MemoryConfig, RecoveryError, StorageConfig, StoreParts, Tuning,
};
use ternmq_core::id::Timestamp;
use ternmq_core::message::{
    FormatId, Message, NewMessage, NoProperties, Properties, PropertyFormat,
};
use ternmq_core::record::Formats;
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::QueueDecl;
use ternmq_core::value::{Headers, Value};
use ternmq_journal::simulated::{Fault, SimulatedStorage};

pub(crate) const START: Timestamp = Timestamp(1_000_000);

struct Forms;

impl Formats for Forms {
    fn format(&self, id: FormatId) -> Option<&'static dyn PropertyFormat> {
        (id == FormatId(0)).then_some(&NoProperties)
    }
}

/// What stays when a broker ends.
pub(crate) struct Machine {
    pub(crate) storage: SimulatedStorage,
    pub(crate) spill: SimulatedStorage,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) halts: Arc<Mutex<Vec<String>>>,
    pub(crate) storage_config: StorageConfig,
    pub(crate) memory: MemoryConfig,
    pub(crate) config: BrokerConfig,
}

/// Everything tiny.
pub(crate) fn tiny() -> StorageConfig {
    StorageConfig {
        segment_bytes: 16 << 10,
        checkpoint_bytes: 64 << 10,
        disk_free_low_bytes: 0,
        disk_free_min_bytes: 0,
        tuning: Tuning {
            kept_floor_bytes: 64 << 10,
            freeze_floor_bytes: 1 << 10,
            keep_messages: 16,
            keep_bytes: 4 << 10,
            sweep_floor_bytes: 256,
            page_file_bytes: 8 << 10,
        },
        ..StorageConfig::default()
    }
}

impl Machine {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            storage: SimulatedStorage::new(seed),
            spill: SimulatedStorage::new(!seed),
            clock: Arc::new(ManualClock::new(START)),
            halts: Arc::default(),
            storage_config: tiny(),
            memory: MemoryConfig {
                resident_bodies: 8 << 10,
            },
            config: BrokerConfig::default(),
        }
    }

    pub(crate) fn try_open(&self) -> Result<Broker, RecoveryError> {
        let halts = self.halts.clone();
        let parts = StoreParts {
            storage: Arc::new(self.storage.clone()),
            spill: Arc::new(self.spill.clone()),
            config: self.storage_config.clone(),
            memory: self.memory.clone(),
            formats: Arc::new(Forms),
            halt: Arc::new(move |why| halts.lock().push(why.to_string())),
        };
        Broker::open(&self.config, self.clock.clone(), parts)
    }

    pub(crate) fn open(&self) -> Broker {
        self.try_open().unwrap()
    }

    /// Ends a broker as a power cut does; returns when its threads are gone.
    pub(crate) fn cut(&self, broker: &Broker, seed: u64) {
        if !self.storage.has_stopped() {
            self.storage.fail(None, 0, Fault::PowerCut);
        }
        broker.close();
        self.storage.crash(seed);
        self.spill.crash(!seed);
        self.halts.lock().clear();
    }

    /// Names of files that begin like that.
    pub(crate) fn files(&self, prefix: &str) -> Vec<String> {
        use ternmq_journal::Storage;
        let names = self.storage.list().unwrap();
        names
            .into_iter()
            .filter(|name| name.starts_with(prefix))
            .collect()
    }
}

pub(crate) fn connect(broker: &Broker) -> Client {
    let user = broker.default_user();
    broker.connect(&user, "/", Mailbox::new(100)).unwrap()
}

pub(crate) fn queue(name: &str, durable: bool, arguments: &[(&str, Value)]) -> QueueDecl {
    QueueDecl {
        name: name.into(),
        durable,
        exclusive: None,
        auto_delete: false,
        arguments: arguments
            .iter()
            .map(|(n, v)| ((*n).into(), v.clone()))
            .collect(),
    }
}

pub(crate) fn request<'a>(exchange: &'a str, key: &'a str) -> RouteRequest<'a> {
    RouteRequest {
        exchange: exchange.as_bytes(),
        routing_key: key.as_bytes(),
        key_syntax: KeySyntax::Dotted,
        extra_keys: &[],
        headers: &Headers::new,
        properties: &Properties::default,
        publisher: None,
        from_client: true,
    }
}

/// A message whose body says which it is.
pub(crate) struct Letter {
    pub(crate) id: u64,
    pub(crate) bytes: usize,
    pub(crate) durable: bool,
    pub(crate) priority: Option<u8>,
}

pub(crate) fn body(id: u64, bytes: usize) -> Vec<u8> {
    let mut body = id.to_le_bytes().to_vec();
    body.extend(id.to_be_bytes().iter().cycle().take(bytes));
    body
}

impl Letter {
    pub(crate) fn build(&self, exchange: &str, key: &str, now: Timestamp) -> Message {
        let body = body(self.id, self.bytes);
        let mut new = NewMessage::plain(exchange.as_bytes(), key.as_bytes(), &body);
        new.durable = self.durable;
        new.priority = self.priority;
        new.received_at = now;
        new.build(&mut Vec::new())
    }
}

/// Which message that is, if it is whole.
pub(crate) fn id_of(message: &Message) -> u64 {
    let found = message.body();
    let id = u64::from_le_bytes(found[..8].try_into().unwrap());
    assert_eq!(found, body(id, found.len() - 8), "message {id} is another");
    id
}

/// Waits until something is so.
#[allow(clippy::disallowed_methods, reason = "a test that hangs says so")]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::yield_now();
    }
}
