//! A virtual host: one namespace of exchanges, queues and retained messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use ternmq_core::error::Refusal;
use ternmq_core::id::{Lsn, QueueId};
use ternmq_core::policy::Subject;
use ternmq_core::retained::RetainedStore;
use ternmq_core::routing::{RouteTarget, Routes};
use ternmq_core::topology::{ExchangeDecl, ExchangeKind, Topology};

use crate::cell::QueueCell;
use crate::clock::Clock;
use crate::documents::Documents;
use crate::history::{Budget, History};
use crate::policies::Policies;
use crate::publish::{Route, Target};
use crate::schedule::{Later, Retain};

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
    /// Of the exchanges that have one.
    histories: HashMap<Box<str>, Arc<History>>,
    /// In force for what is declared.
    pub(crate) policies: Arc<Policies>,
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
                histories: HashMap::new(),
                policies: Arc::default(),
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
            space.histories.clear();
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

    /// Whether there may be one more queue than that.
    pub(crate) fn check_queue_limit(&self, count: usize, queue: &str) -> Result<(), Refusal> {
        let max = self.queues_max.load(Ordering::Relaxed);
        if (count as u64) < max {
            return Ok(());
        }
        let queue = queue.into();
        Err(Refusal::QueueLimit { queue, max })
    }
}

impl Space {
    /// Whether it is a topic exchange: permissions may be about its keys.
    pub(crate) fn is_topic(&self, exchange: &[u8]) -> bool {
        let name = std::str::from_utf8(exchange);
        let found = name.ok().and_then(|name| self.topology.exchange(name));
        found.is_some_and(|exchange| exchange.kind == ExchangeKind::Topic)
    }

    /// See [`Topology::declare_exchange`].
    pub(crate) fn declare_exchange(
        &mut self,
        decl: ExchangeDecl,
        budget: &Arc<Budget>,
    ) -> Result<bool, Refusal> {
        let name = decl.name.clone();
        let created = self.topology.declare_exchange(decl)?;
        let behaviour = self.topology.behaviour(&name).filter(|_| created);
        if let Some(length) = behaviour.and_then(|behaviour| behaviour.history) {
            let history = Arc::new(History::new(length, budget.clone()));
            self.histories.insert(name.clone(), history);
        }
        if created {
            let status = self.policies.about(Subject::Exchange, &name);
            self.topology
                .set_policy_alternate(&name, status.alternate());
        }
        Ok(created)
    }

    /// Exchanges are gone.
    pub(crate) fn exchanges_gone(&mut self, names: &[Box<str>]) {
        for name in names {
            self.histories.remove(name);
        }
    }

    /// What an exchange keeps for destinations that are bound later.
    pub(crate) fn history(&self, exchange: &str) -> Option<&Arc<History>> {
        self.histories.get(exchange)
    }

    /// The route to the cells behind the targets; targets whose queue just went are left out. What holds messages back
    /// is left out as well: see [`Self::delay`].
    pub(crate) fn resolve(&self, routes: &Routes) -> Route {
        let target = |t: &RouteTarget| {
            let cell = self.cells.get(&t.queue)?.clone();
            Some(Target {
                cell,
                tags: t.tags.clone(),
                at_most_once: t.at_most_once,
            })
        };
        let route = Route::new(
            self.topology.version(),
            routes.targets.iter().filter_map(target).collect(),
        )
        .with_traffic(routes.traffic.clone());
        if self.histories.is_empty() {
            return route;
        }
        let recorded = self.topology.recorded_by(routes);
        route.with_histories(
            recorded
                .filter_map(|name| self.history(name).cloned())
                .collect(),
        )
    }

    /// The route with what holds its messages back.
    pub(crate) fn delay(
        &self,
        route: Route,
        routes: &Routes,
        owner: &Arc<Vhost>,
        clock: &Arc<dyn Clock>,
    ) -> Route {
        let delayed = self.topology.delayed_by(routes);
        if delayed.len() == 0 {
            return route;
        }
        let now = clock.now();
        let later = delayed.map(|(exchange, ms)| {
            Arc::new(Later {
                at: now.plus_ms(ms),
                vhost: owner.clone(),
                via: Some(exchange.name.clone()),
                retain: Retain::No,
                durable: exchange.durable,
            })
        });
        route.with_delays(later.collect())
    }
}
