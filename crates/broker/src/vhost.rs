//! A virtual host: one namespace of exchanges, queues and retained messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use ternmq_core::id::{Lsn, QueueId};
use ternmq_core::retained::RetainedStore;
use ternmq_core::routing::{RouteTarget, Routes};
use ternmq_core::topology::Topology;

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
}

/// The retained messages, and how far the journal's records of them are in.
pub(crate) struct Retained {
    pub(crate) store: RetainedStore,
    /// Records of retained messages below this one are in.
    pub(crate) position: Lsn,
}

/// What is declared, and the cells of the declared queues.
pub(crate) struct Space {
    pub(crate) topology: Topology,
    pub(crate) cells: HashMap<QueueId, Arc<QueueCell>>,
    /// Records of the topology below this one are in.
    pub(crate) position: Lsn,
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
            }),
            retained: Mutex::new(Retained {
                store: retained,
                position: Lsn::NONE,
            }),
            documents: Mutex::default(),
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

impl Space {
    /// The route to the cells behind the targets; targets whose queue just went are left out.
    pub(crate) fn resolve(&self, routes: &Routes) -> Route {
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
            routes.targets.iter().filter_map(target).collect(),
            routes.traffic.clone(),
        )
    }
}
