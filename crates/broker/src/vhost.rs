//! A virtual host: one namespace of exchanges, queues and retained messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use ternmq_core::id::{Lsn, QueueId};
use ternmq_core::retained::RetainedStore;
use ternmq_core::routing::RouteTarget;
use ternmq_core::topology::{ExchangeKind, Topology};

use crate::cell::QueueCell;
use crate::documents::Documents;
use crate::publish::{Route, Target};

/// One namespace. Its topology is read on a route cache miss and written by declarations.
pub(crate) struct Vhost {
    pub(crate) name: Box<str>,
    /// Same as the topology's version, readable without its lock: a cached route of another version is stale.
    version: AtomicU64,
    space: RwLock<Space>,
    pub(crate) retained: Mutex<Retained>,
    pub(crate) documents: Mutex<Documents>,
    /// Queues it may have; [`u64::MAX`] for as many as the node allows.
    queues_max: AtomicU64,
}

/// The retained messages, and how far the journal's records of them are in.
pub(crate) struct Retained {
    pub(crate) store: RetainedStore,
    /// Records of retained messages below this one are in.
    pub(crate) position: Lsn,
    /// The vhost is being deleted: nothing changes any more.
    pub(crate) sealed: bool,
}

/// What is declared, and the cells of the declared queues.
pub(crate) struct Space {
    pub(crate) topology: Topology,
    pub(crate) cells: HashMap<QueueId, Arc<QueueCell>>,
    /// Records of the topology below this one are in.
    pub(crate) position: Lsn,
    /// The vhost is being deleted: nothing is declared any more.
    pub(crate) sealed: bool,
}

impl Vhost {
    pub(crate) fn new(name: &str, retained: RetainedStore) -> Self {
        let topology = Topology::new();
        Self {
            name: name.into(),
            version: AtomicU64::new(topology.version()),
            space: RwLock::new(Space {
                topology,
                cells: HashMap::new(),
                position: Lsn::NONE,
                sealed: false,
            }),
            retained: Mutex::new(Retained {
                store: retained,
                position: Lsn::NONE,
                sealed: false,
            }),
            documents: Mutex::default(),
            queues_max: AtomicU64::new(u64::MAX),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn read<R>(&self, f: impl FnOnce(&Space) -> R) -> R {
        f(&self.space.read())
    }

    pub(crate) fn write<R>(&self, f: impl FnOnce(&mut Space) -> R) -> R {
        let mut space = self.space.write();
        let result = f(&mut space);
        self.version
            .store(space.topology.version(), Ordering::Release);
        result
    }
}

impl Vhost {
    /// Cached routes are asked for again.
    pub(crate) fn forget_routes(&self) {
        self.write(|space| space.topology.forget_routes());
    }

    /// Records that name this vhost lie from `position` on.
    pub(crate) fn begin_at(&self, position: Lsn) {
        self.space.write().position = position;
        self.retained.lock().position = position;
        self.documents.lock().position = position;
    }

    /// From now on nothing is declared, retained or noted, or it is again.
    pub(crate) fn seal(&self, sealed: bool) {
        self.space.write().sealed = sealed;
        self.retained.lock().sealed = sealed;
        self.documents.lock().sealed = sealed;
    }

    /// Whether it is being deleted.
    pub(crate) fn is_sealed(&self) -> bool {
        self.space.read().sealed
    }

    /// Forgets everything, as of the record before `position`. Returns the cells that were there.
    pub(crate) fn empty(&self, position: Lsn) -> Vec<Arc<QueueCell>> {
        let cells = self.write(|space| {
            space.topology.clear();
            space.position = position;
            space.cells.drain().map(|(_, cell)| cell).collect()
        });
        let mut retained = self.retained.lock();
        retained.store.forget_all();
        retained.position = position;
        drop(retained);
        self.documents.lock().empty(position);
        cells
    }

    /// Sets how many queues there may be.
    pub(crate) fn limit_queues(&self, max: Option<u64>) {
        let max = max.unwrap_or(u64::MAX);
        self.queues_max.store(max, Ordering::Relaxed);
    }

    /// How many queues there may be.
    pub(crate) fn queues_max(&self) -> u64 {
        self.queues_max.load(Ordering::Relaxed)
    }
}

impl Space {
    /// Whether it is a topic exchange: permissions may be about its keys.
    pub(crate) fn is_topic(&self, exchange: &[u8]) -> bool {
        let name = std::str::from_utf8(exchange);
        let found = name.ok().and_then(|name| self.topology.exchange(name));
        found.is_some_and(|exchange| exchange.kind == ExchangeKind::Topic)
    }

    /// The route to the cells behind the targets; targets whose queue just went are left out.
    pub(crate) fn resolve(&self, targets: &[RouteTarget]) -> Route {
        let target = |t: &RouteTarget| {
            let cell = self.cells.get(&t.queue)?.clone();
            Some(Target {
                cell,
                tags: t.tags.clone(),
                at_most_once: t.at_most_once,
            })
        };
        Route::new(
            self.topology.version(),
            targets.iter().filter_map(target).collect(),
        )
    }
}
